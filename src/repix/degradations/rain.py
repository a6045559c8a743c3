"""Rain on clean images: a small physical model of falling drops, seeded, in NumPy.

Drops of a rain rate R have diameters D after Marshall & Palmer (1948), fall at Atlas et al.'s (1973) terminal
velocity v(D), and during an exposure T draw streaks that a camera of focal length f (pixels) sees at depth z with

    length = f·v·T / z,    width = f·D / z,    defocus = f·A·|1/z - 1/z_focus|      (thin lens, aperture A)

A drop that passes a pixel in a fraction of the exposure adds that fraction of its own radiance, which is that of the
whole scene behind it, brighter than the local background (Garg & Nayar 2007, "Vision and rain", sec. 4). Layers at
several depths share one main angle, the wind's; single streaks jitter around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from repix._types import Floats, within
from repix.degradations import Context, Degradation
from repix.degradations.camera import add_mist, add_noise, blend_rain, compress_jpeg, recompressed
from repix.degradations.masks import warp_mask
from repix.errors import InputError

_OVERSHOOT = 4.0  # largest float of an image on [0, 1] that was varied
# Different streaks drawn for each depth layer, of which every drop picks one; a training patch shows few of them.
_KERNELS = 10
_PATCH_KERNELS = 4
# A layer never holds more streaks than this per megapixel: beyond it they merge into mist anyway.
_MOST_STREAKS = 40_000


@dataclass(frozen=True)
class RainParams:
    """What the rain and the camera are like. `RainParams.from_severity` draws a plausible set.

    Attributes:
        rate: rain rate in mm/h; 1 is drizzle, 10 rain, 100 a cloudburst. Sets how large and how many drops are.
        angle: lean of the streaks in degrees from the vertical, positive towards the right at the bottom.
        angle_jitter: standard deviation of single streaks around it, degrees.
        spread: each depth layer's own angle differs from the main one by up to this, degrees.
        exposure: seconds.
        focal: focal length in pixels (image width / (2·tan(half the horizontal field of view))).
        layers: number of depth layers.
        near, far: depth of the first and last layer in metres.
        focus, aperture: focused depth in metres; diameter of the aperture in metres.
        density: factor on the number of streaks.
        brightness: factor on the drops' radiance.
        blending: `screen` never exceeds white; `add` is what most research data sets do.
        mist: share of the scene that is replaced by the veil of unresolved drops, [0, 1).
        noise: standard deviation of the sensor's noise, as a share of full scale.
        jpeg: quality of a final JPEG compression, or None.
    """

    rate: float = 15.0
    angle: float = 5.0
    angle_jitter: float = 1.5
    spread: float = 2.0
    exposure: float = 1 / 100
    focal: float = 700.0
    layers: int = 3
    near: float = 1.0
    far: float = 8.0
    focus: float = 8.0
    aperture: float = 0.002
    density: float = 1.0
    brightness: float = 1.0
    blending: Literal["screen", "add"] = "screen"
    mist: float = 0.0
    noise: float = 0.0
    jpeg: int | None = None

    def __post_init__(self) -> None:
        bounds: list[tuple[str, float, float]] = [
            ("rate", 0, 1000), ("angle", -90, 90), ("angle_jitter", 0, 90), ("spread", 0, 90), ("exposure", 1e-5, 1),
            ("focal", 1, 1e6), ("layers", 1, 32), ("near", 0.05, 1e3), ("far", self.near, 1e4), ("focus", 0.05, 1e9),
            ("aperture", 0, 1), ("density", 0, 100), ("brightness", 0, 100), ("mist", 0, 0.99), ("noise", 0, 1),
        ]  # fmt: skip
        for name, low, high in bounds:
            value = getattr(self, name)
            if not within(value, low, high):
                raise InputError(f"RainParams.{name}: got {value!r}, expected {low} to {high}")
        if self.blending not in ("screen", "add"):
            raise InputError(f"RainParams.blending: got {self.blending!r}, expected 'screen' or 'add'")
        if self.jpeg is not None and not within(self.jpeg, 1, 100):
            raise InputError(f"RainParams.jpeg: got {self.jpeg!r}, expected 1 to 100, or None")

    @classmethod
    def from_severity(cls, severity: float, rng: np.random.Generator, *, focal: float = 700.0) -> RainParams:
        """A plausible rain of a severity, everything else drawn at random.

        Args:
            severity: 0 is drizzle, 0.5 steady rain, 1 a storm.
            rng: source of all randomness.
            focal: focal length in pixels; 1.1 times the image's longer side suits most cameras.

        Raises:
            InputError: severity outside [0, 1].
        """
        if not within(severity, 0, 1):
            raise InputError(f"severity: got {severity!r}, expected 0 (drizzle) to 1 (storm)")
        near = float(rng.uniform(0.5, 2.0))
        return cls(
            rate=float(1.0 * 100**severity * np.exp(rng.normal(0, 0.25))),
            angle=float(np.clip(rng.normal(0, 6 + 14 * severity), -60, 60)),
            angle_jitter=float(rng.uniform(0.5, 1.5 + 2 * severity)),
            spread=float(rng.uniform(0, 2 + 4 * severity)),
            exposure=float(np.exp(rng.uniform(math.log(1 / 400), math.log(1 / 40)))),
            focal=focal,
            layers=int(rng.integers(2, 5)),
            near=near,
            far=near * float(rng.uniform(4, 10)),
            focus=float(rng.uniform(3, 30)),
            aperture=float(rng.uniform(0.0005, 0.004)),
            density=float(rng.uniform(0.6, 1.6)),
            brightness=float(rng.uniform(0.6, 1.5)),
            blending="screen" if rng.random() < 0.6 else "add",
            mist=float(rng.uniform(0, 0.35) * severity if rng.random() < 0.5 else 0.0),
            noise=float(rng.uniform(0, 0.012)),
            jpeg=int(rng.integers(75, 98)) if rng.random() < 0.3 else None,
        )


def _diameters(rate: float, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Drop diameters in mm: Marshall & Palmer's N(D) ~ exp(-Λ·D), Λ = 4.1·R^-0.21 per mm, those that leave a streak."""
    return np.clip(0.8 + rng.exponential(rate**0.21 / 4.1, count), 0.8, 6.0)


