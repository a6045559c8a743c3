"""`repix rain`: rainy pairs from clean photos."""

from __future__ import annotations

import os
from pathlib import Path

import click

from repix.cli.output import say
from repix.cli.summary import left_out
from repix.cli.values import PATH, Number
from repix.errors import counted


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option("-o", "--output", required=True, type=PATH, help="Folder for the pairs.")
@click.option("--severity", type=Number(0, 1), help="From 0, drizzle, to 1, storm. [random for each photo]")
@click.option("--angle", type=Number(-90, 90), help="Slant of the streaks in degrees, 0 is upright. [random]")
@click.option("--masks", type=PATH, help="Folder of streak masks to use instead of synthetic rain.")
@click.option(
    "--copies",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Rainy copies of each photo.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same rain.")
@click.option("--layer", is_flag=True, help="Also write the rain alone, in DIR/layer.")
@click.option("--format", default="png", show_default=True, help="Kind of file to write; jpg loses a little.")
@click.option("--overwrite", is_flag=True, help="Replace images that are there already.")
def rain(
    photos: tuple[str, ...],
    output: Path,
    severity: float | None,
    angle: float | None,
    masks: Path | None,
    copies: int,
    seed: int,
    layer: bool,
    format: str,
    overwrite: bool,
) -> None:
    """Make rainy pairs from clean photos (files, globs, folders): DIR/input/NAME and DIR/target/NAME.

    \b
    repix rain holiday/ -o pairs --severity 0.6
    repix train recipes/own-pairs.yaml --set data.pairs=pairs
    """
    from repix.degradations.write_pairs import make_pairs

    summary = make_pairs(
        photos,
        output,
        severity=severity,
        angle=angle,
        masks=masks,
        copies=copies,
        seed=seed,
        layer=layer,
        format=format,
        overwrite=overwrite,
        progress=True,
    )
    for message in summary.failed:
        say(f"repix: {message}", err=True)
    failed = f"; {len(summary.failed)} failed" if summary.failed else ""
    results = f"; {left_out(summary.left_out)}" if summary.left_out else ""
    there = f"; {summary.there} already there (--overwrite writes them again)" if summary.there else ""
    say(f"{counted(summary.made, 'pair')} → {output}{os.sep}{there}{failed}{results}")
    for note in summary.notes:
        say(f"note: {note}")
    if summary.failed:
        raise click.exceptions.Exit(1)
