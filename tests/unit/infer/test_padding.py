"""Padding continues the image, whatever its size."""

from __future__ import annotations

import numpy as np
import pytest

from repix.infer.padding import mirrored, padded, to_floats


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (16, 24), (61, 83)])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (1, 3)])
def test_padded_is_numpys_reflection_where_that_is_defined(size: tuple[int, int], top: int, left: int) -> None:
    x = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
    made = padded(x, 8, top=top, left=left)
    assert made.shape[2] % 8 == made.shape[3] % 8 == 0
    assert made.shape[2] - size[0] - top < 8
    np.testing.assert_array_equal(made[:, :, top : top + size[0], left : left + size[1]], x)
    if min(size) > 8:
        bottom, end = made.shape[2] - size[0] - top, made.shape[3] - size[1] - left
        expected = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, end)), mode="reflect")
        np.testing.assert_array_equal(made, expected)


def test_beyond_what_can_be_mirrored_the_edge_is_held() -> None:
    assert list(range(3))[mirrored(0, 3, 3)] == [0, 1, 2]
    assert mirrored(-2, 9, 3).tolist() == [2, 1, 0, 1, 2, 1, 0, 0, 0]


def test_floats_are_shares_of_the_largest_value() -> None:
    image = np.array([[[0, 51, 255]]], np.uint8)
    np.testing.assert_allclose(to_floats(image).ravel(), [0, 0.2, 1])
    np.testing.assert_allclose(to_floats(image.astype(np.uint16) * 257), to_floats(image))
    assert to_floats(image).dtype == np.float32
