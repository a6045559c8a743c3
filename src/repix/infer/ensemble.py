"""Self-ensemble (test-time augmentation): what a network makes of an image mirrored and shifted. NumPy only.

Where the estimates differ, the network is unsure (`repix.infer.uncertainty`); their mean is better than any of them
(`self_ensemble`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from repix._types import Floats
from repix.infer.padding import padded


class Augmentation(NamedTuple):
    """How an image is changed before the network sees it; the estimate is changed back.

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
AUGMENTATIONS = (
    Augmentation(),
    Augmentation(1, 1, right=-1),
    Augmentation(2, 3, down=-1),
    Augmentation(3, 2, down=-1, right=-1),
)
"""As it is, mirrored left to right, upside down, and both, each shifted: the best four of those tried."""


def estimate(run: Callable[[Floats], Floats], x: Floats, augmentation: Augmentation, *, multiple_of: int = 1) -> Floats:
    """What the network makes of an augmented image, brought back to where the image was.

    Args:
        run: (1, 3, h, w) in [0, 1] -> the same shape; h and w are multiples of `multiple_of`.
        x: (1, 3, H, W) float32 in [0, 1], of any size.
        augmentation: how it is changed.
        multiple_of: see `run`.

    Returns:
        (3, H, W), not clamped.
    """
    top, left, down, right = augmentation
    height, width = x.shape[2:]
    given = padded(x, multiple_of, top=top, left=left)
    made = run(np.ascontiguousarray(given[..., ::down, ::right]))[0, :, ::down, ::right]
    return made[:, top : top + height, left : left + width]


def self_ensemble(
    run: Callable[[Floats], Floats], *, augmentations: Sequence[Augmentation] = AUGMENTATIONS, multiple_of: int = 1
) -> Callable[[Floats], Floats]:
    """A network that gives the mean of what another makes of an image in several augmentations (Lim et al. 2017,
    "Enhanced deep residual networks for single image super-resolution", section 3.3, without turns by 90 degrees).

    Args:
        run: as for `estimate`.
        augmentations: how the image is changed; the time is that of as many runs.
        multiple_of: as for `estimate`.

    Returns:
        (1, 3, H, W) -> the same shape, not clamped.
    """

    def mean(x: Floats) -> Floats:
        first, *others = augmentations
        total = estimate(run, x, first, multiple_of=multiple_of).copy()  # it may be the network's own
        for augmentation in others:
            total += estimate(run, x, augmentation, multiple_of=multiple_of)
        total /= np.float32(len(augmentations))
        return total[None]

    return mean
