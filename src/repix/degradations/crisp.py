"""Crisp rain streaks: plain bright lines of any width, from aliased ones of one pixel to near, blurred ones of twelve.

This is the plainest rain there is: a short bright stroke over anything, a smooth wall included. Everything about it is
drawn at random within what photos show, so that nothing but being rain (short, bright, of one slant, with ends in the
open) is common to all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.degradations.camera import recompressed
from repix.degradations.grounds import lay_over, light_on_rain, photo_or_ground

_VARIETY = 12  # different strokes of one layer; every streak is one of them
_LONGEST = 400.0  # pixels


class CrispStreaks(Degradation):
    """Crisp, aliased or defocused streaks of any width, half of the time over a smooth ground or a line drawing."""

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        scene = photo_or_ground(clean, rng, 0.5)
        layer = draw_crisp_rain((scene.shape[0], scene.shape[1]), rng)
        rainy = lay_over(scene, layer, light_on_rain(scene, rng), opaque=rng.random() < 0.8)
        return recompressed(rainy, rng, context), scene

    def frames(self, clean: Floats, rng: np.random.Generator, context: Context) -> Floats:
        """See `Degradation`; over the scene as it is."""
        kinds = [StreakParams.draw(rng)]
        if rng.random() < 0.3:
            more, lean = StreakParams.draw(rng), kinds[0].angle + float(rng.normal(0, 6))
            kinds.append(replace(more, angle=lean, cover=min(more.cover, 0.1)))
        light, opaque = light_on_rain(clean[0], rng), rng.random() < 0.8
        made = np.empty_like(clean)
        for number, scene in enumerate(clean):  # streaks are short: none is in two frames
            layers = [draw_crisp_streaks((clean.shape[1], clean.shape[2]), kind, rng) for kind in kinds]
            made[number] = lay_over(scene, np.maximum.reduce(layers), light, opaque=opaque)
        return made


@dataclass(frozen=True)
class StreakParams:
    """What the streaks of one layer are like.

    Attributes:
        width: pixels.
        softness: pixels over which an edge rises; 1 is anti-aliased, more is out of focus, 0 is aliased.
        length: mean length in pixels.
        angle: lean in degrees from the vertical, positive towards the right at the bottom.
        angle_jitter: standard deviation of single streaks around it, degrees.
        cover: share of the image that streaks would cover if none crossed another.
        opacity: of the strongest streak, in its middle.
        fade: share of the length over which the ends fade out; 0 ends abruptly.
    """

    width: float = 1.5
    softness: float = 1.0
    length: float = 45.0
    angle: float = 12.0
    angle_jitter: float = 2.0
    cover: float = 0.07
    opacity: float = 0.8
    fade: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, *, largest: float = 12.0) -> StreakParams:
        """Anything that photos show: widths of 1 to `largest` pixels, four in five of them at most 4."""
        width = float(
            np.exp(
                rng.uniform(0, math.log(4))
                if rng.random() < 0.8
                else rng.uniform(math.log(4), math.log(max(4.0, largest)))
            )
        )
        sharpness = rng.random()
        softness = 0.0 if sharpness < 0.25 else 1.0 if sharpness < 0.72 else 1 + width * float(rng.uniform(0.2, 1.5))
        lean = rng.random()
        return cls(
            width=width,
            softness=softness,
            length=float(np.clip(width * np.exp(rng.uniform(math.log(5), math.log(60))), 6, _LONGEST)),
            angle=float(
                rng.normal(0, 15) if lean < 0.75 else rng.uniform(-60, 60) if lean < 0.9 else rng.uniform(-90, 90)
            ),
            angle_jitter=float(rng.uniform(0, 4)),
            cover=float(np.exp(rng.uniform(math.log(0.008), math.log(0.4)))),
            opacity=float(rng.uniform(0.12, 0.95)),
            fade=float(rng.uniform(0, 1)) if rng.random() < 0.5 else 0.0,
        )


def draw_crisp_streaks(shape: tuple[int, int], params: StreakParams, rng: np.random.Generator) -> Floats:
    """How much of each pixel the streaks of one layer cover: (H, W) float32 in [0, 1].

    Args:
        shape: (height, width).
        params: see `StreakParams`.
        rng: source of all randomness.
    """
    height, width = shape
    layer = np.zeros(shape, np.float32)
    strokes = [
        stroke(
            params.length * float(rng.uniform(0.6, 1.4)),
            params.width * float(rng.uniform(0.85, 1.15)),
            params.angle + float(rng.normal(0, params.angle_jitter)),
            softness=params.softness,
            fade=params.fade,
            offset=tuple(rng.uniform(-0.5, 0.5, 2)),
        )
        for _ in range(_VARIETY)
    ]
    margin = int(params.length / 2) + 2
    area = (height + 2 * margin) * (width + 2 * margin)
    count = int(rng.poisson(params.cover * area / (params.length * max(params.width, 1.0))))
    which = rng.integers(0, len(strokes), count)
    ys = rng.integers(-margin, height + margin, count)
    xs = rng.integers(-margin, width + margin, count)
    lay_strokes(layer, strokes, which, ys, xs, params.opacity * rng.uniform(0.6, 1.0, count))
    return layer


def stroke(
    length: float, width: float, angle: float, *, softness: float, fade: float, offset: tuple[float, ...]
) -> Floats:
    """One streak of peak 1, in a box just large enough.

    Args:
        length, width, softness: pixels; see `StreakParams`.
        angle: degrees from the vertical.
        fade: share of the length over which the ends fade out.
        offset: (y, x) of its middle from the box's, in pixels.
    """
    lean = math.radians(angle)
    along_y, along_x = math.cos(lean), math.sin(lean)
    reach, side = length / 2 + softness, (width + softness) / 2 + 1
    half_h = math.ceil(reach * abs(along_y) + side * abs(along_x)) + 1
    half_w = math.ceil(reach * abs(along_x) + side * abs(along_y)) + 1
    y = np.arange(-half_h, half_h + 1, dtype=np.float32)[:, None] - np.float32(offset[0])
    x = np.arange(-half_w, half_w + 1, dtype=np.float32)[None, :] - np.float32(offset[1])
    across = np.abs(x * np.float32(along_y) - y * np.float32(along_x))
    along = np.abs(x * np.float32(along_x) + y * np.float32(along_y))
    if softness == 0:
        return ((across <= max(width, 1.0) / 2) & (along <= length / 2)).astype(np.float32)
    # a line thinner than its edges are soft never reaches its full strength
    profile = np.clip((width / 2 - across) / softness + 0.5, 0, max(0.4, min(1.0, width / softness)))
    ends = np.clip((length / 2 - along) / max(softness, fade * length / 2) + 0.5 * (fade == 0), 0, 1)
    made = profile * ends
    return np.asarray(made / max(float(made.max()), 1e-6) * min(1.0, max(0.4, width / softness)), np.float32)


def lay_strokes(
    layer: Floats,
    strokes: list[Floats],
    which: np.ndarray,
    ys: np.ndarray,
    xs: np.ndarray,
    gains: np.ndarray,
) -> None:
    """Lay `gain·stroke` centred at (y, x) over a layer; where they cross, the stronger one counts."""
    height, width = layer.shape
    for k, top, left, gain in zip(which.tolist(), ys.tolist(), xs.tolist(), gains.tolist(), strict=True):
        made = strokes[k]
        y, x = top - made.shape[0] // 2, left - made.shape[1] // 2
        y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + made.shape[0], height), min(x + made.shape[1], width)
        if y0 < y1 and x0 < x1:
            under = layer[y0:y1, x0:x1]
            np.maximum(under, np.float32(gain) * made[y0 - y : y1 - y, x0 - x : x1 - x], out=under)


def draw_crisp_rain(shape: tuple[int, int], rng: np.random.Generator, *, largest: float = 12.0) -> Floats:
    """Streaks of one to three sizes with one main slant, as of far and near rain: (H, W) float32 in [0, 1]."""
    first = StreakParams.draw(rng, largest=largest)
    layer = draw_crisp_streaks(shape, first, rng)
    for _ in range(0 if rng.random() < 0.7 else int(rng.integers(1, 3))):
        more = StreakParams.draw(rng, largest=largest)
        lean = first.angle + float(rng.normal(0, 6))
        more = StreakParams(**{**more.__dict__, "angle": lean, "cover": min(more.cover, 0.1)})
        np.maximum(layer, draw_crisp_streaks(shape, more, rng), out=layer)
    return layer
