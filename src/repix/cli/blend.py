"""`repix blend`: a region of one image in another, without a seam."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from repix.cli.options import max_pixels_option, refuse_given, renamed_option
from repix.cli.output import say
from repix.cli.values import PATH, Number
from repix.errors import InputError, counted

if TYPE_CHECKING:
    from repix.poisson.blend import EditMode, Mode


@click.command()
@click.argument("source", type=PATH)
@click.argument("target", type=PATH, required=False)
@click.option("--polygon", metavar="POINTS", help='"x,y x,y x,y ..." in source pixels, or a JSON file of them.')
@click.option("--mask", type=PATH, help="Image of the source's size, white where it is taken.")
@click.option("--offset", default="0,0", show_default=True, metavar="X,Y", help="Where the source's corner goes.")
@renamed_option("--at", "--offset")
@click.option("--scale", type=Number(0, min_open=True), default=1.0, show_default=True, help="Scale what is pasted.")
@click.option("--rotate", type=Number(-360, 360), default=0.0, metavar="DEG", help="Rotate it, counter-clockwise.")
@click.option(
    "--mode",
    type=click.Choice(["import", "mixed", "monochrome", "average", "colour", "illumination", "flatten", "tile"]),
    default="import",
    show_default=True,
    help="import keeps SOURCE's detail, mixed the stronger of both images'; the last four change SOURCE alone.",
)
@click.option("--gain", default="1.5,0.5,0.5", show_default=True, metavar="R,G,B", help="For colour: factors.")
@click.option(
    "--alpha",
    type=Number(0, 1000, min_open=True),
    default=0.2,
    show_default=True,
    help="For illumination: gradients above shrink.",
)
@click.option(
    "--beta",
    type=Number(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="For illumination: by how much.",
)
@click.option(
    "--threshold", type=Number(0), default=8.0, show_default=True, help="For flatten: what counts as an edge."
)
@click.option("--descent", type=click.IntRange(1), metavar="STEPS", help="Gradient descent instead, to compare.")
@max_pixels_option()
@click.option("-o", "--output", type=PATH, metavar="OUT", help="[TARGET_blend.EXT]")
@click.option(
    "--overwrite", is_flag=True, help="Replace OUT if it is there, also where it is SOURCE, TARGET or the mask."
)
@click.option("--force", is_flag=True, help="With --overwrite in place: even where a gain map or video goes.")
def blend(
    source: Path,
    target: Path | None,
    polygon: str | None,
    mask: Path | None,
    offset: str,
    scale: float,
    rotate: float,
    mode: str,
    gain: str,
    alpha: float,
    beta: float,
    threshold: float,
    descent: int | None,
    max_pixels: int,
    output: Path | None,
    overwrite: bool,
    force: bool,
) -> None:
    """Paste a region of SOURCE into TARGET without a seam, or change a region of one image.

    Without --polygon and --mask, the region is where SOURCE is not transparent. The modes colour, illumination,
    flatten and tile work on SOURCE alone. Outside the region no pixel changes; TARGET's metadata and alpha stay.

    \b
    repix blend shark.jpg sea.jpg --polygon "60,75 210,110 330,170 60,150" --offset 180,215
    repix blend logo.png wall.jpg --mode mixed --offset 400,40 --scale 0.5 --rotate 12
    repix blend flower.jpg --mode colour --gain 0.5,0.6,1.5 --polygon petals.json
    """
    import time

    from repix.io.files import check_outputs
    from repix.io.formats import IMAGES_WRITABLE, listed
    from repix.io.image import read_image, refuse_to_destroy, write_image
    from repix.poisson.compose import blend_images
    from repix.poisson.mask import parse_numbers, parse_polygon, read_polygon

    if mask is not None and polygon is not None:
        raise InputError("give --polygon or --mask, not both")
    for chosen, names in (("colour", ("gain",)), ("illumination", ("alpha", "beta")), ("flatten", ("threshold",))):
        if mode != chosen:
            refuse_given(names, f"is for --mode {chosen}")
    if not overwrite:
        refuse_given(("force",), "does nothing without --overwrite")
    x, y = parse_numbers("--offset", offset, 2)
    red, green, blue = parse_numbers("--gain", gain, 3)
    base = target if target is not None else source
    if output is None:
        suffix = base.suffix if base.suffix.lower() in IMAGES_WRITABLE else ".png"
        output = base.with_name(f"{base.stem}_blend{suffix}")
    if output.suffix.lower() not in IMAGES_WRITABLE:
        raise InputError(f"{output}: cannot write {output.suffix or 'that'}; choose one of {listed(IMAGES_WRITABLE)}")
    inputs = () if overwrite else (source, target, mask)
    check_outputs([output], inputs, "choose another -o, or say --overwrite")
    if not overwrite and os.path.exists(output):
        raise InputError(f"{output} is already there; --overwrite writes it again, -o names another")
    points = None
    if polygon is not None:
        file = Path(polygon)
        is_file = polygon.lower().endswith(".json") or (len(polygon) < 256 and file.is_file())
        points = read_polygon(file) if is_file else parse_polygon(polygon)
    files = (source, target, mask)
    images = [None if path is None else read_image(path, max_pixels=max_pixels) for path in files]
    for path, image in zip(files, images, strict=True):
        if path is not None and image is not None and not force:
            refuse_to_destroy(path, image, output)
    assert images[0] is not None

    def tell(step: int, loss: float, error: float) -> None:
        if descent is not None and step % max(1, descent // 10) == 0:
            say(f"step {step}: loss {loss:.2g}, off by {error:.3g} of 255 grey levels")

    start = time.perf_counter()
    result = blend_images(
        images[0],
        images[1],
        polygon=points,
        mask=images[2],
        offset=(y, x),
        scale=scale,
        rotate=rotate,
        mode=cast("Mode | EditMode", mode),
        gain=(red, green, blue),
        alpha=alpha,
        beta=beta,
        threshold=threshold,
        descent=descent,
        on_step=tell,
    )
    seconds = time.perf_counter() - start
    report, notes = result.report, [*result.notes, *write_image(output, result)]
    cycles = counted(report.iterations, "multigrid cycle")
    how = cycles if report.method == "multigrid" else report.method
    say(
        f"{counted(report.pixels, 'pixel')} in {seconds:.2f} s ({how}), "
        f"error at most about {report.error_levels:.2g} of 255 grey levels → {output}"
    )
    for note in notes:
        say(f"note: {note}")
