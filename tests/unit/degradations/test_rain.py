"""The rain model: seeded, physical in its proportions, and safe at the edges."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from repix.degradations import rain
from repix.degradations.rain import RainParams, add_rain, draw_streaks
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
    image: np.ndarray = photo.astype(dtype) * (257 if dtype is np.uint16 else 1)
    if dtype is np.float32:
        image = image / np.float32(255)
    before = image.copy()
    rainy, layer = add_rain(image, RainParams(rate=60, blending="add"), rng())
    assert rainy.dtype == dtype
    assert rainy.shape == image.shape
    assert np.array_equal(image, before)  # the input is not touched
    assert layer.max() > 0.05
    assert np.all(rainy.astype(float) >= image.astype(float) - 1e-6)
    rained_on = layer > 0.02
    assert np.array_equal(rainy[~(layer > 0)], image[~(layer > 0)])
    assert rainy[rained_on].mean() > image[rained_on].mean()


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


def test_three_in_ten_rainy_images_are_compressed() -> None:
    generator = rng(0)
    drawn = [RainParams.from_severity(0.5, generator, focal=500).jpeg for _ in range(3000)]
    assert np.mean([quality is not None for quality in drawn]) == pytest.approx(0.3, abs=0.03)
    assert {quality for quality in drawn if quality is not None} == set(range(75, 98))


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


def test_drops_fall_at_their_measured_terminal_velocity() -> None:
    """Atlas et al. 1973, eq. 1, against itself and against what Gunn & Kinzer (1949, table 2) measured."""
    velocity = rain._velocity(np.array([1.0, 2.0, 3.0, 5.0]))
    np.testing.assert_allclose(velocity, [3.9972, 6.5477, 7.9474, 9.1372], atol=1e-3)
    np.testing.assert_allclose(velocity, [4.03, 6.49, 8.06, 9.09], rtol=0.02)


def test_coverage_grows_as_the_rain_rate_to_0_65(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drops of one size, so that their number is the share of the image that they cover."""
    monkeypatch.setattr(rain, "_diameters", lambda rate, count, rng: np.full(count, 1.5))

    def streaks(rate: float) -> int:
        drawn: list[int] = []
        monkeypatch.setattr(rain, "_stamp", lambda layer, kernels, which, *rest: drawn.append(len(which)))
        for seed in range(4):
            draw_streaks((600, 600), RainParams(rate=rate, density=0.3, focal=300, near=2, far=6), rng(seed))
        return sum(drawn)

    few, many = streaks(2), streaks(64)
    assert few > 3000
    assert many / few == pytest.approx(32**0.65, rel=0.03)


def test_streaks_have_the_light_of_their_scene() -> None:
    """0.35 of it is the sky's, the rest goes with the scene's brightest tenth."""
    params = RainParams(rate=60)
    alone = draw_streaks((80, 90), params, rng(3))

    def light(scene: np.ndarray) -> float:
        layer = add_rain(scene, params, rng(3))[1]
        return float(layer.sum() / alone.sum())

    for level in (0.0, 0.4, 1.0):
        assert light(np.full((80, 90, 3), level, np.float32)) == pytest.approx(0.35 + 0.65 * level, abs=1e-4)
    lamp = np.full((80, 90, 3), 0.1, np.float32)
    lamp[:, :6] = 1  # a fifteenth
    assert light(lamp) == pytest.approx(0.35 + 0.065, abs=1e-4)
    lamp[:, :18] = 1  # a fifth
    assert light(lamp) == pytest.approx(1, abs=1e-4)


def test_masks_replace_synthetic_streaks(photo: np.ndarray) -> None:
    mask = np.zeros((40, 50), np.float32)
    rainy, layer = add_rain(photo, RainParams(), rng(), masks=[mask])
    assert np.array_equal(rainy, photo)
    assert layer.max() == 0
    mask[:, ::7] = 1
    assert add_rain(photo, RainParams(), rng(), masks=[mask])[1].max() > 0.3


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


def test_bad_images_and_severities_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected \(H, W, 3\)"):
        add_rain(np.zeros((4, 4), np.uint8), RainParams(), rng())
    with pytest.raises(InputError, match="int32"):
        add_rain(np.zeros((4, 4, 3), np.int32), RainParams(), rng())
    with pytest.raises(InputError, match="severity"):
        RainParams.from_severity(1.2, rng())
