"""What engines keep between runs, in the user's cache folder: compiled networks, and which engine was faster."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from repix._environment import cache_folder
from repix.errors import InputError
from repix.io.files import atomic

LARGEST = 200_000_000
"""Bytes that are kept at most; what was not used for longest goes first."""

_FOLDER = "networks"
_DIGEST = hashlib.sha256().digest_size


def load(name: str) -> bytes | None:
    """What was stored under a name; None where there is nothing, no cache, or other bytes than were stored: an engine
    that is given a damaged network may crash."""
    path = _path(name)
    if path is None:
        return None
    with contextlib.suppress(OSError):
        stored = path.read_bytes()
        digest, data = stored[:_DIGEST], stored[_DIGEST:]
        if digest == hashlib.sha256(data).digest():
            os.utime(path)  # used now
            return data
        path.unlink()
    return None


def store(name: str, data: bytes) -> None:
    """Keep something under a name. A cache that cannot be written is none."""
    path = _path(name)
    if path is None or len(data) > LARGEST:
        return
    with contextlib.suppress(OSError, InputError):
        with atomic(path) as temporary:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)
        _make_room(path.parent)


def forget(name: str) -> None:
    """Take away what was stored under a name, such as something damaged."""
    path = _path(name)
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()


def clear() -> int:
    """Empty repix's cache folder.

    Returns:
        How many bytes that were.
    """
    folder = cache_folder()
    if folder is None or not folder.is_dir():
        return 0
    freed = 0
    for part in (folder / _FOLDER, folder / "matplotlib"):  # and nothing that is not ours
        for path in part.rglob("*"):
            with contextlib.suppress(OSError):
                freed += path.stat().st_size if path.is_file() else 0
        shutil.rmtree(part, ignore_errors=True)
    return freed


def _path(name: str) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / _FOLDER / name


def _make_room(folder: Path) -> None:
    files = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may have taken it away
            found = path.stat()
            files.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files, key=lambda one: one[0]):
        if total <= LARGEST:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
