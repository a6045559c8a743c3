"""Air and camera: blending in range, mist towards the airlight, how often images are compressed and how."""

from __future__ import annotations

import numpy as np
import pytest

from repix.degradations import Context, camera
from repix.degradations.camera import (
    add_mist,
    add_noise,
    as_cameras_do,
    blend_rain,
    compress_jpeg,
    recompressed,
    vary_exposure,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_screen_never_passes_white_and_add_clips() -> None:
    image = np.full((4, 4, 3), 0.8, np.float32)
    layer = np.full((4, 4), 0.5, np.float32)
    assert blend_rain(image, layer, "screen") == pytest.approx(0.9)
    assert blend_rain(image, layer, "add") == pytest.approx(1.0)


def test_mist_pulls_towards_the_airlight() -> None:
    image = rng().random((50, 60, 3), np.float32)
    misty = add_mist(image, 0.6, rng())
    assert misty.std() < 0.7 * image.std()
    assert 0 <= misty.min() <= misty.max() <= 1
    assert add_mist(image, 0, rng()) is image


def test_jpeg_is_close_and_not_the_same(photo: np.ndarray) -> None:
    image = photo.astype(np.float32) / 255
    there_and_back = compress_jpeg(image, 90)
    assert there_and_back.shape == image.shape
    assert 0 < np.abs(there_and_back - image).mean() < 0.03


def qualities(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the quality of every JPEG that is made from now on."""
    made: list[int] = []

    def note(image: np.ndarray, quality: int) -> np.ndarray:
        made.append(quality)
        return image

    monkeypatch.setattr(camera, "compress_jpeg", note)
    return made


def test_one_degraded_image_in_ten_is_compressed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made, image, source = qualities(monkeypatch), np.full((2, 2, 3), 0.5, np.float32), rng()
    for _ in range(6000):
        recompressed(image, source, Context())
    assert len(made) / 6000 == pytest.approx(0.1, abs=0.015)  # four standard deviations
    assert (min(made), max(made)) == (80, 97)
    made.clear()
    for _ in range(100):
        recompressed(image, source, Context(camera=True))
    assert not made


def test_one_clean_image_in_ten_is_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, image, source = qualities(monkeypatch), np.full((2, 2, 3), 0.5, np.float32), rng()
    for _ in range(6000):
        vary_exposure(image, source)
    assert len(made) / 6000 == pytest.approx(0.1, abs=0.015)
    assert (min(made), max(made)) == (70, 95)


def test_a_worse_jpeg_is_further_off() -> None:
    image = rng().random((40, 50, 3), np.float32)
    errors = [np.abs(compress_jpeg(image, quality) - image).mean() for quality in (95, 80, 40)]
    assert errors == sorted(errors)


def test_noise_grows_with_the_light() -> None:
    flat = [np.full((100, 100, 3), level, np.float32) for level in (0.2, 0.8)]
    dark, light = (float(add_noise(image, 0.02, rng()).std()) for image in flat)
    assert dark == pytest.approx(0.02 * np.sqrt(0.3 + 0.7 * 0.2), rel=0.02)
    assert light == pytest.approx(0.02 * np.sqrt(0.3 + 0.7 * 0.8), rel=0.02)


def test_both_sides_change_alike_but_for_noise_and_jpeg() -> None:
    """Where the two are one image they stay one; where they differ, the clean one is never noisier."""
    smooth = np.linspace(0.2, 0.7, 48, dtype=np.float32)[None, :, None].repeat(48, 0).repeat(3, 2)
    changed = 0
    for seed in range(60):
        lq, gt = as_cameras_do(smooth, smooth, np.random.default_rng(seed), untouched=True)
        np.testing.assert_array_equal(lq, gt)
        assert lq.shape == (48, 48, 3)
        assert lq.dtype == gt.dtype == np.float32
        assert 0 <= lq.min() <= lq.max() <= 1
        rough, still = as_cameras_do(smooth, smooth, np.random.default_rng(seed), untouched=False)
        assert np.abs(np.diff(still, n=2, axis=1)).mean() <= np.abs(np.diff(rough, n=2, axis=1)).mean() + 1e-3
        changed += not np.array_equal(lq, smooth)
    assert changed >= 45


def test_images_that_are_not_square_are_not_turned() -> None:
    image = np.random.default_rng(0).random((20, 31, 3), np.float32)
    assert all(
        side.shape == image.shape
        for seed in range(40)
        for side in as_cameras_do(image, image, np.random.default_rng(seed), untouched=False)
    )
