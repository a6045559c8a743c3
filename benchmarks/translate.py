"""Weights that translate, on everything they were trained on and everything they were not.

    python benchmarks/translate.py facades-labels facades-photo runs/facades-fcn/model
    python benchmarks/translate.py facades-photo runs/facades-photo-l1/model --sheet docs/images/translate/photo.webp

Each weight's own recipe, which is on its card, says which pairs it has seen; the folder `val` beside them has others.
Two rows of benchmarks/results/translate.csv for each weight, `train` and `val`; rows of other weights stay, so weights
may be measured one after the other. L1 on [-1, 1] (the course's figure), PSNR and SSIM on RGB are means over images;
label accuracy and mean IoU by the nearest colour of the data set's palette; the kernel distance of validation images,
where the target is a photo, on VGG16's features (../shared/data/backbones). `cpu_seconds_256` is the median CPU time of
a 256×256 image, one thread, ONNX Runtime fp32.

`--sheet` draws the same images through all the weights named: input | weights | target, two that were trained on
above three that were not, spread evenly over the sets.

`--alexnet` prints the kernel distance on the last convolution of AlexNet instead, which no weight was trained with.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pyvips
import torch
import yaml
from numpy.typing import NDArray
from torchmetrics.image.kid import poly_mmd

from repix.data.pairs import Pair, find_pairs
from repix.evaluate.run import evaluate
from repix.features import FeatureStack
from repix.infer.backends import DEVICES
from repix.infer.restorer import Restorer
from repix.io.image import read_image, resize
from repix.palettes import PALETTES
from repix.tasks import TRANSLATE
from repix.train.loop import make_data
from repix.train.recipe import Recipe, parse_recipe
from repix.weights import ModelCard, find_card, read_weights
from speed import session

ROOT = Path(__file__).resolve().parents[1]
VGG16 = ROOT.parent / "shared" / "data" / "backbones" / "vgg16_features_fp16.pth"
CSV = ROOT / "benchmarks" / "results" / "translate.csv"
FIELDS = ["model", "data", "pictures", "steps", "parameters", *TRANSLATE.metrics, "cpu_seconds_256"]
_TURNS = 9
_GAP = 6  # pixels between the images of a sheet


def recipe_of(card: ModelCard) -> Recipe:
    return parse_recipe(yaml.safe_load(card.training["recipe"]), source=card.name)


def pairs_of(recipe: Recipe) -> dict[str, list[Pair]]:
    """`train`: what a recipe trains on, without what it holds out; `val`: the set's own validation images."""
    data = recipe.data.model_copy(update={"train_subset": 1_000_000, "max_validation": None, "validation": []})
    loader = make_data(recipe.model_copy(update={"data": data})).val_dataloader()
    names = {batch["name"][0] for batch in loader if batch["set"][0] == "train"}
    (folder,) = recipe.data.pairs
    return {
        "train": [pair for pair in find_pairs(folder) if pair.name in names],
        "val": find_pairs(folder.with_name("val")),
    }


def measure(weight: str, most: int | None) -> list[dict[str, str]]:
    """The rows of a weight."""
    card, folder = find_card(weight)
    recipe = recipe_of(card)
    restorer = Restorer.from_pretrained(weight, device="cpu")
    data = recipe.data.pairs[0].parent.name
    palette = PALETTES.get(data) if card.direction == "AtoB" else None
    rows = []
    for part, pairs in pairs_of(recipe).items():
        table = evaluate(
            {card.name: restorer},
            {part: pairs[:most]},
            palette=palette,
            backbone=VGG16 if part == "val" else None,
            progress=True,
        )
        mean = next(row for row in table.means if row.model == card.name)
        row = dict.fromkeys(FIELDS, "") | {
            name: f"{value:.{2 if name.startswith('psnr') else 4}f}" for name, value in mean.values.items()
        }
        row |= {"model": card.name, "data": f"{data} {part}", "pictures": str(mean.images)}
        row |= {"steps": str(card.training["steps"]), "parameters": str(card.training["parameters"])}
        row["cpu_seconds_256"] = f"{seconds(read_weights(card, folder, card.form(*DEVICES['cpu'].forms))):.4f}"
        rows.append(row)
    return rows


