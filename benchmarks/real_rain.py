"""Crops of real rainy photos, before and after, at 1:1, in one image for the docs.

    python benchmarks/real_rain.py [--model repixnet] [--out docs/images/real_rain.webp] [--all DIR]
    python benchmarks/real_rain.py --compare docs/images/real

Reads ../shared/data/real_rain, for which there is no ground truth: these are looked at, never measured. `--all` writes
every photo whole, before | after, to a folder, for a look at each. `--compare` writes a crop of every photo beside what
each shipped weight and PReNet's published ones make of it, instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyvips

from lines import published
from repix.infer.restorer import Restorer
from repix.io.image import read_image, write_image
from repix.tasks import DERAIN
from repix.weights import list_cards

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "real_rain"
# photo, top, left: places with thin and medium streaks over different grounds
CROPS = [("11", 0, 40), ("42", 330, 420), ("75", 60, 60), ("86", 60, 200)]
HEIGHT, WIDTH, GAP = 300, 400, 6
# for `--compare`: photo -> top, left of a square
COMPARED = {
    "1": (90, 170), "11": (120, 150), "120": (60, 200), "131": (50, 60), "142": (120, 330), "20": (60, 180),
    "31": (60, 130), "42": (350, 560), "53": (100, 250), "64": (230, 250), "75": (150, 300), "86": (60, 200),
    "97": (100, 180),
}  # fmt: skip
SIDE, AROUND = 256, 96  # of the crop; and what the networks see beyond it


def compare(folder: Path) -> None:
    """photo | shipped weights | PReNet (Rain100L) | PReNet (Rain100H), one file for each photo."""
    folder.mkdir(parents=True, exist_ok=True)
    shipped = [card.name for card in list_cards() if card.task is DERAIN]
    restorers = [*(Restorer.from_pretrained(name) for name in shipped), *published().values()]
    for name, (top, left) in COMPARED.items():
        photo = read_image(DATA / f"{name}.jpg").pixels
        up, across = min(top, AROUND), min(left, AROUND)
        seen = photo[top - up : top + SIDE + AROUND, left - across : left + SIDE + AROUND]
        sides = [side[up : up + SIDE, across : across + SIDE] for side in (seen, *(one(seen) for one in restorers))]
        gap = np.full((sides[0].shape[0], GAP, 3), 255, np.uint8)
        sheet = np.concatenate([part for side in sides for part in (side, gap)][:-1], axis=1)
        pyvips.Image.new_from_array(sheet).write_to_file(str(folder / f"{name}.webp"), Q=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "real_rain.webp")
    parser.add_argument("--all", type=Path, metavar="DIR")
    parser.add_argument("--compare", type=Path, metavar="DIR")
    args = parser.parse_args()
    if args.compare is not None:
        compare(args.compare)
        return
    restorer = Restorer.from_pretrained(args.model)
    rows = []
    for name, top, left in CROPS:
        before = read_image(DATA / f"{name}.jpg").pixels
        window = np.s_[top : top + HEIGHT, left : left + WIDTH]
        pair = [before[window], restorer(before)[window]]
        rows.append(np.concatenate([np.pad(side, ((0, GAP), (0, GAP), (0, 0))) for side in pair], axis=1))
    columns = [np.concatenate(rows[i::2], axis=0) for i in range(2)]
    sheet = np.concatenate(columns, axis=1)[:-GAP, :-GAP]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    # not by write_image, whose lossless WebP of photos is too large for a page
    pyvips.Image.new_from_array(sheet).write_to_file(str(args.out), Q=85)
    if args.all is not None:
        args.all.mkdir(parents=True, exist_ok=True)
        for path in sorted(DATA.glob("*.jpg")):
            before = read_image(path).pixels
            write_image(args.all / f"{path.stem}.png", np.concatenate([before, restorer(before)], axis=1))


if __name__ == "__main__":
    main()
