"""What a recipe calls by name: an entry of an explicit dict, or a class in a file of the user's own."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from repix._environment import cache_folder
from repix._types import invalid, one_line
from repix.errors import RecipeError, UntrustedCodeError, did_you_mean


def is_own(name: str) -> bool:
    """Whether a name is a file's and a class's, `my_file.py:MyNet`."""
    return ".py:" in name


def own_names(values: Any) -> list[str]:
    """Every name of a file and a class in the keys and values of a recipe or a card, once each."""
    if isinstance(values, str):
        return [values] if is_own(values) else []
    if isinstance(values, Mapping):
        values = [part for pair in values.items() for part in pair]
    found = [name for part in values for name in own_names(part)] if isinstance(values, list | tuple) else []
    return list(dict.fromkeys(found))


def digest(name: str) -> str:
    """sha256 of the file that a name of the user's own stands for; empty where it cannot be read."""
    try:
        return hashlib.sha256(Path(name.rpartition(":")[0]).read_bytes()).hexdigest()
    except OSError:
        return ""


def remember_code(names: Iterable[str]) -> None:
    """Note that the user has run these files by a recipe of theirs, so that `check_trusted` lets them run again.

    The sha256 sums are kept in the cache folder, and not in the run's folder, which may come from elsewhere.
    """
    sums = {digest(name) for name in names} - _known_sums() - {""}
    _session.update(sums)
    folder = cache_folder()
    if folder is None or not sums:
        return
    with contextlib.suppress(OSError):  # then it is remembered as long as this process lives
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _REMEMBERED).open("a", encoding="ascii") as file:
            file.write("".join(f"{one}\n" for one in sorted(sums)))


def check_trusted(names: Iterable[str], *, where: str, trust: bool) -> None:
    """Refuse code that a card or a run's folder names, unless the user trusts it, or has run the same file by a recipe.

    Args:
        names: `"my_file.py:MyNet"`; others are passed over.
        where: what names the code, for messages.
        trust: run it in any case.

    Raises:
        UntrustedCodeError: there is such code; the message names file and class.
    """
    if trust:
        return
    known = _known_sums()
    for name in names:
        if is_own(name) and digest(name) not in known:
            file, _, attribute = name.rpartition(":")
            raise UntrustedCodeError(
                f"{where} names Python code: {attribute} in {Path(file).absolute()}; read that file, and give --trust "
                "(trust=True in Python) if it may run"
            )


_REMEMBERED = "trusted-code"
_session: set[str] = set()


def _known_sums() -> set[str]:
    folder = cache_folder()
    if folder is None:
        return set(_session)
    try:
        with (folder / _REMEMBERED).open(encoding="ascii") as file:
            return _session | set(file.read(2**24).split())
    except (OSError, UnicodeDecodeError):
        return set(_session)


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
        raise RecipeError(f"{what} {name!r}: no file {os.path.realpath(path)}; expected {example}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise RecipeError(
            f"{what} {name!r}: {path} does not run ({type(error).__name__}: {one_line(error)})"
        ) from error
    if not hasattr(module, attribute):
        raise RecipeError(f"{what} {name!r}: there is no {attribute} in {path}; expected {example}")
    return getattr(module, attribute)


def checked_arguments(what: str, cls: type, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a recipe gives to a class, as the annotations of its constructor ask for them.

    Args:
        what: what takes them, for messages.
        cls: the class; all its arguments have annotations.
        args: name -> value, as read from YAML.

    Returns:
        The same, with `1e-3`, which YAML takes for text, as a number where one is expected.

    Raises:
        RecipeError: an unknown argument, or a value of another type or range.
    """
    from pydantic import TypeAdapter, ValidationError

    check_names(what, cls, args)
    kinds = get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    checked = {}
    for key, value in args.items():
        try:
            checked[key] = TypeAdapter(kinds[key], config={"allow_inf_nan": False}).validate_python(value)
        except ValidationError as error:
            found = error.errors()[0]
            raise RecipeError(f"{what}: {invalid(found, where='.'.join(map(str, (key, *found['loc']))))}") from None
    return checked


def check_names(what: str, cls: type, names: Iterable[str]) -> None:
    """Refuse arguments that a class does not have.

    Args:
        what: what takes them, for messages.
        cls: the class.
        names: of the arguments.

    Raises:
        RecipeError: there is such a one; the message names the nearest of those it has.
    """
    known = inspect.signature(cls).parameters.keys() - {"args", "kwargs"}
    for name in names:
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise RecipeError(f"{what} has no argument {name!r}{did_you_mean(name, known)} (it has: {has})")
