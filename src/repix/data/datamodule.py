"""The data of a run for Lightning: streams for training, held-out images for validation."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from repix._environment import STOP_SIGNALS
from repix.data.clips import ClipDataset, group_clips
from repix.data.config import PAIRS, Data, Samples
from repix.data.dataset import (
    ImageCache,
    MixtureDataset,
    PairedDataset,
    Sample,
    Sources,
    StreamBatches,
    collate,
    load_pair,
    to_float,
    to_tensor,
)
from repix.data.own import degraded, load_degradation, rehearse
from repix.data.pairs import Pair, find_pairs
from repix.degradations import Context
from repix.errors import InputError, RepixError
from repix.io.files import resolved
from repix.io.formats import IMAGES, listed
from repix.io.image import read_image, read_size

T = TypeVar("T")
_log = logging.getLogger("repix")
_START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_AHEAD = 8  # batches that each process makes ahead
_LIGHTNING_AHEAD = 2
# Validation images are cut to multiples of this, enough for every network, so that none is padded.
_CUT = 32
_MAX_SIDE = 640  # of held-out photos

_DEFAULT_MIXTURE = {"rain": 0.6, "sharp_streaks": 0.25, "clean": 0.15}
# With the camera's mist, noise and JPEG, as in photographed rain; focal lengths fix the size of the streaks.
_VALIDATION = Context(severity=(0.2, 0.8), focal=700.0, camera=True)
_VALIDATION_FOCAL = {"sharp_streaks": 600.0}
_VALIDATION_METRIC = {"clean": "psnr_rgb"}  # colours must stay too where nothing is to be taken away


class Degraded(NamedTuple):
    """A held-out photo and the name of the degradation that it is validated with."""

    photo: Path
    degradation: str


class ValidationSet(NamedTuple):
    """Images that are validated together.

    Attributes:
        name: unique in a run.
        metric: name of what is measured on each image.
        pairs: pairs on disk, or photos and what degrades them.
        role: `train` is trained on as well, `held out` was kept from training, `folder` stands in `data.validation`.
    """

    name: str
    metric: str
    pairs: Sequence[Pair | Degraded]
    role: Literal["train", "held out", "folder"]


def list_photos(folders: Sequence[Path]) -> list[Path]:
    """Every image below some folders, in order of name.

    Raises:
        InputError: not a folder, or nothing in it.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{resolved(folder)}: no such folder; expected a folder of images")
        # hidden ones are what macOS ("._photo.jpg") and network storage ("@eaDir") put beside photos
        here = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in IMAGES and path.is_file() and not _is_hidden(path.relative_to(folder))
        )
        if not here:
            raise InputError(f"{resolved(folder)}: no images in it (known: {listed(IMAGES)})")
        found += here
    return found


@contextlib.contextmanager
def _of(key: str) -> Iterator[None]:
    """Puts the recipe's key in front of what is wrong with its images."""
    try:
        yield
    except InputError as error:
        unset = "$REPIX_DATA" in str(error)  # it stays in a path where nothing replaces it
        hint = "; set REPIX_DATA to the folder of data sets, which docs/data.md describes" if unset else ""
        raise type(error)(f"{key}: {error}{hint}") from None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "@")) for part in path.parts)


