"""Translation's metrics against plain loops over their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from data_sets import DATA, needs
from repix import metrics
from repix.errors import InputError, WeightsError
from repix.metrics import KernelDistance, MeanIoU, l1_pm1, label_accuracy

VGG16 = DATA / "backbones" / "vgg16_features_fp16.pth"
RNG = np.random.default_rng(11)


def labels(*shape: int, classes: int = 5) -> np.ndarray:
    return RNG.integers(0, classes, shape).astype(np.uint8)


def test_l1_is_torchs_on_images_from_minus_1_to_1() -> None:
    """As torch.nn.L1Loss on images that were scaled to [-1, 1]."""
    pred, gt = RNG.integers(0, 256, (2, 9, 7, 3)).astype(np.uint8)
    scaled = [torch.from_numpy(image / 255).permute(2, 0, 1) * 2 - 1 for image in (pred, gt)]
    assert l1_pm1(pred, gt) == pytest.approx(float(torch.nn.L1Loss()(*scaled)), abs=1e-9)
    assert l1_pm1(np.zeros_like(gt), np.full_like(gt, 255)) == pytest.approx(2.0)
    assert l1_pm1(pred.astype(np.uint16) * 257, gt) == pytest.approx(l1_pm1(pred, gt))
    with pytest.raises(InputError, match="shapes"):
        l1_pm1(pred, gt[1:])


def test_label_accuracy_leaves_void_out() -> None:
    gt = np.array([[0, 1, 2], [3, 3, 3]], np.uint8)
    pred = np.array([[0, 1, 1], [3, 0, 1]], np.uint8)
    assert label_accuracy(pred, gt) == 3 / 6
    assert label_accuracy(pred, gt, void=3) == 2 / 3
    assert math.isnan(label_accuracy(pred[1:], gt[1:], void=3))
    with pytest.raises(InputError, match=r"labels of shapes \(2, 3\) and \(1, 3\)"):
        label_accuracy(pred, gt[1:])


@pytest.mark.parametrize("void", [None, 4, 0])
def test_mean_iou_is_of_all_images_together(void: int | None) -> None:
    """Six classes of which one is nowhere; one image more than half void."""
    images = [
        (labels(7, 9), labels(7, 9)),
        (labels(4, 3), labels(4, 3)),
        (labels(5, 5), np.full((5, 5), 4, np.uint8)),
    ]
    measure = MeanIoU(6, void=void)
    for pred, gt in images:
        measure.add(pred, gt)
    shares = []
    for label in range(6):
        both = either = 0
        for pred, gt in images:
            for a, b in zip(pred.flat, gt.flat, strict=True):
                if b != void:
                    both += int(a == b == label)
                    either += int(label in (a, b))
        if either and label != void:
            shares.append(both / either)
    assert len(shares) == (5 if void is None else 4)
    assert measure.values() == {"mean_iou_pooled": pytest.approx(np.mean(shares), abs=1e-6)}


def test_mean_iou_of_perfect_and_void_images() -> None:
    perfect, nothing = MeanIoU(3), MeanIoU(3, void=2)
    perfect.add(np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8))
    assert perfect.values()["mean_iou_pooled"] == 1
    nothing.add(np.ones((2, 2), np.uint8), np.full((2, 2), 2, np.uint8))
    assert math.isnan(nothing.values()["mean_iou_pooled"])
    with pytest.raises(InputError, match="shapes"):
        perfect.add(np.ones((2, 2), np.uint8), np.ones((2, 3), np.uint8))


def squared_mmd(xs: np.ndarray, ys: np.ndarray) -> float:
    """Bińkowski et al. 2018, eq. 4, term by term."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    m, n = len(xs), len(ys)
    within = sum(kernel(xs[i], xs[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    others = sum(kernel(ys[i], ys[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    across = sum(kernel(x, y) for x in xs for y in ys) / (m * n)
    return within + others - 2 * across


class Means:
    """Takes the means of the channels for features."""

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image.mean((0, 1), keepdims=True)[0] / 255).float()

    of_ground_truth = __call__


def test_kernel_distance_against_its_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_vgg16", lambda weights: Means())
    preds, gts = RNG.integers(0, 256, (2, 12, 16, 16, 3)).astype(np.uint8)
    preds //= 2
    measure, again = KernelDistance(), KernelDistance()
    assert math.isnan(measure.values()["kid_vgg16"])
    for pred, gt in zip(preds, gts, strict=True):
        measure.add(pred, gt)
        again.add(pred, gt)
    expected = squared_mmd(*(np.stack([one.mean((0, 1)) / 255 for one in many]) for many in (preds, gts)))
    before = torch.random.get_rng_state()
    assert measure.values() == again.values()
    assert torch.equal(torch.random.get_rng_state(), before)  # nobody else's random numbers change
    # a dozen images are fewer than a subset, so each subset is the whole
    assert measure.values()["kid_vgg16"] == pytest.approx(expected, rel=1e-4)
    assert measure.values()["kid_vgg16_std"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="at least 16x16"):
        measure.add(preds[0, :15], gts[0, :15])


def test_kernel_distance_is_near_0_within_a_crowd_and_large_between_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near 0 between halves of one crowd, and far more between two."""
    monkeypatch.setattr(metrics, "_vgg16", lambda weights: Means())
    same, other = KernelDistance(), KernelDistance()
    for _ in range(120):
        one, two = (np.full((16, 16, 3), RNG.integers(0, 256, 3), np.uint8) for _ in range(2))
        same.add(one, two)
        other.add(one // 3, two)
    near, far = same.values(), other.values()
    assert abs(near["kid_vgg16"]) < 3 * near["kid_vgg16_std"]
    assert near["kid_vgg16_std"] > 0
    assert far["kid_vgg16"] > 10 * abs(near["kid_vgg16"])


def test_kernel_distance_is_of_100_subsets_of_50(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bińkowski et al.'s counts, and no others: a loop over the same subsets gives the same mean and deviation."""
    monkeypatch.setattr(metrics, "_vgg16", lambda weights: Means())
    measure = KernelDistance()
    colours = np.random.default_rng(1).integers(0, 256, (2, 60, 3)).astype(np.uint8)
    for pred, gt in zip(*colours, strict=True):
        measure.add(*(np.broadcast_to(one, (16, 16, 3)) for one in (pred, gt)))
    fake, real = colours / 255
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(100):
            ours, theirs = (torch.randperm(60)[:50].numpy() for _ in range(2))
            found.append(squared_mmd(fake[theirs], real[ours]))
    assert measure.values() == {
        "kid_vgg16": pytest.approx(np.mean(found), rel=1e-3),
        "kid_vgg16_std": pytest.approx(np.std(found), rel=1e-3),
    }


@needs("backbones", VGG16.name)
def test_features_are_vggs(monkeypatch: pytest.MonkeyPatch) -> None:
    """relu5_3, pooled: 512 numbers, none below 0, and the ground truth's are taken once for all models."""
    network = metrics._Vgg16(str(VGG16))
    image = RNG.integers(0, 256, (32, 40, 3)).astype(np.uint8)
    found = network.of_ground_truth(image)
    assert found.shape == (1, 512)
    assert found.min() >= 0
    assert found.std() > 0
    assert network.of_ground_truth(image) is found
    torch.testing.assert_close(network(image.astype(np.uint16) * 257), found)
    with pytest.raises(WeightsError):
        KernelDistance(VGG16.with_name("alexnet_features.pth"))
