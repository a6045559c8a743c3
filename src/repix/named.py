"""What a recipe calls by name: an entry of an explicit dict, or a class in a file of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repix.errors import RecipeError, did_you_mean


def is_own(name: str) -> bool:
    """Whether a name is a file's and a class's, `my_file.py:MyNet`."""
    return ".py:" in name


def find_named(name: str, known: Mapping[str, str], *, what: str, example: str) -> Any:
    """The object behind a name; its module is imported, a file of the user's own is run.

    Args:
        name: a key of `known`, or `"my_file.py:MyNet"`, relative to the current folder.
        known: `"module:attribute"` by name.
        what: what is looked for, for messages.
        example: how one's own is written, for messages.

    Raises:
        RecipeError: no such name, file or attribute, or a file that does not run.
    """
    if not is_own(name):
        if name not in known:
            hint = did_you_mean(name, known)
            raise RecipeError(f"unknown {what} {name!r}{hint} (known: {', '.join(sorted(known))}, or {example})")
        target, _, attribute = known[name].partition(":")
        return getattr(importlib.import_module(target), attribute)
    file, _, attribute = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise RecipeError(f"{what} {name!r}: no file {path.resolve()}; expected {example}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RecipeError(f"{what} {name!r}: {path} does not run ({type(error).__name__}: {error})") from error
    if not hasattr(module, attribute):
        raise RecipeError(f"{what} {name!r}: there is no {attribute} in {path}; expected {example}")
    return getattr(module, attribute)
