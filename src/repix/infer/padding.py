"""Images as networks take them: floats in [0, 1], padded to sizes that they take, and back. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image


def to_floats(image: Image) -> Floats:
    """(H, W, 3) uint8 or uint16 -> (1, 3, H, W) float32 in [0, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None] / np.float32(np.iinfo(image.dtype).max), np.float32)


def padded(x: Floats, multiple_of: int, *, top: int = 0, left: int = 0) -> Floats:
    """An image with edges that continue it, until its sides are multiples of something.

    Args:
        x: (N, C, H, W).
        multiple_of: what both sides become multiples of, by rows below and columns on the right.
        top: rows to add above.
        left: columns to add on the left.

    Returns:
        (N, C, H', W'); the image lies at [top : top + H, left : left + W].
    """
    height, width = x.shape[2:]
    rows = -(-(top + height) // multiple_of) * multiple_of
    columns = -(-(left + width) // multiple_of) * multiple_of
    return x[:, :, mirrored(-top, rows, height)][..., mirrored(-left, columns, width)]


def mirrored(start: int, length: int, size: int) -> slice | NDArray[np.intp]:
    """Indices that read `length` samples from `start` on out of `size`: mirrored beyond both ends, then held."""
    if start >= 0 and start + length <= size:
        return slice(start, start + length)
    index = np.abs(np.arange(start, start + length))
    return np.clip(np.where(index < size, index, 2 * (size - 1) - index), 0, size - 1)