def _readable(
    items: Sequence[T],
    paths: Callable[[T], Sequence[Path]],
    *,
    whole: bool = False,
    patch: int = 1,
    max_side: int | None = None,
) -> list[T]:
    """Those whose images can be read, by their headers or as a whole, and hold a patch; a warning for each of the
    others.

    Args:
        items: photos or pairs.
        paths: the files of one.
        whole: decode them.
        patch: side of what will be cut out of them.
        max_side: what they are shrunk to before that.

    Raises:
        InputError: all are smaller than the patch.
    """
    small = []

    def problem(item: T) -> str | None:
        for path in paths(item):
            try:
                height, width = read_image(path).pixels.shape[:2] if whole else read_size(path)
            except InputError as error:
                return str(error)
            if isinstance(item, Pair) and item.lq_half is not None:
                width //= 2
            shrunk = min(1.0, max_side / max(height, width)) if max_side is not None else 1.0
            if int(min(height, width) * shrunk) < patch:
                small.append(item)
                by = f" at data.max_side: {max_side}" if shrunk < 1 else ""
                return f"{path}: {width}x{height} is smaller than the patch of {patch}x{patch}{by}"
        return None

    with ThreadPoolExecutor(4, "repix-check") as pool:
        problems = list(pool.map(problem, items))
    for text in problems:
        if text is not None:
            _log.warning("%s; left out", text)
    if small and len(small) == len(items):
        which = "the only image is" if len(items) == 1 else f"all {len(items)} images are"
        raise InputError(
            f"{which} smaller than the patch of {patch}x{patch}; give larger ones, or a smaller stages.patch"
        )
    return [item for item, text in zip(items, problems, strict=True) if text is None]


def _paths_of(item: Pair | Degraded) -> tuple[Path, ...]:
    return (item.lq, item.gt) if isinstance(item, Pair) else (item.photo,)


