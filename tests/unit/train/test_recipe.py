"""Recipes: strict, with errors that name the nearest key; overrides; round trip."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from repix.errors import InputError, RecipeError, WeightsError
from repix.train.loop import make_data
from repix.train.recipe import dump_recipe, load_recipe, parse_recipe
from repix.train.translation import create_task

ROOT = Path(__file__).parents[3]
RECIPES = sorted([*(ROOT / "recipes").glob("*.yaml"), *(ROOT / "benchmarks" / "recipes").glob("*.yaml")])
SMALL = {
    "name": "x",
    "model": "repixnet",
    "data": {"photos": "photos"},
    "stages": [{"steps": 10}, {"steps": 5, "patch": 128}],
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_after_their_file(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_the_folder_of_data_sets_is_what_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sets = {"photos": "$REPIX_DATA/clean", "pairs": ["$REPIX_DATA/a", "b"]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPIX_DATA", raising=False)
    assert parse_recipe({**SMALL, "data": sets}).data.photos == [Path("$REPIX_DATA/clean")]  # named by who looks for it
    monkeypatch.setenv("REPIX_DATA", str(tmp_path / "sets"))
    data = parse_recipe({**SMALL, "data": sets}).data
    assert (data.photos, data.pairs) == ([tmp_path / "sets" / "clean"], [tmp_path / "sets" / "a", Path("b")])
    losses = {"perceptual": {"weight": 0.1, "layers": [22], "weights": "$REPIX_DATA/vgg16.pth"}}
    recipe = parse_recipe({**SMALL, "stages": [{"steps": 1, "losses": losses}]})
    assert recipe.stages[0].losses["perceptual"]["weights"] == (tmp_path / "sets" / "vgg16.pth").as_posix()  # type: ignore[index]
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("REPIX_DATA")
    assert parse_recipe({**SMALL, "data": sets}).data.photos == [Path("../shared/data/clean")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_dumped_recipe_reads_back_equal(path: Path) -> None:
    recipe = load_recipe(path)
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stagse": []}, "unknown key 'stagse'; did you mean 'stages'"),
        ({"data": {"photo": "x"}}, r"unknown key 'data\.photo'; did you mean 'photos'"),
        ({"stages": [{"steps": 1, "pach": 3}]}, r"unknown key 'stages\.0\.pach'; did you mean 'patch'"),
        ({"optimizer": {"nam": "adam"}}, r"unknown key 'optimizer\.nam'; did you mean 'name'"),
        ({"stages": [{"steps": 0}]}, r"stages\.0\.steps"),
        ({"model": None}, "model"),
        ({"data": {}}, "nothing to train on"),
        (
            {"data": {"photos": "x", "mixture": {"rian": 1}}},
            "unknown kind 'rian' in the mixture; did you mean 'rain'",
        ),
        ({"data": {"photos": "x", "mixture": {"rain": -1}}}, r"mixture\.rain"),
        ({"name": "../x"}, "name"),
        ({"stages": [{"steps": 1, "lr": math.inf}]}, r"stages\.0\.lr: got inf, expected a finite number"),
        ({"stages": [{"steps": 1, "lr": math.nan}]}, r"stages\.0\.lr: got nan, expected a finite number"),
        ({"stages": [{"steps": 1, "lr": 1e3}]}, r"stages\.0\.lr: got 1000.0, expected less than or equal to 1"),
        ({"stages": [{"steps": 1, "lr_end": math.inf}]}, r"stages\.0\.lr_end: got inf"),
        ({"stages": [{"steps": 1, "losses": {"l1": math.inf}}]}, r"stages\.0\.losses\.l1.* got inf"),
        ({"stages": [{"steps": 1, "severity": [1, 0]}]}, r"severity: got \[1\.0, 0\.0\], expected the lower end first"),
        ({"optimizer": {"betas": [2, -1]}}, r"optimizer\.betas\.0: got 2, expected less than 1"),
        ({"optimizer": {"weight_decay": math.inf}}, r"weight_decay: got inf"),
        ({"grad_clip_norm": math.inf}, "grad_clip_norm: got inf"),
        ({"save_every": math.inf}, "save_every: got inf"),
        ({"save_every": 1e300}, "save_every: got 1e.300, expected less than"),
        ({"data": {"photos": "x", "mixture": {"rain": math.inf}}}, r"mixture\.rain: got inf"),
        ({"data": {"photos": ""}}, r"data\.photos: the name of a file or folder is empty"),
        ({"data": {"photos": ["x", 5]}}, r"data\.photos\.1: got 5, expected a path"),
        ({"name": "a/b"}, "name: got 'a/b', expected a letter or digit, then letters, digits"),
        ({"stages": []}, r"stages: got \[\], expected at least 1 item"),
        (
            {"stages": [{"steps": 1, "losses": {"l1": "x"}}]},
            r"recipe: stages\.0\.losses\.l1: got 'x', expected a valid number, or a valid mapping$",
        ),
        (
            {"trainer": {"devices": "x"}},
            r"recipe: trainer\.devices: got 'x', expected a valid integer, or -1 or 'auto', or a list$",
        ),
        ({"data": {"photos": "x", "hold_out_seed": -5}}, r"hold_out_seed: got -5"),
        ({"optimizer": "adam"}, "optimizer: got 'adam', expected a valid mapping"),
        ({"task": "translat"}, "task"),
        ({"task": "translate"}, r"data\.photos does not go with task: translate"),
        ({"data": {"pairs": "x", "resize_short": 286}}, r"data\.resize_short does not go with task: derain"),
        ({"data": {"pairs": "x", "direction": "BtoA"}}, r"data\.direction does not go with task: derain"),
        ({"task": "translate", "data": {"pairs": "x", "direction": "ab"}}, r"data\.direction"),
        ({"task": "translate", "data": {"pairs": "x", "flp": True}}, r"'data\.flp'; did you mean 'flip'"),
        ({"stages": [{"steps": 1, "severity": [0, 2]}]}, r"stages\.0\.severity"),
        (
            {"task": "translate", "data": {"pairs": "x"}, "stages": [{"steps": 1, "mixture": {"rain": 1}}]},
            r"stages\.mixture does not go with task: translate",
        ),
        ({"stages": [{"steps": 1, "losses": {"adversarial": 1}}]}, "task: translate only"),
        ({"discriminator": {"channels": 8}}, "task: translate only"),
        (
            {
                "task": "translate",
                "data": {"pairs": "x"},
                "precision": "16-mixed",
                "stages": [{"steps": 1, "losses": {"l1": 1, "adversarial": 1}}],
            },
            "not 16-mixed",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as error:
        parse_recipe({**SMALL, **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"photos": "x", "longest": 900}}, "data.longest is now data.max_side"),
        ({"data": {"pairs": "x", "jitter": 286}}, "data.jitter is now data.resize_short"),
        ({"data": {"pairs": "x", "turn": 5}}, "data.turn is now data.rotation"),
        ({"data": {"pairs": "x", "watched": 5}}, "data.watched is now data.train_subset"),
        ({"data": {"pairs": "x", "validate_most": 5}}, "data.validate_most is now data.max_validation"),
        (
            {"stages": [{"steps": 1}, {"steps": 1, "dense": 0}]},
            "stages.1.dense is now stages.1.sharp_streaks_density",
        ),
        ({"ema": 0}, "ema is now ema_decay"),
        ({"clip": 0}, "clip is now grad_clip_norm"),
        ({"keep_awake": True}, "keep_awake is now reinit_dead_units"),
        *(
            ({"data": {"photos": "x", "mixture": {old: 1}}}, f"data.mixture: mixture.{old} is now mixture.{new}")
            for old, new in [
                ("drawn", "rain"),
                ("lines", "sharp_streaks"),
                ("masks", "streak_masks"),
                ("layers", "rain_transfer"),
                ("dry", "clean"),
                ("stripes", "hard_negatives"),
            ]
        ),
        (
            {"stages": [{"steps": 1, "mixture": {"dry": 1}}]},
            "stages.0.mixture: mixture.dry is now mixture.clean",
        ),
    ],
)
def test_a_key_of_0_1_is_an_error_that_names_the_new_one(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse_recipe({**SMALL, **change})
    assert str(error.value) == f"recipe: {message}"


def test_an_optimizer_of_a_stage_stands_in_for_the_recipes() -> None:
    stages = [{"steps": 1}, {"steps": 1, "optimizer": {"name": "muon"}}]
    recipe = parse_recipe({**SMALL, "stages": stages, "optimizer": {"name": "adam"}})
    assert [recipe.optimizer_of(stage).name for stage in recipe.stages] == ["adam", "muon"]
    with pytest.raises(RecipeError, match="muon takes precision"):
        parse_recipe({**SMALL, "stages": stages, "precision": "16-mixed"})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(RecipeError, match="model is missing"):
        parse_recipe({key: value for key, value in SMALL.items() if key != "model"})


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    recipe = load_recipe(path, overrides=["data.photos=[a, b]", "stages.1.lr=0.5", "ema_decay=0", "args.middle=2"])
    assert recipe.data.photos == [Path("a"), Path("b")]
    assert recipe.stages[1].lr == 0.5
    assert recipe.ema_decay == 0
    assert recipe.args == {"middle": 2}
    longer = load_recipe(path, overrides=["stages.2={steps: 7, lr: 2e-4}", "stages.0.losses={l1: 1, psnr: null}"])
    assert [stage.steps for stage in longer.stages] == [*(stage.steps for stage in recipe.stages), 7]
    assert longer.stages[2].lr == 2e-4
    assert longer.stages[0].losses == {"l1": 1}
    for bad in ("ema_decay", "=3", "stages.7.lr=1", "stages.7={steps: 1}", "name.x=1", "ema_decay=[", "emma=0.9"):
        with pytest.raises(RecipeError):
            load_recipe(path, overrides=[bad])


@pytest.mark.parametrize("key", ["init", "teacher", "data.photos", "data.pairs", "data.limit", "model", "args.middle"])
@pytest.mark.parametrize("empty", ["", "  ", "#17"])
def test_an_override_without_a_value_is_not_null(key: str, empty: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "init": "repixnet", "teacher": "repixnet"}))
    with pytest.raises(RecipeError, match=rf"^--set '{key}={empty}': the value is empty; a variable .* {key}=null"):
        load_recipe(path, overrides=[f"{key}={empty}"])
    assert load_recipe(path, overrides=["init=null", "teacher=~", "stages.0.losses.ssim=null"]).init is None


@pytest.mark.parametrize("key", ["init", "teacher", "data.photos", "data.pairs"])
def test_an_empty_name_is_none(key: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    with pytest.raises(RecipeError, match=rf"{key}.*: the name of a file or folder is empty"):
        load_recipe(path, overrides=[f"{key}=''"])


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="got list"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "image.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(tmp_path / "image.yaml")


def test_stages_by_step() -> None:
    recipe = parse_recipe({**SMALL, "stages": [{"steps": 10, "batch": 4}, {"steps": 5, "batch": 2, "patch": 128}]})
    assert [recipe.stage_at(step)[1] for step in (0, 9, 10, 14)] == [0, 9, 0, 4]
    assert recipe.stage_at(99)[0] is recipe.stages[1]
    assert recipe.steps == 15


@pytest.mark.parametrize("name", ["facades-fcn", "facades-photo"])
def test_translation_of_ones_own_pairs_needs_no_file_of_this_project(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPIX_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    changes = ["data.pairs=mine", "stages.4.losses.perceptual=null"][: 1 + (name == "facades-photo")]
    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml", overrides=changes)
    assert "REPIX_DATA" not in dump_recipe(recipe)
    with pytest.raises(InputError, match=r"^data\.pairs: .*mine"):
        make_data(recipe)
    create_task(recipe)
    if name == "facades-photo":
        with pytest.raises(WeightsError, match=r"^stages\.4\.losses\.perceptual: no weights of vgg16: put https"):
            create_task(load_recipe(ROOT / "recipes" / f"{name}.yaml", overrides=changes[:1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"args": {"channels": 0}}, "model 'resnet': channels: got 0, expected greater than 0"),
        ({"args": {"channels": "x"}}, "model 'resnet': channels: got 'x', expected a valid integer"),
        (
            {"model": "repixnet", "args": {"channels": [8, 8]}},
            "model 'repixnet' cannot be made with args {'channels': [8, 8]}: repixnet: got 2 levels of channels",
        ),
        (
            {"model": "prenet", "stages": [{"steps": 1, "network": {"stages": 0}}]},
            "stages.0.network: stages: got 0, expected greater than 0",
        ),
        (
            {"model": "unet", "stages": [{"steps": 1, "patch": 100}]},
            "stages.0.patch: got 100, but unet takes multiples of",
        ),
        (
            {"model": "unet", "stages": [{"steps": 9}, {"steps": 1, "patch": 2}]},
            "stages.1.patch: got 2, but unet takes multiples of",
        ),
        ({"stages": [{"steps": 1, "losses": {"l1": 0}}]}, "stages.0.losses: all weights are 0"),
        ({"stages": [{"steps": 1, "losses": {"l1": 1, "ssim": -1}}]}, "stages.0.losses.ssim: got the weight -1"),
        ({"stages": [{"steps": 1, "losses": {"l1": {"weight": math.nan}}}]}, "stages.0.losses.l1: got the weight nan"),
        (
            {"stages": [{"steps": 1, "losses": {"charbonnier": {"weight": 1, "epsilon": math.nan}}}]},
            "stages.0.losses.charbonnier: loss 'charbonnier': epsilon: got nan, expected a finite number",
        ),
    ],
)
def test_what_a_network_or_a_loss_cannot_be_is_told_before_the_first_step(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError) as error:
        create_task(parse_recipe({**SMALL, "model": "resnet", **change}))
    assert str(error.value).startswith(message)
