"""What every part of repix shares: types of arrays, errors in one line, optional dependencies."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repix.errors import MissingExtraError, RepixError

Image = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, 3) RGB, upright, 0…255 or 0…65535."""

Floats = NDArray[np.float32]
"""Numbers of a computation; an image is (N, 3, H, W) RGB in [0, 1] where nothing else is said."""

_MOST_CHARACTERS = 300
_LONGEST = 80  # characters of a value that a message shows
_PARTS = {
    "train": ("torch", "lightning", "yaml"),
    "app": ("fastapi", "uvicorn", "python_multipart"),
    "scale": ("ray",),
}  # extra -> its main modules
_PACKAGES = {"skimage": "scikit-image", "yaml": "pyyaml"}  # module -> what it is installed by, where names differ


def one_line(error: BaseException) -> str:
    """What an error says, on one line; the name of its type where it says nothing.

    What others raise is cut after 300 characters: some of it holds whole graphs, or lists of tensors.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if text.startswith("Weights only load failed"):  # torch goes on to advise to run what the file holds
        return "no file of weights that can be read as data"
    if isinstance(error, RepixError) or len(text) <= _MOST_CHARACTERS:
        return text
    return text[: _MOST_CHARACTERS - 1] + "…"


def within(value: Any, low: float, high: float) -> bool:
    """Whether a value is a number from `low` to `high`, which text, None and NaN are not."""
    return isinstance(value, int | float | np.number) and not isinstance(value, complex) and bool(low <= value <= high)


def expected(message: str) -> str | None:
    """What pydantic expected, by its message; None where a check of our own speaks."""
    message = re.sub(r" or instance of \w+$|, (unable to \w+|got a) .*$", "", message.replace("dictionary", "mapping"))
    if message.startswith("String should match pattern"):  # of names alone
        return "a letter or digit, then letters, digits, '.', '_' and '-'"
    if message.startswith("Input is not a valid path"):
        return "a path"
    if found := re.match(r"\w+ should have (at least|at most) (\d+) (item|character)s?", message):
        return f"{found[1]} {found[2]} {found[3]}{'' if found[2] == '1' else 's'}"
    if re.search(r"should be (an instance of Sequence|a valid (list|tuple))$|not allowed as a Sequence", message):
        return "a list"
    wanted = message.removeprefix("Input should be ")
    return wanted if wanted != message else None


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) < _LONGEST else text[:_LONGEST] + "…"


def invalid(item: Any, *, where: str | None = None) -> str:
    """One of the errors of pydantic's `ValidationError.errors()` in our words.

    Args:
        item: the error.
        where: what is wrong, in place of its keys with dots between them.
    """
    where = ".".join(map(str, item["loc"])) if where is None else where
    if item["type"] == "missing":
        return f"{where} is missing"
    if item["type"] == "extra_forbidden":
        return f"unknown key {where!r}"
    said = item["msg"].removeprefix("Value error, ")
    wanted = expected(said)
    said = said if wanted is None else f"got {shown(item['input'])}, expected {wanted}"
    return f"{where}: {said}" if where else said


def require(extra: str, *modules: str) -> None:
    """Refuse what needs an optional part of repix that is not installed. Imports nothing.

    Args:
        extra: name in `pip install 'repix[extra]'`.
        modules: what is needed of it; by default its main modules.

    Raises:
        MissingExtraError: one of the modules is not installed.
    """
    for module in modules or _PARTS[extra]:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(extra, _PACKAGES.get(module, module))
