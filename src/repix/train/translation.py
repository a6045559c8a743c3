"""Training of pix2pix's two networks, which take turns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from repix.data.datamodule import ValidationSet
from repix.errors import RecipeError
from repix.losses.adversarial import Adversarial
from repix.models import Prediction
from repix.models.pix2pix import PatchGAN
from repix.named import checked_arguments
from repix.train.recipe import Recipe, Stage
from repix.train.task import RestorationTask


def create_task(
    recipe: Recipe, *, sets: Sequence[ValidationSet] = (), images: Path | None = None, trust: bool = False
) -> RestorationTask:
    """The task that a recipe asks for; arguments as `RestorationTask`'s."""
    adversarial = any("adversarial" in stage.losses for stage in recipe.stages)
    return (Pix2PixTask if adversarial else RestorationTask)(recipe, sets=sets, images=images, trust=trust)


class Pix2PixTask(RestorationTask):
    """A generator and the discriminator that it trains against (Isola et al. 2017, eq. 4), one step each in turn.

    Steps are the generator's: Lightning counts those of optimizers that it wraps, so the discriminator's is stepped
    bare. Stages without an adversarial term leave the discriminator as it is. Its optimizer has the generator's
    settings and schedule; both are in the checkpoint, and in the averaging, where the discriminator's average is not
    used.

    Arguments as `RestorationTask`'s; logs `loss/adversarial` and `loss/discriminator` too, each before its weight.

    Raises:
        RecipeError: unknown arguments of the adversarial term or of the discriminator.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        sets: Sequence[ValidationSet] = (),
        images: Path | None = None,
        trust: bool = False,
    ) -> None:
        super().__init__(recipe, sets=sets, images=images, trust=trust)
        self.automatic_optimization = False
        self.discriminator = PatchGAN(**checked_arguments("discriminator", PatchGAN, recipe.discriminator))
        if recipe.channels_last:
            self.discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for stage in recipe.stages:
            _adversarial(stage)

    def _rehearsed(self, stage: Stage, lq: Tensor) -> Prediction:
        prediction = super()._rehearsed(stage, lq)
        if _adversarial(stage)[1] is not None:
            self.discriminator(lq, prediction.pred)
        return prediction

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:  # type: ignore[override]
        """One step of the discriminator, then one of the generator."""
        lq, gt = batch["lq"], batch["gt"]
        stage = self._begin(lq)
        wrapped = self.optimizers()
        assert isinstance(wrapped, list)
        ours, theirs = wrapped
        assert isinstance(ours, LightningOptimizer)
        assert isinstance(theirs, LightningOptimizer)
        prediction = self._predict(lq)
        weight, adversarial = _adversarial(stage)
        if adversarial is not None:
            real, fake = self.discriminator(lq, gt), self.discriminator(lq, prediction.pred.detach())
            judged = adversarial.discriminator(real.float(), fake.float())
            self._step(theirs.optimizer, judged, self.discriminator)
        total, parts = self._loss_of(stage)(prediction, gt, lq)
        if adversarial is not None:
            self.discriminator.requires_grad_(False)  # its own gradients are not needed for the generator's
            fooled = adversarial.generator(self.discriminator(lq, prediction.pred).float())
            self.discriminator.requires_grad_(True)
            total = total + weight * fooled
            parts |= {"adversarial": fooled, "discriminator": judged}
        self._log_loss(total, parts)
        self._step(ours, total, self.net)

    def _step(self, optimizer: Any, loss: Tensor, net: torch.nn.Module) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.recipe.grad_clip_norm:
            torch.nn.utils.clip_grad_norm_(net.parameters(), self.recipe.grad_clip_norm)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        """The generator's and the discriminator's; their rate is set at each step."""
        return [self._optimizer(self.net), self._optimizer(self.discriminator)]


def _adversarial(stage: Stage) -> tuple[float, Adversarial | None]:
    """Weight and kind of a stage's adversarial term; 0 and None where it has none."""
    term = stage.losses.get("adversarial")
    if term is None:
        return 0.0, None
    args = dict(term) if isinstance(term, Mapping) else {"weight": term}
    weight = args.pop("weight", None)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise RecipeError(f"loss 'adversarial': got {term!r}, expected a number or {{weight: 1, mode: vanilla}}")
    return float(weight), Adversarial(**checked_arguments("loss 'adversarial'", Adversarial, args))
