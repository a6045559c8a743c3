"""Recipes: everything a training run is, in one YAML file, checked before anything starts.

A recipe holds a list of stages; each may change patch size, loss terms, samples, attributes that the network
lists, optimizer, learning rate and length. A plain run is one stage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from repix._environment import data_folder
from repix._types import expected, invalid, one_line, shown
from repix.data.config import Data, Samples, Strict, check_named
from repix.errors import InputError, RecipeError, WeightsError, did_you_mean
from repix.io.files import check_regular
from repix.tasks import DERAIN, TASKS, TaskField
from repix.weights import find_card

_DATA = "$REPIX_DATA/"

# What keys were called in repix 0.1; of a stage, without its number.
_OLD_KEYS = {
    "data.longest": "data.max_side",
    "data.jitter": "data.resize_short",
    "data.turn": "data.rotation",
    "data.watched": "data.train_subset",
    "data.validate_most": "data.max_validation",
    "stages.dense": "stages.sharp_streaks_density",
    "ema": "ema_decay",
    "clip": "grad_clip_norm",
    "keep_awake": "reinit_dead_units",
}


Decay = Annotated[float, Field(ge=0, lt=1)]
ModelName = Annotated[str, BeforeValidator(check_named)]


class Optimizer(Strict):
    """What takes the steps; the learning rate is the stage's."""

    name: Literal["adamw", "adam", "muon"] = "adamw"
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)


class Trainer(Strict):
    """On which machine training runs and how it is watched: those arguments of `lightning.Trainer` that change neither
    what is trained nor what is written; None leaves them to it."""

    accelerator: str | None = None
    devices: PositiveInt | Literal[-1, "auto"] | list[NonNegativeInt] | None = None
    num_nodes: PositiveInt | None = None
    strategy: str | None = None
    sync_batchnorm: bool | None = None
    deterministic: bool | Literal["warn"] | None = None
    benchmark: bool | None = None
    detect_anomaly: bool | None = None
    profiler: Literal["simple", "advanced", "pytorch"] | None = None


class Stage(Samples):
    """A stretch of training with settings of its own."""

    losses: dict[str, float | dict[str, Any]] = Field(
        {"l1": 1.0},
        description="weight of each term, or its weight and arguments: {perceptual: {weight: 0.1, layers: [22]}}; null "
        "leaves it out, as with --set stages.4.losses.perceptual=null; "
        "translation may have {adversarial: {weight: 1, mode: vanilla | lsgan | hinge}} among them",
    )
    lr: float = Field(1e-3, gt=0, le=1, description="the learning rate")
    lr_end: float = Field(1e-6, ge=0, le=1, description="where the cosine or the line ends")
    warmup: int = Field(0, ge=0, description="steps of linear rise")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    optimizer: Optimizer | None = Field(
        None, description="in place of the recipe's, from this stage's first step to its last, without earlier moments"
    )
    levels: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of samples that the network itself first works on at coarser or finer levels, so that it "
        "learns what another level of the pyramid leaves",
    )
    teacher_weight: float = Field(
        0.0, ge=0, le=1, description="share of the loss that is taken towards the recipe's teacher, not the target"
    )
    network: dict[str, Any] = Field(
        {}, description="attributes of the network to set, of those that it lists as `stage_attributes`: {stages: 3}"
    )

    @field_validator("losses", mode="before")
    @classmethod
    def _left_out(cls, losses: Any) -> Any:
        return {k: term for k, term in losses.items() if term is not None} if isinstance(losses, dict) else losses


