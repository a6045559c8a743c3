"""`repix models`: the models that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from repix.cli.output import say
from repix.cli.values import NAME
from repix.errors import counted


@click.command()
@click.argument("name", required=False, type=NAME)
@click.option("--clear-cache", is_flag=True, help="Empty the cache folder (compiled networks); see REPIX_CACHE.")
def models(name: str | None, clear_cache: bool) -> None:
    """List the models that come with repix, or describe one (NAME, or the path of a model's folder)."""
    if clear_cache:
        if name is not None:
            raise click.UsageError("--clear-cache empties the whole cache; give no NAME with it")
        from repix.infer.backends import cache

        say(f"the cache is empty; {cache.clear() / 1e6:.1f} MB were freed")
        return
    from repix.weights import find_card, list_cards, verify

    if name is None:
        cards = list_cards()
        for card in cards:
            reached = "; ".join(
                f"{row.data}: " + ", ".join(f"{metric} {value:g}" for metric, value in row.values.items())
                for row in card.metrics
            )
            say(f"{card.name}  ({card.task}, {card.licence})  {card.description}")
            if reached:
                say(f"    {reached}")
        say(f"{counted(len(cards), 'model')}; `repix models NAME` tells more" if cards else "no models are installed")
        return
    card, folder = find_card(name)
    verify(card, folder)
    say(f"{card.name}: {card.description}")
    rows = {
        "task": card.task,
        "works at": f"{card.size} px on the shorter side" if card.size else "",
        "labels": ", ".join(name for name, _ in card.palette or ()),
        "pairs": f"{card.direction}: A is left or in input, B right or in target" if card.task.directed else "",
        "network": f"{card.arch}({', '.join(f'{key}={value}' for key, value in card.args.items())})",
        "licence": card.licence,
        "tiles": f"{card.tiling.tile} px, overlap {card.tiling.overlap} px" if card.tiling else "whole image only",
        "sizes": f"any; padded to multiples of {card.multiple_of}",
        "ONNX parity": ", ".join(f"{size}: {value:.1e}" for size, value in card.onnx_parity.items()),
        "folder": folder,
    }
    for key, value in rows.items():
        if value:
            say(f"  {key:<12}{value}")
    for title, lines in (
        (
            "metrics",
            [
                f"{row.data} ({counted(row.images, 'image')}): "
                + ", ".join(f"{metric} {value:g}" for metric, value in row.values.items())
                + f"  [{row.protocol}]"
                for row in card.metrics
            ],
        ),
        ("limits", card.limits),
        ("training", [line for key, value in card.training.items() for line in _lines(key, value)]),
        ("forms, sha256 verified", [f"{name:<18}{form.file}  {form.sha256}" for name, form in card.forms.items()]),
    ):
        if lines:
            say(f"  {title}:")
            for line in lines:
                say(f"    {line}")


def _lines(key: str, value: Any) -> list[str]:
    """What a card says of the training: a recipe line by line, parts one by one."""
    if isinstance(value, Mapping):
        return [f"{key}:", *(f"  {name}: {part}" for name, part in value.items())]
    first, *more = str(value).splitlines() or [""]
    return [f"{key}: {first}"] if not more else [f"{key}:", *(f"  {line}" for line in (first, *more))]
