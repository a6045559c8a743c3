"""The losses, by name, and their weighted sum. Adding one is one class and one line in `LOSSES`.

A loss is a module called as `loss(prediction, gt, lq)`, all images (N, 3, H, W) in [0, 1], that returns a scalar;
most look at `prediction.pred` and `gt` alone.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from repix.errors import InputError, RecipeError, WeightsError, did_you_mean
from repix.models import Prediction
from repix.named import checked_arguments

LOSSES: dict[str, str] = {
    "charbonnier": "repix.losses.pixel:Charbonnier",
    "contrastive": "repix.losses.contrastive:Contrastive",
    "clean": "repix.losses.pixel:Clean",
    "cross_entropy": "repix.losses.pixel:CrossEntropy",
    "edge": "repix.losses.pixel:Edge",
    "fft": "repix.losses.pixel:Fft",
    "flicker": "repix.losses.pixel:Flicker",
    "l1": "repix.losses.pixel:L1",
    "l2": "repix.losses.pixel:L2",
    "laplacian": "repix.losses.pixel:Laplacian",
    "lpips": "repix.losses.perceptual:Lpips",
    "mask": "repix.losses.pixel:Mask",
    "psnr": "repix.losses.pixel:Psnr",
    "perceptual": "repix.losses.perceptual:Perceptual",
    "ssim": "repix.losses.pixel:Ssim",
    "stages": "repix.losses.pixel:Stages",
    "style": "repix.losses.style:Style",
}


def create_loss(name: str, **args: Any) -> nn.Module:
    """Build a loss by name.

    Args:
        name: a key of `LOSSES`.
        **args: passed to the loss's constructor.

    Raises:
        RecipeError: unknown loss or argument, or a value that does not fit.
    """
    if name not in LOSSES:
        raise RecipeError(f"unknown loss {name!r}{did_you_mean(name, LOSSES)} (known: {', '.join(LOSSES)})")
    module, _, attribute = LOSSES[name].partition(":")
    cls: type[nn.Module] = getattr(importlib.import_module(module), attribute)
    return cls(**checked_arguments(f"loss {name!r}", cls, args))


class WeightedLoss(nn.Module):
    """Weighted sum of losses.

    Args:
        terms: weight of each loss by name, e.g. `{"l1": 1.0}`; or its weight and arguments, e.g.
            `{"perceptual": {"weight": 0.1, "backbone": "vgg16", "layers": [22]}}`.
        where: the recipe's key that holds the terms, for messages.

    Raises:
        RecipeError: no term, an unknown one, or one without a weight.
        InputError, WeightsError: a backbone that is unknown, or without its weights.
    """

    def __init__(self, terms: Mapping[str, float | Mapping[str, Any]], *, where: str = "losses") -> None:
        super().__init__()
        if not terms:
            raise RecipeError(f"{where}: no loss given; expected at least one of {', '.join(LOSSES)}")
        self._weights: dict[str, float] = {}
        self.terms = nn.ModuleDict()
        for name, term in terms.items():
            args = dict(term) if isinstance(term, Mapping) else {"weight": term}
            weight = args.pop("weight", None)
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise RecipeError(f"{where}.{name}: got {term!r}, expected a number or a mapping with `weight`")
            if not 0 <= weight < math.inf:
                raise RecipeError(f"{where}.{name}: got the weight {weight}, expected a finite number of at least 0")
            self._weights[name] = float(weight)
            try:
                self.terms[name] = create_loss(name, **args)
            except (InputError, RecipeError, WeightsError) as error:
                raise type(error)(f"{where}.{name}: {error}") from None
        if not any(self._weights.values()):
            raise RecipeError(f"{where}: all weights are 0, so that nothing would be learnt")

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and each term before its weight."""
        parts: dict[str, Tensor] = {name: loss(prediction, gt, lq) for name, loss in self.terms.items()}
        total = sum((self._weights[name] * part for name, part in parts.items()), start=gt.new_zeros(()))
        return total, parts
