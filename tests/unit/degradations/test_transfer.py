"""Rain of known pairs on other images: only what brightens, grey, and from anywhere in the pair."""

from __future__ import annotations

import numpy as np
import pytest

from repix.degradations import Context
from repix.degradations.transfer import RainTransfer


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def transferred(clean: np.ndarray, rainy: np.ndarray, bare: np.ndarray, seeds: int = 20) -> list[np.ndarray]:
    """What is added to a clean image, by seed."""
    context = Context(pairs=[(rainy, bare)], camera=True)  # no JPEG
    return [RainTransfer()(clean, rng(seed), context)[0] - clean for seed in range(seeds)]


def test_rain_only_brightens() -> None:
    """Where the rainy image is darker than the clean one, that is the data set's noise, not rain."""
    bare = np.full((50, 60, 3), 120, np.uint8)
    rainy = bare.copy()
    rainy[:, ::2] = 90
    for added in transferred(np.full((50, 60, 3), 0.3, np.float32), rainy, bare):
        assert added == pytest.approx(0, abs=1e-6)
    rainy[:, 1::2] = 150
    for added in transferred(np.full((50, 60, 3), 0.3, np.float32), rainy, bare):
        assert added.min() >= -1e-6
        assert added[:, 25].mean() > 0.05 or added[:, 26].mean() > 0.05


def test_one_layer_in_seven_of_ten_samples() -> None:
    bare = np.zeros((8, 8, 3), np.uint8)
    rainy = np.full((8, 8, 3), 51, np.uint8)  # a fifth of white, times 0.7 to 1.3
    added = [float(one.mean()) for one in transferred(np.zeros((8, 8, 3), np.float32), rainy, bare, seeds=600)]
    assert min(added) > 0.2 * 0.7 - 1e-3
    assert np.mean(np.array(added) < 0.2 * 1.3 + 1e-3) == pytest.approx(0.7, abs=0.07)
    assert max(added) < 0.2 * 1.3 * 4 + 1e-3


def test_rain_is_grey_as_its_brightest_channel() -> None:
    bare = np.full((30, 30, 3), (240, 120, 20), np.uint8)
    rainy = np.full((30, 30, 3), (255, 160, 60), np.uint8)  # red is cut off at 255
    for added in transferred(np.full((30, 30, 3), 0.2, np.float32), rainy, bare):
        assert added[..., 0] == pytest.approx(added[..., 1], abs=1e-6)
        assert added[..., 0] == pytest.approx(added[..., 2], abs=1e-6)
        assert added.min() > 40 / 255 * 0.7 - 1e-3


def test_pairs_smaller_than_the_image_go_on_mirrored() -> None:
    bare = np.zeros((10, 12, 3), np.uint8)
    rainy = np.full((10, 12, 3), 60, np.uint8)
    for added in transferred(np.zeros((33, 47, 3), np.float32), rainy, bare):
        assert added.min() > 0.1
