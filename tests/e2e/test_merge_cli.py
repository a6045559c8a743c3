"""`repix merge` as users meet it. The network leaves everything as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from repix.cli import main
from videos import frames_of, make_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def merge(make_weight: Callable[..., Path], work: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    model = make_weight("same", factor=1.0, multiple_of=8)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["merge", "--model", str(model), *map(str, arguments)])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert not list(work.rglob("*.tmp"))
        return int(stop.value.code or 0), out, err

    return run


def write_burst(work: Path, photo: NDArray[np.uint8], count: int = 5) -> list[str]:
    names = []
    for t in range(count):
        frame = photo.copy()
        frame[5:40, 10 * t : 10 * t + 2] = 255  # a streak
        exif = Image.Exif()
        exif[0x010E] = f"frame {t + 1}"
        names.append(f"burst{t + 1}.png")
        Image.fromarray(frame).save(work / names[-1], exif=exif)
    return names


def pixels(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as image:
        return np.asarray(image).astype(float)


def described(path: Path) -> str:
    with Image.open(path) as image:
        return str(image.getexif()[0x010E])


def test_photos(merge: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    names = write_burst(work, photo)
    code, out, err = merge(*names, "-o", "photo.png")
    assert (code, err) == (0, "")
    assert "merged 5 frames in" in out
    assert described(work / "photo.png") == "frame 3"
    assert np.abs(pixels(work / "photo.png") - photo).mean() < 1  # no streak is left
    code, _, err = merge(*names, "-o", "photo.png")
    assert code == 2
    assert "photo.png is already there" in err
    code, out, _ = merge(*names, "--reference", "2")
    assert code == 0
    assert described(work / "burst2_merged.png") == "frame 2"


def test_a_part_of_a_video(merge: Run, work: Path) -> None:
    make_video(work / "clip.mp4", 50)
    before = frames_of(work / "clip.mp4")
    code, out, err = merge("clip.mp4", "--start", "0.4", "--end", "0.8", "--frames", "5", "-o", "photo.png")
    assert (code, err) == (0, "")
    assert "merged 5 frames" in out
    made = pixels(work / "photo.png")
    assert made.shape == before[0].shape
    # one of the frames in that time, not a mixture of all: noise that rolls by a pixel a frame
    distance = [np.abs(made - frame).mean() for frame in before]
    assert 10 <= int(np.argmin(distance)) < 20
    assert merge("clip.mp4")[0] == 0
    assert (work / "clip_merged.png").is_file()


def test_patterns_that_the_shell_left(merge: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    write_burst(work, photo, 3)
    code, out, _ = merge("burst*.png", "-o", "a.png")
    assert (code, "merged 3 frames" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["burst1.png"], "burst1.png is one photo, and merge takes several"),
        (["burst1.png", "burst2.png", "--start", "1"], "--start is for one video"),
        (["burst1.png", "burst2.png", "--frames", "3"], "--frames is for one video"),
        (["burst1.png", "burst2.png", "--reference", "3"], "--reference 3: there are 2 frames"),
        (["burst1.png", "burst2.png", "-o", "burst1.png"], "burst1.png is an input"),
        (["burst1.png", "burst2.png", "-o", "a.mp4"], "merge writes one image"),
        (["burst1.png", "gone.png", "-o", "a.png"], "gone.png: cannot be read"),
        (["burst1.png", "small.png", "-o", "a.png"], "frame 2 is 4×3 uint8, the reference 83×61 uint8"),
        (["gone.png"], "gone.png: cannot be read"),
        (["gone*.png"], "gone*.png: cannot be read"),
        (["."], "is a folder; name its photos"),
        (["long.mp4"], "lasts 12 s from there; say which moment with --start and --end"),
        (["long.mp4", "--start", "1", "--end", "1.04"], "only 1 frame in that time"),
        (["long.mp4", "--start", "2", "--end", "1"], "must come after --start 2 s"),
    ],
)
def test_one_clear_line(merge: Run, work: Path, photo: NDArray[np.uint8], arguments: list[str], said: str) -> None:
    write_burst(work, photo, 2)
    Image.fromarray(photo[:3, :4]).save(work / "small.png")
    make_video(work / "long.mp4", 300, sound=False)
    before = sorted(os.listdir(work))
    code, _, err = merge(*arguments)
    assert code in (1, 2)
    assert said in err
    assert err.count("\n") == 1
    assert sorted(os.listdir(work)) == before
