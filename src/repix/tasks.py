"""What a network can be made for. Whatever differs between tasks is a value here, not a branch elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from repix.errors import InputError, did_you_mean


@dataclass(frozen=True, eq=False)
class Task:
    """What a network does to images, and what follows from it. There is one object a task: compare with `is`.

    Attributes:
        name: key of `TASKS`; what cards and recipes say.
        verb: the command that runs such models, `repix <verb>`; "made to <verb>" in messages.
        done: what the summary of a run says, "<done> 3 images".
        suffix: results that nobody named are `NAME_<suffix>.EXT`; None takes the model's name.
        keeps_icc: whether results have the colours of their input: its colour profile stays, and grey stays grey.
        takes_video: whether the frames of a video can be restored one after the other.
        self_ensemble: whether the mean over mirrored and shifted copies of an image is a better result.
        directed: whether it matters which image of a pair is the first: A to B, or B to A.
        local: whether parts of an image can be judged alone: what has changed lies in places, not everywhere.
        adversarial: whether it can be trained against a discriminator.
        needs_pairs: whether it is learnt from pairs of images only.
        data_keys: keys of a recipe's `data` that mean something to this task and not to every other.
        metrics: names of what `repix evaluate` measures by default, as far as the images and options allow.
        validate: name of the metric that training validates by.
    """

    name: str
    verb: str
    done: str
    suffix: str | None
    keeps_icc: bool
    takes_video: bool
    self_ensemble: bool
    directed: bool
    local: bool
    adversarial: bool
    needs_pairs: bool
    data_keys: tuple[str, ...]
    metrics: tuple[str, ...]
    validate: str

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Callable[[str], Task], tuple[str]]:
        """Copies and what comes out of a pickle are the same object."""
        return find_task, (self.name,)

    def result_suffix(self, model: str | None) -> str:
        """What results are called by where nobody named them; `model` is the model's name, if it has one."""
        return self.suffix or model or self.done


DERAIN = Task(
    name="derain",
    verb="derain",
    done="derained",
    suffix="derained",
    keeps_icc=True,
    takes_video=True,
    self_ensemble=True,
    directed=False,
    local=True,
    adversarial=False,
    needs_pairs=False,
    data_keys=("photos", "masks", "mixture", "validation_degradations", "camera"),
    metrics=("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"),
    validate="psnr_y",
)
"""Rainy images to clean ones."""

TRANSLATE = Task(
    name="translate",
    verb="translate",
    done="translated",
    suffix=None,
    keeps_icc=False,
    takes_video=False,
    self_ensemble=False,  # what it has learnt need not look the same upside down, and labels have no mean
    directed=True,
    local=False,
    adversarial=True,
    needs_pairs=True,
    data_keys=("direction", "resize_short", "flip", "scale", "rotation", "colour"),
    metrics=(
        "l1_pm1",
        "psnr_rgb",
        "ssim_rgb",
        "label_accuracy",
        "mean_iou_pooled",
        "kid_vgg16",
        "kid_vgg16_std",
    ),
    validate="l1_pm1",
)
"""One kind of image to another (pix2pix)."""

TASKS: Mapping[str, Task] = {task.name: task for task in (DERAIN, TRANSLATE)}


def find_task(name: str) -> Task:
    """The task of a name.

    Raises:
        InputError: there is none.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}{did_you_mean(name, TASKS)} (known: {', '.join(TASKS)})")
    return TASKS[name]


def _validated(value: object) -> Task:
    if isinstance(value, Task):
        return value
    try:
        return find_task(str(value))
    except InputError as error:
        raise ValueError(str(error)) from None


TaskField = Annotated[
    Task,
    PlainValidator(_validated),
    PlainSerializer(lambda task: task.name, return_type=str),
    WithJsonSchema({"type": "string", "enum": list(TASKS)}),
]
"""Type of a field that is written as a task's name, and read as the task."""
