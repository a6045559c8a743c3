"""Hard clean samples: of several, the one that the network changes most; chosen in a step, without gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from repix.train.hard_clean import choose_hardest
from repix.train.recipe import parse_recipe
from repix.train.task import RestorationTask


def levels(*values: float, frames: int | None = None) -> Tensor:
    shape = (3, 16, 16) if frames is None else (frames, 3, 16, 16)
    return torch.stack([torch.full(shape, value) for value in values])


def halve(images: Tensor) -> Tensor:
    """Changes bright images most; clips as the network gives them, frame after frame."""
    assert not torch.is_grad_enabled()
    return images.flatten(0, -4) / 2


class Brightens(torch.nn.Module):
    """Adds 0.2 to what is dark."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * (x < 0.5)


@pytest.mark.parametrize("frames", [None, 3])
def test_the_one_that_is_changed_most_is_taken(frames: int | None) -> None:
    lq, gt = levels(0.2, 0.5, 0.1, frames=frames), levels(0.2, 0.4, 0.1, frames=frames)
    others = levels(0.1, 0.9, 0.3, 0.05, frames=frames)
    made = choose_hardest(halve, lq, gt, others, torch.tensor([0, 0, 0, 2]))
    for side, expected in zip(made, ((0.9, 0.5, 0.1), (0.9, 0.4, 0.1)), strict=True):
        assert torch.equal(side, levels(*expected, frames=frames))
    assert torch.equal(lq, levels(0.2, 0.5, 0.1, frames=frames))  # the batch itself is left alone


def test_of_equal_ones_the_sample_stays() -> None:
    lq = levels(0.2)
    made, _ = choose_hardest(lambda images: images, lq, lq, levels(0.3, 0.4), torch.tensor([0, 0]))
    assert torch.equal(made, lq)


def test_a_step_is_taken_on_what_was_chosen() -> None:
    stage = {"steps": 2, "patch": 16, "losses": {"l1": 1.0}}
    recipe = parse_recipe({"name": "x", "model": "repixnet", "data": {"photos": ["nowhere"]}, "stages": [stage]})
    task = RestorationTask(recipe)
    task.net = Brightens()
    bright, dark = levels(0.9), levels(0.1)
    plain = {"lq": bright, "gt": bright}
    assert float(task.training_step(plain, 0)) == 0
    chosen = {**plain, "others": dark, "others_of": torch.tensor([0])}
    assert float(task.training_step(chosen, 0)) == pytest.approx(0.2, abs=1e-6)
