"""Drops on a lens or windscreen: each shows the whole scene, small, upside down and out of focus."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.degradations.camera import recompressed


class LensDrops(Degradation):
    """A drawn map of drops through which the scene is refracted and blurred (von Bernuth et al. 2018, simplified)."""

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        cover, down, right = draw_drops((clean.shape[0], clean.shape[1]), rng)
        height, width = clean.shape[:2]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        smooth = gaussian_filter(clean, (*2 * (float(rng.uniform(1.5, 4)),), 0), mode="nearest")
        seen = np.stack(
            [map_coordinates(smooth[..., k], [y + down, x + right], order=1, mode="mirror") for k in range(3)], axis=2
        )
        share = cover[..., None]
        degraded = np.clip(clean * (1 - share) + seen * np.float32(rng.uniform(0.8, 1.1)) * share, 0, 1)
        return recompressed(degraded.astype(np.float32), rng, context), clean


def draw_drops(shape: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """A map of drops on glass.

    Args:
        shape: (H, W).
        rng: source of all randomness.

    Returns:
        Share of each pixel that a drop covers, in [0, 1], with soft edges, and how far down and to the right of the
        pixel the drop shows the scene, in pixels; each (H, W) float32.
    """
    height, width = shape
    cover, down, right = (np.zeros(shape, np.float32) for _ in range(3))
    largest = max(2.0, 0.12 * max(shape)) * float(rng.uniform(0.3, 1))
    strength = float(rng.uniform(1.2, 3))
    for _ in range(1 + int(rng.poisson(14 * float(rng.uniform(0.2, 1))))):
        radius = largest * float(rng.uniform(0.15, 1)) ** 1.5 + 0.7
        tall = float(rng.uniform(0.9, 1.7))
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        reach = math.ceil(radius * tall) + 2
        y0, y1 = max(0, int(cy) - reach), min(height, int(cy) + reach + 1)
        x0, x1 = max(0, int(cx) - reach), min(width, int(cx) + reach + 1)
        y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(cy)
        x = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(cx)
        out = np.hypot(y / np.float32(tall), x)
        inside = np.clip((radius - out) / max(1.0, 0.2 * radius) + 0.5, 0, 1)
        mine = inside > cover[y0:y1, x0:x1]
        for field, offset in ((down, y), (right, x)):
            window = field[y0:y1, x0:x1]
            window[mine] = np.broadcast_to(-np.float32(strength) * offset, window.shape)[mine]
        np.maximum(cover[y0:y1, x0:x1], inside, out=cover[y0:y1, x0:x1])
    return cover, down, right
