"""Crisp streaks: their width, edges, lean and cover are what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from repix.degradations import Context
from repix.degradations.crisp import CrispStreaks, StreakParams, draw_crisp_streaks, lay_strokes, stroke
from repix.degradations.grounds import lay_over


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("width", [2.5, 4.0, 12.0])
def test_width_is_the_area_across(width: float) -> None:
    made = stroke(60, width, 0, softness=1.0, fade=0.0, offset=(0.2, 0.3))
    middle = made[made.shape[0] // 2]
    assert middle.sum() == pytest.approx(width, abs=0.15)


def test_softness_widens_edges_and_aliased_ones_have_none() -> None:
    def levels(softness: float) -> int:
        made = stroke(60, 6, 20, softness=softness, fade=0.0, offset=(0.0, 0.0))
        return int(((made > 0.05) & (made < 0.95)).sum())

    assert levels(0.0) == 0
    assert 0 < levels(1.0) < 0.5 * levels(4.0)


@pytest.mark.parametrize("angle", [-60, -12, 0, 30, 80])
def test_streaks_lean_as_asked(angle: float) -> None:
    made = stroke(60, 3, angle, softness=1.0, fade=0.0, offset=(0.0, 0.0))
    y, x = np.nonzero(made > 0.5)
    down, right = np.linalg.eigh(np.cov(np.stack([y, x])))[1][:, 1]
    lean = np.degrees(np.arctan(right / down))
    assert lean == pytest.approx(angle, abs=1)


def test_the_cover_is_about_what_was_asked_for() -> None:
    params = StreakParams(width=2, length=40, cover=0.1, opacity=1.0, angle_jitter=0.0)
    covered = [float((draw_crisp_streaks((200, 200), params, rng(seed)) > 0.3).mean()) for seed in range(10)]
    assert 0.07 < np.mean(covered) < 0.115


def test_where_streaks_cross_the_stronger_one_counts() -> None:
    layer = np.zeros((9, 9), np.float32)
    block = np.ones((3, 3), np.float32)
    where = np.array([4, 4])
    lay_strokes(layer, [block], np.array([0, 0]), where, where, np.array([0.7, 0.4]))
    assert layer[4, 4] == np.float32(0.7)
    assert layer.sum() == pytest.approx(9 * 0.7, abs=1e-5)


def test_strokes_beyond_the_edge_are_cut_off() -> None:
    layer = np.zeros((4, 4), np.float32)
    lay_strokes(layer, [np.ones((5, 5), np.float32)], np.array([0]), np.array([0]), np.array([30]), np.array([1.0]))
    assert not layer.any()


def test_opaque_rain_is_never_brighter_than_its_light() -> None:
    clean = np.full((5, 5, 3), 0.2, np.float32)
    layer = np.linspace(0, 1.5, 25, dtype=np.float32).reshape(5, 5)
    light = np.full((1, 1, 3), 0.8, np.float32)
    assert lay_over(clean, layer, light, opaque=True).max() == pytest.approx(0.8)
    assert lay_over(clean, layer, light, opaque=False).max() == 1.0


def test_photos_and_smooth_grounds_both_get_streaks() -> None:
    """Half of the samples keep the photo; rain only brightens or hides, so every sample differs from its scene."""
    photo = rng(5).random((64, 64, 3), np.float32)
    kept = changed = 0
    for seed in range(60):
        degraded, clean = CrispStreaks()(photo, rng(seed), Context(camera=True))
        kept += clean is photo
        changed += not np.array_equal(degraded, clean)
    assert 20 <= kept <= 40
    assert changed >= 50  # a few sparse ones have no streak in so small a crop
