"""An image held in several ways comes back to its place; the mean of what is made of the views."""

from __future__ import annotations

import numpy as np
import pytest

from repix.infer.ensemble import VIEWS, View, averaged, estimate
from repix.infer.tiling import Floats

MIRRORS = (View(), View(right=-1), View(down=-1), View(down=-1, right=-1))
EVERY = (*VIEWS, *MIRRORS[1:])


def noise(size: tuple[int, int]) -> Floats:
    return np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)


@pytest.mark.parametrize("view", EVERY)
@pytest.mark.parametrize("size", [(1, 1), (16, 24), (61, 83), (40, 7)])
@pytest.mark.parametrize("multiple_of", [1, 8])
def test_a_view_comes_back_to_its_place(view: View, size: tuple[int, int], multiple_of: int) -> None:
    def darken(x: Floats) -> Floats:
        assert x.shape[2] % multiple_of == x.shape[3] % multiple_of == 0
        assert x.flags.c_contiguous
        return x * np.float32(0.4)

    x = noise(size)
    np.testing.assert_array_equal(estimate(darken, x, view, multiple_of=multiple_of), x[0] * np.float32(0.4))


@pytest.mark.parametrize("view", EVERY)
def test_a_view_shows_the_picture_held_so(view: View) -> None:
    seen: list[Floats] = []

    def look(x: Floats) -> Floats:
        seen.append(x)
        return x

    x = noise((6, 8))
    estimate(look, x, view)
    held = seen[0][:, :, :: view.down, :: view.right]
    np.testing.assert_array_equal(held[:, :, view.top :, view.left :], x)


def test_the_mean_of_the_mirrors() -> None:
    """What is added at a place of the frame is added, a quarter each, at four places of the image."""

    def mark(x: Floats) -> Floats:
        y = x.copy()
        y[:, :, 0, 1] += 1
        return y

    x = noise((8, 16))
    expected = x.copy()
    for row in (0, -1):
        for column in (1, -2):
            expected[:, :, row, column] += 0.25
    before = x.copy()
    np.testing.assert_allclose(averaged(mark, views=MIRRORS, multiple_of=8)(x), expected, atol=1e-6)
    np.testing.assert_array_equal(x, before)


def test_a_network_that_gives_its_own_memory_back_keeps_it() -> None:
    own = noise((8, 8))
    before = own.copy()
    averaged(lambda x: own, views=MIRRORS)(np.zeros_like(own))
    np.testing.assert_array_equal(own, before)


def test_what_is_not_finite_stays_so() -> None:
    def overflow(x: Floats) -> Floats:
        y = x.copy()
        y[..., 2, 3] = np.inf
        return y

    assert not np.isfinite(averaged(overflow)(noise((8, 8)))).all()
