"""What Python programs may get wrong ends in one of our own errors, or is taken as it was meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import repix
from repix.io.image import Picture

RGB = np.full((40, 50, 3), 90, np.uint8)
PARAMS = repix.RainParams.from_severity(0.5, np.random.default_rng(0))


def pasted(**options: Any) -> Any:
    return repix.blend_images(Picture(RGB), Picture(RGB), polygon=[(2, 2), (30, 2), (2, 30)], **options)


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
        (lambda r: repix.BatchOptions(video={"start": 1}), "video must be a repix.VideoOptions, got {'start': 1}"),
        (lambda r: repix.BatchOptions(format=3), "format must be an extension such as 'png', or None, got 3"),
        (lambda r: repix.BatchOptions(max_pixels="x"), "max_pixels must be a number of pixels, at least 1, got 'x'"),
        (lambda r: repix.restore("a.png", options={"overwrite": True}), "options must be a repix.BatchOptions, got"),
        (lambda r: r(RGB, out=[1]), r"out must be an array, \(40, 50, 3\) uint8, got list"),
        (lambda r: repix.add_rain(RGB.tolist(), PARAMS, np.random.default_rng(0)), "add_rain: got list"),
        (lambda r: repix.add_rain(RGB[:0], PARAMS, np.random.default_rng(0)), r"add_rain: got uint8 \(0, 50, 3\)"),
        (
            lambda r: repix.add_rain(RGB.astype(np.float32), PARAMS, np.random.default_rng(0)),
            "got floats from 90 to 90",
        ),
        (lambda r: repix.add_rain(RGB * np.float32("nan"), PARAMS, np.random.default_rng(0)), "got floats from nan to"),
        (lambda r: repix.RainParams.from_severity("x", np.random.default_rng(0)), "severity: got 'x', expected 0"),
        (lambda r: dataclasses.replace(PARAMS, mist=None), "RainParams.mist: got None, expected 0 to 0.99"),
        (lambda r: repix.blend(RGB, RGB, mask=RGB[..., 0], tolerance=float("nan")), "tolerance is nan"),
        (lambda r: repix.edit_selection(RGB, mode="illumination", mask=RGB[..., 0], alpha=None), "alpha is None and"),
        (
            lambda r: repix.edit_selection(RGB, mode="colour", mask=RGB[..., 0], gain=None),
            "gain is None",
        ),
        (lambda r: repix.edit_selection(RGB, mode="flatten", mask=RGB[..., 0], threshold="x"), "threshold is 'x'"),
        (lambda r: pasted(scale="x"), "scale is 'x' and the angle 0.0"),
        (lambda r: pasted(rotate=None), "the angle None"),
        (lambda r: pasted(anchor=5), r"the anchor 5; expected \(y, x\) each"),
        (lambda r: pasted(descent=0), "descent is 0; expected a number of steps above 0"),
        (lambda r: pasted(descent="x"), "descent is 'x'"),
        (lambda r: repix.merge([RGB, RGB], reference=0.5, restorer=r), "reference must be 0 to 1.*, got 0.5"),
        (lambda r: repix.read_image("a.png", max_pixels="x"), "max_pixels is 'x'; expected a number of pixels"),
        (lambda r: repix.read_image("a.png", max_pixels=0), "max_pixels is 0"),
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


def test_a_masked_array_is_an_array() -> None:
    restorer, grey = repix.Restorer.from_pretrained(device="cpu", threads=1), RGB[..., 0]
    made = restorer(np.ma.masked_array(grey, grey > 3))
    assert type(made) is np.ndarray
    np.testing.assert_array_equal(made, restorer(grey))
