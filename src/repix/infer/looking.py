"""Which levels of an image hold rain, with which to begin, and which way the rain falls. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from repix._types import Floats
from repix.infer.current import Current
from repix.infer.padding import padded
from repix.infer.resampling import enlarge, reduce

Run = Callable[[Floats], Floats]

_GRID = 6  # cells along each side of the image, each of which is looked at
_TILE = 128  # pixels along each side of what is looked at in a cell, where a level is not looked at as a whole
_AROUND = 32  # pixels of a level around a cell that is looked at alone
_COMPARED = 12  # of those, how many are compared with their mirrored selves: those with most rain
_WHOLE = 1_200_000  # pixels of a level up to which it is looked at as a whole
# What a level takes away from a cell is rain as far as the mirrored image agrees: none of it where disagreement over
# rain reaches the first figure. The level has found rain where that leaves more than the second in one cell, in grey
# levels of 255 (mean over pixels). Photographs have more that looks like rain when they are small; what level 1 takes
# for rain it takes for rain without levels too.
FINE, _COARSE = (0.40, 0.25), (0.25, 0.70)
# The part of its rain layer that no coarser level can hold, over the most that any level finds (root mean squares):
# 0.22 to 0.28 where streaks have the width that networks know, 0.07 to 0.10 where they are twice as wide, 0.15 and more
# where there are thin ones among wide ones.
_OWN = 0.13
# From which strength on (0 to 1, `direction_of`) a rain layer has a direction. Rain that runs level is that of an image
# that lies on its side; what a later level takes away is rain only if it runs along that of the first.
_DIRECTED, _ALONG = 0.3, 0.4


@dataclass(frozen=True)
class Look:
    """What a level finds in the cells that an image is divided into.

    Attributes:
        found: whether what it takes away is rain, in one cell at least.
        energy: mean square of the rain layer where all levels were looked at.
        own: the part of it that no coarser level can hold.
        direction: of what it takes away, as `direction_of` has it.
        layer: the rain layer, (h, w, 3), where the level was looked at as a whole.
    """

    found: bool
    energy: float = 0.0
    own: float = 0.0
    direction: tuple[float, float] = (0.0, 0.0)
    layer: Floats | None = None


class Looking:
    """Tries levels on an image: coarse ones as a whole, fine ones on one tile in each cell."""

    def __init__(self, run: Run, current: Current, multiple_of: int) -> None:
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
        limits = FINE if level == 1 or after is not None else _COARSE
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
            return Look(found, direction=direction_of([layer]) if found else (0.0, 0.0), layer=layer)
        if self.corners is None:
            self.choose_tiles(level, layer)
        assert self.corners is not None
        if not found:
            return Look(found)
        size = max(_TILE // level, 1)
        pieces = [layer[y // level : y // level + size, x // level : x // level + size] for y, x in self.corners]
        energy, own = np.mean([_energies(piece) for piece in pieces], axis=0).tolist()
        return Look(found, energy, own, direction_of([layer]), layer)

    def _agrees(self, level: int, x: Floats, made: Floats, amount: Floats, limits: tuple[float, float]) -> bool:
        """Whether the network takes the same away from the mirrored image, where it takes enough."""
        if not is_rain(amount, 0, limits):
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
            if is_rain(amount[i], differs, limits):
                return True
        moved = np.pad(x, ((1, 0), (1, 0), (0, 0)), mode="reflect")[:, ::-1]
        mirrored = _run_whole(self.run, moved, self.multiple_of)[1:, ::-1][:, 1:]
        differs = np.abs(np.clip(made, 0, 1) - np.clip(mirrored, 0, 1)).mean(axis=2) / 2
        return is_rain(amount, self._cells(differs, level), limits)

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
            return is_rain(amount[i], np.abs(a - b).mean() / 2, limits)

        for i in range(len(plain)):
            made.append(self.run(plain[i : i + 1]))
            amount.append(float(np.abs(plain[i : i + 1] - made[i]).mean()))
        # tiles with most rain first: one is enough, and little rain need not be agreed on
        wettest = [int(i) for i in np.argsort(amount)[::-1][:_COMPARED] if is_rain(amount[i], 0, limits)]
        if not any(agrees(i) for i in wettest):
            return Look(False)
        layer = plain - np.concatenate(made)
        direction = direction_of(layer.transpose(0, 2, 3, 1))
        if again:
            return Look(True, direction=direction)
        inner = min(_TILE // level, side)
        first = (side - inner) // 2
        middles = layer[:, :, first : first + inner, first : first + inner].transpose(0, 2, 3, 1)
        energy, own = np.mean([_energies(middle) for middle in middles], axis=0).tolist()
        return Look(True, energy, own, direction)


def direction_of(layers: Iterable[Floats]) -> tuple[float, float]:
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


def is_level(direction: tuple[float, float]) -> bool:
    """Whether rain that runs this way runs level rather than upright or aslant."""
    return direction[0] <= -_DIRECTED


def most_turned(direction: tuple[float, float]) -> float:
    """How many times as much of what runs level the network may find once it is turned, if it is to be rain.

    In rain on its side it found 0.85 to 1.45 times as much. In water, planks, road marks, for which networks fall less
    when they run upright, 0.2 to 0.9 times; sometimes more than here, from strokes of many directions.
    """
    return 1 - direction[0]


def is_rain(amount: Floats | float, differs: Floats | float, limits: tuple[float, float]) -> bool:
    """Whether what a level takes away is rain, in one place at least.

    Args:
        amount: mean of |rain layer|, in [0, 1].
        differs: mean disagreement with the mirrored image, in the same unit.
        limits: `FINE` or `_COARSE`.
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
