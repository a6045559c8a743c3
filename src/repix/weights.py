"""Model cards and the weights beside them: find, list, verify, save. The only module that knows the assets folder.

A model is a folder: `card.json`, and the network's weights in one or more forms, a file each:

    onnx-fp32, onnx-fp16, onnx-int8        what `Restorer` runs (no torch)
    safetensors-fp32, safetensors-fp16     what training and inspection load in torch; without them they read an ONNX
                                           file in floating point

Bytes are handed out only by `read_weights`, after their sha256 was compared with the card's; there is no way around it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from repix._types import invalid, one_line
from repix.errors import InputError, WeightsError, did_you_mean
from repix.io.files import EMPTY_NAME
from repix.networks import MODELS
from repix.tasks import TaskField

_log = logging.getLogger("repix")
_ASSETS = Path(__file__).parent / "assets"
CARD_NAME = "card.json"
DEFAULT_MODEL = "repixnet"
VIDEO_MODEL = "repixnet-video"
"""What videos are restored with where no model is named, if it is shipped."""
FORMAT: Literal[2] = 2
"""Number of the cards' format that is written; older ones are read too."""

FORMS: Mapping[str, str] = {
    "onnx-fp32": "full precision",
    "onnx-fp16": "stored in half precision and cast to fp32 when loaded: half the size, the same arithmetic",
    "onnx-int8": "computes in int8: for CPUs with dot products of bytes",
    "safetensors-fp32": "for training and inspection in torch",
    "safetensors-fp16": "for training and inspection in torch, in half precision",
}
"""Every form that weights may be stored in, and what it is for: its container, a dash, its precision."""

_ALIASES = {"repixnet-large": "repixnet"}  # two names of version 0.1 for one network

TORCH_FORMS = ("safetensors-fp32", "safetensors-fp16", "onnx-fp32", "onnx-fp16")
"""The forms that torch loads (`repix.models.stored`), best first."""

