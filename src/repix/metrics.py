"""Full-reference quality figures; the protocol is in the name.

`_y` measures MATLAB's luma (`rgb2ycbcr`: ITU-R BT.601, 16..235) in double precision, as the deraining papers do;
limited range alone is worth +1.32 dB over full-range luma. `_rgb` measures the three channels together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from repix.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from repix.features import Lpips

Image = np.ndarray[Any, np.dtype[Any]]

# MATLAB's rgb2ycbcr for doubles in [0, 1], in units of 1/255 (ITU-R BT.601, eq. in rgb2ycbcr's reference).
_LUMA = np.array([65.481, 128.553, 24.966])
_LUMA_OFFSET = 16.0
_SSIM_WINDOW = 11
_UNIFORM_WINDOW = 7
_LPIPS_SIDE = 31


def psnr_y(pred: Image, gt: Image) -> float:
    """Peak signal-to-noise ratio of the luma in dB, peak 255; inf where both are equal.

    Args:
        pred: (H, W, 3) RGB, uint8, uint16 or float in [0, 1].
        gt: the truth, of the same shape; its type may be another.

    Raises:
        InputError: shapes differ or are not (H, W, 3).
    """
    return _psnr(*(_luma(image) for image in _checked(pred, gt)))


def psnr_rgb(pred: Image, gt: Image) -> float:
    """As `psnr_y`, over the squared error of all three channels."""
    return _psnr(*_checked(pred, gt))


def ssim_y(pred: Image, gt: Image) -> float:
    """Structural similarity of the luma (Wang et al. 2004, eq. 13): Gaussian 11×11, σ 1.5, K 0.01 and 0.03,
    averaged over the windows that lie inside the picture, as in the authors' MATLAB code.

    Takes what `psnr_y` takes.

    Raises:
        InputError: also where a side is shorter than 11 pixels.
    """
    return _ssim(*(_luma(image) for image in _checked(pred, gt)))


def ssim_rgb(pred: Image, gt: Image) -> float:
    """As `ssim_y`, averaged over the three channels."""
    return _ssim(*_checked(pred, gt))


def ssim_rgb_7x7(pred: Image, gt: Image) -> float:
    """Structural similarity averaged over the three channels, with scikit-image's defaults: uniform window 7×7, sample
    covariance. What the course measured; no paper does.

    Takes what `psnr_y` takes.

    Raises:
        InputError: also where a side is shorter than 7 pixels.
    """
    measure = _skimage("structural_similarity")
    pred, gt = _checked(pred, gt)
    if min(pred.shape[:2]) < _UNIFORM_WINDOW:
        raise InputError(f"got pictures of {pred.shape[1]}x{pred.shape[0]}, expected at least 7x7 for this SSIM")
    return float(measure(gt, pred, data_range=255.0, channel_axis=2))


def lpips(pred: Image, gt: Image) -> float:
    """Learned perceptual distance with AlexNet, version 0.1 (Zhang et al. 2018); lower is more alike.

    Takes what `psnr_y` takes, and needs torch. Its weights come from the torch hub's cache or are downloaded; for
    files elsewhere see `repix.features.Lpips`.

    Raises:
        InputError: as `psnr_y`, also where a side is shorter than 31 pixels, which AlexNet cannot take.
        WeightsError: no weights.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtraError("train", "torch") from None
    pair = [torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 for image in _checked(pred, gt)]
    if min(pred.shape[:2]) < _LPIPS_SIDE:
        raise InputError(f"got pictures of {pred.shape[1]}x{pred.shape[0]}, expected at least 31x31 for LPIPS")
    with torch.inference_mode():
        return float(_lpips_network()(*pair))


@lru_cache(maxsize=1)
def _lpips_network() -> Lpips:
    from repix.features import Lpips

    return Lpips()


Metric = Callable[[Image, Image], float]

METRICS: Mapping[str, Metric] = {
    "psnr_y": psnr_y,
    "ssim_y": ssim_y,
    "psnr_rgb": psnr_rgb,
    "ssim_rgb": ssim_rgb,
    "ssim_rgb_7x7": ssim_rgb_7x7,
    "lpips": lpips,
}
COURSE_METRICS = ("psnr_rgb", "ssim_rgb_7x7", "lpips")
DEFAULT_METRICS = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")


def _checked(pred: Image, gt: Image) -> tuple[Image, Image]:
    if pred.shape != gt.shape or pred.ndim != 3 or pred.shape[2] != 3:
        raise InputError(f"got pictures of shapes {pred.shape} and {gt.shape}, expected (H, W, 3) twice the same")
    return _double(pred), _double(gt)


def _double(image: Image) -> Image:
    """float64 in [0, 255]."""
    if image.dtype.kind == "f":
        return image.astype(np.float64) * 255.0
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float64) * (255.0 / np.iinfo(image.dtype).max)
    raise InputError(f"got a picture of {image.dtype}, expected uint8, uint16 or float in [0, 1]")


def _luma(image: Image) -> Image:
    luma: Image = image @ (_LUMA / 255.0) + _LUMA_OFFSET
    return luma


def _psnr(pred: Image, gt: Image) -> float:
    measure = _skimage("peak_signal_noise_ratio")
    if np.array_equal(pred, gt):
        return float("inf")
    return float(measure(gt, pred, data_range=255.0))


def _ssim(pred: Image, gt: Image) -> float:
    measure = _skimage("structural_similarity")
    if min(pred.shape[:2]) < _SSIM_WINDOW:
        raise InputError(f"got pictures of {pred.shape[1]}x{pred.shape[0]}, expected at least 11x11 for SSIM")
    # With Gaussian weights scikit-image truncates at 3.5σ, which is the 11×11 window, and averages the valid region.
    return float(
        measure(
            gt,
            pred,
            data_range=255.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2 if pred.ndim == 3 else None,
        )
    )


def _skimage(name: str) -> Callable[..., float]:
    try:
        import skimage.metrics
    except ModuleNotFoundError:
        raise MissingExtraError("train", "scikit-image") from None
    measure: Callable[..., float] = getattr(skimage.metrics, name)
    return measure
