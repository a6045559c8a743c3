"""The round brush of the Blend and Translate tabs, without smoothed edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

MOST_POINTS = 20_000
"""Points of one line that are accepted from a browser."""


def draw_line(
    pen: ImageDraw, points: Sequence[tuple[float, float]], width: float, colour: int | tuple[int, ...]
) -> None:
    """Draw a line with round ends and joints.

    Args:
        pen: of the image.
        points: (x, y), at least one; the centre of a pixel has whole coordinates.
        width: in pixels.
        colour: in the image's mode.
    """
    if len(points) > 1:
        pen.line([tuple(point) for point in points], fill=colour, width=max(1, round(width)))
    reach = max(0.0, (width - 1) / 2)  # Pillow counts the pixels on the rim as inside
    for x, y in points:
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
