"""Weights that translate, on everything they were trained on and everything they were not.

    python benchmarks/translate.py facades-labels facades-photo runs/facades-fcn/model
    python benchmarks/translate.py facades-photo runs/facades-photo-l1/model --sheet docs/images/translate/photo.webp

Each model's recipe says which pairs it has seen; the folder `val` beside them has others.
Two rows of benchmarks/results/translate.csv for each weight, `train` and `val`; rows of other weights stay, so weights
may be measured one after the other. L1 on [-1, 1] , PSNR and SSIM on RGB are means over images;
label accuracy and mean IoU by the nearest colour of the data set's palette; the kernel distance of validation images,
where the target is a photo, on VGG16's features (backbones in REPIX_DATA). `cpu_seconds_256` is the median CPU time of
a 256×256 image, one thread, ONNX Runtime fp32.

`--sheet` draws the same images through all the weights named: input | weights | target, two that were trained on
above three that were not, spread evenly over the sets.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pyvips
import yaml
from numpy.typing import NDArray

from common import DATA, RESULTS, ROOT, cpu_seconds, read_rows, write_rows
from repix.data.pairs import Pair, find_pairs
from repix.evaluate.run import evaluate
from repix.infer.backends import DEVICES
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.restorer import Restorer
from repix.io.image import read_image, resize
from repix.palettes import PALETTES
from repix.tasks import TRANSLATE
from repix.train.loop import make_data
from repix.train.recipe import Recipe, load_recipe, parse_recipe
from repix.weights import ModelCard, find_card, read_weights

VGG16 = DATA / "backbones" / "vgg16_features_fp16.pth"
CSV = RESULTS / "translate.csv"
COLUMNS = ["model", "data", "images", "steps", "parameters", *TRANSLATE.metrics, "cpu_seconds_256"]
_TURNS = 9
_GAP = 6  # pixels between the images of a sheet


def recipe_of(card: ModelCard) -> Recipe:
    """Of a shipped model the file of its name, whose card may spell keys as earlier versions did."""
    shipped = ROOT / "recipes" / f"{card.name}.yaml"
    if shipped.is_file():
        return load_recipe(shipped)
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


def measure(model: str, most: int | None) -> list[dict[str, str]]:
    """The rows of a model."""
    card, folder = find_card(model)
    recipe = recipe_of(card)
    restorer = Restorer.from_pretrained(model, device="cpu")
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
        row = dict.fromkeys(COLUMNS, "") | {
            name: f"{value:.{2 if name.startswith('psnr') else 4}f}" for name, value in mean.values.items()
        }
        row |= {"model": card.name, "data": f"{data} {part}", "images": str(mean.images)}
        row |= {"steps": str(card.training["steps"]), "parameters": str(card.training["parameters"])}
        row["cpu_seconds_256"] = f"{seconds(read_weights(card, folder, card.form(*DEVICES['cpu'].forms))):.4f}"
        rows.append(row)
    return rows


def seconds(model: bytes) -> float:
    """Median CPU time of a 256×256 image on one thread, warm."""
    backend = OnnxBackend(model, threads=1)
    image = np.random.default_rng(0).random((1, 3, 256, 256), dtype=np.float32)
    found = [cpu_seconds(lambda: backend.run(image)) for _ in range(_TURNS + 1)]
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


def beside(images: Sequence[NDArray[np.uint8]], *, height: int = 192) -> NDArray[np.uint8]:
    """Images of one height in a row, with gaps and one below."""
    scaled = [resize(image, (height, round(image.shape[1] * height / len(image)))) for image in images]
    padded = [np.pad(image, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for image in scaled]
    return np.concatenate(padded, axis=1)[:, :-_GAP]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", metavar="MODEL", help="a shipped model's name, or a model's folder")
    parser.add_argument("--sheet", type=Path, help="draw images there (WebP) instead of measuring")
    parser.add_argument("--images", type=int, help="only the first so many of each set, to try")
    parser.add_argument("--csv", type=Path, default=CSV)
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
    for weight in weights:
        made = measure(weight, args.images)
        others = [row for row in read_rows(args.csv) if row["model"] != made[0]["model"]]
        write_rows(args.csv, [*others, *made], COLUMNS)
        for row in made:
            print("  ".join(f"{name} {value}" for name, value in row.items() if value))


if __name__ == "__main__":
    main()
