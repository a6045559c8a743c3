"""Images reduced and enlarged by powers of two, in small matrix products: a processor does those at its full rate.

BLAS shares larger ones among threads of its own, which wait busily for the next: on a machine whose cores have other
things to do, such as a network's threads, that took up to a hundred times as long.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image

BAND = 128
"""Rows that are enlarged or reduced at once."""
_BLOCK = 32  # columns in one block of a matrix product
_PRODUCT = 2**17  # multiplications in one matrix product at most, half of what OpenBLAS shares among threads


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
    step = max(BAND // factor, 1)
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
