"""The web UI put together, and the server that runs it on this machine alone."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import gradio as gr

from repix.app import blend, compare, derain, translate
from repix.app.server import Options, Server
from repix.errors import InputError
from repix.io.files import register_temporary

_WAITING = 64  # events in the queue before the next is told to come back later
_HERE = Path(__file__).parent
_CSS = (_HERE / "ui.css").read_text(encoding="utf-8")
_HEAD = f"<script>{(_HERE / 'ui.js').read_text(encoding='utf-8')}</script>"


def build_app(server: Server) -> gr.Blocks:
    """The web UI, to be launched by `serve`.

    Args:
        server: models, limits and the folder for files.
    """
    ui = gr.Blocks(title="repix", analytics_enabled=False, fill_width=True)
    with ui:
        gr.Markdown("## repix\nRain out of photos and videos, blending without a seam. Nothing leaves this machine.")
        with gr.Tabs():
            with gr.Tab("Derain"):
                derain.build(server)
            with gr.Tab("Blend"):
                blend.build(server)
            with gr.Tab("Translate"):
                translate.build(server)
            with gr.Tab("Compare"):
                compare.build(server)

        ui.unload(server.stop_session)
    ui.queue(max_size=_WAITING, default_concurrency_limit=2)
    return ui


def theme() -> gr.themes.Base:
    """Gradio's own, in fonts that every system has: nothing is fetched from elsewhere."""
    return gr.themes.Soft(
        primary_hue="blue",
        secondary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "Menlo", "monospace"],
    )


def serve(
    options: Options,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run the web UI until it is interrupted; then every uploaded and made file is deleted.

    Args:
        options: models and limits.
        host: address to listen on; the default is reached from this machine only.
        port: None takes the first that is free from 7860 on.
        browser: open one.
        on_ready: called with its address once it answers.

    Raises:
        InputError: the port is taken, or the address is not this machine's.
        WeightsError: a model in the options that cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="repix-app-", ignore_cleanup_errors=True) as folder:
        for name in ("NO_PROXY", "no_proxy"):  # gradio asks its own server for things
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))
        register_temporary(Path(folder))
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder).resolve())
        server = Server(options, Path(folder).resolve())
        ui = build_app(server)
        try:
            _, address, _ = ui.launch(
                server_name=host,
                server_port=port,
                inbrowser=browser,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=int(options.max_megabytes * 2**20),
                footer_links=[],
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                theme=theme(),
                _frontend=False,  # else it asks itself for the page and gives up when the machine is busy
                css=_CSS,
                head=_HEAD,
            )
        except OSError as error:
            where = f"{host}:{port}" if port is not None else host
            raise InputError(f"cannot listen on {where} ({error}); choose another --port or --host") from error
        running = threading.Event()
        running.set()
        threading.Thread(target=server.sweep_while, args=(running,), daemon=True).start()
        if on_ready is not None:
            on_ready(address)
        try:
            while True:
                time.sleep(3600)
        finally:
            running.clear()
            ui.close(verbose=False)
