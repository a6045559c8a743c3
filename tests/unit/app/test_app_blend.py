"""Placing a selection in the web UI, against `repix.blend` with masks made independently."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

from repix.app import examples
from repix.app.blend import Placing, Stroke, paste, result_name
from repix.errors import InputError
from repix.io.image import Picture
from repix.poisson.blend import blend

SQUARE = [(10.0, 20.0), (29.0, 20.0), (29.0, 39.0), (10.0, 39.0)]


@pytest.fixture
def pair() -> tuple[Picture, Picture]:
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    return Picture(ground[:90, :100].copy()), Picture(ground[::-1].copy())


def where_changed(before: Picture, after: Picture) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((before.pixels != after.pixels).any(2))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_polygon_goes_where_its_middle_is_put(pair: tuple[Picture, Picture]) -> None:
    source, target = pair
    result = paste(source, target, Placing(polygon=SQUARE, x=80.5, y=60.5))
    mask = np.zeros((90, 100), bool)
    mask[20:40, 10:30] = True
    expected, _ = blend(source.pixels, target.pixels, mask=mask, offset=(60 - 29, 80 - 19))
    np.testing.assert_array_equal(result.pixels, expected)
    assert result.report.pixels == 400


@pytest.mark.parametrize("rotate", [90, -90, 180, 450])
def test_quarter_turns_of_a_square_stay_in_place(pair: tuple[Picture, Picture], rotate: int) -> None:
    source, target = pair
    plain = paste(source, target, Placing(polygon=SQUARE, x=80.5, y=60.5))
    turned = paste(source, target, Placing(polygon=SQUARE, x=80.5, y=60.5, rotate=rotate))
    assert abs(turned.report.pixels - 400) <= 2
    assert np.abs(np.subtract(where_changed(target, plain), where_changed(target, turned))).max() <= 1


@pytest.mark.parametrize(("scale", "rotate"), [(2.0, 0.0), (0.5, 0.0), (1.5, 30.0), (1.0, -120.0)])
def test_scaling_and_turning_keep_the_middle(pair: tuple[Picture, Picture], scale: float, rotate: float) -> None:
    source, target = pair
    # not symmetric, so that a wrong sense of rotation would be seen
    corner = [(10.0, 20.0), (29.0, 20.0), (29.0, 24.0), (14.0, 24.0), (14.0, 39.0), (10.0, 39.0)]
    result = paste(source, target, Placing(polygon=corner, x=80, y=60, scale=scale, rotate=rotate))
    full = 20 * 5 + 5 * 15
    assert result.report.pixels == pytest.approx(full * scale**2, rel=0.12)
    changed = (result.pixels != target.pixels).any(2)
    got = np.array(center_of_mass(changed))
    angle = np.deg2rad(rotate)
    original = np.zeros((90, 100), bool)
    original[20:25, 10:30] = True
    original[20:40, 10:15] = True
    dy, dx = np.array(center_of_mass(original)) - (29.5, 19.5)
    away = scale * np.array([np.cos(angle) * dy - np.sin(angle) * dx, np.sin(angle) * dy + np.cos(angle) * dx])
    np.testing.assert_allclose(got, np.add((60, 80), away), atol=1.2)


def test_brush_and_eraser(pair: tuple[Picture, Picture]) -> None:
    source, target = pair
    line = Stroke(radius=5, points=[(20, 30), (60, 30)])
    whole = paste(source, target, Placing(strokes=[line], x=80, y=60))
    assert whole.report.pixels == pytest.approx(40 * 10 + np.pi * 25, rel=0.12)
    erased = Stroke(radius=5, erase=True, points=[(40, 30)])
    less = paste(source, target, Placing(strokes=[line, erased], x=80, y=60))
    assert whole.report.pixels - less.report.pixels == pytest.approx(np.pi * 25, rel=0.15)


def test_depth_and_transparency_are_the_targets(pair: tuple[Picture, Picture]) -> None:
    source, target = pair
    alpha = np.full(target.pixels.shape[:2], 30_000, np.uint16)
    wide = Picture(target.pixels.astype(np.uint16) * 257, alpha=alpha, metadata={"xmp-data": b"<x/>"})
    result = paste(source, wide, Placing(polygon=SQUARE, x=80, y=60))
    assert result.pixels.dtype == np.uint16
    assert result.metadata == wide.metadata
    np.testing.assert_array_equal(result.alpha, alpha)


def test_what_is_transparent_in_the_source_is_left_out(pair: tuple[Picture, Picture]) -> None:
    source, target = pair
    alpha = np.full(source.pixels.shape[:2], 255, np.uint8)
    alpha[:, 20:] = 0
    whole = paste(Picture(source.pixels, alpha=alpha), target, Placing(polygon=SQUARE, x=80, y=60))
    assert whole.report.pixels == 200


@pytest.mark.parametrize(
    ("placing", "message"),
    [
        (Placing(x=5, y=5), "nothing is selected"),
        (Placing(polygon=SQUARE, x=-500, y=5), "^the selection lies outside the target; drag it back, or set x and y$"),
        (Placing(strokes=[Stroke(radius=3, erase=True, points=[(5, 5)])], x=5, y=5), "nothing is selected"),
    ],
)
def test_what_cannot_be_pasted(pair: tuple[Picture, Picture], placing: Placing, message: str) -> None:
    with pytest.raises(InputError, match=message):
        paste(*pair, placing)


@pytest.mark.parametrize("name", examples.PAIRS)
def test_examples_can_be_blended_and_change_only_where_they_are_put(name: str) -> None:
    pair = examples.PAIRS[name]
    source, target = (Picture(pixels) for pixels in pair.draw())
    placing = Placing(polygon=[(x, y) for x, y in pair.polygon], x=pair.centre[0], y=pair.centre[1], mode=pair.mode)
    result = paste(source, target, placing)
    assert result.report.error_levels < 0.5
    corners = np.array(pair.polygon)
    half = (corners.max(0) - corners.min(0)) / 2 + 1
    y, x = np.mgrid[0 : target.pixels.shape[0], 0 : target.pixels.shape[1]]
    outside: NDArray[np.bool_] = (np.abs(x - pair.centre[0]) > half[0]) | (np.abs(y - pair.centre[1]) > half[1])
    np.testing.assert_array_equal(result.pixels[outside], target.pixels[outside])
    assert np.abs(result.pixels.astype(int) - target.pixels)[~outside].max() > 60


def test_the_result_is_named_as_on_the_command_line() -> None:
    assert result_name("/x/My wall.JPG") == "My wall_blend.JPG"
    assert result_name("scan.heic") == "scan_blend.png"
