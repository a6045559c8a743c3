"""What every metric promises: a value of the stated kind, at its best where nothing is wrong, worse where more is.

A new metric is a function, a line in `METRICS` and a row here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from data_sets import DATA
from repix import features, metrics
from repix.metrics import METRICS, PROTOCOLS, find_metric, find_protocol
from repix.tasks import TASKS

BACKBONES = DATA / "backbones"
COUNT = 12
CLASSES = 4

# value of a perfect estimate, and whether more noise must make it worse
ROWS: dict[str, tuple[float | None, bool]] = {
    "psnr_y": (math.inf, True),
    "ssim_y": (1.0, True),
    "psnr_rgb": (math.inf, True),
    "ssim_rgb": (1.0, True),
    "ssim_rgb_7x7": (1.0, True),
    "l1_pm1": (0.0, True),
    "lpips": (0.0, True),
    "label_accuracy": (1.0, True),
    "mean_iou_pooled": (1.0, True),
    "kid_vgg16": (None, True),  # unbiased: about 0, and below it for equal sets
    "kid_vgg16_std": (None, False),  # how far kid_vgg16 can be trusted, not how good an estimate is
}


def test_every_metric_has_a_row() -> None:
    assert set(ROWS) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_the_descriptor_says_enough(name: str) -> None:
    metric = METRICS[name]
    assert find_metric(name) is metric
    assert metric.name == name
    assert metric.measure.__doc__
    assert (metric.unit == "dB") == name.startswith("psnr")
    assert metric.protocol
    assert all(text.endswith(".") and "\n" not in text for text in metric.protocol)


def test_defaults_are_metrics() -> None:
    for names in (*(task.metrics for task in TASKS.values()), *(one.metrics for one in PROTOCOLS.values())):
        assert set(names) <= set(METRICS)
    for name, protocol in PROTOCOLS.items():
        assert find_protocol(name) is protocol
        assert protocol.note


class Means:
    """Stands for VGG16: the means of quarters of an image."""

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        quarters = image.reshape(2, image.shape[0] // 2, 2, image.shape[1] // 2, 3).mean((1, 3))
        return torch.from_numpy(quarters.reshape(1, -1) / 255).float()

    of_ground_truth = __call__


@pytest.fixture
def backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_vgg16", lambda weights: Means())
    if BACKBONES.is_dir():
        lpips = features.Lpips(backbone=BACKBONES / "alexnet_features.pth", head=BACKBONES / "lpips_alex.pth")
        monkeypatch.setattr(metrics, "_lpips_network", lambda weights: lpips)


def value_of(name: str, change: Callable[[Any], Any]) -> float:
    """Of a dozen images or label maps, and of what `change` makes of each; the mean where each has a value."""
    metric = METRICS[name]
    rng = np.random.default_rng(2)
    if metric.on == "labels":
        gts = [rng.integers(0, CLASSES, (20, 24), dtype=np.uint8) for _ in range(COUNT)]
    else:
        gts = [rng.integers(60, 190, (32, 36, 3), dtype=np.uint8) for _ in range(COUNT)]
    known = {"classes": CLASSES, "void": None, "weights": None}
    given = {key: known[key] for key in metric.needs}
    if metric.per == "image":
        return float(np.mean([metric.measure(change(gt), gt, **given) for gt in gts]))
    whole = metric.measure(**given)
    for gt in gts:
        whole.add(change(gt), gt)
    return float(whole.values()[name])


def noise(share: float) -> Callable[[Any], Any]:
    """Replaces a share of the pixels: of images by white, of labels by the first."""

    def change(gt: Any) -> Any:
        hit = np.random.default_rng(5).random(gt.shape[:2]) < share
        changed = gt.copy()
        changed[hit] = 255 if gt.ndim == 3 else 0
        return changed

    return change


@pytest.mark.usefixtures("backbones")
@pytest.mark.parametrize("name", METRICS)
def test_direction_and_perfect_value(name: str) -> None:
    if name == "lpips" and not BACKBONES.is_dir():
        pytest.skip("no backbones in REPIX_DATA")
    perfect, follows = ROWS[name]
    little, much = value_of(name, noise(0.05)), value_of(name, noise(0.4))
    assert math.isfinite(little)
    if perfect is not None:
        assert value_of(name, lambda gt: gt) == pytest.approx(perfect)
        assert little != pytest.approx(perfect)
    if follows:
        assert (little > much) == METRICS[name].higher_is_better
        assert little != much
