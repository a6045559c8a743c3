"""The kinds of images that Python users have, as what networks take, and back: arrays, PIL images, files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from repix._types import Image
from repix.errors import InputError
from repix.io.image import Picture, read_image

Restore = Callable[[Image], Image]
"""(H, W, 3) uint8 or uint16 -> the same."""


def is_plain(image: object) -> bool:
    """Whether an image is what networks take as it is: (H, W, 3), uint8 or uint16 of this machine's byte order."""
    return (
        type(image) is np.ndarray
        and image.ndim == 3
        and image.shape[2] == 3
        and image.dtype.isnative
        and image.dtype in (np.uint8, np.uint16)
        and 0 not in image.shape
    )


def through(image: Any, restore: Restore) -> Any:
    """What `restore` makes of an image of any kind, as the same kind.

    Args:
        image: an array of uint8, uint16 (any byte order) or floats in [0, 1]: grey (H, W) or (H, W, 1), with
            transparency (H, W, 2), RGB (H, W, 3), RGBA (H, W, 4), or a batch (N, H, W, C) of these; a PIL image; a
            `Picture`; or the path of an image file.
        restore: what works on (H, W, 3).

    Returns:
        The same kind, shape and type; transparency unchanged; a `Picture` for a path. PIL images of modes that have
        no room for new colours (palettes, bilevel) come as RGB, RGBA or L.

    Raises:
        InputError: another kind, shape or type, or numbers outside [0, 1]; nothing is guessed.
        FileNotFoundError: no such file (an `InputError` too).
    """
    if isinstance(image, str | os.PathLike):
        image = read_image(Path(image))
    if isinstance(image, Picture):
        return replace(image, pixels=restore(image.pixels))
    if any(kind.__module__.startswith("PIL.") and kind.__name__ == "Image" for kind in type(image).__mro__):
        return _pil(image, restore)
    if isinstance(image, np.ndarray):
        return _array(np.asarray(image), restore)  # a matrix or a masked array reckons otherwise
    raise InputError(
        f"an image must be an array, a PIL image, a Picture or the path of a file, got {type(image).__name__}"
    )


def _array(image: np.ndarray[Any, Any], restore: Restore) -> np.ndarray[Any, Any]:
    shape = image.shape
    if 0 in shape or not (image.ndim == 2 or (image.ndim in (3, 4) and shape[-1] in (1, 2, 3, 4))):
        hint = "; channels come last" if image.ndim in (3, 4) and shape[-3] in (1, 3, 4) else ""
        raise InputError(
            f"an image must be (H, W, 3) RGB, (H, W) grey, (H, W, 4) RGBA or a batch (N, H, W, C), got {shape}{hint}"
        )
    if image.ndim == 4:
        return np.stack([_array(one, restore) for one in image]).astype(image.dtype, copy=False)
    if image.dtype.kind == "f":
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"floats must be in [0, 1], got {low:.9g} to {high:.9g}; divide by the largest value first, or clip "
                "what is beyond"
            )
        levels = np.rint(image.astype(np.float64) * 65535).astype(np.uint16)
        made = (_integers(levels, restore) / 65535.0).astype(image.dtype)
        if image.ndim == 3 and shape[2] in (2, 4):
            made[..., -1] = image[..., -1]
        return made
    if image.dtype.kind != "u" or image.dtype.itemsize > 2:
        raise InputError(
            f"an image must be uint8, uint16 or floats in [0, 1], got {image.dtype}; scale it to 0…255 and cast it"
        )
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    return _integers(native, restore).astype(image.dtype, copy=False)


def _integers(image: np.ndarray[Any, Any], restore: Restore) -> np.ndarray[Any, Any]:
    """(H, W) or (H, W, 1 to 4) of uint8 or uint16."""
    flat = image if image.ndim == 3 else image[..., None]
    grey = flat.shape[2] < 3
    colours = np.repeat(flat[..., :1], 3, axis=2) if grey else np.ascontiguousarray(flat[..., :3])
    made: np.ndarray[Any, Any] = restore(colours)
    if grey:
        made = np.rint(made.mean(axis=2, dtype=np.float32, keepdims=True)).astype(image.dtype)
    if flat.shape[2] in (2, 4):
        made = np.concatenate([made, flat[..., -1:]], axis=2)
    return made.reshape(image.shape)


def _pil(image: Any, restore: Restore) -> Any:
    from PIL import Image as PillowImage

    mode = image.mode
    if mode == "P" or mode == "PA":
        mode = "RGBA" if mode == "PA" or "transparency" in image.info else "RGB"
    elif mode == "1":
        mode = "L"
    if mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
        raise InputError(f"a PIL image must be L, LA, RGB, RGBA, I;16, P or 1, got {mode}; convert it first")
    made = _array(np.asarray(image if image.mode == mode else image.convert(mode)), restore)
    result = PillowImage.fromarray(made)
    result.info = dict(image.info)
    return result
