"""Environment variables of dependencies, set in this one place before any of them is imported.

repix opens no connection of its own and writes nothing into the home folder but to its cache folder. Some of its
dependencies report usage or leave files unless they are told not to, and most read that wish when they are imported. A
variable that the user has set stays as it is. The signals that end a process are listed here too, below every part.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# onnxruntime >= 1.29 reports to Microsoft by default, and keeps a device id in the user's cache folder
_TOO_LATE = "onnxruntime" in sys.modules and "ORT_DISABLE_TELEMETRY" not in os.environ
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder writes pages to stderr; errors alone will do

if _TOO_LATE:
    logging.getLogger("repix").warning(
        "onnxruntime was imported before repix, so its telemetry to Microsoft is on; "
        "import repix first, or set ORT_DISABLE_TELEMETRY=1"
    )

STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What Ctrl-C, a cluster or `kill`, and a terminal that closes send to a process; Windows has no SIGHUP."""


def cache_folder() -> Path | None:
    """Where repix may keep what costs time to make again; None where REPIX_CACHE is `off`.

    REPIX_CACHE may name another folder. The folder need not exist, and may be deleted at any time.
    """
    named = os.environ.get("REPIX_CACHE", "")
    if named.lower() in ("off", "0", "no", "false"):
        return None
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "repix" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "repix"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "repix"


def data_folder(beside: Path = Path()) -> Path | None:
    """Where data sets for training and measuring lie: the folder REPIX_DATA, or `../shared/data` where it exists.

    Args:
        beside: the folder that `../shared/data` is relative to.

    Returns:
        None where REPIX_DATA is not set and there is no such folder.
    """
    if named := os.environ.get("REPIX_DATA"):
        return Path(named)
    usual = beside.joinpath("..", "shared", "data")
    return usual if usual.is_dir() else None


def _can_be_made(folder: Path) -> bool:
    there = next((path for path in (folder, *folder.parents) if os.path.exists(path)), Path())
    return there.is_dir() and os.access(there, os.W_OK)


def for_commands() -> None:
    """What holds for the command line alone, and not for programs that import repix beside other things.

    matplotlib keeps its list of fonts in the home folder; here it goes to the cache folder, or away at the end.
    """
    if "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules:
        return
    folder = cache_folder()
    if folder is not None and _can_be_made(folder):  # else matplotlib says at length that it cannot
        os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
        return
    temporary = os.path.join(tempfile.gettempdir(), f"repix-matplotlib-{os.getpid()}")
    os.environ["MPLCONFIGDIR"] = temporary  # made by matplotlib, where it is used at all
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
