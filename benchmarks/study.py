"""Short trainings of equal length with one thing changed in each: networks and ideas, and over-fitting.

    python benchmarks/study.py derain [--minutes 5]       # all rows whose models are not there yet; resumable
    python benchmarks/study.py translate [--steps 900]
    python benchmarks/study.py derain --row prenet        # one row
    python benchmarks/study.py derain --figures           # curves and images of the rows whose runs are there

`derain`: each row trains `benchmarks/recipes/study.yaml` with a few settings changed, for so many minutes of its own
pace: the pace is timed first, the number of steps (and with it the cosine) follows. The exported model is measured on
the first 25 pairs of Rain100L, which no row has seen. Curves are the L1 term on the training stream.

`translate`: each row trains `benchmarks/recipes/translate-study.yaml` for the same number of steps. The last model,
over-fitted as it is, is measured on all pairs that it was trained on and on all of the set's validation images.

Runs and models stay in runs/study, a folder for each row and length. A row is trained where its model is not there;
one that was interrupted goes on from its last checkpoint. Every row is a line of study_derain.csv or
study_translate.csv in benchmarks/results, which it replaces, as its curves in study_derain_curves.csv or
study_translate_curves.csv. Figures are in docs/images/study; images are drawn once all their rows are trained.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pyvips
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common import DATA, IMAGES, RESULTS, ROOT, read_rows, write_rows
from repix.data.pairs import find_pairs
from repix.evaluate.figures import contact_sheet
from repix.evaluate.run import evaluate
from repix.figures import Figure, Panel, save_figure
from repix.infer.restorer import Restorer
from repix.palettes import PALETTES
from repix.train.curves import read_curves
from repix.train.export import export
from repix.train.loop import make_data, train
from repix.train.recipe import Recipe, load_recipe
from repix.train.task import RestorationTask
from repix.weights import ModelCard
from translate import pairs_of, save_sheet

RECIPES, RUNS, DRAWN = ROOT / "benchmarks" / "recipes", ROOT / "runs" / "study", IMAGES / "study"
_WARMUP, _TIMED, _TOO_SHORT = 4, 12, 3.0
_POINTS = 40

FEATURES = "backbone: vgg16, layers: [22], weights: $REPIX_DATA/backbones/vgg16_features_fp16.pth"
DERAIN: dict[str, list[str]] = {
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
    "repixnet-perceptual": [f"stages.0.losses={{l1: 1.0, perceptual: {{weight: 0.01, {FEATURES}}}}}"],
    "repixnet-contrastive": [f"stages.0.losses={{l1: 1.0, contrastive: {{weight: 0.05, {FEATURES}}}}}"],
    "repixnet-progressive": [],  # its stages are made once its length is known
}
NETWORKS = ["repixnet", "resnet", "unet", "derainnet", "prenet", "spanet", "progressive-spanet"]
GROUPS = {
    "networks": NETWORKS,
    "residual or direct": ["resnet", "resnet-direct"],
    "what PReNet is made of": ["prenet", "prenet-without-input", "prenet-without-relu"],
    "losses and stages": ["repixnet", "repixnet-perceptual", "repixnet-contrastive", "repixnet-progressive"],
}
DERAIN_COLUMNS = [
    "row", "minutes", "steps", "parameters", "psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "s_per_mp", "onnx_parity",
]  # fmt: skip

CITIES = ["data.pairs=$REPIX_DATA/cityscapes/train", "data.validation=$REPIX_DATA/cityscapes/val"]
PLAIN = "channels: 16, widest: 128, depth: 6"
TRANSLATE: dict[str, list[str]] = {
    "facades-25": ["data.limit=25"],
    "facades-100": ["data.limit=100"],
    "facades-400": ["data.limit=400"],
    "cities-50": ["data.limit=50", *CITIES],
    "cities-200": ["data.limit=200", *CITIES],
    "facades-100-augmented": ["data.limit=100", "data.resize_short=286", "data.flip=true", "data.scale=[0.8, 1.3]"],
    "facades-100-dropout": ["data.limit=100", f"args={{{PLAIN}, dropout: 0.5}}"],
    "facades-100-without-skips": ["data.limit=100", f"args={{{PLAIN}, dropout: 0.0, skips: false}}"],
}
PANELS = {
    "facades, by how many": ["facades-25", "facades-100", "facades-400"],
    "cities, by how many": ["cities-50", "cities-200"],
    "100 facades": ["facades-100", "facades-100-augmented", "facades-100-dropout", "facades-100-without-skips"],
}
METRICS = ("l1_pm1", "label_accuracy", "mean_iou_pooled")
TRANSLATE_COLUMNS = [
    "row", "images", "epochs", "steps", *(f"{name}_{part}" for name in METRICS for part in ("train", "val")),
    "lowest_l1_val", "at_step",
]  # fmt: skip
COLUMNS = {"derain": DERAIN_COLUMNS, "translate": TRANSLATE_COLUMNS}


class _Clock(lightning.Callback):
    """Notes when the warm-up has ended and when training has."""

    def __init__(self, warmup: int) -> None:
        self._warmup = warmup
        self.start = self.end = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if trainer.global_step == self._warmup:
            self.start = time.perf_counter()
        self.end = time.perf_counter()


def seconds_of(recipe: Recipe, *, warmup: int) -> float:
    """Seconds of a recipe's steps after the first `warmup`, without validation and checkpoints, by the wall clock."""
    clock = _Clock(warmup)
    trainer = lightning.Trainer(
        max_steps=recipe.steps,
        max_epochs=-1,
        precision=recipe.precision,
        callbacks=[clock],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        accelerator="cpu",
    )
    trainer.fit(RestorationTask(recipe), datamodule=make_data(recipe))
    return clock.end - clock.start


