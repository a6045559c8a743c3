"""Curtains: as strong as asked, smeared along their lean, on as much of the image as asked."""

from __future__ import annotations

import numpy as np
import pytest

from repix.degradations import Context
from repix.degradations.curtain import Curtain, CurtainParams, draw_curtain, soft_field


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_strength_bounds_the_radiance() -> None:
    for seed in range(5):
        made = draw_curtain((120, 90), CurtainParams(strength=0.1), rng(seed))
        assert 0 <= made.min() <= made.max() <= 0.15 + 1e-6
        assert 0.05 < np.quantile(made, 0.99) < 0.12


@pytest.mark.parametrize("cover", [0.05, 0.3, 0.8])
def test_cover_is_the_share_with_rain(cover: float) -> None:
    made = draw_curtain((160, 160), CurtainParams(cover=cover, length=15), rng())
    assert (made > 0).mean() == pytest.approx(cover, abs=0.02)


@pytest.mark.parametrize("angle", [-40, 0, 25])
def test_it_is_smooth_along_the_fall_alone(angle: float) -> None:
    made = draw_curtain((200, 200), CurtainParams(angle=angle, length=30, width=1, uneven=0), rng())
    down, right = np.gradient(made)
    lean = np.radians(angle)
    along = down * np.cos(lean) + right * np.sin(lean)
    across = right * np.cos(lean) - down * np.sin(lean)
    assert np.abs(along).mean() < 0.2 * np.abs(across).mean()


def test_a_soft_field_is_smooth_and_in_range() -> None:
    made = soft_field((50, 70), rng(), cells=3)
    assert made.shape == (50, 70)
    assert 0 <= made.min() <= made.max() <= 1
    assert np.abs(np.diff(made, axis=0)).max() < 0.12


def test_curtains_are_mostly_of_low_contrast() -> None:
    photo = np.full((96, 96, 3), 0.4, np.float32)
    changes = [np.abs(np.subtract(*Curtain()(photo, rng(seed), Context(camera=True)))).mean() for seed in range(40)]
    assert 0.005 < np.median(changes) < 0.1
