"""Fast or best? What the mean of a weight's estimates from several views is worth, by view: `--quality best`.

    python benchmarks/views.py [--model repixnet ...] [--side 256] [--test] [--csv benchmarks/results/views.csv]

On what `recipes/repixnet.yaml` holds out, as confidence.py does, the middle of each image: `psnr_y` in 8 bits, mean
over images, of the image as it is, and how much the mean of the views changes that. `--test` adds the
first 25 of Rain100L and Rain100H, which nothing was chosen by. All derain weights that are shipped, unless named.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from statistics import mean

import numpy as np
from tqdm import tqdm

from confidence import ROOT, WINDOW, cases, decibels, middle, write
from repix.infer.ensemble import AUGMENTATIONS, estimate
from repix.infer.restorer import Restorer
from repix.tasks import DERAIN
from repix.weights import list_cards

MIRRORS = tuple(view._replace(top=0, left=0) for view in AUGMENTATIONS)
SHIFTS = tuple(view._replace(down=1, right=1) for view in AUGMENTATIONS)
AS_IT_IS, MIRRORED, UPSIDE_DOWN, BOTH = MIRRORS
TRIED = {
    "as it is": (AS_IT_IS,),
    "and mirrored": (AS_IT_IS, MIRRORED),
    "and upside down": (AS_IT_IS, UPSIDE_DOWN),
    "and both": (AS_IT_IS, BOTH),
    "four shifts": SHIFTS,
    "four mirrors": MIRRORS,
    "four mirrors, shifted: best": AUGMENTATIONS,
    "four mirrors, and the same shifted": (*MIRRORS, *(view._replace(top=1, left=1) for view in MIRRORS)),
}


def measure(model: str, *, side: int, test: bool) -> list[dict[str, str]]:
    """Rows of the table for one weight."""
    restorer = Restorer.from_pretrained(model, threads=1)
    found: dict[str, dict[str, list[float]]] = {}
    for case in tqdm(cases(test), desc=model):
        lq, gt = middle(case.lq, side), middle(case.gt, side)
        x = np.ascontiguousarray(lq.transpose(2, 0, 1)[None] / np.float32(255), np.float32)
        every = dict.fromkeys(itertools.chain(*TRIED.values()))
        made = {
            view: estimate(restorer.run, x, view, multiple_of=restorer.multiple_of).transpose(1, 2, 0) for view in every
        }
        for form, views in TRIED.items():
            average = np.mean([made[view] for view in views], axis=0)
            found.setdefault(form, {}).setdefault(case.set, []).append(decibels(average, gt))
    rows = []
    for form, sets in found.items():
        row = {"model": model, "views": form, "runs": str(len(TRIED[form])), "side": str(side)}
        for name, values in sets.items():
            base = mean(found["as it is"][name])
            row[name] = f"{base:.2f}" if form == "as it is" else f"{mean(values) - base:+.2f}"
        rows.append(row)
        print(*row.values())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="may be repeated")
    parser.add_argument(
        "--side", type=int, default=WINDOW, help="of the middle that is taken of each image, at most 256"
    )
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "results" / "views.csv")
    args = parser.parse_args()
    args.csv = args.csv.absolute()
    models = args.model or [card.name for card in list_cards() if card.task is DERAIN]
    write(args.csv, [row for model in models for row in measure(model, side=args.side, test=args.test)])


if __name__ == "__main__":
    main()
