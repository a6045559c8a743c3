"""What every loss must do, whatever it is."""

from __future__ import annotations

import pytest
import torch

from repix.errors import RecipeError
from repix.losses import LOSSES, WeightedLoss, create_loss
from repix.models import Prediction


def pictures(size: int = 24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(2, 3, size, size, generator=generator, dtype=torch.float64)
    lq = (gt + 0.3 * torch.rand(2, 1, size, size, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return gt, lq, (gt + 0.1 * torch.rand(gt.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_zero_at_the_truth_and_positive_elsewhere(name: str) -> None:
    gt, lq, pred = pictures()
    loss = create_loss(name)
    assert float(loss(Prediction(gt.clone()), gt, lq)) == pytest.approx(0, abs=2e-3)
    assert float(loss(Prediction(pred), gt, lq)) > 1e-3


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_finite_at_flat_and_saturated_pictures(name: str) -> None:
    loss = create_loss(name)
    for level in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 24, 24), level)
        pred = flat.clone().requires_grad_()
        value = loss(Prediction(pred), flat, flat)
        value.backward()
        assert torch.isfinite(value)
        assert pred.grad is not None
        assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradient(name: str) -> None:
    gt, lq, pred = pictures(size=16)
    loss = create_loss(name).double()
    pred = pred[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(Prediction(x), gt[:1], lq[:1]), (pred,), fast_mode=True)


def test_terms_are_weighted_and_reported() -> None:
    gt, lq, pred = pictures()
    total, parts = WeightedLoss({"l1": 0.25})(Prediction(pred), gt, lq)
    assert float(parts["l1"]) == pytest.approx(float((pred - gt).abs().mean()))
    assert float(total) == pytest.approx(0.25 * float(parts["l1"]))
    with pytest.raises(RecipeError, match="no loss given"):
        WeightedLoss({})
