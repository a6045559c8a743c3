"""One image of every degradation, as training draws it, for docs/data.md.

    python benchmarks/degradations.py [--image docs/images/degradations.webp]

Each is drawn over the same crop of a clean photo; left halves are clean. Needs REPIX_DATA, for the photo, the pairs
and the masks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from common import DATA, ROOT
from repix.data.pairs import find_pairs
from repix.degradations import DEGRADATIONS, Context, create_degradation
from repix.io.image import read_image

SIDE, ACROSS = 240, 5
PHOTO, CORNER = "100098", (60, 120)
# Least mean change of a sample that shows what it is, where it is not 0.03.
LEAST = {"specks": 0.004, "splash": 0.002}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "images" / "degradations.webp")
    args = parser.parse_args()
    photo = read_image(next((DATA / "clean_photos").glob(f"{PHOTO}.*"))).pixels
    crop = np.asarray(photo[CORNER[0] : CORNER[0] + SIDE, CORNER[1] : CORNER[1] + SIDE], np.float32) / 255
    pair = find_pairs(DATA / "RainTrainL")[3]
    mask = np.asarray(Image.open(sorted((DATA / "streak_masks").iterdir())[20]).convert("L"))
    sides = (read_image(pair.lq).pixels, read_image(pair.gt).pixels)
    context = Context(severity=(0.6, 0.8), photos=[photo], pairs=[sides], masks=[mask])
    names = sorted(DEGRADATIONS)
    sheet = Image.new("RGB", (ACROSS * (SIDE + 6), -(-len(names) // ACROSS) * (SIDE + 22)), "white")
    for number, name in enumerate(names):
        for seed in range(200):
            degraded, clean = create_degradation(name)(crop, np.random.default_rng(seed), context)
            if degraded is clean or (clean is crop and np.abs(degraded - clean).mean() > LEAST.get(name, 0.03)):
                break
        shown = np.where(np.arange(SIDE)[None, :, None] < SIDE // 2, clean, degraded)
        place = (number % ACROSS * (SIDE + 6), number // ACROSS * (SIDE + 22))
        sheet.paste(Image.fromarray(np.rint(shown * 255).astype(np.uint8)), (place[0], place[1] + 18))
        ImageDraw.Draw(sheet).text((place[0] + 2, place[1] + 2), name, fill="black")
    args.image.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.image, quality=85)


if __name__ == "__main__":
    main()
