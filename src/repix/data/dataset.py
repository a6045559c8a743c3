"""Training samples: pairs from disk and rainy images made on the fly. torch starts here.

A sample is a function of the seed and its global index alone: however the work is split over processes and
machines, and wherever a run is taken up again, the same images come in the same order.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from repix.data.pairs import Pair
from repix.degradations.hard_negatives import draw_lines_picture
from repix.degradations.rain import (
    FloatArray,
    RainParams,
    add_mist,
    add_noise,
    add_rain,
    blend_rain,
    compress_jpeg,
    warp_mask,
    without_camera,
)
from repix.errors import InputError
from repix.io.image import read_image, resize, shrink, to_8_bits

KINDS = ("drawn", "lines", "masks", "layers", "pairs", "dry", "stripes")
# Images of this many bytes stay decoded in each worker process; what does not fit is decoded again.
CACHE_BYTES = 1_500_000_000

Sample = dict[str, Tensor | str]


class Span(NamedTuple):
    """What a stage asks of its samples from the global index `first` on; the mixture may be the data set's own."""

    first: int
    patch: int
    severity: tuple[float, float]
    mixture: Mapping[str, float] | None = None
    dense: float = 0.5


class Augment(NamedTuple):
    """How a pair is varied, both images alike, except for colour.

    Attributes:
        jitter: the shorter side is first brought to this length; None leaves the size.
        flip: whether half of the pairs are mirrored left to right.
        scale: smallest and largest magnification.
        turn: at most so many degrees either way.
        colour: brightness, contrast and saturation of the input alone change by at most this share, its hue is kept.
    """

    jitter: int | None = None
    flip: bool = False
    scale: tuple[float, float] = (1.0, 1.0)
    turn: float = 0.0
    colour: float = 0.0


@dataclass
class PictureCache:
    """Decoded images by path, up to a number of bytes."""

    budget: int = CACHE_BYTES

    def __post_init__(self) -> None:
        self._held: dict[tuple[Path, int | None], npt.NDArray[np.uint8]] = {}

    def load(self, path: Path, *, longest: int | None = None) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8; shrunk while decoding if its longer side exceeds `longest`."""
        key = (path, longest)
        if key not in self._held:
            read = read_image(path).pixels
            pixels = to_8_bits(read) if read.dtype == np.uint16 else read.astype(np.uint8)
            if longest is not None and max(pixels.shape[:2]) > longest:
                pixels = shrink(pixels, longest)
            if pixels.nbytes > self.budget:
                return pixels
            self.budget -= pixels.nbytes
            self._held[key] = pixels
        return self._held[key]


def to_float(pixels: npt.NDArray[np.uint8]) -> FloatArray:
    return np.asarray(pixels, np.float32) / np.float32(255)


def to_tensor(picture: FloatArray) -> Tensor:
    """(H, W, 3) to (3, H, W), through the 256 levels that an image file has."""
    levels = np.rint(np.clip(picture, 0, 1) * 255) / 255
    return torch.from_numpy(np.ascontiguousarray(levels.transpose(2, 0, 1), np.float32))


def _window(shape: tuple[int, ...], patch: int, rng: np.random.Generator, name: str) -> tuple[slice, slice]:
    height, width = shape[:2]
    if min(height, width) < patch:
        raise InputError(f"{name}: {width}x{height} is smaller than the patch of {patch}; remove it or train smaller")
    top, left = int(rng.integers(height - patch + 1)), int(rng.integers(width - patch + 1))
    return slice(top, top + patch), slice(left, left + patch)


def paired_crop(
    lq: npt.NDArray[np.uint8], gt: npt.NDArray[np.uint8], patch: int, rng: np.random.Generator, *, name: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The same random window and flip of both images: one draw, both images.

    Args:
        lq, gt: (H, W, 3) of equal size.
        patch: side of the square window.
        rng: source of all randomness.
        name: for the error message.

    Raises:
        InputError: smaller than the patch, or of unequal sizes.
    """
    _check_equal(lq, gt, name)
    window = _window(lq.shape, patch, rng, name)
    flip = (slice(None, None, -1 if rng.random() < 0.5 else 1), slice(None, None, -1 if rng.random() < 0.5 else 1))
    return lq[window][flip], gt[window][flip]


