"""What tells where an estimate is wrong, measured against the true error; and `--strength auto`.

    python benchmarks/uncertainty.py [--model repixnet] [--test]

On held-out pairs of RainTrainL (`held_out.csv`); on clean photos that `recipes/repixnet.yaml` holds out, in rain and
in sharp streaks; on clean images full of thin structures, drawn (`repix.degradations.hard_negatives`) and photographed
(the held-out clean images' windows with the most energy in one direction). `--test` adds the first 25 of Rain100L and
Rain100H, which nothing here was chosen by. All on the middle 256×256 of an image. Writes
benchmarks/results/uncertainty.csv, strength.csv and docs/images/uncertainty.webp, after every set, so the script may
be stopped.

uncertainty.csv: Spearman's rank correlation, over every third pixel of an image, between a measure and the true
absolute error of the estimate (mean over channels), both smoothed by a Gaussian of 2 pixels; mean over images.
`coverage` is the rain layer smoothed by 8 pixels. The last row is the true error over the expected one.

strength.csv: `psnr_y` in 8 bits at strength 1 and at `--strength auto`, the worst change of an image, the mean
strength. An unchanged clean image counts as 60 dB.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyvips
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude
from scipy.stats import rankdata
from tqdm import tqdm

from common import DATA, IMAGES, RESULTS, ROOT, Pixels, held_out, to_8_bits, write_rows
from repix.data.pairs import find_pairs, find_pairs_in
from repix.degradations.hard_negatives import HARD_NEGATIVES, draw_hard_negative
from repix.figures import Figure, Panel, save_figure
from repix.infer import uncertainty
from repix.infer.restorer import Restorer
from repix.io.image import read_image
from repix.metrics import psnr_y
from repix.train.loop import make_data
from repix.train.recipe import load_recipe

TUNED = ("pairs", "rain", "sharp_streaks")
THIN, PHOTOGRAPHED = "hard_negatives", "thin structures, photographed"
KEPT = "disagreement of four"
SHOWN = {"pairs": 4, "sharp_streaks": 4}  # which image of a set is drawn
WINDOW, EVERY, SIDE, OF_EACH = 256, 3, 192, 6

Floats = npt.NDArray[np.float32]


class Case(NamedTuple):
    """An image and its ground truth, 8 bits."""

    set: str
    lq: Pixels
    gt: Pixels


def middle(image: Pixels) -> Pixels:
    """At most a window of it, in height and width."""
    top, left = (max(0, (length - WINDOW) // 2) for length in image.shape[:2])
    return image[top : top + WINDOW, left : left + WINDOW]


def cases(test: bool) -> Iterator[Case]:
    """Every image, set by set."""
    os.chdir(ROOT)  # the recipe's paths are relative to it
    samples = make_data(load_recipe(ROOT / "recipes" / "repixnet.yaml")).val_dataloader().dataset
    clean: list[Floats] = []
    for i in range(len(samples)):  # type: ignore[arg-type]
        one = samples[i]
        lq, gt = (one[side].permute(1, 2, 0).numpy().clip(0, 1) for side in ("lq", "gt"))
        if one["set"] == "clean":
            clean.append(gt)
        if one["set"] != "pairs":  # the shipped weights hold out others
            yield Case(str(one["set"]), *(middle(to_8_bits(side)) for side in (lq, gt)))
    known = held_out()["RainTrainL"]
    for pair in find_pairs(DATA / "RainTrainL"):
        if pair.name in known:
            lq, gt = (read_image(path).pixels.astype(np.uint8) for path in (pair.lq, pair.gt))
            clean.append(gt / np.float32(255))
            yield Case("pairs", middle(lq), middle(gt))
    for name, images in ((THIN, drawn(clean)), (PHOTOGRAPHED, photographed(clean))):
        for image in images:
            yield Case(name, image, image)
    if test:
        heavy = find_pairs_in(DATA / "Rain100H" / "rainy", DATA / "Rain100L")
        for name, pairs in (("Rain100L", find_pairs(DATA / "Rain100L")), ("Rain100H", heavy)):
            for pair in pairs[:25]:
                yield Case(name, *(middle(read_image(path).pixels.astype(np.uint8)) for path in (pair.lq, pair.gt)))


def drawn(clean: list[Floats]) -> Iterator[Pixels]:
    """Some of each kind of hard negative, every other one over a clean image."""
    for place, kind in enumerate(HARD_NEGATIVES):
        for number in range(OF_EACH):
            behind = clean[(place + number) % len(clean)][:SIDE, :SIDE] if number % 2 else None
            rng = np.random.default_rng((0, place, number))
            yield to_8_bits(draw_hard_negative((SIDE, SIDE), rng, kind=kind, background=behind))


def photographed(clean: list[Floats]) -> list[Pixels]:
    """The windows with the most lines, one of an image."""
    found = []
    for image in clean:
        half = SIDE // 2
        inner = line_energy(image)[half : image.shape[0] - half + 1, half : image.shape[1] - half + 1]
        top, left = np.unravel_index(int(inner.argmax()), inner.shape)
        found.append((float(inner.max()), to_8_bits(image[top : top + SIDE, left : left + SIDE])))
    return [window for _, window in sorted(found, key=lambda one: -one[0])[: 2 * OF_EACH]]


def line_energy(image: Floats) -> Floats:
    """(H, W): difference of the structure tensor's eigenvalues over a window, of what is finer than some pixels."""
    grey = image.mean(2)
    down, right = np.gradient(grey - gaussian_filter(grey, 3))
    xx, yy, xy = (gaussian_filter(one, 3) for one in (right * right, down * down, right * down))
    energy: Floats = gaussian_filter(np.sqrt((xx - yy) ** 2 + 4 * xy**2), SIDE / 4, truncate=2)
    return energy


