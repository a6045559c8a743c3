"""PReNet's published weights, through the whole of `evaluate`, against figures committed by benchmarks/published.py.

The benchmark measures all pictures whole and without `Restorer`; here it is the upper left 96×96 of five of each set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest
import torch

from repix.data.pairs import Pair, find_pairs, find_pairs_in
from repix.engine.evaluate import evaluate
from repix.infer.backend import TorchBackend
from repix.infer.restorer import Restorer
from repix.io.image import Picture, read_image, write_image
from repix.models.prenet import load_published

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
CROP = 96
PAPER = {
    ("Rain100L", "PReNet6"): (37.48, 0.979),
    ("Rain100L", "PReNet6_r"): (37.10, 0.977),
    ("Rain100L", "PRN6"): (36.99, 0.977),
    ("Rain100H", "PReNet6"): (29.46, 0.899),
    ("Rain100H", "PReNet6_r"): (28.98, 0.892),
    ("Rain100H", "PRN6"): (28.07, 0.884),
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def corners(pairs: list[Pair], folder: Path) -> list[Pair]:
    for pair in pairs:
        for side, file in (("input", pair.lq), ("target", pair.gt)):
            corner = read_image(file).pixels[:CROP, :CROP]
            write_image(folder / side / f"{pair.name}.png", Picture(corner.copy()))
    return find_pairs(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tests run side by side; threads that wait for each other's cores would take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not (DATA / "peers" / "PReNet").is_dir(), reason="../shared/data/peers/PReNet is absent")
@pytest.mark.parametrize("name", ["Rain100L", "Rain100H"])
def test_five_pictures(name: str, tmp_path: Path) -> None:
    found = find_pairs_in(DATA / name / "rainy", DATA / "Rain100L")[:5]
    restorers = {
        weights: Restorer(TorchBackend(load_published(DATA / "peers" / "PReNet" / name / f"{weights}.pth")))
        for data, weights in PAPER
        if data == name
    }
    table = evaluate(restorers, corners(found, tmp_path), metrics=["psnr_y", "ssim_y"], protocol="paper")
    measured = {(row.model, row.picture): row.values for row in table.pictures}
    reference = [row for row in rows(Path(__file__).with_name("published_96.csv")) if row["set"] == name]
    assert len(reference) == 15
    for row in reference:
        values = measured[row["weights"], row["picture"]]
        assert values["psnr_y"] == pytest.approx(float(row["psnr_y"]), abs=0.005)
        assert values["ssim_y"] == pytest.approx(float(row["ssim_y"]), abs=0.0002)


@pytest.mark.parametrize("key", PAPER, ids="-".join)
def test_committed_figures_meet_the_paper(key: tuple[str, str]) -> None:
    """All pictures, whole; the file is written by benchmarks/published.py."""
    found = [
        row for row in rows(ROOT / "benchmarks" / "results" / "published.csv") if (row["set"], row["weights"]) == key
    ]
    assert len({row["picture"] for row in found}) == len(found) == 100
    assert fmean(float(row["psnr_y"]) for row in found) == pytest.approx(PAPER[key][0], abs=0.05)
    assert fmean(float(row["ssim_y"]) for row in found) == pytest.approx(PAPER[key][1], abs=0.001)
