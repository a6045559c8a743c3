"""Seen or guessed? How far a network can be trusted, from how much it disagrees with itself. NumPy only.

Where an image shows enough, a network finds the same under the rain whichever way it is held; where it invents, the
mirrored and shifted image gives it another idea. Measured (benchmarks/confidence.py): over all kinds of rain neither
the size of the rain layer nor texture says as much about the true error, and fitted to it they add next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from repix.infer.ensemble import VIEWS, estimate
from repix.infer.tiling import Floats, Pixels

SMOOTHING = 2.0
"""Standard deviation in pixels of the Gaussian that the map of the expected error is smoothed with."""

# Mean absolute error over the standard deviation of the views, over held-out pairs and drawn rain, all alike.
_ERROR_OF_DISAGREEMENT = 3.0
# Disagreement over rain, both averaged over the image: below the first it is rain, above the second it is something
# else. Held-out rainy images were found from 0.04 to 0.57 (the highest where there is hardly any rain), dry ones from
# 0.45 to 1.1.
_CERTAIN, _UNCERTAIN = 0.45, 0.70
_WINDOW, _WINDOWS = 320, 3


def estimates(run: Callable[[Floats], Floats], x: Floats, *, multiple_of: int = 1) -> Floats:
    """What the network makes of an image as it is, mirrored left to right, upside down, and both, each shifted.

    Args:
        run, x, multiple_of: as for `repix.infer.ensemble.estimate`.

    Returns:
        (4, 3, H, W) in [0, 1], each turned and shifted back; the first is that of the image as it is.
    """
    return np.stack([estimate(run, x, view, multiple_of=multiple_of) for view in VIEWS]).clip(0, 1)


def disagreement(views: Floats) -> Floats:
    """(V, 3, H, W) of `estimates` -> (H, W): standard deviation over the views, mean over the channels."""
    return np.asarray(views.std(axis=0).mean(axis=0), np.float32)


def expected_error(views: Floats) -> Floats:
    """Expected absolute error of the first estimate, mean over channels and a few pixels around (`SMOOTHING`).

    Args:
        views: (V, 3, H, W) of `estimates`.

    Returns:
        (H, W), in the unit of the estimates, [0, 1].
    """
    from scipy.ndimage import gaussian_filter

    smooth: Floats = gaussian_filter(disagreement(views), SMOOTHING)
    return smooth * np.float32(_ERROR_OF_DISAGREEMENT)


def find_strength(run: Callable[[Floats], Floats], image: Pixels, *, multiple_of: int = 1) -> float:
    """How strongly to derain an image: 1 where the network is sure of what it takes away, 0 where it can't be rain.

    What is compared is the disagreement between the views with the size of the rain layer. One figure for the whole
    image, because single pixels don't tell: blending those that are unsure costs rainy images 0.1 to 0.4 dB (the
    estimate is the better guess there too), an image's own average nothing.

    Args:
        run: as for `estimates`.
        image: (H, W, 3), uint8 or uint16. Of a large one nine windows of 320 pixels are looked at.
        multiple_of: as for `estimates`.

    Returns:
        0 to 1.
    """
    scale = np.float32(np.iinfo(image.dtype).max)
    differs = rain = 0.0
    for part in _parts(image):
        x = (part.transpose(2, 0, 1)[None] / scale).astype(np.float32)
        views = estimates(run, x, multiple_of=multiple_of)
        differs += float(disagreement(views).mean())
        rain += float(rain_size(x, views).mean())
    return float(strength_at(differs / max(rain, 1e-9)))


def rain_size(x: Floats, views: Floats) -> Floats:
    """How much the first estimate takes away from (1, 3, H, W): (H, W), mean over the channels."""
    return np.asarray(np.abs(x[0] - views[0]).mean(axis=0), np.float32)


def strength_at(ratio: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """1 to 0 for a ratio of disagreement to rain, or an array of them."""
    return np.asarray(np.clip((_UNCERTAIN - ratio) / (_UNCERTAIN - _CERTAIN), 0, 1))


def _parts(image: Pixels) -> list[Pixels]:
    """The image, or windows of a large one, evenly from end to end."""
    if image.shape[0] * image.shape[1] <= (_WINDOW * _WINDOWS) ** 2:
        return [image]
    tops, lefts = (np.linspace(0, max(side - _WINDOW, 0), _WINDOWS).round().astype(int) for side in image.shape[:2])
    return [image[top : top + _WINDOW, left : left + _WINDOW] for top in tops for left in lefts]
