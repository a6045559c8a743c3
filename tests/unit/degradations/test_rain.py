"""The rain model: seeded, physical in its proportions, and safe at the edges."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from repix.degradations.rain import RainParams, add_mist, add_rain, blend_rain, compress_jpeg, draw_streaks, warp_mask
from repix.errors import InputError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_same_seed_same_rain(photo: np.ndarray) -> None:
    params = RainParams.from_severity(0.7, rng(1))
    assert params == RainParams.from_severity(0.7, rng(1))
    first, layer = add_rain(photo, params, rng(2))
    second, _ = add_rain(photo, params, rng(2))
    other, _ = add_rain(photo, params, rng(3))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert layer.shape == photo.shape[:2]
    assert layer.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_type_and_range_are_kept_and_rain_only_brightens(photo: np.ndarray, dtype: type) -> None:
    image = photo.astype(dtype) * (257 if dtype is np.uint16 else 1)
    if dtype is np.float32:
        image = image / np.float32(255)
    before = image.copy()
    rainy, layer = add_rain(image, RainParams(rate=60, blending="add"), rng())
    assert rainy.dtype == dtype
    assert rainy.shape == image.shape
    assert np.array_equal(image, before)  # the input is not touched
    assert layer.max() > 0.05
    assert np.all(rainy.astype(float) >= image.astype(float) - 1e-6)
    wet = layer > 0.02
    assert np.array_equal(rainy[~(layer > 0)], image[~(layer > 0)])
    assert rainy[wet].mean() > image[wet].mean()


def test_severity_orders_the_rain() -> None:
    grey = np.full((200, 300, 3), 90, np.uint8)

    def error(severity: float) -> float:
        errors = []
        for seed in range(12):
            params = dataclasses.replace(
                RainParams.from_severity(severity, rng(seed)), mist=0, noise=0, jpeg=None, blending="add"
            )
            errors.append(np.square(add_rain(grey, params, rng(seed))[0].astype(float) - 90).mean())
        return float(np.median(errors))

    drizzle, steady, storm = error(0), error(0.5), error(1)
    assert 2 * drizzle < steady
    assert 2 * steady < storm


def test_streaks_lean_where_they_are_told() -> None:
    """The gradient's structure tensor finds the direction of the streaks."""
    for angle in (-30.0, 0.0, 25.0):
        params = RainParams(angle=angle, angle_jitter=0.2, spread=0, rate=30, exposure=1 / 60, near=1, far=2)
        layer = gaussian_filter(draw_streaks((300, 300), params, rng(4)).astype(float), 2)
        gy, gx = np.gradient(layer)
        across = 0.5 * np.arctan2(2 * (gx * gy).sum(), (gx * gx - gy * gy).sum())  # of the strongest gradient
        assert -np.degrees(across) == pytest.approx(angle, abs=3)


def test_longer_exposure_draws_longer_streaks() -> None:
    def length(exposure: float) -> float:
        layer = draw_streaks((400, 400), RainParams(exposure=exposure, angle=0, angle_jitter=0, spread=0), rng(5))
        layer = layer - layer.mean()
        down = (layer[:-12] * layer[12:]).mean() / (layer * layer).mean()
        return float(down)  # correlation 12 pixels further down

    assert length(1 / 40) > length(1 / 500) + 0.2


def test_screen_never_passes_white_and_add_clips() -> None:
    picture = np.full((4, 4, 3), 0.8, np.float32)
    layer = np.full((4, 4), 0.5, np.float32)
    assert blend_rain(picture, layer, "screen") == pytest.approx(0.9)
    assert blend_rain(picture, layer, "add") == pytest.approx(1.0)


def test_masks_replace_drawn_streaks(photo: np.ndarray) -> None:
    mask = np.zeros((40, 50), np.float32)
    rainy, layer = add_rain(photo, RainParams(), rng(), masks=[mask])
    assert np.array_equal(rainy, photo)
    assert layer.max() == 0
    mask[:, ::7] = 1
    assert add_rain(photo, RainParams(), rng(), masks=[mask])[1].max() > 0.3


def test_warp_keeps_a_constant_mask_constant() -> None:
    out = warp_mask(np.full((30, 20), 0.6, np.float32), (64, 48), rng(), turn=30, scale=(0.6, 1.8))
    assert out.shape == (64, 48)
    assert out == pytest.approx(0.6, abs=1e-5)


def test_mist_pulls_towards_the_airlight() -> None:
    picture = rng().random((50, 60, 3), np.float32)
    misty = add_mist(picture, 0.6, rng())
    assert misty.std() < 0.7 * picture.std()
    assert 0 <= misty.min() <= misty.max() <= 1
    assert add_mist(picture, 0, rng()) is picture


def test_jpeg_is_close_and_not_the_same(photo: np.ndarray) -> None:
    picture = photo.astype(np.float32) / 255
    there_and_back = compress_jpeg(picture, 90)
    assert there_and_back.shape == picture.shape
    assert 0 < np.abs(there_and_back - picture).mean() < 0.03


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 10_000))
def test_any_size_any_severity(height: int, width: int, severity: float, seed: int) -> None:
    params = RainParams.from_severity(severity, rng(seed))
    rainy, layer = add_rain(np.zeros((height, width, 3), np.uint8), params, rng(seed))
    assert rainy.shape == (height, width, 3)
    assert np.isfinite(layer).all()
    assert layer.min() >= 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate", -1), ("angle", 91), ("layers", 0), ("mist", 1.0), ("jpeg", 0), ("blending", "multiply")],
)
def test_bad_parameters_are_named(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        dataclasses.replace(RainParams(), **{field: value})


def test_bad_pictures_and_severities_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected \(H, W, 3\)"):
        add_rain(np.zeros((4, 4), np.uint8), RainParams(), rng())
    with pytest.raises(InputError, match="int32"):
        add_rain(np.zeros((4, 4, 3), np.int32), RainParams(), rng())
    with pytest.raises(InputError, match="severity"):
        RainParams.from_severity(1.2, rng())
