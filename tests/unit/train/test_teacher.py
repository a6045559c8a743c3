"""A teacher is a second target: it is not trained, not saved, and counts by its weight."""

from __future__ import annotations

import pytest
import torch

from repix.errors import RecipeError, WeightsError
from repix.train.recipe import Recipe, parse_recipe
from repix.train.task import RestorationTask


def recipe(**changes: object) -> Recipe:
    stage = {"steps": 2, "patch": 32, "losses": {"l1": 1.0}, "teacher_weight": changes.pop("teacher_weight", 0.0)}
    values = {"name": "taught", "model": "repixnet", "data": {"photos": ["nowhere"]}, "stages": [stage], **changes}
    return parse_recipe(values)


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {side: torch.rand(2, 3, 32, 32, generator=generator) for side in ("lq", "gt")}


def loss(weight: float) -> float:
    task = RestorationTask(recipe(teacher="repixnet", teacher_weight=weight))
    return float(task.training_step(batch(), 0).detach())


def test_the_weight_mixes_the_two_targets() -> None:
    assert loss(0.25) == pytest.approx(0.75 * loss(0.0) + 0.25 * loss(1.0), rel=1e-4)
    assert loss(1.0) < loss(0.0)  # random noise is less like the target than like what a network makes of it


def test_the_teacher_is_neither_trained_nor_saved() -> None:
    task = RestorationTask(recipe(teacher="repixnet", teacher_weight=1.0))
    plain = RestorationTask(recipe())
    assert set(task.state_dict()) == set(plain.state_dict())
    assert sum(1 for _ in task.parameters()) == sum(1 for _ in plain.parameters())
    task.training_step(batch(), 0).backward()
    assert all(parameter.grad is None for parameter in task._teacher[0].parameters())


def test_a_teacher_must_be_there() -> None:
    with pytest.raises(RecipeError, match="needs a teacher"):
        recipe(teacher_weight=0.5)
    with pytest.raises(WeightsError, match="no-such-model"):
        RestorationTask(recipe(teacher="no-such-model", teacher_weight=0.5))


def test_levels_are_worked_on_before_the_step() -> None:
    """The untrained network finds no rain, so levels change the loss no further than resampling does."""
    stages = [{"steps": 2, "patch": 64, "losses": {"l1": 1.0}, "levels": 1.0}]
    task = RestorationTask(recipe(stages=stages))
    plain = RestorationTask(recipe())
    images = torch.full((4, 3, 64, 64), 0.5)
    same = {"lq": images, "gt": images}
    assert float(task.training_step(same, 0).detach()) == pytest.approx(
        float(plain.training_step(same, 0).detach()), abs=3e-3
    )
