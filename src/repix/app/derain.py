"""The Derain tab's own work: files as the command line makes them, rain for trying, strength without a second run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from repix.app.queue import Job
from repix.app.server import Server
from repix.degradations.rain import RainParams, add_rain
from repix.errors import InputError
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions, plan
from repix.infer.jobs import Job as Planned
from repix.infer.restorer import Quality, Restorer
from repix.infer.tiling import watch_tiles
from repix.infer.video import restore_video
from repix.io.formats import FORMATS
from repix.io.image import Picture, read_image, write_image
from repix.tasks import DERAIN


@dataclass(frozen=True)
class Derained:
    """A result of the Derain tab.

    Attributes:
        src: the image or video.
        dst: the result at full strength, as `repix derain` writes it.
        pixels: of an image's result before it was encoded, as an `.npy`; None for a video.
        notes: what could not be kept, one sentence each.
        is_video: whether it is a video.
    """

    src: Path
    dst: Path
    pixels: Path | None
    notes: tuple[str, ...]
    is_video: bool


@contextlib.contextmanager
def telling(job: Job, image: Picture) -> Iterator[None]:
    """Says in a job which tile of which level of an image is at work."""
    height = image.pixels.shape[0]

    def on_tile(size: tuple[int, ...], number: int, count: int) -> None:
        job.say(level=round(height / size[0]), tile=number, tiles=count)

    job.say(level=0)
    with watch_tiles(on_tile):
        yield


def derain_file(server: Server, job: Job, path: Path, model: str | None, quality: Quality) -> Derained:
    """Restore an image or a video beside itself, `NAME_derained.EXT`, as the command line does.

    Raises:
        InputError, WeightsError, BackendError: as `repix.restore`; also where it only reports them.
        StoppedError: the job has been cancelled.
    """
    options = BatchOptions(model=model, quality=quality, max_pixels=server.options.max_pixels)
    what, restorer = _planned(server, job, path, options)
    if what.is_video:

        def advance(done: int, count: int, rate: float) -> None:
            job.say(frame=done, frames=max(count, done) if count else 0, rate=rate)
            job.advance(1 / count if count else 0)

        notes = restore_video(restorer, what.src, what.dst, options=options, progress=advance)
        return Derained(path, what.dst, None, tuple(notes), True)
    rainy = server.read(path)
    with telling(job, rainy):
        restored = rainy.with_pixels(restorer(rainy.pixels, progress=job.advance))
    raw = path.with_name("result.npy")
    np.save(raw, restored.pixels)
    job.check()
    notes = (*_new_format(restored, what.dst), *restored.notes, *write_image(what.dst, restored))
    return Derained(path, what.dst, raw, tuple(dict.fromkeys(notes)), False)


def _planned(server: Server, job: Job, path: Path, options: BatchOptions) -> tuple[Planned, Restorer]:
    """What is to be done with a file, and what restores it."""
    planned = plan([path], None, options=options)
    for _, reason in planned.failed:
        raise InputError(f"{path.name}: {reason}")
    what = planned.jobs[0]
    model = str(options.video_model if what.is_video else options.image_model)
    job.say(model=Path(model).name)
    return what, server.restorer(model, DERAIN, quality=options.quality, levels=options.levels, check=job.check)


def _new_format(image: Picture, dst: Path) -> list[str]:
    if FORMATS[image.format].save is not None:
        return []
    return [f"{FORMATS[image.format].title} written as {dst.suffix.lstrip('.').upper()}"]


def save_mixed(made: Derained, folder: Path, *, strength: float, format: str | None, compare: bool) -> Path:
    """A derained image at another strength, in another format, or beside the rainy one; no network runs.

    Args:
        made: the result at full strength.
        folder: where to write it.
        strength: 0 (the rainy image) to 1; within one level of `repix derain --strength`, which rounds once.
        format: extension to write; None keeps the result's.
        compare: rainy | derained in one image, `NAME_compare.EXT`.

    Raises:
        InputError: a video, for which all this needs a run of its own; or another format.
    """
    if made.pixels is None:
        if strength == 1 and format is None and not compare:
            return made.dst
        raise InputError("videos are downloaded as they were made; for anything else there is the command line")
    job = plan([made.src], folder, options=BatchOptions(format=format, overwrite=True)).jobs[0]
    suffix = job.dst.suffix
    if strength == 1 and not compare and suffix == made.dst.suffix:
        return made.dst
    rainy = read_image(made.src)
    full = np.load(made.pixels)
    mixed = full
    if strength < 1:
        top = np.iinfo(full.dtype).max
        blended = rainy.pixels + np.float32(strength) * (full.astype(np.float32) - rainy.pixels)
        mixed = np.clip(np.rint(blended), 0, top).astype(full.dtype)
    image = rainy.with_pixels(mixed)
    if compare:
        alpha = None if image.alpha is None else np.concatenate([image.alpha, image.alpha], axis=1)
        image = replace(image, pixels=np.concatenate([rainy.pixels, mixed], axis=1), alpha=alpha)
    path = folder / f"{made.src.stem}_{'compare' if compare else 'derained'}{suffix}"
    write_image(path, image)
    return path


def rain_on_image(server: Server, path: Path, severity: float, seed: int, folder: Path) -> Path:
    """An image file with synthetic rain over it, under the same name in `folder`; the same seed gives the same rain."""
    job = plan([path], folder).jobs
    if not job or job[0].is_video:
        raise InputError(f"{path.name}: rain is put over images only")
    image = server.read(path)
    rng = np.random.default_rng(seed)
    params = RainParams.from_severity(severity, rng, focal=1.1 * max(image.pixels.shape[:2]))
    write_image(job[0].dst, image.with_pixels(add_rain(image.pixels, params, rng)[0]))
    return job[0].dst


def derain_once(server: Server, job: Job, path: Path, options: BatchOptions) -> tuple[Path, tuple[str, ...]]:
    """A file as `repix derain` does it, for one call of the API.

    Returns:
        The result, or `NAME_compare.EXT` where that is asked for, and notes.
    """
    _, restorer = _planned(server, job, path, options)
    summary = restore(path, options=replace(options, model=restorer))
    job.check()
    for result in summary.failed:
        raise InputError(result.message)
    return summary.done[0].written[-1], (*summary.notes, *summary.done[0].notes)
