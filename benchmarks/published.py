"""The six figures of PReNet's paper (Ren et al. 2019, tables 2 and 6) from its published weights.

    python benchmarks/published.py [--pictures 5] [--threads 2] [--csv benchmarks/results/published.csv]

Reads ../shared/data (peers/PReNet, Rain100L, Rain100H). The protocol is the paper's: estimates clipped, scaled and
truncated to 8 bits; PSNR and SSIM on MATLAB's luma in double precision; means over images. Each image is one row
in the CSV; rows that are there are not measured again, so the script may be stopped and continued.
tests/calibration/test_published.py holds `evaluate` to the first five images of each.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from statistics import mean

import numpy as np
import pyvips
import torch
from tqdm import tqdm

from repix.data.pairs import Pair, find_pairs, find_pairs_in
from repix.metrics import psnr_y, ssim_y
from repix.models.prenet import load_published

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
PAPER = {
    ("Rain100L", "PReNet6"): (37.48, 0.979),
    ("Rain100L", "PReNet6_r"): (37.10, 0.977),
    ("Rain100L", "PRN6"): (36.99, 0.977),
    ("Rain100H", "PReNet6"): (29.46, 0.899),
    ("Rain100H", "PReNet6_r"): (28.98, 0.892),
    ("Rain100H", "PRN6"): (28.07, 0.884),
}
FIELDS = ("set", "weights", "picture", "psnr_y", "ssim_y")


def read(path: Path) -> np.ndarray:
    pixels: np.ndarray = pyvips.Image.new_from_file(str(path)).numpy()
    return pixels


def measure(net: torch.nn.Module, pair: Pair) -> tuple[float, float]:
    """`psnr_y` and `ssim_y` of one image by the paper's protocol."""
    rainy, clean = read(pair.lq), read(pair.gt)
    x = torch.from_numpy(rainy.copy()).permute(2, 0, 1)[None].float() / 255
    x = x.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
    with torch.inference_mode():
        estimate = net(x)[0].clamp(0, 1).permute(1, 2, 0).numpy()
    saved = (estimate * 255).astype(np.uint8)  # truncated, as np.uint8(255 * out) does in the authors' script
    return psnr_y(saved, clean), ssim_y(saved, clean)


def pairs_of(name: str) -> list[Pair]:
    if name == "Rain100H":
        return find_pairs_in(DATA / "Rain100H" / "rainy", DATA / "Rain100L")
    return find_pairs(DATA / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100, help="first N images of each set (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "results" / "published.csv")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    done: dict[tuple[str, str, str], tuple[float, float]] = {}
    if args.csv.is_file():
        with args.csv.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                done[row["set"], row["weights"], row["picture"]] = (float(row["psnr_y"]), float(row["ssim_y"]))
    work = [
        (name, weights, pair)
        for name, weights in PAPER
        for pair in pairs_of(name)[: args.pictures]
        if (name, weights, pair.name) not in done
    ]
    nets = {key: load_published(DATA / "peers" / "PReNet" / key[0] / f"{key[1]}.pth").eval() for key in PAPER}
    nets = {key: net.to(memory_format=torch.channels_last) for key, net in nets.items()}
    work.sort(key=lambda item: item[2].name)  # a run cut short has the same images of each
    args.csv.parent.mkdir(parents=True, exist_ok=True)
    fresh = not args.csv.is_file()
    with args.csv.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(FIELDS)
        for name, weights, pair in tqdm(work, unit="picture"):
            figures = measure(nets[name, weights], pair)
            done[name, weights, pair.name] = figures
            writer.writerow([name, weights, pair.name, f"{figures[0]:.4f}", f"{figures[1]:.5f}"])
            file.flush()

    means = [["set", "weights", "pictures", "paper_psnr_y", "psnr_y", "paper_ssim_y", "ssim_y"]]
    print(f"{'set':9} {'weights':10} {'pictures':>8}  {'paper':>12}  {'measured':>14}  {'difference':>14}")
    for (name, weights), paper in PAPER.items():
        rows = [figures for key, figures in done.items() if key[:2] == (name, weights)]
        psnr, ssim = mean(row[0] for row in rows), mean(row[1] for row in rows)
        means.append([name, weights, str(len(rows)), f"{paper[0]}", f"{psnr:.3f}", f"{paper[1]}", f"{ssim:.4f}"])
        print(
            f"{name:9} {weights:10} {len(rows):8}  {paper[0]:6.2f} {paper[1]:.3f}  {psnr:7.3f} {ssim:.4f}"
            f"  {psnr - paper[0]:+7.3f} {ssim - paper[1]:+.4f}"
        )
    with args.csv.with_name("published_means.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(means)


if __name__ == "__main__":
    main()
