"""Video files through `restore_frames`: decoding and encoding overlap the network, other tracks are copied."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from repix.errors import InputError
from repix.infer.frames import restore_frames
from repix.infer.jobs import BatchOptions
from repix.infer.restorer import Restorer
from repix.io.formats import VIDEOS_WRITABLE
from repix.io.video import Frame, VideoReader, write_video

_AHEAD = 3  # frames decoded, and frames not encoded yet, before the network waits or is waited for


def restore_video(
    restorer: Restorer,
    src: Path,
    dst: Path,
    *,
    options: BatchOptions | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[str, ...]:
    """Restore a video in memory that does not grow with its length; the result appears under its name when it is whole.

    Args:
        restorer: what restores a frame.
        src: the video.
        dst: the result; its extension says the container.
        options: `strength`, a number, `max_pixels` and `video` count here.
        progress: called after each frame with the fraction of the work it was, and frames per second so far.

    Returns:
        What could not be kept as it was, one sentence each.

    Raises:
        InputError: a video that cannot be read or written, or strength `auto`.
        BackendError: the network failed.
    """
    options = options or BatchOptions()
    strength, asked = options.strength, options.video
    if strength == "auto":  # found for each frame alone it would flicker
        raise InputError(f"{src}: strength auto is for images; give videos a number")
    with (
        VideoReader(src, start=asked.start, end=asked.end, max_pixels=options.max_pixels) as video,
        write_video(dst, video, codec=asked.codec, crf=asked.crf) as writer,
        ThreadPoolExecutor(1, "repix-decode") as decoding,
        ThreadPoolExecutor(1, "repix-encode") as encoding,
    ):
        waiting: deque[Future[None]] = deque()

        def write(items: list[Any]) -> None:
            for item in items:
                writer.write(item)

        def queue(items: list[Any]) -> None:
            waiting.append(encoding.submit(write, items))
            while len(waiting) > _AHEAD:
                waiting.popleft().result()

        def decoded() -> Iterator[Frame]:
            for packets, frame in _read_ahead(decoding, video):
                if packets:
                    queue(packets)
                if frame is not None:
                    yield frame

        begun = time.perf_counter()
        restored = restore_frames(restorer, decoded(), strength=strength, deflicker=asked.deflicker)
        with contextlib.closing(restored):
            for done, frame in enumerate(restored, start=1):
                queue([frame])
                if progress is not None:
                    progress(1 / max(video.count, done), done / (time.perf_counter() - begun))
        while waiting:
            waiting.popleft().result()
        video.close()  # the result may take its place
    notes = [*video.notes, *writer.notes]
    if src.suffix.lower() not in VIDEOS_WRITABLE:
        notes.append(f"{src.suffix[1:].upper()} written as {dst.suffix[1:].upper()}")
    return tuple(notes)


def _read_ahead(pool: ThreadPoolExecutor, video: VideoReader) -> Iterator[tuple[list[Any], Frame | None]]:
    """Packets of other tracks, and the frame that follows them; decoded while the network works on the frame before."""
    items = iter(video)

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
