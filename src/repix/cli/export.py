"""`repix export`: a run's network as a model."""

from __future__ import annotations

import os
from pathlib import Path

import click

from repix.cli.options import refuse_given, renamed_option
from repix.cli.output import say
from repix.cli.values import NAME, PATH


@click.command()
@click.argument("run", type=NAME)
@click.option("-o", "--output", required=True, type=PATH, help="Folder of the model.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["repix", "darktable"]),
    default="repix",
    show_default=True,
    help="darktable writes RUN, a model by name or folder, as a package (.dtmodel).",
)
@click.option("--name", help="Name on the card. [the recipe's]")
@click.option("--description", help="A sentence on the card. [the recipe's]")
@click.option("--licence", default="Apache-2.0", show_default=True, help="SPDX name on the card.")
@click.option("--metrics", multiple=True, type=PATH, help="Table of evaluate --csv; repeatable.")
@renamed_option("--figures", "--metrics")
@click.option("--limit", "limits", multiple=True, help="A sentence on what it cannot do; repeatable.")
@click.option("--half", is_flag=True, help="Store weights in half precision; arithmetic stays as it is.")
@click.option("--int8", is_flag=True, help="Add a form in int8: half the time on many CPUs. With --half.")
@click.option("--onnx-only", is_flag=True, help="Leave out safetensors; training reads the ONNX.")
@click.option("--trust", is_flag=True, help="Run Python files that the run's recipe names.")
def export(
    run: str,
    output: Path,
    format_: str,
    name: str | None,
    description: str | None,
    licence: str,
    metrics: tuple[Path, ...],
    limits: tuple[str, ...],
    half: bool,
    trust: bool,
    int8: bool,
    onnx_only: bool,
) -> None:
    """Make a model (ONNX, safetensors, card) from a RUN's folder or one of its checkpoints.

    \b
    repix export runs/own-pairs -o mine --name mine
    repix export repixnet --format darktable -o repixnet.dtmodel
    """
    from repix._types import require

    if format_ == "darktable":
        own = ("name", "description", "licence", "metrics", "limits", "half", "int8", "onnx_only", "trust")
        refuse_given(own, "does nothing with --format darktable, which takes everything from the model's card")
        require("train", "onnx")
        from repix.train.darktable import write_package

        say(f"{run} → {write_package(run, output)}; in darktable: preferences, AI, import from file")
        return
    require("train", "torch")
    from repix.train.export import export as make_model
    from repix.train.export import read_metrics

    card = make_model(
        run,
        output,
        name=name,
        description=description,
        licence=licence,
        metrics=[row for table in metrics for row in read_metrics(table)],
        limits=limits,
        half=half,
        int8=int8,
        onnx_only=onnx_only,
        trust=trust,
    )
    worst = max(card.onnx_parity.values())
    rounded = "; and one rounded to int8" if "onnx-int8" in card.forms else ""
    sizes = ", ".join(card.onnx_parity)
    say(f"{card.name} → {output}{os.sep} (ONNX within {worst:.1e} of torch at {sizes}{rounded})")
