"""Seamless cloning and selection editing: what gradients to ask for, and the solve that brings them about.

After Perez, Gangnet, Blake, "Poisson Image Editing" (SIGGRAPH 2003). Every operation is the same problem: find f inside
the selection whose differences between neighbours are as near as possible to a wanted field v, with f equal to the
target outside (eq. 3, discrete form eq. 7). Only v differs.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar, get_args

import numpy as np
import scipy.ndimage
from numpy.typing import ArrayLike, NDArray

from repix._types import within
from repix.errors import InputError, counted
from repix.poisson.mask import as_mask, as_offset, create_mask_from_points, cut, target_windows, threshold_mask
from repix.poisson.solver import Solution, checkpoint, solve_poisson

Mode = Literal["import", "mixed", "monochrome", "average"]
EditMode = Literal["colour", "illumination", "flatten", "tile"]
Planes = NDArray[Any]  # (C, h, w), float32 or float64, in grey levels 0..255
Field = tuple[Planes, Planes]  # wanted differences to the right (C, h, w-1) and downward (C, h-1, w) neighbour

P = ParamSpec("P")
R = TypeVar("R")

_LEVELS_PER_UNIT = {"uint8": 1.0, "uint16": 1 / 257, "float32": 255.0, "float64": 255.0}
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601
_LARGEST = 1000  # factor on gradients: more is beyond what float32 holds of the solution


@dataclass(frozen=True)
class BlendReport:
    """How well the equation was solved.

    Attributes:
        error_levels: estimated largest difference of any pixel from the exact solution, before rounding, in grey levels
            of which there are 255 from black to white whatever the bit depth.
        iterations: multigrid cycles; 0 when a transform gave the solution at once.
        method: "transform", "multigrid" or "direct".
        pixels: number of pixels solved for.
    """

    error_levels: float
    iterations: int
    method: str
    pixels: int


def _renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: a keyword of version 0.1 is a TypeError that says what it is called now."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            for old, new in names.items():
                if old in kwargs:
                    raise TypeError(f"{function.__name__}: the keyword {old!r} is now {new!r}, with the same meaning")
            return function(*args, **kwargs)

        return wrapper

    return decorate


@_renamed(at="offset")
def blend(
    source: ArrayLike,
    target: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    polygon: Sequence[Any] | NDArray[Any] | None = None,
    offset: tuple[int, int] = (0, 0),
    mode: Mode = "import",
    tolerance: float = 0.25,
) -> tuple[NDArray[Any], BlendReport]:
    """Pastes a region of one image into another without a seam.

    Outside the region the result equals the target bit for bit. What of the region hangs over the target's frame is cut
    off. Edges of the target's frame inside the region are free; a region that covers the whole target keeps the
    target's mean colour.

    Args:
        source: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, or with a last channel of alpha `(H, W, 2)`, `(H, W, 4)`;
            uint8, uint16 or float in [0, 1].
        target: an image of the same type and colour channels, of any size; its alpha is kept as it is.
        mask: `(H, W)` of the source's size, True or non-zero where the source is to be taken.
        polygon: instead of a mask, corners `(x, y)` in source coordinates, or several lists of them (even-odd rule).
            With neither, the region is where the source's alpha is at least half; with either, alpha below half is cut
            off it.
        offset: (y, x), as in an array's indices, of the source's top left corner in the target; may be negative.
        mode: the wanted gradients (section and equation in the paper):
            "import", those of the source (3, eq. 11);
            "mixed", at each edge between pixels those of the image in which it is stronger, measured over all
            channels together (3, eq. 13), for things with holes or that are transparent;
            "monochrome", those of the source's brightness, so that colours come from the target (3, "monochrome
            transfer");
            "average", the mean of both images' (3, "mixing gradients").
        tolerance: largest error of a pixel that is allowed, in grey levels of 255. Under 0.02 the work is in float64.

    Returns:
        The image, of the target's shape and type, and a BlendReport.

    Raises:
        InputError: images, mask, polygon or offset that cannot be used.
    """
    source, target = _check(source, "source"), _check(target, "target")
    if source.dtype != target.dtype:
        raise InputError(f"the source is {source.dtype} and the target {target.dtype}; convert one of them first")
    colours, alpha = _split(source)
    background, _ = _split(target)
    if colours.shape[2] != background.shape[2]:
        raise InputError(
            f"the source has {counted(colours.shape[2], 'colour channel')} and the target {background.shape[2]}; "
            "convert one of them first"
        )
    _one_of(mode, get_args(Mode))
    _check_tolerance(tolerance)
    offset = as_offset(offset)
    selection = _selection(source.shape[:2], mask, polygon, alpha)
    result = target.copy()
    out, reports = _split(result)[0], []
    for window in target_windows(selection, offset, target.shape[:2]):
        rows, columns = (
            slice(side.start - start, side.stop - start)
            for side, start in zip((window.rows, window.columns), offset, strict=True)
        )
        s = _planes(cut(colours, rows, columns, "edge"), tolerance)
        t = _planes(background[window.rows, window.columns], tolerance)
        checkpoint()
        f, solution = _reconstruct(s, t, window.inside, _FIELDS[mode](s, t), tolerance)
        _write(out[window.rows, window.columns], f, window.inside)
        reports.append(_report(solution, window.inside))
    return result, _together(reports)


@_renamed(picture="image")
def edit_selection(
    image: ArrayLike,
    *,
    mode: EditMode,
    mask: ArrayLike | None = None,
    polygon: Sequence[Any] | NDArray[Any] | None = None,
    gain: tuple[float, float, float] = (1.5, 0.5, 0.5),
    alpha: float = 0.2,
    beta: float = 0.2,
    threshold: float = 8.0,
    tolerance: float = 0.25,
) -> tuple[NDArray[Any], BlendReport]:
    """Changes a selection of one image, without a seam at its border.

    Args:
        image: as in `blend`; its alpha is kept.
        mode: the wanted gradients, from section 4 of the paper:
            "colour", those of the image with its channels multiplied by `gain`;
            "illumination", g (alpha * m / |g|)^beta with g those of the image's logarithm and m their mean size in
            the region (eq. 16, after Fattal et al. 2002): evens out strong light and shade, brings up what is weak;
            "flatten", those of the image at its edges, 0 elsewhere (eq. 15): washes out texture;
            "tile", those of the whole image, with opposite borders made equal (their mean), so that copies of the
            result fit beside one another. Takes neither mask nor polygon, and changes the borders themselves.
        mask: the selection, as in `blend`.
        polygon: the selection, as in `blend`.
        gain: for "colour": factors of red, green and blue; the first is used for grey images.
        alpha: for "illumination": sizes of gradients above alpha * m shrink, those below grow; positive.
        beta: for "illumination": how much, from 0 (not at all) to below 1.
        threshold: for "flatten": a pixel belongs to an edge if its brightness changes by at least this many grey levels
            per pixel, after smoothing by a Gaussian of 1 pixel.
        tolerance: as in `blend`.

    Returns:
        The image, of the same shape and type, and a BlendReport.

    Raises:
        InputError: image, selection or parameters that cannot be used.
    """
    image = _check(image, "image")
    _one_of(mode, get_args(EditMode))
    _check_tolerance(tolerance)
    colours, opacity = _split(image)
    if mode == "tile":
        if mask is not None or polygon is not None:
            raise InputError("tiling works on the whole image; leave out the mask and the polygon")
        return _tile(image, tolerance)
    if not (within(alpha, 0, _LARGEST) and alpha > 0 and within(beta, 0, 1) and beta < 1):
        raise InputError(
            f"alpha is {alpha!r} and beta {beta!r}; expected alpha above 0, at most {_LARGEST:,}, and beta from 0 to "
            "below 1"
        )
    if not (isinstance(gain, Sequence | np.ndarray) and len(gain) == 3 and all(within(g, 0, _LARGEST) for g in gain)):
        raise InputError(f"gain is {gain!r}; expected three factors from 0 to {_LARGEST:,}")
    if not within(threshold, 0, math.inf):
        raise InputError(f"threshold is {threshold!r}; expected grey levels per pixel, at least 0")
    selection = _selection(image.shape[:2], mask, polygon, opacity)
    result = image.copy()
    out, reports = _split(result)[0], []
    for window in target_windows(selection, (0, 0), image.shape[:2]):
        t = _planes(colours[window.rows, window.columns], tolerance)
        if mode == "illumination":
            f, solution = _even_out(t, window.inside, alpha, beta, tolerance)
        elif mode == "colour":
            s = t * np.asarray(gain[: len(t)], t.dtype)[:, None, None]
            f, solution = _reconstruct(s, t, window.inside, _gradient(s), tolerance)
        else:
            f, solution = _reconstruct(t, t, window.inside, _edges_only(t, threshold), tolerance)
        _write(out[window.rows, window.columns], f, window.inside)
        reports.append(_report(solution, window.inside))
    return result, _together(reports)


def _tile(image: NDArray[Any], tolerance: float) -> tuple[NDArray[Any], BlendReport]:
    colours, _ = _split(image)
    h, w = colours.shape[:2]
    if h < 3 or w < 3:
        raise InputError(f"an image of {h} x {w} pixels has no inside to tile; expected at least 3 x 3")
    s = _planes(colours, tolerance)
    t = s.copy()
    t[:, [0, -1]] = (t[:, :1] + t[:, -1:]) / 2
    t[..., [0, -1]] = (t[..., :1] + t[..., -1:]) / 2
    inside = np.zeros((h, w), bool)
    inside[1:-1, 1:-1] = True
    f, solution = _reconstruct(s, t, inside, _gradient(s), tolerance)
    result = image.copy()
    _write(_split(result)[0], f, np.ones_like(inside))
    return result, _report(solution, inside)


def _gradient(x: Planes) -> Field:
    return x[..., 1:] - x[..., :-1], x[:, 1:] - x[:, :-1]


def _import(s: Planes, t: Planes) -> Field:
    return _gradient(s)


def _mixed(s: Planes, t: Planes) -> Field:
    def stronger(a: Planes, b: Planes) -> Planes:
        return np.where((a * a).sum(0) >= (b * b).sum(0), a, b)

    (s_right, s_down), (t_right, t_down) = _gradient(s), _gradient(t)
    return stronger(s_right, t_right), stronger(s_down, t_down)


def _monochrome(s: Planes, t: Planes) -> Field:
    return _gradient(np.broadcast_to(_brightness(s), s.shape))


def _average(s: Planes, t: Planes) -> Field:
    return _gradient((s + t) / 2)


_FIELDS: dict[str, Callable[[Planes, Planes], Field]] = {
    "import": _import,
    "mixed": _mixed,
    "monochrome": _monochrome,
    "average": _average,
}


def _even_out(
    t: Planes, inside: NDArray[np.bool_], alpha: float, beta: float, tolerance: float
) -> tuple[Planes, Solution]:
    stretch = 255 / math.log(256)  # the logarithm is taken to 0..255, too
    steepest = 256 / stretch  # levels of the image to one of the logarithm, at white
    log = np.log1p(np.maximum(t, 0)) * stretch
    gradient = _gradient(log)
    sizes = [np.sqrt((g * g).sum(0)) for g in gradient]
    both = np.hypot(np.pad(sizes[0], ((0, 0), (0, 1))), np.pad(sizes[1], ((0, 1), (0, 0))))
    reference = alpha * float(both[inside].mean())
    if reference > 0:  # else it is one flat colour
        for g, size in zip(gradient, sizes, strict=True):
            g *= (reference / np.maximum(size, 1e-3)) ** beta
    f, solution = _reconstruct(log, log, inside, gradient, tolerance / steepest)
    return np.expm1(f / stretch), dataclasses.replace(solution, error=solution.error * steepest)


def _edges_only(t: Planes, threshold: float) -> Field:
    level = min(threshold, float(np.finfo(t.dtype).max))  # else NumPy warns that it does not fit
    edge = scipy.ndimage.gaussian_gradient_magnitude(_brightness(t), 1.0) >= level
    right, down = _gradient(t)
    return right * (edge[:, 1:] | edge[:, :-1]), down * (edge[1:] | edge[:-1])


def _brightness(x: Planes) -> NDArray[Any]:
    return x[0] if len(x) == 1 else np.tensordot(np.asarray(_LUMA, x.dtype), x, axes=1)


def _reconstruct(
    s: Planes, t: Planes, inside: NDArray[np.bool_], field: Field, tolerance: float
) -> tuple[Planes, Solution]:
    """f with differences as near to `field` as can be inside, equal to t outside.

    Solved for the correction f - s, which is smooth and small where s is anywhere near right, and kept within the
    precision of float32 by that.
    """
    f = np.where(inside, s, t)
    right, down = _gradient(f)
    np.subtract(right, field[0], out=right)
    np.subtract(down, field[1], out=down)
    b = np.zeros_like(f)
    b[..., :-1] += right
    b[..., 1:] -= right
    b[:, :-1] += down
    b[:, 1:] -= down
    b *= inside
    del field, right, down  # large, and the solve needs room
    solution = solve_poisson(b, inside, tolerance=tolerance)
    f += solution.x
    if inside.all():  # the whole target: free up to a constant
        f += (t.mean((1, 2), dtype=np.float64) - f.mean((1, 2), dtype=np.float64)).astype(f.dtype)[:, None, None]
    return f, solution


def _together(reports: list[BlendReport]) -> BlendReport:
    """One report for regions that were solved apart: the worst of each value."""
    methods = [report.method for report in reports]
    return BlendReport(
        max(report.error_levels for report in reports),
        max(report.iterations for report in reports),
        next(method for method in ("direct", "multigrid", "transform") if method in methods),
        sum(report.pixels for report in reports),
    )


def _report(solution: Solution, inside: NDArray[np.bool_]) -> BlendReport:
    return BlendReport(float(solution.error), solution.iterations, solution.method, int(inside.sum()))


def _planes(image: NDArray[Any], tolerance: float) -> Planes:
    """`(h, w, C)` of any type to `(C, h, w)` in grey levels."""
    planes: Planes = np.array(image.transpose(2, 0, 1), np.float32 if tolerance >= 0.02 else np.float64, order="C")
    planes *= _LEVELS_PER_UNIT[image.dtype.name]
    return planes


def _write(out: NDArray[Any], f: Planes, inside: NDArray[np.bool_]) -> None:
    """Puts f, back in the type of `out` `(h, w, C)`, into its pixels inside; a view into the result."""
    values = f / _LEVELS_PER_UNIT[out.dtype.name]
    if out.dtype.kind == "u":
        values = np.clip(np.rint(values), 0, np.iinfo(out.dtype).max)
    for channel, plane in enumerate(values):
        np.copyto(out[..., channel], plane, where=inside, casting="unsafe")


def _check_tolerance(tolerance: float) -> None:
    if not (within(tolerance, 0, math.inf) and tolerance < math.inf):
        raise InputError(f"tolerance is {tolerance!r}; expected grey levels of 255, at least 0")


def _check(image: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(image)
    if array.dtype.name not in _LEVELS_PER_UNIT:
        raise InputError(f"the {name} has values of type {array.dtype}; expected uint8, uint16 or float in [0, 1]")
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise InputError(f"the {name} has shape {array.shape}; expected (height, width) or (height, width, 1 to 4)")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"the {name} has pixels that are NaN or infinite; replace them first")
    return array


def _split(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Views of the colour channels `(H, W, 1 or 3)` and of alpha `(H, W)`, if there is one."""
    if image.ndim == 2:
        return image[..., None], None
    if image.shape[2] in (2, 4):
        return image[..., :-1], image[..., -1]
    return image, None


def _selection(
    shape: tuple[int, ...],
    mask: ArrayLike | None,
    polygon: Sequence[Any] | NDArray[Any] | None,
    alpha: NDArray[Any] | None,
) -> NDArray[np.bool_]:
    height, width = shape
    if mask is not None and polygon is not None:
        raise InputError("both a mask and a polygon were given; give one of them")
    opaque = None if alpha is None else threshold_mask(alpha)[0]
    if mask is not None:
        selection = as_mask(mask, (height, width))
    elif polygon is not None:
        selection = create_mask_from_points(polygon, height, width) > 0
    elif opaque is not None:
        return opaque
    else:
        raise InputError("nothing is selected: give a mask or a polygon, or a source with an alpha channel")
    return selection if opaque is None else selection & opaque


def _one_of(mode: str, modes: tuple[str, ...]) -> None:
    if mode not in modes:
        raise InputError(f"the mode is {mode!r}; expected one of {', '.join(modes)}")
