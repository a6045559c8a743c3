"""Videos through a restorer, and what `deflicker` calms and what it leaves alone. `repix derain` tests the rest."""

from __future__ import annotations

import itertools
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from fake_backend import FakeBackend
from repix._types import Floats
from repix.degradations.rain import RainParams, add_rain
from repix.errors import BackendError, InputError
from repix.infer import deflicker as filtering
from repix.infer.deflicker import deflicker
from repix.infer.jobs import BatchOptions, VideoOptions
from repix.infer.restorer import Restorer
from repix.infer.video import restore_video
from repix.io.video import Frame, VideoReader, VideoWriter

Image = NDArray[np.uint8]
H, W = 64, 96


class Halving(FakeBackend):
    """A network that halves every value, and counts."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.calls = 0
        self.fail_at = fail_at

    def apply(self, x: Floats) -> Floats:
        self.calls += 1
        if self.calls == self.fail_at:
            raise BackendError("out of memory")
        return x * np.float32(0.5)


def scene(seed: int = 0) -> Image:
    """Smooth ground with edges, as photos have."""
    y, x = np.mgrid[0:H, 0:W]
    rng = np.random.default_rng(seed)
    ground = 110 + 40 * np.sin(x / 9 + seed) * np.cos(y / 7) + 40 * ((x // 16 + y // 16) % 2)
    return np.clip(ground[..., None] + rng.uniform(-30, 30, 3), 0, 255).astype(np.uint8)


def video(make: Callable[[int], Image], count: int = 10) -> list[Image]:
    return [make(t) for t in range(count)]


def calmed(frames: list[NDArray[Any]]) -> list[NDArray[Any]]:
    result = list(deflicker(Frame(pixels, 7 * t, t) for t, pixels in enumerate(frames)))
    assert [(frame.pts, frame.duration) for frame in result] == [(7 * t, t) for t in range(len(frames))]
    return [frame.pixels for frame in result]


def flicker(frames: list[NDArray[Any]]) -> float:
    return float(np.mean([np.abs(b.astype(float) - a).mean() for a, b in itertools.pairwise(frames)]))


def error(frames: list[Image], ground_truth: list[Image]) -> float:
    return float(np.mean([(f.astype(float) - t) ** 2 for f, t in zip(frames, ground_truth, strict=True)]))


def rained(frames: list[Image], severity: float = 0.4) -> list[Image]:
    params = RainParams.from_severity(severity, np.random.default_rng(5), focal=100)
    return [add_rain(frame, params, np.random.default_rng([3, t]))[0] for t, frame in enumerate(frames)]


# ---- deflicker


@pytest.mark.parametrize("severity", [0.2, 0.5])
def test_a_still_scene_flickers_less(severity: float) -> None:
    ground_truth = video(lambda t: scene())
    rainy = rained(ground_truth, severity)
    calm = calmed(rainy)
    assert flicker(calm) < 0.7 * flicker(rainy)
    assert error(calm, ground_truth) < error(rainy, ground_truth)


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    rainy = rained(video(lambda t: scene()))
    whole = calmed(rainy)
    monkeypatch.setattr(filtering, "_BAND", 7)
    for a, b in zip(whole, calmed(rainy), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sixteen_bits_as_eight() -> None:
    rainy = rained(video(lambda t: scene()))
    wide = [frame.astype(np.uint16) * 257 for frame in rainy]
    for a, b in zip(calmed(rainy), calmed(wide), strict=True):
        assert b.dtype == np.uint16
        np.testing.assert_allclose(b / 257, a, atol=0.51)


@pytest.mark.parametrize("step", [(0, 5), (3, 0), (1, 1)])
@pytest.mark.parametrize("grain", [0, 200])
def test_a_moving_camera_changes_nothing(step: tuple[int, int], grain: int) -> None:
    leaves = np.random.default_rng(0).integers(0, grain + 1, (H, W, 1))  # finer than the movement
    wide = np.tile((scene() // (5 if grain else 1) + leaves).astype(np.uint8), (2, 2, 1))
    panned = rained(video(lambda t: wide[step[0] * t : step[0] * t + H, step[1] * t : step[1] * t + W].copy()), 0.2)
    for frame, calm in zip(panned, calmed(panned), strict=True):
        np.testing.assert_array_equal(frame, calm)


def with_ball(t: int) -> Image:
    frame = scene()
    frame[20:40, 5 + 8 * t : 20 + 8 * t] = (250, 240, 30)
    frame[50, 80 - 7 * t] = (0, 0, 0)  # and something tiny
    return frame


def test_no_ghost_behind_what_moves() -> None:
    clean = video(with_ball)
    for before, after in zip(clean, calmed(clean), strict=True):  # without rain not one sample changes
        np.testing.assert_array_equal(before, after)
    rainy = rained(clean, 0.3)
    calm = calmed(rainy)
    assert error(calm, clean) <= error(rainy, clean)
    assert flicker(calm) < flicker(rainy)
    ghosts = []
    for t in range(2, 8):
        near = [np.abs(with_ball(k).astype(int) - clean[t]).max(axis=2) > 16 for k in (t - 2, t - 1, t + 1, t + 2)]
        where = np.any(near, axis=0)
        ghosts.append(np.abs(calm[t][where].astype(int) - rainy[t][where]).mean())
    assert np.mean(ghosts) < 2


def test_a_cut_does_not_mix() -> None:
    frames = [scene(0)] * 4 + [scene(9)] * 4
    for before, after in zip(frames, calmed(frames), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6])
def test_short_videos(count: int) -> None:
    frames = rained(video(lambda t: scene(), count))
    assert len(calmed(frames)) == count


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3)])
def test_tiny_frames_and_flat_ones(size: tuple[int, int]) -> None:
    frames = [np.full((*size, 3), 90, np.uint8)] * 4
    for before, after in zip(frames, calmed(frames), strict=True):
        np.testing.assert_array_equal(before, after)


def test_deflicker_holds_five_frames() -> None:
    made = 0

    def endless() -> Any:
        nonlocal made
        while True:
            made += 1
            yield Frame(scene(), made)

    calm = deflicker(endless())
    for shown in range(1, 30):
        assert next(calm).pts == shown
        assert made == shown + 2


# ---- restore_video


def save(path: Path, frames: list[Image], rate: int = 25) -> Path:
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate, {"crf": "5", "preset": "ultrafast"}, width=W, height=H)
        video.codec_context.time_base = Fraction(1, rate)
        for t, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = t, Fraction(1, rate)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def load(path: Path) -> list[Any]:
    with VideoReader(path) as reader:
        return [item.pixels for item in reader if isinstance(item, Frame)]


def test_every_frame_goes_through_the_network_once(tmp_path: Path) -> None:
    src, dst, network = save(tmp_path / "a.mp4", video(with_ball, 9)), tmp_path / "b.mp4", Halving()
    steps: list[tuple[int, int]] = []
    notes = restore_video(
        Restorer(network),
        src,
        dst,
        options=BatchOptions(video=VideoOptions(crf=0)),
        progress=lambda done, count, rate: steps.append((done, count)),
    )
    assert notes == ()
    assert network.calls == 9
    assert steps == [(number, 9) for number in range(1, 10)]
    for before, after in zip(load(src), load(dst), strict=True):
        assert np.abs(after.astype(float) - before / 2).mean() < 1.5


def test_strength_and_deflicker(tmp_path: Path) -> None:
    src = save(tmp_path / "a.mp4", rained(video(lambda t: scene())))
    restorer = Restorer(Halving())
    changes = []
    for calmed in (False, True):
        options = BatchOptions(strength=0.5, video=VideoOptions(crf=0, deflicker=calmed))
        restore_video(restorer, src, tmp_path / "b.mp4", options=options)
        out = load(tmp_path / "b.mp4")
        assert len(out) == 10
        assert np.mean(out) == pytest.approx(0.75 * np.mean(load(src)), abs=1.5)
        changes.append(flicker(out))
    assert changes[1] < 0.7 * changes[0]


def test_a_failing_network_leaves_nothing(tmp_path: Path) -> None:
    src, dst = save(tmp_path / "a.mp4", video(with_ball)), tmp_path / "b.mp4"
    with pytest.raises(BackendError, match="out of memory"):
        restore_video(Restorer(Halving(fail_at=5)), src, dst)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_in_its_own_place(tmp_path: Path) -> None:
    src = save(tmp_path / "a.mp4", video(with_ball))
    before = load(src)
    restore_video(Restorer(Halving()), src, src)
    assert np.mean(load(src)) == pytest.approx(np.mean(before) / 2, abs=2)
    with pytest.raises(InputError, match="unknown codec"):
        restore_video(Restorer(Halving()), src, src, options=BatchOptions(video=VideoOptions(codec="theora")))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_network_waits_for_a_slow_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src, network = save(tmp_path / "a.mp4", video(with_ball) * 3), Halving()
    ahead: list[int] = []
    write, written = VideoWriter.write, 0

    def slowly(self: VideoWriter, item: Any) -> None:
        nonlocal written
        time.sleep(0.004)
        write(self, item)
        written += 1
        ahead.append(network.calls - written)

    monkeypatch.setattr(VideoWriter, "write", slowly)
    restore_video(Restorer(network), src, tmp_path / "b.mp4")
    assert written == 30
    assert max(ahead) <= 5


def test_several_frames_at_once_are_the_same_video(tmp_path: Path) -> None:
    src = save(tmp_path / "a.mp4", video(with_ball))
    videos = []
    for threads in (1, 3):
        restorer = Restorer.from_pretrained(device="cpu", threads=threads)
        assert restorer.parallel()[1] == threads
        restore_video(restorer, src, tmp_path / "b.mp4", options=BatchOptions(video=VideoOptions(crf=0)))
        videos.append(np.stack(load(tmp_path / "b.mp4")))
    np.testing.assert_array_equal(videos[0], videos[1])


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks, short, long = [], 40, 400  # how full the queues get depends on how busy the machine is: some 20 frames
    for count in (short, long):
        src = save(tmp_path / f"{count}.mp4", [with_ball(t % 9) for t in range(count)])
        restore_video(Restorer(Halving()), src, tmp_path / "b.mp4")  # what is loaded on first use is no matter here
        tracemalloc.start()
        restore_video(
            Restorer(Halving()), src, tmp_path / "b.mp4", options=BatchOptions(video=VideoOptions(deflicker=True))
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < (long - short) * H * W * 3 / 2  # half of what one frame kept at each step would take


@pytest.mark.parametrize("deflicker", [False, True])
def test_few_frames_are_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deflicker: bool) -> None:
    """However fast the reader and slow the writer: what PyAV holds is not in what Python counts as its memory."""
    alive: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    numbers, most = itertools.count(), 0
    read, write = VideoReader.__iter__, VideoWriter.write

    def count(item: Any) -> None:
        nonlocal most
        if isinstance(item, Frame):
            alive[next(numbers)] = item.pixels
            most = max(most, len(alive))

    def counted_read(self: VideoReader) -> Iterator[Any]:
        for item in read(self):
            count(item)
            yield item
            del item

    def counted_write(self: VideoWriter, item: Any) -> None:
        count(item)
        write(self, item)

    monkeypatch.setattr(VideoReader, "__iter__", counted_read)
    monkeypatch.setattr(VideoWriter, "write", counted_write)
    src = save(tmp_path / "a.mp4", [with_ball(t % 9) for t in range(160)])
    options = BatchOptions(video=VideoOptions(deflicker=deflicker))
    restore_video(Restorer(Halving()), src, tmp_path / "b.mp4", options=options)
    assert next(numbers) == 320
    assert most <= 40  # of 320; each of the queues holds a few
