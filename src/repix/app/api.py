"""The HTTP API: a file in, a file out, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse

from repix import __version__
from repix.app.derain import derain_once, rain_on_image
from repix.app.files import DiskFullError, GoneError, is_full
from repix.app.guard import refuse
from repix.app.queue import Job, StoppedError
from repix.app.requests import BusyError, Served, answer, taken
from repix.app.server import Server
from repix.app.translate import translate_image
from repix.errors import BackendError, InputError, WeightsError
from repix.infer.jobs import BatchOptions, VideoOptions
from repix.infer.merge import merge as merge_frames
from repix.infer.pyramid import parse_levels
from repix.infer.restorer import parse_strength
from repix.io.formats import IMAGES_WRITABLE, VIDEOS_WRITABLE
from repix.io.image import write_image
from repix.poisson.compose import blend_images
from repix.poisson.mask import parse_numbers, parse_polygon
from repix.poisson.solver import interruptible
from repix.tasks import DERAIN, TRANSLATE

_MOST_FRAMES = 32  # of a burst
_BURST_IMAGES = 3  # times the largest image: what a burst may have in pixels, since all of it is held


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"] = "ok"
    version: str
    jobs: int


class Model(BaseModel):
    """A model that can be asked for by its name."""

    name: str
    task: str
    description: str
    default: bool
    licence: str


class ApiError(BaseModel):
    """What every answer with a status of 400 and more holds."""

    error: str


def status_of(error: BaseException) -> int:
    """The HTTP status that suits an error."""
    if is_full(error):
        return 507
    kinds: tuple[tuple[type[BaseException], int], ...] = (
        (GoneError, 404),
        (WeightsError, 404),
        (InputError, 400),
        (BusyError, 503),
        (DiskFullError, 507),
        (StoppedError, 409),
        (MemoryError, 503),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), 500)


def add_errors(app: FastAPI, server: Server) -> None:
    """Say every error as JSON, `{"error": "one sentence"}`, with a status that suits it."""

    async def on_error(request: Request, error: Exception) -> JSONResponse:
        return refuse(status_of(error), server.one_line(error))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        said = "there is nothing under this address; /docs lists what there is" if error.status_code == 404 else None
        if error.status_code == 405:
            said = f"this address does not take {request.method}; /docs lists what there is"
        answer = refuse(error.status_code, said or str(error.detail))
        answer.headers.update(error.headers or {})  # such as Allow, which says what the address takes
        return answer

    async def on_options(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        got = f", got {first['input']!r}" if isinstance(first.get("input"), str | int | float) else ""
        said = first["msg"] if first["msg"][1:2].isupper() else first["msg"][:1].lower() + first["msg"][1:]
        return refuse(422, f"{where}: {said}{got}"[:300])

    async def on_leaving(request: Request, error: Exception) -> JSONResponse:
        return refuse(400, "the request broke off before all of it had come")

    app.add_exception_handler(Exception, on_error)
    for kind in (InputError, WeightsError, BackendError, GoneError, DiskFullError, StoppedError, OSError, MemoryError):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(ClientDisconnect, on_leaving)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_options)


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {}}},
    "4XX": {"description": "What was got, what was expected, what to do.", "model": ApiError},
    "5XX": {"description": "The server cannot do it, or not now.", "model": ApiError},
}


def _file_of(*fields: str, optional: tuple[str, ...] = (), raw: bool = False, many: bool = False) -> dict[str, Any]:
    """How a route is set up that makes a file of files, and what OpenAPI says of its body."""
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    if many:
        file = {"type": "array", "items": file, "minItems": 2, "maxItems": _MOST_FRAMES}
    schema = {"type": "object", "properties": dict.fromkeys((*fields, *optional), file), "required": list(fields)}
    content: dict[str, Any] = {"multipart/form-data": {"schema": schema}}
    if raw:
        content["application/octet-stream"] = {"schema": file}
    return {
        "tags": ["files"],
        "response_class": FileResponse,
        "responses": _ANSWERS,
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


_IMAGE_FORMATS = ", ".join(sorted(suffix.lstrip(".") for suffix in IMAGES_WRITABLE))
_VIDEO_FORMATS = ", ".join(sorted(suffix.lstrip(".") for suffix in VIDEOS_WRITABLE))
Name = Annotated[str, Query(description="What a raw body is called; its extension may say what it is.")]
ImageFormat = Annotated[str | None, Query(description=f"Extension to write: {_IMAGE_FORMATS}. Default: as it came.")]


def _default_models() -> str:
    options = BatchOptions()
    return f"{options.image_model}; for videos {options.video_model}"


def _suffix(base: Path, format: str | None) -> str:
    """Of a result: what is asked for, else the input's own, else PNG."""
    suffix = "." + (format or base.suffix).lower().lstrip(".")
    if suffix not in IMAGES_WRITABLE:
        if format is not None:
            raise InputError(f"cannot write {format!r} images; choose one of {_IMAGE_FORMATS}")
        suffix = ".png"
    return suffix


