"""An image held in several ways, and what a network makes of each. NumPy only.

Where the estimates differ, the network is unsure (`repix.infer.uncertainty`); their mean is better than any of them
(`averaged`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from repix.infer.tiling import Floats


class View(NamedTuple):
    """How an image is held.

    Attributes:
        top: rows it is moved down by.
        left: columns it is moved to the right by.
        down: -1 turns it upside down.
        right: -1 mirrors it left to right.
    """

    top: int = 0
    left: int = 0
    down: Literal[1, -1] = 1
    right: Literal[1, -1] = 1


# Odd shifts are no multiple of any unshuffle factor or stride. Turned on its side an image would show rain that falls
# sideways, which no network has learnt.
VIEWS = (View(), View(1, 1, right=-1), View(2, 3, down=-1), View(3, 2, down=-1, right=-1))
"""As it is, mirrored left to right, upside down, and both, each shifted: the best four of those tried
(benchmarks/views.py)."""


def estimate(run: Callable[[Floats], Floats], x: Floats, view: View, *, multiple_of: int = 1) -> Floats:
    """What the network makes of one view of an image, brought back to where the image was.

    Args:
        run: (1, 3, h, w) in [0, 1] -> the same shape; h and w are multiples of `multiple_of`.
        x: (1, 3, H, W) float32 in [0, 1], of any size.
        view: how it is held.
        multiple_of: see `run`.

    Returns:
        (3, H, W), not clamped.
    """
    height, width = x.shape[2:]
    bottom, end = -(height + view.top) % multiple_of, -(width + view.left) % multiple_of
    padded = np.pad(x, ((0, 0), (0, 0), (view.top, bottom), (view.left, end)), mode="reflect")
    made = run(np.ascontiguousarray(padded[..., :: view.down, :: view.right]))[0, :, :: view.down, :: view.right]
    return made[:, view.top : view.top + height, view.left : view.left + width]


def averaged(
    run: Callable[[Floats], Floats], *, views: Sequence[View] = VIEWS, multiple_of: int = 1
) -> Callable[[Floats], Floats]:
    """A network that gives the mean of what another makes of several views: self-ensemble (Lim et al. 2017, "Enhanced
    deep residual networks for single image super-resolution", section 3.3, without the turned views).

    Args:
        run: as for `estimate`.
        views: how the image is held; the time is that of as many runs.
        multiple_of: as for `estimate`.

    Returns:
        (1, 3, H, W) -> the same shape, not clamped.
    """

    def run_views(x: Floats) -> Floats:
        total = estimate(run, x, views[0], multiple_of=multiple_of).copy()  # it may be the network's own
        for view in views[1:]:
            total += estimate(run, x, view, multiple_of=multiple_of)
        total /= np.float32(len(views))
        return total[None]

    return run_views
