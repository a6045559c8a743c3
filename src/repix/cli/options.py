"""Options that several commands share, values read from their text, and options of 0.1 that have new names."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import click

PATH = click.Path(path_type=Path)


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


def strength_or_auto(context: click.Context, parameter: click.Parameter, text: str) -> float | Literal["auto"]:
    """A number from 0 to 1, or auto."""
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise click.BadParameter(f"{text!r} is neither a number from 0 to 1 nor auto")
    return value


def levels_or_auto(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...] | Literal["auto"]:
    """Powers of two with commas between them, or auto."""
    if text == "auto":
        return "auto"
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels:
        raise click.BadParameter(f"{text!r} is neither auto nor levels, such as 1 or 1,2,4")
    return levels


def ray_address(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """None without --ray, empty for this machine; a path that stands where an address may is no address."""
    if text and text != "auto" and not re.fullmatch(r"[^/\\:]+:\d+", text):
        raise click.BadParameter(f"{text!r} is not HOST:PORT; without an address, write --ray after the paths")
    return text


Command = Callable[..., None]


class Run(NamedTuple):
    """How a run over files speaks, and whether it works at all; `called` stands in for the paths of some files."""

    dry: bool = False
    verbose: bool = False
    quiet: bool = False
    called: Mapping[Path, str] = MappingProxyType({})


def renamed_option(old: str, new: str, *, flag: bool = False) -> Callable[[Command], Command]:
    """An option of 0.1 that is an error now, which names the new one. `flag`: it took no value."""

    def refuse(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value:
            raise click.UsageError(f"{old} is now {new}")

    # click takes an explicit False for an option whose value may be left out
    return click.option(old, is_flag=flag or None, hidden=True, expose_value=False, is_eager=True, callback=refuse)


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


# options of `file_options` that are fields of `repix.BatchOptions`
_SETTINGS = ("model", "compare", "device", "threads", "format", "max_pixels", "overwrite", "force", "times")


def file_options(*, names: str, model: str | None, models: str, formats: str) -> Callable[[Command], Command]:
    """What all commands that run a model over files and folders have in common; they are called with `paths`, `output`,
    `run`, and the rest as `settings`, arguments of `repix.BatchOptions`."""
    # click takes None for a default too
    chosen = click.option("-m", "--model", required=True, metavar="NAME", help=models)
    if model is not None:
        chosen = click.option("-m", "--model", default=model, show_default=bool(model), metavar="NAME", help=models)
    options = (
        click.argument("paths", nargs=-1, required=True, metavar="PATH..."),
        click.option("-o", "--output", metavar="OUT", help=f"Folder (or file name, for one file). [{names}]"),
        chosen,
        click.option("--compare", is_flag=True, help="Also write NAME_compare.EXT, before | after."),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="auto, cpu, openvino, cuda (cuda:1 the second), coreml or directml.",
        ),
        click.option("--threads", type=click.IntRange(1), help="CPU threads. [all cores]"),
        click.option("--format", metavar="EXT", help=formats),
        click.option(
            "--max-pixels", type=click.IntRange(1), default=400_000_000, show_default=True, help="Refuse larger images."
        ),
        click.option("--overwrite", is_flag=True, help="Replace results that are already there."),
        click.option("--force", is_flag=True, help="With --overwrite in place: even where a gain map or video goes."),
        click.option("--times/--no-times", default=True, help="Give results the times of their inputs. [yes]"),
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option("-v", "--verbose", is_flag=True, help="Say of every file what was done, how and in what time."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but what failed."),
    )

    def add(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(*, dry_run: bool, verbose: bool, quiet: bool, **given: object) -> None:
            settings = {name: given.pop(name) for name in _SETTINGS}
            command(settings=settings, run=Run(dry_run, verbose, quiet), **given)

        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return add
