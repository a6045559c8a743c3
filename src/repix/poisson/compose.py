"""One image from a source, a selection in it, a placement and a mode, with the target's metadata.

`blend_images` is what the command line, the web UI and Python share: it takes images as files hold them, with depth,
transparency and metadata, and leaves the equations to `repix.poisson.blend`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

import numpy as np
import scipy.ndimage
from numpy.typing import ArrayLike, NDArray

from repix._types import within
from repix.errors import InputError
from repix.io.image import Picture, colour_profile, pixels_like, to_8_bits
from repix.poisson.blend import BlendReport, EditMode, Mode, blend, edit_selection
from repix.poisson.mask import FARTHEST, as_mask, as_offset, bounding_box, create_mask_from_points, threshold_mask
from repix.poisson.solver import checkpoint

_MOST_PIXELS = 400_000_000


@dataclass(frozen=True)
class BlendedPicture(Picture):
    """An image as `write_image` takes it, and how well its equation was solved.

    Attributes:
        report: accuracy, cycles, method and number of pixels of the solve.
    """

    report: BlendReport = field(kw_only=True)


def blend_images(
    source: Picture,
    target: Picture | None = None,
    *,
    polygon: Sequence[Any] | NDArray[Any] | None = None,
    mask: Picture | ArrayLike | None = None,
    offset: tuple[float, float] = (0, 0),
    anchor: tuple[float, float] | None = None,
    scale: float = 1.0,
    rotate: float = 0.0,
    mode: Mode | EditMode = "import",
    gain: tuple[float, float, float] = (1.5, 0.5, 0.5),
    alpha: float = 0.2,
    beta: float = 0.2,
    threshold: float = 8.0,
    tolerance: float = 0.25,
    descent: int | None = None,
    on_step: Callable[[int, float, float], None] | None = None,
) -> BlendedPicture:
    """Pastes a region of one image into another without a seam, or changes a region of one image.

    The result has the target's size, depth, transparency and metadata (the source's where there is no target). The
    source is converted to the target's depth and, where the target is grey, to grey.

    Args:
        source: the image that is pasted from, or the only one.
        target: the image that is pasted into; None for the modes "colour", "illumination", "flatten" and "tile".
        polygon: the region: corners `(x, y)` in source coordinates, or several lists of them (even-odd rule).
        mask: the region instead: an array as in `repix.blend`, or an image of the source's size, white where the
            source is taken, which is cut at half. With neither, the region is where the source is not transparent;
            with either, what is transparent is cut off it.
        offset: (y, x) in the target of the source's top left corner, whole numbers, may be negative. Scaled or
            rotated, it is the corner of the frame that just holds the whole source.
        anchor: (y, x) in the source, of the point that goes to `offset` instead of the corner; both may be fractions,
            and are met to half a pixel where the source is neither scaled nor rotated.
        scale: factor on lengths of source and region, above 0.
        rotate: degrees, counter-clockwise.
        mode: "import", "mixed", "monochrome", "average" as in `repix.blend`; "colour", "illumination", "flatten",
            "tile" as in `repix.edit_selection`.
        gain: as in `repix.edit_selection`.
        alpha: as in `repix.edit_selection`.
        beta: as in `repix.edit_selection`.
        threshold: as in `repix.edit_selection`.
        tolerance: largest error of a pixel that is allowed, in grey levels of 255.
        descent: so many steps of gradient descent instead of the exact solve, to compare; needs torch.
        on_step: with `descent`, called now and then with the step, the loss and the error in grey levels.

    Returns:
        The image, with what could not be kept in `notes` and the solve in `report`.

    Raises:
        InputError: images, a region, a placement or parameters that cannot be used.
        MissingExtraError: `descent` without torch.
    """
    for image in (source, target):
        if not isinstance(image, Picture | None):
            raise InputError(f"got {type(image).__name__}; expected an image as repix.read_image gives it")
    if mode not in (*get_args(Mode), *get_args(EditMode)):
        raise InputError(f"the mode is {mode!r}; expected one of {', '.join((*get_args(Mode), *get_args(EditMode)))}")
    if descent is not None and not (isinstance(descent, int) and descent > 0):
        raise InputError(f"descent is {descent!r}; expected a number of steps above 0, or None for the exact solve")
    if descent is not None and mode != "import":
        raise InputError(f"gradient descent minimises the loss of mode 'import'; leave out the mode {mode!r}")
    if mode in get_args(EditMode):
        if target is not None:
            raise InputError(f"mode {mode!r} changes one image; leave out the target")
        if (*offset, scale, rotate) != (0, 0, 1, 0) or anchor is not None:
            raise InputError(f"mode {mode!r} changes one image; leave out offset, scale and rotation")
        notes: list[str] = []
        if mode != "tile":
            mask, polygon = _selection(source, mask, polygon, notes), None
        pixels, report = edit_selection(
            source.pixels,
            mode=cast("EditMode", mode),
            mask=cast("ArrayLike | None", mask),
            polygon=polygon,
            gain=gain,
            alpha=alpha,
            beta=beta,
            threshold=threshold,
            tolerance=tolerance,
        )
        return _blended(source, pixels, notes, report)

    if target is None:
        raise InputError(f"mode {mode!r} needs a target to paste into")
    notes = []
    base = target
    if colour_profile(source) != colour_profile(target) and target.pixels.dtype == np.uint8:
        # what 8 bits of one colour space lose in another, the solution would add up
        target = target.with_pixels(target.pixels.astype(np.uint16) * 257)
    selection = _selection(source, mask, polygon, notes)
    matrix, shift = _placement(selection.shape, offset, anchor, scale, rotate)
    part, selection, corner = _place(source, target, selection, matrix, shift, notes)
    if descent is not None:
        from repix.poisson.torch import blend_by_descent

        pixels, report = blend_by_descent(
            part, target.pixels, mask=selection, offset=corner, steps=descent, on_step=on_step
        )
    else:
        pixels, report = blend(
            part, target.pixels, mask=selection, offset=corner, mode=cast("Mode", mode), tolerance=tolerance
        )
    if base.pixels.dtype == np.uint8 and pixels.dtype == np.uint16:
        pixels = to_8_bits(pixels)
    return _blended(base, pixels, notes, report)


def _blended(base: Picture, pixels: NDArray[Any], notes: list[str], report: BlendReport) -> BlendedPicture:
    values = vars(replace(base, pixels=pixels, notes=(*notes, *base.notes)))
    return BlendedPicture(**values, report=report)


def _selection(
    source: Picture,
    mask: Picture | ArrayLike | None,
    polygon: Sequence[Any] | NDArray[Any] | None,
    notes: list[str],
) -> NDArray[np.bool_]:
    """`(H, W)` of the source; adds to the notes where something soft was cut."""
    height, width = source.pixels.shape[:2]
    if mask is not None and polygon is not None:
        raise InputError("both a mask and a polygon were given; give one of them")
    if isinstance(mask, Picture):
        drawn, soft = _drawn(mask)
        selection = as_mask(drawn, (height, width))
        notes += ["the mask has soft edges, which were cut at half"] if soft else []
    elif mask is not None:
        selection = as_mask(mask, (height, width))
    elif polygon is not None:
        selection = create_mask_from_points(polygon, height, width) > 0
    elif source.alpha is None:
        raise InputError("nothing is selected: give a polygon or a mask, or a source that is transparent in parts")
    else:
        selection = np.ones((height, width), bool)
    if source.alpha is not None:
        opaque, soft = threshold_mask(source.alpha)
        selection = selection & opaque
        notes += ["the source's transparency is soft, and was cut at half"] if soft else []
    return selection


def _drawn(mask: Picture) -> tuple[NDArray[np.bool_], bool]:
    """What a mask's image selects, and whether it was soft: where a layer is opaque, if it is transparent anywhere;
    where it is white, cut at half; and where it is not black, if nothing in it is near to white (labels, a pencil)."""
    full = np.iinfo(mask.pixels.dtype).max
    if mask.alpha is not None and mask.alpha.min(initial=full) < full:
        return threshold_mask(mask.alpha)
    brightest = mask.pixels.max(2)
    if brightest.max(initial=0) < 0.9 * full:
        return brightest > 0, False
    return threshold_mask(brightest)


def _placement(
    shape: tuple[int, ...],
    offset: tuple[float, float],
    anchor: tuple[float, float] | None,
    scale: float,
    rotate: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and shift that take a point (y, x) of the source to the target: matrix @ point + shift."""
    largest = sys.float_info.max
    if not (within(scale, 0, largest) and scale > 0 and within(rotate, -largest, largest)):
        raise InputError(f"scale is {scale!r} and the angle {rotate!r}; expected a scale above 0 and a finite angle")
    moved = scale == 1 and rotate % 360 == 0
    cos, sin = math.cos(math.radians(rotate)), math.sin(math.radians(rotate))
    matrix = np.eye(2) if moved else scale * np.array([[cos, -sin], [sin, cos]])
    if anchor is not None:
        points = [tuple(point) if isinstance(point, Iterable) else () for point in (offset, anchor)]
        if not all(len(point) == 2 and all(within(one, -FARTHEST, FARTHEST) for one in point) for point in points):
            raise InputError(
                f"the offset is {offset} and the anchor {anchor}; expected (y, x) each, of finite numbers up to "
                f"{FARTHEST:,}"
            )
        shift = np.asarray(offset, np.float64) - matrix @ np.asarray(anchor, np.float64)
        return matrix, np.rint(shift) if moved else shift
    size = np.array(shape)
    frame = np.maximum(1, np.rint(np.abs(matrix) @ size))  # that just holds the source
    return matrix, np.array(as_offset(offset)) + (frame - 1) / 2 - matrix @ ((size - 1) / 2)


