"""Samples of video: a camera that moves, things that cross, rain that falls, frames from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from repix._types import Floats
from repix.data.clips import ClipDataset, Path2D, group_clips, let_cross, moving_crops
from repix.data.config import Samples
from repix.data.dataset import Sources
from repix.data.pairs import Pair, find_pairs
from repix.degradations import DEGRADATIONS, Context, create_degradation
from repix.degradations.rain import RainParams, draw_falling_streaks, draw_streaks
from repix.errors import InputError, RecipeError
from repix.io.image import write_image


def photo(height: int = 90, width: int = 120, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    made = gaussian_filter(rng.standard_normal((height, width, 3)), (2, 2, 0))
    return np.clip(0.5 + 0.2 * made / made.std(), 0, 1).astype(np.float32)


def files(folder: Path, count: int = 6) -> tuple[list[Path], list[Pair]]:
    """Photos, and a clip whose frames are grey and brighter from one to the next."""
    photos = []
    for number in range(3):
        photos.append(folder / "photos" / f"{number}.png")
        photos[-1].parent.mkdir(parents=True, exist_ok=True)
        write_image(photos[-1], (photo(seed=number) * 255).astype(np.uint8))
    for side in ("rainy", "clean"):
        (folder / "clip" / side).mkdir(parents=True)
        for number in range(count):
            write_image(folder / "clip" / side / f"{number:03d}.png", np.full((64, 70, 3), 20 * number, np.uint8))
    return photos, find_pairs(folder / "clip")


def path(frames: int, step: float) -> Path2D:
    places = np.stack([np.zeros(frames), step * np.arange(frames)], axis=1).astype(np.float32)
    return Path2D(places, np.zeros(frames, np.float32), np.ones(frames, np.float32), 0.0)


def test_a_pan_moves_the_scene_and_nothing_else() -> None:
    clip = moving_crops(photo(), 40, path(4, 3), np.random.default_rng(0))
    assert clip.shape == (4, 40, 40, 3)
    np.testing.assert_allclose(clip[1][:, :-6], clip[0][:, 3:-3], atol=1e-4)
    np.testing.assert_allclose(clip[3][:, :-9], clip[0][:, 9:], atol=1e-4)


def test_what_crosses_covers_the_scene_for_a_while() -> None:
    clip = np.zeros((5, 48, 48, 3), np.float32)
    crossed = let_cross(clip, np.ones((60, 60, 3), np.float32), np.random.default_rng(1))
    shares = crossed.mean((1, 2, 3))
    assert 0 < shares.max() < 0.6
    centres = [np.average(np.arange(48), weights=frame.mean((0, 2)) + 1e-9) for frame in crossed]
    assert np.ptp(centres) > 1


def test_drops_fall_from_frame_to_frame() -> None:
    params = RainParams(layers=1, near=4, far=4.001, angle=0, angle_jitter=0, spread=0, exposure=1 / 400, rate=5)
    first, second = draw_falling_streaks((300, 200), params, np.random.default_rng(0), frames=2, rate=100)
    fallen = [np.corrcoef(first[: 300 - d].ravel(), second[d:].ravel())[0, 1] for d in range(40)]
    # about 4.5 to 8 m/s in 1/100 s at 4 m, 700 pixels of focal length
    assert 6 <= int(np.argmax(fallen)) <= 16
    assert max(fallen) > 0.15 > abs(fallen[0])
    np.testing.assert_array_equal(
        draw_streaks((50, 60), RainParams(), np.random.default_rng(3)),
        draw_falling_streaks((50, 60), RainParams(), np.random.default_rng(3), frames=1)[0],
    )


@pytest.mark.parametrize("name", [name for name in DEGRADATIONS if hasattr(create_degradation(name), "frames")])
def test_degradations_of_frames(name: str) -> None:
    mask = (np.random.default_rng(0).random((60, 50)) > 0.97).astype(np.uint8) * 255
    clean = moving_crops(photo(), 48, path(3, 1), np.random.default_rng(0))
    before = clean.copy()
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    context = Context(severity=(0.6, 0.9), masks=[mask])
    rainy = create_degradation(name).frames(clean, rng, context)  # type: ignore[attr-defined]
    assert rainy.shape == clean.shape
    assert rainy.dtype == np.float32
    assert 0 <= rainy.min() <= rainy.max() <= 1
    np.testing.assert_array_equal(clean, before)
    np.testing.assert_array_equal(
        rainy,
        create_degradation(name).frames(clean, again, context),  # type: ignore[attr-defined]
    )
    if name != "clean":
        layers = rainy - clean
        for _ in range(5):  # by chance a small window has no streak
            layers = np.concatenate([layers, create_degradation(name).frames(clean, rng, context) - clean], axis=1)  # type: ignore[attr-defined]
        assert np.abs(layers).max() > 0.02
        assert np.abs(layers[1] - layers[0]).max() > 0.02  # rain is new in every frame


def dataset(
    tmp_path: Path, mixture: dict[str, float], frames: int = 3, camera: float = 0.0, hard_clean: float = 0.0
) -> ClipDataset:
    photos, pairs = files(tmp_path)
    stages = [Samples(steps=5, batch=1, patch=48, frames=frames, hard_clean=hard_clean)]
    return ClipDataset(Sources(photos, mixture, clips=group_clips([pairs]), camera=camera), stages=stages)


def test_samples_are_clips_and_depend_on_their_number_alone(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"rain": 1, "pairs": 1, "clean": 1}, camera=0.5)
    for index in range(8):
        sample, again = data[index], data[index]
        assert sample["lq"].shape == sample["gt"].shape == (3, 3, 48, 48)
        np.testing.assert_array_equal(sample["lq"], again["lq"])


def test_clean_clips_bring_others_to_choose_from(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"rain": 1, "pairs": 1, "clean": 1}, camera=0.5, hard_clean=1.0)
    samples = [data[index] for index in range(9)]
    clean = [sample for sample in samples if str(sample["name"]).startswith("clean")]
    assert 0 < len(clean) < len(samples)
    for sample in samples:
        assert ("others" in sample) == str(sample["name"]).startswith("clean")
    assert all(sample["others"].shape == (2, 3, 3, 48, 48) for sample in clean)


def test_frames_from_disk_are_consecutive(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"pairs": 1})
    steps = set()
    for index in range(20):
        values = data[index]["gt"].mean((1, 2, 3)).numpy() * 255 / 20
        steps |= set(np.rint(np.diff(values)).astype(int).tolist())
        assert len(set(np.rint(np.diff(values)).astype(int).tolist())) == 1
    assert steps == {-2, -1, 1, 2}


@pytest.mark.parametrize("kind", ["grounds", "hard_negatives"])
def test_a_drawing_that_is_clean_is_seen_by_a_moving_camera(tmp_path: Path, kind: str) -> None:
    data = dataset(tmp_path, {kind: 1}, frames=4)
    moved = 0
    for index in range(12):
        sample, again = data[index], data[index]
        assert sample["lq"].shape == (4, 3, 48, 48)
        np.testing.assert_array_equal(sample["lq"], again["lq"])
        np.testing.assert_array_equal(sample["lq"], sample["gt"])
        moved += not np.array_equal(sample["lq"][0], sample["lq"][-1])
    assert 4 <= moved < 12  # some cameras stand
    photos = {data[index]["lq"].numpy().tobytes() for index in range(12)}
    assert len(photos) == 12


def test_what_knows_images_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'splash' knows images alone"):
        dataset(tmp_path / "a", {"splash": 1})
    with pytest.raises(InputError, match="6 frames are fewer"):
        dataset(tmp_path / "b", {"pairs": 1}, frames=7)
