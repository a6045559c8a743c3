"""The screenshots of docs/app.md, taken of a running web UI in Chromium.

    python docs/images/app/make.py [--chromium PATH]

Needs Chromium and Playwright: apt-get install chromium, pip install -c constraints.txt playwright.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent


def save(page: Any, name: str, *, top: int | None = None) -> None:
    """The whole window as WebP, or so many pixels of it from its top."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)  # for what fades in
    image = Image.open(io.BytesIO(page.screenshot(full_page=top is None))).convert("RGB")
    image.crop((0, 0, image.width, top or image.height)).save(HERE / f"{name}.webp", quality=85, method=6)


def derain(page: Any) -> None:
    page.click("#sample")
    page.locator("#stage .over").wait_for()
    save(page, "derain", top=640)


def blend(page: Any, name: str) -> None:
    page.get_by_role("tab", name="Blend").click()
    page.locator("#blend-example").select_option(index=1)
    page.get_by_text("grey levels").wait_for()
    page.locator("h1").click()  # so that nothing has the focus, nor the selection its outline
    save(page, name)


def translate(page: Any) -> None:
    page.get_by_role("tab", name="Translate").click()
    page.locator("#paint-result").wait_for()
    save(page, "translate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    command = [sys.executable, "-m", "repix", "app", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        url = server.stdout.readline().split()[3]
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=options.chromium, args=flags)
        for act, size, scheme in (
            (derain, (1280, 860), "light"),
            (lambda page: blend(page, "blend"), (1280, 900), "light"),
            (translate, (1280, 900), "light"),
            (lambda page: blend(page, "blend-phone-dark"), (390, 844), "dark"),
        ):
            page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            page.goto(url)
            page.locator("body[data-ready]").wait_for()
            act(page)
            page.close()
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main()
