"""Tiles against the whole image, padding, rounding, and what is held in memory."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from repix.errors import BackendError
from repix.infer.padding import mirrored
from repix.infer.tiling import _cut, _weights, watch_tiles
from tiled import apply_tiled


def identity(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x


def blur(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network with a receptive field of 9 pixels and wrong borders, as zero padding makes them."""
    return uniform_filter(x, size=(1, 1, 9, 9), mode="constant")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (64, 64), (65, 63), (200, 31), (31, 200), (3000, 2)])
@pytest.mark.parametrize("tile", [None, 16, 50])
def test_identity_gives_the_same_image(dtype: type, shape: tuple[int, int], tile: int | None) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (*shape, 3), dtype=dtype)
    given = image.copy()
    result = apply_tiled(identity, image, multiple_of=8, tile=tile, overlap=8)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, given)
    np.testing.assert_array_equal(image, given)


@pytest.mark.parametrize("shape", [(200, 260), (260, 200)])
def test_tiles_equal_the_whole_image(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    whole = apply_tiled(blur, image, multiple_of=4)
    tiled = apply_tiled(blur, image, multiple_of=4, tile=64, overlap=16)
    np.testing.assert_array_equal(tiled, whole)
    # the overlap is what makes it so
    assert (apply_tiled(blur, image, multiple_of=4, tile=64, overlap=4) != whole).any()


@pytest.mark.parametrize("shape", [(90, 150), (150, 90)])
def test_writing_into_the_image_itself(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = apply_tiled(blur, image, multiple_of=8, tile=40, overlap=16, strength=0.6)
    assert apply_tiled(blur, image, multiple_of=8, tile=40, overlap=16, strength=0.6, out=image) is image
    np.testing.assert_array_equal(image, expected)


def test_the_network_sees_multiples_and_unit_range() -> None:
    seen = []

    def spy(x: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append((x.shape, x.dtype, float(x.min()), float(x.max()), x.flags.c_contiguous))
        return x

    image = np.array([0, 65535], np.uint16).repeat(101 * 67 * 3 // 2 + 1)[: 101 * 67 * 3].reshape(101, 67, 3)
    apply_tiled(spy, image, multiple_of=16, tile=50, overlap=10)
    assert len({shape for shape, *_ in seen}) == 1  # equal tiles: engines plan memory once
    for shape, dtype, low, high, contiguous in seen:
        assert shape[:2] == (1, 3)
        assert shape[2] % 16 == shape[3] % 16 == 0
        assert max(shape[2:]) <= 48
        assert dtype == np.float32
        assert 0 <= low <= high <= 1
        assert contiguous


def test_rounds_half_to_even_then_clips() -> None:
    values = np.array([-300, -0.6, 0.5, 1.5, 2.5, 254.5, 255.4, 999], np.float32) / 255

    def constant(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.broadcast_to(values, x.shape).astype(np.float32)

    result = apply_tiled(constant, np.full((1, 8, 3), 77, np.uint8))
    assert result[0, :, 0].tolist() == [0, 0, 0, 2, 2, 254, 255, 255]


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 100), (0.25, 125), (1.0, 200)])
def test_strength_blends_with_the_input(strength: float, expected: int) -> None:
    image = np.full((20, 30, 3), 100, np.uint8)
    result = apply_tiled(lambda x: x * 2, image, multiple_of=8, tile=16, overlap=4, strength=strength)
    assert (result == expected).all()


def test_padding_reflects_then_holds_the_edge() -> None:
    assert np.asarray(mirrored(0, 8, 5)).tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert np.asarray(mirrored(0, 8, 2)).tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert np.asarray(mirrored(0, 4, 1)).tolist() == [0, 0, 0, 0]


def test_progress_adds_up_to_one() -> None:
    steps: list[float] = []
    apply_tiled(identity, np.zeros((90, 70, 3), np.uint8), tile=20, overlap=4, progress=steps.append)
    assert len(steps) > 10
    assert sum(steps) == pytest.approx(1)


def test_tiles_are_told_of_before_they_run() -> None:
    told: list[object] = []

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        told.append(x.shape[2:])
        return x

    image = np.zeros((40, 30, 3), np.uint8)
    with watch_tiles(lambda *what: told.append(what)):
        apply_tiled(run, image, tile=20)
    tiles = told[::2]
    assert tiles == [((40, 30), number, 4) for number in (1, 2, 3, 4)]
    assert told[1::2] == [(20, 15)] * 4
    apply_tiled(run, image, tile=20)
    assert len(told) == 12  # nobody watches any more


def test_wrong_output_is_an_error_not_an_image() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(BackendError, match="must keep the shape"):
        apply_tiled(lambda x: x[..., :4], image)
    with pytest.raises(BackendError, match="not finite"):
        apply_tiled(lambda x: x * np.float32("nan"), image)


@given(
    length=st.integers(1, 5000),
    multiple_of=st.sampled_from([1, 2, 8, 16]),
    tile=st.integers(16, 600),
    share=st.integers(0, 50),
)
def test_pieces_cover_overlap_and_weigh_one(length: int, multiple_of: int, tile: int, share: int) -> None:
    tile = max(tile // multiple_of, 1) * multiple_of
    overlap = tile * share // 100 // multiple_of * multiple_of
    starts, piece = _cut(length, multiple_of, tile, overlap)
    padded = -(-length // multiple_of) * multiple_of
    assert starts[0] == 0
    assert starts[-1] + piece == padded
    assert all(start % multiple_of == 0 for start in [*starts, piece])
    assert piece <= tile
    assert all(0 < b - a <= piece - overlap for a, b in itertools.pairwise(starts))
    total = np.zeros(padded)
    for start, weight in zip(starts, _weights(starts, piece, overlap), strict=True):
        total[start : start + piece] += weight
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_memory_does_not_grow_with_the_longer_side() -> None:
    def peak(length: int) -> int:
        image = np.zeros((64, length, 3), np.uint8)
        tracemalloc.start()
        apply_tiled(identity, image, multiple_of=8, tile=64, overlap=16, out=image)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(20_000) - peak(1_000) < 64 * 19_000 * 3 * 0.2
