"""Selections: polygons to masks, checks of masks, and where a mask falls in the target."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.ndimage
from numpy.typing import ArrayLike, NDArray

from repix.errors import InputError, counted

Point = Sequence[float]  # (x, y)

FARTHEST = 1_000_000_000
"""Offsets beyond so many pixels are refused: no image is as large, and whole numbers end somewhere."""


def create_mask_from_points(
    points: Sequence[Point] | Sequence[Sequence[Point]] | NDArray[Any], height: int, width: int
) -> NDArray[np.uint8]:
    """The pixels inside a polygon, by the even-odd rule.

    A pixel belongs to the polygon if its centre, which has whole coordinates, lies inside or on the outline. Where a
    polygon crosses itself, or one ring lies in another, regions alternate between inside and outside, so a ring in a
    ring is a hole. Parts beyond the image are cut off.

    Args:
        points: corners `(x, y)` of one polygon, or several such lists for several regions and holes.
        height: of the mask, in pixels.
        width: of the mask, in pixels.

    Returns:
        `(height, width)` uint8, 255 inside and 0 outside.

    Raises:
        InputError: a polygon of fewer than three points, or coordinates that are not finite numbers.
    """
    if height < 1 or width < 1:
        raise InputError(f"a mask of {height} x {width} pixels has no pixels; height and width must be at least 1")
    flips = np.zeros((height, width + 1), np.uint8)
    outline = np.zeros((height, width), bool)
    for ring in _rings(points):
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            _trace_edge(flips, outline, x0, y0, x1, y1)
    inside = (np.add.accumulate(flips[:, :width], axis=1, dtype=np.uint8) & 1).astype(bool)
    return np.where(inside | outline, np.uint8(255), np.uint8(0))


def _rings(points: Any) -> list[NDArray[np.float64]]:
    wanted = "expected a list of (x, y) points or a list of such lists"
    try:
        several = len(points) > 0 and len(points[0]) > 0 and np.ndim(points[0][0]) > 0
        rings = [np.asarray(ring, np.float64) for ring in (points if several else [points])]
    except (TypeError, ValueError, IndexError, KeyError):
        raise InputError(f"this is not a polygon; {wanted}") from None
    for ring in rings:
        if ring.ndim != 2 or ring.shape[-1] != 2:
            if ring.size == 0:
                raise InputError(f"a polygon of 0 points has no inside; {wanted}, with at least 3 points each")
            raise InputError(f"this is not a polygon but an array of shape {ring.shape}; {wanted}")
        if len(ring) < 3:
            raise InputError(f"a polygon of {counted(len(ring), 'point')} has no inside; give at least 3 points")
        if not np.isfinite(ring).all():
            raise InputError("the polygon has a coordinate that is not a finite number; check its points")
    return rings


def _trace_edge(flips: NDArray[Any], outline: NDArray[Any], x0: float, y0: float, x1: float, y1: float) -> None:
    """Marks where the edge enters or leaves each row it crosses, and the pixel centres that lie on it."""
    height, width = outline.shape
    low, high = sorted((y0, y1))
    first, last = max(0, math.ceil(low)), min(height - 1, math.floor(high))
    if first > last:
        return
    if y0 == y1:
        left, right = sorted((x0, x1))
        outline[first, max(0, math.ceil(left)) : max(0, math.floor(right) + 1)] = True
        return
    y = np.arange(first, last + 1)
    x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    near = np.rint(x)
    on = (np.abs(x - near) < 1e-9 * (1 + np.abs(x))) & (near >= 0) & (near < width)
    outline[y[on], near[on].astype(int)] = True
    crossed = y < high  # half open: a corner between two edges counts once
    columns = np.clip(np.ceil(x[crossed]), 0, width).astype(int)
    np.add.at(flips, (y[crossed], columns), 1)


def parse_numbers(option: str, text: str, count: int) -> tuple[float, ...]:
    """Reads so many numbers with commas between them.

    Raises:
        InputError: other text; the message names the option.
    """
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise InputError(f"{option} is {text!r}; expected {count} numbers with commas between them")
    return values


def parse_polygon(text: str) -> list[list[tuple[float, float]]]:
    """Reads a polygon from `"x,y x,y ..."` or from JSON.

    JSON may be `[[x, y], ...]`, a list of such lists, or an object that has either under "points" or "polygon".

    Returns:
        One list of points per ring, ready for `create_mask_from_points`.

    Raises:
        InputError: neither of the two.
    """
    if text.lstrip()[:1] in ("[", "{"):
        try:
            data = json.loads(text)
        except ValueError as error:
            raise InputError(f"the polygon is not valid JSON: {error}") from None
        if isinstance(data, dict):
            data = data.get("points", data.get("polygon"))
    else:
        try:
            data = [tuple(float(value) for value in point.split(",")) for point in text.replace(";", " ").split()]
        except ValueError:
            raise InputError(f'{_short(text)!r} is not a polygon; expected JSON or "x,y x,y x,y ..."') from None
    return [[(float(x), float(y)) for x, y in ring] for ring in _rings(data)]


def read_polygon(path: Path) -> list[list[tuple[float, float]]]:
    """Reads a polygon file; `parse_polygon` says what it may hold.

    Raises:
        InputError: the file cannot be read or holds no polygon.
    """
    try:
        return parse_polygon(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read the polygon file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; expected a polygon as JSON, [[x, y], ...]") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def as_mask(mask: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Checks a mask and makes it boolean.

    Args:
        mask: `(H, W)`, boolean or with two values, 0 for outside and any other for inside.
        shape: (height, width) that it must have.

    Raises:
        InputError: wrong size, more than two values (a soft mask), or not a number.
    """
    array = np.asarray(mask)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.shape != shape:
        raise InputError(
            f"the mask has shape {array.shape}, the source {shape[0]} x {shape[1]} pixels; "
            "the mask must be (height, width) of the source"
        )
    if array.dtype == bool:
        return array
    if array.dtype.kind not in "iuf" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise InputError("the mask holds values that are not numbers; expected 0 outside and one other value inside")
    inside: NDArray[np.bool_] = array != 0
    if inside.any() and (array[inside] != array[inside][0]).any():
        raise InputError(
            "the mask is soft: it has more values than 0 and one other; choose a threshold first, as in mask >= 128"
        )
    return inside


