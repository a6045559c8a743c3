"""Random windows and flips of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from repix.errors import InputError


def random_window(
    shape: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator, *, name: str
) -> tuple[slice, slice]:
    """A window of a size (height, width) anywhere in an image of a shape (H, W, …).

    Args:
        shape: of the image.
        size: of the window.
        rng: source of all randomness.
        name: of the image, for the error message.

    Raises:
        InputError: the image is smaller than the window.
    """
    height, width = shape[:2]
    if height < size[0] or width < size[1]:
        raise InputError(
            f"{name}: {width}x{height} is smaller than the patch of {size[1]}x{size[0]}; remove it or train smaller"
        )
    top, left = int(rng.integers(height - size[0] + 1)), int(rng.integers(width - size[1] + 1))
    return slice(top, top + size[0]), slice(left, left + size[1])


def paired_crop(
    lq: npt.NDArray[Any], gt: npt.NDArray[Any], size: tuple[int, int], rng: np.random.Generator, *, name: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The same random window and flip of both images: one draw, both images.

    Args:
        lq, gt: (H, W, 3) of equal size.
        size: (height, width) of the window.
        rng: source of all randomness.
        name: for the error message.

    Raises:
        InputError: smaller than the window, or of unequal sizes.
    """
    check_equal(lq, gt, name=name)
    window = random_window(lq.shape, size, rng, name=name)
    flip = (slice(None, None, -1 if rng.random() < 0.5 else 1), slice(None, None, -1 if rng.random() < 0.5 else 1))
    return lq[window][flip], gt[window][flip]


def check_equal(lq: npt.NDArray[Any], gt: npt.NDArray[Any], *, name: str) -> None:
    """Raises InputError where the images of a pair differ in size."""
    if lq.shape != gt.shape:
        raise InputError(f"{name}: input is {lq.shape[1]}x{lq.shape[0]}, target is {gt.shape[1]}x{gt.shape[0]}")
