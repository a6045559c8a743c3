"""The pipe with the shipped network that remembers, between two FFmpegs: complete, in time, in little memory."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from repix import Restorer
from repix.infer.frames import restore_frames
from repix.io.image import read_image
from repix.io.y4m import PipeReader, Y4mWriter

MODEL = "repixnet-video"
H, W = 240, 320
COMMAND = [sys.executable, "-m", "repix", "derain", "-", "-o", "-", "-q", "--model", MODEL]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command")
def test_between_two_ffmpegs_it_is_the_run_on_a_file(tmp_path: Path) -> None:
    photo = read_image(Path(__file__).parents[2] / "examples" / "rainy.jpg").pixels
    with av.open(str(tmp_path / "clip.mkv"), "w") as out:
        track: Any = out.add_stream("libx264", 25, {"crf": "10"}, width=160, height=96, pix_fmt="yuv420p")
        for t in range(24):  # a pan
            seen = np.ascontiguousarray(photo[60:156, 40 + 3 * t : 200 + 3 * t])
            out.mux(track.encode(av.VideoFrame.from_ndarray(seen, "rgb24")))
        out.mux(track.encode(None))

    def luma(name: str) -> list[Any]:
        with av.open(str(tmp_path / name)) as video:
            return [frame.to_ndarray(format="gray").astype(float) for frame in video.decode(video=0)]

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    lines = (
        "ffmpeg -loglevel error -i clip.mkv -f yuv4mpegpipe - | tee clip.y4m "
        f"| {' '.join(COMMAND)} | tee piped.y4m | ffmpeg -loglevel error -i - -c:v ffv1 piped.mkv && "
        f"{sys.executable} -m repix derain clip.mkv -o filed.mkv --crf 0 -q"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", lines], cwd=tmp_path, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    expected = io.BytesIO()
    source = PipeReader(io.BytesIO((tmp_path / "clip.y4m").read_bytes()))
    writer = Y4mWriter(expected, source)
    for frame in restore_frames(Restorer.from_pretrained(MODEL), source):
        writer.write(frame)
    assert (tmp_path / "piped.y4m").read_bytes() == expected.getvalue() != (tmp_path / "clip.y4m").read_bytes()
    rainy, piped, filed = map(luma, ("clip.mkv", "piped.mkv", "filed.mkv"))
    assert len(rainy) == len(piped) == len(filed) == 24
    for a, b, before in zip(piped, filed, rainy, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - before).mean() > 1  # the network did something


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
@pytest.mark.timeout(1200)
def test_no_frame_is_late_and_memory_does_not_grow() -> None:
    """Frame n is out before frame n + 1 is in, 300 times; all of them as the network sees them would be 276 MB."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(40, 200, (H // 16, W // 16)), np.ones((16, 16))).astype(np.uint8)
    grey = bytes([128]) * (H * W // 2)
    peaks = []
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"YUV4MPEG2 W{W} H{H} F25:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(300):
            process.stdin.write(b"FRAME\n" + np.roll(ground, 2 * number, axis=1).tobytes() + grey)
            process.stdin.flush()
            if number == 0:
                assert process.stdout.readline().startswith(b"YUV4MPEG2")
            assert len(process.stdout.read(6 + H * W * 3 // 2)) == 6 + H * W * 3 // 2
            if number in (40, 299):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
        process.stdin.close()
        assert process.wait(120) == 0
    assert peaks[1] - peaks[0] < 30, peaks
