"""The web UI's own routes: what the page asks for."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import FileResponse

from repix.app import blend, examples
from repix.app.derain import Derained, derain_file, rain_on_image, save_mixed, telling
from repix.app.files import GoneError, Session
from repix.app.queue import Job, StoppedError
from repix.app.requests import Served, finished, named, save_body, server_of
from repix.app.server import Server, present, save_preview, save_zip
from repix.app.translate import SIZE, Shape, draw_labels, first_facade, looks_like_labels, translate_image
from repix.errors import InputError
from repix.infer.restorer import Quality
from repix.io.formats import IMAGES, IMAGES_WRITABLE, VIDEOS, by_suffix
from repix.io.image import Picture, write_image
from repix.palettes import FACADES
from repix.poisson.solver import interruptible
from repix.tasks import DERAIN, TRANSLATE

PREVIEW_SIDE = 2560
BLEND_SIDE = 1600  # of what the browser draws; the result is made from the full images
MAX_MODELS = 6
"""Models that are compared at once."""


@dataclass(frozen=True)
class Visitor:
    """Who asks: a page, by the session that it names in its header, which no form of a foreign page can send."""

    server: Server
    session: Session

    def folder(self) -> Path:
        """A new folder for files of this page."""
        return self.server.store.new_folder(self.session)

    def address(self, path: Path) -> str:
        """Where the page finds a file."""
        return f"ui/files/{self.server.store.offer(self.session, path)}"

    def preview(self, image: Picture, side: int = PREVIEW_SIDE) -> str:
        """Where the page finds a copy that every browser shows."""
        return self.address(save_preview(image, self.folder(), max_side=side))

    def describe(self, path: Path, side: int = PREVIEW_SIDE) -> dict[str, Any]:
        """What the page is told of an image or a video that has been uploaded."""
        told: dict[str, Any] = {"id": self.server.store.offer(self.session, path), "name": path.name, "kind": "video"}
        format = by_suffix(path)
        if format is not None and format.kind == "video":
            return told | {"url": self.address(path)}
        image = self.server.read(path)
        height, width = image.pixels.shape[:2]
        return told | {
            "kind": "image",
            "width": width,
            "height": height,
            "url": self.preview(image, side),
            "labels": looks_like_labels(image.pixels),
        }


def visitor_of(request: Request, x_repix_session: Annotated[str, Header()] = "") -> Visitor:
    """Who asks."""
    server = server_of(request)
    return Visitor(server, server.store.session(x_repix_session))


Mine = Annotated[Visitor, Depends(visitor_of)]


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


router = APIRouter()


@router.get("/config")
def config(server: Served) -> dict[str, Any]:
    """What the page needs to know once."""
    derainers, translators = server.models(DERAIN), server.models(TRANSLATE)
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
        "model": server.default(DERAIN),
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
async def upload(
    request: Request, mine: Mine, name: str = "", side: Annotated[int, Query(ge=1)] = PREVIEW_SIDE
) -> dict[str, Any]:
    """An image or a video as a raw body; what it holds says what it is."""
    path = mine.folder() / "upload"
    await save_body(request, path)

    def look() -> dict[str, Any]:
        kept = named(path, name)
        try:
            return mine.describe(kept, min(side, PREVIEW_SIDE))
        except BaseException:
            kept.unlink(missing_ok=True)
            raise

    return await anyio.to_thread.run_sync(look, limiter=mine.server.reading)


@router.get("/files/{name}")
def fetch(name: str, server: Served, download: bool = False) -> FileResponse:
    """A file by the name that its owner was told. Nothing in it is run: a browser shows images and videos only."""
    path = server.store.find(name)
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
    pair, folder = examples.PAIRS[name], mine.folder()
    shown: dict[str, Any] = {"polygon": pair.polygon, "centre": pair.centre, "mode": pair.mode}
    for which, pixels in zip(("source", "target"), pair.draw(), strict=True):
        write_image(folder / f"{which}.png", pixels)
        shown[which] = mine.describe(folder / f"{which}.png", BLEND_SIDE)
    return shown


@router.post("/rain")
def rain(asked: Rain, mine: Mine) -> dict[str, Any]:
    """The image with rain over it, as a file of its own."""
    made = rain_on_image(mine.server, mine.server.store.find(asked.file), asked.severity, asked.seed, mine.folder())
    return mine.describe(made)


@router.post("/jobs")
def begin(asked: Asked, mine: Mine) -> dict[str, str]:
    """Put a job into the queue."""
    mine.server.store.check_room()
    works: dict[str, Callable[[Job], dict[str, Any]]] = {
        "derain": lambda job: _derain(job, mine, asked, path),
        "translate": lambda job: _translate(job, mine, asked, path),
        "compare": lambda job: _compare(job, mine, asked, path),
        "paint": lambda job: _paint(job, mine, asked),
    }
    path = Path() if asked.kind == "paint" else mine.server.store.find(present(asked.file, "file"))
    if asked.kind == "compare" and not 1 <= len(asked.models) <= MAX_MODELS:
        raise InputError(f"choose one to {MAX_MODELS} models to compare")
    job = mine.server.network.submit(works[asked.kind])
    mine.session.jobs[job.id] = job
    return {"id": job.id}


def _derain(job: Job, mine: Visitor, asked: Asked, path: Path) -> dict[str, Any]:
    made = derain_file(mine.server, job, path, asked.model or None, asked.quality)
    mine.session.told[job.id] = made
    url = mine.address(made.dst) if made.is_video else mine.preview(mine.server.read(made.dst))
    return {"url": url, "name": made.dst.name, "notes": made.notes}


def _translate(job: Job, mine: Visitor, asked: Asked, path: Path) -> dict[str, Any]:
    made, notes = translate_image(mine.server, job, path, asked.model, mine.folder())
    preview = mine.preview(mine.server.read(made))
    return {"url": preview, "file": mine.address(made), "name": made.name, "notes": notes}


def _compare(job: Job, mine: Visitor, asked: Asked, path: Path) -> dict[str, Any]:
    image, folder = mine.server.read(path), mine.folder()
    rows, files = [], []
    for model in asked.models:
        restorer = mine.server.restorer(model, DERAIN, check=job.check)
        begun = time.perf_counter()
        job.say(model=Path(model).name)
        with telling(job, image):
            pixels = restorer(image.pixels, progress=lambda part: job.advance(part / len(asked.models)))
        seconds = time.perf_counter() - begun
        restored = image.with_pixels(pixels)
        suffix = path.suffix if path.suffix.lower() in IMAGES_WRITABLE else ".png"
        files.append(folder / f"{path.stem}_{Path(model).name}{suffix}")
        write_image(files[-1], restored)
        rows.append({"model": Path(model).name, "url": mine.preview(restored), "seconds": round(seconds, 2)})
    zipped = save_zip(files, folder / f"{path.stem}_compared.zip")
    return {"rows": rows, "file": mine.address(zipped), "name": zipped.name}


def _paint(job: Job, mine: Visitor, asked: Asked) -> dict[str, Any]:
    folder = mine.folder()
    labels = folder / "labels.png"
    write_image(labels, Picture(draw_labels(asked.shapes)))
    made, _ = translate_image(mine.server, job, labels, asked.model, folder / "made")
    made = made.replace(made.with_name("facade.png"))
    return {"url": mine.address(made), "file": mine.address(made), "labels": mine.address(labels)}


@router.get("/jobs")
def states(mine: Mine) -> dict[str, Any]:
    """What became of the jobs of a session, by their ids."""
    return {name: _state(mine.server, job) for name, job in mine.session.jobs.items()}


def _state(server: Server, job: Job) -> dict[str, Any]:
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
        if name in mine.session.jobs:
            mine.server.network.cancel(mine.session.jobs[name])
    return states(mine)


@router.post("/forget")
def forget(asked: Jobs, mine: Mine) -> None:
    """Jobs whose results are no longer wanted, such as those of other settings."""
    cancel(asked, mine)
    for name in asked.jobs:
        mine.session.jobs.pop(name, None)
        mine.session.told.pop(name, None)


@router.post("/close")
def close(server: Served, x_repix_session: Annotated[str, Header()] = "") -> None:
    """The page is closed: its jobs end, its files go."""
    for job in server.store.close(x_repix_session):
        server.network.cancel(job)


@router.post("/download")
def download(asked: Wanted, mine: Mine) -> dict[str, str]:
    """Results as they are to be downloaded."""
    made: list[Derained] = [mine.session.told[name] for name in asked.jobs if name in mine.session.told]
    if len(made) != len(asked.jobs):
        raise GoneError("a result has been deleted in the meantime; derain it again")
    mine.server.store.check_room()

    def save(one: Derained) -> Path:
        plain = one.is_video and len(made) > 1  # videos among images come as they were made
        return save_mixed(
            one,
            mine.folder(),
            strength=1 if plain else asked.strength,
            format=None if plain else asked.format,
            compare=asked.compare and not plain,
        )

    files = [save(one) for one in made]
    path = files[0] if len(files) == 1 else save_zip(files, mine.folder() / "derained.zip")
    return {"url": mine.address(path), "name": path.name}


@router.post("/blend")
async def solve(request: Request, asked: BlendAsked, mine: Mine) -> dict[str, Any]:
    """The images that the browser shows and names are blended, whatever is uploaded meanwhile. A question takes the
    place of an earlier one of the same page."""
    source, target = (
        mine.server.store.find(present(name, f"{which} image"))
        for name, which in ((asked.source, "source"), (asked.target, "target"))
    )

    def work(job: Job) -> dict[str, Any]:
        images = mine.server.read(source), mine.server.read(target)
        job.check()
        begun = time.perf_counter()
        with interruptible(job.check):  # by the next place to which the hand drags the selection
            result = blend.paste(*images, asked)
        seconds = time.perf_counter() - begun
        job.check()
        if asked.download:
            path = mine.folder() / blend.result_name(target.name)
            notes = [*result.notes, *write_image(path, result)]
            return {"url": mine.address(path), "name": path.name, "notes": notes}
        return {"url": mine.preview(result, BLEND_SIDE), "said": blend.said(result.report, seconds)}

    job = mine.server.solves.submit(work)
    if not asked.download:
        if mine.session.solve is not None:
            mine.server.solves.cancel(mine.session.solve)
        mine.session.solve = job
    result: dict[str, Any] = await finished(request, mine.server.solves, job)
    return result
