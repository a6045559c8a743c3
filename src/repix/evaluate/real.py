"""What models make of real rainy photos: several readings for want of a ground truth, none of which is a quality.

An independent network, a referee, says what rain it still finds. Where no other network finds any, a model should
change nothing and keep all sharpness. A referee knows the rain that it was trained on and no other, so a low reading
may mean that both are blind to the same rain: look at the images too.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from repix.errors import InputError
from repix.evaluate.figures import busiest
from repix.evaluate.run import Image, costs_of, eight_bit, means_of
from repix.evaluate.table import EvalRow, EvalTable, stoppable
from repix.io.files import atomic, check_writable, resolved
from repix.io.formats import IMAGES, listed
from repix.io.image import Picture, read_pixels, write_image

FOUND = 2.0
"""A network finds rain where it changes the luma by so many levels of 255 …"""
AROUND = 3
"""… and so many pixels around."""

_CROP = 512
_GAP = 8
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CHANGED = "changed: mean absolute change of the luma, in levels of 255."
_ELSEWHERE = (
    "_elsewhere: where no other network changes the luma by 2 levels or more within 3 pixels; there, sharpness is the "
    "result's mean gradient over the input's. left: how much a referee still changes in the result, as changed."
)

Planes = np.ndarray[Any, np.dtype[np.float32]]


def find_photos(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Folder's name -> its images, in order of name.

    Raises:
        InputError: no such folder, or nothing in it.
    """
    sets = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected a folder of rainy photos")
        found = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGES and file.is_file())
        if not found:
            raise InputError(f"{folder}: no images in it (known: {listed(IMAGES)})")
        name = resolved(folder).name
        sets[name if name not in sets else str(folder)] = found
    return sets


def evaluate_real(
    restorers: Mapping[str, Callable[[Image], Image]],
    photos: Mapping[str, Sequence[Path]],
    *,
    referees: Mapping[str, Callable[[Image], Image]] | None = None,
    pairwise: Path | None = None,
    seed: int = 0,
    progress: bool = False,
) -> EvalTable:
    """Run every restorer over every photo, and read off what can be read without a ground truth.

    Args:
        restorers: name -> `Restorer`, or any function from an (H, W, 3) image to one of the same shape and type.
        photos: name of the set -> files.
        referees: name -> an independent network; its rows are not in the table.
        pairwise: folder for blind comparisons: of each photo and each two restorers (or the photo itself and a lone
            one) the crop where they differ most, at full size, in random order; `key.csv` tells them apart.
        seed: of that order.
        progress: show a bar on standard error.

    Returns:
        Columns `changed`; with another network also `changed_elsewhere`, `sharpness_elsewhere`; `left_NAME` for each
        referee. The input's own row comes first.

    Raises:
        InputError: an unreadable photo, a reserved name, or a `pairwise` that is not empty.
        EvaluationStopped: as `repix.evaluate.run.evaluate`.
    """
    referees = referees or {}
    if "input" in {*restorers, *referees}:
        raise InputError("a model cannot be called 'input': that row is the photo itself")
    if pairwise is not None and pairwise.exists() and (not pairwise.is_dir() or any(pairwise.iterdir())):
        raise InputError(f"{pairwise}: not an empty folder; blind comparisons must not mix")
    check_writable([pairwise] if pairwise is not None else [])
    every = {**restorers, **referees}
    names = ("changed", *(("changed_elsewhere", "sharpness_elsewhere") if len(every) > 1 else ()))
    names += tuple(f"left_{referee}" for referee in referees)
    rng = np.random.default_rng(seed)
    rows: list[EvalRow] = []
    key: list[tuple[str, str, str]] = []
    work = [(data, file) for data, files in photos.items() for file in files]

    def table() -> EvalTable:
        if pairwise is not None:
            _write_key(pairwise / "key.csv", key)
        note = " ".join(
            [_CHANGED, *([_ELSEWHERE] if len(every) > 1 else []), "No reading is a quality: look at the images."]
        )
        return EvalTable("real", names, tuple(means_of(rows)), tuple(rows), costs_of(restorers), note)

    with stoppable(table, rows):
        for data, file in tqdm(work, unit="photo", disable=None if progress else True):
            image = np.ascontiguousarray(read_pixels(file))
            results, seconds = {"input": image}, {}
            for name, network in every.items():
                start = time.perf_counter()
                results[name] = network(image)
                seconds[name] = (time.perf_counter() - start) / (image.shape[0] * image.shape[1] / 1e6)
            lumas = {name: _luma(result) for name, result in results.items()}
            changes = {name: np.abs(luma - lumas["input"]) for name, luma in lumas.items()}
            of_photo: list[EvalRow] = []
            for name in ("input", *restorers):
                elsewhere = ~_rain([changes[other] for other in every if other != name], image.shape[:2])
                values = {"changed": float(changes[name].mean())}
                if len(every) > 1:
                    values["changed_elsewhere"] = _mean(changes[name], elsewhere)
                    before = _mean(_gradient(lumas["input"]), elsewhere)
                    values["sharpness_elsewhere"] = (
                        _mean(_gradient(lumas[name]), elsewhere) / before if before else math.nan
                    )
                for referee, network in referees.items():
                    again = results[referee] if name == "input" else network(results[name])
                    values[f"left_{referee}"] = float(np.abs(_luma(again) - lumas[name]).mean())
                of_photo.append(EvalRow(data, name, file.name, 1, values, seconds.get(name)))
            if pairwise is not None:
                for two in combinations(restorers if len(restorers) > 1 else ("input", *restorers), 2):
                    left, right = two if rng.random() < 0.5 else two[::-1]
                    shown = f"{len(key):04d}-{file.stem}.png"
                    window = busiest(np.abs(lumas[left] - lumas[right]), _CROP)
                    write_image(pairwise / shown, Picture(_beside(results[left][window], results[right][window])))
                    key.append((shown, left, right))
            rows += of_photo
    return table()


def _luma(image: Image) -> Planes:
    """(H, W) in levels of 255, full range."""
    luma: Planes = image.astype(np.float32) @ _LUMA * np.float32(255 / np.iinfo(image.dtype).max)
    return luma


def _rain(changes: Iterable[Planes], shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where any of some networks finds rain, (H, W)."""
    found = np.zeros(shape, bool)
    for change in changes:
        found |= change >= FOUND
    return np.asarray(ndimage.maximum_filter(found, 2 * AROUND + 1))


def _gradient(luma: Planes) -> Planes:
    along, across = np.gradient(luma)
    return np.asarray(np.hypot(along, across), np.float32)


def _mean(values: Planes, where: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """nan where nothing is left."""
    return float(values[where].mean()) if where.any() else math.nan


def _beside(left: Image, right: Image) -> Image:
    left, right = eight_bit(left), eight_bit(right)
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([left, gap, right])


def _write_key(path: Path, key: Sequence[tuple[str, str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "left", "right"), *key])
    with atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="\n")
