"""Crops of real rainy photos at 1:1 for docs/derain.md and docs/repixnet.md.

    python docs/images/real/make.py [--model repixnet] [--all DIR]

Reads real_rain of REPIX_DATA, for which there is no ground truth: these are looked at, never measured. four.webp shows
crops before and after; NUMBER.webp a crop beside what the model and PReNet's published weights make of it. `--all`
writes every photo whole, before | after, to a folder instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyvips

from repix._environment import data_folder
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.io.image import read_image, write_image
from repix.models.prenet import load_published

HERE = Path(__file__).parent
DATA = data_folder(HERE.parents[2])
# photo, top, left: places with thin and medium streaks over different grounds
CROPS = [("11", 0, 40), ("42", 330, 420), ("75", 60, 60), ("86", 60, 200)]
HEIGHT, WIDTH, GAP = 300, 400, 6
COMPARED = {"11": (120, 150), "53": (100, 250), "120": (60, 200), "131": (50, 60)}  # photo -> top, left of a square
SIDE, AROUND = 256, 96  # of the square; and what the networks see beyond it


def compare(photos: Path, restorers: list[Restorer]) -> None:
    """photo | model | PReNet (Rain100L) | PReNet (Rain100H), one file for each photo."""
    for name, (top, left) in COMPARED.items():
        photo = read_image(photos / f"{name}.jpg").pixels
        up, across = min(top, AROUND), min(left, AROUND)
        seen = photo[top - up : top + SIDE + AROUND, left - across : left + SIDE + AROUND]
        sides = [side[up : up + SIDE, across : across + SIDE] for side in (seen, *(one(seen) for one in restorers))]
        gap = np.full((sides[0].shape[0], GAP, 3), 255, np.uint8)
        sheet = np.concatenate([part for side in sides for part in (side, gap)][:-1], axis=1)
        # not by write_image, whose lossless WebP of photos is too large for a page
        pyvips.Image.new_from_array(sheet).write_to_file(str(HERE / f"{name}.webp"), Q=80)


def before_and_after(photos: Path, restorer: Restorer) -> None:
    rows = []
    for name, top, left in CROPS:
        before = read_image(photos / f"{name}.jpg").pixels
        window = np.s_[top : top + HEIGHT, left : left + WIDTH]
        pair = [before[window], restorer(before)[window]]
        rows.append(np.concatenate([np.pad(side, ((0, GAP), (0, GAP), (0, 0))) for side in pair], axis=1))
    columns = [np.concatenate(rows[i::2], axis=0) for i in range(2)]
    sheet = np.concatenate(columns, axis=1)[:-GAP, :-GAP]
    pyvips.Image.new_from_array(sheet).write_to_file(str(HERE / "four.webp"), Q=85)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--all", type=Path, metavar="DIR")
    args = parser.parse_args()
    if DATA is None:
        raise SystemExit("REPIX_DATA is not set; expected the folder of data sets (docs/data.md)")
    photos, restorer = DATA / "real_rain", Restorer.from_pretrained(args.model)
    if args.all is not None:
        args.all.mkdir(parents=True, exist_ok=True)
        for path in sorted(photos.glob("*.jpg")):
            before = read_image(path).pixels
            write_image(args.all / f"{path.stem}.png", np.concatenate([before, restorer(before)], axis=1))
        return
    before_and_after(photos, restorer)
    peers = [DATA / "peers" / "PReNet" / name / "PReNet6.pth" for name in ("Rain100L", "Rain100H")]
    compare(photos, [restorer, *(Restorer(TorchBackend(load_published(path))) for path in peers)])


if __name__ == "__main__":
    main()
