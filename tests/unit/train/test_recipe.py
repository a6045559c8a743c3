"""Recipes: strict, with errors that name the nearest key; overrides; round trip."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from repix.errors import RecipeError
from repix.train.recipe import dump_recipe, load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))
SMALL = {
    "name": "x",
    "model": "repixnet",
    "data": {"photos": "photos"},
    "stages": [{"steps": 10}, {"steps": 5, "patch": 128}],
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_after_their_file(path: Path) -> None:
    assert load_recipe(path).name == path.stem


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
        ({"stages": []}, "stages"),
        ({"model": None}, "model"),
        ({"data": {}}, "nothing to train on"),
        (
            {"data": {"photos": "x", "mixture": {"drwan": 1}}},
            "unknown kind 'drwan' in the mixture; did you mean 'drawn'",
        ),
        ({"data": {"photos": "x", "mixture": {"drawn": -1}}}, r"mixture\.drawn"),
        ({"name": "../x"}, "name"),
        ({"task": "translat"}, "task"),
        ({"task": "translate"}, r"data\.photos does not go with task: translate"),
        ({"data": {"pairs": "x", "jitter": 286}}, r"data\.jitter does not go with task: derain"),
        ({"data": {"pairs": "x", "direction": "BtoA"}}, r"data\.direction does not go with task: derain"),
        ({"task": "translate", "data": {"pairs": "x", "direction": "ab"}}, r"data\.direction"),
        ({"task": "translate", "data": {"pairs": "x", "jiter": 286}}, r"'data\.jiter'; did you mean 'jitter'"),
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


def test_a_missing_key_is_named() -> None:
    with pytest.raises(RecipeError, match="model is missing"):
        parse_recipe({key: value for key, value in SMALL.items() if key != "model"})


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    recipe = load_recipe(path, overrides=["data.photos=[a, b]", "stages.1.lr=0.5", "ema=0", "args.middle=2"])
    assert recipe.data.photos == [Path("a"), Path("b")]
    assert recipe.stages[1].lr == 0.5
    assert recipe.ema == 0
    assert recipe.args == {"middle": 2}
    for bad in ("ema", "=3", "stages.7.lr=1", "name.x=1", "ema=[", "emma=0.9"):
        with pytest.raises(RecipeError):
            load_recipe(path, overrides=[bad])


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="got list"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match="not YAML"):
        load_recipe(tmp_path / "picture.yaml")


def test_stages_by_step_and_by_sample() -> None:
    recipe = parse_recipe({**SMALL, "stages": [{"steps": 10, "batch": 4}, {"steps": 5, "batch": 2, "patch": 128}]})
    assert [recipe.stage_at(step)[1] for step in (0, 9, 10, 14)] == [0, 9, 0, 4]
    assert recipe.stage_at(99)[0] is recipe.stages[1]
    assert [(span.first, span.patch) for span in recipe.spans()] == [(0, 96), (40, 128)]
    assert recipe.steps == 15
