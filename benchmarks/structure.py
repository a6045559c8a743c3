"""The network and its data by experiment: short trainings of equal time with one thing changed in each.

    python benchmarks/structure.py [--minutes 3]            # all rows that are not there yet; resumable at any moment
    python benchmarks/structure.py --table mixture          # one table
    python benchmarks/structure.py --row wide-shallow       # one row

`structure`: `recipes/repixnet.yaml` with another network, for so many minutes of its own pace. The paces are timed
first, in turns, by the processor time of the process that trains, so that other work on the machine makes no row
shorter; the numbers of steps (and with them the cosine) follow. `mixture`: the row `muon` for the same number of steps
with some kinds of rain left out. Every row is measured on 256x256 crops of photos, pairs and masks that none has
seen (a sixteenth of each), with rain of each kind, the same for all rows: `psnr_y` (`psnr_rgb` for `clean`), mean over
images; never on Rain100. `ratio` is PReNet's CPU time over the exported network's, as in speed.py.

benchmarks/results/structure.csv and mixture.csv; runs and weights stay in runs/structure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from lines import to_8_bits
from pace import fill, seconds_of, trained
from repix.data.config import Samples
from repix.data.datamodule import list_photos
from repix.data.dataset import MixtureDataset
from repix.data.pairs import find_pairs
from repix.infer.restorer import Restorer
from repix.metrics import psnr_rgb, psnr_y
from repix.models import Prediction, create_model
from repix.models.layers import ResidualBlock
from repix.models.repixnet import RepixNet
from repix.train.export import to_onnx
from repix.train.recipe import Recipe, load_recipe
from speed import in_turns
from translate import read_rows, write_rows

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RUNS = ROOT / "runs" / "structure"
RESULTS = ROOT / "benchmarks" / "results"

# What a row trains on and how; the mixture is that of the recipe's last stage.
SHARED = [
    *(f"data.{kind}={RUNS / 'data' / 'train' / kind}" for kind in ("photos", "pairs", "masks")),
    "data.hold_out=0",
    "data.mixture={rain: 0.10, sharp_streaks: 0.29, streak_masks: 0.21, rain_transfer: 0.20, pairs: 0.13, clean: 0.04, "
    "hard_negatives: 0.03}",
    "ema_decay=0.99",
]
STRUCTURE: dict[str, list[str]] = {
    "base": [],
    "seed-2": ["seed=2"],
    "four-levels": ["args={channels: [32, 64, 128, 192], encoder: [1, 1, 1], middle: 2, decoder: [1, 2, 1]}"],
    "wide-shallow": ["args={channels: [48, 96, 128], encoder: [0, 0], middle: 3, decoder: [1, 1]}"],
    "narrow-deep": ["args={channels: [24, 48, 96], encoder: [1, 2], middle: 6, decoder: [2, 3]}"],
    "unshuffle-4": ["args={channels: [64, 128, 192], encoder: [1, 1], middle: 3, decoder: [2, 2], unshuffle: 4}"],
    "summed-kernels": ["model=benchmarks/structure.py:SummedKernels"],
    "refined": ["model=benchmarks/structure.py:Refined", "args.channels=[20, 40, 96]"],
    # the same network, otherwise learnt
    "twice-the-rate": ["stages.0.lr=2.0e-3"],
    "muon": ["optimizer.name=muon", "stages.0.lr=2.0e-3"],
    "awake": ["optimizer.name=muon", "stages.0.lr=2.0e-3", "reinit_dead_units=true"],
}
LEARNT = "muon"  # how the rows of `mixture` learn
MIXTURE: dict[str, list[str]] = {
    "base": [],
    "sharp_streaks": ["sharp_streaks"],
    "streak_masks": ["streak_masks"],
    "rain_transfer+pairs": ["rain_transfer", "pairs"],  # the same data set's rain, on other photos and as it is
    "rain": ["rain"],
    "hard_negatives": ["hard_negatives"],
    "pairs": ["pairs"],
}
RAIN = ("rain", "sharp_streaks", "streak_masks", "rain_transfer", "pairs")
KINDS = (*RAIN, "clean", "hard_negatives")
FIELDS = {
    "structure": ["row", "minutes", "steps", "parameters", "ratio", *RAIN, "all_rain", "clean", "hard_negatives"],
    "mixture": ["row", "minutes", "steps", *KINDS, "drop"],
}
PACES = RUNS / "paces.json"
SIDE, PICTURES = 256, 24
_WARMUP, _TIMED, _TURNS = 3, 9, 2
_HELD = 16  # one pair of files of so many is held out: both photos of two, both views of a streak mask

Pixels = npt.NDArray[np.uint8]


class SummedKernels(RepixNet):
    """RepixNet whose 3×3 kernels are learnt as sums with 1×3, 3×1 and 1×1 ones, which fall away when it is exported."""

    def __init__(
        self,
        *,
        channels: Sequence[int],
        encoder: Sequence[int],
        middle: int,
        decoder: Sequence[int],
        unshuffle: int = 2,
        predict: Literal["rain", "image"] = "rain",
    ) -> None:
        super().__init__(
            channels=channels, encoder=encoder, middle=middle, decoder=decoder, unshuffle=unshuffle, predict=predict
        )
        for block in [block for block in self.modules() if isinstance(block, ResidualBlock)]:
            for place, layer in enumerate(block.body):
                if isinstance(layer, nn.Conv2d):
                    block.body[place] = _SummedConv2d(layer.in_channels, layer.out_channels, 3, padding=1)


class _SummedConv2d(nn.Conv2d):
    """A 3×3 convolution and the asymmetric ones beside it (Ding et al. 2019, fig. 1), which, without normalisation,
    are one convolution with the sum of the kernels (ibid., eq. 5). The others start at zero."""

    def __init__(self, into: int, out: int, kernel_size: int, *, padding: int) -> None:
        super().__init__(into, out, kernel_size, padding=padding)
        self.row, self.column, self.point = (
            nn.Parameter(torch.zeros(out, into, height, width)) for height, width in ((1, 3), (3, 1), (1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight + pad(self.row, (0, 0, 1, 1)) + pad(self.column, (1, 1)) + pad(self.point, (1, 1, 1, 1))
        return conv2d(x, kernel, self.bias, padding=1)


class Refined(RepixNet):
    """RepixNet that goes over its own estimate once more with the same weights (as PReNet does, Ren et al. 2019)."""

    def forward_train(self, x: Tensor) -> Prediction:
        return super().forward_train(super().forward_train(x).pred)


class Test(NamedTuple):
    kind: str
    lq: Pixels
    gt: Pixels


def split() -> None:
    """Copy the data to `train` and `held` below runs/structure/data, once; the same for every seed."""
    if (RUNS / "data").is_dir():
        return
    made = RUNS / "data.part"
    shutil.rmtree(made, ignore_errors=True)
    for kind, folder in {"photos": "clean_photos", "masks": "streak_masks", "pairs": "RainTrainL"}.items():
        if kind == "pairs":
            groups = [[pair.lq, pair.gt] for pair in find_pairs(DATA / folder)]
        else:
            groups = [[path] for path in list_photos([DATA / folder])]
        for number, group in enumerate(groups):
            side = "held" if number // 2 % _HELD == 0 else "train"
            for path in group:
                target = made / side / kind / path.relative_to(DATA / folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    made.rename(RUNS / "data")


def tests() -> Iterator[Test]:
    """Held-out images with held-out rain of each kind."""
    held = RUNS / "data" / "held"
    made = MixtureDataset(
        list_photos([held / "photos"]),
        pairs=find_pairs(held / "pairs"),
        masks=list_photos([held / "masks"]),
        mixture={},
        stages=[Samples(steps=1, patch=SIDE)],
    )
    for place, kind in enumerate(KINDS):
        for number in range(PICTURES):
            lq, gt, _ = made.make(kind, Samples(steps=1, patch=SIDE), np.random.default_rng((0, place, number)))
            yield Test(kind, *(to_8_bits(side.clip(0, 1)) for side in (lq, gt)))


def recipe_of(name: str, overrides: Sequence[str], steps: int) -> Recipe:
    """A row's recipe at so many steps."""
    stage = f"stages=[{{steps: {steps}, batch: 8, patch: 96, lr: 1.0e-3, warmup: 50}}]"
    return load_recipe(ROOT / "recipes" / "repixnet.yaml", overrides=[*SHARED, stage, f"name={name}", *overrides])


