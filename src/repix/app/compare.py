"""The web UI's fourth tab: one image through several models, next to one another."""

from __future__ import annotations

import html
import os
import time
from pathlib import Path
from typing import Any

import gradio as gr

from repix.app.server import NETWORK, PROGRESS, Server, present
from repix.errors import InputError
from repix.infer.jobs import plan
from repix.io.formats import IMAGES
from repix.io.image import write_image
from repix.tasks import DERAIN

MOST = 6
"""Models at once."""


def compare_models(
    server: Server, path: str, models: list[str], progress: gr.Progress
) -> list[tuple[str, Path, float]]:
    """One image through each model.

    Returns:
        For each its name, the result (the image's name with the model's in it), and the network's seconds.

    Raises:
        InputError: no model, or too many.
    """
    if not 1 <= len(models) <= MOST:
        raise InputError(f"choose 1 to {MOST} models to compare; {len(models) or 'none'} are chosen")
    image, folder = server.read(path), server.new_folder()
    rows = []
    for number, name in enumerate(models):
        progress((number, len(models)), unit="models", desc=name)
        restorer = server.restorer(name, DERAIN)
        begun = time.perf_counter()
        result = restorer(image.pixels)
        seconds = time.perf_counter() - begun
        written = plan([path], folder).jobs[0].dst
        tag = Path(name).name
        written = written.with_name(f"{written.stem}_{tag}{written.suffix}")
        write_image(written, image.with_pixels(result))
        rows.append((name, written, seconds))
    return rows


def build(server: Server) -> None:
    """Put the tab's components and handlers into the web UI that is being built."""
    models = server.models(DERAIN)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.File(label="Rainy image", file_types=sorted(IMAGES), height=160, elem_id="compare-file")
            chosen = gr.CheckboxGroup(models, value=models[:MOST], label="Models", elem_id="compare-models")
            go = gr.Button("Compare", variant="primary", elem_id="compare-go")
            gr.Markdown("More models: `repix app --model FOLDER`, once for each.")
        with gr.Column(scale=3, min_width=300):
            shown = gr.HTML(elem_id="compare-shown", apply_default_css=False)

    @server.shown
    def on_compare(path: str | None, chosen: list[str], progress: gr.Progress = PROGRESS) -> str:
        path = present(path, "image")
        rows = [("as it was", Path(path), None), *compare_models(server, path, chosen, progress)]
        return _gallery([(name, server.url(server.preview(server.read(file))), s) for name, file, s in rows])

    go.click(on_compare, [file, chosen], shown, concurrency_id=NETWORK, api_visibility="private")

    with gr.Column(visible=False):
        api_file, results = gr.File(label="file"), gr.File(label="results", file_count="multiple")
        api_models = gr.CheckboxGroup(models, value=models[:MOST], label="models")
        seconds_taken = gr.JSON(label="seconds")
        button = gr.Button()

    @server.shown
    def compare(file: str | None, models: list[str], progress: gr.Progress = PROGRESS) -> list[Any]:
        """One image through several models: the results, and for each model the seconds of the network."""
        rows = compare_models(server, present(file, "file"), models, progress)
        return [[os.fspath(made) for _, made, _ in rows], {name: round(seconds, 4) for name, _, seconds in rows}]

    button.click(compare, [api_file, api_models], [results, seconds_taken], api_name="compare", concurrency_id=NETWORK)


def _gallery(rows: list[tuple[str, str, float | None]]) -> str:
    """Images with name and seconds beneath, each a link to its full size."""
    figures = []
    for name, url, seconds in rows:
        caption = html.escape(name if seconds is None else f"{name} · {seconds:.2f} s")
        address = html.escape(url)
        figures.append(
            f'<figure><a href="{address}" target="_blank"><img src="{address}" alt="{caption}"></a>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return f'<div class="rx rx-grid">{"".join(figures)}</div>'
