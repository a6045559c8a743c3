"""`repix`, `python -m repix` and `torchrun -m repix`: the command line."""

import sys


def main() -> None:
    """Entry point; imports are part of the work, so that Ctrl-C ends them too without a traceback."""
    try:
        from repix.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
