"""What several scripts beside it measure: published weights of PReNet, and the clip of NTURain."""

from __future__ import annotations

from pathlib import Path

from common import DATA
from repix.data.pairs import Pair
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.models.prenet import load_published


def published_prenet(weights: str) -> Restorer:
    """PReNet with its authors' weights for `Rain100L`, `Rain100H` or `Rain1400`."""
    return Restorer(TorchBackend(load_published(DATA / "peers" / "PReNet" / weights / "PReNet6.pth")))


def nturain(folder: Path) -> list[Pair]:
    """The frames of NTURain's a1, from the first on, as `../shared/data/more/lay.py` lays them out in a folder."""
    clip = folder / "nturain_a1" / "testsets" / "synthetic_NTURain"
    files = [sorted((clip / side).iterdir()) for side in ("a1_Rain", "a1_GT")]
    return [Pair(f"{k:03d}", lq, gt) for k, (lq, gt) in enumerate(zip(*files, strict=True), start=1)]
