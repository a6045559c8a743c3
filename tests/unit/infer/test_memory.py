"""Networks that carry a state through a video: cut and joined as tiles are, and forgotten where the scene changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

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


class Told(FakeBackend):
    """Paints the motion it is told, and leaves another."""

    def __init__(self) -> None:
        self.told: list[Floats] = []

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        (motion,) = state
        assert motion.shape == (1, 2, x.shape[2] // 8, x.shape[3] // 8)
        self.told.append(motion)
        y = np.zeros_like(x)
        y[:, :2] = np.repeat(np.repeat(motion, 8, 2), 8, 3) / 32 + 0.5
        return y, (motion * 0 + 3,)


class Copying(FakeBackend):
    """Gives back the frames that it gets."""

    def __init__(self, told: Told) -> None:
        self.told = told

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        return x, self.told.run(x, state)[1]


def panned(height: int, width: int, count: int) -> list[Image]:
    ground = gaussian_filter(np.random.default_rng(0).random((height + 20, width + 40, 3)), (2, 2, 0))
    ground = (255 * (ground - ground.min()) / (ground.max() - ground.min())).astype(np.uint8)
    return [np.ascontiguousarray(ground[2 * t : 2 * t + height, 4 * t : 4 * t + width]) for t in range(count)]


MOTION = (State(name="motion", channels=2, stride=8, camera=True),)


@pytest.mark.parametrize("size", [(128, 176), (176, 128)])
def test_the_cameras_motion_is_told_to_tiles_as_to_the_whole(size: tuple[int, int]) -> None:
    videos = []
    for tiling in (None, Tiling(tile=80, overlap=16)):
        backend = Told()
        restorer = Restorer(backend, multiple_of=8, tiling=tiling, state=MOTION)
        memory = restorer.remember()
        assert memory is not None
        video = []
        for t, image in enumerate(panned(*size, 3)):
            memory.begin_frame(image)
            made = restorer.restore(image, levels=(1,), memory=memory).image
            memory.end_frame(image)
            video.append(made)
            if t > 0:  # (4, 2) of 32, and a half
                np.testing.assert_allclose(made[..., 0], 255 * (4 / 32 + 0.5), atol=0.6)
                np.testing.assert_allclose(made[..., 1], 255 * (2 / 32 + 0.5), atol=0.6)
        assert not backend.told[0].any()
        videos.append(video)
    for whole, tiled in zip(*videos, strict=True):
        np.testing.assert_array_equal(whole, tiled)


def test_what_the_network_leaves_stands_where_no_motion_can_be_told() -> None:
    backend = Told()
    flat = [np.full((40, 48, 3), 90, np.uint8)] * 3
    list(restore_frames(Restorer(backend, multiple_of=8, state=MOTION), [Frame(p, 40 * t) for t, p in enumerate(flat)]))
    assert [float(motion.mean()) for motion in backend.told] == [0, 3, 3]


def test_a_pan_over_fine_texture_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    ground = np.repeat(np.repeat(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), 4, 0), 4, 1)
    frames = [np.ascontiguousarray(ground[:200, 6 * t : 6 * t + 300]) for t in range(3)]
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 0.2 * 255
    backend = Told()
    frames.append(255 - frames[2])  # and this is one
    shown = (Frame(pixels, 40 * t) for t, pixels in enumerate(frames))
    list(restore_frames(Restorer(Copying(backend), multiple_of=8, state=MOTION), shown))
    assert [motion[0, 0].mean() for motion in backend.told] == [0, 6, 6, 0]


def test_a_turned_frame_at_a_level_gets_its_own_motion() -> None:
    backend = Told()
    restorer = Restorer(backend, multiple_of=8, scales=(1, 16), state=MOTION)
    memory = restorer.remember()
    assert memory is not None
    for image in panned(500, 520, 2):
        memory.begin_frame(image)
        restorer.restore(image, levels=(2,), turned=True, memory=memory)
        memory.end_frame(image)
    np.testing.assert_allclose(backend.told[1][0, 0], 1)  # two rows down are one column to the right at half the size
    np.testing.assert_allclose(backend.told[1][0, 1], 2)


def test_mirrored_runs_have_no_memory() -> None:
    restorer = Restorer(Remembering(), state=STATE, quality="best")
    with pytest.raises(InputError, match="take fast"):
        next(restore_frames(restorer, [Frame(noise(8, 8, 0), 0)]))
