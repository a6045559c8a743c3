"""Makes the images of docs/blend.md beside this file: python docs/images/blend/make.py

The images are scikit-image's Hubble deep field (NASA), rocket (SpaceX), coffee, chelsea and gravel, all public domain
or CC0. faces.webp and comparison.webp need the pairs in `poisson` of REPIX_DATA, the latter torch and OpenCV too; they
are left alone without.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.transform import resize

import repix
from repix._environment import data_folder
from repix.io.image import read_image
from repix.poisson.mask import cut

HERE = Path(__file__).parent
POISSON = (data_folder(HERE.parents[2]) or Path("REPIX_DATA-is-not-set")) / "poisson"
Pixels = NDArray[np.uint8]

PAIRS = {
    "monolisa": {
        "files": ("source.png", "target.png"),
        "polygon": [
            *[(72, 170), (100, 158), (150, 165), (200, 152), (255, 160), (272, 200), (275, 260), (262, 320)],
            *[(235, 370), (190, 405), (145, 395), (110, 355), (88, 300), (74, 240)],
        ],
        "offset": (7, 5),
        "mode": "import",
        "shown": (slice(40, 480), slice(60, 380)),
    },
    "water": {
        "files": ("source.jpg", "target.jpg"),
        "polygon": [
            (56, 78),
            (90, 72),
            (150, 88),
            (215, 112),
            (300, 130),
            (300, 185),
            (215, 200),
            (110, 185),
            (52, 155),
        ],
        "offset": (215, -10),
        "mode": "import",
        "shown": (slice(190, 440), slice(20, 420)),
    },
    "equation_2024": {
        "files": ("source.png", "target.jpg"),
        "polygon": [(9, 10), (138, 10), (138, 128), (9, 128)],
        "offset": (25, 420),
        "mode": "mixed",
        "shown": (slice(0, 200), slice(330, 640)),
    },
}


def small(image: Pixels, height: int) -> Pixels:
    width = round(image.shape[1] * height / image.shape[0])
    return np.rint(resize(image, (height, width), anti_aliasing=True, preserve_range=True)).astype(np.uint8)


def row(*images: Pixels) -> Pixels:
    gap = np.full((len(images[0]), 6, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (gap, image)][1:], axis=1)


def circle(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]


def save(name: str, image: Pixels) -> None:
    Image.fromarray(image).save(HERE / f"{name}.webp", quality=86, method=6)


def modes() -> None:
    rocket, sky = data.rocket(), data.hubble_deep_field()[300:]
    region = [(0, 0), (639, 0), (639, 330), (0, 330)]
    pasted, _ = repix.blend(sky[:427, :640], rocket, polygon=region)
    mixed, _ = repix.blend(sky[:427, :640], rocket, polygon=region, mode="mixed")
    save("mixed", row(*(small(p, 260) for p in (rocket, pasted, mixed))))

    cat = data.chelsea()
    green, _ = repix.edit_selection(
        cat, mode="colour", polygon=[circle(173, 119, 42), circle(320, 135, 31)], gain=(2.2, 1, 1)
    )
    save("colour", row(small(cat, 260), small(green, 260)))

    coffee, shown = data.coffee(), (slice(160, 390), slice(230, 530))
    dull, _ = repix.edit_selection(coffee, mode="illumination", polygon=circle(366, 285, 66))
    save("illumination", row(coffee[shown], dull[shown]))

    face = [
        (40, 20),
        (110, 2),
        (330, 2),
        (345, 90),
        (360, 150),
        (330, 230),
        (280, 280),
        (200, 290),
        (90, 260),
        (40, 180),
    ]
    flat, _ = repix.edit_selection(cat, mode="flatten", polygon=face, threshold=7)
    save("flatten", row(small(cat, 260), small(flat, 260)))

    stones = np.dstack([small(data.gravel()[:256, 100:356, None], 128)] * 3)
    shade = np.linspace(0.75, 1.2, 128)
    stones = np.clip(stones * shade[:, None, None] * shade[::-1, None], 0, 255).astype(np.uint8)
    tile, _ = repix.edit_selection(stones, mode="tile")
    save("tile", row(*(np.tile(p, (2, 3, 1))[:250, :380] for p in (stones, tile[:-1, :-1]))))


def pair(name: str) -> tuple[Pixels, Pixels]:
    source, target = (read_image(POISSON / name / file).pixels for file in PAIRS[name]["files"])
    return source, target


def faces() -> None:
    source, target = pair("monolisa")
    options = {key: PAIRS["monolisa"][key] for key in ("polygon", "offset")}
    shown = PAIRS["monolisa"]["shown"]
    results = [repix.blend(source, target, mode=mode, **options)[0] for mode in ("import", "monochrome", "average")]
    save("faces", row(*(small(p[shown], 260) for p in (source, target, *results))))


def comparison() -> None:
    import cv2
    import torch

    from repix.poisson.torch import descend

    rows = []
    for name, options in PAIRS.items():
        source, target = pair(name)
        polygon, offset, mode = (options[key] for key in ("polygon", "offset", "mode"))
        window = [slice(-start, size - start) for start, size in zip(offset, target.shape[:2], strict=True)]
        moved = cut(source, *window, "edge")
        placed = cut(repix.create_mask_from_points(polygon, *source.shape[:2]), *window, "constant") > 0
        naive = np.where(placed[..., None], moved, target)
        ours, report = repix.blend(source, target, polygon=polygon, offset=offset, mode=mode)
        s, t = (torch.from_numpy(p.transpose(2, 0, 1).astype(np.float32) / 255) for p in (moved, target))
        adam, adam_report = descend(s, t, placed, steps=5000)
        theirs = np.rint(adam.clamp(0, 1).numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        rows_at, columns_at = np.flatnonzero(placed.any(1)), np.flatnonzero(placed.any(0))
        centre = (int(columns_at[0] + columns_at[-1] + 1) // 2, int(rows_at[0] + rows_at[-1] + 1) // 2)
        flag = cv2.MIXED_CLONE if mode == "mixed" else cv2.NORMAL_CLONE
        opencv = cv2.seamlessClone(moved, target, placed * np.uint8(255), centre, flag)
        outside = np.abs(opencv.astype(int) - target)[~placed].max()
        print(f"{name}: repix {report}; Adam {adam_report}; OpenCV changes the outside by {outside}")
        shown = options["shown"]
        rows.append(row(*(small(p[shown], 190) for p in (naive, ours, theirs, opencv))))
    width = max(r.shape[1] for r in rows)
    left = [(width - r.shape[1]) // 2 for r in rows]
    rows = [
        np.pad(r, ((0, 6), (k, width - r.shape[1] - k), (0, 0)), constant_values=255)
        for r, k in zip(rows, left, strict=True)
    ]
    save("comparison", np.concatenate(rows))


if __name__ == "__main__":
    modes()
    if POISSON.is_dir():
        faces()
        try:
            comparison()
        except ModuleNotFoundError as missing:
            print(f"{missing.name} is not installed: comparison.webp left alone")
    else:
        print(f"{POISSON} is not there: faces.webp and comparison.webp left alone")
