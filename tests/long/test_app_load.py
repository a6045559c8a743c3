"""The API under load: right results, and memory that does not grow."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from repix.io.image import read_image, write_image
from running_app import run
from tiny_weight import write_weight

pytestmark = [
    pytest.mark.skipif(not os.environ.get("REPIX_LONG"), reason="takes minutes; REPIX_LONG=1 asks for it"),
    pytest.mark.enable_socket,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc"),
]
GROWTH = 60
"""MB that 200 requests, and then 50 at once, may add to those of the first 60."""


def test_two_hundred_requests_and_fifty_at_once(tmp_path: Path) -> None:
    weight = write_weight(tmp_path, "darken", multiple_of=8, tiling={"tile": 512, "overlap": 8})
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (300 + k, 400, 3), np.uint8) for k in range(10)]
    for k, pixels in enumerate(images):
        write_image(tmp_path / f"{k}.png", pixels)
    files = tmp_path / "files"
    files.mkdir()
    with run(files, "--model", str(weight)) as server:

        def ask(number: int) -> None:
            k = number % len(images)
            answer = server.form("/api/derain?model=darken", file=tmp_path / f"{k}.png")
            assert answer.status == 200, answer.body
            made = tmp_path / f"made-{number}.png"
            made.write_bytes(answer.body)
            np.testing.assert_allclose(read_image(made).pixels, images[k] * 0.4, atol=1)
            made.unlink()

        def resident() -> float:
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024

        for number in range(60):
            ask(number)
        early = resident()
        for number in range(60, 200):
            ask(number)
        later = resident()
        with ThreadPoolExecutor(50) as pool:
            list(pool.map(ask, range(50)))
        most = resident()
        print(f"resident: {early:.0f} MB after 60, {later:.0f} MB after 200, {most:.0f} MB after 50 at once")
        assert later - early < GROWTH
        assert most - early < 3 * GROWTH  # bodies of 50 requests at once, and a thread for each
