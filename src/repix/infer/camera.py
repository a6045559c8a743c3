"""How the camera has moved since the frame before, found once for a whole frame. NumPy only.

A recurrent network finds motion by itself, but under rain it goes astray on plain ground. The motion of the camera is
one for all of a frame, so a few thousand points tell it to some hundredths of a pixel: Gauss and Newton on the points
of the steepest gradients, coarse to fine (Lucas and Kanade 1981), of a plane seen in motion (eight numbers, Bergen et
al. 1992), with weights that fall with the residual. Rain on this frame, and what moves by itself, is an outlier; the
frame before is taken as restored, without its rain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image

_Doubles = NDArray[np.float64]

_PIXELS = 700_000  # motion is found on images of at most so many
_SMALLEST = 24  # pixels on the shorter side of the coarsest level
_COARSE = 20_000  # pixels of the level on which the search begins
_POINTS = 1600  # on each level
_TURNS = 3  # on each level, at most
_ENOUGH = 0.01  # pixels; a smaller step is the last
_FLAT = 1.0  # grey levels a pixel; less is no gradient
_FEWEST = 60  # points, without which nothing is known
_SPREAD = 2.0  # grey levels that residuals differ by in any case
_BETTER = 0.97  # of the spread that less motion leaves: more is taken only if it leaves less
_FITS = 12.0  # grey levels that a point which agrees with a motion is off, about
_AGREE = 0.4  # share of the points that must agree
_STILL = 0.1  # pixels from a motion by whole pixels that are none: interpolation blurs
_FAR = 0.3  # of the frame's longer side: more is no motion of a camera


@dataclass(frozen=True)
class CameraMotion:
    """Where each place of a frame was in the frame before.

    Attributes:
        numbers: eight, of the displacement (right, down) in pixels at (x, y), which are pixels from the centre over
            half the longer side: a0 + a1·x + a2·y + a6·x² + a7·x·y and a3 + a4·x + a5·y + a6·x·y + a7·y².
        size: (H, W) of the frame.
    """

    numbers: tuple[float, ...]
    size: tuple[int, int]

    def at(self, x: Floats, y: Floats) -> Floats:
        """Displacements (2, ...), (right, down) in pixels, at places in pixels of the frame, centres at whole ones."""
        height, width = self.size
        unit = max(self.size) / 2
        x, y = (x - (width - 1) / 2) / unit, (y - (height - 1) / 2) / unit
        a = self.numbers
        bent = a[6] * x + a[7] * y
        moved = np.stack([a[0] + a[1] * x + a[2] * y + bent * x, a[3] + a[4] * x + a[5] * y + bent * y])
        return moved.astype(np.float32)

    def cells(self, side: int, level: int, size: tuple[int, int], *, turned: bool = False) -> Floats:
        """Displacements at the centres of cells, as a level of the pyramid has them.

        Args:
            side: pixels of the level along a cell.
            level: pixels of the frame for one of the level.
            size: (rows, columns) of cells.
            turned: whether the level has the frame's rows as its columns.

        Returns:
            (1, 2, rows, columns): (right, down) in pixels of the level.
        """
        rows, columns = ((np.arange(count, dtype=np.float32) + 0.5) * (side * level) - 0.5 for count in size)
        along, across = np.meshgrid(columns, rows)
        found = self.at(across, along)[::-1] if turned else self.at(along, across)
        return np.ascontiguousarray(found[None] / np.float32(level))


class Camera:
    """Follows the camera from frame to frame of one size."""

    def __init__(self) -> None:
        self._before: list[_Level] = []
        self._last: _Doubles | None = None

    def follow(self, frame: Image) -> CameraMotion | None:
        """How the camera has moved.

        Args:
            frame: (H, W, 3), uint8 or uint16, of the size of the one before.

        Returns:
            The motion; None for the first frame, and where the frames do not tell.
        """
        if not self._before:
            return None
        images = _pyramid(frame)
        start = next((n for n, one in enumerate(images) if one.size <= _COARSE), len(images) - 1)
        level = self._before[start]
        shift = _phase_shift(images[start], level.image) * level.scale
        guesses = [np.zeros(8), np.array([shift[0], 0, 0, shift[1], 0, 0, 0, 0])]
        if self._last is not None:
            guesses.append(self._last)
        guess = min(guesses, key=lambda numbers: level.judged(images[start], numbers)[0])
        found, _ = level.refined(images[start], guess)
        for image, level in zip(images[start - 1 :: -1] if start else (), self._before[start - 1 :: -1], strict=False):
            found, _ = level.refined(image, found)
        # the fewer numbers tell as much, the surer they are: none, six, or all eight
        finest, best = self._before[0], np.zeros(8)
        spread, agree = finest.judged(images[0], best)
        for guess in (found, finest.refined(images[0], found, 8)[0]):
            left, share = finest.judged(images[0], guess)
            if left < _BETTER * spread:
                best, spread, agree = guess, left, share
        height, width = frame.shape[:2]
        motion = CameraMotion(tuple(map(float, _inverse(best, (height, width)))), (height, width))
        corners = motion.at(*np.meshgrid(np.array([0, width - 1], np.float32), np.array([0, height - 1], np.float32)))
        if agree < _AGREE or not float(np.abs(corners).max()) < _FAR * max(height, width):
            self._last = None
            return None
        self._last = best
        right, down = np.rint(corners.mean((1, 2)))
        if float(np.abs(corners - np.array([right, down])[:, None, None]).max()) < _STILL:
            return CameraMotion((right, 0, 0, down, 0, 0, 0, 0), (height, width))
        return motion

    def keep(self, restored: Image) -> None:
        """Remember a frame as restored, for the next one."""
        if min(restored.shape[:2]) < _SMALLEST:
            return
        images = _pyramid(restored)
        scale = max(restored.shape[:2]) / max(images[0].shape)
        self._before = [_Level(image, restored.shape[:2], scale * 2**n) for n, image in enumerate(images)]

    def forget(self) -> None:
        """Begin anew."""
        self._before, self._last = [], None


class _Level:
    """One level of the frame before: its points, and what moves them.

    Args:
        image: (h, w) in grey levels.
        size: (H, W) of the frame.
        scale: pixels of the frame for one of the level.
    """

    def __init__(self, image: Floats, size: tuple[int, ...], scale: float) -> None:
        self.image, self.scale = image, scale
        height, width = image.shape
        down, right = np.zeros_like(image), np.zeros_like(image)
        down[1:-1] = (image[2:] - image[:-2]) / 2
        right[:, 1:-1] = (image[:, 2:] - image[:, :-2]) / 2
        steep = np.abs(down) + np.abs(right)
        steep[[0, -1]] = 0
        steep[:, [0, -1]] = 0
        side = max(int((height * width / _POINTS) ** 0.5), 2)
        rows, columns = height // side, width // side
        blocks = steep[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
        best = blocks.reshape(rows, columns, -1).argmax(2)
        y = (best // side + side * np.arange(rows)[:, None]).ravel()
        x = (best % side + side * np.arange(columns)).ravel()
        kept = steep[y, x] > _FLAT
        y, x = y[kept], x[kept]
        self.y, self.x, self.values = y.astype(np.float32), x.astype(np.float32), image[y, x]
        gx, gy = right[y, x] / scale, down[y, x] / scale  # for a pixel of the frame
        unit = max(size) / 2
        self.u = (((x + 0.5) * scale - 0.5) - (size[1] - 1) / 2) / unit
        self.v = (((y + 0.5) * scale - 0.5) - (size[0] - 1) / 2) / unit
        u, v = self.u, self.v
        along = gx * u + gy * v
        columns = [gx, gx * u, gx * v, gy, gy * u, gy * v, along * u, along * v]
        self.columns = np.stack(columns).astype(np.float32)

    def _residual(self, image: Floats, numbers: _Doubles) -> tuple[Floats, Floats]:
        """What the motion leaves at each point, and whether it is inside."""
        a, u, v = numbers, self.u, self.v
        bent = a[6] * u + a[7] * v
        x = self.x + ((a[0] + a[1] * u + a[2] * v + bent * u) / self.scale).astype(np.float32)
        y = self.y + ((a[3] + a[4] * u + a[5] * v + bent * v) / self.scale).astype(np.float32)
        height, width = image.shape
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
        left, top = x.astype(np.intp), y.astype(np.intp)
        x, y = x - left, y - top
        place = top * width + left
        flat = image.ravel()
        upper = flat[place] * (1 - x) + flat[place + 1] * x
        lower = flat[place + width] * (1 - x) + flat[place + width + 1] * x
        return self.values - (upper * (1 - y) + lower * y), inside

    def refined(self, image: Floats, numbers: _Doubles, terms: int = 6) -> tuple[_Doubles, float]:
        """The motion onto `image`, from a first guess, and the spread of what it leaves, in grey levels.

        Args:
            image: this level of the frame.
            numbers: the guess.
            terms: how many of the eight numbers are sought, 6 or 8.
        """
        columns = self.columns[:terms]
        spread = float("inf")
        for _ in range(_TURNS):
            left, inside = self._residual(image, numbers)
            if inside.sum() < _FEWEST:
                return numbers, float("inf")
            some = left[inside][::2]
            left -= (middle := np.median(some))
            spread = _spread(some - middle)
            weighted = columns * (inside / (1 + (left / (1.5 * spread)) ** 2) ** 2)
            gram = (weighted @ columns.T).astype(float)
            gram += np.diag(1e-4 * np.diag(gram) + 1e-6)
            step = np.linalg.solve(gram, (weighted @ left).astype(float))
            numbers = numbers.copy()
            numbers[:terms] += step
            if np.abs(step).max() < _ENOUGH * self.scale:
                break
        return numbers, spread

    def judged(self, image: Floats, numbers: _Doubles) -> tuple[float, float]:
        """The spread of what a motion leaves, and the share of the points that agree with it."""
        left, inside = self._residual(image, numbers)
        if inside.sum() < _FEWEST:
            return float("inf"), 0.0
        left = left[inside] - np.median(left[inside])
        return _spread(left), float((1 / (1 + (left / _FITS) ** 2)).mean())


def _spread(left: Floats) -> float:
    return 1.4826 * float(np.median(np.abs(left))) + _SPREAD


def _pyramid(image: Image) -> list[Floats]:
    """Green in grey levels, reduced to `_PIXELS` and then by halves, smoothed a little."""
    times = 1
    while image.shape[0] * image.shape[1] > _PIXELS * times**2:
        times += 1
    green = image[..., 1]
    height, width = (max(side // times, 1) for side in green.shape)
    total = np.zeros((height, width), np.float32)
    for y in range(times):
        for x in range(times):
            total += green[y : height * times : times, x : width * times : times]
    total *= np.float32(255 / np.iinfo(image.dtype).max / times**2)
    smooth = total.copy()
    smooth[1:-1] = (total[:-2] + 2 * total[1:-1] + total[2:]) / 4
    total = smooth.copy()
    total[:, 1:-1] = (smooth[:, :-2] + 2 * smooth[:, 1:-1] + smooth[:, 2:]) / 4
    made = [total]
    while min(made[-1].shape) >= 2 * _SMALLEST:
        one = made[-1][: made[-1].shape[0] // 2 * 2, : made[-1].shape[1] // 2 * 2]
        made.append((one[::2, ::2] + one[1::2, ::2] + one[::2, 1::2] + one[1::2, 1::2]) / 4)
    return made


def _phase_shift(now: Floats, before: Floats) -> Any:
    """(right, down) from the frame before to this one, to a pixel (Kuglin and Hines 1975)."""
    window = np.outer(np.hanning(now.shape[0]), np.hanning(now.shape[1])).astype(np.float32)
    a, b = (np.fft.rfft2((image - image.mean()) * window) for image in (before, now))
    cross = b * np.conj(a)
    peak = np.fft.irfft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).max() + 1e-12), s=now.shape)
    place = np.array(np.unravel_index(int(np.argmax(peak)), peak.shape), float)
    size = np.array(now.shape)
    return np.where(place > size / 2, place - size, place)[::-1]


def _inverse(numbers: _Doubles, size: tuple[int, int]) -> _Doubles:
    """The motion back, fitted where a grid of points comes to lie."""
    unit = max(size) / 2
    v, u = np.mgrid[-size[0] / 2 : size[0] / 2 : 9j, -size[1] / 2 : size[1] / 2 : 9j].reshape(2, -1) / unit
    a = numbers
    bent = a[6] * u + a[7] * v
    right, down = a[0] + a[1] * u + a[2] * v + bent * u, a[3] + a[4] * u + a[5] * v + bent * v
    u, v = u + right / unit, v + down / unit
    one, none = np.ones_like(u), np.zeros_like(u)
    terms = np.concatenate(
        [
            np.stack([one, u, v, none, none, none, u * u, u * v], 1),
            np.stack([none, none, none, one, u, v, u * v, v * v], 1),
        ]
    )
    back: _Doubles = np.linalg.lstsq(terms, -np.concatenate([right, down]), rcond=None)[0]
    return back
