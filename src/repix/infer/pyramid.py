"""Restoration over scales: wide streaks are taken away where they are narrow, in the reduced image. NumPy only.

A network knows streaks of a few pixels. In a photograph of 12 megapixels near streaks are fifteen pixels wide, so the
image is reduced until they are narrow, the network finds its rain layer there, and only that layer is enlarged and
subtracted: the image's own detail never leaves the full resolution.

A level is a power of two. Level s of the current image is the mean of its blocks of s×s pixels; what the network takes
away from that is enlarged s times (bicubic, Keys 1981, a = -1/2) and subtracted from the current image. Levels
follow each other; nothing is clipped between them but what the network is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image
from repix.errors import InputError
from repix.infer.memory import Memory
from repix.infer.padding import padded, to_floats
from repix.infer.tiling import Read, Rounding, Write, reader, run_tiles, writer

Levels = Literal["auto"] | tuple[int, ...]
"""Levels in the order in which they run, or `auto`: those that find rain."""

Run = Callable[[Floats], Floats]
Report = Callable[[float], None]
OnLayer = Callable[[int, Floats], None]

SHORTEST = 240
"""A level whose shorter side would have fewer pixels than this is not tried: what networks have learnt is hardly
smaller."""
COARSEST = 16

_BAND = 128  # rows that are enlarged or reduced at once
_BLOCK = 32  # columns in one block of a matrix product
_PRODUCT = 2**17  # multiplications in one matrix product at most, half of what OpenBLAS shares among threads
_GRID = 6  # cells along each side of the image, each of which is looked at
_TILE = 128  # pixels along each side of what is looked at in a cell, where a level is not looked at as a whole
_AROUND = 32  # pixels of a level around a cell that is looked at alone
_COMPARED = 12  # of those, how many are compared with their mirrored selves: those with most rain
_WHOLE = 1_200_000  # pixels of a level up to which it is looked at as a whole
_PRECISE = 48_000_000  # pixels up to which what level 1 has made waits in 16 bits, and beyond which memory is spared
_LARGE_TILE = 1024  # longest side of a tile in images beyond that
# What a level takes away from a cell is rain as far as the mirrored image agrees: none of it where disagreement over
# rain reaches the first figure. The level has found rain where that leaves more than the second in one cell, in grey
# levels of 255 (mean over pixels). Photographs have more that looks like rain when they are small; what level 1 takes
# for rain it takes for rain without levels too.
_FINE, _COARSE = (0.40, 0.25), (0.25, 0.70)
# The part of its rain layer that no coarser level can hold, over the most that any level finds (root mean squares):
# 0.22 to 0.28 where streaks have the width that networks know, 0.07 to 0.10 where they are twice as wide, 0.15 and more
# where there are thin ones among wide ones.
_OWN = 0.13
# From which strength on (0 to 1, `_direction`) a rain layer has a direction. Rain that runs level is that of an image
# that lies on its side; what a later level takes away is rain only if it runs along that of the first.
_DIRECTED, _ALONG = 0.3, 0.4


def list_levels(height: int, width: int) -> tuple[int, ...]:
    """The levels that an image has, finest first."""
    levels = [1]
    while levels[-1] < COARSEST and min(height, width) // (2 * levels[-1]) >= SHORTEST:
        levels.append(2 * levels[-1])
    return tuple(levels)


def check_levels(levels: Levels) -> None:
    """Refuse what is neither `auto` nor a tuple of distinct powers of two.

    Raises:
        InputError: such levels.
    """
    if levels == "auto":
        return
    powers = [2**k for k in range(COARSEST.bit_length())]
    if (
        not isinstance(levels, Sequence)
        or any(level not in powers for level in levels)
        or len(set(levels)) < len(levels)
    ):
        raise InputError(f"levels must be 'auto' or distinct powers of two up to {COARSEST}, got {levels!r}")


def parse_levels(text: str) -> Levels:
    """Levels as users write them, `1,2,4` or `auto`.

    Raises:
        InputError: neither distinct powers of two with commas between them nor `auto`.
    """
    if text == "auto":
        return "auto"
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"levels must be 'auto' or powers of two such as 1,2,4, got {text!r}") from None
    check_levels(levels)
    return levels


# --- resampling: small matrix products, which a processor does at its full rate ---------------------------------------
# BLAS shares larger ones among threads of its own, which wait busily for the next: on a machine whose cores have other
# things to do, such as a network's threads, that took up to a hundred times as long.


@cache
def _shrinking(factor: int, count: int, scale: float) -> Floats:
    """(count·factor·3, count·3): means of `factor` along interleaved channels, divided by `scale`."""
    means = np.kron(np.eye(count), np.full((factor, 1), 1 / factor))
    return np.asarray(np.kron(means, np.eye(3)) / scale, np.float32)


def reduce(
    pixels: NDArray[np.floating] | Image, factor: int, *, scale: float = 1.0, out: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """Means of blocks of factor×factor pixels, divided by `scale`: (H, W, 3) -> (⌈H/factor⌉, ⌈W/factor⌉, 3).

    The last pixel stands in for those that incomplete blocks at the lower and right border lack.
    """
    height, width = pixels.shape[:2]
    rows, columns = -(-height // factor), -(-width // factor)
    block = max(_BLOCK // factor, 1)  # results in one block
    across = _shrinking(factor, block, scale)
    blocks = -(-columns // block)
    stacked = _stacked(blocks, across.size)
    blocks = -(-blocks // stacked) * stacked
    wide = blocks * block * factor
    out = np.empty((rows, columns, 3), np.float32) if out is None else out
    step = max(_BAND // factor, 1)
    given = np.empty((step * factor, wide, 3), np.float32)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        band = pixels[first * factor : (first + count) * factor]
        given[: len(band), :width] = band
        given[: len(band), width:] = band[:, -1:]
        given[len(band) :] = given[len(band) - 1]
        down = given[: count * factor].reshape(count, factor, wide * 3).sum(axis=1) / np.float32(factor)
        made = down.reshape(-1, stacked, len(across)) @ across
        out[first : first + count] = made.reshape(count, -1, 3)[:, :columns]
    return out


def _stacked(count: int, size: int) -> int:
    """How many of `count` rows one product with a matrix of `size` numbers may have; equal shares of the whole."""
    most = max(_PRODUCT // size, 1)
    return -(-count // -(-count // most))


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -1/2 at distances from 0 to 2."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, far)


@cache
def _enlarging(factor: int, start: int, count: int) -> tuple[int, Floats]:
    """First pixel of the small image, and (count, n) weights, for pixels `start` … of the large one."""
    centres = (np.arange(start, start + count) + 0.5) / factor - 0.5
    first = int(np.floor(centres[0])) - 1
    last = int(np.floor(centres[-1])) + 2
    distance = np.abs(centres[:, None] - np.arange(first, last + 1))
    return first, np.where(distance < 2, _cubic(distance), 0).astype(np.float32)


@cache
def _enlarging_columns(factor: int) -> tuple[int, Floats]:
    """The same for a block of `_BLOCK` columns of interleaved channels: offset of its first pixel, and the matrix."""
    first, weights = _enlarging(factor, 0, max(_BLOCK, factor))
    return first, np.kron(weights.T, np.eye(3, dtype=np.float32))


def enlarge(layer: NDArray[np.floating], factor: int, rows: slice, columns: slice) -> Floats:
    """A window of a layer enlarged `factor` times by bicubic interpolation; its border pixels go on outside.

    Args:
        layer: (h, w, 3).
        factor: a power of two.
        rows, columns: the window, in pixels of the enlarged layer; with start and stop.

    Returns:
        (rows, columns, 3) float32, the same wherever the window's borders lie.
    """
    height, width = layer.shape[:2]
    block = max(_BLOCK, factor)
    offset, across = _enlarging_columns(factor)
    taps = len(across) // 3
    first_block, blocks = columns.start // block, -(-columns.stop // block) - columns.start // block
    stacked = _stacked(blocks, across.size)
    blocks = -(-blocks // stacked) * stacked
    top, last = rows.start // factor - 2, (rows.stop - 1) // factor + 3
    ys = np.clip(np.arange(top, last), 0, height - 1)
    xs = (first_block + np.arange(blocks))[:, None] * (block // factor) + offset + np.arange(taps)
    given = layer[ys].astype(np.float32)[:, np.clip(xs, 0, width - 1)]  # (n, blocks, taps, 3)
    wide = (given.reshape(-1, stacked, taps * 3) @ across).reshape(len(ys), -1)
    skip = columns.start - first_block * block
    length = (columns.stop - columns.start) * 3
    wide = wide[:, skip * 3 : skip * 3 + length]
    made = np.empty((rows.stop - rows.start, length), np.float32)
    start = rows.start
    while start < rows.stop:
        count = min(block - start % block, rows.stop - start)
        first, down = _enlarging(factor, start % factor, count)
        first += start // factor - top
        piece = wide[first : first + down.shape[1]]
        share = max(_PRODUCT // down.size, 1)
        for left in range(0, length, share):
            np.matmul(down, piece[:, left : left + share], out=made[start - rows.start :][:count, left : left + share])
        start += count
    return made.reshape(len(made), -1, 3)


# --- the image while levels run -----------------------------------------------------------------------------------


class _Current:
    """The image as the levels so far have left it, never held at full resolution in floating point.

    Attributes:
        base: (H, W, 3) integers: the image, or what level 1 has made of it.
        layers: (level, its rain layer) that are still to be subtracted from `base`.
        reduced: level -> the current image at that level, (h, w, 3) float16.
    """

    def __init__(self, image: Image, levels: Sequence[int]) -> None:
        self.size = image.shape[:2]
        self.levels = [level for level in levels if level > 1]
        self.layers: list[tuple[int, NDArray[np.float16]]] = []
        self.reduced: dict[int, NDArray[np.float16]] = {}
        self.rebase(image)

    def rebase(self, base: Image) -> None:
        self.reduced.clear()
        self.base = base
        self.scale = np.float32(np.iinfo(base.dtype).max)
        self.layers.clear()
        finer: NDArray[np.floating] | Image = base
        at, scale = 1, float(self.scale)
        for level in self.levels:
            size = [-(-side // level) for side in self.size]
            self.reduced[level] = np.empty((*size, 3), np.float16)
            finer = reduce(finer, level // at, scale=scale, out=self.reduced[level])
            at, scale = level, 1.0

    def window(self, rows: slice, columns: slice) -> Floats:
        """(h, w, 3) float32 of the full resolution, in [0, 1]."""
        x = self.base[rows, columns].astype(np.float32)
        x /= self.scale
        for level, layer in self.layers:
            x -= enlarge(layer, level, rows, columns)
        if self.layers:
            np.clip(x, 0, 1, out=x)
        return x

    def subtract(self, level: int, layer: NDArray[np.floating]) -> None:
        """Take a level's rain layer away, from every other level; the level itself has run and is forgotten."""
        self.reduced.pop(level, None)
        kept = layer.astype(np.float16, copy=False)
        self.layers.append((level, kept))
        for other, x in self.reduced.items():
            if other < level:
                height = len(x)
                for first in range(0, height, _BAND):
                    rows = slice(first, min(first + _BAND, height))
                    x[rows] = x[rows].astype(np.float32) - enlarge(kept, level // other, rows, slice(0, x.shape[1]))
            else:
                x -= reduce(kept, other // level).astype(np.float16)


@dataclass(frozen=True)
class Look:
    """What a level finds in the cells that an image is divided into.

    Attributes:
        found: whether what it takes away is rain, in one cell at least.
        energy: mean square of the rain layer where all levels were looked at.
        own: the part of it that no coarser level can hold.
        direction: of what it takes away, as `_direction` has it.
        layer: the rain layer, (h, w, 3), where the level was looked at as a whole.
    """

    found: bool
    energy: float = 0.0
    own: float = 0.0
    direction: tuple[float, float] = (0.0, 0.0)
    layer: Floats | None = None


class _Looking:
    """Tries levels on an image: coarse ones as a whole, fine ones on one tile in each cell."""

    def __init__(self, run: Run, current: _Current, multiple_of: int) -> None:
        self.run = run
        self.current = current
        self.multiple_of = multiple_of
        height, width = current.size
        self.tops = np.linspace(0, height, _GRID + 1).astype(int)
        self.lefts = np.linspace(0, width, _GRID + 1).astype(int)
        # of the tiles at full resolution, one in each cell; where nothing is known yet, in its middle
        self.corners: list[tuple[int, int]] | None = None

    def __call__(self, level: int, *, after: Look | None = None) -> Look:
        """Try a level, so far as it takes to tell whether it finds rain.

        Args:
            level: which.
            after: on what is left after others have run, what the first of them found; whether there is rain is then
                all that is asked. Strokes that do not run along that rain, such as fur and water have, are none.
        """
        height, width = (-(-side // level) for side in self.current.size)
        limits = _FINE if level == 1 or after is not None else _COARSE
        try_level = self._whole if level > 1 and height * width <= _WHOLE else self._tiles
        look = try_level(level, limits, after is not None)
        if after is not None and look.found and not _along(look.direction, after.direction):
            return Look(False)
        return look

    def order(self, levels: Sequence[int]) -> tuple[list[int], dict[int, Look]]:
        """Those levels that find rain, in the order in which they should run, and what each finds."""
        looks = {level: self(level) for level in sorted(levels, reverse=True)}  # coarse ones say where fine ones look
        looks = {level: look for level, look in looks.items() if look.found}
        first = [first_level(looks)] if looks else []
        return first + sorted(looks.keys() - first), looks

    def choose_tiles(self, level: int, layer: Floats) -> None:
        """Lay the tiles where a coarser level has found most in each cell, so that a little rain is not missed."""
        found = np.abs(layer).mean(axis=2)
        size = max(_TILE // level, 1)
        height, width = self.current.size
        self.corners = []
        for top, bottom in zip(self.tops, self.tops[1:], strict=False):
            for left, right in zip(self.lefts, self.lefts[1:], strict=False):
                cell = found[top // level : max(bottom // level, top // level + 1), left // level : right // level]
                sums = np.pad(cell.cumsum(0, np.float64).cumsum(1), ((1, 0), (1, 0)))
                n, m = min(size, cell.shape[0]), min(size, cell.shape[1])
                windows = sums[n:, m:] - sums[:-n, m:] - sums[n:, :-m] + sums[:-n, :-m]
                y, x = np.unravel_index(int(windows.argmax()), windows.shape)
                if windows[y, x] <= 0:
                    y, x = windows.shape[0] // 2, windows.shape[1] // 2
                self.corners.append(
                    (
                        int(np.clip(top + int(y) * level, 0, max(height - _TILE, 0))),
                        int(np.clip(left + int(x) * level, 0, max(width - _TILE, 0))),
                    )
                )

    def _whole(self, level: int, limits: tuple[float, float], again: bool) -> Look:
        x = np.clip(self.current.reduced[level].astype(np.float32), 0, 1)
        made = _run_whole(self.run, x, self.multiple_of)
        layer = x - made
        found = self._agrees(level, x, made, self._cells(np.abs(layer).mean(axis=2), level), limits)
        if again:
            return Look(found, direction=_direction([layer]) if found else (0.0, 0.0), layer=layer)
        if self.corners is None:
            self.choose_tiles(level, layer)
        assert self.corners is not None
        if not found:
            return Look(found)
        size = max(_TILE // level, 1)
        pieces = [layer[y // level : y // level + size, x // level : x // level + size] for y, x in self.corners]
        energy, own = np.mean([_energies(piece) for piece in pieces], axis=0).tolist()
        return Look(found, energy, own, _direction([layer]), layer)

    def _agrees(self, level: int, x: Floats, made: Floats, amount: Floats, limits: tuple[float, float]) -> bool:
        """Whether the network takes the same away from the mirrored image, where it takes enough."""
        if not _is_rain(amount, 0, limits):
            return False
        # as a rule it does so in the cell with most rain already: that cell and its surroundings are tried alone
        i, (height, width) = int(amount.argmax()), x.shape[:2]
        (top, bottom), (left, right) = (
            (sides[at] // level, sides[at + 1] // level)
            for sides, at in zip((self.tops, self.lefts), divmod(i, _GRID), strict=True)
        )
        # moved by a pixel against the grid on which the network has seen the whole
        y = max(top - _AROUND, 0) // self.multiple_of * self.multiple_of + 1
        area = np.s_[y : min(bottom + _AROUND, height), max(left - _AROUND, 0) : min(right + _AROUND, width)]
        if 4 * x[area].size < x.size:
            mirrored = _run_whole(self.run, x[area][:, ::-1], self.multiple_of)[:, ::-1]
            cell = np.s_[max(top - y, 0) : bottom - y, left - area[1].start : right - area[1].start]
            differs = np.abs(np.clip(made[area], 0, 1) - np.clip(mirrored, 0, 1))[cell].mean() / 2
            if _is_rain(amount[i], differs, limits):
                return True
        moved = np.pad(x, ((1, 0), (1, 0), (0, 0)), mode="reflect")[:, ::-1]
        mirrored = _run_whole(self.run, moved, self.multiple_of)[1:, ::-1][:, 1:]
        differs = np.abs(np.clip(made, 0, 1) - np.clip(mirrored, 0, 1)).mean(axis=2) / 2
        return _is_rain(amount, self._cells(differs, level), limits)

    def _cells(self, values: Floats, level: int) -> Floats:
        """Means over cells."""
        tops, lefts = self.tops[:-1] // level, self.lefts[:-1] // level
        sums = np.add.reduceat(np.add.reduceat(values, tops, axis=0), lefts, axis=1)
        counts = np.outer(np.diff([*tops, len(values)]), np.diff([*lefts, values.shape[1]]))
        return np.asarray(sums / counts, np.float32).ravel()

    def _tiles(self, level: int, limits: tuple[float, float], again: bool) -> Look:
        if self.corners is None:
            self.choose_tiles(level, np.zeros((*(-(-n // level) for n in self.current.size), 1), np.float32))
        assert self.corners is not None
        height, width = self.current.size
        # room for the mirrored image, moved by a pixel
        side = min(_TILE + 1, -(-height // level), -(-width // level))
        given = np.empty((len(self.corners), 3, side, side), np.float32)
        for i, (y, x) in enumerate(self.corners):
            if level == 1:
                top, left = min(y, height - side), min(x, width - side)
                piece = self.current.window(slice(top, top + side), slice(left, left + side))
            else:
                whole = self.current.reduced[level]
                middle_y, middle_x = (y + _TILE // 2) // level, (x + _TILE // 2) // level
                top = int(np.clip(middle_y - side // 2, 0, whole.shape[0] - side))
                left = int(np.clip(middle_x - side // 2, 0, whole.shape[1] - side))
                piece = np.clip(whole[top : top + side, left : left + side].astype(np.float32), 0, 1)
            given[i] = piece.transpose(2, 0, 1)
        side = (side - 1) // self.multiple_of * self.multiple_of
        plain = np.ascontiguousarray(given[:, :, :side, :side])
        moved = np.ascontiguousarray(given[:, :, 1 : side + 1, 1 : side + 1][..., ::-1])
        made: list[Floats] = []
        amount: list[float] = []

        def agrees(i: int) -> bool:
            mirrored = self.run(moved[i : i + 1])[0, ..., ::-1]
            a, b = np.clip(made[i][0, :, 1:, 1:], 0, 1), np.clip(mirrored[:, :-1, :-1], 0, 1)
            return _is_rain(amount[i], np.abs(a - b).mean() / 2, limits)

        for i in range(len(plain)):
            made.append(self.run(plain[i : i + 1]))
            amount.append(float(np.abs(plain[i : i + 1] - made[i]).mean()))
        # tiles with most rain first: one is enough, and little rain need not be agreed on
        wettest = [int(i) for i in np.argsort(amount)[::-1][:_COMPARED] if _is_rain(amount[i], 0, limits)]
        if not any(agrees(i) for i in wettest):
            return Look(False)
        layer = plain - np.concatenate(made)
        direction = _direction(layer.transpose(0, 2, 3, 1))
        if again:
            return Look(True, direction=direction)
        inner = min(_TILE // level, side)
        first = (side - inner) // 2
        middles = layer[:, :, first : first + inner, first : first + inner].transpose(0, 2, 3, 1)
        energy, own = np.mean([_energies(middle) for middle in middles], axis=0).tolist()
        return Look(True, energy, own, direction)


def _direction(layers: Iterable[Floats]) -> tuple[float, float]:
    """Which way strokes run in (h, w, 3) layers, over all of their pixels: the structure tensor's angle, doubled.

    Returns:
        (1, 0) where all are upright, (-1, 0) level, (0, ±1) between; shorter where they differ, (0, 0) for any way.
    """
    upright = slanted = total = 0.0
    for layer in layers:
        if min(layer.shape[:2]) < 2:  # an image, or the last rows of one, without a direction
            continue
        down, across = np.gradient(layer.mean(axis=2))
        upright += float(np.square(across).sum() - np.square(down).sum())
        slanted += 2 * float((across * down).sum())
        total += float(np.square(across).sum() + np.square(down).sum())
    return (upright / total, slanted / total) if total else (0.0, 0.0)


def _along(direction: tuple[float, float], rain: tuple[float, float]) -> bool:
    """Whether strokes run the rain's way; any do where it has none."""
    strength = float(np.hypot(*rain))
    return strength < _DIRECTED or float(np.dot(direction, rain)) >= _ALONG * strength


def _is_level(direction: tuple[float, float]) -> bool:
    """Whether rain that runs this way runs level rather than upright or aslant."""
    return direction[0] <= -_DIRECTED


def _most_turned(direction: tuple[float, float]) -> float:
    """How many times as much of what runs level the network may find once it is turned, if it is to be rain.

    In rain on its side it found 0.85 to 1.45 times as much. In water, planks, road marks, for which networks fall less
    when they run upright, 0.2 to 0.9 times; sometimes more than here, from strokes of many directions.
    """
    return 1 - direction[0]


def _amount(image: Image, made: Image) -> float:
    """Mean of what was taken away from (H, W, 3), in [0, 1]."""
    return sum(float(np.abs(layer).sum()) for layer in _layers(image, made)) / image.size


def _layers(image: Image, made: Image) -> Iterator[Floats]:
    for first in range(0, len(image), _BAND):
        rows = slice(first, first + _BAND)
        yield reader(image)(rows, slice(None)) - reader(made)(rows, slice(None))


def _on_side(image: Image) -> Image:
    """Columns for rows: a view."""
    return image.swapaxes(0, 1)


def _layers_on_side(on_layer: OnLayer) -> OnLayer:
    return lambda level, layer: on_layer(level, layer.swapaxes(0, 1))


def _is_rain(amount: Floats | float, differs: Floats | float, limits: tuple[float, float]) -> bool:
    """Whether what a level takes away is rain, in one place at least.

    Args:
        amount: mean of |rain layer|, in [0, 1].
        differs: mean disagreement with the mirrored image, in the same unit.
        limits: `_FINE` or `_COARSE`.
    """
    none, least = limits
    return bool(np.max((amount - differs / none) * 255) > least)


def _energies(layer: Floats) -> tuple[float, float]:
    """Mean square of (h, w, 3), and of what is left of it when what half the resolution can hold is taken away."""
    height, width = layer.shape[:2]
    coarse = enlarge(reduce(layer, 2), 2, slice(0, height), slice(0, width))
    return float(np.square(layer).mean()), float(np.square(layer - coarse).mean())


def _run_whole(run: Run, x: Floats, multiple_of: int) -> Floats:
    """(h, w, 3) of any size, reflected below and on the right -> the same."""
    height, width = x.shape[:2]
    given = padded(x.transpose(2, 0, 1)[None], multiple_of)
    return np.asarray(run(np.ascontiguousarray(given))[0].transpose(1, 2, 0)[:height, :width])


def first_level(looks: Mapping[int, Look]) -> int:
    """The level to begin with: the finest that finds a good deal of what no coarser level can."""
    most = max(look.energy for look in looks.values())
    own = [level for level in sorted(looks) if looks[level].own >= _OWN**2 * most]
    return own[0] if own else max(looks)


# --- the whole of it ------------------------------------------------------------------------------------------------


def restore_levels(
    run: Run,
    image: Image,
    levels: Levels = "auto",
    *,
    scales: tuple[int, int] = (1, COARSEST),
    multiple_of: int = 1,
    tile: int | None = None,
    overlap: int = 0,
    strength: float = 1.0,
    rounding: Rounding = "nearest",
    out: Image | None = None,
    progress: Report | None = None,
    on_layer: OnLayer | None = None,
    memory: Memory | None = None,
    turned: bool | None = None,
) -> tuple[Image, tuple[int, ...], bool]:
    """Restore an image over scales.

    With `auto` each level is tried: coarse ones as a whole, fine ones on one tile in each cell of a 6×6 grid, where
    a coarser level found most. Where what it takes away is not rain in any cell, a level is left out, so that an image
    with wide streaks alone never pays for its full resolution. The first of those that are left is the finest one at
    which streaks have their usual width; the others follow from fine to coarse, each tried again on what is left by
    then, and left out where its strokes do not run along those of the first. Coarser levels first would halve thin
    streaks, and half-removed streaks are worse than whole ones; finer ones first would do the same to wide streaks.

    Networks know rain that falls. Where what the first level takes away runs level, the image may lie on its side, as
    phones store them: the network gets its columns for rows, unless it then takes away far more.

    Args:
        run, multiple_of, tile, overlap, strength, rounding, out, progress: as for `run_tiles` and `writer`.
        image: (H, W, 3), uint8 or uint16.
        levels: `auto`, or levels in the order in which they run; none leaves the image as it is.
        scales: the finest and the coarsest level there may be. Where an image is too small for any of those asked for,
            its coarsest runs.
        on_layer: called with each level and the rain layer that it takes away, (h, w, 3) at that level; for level 1
            only where another follows.
        memory: of a recurrent network, which it runs in place of `run`; levels must be given.
        turned: whether the network gets the image's columns for rows; None finds out with levels `auto` and `scales`
            beyond 1, and means no with others.

    Returns:
        The result, (H, W, 3) of `image`'s type, the levels that ran, in their order, and whether the image was turned.

    Raises:
        BackendError: as `run_tiles`.
    """
    result = np.empty_like(image) if out is None else out
    size = image.shape[:2]
    there, wanted = _wanted(size, levels, scales)
    finds_turn = turned is None and levels == "auto" and scales[1] > 1
    if tile is not None and size[0] * size[1] > _PRECISE:
        tile = min(tile, _LARGE_TILE)
    passes = _Passes(run, multiple_of, tile, overlap, strength, rounding, memory, bool(turned))
    given, target = (_on_side(image), _on_side(result)) if turned else (image, result)
    if wanted == [1] and on_layer is None:
        if finds_turn and np.may_share_memory(image, result):  # it is needed again if it lies on its side
            given = image.copy()
        passes.finish(reader(given), given, target, progress)
        return result, (1,), _turn_back(passes, given, result) if finds_turn else bool(turned)
    if levels == "auto" and wanted != [1]:
        plan = _find_plan(run, given, there, wanted, multiple_of, finds_turn=finds_turn)
        if plan.turned:
            turned, given, target = True, _on_side(image), _on_side(result)
    else:
        plan = _Plan(_Current(given, there if wanted else ()), wanted)
    if on_layer is not None and turned:
        on_layer = _layers_on_side(on_layer)
    report = _Progress(progress, sum(level**-2 for level in wanted))
    ran = _run_levels(passes, plan, given, target, report, on_layer)
    report.end()
    return result, ran, bool(turned)


@dataclass(frozen=True)
class _Passes:
    """How the network runs over an image; see `restore_levels`."""

    network: Run
    multiple_of: int
    tile: int | None
    overlap: int
    strength: float
    rounding: Rounding
    memory: Memory | None
    turned: bool  # as given: a memory's frames are not looked at

    def run(self, level: int, read: Read, write: Write, size: tuple[int, ...], progress: Report | None) -> None:
        """One level, in tiles."""
        run_tiles(
            self.network, read, write, size[:2], multiple_of=self.multiple_of, tile=self.tile, overlap=self.overlap,
            progress=progress, memory=self.memory.at(level, turned=self.turned) if self.memory else None,
        )  # fmt: skip

    def finish(self, read: Read, image: Image, target: Image, progress: Report | None = None) -> None:
        """Level 1 where it is the last: what it makes, at the strength wanted, is the result."""
        self.run(1, read, self.writer(image, target), image.shape, progress)

    def writer(self, image: Image, target: Image) -> Write:
        return writer(image, target, strength=self.strength, rounding=self.rounding)


@dataclass(frozen=True)
class _Plan:
    """Levels in the order in which they are to run, and what `auto` has found in them.

    Attributes:
        current: the image on which they run.
        levels: which; all of them, but of those that were looked at only the first for sure.
        looks: what each finds before any has run; none where levels were given.
        look: tries a level on what is left.
        turned: whether `current` is the image on its side.
    """

    current: _Current
    levels: Sequence[int]
    looks: Mapping[int, Look] = field(default_factory=dict)
    look: _Looking | None = None
    turned: bool = False


def _run_levels(
    passes: _Passes,
    plan: _Plan,
    image: Image,
    target: Image,
    report: _Progress,
    on_layer: OnLayer | None,
) -> tuple[int, ...]:
    """Run a plan and write the result; which levels ran."""
    current = plan.current
    ran: list[int] = []
    for place, level in enumerate(plan.levels):
        look = plan.looks.get(level)
        if place and plan.look is not None:  # later ones are tried on what is left
            look = plan.look(level, after=plan.looks[plan.levels[0]])
            if not look.found:
                continue
        ran.append(level)
        if level == 1 and level == plan.levels[-1] and on_layer is None:  # needs no copy of the image
            passes.finish(current.window, image, target, report.level(1))
            return tuple(ran)
        layer: NDArray[np.floating] | None = look.layer if look is not None else None
        if level == 1:
            _run_full(passes, current, image, target, report, on_layer)
            continue
        if layer is None:
            layer = _layer(passes, level, current.reduced[level], report.level(level))
        if on_layer is not None:
            on_layer(level, layer.astype(np.float32))
        current.subtract(level, layer)
    if not ran:
        target[...] = image
        return ()
    write = passes.writer(image, target)
    for first in range(0, len(image), _BAND):
        rows, columns = slice(first, min(first + _BAND, len(image))), slice(0, image.shape[1])
        write(rows, columns, current.window(rows, columns))
    return tuple(ran)


def _run_full(
    passes: _Passes,
    current: _Current,
    image: Image,
    target: Image,
    report: _Progress,
    on_layer: OnLayer | None,
) -> None:
    """The full resolution where another level follows."""
    is_large = image.shape[0] * image.shape[1] > _PRECISE
    kept: Image = np.empty(image.shape, np.uint16) if not is_large else target
    if is_large and passes.strength != 1 and np.may_share_memory(image, target):  # the image is still needed
        kept = np.empty_like(image)
    current.reduced.clear()
    passes.run(1, current.window, writer(kept, kept), image.shape, report.level(1))
    if on_layer is not None:
        whole = (slice(0, image.shape[0]), slice(0, image.shape[1]))
        on_layer(1, current.window(*whole) - reader(kept)(*whole))
    current.rebase(kept)


def _turn_back(passes: _Passes, image: Image, result: Image) -> bool:
    """Whether an image of one level lies on its side; what the network makes of it then replaces the result."""
    found = _amount(image, result)
    if not _is_rain(found, 0, _FINE) or not _is_level(direction := _direction(_layers(image, result))):
        return False
    lying, made = _on_side(image), np.empty_like(_on_side(image))
    passes.finish(reader(lying), lying, made)
    if _amount(lying, made) > _most_turned(direction) * found:
        return False
    result[...] = _on_side(made)
    return True


def find_first(
    run: Run, image: Image, *, scales: tuple[int, int] = (1, COARSEST), multiple_of: int = 1
) -> tuple[int | None, bool]:
    """The level with which `restore_levels` would begin, None where none finds rain; and whether it would turn."""
    there, wanted = _wanted(image.shape[:2], "auto", scales)
    if wanted == [1]:
        return 1, restore_levels(run, image, scales=scales, multiple_of=multiple_of)[2]
    plan = _find_plan(run, image, there, wanted, multiple_of, finds_turn=True)
    return (plan.levels[0] if plan.levels else None), plan.turned


def _find_plan(
    run: Run, image: Image, there: Sequence[int], levels: Sequence[int], multiple_of: int, *, finds_turn: bool
) -> _Plan:
    """What `_Looking.order` finds, in the turned image where that lies on its side."""

    def look(image: Image) -> _Plan:
        looking = _Looking(run, _Current(image, there), multiple_of)
        order, looks = looking.order(levels)
        return _Plan(looking.current, order, looks, looking)

    plan = look(image)
    if not (finds_turn and plan.levels and _is_level((first := plan.looks[plan.levels[0]]).direction)):
        return plan
    other = look(_on_side(image))
    if other.levels and other.looks[other.levels[0]].energy > _most_turned(first.direction) ** 2 * first.energy:
        return plan
    return replace(other, turned=True)


def over_levels(run: Run, levels: Sequence[int], *, multiple_of: int = 1) -> Run:
    """A network over the given levels as one network, of images that are small enough to be held in one piece."""

    def over(x: Floats) -> Floats:
        image = np.rint(np.clip(x[0].transpose(1, 2, 0), 0, 1) * 65535).astype(np.uint16)
        return to_floats(restore_levels(run, image, tuple(levels), multiple_of=multiple_of)[0])

    return run if tuple(levels) == (1,) else over


def _wanted(size: tuple[int, ...], levels: Levels, scales: tuple[int, int]) -> tuple[list[int], list[int]]:
    """The levels that an image has, and those of them that are asked for."""
    there = [level for level in list_levels(*size) if level <= scales[1]]
    wanted = [level for level in (there if levels == "auto" else levels) if scales[0] <= level <= there[-1]]
    return there, wanted or (there[-1:] if levels else [])


def _layer(passes: _Passes, level: int, x: NDArray[np.float16], progress: Report) -> NDArray[np.float16]:
    """(h, w, 3) of one level -> its rain layer, in the same memory: no tile reads what is finished."""

    def read(rows: slice, columns: slice) -> Floats:
        return np.clip(x[rows, columns].astype(np.float32), 0, 1)

    def write(rows: slice, columns: slice, made: Floats) -> None:
        x[rows, columns] = read(rows, columns) - made

    passes.run(level, read, write, x.shape, progress)
    return x


class _Progress:
    """Fractions that add up to 1 over levels of which some may be left out."""

    def __init__(self, report: Report | None, total: float) -> None:
        self.report = report
        self.total = total
        self.done = 0.0

    def level(self, level: int) -> Report:
        return lambda fraction: self._add(fraction * level**-2 / self.total)

    def _add(self, fraction: float) -> None:
        step = min(fraction, 1 - self.done)
        self.done += step
        if self.report is not None and step > 0:
            self.report(step)

    def end(self) -> None:
        self._add(1.0)
