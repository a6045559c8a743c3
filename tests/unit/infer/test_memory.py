"""Networks that carry a state through a video: cut and joined as tiles are, and forgotten where the scene changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fake_backend import FakeBackend
from repix._types import Floats
from repix.errors import InputError
from repix.infer.frames import restore_frames
from repix.infer.restorer import Restorer
from repix.io.video import Frame
from repix.weights import State, Tiling

Image = NDArray[np.uint8]
STATE = (State(name="before", channels=3), State(name="count", channels=1, stride=2))


class Remembering(FakeBackend):
    """Gives a tenth of the frame before, and counts the frames; the count is in each pixel of a state of half size."""

    def __init__(self) -> None:
        self.counts: list[float] = []

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        before, count = state
        assert before.shape == x.shape
        assert count.shape == (1, 1, x.shape[2] // 2, x.shape[3] // 2)
        self.counts.append(float(count.mean()))
        assert np.allclose(count, count.mean())
        return before * np.float32(0.1), (x, count + 1)


def restored(
    images: Sequence[Image], *, pts: Sequence[int] | None = None, **how: object
) -> tuple[list[Image], list[float]]:
    backend = Remembering()
    restorer = Restorer(backend, multiple_of=4, state=STATE, **how)  # type: ignore[arg-type]
    times = pts or [40 * number for number in range(len(images))]
    made = restore_frames(restorer, (Frame(image, t) for image, t in zip(images, times, strict=True)))
    return [frame.pixels for frame in made], backend.counts


def noise(height: int, width: int, seed: int) -> Image:
    return np.random.default_rng(seed).integers(100, 140, (height, width, 3), dtype=np.uint8)


def test_the_frame_before_arrives() -> None:
    images = [noise(21, 30, seed) for seed in range(4)]
    made, counts = restored(images)
    assert counts == [0, 1, 2, 3]
    assert not made[0].any()
    for before, image in zip(images, made[1:], strict=False):
        np.testing.assert_allclose(image, before * 0.1, atol=0.51)


@pytest.mark.parametrize("size", [(70, 45), (45, 70), (33, 34)])
def test_tiles_are_cut_and_joined(size: tuple[int, int]) -> None:
    images = [noise(*size, seed) for seed in range(3)]
    whole, _ = restored(images)
    tiled, counts = restored(images, tiling=Tiling(tile=24, overlap=8))
    assert len(counts) > 3 * 2
    for a, b in zip(whole, tiled, strict=True):
        np.testing.assert_allclose(a.astype(int), b, atol=1)


def test_each_level_remembers_for_itself() -> None:
    images = [noise(500, 520, seed) for seed in range(3)]
    _, counts = restored(images, scales=(1, 2), levels=(2, 1))
    assert counts == [0, 0, 1, 1, 2, 2]


def test_a_cut_and_missing_frames_forget() -> None:
    images = [noise(20, 20, seed) for seed in range(6)]
    images[2:] = [image // 4 for image in images[2:]]  # another scene
    assert restored(images)[1] == [0, 1, 0, 1, 2, 3]
    alike = [noise(20, 20, seed) for seed in range(6)]
    assert restored(alike, pts=[0, 40, 80, 160, 200, 240])[1] == [0, 1, 2, 0, 1, 2]  # one is missing
    assert restored(alike, pts=[0, 40, 80, 20, 60, 100])[1] == [0, 1, 2, 0, 1, 2]  # time goes back
    assert restored(alike, pts=[0, 33, 67, 100, 133, 167])[1] == [0, 1, 2, 3, 4, 5]


def test_an_image_is_a_first_frame() -> None:
    backend = Remembering()
    restorer = Restorer(backend, multiple_of=4, state=STATE)
    for _ in range(2):
        assert not restorer(noise(20, 20, 0)).any()
    assert backend.counts == [0, 0]


def test_mirrored_runs_have_no_memory() -> None:
    restorer = Restorer(Remembering(), state=STATE, quality="best")
    with pytest.raises(InputError, match="take fast"):
        next(restore_frames(restorer, [Frame(noise(8, 8, 0), 0)]))
