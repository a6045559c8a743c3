"""Every set of pairs through repixnet, its self-ensemble and PReNet's published weights.

    python benchmarks/sets.py FOLDER [--models repixnet repixnet-large …]     # benchmarks/results/sets.csv

FOLDER is laid out by `../shared/data/more/lay.py` (all of Rain800, night, nturain_a1); the rest is in REPIX_DATA.
`held_out.csv` names the pairs that repixnet was not trained on; of the test sets the first ten images are taken, and of
the yard every 24th frame of the second half, with that half's temporal median as the ground truth. Plain streaks are
drawn over eight of Rain100L's clean images, every second of them blurred to a smooth ground. Rows that are there are
not measured again. Everything runs on `--device cpu`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from common import DATA, RESULTS, held_out, read_rows, write_rows
from peers import nturain, published_prenet, yard
from repix.data.pairs import Pair, find_pairs_in
from repix.degradations.crisp import StreakParams, draw_crisp_streaks
from repix.evaluate.run import evaluate
from repix.infer.restorer import Restorer
from repix.io.image import Picture, read_image, write_image

TABLE = RESULTS / "sets.csv"
METRICS = ["psnr_y", "ssim_y", "psnr_rgb"]
PRENET = {f"PReNet ({name})": name for name in ("Rain100L", "Rain100H", "Rain1400")}
# what each was trained on besides: all else is zero-shot
# plain streaks: width and softness in pixels, and how much of the image they cover
LIGHT = 235.0
STREAKS = {
    "aliased": StreakParams(width=2, softness=0, length=45, opacity=0.8, cover=0.07),
    "thin": StreakParams(width=1.5, length=45, opacity=0.8, cover=0.05),
    "wide": StreakParams(width=3, length=60, opacity=0.6, cover=0.14),
    "dense": StreakParams(width=1.5, length=30, opacity=0.5, cover=0.2),
    "faint": StreakParams(width=3, length=60, opacity=0.3, cover=0.3),
}
OTHERS = "other images of the set"
KNOWN = {
    ("Rain100L", "repixnet"): "RainTrainL, its training set",
    ("Rain100L", "PReNet (Rain100L)"): "RainTrainL, its training set",
    ("Rain100H", "PReNet (Rain100H)"): "its training set",
    ("RainTrainL", "repixnet"): OTHERS,
    ("RainTrainL", "PReNet (Rain100L)"): "these images",
    ("Rain800", "repixnet"): OTHERS,
    ("Rain800, tone changed", "repixnet"): OTHERS,
    ("night streets", "repixnet"): OTHERS,
    ("streets in fog", "repixnet"): OTHERS,
    ("NTURain", "repixnet"): "other frames of the clip",
    **{(f"{kind} streaks", "repixnet"): "such streaks, drawn" for kind in STREAKS},
    ("yard, real rain", "repixnet"): "16 frames of the first half",
}


def sets(folder: Path, temporary: Path) -> Iterator[tuple[str, list[Pair]]]:
    held = held_out()

    def of(name: str, pairs: list[Pair]) -> tuple[str, list[Pair]]:
        return name, [pair for pair in pairs if pair.name in held[name]]

    yield "Rain100L", find_pairs_in(DATA / "Rain100L" / "rainy", DATA / "Rain100L")[:10]
    yield "Rain100H", find_pairs_in(DATA / "Rain100H" / "rainy", DATA / "Rain100L")[:10]
    yield of("RainTrainL", find_pairs_in(DATA / "RainTrainL" / "rain", DATA / "RainTrainL" / "norain"))
    rain800 = folder / "rain800" / "dataset" / "rain" / "training"
    sides = [Pair(file.stem, file, file, "right") for file in sorted(rain800.iterdir())]
    yield of("Rain800", sides)
    yield of("Rain800, tone changed", sides)
    night = folder / "night" / "dataset" / "RoadScene-rain" / "train" / "Vis"
    yield of("night streets", find_pairs_in(night / "input", night / "target"))
    streets = DATA / "pairs" / "raincityscapes"
    yield of("streets in fog", find_pairs_in(streets / "rainy", streets / "clean"))
    yield of("NTURain", nturain(folder))
    frames, still = yard()
    median = temporary / "median.png"
    write_image(median, Picture(still))
    shown = []
    for k in range(0, len(frames), 24):
        write_image(temporary / f"{k}.png", Picture(frames[k]))
        shown.append(Pair(str(k), temporary / f"{k}.png", median))
    yield "yard, real rain", shown
    clean = sorted(file for file in (DATA / "Rain100L").iterdir() if file.is_file())[::13]
    for number, (kind, params) in enumerate(STREAKS.items()):
        streaks = []
        for k, file in enumerate(clean):
            gt = read_image(file).pixels
            if k % 2:  # a smooth ground
                gt = np.rint(gaussian_filter(gt.astype(np.float32), (25, 25, 0))).astype(np.uint8)
            share = draw_crisp_streaks(gt.shape[:2], params, np.random.default_rng((number, k)))[..., None]
            paths = [temporary / f"{kind}-{k}-{side}.png" for side in ("lq", "gt")]
            write_image(paths[0], Picture(np.rint(gt * (1 - share) + LIGHT * share).astype(np.uint8)))
            write_image(paths[1], Picture(gt))
            streaks.append(Pair(str(k), paths[0], paths[1]))
        yield f"{kind} streaks", streaks


def make(name: str) -> Callable[..., Any]:
    if name in PRENET:
        return published_prenet(PRENET[name])
    return Restorer.from_pretrained(plain(name), "cpu", quality="best" if name.endswith("(best)") else "fast")


def plain(name: str) -> str:
    """The model of a row."""
    return name.removesuffix(" (best)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["repixnet", "repixnet (best)", *PRENET])
    args = parser.parse_args()
    rows: list[dict[str, Any]] = list(read_rows(TABLE))
    order = ["input", "repixnet", "repixnet (best)", "repixnet-large", "repixnet-large (best)", *PRENET]
    with tempfile.TemporaryDirectory() as temporary:
        found = dict(sets(args.folder, Path(temporary)))
        places = list(found)
        for model in args.models:
            for data, pairs in found.items():
                if any((row["data"], row["model"]) == (data, model) for row in rows):
                    continue
                means = evaluate({model: make(model)}, {data: pairs}, metrics=METRICS).means
                for mean in means:
                    learnt = plain(model).removesuffix("-large")  # its recipe has the same data
                    known = "" if mean.model == "input" else KNOWN.get((data, learnt), "zero-shot")
                    values = {name: f"{mean.values[name]:.{4 if name == 'ssim_y' else 2}f}" for name in METRICS}
                    rows = [row for row in rows if (row["data"], row["model"]) != (data, mean.model)]
                    row = {"data": data, "images": mean.images, "model": mean.model, **values, "trained_on": known}
                    rows.append(row)
                    print(*row.values(), sep="  ", flush=True)
                rows.sort(key=lambda row: (places.index(row["data"]), order.index(row["model"])))
                write_rows(TABLE, rows)


if __name__ == "__main__":
    main()
