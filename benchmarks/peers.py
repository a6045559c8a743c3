"""What several scripts beside it measure: published weights of PReNet, and clips with their ground truth."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from common import DATA, Pixels
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


def yard() -> tuple[list[Pixels], Pixels]:
    """Frames 188 to 375 of the yard in real rain, upright, and their temporal median: the scene stands still."""
    with av.open(str(DATA / "video" / "yard.mp4")) as video:
        frames = [np.ascontiguousarray(np.rot90(f.to_ndarray(format="rgb24"), -1)) for f in video.decode(video=0)][188:]
    return frames, np.median(np.stack(frames), axis=0).astype(np.uint8)
