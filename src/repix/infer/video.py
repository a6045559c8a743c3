"""Videos through `restore_frames`: decoding and encoding overlap the network, other tracks are copied."""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from repix.errors import InputError
from repix.infer.frames import restore_frames
from repix.infer.jobs import BatchOptions
from repix.infer.restorer import Restorer
from repix.io.formats import VIDEOS_WRITABLE
from repix.io.video import Frame, FrameSource, VideoReader, write_stream, write_video
from repix.io.y4m import PipeReader, Y4mWriter

_AHEAD = 3  # frames decoded, and frames not encoded yet, before the network waits or is waited for

OnFrame = Callable[[int, int, float], None]
"""Called after each frame: how many are done, how many to expect (an estimate; 0: not known), and frames per second so
far."""


class Writer(Protocol):
    """What takes frames and packets: `VideoWriter`, or one of `repix.io.y4m`."""

    def write(self, item: Any) -> None:
        """Write the next frame or packet."""


def restore_video(
    restorer: Restorer,
    src: Path,
    dst: Path | None,
    *,
    options: BatchOptions | None = None,
    compare: Path | None = None,
    progress: OnFrame | None = None,
) -> tuple[str, ...]:
    """Restore a video in memory that does not grow with its length; the result appears under its name when it is whole.

    Args:
        restorer: what restores a frame.
        src: the video.
        dst: the result; its extension says the container. None writes `compare` alone.
        options: `strength`, a number, `max_pixels` and `video` count here.
        compare: where to write before | after in one video, without sound.
        progress: see `OnFrame`.

    Returns:
        What could not be kept as it was, one sentence each.

    Raises:
        InputError: a video that cannot be read or written, or strength `auto`.
        BackendError: the network failed.
    """
    options = options or BatchOptions()
    asked = options.video
    check_video_strength(options, src)
    with VideoReader(src, start=asked.start, end=asked.end, max_pixels=options.max_pixels) as video:
        with contextlib.ExitStack() as stack:
            write = functools.partial(write_video, video=video, codec=asked.codec, crf=asked.crf)
            writers: list[Any] = [stack.enter_context(write(dst))] if dst is not None else []
            beside = stack.enter_context(write(compare, across=2)) if compare is not None else None
            restore_through(
                restorer, video, writers, options=options, beside=beside, count=video.count, progress=progress
            )
            video.close()  # the result may take its place
        notes = [*video.notes, *(note for writer in [*writers, beside] if writer is not None for note in writer.notes)]
        notes += _note_levels(restorer, video, options)
    made = dst or compare
    if made is not None and src.suffix.lower() not in VIDEOS_WRITABLE:
        notes.append(f"{src.suffix[1:].upper()} written as {made.suffix[1:].upper()}")
    return tuple(dict.fromkeys(notes))


