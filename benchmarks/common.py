"""What the scripts beside it share: where things lie, tables as CSV, seconds of the processor."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repix._environment import data_folder

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
DATA = data_folder(ROOT) or ROOT.parent / "shared" / "data"

Pixels = npt.NDArray[np.uint8]


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where it is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def held_out() -> dict[str, list[str]]:
    """Set -> names of its pairs that repixnet's weights were not trained on."""
    held: dict[str, list[str]] = {}
    for row in read_rows(ROOT / "benchmarks" / "held_out.csv"):
        held.setdefault(row["set"], []).append(row["name"])
    return held


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write a table; its columns are those of the first row, unless given."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def to_8_bits(image: npt.NDArray[np.float32]) -> Pixels:
    """[0, 1] to 0 … 255, rounded."""
    return np.rint(image * 255).astype(np.uint8)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process for a piece of work."""
    start = time.process_time()
    work()
    return time.process_time() - start
