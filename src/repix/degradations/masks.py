"""Rain from streak masks: white streaks on black, rendered or photographed, warped at random."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from repix._types import Floats
from repix.degradations import Context, Degradation, Levels
from repix.degradations.camera import blend_rain, recompressed


class StreakMasks(Degradation):
    """One to six streak masks, rotated by up to 30 degrees, scaled by 0.6 to 1.8, and summed."""

    needs: ClassVar[tuple[str, ...]] = ("masks",)

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        size = clean.shape[0], clean.shape[1]
        layer = np.zeros(size, np.float32)
        for _ in range(1 if rng.random() < 0.45 else int(rng.integers(2, 7))):
            mask = context.masks[int(rng.integers(len(context.masks)))]
            warped = warp_mask(mask, size, rng, rotation=30, scale=(0.6, 1.8))
            layer += warped * np.float32(rng.uniform(0.3, 1.0) / 255)
        rainy = blend_rain(clean, layer, "add" if rng.random() < 0.8 else "screen")
        return recompressed(rainy, rng, context), clean

    def frames(self, clean: Floats, rng: np.random.Generator, context: Context) -> Floats:
        """See `Degradation`."""
        size = clean.shape[1], clean.shape[2]
        count = 1 if rng.random() < 0.45 else int(rng.integers(2, 5))
        kinds = [
            (int(rng.integers(len(context.masks))), _Warp.draw(rng, 30, (0.6, 1.8)), float(rng.uniform(0.3, 1.0)))
            for _ in range(count)
        ]
        blending: Literal["add", "screen"] = "add" if rng.random() < 0.8 else "screen"
        made = np.empty_like(clean)
        for number, scene in enumerate(clean):
            layer = np.zeros(size, np.float32)
            for mask, warp, strength in kinds:
                layer += _window(context.masks[mask], size, rng, warp) * np.float32(strength / 255)
            made[number] = blend_rain(scene, layer, blending)
        return made


def warp_mask(
    mask: Floats | Levels,
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    rotation: float,
    scale: tuple[float, float],
) -> Floats:
    """A random window of a streak mask, rotated and scaled, by bilinear interpolation; the mask repeats mirrored.

    Args:
        mask: (H, W) float32 or uint8.
        shape: (height, width) of the window.
        rng: source of all randomness.
        rotation: at most so many degrees either way.
        scale: smallest and largest magnification of the streaks.
    """
    return _window(mask, shape, rng, _Warp.draw(rng, rotation, scale))


class _Warp(NamedTuple):
    """Angle in radians, pixels of the mask for one of the window, and whether it is mirrored."""

    angle: float
    step: float
    mirror: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, rotation: float, scale: tuple[float, float]) -> _Warp:
        angle = math.radians(rng.uniform(-rotation, rotation))
        step = 1 / float(np.exp(rng.uniform(math.log(scale[0]), math.log(scale[1]))))
        return cls(angle, step, bool(rng.random() < 0.5))


def _window(mask: Floats | Levels, shape: tuple[int, int], rng: np.random.Generator, warp: _Warp) -> Floats:
    angle, step, mirror = warp
    cos, sin = np.float32(step * math.cos(angle)), np.float32(step * math.sin(angle))
    y = np.arange(shape[0], dtype=np.float32)[:, None] - shape[0] / 2
    x = np.arange(shape[1], dtype=np.float32)[None, :] - shape[1] / 2
    if mirror:
        x = -x

    def mirrored(at: Floats, size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
        period = max(1, 2 * (size - 1))
        at = np.mod(at, period)
        at = np.minimum(at, period - at)
        low = at.astype(np.intp)
        return low, np.minimum(low + 1, size - 1), at - low

    y0, y1, fy = mirrored(cos * y + sin * x + np.float32(rng.uniform(0, mask.shape[0])), mask.shape[0])
    x0, x1, fx = mirrored(cos * x - sin * y + np.float32(rng.uniform(0, mask.shape[1])), mask.shape[1])
    flat, stride = mask.ravel(), mask.shape[1]
    y0 *= stride
    y1 *= stride
    upper = flat[y0 + x0] * (1 - fx) + flat[y0 + x1] * fx
    lower = flat[y1 + x0] * (1 - fx) + flat[y1 + x1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, np.float32)
