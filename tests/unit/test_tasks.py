"""Tasks: one object for each, found by name, read and written by cards and recipes as that name."""

from __future__ import annotations

import copy
import pickle

import pytest
from pydantic import ValidationError

from repix.data.config import Data
from repix.errors import InputError
from repix.metrics import METRICS
from repix.tasks import DERAIN, TASKS, TRANSLATE, Task, find_task
from repix.train.recipe import parse_recipe
from repix.weights import ModelCard

CARD = {"name": "own", "arch": "unet", "tiling": None, "licence": "MIT"}


@pytest.mark.parametrize("task", TASKS.values(), ids=str)
def test_a_task_says_only_what_there_is(task: Task) -> None:
    assert TASKS[task.name] is task
    assert set(task.metrics) | {task.validate} <= set(METRICS)
    assert set(task.data_keys) <= set(Data.model_fields)


@pytest.mark.parametrize("task", TASKS.values(), ids=str)
def test_there_is_one_object_a_task(task: Task) -> None:
    assert pickle.loads(pickle.dumps(task)) is copy.deepcopy(task) is find_task(task.name) is task


def test_a_card_holds_the_task_and_is_written_with_its_name() -> None:
    card = ModelCard.model_validate(CARD | {"task": "translate"})
    assert card.task is TRANSLATE
    assert '"task":"translate"' in card.model_dump_json()
    assert ModelCard.model_validate_json(card.model_dump_json()).task is TRANSLATE


def test_a_mistyped_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown task 'derian'; did you mean 'derain'"):
        find_task("derian")
    with pytest.raises(ValidationError, match=r"did you mean 'translate'"):
        ModelCard.model_validate(CARD | {"task": "tranlsate"})


def test_a_recipe_holds_the_task() -> None:
    recipe = {"name": "x", "model": "unet", "data": {"photos": "photos"}, "stages": [{"steps": 1}]}
    assert parse_recipe(recipe).task is DERAIN


def test_results_that_nobody_named() -> None:
    assert DERAIN.result_suffix("repixnet") == DERAIN.suffix
    assert TRANSLATE.result_suffix("facades-labels") == "facades-labels"
