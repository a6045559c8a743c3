"""What is done to clean images so that a network learns to undo it, by name; NumPy only.

A degradation is a class without arguments whose objects are called as

    degraded, clean = degradation(clean, rng, context)

with (H, W, 3) float32 images in [0, 1]. Adding one is one file, one line in `DEGRADATIONS` and one row in
tests/contract/test_degradations.py; one's own is named by its file, `my_fog.py:Fog` (docs/own-degradation.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from repix._types import Floats
from repix.errors import RecipeError
from repix.named import find_named

Levels = npt.NDArray[np.uint8]

DEGRADATIONS: dict[str, str] = {
    "clean": "repix.degradations.clean:Clean",
    "crisp_streaks": "repix.degradations.crisp:CrispStreaks",
    "curtain": "repix.degradations.curtain:Curtain",
    "grounds": "repix.degradations.grounds:Grounds",
    "hard_negatives": "repix.degradations.hard_negatives:HardNegatives",
    "haze": "repix.degradations.haze:Haze",
    "lens_drops": "repix.degradations.lens:LensDrops",
    "rain": "repix.degradations.rain:Rain",
    "rain_transfer": "repix.degradations.transfer:RainTransfer",
    "sharp_streaks": "repix.degradations.streaks:SharpStreaks",
    "specks": "repix.degradations.specks:Specks",
    "splash": "repix.degradations.specks:Splash",
    "streak_masks": "repix.degradations.masks:StreakMasks",
}


@dataclass(frozen=True)
class Context:
    """What one sample may draw from. Images are decoded when they are asked for, so ask for few.

    Attributes:
        severity: range to draw from, within 0 (drizzle, thin mist) to 1 (storm, dense fog).
        sharp_streaks_density: share of `sharp_streaks` samples that leave little of the scene bare.
        focal: focal length in pixels of the camera that took the image; None where it is unknown, and to be drawn.
        camera: whether the camera's mist, noise and JPEG are drawn for the degraded image alone, as in files that
            `repix rain` writes. In training they are not: both images had them already.
        photos: clean photos, each (H, W, 3) uint8.
        pairs: known degraded and clean images, each pair two (H, W, 3) uint8 of equal size.
        masks: streak masks, each (H, W) uint8, white on black.
    """

    severity: tuple[float, float] = (0.0, 1.0)
    sharp_streaks_density: float = 0.5
    focal: float | None = None
    camera: bool = False
    photos: Sequence[Levels] = ()
    pairs: Sequence[tuple[Levels, Levels]] = ()
    masks: Sequence[Levels] = ()


class Degradation(Protocol):
    """One entry of `DEGRADATIONS`.

    Attributes:
        needs: names of the sources in `Context` that must not be empty, of `photos`, `pairs`, `masks`.
        is_clean: whether both images are the same one, which must come back as it is. Where such a class draws its own
            scene, a mixture of video shows its drawing to a moving camera: it needs no `frames`.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    is_clean: ClassVar[bool] = False

    def __call__(self, clean: Floats, rng: np.random.Generator, context: Context) -> tuple[Floats, Floats]:
        """The degraded image and its ground truth.

        Args:
            clean: (H, W, 3) float32 in [0, 1], of any size from one pixel up; not to be changed.
            rng: source of all randomness; the same state gives the same images.
            context: what else the sample may draw from.

        Returns:
            Degraded and clean, both of the shape, type and range of `clean`. The second is `clean` itself, but for a
            degradation that makes its own scene.
        """
        ...

    # and, of those with rain that a mixture of video may name:
    # def frames(self, clean: Floats, rng: Generator, context: Context) -> Floats
    #     Consecutive frames of one scene, (T, H, W, 3) in [0, 1], 25 in a second, degraded: what wind, drops and light
    #     are like is drawn once, where drops are follows from their fall or is drawn for each frame.


def create_degradation(name: str) -> Degradation:
    """Build a degradation by name.

    Args:
        name: a key of `DEGRADATIONS`, or `"my_fog.py:Fog"` for one of your own.

    Raises:
        RecipeError: no such name, file or class.
    """
    found = find_named(name, DEGRADATIONS, what="degradation", example="my_fog.py:Fog")
    if not (isinstance(found, type) and any("__call__" in base.__dict__ for base in found.__mro__)):
        raise RecipeError(f"degradation {name!r}: expected a class whose objects are called as (clean, rng, context)")
    made: Degradation = found()
    return made
