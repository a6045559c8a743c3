"""Streak masks: warped without changing what they are, of any size."""

from __future__ import annotations

import numpy as np
import pytest

from repix.degradations import Context
from repix.degradations.masks import StreakMasks, warp_mask


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_warp_keeps_a_constant_mask_constant() -> None:
    out = warp_mask(np.full((30, 20), 0.6, np.float32), (64, 48), rng(), rotation=30, scale=(0.6, 1.8))
    assert out.shape == (64, 48)
    assert out == pytest.approx(0.6, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1)])
def test_masks_of_a_single_row_or_column(shape: tuple[int, int]) -> None:
    out = warp_mask(np.full(shape, 0.6, np.float32), (16, 12), rng(), rotation=30, scale=(0.6, 1.8))
    assert out == pytest.approx(0.6, abs=1e-5)


def test_the_rain_is_that_of_the_masks() -> None:
    clean = np.full((64, 64, 3), 0.2, np.float32)
    black, white = np.zeros((40, 40), np.uint8), np.full((40, 40), 255, np.uint8)
    none, all_over = (StreakMasks()(clean, rng(2), Context(masks=[mask]))[0] for mask in (black, white))
    assert none == pytest.approx(clean, abs=0.02)  # but for a JPEG
    assert (all_over - clean).min() > 0.2
