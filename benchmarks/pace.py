"""How fast a recipe trains, in its own loop: used by train_speed.py and study.py."""

from __future__ import annotations

import time
from typing import Any

import lightning

from repix.engine.recipe import Recipe
from repix.engine.task import RestorationTask
from repix.engine.train import make_data


class _Clock(lightning.Callback):
    """Notes when the warm-up has ended and when training has."""

    def __init__(self, warmup: int) -> None:
        self._warmup = warmup
        self.start = self.end = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if trainer.global_step == self._warmup:
            self.start = time.perf_counter()
        self.end = time.perf_counter()


def seconds_of(recipe: Recipe, *, warmup: int) -> float:
    """Wall seconds of a recipe's steps after the first `warmup`, without validation and checkpoints."""
    clock = _Clock(warmup)
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
