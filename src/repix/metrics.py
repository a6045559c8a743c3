"""Metrics that compare images with their ground truth; the protocol is in the name.

`_y` measures MATLAB's luma (`rgb2ycbcr`: ITU-R BT.601, 16..235) in double precision, as the deraining papers do;
limited range alone gives +1.32 dB over full-range luma. `_rgb` measures the three channels together.

`METRICS` describes them all. Adding one is a function (or a class, for a metric of a whole set), a line there and a row
in `tests/contract/test_every_metric.py`. `PROTOCOLS` are the ways to prepare images before any of them measures.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from repix._types import require
from repix.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from repix.features import Lpips

Image = np.ndarray[Any, np.dtype[Any]]
Labels = np.ndarray[Any, np.dtype[np.uint8]]

# MATLAB's rgb2ycbcr for doubles in [0, 1], in units of 1/255 (ITU-R BT.601, eq. in rgb2ycbcr's reference).
_LUMA = np.array([65.481, 128.553, 24.966])
_LUMA_OFFSET = 16.0
_SSIM_WINDOW = 11
_UNIFORM_WINDOW = 7
_LPIPS_SIDE = 31
_VGG_SIDE = 16


def psnr_y(pred: Image, gt: Image) -> float:
    """Peak signal-to-noise ratio of the luma in dB, peak 255; inf where both are equal.

    Args:
        pred: (H, W, 3) RGB, uint8, uint16 or float in [0, 1].
        gt: the ground truth, of the same shape; its type may be another.

    Raises:
        InputError: shapes differ or are not (H, W, 3).
    """
    return _psnr(*(_luma(image) for image in _checked(pred, gt)))


def psnr_rgb(pred: Image, gt: Image) -> float:
    """As `psnr_y`, over the squared error of all three channels."""
    return _psnr(*_checked(pred, gt))


def ssim_y(pred: Image, gt: Image) -> float:
    """Structural similarity of the luma (Wang et al. 2004, eq. 13): Gaussian 11×11, σ 1.5, K 0.01 and 0.03,
    averaged over the windows that lie inside the image, as in the authors' MATLAB code.

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
    covariance. No paper measures it; the protocol `resize128` does.

    Takes what `psnr_y` takes.

    Raises:
        InputError: also where a side is shorter than 7 pixels.
    """
    measure = _skimage("structural_similarity")
    pred, gt = _checked(pred, gt)
    if min(pred.shape[:2]) < _UNIFORM_WINDOW:
        raise InputError(f"got images of {pred.shape[1]}x{pred.shape[0]}, expected at least 7x7 for this SSIM")
    return float(measure(gt, pred, data_range=255.0, channel_axis=2))


def l1_pm1(pred: Image, gt: Image) -> float:
    """Mean absolute difference over pixels and channels, with images on [-1, 1] (plus or minus 1) as pix2pix has
    them inside: twice the difference on [0, 1].

    Takes what `psnr_y` takes.
    """
    pred, gt = _checked(pred, gt)
    return float(np.abs(pred - gt).mean()) / 127.5


def label_accuracy(pred: Labels, gt: Labels, *, void: int | None = None) -> float:
    """Share of the pixels whose label is right; nan where no pixel counts.

    Args:
        pred: labels, (H, W).
        gt: the true labels, of the same shape.
        void: pixels whose true label is this do not count.

    Raises:
        InputError: shapes differ.
    """
    counts = _counting(pred, gt, void)
    return float((pred == gt)[counts].mean()) if counts.any() else float("nan")


def lpips(pred: Image, gt: Image, *, weights: str | os.PathLike[str] | None = None) -> float:
    """Learned perceptual distance with AlexNet, version 0.1 (Zhang et al. 2018); lower is more alike.

    Takes what `psnr_y` takes, and needs torch.

    Args:
        pred: as `psnr_y`.
        gt: as `psnr_y`.
        weights: AlexNet's file or a folder, as in `repix.features.Lpips`.

    Raises:
        InputError: as `psnr_y`, also where a side is shorter than 31 pixels, which AlexNet cannot take.
        WeightsError: no weights.
    """
    require("train", "torch")
    import torch

    pair = [torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 for image in _checked(pred, gt)]
    if min(pred.shape[:2]) < _LPIPS_SIDE:
        raise InputError(f"got images of {pred.shape[1]}x{pred.shape[0]}, expected at least 31x31 for LPIPS")
    with torch.inference_mode():
        return float(_lpips_network(None if weights is None else os.fspath(weights))(*pair))


@lru_cache(maxsize=1)
def _lpips_network(weights: str | None) -> Lpips:
    from repix.features import Lpips

    return Lpips(backbone=weights)


class SetMetric(Protocol):
    """A metric of a whole set of images that is no mean over images."""

    def add(self, pred: Image, gt: Image) -> None:
        """Take one more image and its ground truth."""

    def values(self) -> Mapping[str, float]:
        """Metric name -> value over all images so far."""


class MeanIoU:
    """`mean_iou_pooled`: intersection over union of each class, of the pixels of all images together, averaged over
    the classes that are in the ground truth or in an estimate at all, as Cityscapes' benchmark has it (Cordts et al.
    2016, section 4). A class that was only imagined, or only missed, counts 0.

    Args:
        classes: how many labels there are, from 0.
        void: pixels whose true label is this do not count, and it is no class.
    """

    def __init__(self, classes: int, *, void: int | None = None) -> None:
        self._measure = _torchmetrics("classification").MulticlassJaccardIndex(classes, ignore_index=void)

    def add(self, pred: Labels, gt: Labels) -> None:
        """Two of (H, W), labels.

        Raises:
            InputError: shapes differ.
        """
        import torch

        _counting(pred, gt, None)
        self._measure.update(*(torch.from_numpy(labels.astype(np.int64)) for labels in (pred, gt)))

    def values(self) -> Mapping[str, float]:
        """One value; nan where no pixel counts."""
        return {"mean_iou_pooled": float(self._measure.compute())}


class KernelDistance:
    """`kid_vgg16`: how far the set of estimates is from the set of ground truths, where no single answer is right; and
    `kid_vgg16_std`, its standard deviation over the subsets.

    The kernel distance (KID, Bińkowski et al. 2018, section 4: unbiased squared MMD with the kernel (xᵀy/d + 1)³, mean
    over 100 random subsets of 50 images, or of all where there are fewer) of VGG16's last convolution (relu5_3, d =
    512) averaged over the image. Comparable with itself only: papers use Inception's features.

    Args:
        weights: VGG16's state dict, as in `repix.features.FeatureStack`.

    Raises:
        WeightsError: no weights.
    """

    SUBSETS = 100
    SUBSET = 50

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        self._measure = _torchmetrics("image.kid").KernelInceptionDistance
        self._features = _vgg16(None if weights is None else os.fspath(weights))
        self._found: tuple[list[Tensor], list[Tensor]] = ([], [])

    def add(self, pred: Image, gt: Image) -> None:
        """As `psnr_y`.

        Raises:
            InputError: as `psnr_y`, also where a side is shorter than 16 pixels.
        """
        _checked(pred, gt)
        if min(pred.shape[:2]) < _VGG_SIDE:
            raise InputError(f"got images of {pred.shape[1]}x{pred.shape[0]}, expected at least 16x16 for VGG16")
        self._found[0].append(self._features(pred))
        self._found[1].append(self._features.of_ground_truth(gt))

    def values(self) -> Mapping[str, float]:
        """Two values; nan with fewer than two images."""
        import torch

        count = len(self._found[0])
        if count < 2:
            return {"kid_vgg16": float("nan"), "kid_vgg16_std": float("nan")}
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
            measure = self._measure(torch.nn.Identity(), self.SUBSETS, min(self.SUBSET, count))
            for features, real in zip(self._found, (False, True), strict=True):
                measure.update(torch.cat(features), real=real)
            torch.manual_seed(0)  # which subsets are drawn
            mean, deviation = measure.compute()
        return {"kid_vgg16": float(mean), "kid_vgg16_std": float(deviation)}


@dataclass(frozen=True)
class Metric:
    """What there is to know about one metric.

    Attributes:
        name: key of `METRICS`, and column of a table; it carries the protocol.
        measure: per image a function (pred, gt) -> value, per set a maker of a `SetMetric` that has a value of this
            name. What it `needs` comes as keywords.
        protocol: how it measures, in sentences for below a table.
        unit: `dB`, or empty for a plain number.
        higher_is_better: whether larger values mean estimates nearer to the ground truth.
        per: whether a single image has a value, or only a set.
        on: what pred and gt are: images, or label maps (H, W) uint8 read from images by a palette.
        needs: keywords of `measure`: `classes` and `void` of the palette, `weights` of a classifier.
    """

    name: str
    measure: Callable[..., Any]
    protocol: tuple[str, ...]
    unit: Literal["dB", ""] = ""
    higher_is_better: bool = True
    per: Literal["image", "set"] = "image"
    on: Literal["images", "labels"] = "images"
    needs: tuple[Literal["classes", "void", "weights"], ...] = ()


_Y = "Y is MATLAB's luma (16..235) in double precision."
_RGB = "RGB metrics take the three channels together."
_GAUSSIAN = "SSIM has a Gaussian window 11x11, sigma 1.5, inside the image."
_UNIFORM = "SSIM 7x7 has a uniform window and the sample's covariance."
_LABELS = "Labels: each pixel's nearest colour of the palette."
_KID = (
    f"KID: unbiased squared MMD of pooled VGG16 relu5_3 features, cubic kernel, mean and deviation of "
    f"{KernelDistance.SUBSETS} subsets of {KernelDistance.SUBSET} images."
)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr_y", psnr_y, (_Y,), unit="dB"),
        Metric("ssim_y", ssim_y, (_Y, _GAUSSIAN)),
        Metric("psnr_rgb", psnr_rgb, (_RGB,), unit="dB"),
        Metric("ssim_rgb", ssim_rgb, (_RGB, _GAUSSIAN)),
        Metric("ssim_rgb_7x7", ssim_rgb_7x7, (_RGB, _UNIFORM)),
        Metric("l1_pm1", l1_pm1, ("L1 is of images on [-1, 1].",), higher_is_better=False),
        Metric("lpips", lpips, ("LPIPS is version 0.1 with AlexNet.",), higher_is_better=False, needs=("weights",)),
        Metric(
            "label_accuracy",
            label_accuracy,
            (_LABELS, "Accuracy is a share of pixels."),
            on="labels",
            needs=("void",),
        ),
        Metric(
            "mean_iou_pooled",
            MeanIoU,
            (_LABELS, "Mean IoU is of the pixels of all images together, over classes that occur."),
            per="set",
            on="labels",
            needs=("classes", "void"),
        ),
        Metric("kid_vgg16", KernelDistance, (_KID,), higher_is_better=False, per="set", needs=("weights",)),
        Metric("kid_vgg16_std", KernelDistance, (_KID,), higher_is_better=False, per="set", needs=("weights",)),
    )
}


def find_metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        InputError: there is none; the message names the nearest, and says why `psnr` alone is none.
    """
    if name in METRICS:
        return METRICS[name]
    kinds = [known for known in METRICS if known.startswith(f"{name}_")]
    hint = did_you_mean(name, METRICS)
    if kinds:
        hint = (
            f"; did you mean {kinds[0]!r}? A name says how it is measured, as {' and '.join(kinds[:2])} do not compare"
        )
    raise InputError(f"unknown metric {name!r}{hint} (known: {', '.join(METRICS)})")


