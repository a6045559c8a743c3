"""Files and folders through a `Restorer`: decoding and encoding overlap the network, one bad file stops nothing.

Images are done here; videos, which need PyAV, in `infer.video`.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from repix.errors import InputError, RepixError
from repix.infer.restorer import Restorer, Strength, check_strength
from repix.io.formats import FORMATS
from repix.io.image import MAX_PIXELS, Picture, read_image, write_image
from repix.io.paths import Job, Plan, plan
from repix.tasks import DERAIN

_BYTES_WAITING = 256 * 2**20  # results that may wait for the disk before the network does
_WORKERS = 4

Wanted = tuple[Job, list[Path]]
"""A job and those of its files that are to be written."""


@dataclass(frozen=True)
class VideoOptions:
    """What videos can be asked for beyond images.

    Attributes:
        start: leave out what comes before, in seconds from the video's beginning.
        end: leave out what comes from here on.
        codec: h264, h265, vp9 or av1; None takes h264, h265 for more than 8 bits, and vp9 in webm.
        crf: constant rate factor on that codec's scale, 0 is the best; None takes what looks like the original.
        steady: calm flicker with the neighbouring frames.
    """

    start: float | None = None
    end: float | None = None
    codec: str | None = None
    crf: float | None = None
    steady: bool = False


@dataclass(frozen=True)
class Result:
    """What became of one input.

    Attributes:
        src: the input.
        status: `done`, `skipped` (the result was already there) or `failed`.
        written: the files written for it.
        message: why it failed or was skipped, one line that names the file.
        notes: what could not be kept as it was, one sentence each.
    """

    src: Path
    status: Literal["done", "skipped", "failed"]
    written: tuple[Path, ...] = ()
    message: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class Summary:
    """What a run did, in the order of the inputs.

    Attributes:
        done: images and videos restored and written.
        skipped: those whose result was already there.
        failed: those that could not be read, restored or written.
    """

    done: list[Result] = field(default_factory=list)
    skipped: list[Result] = field(default_factory=list)
    failed: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Put a result where it belongs."""
        getattr(self, result.status).append(result)


def restore_path(
    restorer: Restorer,
    src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    dst: str | os.PathLike[str] | None = None,
    *,
    strength: Strength = 1.0,
    compare: bool = False,
    format: str | None = None,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    film: VideoOptions | None = None,
    progress: bool = False,
    on_result: Callable[[Result], None] | None = None,
) -> Summary:
    """Restore files and folders to files and folders.

    What translates takes images only, no videos; its results are in colour and have no colour profile.

    Args:
        restorer: what restores an image.
        src: files, folders (mirrored, with all their folders) and patterns.
        dst: a folder; a file name for one file; None writes `NAME_dry.EXT` beside a file and `DIR_dry` beside a folder,
            or with the model's name in place of `dry` if it translates.
        strength: 0 (as it was) to 1; `auto`, for images only, does less where what was found may not be rain.
        compare: write `NAME_compare.EXT`, before | after side by side, beside each image's result too.
        format: extension to write, such as `png` or, for videos, `mkv`; None keeps each file's own, but label maps
            become PNG where that would smear their colours.
        overwrite: write results that are already there again, and inputs where `dst` says so.
        max_pixels: larger images and frames are refused from their header.
        video: what is asked for videos.
        progress: show one progress bar on stderr, where that is a terminal.
        on_result: called with each result as it comes, in the caller's thread.

    Returns:
        What was done, skipped and failed.

    Raises:
        InputError: nothing can be done as asked (names that collide, an output that cannot be written); raised before
            any work. What is wrong with single files is in the summary.
    """
    check_strength(strength)
    summary = Summary()

    def note(result: Result) -> None:
        summary.add(result)
        if on_result is not None:
            on_result(result)

    card = restorer.card
    task = card.task if card is not None else DERAIN
    jobs, settled = find_jobs(
        src,
        dst,
        format=format,
        compare=compare,
        overwrite=overwrite,
        films=task.takes_video,
        tag=task.result_suffix(card.name if card is not None else None),
        lossless=card is not None and card.palette is not None,
    )
    for result in settled:
        note(result)
    working = restore_jobs(restorer, jobs, strength=strength, max_pixels=max_pixels, film=film, progress=progress)
    with contextlib.closing(working):
        for result in working:
            note(result)
    return summary


