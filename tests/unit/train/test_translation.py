"""Translation through Lightning: two networks in turn, steps that are the generator's, resume that is exact."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from repix.errors import RecipeError
from repix.infer.restorer import Restorer
from repix.tasks import TRANSLATE
from repix.train.curves import read_curves
from repix.train.export import export
from repix.train.loop import train
from repix.train.recipe import Recipe, parse_recipe
from repix.train.task import RestorationTask, measure
from repix.train.translation import Pix2PixTask, create_task

GAN = {"l1": 100, "adversarial": {"weight": 1, "mode": "lsgan"}}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Eight A|B images, 64x32 PNG: B is A with its channels exchanged and inverted."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        a = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        both = np.concatenate([a, 255 - a[..., ::-1]], axis=1)
        pyvips.Image.new_from_array(both).write_to_file(str(folder / f"{i}.png"))
    return folder


def recipe(pairs: Path, **changes: object) -> Recipe:
    values: dict[str, object] = {
        "name": "tiny",
        "task": "translate",
        "model": "pix2pix",
        "args": {"channels": 8, "widest": 16, "depth": 3, "dropout": 0.5},
        "discriminator": {"channels": 4, "layers": 2},
        "data": {
            "pairs": str(pairs),
            "resize_short": 36,
            "flip": True,
            "scale": [0.9, 1.1],
            "rotation": 4,
            "colour": 0.1,
            "hold_out": 2,
            "train_subset": 1,
            "workers": 0,
        },
        "stages": [
            {"steps": 4, "batch": 2, "patch": 32, "lr": 1e-2, "losses": {"l1": 1}},
            {"steps": 8, "batch": 1, "patch": 32, "lr": 1e-3, "schedule": "linear", "losses": GAN},
        ],
        "precision": "32-true",
        "validate_every": 4,
        "trainer": {"accelerator": "cpu", "devices": 1},
    }
    return parse_recipe({**values, **changes})


def state(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the last checkpoint."""
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    flat = {f"average.{k}": v for k, v in checkpoint["state_dict"].items()}
    flat |= {f"current.{k}": v for k, v in checkpoint["current_model_state"].items()}
    for number, optimizer in enumerate(checkpoint["optimizer_states"]):
        for i, moments in optimizer["state"].items():
            flat |= {f"optimizer {number}.{i}.{k}": v for k, v in moments.items()}
    return flat


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("adversarial", [True, False])
def test_resumed_weights_equal_an_unbroken_run_bit_for_bit(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adversarial: bool
) -> None:
    """Both networks, both optimizers, dropout, batch statistics and their average; and the table of the curves."""
    settings = recipe(pairs, save_every=1e-5, **({} if adversarial else {"stages": [{"steps": 12, "patch": 32}]}))
    train(settings, tmp_path / "whole", progress=False)
    kind = Pix2PixTask if adversarial else RestorationTask
    step = kind.training_step

    def dies(self: RestorationTask, batch: dict[str, torch.Tensor], batch_idx: int) -> object:
        if self.global_step == 7:
            raise StoppedError
        return step(self, batch, batch_idx)

    monkeypatch.setattr(kind, "training_step", dies)
    with pytest.raises(StoppedError):
        train(settings, tmp_path / "broken", progress=False)
    monkeypatch.undo()
    assert torch.load(tmp_path / "broken" / "last.ckpt", weights_only=True)["global_step"] == 7
    with (tmp_path / "broken" / "curves.csv").open("a", encoding="utf-8") as file:
        file.write("8,loss,9.9\n9,lo")  # what a run did after its last checkpoint, and a power cut
    train(settings, tmp_path / "broken", resume=True, progress=False)

    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert any("running_mean" in key for key in whole)
    assert any(key.startswith("current.discriminator") for key in whole) == adversarial
    assert any(key.startswith("optimizer 1") for key in whole) == adversarial
    for key, value in whole.items():
        assert torch.equal(value, broken[key]), key
    assert read_curves(tmp_path / "whole" / "curves.csv") == read_curves(tmp_path / "broken" / "curves.csv")


