"""Frames in, restored frames out: the seam on which every way to restore video stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from repix.infer.deflicker import deflicker as calmed
from repix.infer.restorer import Restorer
from repix.io.video import Frame


def restore_frames(
    restorer: Restorer,
    frames: Iterable[Frame],
    *,
    strength: float = 1.0,
    deflicker: bool = False,
    live: bool = False,
) -> Generator[Frame, None, None]:
    """Restore the frames of one video, in order.

    Frames are restored one by one, several at once where that is faster; `deflicker` sets a filter in time behind that.
    A model that carries a state from frame to frame (`ModelCard.state`) is another way, for its card to ask for.

    Args:
        restorer: what restores a frame.
        frames: of one size and type, in order; a few are read before the first result is given.
        strength: 0 (as it was) to 1.
        deflicker: calm flicker with the neighbouring frames; results then come two frames later.
        live: give each result before the next frame is asked for, which may be long in coming.

    Yields:
        As many frames, with the same times.

    Raises:
        BackendError: the network failed.
    """
    restored = _one_by_one(restorer, frames, strength, live)
    return calmed(restored) if deflicker else restored


def _one_by_one(
    restorer: Restorer, frames: Iterable[Frame], strength: float, live: bool
) -> Generator[Frame, None, None]:
    calls = 1
    if not live:
        restorer, calls = restorer.parallel()

    def restore(frame: Frame) -> Frame:
        return replace(frame, pixels=restorer(frame.pixels, strength=strength))

    working: deque[Future[Frame]] = deque()
    with ThreadPoolExecutor(calls, "repix-network") as pool:
        try:
            for frame in frames:
                working.append(pool.submit(restore, frame))
                if live or len(working) > calls:
                    yield working.popleft().result()
            while working:
                yield working.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # what nobody waits for any more is not begun
