"""The mixture steered by validation: kinds of samples whose held-out images got worse are drawn more often.

The rule: a kind's weight is the recipe's, doubled for each `DOUBLED_BY` dB that its held-out images lie below their
best so far, at most `MOST` times the recipe's. What is as good as it was has the recipe's weight. A kind that has
several validation sets counts the one that fell most; a kind that has none keeps its weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from repix.data.config import PAIRS
from repix.data.datamodule import Degraded, ValidationSet
from repix.errors import RecipeError
from repix.train.task import ENOUGH_DB

DOUBLED_BY = 0.5
MOST = 4.0


class SteerMixture(Callback):
    """Applies the rule after each validation.

    Args:
        sets: the validation sets of the run.
        lag: steps between a validation and the first batch that follows it: as many as are made ahead, so that a
            resumed run draws what an unbroken one would.

    Raises:
        RecipeError: nothing is held out.
    """

    def __init__(self, sets: Sequence[ValidationSet], *, lag: int) -> None:
        self._kinds = {f"val/{found.name}_{found.metric}": kind_of(found) for found in sets if found.role != "train"}
        if not self._kinds:
            raise RecipeError("data.steer: nothing to validate; give data.hold_out or data.validation")
        self._lag = lag
        self._best: dict[str, float] = {}
        self._history: list[tuple[int, dict[str, float]]] = []

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare with the best so far."""
        now = {key: min(float(trainer.callback_metrics[key]), ENOUGH_DB) for key in self._kinds}
        self.follow(trainer.global_step, now)

    def follow(self, step: int, now: Mapping[str, float]) -> None:
        """Take what a validation found: logged name -> dB."""
        factors: dict[str, float] = {}
        for key, value in now.items():
            self._best[key] = max(value, self._best.get(key, value))
            factor = min(MOST, 2 ** ((self._best[key] - value) / DOUBLED_BY))
            factors[self._kinds[key]] = max(factor, factors.get(self._kinds[key], 1.0))
        self._history.append((step + self._lag, factors))

    def factors_at(self, step: int) -> Mapping[str, float]:
        """Kind -> what its weight is multiplied by, for the batch of a step."""
        return next((factors for first, factors in reversed(self._history) if first <= step), {})

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"best": self._best, "history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._best, self._history = dict(state_dict["best"]), [tuple(entry) for entry in state_dict["history"]]


def kind_of(found: ValidationSet) -> str:
    """The kind of samples in a mixture that a validation set measures."""
    first = found.pairs[0]
    return first.degradation if isinstance(first, Degraded) else PAIRS
