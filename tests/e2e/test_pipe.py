"""`repix derain -` on frames from a pipe, as users meet it. The network is `darkening_weight` (times 0.4)."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from repix import Restorer
from repix.infer.frames import restore_frames
from repix.io.video import Frame, VideoReader
from repix.io.y4m import PipeReader, Y4mWriter
from videos import make_video

H, W = 48, 64
SIZE = H * W * 3 // 2


def y4m(count: int, seed: int = 0) -> tuple[bytes, list[bytes]]:
    """The header, and frames of smooth ground."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        levels = rng.integers(40, 200, 3)
        planes = [np.full(H * W, levels[0]), np.full(H * W // 4, 128), np.full(H * W // 4, 128)]
        frames.append(b"FRAME\n" + np.concatenate(planes).astype(np.uint8).tobytes())
    return f"YUV4MPEG2 W{W} H{H} F25:1 Ip A1:1 C420jpeg\n".encode(), frames


def command(model: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "repix", "derain", "--model", str(model), *arguments]


def run(model: Path, data: bytes, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(model, *arguments), input=data, capture_output=True, timeout=250, cwd=folder)


def frames(data: bytes) -> list[NDArray[np.uint8]]:
    return [frame.pixels for frame in PipeReader(io.BytesIO(data))]


def test_as_many_frames_out_as_in_and_equal_to_a_file(darkening_weight: Path, work: Path) -> None:
    make_video(work / "clip.mkv", 20, sound=False)
    restorer = Restorer.from_pretrained(darkening_weight)
    piped, expected = io.BytesIO(), io.BytesIO()
    with VideoReader(work / "clip.mkv") as video:
        decoded = [item for item in video if isinstance(item, Frame)]
        writer = Y4mWriter(piped, video)
        for frame in decoded:
            writer.write(frame)
    source = PipeReader(io.BytesIO(piped.getvalue()))
    out = Y4mWriter(expected, source)
    for frame in restore_frames(restorer, source):
        out.write(frame)
    done = run(darkening_weight, piped.getvalue(), "-", "-o", "-")
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.getvalue()
    assert b"derained 20 frames in" in done.stderr
    # y4m in a file is the same video
    (work / "clip.y4m").write_bytes(piped.getvalue())
    done = run(darkening_weight, b"", "clip.y4m", "-o", "out.mkv", "--crf", "0", folder=work)
    assert done.returncode == 0, done.stderr
    with VideoReader(work / "out.mkv") as video:
        filed = [item.pixels for item in video if isinstance(item, Frame)]
    for a, b in zip(frames(expected.getvalue()), filed, strict=True):
        luma = (a.astype(float) - b) @ [0.299, 0.587, 0.114]  # chroma sits elsewhere in H.264
        assert np.abs(luma).mean() < 0.5


@pytest.mark.parametrize(("arguments", "late"), [([], 0), (["--deflicker"], 2)])
def test_no_frame_waits_for_later_ones(darkening_weight: Path, arguments: list[str], late: int) -> None:
    """Frame n is out before frame n + late + 1 is in."""
    header, made = y4m(12)
    with subprocess.Popen(
        command(darkening_weight, "-", "-o", "-", "-q", *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        got: Queue[bytes] = Queue()
        out = process.stdout

        def read() -> None:
            out.readline()
            while data := out.read(6 + SIZE):
                got.put(data)

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        process.stdin.write(header)
        for number, frame in enumerate(made):
            process.stdin.write(frame)
            process.stdin.flush()
            if number >= late:
                try:
                    assert len(got.get(timeout=120)) == 6 + SIZE
                except Empty:
                    process.kill()
                    pytest.fail(f"{number + 1} frames are in, and only {number - late} out")
        assert got.empty()
        process.stdin.close()
        assert process.wait(120) == 0
        reading.join(60)
        assert got.qsize() == late


def test_frames_are_counted(darkening_weight: Path) -> None:
    for count, said in ((1, b"derained 1 frame in "), (2, b"derained 2 frames in ")):
        header, made = y4m(count)
        assert said in run(darkening_weight, header + b"".join(made), "-").stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_memory_does_not_grow(darkening_weight: Path) -> None:
    size = (480, 640)
    header = f"YUV4MPEG2 W{size[1]} H{size[0]} F25:1 Ip A1:1 C420jpeg\n".encode()
    frame = b"FRAME\n" + bytes([120]) * (size[0] * size[1] * 3 // 2)
    peaks = []
    for count in (10, 210):  # 200 frames of RGB are 176 MB
        with subprocess.Popen(
            command(darkening_weight, "-", "-q"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(header)
            process.stdin.flush()
            first = True
            for _ in range(count):
                process.stdin.write(frame)
                process.stdin.flush()
                if first:
                    process.stdout.readline()
                    first = False
                assert len(process.stdout.read(len(frame))) == len(frame)
            status = Path(f"/proc/{process.pid}/status").read_text()
            peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
            process.stdin.close()
            assert process.wait(120) == 0
    assert peaks[1] - peaks[0] < 80, peaks


def test_raw_frames_and_matroska(darkening_weight: Path) -> None:
    _, made = y4m(10)
    raw = b"".join(frame[6:] for frame in made)
    done = run(darkening_weight, raw, "-", "-o", "-", "--raw", f"{W}x{H}@30:yuv420p", "--format", "mkv")
    assert done.returncode == 0, done.stderr
    with av.open(io.BytesIO(done.stdout)) as video:
        assert video.format.name.startswith("matroska")
        assert video.streams.video[0].average_rate == 30
        assert len(list(video.decode(video=0))) == 10


def test_frames_into_a_file(darkening_weight: Path, work: Path) -> None:
    header, made = y4m(10)
    done = run(darkening_weight, header + b"".join(made), "-", "-o", "out.mp4", folder=work)
    assert done.returncode == 0, done.stderr
    assert b"10 frames" in done.stdout
    with VideoReader(work / "out.mp4") as video:
        assert sum(isinstance(item, Frame) for item in video) == 10


@pytest.mark.parametrize(
    ("data", "arguments", "said"),
    [
        (b"YUV4MPEG2 W8 H8 C420\n", [], "standard input: not one whole frame came"),
        (b"YUV4MPEG2 W8\n", [], "damaged: y4m with the header"),
        (b"", ["--raw", "64x48:rgb24"], "raw video must be WxH@FPS:PIXFMT"),
        (b"", ["--raw", "64x48@25:rgb24"], "not one whole frame came"),
        (b"y4m", ["--start", "2"], "--start, --end and --compare are for files"),
        (b"y4m", ["--strength", "auto"], "strength auto is for images"),
        (b"y4m", ["--format", "mp4"], "standard output takes y4m or mkv"),
    ],
)
def test_one_clear_line(darkening_weight: Path, data: bytes, arguments: list[str], said: str) -> None:
    if data == b"y4m":
        header, made = y4m(2)
        data = header + b"".join(made)
    done = run(darkening_weight, data, "-", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b""


@pytest.mark.parametrize("form", ["y4m", "mkv"])
def test_a_reader_that_goes_is_no_error(darkening_weight: Path, form: str) -> None:
    header, made = y4m(200)
    with subprocess.Popen(
        command(darkening_weight, "-", "--format", form),
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(header + made[0] + made[1])
        process.stdin.flush()
        process.stdout.read(100)
        process.stdout.close()
        try:
            for frame in made[2:]:
                process.stdin.write(frame)
            process.stdin.close()
        except BrokenPipeError:
            pass
        said = process.stderr.read().decode()
        assert process.wait(120) == 0, said
    assert "Traceback" not in said
    assert "until nobody read them any more" in said


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command")
def test_between_two_ffmpegs(darkening_weight: Path, work: Path) -> None:
    """The lines of docs/video.md."""
    make_video(work / "clip.mp4", 25)
    lines = (
        "ffmpeg -loglevel error -i clip.mp4 -f yuv4mpegpipe - "
        f"| {sys.executable} -m repix derain - -o - --model {darkening_weight} "
        "| ffmpeg -loglevel error -i - -i clip.mp4 -map 0:v -map 1:a? -c:a copy -crf 4 out.mp4"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", lines], cwd=work, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    with av.open(str(work / "clip.mp4")) as before, av.open(str(work / "out.mp4")) as after:
        assert [stream.type for stream in after.streams] == ["video", "audio"]
        rainy = [frame.to_ndarray(format="gray").mean() for frame in before.decode(video=0)]
        clean = [frame.to_ndarray(format="gray").mean() for frame in after.decode(video=0)]
    assert len(clean) == len(rainy) == 25
    # luma of the restored is 16 + 0.4 * (luma - 16)
    np.testing.assert_allclose(np.array(clean), 0.4 * np.array(rainy), atol=4)
    lines = (
        "ffmpeg -loglevel error -i clip.mp4 -f rawvideo -pix_fmt nv12 - "
        f"| {sys.executable} -m repix derain - -o - --raw 64x48@25:nv12 --model {darkening_weight} "
        "| ffmpeg -loglevel error -i - -y raw.mp4"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", lines], cwd=work, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    with av.open(str(work / "raw.mp4")) as after:
        assert len(list(after.decode(video=0))) == 25


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("form", ["y4m", "mkv"])
def test_a_full_disk_behind_the_pipe_is_one_line(darkening_weight: Path, form: str) -> None:
    header, made = y4m(30)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(darkening_weight, "-", "-o", "-", "--format", form),
            input=header + b"".join(made),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=250,
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr.decode().splitlines() == ["repix: standard output cannot be written: No space left on device"]