router = APIRouter()
"""`/api/…` and `/health`."""
translating = APIRouter()
"""What needs a model that translates: left out where there is none."""


@router.get("/health", tags=["about"])
def health(server: Served) -> Health:
    """Whether the server answers, and how many jobs wait or run."""
    return Health(version=__version__, jobs=len(server.network))


@router.get("/api/models", tags=["about"])
def models(server: Served) -> list[Model]:
    """The models that can be asked for."""
    return [
        Model(
            name=name,
            task=card.task.name,
            description=card.description,
            default=name == server.default(DERAIN),
            licence=card.licence,
        )
        for name, card in server.cards.items()
    ]


@router.post("/api/derain", **_file_of("file", raw=True))
async def derain(
    request: Request,
    server: Served,
    model: Annotated[str | None, Query(description=f"A name of /api/models. Default: {_default_models()}.")] = None,
    strength: Annotated[str, Query(description="0 (leaves the rain) to 1, or auto (images only).")] = "1",
    quality: Annotated[str, Query(description="draft, fast, or best in four times the time.")] = "fast",
    levels: Annotated[str, Query(description="auto, or levels of the pyramid in their order, such as 1,2,4.")] = "auto",
    format: Annotated[
        str | None, Query(description=f"Images: {_IMAGE_FORMATS}; videos: {_VIDEO_FORMATS}. Default: as it came.")
    ] = None,
    compare: Annotated[bool, Query(description="Images: answer with before | after in one image.")] = False,
    start: Annotated[float | None, Query(ge=0, description="Videos: start there, in seconds.")] = None,
    end: Annotated[float | None, Query(gt=0, description="Videos: stop there.")] = None,
    codec: Annotated[Literal["h264", "h265", "vp9", "av1"] | None, Query(description="Videos.")] = None,
    crf: Annotated[float | None, Query(ge=0, description="Videos: constant rate factor, 0 is best.")] = None,
    deflicker: Annotated[bool, Query(description="Videos: reduce flicker.")] = False,
    name: Name = "",
) -> FileResponse:
    """Take the rain out of an image or a video.

    Depth, transparency, EXIF and colour profile of images are kept; sound, frame times and tags of videos too. What
    cannot be kept is said in the header `Repix-Notes`, a JSON list of sentences.
    """
    options = BatchOptions(
        model=model,
        max_pixels=server.options.max_pixels,
        quality=quality,  # type: ignore[arg-type]  # checked by Restorer
        levels=parse_levels(levels),
        strength=parse_strength(strength),
        format=format,
        compare=compare,
        video=VideoOptions(start, end, codec, crf, deflicker),
    )
    async with taken(request, ("file",), name) as (folder, files):
        path = files[0]
        assert path is not None
        return await answer(request, server.network, folder, lambda job: derain_once(server, job, path, options))


@router.post("/api/merge", **_file_of("file", many=True))
async def merge(
    request: Request,
    server: Served,
    reference: Annotated[
        int | None, Query(ge=1, description="Which frame the photo is, counted from 1. Default: the middle one.")
    ] = None,
    model: Annotated[str | None, Query(description="A name of /api/models. Default: the one marked there.")] = None,
    format: ImageFormat = None,
) -> FileResponse:
    """Make one photo without rain of several photos of a scene: what rain hides in one, the others show."""
    async with taken(request, ("file",), "", most=_MOST_FRAMES) as (folder, files):
        paths = [path for path in files if path is not None]
        if len(paths) < 2:
            raise InputError(f"{paths[0].name} is one photo, and merge takes several: -F file=@1.jpg -F file=@2.jpg")
        number = reference if reference is not None else (len(paths) + 1) // 2
        if number > len(paths):
            raise InputError(f"reference {number}: there are {len(paths)} frames")
        base = paths[number - 1]
        suffix = _suffix(base, format)

        def work(job: Job) -> tuple[Path, tuple[str, ...]]:
            restorer = server.restorer(model or server.default(DERAIN), DERAIN, check=job.check)
            burst, room = [], _BURST_IMAGES * server.options.max_pixels
            for path in paths:
                burst.append(server.read(path))
                room -= burst[-1].pixels.size // 3
                if room < 0:
                    raise InputError(
                        f"{len(paths)} photos of this size are too many; together they may have "
                        f"{_BURST_IMAGES * server.options.max_pixels / 1e6:g} megapixels"
                    )
            result = merge_frames(burst, reference=number - 1, restorer=restorer, progress=job.advance)
            path = folder / f"{base.stem}_merged{suffix}"
            return path, (*result.notes, *write_image(path, result))

        return await answer(request, server.network, folder, work)