def paired_warp(
    lq: npt.NDArray[np.uint8],
    gt: npt.NDArray[np.uint8],
    patch: int,
    augment: Augment,
    rng: np.random.Generator,
    *,
    name: str,
) -> tuple[FloatArray, FloatArray]:
    """A window of both images, scaled, turned and mirrored by one draw, and the input's colours varied.

    Where the window reaches beyond the images they go on mirrored.

    Args:
        lq, gt: (H, W, 3) of equal size.
        patch: side of the square window.
        augment: how far to go; `jitter` has been done by who loaded the images.
        rng: source of all randomness.
        name: for the error message.

    Returns:
        Two (patch, patch, 3) float32 in [0, 1].

    Raises:
        InputError: of unequal sizes; or smaller than the patch where neither scale nor turn are varied.
    """
    _check_equal(lq, gt, name)
    if augment.scale == (1.0, 1.0) and not augment.turn:
        window = _window(lq.shape, patch, rng, name)
        pair = [to_float(picture[window]) for picture in (lq, gt)]
    else:
        zoom = float(np.exp(rng.uniform(*np.log(augment.scale))))
        angle = np.radians(rng.uniform(-augment.turn, augment.turn))
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
        pair = [picture[:, ::-1] for picture in pair]
    if augment.colour:
        pair[0] = _vary_colours(pair[0], augment.colour, rng)
    return pair[0], pair[1]


def _vary_colours(picture: FloatArray, most: float, rng: np.random.Generator) -> FloatArray:
    brightness, contrast, saturation = (np.float32(1 + rng.uniform(-most, most)) for _ in range(3))
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * saturation
    mean = picture.mean()
    return np.asarray(((picture - mean) * contrast + mean) * brightness, np.float32)


def _check_equal(lq: npt.NDArray[np.uint8], gt: npt.NDArray[np.uint8], name: str) -> None:
    if lq.shape != gt.shape:
        raise InputError(f"{name}: input is {lq.shape[1]}x{lq.shape[0]}, target is {gt.shape[1]}x{gt.shape[0]}")


