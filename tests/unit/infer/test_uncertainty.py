"""What the network is unsure of: the same however it is held is sure, anything else is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from data_sets import DATA, needs
from repix._types import Floats
from repix.data.pairs import find_pairs
from repix.infer.restorer import Restorer
from repix.infer.uncertainty import disagreement, estimates, expected_error, find_strength
from repix.io.image import read_image

PAIRS = DATA / "RainTrainL"


def darken(x: Floats) -> Floats:
    """Sure of itself: every pixel alone."""
    return x * np.float32(0.4)


def comb(x: Floats) -> Floats:
    """Unsure of itself: takes away stripes that stand in the frame, not in the image."""
    y = x.copy()
    y[..., ::4] *= np.float32(0.5)
    return y


def multiples(run: Callable[[Floats], Floats], of: int) -> Callable[[Floats], Floats]:
    def checked(x: Floats) -> Floats:
        assert x.shape[2] % of == x.shape[3] % of == 0
        assert x.flags.c_contiguous
        return run(x)

    return checked


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (61, 83), (40, 7)])
@pytest.mark.parametrize("multiple_of", [1, 8])
def test_estimates_come_back_to_their_place(size: tuple[int, int], multiple_of: int) -> None:
    x = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
    found = estimates(multiples(darken, multiple_of), x, multiple_of=multiple_of)
    assert found.shape == (4, 3, *size)
    for one in found:
        np.testing.assert_allclose(one, x[0] * np.float32(0.4), atol=1e-7)
    assert disagreement(found).max() < 1e-6
    assert expected_error(found).shape == size


def test_what_is_invented_is_found() -> None:
    x = np.full((1, 3, 64, 96), 0.5, np.float32)

    def invent(x: Floats) -> Floats:
        y = x.copy()
        y[:, :, 20:30, 5:15] += 0.3  # at a place of the frame: another place of the image in every augmentation
        return y

    error = expected_error(estimates(invent, x))
    assert error[25, 10] > 20 * error[50, 50]
    # one of four estimates is 0.3 off there: a standard deviation of 0.3 * sqrt(3) / 4
    assert error[25, 10] == pytest.approx(3 * 0.3 * np.sqrt(3) / 4, rel=0.1)


def test_strength() -> None:
    image = np.random.default_rng(0).integers(60, 200, (50, 70, 3), dtype=np.uint8)
    assert find_strength(darken, image) == 1
    assert find_strength(lambda x: x, image) == 1  # nothing is taken away: nothing to be unsure of
    assert find_strength(comb, image) == 0
    sixteen = image.astype(np.uint16) * 257
    assert find_strength(multiples(comb, 8), sixteen, multiple_of=8) == 0


@pytest.mark.parametrize(
    ("ratio", "strength"), [(0.2, 1.0), (0.44, 1.0), (0.46, 0.96), (0.575, 0.5), (0.69, 0.04), (0.71, 0.0), (1.1, 0.0)]
)
def test_strength_falls_where_disagreement_comes_close_to_rain(ratio: float, strength: float) -> None:
    """From 0.45 to 0.70, between what held-out rainy and clean images have (benchmarks/results/strength.csv)."""
    rain, calls = 0.1, 0

    def unsure(x: Floats) -> Floats:
        """Takes 0.1 away, and from every second augmentation less: a standard deviation of half of that."""
        nonlocal calls
        calls += 1
        return x - np.float32(rain - (2 * ratio * rain if calls % 2 == 0 else 0))

    assert find_strength(unsure, np.full((40, 50, 3), 102, np.uint8)) == pytest.approx(strength, abs=0.004)


def test_windows_of_a_large_image() -> None:
    seen: list[tuple[int, ...]] = []

    def run(x: Floats) -> Floats:
        seen.append(x.shape)
        return darken(x)

    find_strength(run, np.zeros((2000, 1100, 3), np.uint8), multiple_of=8)
    assert len(seen) == 4 * 9
    assert all(max(shape) <= 328 for shape in seen)


@needs("RainTrainL")
def test_the_shipped_model_knows_where_it_is_wrong() -> None:
    restorer = Restorer.from_pretrained(device="cpu", threads=1)
    ranks = []
    for pair in find_pairs(PAIRS)[:2]:
        lq, gt = (read_image(path).pixels[60:220, 60:220] / np.float32(255) for path in (pair.lq, pair.gt))
        x = np.ascontiguousarray(lq.transpose(2, 0, 1)[None], np.float32)
        found = estimates(restorer.run, x, multiple_of=restorer.multiple_of)
        error: NDArray[np.float32] = gaussian_filter(np.abs(found[0] - gt.transpose(2, 0, 1)).mean(0), 2)
        ranks.append(spearmanr(expected_error(found).ravel(), error.ravel())[0])
    assert np.mean(ranks) > 0.6
