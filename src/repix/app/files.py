"""Files of the web UI: in one folder, owned by sessions, for as long as someone needs them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repix.app.queue import Job
from repix.errors import InputError, RepixError
from repix.io.files import register_temporary
from repix.io.formats import by_suffix, sniff

_PREFIX = "repix-app-"
_LOCK = "lock"
_NAME_BYTES = 150
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class GoneError(RepixError):
    """A file, a job or a session that is not there, or no longer."""


class DiskFullError(RepixError):
    """No room for another file."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that a disk is full."""
    while error is not None:
        if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL):
            return True
        error = error.__cause__
    return False


@dataclass
class Session:
    """One open page.

    Attributes:
        seen: when it was last heard of, by `time.monotonic`.
        files: id -> path of what it has uploaded and been given.
        folders: of these files.
        jobs: id -> its jobs.
        told: id of a job -> what a download of its result needs.
        solve: the blending it has asked for last.
    """

    seen: float = 0.0
    files: dict[str, Path] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    solve: Job | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a job of it waits or runs."""
        return any(job.is_open for job in self.jobs.values())


class Store:
    """The folder of a running web UI and the sessions that own what lies in it.

    Args:
        folder: of this web UI alone.
        max_bytes: more than this is not stored.
        keep_seconds: how long after the last word of a session its files stay.
    """

    def __init__(self, folder: Path, *, max_bytes: float, keep_seconds: float) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.keep_seconds = keep_seconds
        self.sessions: dict[str, Session] = {}
        self._lock = threading.RLock()

    def session(self, name: str) -> Session:
        """A session by the name that its page has chosen; a new one if it is not known. It counts as heard of."""
        if not re.fullmatch(r"[0-9a-f]{32}", name):
            raise InputError("the page sent no session; reload it")
        with self._lock:
            session = self.sessions.setdefault(name, Session())
            session.seen = time.monotonic()
            return session

    def new_folder(self, session: Session | None = None) -> Path:
        """A fresh folder, in which names need not be changed; it goes with the session."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        if session is not None:
            session.folders.append(folder)
        return folder

    def offer(self, session: Session, path: Path) -> str:
        """Give a file a name that cannot be guessed; whoever is told it can fetch the file: its relative address."""
        name = secrets.token_urlsafe(16)
        session.files[name] = path
        return name

    def find(self, name: str) -> Path:
        """The file of a name; its session counts as heard of.

        Raises:
            GoneError: no such file, or no longer.
        """
        with self._lock:
            for session in self.sessions.values():
                path = session.files.get(name)
                if path is not None and path.is_file():
                    session.seen = time.monotonic()
                    return path
        raise GoneError("this file has been deleted in the meantime; choose it again")

    def check_room(self, more: int = 0) -> None:
        """Refuse what would go beyond the limit on the whole.

        Raises:
            DiskFullError: it would.
        """
        used = self._used()
        if used + more > self.max_bytes:
            raise DiskFullError(
                f"there is no room for another file: {used / 2**20:.0f} of {self.max_bytes / 2**20:.0f} MB are in use; "
                "close other windows of repix, or ask for more with --max-disk"
            )

    def _used(self) -> int:
        """Bytes in all files. Other requests delete theirs meanwhile, folders too, which `os.walk` passes over."""
        used = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    used += os.stat(os.path.join(folder, name)).st_size
        return used

    def close(self, name: str) -> list[Job]:
        """Forget a session and delete its files.

        Returns:
            Its jobs, which the caller cancels.
        """
        with self._lock:
            session = self.sessions.pop(name, None)
        if session is None:
            return []
        for folder in session.folders:
            shutil.rmtree(folder, ignore_errors=True)
        return list(session.jobs.values())

    def sweep(self) -> None:
        """Close the sessions that have not been heard of for long and have no job."""
        oldest = time.monotonic() - self.keep_seconds
        with self._lock:
            old = [name for name, session in self.sessions.items() if session.seen < oldest and not session.is_busy]
        for name in old:
            self.close(name)

    def sweep_while(self, running: threading.Event) -> None:
        """`sweep` again and again until `running` is cleared; for a thread of its own."""
        while running.is_set():
            time.sleep(min(30.0, max(0.1, self.keep_seconds / 4)))
            self.sweep()


def safe_name(name: str, head: bytes) -> str:
    """A name for an uploaded file: no folder, nothing hidden, and an extension that suits what it holds.

    Args:
        name: what the client calls it; may be anything, or nothing.
        head: its first bytes.

    Raises:
        InputError: it is neither an image nor a video that repix reads.
    """
    base = re.sub(r"[\x00-\x1f\x7f<>:\"|?*]", "_", re.split(r"[/\\]", name)[-1]).lstrip(".").strip()
    found, said = sniff(head), by_suffix(f"_{Path(base).suffix}")
    if found is None and said is None:
        raise InputError(f"{base or 'this file'}: not an image or video that repix reads")
    stem, suffix = Path(base).stem or "file", Path(base).suffix
    if found is not None and (said is None or said.kind != found.kind):  # a video that is called .jpg, or no name
        stem, suffix = (stem if said is not None or not suffix else base), found.suffixes[0]
    while len(stem.encode()) > _NAME_BYTES:
        stem = stem[:-1]
    return f"{stem}{suffix}"


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder for one running web UI, deleted in the end; what a killed one has left is deleted first.

    Each running one holds a lock on a file in its folder. The lock goes with the process, however that ends.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not _is_locked(left / _LOCK):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        register_temporary(folder)
        with (folder / _LOCK).open("w") as lock:
            _lock(lock)
            (folder / "files").mkdir()
            yield folder / "files"


def _lock(file: Any) -> None:
    if sys.platform == "win32":
        return  # a file that is open cannot be deleted there, which is lock enough
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_locked(path: Path) -> bool:
    """Whether a web UI that runs, of whatever user, holds this lock."""
    if not path.exists():  # it has just begun
        return time.time() - path.parent.stat().st_mtime < 60 if path.parent.exists() else True
    try:
        if sys.platform == "win32":
            os.unlink(path)
            return False
        with path.open("r+") as file:
            _lock(file)
    except OSError:
        return True
    return False