def load_pair(
    cache: PictureCache, pair: Pair, *, shortest: int | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Both images of a pair, cut out of one where they lie side by side; their shorter side as given, if it is."""
    lq, gt = pair.split(cache.load(pair.lq), cache.load(pair.gt))
    if shortest is None or min(lq.shape[:2]) == shortest:
        return lq, gt
    return _resized(lq, shortest), _resized(gt, shortest)


def _resized(pixels: npt.NDArray[np.uint8], shortest: int) -> npt.NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = shortest / min(height, width)
    resized = resize(pixels, (max(shortest, round(height * scale)), max(shortest, round(width * scale))))
    return cast("npt.NDArray[np.uint8]", resized)


class _Spans:
    """Looks up the stage of a sample by its global index."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = list(spans)
        self._firsts = [span.first for span in spans]

    def at(self, index: int) -> Span:
        return self._spans[bisect.bisect_right(self._firsts, index) - 1]


class PairedDataset(Dataset[Sample]):
    """Crops of pairs on disk, every pair once per round in an order of its own.

    Args:
        pairs: rainy and clean files.
        spans: patch size by global index.
        seed: of order, windows and flips.
        augment: how to vary the pairs; None takes windows and flips both ways.

    `dataset[i]` is `{"lq": (3, P, P), "gt": (3, P, P), "name"}`, float32 in [0, 1], for any i ≥ 0.
    """

    def __init__(
        self, pairs: Sequence[Pair], *, spans: Sequence[Span], seed: int = 0, augment: Augment | None = None
    ) -> None:
        if not pairs:
            raise InputError("no training pairs were found; see docs/data.md for the layouts that are known")
        self._pairs = list(pairs)
        self._spans = _Spans(spans)
        self._seed = seed
        self._augment = augment
        self._cache = PictureCache()
        self._order: tuple[int, npt.NDArray[np.intp]] = (-1, np.zeros(0, np.intp))

    def __getitem__(self, index: int) -> Sample:
        lap, place = divmod(index, len(self._pairs))
        if self._order[0] != lap:
            self._order = (lap, np.random.default_rng((self._seed, 1, lap)).permutation(len(self._pairs)))
        pair = self._pairs[int(self._order[1][place])]
        rng = np.random.default_rng((self._seed, 0, index))
        patch = self._spans.at(index).patch
        if self._augment is None:
            lq8, gt8 = paired_crop(*load_pair(self._cache, pair), patch, rng, name=pair.name)
            lq, gt = to_float(lq8), to_float(gt8)
        else:
            both = load_pair(self._cache, pair, shortest=self._augment.jitter)
            lq, gt = paired_warp(*both, patch, self._augment, rng, name=pair.name)
        return {"lq": to_tensor(lq), "gt": to_tensor(gt), "name": pair.name}


class RainyDataset(Dataset[Sample]):
    """Rain made on the fly on crops of clean photos, of several kinds in a mixture.

    Args:
        photos: clean images; the clean sides of `pairs` join them.
        pairs: known pairs, for `pairs` (as they are) and `layers` (their rain, rainy minus clean, on other photos).
        masks: streak masks, white on black, for `masks` (one to six, turned by ±30°, scaled by 0.6 to 1.8, summed).
        mixture: weight of each of `KINDS`: `drawn` by the physical model at the stage's severity, `lines` sharp
            lines, `dry` a clean image that must come back as it is, `stripes` a drawn one full of thin lines
            (`repix.degradations.hard_negatives`), half of them over a photo, that must too.
        spans: patch size and severity by global index.
        seed: of everything.
        longest: larger photos are shrunk to this longer side, which also hides their noise and blur.

    `dataset[i]` is as `PairedDataset`'s, for any i ≥ 0.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        *,
        pairs: Sequence[Pair] = (),
        masks: Sequence[Path] = (),
        mixture: Mapping[str, float],
        spans: Sequence[Span],
        seed: int = 0,
        longest: int = 1280,
    ) -> None:
        needs = {"masks": masks, "layers": pairs, "pairs": pairs}
        self._mixture = mixture
        for kind, weight in (
            item for some in (mixture, *(span.mixture or {} for span in spans)) for item in some.items()
        ):
            if weight > 0 and not needs.get(kind, True):
                source = "masks" if kind == "masks" else "pairs"
                raise InputError(
                    f"the mixture has {kind!r}, but data.{source} names no files; give them or set it to 0"
                )
        if not photos and not pairs:
            raise InputError("no clean photos were found; give a folder of clean images as data.photos")
        self._photos = list(photos)
        self._pairs = list(pairs)
        self._masks = list(masks)
        self._spans = _Spans(spans)
        self._seed = seed
        self._longest = longest
        self._cache = PictureCache()

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self._seed, 0, index))
        span = self._spans.at(index)
        kind = _draw_kind(span.mixture or self._mixture, rng)
        lq, gt, name = self.make(kind, span, rng)
        return {"lq": to_tensor(lq), "gt": to_tensor(gt), "name": f"{kind}:{name}"}

    def make(self, kind: str, span: Span, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, str]:
        """One sample of a kind: rainy, clean (both (P, P, 3) float32 in [0, 1]) and the image's name."""
        if kind == "pairs":
            pair = self._pairs[int(rng.integers(len(self._pairs)))]
            lq8, gt8 = paired_crop(*load_pair(self._cache, pair), span.patch, rng, name=pair.name)
            return to_float(lq8), to_float(gt8), pair.name
        gt, name = self._clean(span.patch, rng)
        if kind == "stripes":
            behind = gt if rng.random() < 0.5 else None
            gt = draw_lines_picture((span.patch, span.patch), rng, background=behind)
        if kind in ("dry", "stripes"):
            return gt, gt, name
        if kind == "drawn":
            focal = float(np.exp(rng.uniform(np.log(350), np.log(1800))))
            params = without_camera(RainParams.from_severity(rng.uniform(*span.severity), rng, focal=focal))
            lq = add_rain(gt, params, rng)[0].astype(np.float32)
        elif kind == "lines":
            focal = float(np.exp(rng.uniform(np.log(400), np.log(900))))
            lq = add_rain(gt, RainParams.sharp_lines(rng, focal=focal, dense=span.dense), rng)[0].astype(np.float32)
        elif kind == "masks":
            lq = blend_rain(gt, self._mask_layer(span.patch, rng), "add" if rng.random() < 0.8 else "screen")
        else:
            lq = blend_rain(gt, self._pair_layer(span.patch, rng), "add")
        if rng.random() < 0.1:
            lq = compress_jpeg(lq, int(rng.integers(80, 98)))
        return lq, gt, name

    def _clean(self, patch: int, rng: np.random.Generator) -> tuple[FloatArray, str]:
        """A crop of a clean image, with what cameras add to rainy and clean images alike."""
        choice = int(rng.integers(len(self._photos) + len(self._pairs)))
        if choice < len(self._photos):
            path = self._photos[choice]
            pixels = self._cache.load(path, longest=self._longest)
            name = path.stem
        else:
            pair = self._pairs[choice - len(self._photos)]
            pixels, name = load_pair(self._cache, pair)[1], pair.name
        shrink = 2 if rng.random() < 0.2 and min(pixels.shape[:2]) >= 2 * patch else 1
        crop = to_float(pixels[_window(pixels.shape, patch * shrink, rng, name)])
        if shrink == 2:  # finer texture and sharper edges than the camera's own pixels show
            crop = crop.reshape(patch, 2, patch, 2, 3).mean((1, 3), dtype=np.float32)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        if rng.random() < 0.2:
            crop = crop[::-1]
        if rng.random() < 0.2:
            crop = crop.transpose(1, 0, 2)
        if rng.random() < 0.3:  # darker and lighter scenes: rain at dusk, at noon
            crop = np.asarray(crop ** rng.uniform(0.6, 1.6) * rng.uniform(0.6, 1.0), np.float32)
        if rng.random() < 0.15:
            crop = add_mist(crop, float(rng.uniform(0, 0.5)), rng)
        if rng.random() < 0.2:
            crop = add_noise(crop, float(rng.uniform(0, 0.02)), rng)
        if rng.random() < 0.1:
            crop = compress_jpeg(crop, int(rng.integers(70, 96)))
        return np.ascontiguousarray(crop, np.float32), name

    def _mask_layer(self, patch: int, rng: np.random.Generator) -> FloatArray:
        count = 1 if rng.random() < 0.45 else int(rng.integers(2, 7))
        layer = np.zeros((patch, patch), np.float32)
        for _ in range(count):
            mask = self._cache.load(self._masks[int(rng.integers(len(self._masks)))])[..., 0]
            warped = warp_mask(mask, (patch, patch), rng, turn=30, scale=(0.6, 1.8))
            layer += warped * np.float32(rng.uniform(0.3, 1.0) / 255)
        return layer

    def _pair_layer(self, patch: int, rng: np.random.Generator) -> FloatArray:
        layer = np.zeros((patch, patch, 3), np.float32)
        for _ in range(1 if rng.random() < 0.7 else int(rng.integers(2, 5))):
            pair = self._pairs[int(rng.integers(len(self._pairs)))]
            lq, gt = paired_crop(*load_pair(self._cache, pair), patch, rng, name=pair.name)
            # rain only brightens; what is darker is the data set's own JPEG noise
            layer += np.maximum(to_float(lq) - to_float(gt), 0) * np.float32(rng.uniform(0.7, 1.3))
        # near white the layer was cut off at 255 in one or two channels: give all three the largest
        return np.broadcast_to(layer.max(2, keepdims=True), layer.shape)


def _draw_kind(mixture: Mapping[str, float], rng: np.random.Generator) -> str:
    kinds = [kind for kind, weight in mixture.items() if weight > 0]
    weights = np.array([mixture[kind] for kind in kinds], float)
    shares = np.cumsum(weights / weights.sum())
    return kinds[min(int(np.searchsorted(shares, rng.random())), len(kinds) - 1)]


class StreamBatches(Sampler[list[int]]):
    """Batches of global indices from any step of a run on, this process's share of each.

    Args:
        stages: (steps, batch size) of each stage; a batch size is over all processes.
        start: first step to give, for a resumed run.
        rank, world: this process and how many there are.
    """

    def __init__(self, stages: Sequence[tuple[int, int]], *, start: int = 0, rank: int = 0, world: int = 1) -> None:
        for _, batch in stages:
            if batch % world:
                raise InputError(f"a batch of {batch} does not divide among {world} processes; take a multiple")
        self._stages = list(stages)
        self._start = start
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return sum(steps for steps, _ in self._stages)

    def __iter__(self) -> Iterator[list[int]]:
        step = first = 0
        for steps, batch in self._stages:
            for _ in range(steps):
                if step >= self._start:
                    yield list(range(first + self._rank, first + batch, self._world))
                step, first = step + 1, first + batch
