"""The data of a run for Lightning: streams for training, held-out images for validation."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from repix.data.dataset import (
    Augment,
    PairedDataset,
    PictureCache,
    RainyDataset,
    Sample,
    Span,
    StreamBatches,
    load_pair,
    to_float,
    to_tensor,
)
from repix.data.pairs import Pair, find_pairs
from repix.degradations.rain import FloatArray, RainParams, add_rain
from repix.errors import InputError
from repix.io.formats import IMAGES, listed

T = TypeVar("T")
_START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
# Validation images are cut to multiples of this, enough for every network, so that none is padded.
_CUT = 32


def list_photos(folders: Sequence[Path]) -> list[Path]:
    """Every image below some folders, in order of name.

    Raises:
        InputError: not a folder, or nothing in it.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder.resolve()}: no such folder; expected a folder of images")
        here = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file())
        if not here:
            raise InputError(f"{folder.resolve()}: no images in it (known: {listed(IMAGES)})")
        found += here
    return found


class ValidationDataset(Dataset[Sample]):
    """Whole images, the same at every validation: held-out pairs, held-out photos in drawn rain, and dry ones.

    Args:
        pairs: pairs by the name of their set.
        photos: clean images, each given light rain, heavy lines and no rain at all.
        seed: of the rain.

    `dataset[i]` is `{"lq": (3, H, W), "gt": (3, H, W), "name", "set"}`.
    """

    def __init__(self, pairs: Mapping[str, Sequence[Pair]], photos: Sequence[Path], *, seed: int = 0) -> None:
        self._items: list[tuple[str, Pair | Path]] = [(name, pair) for name in pairs for pair in pairs[name]]
        self._items += [(kind, photo) for kind in ("drawn", "lines", "dry") for photo in photos]
        self._cache = PictureCache()
        self._seed = seed
        self.sets = list(dict.fromkeys(name for name, _ in self._items))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        kind, item = self._items[index]
        if isinstance(item, Pair):
            lq, gt = (to_float(picture) for picture in load_pair(self._cache, item))
            name = item.name
        else:
            gt, name = to_float(self._cache.load(item, longest=640)), item.stem
            lq = self._rainy(kind, gt, np.random.default_rng((self._seed, 2, index)))
        height, width = (size // _CUT * _CUT for size in gt.shape[:2])
        lq, gt = lq[:height, :width], gt[:height, :width]
        return {"lq": to_tensor(lq), "gt": to_tensor(gt), "name": name, "set": kind}

    @staticmethod
    def _rainy(kind: str, gt: FloatArray, rng: np.random.Generator) -> FloatArray:
        if kind == "dry":
            return gt
        if kind == "lines":
            params = RainParams.sharp_lines(rng)
        else:
            params = RainParams.from_severity(float(rng.uniform(0.2, 0.8)), rng)
        return add_rain(gt, params, rng)[0].astype(np.float32)


class RestorationData(lightning.LightningDataModule):
    """Loaders for `repix.train.task.RestorationTask`.

    Args:
        photos, pairs, masks, validation: folders; a validation set is called as its folder, with the one above it
            where that name is taken.
        mixture: weight of each kind of sample; empty uses the pairs as they are, or drawn rain where there are none.
        hold_out: so many photos and pairs are kept for validation.
        stages: (steps, batch) of each stage.
        spans: patch and severity by global sample index.
        longest: larger photos are shrunk to this longer side.
        workers: processes that make data.
        seed: of everything.
        hold_out_seed: of what is held out and its rain, where that shall stay the same under another `seed`.
        direction: `BtoA` exchanges the images of every pair.
        limit: only so many pairs are trained on, drawn once; a smaller number takes a part of a larger one's.
        augment: how to vary pairs; see `PairedDataset`.
        watched: so many of the pairs trained on are validated as well, as they are, as the set `train`.
        validate_most: only the first so many images of a set are validated.

    Raises:
        InputError: a folder that is missing or holds nothing.
    """

    def __init__(
        self,
        *,
        photos: Sequence[Path],
        pairs: Sequence[Path],
        masks: Sequence[Path],
        validation: Sequence[Path],
        mixture: Mapping[str, float],
        hold_out: int,
        stages: Sequence[tuple[int, int]],
        spans: Sequence[Span],
        longest: int,
        workers: int,
        seed: int,
        hold_out_seed: int | None = None,
        direction: Literal["AtoB", "BtoA"] = "AtoB",
        limit: int | None = None,
        augment: Augment | None = None,
        watched: int = 0,
        validate_most: int | None = None,
    ) -> None:
        super().__init__()
        if not mixture and photos:
            mixture = {"drawn": 0.6, "lines": 0.25, "dry": 0.15}
        all_photos = list_photos(photos)
        all_pairs = [pair for folder in pairs for pair in _directed(find_pairs(folder), direction)]
        hold_out_seed = seed if hold_out_seed is None else hold_out_seed
        rng = np.random.default_rng((hold_out_seed, 3))
        kept_photos, held_photos = _split(all_photos, hold_out, rng)
        kept_pairs, held_pairs = _split(all_pairs, hold_out, rng)
        if limit is not None:
            order = np.random.default_rng((seed, 4)).permutation(len(kept_pairs))
            kept_pairs = [kept_pairs[i] for i in sorted(order[:limit].tolist())]
        self._stages, self._workers = list(stages), workers
        sets = {"train": kept_pairs[:watched], "pairs": held_pairs}
        for folder in validation:
            name = folder.name if folder.name not in sets else f"{folder.absolute().parent.name}-{folder.name}"
            sets[name] = _directed(find_pairs(folder), direction)
        sets = {name: found[:validate_most] for name, found in sets.items()}
        self._validation = ValidationDataset(sets, held_photos, seed=hold_out_seed)
        self._train: PairedDataset | RainyDataset
        if mixture:
            self._train = RainyDataset(
                kept_photos,
                pairs=kept_pairs,
                masks=list_photos(masks),
                mixture=mixture,
                spans=spans,
                seed=seed,
                longest=longest,
            )
        else:
            self._train = PairedDataset(kept_pairs, spans=spans, seed=seed, augment=augment)

    @property
    def sets(self) -> list[str]:
        """Names of the validation sets; empty where nothing was held out."""
        return self._validation.sets

    def train_dataloader(self) -> DataLoader[Sample]:
        """The stream from the step that the trainer is at."""
        if self.trainer is None:
            return self.stream(0)
        return self.stream(self.trainer.global_step, rank=self.trainer.global_rank, world=self.trainer.world_size)

    def stream(self, start: int, *, rank: int = 0, world: int = 1) -> DataLoader[Sample]:
        """Batches for training, from a step to the last one.

        Args:
            start: the step, from 0.
            rank: of this process, of `world` that train together.
            world: see `rank`.
        """
        batches = StreamBatches(self._stages, start=start, rank=rank, world=world)
        return DataLoader(
            self._train,
            batch_sampler=batches,
            num_workers=self._workers,
            # a fork of a process that has read an image hangs: libvips' threads are not in the copy
            multiprocessing_context=_START if self._workers else None,
            persistent_workers=self._workers > 0,
            prefetch_factor=8 if self._workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole images, one by one."""
        return DataLoader(self._validation, batch_size=1)


def _directed(pairs: list[Pair], direction: str) -> list[Pair]:
    return pairs if direction == "AtoB" else [pair.swapped() for pair in pairs]


def _split(items: Sequence[T], hold_out: int, rng: np.random.Generator) -> tuple[list[T], list[T]]:
    """Keep and hold out, drawn once; at least half always stays for training."""
    hold_out = min(hold_out, len(items) // 2)
    held = set(rng.permutation(len(items))[:hold_out].tolist())
    return [item for i, item in enumerate(items) if i not in held], [items[i] for i in sorted(held)]
