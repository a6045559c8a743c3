"""Frames of a scene to one photograph: aligned, without rain, with nobody doubled or erased."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageCms
from scipy.ndimage import gaussian_filter, map_coordinates

from fake_backend import FakeBackend
from repix import merge
from repix.errors import InputError
from repix.infer.align import find_motion
from repix.infer.restorer import Restorer
from repix.io.image import Picture

Image = NDArray[np.uint8]
H, W = 120, 160


def unchanged() -> Restorer:
    """A network that finds no rain: what the frames themselves can do."""
    return Restorer(FakeBackend())


@functools.cache
def ground(height: int = H + 60, width: int = W + 60) -> Image:
    """A scene with detail of every size, as photos have."""
    rng = np.random.default_rng(7)
    layers = [gaussian_filter(rng.standard_normal((height, width, 3)), (s, s, 0)) * s * 18 for s in (1.5, 4, 12)]
    return np.clip(120 + sum(layers), 20, 200).astype(np.uint8)


def view(down: float = 0, right: float = 0, angle: float = 0, zoom: float = 1) -> Image:
    y, x = np.mgrid[0:H, 0:W].astype(float)
    y, x = y - H / 2, x - W / 2
    turn = np.deg2rad(angle)
    places = (
        (H + 60) / 2 + zoom * (y * np.cos(turn) + x * np.sin(turn)) + down,
        (W + 60) / 2 + zoom * (x * np.cos(turn) - y * np.sin(turn)) + right,
    )
    moved = [map_coordinates(ground()[..., c].astype(float), places, order=3) for c in range(3)]
    return np.clip(np.rint(np.stack(moved, axis=2)), 0, 255).astype(np.uint8)


def rained(frame: Image, seed: int, streaks: int = 50) -> Image:
    """Bright streaks, one or two pixels wide, other ones in every frame."""
    rng = np.random.default_rng(seed)
    result = frame.astype(int)
    for _ in range(streaks):
        x, y, length, width = rng.integers(W), rng.integers(-20, H), rng.integers(10, 25), rng.integers(1, 3)
        result[max(y, 0) : y + length, x : x + width] += rng.integers(30, 90)
    return np.clip(result, 0, 255).astype(np.uint8)


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def burst(count: int = 9, **motion: float) -> list[Image]:
    """Frames of a hand: each another way, the middle one straight."""
    rng = np.random.default_rng(3)
    frames = []
    for t in range(count):
        amount = {name: float(rng.uniform(-1, 1)) * value for name, value in motion.items()}
        zoom = 1 + amount.pop("zoom", 0.0)
        frames.append(view(zoom=zoom, **amount) if t != (count - 1) // 2 else view())
    return frames


# ---- alignment


@pytest.mark.parametrize(
    "motion",
    [
        {"down": 0.4, "right": -0.3},
        {"down": 9, "right": -14},
        {"down": 3, "right": 5, "angle": 3},
        {"angle": -2, "zoom": 1.05},
        {"down": -20, "right": 18},
    ],
)
def test_the_motion_of_a_camera_is_found(motion: dict[str, float]) -> None:
    reference, frame = rained(view(), 1, 5), rained(view(**motion), 2, 5)
    found = find_motion(reference, frame)
    assert not found.is_still
    places = found.rows(0, H, (H, W))
    # where the scene of the reference's pixels lies in the frame, turned back
    turn, zoom = np.deg2rad(motion.get("angle", 0)), motion.get("zoom", 1)
    y, x = np.mgrid[0:H, 0:W].astype(float)
    y, x = (y - H / 2 - motion.get("down", 0)) / zoom, (x - W / 2 - motion.get("right", 0)) / zoom
    expected = np.stack(
        [H / 2 + y * np.cos(turn) - x * np.sin(turn), W / 2 + x * np.cos(turn) + y * np.sin(turn)], axis=2
    )
    inside = (expected > 3).all(axis=2) & (expected[..., 0] < H - 4) & (expected[..., 1] < W - 4)
    assert np.quantile(np.abs(places - expected)[inside], 0.95) < 0.35


def test_a_tripod_is_left_alone() -> None:
    found = find_motion(rained(view(), 1, 20), rained(view(), 2, 20))
    assert found.is_still
    places = found.rows(5, 7, (H, W))
    np.testing.assert_array_equal(places[..., 0], np.broadcast_to([[5], [6]], (2, W)))


def test_other_light_is_no_motion() -> None:
    brighter = np.clip(view(right=4).astype(float) * 1.25 + 5, 0, 255).astype(np.uint8)
    places = find_motion(view(), brighter).rows(20, H - 20, (H, W))
    offset = places[:, 20:-20, 1] - np.arange(20, W - 20)
    assert np.abs(offset + 4).max() < 0.3


# ---- merging


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_what_rain_hides_in_one_frame_the_others_show(kind: Any) -> None:
    factor = 257 if kind is np.uint16 else 1
    frames = [rained(view(), t).astype(kind) * kind(factor) for t in range(9)]
    made = merge(frames, restorer=unchanged())
    assert made.pixels.dtype == kind
    assert psnr(frames[4] / factor, view()) < 26
    assert psnr(made.pixels / factor, view()) > 38


def test_from_the_hand() -> None:
    clean = burst(down=6, right=8, angle=1.5, zoom=0.01)
    frames = [rained(frame, t) for t, frame in enumerate(clean)]
    made = merge(frames, restorer=unchanged())
    assert made.notes == ()
    assert psnr(frames[4], view()) < 26
    assert psnr(made.pixels, view()) > 32


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [rained(frame, t) for t, frame in enumerate(burst(5, down=4, right=4))]
    whole = merge(frames, restorer=unchanged()).pixels
    monkeypatch.setattr("repix.infer.merge._BAND", 31)
    # how alike frames are is measured on bands too
    assert np.abs(whole.astype(int) - merge(frames, restorer=unchanged()).pixels).mean() < 0.5


def walking(t: int, *, dark: bool) -> Image:
    frame = view()
    frame[30:90, 10 + 15 * t : 28 + 15 * t] = (25, 30, 40) if dark else (240, 230, 225)
    return frame


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("reference", [0, 4, 8])
def test_who_walks_is_neither_doubled_nor_erased(dark: bool, reference: int) -> None:
    clean = [walking(t, dark=dark) for t in range(9)]
    frames = [rained(frame, t, 40) for t, frame in enumerate(clean)]
    made = merge(frames, reference=reference, restorer=unchanged()).pixels.astype(int)
    person = np.zeros((H, W), bool)
    person[30:90, 10 + 15 * reference : 28 + 15 * reference] = True
    error = np.abs(made - clean[reference]).max(axis=2)
    assert np.median(error[person]) < 3  # there, with the rain of one frame
    ways = np.zeros((H, W), bool)
    ways[30:90, 10:148] = True
    around = np.zeros((H, W), bool)
    around[24:96, 4 + 15 * reference : 34 + 15 * reference] = True
    assert np.quantile(error[ways & ~around], 0.99) < 12  # nobody where others have stood
    assert error[ways & ~around].mean() < 3


def test_a_thin_dark_thing_that_moves_stays() -> None:
    """Rain is bright: what is thin and dark, such as a bird, is no streak."""
    clean = []
    for t in range(9):
        frame = view()
        frame[20:100, 150 - 15 * t : 152 - 15 * t] = 10
        clean.append(frame)
    made = merge([rained(frame, t, 30) for t, frame in enumerate(clean)], restorer=unchanged()).pixels
    assert np.median(made[20:100, 90:92]) < 30
    for t in (2, 3, 5, 6):
        column = slice(150 - 15 * t, 152 - 15 * t)
        assert np.abs(made[20:100, column].astype(int) - view()[20:100, column]).mean() < 6


def test_exposure_may_change() -> None:
    frames = [np.clip(rained(view(), t) * (1 + 0.03 * (t - 4)), 0, 255).astype(np.uint8) for t in range(9)]
    assert psnr(merge(frames, restorer=unchanged()).pixels, view()) > 35


def test_a_frame_of_something_else_is_left_out() -> None:
    frames = [rained(view(), t) for t in range(5)]
    frames[1] = np.ascontiguousarray(frames[1][::-1, ::-1])
    frames[3] = np.full_like(frames[3], 250)
    made = merge(frames, restorer=unchanged())
    assert made.notes == (
        "frame 2 left out: it shows something else than the reference",
        "frame 4 left out: it shows something else than the reference",
    )
    assert psnr(made.pixels, view()) > 25


def test_the_reference_gives_everything_else() -> None:
    frames = [Picture(rained(view(), t), metadata={"exif-data": bytes([t])}, notes=(str(t),)) for t in range(3)]
    made = merge(frames, reference=2, restorer=unchanged())
    assert made.metadata == {"exif-data": b"\2"}
    assert made.notes == ("2",)
    fractions: list[float] = []
    merge(frames, restorer=unchanged(), progress=fractions.append)
    assert sum(fractions) == pytest.approx(1)


def test_a_frame_of_other_colours_is_converted() -> None:
    """Red and blue in the other's places: what is left of that frame's numbers would show."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, blue = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    swapped = srgb[:red] + b"bXYZ" + srgb[red + 4 : blue] + b"rXYZ" + srgb[blue + 4 :]
    frames = [Picture(rained(view(), number), metadata={"icc-profile-data": srgb}) for number in range(2)]
    other = np.ascontiguousarray(rained(view(), 2)[..., ::-1])
    made = merge([*frames, Picture(other, metadata={"icc-profile-data": swapped})], reference=0, restorer=unchanged())
    assert made.notes == ("frame 3's colours were converted to the reference's colour space",)
    alike = merge([rained(view(), number) for number in range(3)], reference=0, restorer=unchanged())
    assert psnr(made.pixels, alike.pixels) > 45


