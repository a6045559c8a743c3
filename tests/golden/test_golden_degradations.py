"""Every kind of training sample, pixel by pixel, against committed values.

Photographs, pairs and masks come from formulas, so only a change of the degradations themselves moves the values.
After such a change, on purpose: python tests/golden/test_golden_degradations.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repix.data.config import SAMPLES, Samples
from repix.data.dataset import MixtureDataset, Sources
from repix.data.pairs import find_pairs

GOLDEN = Path(__file__).with_name("degradations.json")
SEEDS = range(6)  # enough to pass through every branch of a kind, both blendings and the closing JPEG among them
# JPEG decoders of two machines differ by a level in a pixel, by next to nothing in the mean
TOLERANCE = [5e-4] * 4 + [1.5 / 255] * 9


def scene(height: int, width: int, phase: float) -> np.ndarray:
    """(H, W, 3) uint8 with smooth and busy parts."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x * 0.05 + phase) * np.cos(y * 0.08), np.sin((x + y) * 0.3 + phase), np.cos(x * 0.02 * phase)]
    return np.rint(127 + 80 * np.stack(waves, axis=2)).astype(np.uint8)


def lay_out(folder: Path) -> None:
    """Two photos, two rainy pairs and two streak masks."""
    for number in (1, 2):
        clean = scene(160, 200, number)
        mask = np.zeros((160, 200), np.uint8)
        mask[::7, number::11] = 200
        mask[1::7, number::11] = 90
        for place, pixels in (
            (f"photos/{number}.png", scene(150, 180, number + 5.0)),
            (f"pairs/rain/rain-{number}.png", np.clip(clean.astype(int) + mask[..., None], 0, 255).astype(np.uint8)),
            (f"pairs/norain/norain-{number}.png", clean),
            (f"masks/{number}.png", mask),
        ):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / place)


def values(folder: Path, kind: str) -> list[list[float]]:
    """For each seed: means and deviations of both images and nine pixels of the degraded one."""
    photos = sorted((folder / "photos").iterdir())
    masks = sorted((folder / "masks").iterdir())
    stage = Samples(steps=1, patch=64)
    pairs = find_pairs(folder / "pairs")
    data = MixtureDataset(Sources(photos, {kind: 1.0}, pairs=pairs, masks=masks), stages=[stage])
    rows = []
    for seed in SEEDS:
        lq, gt, _ = data.make(kind, stage, np.random.default_rng((7, seed)))
        few = lq.reshape(-1)[:: lq.size // 9][:9]
        rows.append([round(float(v), 5) for v in (lq.mean(), lq.std(), gt.mean(), gt.std(), *few)])
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("golden")
    lay_out(made)
    return made


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_samples_are_what_they_were(kind: str, folder: Path) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert np.all(np.abs(np.subtract(values(folder, kind), golden[kind])) <= TOLERANCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        lay_out(Path(name))
        rows = {kind: values(Path(name), kind) for kind in sorted(SAMPLES)}
    lines = (f'"{kind}": [\n' + ",\n".join(map(json.dumps, row)) + "\n]" for kind, row in rows.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
