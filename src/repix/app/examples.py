"""Pairs of images for the Blend tab, drawn by the program itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from repix.io.image import resize
from repix.poisson.blend import Mode

Rgb = NDArray[np.uint8]
Doubles = NDArray[np.float64]


class Pair(NamedTuple):
    """A source and a target, and what to do with them.

    Attributes:
        draw: gives source and target, (H, W, 3) uint8.
        polygon: corners (x, y) of what to take from the source.
        centre: (x, y) in the target of its middle.
        mode: what suits it.
    """

    draw: Callable[[], tuple[Rgb, Rgb]]
    polygon: list[list[int]]
    centre: tuple[int, int]
    mode: Mode


def _noise(shape: tuple[int, int], grain: int, seed: int) -> Doubles:
    """Smooth noise around 0 with features of about `grain` pixels; (H, W), most of it within ±1."""
    height, width = shape
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 0.5, (height // grain + 4, width // grain + 4))
    smooth = resize(cast(Any, coarse), (coarse.shape[0] * grain, coarse.shape[1] * grain))
    return np.asarray(smooth[grain : grain + height, grain : grain + width], np.float64)


def _clouds(shape: tuple[int, int], seed: int) -> Doubles:
    return sum((_noise(shape, 2**k, seed + k) * 2.0 ** (k - 7) for k in range(2, 8)), np.zeros(shape))


def _gradient(shape: tuple[int, int], stops: list[tuple[float, tuple[int, int, int]]]) -> Doubles:
    """Colours from top to bottom, (H, W, 3)."""
    y = np.linspace(0, 1, shape[0])
    heights = [height for height, _ in stops]
    column = np.stack([np.interp(y, heights, [colour[c] for _, colour in stops]) for c in range(3)], axis=-1)
    return np.repeat(column[:, None], shape[1], axis=1)


def _mix(image: Doubles, colour: Any, amount: Doubles) -> Doubles:
    return image + (np.asarray(colour, float) - image) * np.clip(amount, 0, 1)[..., None]


def _done(image: Doubles, seed: int) -> Rgb:
    grain = np.random.default_rng(seed).normal(0, 1.5, image.shape[:2])[..., None]
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def _hills(image: Doubles, colours: list[tuple[int, int, int]], seed: int) -> Doubles:
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    for i, colour in enumerate(colours):
        line = _noise((1, width), 150 // (i + 1), seed + i)[0] * height * 0.07 + height * (0.62 + 0.13 * i)
        line += _noise((1, width), 12, seed + 9 + i)[0] * height * 0.006
        shade = 1 + 0.25 * _clouds((height, width), seed + 20 + i)[..., None]
        image = _mix(image, colour, y - line[x]) * np.where((y > line[x])[..., None], shade, 1)
    return image


@functools.cache
def _balloon() -> tuple[Rgb, Rgb]:
    shape = (420, 360)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float)
    image = _gradient(shape, [(0, (118, 148, 182)), (1, (164, 184, 200))])
    image = _mix(image, (206, 214, 222), 0.35 + _clouds(shape, 3) * 0.7)
    u, v = (x - 180) / 105, (y - 165) / 120
    pear = np.hypot(u * (1 + 0.35 * np.clip(v, 0, 2)), v)
    stripe = np.floor((np.arcsin(np.clip(u / np.sqrt(np.clip(1 - v * v, 0.05, 1)), -1, 1)) / np.pi + 0.5) * 9).astype(
        int
    )
    palette = np.array([(200, 50, 50), (240, 185, 60), (40, 105, 165)], float)
    skin = palette[stripe % 3] * (0.75 + 0.45 * np.clip(0.6 - 0.6 * u - 0.35 * v, 0, 1))[..., None]
    edge = np.clip((1 - pear) * 60, 0, 1)
    image += (skin - image) * edge[..., None]
    for side in (-1, 1):
        rope = np.abs(x - 180 - side * (20 + (355 - y) * 0.24)) < 1.1
        image = _mix(image, (70, 55, 45), (rope & (y > 270) & (y < 358)).astype(float))
    basket = (np.abs(x - 180) < 23 - (y - 352) * 0.08) & (y > 352) & (y < 388)
    weave = 0.8 + 0.2 * np.sin(x * 1.3) * np.sin(y * 1.1)
    image = np.where(basket[..., None], np.array((134, 92, 52)) * weave[..., None], image)

    shape = (560, 840)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float)
    evening = _gradient(
        shape, [(0, (48, 62, 112)), (0.35, (148, 104, 138)), (0.62, (246, 170, 112)), (1, (250, 200, 140))]
    )
    evening = _mix(evening, (255, 214, 170), (_clouds(shape, 40) - 0.15) * 0.9)
    evening = _mix(evening, (255, 240, 205), np.exp(-np.hypot(x - 620, y - 330) / 46))
    evening = _hills(evening, [(104, 84, 118), (62, 58, 88), (30, 34, 50)], 11)
    return _done(image, 1), _done(evening, 2)


@functools.cache
def _writing() -> tuple[Rgb, Rgb]:
    from PIL import Image, ImageDraw, ImageFont

    shape = (260, 520)
    paper = Image.fromarray(_done(_gradient(shape, [(0, (214, 212, 206)), (1, (202, 200, 194))]), 3))
    pen = ImageDraw.Draw(paper)
    pen.text((260, 112), "no rain", fill=(100, 122, 176), font=ImageFont.load_default(118), anchor="mm")
    t = np.linspace(0, 1, 60)
    swash = np.stack([70 + 380 * t, 205 + 14 * np.sin(t * 9)], axis=1)
    pen.line([tuple(p) for p in swash.tolist()], fill=(100, 122, 176), width=7, joint="curve")

    shape = (560, 840)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    row = y // 40
    column = (x + (row % 2) * 50) // 100
    tone = np.random.default_rng(5).normal(0, 1, (20, 20))[row % 20, column % 20]
    wall = np.array((168, 92, 70), float) * (1 + 0.12 * tone + 0.16 * _clouds(shape, 60))[..., None]
    joint = (y % 40 < 5) | ((x + (row % 2) * 50) % 100 < 5)
    wall = np.where(joint[..., None], np.array((196, 186, 172)) * (1 + 0.12 * _clouds(shape, 70))[..., None], wall)
    light = 0.65 + 0.5 * np.exp(-np.hypot(x - 300, y - 180) / 420)
    return np.asarray(paper), _done(wall * light[..., None], 4)


@functools.cache
def _moon() -> tuple[Rgb, Rgb]:
    shape = (360, 360)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float)
    radius = np.hypot(x - 180, y - 180) / 120
    face = 158 + 34 * _clouds(shape, 80) - 40 * np.clip(_noise(shape, 60, 90), 0, 1)
    rng = np.random.default_rng(8)
    for _ in range(26):
        cy, cx, r = rng.uniform(80, 280), rng.uniform(80, 280), rng.uniform(4, 17)
        ring = np.hypot(x - cx, y - cy) / r
        face += 18 * np.exp(-((ring - 1) ** 2) * 14) - 14 * np.exp(-(ring**2) * 2)
    limb = np.sqrt(np.clip(1 - radius**2, 0, 1)) ** 0.35
    sky = np.full((*shape, 3), (9.0, 10.0, 14.0)) + np.exp(-np.clip(radius - 1, 0, None) * 6)[..., None] * 16
    moon = (face * limb)[..., None] * np.array((1, 0.985, 0.94))
    image = sky + (moon - sky) * np.clip((1 - radius) * 120, 0, 1)[..., None]

    shape = (560, 840)
    dusk = _gradient(shape, [(0, (18, 26, 58)), (0.5, (52, 72, 122)), (0.7, (120, 126, 158)), (1, (150, 140, 150))])
    dusk = _mix(dusk, (96, 110, 150), (_clouds(shape, 100) - 0.05) * 0.8)
    dusk = _hills(dusk, [(48, 62, 88), (26, 38, 54), (12, 18, 26)], 23)
    return _done(image, 6), _done(dusk, 7)


PAIRS: dict[str, Pair] = {
    "Balloon in the evening": Pair(
        _balloon,
        [
            *[[180, 22], [264, 50], [308, 118], [304, 196], [262, 268], [222, 330], [222, 402]],
            *[[138, 402], [138, 330], [98, 268], [56, 196], [52, 118], [96, 50]],
        ],
        (270, 196),
        "import",
    ),
    "Writing on a wall": Pair(_writing, [[20, 20], [500, 20], [500, 244], [20, 244]], (400, 250), "mixed"),
    "Moon over hills": Pair(
        _moon,
        [[180, 36], [282, 78], [324, 180], [282, 282], [180, 324], [78, 282], [36, 180], [78, 78]],
        (600, 150),
        "import",
    ),
}
"""By the name shown in the tab."""
