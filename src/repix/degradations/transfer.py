"""Rain of known pairs on other images."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from repix._types import Floats
from repix.degradations import Context, Degradation, Levels
from repix.degradations.camera import blend_rain, recompressed
from repix.degradations.crop import paired_crop


class RainTransfer(Degradation):
    """The rain of known pairs, rainy minus clean, added to another image: of one pair, or of up to four."""

    needs: ClassVar[tuple[str, ...]] = ("pairs",)

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        size = clean.shape[0], clean.shape[1]
        layer = np.zeros((*size, 3), np.float32)
        for _ in range(1 if rng.random() < 0.7 else int(rng.integers(2, 5))):
            rainy, bare = context.pairs[int(rng.integers(len(context.pairs)))]
            lq, gt = paired_crop(_enlarged(rainy, size), _enlarged(bare, size), size, rng, name="a pair")
            # rain only brightens; what is darker is the data set's own JPEG noise
            layer += np.maximum(_to_float(lq) - _to_float(gt), 0) * np.float32(rng.uniform(0.7, 1.3))
        # near white the layer was cut off at 255 in one or two channels: give all three the largest
        rainy_image = blend_rain(clean, np.broadcast_to(layer.max(2, keepdims=True), layer.shape), "add")
        return recompressed(rainy_image, rng, context), clean


def _enlarged(image: Levels, size: tuple[int, int]) -> Levels:
    """At least of a size, by its mirror image."""
    beyond = [(0, max(0, wanted - have)) for wanted, have in zip(size, image.shape[:2], strict=True)]
    return np.pad(image, (*beyond, (0, 0)), mode="symmetric") if any(more for _, more in beyond) else image


def _to_float(levels: Levels) -> Floats:
    return np.asarray(levels, np.float32) / np.float32(255)