def test_the_network_has_the_last_word() -> None:
    """What no other frame shows is restored too."""

    class Clipping(FakeBackend):
        def apply(self, x: Any) -> Any:
            return np.minimum(x, np.float32(0.5))

    for frames in ([view()] * 3, [view()]):
        made = merge(frames, restorer=Restorer(Clipping()))
        assert np.abs(made.pixels.astype(float) - np.minimum(view(), 127.5)).max() <= 1


@pytest.mark.parametrize(
    ("frames", "options", "said"),
    [
        ([], {}, "at least one frame"),
        ([view(), view()[:-1]], {}, "frame 2 is 160×119 uint8, the reference 160×120 uint8"),
        ([view(), view().astype(np.uint16)], {}, "frame 2 is 160×120 uint16"),
        ([view()], {"reference": 1}, "reference must be 0 to 0"),
        ([view()[..., 0]], {}, r"must be an \(H, W, 3\) RGB array"),
        ([view().astype(np.float32)], {}, "must be uint8 or uint16"),
    ],
)
def test_frames_that_do_not_fit(frames: list[Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        merge(frames, restorer=unchanged(), **options)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (20, 20)])
def test_small_images(size: tuple[int, int]) -> None:
    frame = np.full((*size, 3), 90, np.uint8)
    np.testing.assert_array_equal(merge([frame] * 3, restorer=unchanged()).pixels, frame)
