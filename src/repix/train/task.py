"""Training of one network on pairs, as a LightningModule: losses, schedule, validation metrics and images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from repix._types import Image, one_line
from repix.data.datamodule import ValidationSet
from repix.errors import RecipeError, counted, did_you_mean
from repix.io.image import write_image
from repix.losses import WeightedLoss
from repix.metrics import METRICS
from repix.models import Prediction, create_model
from repix.models.adapter import Adapter, ContractError
from repix.named import checked_arguments, is_own
from repix.train.experimental.dead_units import keep_alive, reinitialise
from repix.train.hard_clean import choose_hardest
from repix.train.levels import left_by_levels
from repix.train.optim import Muon
from repix.train.recipe import Optimizer, Recipe, Stage
from repix.train.start import load_frozen, start_from

# An image that comes back bit for bit would average as infinity.
_MOST_DB = 100.0
ENOUGH_DB = 45.0
"""What a set adds to the score at most: what is good enough must not outweigh what is not."""
_GRID_ROWS = 6
# Columns of the grids, as TensorBoard calls them.
_GRID = "input | output | target"
# Steps between two points of the loss curves; must be Lightning's own interval, or it drops them.
LOG_EVERY = 10


class RestorationTask(lightning.LightningModule):
    """A network, its losses and its schedule.

    Args:
        recipe: what to train and how.
        sets: the validation sets, in the order of the data module.
        images: folder for the grids input | output | target, `train_<step>.png` with images that are trained on
            and `val_<step>.png` with others; or None.
        trust: run Python files that the cards of `init` and `teacher` name.

    Logs `loss` and each of its terms, and at validation `val/<set>_<metric>` and `val/score`, by which the best
    checkpoint is chosen: the mean over the sets that were held out, of at most 45 dB each, the negative of metrics
    that are better when lower; over the folders of `data.validation` where nothing was held out.

    Raises:
        RecipeError: an unknown network, loss or argument, or an attribute that no stage may change.
        UntrustedCodeError: the card of `init` or `teacher` names code, and it is not trusted.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        sets: Sequence[ValidationSet] = (),
        images: Path | None = None,
        trust: bool = False,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = create_model(recipe.model, **recipe.args)
        if not any(one.requires_grad for one in self.net.parameters()):
            raise RecipeError(f"model {recipe.model!r}: it has no parameters that can be trained")
        if recipe.init is not None:
            start_from(self.net, recipe.init, trust=trust)
        # in a list, so that checkpoints, averages and the optimizer leave it alone
        self._teacher = [] if recipe.teacher is None else [load_frozen(recipe.teacher, trust=trust)]
        if recipe.reinit_dead_units:
            keep_alive(self.net)
        # Twice as fast on CPUs, and what tensor cores want; here and not later, since what averages gradients over
        # processes takes down the layout when training begins, and fills them wrongly if that changes.
        if recipe.channels_last:
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._losses: dict[str, WeightedLoss] = {}
        adapter = Adapter(self.net)
        changeable, unit = adapter.stage_attributes, adapter.multiple_of
        for number, stage in enumerate(recipe.stages):  # all at once, so that a mistake fails before the first step
            self._loss_of(stage, where=f"stages.{number}.losses")
            if stage.patch % unit:
                near = max(unit, round(stage.patch / unit) * unit)
                raise RecipeError(
                    f"stages.{number}.patch: got {stage.patch}, but {recipe.model} takes multiples of {unit}; "
                    f"give {near}"
                )
            if stage.frames > 1 and not adapter.state:
                raise RecipeError(
                    f"stages.{number}.frames: {recipe.model} keeps nothing from frame to frame; leave frames out, or "
                    "take another network, such as repixnet_video"
                )
            for name in stage.network:
                if name not in changeable:
                    raise RecipeError(
                        f"stages.{number}.network: a stage cannot change {name!r} of {recipe.model}"
                        f"{did_you_mean(name, changeable)} (its stage_attributes: {', '.join(changeable) or 'none'})"
                    )
            if not is_own(recipe.model):  # whose attributes are arguments too
                checked_arguments(f"stages.{number}.network", type(self.net), stage.network)
        self._optimizer_settings = recipe.optimizer_of(recipe.stages[0])
        self.validate_on(sets)
        self._images = images
        self._values: dict[str, list[float]] = {}
        self._rows: dict[str, list[npt.NDArray[np.uint8]]] = {}  # by grid: images trained on stand apart

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        out: Tensor = self.net(x)
        return out

    def validate_on(self, sets: Sequence[ValidationSet]) -> None:
        """The validation sets, in place of earlier ones, in the order of the data module."""
        self._sets = {found.name: found for found in sets}
        deciding = [found.name for found in sets if found.role == "held out"]
        self._deciding = deciding or [found.name for found in sets if found.role == "folder"]
        self.chooses = bool(self._deciding)  # whether `val/score` will be logged

    @torch.no_grad()
    def rehearse(self) -> None:
        """One black sample through the network and the losses of each stage, as it will be trained but for gradients.

        What a stage asks for and cannot have, such as a loss that its patches are too small for, would otherwise be
        found at the stage's first step, perhaps after days. Weights and the random numbers of others do not change.

        Raises:
            RecipeError: a stage whose losses or network cannot work on its patches.
        """
        own = {name: getattr(self.net, name) for stage in self.recipe.stages for name in stage.network}
        modes = {part: part.training for part in self.modules()}
        seen: list[Any] = []
        self.eval()  # batch norm would learn from the sample
        with torch.random.fork_rng(devices=[]):
            for number, stage in enumerate(self.recipe.stages):
                for name, value in stage.network.items():
                    setattr(self.net, name, value)
                now = [getattr(self.net, name) for name in own]
                kind = (stage.patch, stage.frames > 1, stage.losses, bool(stage.teacher_weight), now)
                if kind in seen:
                    continue
                seen.append(kind)
                size = (1, 3, stage.patch, stage.patch) if stage.frames == 1 else (1, 2, 3, stage.patch, stage.patch)
                try:
                    self._rehearsed(stage, torch.zeros(size))
                except ContractError as error:
                    raise RecipeError(f"model {self.recipe.model!r}: {error}") from None
                except RecipeError as error:
                    raise RecipeError(f"stages.{number}.losses: {error}") from None
                except Exception as error:
                    if is_own(self.recipe.model):  # whose errors say where in that file
                        raise
                    raise RecipeError(
                        f"stages.{number}: {self.recipe.model} and its losses cannot work on patches of {stage.patch} "
                        f"with network: {stage.network} ({one_line(error)})"
                    ) from error
        for name, value in own.items():
            setattr(self.net, name, value)
        for part, mode in modes.items():
            part.training = mode

    def _rehearsed(self, stage: Stage, lq: Tensor) -> Prediction:
        prediction = self._predict(lq)
        frames = lq.flatten(0, -4)
        self._loss_of(stage)(prediction, frames, frames)
        if self._teacher and stage.teacher_weight:
            Adapter(self._teacher[0]).predict(lq)
        return prediction

    def _loss_of(self, stage: Stage, *, where: str = "losses") -> WeightedLoss:
        terms = {name: term for name, term in stage.losses.items() if name != "adversarial"}
        key = repr(terms)
        if key not in self._losses:
            self._losses[key] = WeightedLoss(terms, where=where)
        return self._losses[key].to(self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One batch: `lq` and `gt`, (N, 3, P, P) in [0, 1], or (N, T, 3, P, P) of a stage with frames (`collate`)."""
        lq, gt = batch["lq"], batch["gt"]
        stage = self._begin(lq)
        if "others" in batch:
            lq, gt = choose_hardest(self._output, lq, gt, batch["others"], batch["others_of"])
        if stage.levels:
            place = (self.recipe.seed, 6, self.global_step, self.global_rank)
            multiple_of = Adapter(self.net).multiple_of
            run = self._output
            lq = left_by_levels(run, lq, stage.levels, np.random.default_rng(place), multiple_of=multiple_of)
        prediction = self._predict(lq, gt)
        losses, lq, gt = self._loss_of(stage), *(images.flatten(0, -4) for images in (lq, gt))
        total, parts = losses(prediction, gt, lq)
        if self._teacher and stage.teacher_weight:
            with torch.no_grad():
                taught = Adapter(self._teacher[0].to(lq.device)).predict(lq).pred.float()
            total = (1 - stage.teacher_weight) * total + stage.teacher_weight * losses(prediction, taught, lq)[0]
        self._log_loss(total, parts)
        loss: Tensor = total
        return loss

    def _output(self, images: Tensor) -> Tensor:
        return self._predict(images).pred.float()

    def _begin(self, lq: Tensor) -> Stage:
        """This step's stage, with the network as it asks for it and random numbers (dropout) of the step alone, so that
        a resumed run draws what an unbroken one would."""
        stage, within = self.recipe.stage_at(self.global_step)
        for name, value in stage.network.items():
            setattr(self.net, name, value)
        place = (self.recipe.seed, 5, self.global_step, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        if self.recipe.reinit_dead_units and within == 0:
            largest = partial(self.trainer.strategy.reduce, reduce_op="max")
            dead = reinitialise(self.net, lq, seed=self.recipe.seed + self.global_step, largest=largest)
            if dead:
                units = counted(dead, "dead unit of residual blocks was", "dead units of residual blocks were")
                self.print(f"step {self.global_step}: {units} reinitialised")
        return stage

    def _predict(self, lq: Tensor, clean: Tensor | None = None) -> Prediction:
        if lq.dim() == 5:
            return Adapter(self.net).predict_clips(lq, clean)
        if self.recipe.channels_last:
            lq = lq.contiguous(memory_format=torch.channels_last)
        return Adapter(self.net).predict(lq)

    def _log_loss(self, total: Tensor, parts: dict[str, Tensor]) -> None:
        if (self.global_step + 1) % LOG_EVERY == 0:
            self.log("loss", total, prog_bar=True, sync_dist=True)  # of several processes, their mean
            if len(parts) > 1:
                self.log_dict({f"loss/{name}": part for name, part in parts.items()}, prog_bar=True, sync_dist=True)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """By norm. Lightning refuses fused optimizers, which unscale by themselves; without a scaler that is moot."""
        if self.recipe.precision == "16-mixed":
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), gradient_clip_val)

    def on_validation_epoch_start(self) -> None:
        """Start counting afresh."""
        self._values, self._rows = {}, {}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One whole image."""
        found = self._sets[batch["set"][0]]
        lq, gt = (_levels(batch[side]) for side in ("lq", "gt"))
        with torch.autocast(self.device.type, enabled=False):
            pred = Adapter(self.net).restorer()(lq)
        values = self._values.setdefault(found.name, [])
        values.append(measure(found.metric, pred, gt))
        grid = "train" if found.role == "train" else "val"
        rows = self._rows.setdefault(grid, [])
        sharing = sum((other.role == "train") == (found.role == "train") for other in self._sets.values())
        if len(values) <= max(1, _GRID_ROWS // sharing) and len(rows) < _GRID_ROWS:
            rows.append(np.concatenate([image[:320, :320] for image in (lq, pred, gt)], axis=1))

    def on_validation_epoch_end(self) -> None:
        """Log the means and save the grid."""
        means = {name: sum(values) / len(values) for name, values in self._values.items()}
        for name, mean in means.items():
            self.log(f"val/{name}_{self._sets[name].metric}", mean, prog_bar=True, sync_dist=True)
        if means and self.chooses:
            self.log("val/score", self.score(means), sync_dist=True)
        if not self.trainer.sanity_checking and self.trainer.is_global_zero:
            for name, rows in self._rows.items():
                self._save_grid(name, rows)

    def score(self, means: Mapping[str, float]) -> float:
        """What the best checkpoint has most of, from the means of the sets by name."""
        scores = [
            min(means[name], ENOUGH_DB) if METRICS[self._sets[name].metric].higher_is_better else -means[name]
            for name in self._deciding
            if name in means
        ]
        return sum(scores) / len(scores)

    def _save_grid(self, name: str, rows: list[npt.NDArray[np.uint8]]) -> None:
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
        grid = np.concatenate(padded)
        if self._images is not None:
            self._images.mkdir(parents=True, exist_ok=True)
            write_image(self._images / f"{name}_{self.global_step:07d}.png", grid)
        if isinstance(self.logger, TensorBoardLogger):
            self.logger.experiment.add_image(f"{name}: {_GRID}", grid, global_step=self.global_step, dataformats="HWC")

    def learning_rate(self, step: int) -> float:
        """The rate of a step: linear warm-up, then half a cosine or a line down to `lr_end` within each stage."""
        stage, within = self.recipe.stage_at(step)
        if within < stage.warmup:
            return stage.lr * (within + 1) / stage.warmup
        if stage.schedule == "constant":
            return stage.lr
        share = min(1.0, (within - stage.warmup) / max(1, stage.steps - stage.warmup))
        left = 1 - share if stage.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
        return stage.lr_end + (stage.lr - stage.lr_end) * left

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """This step's optimizer and learning rate."""
        settings = self.recipe.optimizer_of(self.recipe.stage_at(self.global_step)[0])
        if settings != self._optimizer_settings:
            self._optimizer_settings = settings
            self.trainer.strategy.setup_optimizers(self.trainer)
        rate = self.learning_rate(self.global_step)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say whose moments the checkpoint holds: at the end of a stage those of that stage's optimizer."""
        checkpoint["optimizer"] = self._optimizer_settings.model_dump()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the optimizer that the checkpoint's moments are of."""
        self._optimizer_settings = Optimizer.model_validate(checkpoint["optimizer"])

    def configure_optimizers(self) -> Any:
        """The stage's optimizer; its rate is set at each step."""
        return self._optimizer(self.net)

    def _optimizer(self, net: torch.nn.Module) -> torch.optim.Optimizer:
        settings = self._optimizer_settings
        if settings.name == "muon":
            return Muon(net.parameters(), lr=1.0, betas=settings.betas, weight_decay=settings.weight_decay)
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        return kind(
            net.parameters(),
            lr=1.0,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=self.recipe.precision != "16-mixed",
        )


def measure(metric: str, pred: Image, gt: Image) -> float:
    """A metric of one image, at most 100 dB; both (H, W, 3)."""
    return min(float(METRICS[metric].measure(pred, gt)), _MOST_DB)


def _levels(image: Tensor) -> npt.NDArray[np.uint8]:
    """(1, 3, H, W) in [0, 1] -> (H, W, 3) uint8."""
    levels = (image[0].float().clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).cpu().numpy()
