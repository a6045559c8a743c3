"""What Python programs may get wrong ends in one of our own errors, or is taken as it was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import repix

RGB = np.full((40, 50, 3), 90, np.uint8)
PARAMS = repix.RainParams.from_severity(0.5, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda r: r(RGB / np.float32(255) * np.float32(1.000001) * 3),
            r"floats must be in \[0, 1\], got 1\.0588\d+ to 1\.0588",
        ),
        (lambda r: r.find_strength(RGB / 255.0), r"\(H, W, 3\) uint8 or uint16, got \(40, 50, 3\) float64"),
        (lambda r: r.find_strength("a.png"), "uint8 or uint16, got str"),
        (lambda r: repix.write_image("a.png", RGB.tolist()), r"an array \(H, W, 3\) or a Picture, got list"),
        (lambda r: repix.Restorer.from_pretrained(device=5), "unknown device 5; choose one of"),
        (lambda r: repix.Restorer.from_pretrained(threads=True), "threads must be a whole number from 1 to 1,024"),
        (
            lambda r: repix.Restorer.from_pretrained(size=-1),
            "size must be a whole number of pixels above 0, or None, got -1",
        ),
        (lambda r: repix.Restorer.from_pretrained(levels=3), "levels must be 'auto' or distinct powers of two"),
        (lambda r: repix.BatchOptions(levels=None), "levels must be 'auto' or distinct powers of two"),
        (lambda r: repix.add_rain(RGB.tolist(), PARAMS, np.random.default_rng(0)), "add_rain: got list"),
        (lambda r: repix.add_rain(RGB[:0], PARAMS, np.random.default_rng(0)), r"add_rain: got uint8 \(0, 50, 3\)"),
        (
            lambda r: repix.add_rain(RGB.astype(np.float32), PARAMS, np.random.default_rng(0)),
            "got floats from 90 to 90",
        ),
        (lambda r: repix.add_rain(RGB * np.float32("nan"), PARAMS, np.random.default_rng(0)), "got floats from nan to"),
        (lambda r: repix.blend(RGB, RGB, mask=RGB[..., 0], tolerance=float("nan")), "tolerance is nan"),
        (lambda r: repix.edit_selection(RGB, mode="flatten", mask=RGB[..., 0], tolerance="x"), "tolerance is 'x'"),
    ],
)
def test_wrong_values_are_errors_of_our_own(call: Any, said: str) -> None:
    with pytest.raises(repix.RepixError, match=said):
        call(repix.Restorer.from_pretrained(device="cpu", threads=1))


def test_images_in_the_other_order_of_bytes_are_written(tmp_path: Path) -> None:
    wide = (RGB.astype(np.uint16) * 257).astype(">u2")
    repix.write_image(tmp_path / "a.png", wide)
    np.testing.assert_array_equal(repix.read_image(tmp_path / "a.png").pixels, wide)
