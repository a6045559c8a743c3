"""Training samples: pairs from disk and degradations made on the fly. torch starts here.

A sample is a function of the seed and its global index alone: however the work is split over processes and
machines, and wherever a run is taken up again, the same images come in the same order.
"""

from __future__ import annotations

import bisect
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate

from repix._types import Floats
from repix.data.config import CANDIDATES, PAIRS, Augment, Samples
from repix.data.own import degraded, load_degradation, rehearse
from repix.data.pairs import Pair
from repix.degradations import Context, Degradation, Levels
from repix.degradations.camera import as_cameras_do, vary_exposure
from repix.degradations.crop import check_equal, paired_crop, random_window
from repix.errors import InputError
from repix.io.image import read_pixels, resize, shrink, to_8_bits

# Images of this many bytes stay decoded in each worker process; what does not fit is decoded again.
CACHE_BYTES = 1_500_000_000

# Shares of clean crops that come at half their size, and enlarged, and by how much. Cameras of many megapixels show
# fur, hair and water as wide soft strokes; a network that has seen sharp ones alone takes those for rain.
_FINER, _SOFTER = 0.2, 0.15
_ENLARGED = (1.4, 6.0)

Sample = dict[str, Tensor | str]
Index = int | tuple[int, Mapping[str, float]]
"""Which sample; and what the weights of kinds in the mixture are multiplied by."""
T = TypeVar("T")


class BrokenImageError(InputError):
    """An image that was there when training began, with a header, and cannot be decoded."""


def _with_luck(make: Callable[[int], T], tries: int = 32) -> T:
    """What `make` gives at the first of its tries, 0, 1 …, that meets no broken image."""
    for attempt in range(tries):
        try:
            return make(attempt)
        except BrokenImageError as error:
            last = error
    raise InputError(f"{last}; {tries} images in a row are broken")


@dataclass
class ImageCache:
    """Decoded images by path, up to a number of bytes."""

    budget: int = CACHE_BYTES

    def __post_init__(self) -> None:
        self._held: dict[tuple[Path, int | None], Levels] = {}
        self._broken: dict[Path, str] = {}

    def load(self, path: Path, *, max_side: int | None = None) -> Levels:
        """(H, W, 3) uint8; shrunk while decoding if its longer side exceeds `max_side`.

        Raises:
            BrokenImageError: it cannot be decoded; the first time with a warning.
        """
        key = (path, max_side)
        if path in self._broken:
            raise BrokenImageError(self._broken[path])
        if key not in self._held:
            try:
                read = read_pixels(path)
            except InputError as error:
                self._broken[path] = str(error)
                logging.getLogger("repix").warning("%s; another image takes its place", error)
                raise BrokenImageError(str(error)) from error
            pixels = to_8_bits(read) if read.dtype == np.uint16 else read.astype(np.uint8)
            if max_side is not None and max(pixels.shape[:2]) > max_side:
                pixels = shrink(pixels, max_side)
            if pixels.nbytes > self.budget:
                return pixels
            self.budget -= pixels.nbytes
            self._held[key] = pixels
        return self._held[key]


class Loaded(Sequence[T], Generic[T]):
    """Items that are loaded when they are asked for, one by one."""

    def __init__(self, items: Sequence[Any], load: Callable[[Any], T]) -> None:
        self._items, self._load = items, load

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Loaded[T]: ...
    def __getitem__(self, index: int | slice) -> T | Loaded[T]:
        if isinstance(index, slice):
            return Loaded(self._items[index], self._load)
        return self._load(self._items[index])


