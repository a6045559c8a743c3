"""No size of a video ends the run in native code: each is encoded as H.265, in a process of its own.

libx265 corrupts the heap at some widths, which `VideoWriter` writes as H.264; a size that is missing there would show
here as a process that ended by a signal.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import sys, tempfile
from fractions import Fraction
from pathlib import Path
import av, numpy as np
from repix.io.video import Frame, FrameSource, write_video

first, last, step, heights, form = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
rng = np.random.default_rng(first)
with tempfile.TemporaryDirectory() as folder:
    for width in range(first, last, step):
        for height in map(int, heights.split(",")):
            source = FrameSource()
            source.time_base, source.rate = Fraction(1, 25), Fraction(25)
            pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            given = av.VideoFrame.from_ndarray(pixels, "rgb24")
            source.look_at(given.reformat(format=form))
            print(width, height, flush=True)
            path = Path(folder) / "a.mp4"
            with write_video(path, source, codec="h265") as writer:
                for t in range(6):
                    frame = np.roll(pixels, t, axis=1)
                    deep = source.bits > 8
                    writer.write(Frame(frame.astype(np.uint16) * 257 if deep else frame, t))
            with av.open(str(path)) as video:
                assert len(list(video.decode(video=0))) == 6
"""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("form", ["yuv420p", "yuv420p10le", "yuv444p"])
@pytest.mark.parametrize(
    ("first", "last", "step", "heights"),
    [(1, 33, 1, "8,16,40,64"), (33, 100, 1, "16,34,48,64"), (100, 700, 31, "16,33,40,90")],
)
def test_every_size(first: int, last: int, step: int, heights: str, form: str) -> None:
    command = [sys.executable, "-c", CHILD, str(first), str(last), str(step), heights, form]
    done = subprocess.run(command, capture_output=True, text=True)
    reached = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"ended with {done.returncode} at {reached}: {done.stderr[-500:]}"