def find_jobs(
    src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    dst: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    compare: bool = False,
    overwrite: bool = False,
    films: bool = True,
    tag: str = "dry",
    lossless: bool = False,
) -> tuple[list[Wanted], list[Result]]:
    """What there is to do, before any of it is done; arguments and errors are those of `restore_path` and `plan`.

    Returns:
        Each job with the files to be written for it; and what is settled already: failed by its name, or skipped.
    """
    inputs = [src] if isinstance(src, str | os.PathLike) else src
    planned = plan(
        inputs, dst, format=format, compare=compare, overwrite=overwrite, films=films, tag=tag, lossless=lossless
    )
    return to_do(planned, overwrite=overwrite)


def to_do(planned: Plan, *, overwrite: bool = False) -> tuple[list[Wanted], list[Result]]:
    """What of a plan is still to be done, and what is settled: as `find_jobs`."""
    settled = [Result(path, "failed", message=f"{path}: {reason}") for path, reason in planned.failed]
    jobs = []
    for job in planned.jobs:
        wanted = [path for path in (job.dst, job.compare) if path is not None and (overwrite or not path.exists())]
        if wanted:
            jobs.append((job, wanted))
        else:
            message = f"{job.dst} is already there; --overwrite writes it again"
            settled.append(Result(job.src, "skipped", message=message))
    return jobs, settled


def restore_jobs(
    restorer: Restorer,
    jobs: Sequence[Wanted],
    *,
    strength: Strength = 1.0,
    max_pixels: int = MAX_PIXELS,
    film: VideoOptions | None = None,
    progress: bool = False,
) -> Generator[Result, None, None]:
    """Do what `find_jobs` found, giving each result as it comes; arguments are those of `restore_path`."""
    bar = Bar(len(jobs), enabled=progress)
    with ThreadPoolExecutor(_WORKERS, "repix-io") as pool:
        writing: deque[tuple[Future[Result], int]] = deque()
        try:
            for (job, wanted), picture in _read_ahead(pool, jobs, max_pixels):
                bar.start(job.src)
                if picture is None:
                    picture = _restore_film(restorer, job, strength, film, max_pixels, bar)
                if isinstance(picture, Result):
                    yield picture
                    bar.advance(1)
                    continue
                keep = job.compare in wanted
                try:
                    restored = _restore(restorer, picture, strength, keep=keep, progress=bar.advance)
                except Exception as error:
                    yield _failed(job.src, error)
                    bar.advance(1)
                    continue
                size = restored.pixels.nbytes * (2 if keep else 1)
                writing.append((pool.submit(_write, job, wanted, picture, restored), size))
                del picture, restored
                while writing and (writing[0][0].done() or sum(size for _, size in writing) > _BYTES_WAITING):
                    yield writing.popleft()[0].result()
            while writing:
                yield writing.popleft()[0].result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # a file that is being written is finished, no other begun
            raise
        finally:
            bar.close()


def _read_ahead(
    pool: ThreadPoolExecutor, jobs: Sequence[Wanted], max_pixels: int
) -> Iterator[tuple[Wanted, Picture | Result | None]]:
    """Decode the next image, and no more than that, while the network works on this one; None for a video."""
    upcoming = [pool.submit(_read, job, max_pixels) for job, _ in jobs[:1]]
    for index, job in enumerate(jobs):
        ready = upcoming.pop()
        picture = ready.result()
        upcoming += [pool.submit(_read, later, max_pixels) for later, _ in jobs[index + 1 : index + 2]]
        yield job, picture