def to_float(pixels: Levels) -> Floats:
    """(H, W, 3) uint8 to float32 in [0, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(255)


def to_tensor(image: Floats) -> Tensor:
    """(H, W, 3) to (3, H, W), through the 256 levels that an image file has."""
    levels = np.rint(np.clip(image, 0, 1) * 255) / 255
    return torch.from_numpy(np.ascontiguousarray(levels.transpose(2, 0, 1), np.float32))


def paired_warp(
    lq: npt.NDArray[np.uint8],
    gt: npt.NDArray[np.uint8],
    patch: int,
    augment: Augment,
    rng: np.random.Generator,
    *,
    name: str,
) -> tuple[Floats, Floats]:
    """A window of both images, scaled, rotated and mirrored by one draw, and the input's colours varied.

    Where the window reaches beyond the images they go on mirrored.

    Args:
        lq, gt: (H, W, 3) of equal size.
        patch: side of the square window.
        augment: how far to go; `resize_short` has been done by who loaded the images.
        rng: source of all randomness.
        name: for the error message.

    Returns:
        Two (patch, patch, 3) float32 in [0, 1].

    Raises:
        InputError: of unequal sizes; or smaller than the patch where neither scale nor rotation is varied.
    """
    check_equal(lq, gt, name=name)
    if not augment.goes_beyond:
        window = random_window(lq.shape, (patch, patch), rng, name=name)
        pair = [to_float(image[window]) for image in (lq, gt)]
    else:
        zoom = float(np.exp(rng.uniform(*np.log(augment.scale))))
        angle = np.radians(rng.uniform(-augment.rotation, augment.rotation))
        height, width = lq.shape[:2]
        # the window's centre, drawn so that the window stays within the images where it fits
        spare = [(size - patch / zoom) / 2 for size in (height, width)]
        centre = [
            size / 2 + rng.uniform(-abs(room), abs(room)) for size, room in zip((height, width), spare, strict=True)
        ]
        reach = np.arange(patch, dtype=np.float32) - np.float32((patch - 1) / 2)
        cos, sin = (np.float32(f(angle) / zoom) for f in (np.cos, np.sin))
        y = np.float32(centre[0] - 0.5) + cos * reach[:, None] + sin * reach[None, :]
        x = np.float32(centre[1] - 0.5) - sin * reach[:, None] + cos * reach[None, :]
        grid = torch.from_numpy(np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], axis=2))
        both = torch.from_numpy(np.concatenate([lq, gt], axis=2)).permute(2, 0, 1)[None].float() / 255
        warped = torch.nn.functional.grid_sample(both, grid[None], padding_mode="reflection", align_corners=False)
        made = warped[0].permute(1, 2, 0).numpy()
        pair = [made[..., :3], made[..., 3:]]
    if augment.flip and rng.random() < 0.5:
        pair = [image[:, ::-1] for image in pair]
    if augment.colour:
        pair[0] = _vary_colours(pair[0], augment.colour, rng)
    return pair[0], pair[1]


def _vary_colours(image: Floats, most: float, rng: np.random.Generator) -> Floats:
    brightness, contrast, saturation = (np.float32(1 + rng.uniform(-most, most)) for _ in range(3))
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * saturation
    mean = image.mean()
    return np.asarray(((image - mean) * contrast + mean) * brightness, np.float32)


def load_pair(cache: ImageCache, pair: Pair, *, resize_short: int | None = None) -> tuple[Levels, Levels]:
    """Both images of a pair, cut out of one where they lie side by side; their shorter side as given, if it is."""
    lq, gt = pair.split(cache.load(pair.lq), cache.load(pair.gt))
    if resize_short is None or min(lq.shape[:2]) == resize_short:
        return lq, gt
    return _resized(lq, resize_short), _resized(gt, resize_short)


def _resized(pixels: Levels, short: int) -> Levels:
    height, width = pixels.shape[:2]
    scale = short / min(height, width)
    resized = resize(pixels, (max(short, round(height * scale)), max(short, round(width * scale))))
    return cast("Levels", resized)


class _Stages:
    """Looks up the stage of a sample by its global index; the last stage goes on for ever."""

    def __init__(self, stages: Sequence[Samples]) -> None:
        self._stages = list(stages)
        self._ends = list(itertools.accumulate(stage.steps * stage.batch for stage in self._stages[:-1]))

    def stage_of(self, index: int) -> Samples:
        return self._stages[bisect.bisect_right(self._ends, index)]


class PairedDataset(Dataset[Sample]):
    """Crops of pairs on disk, every pair once per round in an order of its own.

    Args:
        pairs: rainy and clean files.
        stages: of the run, each with its patch size.
        seed: of order, windows and flips.
        augment: how to vary the pairs; None takes windows and flips both ways.

    `dataset[i]` is `{"lq": (3, P, P), "gt": (3, P, P), "name"}`, float32 in [0, 1], for any i ≥ 0.
    """

    def __init__(
        self, pairs: Sequence[Pair], *, stages: Sequence[Samples], seed: int = 0, augment: Augment | None = None
    ) -> None:
        if not pairs:
            raise InputError(
                "data.pairs: no training pairs were found; see docs/data.md for the layouts that are known"
            )
        self._pairs = list(pairs)
        self._stages = _Stages(stages)
        self._seed = seed
        self._augment = augment
        self._cache = ImageCache()
        self._order: tuple[int, npt.NDArray[np.intp]] = (-1, np.zeros(0, np.intp))

    def __getitem__(self, index: int) -> Sample:
        return _with_luck(lambda attempt: self._sample(index, attempt))

    def _sample(self, index: int, attempt: int) -> Sample:
        lap, number = divmod(index, len(self._pairs))
        if self._order[0] != lap:
            self._order = (lap, np.random.default_rng((self._seed, 1, lap)).permutation(len(self._pairs)))
        pair = self._pairs[int(self._order[1][(number + attempt) % len(self._pairs)])]
        rng = np.random.default_rng((self._seed, 0, index))
        patch = self._stages.stage_of(index).patch
        if self._augment is None:
            lq, gt = map(to_float, paired_crop(*load_pair(self._cache, pair), (patch, patch), rng, name=pair.name))
        else:
            both = load_pair(self._cache, pair, resize_short=self._augment.resize_short)
            lq, gt = paired_warp(*both, patch, self._augment, rng, name=pair.name)
        return {"lq": to_tensor(lq), "gt": to_tensor(gt), "name": pair.name}


@dataclass(frozen=True)
class Sources:
    """What the samples of a mixture are made of.

    Attributes:
        photos: clean images; for samples of one image the clean sides of `pairs` join them.
        mixture: weight of each name of `DEGRADATIONS`, of one's own, and of `pairs`.
        pairs: known pairs, for `pairs` and for degradations that draw from them.
        clips: consecutive pairs, clip by clip, in place of `pairs` where samples have frames.
        masks: streak masks, for degradations that draw from them.
        max_side: larger photos are shrunk to this longer side, which also hides their noise and blur.
        camera: share of samples that are changed as other cameras and users do, `as_cameras_do`.
    """

    photos: Sequence[Path]
    mixture: Mapping[str, float]
    pairs: Sequence[Pair] = ()
    clips: Sequence[Sequence[Pair]] = ()
    masks: Sequence[Path] = ()
    max_side: int = 1280
    camera: float = 0.0


class MixtureDataset(Dataset[Sample]):
    """Samples of several kinds in a mixture: degradations of crops of clean photos, and pairs as they are.

    Args:
        sources: what they are made of.
        stages: of the run; each may have a mixture of its own.
        seed: of everything.

    `dataset[i]` is as `PairedDataset`'s, for any i ≥ 0; `dataset[i, factors]` the same with the mixture's weights
    multiplied by those factors. With the stage's `hard_clean`, some samples whose two images are the same one have
    `others` too, (K, 3, P, P): further clean samples of that kind, of which the network is to choose (`collate`).

    Raises:
        InputError: no photos, or a source that the mixture needs is missing.
        RecipeError: no such degradation, or one of the user's own that does not do what it should.
    """

    def __init__(self, sources: Sources, *, stages: Sequence[Samples], seed: int = 0) -> None:
        self._from = sources
        self._stages = _Stages(stages)
        self._seed = seed
        self._cache = ImageCache()
        self._degradations: dict[str, Degradation] = {}
        for name in self._kinds(stages):
            for source in (PAIRS,) if name == PAIRS else getattr(self._degradation(name), "needs", ()):
                if not getattr(sources, source, ()):
                    raise InputError(
                        f"the mixture has {name!r}, but data.{source} names no files; give them or set it to 0"
                    )
        if not sources.photos and not sources.pairs:
            raise InputError("data.photos: no clean photos were found; give a folder of clean images")
        for stage in stages:
            for name in self._kinds([stage]):
                if name != PAIRS:
                    _with_luck(partial(self._rehearse, name, stage))

    def _rehearse(self, name: str, stage: Samples, attempt: int) -> None:
        rng = np.random.default_rng((self._seed, 5, attempt))
        rehearse(name, self._degradation(name), (stage.patch, stage.patch, 3), rng, self._context(stage))

    def _kinds(self, stages: Sequence[Samples]) -> list[str]:
        """Every kind that some stage draws."""
        mixtures = (self._from.mixture, *(stage.mixture for stage in stages))
        return list(dict.fromkeys(name for some in mixtures for name in some if some[name] > 0))

    def __getstate__(self) -> dict[str, Any]:
        """Without the degradations: a class of one's own is loaded again by the process that the data set goes to."""
        return {**self.__dict__, "_degradations": {}}

    def _degradation(self, name: str) -> Degradation:
        if name not in self._degradations:
            self._degradations[name] = load_degradation(name)
        return self._degradations[name]

    def __getitem__(self, index: Index) -> Sample:
        number, factors = index if isinstance(index, tuple) else (index, {})
        return _with_luck(lambda attempt: self._sample(number, attempt, factors))

    def _sample(self, index: int, attempt: int, factors: Mapping[str, float]) -> Sample:
        rng = np.random.default_rng((self._seed, 0, index) if not attempt else (self._seed, 0, index, attempt))
        stage = self._stages.stage_of(index)
        kind = self._draw_kind(stage, factors, rng)
        sample, clean = self._seen(kind, stage, rng)
        if clean and stage.hard_clean and rng.random() < stage.hard_clean:
            more = [self._seen(kind, stage, rng) for _ in range(CANDIDATES - 1)]
            others = [cast("Tensor", other["lq"]) for other, same in more if same]
            return {**sample, "others": torch.stack(others)} if others else sample
        return sample

    def _seen(self, kind: str, stage: Samples, rng: np.random.Generator) -> tuple[Sample, bool]:
        """One sample of a kind as a camera shows it, and whether it is clean: both of its images the same one."""
        lq, gt, name = self.make(kind, stage, rng)
        clean = lq is gt
        if self._from.camera and rng.random() < self._from.camera:
            lq, gt = as_cameras_do(lq, gt, rng, untouched=clean)
        return {"lq": to_tensor(lq), "gt": to_tensor(gt), "name": f"{kind}:{name}"}, clean

    def make(self, kind: str, stage: Samples, rng: np.random.Generator) -> tuple[Floats, Floats, str]:
        """One sample of a kind: degraded, clean (both (P, P, 3) float32 in [0, 1]) and the image's name."""
        size = (stage.patch, stage.patch)
        if kind == PAIRS:
            pair = self._from.pairs[int(rng.integers(len(self._from.pairs)))]
            lq, gt = map(to_float, paired_crop(*load_pair(self._cache, pair), size, rng, name=pair.name))
            return lq, gt, pair.name
        clean, name = self._clean(stage.patch, rng)
        lq, gt = degraded(kind, self._degradation(kind), clean, rng, self._context(stage))
        return lq, gt, name

    def _draw_kind(self, stage: Samples, factors: Mapping[str, float], rng: np.random.Generator) -> str:
        mixture = stage.mixture or self._from.mixture
        return _draw_kind({name: weight * factors.get(name, 1.0) for name, weight in mixture.items()}, rng)

    def _context(self, stage: Samples) -> Context:
        return Context(
            severity=stage.severity,
            sharp_streaks_density=stage.sharp_streaks_density,
            photos=Loaded(self._from.photos, self._photo),
            pairs=Loaded(self._from.pairs, lambda pair: load_pair(self._cache, pair)),
            masks=Loaded(self._from.masks, lambda path: self._cache.load(path)[..., 0]),
        )

    def _photo(self, path: Path) -> Levels:
        return self._cache.load(path, max_side=self._from.max_side)

    def _clean(self, patch: int, rng: np.random.Generator) -> tuple[Floats, str]:
        """A crop of a clean image, with what cameras add to degraded and clean images alike; and the image's name."""
        choice = int(rng.integers(len(self._from.photos) + len(self._from.pairs)))
        if choice < len(self._from.photos):
            path = self._from.photos[choice]
            pixels, name = self._photo(path), path.stem
        else:
            pair = self._from.pairs[choice - len(self._from.photos)]
            pixels, name = load_pair(self._cache, pair)[1], pair.name
        draw = rng.random()
        if draw < _FINER and min(pixels.shape[:2]) >= 2 * patch:  # finer and sharper than a camera shows
            crop = to_float(pixels[random_window(pixels.shape, (2 * patch, 2 * patch), rng, name=name)])
            crop = crop.reshape(patch, 2, patch, 2, 3).mean((1, 3), dtype=np.float32)
        elif draw >= 1 - _SOFTER:
            side = round(patch / float(np.exp(rng.uniform(*np.log(_ENLARGED)))))
            window = pixels[random_window(pixels.shape, (side, side), rng, name=name)]
            crop = to_float(cast("Levels", resize(window, (patch, patch))))
        else:
            crop = to_float(pixels[random_window(pixels.shape, (patch, patch), rng, name=name)])
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.2:
            crop = crop[::-1]
        if rng.random() < 0.2:
            crop = crop.transpose(1, 0, 2)
        return vary_exposure(crop, rng), name


