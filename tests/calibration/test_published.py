"""PReNet's published weights, through the whole of `evaluate`, against values committed by benchmarks/published.py.

The benchmark measures all images, without `Restorer`; here it is five of each set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest
import torch

from repix.data.pairs import find_pairs_in
from repix.evaluate.run import evaluate
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.models.prenet import load_published

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PAPER = {
    ("Rain100L", "PReNet6"): (37.48, 0.979),
    ("Rain100L", "PReNet6_r"): (37.10, 0.977),
    ("Rain100L", "PRN6"): (36.99, 0.977),
    ("Rain100H", "PReNet6"): (29.46, 0.899),
    ("Rain100H", "PReNet6_r"): (28.98, 0.892),
    ("Rain100H", "PRN6"): (28.07, 0.884),
}


def committed(key: tuple[str, str]) -> list[dict[str, str]]:
    """The rows of a set and a weight."""
    with (ROOT / "benchmarks" / "results" / "published.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if (row["set"], row["weights"]) == key]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tests run side by side; threads that wait for each other's cores would take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not (DATA / "peers" / "PReNet").is_dir(), reason="../shared/data/peers/PReNet is absent")
@pytest.mark.parametrize("key", PAPER, ids="-".join)
def test_five_images_have_the_committed_values(key: tuple[str, str]) -> None:
    name, weights = key
    pairs = find_pairs_in(DATA / name / "rainy", DATA / "Rain100L")[:5]
    restorer = Restorer(TorchBackend(load_published(DATA / "peers" / "PReNet" / name / f"{weights}.pth")))
    table = evaluate({weights: restorer}, pairs, metrics=["psnr_y", "ssim_y"], protocol="paper")
    reference = {row["picture"]: row for row in committed(key)}
    measured = {row.image: row.values for row in table.images if row.model == weights}
    assert len(measured) == 5
    for image, values in measured.items():
        assert values["psnr_y"] == pytest.approx(float(reference[str(image)]["psnr_y"]), abs=0.005)
        assert values["ssim_y"] == pytest.approx(float(reference[str(image)]["ssim_y"]), abs=0.0002)


@pytest.mark.parametrize("key", PAPER, ids="-".join)
def test_committed_values_meet_the_paper(key: tuple[str, str]) -> None:
    """All images, whole; the file is written by benchmarks/published.py."""
    found = committed(key)
    assert len({row["picture"] for row in found}) == len(found) == 100
    assert fmean(float(row["psnr_y"]) for row in found) == pytest.approx(PAPER[key][0], abs=0.05)
    assert fmean(float(row["ssim_y"]) for row in found) == pytest.approx(PAPER[key][1], abs=0.001)