def test_steps_are_the_generators(pairs: Path, tmp_path: Path) -> None:
    """Length, validation, checkpoints and logs count one step for each batch, though two optimizers run."""
    train(recipe(pairs), tmp_path / "run", progress=False)
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 12
    for optimizer, steps in zip(checkpoint["optimizer_states"], (12, 8), strict=True):
        assert {int(moments["step"]) for moments in optimizer["state"].values()} == {steps}
    images = sorted(path.name for path in (tmp_path / "run" / "images").iterdir())
    assert images == [f"{name}_{step:07d}.png" for name in ("train", "val") for step in (4, 8, 12)]
    for name, count in (("train", 1), ("val", 2)):  # one trained on, two held out, 32x32 each and a white line below
        grid = pyvips.Image.new_from_file(str(tmp_path / "run" / "images" / f"{name}_0000012.png"))
        assert (grid.height, grid.width) == (36 * count, 96)
    rows = read_curves(tmp_path / "run" / "curves.csv")
    found = Counter(name for _, name, _ in rows)
    assert found["val/train_l1_pm1"] == found["val/pairs_l1_pm1"] == found["val/score"] == 3
    assert found["loss"] == found["loss/adversarial"] == found["loss/discriminator"] == 1
    assert {step for step, name, _ in rows if name.startswith("val/")} == {4, 8, 12}
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    with (tmp_path / "run" / "curves.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["step", "name", "value"]


def test_each_optimizer_has_its_own_network(pairs: Path) -> None:
    task = create_task(recipe(pairs))
    assert isinstance(task, Pix2PixTask)
    for optimizer, net in zip(task.configure_optimizers(), (task.net, task.discriminator), strict=True):
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        assert held == {id(parameter) for parameter in net.parameters()}


def test_what_is_learnt_from_pairs_is_exported_and_runs_at_any_size(pairs: Path, tmp_path: Path) -> None:
    settings = recipe(
        pairs,
        args={"channels": 16, "depth": 3, "dropout": 0},
        data={"pairs": str(pairs), "hold_out": 2, "train_subset": 2, "workers": 0},
        stages=[{"steps": 60, "batch": 4, "patch": 32, "lr": 5e-3, "losses": {"l1": 1}}],
        ema_decay=0,
        validate_every=30,
    )
    checkpoint = train(settings, tmp_path / "run", progress=False)
    assert checkpoint.name == "best.ckpt"
    rows = read_curves(tmp_path / "run" / "curves.csv")
    held = {step: value for step, name, value in rows if name == "val/pairs_l1_pm1"}
    score = {step: value for step, name, value in rows if name == "val/score"}
    assert held[60] < 0.35  # answering with grey would be 0.5
    assert score == {step: -value for step, value in held.items()}
    card = export(tmp_path / "run", tmp_path / "model")
    assert card.task is TRANSLATE
    assert card.tiling is None
    assert card.training["steps"] in held
    restorer = Restorer.from_pretrained(tmp_path / "model", "cpu")
    for height, width in ((301, 417), (1, 1), (5, 100)):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert restorer(image).shape == image.shape
    same = restorer(np.zeros((32, 32, 3), np.uint16))
    assert same.dtype == np.uint16


def test_training_images_never_choose_the_checkpoint(pairs: Path, tmp_path: Path) -> None:
    data = {"pairs": str(pairs), "train_subset": 2, "workers": 0}
    settings = recipe(pairs, data=data, stages=[{"steps": 2, "patch": 32}], validate_every=1)
    assert train(settings, tmp_path / "run", progress=False).name == "last.ckpt"
    names = {name for _, name, _ in read_curves(tmp_path / "run" / "curves.csv")}
    assert "val/train_l1_pm1" in names
    assert "val/score" not in names


def test_l1_is_of_images_from_minus_1_to_1() -> None:
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    assert measure(TRANSLATE.validate, grey, black) == pytest.approx(0.4)  # 0.2 on [0, 1]


@pytest.mark.parametrize("most", [0.01, 0])
def test_gradients_of_both_networks_are_clipped(pairs: Path, tmp_path: Path, most: float) -> None:
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
        norms.append(float(torch.nn.utils.get_total_norm([one for one in gradients if one is not None])))

    handle = register_optimizer_step_pre_hook(note)
    try:
        train(recipe(pairs, grad_clip_norm=most), tmp_path / "run", progress=False)
    finally:
        handle.remove()
    assert len(norms) == 4 + 2 * 8
    if most:
        assert max(norms) == pytest.approx(most, rel=1e-3)
    else:
        assert min(norms) > 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"discriminator": {"chanels": 4}}, "did you mean 'channels'"),
        ({"stages": [{"steps": 1, "losses": {"l1": 1, "adversarial": {"mode": "hinge"}}}]}, "expected a number or"),
        (
            {"stages": [{"steps": 1, "losses": {"l1": 1, "adversarial": {"weight": 1, "mode": "x"}}}]},
            "mode: got 'x', expected",
        ),
        ({"discriminator": {"layers": "x"}}, "discriminator: layers: got 'x', expected a valid integer"),
    ],
)
def test_mistakes_fail_before_the_first_step(pairs: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_task(recipe(pairs, **change))