@router.post("/api/rain", **_file_of("file", raw=True))
async def rain(
    request: Request,
    server: Served,
    severity: Annotated[float, Query(ge=0, le=1, description="0 (drizzle) to 1 (storm).")] = 0.6,
    seed: Annotated[int, Query(ge=0, description="The same seed gives the same rain.")] = 0,
    name: Name = "",
) -> FileResponse:
    """Put synthetic rain over an image, for trying."""
    async with taken(request, ("file",), name) as (folder, files):
        path = files[0]
        assert path is not None
        made = folder / "made"
        return await answer(
            request, server.solves, folder, lambda job: (rain_on_image(server, path, severity, seed, made), ())
        )


@router.post("/api/blend", **_file_of("source", optional=("target", "mask")))
async def blend(
    request: Request,
    server: Served,
    polygon: Annotated[
        str | None, Query(description='"x,y x,y x,y …" in source pixels. Without it and a mask: what is opaque.')
    ] = None,
    offset: Annotated[str, Query(description="x,y: where the source's corner goes in the target.")] = "0,0",
    scale: Annotated[float, Query(gt=0, le=100)] = 1,
    rotate: Annotated[float, Query(description="Degrees, counter-clockwise.")] = 0,
    mode: Annotated[
        Literal["import", "mixed", "monochrome", "average", "colour", "illumination", "flatten", "tile"],
        Query(description="The last four change the source alone: send no target."),
    ] = "import",
    gain: Annotated[str, Query(description="For colour: factors of red, green and blue.")] = "1.5,0.5,0.5",
    alpha: Annotated[float, Query(description="For illumination: gradients above shrink.")] = 0.2,
    beta: Annotated[float, Query(description="For illumination: by how much.")] = 0.2,
    threshold: Annotated[float, Query(description="For flatten: what counts as an edge.")] = 8,
    format: ImageFormat = None,
) -> FileResponse:
    """Paste a region of an image into another without a seam, or change a region of one image."""
    x, y = parse_numbers("offset", offset, 2)
    red, green, blue = parse_numbers("gain", gain, 3)
    points = parse_polygon(polygon) if polygon is not None else None
    async with taken(request, ("source", "target", "mask"), "") as (folder, files):
        if points is not None and files[2] is not None:
            raise InputError("give a polygon or a mask, not both")
        base = files[1] or files[0]
        assert base is not None
        suffix = _suffix(base, format)

        def work(job: Job) -> tuple[Path, tuple[str, ...]]:
            source, target, mask = (None if path is None else server.read(path) for path in files)
            assert source is not None
            with interruptible(job.check):
                result = blend_images(
                    source,
                    target,
                    polygon=points,
                    mask=mask,
                    offset=(y, x),
                    scale=scale,
                    rotate=rotate,
                    mode=mode,
                    gain=(red, green, blue),
                    alpha=alpha,
                    beta=beta,
                    threshold=threshold,
                )
            job.check()
            path = folder / f"{base.stem}_blend{suffix}"
            return path, (*result.notes, *write_image(path, result))

        return await answer(request, server.solves, folder, work)


@translating.post("/api/translate", **_file_of("file", raw=True))
async def translate(
    request: Request,
    server: Served,
    model: Annotated[
        str | None, Query(description="A name of /api/models. Default: the first that translates.")
    ] = None,
    format: ImageFormat = None,
    name: Name = "",
) -> FileResponse:
    """Turn one kind of image into another: what kinds, the model's description says."""
    async with taken(request, ("file",), name) as (folder, files):
        path = files[0]
        assert path is not None
        made = folder / "made"
        return await answer(
            request,
            server.network,
            folder,
            lambda job: translate_image(server, job, path, model or server.default(TRANSLATE), made, format=format),
        )
