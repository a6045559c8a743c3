"""What the Translate tab does: one kind of image into another, painted or uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from repix._types import Image
from repix.app.brush import MOST_POINTS, draw_line
from repix.app.queue import Job
from repix.app.server import Server
from repix.errors import InputError
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions, Naming
from repix.io.image import to_8_bits
from repix.palettes import FACADES
from repix.tasks import TRANSLATE

SIZE = 256
"""Side of what is painted, in pixels: that of the images the facade networks learnt from."""

_COLOURS = {colour.name: colour.rgb for colour in FACADES}


class Shape(BaseModel):
    """A rectangle by two opposite corners, or a line of a round brush; (x, y) in pixels of the label map."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["rect", "line"]
    label: str
    width: float = Field(default=1, gt=0, le=SIZE)
    points: list[tuple[float, float]] = Field(min_length=1, max_length=MOST_POINTS)


def draw_labels(shapes: list[Shape]) -> NDArray[np.uint8]:
    """The label map, (256, 256, 3), in exactly the palette's colours: a network has never seen any between them.

    Raises:
        InputError: a class that the palette does not have.
    """
    import PIL.Image
    from PIL import ImageDraw

    image = PIL.Image.new("RGB", (SIZE, SIZE), FACADES[0].rgb)
    pen = ImageDraw.Draw(image)  # no smoothing of edges
    for shape in shapes:
        if shape.label not in _COLOURS:
            raise InputError(f"{shape.label!r} is no class of a facade; choose {', '.join(_COLOURS)}")
        colour, points = _COLOURS[shape.label], shape.points
        if shape.kind == "rect":
            (x0, y0), (x1, y1) = points[0], points[-1]
            pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=colour)
            continue
        draw_line(pen, points, shape.width, colour)
    return np.asarray(image)


def first_facade() -> list[dict[str, Any]]:
    """What the canvas begins with: a house of three floors."""

    def box(label: str, x0: int, y0: int, x1: int, y1: int) -> dict[str, Any]:
        return {"kind": "rect", "label": label, "points": [[x0, y0], [x1, y1]]}

    shapes = [box("facade", 16, 12, 239, 255), box("cornice", 16, 12, 239, 22), box("molding", 16, 92, 239, 97)]
    for top in (32, 106, 176):
        for left in (34, 106, 178):
            if (top, left) == (176, 106):
                shapes.append(box("door", 108, 184, 146, 251))
                continue
            shapes += [
                box("window", left, top, left + 42, top + 50),
                box("sill", left - 3, top + 51, left + 45, top + 55),
            ]
    return shapes


def translate_image(
    server: Server, job: Job, path: Path, model: str, folder: Path, *, format: str | None = None
) -> tuple[Path, tuple[str, ...]]:
    """Translate one image file as the command line does.

    Returns:
        The result, in `folder` and called as the command line calls it, and notes.

    Raises:
        InputError, WeightsError, BackendError: as `repix.restore`; also where it only reports them.
        StoppedError: the job has been cancelled.
    """
    restorer = server.restorer(model, TRANSLATE, check=job.check)
    options = BatchOptions(model=restorer, max_pixels=server.options.max_pixels, format=format)
    summary = restore(path, folder, options=options)
    job.check()
    for result in summary.failed:
        raise InputError(result.message)
    made = summary.done[0].written[0]
    named = made.with_name(f"{made.stem}_{Naming.of(restorer.card).tag}{made.suffix}")
    return made.replace(named), summary.done[0].notes


def looks_like_labels(pixels: Image) -> bool:
    """Whether an image holds little but the colours of facades' label maps, as a network that paints photos expects."""
    some = to_8_bits(pixels[::4, ::4]) if pixels.dtype == np.uint16 else pixels[::4, ::4]
    near = np.array([colour.rgb for colour in FACADES], np.int16)
    distance = np.abs(some.reshape(-1, 1, 3).astype(np.int16) - near).max(2).min(1)
    return bool((distance < 40).mean() > 0.9)
