"""Images of any size through a network: padding, overlapped feathered tiles, one conversion each way. NumPy only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image
from repix.errors import BackendError
from repix.infer.memory import LevelMemory
from repix.infer.padding import mirrored

Rounding = Literal["nearest", "down"]
Read = Callable[[slice, slice], Floats]
Write = Callable[[slice, slice, Floats], None]
OnTile = Callable[[tuple[int, ...], int, int], None]

_on_tile: ContextVar[OnTile | None] = ContextVar("on_tile", default=None)


@contextlib.contextmanager
def watch_tiles(on_tile: OnTile) -> Iterator[None]:
    """Have a function called before every tile that this thread runs meanwhile, however deep inside.

    Args:
        on_tile: (size (H, W) of the image or of its level, number of the tile from 1 on, how many tiles).
    """
    before = _on_tile.set(on_tile)
    try:
        yield
    finally:
        _on_tile.reset(before)


def reader(image: Image) -> Read:
    """What `run_tiles` reads from: a window of an image, as (h, w, 3) float32 in [0, 1]."""
    scale = np.float32(np.iinfo(image.dtype).max)

    def read(rows: slice, columns: slice) -> Floats:
        window = image[rows, columns].astype(np.float32)
        window /= scale
        return window

    return read


def writer(image: Image, out: Image, *, strength: float = 1.0, rounding: Rounding = "nearest") -> Write:
    """What `run_tiles` writes to: a band, blended with the same band of `image`, rounded and clipped, in `out`.

    Args:
        image: (H, W, 3), uint8 or uint16.
        out: where to write, of `image`'s shape and type; may be `image` itself.
        strength: 0 gives the input, 1 the network's output.
        rounding: `nearest` (half to even), or `down`, as some papers' scripts saved their results.
    """
    scale = np.float32(np.iinfo(image.dtype).max)

    def write(rows: slice, columns: slice, made: Floats) -> None:
        made *= scale * np.float32(strength)
        if strength != 1.0:
            made += image[rows, columns] * np.float32(1 - strength)
        (np.rint if rounding == "nearest" else np.floor)(made, out=made)
        np.clip(made, 0, scale, out=made)
        out[rows, columns] = made

    return write


def run_tiles(
    run: Callable[[Floats], Floats],
    read: Read,
    write: Write,
    size: tuple[int, ...],
    *,
    multiple_of: int = 1,
    tile: int | None = None,
    overlap: int = 0,
    progress: Callable[[float], None] | None = None,
    memory: LevelMemory | None = None,
) -> None:
    """Run a network over what `read` gives and hand each finished band to `write`.

    The image is padded below and on the right to multiples of `multiple_of` (`repix.infer.padding`), cut into equal
    tiles along that grid, and the results are blended where tiles overlap. The outer three eighths of an overlap, where
    a tile lacks context, get no weight: measured on RepixNet, that gains more than a wider ramp (largest difference to
    the whole image 3 instead of 5 grey levels at tile 512, overlap 64; 1 at 1024 and 96).

    Args:
        run: (1, 3, h, w) float32 in [0, 1] -> the same shape, not clamped; h and w are multiples of `multiple_of`.
        read: (rows, columns) -> (h, w, 3) float32 in [0, 1].
        write: (rows, columns, (h, w, 3) float32, not clamped, which it may overwrite): a finished band across the
            image's shorter side. No later `read` reaches into it.
        size: (H, W).
        multiple_of: what h and w must be multiples of.
        tile: longest side of a tile in pixels; None runs the image in one piece.
        overlap: pixels that neighbouring tiles share.
        progress: called with the fraction of the work done since the last call; the fractions add up to 1.
        memory: of a recurrent network, which it runs in place of `run`.

    Raises:
        BackendError: the network's output has another shape or is not finite.
    """
    if tile is not None:
        tile = max(tile // multiple_of, 1) * multiple_of
        overlap = min(-(-overlap // multiple_of), tile // multiple_of // 2) * multiple_of
    # bands run across the shorter side, so that what is held does not grow with the longer one
    turned = size[1] > size[0]
    length, breadth = (size[1], size[0]) if turned else size
    (rows, height), (columns, width) = (_cut(n, multiple_of, tile, overlap) for n in (length, breadth))
    down, across = _weights(rows, height, overlap), _weights(columns, width, overlap)
    padded = columns[-1] + width
    held = np.zeros((height, padded, 3), np.float32)
    on_tile = _on_tile.get()
    for i, row in enumerate(rows):
        ys, y_index = _within(row, height, length)
        for j, column in enumerate(columns):
            xs, x_index = _within(column, width, breadth)
            if on_tile is not None:
                on_tile(size, i * len(columns) + j + 1, len(rows) * len(columns))
            piece = (read(xs, ys).swapaxes(0, 1) if turned else read(ys, xs))[y_index][:, x_index]
            given = np.ascontiguousarray(piece.transpose(2, 1, 0) if turned else piece.transpose(2, 0, 1), np.float32)
            if memory is None:
                got = run(given[None])
            else:
                weights = down[i][:, None] * across[j][None, :]
                place, whole = (row, column), (rows[-1] + height, padded)
                if turned:
                    weights, place, whole = weights.T, place[::-1], whole[::-1]
                got = memory.run(given[None], *place, whole, weights)
            if got.shape != (1, *given.shape):
                raise BackendError(f"the network made {got.shape} from {(1, *given.shape)}; it must keep the shape")
            got = got[0].transpose(2, 1, 0) if turned else got[0].transpose(1, 2, 0)
            held[:, column : column + width] += got * (down[i][:, None, None] * across[j][None, :, None])
            if progress is not None:
                progress(1 / (len(rows) * len(columns)))
        # rows above the next band are finished, and no later band reads them
        done = (rows[i + 1] if i + 1 < len(rows) else length) - row
        ready = held[:done, :breadth]
        if not np.isfinite(ready).all():
            raise BackendError("the network's output is not finite; run it on another --device, or train it again")
        if turned:
            write(slice(0, breadth), slice(row, row + done), ready.swapaxes(0, 1))
        else:
            write(slice(row, row + done), slice(0, breadth), ready)
        if i + 1 < len(rows):
            held[: height - done] = held[done:].copy()
            held[height - done :] = 0


def _within(start: int, length: int, size: int) -> tuple[slice, slice | NDArray[np.intp]]:
    """What a piece that reaches beyond the image reads of it, and where in that its pixels lie."""
    index = mirrored(start, length, size)
    if isinstance(index, slice):
        return index, slice(None)
    first = int(index.min())
    return slice(first, int(index.max()) + 1), index - first


def _cut(length: int, multiple_of: int, tile: int | None, overlap: int) -> tuple[list[int], int]:
    """Where equal pieces start along one side, and their length. All sizes are on the grid of `multiple_of`."""
    padded = -(-length // multiple_of) * multiple_of
    if tile is None or padded <= tile:
        return [0], padded
    count = -(-(padded - overlap) // (tile - overlap))
    # no larger than needed, so that the last tile does not repeat its neighbour
    piece = -(-(padded + (count - 1) * overlap) // count // multiple_of) * multiple_of
    units = (padded - piece) // multiple_of
    return [i * units // (count - 1) * multiple_of for i in range(count)], piece


def _weights(starts: list[int], length: int, overlap: int) -> list[Floats]:
    """For each piece along one side its (length,) weights; over any pixel they add up to 1."""
    centres = np.arange(length) + 0.5
    raw = []
    for i in range(len(starts)):
        inside = np.full(length, np.inf)  # distance to the nearest cut that is not the image's border
        if i > 0:
            inside = np.minimum(inside, centres)
        if i + 1 < len(starts):
            inside = np.minimum(inside, length - centres)
        raw.append(np.clip((inside - overlap * 3 / 8) / (overlap / 4), 0, 1) if overlap else np.ones(length))
    total = np.zeros(starts[-1] + length)
    for start, weight in zip(starts, raw, strict=True):
        total[start : start + length] += weight
    return [
        (weight / total[start : start + length]).astype(np.float32) for start, weight in zip(starts, raw, strict=True)
    ]
