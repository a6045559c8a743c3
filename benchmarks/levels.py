"""What levels restore at the size of cameras: Rain100L enlarged, thin rain and wide streaks at 12 megapixels, harm.

    python benchmarks/levels.py enlarged [--images 2:100 4:100 8:20]     # benchmarks/results/levels_enlarged.csv
    python benchmarks/levels.py photos FOLDER [--photos 10]               # benchmarks/results/levels_photos.csv
    python benchmarks/levels.py clean FOLDER                              # benchmarks/results/levels_clean.csv
    python benchmarks/levels.py picture FOLDER                            # docs/images/levels.webp

`enlarged`: pairs of Rain100L, both sides enlarged bicubically.

`photos`: FOLDER holds clean photographs of cameras (`../shared/data/more/lay.py --full unsplash30`), of which the last
by name are taken; the rule was found on others. Rain is drawn at a focal length of 3,200 pixels (a phone of 12 MP) at
three severities; `mixture` adds rain layers of RainTrainL, enlarged 8 times and mirrored where they would fall the
other way, to severity 0.6; `wide` those alone; `clean` is the photograph itself. Beside `auto` stands a single pass at
full resolution.

`clean`: every third photograph by name of FOLDER, whole, as it is, and beside it what a single pass makes of it.

`picture`: a photograph of FOLDER in the rain of `mixture`, a single pass, and levels, at 1:1.

Rows are written as they come, and those that are there are not measured again; but `clean` measures and writes all of
its rows anew. Everything runs on `--device cpu`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from common import DATA, RESULTS, Pixels, read_rows, write_rows
from repix.degradations.rain import RainParams, add_rain, without_camera
from repix.infer.restorer import Restorer
from repix.io.image import read_image, resize
from repix.metrics import psnr_y

FOCAL = 3200.0
SEVERITIES = (0.3, 0.6, 0.9)
PICTURE = "seondol-son"  # which photograph
WINDOW = np.s_[1194:1754, 1592:2012]  # and where


def measured(restorer: Restorer, rainy: Pixels, clean: Pixels, row: dict[str, Any]) -> dict[str, Any]:
    began, wall = time.process_time(), time.perf_counter()
    made = restorer.restore(rainy)
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    before = psnr_y(rainy, clean) if (rainy != clean).any() else 0.0
    return row | {
        "input": f"{before:.2f}",
        "psnr_y": f"{min(psnr_y(made.image, clean), 99):.2f}",
        "megapixels": f"{rainy.shape[0] * rainy.shape[1] / 1e6:.1f}",
        "levels": "-".join(map(str, made.levels)) or "none",
        "cpu_seconds": f"{seconds:.2f}",
        "seconds": f"{wall:.2f}",
    }


def pairs() -> list[tuple[Path, Path]]:
    folder = DATA / "Rain100L"
    return [(path, folder / f"no{path.stem}.jpg") for path in sorted((folder / "rainy").iterdir())]


def enlarged(times: int, path: Path) -> Pixels:
    pixels = read_image(path).pixels
    return resize(pixels, (pixels.shape[0] * times, pixels.shape[1] * times)) if times > 1 else pixels


def photo_cases(path: Path, number: int, crop: list[int] | None) -> Iterator[tuple[str, Pixels, Pixels]]:
    clean: Pixels = read_image(path).pixels
    if crop is not None:
        top, left = ((whole - part) // 2 for whole, part in zip(clean.shape, crop, strict=False))
        clean = np.ascontiguousarray(clean[top : top + crop[0], left : left + crop[1]])
    yield "clean", clean, clean
    for severity in SEVERITIES:
        rng = np.random.default_rng([number, round(10 * severity)])
        params = without_camera(RainParams.from_severity(severity, rng, focal=FOCAL))
        rainy = add_rain(clean, params, rng)[0]
        yield f"thin {severity}", rainy, clean
        if severity == 0.6:
            yield "mixture", with_wide(rainy, clean, number), clean
    yield "wide", with_wide(clean, clean, number), clean


def with_wide(image: Pixels, clean: Pixels, number: int, times: int = 8) -> Pixels:
    """With the rain of a pair of RainTrainL, enlarged, which falls the way that the rain of `image` does."""
    folder = DATA / "RainTrainL"
    files = sorted((folder / "rain").iterdir())
    wide = [path for path in files if read_image(path).pixels.shape[0] == 321]
    path = wide[(37 * number + 5) % len(wide)]
    rain, without = (read_image(one).pixels for one in (path, folder / "norain" / f"{path.stem}.jpg"))
    layer = np.clip(rain.astype(np.int16) - without, 0, 255).astype(np.uint8)
    layer = np.repeat(layer.max(axis=2, keepdims=True), 3, axis=2)  # grey, as it was where a channel has been clipped
    if slant(layer) * slant(image.astype(np.int16) - clean) < 0:
        layer = layer[:, ::-1]
    height, width = image.shape[:2]
    rows, columns = -(-height // (times * layer.shape[0])), -(-width // (times * layer.shape[1]))
    layer = np.tile(layer, (rows, columns, 1))[: -(-height // times), : -(-width // times)]
    layer = resize(layer, (layer.shape[0] * times, layer.shape[1] * times))[:height, :width]
    result: Pixels = np.minimum(image.astype(np.uint16) + layer, 255).astype(np.uint8)
    return result


def slant(layer: Pixels) -> float:
    """Below 0 where strokes run one way from upright, above where they run the other."""
    down, across = np.gradient(layer[..., 1].astype(np.float32))
    return float((down * across).sum())


def clean_photos(auto: Restorer, single: Restorer, files: list[Path]) -> Iterator[dict[str, Any]]:
    """What the model makes of whole photographs without rain: a row for each; 99 dB is unchanged."""
    for path in files:
        clean = np.ascontiguousarray(read_image(path).pixels[..., :3])
        row = measured(auto, clean, clean, {"photo": path.stem})
        kept = {name: row[name] for name in ("photo", "megapixels", "psnr_y", "levels")}
        kept["single_pass"] = measured(single, clean, clean, {})["psnr_y"]
        print(*kept.values(), flush=True)
        yield kept


def draw_picture(auto: Restorer, single: Restorer, files: list[Path]) -> None:
    """Rainy | a single pass | levels, of the whole photograph, cropped."""
    (path,) = (file for file in files if file.name.startswith(PICTURE))
    rainy = next(rainy for case, rainy, _ in photo_cases(path, 6, None) if case == "mixture")
    made = [restorer.restore(rainy) for restorer in (single, auto)]
    print("levels", *made[1].levels)
    gap = np.full((WINDOW[0].stop - WINDOW[0].start, 6, 3), 255, np.uint8)
    parts = [rainy[WINDOW], gap, made[0].image[WINDOW], gap, made[1].image[WINDOW]]
    sheet = pyvips.Image.new_from_array(np.concatenate(parts, axis=1))
    sheet.write_to_file(str(Path(__file__).parents[1] / "docs" / "images" / "levels.webp"), Q=85)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["enlarged", "photos", "clean", "picture"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", nargs="+", default=["1:100", "2:100", "4:100", "8:20"], metavar="TIMES:COUNT")
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--crop", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="the middle of each photograph")
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    table = RESULTS / f"levels_{args.what}.csv"
    auto, single = (
        Restorer.from_pretrained(args.model, args.device, threads=args.threads, levels=levels)
        for levels in ("auto", (1,))
    )
    runs = {"auto": auto, "single pass": single}
    files: list[Path] = []
    if args.what != "enlarged":
        if args.folder is None:
            parser.error(f"{args.what} needs the FOLDER of photographs")
        files = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in (".jpg", ".png", ".webp"))
    if args.what == "clean":
        write_rows(table, list(clean_photos(auto, single, files[::3])))
        return
    if args.what == "picture":
        draw_picture(auto, single, files)
        return
    rows: list[dict[str, Any]] = list(read_rows(table))

    def add(key: dict[str, str], restorer: Restorer, rainy: Pixels, clean: Pixels) -> None:
        rows.append(measured(restorer, rainy, clean, key))
        write_rows(table, rows)
        print(*rows[-1].values(), flush=True)

    done = {(row["image"], row["case"], row["run"]) for row in rows}
    if args.what == "enlarged":
        for number in range(100):
            for times, count in (map(int, text.split(":")) for text in args.images):
                rainy, clean = pairs()[number]
                key = {"image": rainy.name, "case": f"{times}x", "run": "auto"}
                if number < count and tuple(key.values()) not in done:
                    add(key, auto, enlarged(times, rainy), enlarged(times, clean))
        return
    for number, path in enumerate(files[-args.photos :]):
        for case, rainy, clean in photo_cases(path, number, args.crop):
            if args.cases and not any(case.startswith(one) for one in args.cases):
                continue
            for run, restorer in runs.items():
                key = {"image": path.name, "case": case, "run": run}
                if tuple(key.values()) not in done:
                    add(key, restorer, rainy, clean)


if __name__ == "__main__":
    main()
