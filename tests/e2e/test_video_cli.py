"""`repix derain` on videos, as users meet them. The network is `darkening_weight` (times 0.4)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from own_process import process, stopped_at
from PIL import Image

from repix.cli import main
from repix.io.video import Frame, VideoReader
from videos import frames_of, make_video, sound_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def derain(darkening_weight: Path, work: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["derain", "--model", str(darkening_weight), *map(str, arguments)])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert not list(work.rglob("*.tmp")), "a temporary file was left"
        return int(stop.value.code or 0), out, err

    return run


def test_a_video_with_its_sound(derain: Run, work: Path) -> None:
    before = make_video(work / "clip.mp4")
    code, out, err = derain("clip.mp4")
    assert (code, err) == (0, "")
    assert "derained clip.mp4 in" in out
    assert "clip_derained.mp4" in out
    assert "note" not in out
    assert (work / "clip.mp4").read_bytes() == before
    assert sound_of(work / "clip_derained.mp4") == sound_of(work / "clip.mp4") != []
    for rainy, clean in zip(frames_of(work / "clip.mp4"), frames_of(work / "clip_derained.mp4"), strict=True):
        assert np.mean(clean) == pytest.approx(0.4 * np.mean(rainy), abs=2)
    code, _, err = derain("clip.mp4")
    assert code == 2
    assert "clip_derained.mp4 is already there" in err


def test_a_video_has_a_model_of_its_own_and_verbose_names_it(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_video(work / "clip.mp4", frames=2)
    for named, expected in (("", "repixnet-video"), ("repixnet", "repixnet")):
        with pytest.raises(SystemExit) as stop:
            main(["derain", "clip.mp4", "-v", "-o", f"made-{named}.mp4", *(["-m", named] if named else [])])
        assert not stop.value.code
        err = capfd.readouterr().err
        assert [line.split()[1] for line in err.splitlines() if line.startswith("model ")] == [expected]
    assert len(frames_of(work / "made-.mp4")) == 2


def test_images_and_videos_in_one_folder(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    make_video(work / "in" / "x" / "A.MP4")
    make_video(work / "in" / "b.avi", codec="mpeg4", sound=False)
    Image.fromarray(photo).save(work / "in" / "c.png")
    Image.fromarray(photo).save(work / "in" / "x" / "d.png")
    (work / "in" / "bad.mov").write_bytes(b"no video")
    code, out, err = derain("in", "-o", "out", "--compare")
    assert code == 1
    assert err.count("\n") == 1
    assert "bad.mov: not a video" in err
    assert "4 images and videos" in out
    assert "note: AVI written as MKV" in out
    made = sorted(p.relative_to(work / "out").as_posix() for p in (work / "out").rglob("*") if p.is_file())
    assert made == [
        *("b.mkv", "b_compare.mkv", "c.png", "c_compare.png"),
        *("x/A.MP4", "x/A_compare.MP4", "x/d.png", "x/d_compare.png"),
    ]
    # --format is for images or for videos, by what it names
    assert derain("in/x", "-o", "out2", "--format", "mkv")[0] == 0
    assert sorted(os.listdir(work / "out2")) == ["A.mkv", "d.png"]
    assert derain("in/x", "-o", "out3", "--format", "webp")[0] == 0
    assert sorted(os.listdir(work / "out3")) == ["A.MP4", "d.webp"]


def test_start_end_codec_crf_deflicker(derain: Run, work: Path) -> None:
    make_video(work / "clip.mkv", 50)
    arguments = ("--start", "0:0.8", "--end", "1.2", "--codec", "h265", "--crf", "30", "--deflicker", "-o", "b.mkv")
    code, _, err = derain("clip.mkv", *arguments)
    assert (code, err) == (0, "")
    with av.open("b.mkv") as video:
        assert video.streams.video[0].codec_context.name == "hevc"
    assert len(frames_of(work / "b.mkv")) == 10


def test_a_part_has_a_name_of_its_own(derain: Run, work: Path) -> None:
    """A trial must not pass for the whole video."""
    make_video(work / "clip.mp4", 30)
    for arguments in ([], ["-o", "out"]):
        assert derain("clip.mp4", "--start", "0:0.2", "--end", "0.6", *arguments)[0] == 0
        code, out, _ = derain("clip.mp4", *arguments)
        assert code == 0
        assert "already" not in out
    assert derain("clip.mp4", "--start", "1")[0] == 0
    assert sorted(path.name for path in work.glob("*.mp4")) == [
        *("clip.mp4", "clip_derained.mp4", "clip_derained_0.2s-0.6s.mp4", "clip_derained_from1s.mp4")
    ]
    assert sorted(os.listdir("out")) == ["clip.mp4", "clip_0.2s-0.6s.mp4"]
    assert len(frames_of(work / "clip_derained_0.2s-0.6s.mp4")) == 10
    # nor is it an input later
    code, out, _ = derain("*.mp4", "--overwrite")
    assert code == 0
    assert "3 results of earlier runs left out" in out
    assert derain("clip.mp4", "--end", "0.2", "-o", "named.mp4")[0] == 0
    assert len(frames_of(work / "named.mp4")) == 5


@pytest.mark.parametrize("turned", [False, True])
def test_before_and_after_in_one_video(derain: Run, work: Path, turned: bool) -> None:
    if turned:  # a phone held upright
        with av.open(str(work / "clip.mp4"), "w") as file:
            track: Any = file.add_stream("libx264", 25, width=64, height=48, pix_fmt="yuv420p")
            track.set_display_matrix([0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30])
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 150, np.uint8), "rgb24")
            for packet in (*track.encode(frame), *track.encode(None)):
                file.mux(packet)
    else:
        make_video(work / "clip.mp4")
    code, out, err = derain("clip.mp4", "--compare")
    assert (code, err) == (0, "")
    assert "clip_derained.mp4 and clip_compare.mp4" in out
    with VideoReader(work / "clip.mp4") as video:
        count = sum(isinstance(item, Frame) for item in video)
    with VideoReader(work / "clip_compare.mp4") as video:
        both = [item.pixels for item in video if isinstance(item, Frame)]
    assert len(both) == count
    assert both[0].shape == ((64, 96, 3) if turned else (48, 128, 3))
    before, after = np.split(both[0].astype(float), 2, axis=1)
    assert after.mean() == pytest.approx(0.4 * before.mean(), abs=3)
    # one that is there is not made again, the other is
    (work / "clip_compare.mp4").unlink()
    stamp = (work / "clip_derained.mp4").stat().st_mtime_ns
    assert derain("clip.mp4", "--compare")[0] == 0
    assert (work / "clip_compare.mp4").is_file()
    assert (work / "clip_derained.mp4").stat().st_mtime_ns == stamp


def test_videos_of_camcorders_in_a_folder(derain: Run, work: Path) -> None:
    make_video(work / "in" / "a.mxf", codec="mpeg2video", sound=False)
    make_video(work / "in" / "b.dv", codec="dvvideo", size=(576, 720), sound=False, frames=2)
    code, out, err = derain("in", "-o", "out")
    assert (code, err) == (0, "")
    assert sorted(os.listdir("out")) == ["a.mkv", "b.mkv"]
    assert "note: MXF written as MKV" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--start", "soon"], 2, "'soon' is not a time"),
        (["--start", "5", "--end", "4"], 2, "must come after --start 5 s"),
        (["--start", "99"], 1, "clip.mp4: no frame in that time; the video lasts 0.3 s"),
        (["--crf", "60"], 1, "clip.mp4: the constant rate factor (crf) of h264 must be from 0"),
        (["--codec", "divx"], 2, "Invalid value for '--codec'"),
        (["--max-pixels", "100"], 1, "clip.mp4: 64×48 has more than the 100 pixels allowed"),
        (["-o", "clip.avi"], 2, "cannot write '.avi' videos"),
        (["-o", "clip.png"], 1, "clip.mp4: cannot be written as .png"),
        (["--format", "webm"], 1, "webm cannot hold the audio track 1 (aac) as it is; write .mkv"),
    ],
)
def test_one_clear_line(derain: Run, work: Path, arguments: list[str], code: int, said: str) -> None:
    before = make_video(work / "clip.mp4")
    got, _, err = derain("clip.mp4", *arguments)
    assert got == code
    assert said in err
    assert code == 2 or err.count("\n") == 1
    assert os.listdir(work) == ["clip.mp4"]
    assert (work / "clip.mp4").read_bytes() == before


def test_videos_that_are_broken(derain: Run, work: Path) -> None:
    whole = make_video(work / "whole.mp4", 50)
    (work / "header.mp4").write_bytes(whole[:300])
    (work / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (work / "empty.mp4").write_bytes(b"")
    (work / "list.mp4").write_bytes(b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:whole.mp4\n#EXT-X-ENDLIST\n")
    (work / "photo.mp4").write_bytes(b"\xff\xd8\xff\xe0" + bytes(999))
    names = ["header.mp4", "cut.mp4", "empty.mp4", "list.mp4", "photo.mp4"]
    code, out, err = derain(*names, "-o", "out")
    assert code == 1
    assert err.count("\n") == len(names)
    assert "5 failed" in out
    assert not (work / "out").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("silent.mp4", {"sound": False}),
        ("single.mp4", {"frames": 1}),
        ("odd.mkv", {"size": (47, 63), "codec": "ffv1"}),
        ("chroma.mov", {"form": "yuv422p"}),
        ("old.avi", {"codec": "mjpeg", "form": "yuvj422p", "sound": False}),
        ("deep.mp4", {"form": "yuv420p10le"}),
        ("web.webm", {"codec": "libvpx-vp9", "sound": False}),
    ],
)
def test_unusual_videos(derain: Run, work: Path, name: str, options: dict[str, Any]) -> None:
    make_video(work / name, **options)
    code, _, err = derain(name, "-o", "out")
    assert (code, err) == (0, "")
    (made,) = (work / "out").iterdir()
    rainy, clean = frames_of(work / name), frames_of(made)
    assert len(rainy) == len(clean) == options.get("frames", 8)
    assert [frame.shape for frame in clean] == [frame.shape for frame in rainy]
    assert np.mean(clean) == pytest.approx(0.4 * np.mean(rainy), abs=3)
    if options.get("sound", True):
        assert sound_of(made) == sound_of(work / name)


# ---- in processes of their own: full disks, signals


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits on Windows")
@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("room", [8192, -100])
def test_full_disk(derain: Run, work: Path, darkening_weight: Path, container: str, room: int) -> None:
    make_video(work / f"clip.{container}", 30)
    assert derain(f"clip.{container}", "-o", f"whole.{container}")[0] == 0
    if room < 0:  # full with the very last bytes
        room += (work / f"whole.{container}").stat().st_size
    (work / "out").mkdir()
    (work / "out" / f"clip.{container}").write_bytes(b"precious")
    done = process(
        ["derain", f"clip.{container}", "-o", "out", "--overwrite", "--model", str(darkening_weight)],
        work,
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))",
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert f"clip.{container}: cannot be written: File too large" in done.stderr
    assert os.listdir(work / "out") == [f"clip.{container}"]
    assert (work / "out" / f"clip.{container}").read_bytes() == b"precious"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_stopped_in_the_middle(work: Path, darkening_weight: Path, signal: str) -> None:
    make_video(work / "clip.mp4", 30)
    done = process(["derain", "clip.mp4", "-o", "out", "--model", str(darkening_weight)], work, stopped_at(12, signal))
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(work / "out") == []
