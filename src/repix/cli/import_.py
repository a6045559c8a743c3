"""`repix import`: weights that others have published, as a model."""

from __future__ import annotations

import os
from pathlib import Path

import click

from repix.cli.options import refuse_given
from repix.cli.output import say
from repix.cli.values import PATH


@click.command("import")
@click.argument("kind", metavar="KIND")
@click.argument("file", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Folder of the model.")
@click.option(
    "--recurrences", type=click.IntRange(1), help="PReNet: how often it is applied. [by the file's name, or 6]"
)
@click.option("--source", help="Where FILE comes from, for the card. [the authors' repository]")
@click.option("--licence", default="NOASSERTION", show_default=True, help="SPDX name on the card.")
def import_(kind: str, file: Path, output: Path, recurrences: int | None, source: str | None, licence: str) -> None:
    """Make a model of published weights: KIND is prenet or spanet, FILE its authors' .pth.

    PReNet's forms (PReNet, PReNet_r, PRN, PRN_r) are told apart by their keys. The file is read as data; no code in it
    is run. The model then works in derain, evaluate, inspect and `train --set init=DIR`.

    \b
    repix import prenet PReNet6.pth -o prenet-rain100l
    repix evaluate --set Rain100L --model prenet-rain100l --protocol paper
    """
    from repix._types import require

    require("train", "torch")
    from repix.train.published import import_published

    if kind != "prenet":
        refuse_given(("recurrences",), "is for prenet")
    card = import_published(kind, file, out=output, recurrences=recurrences, source=source, licence=licence)
    arguments = ", ".join(f"{key}={value}" for key, value in card.args.items())
    say(f"{card.arch}({arguments}) → {output}{os.sep} (ONNX within {max(card.onnx_parity.values()):.1e} of torch)")
