"""Model cards and the weights beside them: find, list, verify, save. The only module that knows the assets folder.

A weight is a folder:

    <name>/card.json            what it is, how it was trained, what it reaches, its limits, licence and sha256 sums
    <name>/model.onnx           what `Restorer` runs (no torch)
    <name>/model.safetensors    what training and evaluation in torch load

Bytes are handed out only by `read_weights`, after their sha256 was compared with the card's; there is no way around it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from repix.errors import WeightsError, did_you_mean
from repix.tasks import TaskField

_ASSETS = Path(__file__).parent / "assets"
CARD_NAME = "card.json"
DEFAULT_MODEL = "repixnet"


class Tiling(BaseModel):
    """How a network may be run on overlapping tiles.

    Attributes:
        tile: recommended side of a square tile, in pixels.
        overlap: pixels that neighbouring tiles share, in pixels; at least the effective receptive field, so that
            tiles and the whole image give the same result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tile: int = Field(default=1024, ge=1)
    overlap: int = Field(default=96, ge=0)

    @model_validator(mode="after")
    def _overlap_fits(self) -> Tiling:
        if 2 * self.overlap > self.tile:
            raise ValueError(f"overlap {self.overlap} is more than half of tile {self.tile}")
        return self


class Figures(BaseModel):
    """What a weight reaches on one set of images.

    Attributes:
        data: name of the set, and its version where there are several.
        images: how many images the means are over.
        values: metric name (which carries the protocol, `psnr_y`) -> mean over images.
        protocol: how the figures were taken, in a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    pictures: int = Field(ge=1)
    values: dict[str, float]
    protocol: str


class ModelCard(BaseModel):
    """Everything there is to know about one weight. Unknown fields are an error.

    Attributes:
        name: what `--model` calls it.
        task: what it does, a key of `repix.tasks.TASKS`.
        arch: the network, a key of `repix.models.MODELS`.
        args: arguments of the network's constructor, so that the weight explains itself.
        description: what it is for, in a sentence.
        direction: of pairs that lie side by side, `AtoB` makes the right image from the left, `BtoA` the reverse.
        size: shorter side, in pixels, at which the network has learnt to see images: others are scaled there and
            back; None takes every image as it is.
        palette: (name, (R, G, B)) of each class where the network paints label maps; classes named `void` do not
            count; None where it paints anything else.
        multiple_of: H and W given to the network must be multiples of this.
        tiling: how it may be tiled; None where a value depends on the whole image (it must run in one piece).
        training: how it was trained, free form (recipe, steps, data, seed, versions).
        metrics: what it reaches, with the protocol.
        limits: what it cannot do, one sentence each.
        licence: SPDX name of the weights' licence.
        onnx_parity: size "HxW" -> largest absolute difference between the ONNX and the torch output there, in fp32.
        int8: whether model.onnx computes in int8, for CPUs; model.safetensors is in floating point in any case.
        files: file name -> sha256, hexadecimal. Filled by `save_card`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    task: TaskField
    arch: str
    args: dict[str, Any] = {}
    description: str = ""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    size: int | None = Field(default=None, ge=1)
    palette: list[tuple[str, tuple[int, int, int]]] | None = Field(default=None, min_length=2)
    multiple_of: int = Field(default=1, ge=1)
    tiling: Tiling | None
    training: dict[str, Any] = {}
    metrics: list[Figures] = []
    limits: list[str] = []
    licence: str
    onnx_parity: dict[str, float] = {}
    int8: bool = False
    files: dict[str, str] = {}

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if name in ("", ".", "..") or "/" in name or "\\" in name or ":" in name:
                raise ValueError(f"{name!r} is not a plain file name")
        return files


def list_cards() -> list[ModelCard]:
    """The cards of the weights shipped with the package, by name.

    Raises:
        WeightsError: a shipped card is damaged.
    """
    return [_load_card(path) for path in sorted(_ASSETS.glob(f"*/{CARD_NAME}"))]


def find_card(name_or_path: str | os.PathLike[str]) -> tuple[ModelCard, Path]:
    """Find a weight.

    Args:
        name_or_path: name of a shipped weight, or the path of a weight's folder or of its card.json. A shipped name
            wins over a folder of that name; write `./name` for the folder.

    Returns:
        The card and the folder it lies in.

    Raises:
        WeightsError: no such name or folder, or a card that does not validate.
    """
    shipped = sorted(path.parent.name for path in _ASSETS.glob(f"*/{CARD_NAME}"))
    path = _ASSETS / name_or_path if name_or_path in shipped else Path(name_or_path)
    if path.is_dir():
        path = path / CARD_NAME
        if not path.is_file():
            raise WeightsError(f"{path.parent} is not a weight: it has no {CARD_NAME}")
    if not path.is_file():
        hint = did_you_mean(str(name_or_path), shipped)
        known = ", ".join(shipped) or "none"
        raise WeightsError(
            f"no model {str(name_or_path)!r}{hint} (shipped: {known}; or give the path of a folder with {CARD_NAME})"
        )
    return _load_card(path), path.parent


def read_weights(card: ModelCard, folder: Path, filename: str) -> bytes:
    """The bytes of one file of a weight, after comparing their sha256 with the card's.

    Args:
        card: the card found in `folder`.
        folder: where card and files lie.
        filename: a key of `card.files`, such as `model.onnx`.

    Raises:
        WeightsError: the card does not list the file, it is missing or unreadable, or a byte of it has changed.
    """
    if filename not in card.files:
        listed = ", ".join(card.files) or "none"
        raise WeightsError(f"weight {card.name!r} in {folder} has no {filename} (its card lists: {listed})")
    path = folder / filename
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; install or copy the weight again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.files[filename].lower():
        raise WeightsError(
            f"{path} is damaged or was changed: its sha256 is {found[:16]}…, the card says "
            f"{card.files[filename][:16]}…; install or copy the weight again"
        )
    return data


def verify(card: ModelCard, folder: Path) -> None:
    """Check every file of a weight against its card.

    Raises:
        WeightsError: a file is missing or changed.
    """
    for filename in card.files:
        read_weights(card, folder, filename)


def save_card(card: ModelCard, folder: Path) -> ModelCard:
    """Write `card.json` atomically, with the sha256 of the weight files that lie in the folder.

    Args:
        card: its `files` are ignored and computed again.
        folder: holds the *.onnx and *.safetensors files, complete.

    Returns:
        The card as written.

    Raises:
        WeightsError: the folder cannot be written.
    """
    names = sorted(path.name for suffix in ("onnx", "safetensors") for path in folder.glob(f"*.{suffix}"))
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    card = card.model_copy(update={"files": files})
    temporary = None
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".tmp", delete=False) as file:
            temporary = file.name
            file.write(card.model_dump_json(indent=2) + "\n")
        os.chmod(temporary, 0o644)  # a temporary file is private to its owner, a card is not
        os.replace(temporary, folder / CARD_NAME)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError):
            raise WeightsError(f"{folder / CARD_NAME} cannot be written: {error.strerror}") from error
        raise
    return card


def _load_card(path: Path) -> ModelCard:
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WeightsError(f"{path} is not a model card: {where + ': ' if where else ''}{first['msg']}") from error
