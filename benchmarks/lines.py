"""Rain or stripes? Clean images full of thin lines through networks that take rain away: PSNR to themselves.

    python benchmarks/lines.py [--model repixnet] [--pictures 6] [--csv benchmarks/results/lines.csv]

Drawn images (`repix.degradations.hard_negatives`, every other one over a held-out photo) and photographed ones: of
the photos and pairs that `recipes/repixnet.yaml` holds out, the clean images' windows with the most energy in one
direction. None was trained on. Beside the weight, PReNet's published ones for Rain100L and Rain100H. 8 bits, `psnr_y`,
mean over images, and the weight's worst image. Also draws docs/images/lines.webp: one image of each kind, and what each
made of it.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path
from statistics import mean
from typing import cast

import numpy as np
import numpy.typing as npt
import pyvips
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from repix.data.dataset import Sample
from repix.degradations.hard_negatives import HARD_NEGATIVES, draw_hard_negative
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.metrics import psnr_y
from repix.models.prenet import load_published
from repix.train.loop import make_data
from repix.train.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT.parent / "shared" / "data" / "peers" / "PReNet"
SIDE = 192
PHOTOGRAPHED = "photographed"

Pixels = npt.NDArray[np.uint8]


def held_out() -> Dataset[Sample]:
    """What `recipes/repixnet.yaml` keeps for validation: the sets `pairs`, `rain`, `sharp_streaks` and `clean`."""
    os.chdir(ROOT)  # the recipe's paths are relative to it
    kept = make_data(load_recipe(ROOT / "recipes" / "repixnet.yaml")).val_dataloader().dataset
    return cast(Dataset[Sample], kept)


def dry_side(sample: Sample) -> npt.NDArray[np.float32]:
    """(H, W, 3) in [0, 1]."""
    picture: npt.NDArray[np.float32] = cast(Tensor, sample["gt"]).permute(1, 2, 0).numpy()
    return picture


def line_pictures(dry: list[npt.NDArray[np.float32]], count: int) -> dict[str, list[Pixels]]:
    """So many drawn images of each kind, and twice as many windows of clean images."""
    found: dict[str, list[Pixels]] = {}
    for place, kind in enumerate(HARD_NEGATIVES):
        found[kind] = []
        for number in range(count):
            behind = dry[(place + number) % len(dry)][:SIDE, :SIDE] if number % 2 else None
            rng = np.random.default_rng((0, place, number))
            found[kind].append(to_8_bits(draw_hard_negative((SIDE, SIDE), rng, kind=kind, background=behind)))
    found[PHOTOGRAPHED] = photographed(dry, 2 * count)
    return found


def line_energy(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W): difference of the structure tensor's eigenvalues over a window, of what is finer than some pixels."""
    grey = picture.mean(2)
    down, right = np.gradient(grey - gaussian_filter(grey, 3))
    xx, yy, xy = (gaussian_filter(one, 3) for one in (right * right, down * down, right * down))
    energy: npt.NDArray[np.float32] = gaussian_filter(np.sqrt((xx - yy) ** 2 + 4 * xy**2), SIDE / 4, truncate=2)
    return energy


def photographed(photos: list[npt.NDArray[np.float32]], count: int) -> list[Pixels]:
    """The windows with the most lines, one of a photo."""
    found = []
    for photo in photos:
        half = SIDE // 2
        inner = line_energy(photo)[half : photo.shape[0] - half + 1, half : photo.shape[1] - half + 1]
        top, left = np.unravel_index(int(inner.argmax()), inner.shape)
        found.append((float(inner.max()), to_8_bits(photo[top : top + SIDE, left : left + SIDE])))
    return [window for _, window in sorted(found, key=lambda one: -one[0])[:count]]


def to_8_bits(picture: npt.NDArray[np.float32]) -> Pixels:
    return np.rint(picture * 255).astype(np.uint8)


def published() -> dict[str, Restorer]:
    """PReNet with its published weights (Ren et al. 2019, six stages)."""
    nets = {name: load_published(PEERS / name / "PReNet6.pth") for name in ("Rain100L", "Rain100H")}
    return {
        f"PReNet ({name})": Restorer(TorchBackend(net.to(memory_format=torch.channels_last)))
        for name, net in nets.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--pictures", type=int, default=6, help="drawn images of each kind; twice as many photos")
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "results" / "lines.csv")
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "images" / "lines.webp")
    args = parser.parse_args()
    args.csv, args.image = args.csv.absolute(), args.image.absolute()
    torch.set_num_threads(1)

    samples = held_out()
    every = (samples[i] for i in range(len(samples)))  # type: ignore[arg-type]
    tests = line_pictures([dry_side(one) for one in every if one["set"] in ("pairs", "clean")], args.pictures)
    networks = {"repixnet": Restorer.from_pretrained(args.model, threads=1), **published()}
    columns = list(tests)
    made = {
        name: {kind: [restorer(picture) for picture in tests[kind]] for kind in tqdm(columns, desc=name)}
        for name, restorer in networks.items()
    }
    figures = {
        name: {kind: [psnr_y(got, given) for got, given in zip(made[name][kind], tests[kind], strict=True)]
               for kind in columns}
        for name in networks
    }  # fmt: skip
    rows = []
    for kind in (*HARD_NEGATIVES, "all drawn", PHOTOGRAPHED):
        kinds = list(HARD_NEGATIVES) if kind == "all drawn" else [kind]
        values = {name: [value for one in kinds for value in figures[name][one]] for name in networks}
        row = {"lines": kind, "pictures": str(len(values["repixnet"]))}
        row |= {name: f"{mean(found):.2f}" for name, found in values.items()}
        rows.append(row | {"repixnet, worst": f"{min(values['repixnet']):.2f}"})
        print(*row.values(), rows[-1]["repixnet, worst"])
    with args.csv.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    # for each kind the image that the weight changes most: its middle, and what each network makes of it
    window = np.s_[16:176, 16:176]
    worst = {kind: int(np.argmin(figures["repixnet"][kind])) for kind in columns}
    sheet = np.concatenate(
        [
            np.concatenate([pictures[kind][worst[kind]][window] for kind in columns], axis=1)
            for pictures in (tests, *made.values())
        ]
    )
    args.image.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(sheet).write_to_file(str(args.image), Q=85)


if __name__ == "__main__":
    main()
