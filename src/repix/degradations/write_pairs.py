"""Rainy pairs on disk from clean photos: `repix rain`."""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from repix._types import Floats
from repix.degradations.rain import RainParams, add_rain
from repix.errors import InputError, RepixError
from repix.infer.jobs import BatchOptions, Job, Naming, plan
from repix.io.files import resolved
from repix.io.formats import IMAGES
from repix.io.image import Picture, read_image, write_image

# Cameras differ; a horizontal field of view of 60° is a common phone's, and f = W / (2·tan 30°).
_FOCAL = 0.87


class MadePairs(NamedTuple):
    """How a run went.

    Attributes:
        made: number of pairs written.
        failed: a line for each photo that could not be used.
        left_out: files that were not taken, because they are results of `repix derain` beside their photo, or of an
            earlier run of this.
        there: pairs that were there already.
        notes: pairs that are called otherwise than their photo, in a sentence.
    """

    made: int
    failed: list[str]
    left_out: list[Path]
    there: int
    notes: tuple[str, ...] = ()


def make_pairs(
    photos: Sequence[str | os.PathLike[str]],
    out: Path,
    *,
    severity: float | None = None,
    angle: float | None = None,
    masks: Path | None = None,
    copies: int = 1,
    seed: int = 0,
    layer: bool = False,
    format: str = "png",
    overwrite: bool = False,
    progress: bool = False,
) -> MadePairs:
    """Write `out/input/NAME.png` (rainy) and `out/target/NAME.png` (clean) for each photo, folders mirrored.

    A photo's metadata goes to both; its alpha to neither, since training has no use for it.

    Args:
        photos: files, globs and folders.
        out: folder for the pairs.
        severity: 0 drizzle to 1 storm; drawn for each image where None.
        angle: lean of the streaks in degrees; drawn where None.
        masks: folder of streak masks to use in place of synthetic streaks.
        copies: different rains for each photo, `NAME_1`, `NAME_2`, …
        seed: together with a photo's relative name it fixes its rain, so a photo added later changes no other.
        layer: write `out/layer/NAME.png` too, the radiance the drops added, clipped to white.
        format: extension of what is written; a lossy one is a choice of the user's.
        overwrite: replace what is there.
        progress: show a bar.

    Raises:
        InputError: no photos, names that collide, or a folder that cannot be written.
    """
    jobs = plan(
        photos,
        out / "target",
        options=BatchOptions(format=format, overwrite=overwrite),
        naming=Naming(takes_video=False),
    )
    failed = [f"{path}: {reason}" for path, reason in jobs.failed]
    streaks = _load_masks(masks) if masks is not None else []
    made = there = 0
    # `out` may be the photos' own folder, or lie in it; `plan` leaves out/target out
    earlier = {resolved(out / name) for name in ("input", "layer")}
    left_out = [job.src for job in jobs.jobs if not earlier.isdisjoint(resolved(job.src).parents)]
    todo = [job for job in jobs.jobs if job.src not in set(left_out)]
    with tqdm(total=len(todo) * copies, unit="pair", disable=None if progress and todo else True) as bar:
        for job in todo:
            try:
                image = dataclasses.replace(read_image(job.src), alpha=None)
            except RepixError as error:
                failed.append(str(error))
                bar.update(copies)
                continue
            for copy in range(1, copies + 1):
                name = job.dst.relative_to(out / "target")
                if copies > 1:
                    name = name.with_name(f"{name.stem}_{copy}{name.suffix}")
                rng = np.random.default_rng((seed, zlib.crc32(name.as_posix().encode())))
                try:
                    is_made = _make(job, image, out, name, rng, severity, angle, streaks, layer, overwrite)
                    made, there = made + is_made, there + (not is_made)
                except RepixError as error:
                    failed.append(str(error))
                bar.update()
    return MadePairs(made, failed, [*jobs.left_out, *left_out], there, jobs.notes)


def _make(
    job: Job,
    image: Picture,
    out: Path,
    name: Path,
    rng: np.random.Generator,
    severity: float | None,
    angle: float | None,
    masks: Sequence[Floats],
    layer: bool,
    overwrite: bool,
) -> bool:
    """Write one pair; False where it is there already."""
    target, rainy = out / "target" / name, out / "input" / name
    if not overwrite and target.exists() and rainy.exists():
        return False
    height, width = image.pixels.shape[:2]
    hard = float(rng.uniform()) if severity is None else severity
    params = RainParams.from_severity(hard, rng, focal=max(1.0, _FOCAL * max(height, width)))
    if angle is not None:
        params = dataclasses.replace(params, angle=angle)
    lq, streaks = add_rain(image.pixels, params, rng, masks=masks)
    levels = np.rint(np.clip(streaks, 0, 1) * 255).astype(np.uint8)
    made = {target: image.with_pixels(image.pixels), rainy: image.with_pixels(lq)}
    if layer:
        made[(out / "layer" / name).with_suffix(".png")] = Picture(np.repeat(levels[..., None], 3, axis=2), grey=True)
    new = [path for path in made if not path.exists()]
    try:
        for path, picture in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, picture)
    except BaseException:  # a full disk, or Ctrl-C: half a pair is none
        for path in new:
            path.unlink(missing_ok=True)
        raise
    return True


def _load_masks(folder: Path) -> list[Floats]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGES) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: no streak masks there; expected a folder of images, white streaks on black")
    masks = []
    for path in paths:
        pixels = read_image(path).pixels
        masks.append(np.asarray(pixels[..., 0], np.float32) / np.float32(np.iinfo(pixels.dtype).max))
    return masks