def _read(job: Job, max_pixels: int) -> Picture | Result | None:
    if job.is_film:
        return None
    try:
        return read_image(job.src, max_pixels=max_pixels)
    except Exception as error:
        return _failed(job.src, error)


def _restore_film(
    restorer: Restorer, job: Job, strength: Strength, options: VideoOptions | None, max_pixels: int, bar: Bar
) -> Result:
    from repix.infer.video import restore_film  # PyAV and SciPy, which images do without

    try:
        if strength == "auto":  # found for each frame alone it would flicker
            raise InputError(f"{job.src}: strength auto is for images; give videos a number")
        notes = restore_film(
            restorer,
            job.src,
            job.dst,
            strength=strength,
            options=options,
            max_pixels=max_pixels,
            progress=lambda fraction, rate: bar.advance(fraction, f"{rate:.1f} frames/s"),
        )
    except Exception as error:
        return _failed(job.src, error)
    return Result(job.src, "done", (job.dst,), notes=notes)


def _restore(
    restorer: Restorer, picture: Picture, strength: Strength, *, keep: bool, progress: Callable[[float], None]
) -> Picture:
    """The restored image; in the same memory, unless the rainy one is to be kept."""
    out = picture.pixels if picture.pixels.flags.writeable and not keep else None
    if strength == "auto":
        found = round(restorer.find_strength(picture.pixels), 1)  # so that a folder's notes are few
        strength = found
        if found < 1:
            note = f"strength {found:.1f}: what the network found may not be rain"
            picture = replace(picture, notes=(*picture.notes, note))
    made = restorer(picture.pixels, strength=strength, out=out, progress=progress)
    task = restorer.card.task if restorer.card is not None else DERAIN
    return picture.with_pixels(made) if task.keeps_icc else picture.repainted(made)


def _write(job: Job, wanted: list[Path], rainy: Picture, restored: Picture) -> Result:
    written: list[Path] = []
    notes = list(restored.notes)
    if FORMATS[restored.format].save is None:
        notes.append(f"{FORMATS[restored.format].title} written as {job.dst.suffix.lstrip('.').upper()}")
    try:
        for path in wanted:
            picture = restored if path == job.dst else _side_by_side(rainy, restored)
            notes += [text for text in write_image(path, picture) if text not in notes]
            written.append(path)
    except Exception as error:
        return replace(_failed(job.src, error), written=tuple(written))
    return Result(job.src, "done", tuple(written), notes=tuple(notes))


def _side_by_side(before: Picture, after: Picture) -> Picture:
    alpha = None if after.alpha is None else np.concatenate([after.alpha, after.alpha], axis=1)
    return replace(after, pixels=np.concatenate([before.pixels, after.pixels], axis=1), alpha=alpha)


def _failed(path: Path, error: Exception) -> Result:
    """One line for whatever went wrong with one file: the others must go on."""
    if isinstance(error, RepixError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = f"out of memory ({error})"
    else:
        text = f"unexpected {type(error).__name__}: {error}"
    text = " ".join(text.split())
    return Result(path, "failed", message=text if str(path) in text else f"{path}: {text}")


class Bar:
    """One bar over the files that moves within large ones."""

    def __init__(self, total: int, *, enabled: bool) -> None:
        self._bar = None
        self._done = 0.0
        if enabled and total:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                disable=None,  # only on a terminal
                leave=False,
                bar_format="{percentage:3.0f}% |{bar}| {desc} [{elapsed}<{remaining}{postfix}]",
            )

    def start(self, path: Path) -> None:
        """Name the image at work."""
        self._done = 0.0
        if self._bar is not None:
            self._bar.set_description_str(path.name[:40])

    def advance(self, fraction: float, speed: str = "") -> None:
        """Move by a fraction of this file, never beyond its end."""
        step = min(fraction, 1 - self._done)
        self._done += step
        if self._bar is not None:
            self._bar.set_postfix_str(speed, refresh=False)
            self._bar.update(step)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
