"""The losses, by name, and their weighted sum. Adding one is one class and one line in `LOSSES`.

A loss is a module called as `loss(prediction, gt, lq)`, all pictures (N, 3, H, W) in [0, 1], that returns a scalar;
most look at `prediction.pred` and `gt` alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from difflib import get_close_matches

from torch import Tensor, nn

from repix.errors import RecipeError
from repix.models import Prediction

LOSSES: dict[str, str] = {
    "l1": "repix.losses.pixel:L1",
}


def create_loss(name: str) -> nn.Module:
    """Build a loss by name.

    Raises:
        RecipeError: no such loss.
    """
    if name not in LOSSES:
        near = get_close_matches(name, LOSSES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"unknown loss {name!r}{hint} (known: {', '.join(LOSSES)})")
    module, _, attribute = LOSSES[name].partition(":")
    loss: nn.Module = getattr(importlib.import_module(module), attribute)()
    return loss


class WeightedLoss(nn.Module):
    """Weighted sum of losses.

    Args:
        terms: weight of each loss by name, e.g. `{"l1": 1.0}`.
    """

    def __init__(self, terms: Mapping[str, float]) -> None:
        super().__init__()
        if not terms:
            raise RecipeError(f"no loss given; expected at least one of {', '.join(LOSSES)}")
        self._weights = dict(terms)
        self.terms = nn.ModuleDict({name: create_loss(name) for name in terms})

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and each term before its weight."""
        parts: dict[str, Tensor] = {name: loss(prediction, gt, lq) for name, loss in self.terms.items()}
        total = sum((self._weights[name] * part for name, part in parts.items()), start=gt.new_zeros(()))
        return total, parts
