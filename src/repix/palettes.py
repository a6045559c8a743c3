"""Colours of label maps: which class each colour of a data set's label images stands for. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from repix._types import Image
from repix.errors import InputError


class LabelColour(NamedTuple):
    """One class of a label map.

    Attributes:
        name: the data set's own word; `void` for what its benchmark does not count.
        rgb: 0…255 each.
    """

    name: str
    rgb: tuple[int, int, int]


def _palette(colours: Mapping[str, tuple[int, int, int]]) -> tuple[LabelColour, ...]:
    return tuple(LabelColour(name, rgb) for name, rgb in colours.items())


VOID = "void"

FACADES = _palette(
    {
        "background": (0, 0, 223),
        "facade": (0, 48, 255),
        "window": (0, 128, 255),
        "door": (0, 207, 255),
        "cornice": (32, 255, 223),
        "sill": (112, 255, 143),
        "balcony": (191, 255, 64),
        "blind": (255, 239, 0),
        "deco": (255, 159, 0),
        "molding": (255, 80, 0),
        "pillar": (255, 0, 0),
        "shop": (175, 0, 0),
    }
)
"""CMP facades as pix2pix packed them: every fifth colour of MATLAB's `jet(64)`, in the order of CMP's classes. Coded as
JPEG these are the twelve colours found in the 500 label images, to the level. A `cornice` lies above a window, a
`molding` runs along the wall."""

CITYSCAPES = (
    *_palette(
        {
            "road": (128, 64, 128),
            "sidewalk": (244, 35, 232),
            "building": (70, 70, 70),
            "wall": (102, 102, 156),
            "fence": (190, 153, 153),
            "pole": (153, 153, 153),
            "traffic light": (250, 170, 30),
            "traffic sign": (220, 220, 0),
            "vegetation": (107, 142, 35),
            "terrain": (152, 251, 152),
            "sky": (70, 130, 180),
            "person": (220, 20, 60),
            "rider": (255, 0, 0),
            "car": (0, 0, 142),
            "truck": (0, 0, 70),
            "bus": (0, 60, 100),
            "train": (0, 80, 100),
            "motorcycle": (0, 0, 230),
            "bicycle": (119, 11, 32),
        }
    ),
    # static, dynamic, ground, parking, rail track, bridge, caravan, trailer; its other colours are not in pix2pix's set
    *(
        LabelColour(VOID, rgb)
        for rgb in (
            (0, 0, 0),
            (111, 74, 0),
            (81, 0, 81),
            (250, 170, 160),
            (230, 150, 140),
            (150, 100, 100),
            (0, 0, 90),
            (0, 0, 110),
        )
    ),
)
"""Cityscapes: the 19 classes that its benchmark counts, then the colours of what it does not."""

PALETTES: Mapping[str, Sequence[LabelColour]] = {"facades": FACADES, "cityscapes": CITYSCAPES}


def nearest_label(image: Image, palette: Sequence[LabelColour]) -> NDArray[np.uint8]:
    """Index of the palette's nearest colour (Euclidean in RGB) for each pixel.

    Args:
        image: (H, W, 3) uint8 or uint16.
        palette: such as `FACADES`.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: an array of another shape or type.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"expected an image (H, W, 3) of uint8 or uint16, got {image.shape} of {image.dtype}")
    if image.dtype == np.uint16:
        image = np.rint(image / 257).astype(np.uint8)
    colours = np.array([colour.rgb for colour in palette], np.int32)
    # |x - c|² = |x|² - 2 x·c + |c|², of which |x|² is the same for all colours
    distance = (colours**2).sum(1) - 2 * (image.astype(np.int32) @ colours.T)
    nearest: NDArray[np.uint8] = distance.argmin(axis=2).astype(np.uint8)
    return nearest
