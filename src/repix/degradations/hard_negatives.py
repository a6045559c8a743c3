"""Clean images full of thin structures, which rain must not be mistaken for: drawn and seeded.

What rain and a fence have in common is a bright or dark line a few pixels wide; what tells them apart is all around it:
spacing, ends, colour, what crosses what. A network learns the difference only from images that have the structures
and no rain. Everything is drawn at three times the size and averaged down, so that edges look as a camera's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw

from repix._types import Floats
from repix.degradations import Context, Degradation
from repix.errors import InputError

_FINE = 3  # each side of a pixel is drawn as so many
_STRAIGHT = 4.0  # pixels of a stroke that are drawn as a straight line

Doubles = npt.NDArray[np.float64]


class HardNegatives(Degradation):
    """A drawn image of thin structures, half of the time over the clean image, that must come back as it is."""

    is_clean = True

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        background = clean if rng.random() < 0.5 else None
        made = draw_hard_negative((clean.shape[0], clean.shape[1]), rng, background=background)
        return made, made


def draw_hard_negative(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    kind: str | None = None,
    background: Floats | None = None,
) -> Floats:
    """A clean image of thin structures, at a random angle, scale, colour and contrast.

    Args:
        shape: (H, W) in pixels.
        rng: source of all randomness.
        kind: one of `HARD_NEGATIVES`; None draws one, those more often that look most like rain.
        background: (H, W, 3) in [0, 1], what is behind a fence, wires or strokes of ink; None makes a soft gradient.
            Grass, hair, cloth, weave, paving and blinds fill the image and hide it.

    Returns:
        (H, W, 3) float32 in [0, 1].

    Raises:
        InputError: unknown kind, a side below one pixel, or a background of another shape.
    """
    if kind is not None and kind not in HARD_NEGATIVES:
        raise InputError(f"hard negatives: got kind {kind!r}, expected one of {', '.join(HARD_NEGATIVES)}")
    if min(shape) < 1:
        raise InputError(f"hard negatives: got an image of {shape[0]}x{shape[1]}, expected at least one pixel")
    if background is not None and background.shape != (*shape, 3):
        raise InputError(f"hard negatives: the background is {background.shape}, expected {(*shape, 3)}")
    chances = np.array([_OFTEN.get(each, 1) for each in HARD_NEGATIVES])
    name = kind or str(rng.choice(list(HARD_NEGATIVES), p=chances / chances.sum()))
    behind = _ground(shape, rng) if background is None else np.asarray(background, np.float32)
    image = HARD_NEGATIVES[name](behind, rng)
    return np.clip(image, 0, 1).astype(np.float32)


def _hatching(behind: Floats, rng: np.random.Generator) -> Floats:
    """Pen strokes in one to three directions, dense where the drawing is dark."""
    shape = behind.shape[:2]
    ink, paper = _ink_and_paper(rng)
    image = np.asarray(paper + (behind - behind.mean((0, 1))) * np.float32(rng.uniform(0, 0.5)))
    spacing = rng.uniform(3, 9)
    first = _lean(rng)
    for layer in range(int(rng.integers(1, 4))):
        angle = first + layer * rng.uniform(0.5, 1.2)
        tone = _soft(shape, rng, cells=4)
        length = rng.uniform(12, 45)
        across, along = _grid_along(shape, angle, spacing, length * 0.8, rng)
        starts = _turned(across + rng.normal(0, spacing * 0.08, across.shape), along, angle, shape)
        lengths = length * rng.uniform(0.6, 1.2, len(starts))
        angles = angle + rng.normal(0, 0.025, len(starts))
        ends = starts + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        middle = np.clip((starts + ends) / 2, 0, np.array(shape) - 1).astype(int)
        dark = tone[middle[:, 0], middle[:, 1]] > rng.uniform(0.2, 0.5) + 0.15 * layer
        bend = rng.normal(0, 0.02, (len(starts), 1)) * (ends - starts)[:, ::-1] * [1, -1]
        curves = np.stack([starts, (starts + ends) / 2 + bend, ends], 1)[dark]
        colours = ink * rng.uniform(0.85, 1.15, (len(curves), 1))
        image = _stroke(image, curves, spacing * rng.uniform(0.15, 0.35), colours)
    return image


def _fence(behind: Floats, rng: np.random.Generator) -> Floats:
    """Upright bars with rails, or a mesh of wire, before whatever is behind."""
    y, x = _fine_grid(behind.shape[:2])
    lean = rng.normal(0, 0.05)
    across, along = x * np.cos(lean) + y * np.sin(lean), y * np.cos(lean) - x * np.sin(lean)
    colour = _colour(rng, (0.05, 0.95), 0.3)
    if rng.random() < 0.5:
        spacing = rng.uniform(7, 26)
        width = spacing * rng.uniform(0.12, 0.6)
        place = _distance(across + rng.uniform(0, spacing), spacing) / (width / 2)
        rail = _distance(along + rng.uniform(0, 80), rng.uniform(50, 130)) / (width * rng.uniform(0.4, 1))
        bars, rails = place < 1, rail < 1
        light = np.where(bars, 1 - 0.45 * (place - 0.3) ** 2, 0.8 - 0.2 * rail**2)
        solid = bars | rails
    else:
        spacing, slope = rng.uniform(8, 28), rng.uniform(0.7, 1.3)
        width = max(0.9, spacing * rng.uniform(0.05, 0.13))
        phases = rng.uniform(0, spacing, 2)
        wires = [
            _distance((across * slope + sign * along) / np.hypot(slope, 1) + phase, spacing) / (width / 2)
            for sign, phase in zip((-1, 1), phases, strict=True)
        ]
        nearest = np.minimum(*wires)
        solid, light = nearest < 1, 1 - 0.4 * np.minimum(nearest, 1) ** 2
    fine = np.where(solid[..., None], light[..., None] * colour, _enlarged(behind))
    return _averaged(fine)


def _blinds(behind: Floats, rng: np.random.Generator) -> Floats:
    """Slats of a window blind, each shaded from edge to edge, with cords."""
    shape = behind.shape[:2]
    upright = rng.random() < 0.3
    y, x = _fine_grid(shape)
    lean = rng.normal(0, 0.06) + (np.pi / 2 if upright else 0)
    across, along = y * np.cos(lean) + x * np.sin(lean), x * np.cos(lean) - y * np.sin(lean)
    spacing = rng.uniform(4, 22)
    phase = np.mod(across / spacing + rng.uniform(), 1)
    gap = rng.uniform(0.05, 0.3)
    low, high = np.sort(rng.uniform(0.45, 1.05, 2))
    if rng.random() < 0.5:
        low, high = high, low
    light = low + (high - low) * phase + rng.uniform(0, 0.2) * np.sin(np.pi * phase)
    colour = _colour(rng, (0.35, 0.95), 0.15)
    glow = _enlarged(np.asarray(0.75 + 0.5 * _soft(shape, rng, cells=2), np.float32)[..., None])
    slats = light[..., None] * colour * glow
    through = _enlarged(behind) * np.float32(rng.uniform(0.1, 1.3))
    fine = np.where((phase < gap)[..., None], through, slats)
    if rng.random() < 0.6:
        cord = _distance(along + rng.uniform(0, 200), rng.uniform(60, 200)) < rng.uniform(0.4, 1.0)
        fine = np.where(cord[..., None], colour * np.float32(rng.uniform(0.5, 1.1)), fine)
    return _averaged(fine)


def _grass(behind: Floats, rng: np.random.Generator) -> Floats:
    """Blades that taper and bend, nearer ones before those behind them."""
    height, width = behind.shape[:2]
    length = rng.uniform(18, 70)
    breadth = rng.uniform(1.0, 3.2)
    count = int(1.6 * height * (width + length) / (length * breadth) * rng.uniform(1, 2)) + 8
    foot = np.stack([rng.uniform(0, height + length, count), rng.uniform(-length / 2, width + length / 2, count)], 1)
    foot = foot[np.argsort(foot[:, 0])]
    lean = rng.normal(rng.normal(0, 0.2), rng.uniform(0.12, 0.4), count)
    long = length * rng.uniform(0.5, 1.2, count)
    tip = foot + long[:, None] * np.stack([-np.cos(lean), np.sin(lean)], 1)
    bent = tip + rng.normal(0, 0.18, (count, 1)) * long[:, None] * np.array([0.3, 1.0])
    hue = np.array([rng.uniform(0.25, 0.75), rng.uniform(0.45, 0.8), rng.uniform(0.05, 0.3)])  # fresh to dry
    near = 0.35 + 0.65 * np.clip(foot[:, :1] / height, 0, 1) if rng.random() < 0.5 else 1.0
    colours = hue * near * rng.lognormal(-0.15, 0.3, (count, 1)) * rng.uniform(0.85, 1.15, (count, 3))
    ground = np.float32(rng.uniform(0.15, 0.5)) * hue.astype(np.float32) * (0.6 + 0.4 * behind)
    return _stroke(ground, np.stack([foot, tip, bent], 1), breadth, colours, tapered=True)


def _hair(behind: Floats, rng: np.random.Generator) -> Floats:
    """Strands that run together, each a little lighter or darker than the next, with a band of gloss."""
    height, width = behind.shape[:2]
    side = float(np.hypot(height, width))
    angle = _lean(rng)
    thin = rng.uniform(0.7, 1.8)
    count = int(side / thin * rng.uniform(2, 3.5))
    place = rng.uniform(-0.5, 0.5, count)
    order = rng.permutation(count)
    wave = [np.interp(place, np.linspace(-0.5, 0.5, 9), rng.normal(0, 0.045, 9)) for _ in range(3)]
    along = np.array([-0.55, 0.0, 0.55]) + rng.normal(0, 0.06, (count, 3))
    across = place[:, None] + np.stack(wave, 1) + rng.normal(0, 0.012, (count, 3))
    unit, normal = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    points = side * (along[..., None] * unit + across[..., None] * normal) + np.array([height, width]) / 2
    base = rng.uniform(0.06, 0.6) * (1 + rng.uniform(0, 1) * np.array([0.5, 0.0, -0.5]))  # grey to brown and blond
    tufts = np.interp(place, np.linspace(-0.5, 0.5, 40), rng.normal(0, 0.2, 40))
    colours = base * np.exp(tufts + rng.normal(0, 0.25, count))[:, None]
    strands = _stroke(np.asarray(base * np.float32(0.5) + 0 * behind, np.float32), points[order], thin, colours[order])
    y, x = np.mgrid[:height, :width]
    down = ((y - height / 2) * unit[0] + (x - width / 2) * unit[1]) / side
    gloss = rng.uniform(0, 0.7) * np.exp(-(((down - rng.uniform(-0.3, 0.3)) / rng.uniform(0.05, 0.2)) ** 2))
    return np.asarray(strands * (1 + gloss[..., None]), np.float32)


def _cloth(behind: Floats, rng: np.random.Generator) -> Floats:
    """Stripes or checks of a few colours on cloth that hangs in folds, with its weave."""
    shape = behind.shape[:2]
    y, x = _fine_grid(shape)
    folds = _soft(shape, rng, cells=3)
    bent = _enlarged((folds * rng.uniform(0, 30))[..., None])[..., 0]
    angle = _lean(rng)
    across = x * np.cos(angle) - y * np.sin(angle) + bent
    along = x * np.sin(angle) + y * np.cos(angle) + bent
    fine = _striped(across, rng)
    if rng.random() < 0.35:
        fine = (fine + _striped(along, rng)) / 2
    pitch = rng.uniform(1.8, 4)
    weave = 1 + rng.uniform(0, 0.06) * np.sin(2 * np.pi * across / pitch) * np.sin(2 * np.pi * along / pitch)
    light = 0.7 + 0.45 * folds + rng.uniform(0, 0.5) * (folds - np.roll(folds, 5, 1))
    return np.asarray(_averaged(fine * weave[..., None]) * light[..., None], np.float32)


def _wires(behind: Floats, rng: np.random.Generator) -> Floats:
    """Wires that hang between masts, or rails that run to one point."""
    height, width = behind.shape[:2]
    count = int(rng.integers(3, 14))
    colour = _colour(rng, (0.02, 0.25), 0.2) if rng.random() < 0.7 else _colour(rng, (0.75, 1.0), 0.1)
    if rng.random() < 0.6:
        ends = np.sort(rng.uniform(-0.1, 1.0, count)) * height
        fall = rng.normal(0, 0.15) * height
        sag = rng.uniform(0, 0.25) * height * rng.uniform(0.7, 1.3, count)
        left, right = np.full(count, -5.0), np.full(count, width + 5.0)
        middle = (ends + ends + fall) / 2 + sag
        curves = np.stack(
            [np.stack(pair, 1) for pair in ((ends, left), (middle, (left + right) / 2), (ends + fall, right))], 1
        )
        masts = rng.uniform(0, width, int(rng.integers(0, 3)))
        upright = np.stack(
            [np.stack([np.full_like(masts, part * height), masts + part * 3], 1) for part in (-0.1, 0.5, 1.1)], 1
        )
        behind = _stroke(behind, upright, rng.uniform(2, 6), np.tile(colour * 0.9, (len(masts), 1)))
    else:
        point = np.array([rng.uniform(-0.3, 0.3) * height, rng.uniform(0, 1) * width])
        angles = np.linspace(-1.3, 1.3, 2 * count) + rng.normal(0, 0.04, 2 * count)
        far = 2 * float(np.hypot(height, width))
        ends_ = point + far * np.stack([np.cos(angles), np.sin(angles)], 1)
        curves = np.stack([np.broadcast_to(point, ends_.shape), (point + ends_) / 2, ends_], 1)
    colours = colour * rng.uniform(0.8, 1.2, (len(curves), 1))
    if rng.random() < 0.4:  # those that turn, which rain does too
        curves = curves[..., ::-1] * np.array([height / width, width / height])
    return _stroke(behind, curves, rng.uniform(0.6, 2.4), colours)


def _text(behind: Floats, rng: np.random.Generator) -> Floats:
    """Lines of writing in no known script."""
    shape = behind.shape[:2]
    ink, paper = _ink_and_paper(rng)
    size = rng.uniform(6, 22)
    angle = rng.normal(0, 0.08) + (np.pi / 2 if rng.random() < 0.85 else 0)  # along the rows of the image or down
    across, along = _grid_along(shape, angle, size * rng.uniform(1.4, 2.2), size * rng.uniform(0.55, 0.75), rng)
    written = rng.random(len(across)) < 0.85
    across, along = across[written], along[written]
    # a script has two dozen signs of one to three strokes each, on a grid of a few places
    signs = rng.integers(0, 3, (24, 3, 3, 2)) / 2 * np.array([1.0, 0.45])
    strokes = rng.integers(1, 4, 24)
    chosen = rng.integers(0, 24, len(across))
    parts = []
    for number in range(3):
        those = strokes[chosen] > number
        points = signs[chosen[those], number] * size
        parts.append(
            np.stack(
                [_turned(across[those] + points[:, k, 0], along[those] + points[:, k, 1], angle, shape)
                 for k in range(3)], 1)
        )  # fmt: skip
    curves = np.concatenate(parts)
    image = paper + (behind - behind.mean((0, 1))) * np.float32(rng.uniform(0, 0.4))
    return _stroke(image, curves, max(0.8, size * rng.uniform(0.06, 0.14)), np.tile(ink, (len(curves), 1)))


def _weave(behind: Floats, rng: np.random.Generator) -> Floats:
    """Linen or canvas from near: uneven threads, each over and under those that cross it."""
    shape = behind.shape[:2]
    y, x = _fine_grid(shape)
    folds = _soft(shape, rng, cells=3)
    bent = _enlarged((folds * rng.uniform(0, 25))[..., None])[..., 0]
    angle = rng.normal(0, 0.08) if rng.random() < 0.6 else _lean(rng)
    pitch = np.exp(rng.uniform(np.log(2.5), np.log(11)))
    uneven = rng.uniform(0.05, 0.35)
    up, right = (
        _threads(place + bent, pitch * rng.uniform(0.8, 1.25), uneven, rng)
        for place in (x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle))
    )
    over = (up.number + right.number) % 2 == 0
    round_, gap = rng.uniform(0.2, 0.7), rng.uniform(0.75, 1.0)
    lights = []
    for own, other in ((up, right), (right, up)):
        light = own.tone * (1 - round_ * own.place**2) * (1 - 0.5 * round_ * other.place**2)
        lights.append(np.where(np.abs(own.place) < gap, light, 0.35 * light))
    colours = [_colour(rng, (0.2, 0.95), 0.3)]
    colours.append(colours[0] if rng.random() < 0.6 else _colour(rng, (0.2, 0.95), 0.3))
    threads = [light[..., None] * colour for light, colour in zip(lights, colours, strict=True)]
    fine = np.where(over[..., None], *threads)
    return np.asarray(_averaged(fine) * (0.6 + 0.6 * folds)[..., None], np.float32)


class _Threads(NamedTuple):
    """Of each point: the number of its thread, where it lies across it (-1 to 1), and how light the thread is."""

    number: npt.NDArray[np.intp]
    place: Doubles
    tone: Doubles


def _threads(across: Doubles, pitch: float, uneven: float, rng: np.random.Generator) -> _Threads:
    count = int(np.ptp(across) / pitch * 2) + 8
    edges = across.min() - pitch + np.cumsum(pitch * rng.lognormal(0, uneven / 2, count))
    number = np.searchsorted(edges, across).clip(1, count - 1)
    low, high = edges[number - 1], edges[number]
    tone = rng.lognormal(0, uneven / 2, count)
    return _Threads(number, (2 * across - low - high) / (high - low), tone[number])


def _paving(behind: Floats, rng: np.random.Generator) -> Floats:
    """Setts, cobbles or rough bricks in rows, in raking light or wet, smaller with the distance."""
    height = behind.shape[0]
    y, x = _fine_grid(behind.shape[:2])
    if rng.random() < 0.5:  # on the ground
        horizon = rng.uniform(-1.5, -0.05) * height
        x = (x - x.mean()) * height / (y - horizon)
        y = -height * np.log((y - horizon) / height)
        x = x * rng.uniform(0.5, 1.5)
    lean = rng.normal(0, 0.1)
    x, y = x * np.cos(lean) - y * np.sin(lean), x * np.sin(lean) + y * np.cos(lean)
    side = np.exp(rng.uniform(np.log(5), np.log(36)))
    rows = _threads(y, side, 0.15, rng)
    shifted = x + rng.uniform(0, 3 * side, rows.number.max() + 1)[rows.number]
    stones = _threads(shifted, side * rng.uniform(0.9, 2.4), 0.25, rng)
    odd = rng.lognormal(0, rng.uniform(0.05, 0.4), (rows.number.max() + 1, stones.number.max() + 1))
    edge = np.maximum(np.abs(rows.place), np.abs(stones.place))
    rough = rng.normal(0, rng.uniform(0, 0.08), edge.shape)
    light = odd[rows.number, stones.number] * (1 + rough) * (1 - rng.uniform(0, 0.5) * edge**4)
    joint = rng.uniform(0.7, 0.95)
    light = np.where(edge < joint, light, light * rng.uniform(0.1, 1.2))
    fine = light[..., None] * _colour(rng, (0.08, 0.7), 0.3)
    # what shines: the edge that looks at the light
    sun, height_of = rng.uniform(-1, 1, 2), 1 - edge**2
    facing = np.clip(sun[0] * rows.place + sun[1] * stones.place, 0, None) ** 2
    shine = rng.uniform(0, 0.8) * facing * (edge < joint) * np.clip(height_of * 4, 0, 1)
    return _averaged(fine + (shine * odd[rows.number, stones.number])[..., None])


HARD_NEGATIVES: Mapping[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "hatching": _hatching,
    "fence": _fence,
    "blinds": _blinds,
    "grass": _grass,
    "hair": _hair,
    "cloth": _cloth,
    "wires": _wires,
    "text": _text,
    "weave": _weave,
    "paving": _paving,
}
"""What can be drawn, by name: (H, W, 3) background in [0, 1] -> the image, not clipped."""
# Drawn so many times as often as the rest: what is taken for rain most, wide stripes on cloth before all else.
_OFTEN = {"cloth": 6, "hatching": 3, "hair": 2, "wires": 1.5, "blinds": 1.5}


def _stroke(image: Floats, curves: Doubles, width: float, colours: Doubles, *, tapered: bool = False) -> Floats:
    """Paint quadratic Bézier curves, later ones over earlier ones.

    Args:
        image: (H, W, 3), what they are painted on.
        curves: (S, 3, 2): start, control point and end as (y, x) in pixels.
        width: of every stroke in pixels.
        colours: (S, 3).
        tapered: the strokes run to a point at their ends.
    """
    if not len(curves):
        return image
    height, width_ = (side * _FINE for side in image.shape[:2])
    # a curve is at most as long as its control polygon
    longest = np.linalg.norm(np.diff(curves, axis=1), axis=2).sum(1).max()
    t = np.linspace(0, 1, int(np.clip(longest / _STRAIGHT, 4, 64)) + 1)[:, None]
    start, control, end = curves.swapaxes(0, 1)[:, :, None]
    at = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    along = 2 * (1 - t) * (control - start) + 2 * t * (end - control)
    normal = along[..., ::-1] * [1, -1] / np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9)
    broad = width * (1 - t**2 if tapered else np.ones_like(t))
    half = normal * broad / 2
    outlines = _FINE * np.concatenate([at + half, (at - half)[:, ::-1]], axis=1)[..., ::-1]
    canvas = PIL.Image.new("I", (width_, height))
    draw = PIL.ImageDraw.Draw(canvas)
    for number, outline in enumerate(outlines.reshape(len(outlines), -1).tolist(), 1):
        draw.polygon(outline, fill=number)
    top = np.asarray(canvas)  # number of the stroke on top, from 1
    fine = np.where(top[..., None] > 0, colours.astype(np.float32)[top - 1], _enlarged(image))
    return _averaged(fine)


def _striped(across: Doubles, rng: np.random.Generator) -> Doubles:
    """A repeated row of stripes, two to five colours wide."""
    broad = rng.random() < 0.4  # few stripes, and broad: near cloth, which is taken for rain most
    count = int(rng.integers(2, 4 if broad else 6))
    widths = np.exp(rng.uniform(np.log(3 if broad else 1.5), np.log(28 if broad else 16), count))
    base = _colour(rng, (0.05, 0.95), 0.6)
    colours = np.stack([base, *(_colour(rng, (0.05, 0.95), 0.6) for _ in range(count - 1))])
    colours = base + (colours - base) * rng.uniform(0.25, 1)
    edges = np.cumsum(widths)
    found: Doubles = colours[np.searchsorted(edges, np.mod(across, edges[-1]), side="right").clip(0, count - 1)]
    return found


def _ground(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """A gradient between two colours, a little uneven."""
    first, second = _colour(rng, (0.1, 0.95), 0.3), _colour(rng, (0.1, 0.95), 0.3)
    second = first + (second - first) * rng.uniform(0.1, 1)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.arange(side) / max(side - 1, 1) - 0.5 for side in shape)
    way = np.clip(0.5 + 0.7 * (np.cos(angle) * y[:, None] + np.sin(angle) * x), 0, 1)
    way = way + 0.25 * (_soft(shape, rng, cells=4) - 0.5)
    return np.asarray(first + (second - first) * way[..., None], np.float32)


def _soft(shape: tuple[int, int], rng: np.random.Generator, *, cells: int) -> Doubles:
    """Smooth random values in [0, 1]: a few by a few drawn, cosine between them."""
    drawn = rng.random((cells + 1, cells + 1))

    def mix(length: int) -> tuple[npt.NDArray[np.intp], Doubles]:
        place = np.linspace(0, cells, length, endpoint=False)
        low = place.astype(np.intp)
        return low, (1 - np.cos(np.pi * (place - low))) / 2

    (i, down), (j, right) = mix(shape[0]), mix(shape[1])
    rows = drawn[i] * (1 - down[:, None]) + drawn[i + 1] * down[:, None]
    return np.asarray(rows[:, j] * (1 - right) + rows[:, j + 1] * right)


def _colour(rng: np.random.Generator, light: tuple[float, float], strength: float) -> Doubles:
    """An RGB colour of a lightness in a range, grey at strength 0."""
    grey = rng.uniform(*light)
    return np.clip(grey * (1 + strength * rng.uniform(-1, 1, 3)), 0, 1)


def _ink_and_paper(rng: np.random.Generator) -> tuple[Doubles, Floats]:
    dark, pale = _colour(rng, (0.02, 0.4), 0.4), _colour(rng, (0.65, 0.98), 0.1)
    ink, paper = (dark, pale) if rng.random() < 0.75 else (pale, dark)
    return ink, paper.astype(np.float32)


def _lean(rng: np.random.Generator) -> float:
    """Angle from the vertical in radians; half are near it, where rain is."""
    return float(rng.normal(0, 0.3) if rng.random() < 0.5 else rng.uniform(-np.pi / 2, np.pi / 2))


def _grid_along(
    shape: tuple[int, int], angle: float, across: float, along: float, rng: np.random.Generator
) -> tuple[Doubles, Doubles]:
    """Places on rows `across` apart and `along` apart within them, that cover an image turned by any angle; relative
    to its middle. Rows start where they like."""
    half = float(np.hypot(*shape)) / 2 + max(across, along)
    rows, steps = np.arange(-half, half, across), np.arange(-half, half, along)
    shift = rng.uniform(0, along, len(rows))
    return np.repeat(rows, len(steps)), (steps + shift[:, None]).ravel()


def _turned(across: Doubles, along: Doubles, angle: float, shape: tuple[int, int]) -> Doubles:
    """(N, 2) as (y, x): `along` runs at `angle` from the vertical, `across` at right angles to it."""
    y = along * np.cos(angle) - across * np.sin(angle)
    x = along * np.sin(angle) + across * np.cos(angle)
    return np.stack([y, x], 1) + np.array(shape) / 2


def _fine_grid(shape: tuple[int, int]) -> tuple[Doubles, Doubles]:
    """y and x in pixels of the finer image's pixels."""
    y, x = np.mgrid[: shape[0] * _FINE, : shape[1] * _FINE]
    return (y + 0.5) / _FINE, (x + 0.5) / _FINE


def _distance(value: Doubles, period: float) -> Doubles:
    """To the nearest multiple of a period."""
    return np.abs(np.mod(value + period / 2, period) - period / 2)


def _enlarged(image: Floats | Doubles) -> Floats:
    return np.asarray(image, np.float32).repeat(_FINE, 0).repeat(_FINE, 1)


def _averaged(fine: Floats | Doubles) -> Floats:
    height, width = fine.shape[0] // _FINE, fine.shape[1] // _FINE
    parts = np.asarray(fine, np.float32).reshape(height, _FINE, width, _FINE, -1)
    return np.asarray(parts.mean((1, 3), dtype=np.float32))
