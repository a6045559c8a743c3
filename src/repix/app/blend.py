"""The web UI's second tab: a region of one image into another, chosen, moved and solved while one looks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from repix.app import examples
from repix.app.brush import MOST_POINTS, draw_line
from repix.app.server import Server, present
from repix.errors import InputError
from repix.io.formats import IMAGES, IMAGES_WRITABLE
from repix.io.image import Picture, write_image
from repix.poisson.blend import BlendReport, Mode
from repix.poisson.compose import BlendedPicture, blend_images
from repix.poisson.mask import OutsideError, create_mask_from_points, parse_polygon

_HERE = Path(__file__).parent
_SHOWN = 1600  # pixels a side at most of what the browser draws; the result is made from the full images
_CANVAS = "document.querySelector('#blend .rx')"
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


def _said(report: BlendReport, seconds: float) -> str:
    return (
        f"{report.pixels:,} pixels in {seconds:.2f} s, error at most about {report.error_levels:.2g} of 255 grey levels"
    )


def result_name(target: str) -> str:
    """`NAME_blend.EXT`, as the command line calls it."""
    path = Path(target)
    return f"{path.stem}_blend{path.suffix if path.suffix.lower() in IMAGES_WRITABLE else '.png'}"


def build(server: Server) -> None:
    """Put the tab's components and handlers into the web UI that is being built."""
    kinds = sorted(IMAGES)
    with gr.Row(equal_height=True):
        source = gr.UploadButton("Source image…", file_types=kinds, size="md", elem_id="blend-source")
        target = gr.UploadButton("Target image…", file_types=kinds, size="md", elem_id="blend-target")
        example = gr.Dropdown(
            list(examples.PAIRS),
            value=None,
            label="Or an example",
            show_label=True,
            elem_id="blend-example",
            min_width=200,
        )
    canvas = gr.HTML(
        html_template=(_HERE / "blend.html").read_text(encoding="utf-8"),
        js_on_load=(_HERE / "blend.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="blend",
    )
    with gr.Row():
        make = gr.Button("Download the result", elem_id="blend-download")
        file = gr.DownloadButton("The result", visible="hidden", elem_id="blend-file")

    def image_shown(path: str) -> dict[str, Any]:
        image = server.read(path)
        height, width = image.pixels.shape[:2]
        url = server.url(server.preview(image, largest=_SHOWN))
        return {"id": server.name(path), "url": url, "width": width, "height": height}

    @server.shown
    def on_upload(path: str | None) -> dict[str, Any]:
        return image_shown(present(path, "image"))

    @server.shown
    def on_example(name: str | None) -> dict[str, Any]:
        pair = examples.PAIRS[present(name, "example")]
        folder = server.new_folder()
        shown: dict[str, Any] = {"polygon": pair.polygon, "centre": pair.centre, "mode": pair.mode}
        for which, pixels in zip(("source", "target"), pair.draw(), strict=True):
            path = folder / f"{which}.png"
            write_image(path, pixels)
            shown[which] = image_shown(str(path))
        return shown

    def solved(asked: dict[str, Any]) -> tuple[BlendedPicture, Path, float]:
        """The result, the target's file and the seconds. The images are those that the browser shows and names, so
        nothing that is uploaded meanwhile gets between."""
        paths = [server.named(present(asked.get(which), f"{which} image")) for which in ("source", "target")]
        source, target = (server.read(path) for path in paths)
        begun = time.perf_counter()
        result = paste(source, target, _validated(asked))
        return result, Path(paths[1]), time.perf_counter() - begun

    def on_ask(asked: dict[str, Any] | None) -> Any:
        if not isinstance(asked, dict) or asked.get("kind") != "ask":
            return gr.skip()
        try:
            result, _, seconds = solved(asked)
        except Exception as error:
            return {"kind": "failed", "serial": asked.get("serial"), "said": server.one_line(error)}
        url = server.url(server.preview(result, largest=_SHOWN))
        return {"kind": "result", "serial": asked.get("serial"), "url": url, "said": _said(result.report, seconds)}

    @server.shown
    def on_download(asked: dict[str, Any]) -> str:
        result, target, _ = solved(asked)
        path = server.new_folder() / result_name(target.name)
        for note in (*result.notes, *write_image(path, result)):
            gr.Info(note)
        return str(path)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    for button, which in ((source, "source"), (target, "target")):
        arrived = gr.JSON(visible=False)
        button.upload(on_upload, button, arrived, trigger_mode="always_last", **private).success(
            None, arrived, js=f"(shown) => {{ {_CANVAS}.show({{ {which}: shown }}); }}"
        )
    arrived = gr.JSON(visible=False)
    example.input(on_example, example, arrived, trigger_mode="always_last", **private).success(
        None, arrived, js=f"(shown) => {{ {_CANVAS}.show(shown); }}"
    )
    canvas.submit(on_ask, canvas, canvas, trigger_mode="always_last", **private)
    make.click(on_download, canvas, file, js=f"() => [{_CANVAS}.asked()]", api_visibility="private").success(
        None, js="() => document.querySelector('#blend-file').click()"
    )
    _build_api(server)


def _build_api(server: Server) -> None:
    with gr.Column(visible=False):
        source, target, result = gr.File(label="source"), gr.File(label="target"), gr.File(label="result")
        polygon = gr.Textbox(label="polygon")
        x, y = gr.Number(label="x"), gr.Number(label="y")
        scale, rotate = gr.Number(1, label="scale"), gr.Number(0, label="rotate")
        mode = gr.Dropdown(list(get_args(Mode)), value="import", label="mode")
        report = gr.JSON(label="report")
        button = gr.Button()

    @server.shown
    def blending(
        source: str | None, target: str | None, polygon: str, x: float, y: float, scale: float, rotate: float, mode: str
    ) -> list[Any]:
        """Paste a polygon of the source into the target without a seam.

        The polygon is "x,y x,y x,y" in the source; the middle of its bounding box goes to (x, y) of the target, scaled
        and turned counter-clockwise by `rotate` degrees.
        """
        pasted, ground = server.read(present(source, "source")), server.read(present(target, "target"))
        rings = parse_polygon(polygon)
        if len(rings) != 1:
            raise InputError(f"the polygon has {len(rings)} rings; expected one")
        asked = {"polygon": rings[0], "x": x, "y": y, "scale": scale, "rotate": rotate, "mode": mode}
        begun = time.perf_counter()
        blended = paste(pasted, ground, _validated(asked))
        seconds = time.perf_counter() - begun
        path = server.new_folder() / result_name(str(target))
        notes = write_image(path, blended)
        told = {
            "pixels": blended.report.pixels,
            "error_levels": round(blended.report.error_levels, 4),
            "seconds": round(seconds, 4),
        }
        return [str(path), {**told, "notes": [*blended.notes, *notes]}]

    button.click(blending, [source, target, polygon, x, y, scale, rotate, mode], [result, report], api_name="blend")


def _validated(asked: dict[str, Any]) -> Placing:
    try:
        return Placing.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