class ValidationDataset(Dataset[Sample]):
    """Whole images, the same at every validation.

    Args:
        sets: of the run.
        seed: of the degradations.

    `dataset[i]` is `{"lq": (3, H, W), "gt": (3, H, W), "name", "set"}`.

    Raises:
        RecipeError: no such degradation, or one of the user's own that does not do what it should.
    """

    def __init__(self, sets: Sequence[ValidationSet], *, seed: int = 0) -> None:
        self._items = [(found.name, item) for found in sets for item in found.pairs]
        self._degradations = {
            item.degradation: load_degradation(item.degradation)
            for _, item in self._items
            if isinstance(item, Degraded)
        }
        for degradation, made in self._degradations.items():
            rehearse(degradation, made, (_CUT, _CUT, 3), np.random.default_rng((seed, 5)), _VALIDATION)
        self._cache = ImageCache()
        self._seed = seed

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        name, item = self._items[index]
        if isinstance(item, Pair):
            lq, gt = map(to_float, load_pair(self._cache, item))
            image = item.name
        else:
            clean, image = to_float(self._cache.load(item.photo, max_side=_MAX_SIDE)), item.photo.stem
            context = replace(_VALIDATION, focal=_VALIDATION_FOCAL.get(item.degradation, _VALIDATION.focal))
            rng = np.random.default_rng((self._seed, 2, index))
            lq, gt = degraded(item.degradation, self._degradations[item.degradation], clean, rng, context)
        height, width = (size // _CUT * _CUT for size in gt.shape[:2])
        lq, gt = lq[:height, :width], gt[:height, :width]
        return {"lq": to_tensor(lq), "gt": to_tensor(gt), "name": image, "set": name}


class RestorationData(lightning.LightningDataModule):
    """Loaders for `repix.train.task.RestorationTask`.

    Args:
        data: where images come from.
        stages: what each stage of training asks of its samples.
        metric: name of what pairs are validated by.
        augment: whether pairs are varied as `data` says, and not cut out and mirrored both ways.
        seed: of everything.

    `sets` are the validation sets: `train` (trained on as well), `pairs` (held out), one for each folder of
    `data.validation`, called as the folder, with the one above it where that name is taken, and one for each of
    `data.validation_degradations` of held-out photos. Those without images are left out. `files` are all files of the
    run. Images that cannot be read, or are smaller than a stage's patch, cost a warning, and are left out.
    `factors_at`, if it is set before training, gives for a step what the weights of kinds in the mixture are multiplied
    by.

    Raises:
        InputError: a folder that is missing or holds nothing.
        RecipeError: no such degradation, or one of the user's own that does not do what it should.
    """

    def __init__(
        self, data: Data, stages: Sequence[Samples], *, metric: str, augment: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        mixture: Mapping[str, float] = data.mixture
        if not mixture and data.photos:
            mixture = _DEFAULT_MIXTURE
        elif not mixture and any(stage.mixture for stage in stages):
            mixture = {PAIRS: 1.0}
        patch = max(stage.patch for stage in stages)  # one image too small would end the run when it is drawn
        if augment and data.resize_short is not None and data.resize_short < patch and not data.goes_beyond:
            raise InputError(
                f"data.resize_short: {data.resize_short} is smaller than the patch of {patch}x{patch}; give "
                f"{patch} or more, or a smaller stages.patch"
            )
        with _of("data.photos"):
            all_photos = _readable(list_photos(data.photos), lambda path: (path,), patch=patch, max_side=data.max_side)
        with _of("data.pairs"):
            all_pairs = [pair for folder in data.pairs for pair in _directed(find_pairs(folder), data.direction)]
            fits = augment and (data.resize_short is not None or data.goes_beyond)
            all_pairs = _readable(
                all_pairs, _paths_of, patch=1 if fits else patch, max_side=data.max_side if mixture else None
            )
        with _of("data.masks"):
            masks = _readable(list_photos(data.masks), lambda path: (path,))
        with _of("data.clips"):
            clips = group_clips([_readable(find_pairs(folder), _paths_of) for folder in data.clips])
        hold_out_seed = seed if data.hold_out_seed is None else data.hold_out_seed
        rng = np.random.default_rng((hold_out_seed, 3))
        kept_photos, held_photos = _split(all_photos, data.hold_out, rng)
        kept_pairs, held_pairs = _split(all_pairs, data.hold_out, rng)
        if data.limit is not None:
            order = np.random.default_rng((seed, 4)).permutation(len(kept_pairs))
            kept_pairs = [kept_pairs[i] for i in sorted(order[: data.limit].tolist())]
        taken = {"train", "pairs"}
        synthetic = [
            ValidationSet(
                _free_name((degradation.rpartition(":")[2],), taken),
                _VALIDATION_METRIC.get(degradation, metric),
                [Degraded(photo, degradation) for photo in held_photos],
                "held out",
            )
            for degradation in data.validation_degradations
        ]
        with _of("data.validation"):
            folders = [
                ValidationSet(
                    _free_name((folder.name, f"{folder.absolute().parent.name}-{folder.name}"), taken),
                    metric,
                    _directed(find_pairs(folder), data.direction),
                    "folder",
                )
                for folder in data.validation
            ]
        subset = ValidationSet("train", metric, kept_pairs[: data.train_subset], "train")
        every = [subset, ValidationSet("pairs", metric, held_pairs, "held out"), *folders, *synthetic]
        cut = [found._replace(pairs=found.pairs[: data.max_validation]) for found in every]
        whole = [found._replace(pairs=_readable(found.pairs, _paths_of, whole=True)) for found in cut]
        self.sets = [found for found in whole if found.pairs]
        items = [*all_pairs, *itertools.chain(*clips), *(pair for found in folders for pair in found.pairs)]
        named = {path for item in items for path in _paths_of(item)}.union(all_photos, masks)
        self.files = sorted(path.as_posix() for path in named)
        self._validation = ValidationDataset(self.sets, seed=hold_out_seed)
        self._stages, self._workers = list(stages), data.workers
        self.factors_at: Callable[[int], Mapping[str, float]] | None = None
        self._train: PairedDataset | MixtureDataset
        sources = Sources(kept_photos, mixture, kept_pairs, clips, masks, max_side=data.max_side, camera=data.camera)
        if any(stage.frames > 1 for stage in stages):
            self._train = ClipDataset(sources, stages=stages, seed=seed)
        elif mixture:
            self._train = MixtureDataset(sources, stages=stages, seed=seed)
        else:
            if data.steer:
                raise InputError("data.steer: there is no mixture to steer; give data.photos or data.mixture")
            if any(stage.hard_clean for stage in stages):
                raise InputError("stages.hard_clean: pairs alone have no clean samples; give data.photos or a mixture")
            self._train = PairedDataset(kept_pairs, stages=stages, seed=seed, augment=data if augment else None)

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
        batches = StreamBatches(self._stages, start=start, rank=rank, world=world, factors_at=self.factors_at)
        return DataLoader(
            self._train,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self._workers,
            worker_init_fn=_end_with_main,
            # a fork of a process that has read an image hangs: libvips' threads are not in the copy
            multiprocessing_context=_START if self._workers else None,
            persistent_workers=self._workers > 0,
            prefetch_factor=_AHEAD if self._workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def made_ahead(self) -> int:
        """How many batches are made, at most, before they are trained on."""
        return _AHEAD * self._workers + _LIGHTNING_AHEAD

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole images, one by one."""
        return DataLoader(self._validation, batch_size=1)


def _end_with_main(worker: int) -> None:
    """A worker ends when the main process tells it by its queue, or is no more, and not by a signal of its own.

    Ctrl-C reaches every process of a terminal, and a cluster's SIGTERM every one of a job, but the main one is to save
    first. Where that is killed, torch's own watch sees the server that forks, which then waits for its workers.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if main := multiprocessing.parent_process():
        threading.Thread(target=_exit_after, args=(main.sentinel,), name="repix-main", daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def as_in_this_process(error: Exception) -> Exception | None:
    """The error that the main process would have met, of one that a process that makes data has met.

    torch raises an error of the same type that says where it was met and its traceback; of types that take more than a
    sentence it makes a `RuntimeError`.

    Args:
        error: what iterating over a loader raised.

    Returns:
        An error that says what the first one said; None where it comes from no such process.
    """
    text = str(error).strip()
    if text.startswith("DataLoader worker (pid"):
        return RepixError(
            "a process that makes data was ended from outside, mostly because memory ran out; go on with --resume and "
            "a smaller data.workers"
        )
    met = re.match(r"Caught (\w+) in DataLoader worker process", text)
    if met is None:
        return None
    name = met[1]
    # causes come first in a traceback, the error itself last; a message may have several lines
    said = re.split(rf"^[\w.<>]*{name}(?:: |$)", text, flags=re.MULTILINE)[-1]
    sentence = " ".join(said.split())
    if name.endswith("MemoryError"):  # NumPy's takes a shape
        return MemoryError(sentence)
    if isinstance(error, OSError) and (parts := re.fullmatch(r"\[Errno (\d+)\] (.+?)(?:: (['\"])(.+)\3)?", sentence)):
        return type(error)(int(parts[1]), parts[2], parts[4])
    if isinstance(error, KeyError):
        sentence = sentence.strip("'")
    if name != type(error).__name__:
        sentence = f"{name}: {sentence}"
    return type(error)(sentence)


def _directed(pairs: list[Pair], direction: str) -> list[Pair]:
    return pairs if direction == "AtoB" else [pair.swapped() for pair in pairs]


def _free_name(wished: Sequence[str], taken: set[str]) -> str:
    """The first of some names that is not taken, or the last one numbered; it is taken from then on."""
    numbered = (f"{wished[-1]}-{number}" for number in itertools.count(2))
    name = next(name for name in itertools.chain(wished, numbered) if name not in taken)
    taken.add(name)
    return name


def _split(items: Sequence[T], hold_out: int, rng: np.random.Generator) -> tuple[list[T], list[T]]:
    """Keep and hold out, drawn once; at least half always stays for training."""
    if items and hold_out > len(items) // 2:
        text = "%d of %d are held out, not %d: at least half stays for training"
        _log.warning(text, len(items) // 2, len(items), hold_out)
    hold_out = min(hold_out, len(items) // 2)
    held = set(rng.permutation(len(items))[:hold_out].tolist())
    return [item for i, item in enumerate(items) if i not in held], [items[i] for i in sorted(held)]
