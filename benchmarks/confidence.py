"""Seen or guessed? What tells where an estimate is wrong, measured against the true error; and `--strength auto`.

    python benchmarks/confidence.py [--model repixnet] [--test]

On what `recipes/repixnet.yaml` holds out: RainTrainL's pairs, and clean photos in drawn rain and in drawn heavy lines.
`--test` adds the first 25 of Rain100L and Rain100H, which nothing here was chosen by. Writes
benchmarks/results/confidence.csv, strength.csv and docs/images/confidence.webp.

All on the middle 256x256 of an image. The tables are written anew after every set, so the script may be stopped.

confidence.csv: Spearman's rank correlation, over every third pixel of an image, between a measure and the true
absolute error of the estimate (mean over channels), both smoothed by a Gaussian of 2 pixels; mean over images.
`coverage` is the rain layer smoothed by 8 pixels; `fitted` the log-linear sum of disagreement, rain, coverage and
texture fitted to the held-out images themselves, so what could at most be gained by adding to the disagreement. The
last row is the true error over the expected one, means over all pixels of the set.

strength.csv: `psnr_y` in 8 bits at strength 1 and at `--strength auto`, the worst change of an image, the mean
strength; the same rule applied to each pixel's own ratio (averaged over 2 and 64 pixels) instead of the image's. An
unchanged clean image counts as 60 dB.
"""

from __future__ import annotations

import argparse
import csv
import itertools
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

from lines import PHOTOGRAPHED, Pixels, dry_side, held_out, line_pictures, to_8_bits
from repix.data.pairs import Pair, find_pairs, find_pairs_in
from repix.figures import Figure, Panel, save_figure
from repix.infer import uncertainty as confidence
from repix.infer.padding import padded
from repix.infer.restorer import Restorer
from repix.io.image import read_image
from repix.metrics import psnr_y

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
TUNED = ("pairs", "rain", "sharp_streaks")
KEPT = "disagreement of four views"
SHOWN = {"pairs": 4, "sharp_streaks": 4}  # which image of a set is drawn
WINDOW, EVERY = 256, 3

Floats = npt.NDArray[np.float32]


class Case(NamedTuple):
    """An image and its ground truth, 8 bits."""

    set: str
    lq: Pixels
    gt: Pixels


def middle(picture: Pixels, side: int = WINDOW) -> Pixels:
    """At most so much of it, in height and width."""
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def cases(test: bool) -> Iterator[Case]:
    """Every image, set by set."""
    samples = held_out()
    dry = []
    for i in range(len(samples)):  # type: ignore[arg-type]
        one = samples[i]
        lq, gt = (to_8_bits(one[side].permute(1, 2, 0).numpy().clip(0, 1)) for side in ("lq", "gt"))  # type: ignore[union-attr]
        yield Case(str(one["set"]), middle(lq), middle(gt))
        if one["set"] in ("pairs", "clean"):
            dry.append(dry_side(one))
    for kind, pictures in line_pictures(dry, 6).items():
        for picture in pictures:
            yield Case(kind if kind == PHOTOGRAPHED else "drawn stripes", picture, picture)
    if test:
        heavy = find_pairs_in(DATA / "Rain100H" / "rainy", DATA / "Rain100L")
        for name, pairs in (("Rain100L", find_pairs(DATA / "Rain100L")), ("Rain100H", heavy)):
            for pair in pairs[:25]:
                yield Case(name, *map(middle, read(pair)))


def read(pair: Pair) -> tuple[Pixels, Pixels]:
    lq, gt = (read_image(path).pixels.astype(np.uint8) for path in (pair.lq, pair.gt))
    return lq, gt


def smooth(plane: Floats, sigma: float = confidence.SMOOTHING) -> Floats:
    result: Floats = gaussian_filter(plane, sigma)
    return result


def spearman(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(rankdata(a.ravel()[::EVERY]), rankdata(b.ravel()[::EVERY]))[0, 1])


def sideways(restorer: Restorer, x: Floats) -> Floats:
    """(8, 3, H, W): the image mirrored and turned in all eight ways, not shifted."""
    views = []
    for turns in range(4):
        for mirror in (1, -1):
            turned = np.rot90(x, turns, (2, 3))[..., ::mirror]
            given = np.ascontiguousarray(padded(turned, restorer.multiple_of))
            back = restorer.run(given)[..., : turned.shape[2], : turned.shape[3]][..., ::mirror]
            views.append(np.rot90(back, -turns, (2, 3))[0].clip(0, 1))
    return np.stack(views)


def measures(restorer: Restorer, x: Floats, views: Floats, *, full: bool) -> dict[str, tuple[int, Floats]]:
    """Candidates: name -> runs of the network, (H, W)."""
    rain, estimate = confidence.rain_size(x, views), views[0].mean(0)
    coverage = smooth(rain, 8)
    found = {
        "rain": (1, smooth(rain)),
        "coverage": (1, coverage),
        "rain x coverage": (1, smooth(rain) * coverage),
        "texture of the estimate": (1, smooth(gaussian_gradient_magnitude(estimate, 1))),
        "rain x texture": (1, smooth(rain) * smooth(gaussian_gradient_magnitude(estimate, 1))),
        "disagreement of two views": (2, smooth(confidence.disagreement(views[:2]))),
    }
    if full:
        eight = sideways(restorer, x)
        found["disagreement of four mirrors, not shifted"] = (4, smooth(confidence.disagreement(eight[[0, 1, 4, 5]])))
        found["disagreement of eight mirrors and turns"] = (8, smooth(confidence.disagreement(eight)))
    found[KEPT] = (4, smooth(confidence.disagreement(views)))
    return found


