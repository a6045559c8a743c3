"""Training of one network on pairs, as a LightningModule: losses, schedule, validation figures and images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from repix._types import Image
from repix.errors import RecipeError
from repix.io.image import write_image
from repix.losses import WeightedLoss
from repix.metrics import psnr_rgb, psnr_y
from repix.models import Prediction, create_model
from repix.models.adapter import Adapter
from repix.models.layers import ResidualBlock
from repix.train.experimental.dead_units import keep_awake, wake
from repix.train.optim import Muon
from repix.train.recipe import Recipe, Stage
from repix.weights import TORCH_FORMS, find_card, read_weights

# An image that comes back bit for bit would average as infinity.
_MOST_DB = 100.0
_GRID_ROWS = 6
# Columns of the grids, as TensorBoard calls them.
_GRID = "input | output | target"
# Steps between two points of the loss curves; must be Lightning's own interval, or it drops them.
LOG_EVERY = 10


class RestorationTask(lightning.LightningModule):
    """A network, its losses and its schedule.

    Args:
        recipe: what to train and how.
        sets: names of the validation sets, in the order of the data module.
        images: folder for the grids input | output | target, `train_<step>.png` with images that are trained on
            and `val_<step>.png` with others; or None.

    Logs `loss` and each of its terms, and at validation `val/<set>_psnr_y` (RGB for `dry`) and `val/score`, the mean
    over sets of at most 45 dB each, by which the best checkpoint is chosen.
    """

    def __init__(self, recipe: Recipe, *, sets: list[str] | None = None, pictures: Path | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = create_model(recipe.model, **recipe.args)
        if recipe.init is not None:
            start_from(self.net, recipe.init)
        if recipe.keep_awake:
            keep_awake(self.net)
        # Twice as fast on CPUs, and what tensor cores want; here and not later, since what averages gradients over
        # processes takes down the layout when training begins, and fills them wrongly if that changes.
        if recipe.channels_last:
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._losses: dict[str, WeightedLoss] = {}
        self.chooses = bool(sets)  # whether `val/score` will be logged
        for stage in recipe.stages:  # all at once, so that an unknown loss fails before the first step
            self._loss_of(stage)
            for name in stage.network:
                if not hasattr(self.net, name):
                    raise RecipeError(f"stage.network: {recipe.model} has no attribute {name!r}")
        self._sets = sets or []
        self._pictures = pictures
        self._figures: dict[str, list[float]] = {}
        self._rows: dict[str, list[npt.NDArray[np.uint8]]] = {}  # by grid: images trained on stand apart

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        out: Tensor = self.net(x)
        return out

    def _loss_of(self, stage: Stage) -> WeightedLoss:
        terms = {name: term for name, term in stage.losses.items() if name != "adversarial"}
        key = repr(terms)
        if key not in self._losses:
            self._losses[key] = WeightedLoss(terms)
        return self._losses[key].to(self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One batch: `lq` and `gt`, (N, 3, P, P) in [0, 1]."""
        lq, gt = batch["lq"], batch["gt"]
        stage = self._begin(lq)
        total, parts = self._loss_of(stage)(self._predict(lq), gt, lq)
        self._log_loss(total, parts)
        loss: Tensor = total
        return loss

    def _begin(self, lq: Tensor) -> Stage:
        """This step's stage, with the network as it asks for it and random numbers (dropout) of the step alone, so that
        a resumed run draws what an unbroken one would."""
        stage, within = self.recipe.stage_at(self.global_step)
        for name, value in stage.network.items():
            setattr(self.net, name, value)
        place = (self.recipe.seed, 5, self.global_step, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        if self.recipe.keep_awake and within == 0:
            largest = partial(self.trainer.strategy.reduce, reduce_op="max")
            woken = wake(self.net, lq, seed=self.recipe.seed + self.global_step, largest=largest)
            if woken:
                self.print(f"step {self.global_step}: {woken} units of residual blocks were silent and are made new")
        return stage

    def _predict(self, lq: Tensor) -> Prediction:
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
        self._figures, self._rows = {}, {}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """One whole image."""
        kind = batch["set"][0]
        lq, gt = (_levels(batch[side]) for side in ("lq", "gt"))
        with torch.autocast(self.device.type, enabled=False):
            pred = Adapter(self.net).restorer()(lq)
        shown = [lq, pred, gt]
        values = self._figures.setdefault(kind, [])
        values.append(self.measure(kind, pred, gt))
        rows = self._rows.setdefault("train" if kind == "train" else "val", [])
        sets = 1 if kind == "train" else len(set(self._sets) - {"train"})
        if len(values) <= max(1, _GRID_ROWS // max(1, sets)) and len(rows) < _GRID_ROWS:
            rows.append(np.concatenate([picture[:320, :320] for picture in shown], axis=1))

    def on_validation_epoch_end(self) -> None:
        """Log the means and save the grid."""
        means = {kind: sum(values) / len(values) for kind, values in self._figures.items()}
        for kind, mean in means.items():
            self.log(f"val/{kind}_{self.figure(kind)}", mean, prog_bar=True, sync_dist=True)
        if means and self.chooses:
            self.log("val/score", self.score(means), sync_dist=True)
        if not self.trainer.sanity_checking and self.trainer.is_global_zero:
            for name, rows in self._rows.items():
                self._save_grid(name, rows)

    def figure(self, kind: str) -> str:
        """Name of what is measured on a validation set."""
        return "psnr_rgb" if kind == "dry" else "psnr_y"

    def measure(self, kind: str, pred: Image, gt: Image) -> float:
        """That figure of one image; both (H, W, 3)."""
        return min((psnr_rgb if kind == "dry" else psnr_y)(pred, gt), _MOST_DB)

    def score(self, means: dict[str, float]) -> float:
        """What the best checkpoint has most of, from the means of the sets."""
        return sum(min(mean, 45.0) for mean in means.values()) / len(means)

    def _save_grid(self, name: str, rows: list[npt.NDArray[np.uint8]]) -> None:
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
        grid = np.concatenate(padded)
        if self._pictures is not None:
            self._pictures.mkdir(parents=True, exist_ok=True)
            path = self._pictures / f"{name}_{self.global_step:07d}.png"
            write_image(path, grid)
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

    def configure_optimizers(self) -> Any:
        """The recipe's optimizer, and the schedule by step."""
        optimizer = self._optimizer(self.net)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _optimizer(self, net: torch.nn.Module) -> torch.optim.Optimizer:
        settings = self.recipe.optimizer
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


def start_from(net: nn.Module, weight: str) -> None:
    """Copy a weight into a network that is the weight's own, or has more residual blocks, or takes a classifier's.

    Blocks that the weight doesn't have are set to return their input, so that the network starts as what it has grown
    from (Net2DeeperNet, Chen et al. 2016, section 2.3).

    Args:
        net: filled in place.
        weight: a shipped weight's name, or a weight's folder; or a classifier's file, for a network that has
            `load_encoder` (`repix.models.vgg_unet`).

    Raises:
        WeightsError: no such weight, or a damaged one.
        RecipeError: a network that differs in something else, or a file for one that takes none.
    """
    if Path(weight).is_file():
        load: Callable[[str], None] | None = getattr(net, "load_encoder", None)
        if load is None:
            raise RecipeError(f"init: {weight} is a file; {type(net).__name__} starts from a weight's name or folder")
        load(weight)
        return
    card, folder = find_card(weight)
    state = safetensors.torch.load(read_weights(card, folder, card.form(*TORCH_FORMS)))
    own = net.state_dict()
    new = [name for name, part in net.named_modules() if isinstance(part, ResidualBlock) and _is_new(name, state)]
    odd = sorted(
        key
        for key in own.keys() | state.keys()
        if not key.startswith(tuple(f"{name}." for name in new))
        and (key not in own or key not in state or own[key].shape != state[key].shape)
    )
    if odd:
        raise RecipeError(
            f"init: {weight} is not this network with fewer residual blocks ({len(odd)} tensors differ, first "
            f"{odd[0]}); give it the args on the weight's card"
        )
    net.load_state_dict(state, strict=False)
    for name in new:
        last = [part for part in net.get_submodule(name).modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)][-1]
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)


def _is_new(block: str, state: Mapping[str, Tensor]) -> bool:
    return not any(key.startswith(f"{block}.") for key in state)


def _levels(picture: Tensor) -> npt.NDArray[np.uint8]:
    """(1, 3, H, W) in [0, 1] -> (H, W, 3) uint8."""
    levels = (picture[0].float().clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).cpu().numpy()
