"""Haze: Koschmieder's law, by the severity, over a depth in range."""

from __future__ import annotations

import numpy as np
import pytest

from repix.degradations import Context
from repix.degradations.haze import Haze, random_depth


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_contrast_falls_as_koschmieder_says() -> None:
    """Two levels at one place: the transmission is what is left of their difference, the same for all levels."""
    for seed in range(20):
        context = Context(severity=(0.5, 0.5), camera=True)  # no JPEG
        levels = [Haze()(np.full((30, 40, 3), level, np.float32), rng(seed), context)[0] for level in (0.0, 0.5, 1.0)]
        left = levels[2] - levels[0]
        np.testing.assert_allclose(levels[1] - levels[0], left / 2, atol=1e-6)
        depth = -np.log(left) / (0.3 * 10**0.5)
        assert 0.05 - 1e-3 <= depth.min() <= depth.max() <= 1 + 1e-3
        airlight = levels[0] / (1 - left)
        assert airlight.std((0, 1)).max() < 1e-4
        assert 0.67 <= airlight.min() <= airlight.max() <= 1 + 1e-4


def test_severity_orders_the_haze() -> None:
    clean = np.random.default_rng(0).random((40, 50, 3), np.float32)

    def left(severity: float) -> float:
        context = Context(severity=(severity, severity), camera=True)
        return float(np.median([Haze()(clean, rng(seed), context)[0].std() for seed in range(20)])) / float(clean.std())

    thin, middling, dense = left(0), left(0.5), left(1)
    assert 0.75 < thin < 0.95
    assert middling < 0.8 * thin
    assert dense < 0.6 * middling


def test_depth_is_smooth_and_grows_upwards() -> None:
    depths = [random_depth((64, 80), rng(seed)) for seed in range(60)]
    assert max(np.abs(np.diff(depth, axis=axis)).max() for depth in depths for axis in (0, 1)) < 0.1
    assert np.mean([depth[:16].mean() - depth[-16:].mean() for depth in depths]) == pytest.approx(0.22, abs=0.08)
    assert len({depth.tobytes() for depth in depths}) == 60
