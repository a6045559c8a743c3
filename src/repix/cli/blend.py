"""`repix blend`: a region of one image in another, without a seam."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repix.cli.options import numbers
from repix.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repix.io.image import Pixels
    from repix.poisson.blend import BlendReport


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path), required=False)
@click.option("--polygon", metavar="POINTS", help='"x,y x,y x,y ..." in source pixels, or a JSON file of them.')
@click.option("--mask", type=click.Path(path_type=Path), help="Image of the source's size, white where it is taken.")
@click.option("--at", default="0,0", show_default=True, metavar="X,Y", help="Where the source's corner goes.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Scale the source and its selection.")
@click.option("--rotate", type=float, default=0.0, metavar="DEG", help="Turn them, counter-clockwise.")
@click.option(
    "--mode",
    type=click.Choice(["import", "mixed", "monochrome", "average", "colour", "illumination", "flatten", "tile"]),
    default="import",
    show_default=True,
)
@click.option("--gain", default="1.5,0.5,0.5", show_default=True, metavar="R,G,B", help="For colour: factors.")
@click.option("--alpha", type=float, default=0.2, show_default=True, help="For illumination: gradients above shrink.")
@click.option("--beta", type=float, default=0.2, show_default=True, help="For illumination: by how much.")
@click.option("--threshold", type=float, default=8.0, show_default=True, help="For flatten: what counts as an edge.")
@click.option("--descent", type=click.IntRange(1), metavar="STEPS", help="Gradient descent instead, to compare.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT", help="[TARGET_blend.EXT]")
@click.option("--overwrite", is_flag=True, help="Let OUT take the place of SOURCE, TARGET or the mask.")
def blend(
    source: Path,
    target: Path | None,
    polygon: str | None,
    mask: Path | None,
    at: str,
    scale: float,
    rotate: float,
    mode: str,
    gain: str,
    alpha: float,
    beta: float,
    threshold: float,
    descent: int | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Paste a region of SOURCE into TARGET without a seam, or change a region of one image.

    Without --polygon and --mask, the region is where SOURCE is not transparent. The modes colour, illumination,
    flatten and tile work on SOURCE alone. Outside the region no pixel changes; TARGET's metadata and alpha stay.

    \b
    repix blend shark.jpg sea.jpg --polygon "60,75 210,110 330,170 60,150" --at 180,215
    repix blend logo.png wall.jpg --mode mixed --at 400,40 --scale 0.5 --rotate 12
    repix blend flower.jpg --mode colour --gain 0.5,0.6,1.5 --polygon petals.json
    """
    import time
    from typing import cast

    import numpy as np

    from repix.io.image import pixels_like, read_image, write_image
    from repix.io.paths import WRITABLE
    from repix.poisson import blend as poisson
    from repix.poisson import mask as selecting

    if mask is not None and polygon is not None:
        raise InputError("give --polygon or --mask, not both")
    alone = mode in ("colour", "illumination", "flatten", "tile")
    if alone and target is not None:
        raise InputError(f"--mode {mode} changes one image; leave out TARGET")
    if alone and (at != "0,0" or scale != 1 or rotate != 0):
        raise InputError(f"--mode {mode} changes one image; leave out --at, --scale and --rotate")
    if descent is not None and mode != "import":
        raise InputError(f"--descent minimises the loss of --mode import; leave out --mode {mode}")
    if not alone and target is None:
        raise InputError(f"--mode {mode} needs a TARGET to paste into")
    x, y = numbers("--at", at, 2)
    place = selecting.as_place((y, x))
    base = target if target is not None else source
    if output is None:
        suffix = base.suffix if base.suffix.lower() in WRITABLE else ".png"
        output = base.with_name(f"{base.stem}_blend{suffix}")
    if not overwrite and output.resolve() in [path.resolve() for path in (source, target, mask) if path is not None]:
        raise InputError(f"{output} is an input and would be overwritten; choose another -o, or say --overwrite")

    picture, notes = read_image(source), []
    selection = np.ones(picture.pixels.shape[:2], bool)
    if mask is not None:
        drawn, soft = selecting.threshold_mask(read_image(mask).pixels.max(2))
        selection = selecting.as_mask(drawn, picture.pixels.shape[:2])
        notes += ["the mask has soft edges, which were cut at half"] if soft else []
    elif polygon is not None:
        file = Path(polygon)
        is_file = polygon.lower().endswith(".json") or (len(polygon) < 256 and file.is_file())
        points = selecting.read_polygon(file) if is_file else selecting.parse_polygon(polygon)
        selection = selecting.create_mask_from_points(points, *picture.pixels.shape[:2]) > 0
    elif picture.alpha is None and mode != "tile":
        raise InputError(f"{source} is not transparent, so nothing is selected; give --polygon or --mask")
    if picture.alpha is not None and mode != "tile":
        opaque, soft = selecting.threshold_mask(picture.alpha)
        selection &= opaque
        notes += ["the source's transparency is soft, and was cut at half"] if soft else []

    pixels, result = picture.pixels, picture
    start = time.perf_counter()
    if alone:
        values = cast("tuple[float, float, float]", numbers("--gain", gain, 3))
        changed, report = poisson.edit_selection(
            pixels,
            mode=cast("poisson.EditMode", mode),
            mask=None if mode == "tile" else selection,
            gain=values,
            alpha=alpha,
            beta=beta,
            threshold=threshold,
        )
    else:
        assert target is not None
        result = read_image(target)
        pixels, lost = pixels_like(picture, result)
        notes += lost
        if scale != 1 or rotate != 0:
            pixels, selection = selecting.scale_and_rotate(pixels, selection, scale, rotate)
        if descent is not None:
            changed, report = _blend_by_descent(pixels, result.pixels, selection, place, descent)
        else:
            changed, report = poisson.blend(
                pixels, result.pixels, mask=selection, at=place, mode=cast("poisson.Mode", mode)
            )
    seconds = time.perf_counter() - start
    notes += [*result.notes, *write_image(output, result.with_pixels(changed))]
    how = f"{report.iterations} multigrid cycles" if report.method == "multigrid" else report.method
    click.echo(
        f"{report.pixels} pixels in {seconds:.2f} s ({how}), error at most about {report.error_levels:.2g} "
        f"of 255 grey levels → {output}"
    )
    for note in notes:
        click.echo(f"note: {note}")