def restore_pipe(
    restorer: Restorer, source: PipeReader, out: IO[bytes] | Path, *, options: BatchOptions | None = None
) -> tuple[int, tuple[str, ...]]:
    """Restore frames as they come, each written before the next is waited for; two later with `deflicker`.

    Args:
        restorer: what restores a frame.
        source: the frames.
        out: where to write: y4m, or Matroska where `options.format` says mkv; a file of any container.
        options: `strength`, a number, `format` and `video` count here.

    Returns:
        How many frames that were, and what could not be kept, one sentence each.

    Raises:
        InputError: damaged frames, a format that a pipe does not take, or what is for files alone was asked for.
        BackendError: the network failed.
        BrokenPipeError: nobody reads any more.
    """
    options = options or BatchOptions()
    asked = options.video
    check_video_strength(options, "standard input")
    if asked.start is not None or asked.end is not None or options.compare:
        raise InputError("standard input: --start, --end and --compare are for files")
    notes: list[str] = []
    if isinstance(out, Path):
        with write_video(out, source, codec=asked.codec, crf=asked.crf) as writer:
            count = restore_through(restorer, source, [writer], options=options)
        notes = writer.notes
    elif (format := (options.format or "y4m").lower().lstrip(".")) == "y4m":
        try:
            count = restore_through(restorer, source, [Y4mWriter(out, source)], options=options, live=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(f"standard output cannot be written: {error.strerror or error}") from error
    elif format == "mkv":
        with write_stream(out, source, codec=asked.codec, crf=asked.crf) as writer:
            count = restore_through(restorer, source, [writer], options=options, live=True)
        notes = writer.notes
    else:
        raise InputError(f"standard output takes y4m or mkv from a pipe of frames, not {format}; name a file with -o")
    return count, tuple(dict.fromkeys([*source.notes, *notes, *_note_levels(restorer, source, options)]))


def _note_levels(restorer: Restorer, source: FrameSource, options: BatchOptions) -> tuple[str, ...]:
    return restorer.note_levels(source.first.height, source.first.width) if options.strength else ()


def check_video_strength(options: BatchOptions, name: object) -> None:
    """Refuse strength `auto`: found for each frame alone it would flicker.

    Raises:
        InputError: it was asked for.
    """
    if options.strength == "auto":
        raise InputError(f"{name}: strength auto is for images; give videos a number")


def restore_through(
    restorer: Restorer,
    source: Iterable[Any],
    writers: Iterable[Writer],
    *,
    options: BatchOptions,
    beside: Writer | None = None,
    live: bool = False,
    count: int = 0,
    progress: OnFrame | None = None,
) -> int:
    """Restore what a source gives and hand it on, with reading, the network and writing side by side.

    Args:
        restorer: what restores a frame.
        source: frames, and packets of other tracks, which are passed on.
        writers: what takes restored frames and packets.
        options: `strength` and `video.deflicker` count here.
        beside: what takes before | after, frames alone.
        live: give each frame on as soon as it is restored, at the cost of frames side by side.
        count: how many frames to expect, for `progress`.
        progress: see `OnFrame`.

    Returns:
        How many frames that were.
    """
    strength = options.strength
    assert strength != "auto"
    sinks = list(writers)
    done = 0
    with ThreadPoolExecutor(1, "repix-decode") as decoding, ThreadPoolExecutor(1, "repix-encode") as encoding:
        waiting: deque[Future[None]] = deque()
        rainy: deque[Frame] = deque()  # those that are at work

        def write(items: list[Any]) -> None:
            for item in items:
                for sink in sinks:
                    sink.write(item)

        def queue(work: Callable[[], None]) -> None:
            waiting.append(encoding.submit(work))
            while waiting and (len(waiting) > _AHEAD or waiting[0].done()):
                waiting.popleft().result()

        def decoded() -> Iterator[Frame]:
            for packets, frame in _read_ahead(decoding, source):
                if packets:
                    queue(lambda packets=packets: write(packets))  # type: ignore[misc]
                if frame is not None:
                    if beside is not None:
                        rainy.append(frame)
                    yield frame

        begun = time.perf_counter()
        restored = restore_frames(restorer, decoded(), strength=strength, deflicker=options.video.deflicker, live=live)
        with contextlib.closing(restored):
            for done, frame in enumerate(restored, start=1):
                queue(lambda frame=frame: write([frame]))  # type: ignore[misc]
                if beside is not None:
                    both = replace(frame, pixels=np.concatenate([rainy.popleft().pixels, frame.pixels], axis=1))
                    queue(lambda both=both: beside.write(both))  # type: ignore[misc]
                if progress is not None:
                    progress(done, count, done / (time.perf_counter() - begun))
        while waiting:
            waiting.popleft().result()
    return done


def _read_ahead(pool: ThreadPoolExecutor, source: Iterable[Any]) -> Iterator[tuple[list[Any], Frame | None]]:
    """Packets of other tracks, and the frame that follows them; decoded while the network works on the frame before."""
    items = iter(source)

    def next_frame() -> tuple[list[Any], Frame | None]:
        packets: list[Any] = []
        for item in items:
            if isinstance(item, Frame):
                return packets, item
            packets.append(item)
        return packets, None

    upcoming = deque(pool.submit(next_frame) for _ in range(_AHEAD))
    while True:
        packets, frame = upcoming.popleft().result()
        if frame is not None:
            upcoming.append(pool.submit(next_frame))
        yield packets, frame
        if frame is None:
            return