def paces() -> dict[str, float]:
    """CPU-seconds of a step of every row of `structure` with a network of its own, timed in turns, once."""
    if not PACES.is_file():
        seconds: dict[str, list[float]] = {row: [] for row in STRUCTURE if row != "seed-2"}
        for _ in range(_TURNS):
            for row, found in seconds.items():
                recipe = recipe_of(row, STRUCTURE[row], _WARMUP + _TIMED)
                found.append(seconds_of(recipe, warmup=_WARMUP, now=time.process_time) / _TIMED)
        PACES.write_text(json.dumps({row: min(found) for row, found in seconds.items()}, indent=1), encoding="utf-8")
    found: dict[str, float] = json.loads(PACES.read_text(encoding="utf-8"))
    return found


def run(table: str, row: str, minutes: float, pictures: Sequence[Test]) -> dict[str, str]:
    """Train, export and measure a row; `mixture`'s base is `structure`'s row `muon`."""
    if table == "structure":
        name, pace, overrides = row, paces().get(row, paces()["base"]), STRUCTURE[row]
    else:
        name = LEARNT if row == "base" else f"without-{row.replace('+', '-')}"
        pace, overrides = paces()[LEARNT], [*STRUCTURE[LEARNT], *(f"data.mixture.{kind}=0" for kind in MIXTURE[row])]
    steps = max(20, round(minutes * 60 / pace))
    card = trained(RUNS / name, lambda: recipe_of(name, overrides, steps))
    restorer = Restorer.from_pretrained(RUNS / name / "model", device="cpu", threads=1)
    values: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for kind, lq, gt in pictures:
        measure = psnr_rgb if kind == "clean" else psnr_y
        values[kind].append(min(measure(restorer(lq), gt), 100.0))  # bit for bit would be infinite
    figures = {kind: mean(found) for kind, found in values.items()}
    entry = {"row": row, "minutes": f"{minutes:g}", "steps": str(card.training["steps"])}
    entry |= {kind: f"{value:.2f}" for kind, value in figures.items()}
    if table == "structure":
        entry["parameters"] = str(card.training["parameters"])
        return entry | {"ratio": "", "all_rain": f"{mean(figures[kind] for kind in RAIN):.2f}"}
    before = next((one for one in read_rows(RESULTS / "mixture.csv") if one["row"] == "base"), None)
    drops = [float(before[kind]) - figures[kind] for kind in MIXTURE[row]] if before else []
    return entry | {"drop": f"{max(drops):.2f}" if drops else ""}


