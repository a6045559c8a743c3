"""Drops that are no streaks: specks caught by a short exposure, and the splash where drops hit the ground."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.degradations.camera import recompressed
from repix.degradations.crisp import draw_crisp_rain, lay_strokes, stroke
from repix.degradations.grounds import lay_over, light_on_rain, photo_or_ground

_VARIETY = 10


class Specks(Degradation):
    """Bright specks, over photos and smooth grounds, one time in three with crisp streaks."""

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        return _over_scene(clean, rng, context, draw_specks, ground=0.35, streaks=0.33)


class Splash(Degradation):
    """Crowns of drops that hit the ground, half of the time with crisp streaks above them."""

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        return _over_scene(clean, rng, context, draw_splash, ground=0.2, streaks=0.5)


def _over_scene(
    clean: Floats,
    rng: np.random.Generator,
    context: Context,
    draw: Callable[[tuple[int, int], np.random.Generator], Floats],
    *,
    ground: float,
    streaks: float,
) -> tuple[Floats, Floats]:
    """What `draw` draws, over the photo or a smooth ground; `ground` and `streaks` (crisp rain) are chances."""
    scene = photo_or_ground(clean, rng, ground)
    size = (scene.shape[0], scene.shape[1])
    layer = draw(size, rng)
    if rng.random() < streaks:
        layer = np.maximum(layer, draw_crisp_rain(size, rng))
    rainy = lay_over(scene, layer, light_on_rain(scene, rng), opaque=rng.random() < 0.8)
    return recompressed(rainy, rng, context), scene


def draw_specks(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Round and slightly drawn-out bright specks of one size range: (H, W) float32 in [0, 1]."""
    size = float(np.exp(rng.uniform(math.log(0.8), math.log(5))))
    angle = float(rng.normal(0, 15))
    softness = 1.0 if rng.random() < 0.6 else 1 + size * float(rng.uniform(0.3, 1.5))
    strokes = []
    for _ in range(_VARIETY):
        width = size * float(rng.uniform(0.6, 1.4))
        long = width * float(rng.uniform(1, 3.5))
        made = stroke(long, width, angle, softness=softness, fade=1.0, offset=tuple(rng.uniform(-0.5, 0.5, 2)))
        strokes.append(made)
    cover = float(np.exp(rng.uniform(math.log(0.001), math.log(0.05))))
    count = int(rng.poisson(cover * shape[0] * shape[1] / (2 * size * size)))
    layer = np.zeros(shape, np.float32)
    gains = float(rng.uniform(0.2, 1.0)) * rng.uniform(0.3, 1.0, count)
    which, ys, xs = (rng.integers(0, top, count) for top in (_VARIETY, *shape))
    lay_strokes(layer, strokes, which, ys, xs, gains)
    return layer


def draw_splash(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Crowns of short strokes over small flat rings, more and larger towards the lower edge: (H, W) in [0, 1]."""
    height, width = shape
    layer = np.zeros(shape, np.float32)
    size = float(np.exp(rng.uniform(math.log(3), math.log(14))))
    horizon = float(rng.uniform(-0.5, 0.6))
    for _ in range(int(rng.poisson(float(np.exp(rng.uniform(math.log(4), math.log(60))))))):
        place = horizon + (1 - horizon) * float(rng.uniform()) ** 0.7
        scale = size * (0.35 + 0.65 * max(place - horizon, 0) / (1 - horizon)) * float(rng.uniform(0.6, 1.4))
        y, x, gain = place * height, float(rng.uniform(0, width)), float(rng.uniform(0.15, 0.8))
        if rng.random() < 0.5:
            _ring(layer, (y, x), scale * float(rng.uniform(0.6, 1.5)), gain * 0.7)
        for _ in range(int(rng.integers(3, 9))):
            lean = float(rng.uniform(-65, 65))
            long = scale * float(rng.uniform(0.3, 1))
            jet = stroke(
                long, max(0.8, scale * 0.12), lean, softness=1.0, fade=0.6, offset=tuple(rng.uniform(-0.5, 0.5, 2))
            )
            middle = (y - math.cos(math.radians(lean)) * long / 2, x - math.sin(math.radians(lean)) * long / 2)
            down, right = (np.array([round(value)]) for value in middle)
            lay_strokes(layer, [jet], np.array([0]), down, right, np.array([gain * float(rng.uniform(0.5, 1))]))
    return layer


def _ring(layer: Floats, centre: tuple[float, float], radius: float, gain: float) -> None:
    """A flat ellipse's outline, about one pixel thick, laid over the layer in place."""
    reach = math.ceil(radius) + 2
    top, left = round(centre[0]), round(centre[1])
    y0, y1 = max(top - reach, 0), min(top + reach + 1, layer.shape[0])
    x0, x1 = max(left - reach, 0), min(left + reach + 1, layer.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    y = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(centre[0])) * 3
    x = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(centre[1])
    ring = np.clip(1.2 - np.abs(np.sqrt(y * y + x * x) - np.float32(radius)), 0, 1)
    under = layer[y0:y1, x0:x1]
    np.maximum(under, np.float32(gain) * ring, out=under)
