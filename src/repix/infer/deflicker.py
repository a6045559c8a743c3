"""A temporal filter for restored frames: flicker is calmed while the camera stands still. NumPy and SciPy only."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from repix._types import Floats, Image
from repix.io.video import Frame

_BAND = 128  # rows
_REACH = 2  # frames before and after that `deflicker` looks at
# what follows was set on videos of clean photos under rain of three strengths (benchmarks/video.py), in 8-bit levels
_SUPPORT = 9  # pixels a side over which movement is judged
_LARGEST = 16.0  # samples that differ by more are something else, however small it is
_SHIFT = (0.03, 0.08)  # pixels the image moved: up to the first the camera stands, from the second on it moves
_EDGE_CHANGE = (0.55, 0.7)  # the same for change over gradient at edges: for movement by many pixels


def deflicker(frames: Iterable[Frame]) -> Generator[Frame, None, None]:
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


def _likeness(a: Image, b: Image) -> Floats:
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
