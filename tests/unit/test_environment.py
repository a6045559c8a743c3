"""Dependencies are told not to report usage, before the first of them is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("ORT_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")


def seen(name: str, **given: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in NAMES}
    script = f"import repix, os; print(os.environ[{name!r}])"
    done = subprocess.run([sys.executable, "-c", script], env=clean | given, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", NAMES)
def test_reporting_is_off_once_repix_is_imported(name: str) -> None:
    assert seen(name) in ("0", "1", "False")


def test_what_the_user_has_set_stays() -> None:
    assert seen("ORT_DISABLE_TELEMETRY", ORT_DISABLE_TELEMETRY="0") == "0"


def test_an_import_that_came_too_late_is_said() -> None:
    script = "import sys, types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); import repix"
    clean = {key: value for key, value in os.environ.items() if key not in NAMES}
    for given, said in (({}, "telemetry to Microsoft is on"), ({"ORT_DISABLE_TELEMETRY": "1"}, "")):
        done = subprocess.run([sys.executable, "-c", script], env=clean | given, capture_output=True, text=True)
        assert done.returncode == 0
        assert said in done.stderr
        assert bool(done.stderr) == bool(said)


@pytest.mark.parametrize(("value", "folder"), [("off", "None"), ("/elsewhere", "/elsewhere"), ("", "/c/repix")])
def test_the_cache_folder_is_where_it_is_said_to_be(value: str, folder: str) -> None:
    script = "from repix._environment import cache_folder; print(cache_folder())"
    given = os.environ | {"REPIX_CACHE": value, "XDG_CACHE_HOME": "/c"}
    done = subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True)
    if sys.platform == "linux":
        assert done.stdout.strip() == folder


@pytest.mark.parametrize(("place", "kept"), [("new/cache", True), ("file/cache", False)])
def test_matplotlib_is_sent_nowhere_where_it_cannot_write(tmp_path: Path, place: str, kept: bool) -> None:
    (tmp_path / "file").touch()
    script = "import os, repix._environment as e; e.for_commands(); print(os.environ['MPLCONFIGDIR'])"
    given = {key: value for key, value in os.environ.items() if key != "MPLCONFIGDIR"}
    given["REPIX_CACHE"] = str(tmp_path / place)
    done = subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path)) == kept
