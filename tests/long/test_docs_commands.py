"""Every command in a fenced bash block of the guides and READMEs, run in a folder with what they name.

Trainings are cut to a few steps (`short_repix.py`); the commands are as they stand. The student's path is run in full.
Blocks fenced as `sh` are not run: `NOT_RUN` says why. REPIX_LONG=1 asks for all of it.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import pyvips

from data_sets import DATA, needs
from repix.io.image import read_image, resize, write_image
from repix.palettes import FACADES

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md"]
# why the blocks of a page that are fenced as `sh` are not run
NOT_RUN = {
    "app.md": "installs, opens a browser, serves until it is stopped (test_app_api.py does); npm fetches packages",
    "scale.md": "needs several machines; tests/e2e/test_ray.py has two nodes on one",
    "train.md": "TensorBoard serves until it is stopped",
    "video.md": "needs cameras and a screen; tests/e2e/test_pipe.py has the pipes",
}
# bash lines that other tests run from the text
ELSEWHERE = ("python3 -m venv", "curl ")  # .ci/run, tests/e2e/test_app_api.py
STUDENT = "first-network.md"


def fenced(page: Path, kind: str) -> list[str]:
    """The code blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)


def commands(block: str) -> list[str]:
    """The lines of a block, continued ones joined; a script with #! is one command."""
    if block.startswith("#!"):
        return [block]
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


BLOCKS = [pytest.param(page, id=page.stem) for page in PAGES if page.name != STUDENT and fenced(page, "bash")]
SCRIPTS = {
    name: "\n".join(fenced(ROOT / "docs" / f"{name}.md", "python"))
    for name in ("blend", "metadata", "python", "translate", "video")
}
pytestmark = pytest.mark.timeout(7200)


def test_few_commands_are_not_run_and_each_has_a_reason() -> None:
    left = {page.name: sum(len(commands(block)) for block in fenced(page, "sh")) for page in PAGES}
    assert {name for name, count in left.items() if count} == NOT_RUN.keys()
    assert sum(left.values()) <= 15


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guides name: photo.jpg, holiday/, photos/, pairs/, houses/, clip.mp4, drawing.png, recipes/ and more."""
    folder = tmp_path_factory.mktemp("reader")
    rainy = read_image(ROOT / "examples" / "rainy.jpg")
    small = resize(rainy.pixels, (240, 320))
    for name in ("photo.jpg", "house.jpg", "sea.jpg", "shark.jpg", "holiday/1.jpg", "holiday/2.jpg"):
        write_image(folder / name, small)
    for number in range(10):
        part = resize(rainy.pixels[8 * number :, 8 * number :], (120, 160))
        for name in ("photos", "pairs/input", "pairs/target"):
            write_image(folder / name / f"{number}.png", part)
    for number in range(42):
        write_image(folder / "houses" / f"{number}.png", resize(rainy.pixels[number:, number:], (256, 512)))
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    mask = np.zeros((240, 320, 3), np.uint8)
    mask[60:120, 80:160] = 255
    write_image(folder / "shark_mask.png", mask)
    round_ = np.hypot(*(np.mgrid[:80, :80] - 40)) < 35
    logo = np.dstack([small[:80, :80], np.where(round_, 255, 0)]).astype(np.uint8)
    pyvips.Image.new_from_array(logo).write_to_file(str(folder / "logo.png"))
    colours = np.array([colour.rgb for colour in FACADES], np.uint8)
    write_image(folder / "drawing.png", colours[np.arange(64)[:, None] // 8 % 12 * np.ones((1, 64), int)])
    with av.open(str(folder / "clip.mp4"), "w") as out:
        stream = out.add_stream("libx264", 5, width=64, height=48)
        for number in range(15):
            frame = np.roll(small[:48, :64], number, axis=1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        out.mux(stream.encode(None))
    return folder


@pytest.fixture
def here(reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the reader's folder, and `repix` on the path."""
    if not os.environ.get("REPIX_LONG"):
        pytest.skip("takes minutes; REPIX_LONG=1 asks for it")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("REPIX_DATA", str(DATA))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(reader, tmp_path / "here")
    yield tmp_path / "here"
    shutil.rmtree(tmp_path / "here")  # models add up


def call_it_repix(folder: Path, *program: str) -> None:
    folder.mkdir()
    (folder / "repix").write_text(f'#!/bin/sh\nexec "{sys.executable}" {" ".join(program)} "$@"\n')
    (folder / "repix").chmod(0o755)


def run_line(line: str, here: Path) -> str:
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=here, capture_output=True)
    out = done.stdout.decode()
    assert done.returncode == 0, f"{line}\n{out}\n{done.stderr.decode()}"
    return out


@pytest.mark.parametrize("name", SCRIPTS)
def test_python_of_the_guides(name: str, here: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPTS[name]], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", BLOCKS)
def test_commands_of_the_guides(page: Path, here: Path) -> None:
    call_it_repix(here.parent / "bin", str(ROOT / "tests" / "long" / "short_repix.py"))
    if page.stem.startswith("own-"):  # what the guide has written so far: my_net.py and mine.yaml, say
        for kind, suffix in (("python", "py"), ("yaml", "yaml")):
            (name,) = dict.fromkeys(re.findall(rf"^`(\w+\.{suffix})`[:,]", page.read_text("utf-8"), re.M))
            (here / name).write_text(fenced(page, kind)[0], encoding="utf-8")
    lines = [line for block in fenced(page, "bash") for line in commands(block) if not line.startswith(ELSEWHERE)]
    if any("REPIX_DATA" in line or "recipes/repixnet" in line for line in lines) and not DATA.is_dir():
        pytest.skip("no REPIX_DATA")
    for line in lines:
        run_line(line, here)


@needs("peers", "PReNet")
@needs("backbones")
def test_the_students_path_word_by_word(here: Path) -> None:
    """In full: what the guide says comes out of it."""
    call_it_repix(here.parent / "bin", "-m", "repix")
    for file, number in zip(sorted((DATA / "clean_photos").iterdir()), range(10), strict=False):
        (here / "photos" / f"{number}.png").unlink()
        shutil.copy(file, here / "photos")
    shutil.rmtree(here / "pairs")
    said = "".join(
        run_line(line, here) for block in fenced(ROOT / "docs" / STUDENT, "bash") for line in commands(block)
    )
    with (here / "runs" / "first" / "curves.csv").open(encoding="utf-8", newline="") as curves:
        rows = list(csv.DictReader(curves))
    assert max(int(row["step"]) for row in rows) == 1200  # resumed, and longer
    held_out = [float(row["value"]) for row in rows if row["name"] == "val/pairs_psnr_y"]
    assert held_out[-1] > 21.7 + 2  # dB, of the two pairs that were not trained on
    card = json.loads((here / "first" / "card.json").read_text())
    assert (card["name"], card["arch"]) == ("first", "unet")
    table = [line.split(" & ") for line in (here / "table.tex").read_text().splitlines() if line.startswith("pairs & ")]
    psnr, ssim = ({row[1]: float(row[column]) for row in table} for column in (3, 4))
    assert list(psnr) == ["input", "runs/first/model", "runs/perceptual/model", "prenet"]
    for name in ("runs/first/model", "runs/perceptual/model"):
        assert psnr[name] > psnr["input"] + 2, said
        assert ssim[name] > ssim["input"] + 0.04, said
    for name in ("photo_derained.jpg", "photo.rain.png", "photo.receptive-field.png"):
        assert read_image(here / name).pixels.std() > 5
