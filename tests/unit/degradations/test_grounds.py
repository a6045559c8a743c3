"""Grounds: smooth or full of lines, the same with rain and without."""

from __future__ import annotations

import numpy as np

from repix.degradations import Context
from repix.degradations.grounds import Grounds, draw_ground, light_on_rain, photo_or_ground


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def detail(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image, axis=1)).mean())


def test_without_thin_structures_grounds_are_smooth() -> None:
    photo = rng(9).random((80, 80, 3), np.float32)
    assert all(detail(draw_ground(photo, rng(seed), thin_structures=0)) < 0.1 * detail(photo) for seed in range(20))


def test_thin_structures_are_as_frequent_as_asked() -> None:
    photo = np.full((64, 64, 3), 0.5, np.float32)
    busy = [detail(draw_ground(photo, rng(seed), thin_structures=0.5)) > 0.03 for seed in range(60)]
    assert 15 <= sum(busy) <= 42


def test_a_share_keeps_the_photo() -> None:
    photo = rng(1).random((20, 20, 3), np.float32)
    kept = sum(photo_or_ground(photo, rng(seed), 0.25) is photo for seed in range(200))
    assert 130 <= kept <= 170


def test_grounds_come_back_as_they_are() -> None:
    photo = rng(2).random((40, 40, 3), np.float32)
    degraded, clean = Grounds()(photo, rng(), Context())
    assert degraded is clean
    assert not np.array_equal(clean, photo)


def test_light_follows_lamps_at_night() -> None:
    """Where the light is local, rain before a lamp is brighter than rain before the dark."""
    night = np.full((120, 120, 3), 0.02, np.float32)
    night[40:80, :40] = 1
    local = [light for light in (light_on_rain(night, rng(seed)) for seed in range(40)) if light.shape == night.shape]
    assert 5 <= len(local) <= 20
    assert all(light[60, 20].mean() > 1.5 * light[60, 110].mean() for light in local)
