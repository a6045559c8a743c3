"""Augmented images come back to their place; the mean of the estimates."""

from __future__ import annotations

import numpy as np
import pytest

from repix._types import Floats
from repix.infer.ensemble import AUGMENTATIONS, Augmentation, estimate, self_ensemble

MIRRORS = (Augmentation(), Augmentation(right=-1), Augmentation(down=-1), Augmentation(down=-1, right=-1))
EVERY = (*AUGMENTATIONS, *MIRRORS[1:])


def noise(size: tuple[int, int]) -> Floats:
    return np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)


@pytest.mark.parametrize("augmentation", EVERY)
@pytest.mark.parametrize("size", [(1, 1), (16, 24), (61, 83), (40, 7)])
@pytest.mark.parametrize("multiple_of", [1, 8])
def test_an_augmented_image_comes_back_to_its_place(
    augmentation: Augmentation, size: tuple[int, int], multiple_of: int
) -> None:
    def darken(x: Floats) -> Floats:
        assert x.shape[2] % multiple_of == x.shape[3] % multiple_of == 0
        assert x.flags.c_contiguous
        return x * np.float32(0.4)

    x = noise(size)
    np.testing.assert_array_equal(estimate(darken, x, augmentation, multiple_of=multiple_of), x[0] * np.float32(0.4))


@pytest.mark.parametrize("augmentation", EVERY)
def test_the_network_sees_the_augmented_image(augmentation: Augmentation) -> None:
    seen: list[Floats] = []

    def look(x: Floats) -> Floats:
        seen.append(x)
        return x

    x = noise((6, 8))
    estimate(look, x, augmentation)
    held = seen[0][:, :, :: augmentation.down, :: augmentation.right]
    np.testing.assert_array_equal(held[:, :, augmentation.top :, augmentation.left :], x)


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
    np.testing.assert_allclose(self_ensemble(mark, augmentations=MIRRORS, multiple_of=8)(x), expected, atol=1e-6)
    np.testing.assert_array_equal(x, before)


def test_a_network_that_gives_its_own_memory_back_keeps_it() -> None:
    own = noise((8, 8))
    before = own.copy()
    self_ensemble(lambda x: own, augmentations=MIRRORS)(np.zeros_like(own))
    np.testing.assert_array_equal(own, before)


def test_what_is_not_finite_stays_so() -> None:
    def overflow(x: Floats) -> Floats:
        y = x.copy()
        y[..., 2, 3] = np.inf
        return y

    assert not np.isfinite(self_ensemble(overflow)(noise((8, 8)))).all()
