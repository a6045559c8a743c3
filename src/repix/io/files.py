"""Files whole or not at all: regular ones are read, results take their place in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from repix.errors import InputError

_mark = ""


def read_head(path: Path, size: int) -> bytes:
    """The first bytes of a file, at most `size`, to see what it is.

    Raises:
        InputError: no regular file (reading a pipe or a device might never end), unreadable, or empty.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: cannot be read: {'a folder' if path.is_dir() else 'not a regular file'}")
        with path.open("rb") as file:
            head = file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise InputError(f"{path}: the file is empty (0 bytes)")
    return head


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Args:
        path: the file to write; folders above it are made.

    Yields:
        A name beside it to write to. It takes `path`'s place when the block ends, and is removed when it fails.

    Raises:
        InputError: the file cannot be written (rights, full disk), or what is there is no regular file.
    """
    temporary = path.parent / f".repix-{_mark}{secrets.token_hex(6)}.tmp"
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "not a regular file"
            raise InputError(f"{path}: cannot be written: {what} is there")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("r+b") as file:  # a result must not vanish in a power cut after its input was replaced
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def mark_temporaries(mark: str) -> None:
    """Begin this process's temporary names with a mark, so that what it leaves when it is killed can be found."""
    global _mark
    _mark = f"{mark}-"


def remove_temporaries(folders: Iterable[Path], mark: str) -> None:
    """Remove what processes of that mark left in some folders."""
    for folder in folders:
        for left in folder.glob(f".repix-{mark}-*.tmp"):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def check_writable(folders: Iterable[Path]) -> None:
    """Try the nearest existing folder above every result: an hour's work must not end in "permission denied".

    Raises:
        InputError: nothing can be written there.
    """
    tried: set[Path] = set()
    for folder in dict.fromkeys(folders):
        existing = folder
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if existing in tried:
            continue
        tried.add(existing)
        if not existing.is_dir():
            raise InputError(f"cannot write to {folder}: {existing} is a file, not a folder; choose another -o")
        probe = existing / f".repix-{secrets.token_hex(6)}.tmp"
        try:
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise InputError(f"cannot write to {existing}: {error.strerror}; choose another folder with -o") from error