@dataclass(frozen=True)
class EvalProtocol:
    """What is done to images before they are measured.

    Attributes:
        note: the same in words.
        rounding: how an estimate comes to the ground truth's bit depth, as `Restorer.__call__` has it.
        side: images are squeezed to side×side pixels before the network sees them; None leaves their size.
        metrics: what is measured by default, instead of the task's metrics; empty for those.
    """

    note: str
    rounding: Literal["nearest", "down"] = "nearest"
    side: int | None = None
    metrics: tuple[str, ...] = ()


PROTOCOLS: Mapping[str, EvalProtocol] = {
    "default": EvalProtocol("estimates rounded to the ground truth's bit depth"),
    "paper": EvalProtocol(
        "estimates truncated to the ground truth's bit depth, as the scripts of PReNet and JORDER save them",
        rounding="down",
    ),
    "resize128": EvalProtocol(
        "images squeezed to 128x128 before the network sees them",
        side=128,
        metrics=("psnr_rgb", "ssim_rgb_7x7", "lpips"),
    ),
}


def find_protocol(name: str) -> EvalProtocol:
    """The protocol of a name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}{did_you_mean(name, PROTOCOLS)} (known: {', '.join(PROTOCOLS)})")
    return PROTOCOLS[name]


class _Vgg16:
    """Pooled features of an image; those of the last ground truth are kept for all models."""

    def __init__(self, weights: str | None) -> None:
        from repix.features import FeatureStack

        self._stack = FeatureStack("vgg16", layers=[29], weights=weights)  # relu5_3
        self._last: tuple[Image, Tensor] | None = None

    def __call__(self, image: Image) -> Tensor:
        import torch

        x = torch.from_numpy(_double(image)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            features: Tensor = self._stack(x)[0].mean((2, 3))
        return features

    def of_ground_truth(self, image: Image) -> Tensor:
        if self._last is None or self._last[0] is not image:
            self._last = (image, self(image))
        return self._last[1]


@lru_cache(maxsize=1)
def _vgg16(weights: str | None) -> _Vgg16:
    require("train", "torch")
    return _Vgg16(weights)


def _torchmetrics(module: str) -> Any:
    import importlib

    require("train", "torchmetrics")
    return importlib.import_module(f"torchmetrics.{module}")


def _counting(pred: Labels, gt: Labels, void: int | None) -> Image:
    if pred.shape != gt.shape or pred.ndim != 2:
        raise InputError(f"got labels of shapes {pred.shape} and {gt.shape}, expected (H, W) twice the same")
    counts: Image = gt != void if void is not None else np.ones(gt.shape, bool)
    return counts


def _checked(pred: Image, gt: Image) -> tuple[Image, Image]:
    if pred.shape != gt.shape or pred.ndim != 3 or pred.shape[2] != 3:
        raise InputError(f"got images of shapes {pred.shape} and {gt.shape}, expected (H, W, 3) twice the same")
    return _double(pred), _double(gt)


def _double(image: Image) -> Image:
    """float64 in [0, 255]."""
    if image.dtype.kind == "f":
        return image.astype(np.float64) * 255.0
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float64) * (255.0 / np.iinfo(image.dtype).max)
    raise InputError(f"got an image of {image.dtype}, expected uint8, uint16 or float in [0, 1]")


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
        raise InputError(f"got images of {pred.shape[1]}x{pred.shape[0]}, expected at least 11x11 for SSIM")
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
    require("train", "skimage")
    import skimage.metrics

    measure: Callable[..., float] = getattr(skimage.metrics, name)
    return measure
