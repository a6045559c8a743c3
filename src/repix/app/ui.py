"""The web UI's own routes, and the server that runs them on this machine alone."""

from __future__ import annotations

import contextlib
import errno
import logging
import mimetypes
import os
import signal
import socket
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import anyio
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, HTMLResponse

from repix import __version__
from repix.app import blend, docs, examples
from repix.app.api import add_errors, build_router, finished, named, save_body
from repix.app.derain import Derained, derain_file, rain_on_image, save_mixed, telling
from repix.app.files import GoneError, Session, open_folder
from repix.app.guard import Guard, PatientProtocol
from repix.app.queue import Job, StoppedError
from repix.app.server import Options, Server, present, save_preview, save_zip
from repix.app.translate import SIZE, Shape, draw_labels, first_facade, looks_like_labels, translate_image
from repix.errors import InputError
from repix.infer.restorer import Quality
from repix.io.formats import IMAGES, IMAGES_WRITABLE, VIDEOS, by_suffix
from repix.io.image import Picture, write_image
from repix.palettes import FACADES
from repix.poisson.solver import interruptible
from repix.tasks import DERAIN, TRANSLATE
from repix.weights import DEFAULT_MODEL

PREVIEW_SIDE = 2560
BLEND_SIDE = 1600  # of what the browser draws; the result is made from the full images
MAX_MODELS = 6
"""Models that are compared at once."""

_PAGE = Path(__file__).parent / "page"
_SAMPLE = ("rainy.jpg", Path(__file__).parents[3] / "examples" / "rainy.jpg")  # in a wheel, beside the page
_FIRST_PORT, _PORTS = 7860, 100
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_TAKEN = {errno.EADDRINUSE, errno.EACCES}
_READING = 2  # images that are decoded for previews at once


def session_of(request: Request, x_repix_session: Annotated[str, Header()] = "") -> Session:
    """The session that a request names in its header, which no form of a foreign page can send."""
    server: Server = request.app.state.server
    return server.store.session(x_repix_session)


Mine = Annotated[Session, Depends(session_of)]


class Asked(BaseModel):
    """A job that the page asks for."""

    kind: Literal["derain", "translate", "compare", "paint"]
    file: str = ""
    model: str = ""
    models: list[str] = []
    quality: Quality = "fast"
    shapes: list[Shape] = Field(default=[], max_length=5_000)


