"""Translation through the command line: A|B pairs → train → weight → an image of another size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
import yaml

from repix.cli import main
from repix.tasks import TRANSLATE
from repix.weights import find_card

RECIPES = Path(__file__).parents[2] / "recipes"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


@pytest.mark.parametrize("name", ["facades-labels", "facades-photo"])
def test_a_recipe_shrunk_to_a_few_steps(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        both = rng.integers(0, 256, (4, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        pyvips.Image.new_from_array(both).write_to_file(str(tmp_path / "pairs" / f"{i}.jpg"))
    small = ["data.workers=0", "data.pairs=pairs", "data.hold_out=1", "data.train_subset=1", "data.resize_short=72"]
    stages = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))["stages"]
    # a later stage may need VGG16's weights
    small += ["validate_every=2", f"stages={json.dumps([stage | {'steps': 2, 'patch': 64} for stage in stages[:2]])}"]
    if name == "facades-photo":
        small += ["args.channels=4", "args.depth=4", "discriminator.channels=4"]
    else:
        small += ["args.channels=[8, 16]", "args.encoder=[1]", "args.decoder=[1]", "args.middle=1"]
    sets = [word for value in small for word in ("--set", value)]
    assert run("train", RECIPES / f"{name}.yaml", *sets) == 0
    assert "repix translate" in capsys.readouterr().out
    folder = tmp_path / "runs" / name
    assert {"curves.csv", "curves.png", "images", "best.ckpt", "model"} <= {path.name for path in folder.iterdir()}
    card, _ = find_card(folder / "model")
    assert card.task is TRANSLATE
    pyvips.Image.black(45, 30, bands=3).cast("uchar").write_to_file("in.png")
    assert run("translate", "in.png", "-o", "out.png", "--model", folder / "model") == 0
    out = pyvips.Image.new_from_file("out.png")
    assert (out.width, out.height) == (45, 30)
