"""No degradation: an image that is clean must come back as it is."""

from __future__ import annotations

import numpy as np

from repix._types import Floats
from repix.degradations import Context, Degradation


class Clean(Degradation):
    """The clean image twice."""

    is_clean = True

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """See `Degradation.__call__`."""
        return clean, clean

    def frames(self, clean: Floats, rng: np.random.Generator, context: Context) -> Floats:
        """See `Degradation`."""
        return clean
