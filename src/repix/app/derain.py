"""The web UI's first tab: rain out of images and videos, and rain onto images for trying."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from repix.app.server import NETWORK, PROGRESS, Server, present, save_zip
from repix.degradations.rain import RainParams, add_rain
from repix.errors import InputError
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions, VideoOptions, plan
from repix.infer.video import restore_video
from repix.io.formats import IMAGES, VIDEOS
from repix.io.image import Picture, pixels_like, read_image, write_image
from repix.tasks import DERAIN
from repix.weights import DEFAULT_MODEL

BEFORE_AFTER, RAIN = "before | after", "before | rain"
SEVERITY = 0.6

Row = dict[str, str]
"""One image of a run: `name`, and the paths `before` and `after`."""


def derain_image(server: Server, path: str, model: str, strength: float, folder: Path) -> tuple[Path, list[str]]:
    """Restore one image file as the command line does; its name, metadata, depth and transparency stay.

    Returns:
        The result, in `folder`, and what could not be kept, one sentence each.

    Raises:
        InputError, WeightsError, BackendError: as `repix.restore`; also where it only reports them.
    """
    options = BatchOptions(
        model=server.restorer(model, DERAIN), strength=strength, max_pixels=server.options.max_pixels
    )
    summary = restore(path, folder, options=options)
    for result in summary.failed:
        raise InputError(result.message)
    return summary.done[0].written[0], list(summary.done[0].notes)


def rain_on_image(server: Server, path: str, severity: float, seed: int, folder: Path) -> Path:
    """An image file with synthetic rain over it, under the same name in `folder`; the same seed gives the same rain."""
    job = plan([path], folder).jobs
    if not job or job[0].is_video:
        raise InputError(f"{path}: not an image by its name")
    image = server.read(path)
    rng = np.random.default_rng(seed)
    params = RainParams.from_severity(severity, rng, focal=1.1 * max(image.pixels.shape[:2]))
    write_image(job[0].dst, image.with_pixels(add_rain(image.pixels, params, rng)[0]))
    return job[0].dst


def derain_video(
    server: Server, path: str, model: str, strength: float, deflicker: bool, progress: gr.Progress, session: str | None
) -> tuple[Path, list[str]]:
    """Restore a video file as the command line does, with its sound; `Server.stop` ends it and nothing is left."""
    planned = plan([path], server.new_folder())
    if not planned.jobs or not planned.jobs[0].is_video:
        raise InputError(f"{path}: not a video; there is a part of its own for images")
    job = planned.jobs[0]
    done = 0.0
    with server.cancellable(session) as check:

        def advance(fraction: float, rate: float) -> None:
            nonlocal done
            check()
            done += fraction
            progress(min(done, 1.0), desc=f"{rate:.1f} frames/s")

        options = BatchOptions(
            strength=strength, max_pixels=server.options.max_pixels, video=VideoOptions(deflicker=deflicker)
        )
        notes = restore_video(server.restorer(model, DERAIN), job.src, job.dst, options=options, progress=advance)
    return job.dst, list(notes)


def show(server: Server, row: Row, view: str) -> tuple[str, str]:
    """The two sides of the slider, as files that the browser shows."""
    before = server.read(row["before"])
    right = read_image(row["after"])
    if view == RAIN:
        right = _taken_away(before, right)
    return str(server.preview(before)), str(server.preview(right))


def _taken_away(before: Picture, after: Picture) -> Picture:
    """What became darker, brightened until the strongest is white."""
    rainy, clean = pixels_like(before, after)[0], after.pixels  # 16 bit may have become 8
    layer = np.maximum(rainy, clean) - clean
    full = np.iinfo(layer.dtype).max
    strongest = max(float(np.percentile(layer[::4, ::4], 99.9)), full / 16)  # a clean image stays black
    pixels = np.minimum(np.rint(layer * np.float32(full / strongest)), full).astype(layer.dtype)
    return replace(after, pixels=pixels, alpha=None, grey=False, metadata={})


def build(server: Server) -> None:
    """Put the tab's components and handlers into the web UI that is being built."""
    models = server.models(DERAIN)
    model_options: dict[str, Any] = {
        "choices": models,
        "value": DEFAULT_MODEL if DEFAULT_MODEL in models else (models[0] if models else None),
        "label": "Model",
    }
    with gr.Tabs():
        with gr.Tab("Images"):
            _build_images(server, model_options)
        with gr.Tab("Video"):
            _build_video(server, model_options)
    _build_api(server, model_options)


