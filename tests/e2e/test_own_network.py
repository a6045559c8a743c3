"""The guide docs/own-network.md, as it stands, with fewer steps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from repix.cli import main
from repix.io.image import Picture, read_image, write_image

GUIDE = Path(__file__).parents[2] / "docs" / "own-network.md"


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 0


def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text("utf-8")
    (code,), (recipe,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.S) for kind in ("python", "yaml"))
    Path("my_net.py").write_text(code, encoding="utf-8")
    Path("mine.yaml").write_text(recipe, encoding="utf-8")
    rng = np.random.default_rng(0)
    for number in range(4):
        ground = np.kron(rng.integers(0, 200, (6, 8, 3)), np.ones((16, 16, 1)))
        write_image(Path("photos") / f"{number}.png", Picture(ground.astype(np.uint8)))
    run("train", "mine.yaml", "--set", "stages.0.steps=2", "--set", "data.workers=0", "--set", "data.hold_out=1")

    photo = Path("photos") / "0.png"
    run("derain", str(photo), "--model", "runs/mine/model", "-o", "clean.png")
    assert read_image("clean.png").pixels.shape == (96, 128, 3)
    run("evaluate", "--model", "runs/mine/model", "--lq", "photos", "--gt", "photos", "--json", "table.json")
    assert json.loads(Path("table.json").read_text())["means"][1]["psnr_rgb"] > 10
    for view in ("recurrences", "receptive-field"):
        model = "runs/mine/model" if view == "recurrences" else "my_net.py:MyNet"
        run("inspect", str(photo), "--show", view, "--model", model)
        assert read_image(f"0.{view}.png").pixels.std() > 5
