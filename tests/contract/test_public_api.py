"""The public API against a committed list: what users can rely on changes on purpose, with a line in the changelog.

python tests/contract/test_public_api.py        # write the list anew
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import repix

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests" / "golden" / "public_api.json"


def documented() -> dict[str, list[str]]:
    """What docs/reference.md lists: full name -> its members that are public."""
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    blocks = re.findall(r"^::: (\S+)\n((?:    .*\n)*)", text, re.M)
    members = {name: re.search(r"members: \[(.*)\]", options) for name, options in blocks}
    return {
        name: [one.strip() for one in found[1].split(",") if one.strip()] if found else []
        for name, found in members.items()
    }


def described(thing: Any) -> Any:
    """A function's parameters, a class's and its fields."""
    if inspect.ismodule(thing):
        return "module"
    if isinstance(thing, type) and issubclass(thing, Exception):
        return [base.__name__ for base in thing.__mro__[1:-2]]
    if hasattr(thing, "model_fields"):
        return list(thing.model_fields)
    if dataclasses.is_dataclass(thing):
        return [field.name for field in dataclasses.fields(thing)]
    if isinstance(thing, type) and thing.__init__ is object.__init__:
        return list(getattr(thing, "_fields", []))
    parameters = inspect.signature(thing).parameters.values()
    return [
        f"{one.name} ({one.kind.description}{'' if one.default is one.empty else ', optional'})" for one in parameters
    ]


def api() -> dict[str, Any]:
    found: dict[str, Any] = {
        f"repix.{name}": getattr(repix, name).__module__ for name in repix.__all__ if name[0] != "_"
    }
    for name, members in documented().items():
        module, _, attribute = name.rpartition(".")
        thing = (
            importlib.import_module(name)
            if name == "repix.errors"
            else getattr(importlib.import_module(module), attribute)
        )
        found[name] = described(thing)
        for member in members:
            found[f"{name}.{member}"] = described(getattr(thing, member))
    return found


def test_the_public_api_is_the_committed_one() -> None:
    assert api() == json.loads(LIST.read_text("utf-8")), "changed on purpose? run this file, and say so in CHANGELOG.md"


def test_every_name_of_the_package_is_documented() -> None:
    names = {f"{getattr(repix, name).__module__}.{name}" for name in repix.__all__ if name[0] != "_"}
    assert names <= documented().keys()


if __name__ == "__main__":
    LIST.write_text(json.dumps(api(), indent=1) + "\n", encoding="utf-8")
