"""`repix app`: the web UI."""

from __future__ import annotations

import click

from repix.cli.output import say


@click.command("app")
@click.option("-m", "--model", "models", multiple=True, metavar="DIR", help="Folder of your own model; repeatable.")
@click.option("--port", type=click.IntRange(1, 65535), help="[the first free one from 7860 on]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for the network.")
@click.option("--browser/--no-browser", default=True, help="Open it in the browser. [yes]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, coreml or directml.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [all cores]")
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=100_000_000,
    show_default=True,
    help="Refuse larger images.",
)
@click.option(
    "--max-upload",
    type=click.FloatRange(0, min_open=True),
    default=500,
    show_default=True,
    help="Refuse larger uploads, in MB.",
)
@click.option(
    "--keep",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    help="Minutes until uploads and results are deleted; when repix ends, all are.",
)
def app(
    models: tuple[str, ...],
    port: int | None,
    host: str,
    browser: bool,
    device: str,
    threads: int | None,
    max_pixels: int,
    max_upload: float,
    keep: float,
) -> None:
    """Open the web UI: derain, blend, translate and compare in a browser.

    Only this machine reaches it, and it loads nothing from the internet. Ctrl-C ends it.
    """
    import ipaddress

    from repix._types import require

    require("app")
    from repix.app.server import Options
    from repix.app.ui import serve

    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        say(f"warning: everyone who can reach {host} can use repix; there is no password", err=True)
    options = Options(models, device, threads, max_pixels, max_upload, keep)
    try:
        serve(
            options,
            host=host,
            port=port,
            browser=browser,
            on_ready=lambda address: say(f"repix is at {address} (Ctrl-C ends it)"),
        )
    except KeyboardInterrupt:
        say("repix: the web UI has ended, its files are deleted", err=True)
