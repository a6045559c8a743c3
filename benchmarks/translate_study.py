"""Over-fitting of photo → labels: how far training and validation are apart, by the size of the data and what is done.

    python benchmarks/translate_study.py               # all rows that are not in the CSV yet; resumable at any moment
    python benchmarks/translate_study.py --row facades-25 --steps 2400
    python benchmarks/translate_study.py --figures     # draw the curves and images of what there is

Each row trains `recipes/translate-study.yaml` with a few settings changed for the same number of steps, about four
minutes on two cores. A row that was interrupted goes on from its last checkpoint. The last weight, over-fitted as it
is, is measured on all pairs that it was trained on and on all of the set's validation images; every row is a line of
benchmarks/results/translate_study.csv, and its losses on the way are in translate_study_curves.csv. Runs stay in
runs/translate-study.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from pace import fill, trained
from repix.evaluate.run import evaluate
from repix.infer.restorer import Restorer
from repix.palettes import PALETTES
from repix.train.curves import read_curves
from repix.train.recipe import Recipe, load_recipe
from translate import ROOT, pairs_of, read_rows, save_sheet

CSV = ROOT / "benchmarks" / "results" / "translate_study.csv"
CURVES = CSV.with_name("translate_study_curves.csv")
RUNS = ROOT / "runs" / "translate-study"
IMAGES = ROOT / "docs" / "images" / "translate"
METRICS = ("l1_pm1", "label_accuracy", "mean_iou_pooled")
FIELDS = [
    "row",
    "pictures",
    "epochs",
    "steps",
    *(f"{name}_{part}" for name in METRICS for part in ("train", "val")),
    "lowest_l1_val",
    "at_step",
]

CITIES = ["data.pairs=../shared/data/cityscapes/train", "data.validation=../shared/data/cityscapes/val"]
PLAIN = "channels: 16, widest: 128, depth: 6"
ROWS: dict[str, list[str]] = {
    "facades-25": ["data.limit=25"],
    "facades-100": ["data.limit=100"],
    "facades-400": ["data.limit=400"],
    "cities-50": ["data.limit=50", *CITIES],
    "cities-200": ["data.limit=200", *CITIES],
    "facades-100-augmented": ["data.limit=100", "data.jitter=286", "data.flip=true", "data.scale=[0.8, 1.3]"],
    "facades-100-dropout": ["data.limit=100", f"args={{{PLAIN}, dropout: 0.5}}"],
    "facades-100-without-skips": ["data.limit=100", f"args={{{PLAIN}, dropout: 0.0, skips: false}}"],
}
PANELS = {
    "facades, by how many": ["facades-25", "facades-100", "facades-400"],
    "cities, by how many": ["cities-50", "cities-200"],
    "100 facades": ["facades-100", "facades-100-augmented", "facades-100-dropout", "facades-100-without-skips"],
}


def recipe_of(row: str, steps: int | None) -> Recipe:
    length = [f"stages.0.steps={steps}", f"validate_every={max(1, steps // 24)}"] if steps is not None else []
    return load_recipe(ROOT / "recipes" / "translate-study.yaml", overrides=[f"name={row}", *ROWS[row], *length])


def run(row: str, steps: int | None) -> dict[str, str]:
    """Train, export and measure a row."""
    folder = RUNS / row
    card = trained(folder, lambda: recipe_of(row, steps))
    recipe = load_recipe(folder / "recipe.yaml")
    sets = pairs_of(recipe)
    table = evaluate(
        {row: Restorer.from_pretrained(folder / "model", device="cpu")},
        sets,
        metrics=METRICS,
        palette=PALETTES[recipe.data.pairs[0].parent.name],
        progress=True,
    )
    figures = {
        f"{name}_{mean.data}": f"{value:.4f}"
        for mean in table.means
        if mean.model == row
        for name, value in mean.values.items()
    }
    lowest, at = min(
        (value, step) for step, name, value in read_curves(folder / "curves.csv") if name == "val/val_l1_pm1"
    )
    done = card.training["steps"]
    return {
        "row": row,
        "pictures": str(len(sets["train"])),
        "epochs": f"{done * recipe.stages[0].batch / len(sets['train']):.0f}",
        "steps": str(done),
        **figures,
        "lowest_l1_val": f"{lowest:.4f}",
        "at_step": str(at),
    }


def figures() -> None:
    """Draw the curves and images of what there is."""
    rows = [row for row in ROWS if (RUNS / row / "model" / "card.json").is_file()]
    if rows:  # elsewhere the committed curves are drawn again
        with CURVES.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["row", "step", "set", "l1_pm1"])
            for row in rows:
                for step, name, value in read_curves(RUNS / row / "curves.csv"):
                    if name in ("val/train_l1_pm1", "val/val_l1_pm1"):
                        writer.writerow([row, step, name.removeprefix("val/").removesuffix("_l1_pm1"), f"{value:.4f}"])
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for entry in read_rows(CURVES):
        curves.setdefault((entry["row"], entry["set"]), []).append((float(entry["step"]), float(entry["l1_pm1"])))
    IMAGES.mkdir(parents=True, exist_ok=True)
    if curves:
        draw(curves, IMAGES / "study_curves.png")
    for name in ("facades", "cities"):
        restorers = {
            row: Restorer.from_pretrained(RUNS / row / "model", device="cpu") for row in rows if row.startswith(name)
        }
        if restorers:  # the smallest set is part of the others
            sets = pairs_of(load_recipe(RUNS / next(iter(restorers)) / "recipe.yaml"))
            save_sheet(restorers, list(sets.values()), IMAGES / f"study_{name}.webp", most=3)


def draw(curves: Mapping[tuple[str, str], Sequence[tuple[float, float]]], path: Path) -> None:
    """Training dashed, validation in the same colour; a panel for each question."""
    panels = {
        title: group for title, group in PANELS.items() if any(row == found for row in group for found, _ in curves)
    }
    canvas = Canvas(figsize=(4 * len(panels), 3.6), layout="constrained")
    FigureCanvasAgg(canvas)
    for place, (title, group) in enumerate(panels.items(), start=1):
        axes = canvas.add_subplot(1, len(panels), place, title=title, xlabel="step", ylabel="L1 on [-1, 1]")
        for number, row in enumerate(group):
            for part, style in (("train", "--"), ("val", "-")):
                if (row, part) in curves:
                    steps, values = zip(*curves[row, part], strict=True)
                    axes.plot(steps, values, style, color=f"C{number}", label=f"{row} {part}", linewidth=1.2)
        axes.legend(fontsize=7)
    canvas.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=sorted(ROWS), action="append", help="only this row; may be repeated")
    parser.add_argument("--steps", type=int, help="of each row, the same for all [2400]")
    parser.add_argument("--figures", action="store_true", help="only draw")
    args = parser.parse_args()
    os.chdir(ROOT)  # recipes name their data from here
    if not args.figures:
        fill(CSV, FIELDS, args.row or list(ROWS), lambda row: run(row, args.steps))
    figures()


if __name__ == "__main__":
    main()
