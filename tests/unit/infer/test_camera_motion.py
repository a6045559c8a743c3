"""The camera's motion: exact under rain, blind to what moves by itself, silent where nothing is seen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from repix.infer.camera import Camera, CameraMotion

Image = NDArray[np.uint8]
H, W = 180, 260
SHIFTED = (3.4, 0, 0, -2.7, 0, 0, 0, 0)
HELD = (1.5, 0.8, 2.3, -4.2, -2.3, 0.8, 0, 0)
TURNED_AWAY = (-6.0, 0.5, 0, 1.0, 0, 0.4, 0.9, -0.3)
STILL = (0, 0, 0, 0, 0, 0, 0, 0)


def scene(height: int = 3 * H, width: int = 3 * W, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    sizes = [gaussian_filter(rng.standard_normal((height, width, 3)), (s, s, 0)) * s for s in (1.5, 4, 12)]
    made = np.sum(sizes, axis=0)
    return np.clip(120 + 40 * made / made.std(), 0, 255).astype(np.float32)


def two_frames(motion: CameraMotion, rain: int = 0, seed: int = 0) -> tuple[Image, Image]:
    """A frame without rain and the next one, in which each place was where `motion` says."""
    ground = scene(seed=seed)
    y, x = np.mgrid[0:H, 0:W].astype(np.float32)
    right, down = motion.at(x, y)
    places = (y + down + H, x + right + W)
    now = np.stack([map_coordinates(ground[..., c], places, order=3) for c in range(3)], axis=2)
    rng = np.random.default_rng(9)
    for _ in range(rain):
        top, left = int(rng.integers(H - 30)), int(rng.integers(W - 1))
        now[top : top + 30, left : left + 2] += 70
    before = ground[H : 2 * H, W : 2 * W]
    return tuple(np.clip(np.rint(one), 0, 255).astype(np.uint8) for one in (before, now))  # type: ignore[return-value]


def followed(before: Image, now: Image) -> CameraMotion | None:
    camera = Camera()
    assert camera.follow(before) is None
    camera.keep(before)
    return camera.follow(now)


def apart(found: CameraMotion | None, true: CameraMotion) -> float:
    assert found is not None
    cells = (H // 8, W // 8)
    return float(np.abs(found.cells(8, 1, cells) - true.cells(8, 1, cells)).max())


@pytest.mark.parametrize("rain", [0, 150])
@pytest.mark.parametrize("numbers", [SHIFTED, HELD, TURNED_AWAY, STILL])
def test_motion_is_found_under_rain(numbers: tuple[float, ...], rain: int) -> None:
    motion = CameraMotion(numbers, (H, W))
    assert apart(followed(*two_frames(motion, rain)), motion) < 0.12


def test_a_far_shift_and_sixteen_bits() -> None:
    motion = CameraMotion((41, 0, 0, -23, 0, 0, 0, 0), (H, W))
    before, now = two_frames(motion, 60)
    assert apart(followed(before, now), motion) == 0  # by whole pixels: nothing is interpolated
    deep = followed(before.astype(np.uint16) * 257, now.astype(np.uint16) * 257)
    assert apart(deep, motion) == 0


def test_what_moves_by_itself_and_another_light_change_nothing() -> None:
    motion = CameraMotion(HELD, (H, W))
    before, now = two_frames(motion)
    before[40:120, 30:110] = scene(80, 80, seed=5)
    now[40:120, 50:130] = scene(80, 80, seed=5)
    assert apart(followed(before, now), motion) < 0.15
    assert apart(followed(before // 2, np.minimum(now // 2 + 12, 255)), motion) < 0.15


def test_nothing_is_said_where_nothing_is_seen() -> None:
    before, _ = two_frames(CameraMotion(STILL, (H, W)))
    _, other = two_frames(CameraMotion(STILL, (H, W)), seed=1)
    assert followed(before, other) is None  # another scene
    flat = np.full((H, W, 3), 90, np.uint8)
    assert followed(flat, flat) is None
    for size in ((1, 1), (5, 200), (23, 23)):
        small = np.zeros((*size, 3), np.uint8)
        assert followed(small, small) is None


def test_levels_and_turned_frames_have_the_same_motion() -> None:
    motion = CameraMotion(TURNED_AWAY, (H, W))
    whole = motion.cells(8, 1, (16, 32))
    # a cell of level 2 has the place of four cells
    means = whole.reshape(1, 2, 8, 2, 16, 2).mean((3, 5))
    np.testing.assert_allclose(motion.cells(8, 2, (8, 16)), means / 2, atol=0.02)
    turned = motion.cells(8, 1, (32, 16), turned=True)
    np.testing.assert_allclose(turned, whole[:, ::-1].swapaxes(2, 3), atol=1e-5)


def test_forgotten() -> None:
    before, now = two_frames(CameraMotion(SHIFTED, (H, W)))
    camera = Camera()
    camera.keep(before)
    camera.forget()
    assert camera.follow(now) is None