def _draw_kind(mixture: Mapping[str, float], rng: np.random.Generator) -> str:
    kinds = [kind for kind, weight in mixture.items() if weight > 0]
    weights = np.array([mixture[kind] for kind in kinds], float)
    shares = np.cumsum(weights / weights.sum())
    return kinds[min(int(np.searchsorted(shares, rng.random())), len(kinds) - 1)]


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """A batch of samples.

    Returns:
        `lq` and `gt`, (N, …), and `name`, a list; where samples have `others`, all of these as one tensor (K, …), and
        `others_of`, (K,) int64: which of the N samples each belongs to.
    """
    plain = [{key: value for key, value in sample.items() if key != "others"} for sample in samples]
    batch: dict[str, Any] = default_collate(plain)
    choices = [(number, cast("Tensor", one["others"])) for number, one in enumerate(samples) if "others" in one]
    if choices:
        batch["others"] = torch.cat([others for _, others in choices])
        batch["others_of"] = torch.tensor([number for number, others in choices for _ in others])
    return batch


class StreamBatches(Sampler[list[Index]]):
    """Batches of global indices from any step of a run on, this process's share of each.

    Args:
        stages: of the run, each with its steps and batch size.
        start: first step to give, for a resumed run.
        rank, world: this process and how many there are.
        factors_at: for a step, what the mixture's weights are multiplied by; None where nothing steers them.

    Raises:
        InputError: a batch that cannot be shared out evenly.
    """

    def __init__(
        self,
        stages: Sequence[Samples],
        *,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        factors_at: Callable[[int], Mapping[str, float]] | None = None,
    ) -> None:
        for stage in stages:
            if stage.batch % world:
                raise InputError(f"a batch of {stage.batch} does not divide among {world} processes; take a multiple")
        self._stages = list(stages)
        self._start = start
        self._rank, self._world = rank, world
        self._factors_at = factors_at

    def __len__(self) -> int:
        return sum(stage.steps for stage in self._stages)

    def __iter__(self) -> Iterator[list[Index]]:
        step = first = 0
        for stage in self._stages:
            for _ in range(stage.steps):
                if step >= self._start:
                    indices = range(first + self._rank, first + stage.batch, self._world)
                    factors = self._factors_at(step) if self._factors_at else {}
                    yield [(index, factors) for index in indices] if factors else list(indices)
                step, first = step + 1, first + stage.batch
