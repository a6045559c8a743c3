"""Training: a recipe in, a checkpoint out; stopped at any moment, it goes on from where it was."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from repix._types import one_line
from repix.data.datamodule import RestorationData, as_in_this_process
from repix.errors import RecipeError
from repix.io.files import check_writable
from repix.train.checkpoints import (
    SafeCheckpoints,
    StopAtNonFinite,
    StopBetweenSteps,
    check_checkpoint,
    check_code,
    check_files,
    record_run,
)
from repix.train.curves import Curves
from repix.train.recipe import Recipe, is_of_old_format, load_recipe, read_yaml
from repix.train.steering import SteerMixture
from repix.train.task import LOG_EVERY
from repix.train.translation import create_task


def train(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool = True,
    trust: bool = False,
) -> Path:
    """Train a network.

    Args:
        recipe: what to train and how.
        out: folder of the run, by default `runs/<name>`; it gets `recipe.yaml`, `last.ckpt`, `best.ckpt` (by
            `val/score`), TensorBoard's logs, `curves.csv` and `curves.png` with losses and validation metrics, and
            `images/` with grids of each validation.
        resume: go on from `last.ckpt`: same weights, optimizer, average, schedule and order of data.
        progress: show a progress bar.
        trust: run Python files that the cards of `init` and `teacher` name; when resuming, those that the recipe names
            may have changed.

    Returns:
        The checkpoint to export: the best by validation, or the last where nothing was held out.

    Raises:
        RecipeError: the folder holds another run, or there is nothing to resume, or files of the data or code that it
            was started with have changed, or the loss is not finite.
        InputError: data that is missing or does not fit, or a folder that cannot be written.
        WeightsError: a checkpoint to resume from that is damaged.
        KeyboardInterrupt: it was told to stop (Ctrl-C); unless that was before its first step, `last.ckpt` is of then.
    """
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    last = folder / "last.ckpt"
    if resume:
        if not last.is_file():
            raise RecipeError(f"{last}: nothing to resume; start without --resume")
        _check_same(recipe, folder)
        check_code(recipe, folder, trust=trust)
        check_checkpoint(last)
    elif last.exists():
        raise RecipeError(f"{folder} holds a run already: go on with --resume, or choose another folder with -o")
    if is_main_process():  # the only one that writes there
        check_writable([folder])

    lightning.seed_everything(recipe.seed, verbose=False)
    task = create_task(recipe, images=folder / "images", trust=trust)
    task.rehearse()  # what a stage cannot have is said before all images are looked at
    data = make_data(recipe)
    if resume:
        check_files(data.files, folder)
    task.validate_on(data.sets)
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            _forget_unsaved(folder)
        record_run(folder, recipe, data.files)
    callbacks: list[Callback] = [
        StopAtNonFinite(folder),
        (ModelCheckpoint if task.automatic_optimization else _EveryMinutes)(
            dirpath=folder,
            filename="last",
            train_time_interval=timedelta(minutes=recipe.save_every),
            enable_version_counter=False,
        ),
    ]
    if recipe.data.steer:
        steering = SteerMixture(data.sets, lag=data.made_ahead)
        data.factors_at = steering.factors_at
        callbacks.append(steering)
    if task.chooses:
        best = ModelCheckpoint(
            dirpath=folder, filename="best", monitor="val/score", mode="max", enable_version_counter=False
        )
        callbacks.append(best)
    callbacks += [Curves(folder, every=LOG_EVERY), _ValidateLast(), _SaveLast(last)]
    plugins = [SafeCheckpoints()]
    if recipe.ema_decay:
        callbacks.append(WeightAveraging(multi_avg_fn=_average(recipe.ema_decay)))
    if progress:
        callbacks.append(_Bar(recipe.name))
    stop = StopBetweenSteps(
        last, lambda step: bool(data.sets) and (step % recipe.validate_every == 0 or step >= recipe.steps)
    )
    callbacks.append(stop)  # after the averaging, which takes each step in first
    settings: dict[str, Any] = {"accelerator": "auto", "devices": "auto"} | _by_torchrun()
    settings |= recipe.trainer.model_dump(exclude_none=True)
    with _quiet():
        trainer = _trainer(
            settings,
            max_steps=recipe.steps,
            max_epochs=-1,
            precision=recipe.precision,
            gradient_clip_val=(recipe.grad_clip_norm or None) if task.automatic_optimization else None,
            val_check_interval=recipe.validate_every if data.sets else None,
            check_val_every_n_epoch=None if data.sets else 1,
            limit_val_batches=1.0 if data.sets else 0,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=plugins,
            logger=TensorBoardLogger(save_dir=folder, name="", version="logs"),
            log_every_n_steps=LOG_EVERY,
            use_distributed_sampler=False,  # StreamBatches deals the samples out itself
            enable_progress_bar=progress,
            enable_model_summary=False,
        )
        try:
            with stop.watching():
                trainer.fit(task, datamodule=data, ckpt_path=last if resume else None, weights_only=True)
        except SystemExit as end:  # what Lightning makes of Ctrl-C
            if isinstance(end.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        except Exception as error:
            if (met := as_in_this_process(error)) is None:
                raise
            raise met from error
        finally:  # where validation fails Lightning leaves the processes that make data, and Python would wait for them
            trainer.fit_loop.teardown()
    found = folder / "best.ckpt"
    return found if found.is_file() else last


def _forget_unsaved(folder: Path) -> None:
    """Remove what a run that was killed before its first save left in its folder: its best is not the next one's, and
    its curves and grids would stand among that one's."""
    (folder / "best.ckpt").unlink(missing_ok=True)
    for pattern in ("logs/events.out.tfevents.*", "images/val_*.png", "images/train_*.png"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _average(most: float) -> Callable[[Any, Any, Tensor], None]:
    """An exponential average of weights whose decay rises to `most`: at its end a short training would otherwise still
    be half of what it started from."""

    def update(averaged: Any, current: Any, count: Tensor) -> None:
        decay = min(most, (1 + float(count)) / (10 + float(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]

    return update


def _trainer(asked: dict[str, Any], **own: Any) -> lightning.Trainer:
    """Lightning's trainer.

    Args:
        asked: the recipe's settings.
        own: those that repix makes itself.

    Raises:
        RecipeError: a device that is not there.
    """
    try:
        return lightning.Trainer(**own, **asked)
    except (MisconfigurationException, ImportError, TypeError, ValueError, RuntimeError) as error:
        raise RecipeError(f"trainer: {one_line(error)}") from error


def is_main_process() -> bool:
    """Whether this is the one that speaks and writes files, of all that train together."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _by_torchrun() -> dict[str, int]:
    """What torchrun has started already; otherwise, on processors, each process would take itself for the only one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    return {"devices": int(os.environ["LOCAL_WORLD_SIZE"]), "num_nodes": int(os.environ["GROUP_WORLD_SIZE"])}


class _Bar(TQDMProgressBar):
    """Lightning's bar with the run's name, losses and validation metrics, and nothing else."""

    def __init__(self, name: str) -> None:
        super().__init__(refresh_rate=LOG_EVERY)
        self._name = name

    def on_train_epoch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        bar = self.train_progress_bar
        bar.set_description(self._name)
        bar.total, bar.n, bar.initial = trainer.max_steps, trainer.global_step, trainer.global_step

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Lightning's index begins anew with a stage that was added to a finished run; the steps go on
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

    def get_metrics(self, *args: Any) -> dict[str, int | str | float | dict[str, float]]:
        return {key: value for key, value in super().get_metrics(*args).items() if key != "v_num"}


class _EveryMinutes(ModelCheckpoint):
    """Saves by the clock under manual optimization too, where Lightning 2.6 looks at steps only."""

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        super().on_train_batch_end(trainer, _AUTOMATIC, *args)


# All that Lightning's callback asks its module is whether its optimization is manual.
_AUTOMATIC = lightning.LightningModule()


class _ValidateLast(Callback):
    """Validates the end of a run, which no interval need hit: where the rate has come down, the best is often there."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True  # it would stop now anyway; asked to, Lightning validates first


class _SaveLast(Callback):
    """Saves the end of a run, which no interval need hit; ahead of averaging, which then replaces the weights."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.save_checkpoint(self._path)


def make_data(recipe: Recipe) -> RestorationData:
    """The data module of a recipe.

    Raises:
        InputError: data that is missing or does not fit.
    """
    task = recipe.task
    return RestorationData(
        recipe.data, recipe.stages, metric=task.validate, augment="flip" in task.data_keys, seed=recipe.seed
    )


def last_batches(recipe: Recipe, count: int = 24) -> Iterator[NDArray[np.float32]]:
    """The degraded images of a run's last batches, (N, 3, P, P) in [0, 1], made anew.

    Args:
        recipe: the run's.
        count: how many batches, at most.

    Raises:
        InputError: data that is missing or does not fit.
    """
    data = make_data(recipe.model_copy(update={"data": recipe.data.model_copy(update={"workers": 0})}))
    for batch in data.stream(max(0, recipe.steps - count)):
        yield batch["lq"].numpy()


def _check_same(recipe: Recipe, folder: Path) -> None:
    """Only the pace of saving and the machine may change between runs, and stages be added at the end."""
    if is_of_old_format(read_yaml(folder / "recipe.yaml")):
        raise RecipeError(
            f"{folder}: a run of repix 0.1 cannot be resumed; start another one from its weights: "
            f"--set init={folder / 'weight'} -o FOLDER"
        )
    free = {"trainer", "save_every", "validate_every", "description"}
    before = load_recipe(folder / "recipe.yaml").model_dump(exclude=free)
    now = recipe.model_dump(exclude=free)
    before["data"].pop("workers"), now["data"].pop("workers")
    now["stages"] = now["stages"][: len(before["stages"])]
    changed = [key for key in now if now[key] != before[key]]
    if changed:
        longer = (
            "; to train longer, add a stage at the end (--set 'stages.N={steps: 1000}')"
            if changed == ["stages"]
            else ""
        )
        raise RecipeError(
            f"{folder}: the run was started with other settings for {', '.join(changed)}; "
            f"restore them, or start another run with -o{longer}"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice about things that repix has decided (workers, mid-epoch resume of its own stream)."""
    level = logging.getLogger("lightning.pytorch").level
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in (
            ".*LeafSpec.*is deprecated.*",  # Lightning's own use of torch
            ".*does not have many workers.*",
            "This DataLoader will create .* worker processes in total.*",  # torch's, on one core
            ".*You're resuming from a checkpoint that ended before the epoch ended.*",
            ".*Checkpoint directory .* exists and is not empty.*",
            ".*number of training batches .* is smaller than the logging interval.*",
        ):
            warnings.filterwarnings("ignore", text)
        try:
            yield
        finally:
            logging.getLogger("lightning.pytorch").setLevel(level)
