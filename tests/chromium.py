"""Chromium, for tests that look at pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-audio-output",  # its thread has real-time priority, and two cores may have no device to wait for
]


@contextmanager
def start() -> Iterator[Any]:
    """Playwright; the test is skipped where it or Chromium is not installed."""
    if _CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install -c constraints.txt playwright")
    with api.sync_playwright() as playwright:
        yield playwright


def launch(playwright: Any) -> Any:
    """A browser, to be closed after use."""
    return playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
