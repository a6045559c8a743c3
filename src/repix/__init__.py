"""repix: takes the rain out of photos and videos, translates images, blends them without a seam.

Public names are resolved on first use (PEP 562), so `import repix` stays fast and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import repix._environment  # noqa: F401  (before any dependency)

__version__ = "0.2.0"

_PUBLIC = {
    "Restorer": "repix.infer.restorer",
    "restore": "repix.infer.images",
    "merge": "repix.infer.merge",
    "BatchOptions": "repix.infer.jobs",
    "VideoOptions": "repix.infer.jobs",
    "RainParams": "repix.degradations.rain",
    "add_rain": "repix.degradations.rain",
    "find_pairs": "repix.data.pairs",
    "read_image": "repix.io.image",
    "write_image": "repix.io.image",
    "BlendReport": "repix.poisson.blend",
    "blend": "repix.poisson.blend",
    "blend_images": "repix.poisson.compose",
    "edit_selection": "repix.poisson.blend",
    "create_mask_from_points": "repix.poisson.mask",
    "RepixError": "repix.errors",
}

__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from repix.data.pairs import find_pairs as find_pairs
    from repix.degradations.rain import RainParams as RainParams
    from repix.degradations.rain import add_rain as add_rain
    from repix.errors import RepixError as RepixError
    from repix.infer.images import restore as restore
    from repix.infer.jobs import BatchOptions as BatchOptions
    from repix.infer.jobs import VideoOptions as VideoOptions
    from repix.infer.merge import merge as merge
    from repix.infer.restorer import Restorer as Restorer
    from repix.io.image import read_image as read_image
    from repix.io.image import write_image as write_image
    from repix.poisson.blend import BlendReport as BlendReport
    from repix.poisson.blend import blend as blend
    from repix.poisson.blend import edit_selection as edit_selection
    from repix.poisson.compose import blend_images as blend_images
    from repix.poisson.mask import create_mask_from_points as create_mask_from_points


def __getattr__(name: str) -> object:
    try:
        module = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module 'repix' has no attribute {name!r}") from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
