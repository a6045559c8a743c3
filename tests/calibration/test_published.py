"""PReNet's published weights, through the whole of `evaluate`, against the committed values of published.csv.

Those were measured on all images without `Restorer`: estimates of the network clipped, truncated to 8 bits, compared.
Here it is five images of each set.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest
import torch

from data_sets import DATA, needs
from repix.data.pairs import find_pairs_in
from repix.evaluate.run import evaluate
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.models.prenet import load_published

with Path(__file__).with_name("paper.csv").open(encoding="utf-8", newline="") as opened:
    PAPER = {
        (row["set"], row["weights"]): (float(row["psnr_y"]), float(row["ssim_y"])) for row in csv.DictReader(opened)
    }


def committed(key: tuple[str, str]) -> list[dict[str, str]]:
    """The rows of a set and a weight."""
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if (row["set"], row["weights"]) == key]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tests run side by side; threads that wait for each other's cores would take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@needs("peers", "PReNet")
@pytest.mark.parametrize("key", PAPER, ids="-".join)
def test_five_images_have_the_committed_values(key: tuple[str, str]) -> None:
    name, weights = key
    pairs = find_pairs_in(DATA / name / "rainy", DATA / "Rain100L")[:5]
    restorer = Restorer(TorchBackend(load_published(DATA / "peers" / "PReNet" / name / f"{weights}.pth")))
    table = evaluate({weights: restorer}, pairs, metrics=["psnr_y", "ssim_y"], protocol="paper")
    reference = {row["image"]: row for row in committed(key)}
    measured = {row.image: row.values for row in table.images if row.model == weights}
    assert len(measured) == 5
    for image, values in measured.items():
        assert values["psnr_y"] == pytest.approx(float(reference[str(image)]["psnr_y"]), abs=0.005)
        assert values["ssim_y"] == pytest.approx(float(reference[str(image)]["ssim_y"]), abs=0.0002)


@pytest.mark.parametrize("key", PAPER, ids="-".join)
def test_committed_values_meet_the_paper(key: tuple[str, str]) -> None:
    """All images, whole."""
    found = committed(key)
    assert len({row["image"] for row in found}) == len(found) == 100
    assert fmean(float(row["psnr_y"]) for row in found) == pytest.approx(PAPER[key][0], abs=0.05)
    assert fmean(float(row["ssim_y"]) for row in found) == pytest.approx(PAPER[key][1], abs=0.001)
