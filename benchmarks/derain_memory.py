"""Peak memory and time of `repix derain` on one large TIFF, and tiles against the whole image.

    python benchmarks/derain_memory.py [--model NAME|PATH] [--megapixels 100] [--whole 4]

Makes a synthetic 8-bit RGB TIFF of that size, derains it with the command line in a process of its own, and prints
that process's peak resident memory. Then derains a smaller image, full of rain, tiled and in one piece, and
prints the largest difference in grey levels.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repix.degradations.rain import RainParams, add_rain
from repix.infer.restorer import Restorer
from repix.io.image import Picture, write_image

CHILD = """
import resource, sys
from repix.cli import main
try:
    main(sys.argv[1:])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    print("peak", used.ru_maxrss * unit, used.ru_utime + used.ru_stime)
"""


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Ground with edges, noise and slanted streaks, made in bands so that making it costs little memory."""
    rng = np.random.default_rng(0)
    result = np.empty((height, width, 3), np.uint8)
    x = np.arange(width)
    for top in range(0, height, 256):
        y = np.arange(top, min(top + 256, height))[:, None]
        ground = 110 + 60 * np.sin(x / 190) * np.cos(y / 130) + 30 * ((x // 97 + y // 61) % 2)
        streaks = 70 * ((x + y // 4) % 53 < 2) * ((y // 23 + x // 53) % 3 == 0)
        layer = ground + streaks + rng.normal(0, 4, ground.shape)
        result[top : top + 256] = np.clip(layer[..., None] * (1.0, 0.95, 0.9), 0, 255)
    return result


def rained(image: NDArray[np.uint8], block: int = 400) -> NDArray[np.uint8]:
    """Rain of every kind, block by block: what crosses a cut between tiles must not show."""
    rng = np.random.default_rng(1)
    result = image.copy()
    for top in range(0, image.shape[0], block):
        for left in range(0, image.shape[1], block):
            part = image[top : top + block, left : left + block]
            params = RainParams.from_severity(rng.uniform(), rng, focal=600)
            result[top : top + block, left : left + block] = add_rain(part, params, rng)[0]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--whole", type=float, default=4, help="megapixels of the image run in one piece too")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        side = round((options.megapixels * 1e6) ** 0.5)
        source = Path(folder) / "large.tif"
        write_image(source, Picture(picture(side, side)))
        arguments = ["derain", str(source), "-o", str(Path(folder) / "dry.tif"), "--model", options.model]
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True)
        peak, cpu = (float(word) for word in done.stdout.splitlines()[-1].split()[1:])
        wall = time.perf_counter() - start
        print(f"{side}×{side} 8-bit TIFF: peak {peak / 1e9:.2f} GB, {wall:.0f} s wall, {cpu:.0f} s CPU")

    side = round((options.whole * 1e6) ** 0.5)
    image = rained(picture(side, side))
    restorer = Restorer.from_pretrained(options.model)
    tiled = restorer(image)
    restorer.tiling = None
    whole = restorer(image)
    difference = np.abs(tiled.astype(int) - whole)
    print(f"{side}×{side}: tiled against whole, largest difference {difference.max()} grey levels")
    print(f"    pixels that differ at all: {100 * (difference > 0).mean():.3f} %")


if __name__ == "__main__":
    main()
