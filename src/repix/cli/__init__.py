"""The command line: one file a command, with its options and words; heavy imports stay inside the bodies."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

import click

from repix import __version__, _environment
from repix.cli import app, blend, derain, evaluate, export, import_, inspect, merge, models, rain, train, translate
from repix.cli.output import flush, say
from repix.cli.stop import watched_signals
from repix.errors import InputError, RepixError

COMMANDS = (
    app.app,
    blend.blend,
    derain.derain,
    evaluate.evaluate,
    export.export,
    import_.import_,
    inspect.inspect,
    merge.merge,
    models.models,
    rain.rain,
    train.train,
    translate.translate,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="repix")
def group() -> None:
    """Take the rain out of photos and videos, translate images, blend them without a seam, train networks for it."""


for command in COMMANDS:
    group.add_command(command)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: one clear line and the right exit code for every error, never a traceback but with
    REPIX_TRACEBACK=1 in the environment."""
    _environment.for_commands()
    with watched_signals():
        try:
            code = _run(argv)
            flush()
        except KeyboardInterrupt:  # a second one, while the first was being told of
            code = 130
        sys.exit(code)


def _wants_traceback() -> bool:
    return os.environ.get("REPIX_TRACEBACK", "0") not in ("", "0")


def _run(argv: Sequence[str] | None) -> int:
    try:
        code = group.main(args=list(argv) if argv is not None else None, prog_name="repix", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("repix: interrupted", err=True)
        return 130
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        for line in said.getvalue().expandtabs(4).splitlines():  # click lists choices behind tabs
            say(line, err=True)
        given = list(argv) if argv is not None else sys.argv[1:]
        files = [name for name in given if name.startswith("-") and len(name) > 1 and os.path.lexists(name)]
        if isinstance(error, click.NoSuchOption) and files:
            say(f"if {files[0]} is a file, write ./{files[0]}, or -- before the files", err=True)
        return error.exit_code
    except RepixError as error:
        say(f"repix: {error}", err=True)
        return error.exit_code
    except OSError as error:
        if _wants_traceback():
            traceback.print_exc()
        where = f": {error.filename}" if error.filename else ""
        say(f"repix: {error.strerror or error}{where}", err=True)
        return InputError.exit_code
    except Exception as error:
        from repix._types import one_line

        if _wants_traceback():
            traceback.print_exc()
        what = "out of memory" if isinstance(error, MemoryError) else f"unexpected {type(error).__name__}"
        say(f"repix: {what}: {one_line(error)} (REPIX_TRACEBACK=1 in the environment shows where)", err=True)
        return 1
    return code if isinstance(code, int) else 0