def seconds(model: bytes) -> float:
    """Median CPU time of a 256×256 image on one thread, warm."""
    run = session(model)
    picture = np.random.default_rng(0).random((1, 3, 256, 256), dtype=np.float32)
    found = []
    for _ in range(_TURNS + 1):
        start = time.process_time()
        run.run(None, {run.get_inputs()[0].name: picture})
        found.append(time.process_time() - start)
    return median(found[1:])


def save_sheet(restorers: Mapping[str, Restorer], sets: Sequence[Sequence[Pair]], path: Path, *, most: int) -> None:
    """Draw input | restorers | target as WebP: a row for each of so many pairs of each set, spread evenly over it."""
    blocks = []
    for pairs, count in zip(sets, (most - 1, most), strict=True):
        chosen = [pairs[(2 * i + 1) * len(pairs) // (2 * count)] for i in range(count)]
        blocks += [beside(row_of(pair, restorers)) for pair in chosen]
        blocks.append(np.full((2 * _GAP, blocks[-1].shape[1], 3), 255, np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(np.concatenate(blocks[:-1])).webpsave(str(path), Q=82)


def row_of(pair: Pair, restorers: Mapping[str, Restorer]) -> list[NDArray[np.uint8]]:
    (direction,) = {one.card.direction for one in restorers.values() if one.card is not None}
    pair = pair if direction == "AtoB" else pair.swapped()
    lq, gt = pair.split(*(read_image(path).pixels for path in (pair.lq, pair.gt)))
    return [lq, *(restorer(lq) for restorer in restorers.values()), gt]


def beside(pictures: Sequence[NDArray[np.uint8]], *, height: int = 192) -> NDArray[np.uint8]:
    """Images of one height in a row, with gaps and one below."""
    scaled = [resize(picture, (height, round(picture.shape[1] * height / len(picture)))) for picture in pictures]
    padded = [np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for picture in scaled]
    return np.concatenate(padded, axis=1)[:, :-_GAP]


def alexnet_distance(weight: str) -> float:
    """Unbiased squared MMD, cubic kernel, of all validation images (Bińkowski et al. 2018, section 4)."""
    card, _ = find_card(weight)
    restorer = Restorer.from_pretrained(weight, device="cpu")
    stack = FeatureStack("alexnet", layers=[11], weights=str(VGG16.with_name("alexnet_features.pth")))
    sides: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for pair in pairs_of(recipe_of(card))["val"]:
        _, made, gt = row_of(pair, {card.name: restorer})
        for picture, side in zip((made, gt), sides, strict=True):
            x = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
            with torch.inference_mode():
                side.append(stack(x)[0].mean((2, 3)).double())
    return float(poly_mmd(*(torch.cat(side) for side in sides)))


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, fields: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", metavar="WEIGHT", help="a shipped weight's name, or a weight's folder")
    parser.add_argument("--sheet", type=Path, help="draw images there (WebP) instead of measuring")
    parser.add_argument("--pictures", type=int, help="only the first so many of each set, to try")
    parser.add_argument("--csv", type=Path, default=CSV)
    parser.add_argument("--alexnet", action="store_true", help="print another kernel distance instead of measuring")
    args = parser.parse_args()
    weights = [str(Path(name).resolve()) if Path(name).is_dir() else name for name in args.weights]
    if args.sheet is not None:
        args.sheet = args.sheet.resolve()
    args.csv = args.csv.resolve()
    os.chdir(ROOT)  # recipes name their data from here
    if args.sheet is not None:
        restorers = {name: Restorer.from_pretrained(name, device="cpu") for name in weights}
        card, _ = find_card(weights[0])
        save_sheet(restorers, list(pairs_of(recipe_of(card)).values()), args.sheet, most=3)
        return
    if args.alexnet:
        for weight in weights:
            print(f"{weight}: {alexnet_distance(weight):.4f}")
        return
    for weight in weights:
        made = measure(weight, args.pictures)
        others = [row for row in read_rows(args.csv) if row["model"] != made[0]["model"]]
        write_rows(args.csv, FIELDS, [*others, *made])
        for row in made:
            print("  ".join(f"{name} {value}" for name, value in row.items() if value))


if __name__ == "__main__":
    main()
