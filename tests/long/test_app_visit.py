"""A visit to the web UI with the shipped model, in a large and a small window, light and dark: many files, then a photo
of 12 megapixels that is cancelled. With REPIX_SHOTS=DIR what was seen is kept there as PNG."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import repix
from repix.io.image import read_image, resize, write_image
from running_app import run, until

pytestmark = [
    pytest.mark.skipif(not os.environ.get("REPIX_LONG"), reason="takes minutes; REPIX_LONG=1 asks for it"),
    pytest.mark.enable_socket,
    pytest.mark.timeout(900),
]
SAMPLE = Path(__file__).parents[2] / "examples" / "rainy.jpg"
WINDOWS = [(1440, 900, "light"), (1440, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]


@pytest.mark.parametrize(("width", "height", "theme"), WINDOWS)
def test_twenty_files_and_a_large_one_that_is_cancelled(
    chromium: Any, tmp_path: Path, width: int, height: int, theme: str
) -> None:
    photo = resize(read_image(SAMPLE).pixels, (300, 400))
    many = [tmp_path / f"photo {k:02}.jpg" for k in range(18)]
    for k, file in enumerate(many):
        write_image(file, np.roll(photo, 7 * k, axis=1))
    odd = [tmp_path / "notes.jpg", tmp_path / "empty.png"]
    odd[0].write_text("not an image")
    odd[1].write_bytes(b"")
    large = tmp_path / "large.jpg"
    random = np.random.default_rng(0)  # thin rain over enlarged rain, so that its full size runs too
    rain = repix.RainParams.from_severity(0.6, random)
    write_image(large, repix.add_rain(resize(read_image(SAMPLE).pixels, (3000, 4000)), rain, random)[0])
    files = tmp_path / "files"
    files.mkdir()

    def shot(name: str) -> None:
        if folder := os.environ.get("REPIX_SHOTS"):
            page.wait_for_timeout(500)
            page.screenshot(path=str(Path(folder) / f"{name}-{width}-{theme}.png"))

    def status() -> str:
        return str(page.locator("#status").text_content())

    with run(files) as server:
        page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.locator("body[data-ready]").wait_for()
        shot("1-welcome")
        page.set_input_files("#derain-files", [str(file) for file in (*many, *odd)])
        until(lambda: status().startswith("18 of 20 done · 2 could not"), 300)
        shot("2-twenty")
        page.set_input_files("#derain-files", [str(large)])
        until(lambda: "tile" in status())
        shot("3-large")
        begun = time.monotonic()
        page.click("#cancel")
        until(lambda: status().startswith("Cancelled."))
        said = time.monotonic() - begun
        assert page.locator("#thumbs .mark", has_text="✓").count() == 18
        shot("4-cancelled")
        until(lambda: not any(path.name.endswith(".tmp") for path in server.left()))
        print(f"{width}x{height} {theme}: cancelled after {said:.2f} s")
        if theme == "light":
            for tab in ("Blend", "Translate", "Compare"):
                page.get_by_role("tab", name=tab).click()
                shot(f"5-{tab.lower()}")
        page.reload()
        page.locator("body[data-ready]").wait_for()
        page.get_by_role("tab", name="Derain").click()
        assert page.locator("#welcome").is_visible()
