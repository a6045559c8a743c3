"""The mixture follows validation: by the rule, at a known step, and alike in a resumed run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from repix.data.datamodule import Degraded, RestorationData, ValidationSet
from repix.data.pairs import Pair
from repix.errors import InputError, RecipeError
from repix.train.loop import make_data, train
from repix.train.recipe import Recipe, parse_recipe
from repix.train.steering import MOST, SteerMixture
from repix.train.task import RestorationTask

SETS = [
    ValidationSet("rain", "psnr_y", [Degraded(Path("a"), "rain")], "held out"),
    ValidationSet("night", "psnr_y", [Pair("a", Path("a"), Path("a"))], "folder"),
    ValidationSet("fog", "psnr_y", [Pair("a", Path("a"), Path("a"))], "folder"),
    ValidationSet("train", "psnr_y", [Pair("a", Path("a"), Path("a"))], "train"),
]


def after(steering: SteerMixture, step: int, **decibels: float) -> dict[str, float]:
    steering.follow(step, {f"val/{name}_psnr_y": value for name, value in decibels.items()})
    return dict(steering.factors_at(step + 10))


def test_the_rule() -> None:
    steering = SteerMixture(SETS, lag=10)
    assert steering.factors_at(0) == {}
    assert after(steering, 100, rain=30, night=30, fog=25) == {"rain": 1, "pairs": 1}
    assert after(steering, 200, rain=29.5, night=31, fog=24) == {"rain": 2, "pairs": 4}  # of two sets the worse one
    assert after(steering, 300, rain=31, night=30.5, fog=25) == {"rain": 1, "pairs": 2}  # back as soon as it is as good
    assert after(steering, 400, rain=1, night=31, fog=25) == {"rain": MOST, "pairs": 1}
    assert steering.factors_at(209) == {"rain": 1, "pairs": 1}  # not before batches that were made ahead are used up
    assert steering.factors_at(210) == {"rain": 2, "pairs": 4}


def test_a_checkpoint_keeps_it() -> None:
    steering, again = SteerMixture(SETS, lag=10), SteerMixture(SETS, lag=10)
    after(steering, 100, rain=30, night=30, fog=25)
    again.load_state_dict(steering.state_dict())
    assert after(again, 200, rain=29, night=30, fog=25) == after(steering, 200, rain=29, night=30, fog=25)
    assert again.factors_at(110) == steering.factors_at(110)


def recipe(photos: Path, **data: object) -> Recipe:
    return parse_recipe(
        {
            "name": "tiny",
            "model": "repixnet",
            "args": {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1]},
            "data": {
                "photos": str(photos),
                "mixture": {"rain": 1, "sharp_streaks": 1, "clean": 1},
                "hold_out": 1,
                "workers": 0,
                "steer": True,
                **data,
            },
            "stages": [{"steps": 10, "batch": 4, "patch": 32, "lr": 1e-2}],
            "precision": "32-true",
            "validate_every": 2,
            "save_every": 1e-5,
            "trainer": {"accelerator": "cpu", "devices": 1},
        }
    )


def kinds(data: RestorationData, start: int) -> Counter[str]:
    return Counter(name.partition(":")[0] for batch in data.stream(start) for name in batch["name"])


def test_factors_reach_the_samples(photos: Path) -> None:
    data = make_data(recipe(photos, steer=False))
    plain = kinds(data, 0)
    assert len(plain) == 3
    data.factors_at = lambda step: {"clean": 1e9} if step >= 2 else {}
    assert kinds(data, 2) == {"clean": 8 * 4}
    data.factors_at = lambda step: {}
    assert kinds(data, 0) == plain


def test_a_resumed_run_draws_what_an_unbroken_one_would(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, drawn = RestorationTask.training_step, {}
    dies_at = -1

    def notes(self: RestorationTask, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.global_step == dies_at:
            raise InputError("stopped")
        drawn[self.global_step] = list(batch["name"])
        return step(self, batch, batch_idx)

    fall = iter(range(100))  # validation gets worse and worse for one kind
    monkeypatch.setattr(RestorationTask, "training_step", notes)
    monkeypatch.setattr(
        "repix.train.task.measure", lambda metric, pred, gt: 30.0 if metric == "psnr_y" else 40.0 - next(fall)
    )
    train(recipe(photos), tmp_path / "whole", progress=False)
    whole = dict(drawn)
    names = [name.partition(":")[0] for at in range(4, 10) for name in whole[at]]
    fall = iter([0] * 100)
    train(recipe(photos), tmp_path / "steady", progress=False)
    assert (
        Counter(names)["clean"] > Counter(name.partition(":")[0] for at in range(4, 10) for name in drawn[at])["clean"]
    )
    assert whole[0] == drawn[0]

    fall, dies_at = iter(range(100)), 7
    drawn.clear()
    with pytest.raises(InputError, match="stopped"):
        train(recipe(photos), tmp_path / "broken", progress=False)
    dies_at = -1
    train(recipe(photos), tmp_path / "broken", resume=True, progress=False)
    assert drawn == whole


def test_nothing_to_steer_is_told(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing to validate"):
        train(recipe(photos, hold_out=0), tmp_path / "run", progress=False)
