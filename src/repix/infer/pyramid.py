"""Restoration over scales: wide streaks are taken away where they are narrow, in the reduced image. NumPy only.

A network knows streaks of a few pixels. In a photograph of 12 megapixels near streaks are fifteen pixels wide, so the
image is reduced until they are narrow, the network finds its rain layer there, and only that layer is enlarged and
subtracted: the image's own detail never leaves the full resolution.

A level is a power of two. Level s of the current image is the mean of its blocks of s×s pixels; what the network takes
away from that is enlarged s times (bicubic, Keys 1981, a = -1/2) and subtracted from the current image. Levels
follow each other; nothing is clipped between them but what the network is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image
from repix.errors import InputError
from repix.infer.current import Current
from repix.infer.looking import FINE, Look, Looking, Run, direction_of, is_level, is_rain, most_turned
from repix.infer.memory import Memory
from repix.infer.padding import to_floats
from repix.infer.resampling import BAND
from repix.infer.tiling import Read, Rounding, Write, reader, run_tiles, writer

Levels = Literal["auto"] | tuple[int, ...]
"""Levels in the order in which they run, or `auto`: those that find rain."""

Report = Callable[[float], None]
OnLayer = Callable[[int, Floats], None]

SHORTEST = 240
"""A level whose shorter side would have fewer pixels than this is not tried: what networks have learnt is hardly
smaller."""
COARSEST = 16

_PRECISE = 48_000_000  # pixels up to which what level 1 has made waits in 16 bits, and beyond which memory is spared
_LARGE_TILE = 1024  # longest side of a tile in images beyond that


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
    there, wanted = levels_to_run(size, levels, scales)
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
        plan = _Plan(Current(given, there if wanted else ()), wanted)
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

    current: Current
    levels: Sequence[int]
    looks: Mapping[int, Look] = field(default_factory=dict)
    look: Looking | None = None
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
    for first in range(0, len(image), BAND):
        rows, columns = slice(first, min(first + BAND, len(image))), slice(0, image.shape[1])
        write(rows, columns, current.window(rows, columns))
    return tuple(ran)


def _run_full(
    passes: _Passes,
    current: Current,
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
    if not is_rain(found, 0, FINE) or not is_level(direction := direction_of(_layers(image, result))):
        return False
    lying, made = _on_side(image), np.empty_like(_on_side(image))
    passes.finish(reader(lying), lying, made)
    if _amount(lying, made) > most_turned(direction) * found:
        return False
    result[...] = _on_side(made)
    return True


def find_first(
    run: Run, image: Image, *, scales: tuple[int, int] = (1, COARSEST), multiple_of: int = 1
) -> tuple[int | None, bool]:
    """The level with which `restore_levels` would begin, None where none finds rain; and whether it would turn."""
    there, wanted = levels_to_run(image.shape[:2], "auto", scales)
    if wanted == [1]:
        return 1, restore_levels(run, image, scales=scales, multiple_of=multiple_of)[2]
    plan = _find_plan(run, image, there, wanted, multiple_of, finds_turn=True)
    return (plan.levels[0] if plan.levels else None), plan.turned


def _find_plan(
    run: Run, image: Image, there: Sequence[int], levels: Sequence[int], multiple_of: int, *, finds_turn: bool
) -> _Plan:
    """What `Looking.order` finds, in the turned image where that lies on its side."""

    def look(image: Image) -> _Plan:
        looking = Looking(run, Current(image, there), multiple_of)
        order, looks = looking.order(levels)
        return _Plan(looking.current, order, looks, looking)

    plan = look(image)
    if not (finds_turn and plan.levels and is_level((first := plan.looks[plan.levels[0]]).direction)):
        return plan
    other = look(_on_side(image))
    if other.levels and other.looks[other.levels[0]].energy > most_turned(first.direction) ** 2 * first.energy:
        return plan
    return replace(other, turned=True)


def over_levels(run: Run, levels: Sequence[int], *, multiple_of: int = 1) -> Run:
    """A network over the given levels as one network, of images that are small enough to be held in one piece."""

    def over(x: Floats) -> Floats:
        image = np.rint(np.clip(x[0].transpose(1, 2, 0), 0, 1) * 65535).astype(np.uint16)
        return to_floats(restore_levels(run, image, tuple(levels), multiple_of=multiple_of)[0])

    return run if tuple(levels) == (1,) else over


def levels_to_run(size: tuple[int, ...], levels: Levels, scales: tuple[int, int]) -> tuple[list[int], list[int]]:
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


def _amount(image: Image, made: Image) -> float:
    """Mean of what was taken away from (H, W, 3), in [0, 1]."""
    return sum(float(np.abs(layer).sum()) for layer in _layers(image, made)) / image.size


def _layers(image: Image, made: Image) -> Iterator[Floats]:
    for first in range(0, len(image), BAND):
        rows = slice(first, first + BAND)
        yield reader(image)(rows, slice(None)) - reader(made)(rows, slice(None))


def _on_side(image: Image) -> Image:
    """Columns for rows: a view."""
    return image.swapaxes(0, 1)


def _layers_on_side(on_layer: OnLayer) -> OnLayer:
    return lambda level, layer: on_layer(level, layer.swapaxes(0, 1))
