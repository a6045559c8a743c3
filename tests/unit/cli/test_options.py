"""Options, and what becomes of those of 0.1."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from repix.cli import group, options, values
from repix.cli.values import ray_address, seconds
from repix.errors import InputError
from repix.metrics import PROTOCOLS

HERE = click.Context(group), click.Option(["--option"])
RECIPE = Path(__file__).parents[3] / "recipes" / "at-once.yaml"


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ("derain a.mp4 --steady", "--steady is now --deflicker"),
        ("blend a.png b.png --at 3,4", "--at is now --offset"),
        ("blend a.png b.png --at=-3,4", "--at is now --offset"),
        ("evaluate --data a --per-picture", "--per-picture is now --per-image"),
        ("evaluate --data a --protocol course", "course is now resize128"),
        ("export run -o out --figures table.csv", "--figures is now --metrics"),
        ("inspect a.png --show confidence", "confidence is now uncertainty"),
        ("inspect a.png --show stages", "stages is now recurrences"),
    ],
)
def test_an_option_of_version_0_1_names_the_new_one(old: str, message: str) -> None:
    done = CliRunner().invoke(group, old.split())
    assert done.exit_code == 2
    assert message in done.output.splitlines()[-1]
    command, *_ = old.split()
    offered = CliRunner().invoke(group, [command, "--help"]).output
    assert message.split()[0] not in offered.replace("training stages", "").split()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("derain a.jpg --force", "--force does nothing without --overwrite"),
        ("translate a.jpg -m facades-labels --force", "--force does nothing without --overwrite"),
        ("blend a.jpg b.jpg --force", "--force does nothing without --overwrite"),
        ("derain a.jpg -v -q", "--verbose and --quiet contradict each other"),
        (f"train {RECIPE} --trust", "--trust does nothing without --resume"),
        ("export repixnet -o a --format darktable --licence MIT", "--licence does nothing with --format darktable"),
        ("export repixnet -o a --format darktable --trust", "--trust does nothing with --format darktable"),
        ("import spanet a.pt -o b --recurrences 3", "--recurrences is for prenet"),
        ("evaluate --set Rain100L --layout flat", "--layout is for --data DIR"),
        ("evaluate --real a --protocol paper", "--protocol is for pairs, and --real has readings of its own"),
        ("evaluate --real a --lq b --gt c", "--lq is for pairs, and --real has readings of its own"),
        ("evaluate --data a --pairwise b", "--pairwise belongs to --real"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(words: str, message: str) -> None:
    done = CliRunner().invoke(group, words.split())
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith(message)


def test_every_protocol_is_offered() -> None:
    (option,) = (one for one in group.commands["evaluate"].params if one.name == "protocol")
    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == set(PROTOCOLS)


@pytest.mark.parametrize("text", ["90", "1:30", "0:01:30.0", None])
def test_times_are_seconds(text: str | None) -> None:
    assert seconds(*HERE, text) == (None if text is None else 90)


@pytest.mark.parametrize("text", ["soon", "1:2:3:4", "-1", "inf", ""])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not a time"):
        seconds(*HERE, text)


@pytest.mark.parametrize("text", ["2", "-0.1", "much", "nan"])
def test_what_is_no_strength_is_told(text: str) -> None:
    assert values.strength(*HERE, "auto") == "auto"
    assert values.strength(*HERE, "0.38") == 0.38
    with pytest.raises(click.BadParameter, match="strength must be between 0 and 1"):
        values.strength(*HERE, text)


def test_a_cluster_is_host_and_port() -> None:
    assert [ray_address(*HERE, text) for text in (None, "", "auto", "node:6379")] == [None, "", "auto", "node:6379"]
    with pytest.raises(click.BadParameter, match="HOST:PORT"):
        ray_address(*HERE, "photos/a.jpg")


def test_every_command_has_a_file_and_every_option_a_sentence() -> None:
    helpers = {"__init__", "files", "options", "output", "stop", "summary", "values"}
    files = {path.stem for path in Path(options.__file__).parent.glob("*.py")} - helpers
    assert set(group.commands) == {name.removesuffix("_") for name in files}  # import_.py: a keyword is no name
    for name, command in group.commands.items():
        assert command.help, name
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{name} {option.name}"
        help = CliRunner().invoke(group, [name, "--help"]).output
        assert "None" not in help, name  # a range without an end


NAMED = {"names", "photo", "source", "run", "file", "recipe", "output", "model", "models", "data", "npz", "csv", "mask"}
EVERY_NAME = [
    (command, option)
    for command in sorted(group.commands)
    for option in group.commands[command].params
    # a source in words, names of hosts
    if option.name in NAMED and (command, option.name) not in {("import", "source"), ("app", "names")}
]


@pytest.mark.parametrize(("command", "option"), EVERY_NAME, ids=[f"{name} {one.name}" for name, one in EVERY_NAME])
def test_no_command_takes_an_empty_name(command: str, option: click.Parameter) -> None:
    """pathlib takes it for the current folder; it is what an unset variable of the shell leaves."""
    with pytest.raises(click.BadParameter, match="is empty; a variable of the shell may not be set"):
        option.type.convert("", option, click.Context(group.commands[command]))


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(text: str) -> None:
    numbers = [
        one for command in group.commands.values() for one in command.params if isinstance(one.type, click.FloatRange)
    ]
    assert len(numbers) > 8
    for option in numbers:
        with pytest.raises(click.BadParameter):
            option.type_cast_value(HERE[0], text)


def test_models_clear_cache_takes_no_name() -> None:
    done = CliRunner().invoke(group, ["models", "repixnet", "--clear-cache"])
    assert done.exit_code == 2
    assert "give no NAME with it" in done.output
