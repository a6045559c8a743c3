"""The study: every network and idea for the same training time on the same data.

    python benchmarks/study.py [--minutes 6]           # all rows that are not in the CSV yet; resumable at any moment
    python benchmarks/study.py --row prenet            # one row
    python benchmarks/study.py --figures               # curves and images of the rows whose runs are there

Each row trains `recipes/study.yaml` with a few settings changed, for so many minutes of its own pace: the pace is
timed first, the number of steps (and with it the cosine) follows. A row that was interrupted goes on from its last
checkpoint. The finished weight is exported and measured by `repix.evaluate.run` on the first 25 pairs of Rain100L,
which no row has seen; every row is a line of benchmarks/results/study.csv. Runs and weights stay in runs/study.
Curves (the L1 term on the training stream, which is the same for every row but `repixnet-progressive`, by minutes of
training) go to benchmarks/results/study_curves.csv, and with the images to docs/images/study.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import pyvips
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pace import fill, seconds_of, trained
from repix.data.pairs import find_pairs
from repix.evaluate.figures import contact_sheet
from repix.evaluate.run import evaluate
from repix.figures import Figure, Panel, save_figure
from repix.infer.restorer import Restorer
from repix.train.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
CSV = ROOT / "benchmarks" / "results" / "study.csv"
IMAGES = ROOT / "docs" / "images" / "study"
VGG16 = DATA / "backbones" / "vgg16_features_fp16.pth"
FIELDS = [
    "row",
    "minutes",
    "steps",
    "parameters",
    "psnr_y",
    "ssim_y",
    "psnr_rgb",
    "ssim_rgb",
    "s_per_mp",
    "onnx_parity",
]
_WARMUP, _TIMED, _TOO_SHORT = 4, 12, 3.0
_POINTS = 40

FEATURES = f"{{backbone: vgg16, layers: [22], weights: {VGG16}}}"
ROWS: dict[str, list[str]] = {
    "repixnet": [],
    "resnet": ["model=resnet"],
    "resnet-direct": ["model=resnet", "args={predict: image}"],
    "unet": ["model=unet"],
    "derainnet": ["model=derainnet"],
    "prenet": ["model=prenet"],
    "prenet-without-input": ["model=prenet", "args={join_input: false}"],
    "prenet-without-relu": ["model=prenet", "args={head_relu: false}"],
    "spanet": ["model=spanet"],
    "progressive-spanet": ["model=progressive_spanet"],
    "repixnet-perceptual": [f"stages.0.losses={{l1: 1.0, perceptual: {{weight: 0.01, {FEATURES[1:]}}}"],
    "repixnet-contrastive": [f"stages.0.losses={{l1: 1.0, contrastive: {{weight: 0.05, {FEATURES[1:]}}}"],
    "repixnet-progressive": [],  # its stages are made once its length is known
}

NETWORKS = ["repixnet", "resnet", "unet", "derainnet", "prenet", "spanet", "progressive-spanet"]
GROUPS = {
    "networks": NETWORKS,
    "residual or direct": ["resnet", "resnet-direct"],
    "what PReNet is made of": ["prenet", "prenet-without-input", "prenet-without-relu"],
    "losses and stages": ["repixnet", "repixnet-perceptual", "repixnet-contrastive", "repixnet-progressive"],
}


def pace(row: str) -> float:
    """Steps a second of a row's recipe, timed in its own loop."""
    warmup, timed = _WARMUP, _TIMED
    seconds = seconds_of(recipe_of(row, warmup + timed), warmup=warmup)
    if seconds < _TOO_SHORT:  # the data process was ahead of the network; see who waits for whom in the long run
        warmup, timed = 60, 240
        seconds = seconds_of(recipe_of(row, warmup + timed), warmup=warmup)
    return timed / seconds


