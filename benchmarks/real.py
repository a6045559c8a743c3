"""What an independent network still finds in real rainy photographs once repixnet has had them.

    python benchmarks/real.py [--model repixnet]     # writes real.csv beside the other results

`repix evaluate --real` over the 53 photographs of `../shared/data/real_rain`, reduced to at most 480 pixels on the
longer side: the size of the images that the referee was trained on, PReNet with its published weights for Rain100L.
(Those for Rain100H take texture for rain and see nearly as much of it in the results.) The first ten clean images of
Rain100L say what the referee changes where there is no rain. No reading is a quality, and nothing was tuned on these
photographs. Everything runs on one thread in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from common import DATA, RESULTS, write_rows
from repix.evaluate.real import evaluate_real
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.restorer import Restorer
from repix.io.image import Picture, read_image, resize, write_image
from repix.models.prenet import load_published
from repix.train.export import to_onnx

LONGEST = 480
WEIGHTS = DATA / "peers" / "PReNet" / "Rain100L" / "PReNet6.pth"


def reduced(source: Path, target: Path) -> Path:
    """A file in `target` with an image of at most `LONGEST` pixels on its longer side."""
    pixels = read_image(source).pixels
    height, width = pixels.shape[:2]
    if max(height, width) > LONGEST:
        scale = LONGEST / max(height, width)
        pixels = resize(pixels, (round(height * scale), round(width * scale)))
    made = target / f"{source.stem}.png"
    write_image(made, Picture(pixels))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    args = parser.parse_args()
    sources = {
        "real rain": sorted((DATA / "real_rain").iterdir()),
        "clean": sorted((DATA / "Rain100L").glob("norain-*"))[:10],
    }
    with tempfile.TemporaryDirectory() as folder:
        photos = {name: [reduced(file, Path(folder)) for file in files] for name, files in sources.items()}
        found = evaluate_real(
            {args.model: Restorer.from_pretrained(args.model, "cpu", threads=1)},
            photos,
            referees={"referee": Restorer(OnnxBackend(to_onnx(load_published(WEIGHTS)), threads=1))},
            progress=True,
        )
    values = {(row.data, row.image, row.model): row.values for row in found.images}
    rows = []
    for data, image, model in values:
        if model == "input":
            before, after = values[data, image, "input"], values[data, image, args.model]
            readings = {"found_in_input": before["left_referee"], "found_in_result": after["left_referee"]}
            readings |= {name: after[name] for name in ("changed", "changed_elsewhere", "sharpness_elsewhere")}
            row = {"images": data, "photo": Path(image or "").stem}
            rows.append(row | {name: f"{value:.3f}" for name, value in readings.items()})
    write_rows(RESULTS / "real.csv", rows)


if __name__ == "__main__":
    main()
