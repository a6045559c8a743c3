"""Standard input and output of one image or video: kept in a file on the way, since decoders look back and forth."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from repix.errors import InputError
from repix.io.files import MAX_BYTES, register_temporary
from repix.io.formats import HEAD, names, sniff

_STEP = 2**20


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of one's own that goes at the end, also where the process is ended by force."""
    with tempfile.TemporaryDirectory(prefix="repix-", ignore_cleanup_errors=True) as name:
        register_temporary(Path(name))
        yield Path(name)


def begin_input(size: int) -> bytes:
    """The first bytes of standard input, `size` if there are so many: they tell what it is before the rest has come.

    Raises:
        InputError: a terminal.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed; pipe an image or a video into repix, or name a file")
    if sys.stdin.isatty():
        raise InputError("standard input is a terminal; pipe an image or a video into repix, or name a file")
    return sys.stdin.buffer.read(size)


def read_input(folder: Path, *, head: bytes = b"") -> Path:
    """Put what comes on standard input into a file, named after what its first bytes say it is.

    Args:
        folder: where the file will be.
        head: what has been read already.

    Raises:
        InputError: nothing, more than `files.MAX_BYTES`, or neither an image nor a video.
    """
    stream = sys.stdin.buffer
    head += stream.read(HEAD - len(head))
    if not head:
        raise InputError("standard input is empty (0 bytes)")
    format = sniff(head)
    if format is None:
        raise InputError(f"standard input is nothing that repix reads ({names('image')}, {names('video')})")
    path = folder / f"standard-input{format.suffixes[0]}"
    try:
        with path.open("wb") as file:
            size = file.write(head)
            while block := stream.read(_STEP):
                size += file.write(block)
                if size > MAX_BYTES:
                    raise InputError(f"standard input is longer than the {MAX_BYTES / 2**30:.0f} GB that are read")
    except OSError as error:
        raise InputError(f"standard input cannot be kept in {folder}: {error.strerror or error}") from error
    return path


def check_output() -> None:
    """Refuse to write an image onto a terminal, or onto what is closed.

    Raises:
        InputError: standard output is one of them.
    """
    if sys.stdout is None:
        raise InputError("standard output is closed; send it to a file or a pipe, or name one with -o")
    if sys.stdout.isatty():
        raise InputError("standard output is a terminal; send it to a file or a pipe, or name one with -o")


def write_output(path: Path) -> None:
    """Send a file to standard output. A reader that has gone is no error.

    Raises:
        InputError: it cannot be written (full disk).
    """
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, _STEP)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        raise InputError(f"standard output cannot be written: {error.strerror or error}") from error
