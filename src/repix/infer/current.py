"""An image while levels run over it. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image
from repix.infer.resampling import BAND, enlarge, reduce


class Current:
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
                for first in range(0, height, BAND):
                    rows = slice(first, min(first + BAND, height))
                    x[rows] = x[rows].astype(np.float32) - enlarge(kept, level // other, rows, slice(0, x.shape[1]))
            else:
                x -= reduce(kept, other // level).astype(np.float16)
