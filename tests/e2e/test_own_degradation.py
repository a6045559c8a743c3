"""The guide docs/own-degradation.md, as it stands, with fewer steps."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from repix.cli import main
from repix.degradations import Context, create_degradation
from repix.io.image import Picture, write_image
from repix.train.curves import read_curves

GUIDE = Path(__file__).parents[2] / "docs" / "own-degradation.md"


def write_photos() -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        ground = np.kron(rng.integers(0, 200, (8, 9, 3)), np.ones((16, 16, 1)))
        write_image(Path("photos") / f"{number}.png", Picture(ground.astype(np.uint8)))


def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text("utf-8")
    (code, of_video), (recipe,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.S) for kind in ("python", "yaml"))
    Path("my_fog.py").write_text(f"{code}\n{of_video}", encoding="utf-8")
    clip = np.full((3, 8, 9, 3), 0.2, np.float32)
    fog = create_degradation("my_fog.py:Fog").frames(clip, np.random.default_rng(0), Context())  # type: ignore[attr-defined]
    assert fog.shape == clip.shape
    assert (fog > clip).all()
    Path("defog.yaml").write_text(recipe, encoding="utf-8")
    write_photos()
    with pytest.raises(SystemExit) as stopped:
        main(["train", "defog.yaml", "--set", "stages.0.steps=2", "--set", "data.workers=1"])
    assert stopped.value.code == 0
    values = {name: value for _, name, value in read_curves(Path("runs/defog/curves.csv"))}
    assert set(values) == {"val/Fog_psnr_y", "val/clean_psnr_rgb", "val/score"}
    assert 5 < values["val/Fog_psnr_y"] < values["val/clean_psnr_rgb"]
    assert Path("runs/defog/model/model.onnx").is_file()


@pytest.mark.parametrize("where", ["multiprocessing.parent_process()", "context.camera and clean.shape[0] > 64"])
def test_an_error_that_comes_in_training_ends_it_with_one_sentence(tmp_path: Path, where: str) -> None:
    """In a process that makes data, and in validation; in a process of its own, which must end."""
    (tmp_path / "my_fog.py").write_text(
        "import multiprocessing\nclass Fog:\n    def __call__(self, clean, rng, context):\n"
        f"        if {where}:\n            raise ValueError('too thick')\n        return clean, clean\n",
        encoding="utf-8",
    )
    (tmp_path / "fog.yaml").write_text(
        "{name: fog, model: repixnet, data: {photos: photos, mixture: {my_fog.py:Fog: 1}, hold_out: 1, workers: 1, "
        "validation_degradations: [my_fog.py:Fog]}, stages: [{steps: 1, batch: 1, patch: 32, lr: 1.0e-3}]}",
        encoding="utf-8",
    )
    with contextlib.chdir(tmp_path):
        write_photos()
    command = [sys.executable, "-m", "repix", "train", "fog.yaml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 3
    assert "repix: degradation 'my_fog.py:Fog' fails (ValueError: too thick, line 5)\n" in ended.stderr
