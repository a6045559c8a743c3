"""What a recipe says of its data: where images come from, how they are varied, what a stage asks of its samples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from repix.degradations import DEGRADATIONS
from repix.errors import did_you_mean
from repix.io.files import EMPTY_NAME
from repix.named import is_own

PAIRS = "pairs"
"""In a mixture: pairs from disk as they are, in place of a degradation."""
CANDIDATES = 3
"""Clean samples of which the network chooses one, for `hard_clean`."""
SAMPLES = (*DEGRADATIONS, PAIRS)
"""What a mixture may name besides degradations of one's own."""

_OLD_KINDS = {
    "drawn": "rain",
    "lines": "sharp_streaks",
    "masks": "streak_masks",
    "layers": "rain_transfer",
    "dry": "clean",
    "stripes": "hard_negatives",
}


class Strict(BaseModel):
    """A part of a recipe: unknown keys are errors, and nothing changes once it has been read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _check_names(names: Iterable[str], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for name in names:
        if name in _OLD_KINDS:
            raise ValueError(f"{where}.{name} is now {where}.{_OLD_KINDS[name]}")
        if name not in known and not is_own(name):
            hint = did_you_mean(name, known) or f" (known: {', '.join(known)})"
            raise ValueError(f"unknown kind {name!r} in the {where}{hint}, or my_fog.py:Fog")


def _check_mixture(mixture: dict[str, float]) -> dict[str, float]:
    _check_names(mixture, SAMPLES, "mixture")
    if mixture and sum(mixture.values()) <= 0:
        raise ValueError("the mixture's weights are all 0")
    return mixture


def _check_degradations(names: tuple[str, ...]) -> tuple[str, ...]:
    _check_names(names, DEGRADATIONS, "validation")
    return tuple(dict.fromkeys(names))


def _check_range(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError(f"got {list(values)}, expected the lower end first")
    return values


def check_named(value: Any) -> Any:
    """Refuse an empty name of a file or folder, or of a model."""
    if isinstance(value, str) and not value.strip():  # pathlib takes it for the current folder
        raise ValueError(EMPTY_NAME)
    return value


Folder = Annotated[Path, BeforeValidator(check_named)]
Share = Annotated[float, Field(ge=0, le=1)]
Mixture = Annotated[dict[str, NonNegativeFloat], AfterValidator(_check_mixture)]


class Augment(Strict):
    """How pairs are varied where they are translated, both images alike, except for colour."""

    resize_short: PositiveInt | None = Field(
        None, description="bring the shorter side to this before the patch is cut out"
    )
    flip: bool = Field(False, description="mirror half of the pairs left to right")
    scale: Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_check_range)] = Field(
        (1.0, 1.0), description="range of magnification"
    )
    rotation: float = Field(0.0, ge=0, le=180, description="most degrees either way")
    colour: float = Field(
        0.0, ge=0, lt=1, description="vary the input's brightness, contrast, saturation by this share; its hue is kept"
    )

    @property
    def goes_beyond(self) -> bool:
        """Whether a window may be larger than its images, which then go on mirrored."""
        return self.scale != (1.0, 1.0) or self.rotation != 0


class Data(Augment):
    """Where images come from; paths are relative to the current folder.

    With `photos` or a `mixture` samples are made on the fly; with `pairs` alone the pairs are used as they are, or, for
    translation, varied as `Augment` says: one draw for both images of a pair.
    """

    photos: list[Folder] = Field([], description="folders of clean photos")
    pairs: list[Folder] = Field([], description="folders of rainy and clean pairs, in any known layout")
    clips: list[Folder] = Field(
        [], description="folders of rainy and clean frames in their order, for stages with frames: the mixture's pairs"
    )
    masks: list[Folder] = Field([], description="folders of streak masks, white on black")
    mixture: Mixture = Field(
        {}, description=f"weight of each kind of sample: {', '.join(SAMPLES)}, or my_fog.py:Fog of one's own"
    )
    steer: bool = Field(
        False, description="draw kinds of samples more often while their held-out images are worse than they were"
    )
    camera: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of samples that are changed as cameras and users do: tone, blur, noise, JPEG, orientation",
    )
    direction: Literal["AtoB", "BtoA"] = Field(
        "AtoB", description="BtoA learns the first image of a pair from the second"
    )
    limit: PositiveInt | None = Field(None, description="train on so many of the pairs only")
    hold_out: int = Field(0, ge=0, description="so many photos and so many pairs are kept for validation, never seen")
    hold_out_seed: int | None = Field(
        None,
        ge=0,
        description="draws what is held out and its rain, by default seed; with another seed the same is kept",
    )
    validation: list[Folder] = Field([], description="folders of pairs to validate on as well")
    validation_degradations: Annotated[tuple[str, ...], AfterValidator(_check_degradations)] = Field(
        ("rain", "sharp_streaks", "clean"), description="what held-out photos are validated with"
    )
    train_subset: int = Field(0, ge=0, description="so many pairs trained on are validated on too, as the set `train`")
    max_validation: PositiveInt | None = Field(None, description="validate on the first so many images of each set")
    max_side: PositiveInt = Field(1280, description="larger photos are shrunk to this longer side")
    workers: int = Field(2, ge=0, description="processes that make data; 0 makes it inline")

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, values: Any) -> Any:
        """One folder may be written without a list around it."""
        if isinstance(values, dict):
            for key in ("photos", "pairs", "clips", "masks", "validation"):
                if isinstance(values.get(key), str | Path):
                    values = {**values, key: [values[key]]}
        return values

    @model_validator(mode="after")
    def _something(self) -> Data:
        if not self.photos and not self.pairs:
            raise ValueError("nothing to train on: give data.photos (clean images) or data.pairs")
        return self


class Samples(Strict):
    """What a stage of training asks of its samples."""

    steps: PositiveInt = Field(le=10**9)
    batch: PositiveInt = Field(8, le=65536, description="images in a step, over all processes")
    frames: PositiveInt = Field(
        1, description="consecutive frames in a sample, for a network that carries a state; in all stages or in none"
    )
    patch: PositiveInt = Field(96, le=8192, description="side of the crops in pixels")
    severity: Annotated[tuple[Share, Share], AfterValidator(_check_range)] = Field(
        (0.0, 1.0), description="range of synthetic rain: 0 drizzle, 1 storm"
    )
    sharp_streaks_density: float = Field(
        0.5, ge=0, le=1, description="share of `sharp_streaks` that leave little of the scene bare"
    )
    mixture: Mixture = Field({}, description="in place of data.mixture, from this stage's first step to its last")
    hard_clean: float = Field(
        0.0,
        ge=0,
        le=1,
        description=f"share of clean samples that are the one of {CANDIDATES} which the network changes most",
    )