def _build_images(server: Server, model_options: dict[str, Any]) -> None:
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            files = gr.File(
                label="Rainy images",
                file_count="multiple",
                file_types=sorted(IMAGES),
                height=180,
                elem_id="derain-files",
            )
            model = gr.Dropdown(**model_options)
            strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength", info="0 leaves the rain")
            with gr.Row():
                go = gr.Button("Take the rain out", variant="primary", scale=2, min_width=150, elem_id="derain-go")
                cancel = gr.Button("Cancel", min_width=80, elem_id="derain-cancel")
            with gr.Accordion("No rain at hand? Add some", open=False):
                severity = gr.Slider(0, 1, value=SEVERITY, step=0.05, label="Severity", info="drizzle to storm")
                seed = gr.Slider(0, 99, value=0, step=1, label="Seed", info="another number, other drops")
                add = gr.Button("Add rain", elem_id="derain-add")
        with gr.Column(scale=2, min_width=300):
            which = gr.Dropdown(label="Image", visible=False, interactive=True, elem_id="derain-which")
            slider = gr.ImageSlider(
                label="Before | after",
                type="filepath",
                interactive=False,
                max_height=640,
                buttons=["fullscreen"],
                elem_id="derain-slider",
            )
            with gr.Row(equal_height=True):
                view = gr.Radio(
                    [BEFORE_AFTER, RAIN], value=BEFORE_AFTER, show_label=False, container=False, elem_id="derain-view"
                )
                download = gr.DownloadButton("Download", interactive=False, elem_id="derain-download")
            said = gr.Markdown(elem_id="derain-said")
    rows = gr.State([])

    @server.shown
    def run(
        paths: list[str] | None,
        model: str,
        strength: float,
        view: str,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> list[Any]:
        begun = time.perf_counter()
        folder = server.new_folder()
        found: list[Row] = []
        notes: list[str] = []
        with server.cancellable(request.session_hash) as check:
            paths = paths or []
            present(" ".join(paths), "image")
            for number, path in enumerate(paths):
                check()
                progress((number, len(paths)), unit="images", desc=Path(path).name)
                try:
                    result, own_notes = derain_image(server, path, model, strength, folder / str(number))
                except Exception as error:
                    if len(paths) == 1:
                        raise
                    gr.Warning(server.one_line(error), title="Left out")
                    continue
                found.append({"name": Path(path).name, "before": path, "after": str(result)})
                notes += own_notes
        if not found:
            raise gr.Error("none of the images could be read", title="Sorry", print_exception=False)
        results = [Path(row["after"]) for row in found]
        ready = results[0] if len(results) == 1 else save_zip(results, folder / "derained.zip")
        choices = [(row["name"], index) for index, row in enumerate(found)]
        what = f"{len(found)} images" if len(found) > 1 else "1 image"
        say = f"{what} in {time.perf_counter() - begun:.1f} s"
        return [
            found,
            gr.Dropdown(choices=choices, value=0, visible=len(found) > 1),
            show(server, found[0], view),
            gr.DownloadButton(f"Download {ready.name}", value=str(ready), interactive=True),
            " · ".join([say, *dict.fromkeys(notes)]),
        ]

    @server.shown
    def look(found: list[Row], index: int | None, view: str) -> Any:
        return show(server, found[index or 0], view) if found else None

    @server.shown
    def on_rain(paths: list[str] | None, severity: float, seed: float) -> list[str]:
        folder = server.new_folder()
        present(" ".join(paths or []), "image")
        return [
            str(rain_on_image(server, path, severity, int(seed), folder / str(i))) for i, path in enumerate(paths or [])
        ]

    shown = [rows, which, slider, download, said]
    go.click(
        run,
        [files, model, strength, view],
        shown,
        concurrency_id=NETWORK,
        api_visibility="private",
        show_progress_on=slider,
    )
    add.click(on_rain, [files, severity, seed], files, api_visibility="private").success(
        run,
        [files, model, strength, view],
        shown,
        concurrency_id=NETWORK,
        api_visibility="private",
        show_progress_on=slider,
    )
    cancel.click(server.stop_session, queue=False, api_visibility="private")
    which.input(look, [rows, which, view], slider, api_visibility="private")
    view.input(look, [rows, which, view], slider, api_visibility="private")


def _build_video(server: Server, model_options: dict[str, Any]) -> None:
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            video = gr.File(label="Rainy video", file_types=sorted(VIDEOS), height=180, elem_id="video-file")
            model = gr.Dropdown(**model_options)
            strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength")
            deflicker = gr.Checkbox(label="Reduce flicker", info="while the camera stands still")
            with gr.Row():
                go = gr.Button("Take the rain out", variant="primary", scale=2, min_width=150, elem_id="video-go")
                cancel = gr.Button("Cancel", min_width=80, elem_id="video-cancel")
        with gr.Column(scale=2, min_width=300):
            result = gr.Video(label="Result, with its sound", interactive=False, height=420, elem_id="video-result")
            download = gr.DownloadButton("Download", interactive=False, elem_id="video-download")
            said = gr.Markdown(elem_id="video-said")

    @server.shown
    def run(
        path: str | None,
        model: str,
        strength: float,
        deflicker: bool,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> list[Any]:
        progress(0, desc="starting")
        path = present(path, "video")
        written, notes = derain_video(server, path, model, strength, deflicker, progress, request.session_hash)
        button = gr.DownloadButton(f"Download {written.name}", value=str(written), interactive=True)
        return [str(written), button, " · ".join([f"**{written.name}**", *notes])]

    go.click(
        run,
        [video, model, strength, deflicker],
        [result, download, said],
        concurrency_id=NETWORK,
        api_visibility="private",
        show_progress_on=result,
    )
    cancel.click(server.stop_session, queue=False, api_visibility="private")


def _build_api(server: Server, model_options: dict[str, Any]) -> None:
    with gr.Column(visible=False):
        file = gr.File(label="file")
        result = gr.File(label="result")
        model = gr.Dropdown(**model_options)
        strength = gr.Slider(0, 1, value=1, label="strength")
        severity = gr.Slider(0, 1, value=SEVERITY, label="severity")
        seed = gr.Number(0, precision=0, minimum=0, label="seed")
        deflicker = gr.Checkbox(label="deflicker")
        button = gr.Button()

    @server.shown
    def derain(file: str | None, model: str, strength: float) -> str:
        """Take the rain out of an image; name, metadata, depth and transparency are kept."""
        return os.fspath(derain_image(server, present(file, "file"), model, strength, server.new_folder())[0])

    @server.shown
    def video(
        file: str | None,
        model: str,
        strength: float,
        deflicker: bool,
        request: gr.Request,
        progress: gr.Progress = PROGRESS,
    ) -> str:
        """Take the rain out of a video; its sound, frame times and tags are kept."""
        path = present(file, "file")
        return os.fspath(derain_video(server, path, model, strength, deflicker, progress, request.session_hash)[0])

    @server.shown
    def rain(file: str | None, severity: float, seed: float) -> str:
        """Put synthetic rain over an image; the same seed gives the same rain."""
        return os.fspath(rain_on_image(server, present(file, "file"), severity, int(seed), server.new_folder()))

    button.click(derain, [file, model, strength], result, api_name="derain", concurrency_id=NETWORK)
    button.click(video, [file, model, strength, deflicker], result, api_name="video", concurrency_id=NETWORK)
    button.click(rain, [file, severity, seed], result, api_name="rain")
