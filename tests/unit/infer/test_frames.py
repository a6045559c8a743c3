"""The seam `restore_frames`: frames in order, several at once, nothing read far ahead, nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import grey_opening

from fake_backend import FakeBackend
from repix._types import Floats
from repix.errors import BackendError
from repix.infer.frames import restore_frames
from repix.infer.restorer import Restorer
from repix.io.video import Frame


class Halving(FakeBackend):
    def __init__(self, calls: int = 1, *, fail_on: int | None = None) -> None:
        self.calls, self.fail_on = calls, fail_on

    def apply(self, x: Floats) -> Floats:
        if self.fail_on is not None and round(float(x.max()) * 255) == self.fail_on:
            raise BackendError("out of memory")
        return x * np.float32(0.5)

    def parallel(self) -> tuple[Halving, int]:
        return self, self.calls


def frames(count: int, read: list[int] | None = None) -> Iterator[Frame]:
    for number in range(count):
        if read is not None:
            read.append(number)
        yield Frame(np.full((6, 5, 3), 2 * number, np.uint8), 40 * number, 40)


@pytest.mark.parametrize("deflicker", [False, True])
@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 12])
def test_as_many_frames_with_the_same_times(count: int, calls: int, deflicker: bool) -> None:
    made = list(restore_frames(Restorer(Halving(calls)), frames(count), deflicker=deflicker))
    assert [(frame.pts, frame.duration) for frame in made] == [(40 * number, 40) for number in range(count)]
    if not deflicker:
        assert [int(frame.pixels[0, 0, 0]) for frame in made] == list(range(count))


def test_strength() -> None:
    (made,) = restore_frames(Restorer(Halving()), [Frame(np.full((6, 5, 3), 100, np.uint8), 0, 1)], strength=0.5)
    assert (made.pixels == 75).all()


@pytest.mark.parametrize(("calls", "deflicker", "ahead"), [(1, False, 2), (3, False, 4), (1, True, 4)])
def test_little_is_read_ahead(calls: int, deflicker: bool, ahead: int) -> None:
    read: list[int] = []
    made = restore_frames(Restorer(Halving(calls)), frames(1000, read), deflicker=deflicker)
    for done in range(20):
        next(made)
        assert len(read) <= done + ahead
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("repix-network")]


def test_a_network_that_fails_ends_it() -> None:
    made = restore_frames(Restorer(Halving(3, fail_on=10)), frames(50))
    with pytest.raises(BackendError, match="out of memory"):
        list(made)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("repix-network")]


class Lines(FakeBackend):
    """Takes away bright lines of up to three pixels; `sizes` are those of what it was given."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def apply(self, x: Floats) -> Floats:
        self.sizes.append(x.shape[2:])
        rain = x - grey_opening(x, size=(1, 1, 1, 4), mode="nearest")
        return x - np.where(rain > 0.04, rain, 0)


def rainy(wide: int, ground: int = 90) -> NDArray[np.uint8]:
    image = np.full((500, 640, 3), ground, np.uint8)
    rng = np.random.default_rng(wide)
    for _ in range(800 // wide**2):
        y, x = rng.integers(0, 500), rng.integers(0, 630)
        image[y : y + 15 * wide, x : x + wide] = ground + 70
    return image


def levels_of_frames(images: list[NDArray[np.uint8]], **settings: Any) -> list[tuple[int, ...]]:
    """Which levels each frame ran."""
    restorer = Restorer(Lines(), multiple_of=8, scales=(1, 16), **settings)
    asked: list[tuple[int, ...]] = []
    restore = restorer.restore

    def watched(image: NDArray[np.uint8], **kwargs: Any) -> Any:
        made = restore(image, **kwargs)
        if "levels" in kwargs:
            asked.append(made.levels)
        return made

    restorer.restore = watched  # type: ignore[method-assign, assignment]
    restorer.parallel = lambda: (restorer, 1)  # type: ignore[method-assign]
    list(restore_frames(restorer, (Frame(image, 40 * n, 40) for n, image in enumerate(images))))
    return asked


def test_levels_are_found_once_a_scene() -> None:
    thin, wide = rainy(2), rainy(6, ground=10)
    found = levels_of_frames([thin] * 5 + [wide] * 5)
    assert len(set(found[:5])) == len(set(found[5:])) == 1
    assert found[0][0] == 1
    assert found[5][0] == 2  # the cut was seen


def test_levels_change_when_two_looks_agree() -> None:
    thin, wide = rainy(2), rainy(6)
    once = levels_of_frames([thin] * 30 + [wide] + [thin] * 60)
    assert set(once) == {once[0]}
    found = levels_of_frames([thin] * 10 + [wide] * 90)
    assert found[59] == found[0]
    assert found[60] == found[-1] != found[0]


def test_levels_that_are_asked_for_are_not_looked_for() -> None:
    assert set(levels_of_frames([rainy(2)] * 3, levels=(2,))) == {(2,)}


def test_strength_0_runs_nothing() -> None:
    backend = Lines()
    (made,) = restore_frames(Restorer(backend, multiple_of=8, scales=(1, 16)), [Frame(rainy(2), 0, 1)], strength=0)
    assert backend.sizes == []
    np.testing.assert_array_equal(made.pixels, rainy(2))