def recipe_of(row: str, steps: int) -> Recipe:
    """The row's recipe at so many steps."""
    overrides = [f"name={row}", *ROWS[row], f"stages.0.steps={steps}"]
    if row == "repixnet-progressive":
        third = max(1, steps // 3)
        overrides.append(
            f"stages=[{{steps: {third}, batch: 18, patch: 64, lr: 1.0e-3, lr_end: 5.0e-4, warmup: 50}}, "
            f"{{steps: {third}, batch: 8, patch: 96, lr: 5.0e-4, lr_end: 2.0e-4}}, "
            f"{{steps: {third}, batch: 2, patch: 192, lr: 2.0e-4}}]"
        )
    return load_recipe(ROOT / "recipes" / "study.yaml", overrides=overrides)


def run(row: str, minutes: float) -> dict[str, str]:
    """Train, export and measure a row."""
    folder = ROOT / "runs" / "study" / row
    card = trained(folder, lambda: recipe_of(row, max(20, int(pace(row) * minutes * 60))))
    restorer = Restorer.from_pretrained(folder / "model", device="cpu")
    pairs = find_pairs(DATA / "Rain100L")[:25]
    table = evaluate({row: restorer}, {"Rain100L": pairs}, progress=True)
    mean = next(entry for entry in table.means if entry.model == row)
    figures = {name: f"{mean.values[name]:.4f}" for name in FIELDS if name in mean.values}
    return {
        "row": row,
        "minutes": f"{minutes:g}",
        "steps": str(card.training["steps"]),
        "parameters": str(card.training["parameters"]),
        "s_per_mp": f"{mean.seconds_per_megapixel:.3f}",
        "onnx_parity": f"{max(card.onnx_parity.values()):.1e}",
        **figures,
    }


def curve_of(row: str) -> list[tuple[float, float]]:
    """Minutes of training and L1 on the training stream, averaged down to a few points."""
    events = EventAccumulator(str(ROOT / "runs" / "study" / row / "logs"), {"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    found = events.Scalars("loss/l1" if "loss/l1" in tags else "loss")
    minutes = (np.array([one.wall_time for one in found]) - found[0].wall_time) / 60
    values = np.array([one.value for one in found])
    parts = np.array_split(np.arange(len(found)), min(_POINTS, max(1, len(found) // 2)))
    return [(float(minutes[part].mean()), float(values[part].mean())) for part in parts]


def figures() -> None:
    """Draw what there is."""
    runs = ROOT / "runs" / "study"
    rows = [row for row in ROWS if (runs / row / "model" / "card.json").is_file()]
    curves = {row: curve_of(row) for row in rows}
    with CSV.with_name("study_curves.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "minutes", "l1"])
        writer.writerows([row, f"{x:.2f}", f"{y:.5f}"] for row in rows for x, y in curves[row])
    IMAGES.mkdir(parents=True, exist_ok=True)
    panels = [
        Panel(title, curves={row: np.array(curves[row], np.float32).T for row in group if row in curves},
              axes=("minutes", "L1 on the training stream"))
        for title, group in GROUPS.items()
    ]  # fmt: skip
    save_figure(Figure("the same time, the same data", panels, columns=2), IMAGES / "curves.png")
    for title, group in {"networks": GROUPS["networks"], "ideas": [row for row in ROWS if row not in NETWORKS]}.items():
        restorers = {row: Restorer.from_pretrained(runs / row / "model", device="cpu") for row in group if row in rows}
        pairs = find_pairs(DATA / "Rain100L")[:3]
        table = evaluate(restorers, {"Rain100L": pairs}, metrics=["psnr_y"])
        drawn = IMAGES / f"{title}.png"
        save_figure(contact_sheet(restorers, {"Rain100L": pairs}, table), drawn)
        pyvips.Image.new_from_file(str(drawn)).flatten().write_to_file(f"{drawn.with_suffix('.webp')}[Q=85]")
        drawn.unlink()  # four times the size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=sorted(ROWS), action="append", help="only this row; may be repeated")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time of a row")
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--figures", action="store_true")
    args = parser.parse_args()
    if args.figures:
        figures()
        return
    fill(args.csv, FIELDS, args.row or list(ROWS), lambda row: run(row, args.minutes))


if __name__ == "__main__":
    main()
