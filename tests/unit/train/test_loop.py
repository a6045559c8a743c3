"""Training through Lightning: resume is exact, a kill loses minutes, runs don't overwrite each other."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pyvips
import torch
import yaml

from repix.data.datamodule import ValidationSet
from repix.errors import InputError, RecipeError
from repix.models import create_model
from repix.train.export import save_model
from repix.train.loop import _average, train
from repix.train.recipe import Recipe, parse_recipe
from repix.train.task import RestorationTask
from repix.weights import ModelCard

NET = {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1]}


def recipe(photos: Path, **changes: object) -> Recipe:
    values: dict[str, object] = {
        "name": "tiny",
        "model": "repixnet",
        "args": NET,
        "data": {"photos": str(photos), "mixture": {"rain": 1, "sharp_streaks": 1, "clean": 1}, "workers": 0},
        "stages": [
            {"steps": 6, "batch": 2, "patch": 32, "lr": 1e-2},
            {"steps": 6, "batch": 2, "patch": 48, "lr": 1e-3},
        ],
        "precision": "32-true",
        "validate_every": 4,
        "trainer": {"accelerator": "cpu", "devices": 1},
    }
    return parse_recipe({**values, **changes})


def state(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    flat = {f"average.{k}": v for k, v in checkpoint["state_dict"].items()}
    flat |= {f"current.{k}": v for k, v in checkpoint.get("current_model_state", {}).items()}
    for i, moments in checkpoint["optimizer_states"][0]["state"].items():
        flat |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
    return flat


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("hold_out", "optimizer", "hard_clean"), [(0, "adamw", 0.0), (1, "adamw", 0.7), (1, "muon", 0.0)]
)
def test_resumed_weights_equal_an_unbroken_run_bit_for_bit(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold_out: int, optimizer: str, hard_clean: float
) -> None:
    settings = recipe(photos, optimizer={"name": optimizer})
    harder = [
        stage.model_copy(update={"hard_clean": hard_clean, "losses": {"l1": 1.0, "clean": 4.0}})
        for stage in settings.stages
    ]
    settings = settings.model_copy(update={"stages": harder})
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"hold_out": hold_out})})
    settings = settings.model_copy(update={"save_every": 1e-5})  # minutes: after every step
    train(settings, tmp_path / "whole", progress=False)

    step = RestorationTask.training_step

    def dies(self: RestorationTask, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.global_step == 7:  # in the second stage, after a validation
            raise StoppedError
        return step(self, batch, batch_idx)

    monkeypatch.setattr(RestorationTask, "training_step", dies)
    with pytest.raises(StoppedError):
        train(settings, tmp_path / "broken", progress=False)
    monkeypatch.undo()
    assert torch.load(tmp_path / "broken" / "last.ckpt", weights_only=True)["global_step"] == 7
    train(settings, tmp_path / "broken", resume=True, progress=False)

    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert any(key.startswith("optimizer.") for key in whole)
    assert any(key.startswith("current.") for key in whole)
    for key, value in whole.items():
        assert torch.equal(value, broken[key]), key


@pytest.mark.parametrize(
    ("told_at", "in_validation", "saved"), [(0, False, 1), (1, False, 2), (3, False, 3), (4, True, 3)]
)
def test_a_run_that_is_told_to_stop_is_saved_and_goes_on_as_an_unbroken_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_at: int, in_validation: bool, saved: int
) -> None:
    """Validations are at 4, 8 and the end: told at step 3, it is in step 4, whose validation is then still to come."""
    settings = recipe(photos)
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"hold_out": 1})})
    train(settings, tmp_path / "whole", progress=False)

    name = "validation_step" if in_validation else "training_step"
    step = getattr(RestorationTask, name)

    def told(self: RestorationTask, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.global_step == told_at:
            signal.raise_signal(signal.SIGINT)
        result: torch.Tensor = step(self, batch, batch_idx)
        return result

    monkeypatch.setattr(RestorationTask, name, told)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "broken", progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert torch.load(tmp_path / "broken" / "last.ckpt", weights_only=True)["global_step"] == saved
    train(settings, tmp_path / "broken", resume=True, progress=False)

    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    for key, value in whole.items():
        assert torch.equal(value, broken[key]), key
    rows = [(tmp_path / run / "curves.csv").read_text() for run in ("whole", "broken")]
    assert rows[0] == rows[1]  # no validation is left out


def test_told_twice_it_stops_at_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(self: RestorationTask, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        time.sleep(1.1)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not stopped")

    monkeypatch.setattr(RestorationTask, "training_step", told)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(photos), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_kill_9_loses_little_and_resume_finishes(photos: Path, tmp_path: Path) -> None:
    """A real kill in a real process, with worker processes; the checkpoint is whole and the run goes on from it."""
    settings = recipe(
        photos,
        stages=[{"steps": 4000, "batch": 1, "patch": 32}],
        data={"photos": str(photos), "mixture": {"rain": 1}, "workers": 1},
        save_every=0.01,
    )
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = [sys.executable, "-m", "repix", "train", str(file), "-o", str(tmp_path / "run"), "--no-export"]
    last = tmp_path / "run" / "last.ckpt"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 130
        while not last.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert last.exists()
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        process.communicate(timeout=60)  # ends with the last process that holds the other end: its workers end too
    reached = torch.load(last, weights_only=True)["global_step"]
    assert 0 < reached < 4000
    assert not list(last.parent.glob("*.tmp"))
    # the same run, shortened so that the test ends: only the length differs, which the folder's recipe is told
    shorter = settings.model_dump(mode="json")
    shorter["stages"][0]["steps"] = reached + 3
    file.write_text(yaml.safe_dump(shorter))
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(shorter))
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert torch.load(last, weights_only=True)["global_step"] == reached + 3


def test_the_loss_falls_and_metrics_are_logged(photos: Path, tmp_path: Path) -> None:
    brighter = tmp_path / "pairs"  # "rain" that is easily learnt: everything is 40 levels brighter
    for i in range(4):
        (brighter / "input").mkdir(parents=True, exist_ok=True)
        (brighter / "target").mkdir(exist_ok=True)
        clean = pyvips.Image.new_from_file(str(photos / f"{i}.png")).linear(0.6, 20).cast("uchar")
        clean.write_to_file(str(brighter / "target" / f"{i}.png"))
        (clean + 40).cast("uchar").write_to_file(str(brighter / "input" / f"{i}.png"))
    settings = recipe(
        photos,
        data={"photos": str(photos), "pairs": str(brighter), "mixture": {"pairs": 1}, "hold_out": 1, "workers": 0},
        stages=[{"steps": 24, "batch": 4, "patch": 32, "lr": 5e-3}],
        ema_decay=0,
        validate_every=10,
    )
    checkpoint = train(settings, tmp_path / "run", progress=False)
    assert checkpoint.name == "best.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 24  # between two intervals
    images = sorted(path.name for path in (tmp_path / "run" / "images").iterdir())
    assert images == ["val_0000010.png", "val_0000020.png", "val_0000024.png"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "logs"))
    events.Reload()
    scores = [event.value for event in events.Scalars("val/pairs_psnr_y")]
    assert len(scores) == 3
    assert scores[2] > scores[0]
    assert {"loss", "val/score", "val/clean_psnr_rgb", "val/rain_psnr_y", "val/sharp_streaks_psnr_y"} <= set(
        events.Tags()["scalars"]
    )
    assert events.Tags()["images"]


def test_the_average_of_a_short_run_is_not_where_it_started() -> None:
    average = [torch.zeros(3)]
    for count in range(1, 101):
        _average(0.999)(average, [torch.ones(3)], torch.tensor(count))
    assert average[0].min() > 0.99  # a fixed decay would have come to 0.1
    before = average[0].clone()
    _average(0.999)(average, [torch.zeros(3)], torch.tensor(10**6))
    torch.testing.assert_close(average[0], before * 0.999)


def test_the_best_of_a_run_that_was_never_saved_is_not_taken_for_the_next_ones(photos: Path, tmp_path: Path) -> None:
    left = ["best.ckpt", "logs/events.out.tfevents.1.host.2.0", "images/val_0000010.png", "images/train_0000010.png"]
    for name in [*left, "images/own.png"]:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(b"of a run that was stopped before its first save")
    data = {"photos": str(photos), "mixture": {"rain": 1}, "hold_out": 0, "workers": 0}
    settings = recipe(photos, data=data, stages=[{"steps": 1, "batch": 1, "patch": 32}])
    assert train(settings, tmp_path / "run", progress=False) == tmp_path / "run" / "last.ckpt"
    assert not [name for name in left if (tmp_path / "run" / name).exists()]
    assert (tmp_path / "run" / "images" / "own.png").exists()


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(photos: Path, tmp_path: Path) -> None:
    settings = recipe(photos, stages=[{"steps": 1, "batch": 1, "patch": 32}])
    with pytest.raises(RecipeError, match="nothing to resume"):
        train(settings, tmp_path / "run", resume=True, progress=False)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file, not a folder"):
        train(settings, tmp_path / "file", progress=False)
    train(settings, tmp_path / "run", progress=False)
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    with pytest.raises(RecipeError, match="--resume"):
        train(settings, tmp_path / "run", progress=False)
    longer = settings.model_copy(update={"stages": [*settings.stages, *settings.stages]})
    with pytest.raises(RecipeError, match="other settings for seed"):
        train(settings.model_copy(update={"seed": 5}), tmp_path / "run", resume=True, progress=False)
    raised = settings.model_copy(update={"stages": [settings.stages[0].model_copy(update={"steps": 2})]})
    with pytest.raises(RecipeError, match=r"to train longer, add a stage at the end \(--set 'stages.N="):
        train(raised, tmp_path / "run", resume=True, progress=False)
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before
    train(longer, tmp_path / "run", resume=True, progress=False)  # stages may be added
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"gpus": 1}, "unknown key 'trainer.gpus'"),
        ({"max_steps": 3}, r"unknown key 'trainer.max_steps' \(known: accelerator, devices"),
        ({"limit_train_batches": 0}, "unknown key 'trainer.limit_train_batches'"),
        ({"accumulate_grad_batches": 0}, "unknown key 'trainer.accumulate_grad_batches'"),
        ({"num_nodes": 0}, "trainer.num_nodes: got 0, expected greater than 0"),
        ({"accelerator": 5}, "trainer.accelerator: got 5, expected a valid string"),
        ({"deterministic": "x"}, "trainer.deterministic"),
    ],
)
def test_an_argument_of_the_trainer_that_no_recipe_may_set_is_told_on_reading(
    photos: Path, trainer: dict[str, object], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(photos, trainer=trainer)


@pytest.mark.parametrize(
    "trainer", [{"accelerator": "gpu"}, {"accelerator": "tpu"}, {"accelerator": "x"}, {"strategy": "x"}]
)
def test_a_trainer_that_cannot_be_had_is_one_line(photos: Path, tmp_path: Path, trainer: dict[str, object]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RecipeError, match="trainer: ") as error:
        train(recipe(photos, trainer=trainer), tmp_path / "run", progress=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (
            {"losses": {"psnr": {"weight": 1, "epsilon": "x"}}},
            r"stages.1.losses.psnr: .*epsilon: got 'x', expected a",
        ),
        ({"losses": {"psnr": {"weight": 1, "epsilon": 0}}}, "expected greater than 0"),
        ({"losses": {"perceptual": {"weight": 1, "layers": 3}}}, "layers: got 3, expected"),
        ({"losses": {"laplacian": {"weight": 1, "levels": 2.5}}}, "levels: got 2.5, expected a valid integer"),
        ({"losses": {"ssim": 1}, "patch": 8}, r"stages.1.losses: ssim: got patches of \(8, 8\), expected at least 11"),
        ({"losses": {"laplacian": {"weight": 1, "levels": 4}}, "patch": 8}, "laplacian: got patches of"),
        ({"losses": {"mask": 1}}, "stages.1.losses: mask: this network has no attention map"),
        ({"losses": {"flicker": 1}}, "stages.1.losses: flicker: images have no frames"),
        ({"losses": {"cross_entropy": 1}}, "stages.1.losses: .*needs a network with a palette"),
    ],
)
def test_what_a_later_stage_cannot_have_is_told_before_data_are_looked_at(
    tmp_path: Path, second: dict[str, object], said: str
) -> None:
    stages = [{"steps": 1, "batch": 1, "patch": 32}, {"steps": 1, "batch": 1, "patch": 32, **second}]
    with pytest.raises(RecipeError, match=said):
        train(recipe(tmp_path / "no-photos", stages=stages), tmp_path / "run", progress=False)


def test_a_network_without_a_state_takes_no_frames(tmp_path: Path) -> None:
    stages = [{"steps": 1, "batch": 1, "patch": 32, "frames": 3}]
    with pytest.raises(RecipeError, match=r"stages.0.frames: repixnet keeps nothing from frame to frame"):
        train(recipe(tmp_path / "no-photos", stages=stages), tmp_path / "run", progress=False)


def test_a_rehearsal_changes_neither_weights_nor_attributes_nor_random_numbers(tmp_path: Path) -> None:
    stages = [{"steps": 1, "patch": 32}, {"steps": 1, "patch": 32, "network": {"stages": 2}}]
    task = RestorationTask(recipe(tmp_path, model="prenet", args={}, stages=stages))
    kept = {name: value.clone() for name, value in task.net.state_dict().items()}
    before, drawn = task.net.stages, torch.random.get_rng_state()
    task.rehearse()
    assert task.net.stages == before != 2
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(value, kept[name]) for name, value in task.net.state_dict().items())
    assert all(part.training for part in task.net.modules())


def test_another_optimizer_is_refused_on_resume(photos: Path, tmp_path: Path) -> None:
    settings = recipe(photos, stages=[{"steps": 1, "batch": 1, "patch": 32}])
    train(settings, tmp_path / "run", progress=False)
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    for changes in ({"name": "adam"}, {"betas": (0.5, 0.999)}, {"weight_decay": 0.1}):
        optimizer = settings.optimizer.model_copy(update=changes)
        with pytest.raises(RecipeError, match="other settings for optimizer"):
            train(settings.model_copy(update={"optimizer": optimizer}), tmp_path / "run", resume=True, progress=False)
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before


def test_a_run_of_0_1_is_not_resumed(photos: Path, tmp_path: Path) -> None:
    settings = recipe(photos, stages=[{"steps": 1, "batch": 1, "patch": 32}])
    train(settings, tmp_path / "run", progress=False)
    values = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    values["ema"] = values.pop("ema_decay")
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(RecipeError, match=r"repix 0\.1 cannot be resumed; .*--set init=.*weight -o FOLDER"):
        train(settings, tmp_path / "run", resume=True, progress=False)


@pytest.mark.parametrize("stopped_after", [6, 7, None])
def test_the_optimizer_changes_with_the_stage(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_after: int | None
) -> None:
    """Also where the run was resumed at the end of a stage, when the checkpoint holds the moments of the one before,
    within the next stage, or for a stage that was added."""
    stages = [
        {"steps": 6, "batch": 2, "patch": 32, "lr": 1e-2},
        {"steps": 6, "batch": 2, "patch": 32, "lr": 1e-3, "optimizer": {"name": "muon", "weight_decay": 0.1}},
    ]
    settings = recipe(photos, stages=stages, save_every=1e-5)
    train(settings, tmp_path / "whole", progress=False)
    step = RestorationTask.training_step
    seen: dict[int, str] = {}

    def recorded(self: RestorationTask, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.global_step == stopped_after:
            raise StoppedError
        (optimizer,) = self.trainer.optimizers
        seen[self.global_step] = type(optimizer).__name__
        return step(self, batch, batch_idx)

    monkeypatch.setattr(RestorationTask, "training_step", recorded)
    if stopped_after is None:
        train(settings.model_copy(update={"stages": settings.stages[:1]}), tmp_path / "broken", progress=False)
    else:
        with pytest.raises(StoppedError):
            train(settings, tmp_path / "broken", progress=False)
        stopped_after = None
    train(settings, tmp_path / "broken", resume=True, progress=False)
    assert seen == dict.fromkeys(range(6), "AdamW") | dict.fromkeys(range(6, 12), "Muon")

    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert any(key.endswith(".momentum") for key in whole)
    for key, value in whole.items():
        assert torch.equal(value, broken[key]), key


def validation_set(name: str, metric: str = "psnr_y", role: str = "held out") -> ValidationSet:
    return ValidationSet(name, metric, [], role)  # type: ignore[arg-type]


def test_a_set_adds_at_most_45_db_to_the_score(photos: Path) -> None:
    sets = [validation_set("rain"), validation_set("clean", "psnr_rgb")]
    task = RestorationTask(recipe(photos), sets=sets)
    assert task.score({"rain": 30.0, "clean": 40.0}) == pytest.approx(35.0)
    assert task.score({"rain": 30.0, "clean": 60.0}) == pytest.approx(37.5)
    assert task.score({"rain": 30.0, "clean": 99.0}) == pytest.approx(37.5)


def test_what_was_held_out_decides_before_folders_and_training_images_never(photos: Path) -> None:
    means = {"train": 10.0, "pairs": 30.0, "test": 20.0}
    train_, pairs, test = (
        validation_set(name, role=role)
        for name, role in (("train", "train"), ("pairs", "held out"), ("test", "folder"))
    )
    assert RestorationTask(recipe(photos), sets=[train_, pairs, test]).score(means) == 30
    assert RestorationTask(recipe(photos), sets=[train_, test]).score(means) == 20
    assert not RestorationTask(recipe(photos), sets=[train_]).chooses
    lower = RestorationTask(recipe(photos), sets=[validation_set("pairs", "l1_pm1")])
    assert lower.score({"pairs": 0.3}) == pytest.approx(-0.3)


def test_schedule(photos: Path) -> None:
    stages = [
        {"steps": 100, "lr": 1.0, "lr_end": 0.1, "warmup": 10},
        {"steps": 50, "lr": 0.5, "schedule": "constant"},
        {"steps": 50, "lr": 0.5, "lr_end": 0, "schedule": "linear"},
    ]
    task = RestorationTask(recipe(photos, stages=stages))
    rates = [task.learning_rate(step) for step in range(200)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[99] == pytest.approx(0.1, abs=0.01)
    assert set(rates[100:150]) == {0.5}
    assert rates[150:] == pytest.approx([0.5 - 0.01 * step for step in range(50)])


def test_an_unknown_loss_or_attribute_fails_before_the_first_step(photos: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'l1'"):
        RestorationTask(recipe(photos, stages=[{"steps": 1, "losses": {"l11": 1}}]))
    with pytest.raises(
        RecipeError, match=r"stages.0.network: a stage cannot change 'depth' of repixnet \(its stage_attributes: none\)"
    ):
        RestorationTask(recipe(photos, stages=[{"steps": 1, "network": {"depth": 3}}]))


def test_a_stage_changes_only_what_the_network_lists(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\nclass Mine(nn.Module):\n    stage_attributes = ('rounds',)\n"
        "    def __init__(self):\n        super().__init__()\n        self.rounds = 1\n"
        "        self.body = nn.Conv2d(3, 3, 1)\n    def forward(self, x):\n        return self.body(x) * self.rounds\n"
    )
    values = {"model": f"{file}:Mine", "args": {}}
    stages = [{"steps": 1, "patch": 32, "batch": 1}, {"steps": 1, "patch": 32, "batch": 1, "network": {"rounds": 3}}]
    train(recipe(photos, **values, stages=stages), tmp_path / "run", progress=False)
    for name in ("body", "training", "round"):
        with pytest.raises(RecipeError, match=rf"stages.1.network: a stage cannot change '{name}' of .*: rounds\)"):
            RestorationTask(recipe(photos, **values, stages=[{"steps": 1}, {"steps": 1, "network": {name: 1}}]))
    RestorationTask(recipe(photos, model="prenet", args={}, stages=[{"steps": 1, "network": {"stages": 2}}]))


def test_init_starts_from_a_model_and_new_blocks_change_nothing(photos: Path, tmp_path: Path) -> None:
    small = recipe(photos)
    net = create_model("repixnet", **NET)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    card = ModelCard(name="small", task="derain", arch="repixnet", args=NET, multiple_of=4, tiling=None, licence="MIT")
    save_model(net, card, tmp_path / "small")

    grown = small.model_copy(
        update={"args": {**NET, "encoder": [2], "middle": 4, "decoder": [3]}, "init": str(tmp_path / "small")}
    )
    task = RestorationTask(grown)
    x = torch.rand(1, 3, 32, 32)
    assert len(list(task.net.parameters())) > len(list(net.parameters()))
    assert torch.allclose(task(x), net(x), atol=1e-5)
    assert not torch.allclose(task(x), x, atol=1e-2)
    task(x).sum().backward()
    learns = [task.net.get_parameter(f"{block}.body.2.weight").grad for block in ("middle.3", "decoders.0.2")]
    assert all(grad is not None and grad.abs().max() > 0 for grad in learns)

    other = small.model_copy(update={"args": {**NET, "channels": [8, 24]}, "init": str(tmp_path / "small")})
    with pytest.raises(RecipeError, match="not this network with fewer residual blocks"):
        RestorationTask(other)
