"""Losses and validation metrics of a run by step: a table that a resumed run goes on with, and a plot of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from repix.figures import Figure, Panel, save_figure

_HEADER = ("step", "name", "value")
# Points that a drawn loss is averaged down to; one batch says little.
_POINTS = 200


class Curves(Callback):
    """Keeps `curves.csv` (columns step, name, value) and `curves.png` in a run's folder.

    Args:
        folder: of the run.
        every: steps between two rows of the training loss.

    The plot has the training loss and, apart, the metrics of all validation sets in one panel: over-fitting is where
    those of `train` and of the others part.
    """

    def __init__(self, folder: Path, *, every: int) -> None:
        self._table, self._plot = folder / "curves.csv", folder / "curves.png"
        self._every = every

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget what an interrupted run did after the checkpoint that this one goes on from."""
        if trainer.is_global_zero:
            rows = read_curves(self._table) if trainer.global_step and self._table.is_file() else []
            with self._table.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([_HEADER, *(row for row in rows if row[0] <= trainer.global_step)])

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """A row for the loss and each of its terms."""
        if trainer.global_step % self._every == 0:
            self._add(trainer, "loss")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """A row for each metric, and the plot."""
        self._add(trainer, "val/")
        if trainer.is_global_zero:
            self._draw()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The plot of the whole."""
        if trainer.is_global_zero:
            self._draw()

    def _add(self, trainer: lightning.Trainer, prefix: str) -> None:
        values: Mapping[str, Tensor] = trainer.callback_metrics
        rows = [(trainer.global_step, name, float(value)) for name, value in values.items() if name.startswith(prefix)]
        if trainer.is_global_zero:
            with self._table.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)

    def _draw(self) -> None:
        curves: dict[str, list[tuple[int, float]]] = {}
        for step, name, value in read_curves(self._table):
            curves.setdefault(name, []).append((step, value))
        panels = []
        for label, prefix, most in (("training loss", "loss", _POINTS), ("validation", "val/", None)):
            chosen = {
                name.removeprefix("val/"): _thinned(np.asarray(points, np.float32).T, most)
                for name, points in curves.items()
                if name.startswith(prefix) and name != "val/score"
            }
            if chosen:
                panels.append(Panel(label, curves=chosen, axes=("step", "")))
        if panels:
            save_figure(Figure(self._table.parent.name, panels), self._plot)


def read_curves(table: Path) -> list[tuple[int, str, float]]:
    """The rows of a `curves.csv`: step, name, value; one that a power cut broke off is left out."""
    rows = []
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                rows.append((int(row["step"]), row["name"], float(row["value"])))
            except (TypeError, ValueError):
                continue
    return rows


def _thinned(points: np.ndarray[Any, np.dtype[np.float32]], most: int | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(2, K) -> (2, at most `most`), means of neighbours."""
    if most is None or points.shape[1] <= most:
        return points
    parts = np.array_split(points, most, axis=1)
    return np.stack([part.mean(axis=1) for part in parts], axis=1)
