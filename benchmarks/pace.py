"""How fast a recipe trains, in its own loop, and tables whose rows are trainings; for the scripts beside it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning

from repix.train.export import export
from repix.train.loop import make_data, train
from repix.train.recipe import Recipe, load_recipe
from repix.train.task import RestorationTask
from repix.weights import ModelCard
from translate import read_rows, write_rows


class _Clock(lightning.Callback):
    """Notes when the warm-up has ended and when training has."""

    def __init__(self, warmup: int, now: Callable[[], float]) -> None:
        self._warmup, self._now = warmup, now
        self.start = self.end = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if trainer.global_step == self._warmup:
            self.start = self._now()
        self.end = self._now()


def seconds_of(recipe: Recipe, *, warmup: int, now: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of a recipe's steps after the first `warmup`, without validation and checkpoints.

    By the wall clock; or, with `time.process_time`, of the process that trains, which other work on the machine and
    the processes that make its data don't count into.
    """
    clock = _Clock(warmup, now)
    trainer = lightning.Trainer(
        max_steps=recipe.steps,
        max_epochs=-1,
        precision=recipe.precision,
        callbacks=[clock],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        accelerator="cpu",
    )
    trainer.fit(RestorationTask(recipe), datamodule=make_data(recipe))
    return clock.end - clock.start


def trained(folder: Path, start: Callable[[], Recipe]) -> ModelCard:
    """The last weight of a run, exported to `model` in its folder; a run that was interrupted goes on.

    Args:
        folder: of the run.
        start: its recipe, asked for where there is no checkpoint yet.
    """
    resume = (folder / "last.ckpt").is_file()
    recipe = load_recipe(folder / "recipe.yaml") if resume else start()
    train(recipe, folder, resume=resume)
    return export(folder / "last.ckpt", folder / "model")


def fill(path: Path, fields: Sequence[str], rows: Sequence[str], measure: Callable[[str], dict[str, str]]) -> None:
    """Measure the rows that are not in a table yet, and write it after each."""
    for row in rows:
        done = read_rows(path)
        if any(entry["row"] == row for entry in done):
            print(f"{row}: already in {path}", file=sys.stderr)
        else:
            write_rows(path, list(fields), [*done, measure(row)])
