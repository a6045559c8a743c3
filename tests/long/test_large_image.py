"""A TIFF of 100 megapixels through `repix derain`, in a process of its own: it ends, in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips

from repix.degradations.rain import RainParams, add_rain
from repix.infer.backends import openvino
from repix.io.image import read_image

pytestmark = [
    pytest.mark.skipif(not os.environ.get("REPIX_LONG"), reason="minutes: REPIX_LONG=1 runs it"),
    pytest.mark.timeout(1800),
]

LARGEST = 1.2e9
CHILD = """
import resource, sys
from repix.cli import main
try:
    main(sys.argv[1:])
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory comes from `resource`")
@pytest.mark.parametrize("device", ["openvino", "cpu"])
def test_100_megapixels_in_1200_megabytes(tmp_path: Path, device: str) -> None:
    if device == "openvino" and (reason := openvino.absent("openvino")):
        pytest.skip(reason)
    rng = np.random.default_rng(0)
    photo = read_image(Path(__file__).parents[2] / "examples" / "rainy.jpg").pixels
    ground = np.tile(photo, (1200 // photo.shape[0] + 1, 1500 // photo.shape[1] + 1, 1))[:1200, :1500].astype(np.uint8)
    rainy = add_rain(ground, RainParams.from_severity(0.5, rng, focal=3200), rng)[0]
    src, dst = tmp_path / "large.tif", tmp_path / "clean.tif"
    pyvips.Image.new_from_array(rainy).replicate(8, 8).crop(0, 0, 11600, 8640).write_to_file(str(src))

    arguments = ["derain", str(src), "-o", str(dst), "--device", device, "--levels", "1,2,4,8"]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak = float(done.stdout.split("peak ")[1])
    print(f"{device}: {peak / 1e6:.0f} MB")
    assert peak < LARGEST
    made = pyvips.Image.new_from_file(str(dst))
    assert (made.width, made.height) == (11600, 8640)