def by_pixel(x: Floats, views: Floats, sigma: float) -> Floats:
    """The rule of `find_strength` with the ratio of each pixel's neighbourhood. (H, W, 1)."""
    differs, rain = confidence.disagreement(views), confidence.rain_size(x, views)
    return confidence.strength_at(smooth(differs, sigma) / np.maximum(smooth(rain, sigma), 1e-9))[..., None]


def decibels(picture: Floats, gt: Pixels) -> float:
    """Of (H, W, 3) in [0, 1] after rounding to 8 bits; 60 at most."""
    return min(psnr_y(to_8_bits(picture.clip(0, 1)), gt), 60.0)


@dataclass
class Found:
    """What was measured so far, by set."""

    ranks: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    logs: dict[str, list[tuple[Floats, Floats]]] = field(default_factory=dict)
    expected: dict[str, list[Floats]] = field(default_factory=dict)
    true: dict[str, list[Floats]] = field(default_factory=dict)
    changes: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    shown: dict[str, list[Panel]] = field(default_factory=dict)

    def add(self, case: Case, restorer: Restorer) -> None:
        """Measure one image."""
        name, lq, gt = case
        x = np.ascontiguousarray(lq.transpose(2, 0, 1)[None] / np.float32(255), np.float32)
        views = confidence.estimates(restorer.run, x, multiple_of=restorer.multiple_of)
        estimate, given = views[0].transpose(1, 2, 0), x[0].transpose(1, 2, 0)
        # what find_strength does with images of this size, without running the views again
        ratio = confidence.disagreement(views).mean() / max(confidence.rain_size(x, views).mean(), 1e-9)
        strength = float(confidence.strength_at(ratio))
        tried = [np.ones((1, 1, 1)), np.full((1, 1, 1), strength), by_pixel(x, views, 2), by_pixel(x, views, 64)]
        figures = [decibels(given + (estimate - given) * some, gt) for some in tried]
        self.changes.setdefault(name, []).append((strength, *figures))
        if np.array_equal(lq, gt):
            return
        error = smooth(np.abs(estimate - gt / np.float32(255)).mean(2))
        found = measures(restorer, x, views, full=name in TUNED)
        for measure, (count, plane) in found.items():
            self.runs[measure] = count
            self.ranks.setdefault(measure, {}).setdefault(name, []).append(spearman(plane, error))
        if name in TUNED:
            parts = [found[key][1] for key in (KEPT, "rain", "coverage", "texture of the estimate")]
            columns = [np.log(part.ravel()[::EVERY] + 1e-3) for part in parts]
            table = np.stack([*columns, np.ones_like(columns[0])], 1)
            self.logs.setdefault(name, []).append((table, error.ravel()[::EVERY]))
        self.expected.setdefault(name, []).append(confidence.expected_error(views).ravel()[::EVERY])
        self.true.setdefault(name, []).append(error.ravel()[::EVERY])
        if name in SHOWN and len(self.true[name]) == SHOWN[name]:
            self.shown[name] = [
                Panel("rainy", lq),
                Panel("derained", to_8_bits(estimate)),
                Panel("expected error, grey levels", confidence.expected_error(views) * np.float32(255)),
                Panel("true error, grey levels", error * np.float32(255)),
            ]

    def write_ranks(self) -> None:
        """confidence.csv."""
        every = [one for found in self.logs.values() for one in found]
        logs = np.log(np.concatenate([error for _, error in every]) + 1e-3)
        weights = np.linalg.lstsq(np.concatenate([parts for parts, _ in every]), logs, rcond=None)[0]
        self.runs["fitted"] = 4
        self.ranks["fitted"] = {name: [spearman(a @ weights, b) for a, b in found] for name, found in self.logs.items()}
        sets = list(self.expected)
        rows = [
            {"measure": measure, "runs": str(self.runs[measure])}
            | {name: f"{mean(values[name]):.3f}" if name in values else "" for name in sets}
            for measure, values in self.ranks.items()
        ]
        over = {
            name: np.concatenate(self.true[name]).mean() / np.concatenate(self.expected[name]).mean() for name in sets
        }
        rows.append({"measure": "true error over expected", "runs": "4"} | {name: f"{over[name]:.2f}" for name in sets})
        write(RESULTS / "confidence.csv", rows)

    def write_strength(self) -> None:
        """strength.csv."""
        rows = []
        for name, found in self.changes.items():
            strengths, one, auto, fine, wide = (np.array(column) for column in zip(*found, strict=True))
            dry = name in ("clean", "drawn stripes", PHOTOGRAPHED)
            rows.append(
                {
                    "set": name,
                    "pictures": str(len(one)),
                    "strength 1": f"{one.mean():.2f}",
                    "auto": f"{auto.mean():.2f}",
                    "worst change": f"{(auto - one).min():.2f}",
                    "mean strength": f"{strengths.mean():.2f}",
                    "below 40 dB": str((one < 40).sum()) if dry else "",
                    "auto, below 40 dB": str((auto < 40).sum()) if dry else "",
                    "by pixel, 2": f"{fine.mean():.2f}",
                    "by pixel, 64": f"{wide.mean():.2f}",
                }
            )
        write(RESULTS / "strength.csv", rows)

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
            picture = Path(folder) / "confidence.png"
            save_figure(Figure("Expected and true error of held-out images", panels, columns=4), picture)
            pyvips.Image.new_from_file(str(picture)).write_to_file(str(path), Q=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "images" / "confidence.webp")
    args = parser.parse_args()
    args.image = args.image.absolute()
    restorer = Restorer.from_pretrained(args.model, threads=1)
    found = Found()
    for name, every in itertools.groupby(tqdm(cases(args.test)), key=lambda case: case.set):
        for case in every:
            found.add(case, restorer)
        found.write_ranks()
        found.write_strength()
        if name == TUNED[-1] or name == "Rain100H":
            found.draw(args.image)


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
