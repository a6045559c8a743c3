"""Videos through a `Restorer`: decoding and encoding overlap the network, and neighbouring frames calm the flicker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from repix.errors import InputError
from repix.infer.jobs import BatchOptions
from repix.infer.restorer import Restorer
from repix.io.formats import VIDEOS_WRITABLE
from repix.io.image import Pixels
from repix.io.video import Frame, VideoReader, write_video

Floats = NDArray[np.float32]

_AHEAD = 3  # frames decoded, and frames not encoded yet, before the network waits or is waited for
_BAND = 128  # rows
_REACH = 2  # frames before and after that `deflicker` looks at
# what follows was set on videos of clean photos under rain of three strengths (benchmarks/video.py), in 8-bit levels
_SUPPORT = 9  # pixels a side over which movement is judged
_LARGEST = 16.0  # samples that differ by more are something else, however small it is
_SHIFT = (0.03, 0.08)  # pixels the image moved: up to the first the camera stands, from the second on it moves
_EDGE_CHANGE = (0.55, 0.7)  # the same for change over gradient at edges: for movement by many pixels


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
    restorer, lanes = restorer.parallel()
    with (
        VideoReader(src, start=asked.start, end=asked.end, max_pixels=options.max_pixels) as video,
        write_video(dst, video, codec=asked.codec, crf=asked.crf) as writer,
        ThreadPoolExecutor(1, "repix-decode") as decoding,
        ThreadPoolExecutor(lanes, "repix-network") as restoring,
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

        def restore(frame: Frame) -> Frame:
            return replace(frame, pixels=restorer(frame.pixels, strength=strength))

        def restored() -> Iterator[Frame]:
            begun, done = time.perf_counter(), 0
            working: deque[Future[Frame]] = deque()
            frames = _read_ahead(decoding, video)
            while True:
                packets, frame = next(frames, ([], None))
                if packets:
                    queue(packets)
                if frame is not None:
                    working.append(restoring.submit(restore, frame))
                if len(working) > lanes or (frame is None and working):
                    yield working.popleft().result()
                    done += 1
                    if progress is not None:
                        progress(1 / max(video.count, done), done / (time.perf_counter() - begun))
                elif frame is None:
                    return

        for frame in deflicker(restored()) if asked.deflicker else restored():
            queue([frame])
        while waiting:
            waiting.popleft().result()
        video.close()  # the result may take its place
    notes = [*video.notes, *writer.notes]
    if src.suffix.lower() not in VIDEOS_WRITABLE:
        notes.append(f"{src.suffix[1:].upper()} written as {dst.suffix[1:].upper()}")
    return tuple(notes)


def deflicker(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Calm what flickers while the camera stands still: rain moves, the scene does not.

    Each sample becomes the mean of itself and its neighbours in time, two frames before and two after. A neighbour
    counts as far as its surroundings (9×9 pixels) have not changed more than flicker does, so that nothing that moves
    is smeared; a sample that differs by more than 16 grey levels never counts. While the camera moves, frames stay as
    they are.

    Args:
        frames: restored frames of one size and type, in order.

    Yields:
        As many frames, with the same times. At most five are held.
    """
    window: deque[Frame] = deque()
    likeness: dict[tuple[int, int], Floats] = {}  # (earlier, later) frame by its number -> (H, W) in [0, 1]
    first = 0  # number of window[0]
    centre = 0

    def settled() -> Frame:
        i = centre - first
        pixels = window[i].pixels
        largest = np.float32(_LARGEST * np.iinfo(pixels.dtype).max / 255)
        calmed: Any = np.empty_like(pixels)
        for top in range(0, len(pixels), _BAND):  # floats are four times the size of a frame
            rows = slice(top, top + _BAND)
            own = pixels[rows].astype(np.float32)
            total, weights = np.zeros_like(own), np.ones(own.shape[:2], np.float32)
            for j in range(len(window)):
                weight = likeness.get((min(i, j) + first, max(i, j) + first))
                if weight is not None:
                    change = window[j].pixels[rows] - own
                    change[np.abs(change) > largest] = 0
                    change *= weight[rows, :, None]
                    total += change
                    weights += weight[rows]
            total /= weights[..., None]
            own += total
            calmed[rows] = np.rint(own)
        return replace(window[i], pixels=calmed)

    for number, frame in enumerate(frames):
        for earlier in range(max(number - _REACH, 0), number):
            likeness[earlier, number] = _likeness(window[earlier - first].pixels, frame.pixels)
        window.append(frame)
        if number - centre == _REACH:
            yield settled()
            centre += 1
        if len(window) > 2 * _REACH:
            window.popleft()
            likeness = {pair: value for pair, value in likeness.items() if pair[0] != first}
            first += 1
    while centre - first < len(window):
        yield settled()
        centre += 1


def _likeness(a: Pixels, b: Pixels) -> Floats:
    """Where two frames show the same: 1, where something moved: 0. (H, W) float32."""
    from scipy.ndimage import uniform_filter

    level = np.float32(np.iinfo(a.dtype).max / 255)
    still = _camera_stands(a[..., 1].astype(np.float32) / level, b[..., 1].astype(np.float32) / level)
    if still == 0:
        return np.zeros(a.shape[:2], np.float32)
    change: Floats = (np.maximum(a, b) - np.minimum(a, b)).max(axis=2) / level
    uniform_filter(change, _SUPPORT, mode="nearest", output=change)
    flicker = float(np.median(change[::4, ::4]))  # most of a scene stands still
    result: Floats = still * _ramp(change, 2 + flicker, 4 + 1.5 * flicker)
    return result


def _camera_stands(a: Floats, b: Floats) -> np.float32:
    """1 while the camera stands, 0 while it moves; from the (H, W) green of two frames, in 8-bit levels.

    The shift that explains the change at the strongest edges best (Lucas and Kanade 1981, over the whole image):
    flicker knows nothing of edges and takes no part in it.
    """
    if min(a.shape) < 2:
        return np.float32(0)
    down, across = cast(tuple[Floats, Floats], np.gradient((a + b) / 2))
    steepness = np.hypot(down, across)
    edges = steepness > np.percentile(steepness[::4, ::4], 85)
    down, across, steepness = down[edges], across[edges], steepness[edges]
    change = np.clip((b - a)[edges], -_LARGEST, _LARGEST)
    gram: Any = np.array([[down @ down, down @ across], [across @ down, across @ across]]) + 1e-3 * np.eye(2)
    shift = np.hypot(*np.linalg.solve(gram, np.array([down @ change, across @ change])))
    relative = np.abs(change).sum() / (np.minimum(steepness, _LARGEST).sum() + 1e-3)
    return np.float32(_ramp(shift, *_SHIFT) * _ramp(relative, *_EDGE_CHANGE))


def _ramp(value: Any, one: float, zero: float) -> Any:
    """1 up to `one`, 0 from `zero` on, straight between."""
    return np.clip((zero - value) / (zero - one), 0, 1)


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
