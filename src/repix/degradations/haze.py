"""Haze over a scene of a random smooth depth."""

from __future__ import annotations

import numpy as np

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.degradations.camera import recompressed


class Haze(Degradation):
    """Koschmieder's law, I = J·t + A·(1 - t) with t = exp(-β·d) (1924; Narasimhan & Nayar 2002).

    The scattering coefficient β goes from 0.3 to 3 with the severity, d is at most 1 and the airlight A from 0.7 to 1,
    nearly grey; RESIDE (Li et al. 2019) has β from 0.6 to 1.8 and the same A.
    """

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        scattering = 0.3 * 10 ** rng.uniform(*context.severity)
        airlight = np.clip(rng.uniform(0.7, 1.0) + rng.uniform(-0.03, 0.03, 3), 0, 1).astype(np.float32)
        depth = random_depth((clean.shape[0], clean.shape[1]), rng)
        left = np.exp(-np.float32(scattering) * depth)[..., None]
        hazy = np.minimum(clean * left + airlight * (1 - left), 1)  # rounding may pass white
        return recompressed(hazy, rng, context), clean


def random_depth(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """A depth that grows upwards, as that of ground and houses does, with hills and hollows of a third of an image.

    Args:
        size: (H, W).
        rng: source of all randomness.

    Returns:
        (H, W) float32 in [0.05, 1].
    """
    y, x = (np.linspace(0, 1, side, dtype=np.float32) for side in size)
    depth = rng.uniform(0.2, 0.8) + rng.uniform(0, 0.6) * (0.5 - y[:, None])
    for _ in range(4):
        down, right = rng.uniform(-1.5, 1.5, 2)
        wave = np.cos(2 * np.pi * (down * y[:, None] + right * x + rng.uniform()))
        depth = depth + rng.uniform(0, 0.12) * wave
    return np.asarray(np.clip(depth, 0.05, 1), np.float32)