def _velocity(diameter: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Terminal velocity in m/s of a drop of so many mm: 9.65 - 10.3·exp(-0.6·D) (Atlas, Srivastava & Sekhon 1973)."""
    return 9.65 - 10.3 * np.exp(-0.6 * diameter)


def _streak(length: float, width: float, softness: float, angle: float, rng: np.random.Generator) -> Floats:
    """One streak of peak about 1 at a random sub-pixel place, in a box just large enough.

    The cross-section is a box of `width` with edges `softness` wide (one pixel where in focus: the pixel's own
    area), the ends fade over a few widths, and large near drops swing while they fall, which shows as beads.
    """
    lean = math.radians(angle)
    along_x, along_y = math.sin(lean), math.cos(lean)
    reach = length / 2 + width / 2 + softness
    half_h = math.ceil(reach * abs(along_y) + (width + softness) * abs(along_x)) + 1
    half_w = math.ceil(reach * abs(along_x) + (width + softness) * abs(along_y)) + 1
    off_y, off_x = rng.uniform(-0.5, 0.5, 2)
    y = np.arange(-half_h, half_h + 1, dtype=np.float32)[:, None] - np.float32(off_y)
    x = np.arange(-half_w, half_w + 1, dtype=np.float32)[None, :] - np.float32(off_x)
    across = np.abs(x * np.float32(along_y) - y * np.float32(along_x))
    along = x * np.float32(along_x) + y * np.float32(along_y)
    # a line thinner than a pixel covers only part of it; fainter ones than this nobody would call rain
    cover = min(1.0, max(0.35, width / softness))
    profile = np.clip((width / 2 - across) / softness + 0.5, 0, cover)
    fade = float(max(softness, min(length / 2, width * rng.uniform(0.5, 4))))
    ends = np.clip((length / 2 - np.abs(along)) / fade + 0.5, 0, 1)
    kernel = profile * ends
    if width > 2 and rng.random() < 0.5:
        period, phase = rng.uniform(3, 8) * width, rng.uniform(0, 2 * math.pi)
        kernel *= 1 - np.float32(rng.uniform(0, 0.5)) * (0.5 + 0.5 * np.sin(along * (2 * math.pi / period) + phase))
    return kernel.astype(np.float32)


def _stamp(
    layer: Floats,
    kernels: Sequence[Floats],
    which: npt.NDArray[np.integer],
    ys: npt.NDArray[np.integer],
    xs: npt.NDArray[np.integer],
    gains: npt.NDArray[np.floating],
) -> None:
    """Add `gain·kernel` centred at (y, x) for each streak, clipped to the layer, in their order."""
    sizes = np.array([kernel.shape for kernel in kernels])[which].T
    starts = np.stack([ys, xs]) - sizes // 2
    low = np.maximum(starts, 0)
    high = np.minimum(starts + sizes, np.array(layer.shape)[:, None])
    seen = (low < high).all(axis=0)  # most pass by a training patch's frame
    places = np.concatenate([low, high, low - starts, high - starts])[:, seen].T.tolist()
    for k, gain, (y0, x0, y1, x1, top, left, bottom, right) in zip(
        which[seen].tolist(), gains[seen].tolist(), places, strict=True
    ):
        layer[y0:y1, x0:x1] += gain * kernels[k][top:bottom, left:right]


def draw_streaks(shape: tuple[int, int], params: RainParams, rng: np.random.Generator) -> Floats:
    """The rain alone: how much of each pixel's exposure drops have passed, as drawn by the physical model.

    Args:
        shape: (height, width).
        params: rain and camera.
        rng: source of all randomness.

    Returns:
        (H, W) float32, at least 0, mostly below 1 (streaks that cross add up).
    """
    layer: Floats = draw_falling_streaks(shape, params, rng, frames=1)[0]
    return layer


def draw_falling_streaks(
    shape: tuple[int, int], params: RainParams, rng: np.random.Generator, *, frames: int, rate: float = 25.0
) -> Floats:
    """The same in consecutive frames: between two of them a drop falls by v/rate, which is f·v/(rate·z) pixels.

    Args:
        shape: (height, width).
        params: rain and camera.
        rng: source of all randomness.
        frames: how many.
        rate: frames in a second.

    Returns:
        (frames, H, W) float32.
    """
    height, width = shape
    made = np.zeros((frames, *shape), np.float32)
    variety = _KERNELS if height * width > 1 << 16 else _PATCH_KERNELS
    depths = np.geomspace(params.near, params.far, params.layers)
    ratio = (params.far / params.near) ** (1 / max(params.layers, 2))
    weights = depths**0.5 / (depths**0.5).sum()
    for depth, weight in zip(depths.tolist(), weights.tolist(), strict=True):
        z = float(depth * ratio ** rng.uniform(-0.5, 0.5))
        lean = params.angle + rng.uniform(-params.spread, params.spread)
        diameters = _diameters(params.rate, variety, rng)
        lengths = params.focal * _velocity(diameters) * params.exposure / z
        widths = params.focal * diameters * 1e-3 / z
        defocus = params.focal * params.aperture * abs(1 / z - 1 / params.focus)
        # n drops per m³ in a slab dz thick cover the share n·D·v·T·dz of the image whatever its depth; the share
        # grows with the rain rate as n·D·v does, about R^0.65. Few near streaks, many far ones follow by themselves.
        margin = int(min(lengths.max() / 2, 400)) + 2
        cover = 0.2 * (params.rate / 10) ** 0.65 * params.density * weight
        area = float((lengths * np.maximum(widths, 1)).mean())
        per_pixel = min(cover / max(area, 4.0), _MOST_STREAKS / 1e6)
        # what a later frame shows is above the first one, and upwind
        falls = params.focal * _velocity(diameters) / (rate * z) * (frames - 1)
        above = math.ceil(falls.max() * math.cos(math.radians(lean)))
        aside = math.ceil(falls.max() * abs(math.sin(math.radians(lean))))
        left, right = (margin + aside if lean > 0 else margin), (margin + aside if lean < 0 else margin)
        count = int(rng.poisson(per_pixel * (height + 2 * margin + above) * (width + left + right)))
        if not count:
            continue
        kernels = [
            _streak(float(n), float(w), 1.0 + defocus, lean + float(rng.normal(0, params.angle_jitter)), rng)
            for n, w in zip(np.clip(lengths, 2, 800), widths, strict=True)
        ]
        # Share of the exposure a drop spends over a pixel, D/(v·T), spread by defocus. The drop shows the whole sky
        # and is much brighter than what is behind it, hence the factor.
        share = 12.0 * diameters * 1e-3 / (_velocity(diameters) * params.exposure)
        share = np.clip(share, 0.15, 0.9) * params.brightness / (1 + 0.3 * defocus)
        which = rng.integers(0, variety, count)
        ys = rng.integers(-margin - above, height + margin, count)
        xs = rng.integers(-left, width + right, count)
        gains = share[which] * rng.uniform(0.4, 1.2, count)
        for frame, layer in enumerate(made):
            fallen = falls[which] * (frame / max(frames - 1, 1))
            down = np.rint(ys + fallen * math.cos(math.radians(lean))).astype(int)
            across = np.rint(xs + fallen * math.sin(math.radians(lean))).astype(int)
            _stamp(layer, kernels, which, down, across, gains)
    return made


def add_rain(
    image: npt.NDArray[Any],
    params: RainParams,
    rng: np.random.Generator,
    *,
    masks: Sequence[Floats] = (),
) -> tuple[npt.NDArray[Any], Floats]:
    """Rain on a clean image.

    Args:
        image: (H, W, 3), uint8, uint16, or float32 in [0, 1].
        params: rain and camera.
        rng: source of all randomness; the same seed gives the same rain.
        masks: streak masks (H, W) in [0, 1]; with them one to three, rotated and scaled, replace the synthetic streaks.

    Returns:
        The rainy image, of the same shape and dtype, and the rain layer: (H, W) float32, the radiance added by the
        drops before blending.

    Raises:
        InputError: not an (H, W, 3) image of one of those types.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"add_rain: got {type(image).__name__}, expected an array (H, W, 3)")
    if (
        image.ndim != 3
        or image.shape[2] != 3
        or 0 in image.shape
        or image.dtype not in (np.uint8, np.uint16, np.float32)
    ):
        raise InputError(
            f"add_rain: got {image.dtype} {image.shape}, expected (H, W, 3) of uint8, uint16 or float32 in [0, 1]"
        )
    # variations of training overshoot a little; 255 is another range
    if image.dtype == np.float32 and not float(np.abs(image).max()) <= _OVERSHOOT:
        raise InputError(f"add_rain: got floats from {image.min():g} to {image.max():g}, expected them in [0, 1]")
    top = 1.0 if image.dtype == np.float32 else float(np.iinfo(image.dtype).max)
    scene = np.asarray(image, np.float32) / np.float32(top)
    shape = scene.shape[0], scene.shape[1]
    if masks:
        layer = np.zeros(shape, np.float32)
        for _ in range(int(rng.integers(1, 4))):
            mask = masks[int(rng.integers(len(masks)))]
            warped = warp_mask(mask, shape, rng, rotation=abs(params.angle) + params.spread, scale=(0.6, 1.8))
            layer += warped * float(params.brightness * rng.uniform(0.5, 1))
    else:
        layer = draw_streaks(shape, params, rng) * _light(scene)
    rainy = blend_rain(add_mist(scene, params.mist, rng), layer, params.blending)
    rainy = add_noise(rainy, params.noise, rng)
    if params.jpeg is not None:
        rainy = compress_jpeg(rainy, params.jpeg)
    if image.dtype == np.float32:
        return rainy.astype(np.float32), layer
    return np.clip(np.rint(rainy * np.float32(top)), 0, top).astype(image.dtype), layer