class Rain(BaseModel):
    """Rain that is to be put over an image."""

    file: str
    severity: float = Field(default=0.6, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


class Wanted(BaseModel):
    """A download: results of jobs, one file or a zip."""

    jobs: list[str] = Field(min_length=1, max_length=10_000)
    strength: float = Field(default=1, ge=0, le=1)
    format: str | None = None
    compare: bool = False


class Jobs(BaseModel):
    """Jobs by their ids."""

    jobs: list[str]


class BlendAsked(blend.Placing):
    """A placement, and the files of both images."""

    source: str | None = None
    target: str | None = None
    download: bool = False


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
    add_errors(app, server)
    app.include_router(build_router(server))
    app.include_router(_build_page(app), include_in_schema=False)
    app.include_router(_build_work(server), include_in_schema=False, prefix="/ui")
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


def _build_work(server: Server) -> APIRouter:
    """What the page asks for."""
    router = APIRouter()
    store = server.store
    reading = anyio.CapacityLimiter(_READING)
    derainers, translators = server.models(DERAIN), server.models(TRANSLATE)

    def address(mine: Session, path: Path) -> str:
        return f"ui/files/{store.offer(mine, path)}"

    def describe(mine: Session, path: Path, side: int) -> dict[str, Any]:
        """What the page is told of an image or a video that has been uploaded."""
        told: dict[str, Any] = {"id": store.offer(mine, path), "name": path.name, "kind": "video"}
        format = by_suffix(path)
        if format is not None and format.kind == "video":
            return told | {"url": address(mine, path)}
        image = server.read(path)
        height, width = image.pixels.shape[:2]
        preview = save_preview(image, store.new_folder(mine), max_side=side)
        labels = looks_like_labels(image.pixels)
        return told | {
            "kind": "image",
            "width": width,
            "height": height,
            "url": address(mine, preview),
            "labels": labels,
        }

    @router.get("/config")
    def config() -> dict[str, Any]:
        """What the page needs to know once."""
        return {
            "models": {
                "derain": derainers,
                "translate": [
                    {
                        "name": name,
                        "about": server.cards[name].description,
                        "labels": server.cards[name].palette is None,
                    }
                    for name in translators
                ],
            },
            "model": DEFAULT_MODEL if DEFAULT_MODEL in derainers else derainers[0],
            "drafts": [name for name in derainers if server.cards[name].scales is not None],
            "accept": sorted(IMAGES | VIDEOS),
            "images": sorted(IMAGES),
            "formats": sorted(suffix.lstrip(".") for suffix in IMAGES_WRITABLE),
            "max_bytes": int(server.options.max_megabytes * 2**20),
            "beat_seconds": min(20.0, 15 * server.options.keep_minutes),
            "examples": list(examples.PAIRS),
            "paint": {
                "palette": [[colour.name, "#{:02x}{:02x}{:02x}".format(*colour.rgb)] for colour in FACADES],
                "size": SIZE,
                "start": first_facade(),
            },
            "max_models": MAX_MODELS,
        }

    @router.post("/files")
    async def upload(request: Request, mine: Mine, name: str = "", side: int = PREVIEW_SIDE) -> dict[str, Any]:
        """An image or a video as a raw body; what it holds says what it is."""
        path = store.new_folder(mine) / "upload"
        await save_body(request, path, server)

        def look() -> dict[str, Any]:
            kept = named(path, name)
            try:
                return describe(mine, kept, min(side, PREVIEW_SIDE))
            except BaseException:
                kept.unlink(missing_ok=True)
                raise

        return await anyio.to_thread.run_sync(look, limiter=reading)

    @router.get("/files/{name}")
    def fetch(name: str, download: bool = False) -> FileResponse:
        """A file by the name that its owner was told. Nothing in it is run: a browser shows images and videos only."""
        path = store.find(name)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        shown = not download and kind.startswith(("image/", "video/")) and not kind.startswith("image/svg")
        return FileResponse(
            path,
            media_type=kind,
            filename=path.name,
            content_disposition_type="inline" if shown else "attachment",
            headers={"Cache-Control": "private, max-age=3600"},
        )

    @router.post("/example/{name}")
    def example(name: str, mine: Mine) -> dict[str, Any]:
        """A pair of images to blend, drawn by repix."""
        if name not in examples.PAIRS:
            raise GoneError(f"there is no example {name!r}")
        pair, folder = examples.PAIRS[name], store.new_folder(mine)
        shown: dict[str, Any] = {"polygon": pair.polygon, "centre": pair.centre, "mode": pair.mode}
        for which, pixels in zip(("source", "target"), pair.draw(), strict=True):
            write_image(folder / f"{which}.png", pixels)
            shown[which] = describe(mine, folder / f"{which}.png", BLEND_SIDE)
        return shown

    @router.post("/rain")
    def rain(asked: Rain, mine: Mine) -> dict[str, Any]:
        """The image with rain over it, as a file of its own."""
        made = rain_on_image(server, store.find(asked.file), asked.severity, asked.seed, store.new_folder(mine))
        return describe(mine, made, PREVIEW_SIDE)

    @router.post("/jobs")
    def begin(asked: Asked, mine: Mine) -> dict[str, str]:
        """Put a job into the queue."""
        store.check_room()
        works: dict[str, Callable[[Job], dict[str, Any]]] = {
            "derain": lambda job: derain(job, mine, asked, path),
            "translate": lambda job: translate(job, mine, asked, path),
            "compare": lambda job: compare(job, mine, asked, path),
            "paint": lambda job: paint(job, mine, asked),
        }
        path = Path() if asked.kind == "paint" else store.find(present(asked.file, "file"))
        if asked.kind == "compare" and not 1 <= len(asked.models) <= MAX_MODELS:
            raise InputError(f"choose one to {MAX_MODELS} models to compare")
        job = server.network.submit(works[asked.kind])
        mine.jobs[job.id] = job
        return {"id": job.id}

    def derain(job: Job, mine: Session, asked: Asked, path: Path) -> dict[str, Any]:
        made = derain_file(server, job, path, asked.model or None, asked.quality)
        mine.told[job.id] = made
        shown = made.dst
        if not made.is_video:
            shown = save_preview(server.read(made.dst), store.new_folder(mine), max_side=PREVIEW_SIDE)
        return {"url": address(mine, shown), "name": made.dst.name, "notes": made.notes}

    def translate(job: Job, mine: Session, asked: Asked, path: Path) -> dict[str, Any]:
        made, notes = translate_image(server, job, path, asked.model, store.new_folder(mine))
        preview = save_preview(server.read(made), store.new_folder(mine), max_side=PREVIEW_SIDE)
        return {"url": address(mine, preview), "file": address(mine, made), "name": made.name, "notes": notes}

    def compare(job: Job, mine: Session, asked: Asked, path: Path) -> dict[str, Any]:
        image, folder = server.read(path), store.new_folder(mine)
        rows, files = [], []
        for model in asked.models:
            restorer = server.restorer(model, DERAIN, check=job.check)
            begun = time.perf_counter()
            job.say(model=Path(model).name)
            with telling(job, image):
                pixels = restorer(image.pixels, progress=lambda part: job.advance(part / len(asked.models)))
            seconds = time.perf_counter() - begun
            restored = image.with_pixels(pixels)
            suffix = path.suffix if path.suffix.lower() in IMAGES_WRITABLE else ".png"
            files.append(folder / f"{path.stem}_{Path(model).name}{suffix}")
            write_image(files[-1], restored)
            preview = save_preview(restored, store.new_folder(mine), max_side=PREVIEW_SIDE)
            rows.append({"model": Path(model).name, "url": address(mine, preview), "seconds": round(seconds, 2)})
        zipped = save_zip(files, folder / f"{path.stem}_compared.zip")
        return {"rows": rows, "file": address(mine, zipped), "name": zipped.name}

    def paint(job: Job, mine: Session, asked: Asked) -> dict[str, Any]:
        folder = store.new_folder(mine)
        labels = folder / "labels.png"
        write_image(labels, Picture(draw_labels(asked.shapes)))
        made, _ = translate_image(server, job, labels, asked.model, folder / "made")
        made = made.replace(made.with_name("facade.png"))
        return {"url": address(mine, made), "file": address(mine, made), "labels": address(mine, labels)}

    @router.get("/jobs")
    def states(mine: Mine) -> dict[str, Any]:
        """What became of the jobs of a session, by their ids."""
        return {name: state(job) for name, job in mine.jobs.items()}

    def state(job: Job) -> dict[str, Any]:
        now = job.ended or time.monotonic()
        told: dict[str, Any] = {
            "state": job.state,
            "place": server.network.place(job),
            "fraction": round(job.fraction, 4),
            "doing": job.doing,
            "left": job.left,
            "seconds": round(now - job.begun, 2) if job.begun else 0,
        }
        if job.future.done():
            error = job.future.exception()
            if error is None:
                told["result"] = job.future.result()
            elif not isinstance(error, StoppedError):
                told["error"] = server.one_line(error)
        return told

    @router.post("/cancel")
    def cancel(asked: Jobs, mine: Mine) -> dict[str, Any]:
        """End jobs, whether they wait or run."""
        for name in asked.jobs:
            if name in mine.jobs:
                server.network.cancel(mine.jobs[name])
        return states(mine)

    @router.post("/forget")
    def forget(asked: Jobs, mine: Mine) -> None:
        """Jobs whose results are no longer wanted, such as those of other settings."""
        cancel(asked, mine)
        for name in asked.jobs:
            mine.jobs.pop(name, None)
            mine.told.pop(name, None)

    @router.post("/close")
    def close(x_repix_session: Annotated[str, Header()] = "") -> None:
        """The page is closed: its jobs end, its files go."""
        for job in store.close(x_repix_session):
            server.network.cancel(job)

    @router.post("/download")
    def download(asked: Wanted, mine: Mine) -> dict[str, str]:
        """Results as they are to be downloaded."""
        made: list[Derained] = [mine.told[name] for name in asked.jobs if name in mine.told]
        if len(made) != len(asked.jobs):
            raise GoneError("a result has been deleted in the meantime; derain it again")
        store.check_room()

        def save(one: Derained) -> Path:
            plain = one.is_video and len(made) > 1  # videos among images come as they were made
            return save_mixed(
                one,
                store.new_folder(mine),
                strength=1 if plain else asked.strength,
                format=None if plain else asked.format,
                compare=asked.compare and not plain,
            )

        files = [save(one) for one in made]
        path = files[0] if len(files) == 1 else save_zip(files, store.new_folder(mine) / "derained.zip")
        return {"url": address(mine, path), "name": path.name}

    @router.post("/blend")
    async def solve(request: Request, asked: BlendAsked, mine: Mine) -> dict[str, Any]:
        """The images that the browser shows and names are blended, whatever is uploaded meanwhile. A question takes the
        place of an earlier one of the same page."""
        source, target = (
            store.find(present(name, f"{which} image"))
            for name, which in ((asked.source, "source"), (asked.target, "target"))
        )

        def work(job: Job) -> dict[str, Any]:
            images = server.read(source), server.read(target)
            job.check()
            begun = time.perf_counter()
            with interruptible(job.check):  # by the next place to which the hand drags the selection
                result = blend.paste(*images, asked)
            seconds = time.perf_counter() - begun
            job.check()
            folder = store.new_folder(mine)
            if asked.download:
                path = folder / blend.result_name(target.name)
                notes = [*result.notes, *write_image(path, result)]
                return {"url": address(mine, path), "name": path.name, "notes": notes}
            preview = save_preview(result, folder, max_side=BLEND_SIDE)
            return {"url": address(mine, preview), "said": blend.said(result.report, seconds)}

        job = server.solves.submit(work)
        if not asked.download:
            if mine.solve is not None:
                server.solves.cancel(mine.solve)
            mine.solve = job
        result: dict[str, Any] = await finished(request, server.solves, job)
        return result

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
                numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
                heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
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
            limit_concurrency=512,
            timeout_graceful_shutdown=1,
        )
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
