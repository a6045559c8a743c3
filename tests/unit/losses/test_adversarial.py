"""Adversarial losses against their formulas, and their gradients."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from repix.errors import RecipeError
from repix.losses import create_loss
from repix.losses.adversarial import Adversarial, Mode, discriminator_loss, generator_loss
from repix.models import Prediction

MODES: tuple[Mode, ...] = get_args(Mode)
GENERATOR = torch.Generator().manual_seed(0)
REAL, FAKE = (torch.randn(2, 1, 3, 4, generator=GENERATOR, dtype=torch.float64) * 2 for _ in range(2))


def test_vanilla_is_cross_entropy() -> None:
    one, zero = torch.ones_like(REAL), torch.zeros_like(REAL)
    expected = (binary_cross_entropy_with_logits(REAL, one) + binary_cross_entropy_with_logits(FAKE, zero)) / 2
    torch.testing.assert_close(discriminator_loss(REAL, FAKE), expected)
    torch.testing.assert_close(generator_loss(FAKE), binary_cross_entropy_with_logits(FAKE, one))
    assert torch.isfinite(discriminator_loss(REAL * 1e4, FAKE * 1e4))


def test_least_squares_and_hinge_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 0.5])
    assert float(discriminator_loss(real, fake, mode="lsgan")) == pytest.approx(((1 + 1) / 2 + (9 + 0.25) / 2) / 2)
    assert float(generator_loss(fake, mode="lsgan")) == pytest.approx((16 + 0.25) / 2)
    assert float(discriminator_loss(real, fake, mode="hinge")) == pytest.approx(((0 + 1) / 2 + (0 + 1.5) / 2) / 2)
    assert float(generator_loss(fake, mode="hinge")) == pytest.approx(1.25)


@pytest.mark.parametrize("mode", MODES)
def test_gradients(mode: Mode) -> None:
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: discriminator_loss(a, b, mode=mode), (real, fake))
    assert torch.autograd.gradcheck(lambda b: generator_loss(b, mode=mode), (fake,))


@pytest.mark.parametrize("mode", MODES)
def test_each_side_pulls_its_own_way(mode: Mode) -> None:
    """The discriminator raises what is real and lowers what is made; the generator raises that."""
    real, fake = (torch.full((1, 1, 2, 2), 0.1, requires_grad=True) for _ in range(2))
    loss = Adversarial(mode=mode)
    up, down = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    (fooled,) = torch.autograd.grad(loss.generator(fake), fake)
    assert (up < 0).all()
    assert (down > 0).all()
    assert (fooled < 0).all()


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(RecipeError, match="vanilla, lsgan, hinge"):
        discriminator_loss(torch.zeros(1), torch.zeros(1), mode="wgan")  # type: ignore[arg-type]


def test_cross_entropy_takes_the_nearest_colour() -> None:
    palette = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    gt = torch.tensor([[0.1, 0.0, 0.9], [0.8, 0.2, 0.1]], dtype=torch.float64).T[None, :, None, :]  # blue, red
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]], dtype=torch.float64).T[None, :, None, :]
    prediction = Prediction(gt, logits=logits, palette=palette)
    expected = -(logits.log_softmax(1)[0, 0, 0, 0] + logits.log_softmax(1)[0, 1, 0, 1]) / 2
    torch.testing.assert_close(create_loss("cross_entropy")(prediction, gt, gt), expected)
    assert create_loss("cross_entropy", smoothing=0.1)(prediction, gt, gt) > expected
    free = logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: create_loss("cross_entropy")(Prediction(gt, logits=x, palette=palette), gt, gt), (free,)
    )
    with pytest.raises(RecipeError, match=r"args\.palette"):
        create_loss("cross_entropy")(Prediction(gt), gt, gt)
    with pytest.raises(RecipeError, match=r"smoothing: got 1\.0, expected less than 1"):
        create_loss("cross_entropy", smoothing=1.0)