def smooth(plane: Floats, sigma: float = uncertainty.SMOOTHING) -> Floats:
    result: Floats = gaussian_filter(plane, sigma)
    return result


def spearman(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(rankdata(a.ravel()[::EVERY]), rankdata(b.ravel()[::EVERY]))[0, 1])


def measures(x: Floats, estimates: Floats) -> dict[str, tuple[int, Floats]]:
    """Candidates: name -> runs of the network, (H, W)."""
    rain, texture = uncertainty.rain_size(x, estimates), gaussian_gradient_magnitude(estimates[0].mean(0), 1)
    return {
        "rain": (1, smooth(rain)),
        "coverage": (1, smooth(rain, 8)),
        "rain x coverage": (1, smooth(rain) * smooth(rain, 8)),
        "texture of the estimate": (1, smooth(texture)),
        "rain x texture": (1, smooth(rain) * smooth(texture)),
        "disagreement of two": (2, smooth(uncertainty.disagreement(estimates[:2]))),
        KEPT: (4, smooth(uncertainty.disagreement(estimates))),
    }


def decibels(image: Floats, gt: Pixels) -> float:
    """Of (H, W, 3) in [0, 1] after rounding to 8 bits; 60 at most."""
    return min(psnr_y(to_8_bits(image.clip(0, 1)), gt), 60.0)


@dataclass
class Found:
    """What was measured so far, by set."""

    ranks: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    expected: dict[str, list[Floats]] = field(default_factory=dict)
    true: dict[str, list[Floats]] = field(default_factory=dict)
    changes: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    shown: dict[str, list[Panel]] = field(default_factory=dict)

    def add(self, case: Case, restorer: Restorer) -> None:
        """Measure one image."""
        name, lq, gt = case
        x = np.ascontiguousarray(lq.transpose(2, 0, 1)[None] / np.float32(255), np.float32)
        estimates = uncertainty.estimates(restorer.run, x, multiple_of=restorer.multiple_of)
        estimate, given = estimates[0].transpose(1, 2, 0), x[0].transpose(1, 2, 0)
        # what find_strength does with images of this size, without running the network again
        ratio = uncertainty.disagreement(estimates).mean() / max(uncertainty.rain_size(x, estimates).mean(), 1e-9)
        strength = float(uncertainty.strength_at(ratio))
        values = [decibels(given + (estimate - given) * some, gt) for some in (1.0, strength)]
        self.changes.setdefault(name, []).append((strength, *values))
        if np.array_equal(lq, gt):
            return
        error = smooth(np.abs(estimate - gt / np.float32(255)).mean(2))
        expected = uncertainty.expected_error(estimates)
        for measure, (count, plane) in measures(x, estimates).items():
            self.runs[measure] = count
            self.ranks.setdefault(measure, {}).setdefault(name, []).append(spearman(plane, error))
        self.expected.setdefault(name, []).append(expected.ravel()[::EVERY])
        self.true.setdefault(name, []).append(error.ravel()[::EVERY])
        if name in SHOWN and len(self.true[name]) == SHOWN[name]:
            self.shown[name] = [
                Panel("rainy", lq),
                Panel("derained", to_8_bits(estimate)),
                Panel("expected error, grey levels", expected * np.float32(255)),
                Panel("true error, grey levels", error * np.float32(255)),
            ]

    def write(self) -> None:
        """uncertainty.csv and strength.csv."""
        sets = list(self.expected)
        rows = [
            {"measure": measure, "runs": self.runs[measure]}
            | {name: f"{mean(values[name]):.3f}" if name in values else "" for name in sets}
            for measure, values in self.ranks.items()
        ]
        over = {
            name: np.concatenate(self.true[name]).mean() / np.concatenate(self.expected[name]).mean() for name in sets
        }
        rows.append({"measure": "true error over expected", "runs": 4} | {name: f"{over[name]:.2f}" for name in sets})
        write_rows(RESULTS / "uncertainty.csv", rows)
        rows = []
        for name, found in self.changes.items():
            strengths, one, auto = (np.array(column) for column in zip(*found, strict=True))
            rows.append(
                {
                    "set": name,
                    "images": len(one),
                    "strength_1": f"{one.mean():.2f}",
                    "auto": f"{auto.mean():.2f}",
                    "worst_change": f"{(auto - one).min():.2f}",
                    "mean_strength": f"{strengths.mean():.2f}",
                }
            )
        write_rows(RESULTS / "strength.csv", rows)

    def draw(self, path: Path) -> None:
        """Two images, and how the expected error is calibrated."""
        curves = {}
        for name in self.expected:
            order = np.argsort(np.concatenate(self.expected[name]))
            sides = [np.concatenate(side[name])[order] * 255 for side in (self.expected, self.true)]
            curves[name] = np.array(
                [[tenth.mean() for tenth in np.array_split(side, 10)] for side in sides], np.float32
            )
        panels = [panel for name in SHOWN for panel in self.shown[name]]
        panels.append(Panel("tenths of all pixels by expected error", curves=curves, axes=("expected", "true error")))
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "uncertainty.png"
            save_figure(Figure("Expected and true error of held-out images", panels, columns=4), made)
            pyvips.Image.new_from_file(str(made)).write_to_file(str(path), Q=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--test", action="store_true")
    args = parser.parse_args()
    restorer = Restorer.from_pretrained(args.model, threads=1)
    found = Found()
    for name, every in itertools.groupby(tqdm(cases(args.test)), key=lambda case: case.set):
        for case in every:
            found.add(case, restorer)
        if set(SHOWN) <= set(found.shown):
            found.write()
            if name == TUNED[-1] or name == "Rain100H":
                found.draw(IMAGES / "uncertainty.webp")


if __name__ == "__main__":
    main()
