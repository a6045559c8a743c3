"""The web UI as a process of its own, and Chromium to look at it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_site import Site

from chromium import launch, start
from repix.palettes import FACADES
from tiny_weight import write_weight

WAIT = 30_000  # ms; the machines of CI are slow when everything starts at once


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A second weight that derains and two that translate, one each way; all make images darker, times 0.4."""
    folder = tmp_path_factory.mktemp("weights")
    return {
        "darken": write_weight(folder, "darken"),
        "darken-photo": write_weight(folder, "darken-photo", task="translate", description="From labels, times 0.4"),
        "darken-labels": write_weight(
            folder, "darken-labels", task="translate", palette=FACADES, description="To labels, times 0.4"
        ),
    }


@pytest.fixture(scope="module")
def site(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`repix app`, with low limits; when it is told to end, none of its files may be left."""
    files, work = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("work")
    command = [sys.executable, "-m", "repix", "app", "--no-browser", "--threads", "1"]
    command += ["--max-pixels", "2000000", "--max-upload", "3"]
    for folder in weights.values():
        command += ["--model", str(folder)]
    variables = {**os.environ, "TMPDIR": str(files), "TEMP": str(files), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=work, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("repix is at http://127.0.0.1:"), line
        yield Site(line.split()[3], files, weights)
        process.terminate()
        code = process.wait(30)
    if sys.platform != "win32":  # where nothing can be told to end in good order
        assert code == 0
        assert list(files.glob("repix-app-*")) == []
    assert list(work.iterdir()) == [], "the web UI wrote into the folder it was started in"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    with start() as one:
        yield one


@pytest.fixture
def chromium(playwright: Any) -> Iterator[Any]:
    """A browser of this test's own, so that one that hangs takes no other test with it."""
    with launch(playwright) as browser:
        context = browser.new_context(reduced_motion="reduce")  # colours are looked at, and must not be on their way
        context.set_default_timeout(WAIT)
        yield context


@pytest.fixture
def page(chromium: Any, site: Site, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fresh browser window on the web UI; whatever a test does, nothing is asked of any other machine, and no script
    fails. A test's parameter may say the window's width and height, and its colour scheme."""
    width, height, scheme = getattr(request, "param", (1280, 900, "light"))
    window = chromium.new_page()
    window.set_viewport_size({"width": width, "height": height})
    window.emulate_media(color_scheme=scheme)
    asked: list[str] = []
    wrong: list[str] = []
    window.on("request", lambda sent: asked.append(sent.url))
    window.on("pageerror", lambda error: wrong.append(str(error)))
    refused = re.compile("the server responded with a status of 4")  # what a test does on purpose
    window.on(
        "console",
        lambda message: (
            wrong.append(message.text) if message.type == "error" and not refused.search(message.text) else None
        ),
    )
    window.goto(site.url)
    window.locator("body[data-ready]").wait_for()
    yield window
    window.close()
    elsewhere = [url for url in asked if not url.startswith((site.url, "data:", "blob:"))]
    assert elsewhere == []
    assert wrong == []
