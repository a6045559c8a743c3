"""PReNet's six published files from the command line: `import`, then `evaluate --protocol paper` on all images."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from data_sets import DATA, needs
from repix.cli import main

with (Path(__file__).parents[1] / "calibration" / "paper.csv").open(encoding="utf-8", newline="") as opened:
    PAPER = list(csv.DictReader(opened))


def repix(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code


@pytest.mark.skipif(not os.environ.get("REPIX_LONG"), reason="takes minutes; REPIX_LONG=1 asks for it")
@pytest.mark.timeout(3600)
@needs("peers", "PReNet")
@pytest.mark.parametrize("row", PAPER, ids=lambda row: f"{row['set']}-{row['weights']}")
def test_the_papers_values(row: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPIX_DATA", str(DATA))
    file = DATA / "peers" / "PReNet" / row["set"] / f"{row['weights']}.pth"
    repix("import", "prenet", file, "-o", tmp_path / "model")
    asked = ["--protocol", "paper", "--metric", "psnr_y", "--metric", "ssim_y", "--json", tmp_path / "table.json"]
    repix("evaluate", "--model", tmp_path / "model", "--set", row["set"], "--device", "cpu", *asked)
    (_, ours) = json.loads((tmp_path / "table.json").read_text())["means"]
    assert ours["images"] == 100
    assert ours["psnr_y"] == pytest.approx(float(row["psnr_y"]), abs=0.05)
    assert ours["ssim_y"] == pytest.approx(float(row["ssim_y"]), abs=0.001)
