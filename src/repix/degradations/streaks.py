"""Sharp streaks in many directions, which heavy-rain data sets are made of."""

from __future__ import annotations

import math

import numpy as np

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.degradations.camera import recompressed
from repix.degradations.rain import RainParams, add_rain, falling


class SharpStreaks(Degradation):
    """Dense, bright, sharp streaks: `sharp_streaks`, drawn by the rain model."""

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        focal = context.focal or float(np.exp(rng.uniform(np.log(400), np.log(900))))
        params = sharp_streaks(rng, focal=focal, density=context.sharp_streaks_density)
        rainy = add_rain(clean, params, rng)[0].astype(np.float32)
        return recompressed(rainy, rng, context), clean

    def frames(self, clean: Floats, rng: np.random.Generator, context: Context) -> Floats:
        """See `Degradation`."""
        focal = context.focal or float(np.exp(rng.uniform(np.log(400), np.log(900))))
        return falling(clean, sharp_streaks(rng, focal=focal, density=context.sharp_streaks_density), rng)


def sharp_streaks(rng: np.random.Generator, *, focal: float = 600.0, density: float = 0.5) -> RainParams:
    """Dense, bright, sharp streaks in up to five directions, the second kind of rain of Yang et al. (2017, sec. 3).

    Nearer and better lit than falling drops are, but heavy-rain data sets are made of it.

    Args:
        rng: source of all randomness.
        focal: focal length in pixels; fixes the size of the streaks.
        density: how often there are so many streaks that little of the scene is left bare, in [0, 1].
    """
    near = float(rng.uniform(0.35, 0.9))
    is_dense = rng.random() < density
    return RainParams(
        rate=float(rng.uniform(20, 100)),
        angle=float(rng.uniform(-30, 30)),
        angle_jitter=float(rng.uniform(0, 2)),
        spread=float(rng.uniform(0, 30) if rng.random() < 0.5 else rng.uniform(0, 4)),
        exposure=float(np.exp(rng.uniform(math.log(1 / 400), math.log(1 / 60)))),
        focal=focal,
        layers=int(rng.integers(1, 6)),
        near=near,
        far=near * float(rng.uniform(1.2, 2.5)),
        aperture=float(rng.uniform(0, 0.0008)),
        density=float(rng.uniform(1.2, 4.0) if is_dense else rng.uniform(0.3, 1.6)),
        brightness=float(rng.uniform(0.3, 1.4)),
        blending="add",
    )
