"""Training samples of video: moving crops of photographs under falling rain, and consecutive frames from disk."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import grid_sample, interpolate

from repix._types import Floats
from repix.data.config import PAIRS, Samples
from repix.data.dataset import MixtureDataset, Sample, Sources, load_pair, to_float, to_tensor
from repix.data.own import degraded, degraded_frames, rehearse
from repix.data.pairs import Pair
from repix.degradations import Degradation
from repix.degradations.camera import as_cameras_do
from repix.degradations.crop import random_window
from repix.errors import InputError, RecipeError, counted

_STILL = 0.3  # share of clips from a camera that stands
_REVERSED = 0.5  # share of clips from disk that run backwards: rain is new in every frame
_DRAWN = 1.5  # side of a drawn scene over that of the frames, which see it move by
_SKIPPED = 0.3  # share of them of which every other frame is left out


@dataclass(frozen=True)
class Path2D:
    """How the camera moves: for each frame the centre's displacement, an angle and a magnification.

    Attributes:
        places: (T, 2) pixels (down, right).
        angles: (T,) radians.
        scales: (T,) pixels of the photo for one of the frame.
        parallax: share by which near and far move more and less than the middle.
    """

    places: Floats
    angles: Floats
    scales: Floats
    parallax: float

    @classmethod
    def draw(cls, frames: int, rng: np.random.Generator) -> Path2D:
        """A camera that stands, pans, turns, zooms, is held in a hand, or several of these."""
        t = np.arange(frames, dtype=np.float32)[:, None]
        places, angles = np.zeros((frames, 2), np.float32), np.zeros(frames, np.float32)
        scales = np.full(frames, np.exp(rng.uniform(np.log(0.8), np.log(1.15))), np.float32)
        if rng.random() < _STILL:
            return cls(places, angles, scales, 0.0)
        if rng.random() < 0.7:  # a pan, faster or slower with time
            speed = np.exp(rng.uniform(np.log(0.2), np.log(12)))
            heading = rng.uniform(0, 2 * np.pi)
            direction = np.array([0.5 * np.sin(heading), np.cos(heading)], np.float32)
            places += np.float32(speed) * direction * (t + np.float32(rng.uniform(-0.1, 0.1)) * t**2)
        if rng.random() < 0.5:  # a hand
            places += np.float32(rng.uniform(0.2, 3)) * rng.standard_normal((frames, 2), np.float32)
            angles += np.float32(rng.uniform(0, 0.008)) * rng.standard_normal(frames, np.float32)
        if rng.random() < 0.2:
            angles += np.float32(rng.uniform(-0.02, 0.02)) * t[:, 0]
        if rng.random() < 0.4:  # a car drives on
            scales *= np.exp(np.float32(rng.uniform(-0.02, 0.01)) * t[:, 0])
        return cls(places, angles, scales, float(rng.uniform(0.1, 0.8)) if rng.random() < 0.5 else 0.0)


def moving_crops(photo: Floats, size: int, path: Path2D, rng: np.random.Generator) -> Floats:
    """What a moving camera sees of a photo: (T, size, size, 3) in [0, 1]; beyond the photo it goes on mirrored.

    Args:
        photo: (H, W, 3) in [0, 1].
        size: pixels along each side of the frames.
        path: of the camera.
        rng: source of all randomness: where in the photo, and how far its parts are.
    """
    height, width = photo.shape[:2]
    reach = size * float(path.scales.max()) / 2
    room = [max(side / 2 - reach, 0) for side in (height, width)]
    centre = [side / 2 + rng.uniform(-free, free) for side, free in zip((height, width), room, strict=True)]
    y, x = np.meshgrid(*(2 * [np.arange(size, dtype=np.float32) - (size - 1) / 2]), indexing="ij")
    depth = torch.from_numpy(rng.standard_normal((1, 1, 3, 3), np.float32))
    near = interpolate(depth, size=(size, size), mode="bicubic", align_corners=True)[0, 0].numpy()
    moves = 1 + path.parallax * np.clip(near, -1, 1)
    grids = []
    for place, angle, scale in zip(path.places, path.angles, path.scales, strict=True):
        cos, sin = np.float32(scale * np.cos(angle)), np.float32(scale * np.sin(angle))
        down = centre[0] - 0.5 + cos * y + sin * x + place[0] * moves
        right = centre[1] - 0.5 + cos * x - sin * y + place[1] * moves
        grids.append(np.stack([(2 * right + 1) / width - 1, (2 * down + 1) / height - 1], axis=2))
    grid = torch.from_numpy(np.stack(grids).astype(np.float32))
    image = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))[None].expand(len(grids), -1, -1, -1)
    seen = grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return np.asarray(seen.clamp(0, 1).permute(0, 2, 3, 1).numpy(), np.float32)


def let_cross(clip: Floats, other: Floats, rng: np.random.Generator) -> Floats:
    """Something crosses the scene: a piece of another photo, round or a bar, before (T, H, W, 3).

    Args:
        clip: the scene.
        other: (h, w, 3) in [0, 1].
        rng: source of all randomness.
    """
    frames, height, width = clip.shape[:3]
    bar = rng.random() < 0.3
    half = [rng.uniform(0.1, 0.6) * height, rng.uniform(1, 4)] if bar else rng.uniform(5, 0.3 * min(height, width), 2)
    speed = rng.uniform(0.5, 14) * rng.choice([-1, 1])
    start = [rng.uniform(0, height), rng.uniform(0, width) - speed * frames / 2]
    fall = rng.uniform(-2, 2)
    top, left = (int(rng.integers(max(side - n, 1))) for side, n in zip(other.shape[:2], (height, width), strict=True))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    made = clip.copy()
    for t in range(frames):
        dy, dx = y - np.float32(start[0] + fall * t), x - np.float32(start[1] + speed * t)
        if bar:
            inside = np.minimum(half[0] - np.abs(dy), half[1] - np.abs(dx))
        else:
            inside = (1 - np.hypot(dy / half[0], dx / half[1])) * min(half)
        share = np.clip(inside + 0.5, 0, 1)[..., None].astype(np.float32)
        # its texture goes with it, by whole pixels
        rows = (top + np.arange(height) - round(fall * t)) % other.shape[0]
        columns = (left + np.arange(width) - round(speed * t)) % other.shape[1]
        made[t] = made[t] * (1 - share) + other[rows][:, columns] * share
    return made


class ClipDataset(MixtureDataset):
    """Consecutive frames: moving crops of photos under one of the mixture's degradations, and `pairs` from disk.

    Args:
        sources, stages, seed: see `MixtureDataset`; pairs come from `clips`, and give no photos here.

    `dataset[i]` is `{"lq": (T, 3, P, P), "gt": (T, 3, P, P), "name"}`, T being the stage's `frames`, and sometimes
    `others`, (K, T, 3, P, P).

    A degradation with `frames` degrades moving crops of photos. One without, whose images are clean, draws a still
    scene larger than a frame, of which the clip is moving crops.

    Raises:
        InputError: no photos, or a source that the mixture needs is missing, or a clip is shorter than a sample.
        RecipeError: a degradation that knows no video.
    """

    def __init__(self, sources: Sources, *, stages: Sequence[Samples], seed: int = 0) -> None:
        pairs = list(itertools.chain(*sources.clips))
        super().__init__(replace(sources, pairs=pairs), stages=stages, seed=seed)
        if not sources.photos:
            raise InputError("no clean photos were found; give a folder of clean images as data.photos")
        for name in self._kinds(stages):
            if name != PAIRS and not (_has_frames(made := self._degradation(name)) or getattr(made, "is_clean", False)):
                raise RecipeError(
                    f"mixture: {name!r} knows images alone; stages with frames take those with `frames` or `is_clean`"
                )
        for clip in self._from.clips:
            if len(clip) < max(stage.frames for stage in stages):
                frames = counted(len(clip), "frame is", "frames are")
                raise InputError(f"{clip[0].lq.parent}: {frames} fewer than a sample has")

    def _rehearse(self, name: str, stage: Samples, attempt: int) -> None:
        if not _has_frames(self._degradation(name)):
            super()._rehearse(name, stage, attempt)
            return
        rng = np.random.default_rng((self._seed, 5, attempt))
        shape = (stage.frames, stage.patch, stage.patch, 3)
        rehearse(name, self._degradation(name), shape, rng, self._context(stage))

    def _seen(self, kind: str, stage: Samples, rng: np.random.Generator) -> tuple[Sample, bool]:
        if kind == PAIRS:
            lq, gt, name = self._from_disk(stage, rng)
        elif not _has_frames(self._degradation(kind)):
            gt, name = self._drawing(kind, stage, rng)
            lq = gt
        else:
            gt, name = self._scene(stage, rng)
            lq = degraded_frames(kind, self._degradation(kind), gt, rng, self._context(stage))
        same = lq is gt
        if self._from.camera and rng.random() < self._from.camera:
            # as one tall image: one draw for all frames, and noise of its own for each
            degraded, clean = (clip.reshape(-1, *clip.shape[2:]) for clip in (lq, gt))
            shape = gt.shape
            lq, gt = (image.reshape(shape) for image in as_cameras_do(degraded, clean, rng, untouched=same))
        return {"lq": _stacked(lq), "gt": _stacked(gt), "name": f"{kind}:{name}"}, same

    def _from_disk(self, stage: Samples, rng: np.random.Generator) -> tuple[Floats, Floats, str]:
        clip = self._from.clips[int(rng.integers(len(self._from.clips)))]
        step = 2 if rng.random() < _SKIPPED and len(clip) >= 2 * stage.frames - 1 else 1
        first = int(rng.integers(len(clip) - step * (stage.frames - 1)))
        pairs = clip[first : first + step * (stage.frames - 1) + 1 : step]
        if rng.random() < _REVERSED:
            pairs = pairs[::-1]
        images = [load_pair(self._cache, pair) for pair in pairs]
        window = random_window(images[0][0].shape, (stage.patch, stage.patch), rng, name=pairs[0].name)
        flips = [slice(None, None, -1 if rng.random() < 0.5 else 1), slice(None, None, 1)]
        lq, gt = (np.stack([to_float(both[side][window])[:, flips[0]] for both in images]) for side in (0, 1))
        return lq, gt, pairs[0].name

    def _scene(self, stage: Samples, rng: np.random.Generator) -> tuple[Floats, str]:
        path = self._from.photos[int(rng.integers(len(self._from.photos)))]
        clip = moving_crops(to_float(self._photo(path)), stage.patch, Path2D.draw(stage.frames, rng), rng)
        for _ in range(0 if rng.random() < 0.55 else int(rng.integers(1, 3))):
            other = self._photo(self._from.photos[int(rng.integers(len(self._from.photos)))])
            clip = let_cross(clip, to_float(other), rng)
        light = np.ones(stage.frames, np.float32)
        if rng.random() < 0.1 and stage.frames > 1:  # the camera changes its exposure
            light[int(rng.integers(1, stage.frames)) :] *= np.float32(rng.uniform(0.7, 1.4))
        if rng.random() < 0.3:
            light *= np.float32(rng.uniform(0.4, 1))
        return np.clip(clip * light[:, None, None, None], 0, 1), path.stem

    def _drawing(self, kind: str, stage: Samples, rng: np.random.Generator) -> tuple[Floats, str]:
        path = self._from.photos[int(rng.integers(len(self._from.photos)))]
        photo = self._photo(path)
        side = min(round(_DRAWN * stage.patch), *photo.shape[:2])
        behind = to_float(photo[random_window(photo.shape, (side, side), rng, name=path.stem)])
        scene, _ = degraded(kind, self._degradation(kind), behind, rng, self._context(stage))
        return moving_crops(scene, stage.patch, Path2D.draw(stage.frames, rng), rng), path.stem


def _has_frames(degradation: Degradation) -> bool:
    return hasattr(degradation, "frames")


def _stacked(clip: Floats) -> torch.Tensor:
    return torch.stack([to_tensor(frame) for frame in clip])


def group_clips(folders: Sequence[Sequence[Pair]]) -> list[list[Pair]]:
    """Pairs of each folder that are frames of one clip: those with one parent folder, in their natural order."""
    return [list(clip) for pairs in folders for _, clip in itertools.groupby(pairs, lambda pair: pair.lq.parent)]
