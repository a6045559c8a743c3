"""Values on the command line: names of files and models, numbers, times, levels, words of 0.1 that have new names."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repix.errors import InputError
from repix.io.files import EMPTY_NAME

if TYPE_CHECKING:
    from repix.infer.pyramid import Levels
    from repix.infer.restorer import Strength


class _Path(click.Path):
    """A file or folder. An empty name, which pathlib takes for the current folder, is none.

    Args:
        suffix: what the name must end with, where only one kind of file is written.
    """

    def __init__(self, path_type: type | None = None, *, suffix: str = "") -> None:
        super().__init__(path_type=path_type)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.Path`."""
        if not os.fspath(value):
            self.fail(EMPTY_NAME, param, ctx)
        if not os.fspath(value).lower().endswith(self._suffix):
            self.fail(f"{os.fspath(value)!r}: what is written there is {self._suffix}; name it so", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.FloatRange`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class Choice(click.Choice[str]):
    """One of some words; words of 0.1 are an error that names the new ones.

    Args:
        choices: the words.
        renamed: old word -> new word.
    """

    def __init__(self, choices: Sequence[str], *, renamed: Mapping[str, str]) -> None:
        super().__init__(choices)
        self._renamed = renamed

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.Choice`."""
        if value in self._renamed:
            self.fail(f"{value} is now {self._renamed[value]}", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(Path)
NAME = _Path()
"""A model by its name, or its folder."""
PNG, NPZ = _Path(Path, suffix=".png"), _Path(Path, suffix=".npz")


def seconds(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """`90`, `1:30` or `0:01:30.5` in seconds."""
    if text is None:
        return None
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(0 <= part < float("inf") for part in parts):
        raise click.BadParameter(f"{text!r} is not a time; give seconds, such as 90, or H:M:S, such as 0:01:30.5")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def strength(context: click.Context, parameter: click.Parameter, text: str) -> Strength:
    """A number from 0 to 1, or auto."""
    from repix.infer.restorer import parse_strength

    with _bad_parameter():
        return parse_strength(text)


def levels(context: click.Context, parameter: click.Parameter, text: str) -> Levels:
    """Powers of two with commas between them, or auto."""
    from repix.infer.pyramid import parse_levels

    with _bad_parameter():
        return parse_levels(text)


@contextlib.contextmanager
def _bad_parameter() -> Iterator[None]:
    """What a value is refused for, said as click says it: with the option's name and the command's usage."""
    try:
        yield
    except InputError as error:
        raise click.BadParameter(str(error)) from None


def ray_address(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """None without --ray, empty for this machine; a path that stands where an address may is no address."""
    if text and text != "auto" and not re.fullmatch(r"[^/\\:]+:\d+", text):
        raise click.BadParameter(f"{text!r} is not HOST:PORT; without an address, write --ray after the paths")
    return text
