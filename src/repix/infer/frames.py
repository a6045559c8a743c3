"""Frames in, restored frames out: the seam on which every way to restore video stands."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from statistics import median

import numpy as np

from repix._types import Floats
from repix.infer.deflicker import deflicker as calmed
from repix.infer.memory import Memory
from repix.infer.pyramid import Levels
from repix.infer.restorer import Restorer
from repix.io.video import Frame

_log = logging.getLogger("repix")
_THUMBNAIL = 64  # pixels on the shorter side of what is compared to find cuts
_EVERY = 30  # frames: about a second
_STEPS = 9  # times between frames, whose median is the usual one
_GAP = 1.75  # times that: a frame is missing
_CUT = 0.12  # mean difference of neighbouring frames, of the full range, from which on it is another scene


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
    A model that carries a state from frame to frame (`ModelCard.state`) gets one frame after the other; where another
    scene begins or frames are missing, it begins anew.

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
    memory = restorer.remember()
    if memory is not None:
        restored = _in_order(restorer, memory, frames, strength)
    else:
        restored = _one_by_one(restorer, frames, strength, live)
    return calmed(restored) if deflicker else restored


def _one_by_one(
    restorer: Restorer, frames: Iterable[Frame], strength: float, live: bool
) -> Generator[Frame, None, None]:
    calls = 1
    if not live:
        restorer, calls = restorer.parallel()
    scene = _Scene(restorer)

    def restore(frame: Frame, levels: Levels, turned: bool) -> Frame:
        made = restorer.restore(frame.pixels, strength=strength, levels=levels, turned=turned)
        return replace(frame, pixels=made.image)

    working: deque[Future[Frame]] = deque()
    with ThreadPoolExecutor(calls, "repix-network") as pool:
        try:
            for frame in frames:
                levels, turned = scene.look(frame) if strength > 0 else ((), False)
                working.append(pool.submit(restore, frame, levels, turned))
                if live or len(working) > calls:
                    yield working.popleft().result()
            while working:
                yield working.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # what nobody waits for any more is not begun


def _in_order(
    restorer: Restorer, memory: Memory, frames: Iterable[Frame], strength: float
) -> Generator[Frame, None, None]:
    scene = _Scene(restorer)
    times = _Times()
    was_turned = False
    for frame in frames:
        memory.begin_frame(frame.pixels)
        levels, turned = scene.look(frame, follows=memory.follows) if strength > 0 else ((), False)
        if times.has_gap(frame.pts) or scene.is_cut or turned != was_turned:
            memory.forget()
        was_turned = turned
        made = restorer.restore(frame.pixels, strength=strength, levels=levels, turned=turned, memory=memory)
        memory.end_frame(made.image)
        yield replace(frame, pixels=made.image)


class _Times:
    """Tells where frames are missing, or times go back."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._steps: deque[int] = deque(maxlen=_STEPS)

    def has_gap(self, pts: int) -> bool:
        """Whether the next frame, at this time, does not follow the last one."""
        step = 0 if self._last is None else pts - self._last
        usual = median(self._steps) if self._steps else step
        gap = self._last is not None and (step <= 0 or step > _GAP * usual)
        self._last = pts
        if step > 0:
            self._steps.append(step)
        return gap


class _Scene:
    """Which levels of the pyramid a video's frames run, and whether they lie on their side: found once a scene, and
    looked at again about every second.

    Frame by frame they would change with every gust, which shows. Within a scene they change when two looks in a row
    find the same new ones.
    """

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer
        self._found: tuple[tuple[int, ...], bool] | None = None
        self._other: tuple[tuple[int, ...], bool] | None = None  # what the last look found, where that differs
        self._since = 0  # frames since the last look
        self._before: Floats | None = None
        self.is_cut = False  # whether the last frame shows another scene than the one before

    def look(self, frame: Frame, *, follows: bool = False) -> tuple[Levels, bool]:
        """For the next frame: its levels, and whether it is turned.

        Args:
            frame: the next one.
            follows: whether it is known to show the scene of the one before, however much has changed: a pan over fine
                texture changes as much as a cut.
        """
        self.is_cut = is_cut = self._find_cut(frame) and not follows
        if self._restorer.scales is None:
            return (1,), False
        if self._restorer.levels != "auto":
            return self._restorer.levels, False
        self._since += 1
        if self._found is None or is_cut or self._since >= _EVERY:
            made = self._restorer.restore(frame.pixels)
            found = made.levels, made.turned
            if self._found is None or is_cut or found == self._other:
                if found != self._found:
                    said = ",".join(map(str, made.levels)) or "none"
                    _log.info("levels from pts %d on: %s%s", frame.pts, said, ", on its side" if made.turned else "")
                self._found, self._other = found, None
            else:
                self._other = found if found != self._found else None
            self._since = 0
        return self._found

    def _find_cut(self, frame: Frame) -> bool:
        step = max(min(frame.pixels.shape[:2]) // _THUMBNAIL, 1)
        # of means: single pixels of a pan over fine texture change as much as at a cut
        rows, columns = (side // step for side in frame.pixels.shape[:2])
        bands = frame.pixels[: rows * step, : columns * step].reshape(rows, step, -1).sum(1, dtype=np.uint32)
        thumbnail = (bands.reshape(rows, columns, step, 3).sum(2) / step**2).astype(np.float32)
        scale = np.iinfo(frame.pixels.dtype).max
        is_cut = self._before is not None and float(np.abs(thumbnail - self._before).mean()) > _CUT * scale
        self._before = thumbnail
        return is_cut