class Recipe(Strict):
    """A training run. `load_recipe` reads one; unknown keys are errors that name the nearest known one."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    task: TaskField = DERAIN
    model: str
    args: dict[str, Any] = Field({})
    init: ModelName | None = Field(
        None,
        description="start from this model, a name or a folder, and not from nothing: the same network, or the same "
        "with more residual blocks, by default with its args; or a classifier's file, for vgg_unet's encoder",
    )
    teacher: ModelName | None = Field(
        None, description="a model, by name or folder, whose output is a second target (stages.teacher_weight)"
    )
    discriminator: dict[str, Any] = Field({}, description="arguments of PatchGAN, for stages with an adversarial loss")
    data: Data
    stages: list[Stage] = Field(min_length=1)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    ema_decay: float = Field(0.999, ge=0, lt=1, description="of the averaged weights; 0 turns averaging off")
    grad_clip_norm: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 turns clipping off")
    reinit_dead_units: bool = Field(
        False,
        description="keep the units of residual blocks from dying, and reinitialise at the start of each stage those "
        "that are dead; for long trainings without batch norm",
    )
    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed"
    channels_last: bool = True
    validate_every: PositiveInt = Field(2000, description="steps between validations; the last step has one too")
    save_every: float = Field(3.0, gt=0, le=1e6, description="minutes between checkpoints")
    seed: int = Field(0, ge=0, lt=2**32)
    trainer: Trainer = Field(default_factory=lambda: Trainer())

    @model_validator(mode="before")
    @classmethod
    def _args_of_init(cls, values: Any) -> Any:
        """A recipe that starts from a model and says nothing of the network's size means that model's."""
        if isinstance(values, dict) and isinstance(values.get("init"), str) and not values.get("args"):
            with contextlib.suppress(WeightsError):  # a classifier's file; or a mistake, which is told of later
                card, _ = find_card(values["init"])
                return {**values, "args": card.args} if card.arch == values.get("model") else values
        return values

    @model_validator(mode="after")
    def _fits_the_task(self) -> Recipe:
        """What one task would swallow unread is an error; a value equal to the default says nothing."""
        for key in (key for task in TASKS.values() for key in task.data_keys if key not in self.task.data_keys):
            if getattr(self.data, key) != Data.model_fields[key].default:
                raise ValueError(f"data.{key} does not go with task: {self.task}; leave it out")
        for key in ("mixture", "hard_clean"):
            if "mixture" not in self.task.data_keys and any(getattr(stage, key) for stage in self.stages):
                raise ValueError(f"stages.{key} does not go with task: {self.task}; leave it out")
        adversarial = any("adversarial" in stage.losses for stage in self.stages)
        if not self.task.adversarial and (adversarial or self.discriminator):
            takers = " or ".join(task.name for task in TASKS.values() if task.adversarial)
            raise ValueError(f"an adversarial loss and its discriminator go with task: {takers} only")
        if adversarial and self.precision == "16-mixed":
            raise ValueError("an adversarial loss takes precision: bf16-mixed or 32-true, not 16-mixed")
        if self.precision == "16-mixed" and any(self.optimizer_of(stage).name == "muon" for stage in self.stages):
            raise ValueError("optimizer.name muon takes precision: bf16-mixed or 32-true, not 16-mixed")
        if any(stage.teacher_weight for stage in self.stages) and self.teacher is None:
            raise ValueError("stages.teacher_weight needs a teacher: give the name or folder of a model")
        if self.task.needs_pairs and not self.data.pairs:
            raise ValueError(f"nothing to {self.task.verb}: give data.pairs, a folder of pairs")
        if any(stage.frames > 1 for stage in self.stages):
            self._check_clips()
        elif self.data.clips:
            raise ValueError("data.clips is for stages with frames; for images give the folders as data.pairs")
        return self

    def _check_clips(self) -> None:
        if any(stage.frames == 1 for stage in self.stages):
            raise ValueError("stages.frames: give all stages frames, or none")
        if not self.data.mixture and any(not stage.mixture for stage in self.stages):
            raise ValueError("stages.frames needs data.mixture")
        if self.teacher is not None or self.reinit_dead_units or any(stage.levels for stage in self.stages):
            raise ValueError("stages.frames does not go with teacher, reinit_dead_units or stages.levels")

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage that step (from 0) belongs to, and the step within it; the last stage goes on for ever."""
        for stage in self.stages[:-1]:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        return self.stages[-1], step

    def optimizer_of(self, stage: Stage) -> Optimizer:
        """The stage's own optimizer, or the recipe's."""
        return stage.optimizer or self.optimizer


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _nearest(key: str, known: Sequence[str]) -> str:
    return did_you_mean(key, known) or f" (known: {', '.join(known)})"


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Names of the keys that are known where an error lies."""
    model: Any = Recipe
    for part in location:
        if isinstance(part, int):
            continue
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return []
        annotation = model.model_fields[part].annotation
        model = next(
            (kind for kind in (annotation, *getattr(annotation, "__args__", ())) if _is_model(kind)),
            None,
        )
    return list(model.model_fields) if _is_model(model) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _in_data_folder(value: Any, folder: Path) -> Any:
    """A recipe's values with `$REPIX_DATA/` at the start of any text replaced."""
    if isinstance(value, dict):
        return {key: _in_data_folder(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_data_folder(item, folder) for item in value]
    if isinstance(value, str) and value.startswith(_DATA):
        return folder.joinpath(value.removeprefix(_DATA)).as_posix()
    return value


def parse_recipe(values: Any, *, source: str = "recipe") -> Recipe:
    """Check a recipe that was read from YAML or made in Python.

    `$REPIX_DATA/` at the start of a path stands for the folder of data sets, and stays where there is none, so that
    what looks for the path names it.

    Raises:
        RecipeError: every key that is unknown or does not fit, in one message of one line.
    """
    if not isinstance(values, dict):
        raise RecipeError(f"{source}: got {type(values).__name__}, expected keys and values (see recipes/)")
    folder = data_folder()
    try:
        return Recipe.model_validate(values if folder is None else _in_data_folder(values, folder))
    except ValidationError as error:
        raise RecipeError(f"{source}: {'; '.join(_problems(values, error))}") from None


def _problems(values: Any, error: ValidationError) -> list[str]:
    """What is wrong, a sentence each; a value that may be of several kinds and is of none has one sentence."""
    said: dict[str, list[str]] = {}
    for item in error.errors():
        place = _place(values, item["loc"], is_missing=item["type"] == "missing")
        where = ".".join(map(str, place)) or "recipe"
        old = ".".join(str(part) for part in place if not isinstance(part, int))
        if item["type"] == "extra_forbidden" and old in _OLD_KEYS:
            said[f"{where} is now {where.removesuffix(_last(old)) + _last(_OLD_KEYS[old])}"] = []
        elif item["type"] == "extra_forbidden":
            said[f"unknown key {where!r}{_nearest(str(place[-1]), _fields_at(place[:-1]))}"] = []
        elif (wanted := expected(item["msg"])) is not None:
            said.setdefault(f"{where}: got {shown(item['input'])}, expected ", []).append(wanted)
        else:
            said[invalid(item, where=where)] = []
    return [problem + ", or ".join(kinds) for problem, kinds in said.items()]


def _place(values: Any, location: tuple[Any, ...], *, is_missing: bool) -> tuple[Any, ...]:
    """Where an error lies, without the parts that name one kind of those that a value may be of."""
    place = []
    for part in location[:-1] if is_missing else location:
        if isinstance(values, dict):
            if part not in values:
                continue
        elif not (isinstance(values, list) and isinstance(part, int)):
            continue
        place.append(part)
        values = values[part]
    return (*place, location[-1]) if is_missing else tuple(place)


class _OnceLoader(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error, and not the last one's value."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """See yaml.SafeLoader."""
        keys = [key.value for key, _ in node.value if isinstance(key.value, str)] if hasattr(node, "value") else []
        for key in keys:
            if keys.count(key) > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """What a recipe's file holds, not checked.

    Raises:
        RecipeError: not a file, or not YAML.
    """
    try:
        check_regular(path, max_bytes=2**22)
        return yaml.load(path.read_text(encoding="utf-8"), _OnceLoader)
    except InputError as error:
        raise RecipeError(str(error)) from None
    except OSError as error:
        raise RecipeError(
            f"{path}: {error.strerror or error}; expected a recipe such as recipes/repixnet.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not YAML ({one_line(error)})") from None


def load_recipe(path: str | Path, *, overrides: tuple[str, ...] | list[str] = ()) -> Recipe:
    """Read a recipe and apply `key=value` overrides.

    Args:
        path: a YAML file.
        overrides: `data.photos=DIR`, `stages.0.steps=100`, `ema_decay=0`: dotted path and YAML value, `null` for none;
            the index after the last adds to a list.

    Raises:
        RecipeError: not a file, not YAML, an unknown key, a value that does not fit.
    """
    values = read_yaml(Path(path))
    for override in overrides:
        _override(values, override)
    return parse_recipe(values, source=str(path))


def _override(values: Any, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override!r}: expected key=value, e.g. data.photos=holiday/")
    try:
        value = yaml.safe_load(text)
        is_empty = value is None and yaml.compose(text, yaml.SafeLoader) is None
    except yaml.YAMLError:
        raise RecipeError(f"--set {override!r}: the value is not YAML") from None
    if is_empty:  # which YAML takes for null: an init that a shell has lost would train from nothing
        raise RecipeError(
            f"--set {override!r}: the value is empty; a variable of the shell may not be set. Write {key}=null for none"
        )
    *parents, last = key.split(".")
    node = values
    for part in parents:
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict):
            node = node.setdefault(part, {})
        else:
            raise RecipeError(f"--set {override!r}: there is no {part!r} in the recipe")
    if isinstance(node, list):
        if not (last.isdigit() and int(last) <= len(node)):
            raise RecipeError(f"--set {override!r}: expected an index up to {len(node)}, got {last!r}")
        node[int(last) : int(last) + 1] = [value]  # the one after the last is added
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise RecipeError(f"--set {override!r}: {'.'.join(parents)} holds a value, not keys")


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every default spelled out, as YAML that `load_recipe` reads back to an equal one."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def is_of_old_format(values: Any) -> bool:
    """Whether a recipe read from YAML has keys that repix 0.1 wrote into the folder of every run."""
    return isinstance(values, dict) and any(key in values for key in _OLD_KEYS)
