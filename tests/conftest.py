"""Fixtures that several test folders share. Images are made here; nothing is read from outside the tests."""

from __future__ import annotations

import os
import signal
import tempfile

# Tests run side by side; before anything imports NumPy or torch, keep each to one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# and what repix keeps between runs out of the home folder
os.environ.setdefault("REPIX_CACHE", os.path.join(tempfile.gettempdir(), "repix-tests"))

import functools
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from tiny_weight import write_weight

hypothesis.settings.register_profile("repix", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("repix")

# A runner in the background, and nohup, have these ignored, and whatever a test starts would inherit that.
for _name, _action in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _action)


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """A 61x83 image with smooth ground, edges and colour: odd sizes on purpose, (H, W, 3) uint8."""
    y, x = np.mgrid[0:61, 0:83]
    ground = np.stack([x * 2.5, y * 3.5, 200 - x - y], axis=2)
    ground[20:40, 30:60] = (250, 40, 90)
    levels: NDArray[np.uint8] = np.clip(ground, 0, 255).astype(np.uint8)
    return levels


@pytest.fixture
def make_weight(tmp_path: Path) -> Callable[..., Path]:
    """Makes weight folders whose network multiplies every value by `factor`: `write_weight`."""
    return functools.partial(write_weight, tmp_path / "weights")


@pytest.fixture
def darkening_weight(make_weight: Callable[..., Path]) -> Path:
    """A weight that makes images darker, times 0.4."""
    return make_weight("darken", multiple_of=8, tiling={"tile": 48, "overlap": 8})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four coloured images, 90x70 PNG."""
    import pyvips

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 256, (14, 18, 3), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
        pyvips.Image.new_from_array(pixels).write_to_file(str(folder / f"{i}.png"))
    return folder
