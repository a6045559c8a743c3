"""Options that several commands share, and options of 0.1 that have new names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, cast

import click
from click.core import ParameterSource

from repix.cli.values import NAME
from repix.errors import InputError

Command = Callable[..., None]

threads_option = click.option("--threads", type=click.IntRange(1), help="CPU threads. [all cores]")


def device_option(command: Command) -> Command:
    """On which device a network runs."""
    option = click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, openvino, cuda (cuda:1 the second), coreml or directml.",
    )
    return option(command)


def max_pixels_option(default: int = 400_000_000) -> Callable[[Command], Command]:
    """How large images may be."""
    return click.option(
        "--max-pixels", type=click.IntRange(1), default=default, show_default=True, help="Refuse larger images."
    )


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


def refuse_given(names: Container[str], why: str) -> None:
    """Refuse options of the running command that would do nothing, where the user wrote them.

    Args:
        names: of the command's parameters.
        why: what they are for, for the message.

    Raises:
        InputError: one was given.
    """
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise InputError(f"{option.opts[-1]} {why}")


# options of `file_options` that are fields of `repix.BatchOptions`
_SETTINGS = ("model", "compare", "device", "threads", "format", "max_pixels", "overwrite", "force", "times")


def file_options(*, names: str, model: str | None, models: str, formats: str) -> Callable[[Command], Command]:
    """What all commands that run a model over files and folders have in common; they are called with `paths`, `output`,
    `run`, and the rest as `settings`, arguments of `repix.BatchOptions`."""
    chosen = click.option("-m", "--model", type=NAME, required=True, metavar="NAME", help=models)
    if model is not None:
        chosen = click.option("-m", "--model", type=NAME, default=model or None, metavar="NAME", help=models)
    options = (
        click.argument("paths", nargs=-1, required=True, metavar="PATH..."),
        click.option(
            "-o", "--output", type=NAME, metavar="OUT", help=f"Folder (or file name, for one file). [{names}]"
        ),
        chosen,
        click.option("--compare", is_flag=True, help="Also write NAME_compare.EXT, before | after."),
        device_option,
        threads_option,
        click.option("--format", metavar="EXT", help=formats),
        max_pixels_option(),
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
            if not settings["overwrite"]:
                refuse_given(("force",), "does nothing without --overwrite")
            if quiet:
                refuse_given(("verbose",), "and --quiet contradict each other; leave one out")
            command(settings=settings, run=Run(dry_run, verbose, quiet), **given)

        return functools.reduce(lambda made, option: option(made), reversed(options), cast("Command", wrapped))

    return add