def _place(
    source: Picture,
    target: Picture,
    selection: NDArray[np.bool_],
    matrix: NDArray[np.float64],
    shift: NDArray[np.float64],
    notes: list[str],
) -> tuple[NDArray[Any], NDArray[np.bool_], tuple[int, int]]:
    """What is selected of the source as it lies in the target: pixels in the target's depth, selection, and the (y, x)
    of their corner. Only what is selected is worked on, with a margin for gradients and for the splines."""
    still = bool((matrix == np.eye(2)).all())
    scale = math.sqrt(float(np.linalg.det(matrix)))
    box = bounding_box(selection)
    if scale * max(side.stop - side.start for side in box) < 1:
        raise InputError(f"scaled by {scale:g} nothing of the selection is left; give a larger scale")
    step = max(1, int(1 / (4 * scale)))  # so much smaller first by plain means: a wide blur would take for ever
    blur = max(0.0, (1 / (scale * step) - 1) / 2)  # against aliasing
    margin = 1 if still else 16 + math.ceil(4 * blur * step)
    rows, columns = (slice(max(0, side.start - margin), side.stop + margin) for side in box)
    checkpoint()
    pixels, lost = pixels_like(source.with_pixels(source.pixels[rows, columns]), target)
    selection = selection[rows, columns]
    notes += lost
    origin = np.array([rows.start, columns.start])
    if still:
        corner = np.rint(origin + shift).astype(int)
        return pixels, selection, (int(corner[0]), int(corner[1]))

    edges = np.array([[y - 0.5, x - 0.5] for y in (box[0].start, box[0].stop) for x in (box[1].start, box[1].stop)])
    placed = edges @ matrix.T + shift
    first, last = np.floor(placed.min(0)) - 1, np.ceil(placed.max(0)) + 1
    height, width = (int(length) for length in last - first + 1)
    if height * width > _MOST_PIXELS:
        raise InputError(f"scaled by {scale:g} the selection would be {width} x {height} pixels; scale it less")
    inverse = np.linalg.inv(matrix)
    back = (inverse @ (first - shift) - origin - (step - 1) / 2) / step
    inverse /= step

    def sample(plane: NDArray[Any], order: int, beyond: str) -> NDArray[Any]:
        checkpoint()
        plane = _means(plane.astype(np.float32), step, "constant" if beyond == "grid-constant" else "edge")
        if blur:
            plane = scipy.ndimage.gaussian_filter(plane, blur, mode="nearest")
        sampled: NDArray[Any] = scipy.ndimage.affine_transform(
            plane, inverse, back, (height, width), order=order, mode=beyond
        )
        return sampled

    planes = np.stack([sample(pixels[..., channel], 3, "nearest") for channel in range(3)], axis=2)
    planes = np.clip(np.rint(planes), 0, np.iinfo(pixels.dtype).max)
    chosen = sample(selection, 1, "grid-constant") >= 0.5
    return planes.astype(pixels.dtype), chosen, (int(first[0]), int(first[1]))


def _means(plane: NDArray[Any], step: int, beyond: Literal["edge", "constant"]) -> NDArray[Any]:
    """`(h, w)` in squares of `step` pixels, each as its mean; what lies beyond the border is as `np.pad` has it."""
    if step == 1:
        return plane
    height, width = (-(-length // step) for length in plane.shape)
    lacking = [(0, height * step - plane.shape[0]), (0, width * step - plane.shape[1])]
    squares = np.pad(plane, lacking, beyond).reshape(height, step, width, step)
    means: NDArray[Any] = squares.mean((1, 3), dtype=np.float32)
    return means
