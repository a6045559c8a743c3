"""Files and folders through a `Restorer`: decoding and encoding overlap the network, one bad file stops nothing.

Images are done here; videos, which need PyAV, in `infer.video`. What there is to do is found in `infer.jobs`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from repix._types import one_line
from repix.errors import InputError, RepixError
from repix.infer.jobs import Bar, BatchOptions, Job, Naming, Result, Summary, plan
from repix.infer.restorer import Restorer, Strength
from repix.io.formats import FORMATS
from repix.io.image import Picture, read_image, refuse_to_destroy, write_image
from repix.io.inventory import Difference
from repix.tasks import DERAIN

_BYTES_WAITING = 256 * 2**20  # results that may wait for the disk before the network does
_WORKERS = 4


def restore(
    src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    dst: str | os.PathLike[str] | None = None,
    *,
    options: BatchOptions | None = None,
    progress: bool = False,
    on_result: Callable[[Result], None] | None = None,
) -> Summary:
    """Restore files and folders to files and folders.

    What translates takes images only, no videos; its results are in colour and have no colour profile.

    Args:
        src: files, folders (mirrored, with all their folders) and patterns.
        dst: a folder; a file name for one file; None writes `NAME_derained.EXT` beside a file and `DIR_derained` beside
            a folder, or with the model's name in place of `derained` if it translates.
        options: which model, and what is asked of it.
        progress: show one progress bar on stderr, where that is a terminal.
        on_result: called with each result as it comes, in the caller's thread; with those that are finished after a
            KeyboardInterrupt too.

    Returns:
        What was done, skipped and failed, and which results of earlier runs were left out.

    Raises:
        InputError: nothing can be done as asked (names that collide, an output that cannot be written, the result of
            the only input is there already); raised before any work. What is wrong with single files is in the summary.
        WeightsError: no such model, or a damaged one.
        BackendError: the device is not there.
    """
    options = BatchOptions() if options is None else options
    if not isinstance(options, BatchOptions):
        raise InputError(f"options must be a repix.BatchOptions, got {options!r}")
    summary = Summary()

    def note(result: Result) -> None:
        summary.add(result)
        if on_result is not None:
            on_result(result)

    inputs = [src] if isinstance(src, str | os.PathLike) else src
    planned = plan(inputs, dst, options=options, naming=Naming.of(options.card))
    jobs, settled = planned.pending(overwrite=options.overwrite)
    summary.left_out += planned.left_out
    summary.unknown += planned.unknown
    summary.notes = planned.notes
    if len(inputs) == 1 and os.path.isfile(inputs[0]) and not jobs:
        for result in settled:
            if result.status == "skipped":  # asked for this one alone, so nothing at all would be done
                raise InputError(result.message)
    if jobs and all(job.is_video for job in jobs):  # which need no model of images
        options = replace(options, model=options.load_for_video())
    restorer = options.load()
    for result in settled:
        note(result)
    with contextlib.closing(restore_jobs(restorer, jobs, options=options, progress=progress)) as working:
        for result in working:
            note(result)
    return summary


def restore_jobs(
    restorer: Restorer, jobs: Sequence[Job], *, options: BatchOptions, progress: bool = False
) -> Generator[Result, None, None]:
    """Write what is wanted of each job, giving each result as it comes; otherwise as `restore`."""
    bar = Bar(len(jobs), enabled=progress)
    strength = options.strength
    for_video = functools.cache(lambda: options.load_for_video(restorer))
    with ThreadPoolExecutor(_WORKERS, "repix-io") as pool:
        writing: deque[tuple[Future[Result], int]] = deque()
        try:
            for job, image in _read_ahead(pool, jobs, options):
                begun = time.perf_counter()
                bar.start(job.src)
                if image is None:
                    image = _restore_video(for_video, job, options, bar)
                if isinstance(image, Result):
                    yield replace(image, seconds=time.perf_counter() - begun)
                    bar.advance(1)
                    continue
                keep = job.compare in job.wanted
                try:
                    restored, levels, turned = _restore(restorer, image, strength, keep=keep, progress=bar.advance)
                except Exception as error:
                    yield _failed(job.src, error)
                    bar.advance(1)
                    continue
                size = restored.pixels.nbytes * (2 if keep else 1)
                writing.append(
                    (pool.submit(_write, job, image, restored, levels, turned, begun=begun, times=options.times), size)
                )
                del image, restored
                while writing and (writing[0][0].done() or sum(size for _, size in writing) > _BYTES_WAITING):
                    yield writing.popleft()[0].result()
            while writing:
                yield writing.popleft()[0].result()
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)  # a file that is being written is finished, no other begun
            if isinstance(error, KeyboardInterrupt):  # and told of
                for future, _ in writing:
                    if not future.cancelled():
                        yield future.result()
            raise
        finally:
            bar.close()


def _read_ahead(
    pool: ThreadPoolExecutor, jobs: Sequence[Job], options: BatchOptions
) -> Iterator[tuple[Job, Picture | Result | None]]:
    """Decode the next image, and no more than that, while the network works on this one; None for a video."""
    upcoming = [pool.submit(_read, job, options) for job in jobs[:1]]
    for index, job in enumerate(jobs):
        ready = upcoming.pop()
        image = ready.result()
        upcoming += [pool.submit(_read, later, options) for later in jobs[index + 1 : index + 2]]
        yield job, image


def _read(job: Job, options: BatchOptions) -> Picture | Result | None:
    if job.is_video:
        return None
    try:
        image = read_image(job.src, max_pixels=options.max_pixels)
        if not options.force and job.dst in job.wanted:
            refuse_to_destroy(job.src, image, job.dst)
        return image
    except Exception as error:
        return _failed(job.src, error)


def _restore_video(load: Callable[[], Restorer], job: Job, options: BatchOptions, bar: Bar) -> Result:
    from repix.infer.video import restore_video  # PyAV and SciPy, which images do without

    def advance(done: int, count: int, rate: float) -> None:
        bar.advance(1 / max(count, done), f"{rate:.1f} frames/s")

    try:
        times = _times(job.src) if options.times else None
        dst, compare = (path if path in job.wanted else None for path in (job.dst, job.compare))
        notes = restore_video(load(), job.src, dst, options=options, compare=compare, progress=advance)
        for path in job.wanted:
            _set_times(path, times)
    except Exception as error:
        return _failed(job.src, error)
    return Result(job.src, "done", job.wanted, notes=notes)


def _restore(
    restorer: Restorer, image: Picture, strength: Strength, *, keep: bool, progress: Callable[[float], None]
) -> tuple[Picture, tuple[int, ...] | None, bool]:
    """The restored image, in the same memory, unless the rainy one is to be kept; the levels that ran, of a model that
    has any; and whether the image was turned."""
    out = image.pixels if image.pixels.flags.writeable and not keep else None
    if strength == "auto":
        found = round(restorer.find_strength(image.pixels), 1)  # so that a folder's notes are few
        strength = found
        if found < 1:
            note = f"strength {found:.1f}: what the network found may not be rain"
            image = replace(image, notes=(*image.notes, note))
    made, _, levels, turned = restorer.restore(image.pixels, strength=strength, out=out, progress=progress)
    if strength:
        image = replace(image, notes=(*image.notes, *restorer.note_levels(*image.pixels.shape[:2])))
    task = restorer.card.task if restorer.card is not None else DERAIN
    painted = image.with_pixels(made) if task.keeps_icc else image.repainted(made)
    return painted, levels if restorer.scales is not None and strength != 0 else None, turned


def _write(
    job: Job,
    rainy: Picture,
    restored: Picture,
    levels: tuple[int, ...] | None,
    turned: bool,
    *,
    begun: float,
    times: bool,
) -> Result:
    taken = _times(job.src) if times else None
    lost: list[Difference] = []
    written: list[Path] = []
    notes = list(restored.notes)
    if FORMATS[restored.format].save is None:
        notes.append(f"{FORMATS[restored.format].title} written as {job.dst.suffix.lstrip('.').upper()}")
    try:
        for path in job.wanted:
            image = restored if path == job.dst else _before_after(rainy, restored)
            said = write_image(path, image)
            notes += [text for text in said if text not in notes]
            lost += [difference for difference in said.lost if difference not in lost]
            _set_times(path, taken)
            written.append(path)
    except Exception as error:
        return replace(_failed(job.src, error), written=tuple(written))
    seconds = time.perf_counter() - begun
    return Result(
        job.src,
        "done",
        tuple(written),
        notes=tuple(notes),
        lost=tuple(lost),
        seconds=seconds,
        levels=levels,
        turned=turned,
    )


def _before_after(before: Picture, after: Picture) -> Picture:
    alpha = None if after.alpha is None else np.concatenate([after.alpha, after.alpha], axis=1)
    return replace(after, pixels=np.concatenate([before.pixels, after.pixels], axis=1), alpha=alpha)


def _times(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_atime_ns, status.st_mtime_ns


def _set_times(path: Path, times: tuple[int, int] | None) -> None:
    """A result of an old photo sorts with it; a file system that has no such times costs nothing."""
    if times is not None:
        with contextlib.suppress(OSError):
            os.utime(path, ns=times)


def _failed(path: Path, error: Exception) -> Result:
    """One line for whatever went wrong with one file: the others must go on."""
    text = one_line(error)
    if isinstance(error, MemoryError):
        text = f"out of memory ({text})"
    elif not isinstance(error, RepixError):
        text = f"unexpected {type(error).__name__}: {text}"
    return Result(path, "failed", message=text if str(path) in text else f"{path}: {text}")
