"""A network over an image of any size, as users' images go through one, without a `Restorer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from repix._types import Floats, Image
from repix.infer.tiling import Rounding, reader, run_tiles, writer


def apply_tiled(
    run: Callable[[Floats], Floats],
    image: Image,
    *,
    strength: float = 1.0,
    rounding: Rounding = "nearest",
    out: Image | None = None,
    **tiling: Any,
) -> Image:
    """`run_tiles` from an image to `out`, or to a new one."""
    out = np.empty_like(image) if out is None else out
    run_tiles(run, reader(image), writer(image, out, strength=strength, rounding=rounding), image.shape[:2], **tiling)
    return out
