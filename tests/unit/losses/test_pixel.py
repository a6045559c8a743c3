"""Values that can be had otherwise; what every loss has in common is in tests/contract/test_losses.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from repix.errors import RecipeError
from repix.losses import create_loss
from repix.metrics import ssim_rgb
from repix.models import Prediction

GENERATOR = torch.Generator().manual_seed(4)
GT = torch.rand(1, 3, 24, 30, generator=GENERATOR, dtype=torch.float64)
LQ = (GT + 0.2 * torch.rand(1, 1, 24, 30, generator=GENERATOR, dtype=torch.float64)).clamp(0, 1)
PRED = torch.rand(1, 3, 24, 30, generator=GENERATOR, dtype=torch.float64)


def value(name: str, pred: Tensor = PRED, **args: float) -> float:
    return float(create_loss(name, **args)(Prediction(pred), GT, LQ))


def test_simple_ones() -> None:
    d = (PRED - GT).numpy()
    assert value("l2") == pytest.approx(np.mean(d**2))
    assert value("charbonnier", epsilon=0.1) == pytest.approx(np.mean(np.sqrt(d**2 + 0.01)))
    f = np.fft.rfft2(d) / np.sqrt(24 * 30)
    assert value("fft") == pytest.approx((np.abs(f.real).mean() + np.abs(f.imag).mean()) / 2)


def test_ssim_is_the_metric() -> None:
    a, b = (x[0].permute(1, 2, 0).numpy() for x in (PRED, GT))
    assert 1 - value("ssim") == pytest.approx(ssim_rgb(a, b), abs=1e-9)
    with pytest.raises(RecipeError, match="at least 11"):
        create_loss("ssim")(Prediction(PRED[..., :10]), GT[..., :10], LQ)


def test_edge_ignores_ramps() -> None:
    ramp = (
        GT + torch.linspace(0, 0.3, 30, dtype=torch.float64) + torch.linspace(0, 0.2, 24, dtype=torch.float64)[:, None]
    )
    assert value("edge", ramp) == pytest.approx(1e-3, rel=1e-6)
    spot = GT.clone()
    spot[0, 0, 10, 10] += 1
    expected = (4 + 4 * 1) / (3 * 22 * 28)
    assert value("edge", spot, epsilon=1e-9) == pytest.approx(expected, rel=1e-5)


def test_laplacian_separates_scales() -> None:
    """A constant is in the rest alone, a checkerboard in the finest level alone (twice its size: nothing is left)."""
    assert value("laplacian", GT + 0.1) == pytest.approx(0.1)
    board = 0.1 * (-1.0) ** (torch.arange(24)[:, None] + torch.arange(30))
    inner = value("laplacian", GT + board)
    assert inner == pytest.approx(0.1, rel=0.25)  # edges are held, so a little leaks there
    with pytest.raises(RecipeError, match="expected 8 pixels"):
        create_loss("laplacian")(Prediction(PRED[..., :7]), GT[..., :7], LQ)


def test_mask_is_the_rain() -> None:
    loss = create_loss("mask")
    rain = (LQ - GT).sum(1, keepdim=True).clamp(max=1)
    assert float(loss(Prediction(PRED, mask=rain), GT, LQ)) == pytest.approx(0)
    assert float(loss(Prediction(PRED, mask=torch.zeros_like(rain)), GT, LQ)) == pytest.approx(
        float(rain.square().mean())
    )
    with pytest.raises(RecipeError, match="no attention map"):
        loss(Prediction(PRED), GT, LQ)


def test_stages_are_supervised() -> None:
    loss = create_loss("stages")
    assert float(loss(Prediction(PRED), GT, LQ)) == 0
    assert float(loss(Prediction(PRED, (GT + 0.1, GT - 0.3)), GT, LQ)) == pytest.approx(0.2)


def test_gradients_of_mask_and_stages() -> None:
    gt, lq = GT[..., :6, :6], LQ[..., :6, :6]
    mask = torch.full((1, 1, 6, 6), 0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: create_loss("mask")(Prediction(gt, mask=x), gt, lq), (mask,))
    stage = (gt + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: create_loss("stages")(Prediction(gt, (x, gt)), gt, lq), (stage,))


def test_flicker_is_what_the_error_changes_by() -> None:
    gt = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    error = torch.tensor([0.1, 0.1, 0.1, 0.2, 0.0, 0.1]).view(6, 1, 1, 1)  # two clips: a steady one, and another
    flicker = create_loss("flicker")
    assert float(flicker(Prediction(gt + error, frames=3), gt, gt)) == pytest.approx(0.3 / 4, abs=1e-6)
    assert float(flicker(Prediction(gt, frames=3), gt, gt)) == 0
    with pytest.raises(RecipeError, match="images have no frames"):
        flicker(Prediction(gt), gt, gt)


def test_clean_counts_samples_that_are_their_own_ground_truth() -> None:
    gt = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    lq = gt.clone()
    lq[1:3] += 0.1  # two of four are rainy, one of them at a single pixel
    lq[2, :, :, 1:] = gt[2, :, :, 1:]
    pred = gt + torch.tensor([0.2, 0.5, 0.5, -0.4]).view(4, 1, 1, 1)
    clean = create_loss("clean")
    assert float(clean(Prediction(pred), gt, lq)) == pytest.approx((0.2 + 0.4) / 4, abs=1e-6)
    assert float(clean(Prediction(pred), gt, gt + 0.1)) == 0
    assert float(clean(Prediction(gt), gt, gt)) == 0
