"""The web UI's third tab: one kind of image into another, painted or uploaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repix.app.brush import MOST_POINTS, draw_line
from repix.app.server import NETWORK, Server, present
from repix.errors import InputError
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions
from repix.io.formats import IMAGES
from repix.io.image import Picture, write_image
from repix.palettes import FACADES
from repix.tasks import TRANSLATE

SIZE = 256
"""Side of what is painted, in pixels: that of the images the facade networks learnt from."""

NONE_INSTALLED = (
    "No model that translates is installed. Train one (`repix train recipes/facades-photo.yaml`) and start the web UI "
    "with `repix app --model FOLDER`."
)
_HERE = Path(__file__).parent
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
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIZE, SIZE), FACADES[0].rgb)
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


def translate_image(server: Server, path: str, model: str, folder: Path) -> Path:
    """Translate one image file as the command line does, into `folder`.

    Raises:
        InputError, WeightsError, BackendError: as `repix.restore`; also where it only reports them.
    """
    options = BatchOptions(model=server.restorer(model, TRANSLATE), max_pixels=server.options.max_pixels)
    summary = restore(path, folder, options=options)
    for result in summary.failed:
        raise InputError(result.message)
    return summary.done[0].written[0]


def build(server: Server) -> None:
    """Put the tab's components and handlers into the web UI that is being built."""
    models = server.models(TRANSLATE)
    if not models:
        gr.Markdown(NONE_INSTALLED, elem_id="translate-none")
        return
    makers = [name for name in models if server.cards[name].palette is None]
    with gr.Tabs():
        if makers:
            with gr.Tab("Paint"):
                _build_paint(server, makers)
        with gr.Tab("Upload"):
            _build_upload(server, models)
    _build_api(server, models)


def _build_paint(server: Server, models: list[str]) -> None:
    palette = [[colour.name, "#{:02x}{:02x}{:02x}".format(*colour.rgb)] for colour in FACADES]
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            canvas = gr.HTML(
                value={"palette": palette, "size": SIZE, "start": first_facade()},
                html_template=(_HERE / "paint.html").read_text(encoding="utf-8"),
                js_on_load=(_HERE / "paint.js").read_text(encoding="utf-8"),
                apply_default_css=False,
                elem_id="paint",
            )
        with gr.Column(scale=1, min_width=300):
            model = gr.Dropdown(
                models,
                value="facades-photo" if "facades-photo" in models else models[0],
                label="Model",
                elem_id="paint-model",
            )
            result = gr.Image(
                label="What the network makes of it",
                type="filepath",
                interactive=False,
                buttons=["fullscreen"],
                elem_id="paint-result",
            )
            with gr.Row():
                image = gr.DownloadButton("Download image", interactive=False, elem_id="paint-download")
                labels = gr.DownloadButton("Download label map", interactive=False, elem_id="paint-labels")

    @server.shown
    def on_paint(painted: dict[str, Any], model: str) -> list[Any]:
        try:
            shapes = [Shape.model_validate(shape) for shape in painted.get("shapes", painted["start"])[:5_000]]
        except (ValidationError, AttributeError, KeyError, TypeError) as error:
            raise InputError("this is not a painting; reload the window") from error
        folder = server.new_folder()
        drawn = folder / "labels.png"
        write_image(drawn, Picture(draw_labels(shapes)))
        made = translate_image(server, str(drawn), model, folder / "made")
        made = made.replace(made.with_name("facade.png"))
        ready = gr.DownloadButton(value=str(made), interactive=True)
        return [str(made), ready, gr.DownloadButton(value=str(drawn), interactive=True)]

    for event in (canvas.submit, model.input):
        event(
            on_paint,
            [canvas, model],
            [result, image, labels],
            trigger_mode="always_last",
            concurrency_id=NETWORK,
            api_visibility="private",
            show_progress="hidden",
        )


def _build_upload(server: Server, models: list[str]) -> None:
    of_photos = [name for name in models if server.cards[name].palette is not None] or models
    first = "facades-labels" if "facades-labels" in models else of_photos[0]
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(label="Photo or label map", file_types=sorted(IMAGES), height=160, elem_id="translate-file")
            model = gr.Dropdown(models, value=first, label="Model", elem_id="translate-model")
            about = gr.Markdown(server.cards[first].description)
            go = gr.Button("Translate", variant="primary", elem_id="translate-go")
        with gr.Column(scale=2, min_width=300):
            slider = gr.ImageSlider(
                label="Before | after",
                type="filepath",
                interactive=False,
                max_height=640,
                buttons=["fullscreen"],
                elem_id="translate-slider",
            )
            download = gr.DownloadButton("Download", interactive=False, elem_id="translate-download")

    @server.shown
    def on_translate(path: str | None, model: str) -> list[Any]:
        path = present(path, "image")
        made = translate_image(server, path, model, server.new_folder())
        sides = (str(server.preview(server.read(path))), str(server.preview(server.read(made))))
        return [sides, gr.DownloadButton(f"Download {made.name}", value=str(made), interactive=True)]

    go.click(
        on_translate,
        [file, model],
        [slider, download],
        concurrency_id=NETWORK,
        api_visibility="private",
        show_progress_on=slider,
    )
    model.input(lambda name: server.cards[name].description, model, about, api_visibility="private", queue=False)


def _build_api(server: Server, models: list[str]) -> None:
    with gr.Column(visible=False):
        file, result = gr.File(label="file"), gr.File(label="result")
        model = gr.Dropdown(models, value=models[0], label="model")
        button = gr.Button()

    @server.shown
    def translate(file: str | None, model: str) -> str:
        """Turn one kind of image into another: what kinds, the model's card says."""
        return os.fspath(translate_image(server, present(file, "file"), model, server.new_folder()))

    button.click(translate, [file, model], result, api_name="translate", concurrency_id=NETWORK)
