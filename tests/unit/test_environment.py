"""Dependencies are told not to report usage, before the first of them is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NAMES = ("ORT_DISABLE_TELEMETRY", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")


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