def threshold_mask(mask: NDArray[Any]) -> tuple[NDArray[np.bool_], bool]:
    """Cuts a soft mask, for instance an alpha channel or a drawn image, at half of its type's range.

    Args:
        mask: `(H, W)` integers, or floats in [0, 1]; a mask whose only values are 0 and 1 is kept as it is.

    Returns:
        The boolean mask, and whether there was anything soft about it.
    """
    if mask.dtype == bool:
        return mask, False
    full = 1 if mask.dtype.kind == "f" or mask.max(initial=0) <= 1 else int(np.iinfo(mask.dtype).max)
    return mask * 2 >= full if mask.dtype.kind == "f" else mask > full // 2, bool(((mask != 0) & (mask != full)).any())


def as_offset(offset: Sequence[float]) -> tuple[int, int]:
    """Checks that an offset (y, x) is two whole numbers.

    Raises:
        InputError: it is not.
    """
    try:
        y, x = offset
        if int(y) == y and int(x) == x and max(abs(y), abs(x)) <= FARTHEST:
            return int(y), int(x)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"the offset is {offset!r}; expected two whole numbers (y, x), at most {FARTHEST:,} off")


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The rows and columns that just hold all pixels of a mask.

    Raises:
        InputError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise InputError("the mask is empty: no pixel of the source is selected; check the polygon or the mask")
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


@dataclass(frozen=True)
class Window:
    """A part of the target to solve for.

    Attributes:
        rows, columns: of the target.
        inside: of that size, True for the pixels to replace.
    """

    rows: slice
    columns: slice
    inside: NDArray[np.bool_]


class OutsideError(InputError):
    """A selection that lies outside the target altogether."""


def target_windows(mask: NDArray[np.bool_], offset: tuple[int, int], target_shape: tuple[int, int]) -> list[Window]:
    """Where a mask at an offset falls in the target: its bounding box and one pixel around, cut at the frame.

    Regions that are few and far apart get a window each, which is much less to hold and to solve than the box around
    all of them; they do not influence one another.

    Args:
        mask: `(h, w)`, in source coordinates.
        offset: (y, x) of the source's top left corner in the target; may be negative.
        target_shape: (height, width).

    Raises:
        InputError: the mask is empty.
        OutsideError: it lies outside the target altogether.
    """
    rows, columns = bounding_box(mask)
    height, width = target_shape
    top, left = max(0, offset[0]), max(0, offset[1])
    inside = mask[top - offset[0] : max(0, height - offset[0]), left - offset[1] : max(0, width - offset[1])]
    if not inside.any():
        raise OutsideError(
            f"the selection lies outside the target of {height} x {width} pixels: with this offset it would cover "
            f"rows {rows.start + offset[0]} to {rows.stop + offset[0] - 1} and columns {columns.start + offset[1]} "
            f"to {columns.stop + offset[1] - 1}; choose another offset"
        )
    labels = inside.astype(np.uint8)
    boxes = scipy.ndimage.find_objects(labels)
    if 4 * inside.sum() < _area(boxes[0]):
        regions, count = scipy.ndimage.label(inside)
        if 1 < count <= 100:
            apart = scipy.ndimage.find_objects(regions)
            if 2 * sum(_area(box) for box in apart) < _area(boxes[0]):
                labels, boxes = regions, apart
    windows = []
    for number, (rows, columns) in enumerate(boxes, 1):
        part = labels[rows, columns] == number
        box = []
        for side, start, size in ((rows, top, height), (columns, left, width)):
            box.append(slice(max(0, side.start + start - 1), min(size, side.stop + start + 1)))
        margins = [
            (start + side.start - grown.start, grown.stop - start - side.stop)
            for side, start, grown in zip((rows, columns), (top, left), box, strict=True)
        ]
        windows.append(Window(box[0], box[1], np.pad(part, margins)))
    return windows


def _area(box: tuple[slice, ...]) -> int:
    return math.prod(side.stop - side.start for side in box)


def cut(image: NDArray[Any], rows: slice, columns: slice, beyond: Literal["edge", "constant"]) -> NDArray[Any]:
    """A window `(h, w, ...)` of an image `(H, W, ...)`.

    Args:
        rows, columns: in the image's coordinates; may begin before 0 and end past the size.
        beyond: past the image's edge, its edge pixels go on ("edge") or there are zeros ("constant").
    """
    height, width = image.shape[:2]
    inner = image[max(0, rows.start) : rows.stop, max(0, columns.start) : columns.stop]
    margins = [
        (max(0, -rows.start), max(0, rows.stop - height)),
        (max(0, -columns.start), max(0, columns.stop - width)),
    ]
    if margins == [(0, 0), (0, 0)]:
        return inner
    return np.pad(inner, [*margins, *[(0, 0)] * (image.ndim - 2)], mode=beyond)