def trained(folder: Path, start: Callable[[], Recipe]) -> ModelCard:
    """The last model of a run, exported to `model` in its folder; a run that was interrupted goes on.

    Args:
        folder: of the run.
        start: its recipe, asked for where there is no checkpoint yet.
    """
    resume = (folder / "last.ckpt").is_file()
    recipe = load_recipe(folder / "recipe.yaml") if resume else start()
    train(recipe, folder, resume=resume)
    return export(folder / "last.ckpt", folder / "model")


def fill(table: str, rows: Mapping[str, Path], measure: Callable[[str, Path], Mapping[str, object]]) -> None:
    """Measure the rows whose models are not in their folders yet, and write the table after each."""
    path = RESULTS / f"study_{table}.csv"
    for row, folder in rows.items():
        if is_measured(folder):
            print(f"{row}: already in {folder}", file=sys.stderr)
            continue
        made = measure(row, folder)
        write_rows(path, replaced(read_rows(path), [made]), COLUMNS[table])
        (folder / "measured").touch()


def is_measured(folder: Path) -> bool:
    """Whether a row's run has ended and its line is in the table."""
    return (folder / "measured").is_file()


def replaced(old: Sequence[Mapping[str, object]], new: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Lines of a table, where those of each row in `new` take the place of that row's."""
    groups: dict[object, list[Mapping[str, object]]] = {line["row"]: [] for line in [*old, *new]}
    fresh = {line["row"] for line in new}
    for line in [*(line for line in old if line["row"] not in fresh), *new]:
        groups[line["row"]].append(line)
    return [line for group in groups.values() for line in group]


def derain_recipe(row: str, steps: int) -> Recipe:
    """The row's recipe at so many steps."""
    overrides = [f"name={row}", *DERAIN[row], f"stages.0.steps={steps}"]
    if row == "repixnet-progressive":
        third = max(1, steps // 3)
        overrides.append(
            f"stages=[{{steps: {third}, batch: 18, patch: 64, lr: 1.0e-3, lr_end: 5.0e-4, warmup: 50}}, "
            f"{{steps: {third}, batch: 8, patch: 96, lr: 5.0e-4, lr_end: 2.0e-4}}, "
            f"{{steps: {third}, batch: 2, patch: 192, lr: 2.0e-4}}]"
        )
    return load_recipe(RECIPES / "study.yaml", overrides=overrides)


def pace(row: str) -> float:
    """Steps a second of a row's recipe, timed in its own loop."""
    warmup, timed = _WARMUP, _TIMED
    seconds = seconds_of(derain_recipe(row, warmup + timed), warmup=warmup)
    if seconds < _TOO_SHORT:  # the data process was ahead of the network; see who waits for whom in the long run
        warmup, timed = 60, 240
        seconds = seconds_of(derain_recipe(row, warmup + timed), warmup=warmup)
    return timed / seconds


def measure_derain(row: str, folder: Path, minutes: float) -> dict[str, object]:
    """Train, export and measure a row."""
    card = trained(folder, lambda: derain_recipe(row, max(20, int(pace(row) * minutes * 60))))
    pairs = find_pairs(DATA / "Rain100L")[:25]
    restorer = Restorer.from_pretrained(folder / "model", device="cpu")
    table = evaluate({row: restorer}, {"Rain100L": pairs}, progress=True)
    mean = next(entry for entry in table.means if entry.model == row)
    return {
        "row": row,
        "minutes": f"{minutes:g}",
        "steps": card.training["steps"],
        "parameters": card.training["parameters"],
        "s_per_mp": f"{mean.seconds_per_megapixel:.3f}",
        "onnx_parity": f"{max(card.onnx_parity.values()):.1e}",
        **{name: f"{mean.values[name]:.4f}" for name in DERAIN_COLUMNS if name in mean.values},
    }


def measure_translate(row: str, folder: Path, steps: int) -> dict[str, object]:
    """Train, export and measure a row."""
    length = [f"stages.0.steps={steps}", f"validate_every={max(1, steps // 24)}"]
    sets_of_row = [f"name={row}", *TRANSLATE[row], *length]
    card = trained(folder, lambda: load_recipe(RECIPES / "translate-study.yaml", overrides=sets_of_row))
    recipe = load_recipe(folder / "recipe.yaml")
    sets = pairs_of(recipe)
    restorer, palette = Restorer.from_pretrained(folder / "model", device="cpu"), recipe.data.pairs[0].parent.name
    table = evaluate({row: restorer}, sets, metrics=METRICS, palette=PALETTES[palette], progress=True)
    values = {
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
        "images": len(sets["train"]),
        "epochs": f"{done * recipe.stages[0].batch / len(sets['train']):.0f}",
        "steps": done,
        **values,
        "lowest_l1_val": f"{lowest:.4f}",
        "at_step": at,
    }


def curve_of(folder: Path) -> list[tuple[float, float]]:
    """Minutes of training and L1 on the training stream, averaged down to a few points."""
    events = EventAccumulator(str(folder / "logs"), {"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    found = events.Scalars("loss/l1" if "loss/l1" in tags else "loss")
    minutes = (np.array([one.wall_time for one in found]) - found[0].wall_time) / 60
    values = np.array([one.value for one in found])
    parts = np.array_split(np.arange(len(found)), min(_POINTS, max(1, len(found) // 2)))
    return [(float(minutes[part].mean()), float(values[part].mean())) for part in parts]


def curves_of(table: str, points: Sequence[Mapping[str, object]], columns: Sequence[str]) -> list[dict[str, str]]:
    """The points of all rows, those given in the place of older ones."""
    path = RESULTS / f"study_{table}_curves.csv"
    write_rows(path, replaced(read_rows(path), points), columns)
    return read_rows(path)


def lacking(image: Path, folders: Mapping[str, Path]) -> bool:
    """Whether an image cannot be drawn, since rows have no model; says so."""
    without = [row for row, folder in folders.items() if not is_measured(folder)]
    if without:
        print(f"{image.name}: not drawn, because these are not trained: {', '.join(without)}", file=sys.stderr)
    return bool(without)


def draw_derain(folders: Mapping[str, Path]) -> None:
    """Draw the curves of all rows, and the images whose rows are all there."""
    points = [
        {"row": row, "minutes": f"{x:.2f}", "l1": f"{y:.5f}"}
        for row, folder in folders.items()
        if is_measured(folder)
        for x, y in curve_of(folder)
    ]
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in curves_of("derain", points, ["row", "minutes", "l1"]):
        curves.setdefault(point["row"], []).append((float(point["minutes"]), float(point["l1"])))
    panels = [
        Panel(title, curves={row: np.array(curves[row], np.float32).T for row in group if row in curves},
              axes=("minutes", "L1 on the training stream"))
        for title, group in GROUPS.items()
    ]  # fmt: skip
    save_figure(Figure("the same time, the same data", panels, columns=2), DRAWN / "curves.png")
    for title, group in {"networks": NETWORKS, "ideas": [row for row in DERAIN if row not in NETWORKS]}.items():
        made = DRAWN / f"{title}.png"
        if lacking(made.with_suffix(".webp"), {row: folders[row] for row in group}):
            continue
        restorers = {row: Restorer.from_pretrained(folders[row] / "model", device="cpu") for row in group}
        pairs = find_pairs(DATA / "Rain100L")[:3]
        table = evaluate(restorers, {"Rain100L": pairs}, metrics=["psnr_y"])
        save_figure(contact_sheet(restorers, {"Rain100L": pairs}, table), made)
        pyvips.Image.new_from_file(str(made)).flatten().write_to_file(f"{made.with_suffix('.webp')}[Q=85]")
        made.unlink()  # four times the size


def draw_translate(folders: Mapping[str, Path]) -> None:
    """Draw the curves of all rows, training dashed, validation in the same colour, and the image, as `draw_derain`."""
    fresh = [
        {"row": row, "step": step, "set": name.removeprefix("val/").removesuffix("_l1_pm1"), "l1_pm1": f"{value:.4f}"}
        for row, folder in folders.items()
        if is_measured(folder)
        for step, name, value in read_curves(folder / "curves.csv")
        if name in ("val/train_l1_pm1", "val/val_l1_pm1")
    ]
    points = curves_of("translate", fresh, ["row", "step", "set", "l1_pm1"])
    rows = {point["row"] for point in points}
    panels = {title: found for title, group in PANELS.items() if (found := [row for row in group if row in rows])}
    canvas = Canvas(figsize=(4 * len(panels), 3.6), layout="constrained")
    FigureCanvasAgg(canvas)
    for place, (title, group) in enumerate(panels.items(), start=1):
        axes = canvas.add_subplot(1, len(panels), place, title=title, xlabel="step", ylabel="L1 on [-1, 1]")
        for number, row in enumerate(group):
            for part, style in (("train", "--"), ("val", "-")):
                mine = [
                    (int(point["step"]), float(point["l1_pm1"]))
                    for point in points
                    if (point["row"], point["set"]) == (row, part)
                ]
                axes.plot(*zip(*mine, strict=True), style, color=f"C{number}", label=f"{row} {part}", linewidth=1.2)
        axes.legend(fontsize=7)
    canvas.savefig(DRAWN / "overfitting.png", dpi=90)
    facades = {row: folder for row, folder in folders.items() if row.startswith("facades")}
    if not lacking(DRAWN / "facades.webp", facades):  # the smallest set is part of the others
        restorers = {row: Restorer.from_pretrained(folder / "model", device="cpu") for row, folder in facades.items()}
        sets = pairs_of(load_recipe(next(iter(facades.values())) / "recipe.yaml"))
        save_sheet(restorers, list(sets.values()), DRAWN / "facades.webp", most=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["derain", "translate"])
    parser.add_argument("--row", choices=[*DERAIN, *TRANSLATE], action="append", help="only this row; may be repeated")
    parser.add_argument("--minutes", type=float, default=5.0, help="derain: training time of a row")
    parser.add_argument("--steps", type=int, default=900, help="translate: of each row, the same for all")
    parser.add_argument("--figures", action="store_true", help="only draw")
    args = parser.parse_args()
    known = DERAIN if args.table == "derain" else TRANSLATE
    strange = [row for row in args.row or () if row not in known]
    if strange:
        parser.error(f"{args.table} has no row {strange[0]}; it has {', '.join(known)}")
    os.chdir(ROOT)  # recipes name their data from here
    DRAWN.mkdir(parents=True, exist_ok=True)
    length = f"{args.minutes:g}-minutes" if args.table == "derain" else f"{args.steps}-steps"
    folders = {row: RUNS / f"{row}-{length}" for row in known}
    if not args.figures:
        asked = {row: folders[row] for row in args.row or known}
        if args.table == "derain":
            fill("derain", asked, lambda row, folder: measure_derain(row, folder, args.minutes))
        else:
            fill("translate", asked, lambda row, folder: measure_translate(row, folder, args.steps))
    (draw_derain if args.table == "derain" else draw_translate)(folders)


if __name__ == "__main__":
    main()
