"""Training speed of the course's baseline: repix against a plain script that does what the course's does.

    python benchmarks/train_speed.py [--data ../shared/data/RainTrainL] [--threads 2] [--csv FILE]

Both train `resnet` (64 channels, four blocks) by the course's recipe: batch 8, 128×128, L1, Adam 1e-4.
The plain script decodes both images of a pair for every sample, squeezes them to 128×128, loads with four worker
processes and computes in fp32. repix runs its own `recipes/resnet.yaml`: decoded images cached, paired crops,
bf16, channels-last, Lightning's loop and logging included. Each is timed after a warm-up, by the wall clock, in turns
and in processes of its own with the same number of threads; the figure is the median of images per second.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pace import seconds_of
from repix.data.pairs import Pair, find_pairs
from repix.models import create_model
from repix.train.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
BATCH, SIZE, WARMUP = 8, 128, 6


class Squeezed(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The course's data set: both images decoded and squeezed to 128×128 for every sample."""

    def __init__(self, pairs: Sequence[Pair], length: int) -> None:
        self._pairs, self._length = pairs, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pair = self._pairs[index % len(self._pairs)]
        lq, gt = (self._load(path) for path in (pair.lq, pair.gt))
        return lq, gt

    @staticmethod
    def _load(path: Path) -> torch.Tensor:
        from PIL import Image

        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
        return torch.from_numpy(pixels.transpose(2, 0, 1) / 255)


def plain(data: Path, steps: int) -> float:
    """Seconds for `steps` batches of the plain script, after a warm-up."""
    net = create_model("resnet").train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    loader = DataLoader(Squeezed(find_pairs(data), (steps + WARMUP) * BATCH), batch_size=BATCH, num_workers=4)
    start = 0.0
    for step, (lq, gt) in enumerate(loader):
        if step == WARMUP:
            start = time.perf_counter()
        loss = torch.nn.functional.l1_loss(net(lq), gt)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def ours(data: Path, steps: int) -> float:
    """Seconds for `steps` batches of repix's training by its recipe, after a warm-up."""
    recipe = load_recipe(
        ROOT / "recipes" / "resnet.yaml",
        overrides=[f"data.pairs={data}", f"stages.0.steps={steps + WARMUP}", "data.hold_out=0"],
    )
    return seconds_of(recipe, warmup=WARMUP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "RainTrainL")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="timed batches in each turn")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--one", choices=["plain", "ours"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        torch.set_num_threads(args.threads)
        seconds = (plain if args.one == "plain" else ours)(args.data, args.steps)
        print(json.dumps(seconds))
        return
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    for turn in range(args.repeats):
        for name in rates:
            command = [sys.executable, __file__, "--one", name, "--data", str(args.data)]
            command += ["--steps", str(args.steps), "--threads", str(args.threads)]
            run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            rates[name].append(args.steps * BATCH / float(run.stdout.splitlines()[-1]))
            print(f"turn {turn + 1}: {name} {rates[name][-1]:.2f} pictures/s", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = [b / a for a, b in zip(rates["plain"], rates["ours"], strict=True)]
    print(
        f"plain {medians['plain']:.2f}, repix {medians['ours']:.2f} pictures/s; ratio {statistics.median(ratios):.2f}"
    )
    if args.csv:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["script", "threads", "pictures_per_second", "ratio"])
            writer.writerow(["plain", args.threads, f"{medians['plain']:.2f}", "1.00"])
            writer.writerow(["repix", args.threads, f"{medians['ours']:.2f}", f"{statistics.median(ratios):.2f}"])


if __name__ == "__main__":
    main()
