"""Specks, splash and drops on the lens: where they are, and that nothing else changes."""

from __future__ import annotations

import numpy as np

from repix.degradations import Context
from repix.degradations.lens import LensDrops, draw_drops
from repix.degradations.specks import draw_specks, draw_splash


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_specks_are_small_and_separate() -> None:
    covers = [float((draw_specks((200, 200), rng(seed)) > 0.1).mean()) for seed in range(20)]
    assert 0 < np.median(covers) < 0.06
    assert max(covers) < 0.3


def test_splash_is_below_the_horizon_more_than_above() -> None:
    total = np.sum([draw_splash((200, 160), rng(seed)) for seed in range(20)], axis=0)
    assert total[100:].sum() > 1.5 * total[:100].sum()
    assert total.max() > 0


def test_drops_cover_a_part_and_shift_what_they_show() -> None:
    for seed in range(10):
        cover, down, right = draw_drops((120, 160), rng(seed))
        assert 0 <= cover.min() <= cover.max() <= 1
        assert not down[cover == 0].any()
        assert not right[cover == 0].any()
        assert 0.001 < (cover > 0.5).mean() < 0.7


def test_outside_drops_the_scene_is_untouched() -> None:
    clean = rng(3).random((90, 110, 3), np.float32)
    cover, *_ = draw_drops((90, 110), rng(4))
    degraded, same = LensDrops()(clean, rng(4), Context(camera=True))
    assert same is clean
    np.testing.assert_array_equal(degraded[cover == 0], clean[cover == 0])
    assert np.abs(degraded - clean)[cover > 0.9].mean() > 0.05
