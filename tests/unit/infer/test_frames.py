"""The seam `restore_frames`: frames in order, several at once, nothing read far ahead, nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

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
