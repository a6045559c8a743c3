"""Curtains of rain: many streaks that merge into soft stripes of low contrast; noise that is smeared along the fall.

With a high threshold and little smearing the same noise becomes separate soft streaks, as image editors draw rain
(noise, threshold, motion blur), which several data sets are made by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.degradations.camera import recompressed
from repix.degradations.grounds import lay_over, light_on_rain, photo_or_ground


class Curtain(Degradation):
    """Soft stripes of low contrast, or separate soft streaks, over photos and smooth grounds; some behind a veil."""

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        scene = photo_or_ground(clean, rng, 0.3)
        layer = draw_curtain((scene.shape[0], scene.shape[1]), CurtainParams.draw(rng), rng)
        rainy = lay_over(scene, layer, light_on_rain(scene, rng), opaque=rng.random() < 0.5)
        if rng.random() < 0.2:  # drops too far to be seen one by one: this veil goes with the rain, fog alone stays
            depth = soft_field((scene.shape[0], scene.shape[1]), rng, cells=2)[..., None]
            veil = np.float32(rng.uniform(0, 0.35)) * (np.float32(0.4) + np.float32(0.6) * depth)
            air = np.clip(scene.mean((0, 1)) * 0.4 + 0.45 + rng.uniform(-0.05, 0.1), 0, 1).astype(np.float32)
            rainy = rainy * (1 - veil) + air * veil
        return recompressed(rainy, rng, context), scene


@dataclass(frozen=True)
class CurtainParams:
    """What a curtain is like.

    Attributes:
        length, width: standard deviations of the smear along the fall and across it, pixels.
        angle: lean in degrees from the vertical.
        cover: share of the image with any rain at all.
        strength: radiance that the strongest rain adds.
        uneven: how much gusts change the strength over the image, [0, 1].
    """

    length: float = 40.0
    width: float = 1.0
    angle: float = 5.0
    cover: float = 0.5
    strength: float = 0.15
    uneven: float = 0.3

    @classmethod
    def draw(cls, rng: np.random.Generator) -> CurtainParams:
        """Half of them faint and dense, half separate soft streaks."""
        dense = rng.random() < 0.5
        return cls(
            length=float(
                np.exp(rng.uniform(math.log(12), math.log(90)) if dense else rng.uniform(math.log(4), math.log(30)))
            ),
            width=float(np.exp(rng.uniform(math.log(0.5), math.log(3.0 if dense else 1.6)))),
            angle=float(rng.normal(0, 10) if rng.random() < 0.6 else rng.uniform(-50, 50)),
            cover=float(rng.uniform(0.3, 0.9) if dense else rng.uniform(0.02, 0.3)),
            strength=float(
                np.exp(
                    rng.uniform(math.log(0.04), math.log(0.3)) if dense else rng.uniform(math.log(0.12), math.log(0.9))
                )
            ),
            uneven=float(rng.uniform(0, 0.8)),
        )


def draw_curtain(shape: tuple[int, int], params: CurtainParams, rng: np.random.Generator) -> Floats:
    """The radiance that a curtain adds: (H, W) float32, at least 0."""
    noise = rng.standard_normal(shape, np.float32)
    fy = np.fft.fftfreq(shape[0]).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(shape[1]).astype(np.float32)[None, :]
    lean = math.radians(params.angle)
    along = fy * np.float32(math.cos(lean)) + fx * np.float32(math.sin(lean))
    across = fx * np.float32(math.cos(lean)) - fy * np.float32(math.sin(lean))
    smear = np.exp(-2 * np.float32(math.pi**2) * ((params.length * along) ** 2 + (params.width * across) ** 2))
    smooth = np.fft.irfft2(np.fft.rfft2(noise) * smear, s=shape).astype(np.float32)
    level = float(np.quantile(smooth[::3, ::3], 1 - params.cover))
    rain = np.maximum(smooth - level, 0)
    rain *= np.float32(params.strength / max(float(np.quantile(rain[::3, ::3], 0.995)), 1e-6))
    if params.uneven:
        rain *= 1 - np.float32(params.uneven) * soft_field(shape, rng, cells=3)
    return np.asarray(np.minimum(rain, np.float32(1.5 * params.strength)), np.float32)


def soft_field(shape: tuple[int, int], rng: np.random.Generator, *, cells: int) -> Floats:
    """A smooth random field in [0, 1], (H, W) float32, from a grid of so many cells a side."""
    grid = rng.uniform(0, 1, (cells + 1, cells + 1))
    for axis, size in enumerate(shape):
        at = np.linspace(0, cells, size)
        low = np.minimum(at.astype(int), cells - 1)
        part = at - low
        part = part * part * (3 - 2 * part)  # no kink where cells meet
        part = part[:, None] if axis == 0 else part[None, :]
        grid = np.take(grid, low, axis) * (1 - part) + np.take(grid, low + 1, axis) * part
    return grid.astype(np.float32)
