"""Files whole or not at all: regular ones are read, results take their place in one step."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import shutil
import stat
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from repix.errors import InputError, MissingFileError

EMPTY_NAME = "the name of a file or folder is empty; a variable of the shell may not be set"
"""What is said of an empty name, which pathlib takes for the current folder."""

_mark = ""

MAX_BYTES = 16 * 2**30
"""Larger files are refused before they are read."""

_open: set[Path] = set()  # what this process is writing
_swept: set[Path] = set()  # folders in which leftovers were looked for
_lock = threading.Lock()
_A_WEEK = 7 * 86400.0


def check_regular(path: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Refuse what is no regular file, or is too large, before it is opened: to open a pipe may never end.

    Raises:
        InputError: it is, there is none, or it may not be looked at.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: cannot be read: {_kind(status.st_mode)}, not a regular file")
    if status.st_size > max_bytes:
        raise InputError(
            f"{path}: {status.st_size / 2**30:,.1f} GB is more than the {max_bytes / 2**30:,.1f} GB that are read"
        )
    written = getattr(status, "st_blocks", status.st_size) * 512
    if status.st_size > 2**28 and written < status.st_size / 256:
        raise InputError(f"{path}: a file of holes ({status.st_size / 2**30:,.1f} GB, of which hardly any was written)")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def resolved(path: Path) -> Path:
    """A path without links, `.` and `..`: `Path.resolve`, which before Python 3.13 raises at links that form a loop."""
    return Path(os.path.realpath(path))


def check_outputs(
    outputs: Iterable[Path | None], inputs: Iterable[Path | None], advice: str = "choose another name"
) -> None:
    """Refuse, before any work, to write over what is read or written, and where nothing can be written.

    Args:
        outputs: the files to write; None are none.
        inputs: the files that are read.
        advice: what to do instead.

    Raises:
        InputError: one is both, two are one file, or one lies where nothing can be written.
    """
    read = {resolved(path) for path in inputs if path is not None}
    files = [path for path in outputs if path is not None]
    for number, output in enumerate(files):
        if resolved(output) in {resolved(path) for path in files[:number]}:
            raise InputError(f"{output} is to be written twice; give each result a name of its own")
        if resolved(output) in read:
            raise InputError(f"{output} is an input and would be overwritten; {advice}")
    check_writable(path.parent for path in files)


def read_head(path: Path, size: int, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The first bytes of a file, at most `size`, to see what it is.

    Raises:
        InputError: no regular file (reading a pipe or a device might never end), unreadable, too large, or empty.
    """
    check_regular(path, max_bytes=max_bytes)
    try:
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
        path: the file to write; folders above it are made. Where it is a symbolic link, the file that it leads to is
            written, and the link stays.

    Yields:
        A name beside it to write to. It takes `path`'s place when the block ends, and is removed when it fails.

    Raises:
        InputError: the file cannot be written (rights, full disk), or what is there is no regular file.
    """
    temporary = None
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.exists() and not target.is_file():
            raise InputError(f"{path}: cannot be written: {_kind(target.stat().st_mode)} is there")
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        temporary = target.parent / f".repix-{_mark}{_host()}-{os.getpid()}-{secrets.token_hex(6)}.tmp"
        _open.add(temporary)
        yield temporary
        with temporary.open("r+b") as file:  # a result must not vanish in a power cut after its input was replaced
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            _open.discard(temporary)


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder beside what is being made; it may be renamed to its place in the block, and goes at the end otherwise.

    Raises:
        InputError: it cannot be made or written.
    """
    folder = parent / f".repix-{_mark}{_host()}-{os.getpid()}-{secrets.token_hex(6)}.tmp"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder.mkdir()
        _open.add(folder)
        yield folder
    except OSError as error:
        raise InputError(f"{parent}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _open.discard(folder)


def _sync_folder(folder: Path) -> None:
    """Let the new name be on the disk too, where the system has that."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def register_temporary(path: Path) -> None:
    """A file or folder that is to go when the process is ended by force."""
    _open.add(path)


def abandon_temporaries() -> None:
    """Remove what this process is writing, which is about to end by force."""
    for left in list(_open):
        with contextlib.suppress(OSError):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _host() -> str:
    return hashlib.sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:6]


def _sweep(folder: Path) -> None:
    """Remove what killed runs of this machine left in a folder, once for each folder."""
    with _lock:
        if folder in _swept:
            return
        _swept.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".repix-") and entry.name.endswith(".tmp") and _is_leftover(entry):
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError, ValueError):
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > _A_WEEK:
            return True
        *_, host, process, _ = entry.name.removesuffix(".tmp").split("-")
        return host == _host() and not _is_alive(int(process))
    return False


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where signal 0 would end the process; a file in use cannot be removed there
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


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
            raise InputError(f"cannot write to {folder}: {existing} is a file, not a folder; choose another folder")
        probe = existing / f".repix-{secrets.token_hex(6)}.tmp"
        try:
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise InputError(f"cannot write to {existing}: {error.strerror}; choose another folder") from error