def _light(scene: Floats) -> np.float32:
    """Drops show the scene's own light: a night image has darker streaks than noon."""
    step = [max(1, side // 64) for side in scene.shape[:2]]
    return np.float32(0.35 + 0.65 * float(np.percentile(scene[:: step[0], :: step[1]], 90)))


def falling(clean: Floats, params: RainParams, rng: np.random.Generator) -> Floats:
    """Consecutive frames (T, H, W, 3) of one scene under one rain, without mist, noise and JPEG."""
    layers = draw_falling_streaks((clean.shape[1], clean.shape[2]), params, rng, frames=len(clean))
    light = _light(clean[0])
    return np.stack(
        [blend_rain(scene, layer * light, params.blending) for scene, layer in zip(clean, layers, strict=True)]
    )


def without_camera(params: RainParams) -> RainParams:
    """The same rain without mist, noise and JPEG: for pairs whose clean image already has them."""
    return replace(params, mist=0.0, noise=0.0, jpeg=None)


class Rain(Degradation):
    """Rain by the physical model, `RainParams.from_severity` and `add_rain`, at a severity of the context's range."""

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        focal = context.focal or float(np.exp(rng.uniform(np.log(350), np.log(1800))))
        params = RainParams.from_severity(float(rng.uniform(*context.severity)), rng, focal=focal)
        if not context.camera:
            params = without_camera(params)
        rainy = add_rain(clean, params, rng)[0].astype(np.float32)
        return recompressed(rainy, rng, context), clean

    def frames(self, clean: Floats, rng: np.random.Generator, context: Context) -> Floats:
        """See `Degradation`."""
        focal = context.focal or float(np.exp(rng.uniform(np.log(350), np.log(1800))))
        return falling(clean, RainParams.from_severity(float(rng.uniform(*context.severity)), rng, focal=focal), rng)
