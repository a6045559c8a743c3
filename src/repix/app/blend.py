"""What the Blend tab asks for: a region of one image into another, as a polygon and strokes of a brush."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from repix._types import invalid
from repix.app.brush import MOST_POINTS, draw_line
from repix.errors import InputError, counted
from repix.io.formats import IMAGES_WRITABLE
from repix.io.image import Picture
from repix.poisson.blend import BlendReport, Mode
from repix.poisson.compose import BlendedPicture, blend_images
from repix.poisson.mask import OutsideError, create_mask_from_points

Point = tuple[FiniteFloat, FiniteFloat]


class Stroke(BaseModel):
    """One line of a round brush. Coordinates and radius in pixels of the source."""

    model_config = ConfigDict(extra="forbid")

    radius: float = Field(gt=0, le=1e5)
    erase: bool = False
    points: list[Point] = Field(min_length=1, max_length=MOST_POINTS)


class Placing(BaseModel):
    """What is to be pasted where, as the browser sends it.

    Attributes:
        polygon: corners (x, y) in the source, or nothing.
        strokes: of the brush and the eraser, in the order in which they were painted over the polygon.
        x, y: where in the target the middle of the selection's bounding box goes.
        scale: factor on lengths.
        rotate: degrees counter-clockwise.
        mode: the wanted gradients.
    """

    model_config = ConfigDict(extra="ignore")

    polygon: list[Point] = Field(default=[], max_length=MOST_POINTS)
    strokes: list[Stroke] = Field(default=[], max_length=2_000)
    x: FiniteFloat
    y: FiniteFloat
    scale: float = Field(default=1, ge=0.01, le=100)
    rotate: FiniteFloat = 0
    mode: Mode = "import"


def paste(source: Picture, target: Picture, placing: Placing) -> BlendedPicture:
    """The target with the selection of the source in it; the target's metadata, depth and transparency stay.

    Raises:
        InputError: nothing is selected, or it lies outside the target.
    """
    left, top, right, bottom = _box(placing, source.pixels.shape[:2])
    try:
        return blend_images(
            source,
            target,
            mask=_mask(placing, source.pixels.shape[:2], (left, top, right, bottom)),
            offset=(placing.y, placing.x),
            anchor=((top + bottom) / 2, (left + right) / 2),
            scale=placing.scale,
            rotate=placing.rotate,
            mode=placing.mode,
        )
    except OutsideError:
        raise InputError("the selection lies outside the target; drag it back, or set x and y") from None


def _box(placing: Placing, shape: Sequence[int]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all that is drawn, inside the source; the browser outlines the same box."""
    parts = [np.array(placing.polygon)] if placing.polygon else []
    for stroke in placing.strokes:
        if not stroke.erase:
            points = np.array(stroke.points)
            parts += [points - stroke.radius, points + stroke.radius]
    if not parts:
        raise InputError("nothing is selected: click a polygon on the source, or paint over it")
    points = np.clip(np.concatenate(parts), 0, (shape[1] - 1, shape[0] - 1))
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return float(left), float(top), float(right), float(bottom)


def _mask(placing: Placing, shape: Sequence[int], box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """What is drawn, `(H, W)` of the source; drawn in the box alone, because sources may be large."""
    from PIL import Image, ImageDraw

    x, y = math.floor(box[0]), math.floor(box[1])
    width, height = math.ceil(box[2]) + 1 - x, math.ceil(box[3]) + 1 - y
    inside = np.zeros((height, width), np.uint8)
    if placing.polygon:
        inside = create_mask_from_points(np.array(placing.polygon) - (x, y), height, width)
    image = Image.fromarray(inside)
    pen = ImageDraw.Draw(image)
    for stroke in placing.strokes:
        points = [(px - x, py - y) for px, py in stroke.points]
        draw_line(pen, points, 2 * stroke.radius, 0 if stroke.erase else 255)
    mask = np.zeros(tuple(shape), bool)
    mask[y : y + height, x : x + width] = np.asarray(image) > 0
    return mask


def said(report: BlendReport, seconds: float) -> str:
    """What the user reads about a solution."""
    return (
        f"{counted(report.pixels, 'pixel', form=',')} in {seconds:.2f} s, "
        f"error at most about {report.error_levels:.2g} of 255 grey levels"
    )


def result_name(target: str) -> str:
    """`NAME_blend.EXT`, as the command line calls it."""
    path = Path(target)
    return f"{path.stem}_blend{path.suffix if path.suffix.lower() in IMAGES_WRITABLE else '.png'}"


def validated(asked: dict[str, Any]) -> Placing:
    """What a browser has asked for.

    Raises:
        InputError: it is not what a browser of ours asks for.
    """
    try:
        return Placing.model_validate(asked)
    except ValidationError as error:
        raise InputError(invalid(error.errors()[0])) from None