def _blend_by_descent(
    source: Pixels, target: Pixels, selection: NDArray[np.bool_], at: tuple[int, int], steps: int
) -> tuple[Pixels, BlendReport]:
    """The course's loop, for comparison; prints the loss and the true error as they fall."""
    import numpy as np

    from repix.poisson.blend import BlendReport
    from repix.poisson.mask import cut, place
    from repix.poisson.torch import descend  # names the extra where torch is missing

    place(selection, at, target.shape[:2])
    import torch

    window = (slice(-at[0], target.shape[0] - at[0]), slice(-at[1], target.shape[1] - at[1]))
    inside = cut(selection, *window, "constant")
    full = np.iinfo(target.dtype).max
    planes = [
        torch.from_numpy((picture / np.float32(full)).transpose(2, 0, 1).copy())
        for picture in (cut(source, *window, "edge"), target)
    ]

    def say(step: int, loss: float, error: float) -> None:
        if step % max(1, steps // 10) == 0:
            click.echo(f"step {step}: loss {loss:.2g}, off by {error:.3g} of 255 grey levels")

    blended, report = descend(planes[0], planes[1], inside, steps=steps, on_step=say)
    changed = np.clip(np.rint(blended.numpy().transpose(1, 2, 0) * full), 0, full).astype(target.dtype)
    return np.where(inside[..., None], changed, target), BlendReport(
        report.error_levels, steps, f"{steps} steps of Adam", int(inside.sum())
    )