def add_ratios(path: Path) -> None:
    """PReNet's CPU time over each row's, all in one process in turns."""
    rows = read_rows(path)
    weights = {row["row"]: RUNS / row["row"] / "model" / "model.onnx" for row in rows}
    models = {row: file.read_bytes() for row, file in weights.items() if file.is_file()}
    seconds = in_turns({"PReNet": to_onnx(create_model("prenet"))} | models, size=512, repeats=5)
    for row in rows:
        if row["row"] in seconds:
            row["ratio"] = f"{median(seconds['PReNet']) / median(seconds[row['row']]):.1f}"
    write_rows(path, FIELDS["structure"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=sorted(FIELDS), action="append", help="only this table")
    parser.add_argument("--row", action="append", help="only this row; may be repeated")
    parser.add_argument("--minutes", type=float, default=3.0, help="training time of a row")
    args = parser.parse_args()
    os.chdir(ROOT)  # networks of this file are named from there
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    split()
    pictures = list(tests())
    for table, rows in {"structure": STRUCTURE, "mixture": MIXTURE}.items():
        if args.table is None or table in args.table:
            path, wanted = RESULTS / f"{table}.csv", [row for row in rows if args.row is None or row in args.row]
            fill(path, FIELDS[table], wanted, lambda row, table=table: run(table, row, args.minutes, pictures))
            if table == "structure" and any(not row["ratio"] for row in read_rows(path)):
                add_ratios(path)


if __name__ == "__main__":
    main()
