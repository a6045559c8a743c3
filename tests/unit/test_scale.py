"""The tables of docs/scale.md are those of the committed measurement."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_tables_are_up_to_date() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "scale.py"
    done = subprocess.run([sys.executable, str(script), "report", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
