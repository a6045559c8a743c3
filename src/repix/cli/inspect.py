"""`repix inspect`: a look into a network."""

from __future__ import annotations

from pathlib import Path

import click

from repix.cli.options import refuse_given
from repix.cli.output import say
from repix.cli.values import NAME, NPZ, PATH, PNG, Choice

VIEWS = ("rain", "levels", "uncertainty", "recurrences", "attention", "receptive-field", "features", "signal")


@click.command()
@click.argument("photo", type=PATH)
@click.option(
    "--show",
    required=True,
    type=Choice(VIEWS, renamed={"confidence": "uncertainty", "stages": "recurrences"}),
    help="What to look at.",
)
@click.option("--model", type=NAME, metavar="NAME", help="A model, an untrained network, or vgg16, vgg19, alexnet.")
@click.option("--layer", metavar="NAME", help="For features: the module, or a number for vgg16, vgg19, alexnet.")
@click.option("--backbone", type=PATH, help="File of vgg16's, vgg19's or alexnet's weights.")
@click.option("--size", type=click.IntRange(1), help="Look at the middle N×N pixels. [512; levels: all]")
@click.option("-o", "--output", type=PNG, help="The figure. [PHOTO.VIEW.png in this folder]")
@click.option("--trust", is_flag=True, help="Run the Python file that the model's card names.")
@click.option("--npz", type=NPZ, help="Write the arrays there too.")
def inspect(
    photo: Path,
    show: str,
    model: str | None,
    layer: str | None,
    backbone: Path | None,
    size: int | None,
    output: Path | None,
    npz: Path | None,
    trust: bool,
) -> None:
    """Look into a network: one labelled figure.

    rain: what the network takes away. levels: what each level of the pyramid takes away. uncertainty: where the
    estimate is probably wrong. recurrences: the estimate after each pass, of a progressive network. attention: where it
    sees rain. receptive-field: how far it sees. features: what a layer makes of the image. signal: how depth weakens
    the signal in untrained networks.

    \b
    repix inspect photo.jpg --show rain
    repix inspect photo.jpg --show uncertainty
    repix inspect photo.jpg --show recurrences --model prenet
    repix inspect photo.jpg --show features --model vgg16 --layer 3 --npz maps.npz
    """
    from repix._types import require

    require("train", "torch", "matplotlib")
    from repix.evaluate.inspect import inspect as look
    from repix.evaluate.inspect import save_arrays
    from repix.features import BACKBONES
    from repix.figures import save_figure
    from repix.io.files import check_outputs
    from repix.io.image import read_image
    from repix.weights import DEFAULT_MODEL

    if show != "features":
        refuse_given(("layer", "backbone"), "is for --show features")
    if model not in BACKBONES:
        refuse_given(("backbone",), f"is for --model {', '.join(BACKBONES)}")
    if show == "signal":
        refuse_given(("model", "trust"), "does nothing with --show signal, whose networks are its own")
    output = output or Path(f"{photo.stem}.{show}.png")
    check_outputs([output, npz], [photo, backbone])
    pixels = read_image(photo).pixels
    part = pixels
    if size is not None or show != "levels":
        size = size or 512
        top, left = (max(0, (length - size) // 2) for length in pixels.shape[:2])
        part = pixels[top : top + size, left : left + size]
    seen = look(show, part, model=model or DEFAULT_MODEL, layer=layer, backbone=backbone, trust=trust)
    save_figure(seen, output)
    if npz is not None:
        save_arrays(seen, npz)
    say(f"{seen.title}: {output}")
