"""`repix translate`: one kind of image into another."""

from __future__ import annotations

from typing import Any

import click

from repix.cli.files import check_model, run_over_files
from repix.cli.options import Run, file_options


@click.command()
@file_options(
    names="NAME_MODEL.EXT, DIR_MODEL/",
    model=None,
    models="facades-labels (photo to labels), facades-photo (labels to photo), or a model's folder.",
    formats="Write jpg, png, webp, tiff or avif. [as is; label maps of JPEG, AVIF, HEIC and GIF: png]",
)
@click.option(
    "--size",
    type=click.IntRange(0, 8192),
    metavar="N",
    help="Shorter side in pixels at which the model works; 0 for the image's own. [the model's]",
)
def translate(
    paths: tuple[str, ...],
    output: str | None,
    size: int | None,
    settings: dict[str, Any],
    run: Run,
) -> None:
    """Turn one kind of image into another, with a model trained on pairs (pix2pix).

    PATH is a file, a folder (with all folders in it) or a pattern such as "*.jpg": the input alone, of any size.
    A model knows its images at one size. Larger and smaller ones are scaled to that size, and the result is scaled
    back: photos smoothly, label maps without mixing colours. Size, bit depth, transparency and EXIF stay. Grey images
    become coloured, and a colour profile is left out, because the new colours are sRGB. Your files are never changed,
    unless you name them as OUT and give --overwrite.

    \b
    repix translate house.jpg --model facades-labels
    repix translate drawings/ --model facades-photo -o houses
    """
    from repix.infer.jobs import BatchOptions
    from repix.tasks import TRANSLATE

    check_model(TRANSLATE, settings["model"])
    run_over_files(paths, output, BatchOptions(size=size, **settings), TRANSLATE, run)
