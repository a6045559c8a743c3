"""Every command in a fenced bash block of the guides, run as a reader would, in a folder with what the guides name.

Blocks fenced as `sh` are not run: they install, train for hours, or need other machines. The Python of some guides is
run too; tests/e2e has the guides on one's own network and degradation. REPIX_LONG=1 asks for all of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import pyvips

from repix.io.image import read_image, resize, write_image
from repix.palettes import FACADES

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    for number, block in enumerate(re.findall(r"^```bash\n(.*?)^```", page.read_text("utf-8"), re.S | re.M))
]
SCRIPTS = {
    name: "\n".join(
        re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / f"{name}.md").read_text("utf-8"), re.S | re.M)
    )
    for name in ("blend", "python", "translate", "video")
}
pytestmark = [
    pytest.mark.skipif(not os.environ.get("REPIX_LONG"), reason="takes minutes; REPIX_LONG=1 asks for it"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guides name: photo.jpg, holiday/, photos/, clip.mp4, house.jpg, drawing.png, shark, sea and logo."""
    folder = tmp_path_factory.mktemp("reader")
    rainy = read_image(ROOT / "examples" / "rainy.jpg")
    small = resize(rainy.pixels, (240, 320))
    for name in ("photo.jpg", "house.jpg", "sea.jpg", "shark.jpg", "holiday/1.jpg", "holiday/2.jpg"):
        write_image(folder / name, small)
    for name in ("photos/1.png", "photos/2.png"):
        write_image(folder / name, resize(rainy.pixels, (120, 160)))
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


@pytest.mark.parametrize("name", SCRIPTS)
def test_python_of_the_guides(name: str, reader: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    shutil.copytree(reader, here)
    done = subprocess.run([sys.executable, "-c", SCRIPTS[name]], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", BLOCKS)
def test_commands_of_the_guides(block: str, reader: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    shutil.copytree(reader, here)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "repix").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m repix "$@"\n')
    (programs / "repix").chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    # a reader tries the lines of a block one by one: what an earlier one wrote may be there already
    for line in block.replace("\\\n", " ").splitlines():
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=here, env=environment, capture_output=True)
        assert done.returncode == 0, f"{line}\n{done.stdout.decode()}\n{done.stderr.decode()}"