_Byte = Annotated[int, Field(ge=0, le=255)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tiling(_Strict):
    """How a network may be run on overlapping tiles.

    Attributes:
        tile: recommended side of a square tile, in pixels.
        overlap: pixels that neighbouring tiles share, in pixels; at least the effective receptive field, so that
            tiles and the whole image give the same result.
    """

    tile: int = Field(default=1024, ge=1, le=65536)
    overlap: int = Field(default=96, ge=0)

    @model_validator(mode="after")
    def _overlap_fits(self) -> Tiling:
        if 2 * self.overlap > self.tile:
            raise ValueError(f"overlap {self.overlap} is more than half of tile {self.tile}")
        return self


class Measured(_Strict):
    """What a model reaches on one set of images.

    Attributes:
        data: name of the set, and its version where there are several.
        images: how many images the means are over.
        values: metric name (which carries the protocol, `psnr_y`) -> mean over images.
        protocol: how the metrics were taken, in a sentence.
    """

    data: str
    images: int = Field(ge=1)
    values: dict[str, float]
    protocol: str


class Form(_Strict):
    """The weights in one form.

    Attributes:
        file: name of the file beside the card.
        sha256: of the file, 64 hexadecimal digits.
    """

    file: str
    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")

    @field_validator("file")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name in ("", ".", "..") or not name.isprintable() or set(name) & set('/\\:*?"<>|') or len(name) > 200:
            raise ValueError(f"{name!r} is not a plain file name")
        return name


class State(_Strict):
    """One tensor that a recurrent network carries from frame to frame; all zeros before the first.

    Attributes:
        name: of the ONNX graph's input; its next value is the output `<name>_next`.
        channels: C; the tensor is (N, C, H / stride, W / stride) for frames of (N, 3, H, W).
        stride: divides `multiple_of`.
        camera: whether it is motion: for each place the displacement (right, down), in pixels of the frame given to the
            network, to where it was in the frame before. repix puts the camera's motion there before each frame; where
            that cannot be told, what the network has left stays.
    """

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    channels: int = Field(ge=1, le=4096)
    stride: int = Field(default=1, ge=1, le=1024)
    camera: bool = False

    @model_validator(mode="after")
    def _two_directions(self) -> State:
        if self.camera and self.channels != 2:
            raise ValueError(f"the camera's motion has 2 channels (right, down), got {self.channels}")
        return self

    def shape(self, count: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Of the tensor for so many frames of that size."""
        return count, self.channels, height // self.stride, width // self.stride


class Source(_Strict):
    """Where weights come from that repix has not trained.

    Attributes:
        work: what they belong to: authors, title, year.
        url: where they were found.
        file: name of the file that was imported.
        sha256: of that file.
    """

    work: str = ""
    url: str = ""
    file: str = ""
    sha256: str = ""


class ModelCard(_Strict):
    """Everything there is to know about one model. Unknown fields are an error.

    Attributes:
        format: of the card itself, see `FORMAT`.
        name: what `--model` calls it.
        task: what it does, a key of `repix.tasks.TASKS`.
        arch: the network, a key of `repix.models.MODELS`.
        args: arguments of the network's constructor, so that the card explains the weights.
        description: what it is for, in a sentence.
        direction: of the two images of a pair, `AtoB` makes the second from the first, `BtoA` the reverse.
        size: shorter side, in pixels, at which the network has learnt to see images: others are scaled there and
            back; None takes every image as it is.
        palette: (name, (R, G, B)) of each class where the network paints label maps; classes named `void` do not
            count; None where it paints anything else.
        scales: the least and the largest whole number of times by which an image may be reduced before the network
            sees it, as levels of a pyramid, (1, 8) say; None where it sees images at their own size only.
        multiple_of: H and W given to the network must be multiples of this.
        tiling: how it may be tiled; None where a value depends on the whole image (it must run in one piece).
        state: what a recurrent network carries from frame to frame, in the order of its inputs; empty for images.
        forms: key of `FORMS` -> file and sha256. Filled by `save_card`.
        training: how it was trained, free form (recipe, steps, data, seed, versions).
        metrics: what it reaches, with the protocol.
        limits: what it cannot do, one sentence each.
        licence: SPDX name of the weights' licence, or its words.
        source: where the weights come from; None for those that repix has trained.
        onnx_parity: size "HxW" -> largest absolute difference between the ONNX and the torch output there, in fp32.
    """

    format: Literal[2] = FORMAT
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    task: TaskField
    arch: str
    args: dict[str, Any] = {}
    description: str = ""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    size: int | None = Field(default=None, ge=1, le=8192)
    palette: list[tuple[str, tuple[_Byte, _Byte, _Byte]]] | None = Field(default=None, min_length=2)
    scales: tuple[int, int] | None = None
    multiple_of: int = Field(default=1, ge=1, le=1024)
    tiling: Tiling | None
    state: list[State] = []
    forms: dict[str, Form] = {}
    training: dict[str, Any] = {}
    metrics: list[Measured] = []
    limits: list[str] = []
    licence: str = Field(min_length=1)
    source: Source | None = None
    onnx_parity: dict[str, float] = {}

    @field_validator("scales")
    @classmethod
    def _in_order(cls, scales: tuple[int, int] | None) -> tuple[int, int] | None:
        if scales is not None and not 1 <= scales[0] <= scales[1] <= 64:
            raise ValueError(f"got {scales[0]} to {scales[1]}, expected a range within 1 to 64")
        return scales

    @field_validator("args")
    @classmethod
    def _bounded(cls, args: dict[str, Any]) -> dict[str, Any]:
        count = _check_bounds(args, depth=0)
        if count > 4096:
            raise ValueError(f"{count} values; at most 4096 are read")
        return args

    @field_validator("forms")
    @classmethod
    def _known_forms(cls, forms: dict[str, Form]) -> dict[str, Form]:
        for name in forms:
            if name not in FORMS:
                raise ValueError(f"unknown form {name!r}{did_you_mean(name, FORMS)} (known: {', '.join(FORMS)})")
        return forms

    @model_validator(mode="after")
    def _state_fits(self) -> ModelCard:
        names = [one.name for one in self.state]
        if len(set(names)) < len(names):
            raise ValueError(f"state: two of {', '.join(names)} have the same name")
        for one in self.state:
            if self.multiple_of % one.stride:
                raise ValueError(
                    f"state.{one.name}: stride {one.stride} does not divide multiple_of {self.multiple_of}"
                )
        return self

    def form(self, *names: str) -> str:
        """The first of the named forms that this model is stored in.

        Raises:
            WeightsError: it has none of them.
        """
        for name in names:
            if name in self.forms:
                return name
        stored = ", ".join(self.forms) or "none"
        raise WeightsError(f"model {self.name!r} is not stored as {' or '.join(names)} (its card lists: {stored})")


def _check_bounds(values: Any, *, depth: int) -> int:
    """How many values there are; a network is built by them, so none may make it huge.

    Raises:
        ValueError: a number beyond 65536, a text beyond 4096 characters, or more than 8 levels.
    """
    if depth > 8:
        raise ValueError("nested more than 8 levels deep")
    if isinstance(values, dict):
        return sum(_check_bounds(part, depth=depth + 1) for pair in values.items() for part in pair)
    if isinstance(values, list | tuple):
        return sum(_check_bounds(part, depth=depth + 1) for part in values)
    if isinstance(values, int | float) and abs(values) > 65536:
        raise ValueError(f"got {values:g}, expected numbers up to 65536")
    if isinstance(values, str) and len(values) > 4096:
        raise ValueError(f"a text of {len(values)} characters, expected at most 4096")
    return 1


def list_cards() -> list[ModelCard]:
    """The cards of the models shipped with the package, by name.

    Raises:
        WeightsError: a shipped card is damaged.
    """
    return [_load_card(path) for path in sorted(_ASSETS.glob(f"*/{CARD_NAME}"))]


def is_shipped(name: str) -> bool:
    """Whether the package has a model of that name."""
    return (_ASSETS / name / CARD_NAME).is_file()


def find_card(name_or_path: str | os.PathLike[str]) -> tuple[ModelCard, Path]:
    """Find a model.

    Args:
        name_or_path: name of a shipped model, or the path of a model's folder or of its card.json. A shipped name
            wins over a folder of that name; write `./name` for the folder.

    Returns:
        The card and the folder it lies in.

    Raises:
        WeightsError: no such name or folder, or a card that does not validate.
    """
    if not os.fspath(name_or_path):
        raise WeightsError(f"no model: {EMPTY_NAME}")
    shipped = sorted(path.parent.name for path in _ASSETS.glob(f"*/{CARD_NAME}"))
    if name_or_path in _ALIASES and name_or_path not in shipped:
        renamed = _ALIASES[str(name_or_path)]
        _log.warning("%s is the same network as %s, whose name it goes by now", name_or_path, renamed)
        name_or_path = renamed
    path = _ASSETS / name_or_path if name_or_path in shipped else Path(name_or_path)
    try:
        if path.is_dir():
            path = path / CARD_NAME
            if not path.is_file():
                raise WeightsError(f"{path.parent} is not a model: it has no {CARD_NAME}")
        there = path.is_file()
    except (OSError, ValueError):  # longer than a path may be, or with a NUL in it
        there = False
    if not there and name_or_path in MODELS:
        raise WeightsError(
            f"{name_or_path} is a network without weights, not a model: train it (`model: {name_or_path}` in a "
            "recipe), make a model of published weights (repix import), or give the path of a model's folder"
        )
    if not there:
        hint = did_you_mean(str(name_or_path), shipped)
        known = ", ".join(shipped) or "none"
        raise WeightsError(
            f"no model {str(name_or_path)!r}{hint} (shipped: {known}; or give the path of a folder with {CARD_NAME})"
        )
    return _load_card(path), path.parent


def read_weights(card: ModelCard, folder: Path, form: str) -> bytes:
    """The weights in one form, after comparing the file's sha256 with the card's.

    Args:
        card: the card found in `folder`.
        folder: where card and files lie.
        form: a key of `card.forms`, such as `onnx-fp32`.

    Raises:
        WeightsError: the card does not list the form, its file is missing or unreadable, or a byte of it has changed.
    """
    stored = card.forms[card.form(form)]
    path = folder / stored.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; install or copy the model again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != stored.sha256.lower():
        raise WeightsError(
            f"{path} is damaged or was changed: its sha256 is {found[:16]}…, the card says {stored.sha256[:16]}…; "
            "install or copy the model again"
        )
    return data


def verify(card: ModelCard, folder: Path) -> None:
    """Check every file of a model against its card.

    Raises:
        WeightsError: a file is missing or changed.
    """
    for form in card.forms:
        read_weights(card, folder, form)


def save_card(card: ModelCard, folder: Path, *, forms: Mapping[str, str]) -> ModelCard:
    """Write `card.json` atomically, with the sha256 of the files of weights that lie in the folder.

    Args:
        card: its `forms` are replaced.
        folder: holds the files, complete.
        forms: key of `FORMS` -> name of its file.

    Returns:
        The card as written.

    Raises:
        WeightsError: an unknown form, a file that cannot be read, or a folder that cannot be written.
    """
    try:
        sums = {name: hashlib.sha256((folder / file).read_bytes()).hexdigest() for name, file in forms.items()}
    except OSError as error:
        raise WeightsError(f"{error.filename} cannot be read: {error.strerror}") from error
    stored = {name: {"file": file, "sha256": sums[name]} for name, file in forms.items()}
    card = _checked(card.model_dump(mode="json") | {"forms": stored}, folder / CARD_NAME)
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


@contextlib.contextmanager
def checking_card() -> Iterator[None]:
    """Around a card that is made of what the user has said.

    Raises:
        InputError: a name, licence or other value that no card can have.
    """
    try:
        yield
    except ValidationError as error:
        raise InputError(f"the model's {invalid(error.errors()[0])}") from None


def _load_card(path: Path) -> ModelCard:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not a model card: not JSON ({one_line(error)})") from error
    return _checked(values, path)


def _checked(values: Any, path: Path) -> ModelCard:
    if not isinstance(values, dict):
        raise WeightsError(f"{path} is not a model card: got {type(values).__name__}, expected keys and values")
    number = values.get("format", 1)
    if isinstance(number, int) and number > FORMAT:
        raise WeightsError(f"{path} has format {number}, this repix knows up to {FORMAT}; install a newer repix")
    try:
        return ModelCard.model_validate(values if "format" in values else _from_first_format(values))
    except ValidationError as error:
        raise WeightsError(f"{path} is not a model card: {invalid(error.errors()[0])}") from error


def _from_first_format(values: dict[str, Any]) -> dict[str, Any]:
    """A card as repix 0.1 wrote it, which has no `format`, as one of today.

    There were two files, named by a list with their sums; `int8` told that model.onnx computes in int8, and that
    model.safetensors is in half precision. Metrics were of so many `pictures`. What does not fit is left as it is, for
    the checks that follow to name.
    """
    card = {key: value for key, value in values.items() if key not in ("files", "int8")} | {"format": FORMAT}
    kinds = {".onnx": "onnx-int8", ".safetensors": "safetensors-fp16"}
    if not values.get("int8"):
        kinds = {".onnx": "onnx-fp32", ".safetensors": "safetensors-fp32"}
    files = values.get("files", {})
    if isinstance(files, dict):
        card["forms"] = {
            kinds.get(Path(name).suffix, name): {"file": name, "sha256": sum_} for name, sum_ in files.items()
        }
    if isinstance(rows := values.get("metrics"), list):
        card["metrics"] = [
            {"images" if key == "pictures" else key: value for key, value in row.items()}
            if isinstance(row, dict)
            else row
            for row in rows
        ]
    return card
