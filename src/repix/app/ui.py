"""The web UI and the API put together, and the server that runs them on this machine alone."""

from __future__ import annotations

import contextlib
import errno
import logging
import mimetypes
import os
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, HTMLResponse

from repix import __version__
from repix._environment import STOP_SIGNALS
from repix.app import api, docs, routes
from repix.app.files import GoneError, open_folder
from repix.app.guard import Guard, PatientProtocol
from repix.app.server import Options, Server
from repix.errors import InputError
from repix.tasks import TRANSLATE

_PAGE = Path(__file__).parent / "page"
_SAMPLE = ("rainy.jpg", Path(__file__).parents[3] / "examples" / "rainy.jpg")  # in a wheel, beside the page
_FIRST_PORT, _PORTS = 7860, 100
_TAKEN = {errno.EADDRINUSE, errno.EACCES}


def build_app(server: Server, *, root_path: str = "") -> FastAPI:
    """The web UI and the API, without what guards them; see `serve`.

    Args:
        server: models, limits and the folder for files.
        root_path: the path under which a reverse proxy offers it.
    """
    app = FastAPI(
        title="repix",
        version=__version__,
        description="Rain out of photos and videos, blending without a seam. A file in, a file out.",
        docs_url=None,
        redoc_url=None,
        root_path=root_path,
    )
    app.state.server = server
    api.add_errors(app, server)
    app.include_router(api.router)
    if server.models(TRANSLATE):
        app.include_router(api.translating)
    app.include_router(_build_page(app), include_in_schema=False)
    app.include_router(routes.router, include_in_schema=False, prefix="/ui")
    return app


def _build_page(app: FastAPI) -> APIRouter:
    """The page and what belongs to it; a fixed list of files, so that no path leads elsewhere."""
    router = APIRouter()
    files = {path.name: path for path in _PAGE.iterdir() if path.is_file()}
    files.setdefault(*_SAMPLE)
    fresh = {"Cache-Control": "no-cache"}

    @router.get("/")
    def page() -> FileResponse:
        return FileResponse(files["index.html"], headers=fresh)

    @router.get("/static/{name}")
    def static(name: str) -> FileResponse:
        if name not in files or not files[name].is_file():
            raise GoneError(f"there is no {name!r}")
        kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
        return FileResponse(files[name], media_type=kind, headers=fresh)

    @router.get("/docs")
    def documentation(request: Request) -> HTMLResponse:
        return HTMLResponse(docs.render(app.openapi(), str(request.base_url)))

    return router


def serve(
    options: Options,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    root_path: str = "",
    names: tuple[str, ...] = (),
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run the web UI until it is interrupted; then every uploaded and made file is deleted.

    Args:
        options: models and limits.
        host: address to listen on; the default is reached from this machine only.
        port: None takes the first that is free from 7860 on.
        browser: open one.
        root_path: the path under which a reverse proxy offers it, such as `/repix`.
        names: further names by which it may be asked for.
        on_ready: called with its address once it answers.

    Raises:
        KeyboardInterrupt: it has been interrupted.
        InputError: the port is taken, or the address is not this machine's.
        WeightsError: a model in the options that cannot be used.
    """
    with open_folder() as folder, _listen(host, port) as listening:
        server = Server(options, folder)
        bound = listening.getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        address = f"http://{'localhost' if bound[0] in ('0.0.0.0', '::') else shown}:{bound[1]}/"
        guarded = Guard(
            build_app(server, root_path=root_path),
            host=host,
            names=names,
            max_bytes=int(options.max_megabytes * 2**20),
        )
        queues = (server.network, server.solves)
        running = threading.Event()
        running.set()
        threading.Thread(target=server.store.sweep_while, args=(running,), daemon=True).start()

        class Running(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if on_ready is not None:
                    on_ready(address)
                if browser:
                    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                """As uvicorn's; those who wait for a job are answered that it has been cancelled."""
                for queue in queues:
                    queue.stop()
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what is cut off now is no error
                super().handle_exit(sig, frame)

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                """As uvicorn's, for one signal more, and without sending them to the process again in the end."""
                heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
                before = {number: signal.signal(number, self.handle_exit) for number in heeded}
                try:
                    yield
                finally:
                    for number, handler in before.items():
                        signal.signal(number, handler)

        config = uvicorn.Config(
            guarded,
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what a client does wrong is answered
        try:
            Running(config).run(sockets=[listening])
        finally:
            running.clear()
            for queue in queues:
                queue.close()
        raise KeyboardInterrupt


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: it cannot.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise InputError(f"--host {host} is no address of this machine; 127.0.0.1 is for this machine alone") from None
    ports = [port] if port is not None else range(_FIRST_PORT, _FIRST_PORT + _PORTS)
    problem: OSError | None = None
    for one in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((where[0], one, *where[2:]))
            listening.listen(2048)
            return listening
        except OSError as error:
            listening.close()
            problem = error
            if error.errno not in _TAKEN:
                break
    assert problem is not None
    raise InputError(_why(host, port, problem)) from problem


def _why(host: str, port: int | None, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        what = f"port {port}" if port is not None else f"every port from {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1}"
        return f"{what} is in use, perhaps by another repix; choose another --port"
    if error.errno == errno.EACCES:
        return f"port {port} is not for you to listen on; choose a --port of 1024 and more"
    return f"--host {host} is no address of this machine; 127.0.0.1 is for this machine alone"
