"""Uncertainty: the error to expect of an estimate, from how much a network disagrees with itself. NumPy only.

Where an image shows enough, a network finds the same under the rain however the image is mirrored and shifted; where it
invents, another augmentation gives another estimate. Measured (benchmarks/uncertainty.py): over all kinds of rain
neither the size of the rain layer nor texture says as much about the true error, and fitted to it they add next to
nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, Image
from repix.infer.ensemble import AUGMENTATIONS, estimate
from repix.infer.padding import to_floats

SMOOTHING = 2.0
"""Standard deviation in pixels of the Gaussian that the map of the expected error is smoothed with."""

# Mean absolute error over the standard deviation of the estimates, over held-out pairs and synthetic rain, all alike.
_ERROR_OF_DISAGREEMENT = 3.0
# Disagreement over rain, both averaged over the image: below the first it is rain, above the second it is something
# else. Held-out rainy images were found from 0.04 to 0.57 (the highest where there is hardly any rain), clean ones
# from 0.45 to 1.1.
_CERTAIN, _UNCERTAIN = 0.45, 0.70
_WINDOW, _WINDOWS = 320, 3


def estimates(run: Callable[[Floats], Floats], x: Floats, *, multiple_of: int = 1) -> Floats:
    """What the network makes of an image as it is, mirrored left to right, upside down, and both, each shifted.

    Args:
        run, x, multiple_of: as for `repix.infer.ensemble.estimate`.

    Returns:
        (4, 3, H, W) in [0, 1], each turned and shifted back; the first is that of the image as it is.
    """
    return np.stack([estimate(run, x, one, multiple_of=multiple_of) for one in AUGMENTATIONS]).clip(0, 1)


def disagreement(found: Floats) -> Floats:
    """(E, 3, H, W) of `estimates` -> (H, W): standard deviation over the estimates, mean over the channels."""
    return np.asarray(found.std(axis=0).mean(axis=0), np.float32)


def expected_error(found: Floats) -> Floats:
    """Expected absolute error of the first estimate, mean over channels and a few pixels around (`SMOOTHING`).

    Args:
        found: (E, 3, H, W) of `estimates`.

    Returns:
        (H, W), in the unit of the estimates, [0, 1].
    """
    from scipy.ndimage import gaussian_filter

    smooth: Floats = gaussian_filter(disagreement(found), SMOOTHING)
    return smooth * np.float32(_ERROR_OF_DISAGREEMENT)


def find_strength(run: Callable[[Floats], Floats], image: Image, *, multiple_of: int = 1) -> float:
    """How strongly to derain an image: 1 where the network is sure of what it takes away, 0 where it can't be rain.

    What is compared is the disagreement between the estimates with the size of the rain layer. One number for the whole
    image, because single pixels don't tell: blending those that are unsure costs rainy images 0.1 to 0.4 dB (the
    estimate is the better guess there too), an image's own average nothing.

    Args:
        run: as for `estimates`.
        image: (H, W, 3), uint8 or uint16. Of a large one nine windows of 320 pixels are looked at.
        multiple_of: as for `estimates`.

    Returns:
        0 to 1.
    """
    differs = rain = 0.0
    for part in _parts(image):
        x = to_floats(part)
        found = estimates(run, x, multiple_of=multiple_of)
        differs += float(disagreement(found).mean())
        rain += float(rain_size(x, found).mean())
    return float(strength_at(differs / max(rain, 1e-9)))


def rain_size(x: Floats, found: Floats) -> Floats:
    """How much the first estimate takes away from (1, 3, H, W): (H, W), mean over the channels."""
    return np.asarray(np.abs(x[0] - found[0]).mean(axis=0), np.float32)


def strength_at(ratio: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """1 to 0 for a ratio of disagreement to rain, or an array of them."""
    return np.asarray(np.clip((_UNCERTAIN - ratio) / (_UNCERTAIN - _CERTAIN), 0, 1))


def _parts(image: Image) -> list[Image]:
    """The image, or windows of a large one, evenly from end to end."""
    if image.shape[0] * image.shape[1] <= (_WINDOW * _WINDOWS) ** 2:
        return [image]
    tops, lefts = (np.linspace(0, max(side - _WINDOW, 0), _WINDOWS).round().astype(int) for side in image.shape[:2])
    return [image[top : top + _WINDOW, left : left + _WINDOW] for top in tops for left in lefts]
