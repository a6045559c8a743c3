"""Scenes without detail of their own, with and without rain: plain walls, gradients, blurred photos, line drawings.

Rain before a smooth background is the commonest rainy photo there is. A network must not learn that crisp lines on a
smooth ground are scenery, nor that they are rain: the same grounds occur with rain over them and without.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.degradations.hard_negatives import draw_hard_negative


class Grounds(Degradation):
    """A smooth scene or a line drawing in place of the photo, without rain, that must come back as it is."""

    is_clean = True

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        made = draw_ground(clean, rng, thin_structures=0.6)
        return made, made


def draw_ground(clean: Floats, rng: np.random.Generator, *, thin_structures: float = 0.3) -> Floats:
    """A strongly blurred photo, a plain colour, a gradient, or an image of thin structures; grain on some of them.

    Args:
        clean: (H, W, 3) in [0, 1], what is blurred and lies behind thin structures.
        rng: source of all randomness.
        thin_structures: share of images of thin structures.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    height, width = clean.shape[:2]
    made: npt.NDArray[np.floating[Any]]
    kind = rng.random()
    if kind < thin_structures:
        background = clean if rng.random() < 0.5 else None
        made = draw_hard_negative((height, width), rng, background=background)
    else:
        kind = (kind - thin_structures) / max(1 - thin_structures, 1e-6)
        if kind < 0.5:
            made = gaussian_filter(
                clean, (*2 * (float(np.exp(rng.uniform(np.log(5), np.log(25)))),), 0), mode="nearest"
            )
        elif kind < 0.75:
            made = np.broadcast_to(rng.uniform(0, 1, 3) * rng.uniform(0.3, 1), clean.shape)
        else:
            corners = rng.uniform(0, 0.9) + rng.normal(0, 0.25 * rng.uniform(0.2, 1), (2, 2, 3))
            down, right = (np.linspace(0, 1, side)[:, None] for side in (height, width))
            left, end = (corners[0, k] * (1 - down) + corners[1, k] * down for k in (0, 1))
            made = left[:, None] * (1 - right) + end[:, None] * right
    if rng.random() < 0.4:
        made = made + rng.uniform(0, 0.015) * rng.standard_normal(clean.shape)
    return np.clip(made, 0, 1).astype(np.float32)


def photo_or_ground(clean: Floats, rng: np.random.Generator, share: float) -> Floats:
    """The photo, or for a share of samples a ground in place of it."""
    return draw_ground(clean, rng) if rng.random() < share else clean


def light_on_rain(clean: Floats, rng: np.random.Generator) -> Floats:
    """How bright drops are: constant, as the scene's bright parts, or as the surroundings are, lamps at night included.

    Args:
        clean: (H, W, 3) in [0, 1].
        rng: source of all randomness.

    Returns:
        (H, W, 3) or (1, 1, 3) float32, at least 0; a little tinted for one sample in four.
    """
    if rng.random() < 0.7:
        light = float(rng.uniform(0.75, 1) if rng.random() < 0.7 else rng.uniform(0.45, 1))
    else:
        light = float(0.35 + 0.65 * np.quantile(clean.mean(2), 0.9)) * float(rng.uniform(0.8, 1.2))
    tint = rng.normal(0, 0.05, 3) if rng.random() < 0.25 else np.zeros(3)
    colour = np.float32(light) * (1 + tint).astype(np.float32)[None, None]
    if rng.random() < 0.3:
        around = gaussian_filter(clean.mean(2), 20, mode="nearest")[..., None]
        return np.asarray(colour * np.minimum(0.25 + 1.1 * around, 1.2), np.float32)
    return colour


def lay_over(clean: Floats, layer: Floats, light: Floats, *, opaque: bool) -> Floats:
    """Rain over an image: opaque streaks hide what is behind them, others only add their light.

    Args:
        clean: (H, W, 3) in [0, 1].
        layer: (H, W), share of each pixel that rain covers, or radiance where it is not opaque.
        light: of the drops; see `light_on_rain`.
        opaque: I·(1 - S) + A·S instead of I + A·S.
    """
    share = layer[..., None]
    if opaque:
        share = np.minimum(share, 1)
        clean = clean * (1 - share)
    return np.clip(clean + share * light, 0, 1).astype(np.float32)
