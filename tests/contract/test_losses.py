"""What every loss must do, whatever it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from repix.errors import RecipeError
from repix.losses import LOSSES, WeightedLoss, create_loss
from repix.models import Prediction


def images(size: int = 24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(2, 3, size, size, generator=generator, dtype=torch.float64)
    lq = (gt + 0.3 * torch.rand(2, 1, size, size, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return gt, lq, (gt + 0.1 * torch.rand(gt.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


# Losses on a classifier's features get a random one that fits 16×16 images; every loss must be here.
OPTIONS: dict[str, dict[str, Any]] = {name: {} for name in LOSSES}
OPTIONS |= {name: {"backbone": "vgg16", "layers": [1, 6]} for name in ("perceptual", "style", "contrastive")}
# Losses that look at something else than the estimate; tests/unit/losses/test_pixel.py has them.
OTHERS = {"clean", "mask", "stages", "cross_entropy", "flicker", "lpips"}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for number, (out, into) in {0: (64, 3), 2: (64, 64), 5: (128, 64)}.items():
        state[f"features.{number}.weight"] = torch.randn(out, into, 3, 3, generator=generator) * (2 / (9 * into)) ** 0.5
        state[f"features.{number}.bias"] = torch.randn(out, generator=generator) * 0.1
    path = tmp_path_factory.mktemp("backbone") / "vgg16.pth"
    torch.save(state, path)
    return str(path)


@pytest.fixture(params=sorted(set(LOSSES) - OTHERS))
def loss(request: pytest.FixtureRequest, weights: str) -> nn.Module:
    name: str = request.param
    return create_loss(name, **OPTIONS[name], **({"weights": weights} if "backbone" in OPTIONS[name] else {}))


def test_zero_at_the_ground_truth_and_positive_elsewhere(loss: nn.Module) -> None:
    gt, lq, pred = images()
    assert float(loss(Prediction(gt.clone()), gt, lq)) == pytest.approx(0, abs=2e-3)
    assert float(loss(Prediction(pred), gt, lq)) > 1e-3


def test_finite_at_flat_and_saturated_images(loss: nn.Module) -> None:
    for level in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 24, 24), level)
        pred = flat.clone().requires_grad_()
        value = loss(Prediction(pred), flat, flat)
        value.backward()
        assert torch.isfinite(value)
        assert pred.grad is not None
        assert torch.isfinite(pred.grad).all()


def test_gradient(loss: nn.Module) -> None:
    gt, lq, pred = images(size=16)
    loss = loss.double()
    pred = pred[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(Prediction(x), gt[:1], lq[:1]), (pred,), fast_mode=True)


def test_terms_are_weighted_and_reported() -> None:
    gt, lq, pred = images()
    total, parts = WeightedLoss({"l1": 0.25})(Prediction(pred), gt, lq)
    assert float(parts["l1"]) == pytest.approx(float((pred - gt).abs().mean()))
    assert float(total) == pytest.approx(0.25 * float(parts["l1"]))
    with pytest.raises(RecipeError, match="no loss given"):
        WeightedLoss({})


def test_terms_may_have_arguments(weights: str) -> None:
    gt, lq, pred = images()
    perceptual = {"weight": 0.5, "backbone": "vgg16", "layers": [3], "weights": weights}
    total, parts = WeightedLoss({"l1": 1, "perceptual": perceptual})(Prediction(pred), gt, lq)
    assert float(total) == pytest.approx(float(parts["l1"] + 0.5 * parts["perceptual"]))
    with pytest.raises(RecipeError, match="with `weight`"):
        WeightedLoss({"perceptual": {"layers": [3]}})
    with pytest.raises(RecipeError, match="no argument 'layer'; did you mean 'layers'"):
        WeightedLoss({"perceptual": {"weight": 1, "layer": [3]}})
    with pytest.raises(RecipeError, match=r"no argument 'epsilon' \(it has: none\)"):
        WeightedLoss({"l1": {"weight": 1, "epsilon": 1}})
    with pytest.raises(RecipeError, match="did you mean 'perceptual'"):
        WeightedLoss({"perceptal": 1})
