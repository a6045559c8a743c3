"""The command line. Every command lives here; heavy imports stay inside the command bodies."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from repix import __version__
from repix.errors import RepixError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="repix")
def app() -> None:
    """Take the rain out of photos and videos, translate pictures, blend them without a seam."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: one clear line and the right exit code for every deliberate error, never a traceback."""
    try:
        code = app.main(args=list(argv) if argv is not None else None, prog_name="repix", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        click.echo("repix: interrupted", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except RepixError as error:
        click.echo(f"repix: {error}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
