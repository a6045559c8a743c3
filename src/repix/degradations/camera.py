"""What air and camera do to an image: light added and cut off at white, mist, sensor noise, JPEG."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from repix._types import Floats
from repix.degradations import Context
from repix.io.image import resize, through_jpeg


def blend_rain(image: Floats, layer: Floats, blending: Literal["screen", "add"]) -> Floats:
    """Lay a rain layer over an image; the result is clipped to [0, 1].

    Args:
        image: (H, W, 3) float32 in [0, 1].
        layer: (H, W) or (H, W, 3), radiance added by the drops.
        blending: `add` is I + S, `screen` is 1 - (1 - I)(1 - S).
    """
    if layer.ndim == 2:
        layer = layer[..., None]
    if blending == "screen":
        layer = np.minimum(layer, 1) * (1 - image)
    return np.asarray(np.clip(image + layer, 0, 1), np.float32)


def add_mist(image: Floats, amount: float, rng: np.random.Generator) -> Floats:
    """Veil an image with unresolved far drops: I·(1 - m) + A·m, m growing towards the horizon at random.

    Koschmieder's law with an airlight A of the scene's own brightness (Narasimhan & Nayar 2002, eq. 1).
    """
    if amount <= 0:
        return image
    height = image.shape[0]
    airlight = np.clip(image.mean((0, 1)) * 0.4 + 0.45 + rng.uniform(-0.05, 0.1), 0, 1).astype(np.float32)
    slope = rng.uniform(-0.3, 0.6)
    veil = amount * (1 + slope * (0.5 - np.arange(height, dtype=np.float32) / max(height, 1)))
    veil = np.clip(veil, 0, 0.95).astype(np.float32)[:, None, None]
    return np.asarray(image * (1 - veil) + airlight * veil, np.float32)


def add_noise(image: Floats, sigma: float, rng: np.random.Generator) -> Floats:
    """Sensor noise: variance growing with the signal from a read-noise floor (Foi et al. 2008, eq. 3)."""
    if sigma <= 0:
        return image
    deviation = sigma * np.sqrt(0.3 + 0.7 * image)
    noisy = image + deviation * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(noisy, 0, 1), np.float32)


def compress_jpeg(image: Floats, quality: int) -> Floats:
    """(H, W, 3) float32 in [0, 1] through a JPEG file of that quality and back."""
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.asarray(through_jpeg(levels, quality), np.float32) / np.float32(255)


def recompressed(degraded: Floats, rng: np.random.Generator, context: Context) -> Floats:
    """One degraded image in ten through a JPEG file of quality 80 to 97; none where `context.camera` has its own."""
    if not context.camera and rng.random() < 0.1:
        return compress_jpeg(degraded, int(rng.integers(80, 98)))
    return degraded


def vary_exposure(image: Floats, rng: np.random.Generator) -> Floats:
    """What light, air and camera change in degraded and clean images alike: brightness, mist, noise, compression.

    Args:
        image: (H, W, 3) float32 in [0, 1].
        rng: source of all randomness.

    Returns:
        The same shape and range, contiguous.
    """
    if rng.random() < 0.3:  # darker and lighter scenes: rain at dusk, at noon
        image = np.asarray(image ** rng.uniform(0.6, 1.6) * rng.uniform(0.6, 1.0), np.float32)
    elif rng.random() < 0.15:  # nearly white: snow, planks, a window pane
        image = np.asarray(1 - (1 - image) * rng.uniform(0.08, 0.6), np.float32)
    if rng.random() < 0.15:
        image = add_mist(image, float(rng.uniform(0, 0.5)), rng)
    if rng.random() < 0.2:
        image = add_noise(image, float(rng.uniform(0, 0.02)), rng)
    if rng.random() < 0.1:
        image = compress_jpeg(image, int(rng.integers(70, 96)))
    return np.ascontiguousarray(image, np.float32)


def as_cameras_do(
    degraded: Floats, clean: Floats, rng: np.random.Generator, *, untouched: bool
) -> tuple[Floats, Floats]:
    """Both images as another camera or a user would have made them: tone, grey, blur, sharpening, size, orientation.

    Noise and JPEG then spoil the degraded image alone, unless there is nothing to take away from it: a clean image
    must come back with the grain and the blocks that it has.

    Args:
        degraded, clean: (H, W, 3) float32 in [0, 1].
        rng: source of all randomness.
        untouched: the two are the same image.

    Returns:
        Both, changed alike but for noise and JPEG; their sides exchanged where they were turned and H = W.
    """
    both = np.stack([degraded, clean])
    if rng.random() < 0.34:
        both = np.maximum(both, 1e-4) ** np.float32(np.exp(rng.uniform(np.log(0.5), np.log(2.2))))
    if rng.random() < 0.2:
        both = both * np.float32(rng.uniform(0.3, 1))
    if rng.random() < 0.08:
        both = np.repeat(both @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=3)
    if rng.random() < 0.16:
        both = _blurred(both, float(rng.uniform(0.4, 1.8)))
    if rng.random() < 0.2:
        both = both + np.float32(rng.uniform(0.3, 1.8)) * (both - _blurred(both, float(rng.uniform(0.6, 2.2))))
    if rng.random() < 0.1:
        both = _smaller_and_back(np.clip(both, 0, 1), float(rng.uniform(0.5, 0.85)))
    both = np.clip(both, 0, 1)
    lq, gt = np.asarray(both[0], np.float32), np.asarray(both[1], np.float32)
    if rng.random() < 0.22:
        sigma = float(np.exp(rng.uniform(np.log(2), np.log(17)))) / 255
        noise = np.float32(sigma) * rng.standard_normal(lq.shape, np.float32)
        lq, gt = np.clip(lq + noise, 0, 1), np.clip(gt + noise, 0, 1) if untouched else gt
    if rng.random() < 0.4:
        quality = int(rng.integers(42, 97))
        lq, gt = compress_jpeg(lq, quality), compress_jpeg(gt, quality) if untouched else gt
    if rng.random() < 0.28 and lq.shape[0] == lq.shape[1]:
        lq, gt = lq.transpose(1, 0, 2), gt.transpose(1, 0, 2)
    return np.ascontiguousarray(lq), np.ascontiguousarray(gt)


def _blurred(images: Floats, sigma: float) -> Floats:
    return np.asarray(gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest"), np.float32)


def _smaller_and_back(images: Floats, factor: float) -> Floats:
    """(N, H, W, 3) reduced to a share of its sides and enlarged again, cubic."""
    height, width = images.shape[1:3]
    small = (max(1, round(height * factor)), max(1, round(width * factor)))
    back = [resize(resize(np.ascontiguousarray(image), small), (height, width)) for image in images]
    return np.asarray(np.stack(back), np.float32)
