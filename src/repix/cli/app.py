"""`repix app`: the web UI."""

from __future__ import annotations

import click

from repix.cli.options import device_option, max_pixels_option, threads_option
from repix.cli.output import say
from repix.cli.values import NAME, Number


@click.command("app")
@click.option(
    "-m", "--model", "models", multiple=True, type=NAME, metavar="DIR", help="Folder of your own model; repeatable."
)
@click.option("--port", type=click.IntRange(1, 65535), help="[the first free one from 7860 on]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for the network.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="A name it may be asked for by; repeatable.")
@click.option("--root-path", default="", metavar="PATH", help="Where a reverse proxy offers it, such as /repix.")
@click.option("--browser/--no-browser", default=True, help="Open it in the browser. [yes]")
@device_option
@threads_option
@max_pixels_option(100_000_000)
@click.option(
    "--max-upload",
    type=Number(0, min_open=True),
    default=500,
    show_default=True,
    help="Refuse larger uploads, in MB.",
)
@click.option(
    "--max-disk",
    type=Number(0, min_open=True),
    default=10_000,
    show_default=True,
    help="Refuse uploads when all files together are larger, in MB.",
)
@click.option(
    "--keep",
    type=Number(0, min_open=True),
    default=60,
    show_default=True,
    help="Minutes until the files of a window that is gone are deleted; when repix ends, all are.",
)
def app(
    models: tuple[str, ...],
    port: int | None,
    host: str,
    names: tuple[str, ...],
    root_path: str,
    browser: bool,
    device: str,
    threads: int | None,
    max_pixels: int,
    max_upload: float,
    max_disk: float,
    keep: float,
) -> None:
    """Open the web UI: derain, blend, translate and compare in a browser.

    Only this machine reaches it, and it loads nothing from the internet. Ctrl-C ends it.
    """
    from repix._types import require

    require("app")
    from repix.app.guard import is_loopback
    from repix.app.server import Options
    from repix.app.ui import serve

    if not is_loopback(host):
        say(f"warning: everyone who can reach {host} can use repix; there is no password", err=True)
    options = Options(models, device, threads, max_pixels, max_upload, max_disk, keep)
    try:
        serve(
            options,
            host=host,
            port=port,
            browser=browser,
            root_path=root_path,
            names=names,
            on_ready=lambda address: say(f"repix is at {address} (Ctrl-C ends it)"),
        )
    except KeyboardInterrupt:
        say("repix: the web UI has ended, its files are deleted", err=True)
