"""All four tabs of the web UI, used as a person would, in Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from running_site import Site

from repix.app.blend import Placing, paste
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions
from repix.io.image import Picture, read_image, write_image
from repix.palettes import FACADES, nearest_label
from repix.tasks import DERAIN
from repix.weights import list_cards
from videos import make_video, sound_of

pytestmark = pytest.mark.enable_socket

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "rainy.jpg"
LABELS = {colour.name: number for number, colour in enumerate(FACADES)}


@pytest.fixture
def rainy(tmp_path: Path) -> Path:
    """A part of the example, with metadata and a name that needs care."""
    path = tmp_path / "Mein Bild (1).jpg"
    pixels = np.ascontiguousarray(read_image(EXAMPLE).pixels[100:340, 200:521])
    write_image(path, Picture(pixels, metadata={"xmp-data": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"}))
    return path


def upload(page: Any, part: str, *files: Path) -> None:
    page.set_input_files(f"{part} input[type=file]", [str(file) for file in files])
    name = "".join(files[-1].name.split())  # the web UI cuts names in two before their extension
    until(lambda: name in "".join(page.locator(part).text_content().split()))


def choose(page: Any, button: str, file: Path) -> None:
    with page.expect_file_chooser() as waiting:
        page.click(button)
    waiting.value.set_files(str(file))


def download(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def box(page: Any, part: str) -> dict[str, float]:
    found = page.locator(part)
    found.scroll_into_view_if_needed()
    frame = found.bounding_box()
    assert frame is not None
    return dict(frame)


def drag(page: Any, start: tuple[float, float], *stops: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    for stop in stops:
        page.mouse.move(*stop, steps=3)
    page.mouse.up()


def until(say: Callable[[], Any], seconds: float = 60) -> Any:
    """What `say` gives, once it is something."""
    end = time.monotonic() + seconds
    while not (value := say()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


# ---- Derain ---------------------------------------------------------------------------------------------------------


def test_an_image_is_derained_as_on_the_command_line(page: Any, rainy: Path, tmp_path: Path) -> None:
    upload(page, "#derain-files", rainy)
    page.click("#derain-go")
    page.locator("#derain-slider img").nth(1).wait_for()
    made = download(page, "#derain-download", tmp_path / "page")
    assert made.name == rainy.name
    restore(rainy, tmp_path / "cli", options=BatchOptions(threads=1))
    ours, expected = read_image(made), read_image(tmp_path / "cli" / rainy.name)
    np.testing.assert_array_equal(ours.pixels, expected.pixels)
    assert ours.metadata == expected.metadata
    assert b"xmpmeta" in ours.metadata["xmp-data"]

    cut = "#derain-slider img >> nth=1"
    at = page.get_attribute(cut, "style")
    handle = box(page, "#derain-slider [data-testid=slider] .icon-wrap")
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    drag(page, (x, y), (x - 150, y))
    dragged = until(lambda: (new := page.get_attribute(cut, "style")) != at and new)
    page.locator("#derain-slider [data-testid=slider]").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    percent = [float(re.findall(r"([\d.]+)%\)", style)[0]) for style in (at, dragged)]
    assert percent[1] < percent[0] - 10
    until(lambda: percent[1] + 4 < float(re.findall(r"([\d.]+)%\)", page.get_attribute(cut, "style"))[0]))

    shown = page.get_attribute(cut, "src")
    page.get_by_text("before | rain").click()
    until(lambda: page.get_attribute(cut, "src") != shown)


def test_many_images_and_a_broken_one(page: Any, rainy: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    alpha = np.full((40, 50), 30_000, np.uint16)
    write_image(wide, Picture(np.full((40, 50, 3), 30_000, np.uint16), alpha=alpha, bits=16))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    upload(page, "#derain-files", rainy, wide, broken)
    page.click("#derain-go")
    page.get_by_text("broken.jpg: not an image that repix reads").wait_for()
    page.locator("#derain-slider img").nth(1).wait_for()
    with zipfile.ZipFile(download(page, "#derain-download", tmp_path / "page")) as archive:
        assert sorted(archive.namelist()) == [rainy.name, "wide.png"]
        archive.extract("wide.png", tmp_path / "page")
    kept = read_image(tmp_path / "page" / "wide.png")
    assert kept.pixels.dtype == np.uint16
    np.testing.assert_array_equal(kept.alpha, alpha)
    shown = page.get_attribute("#derain-slider img >> nth=0", "src")
    page.locator("#derain-which input").click()
    page.get_by_role("option", name="wide.png").click()
    until(lambda: page.get_attribute("#derain-slider img >> nth=0", "src") != shown)


def test_rain_is_added_for_trying(page: Any, tmp_path: Path) -> None:
    clean = tmp_path / "clean.png"
    write_image(clean, np.full((120, 160, 3), 90, np.uint8))
    upload(page, "#derain-files", clean)
    page.get_by_text("No rain at hand?").click()
    page.click("#derain-add")
    page.locator("#derain-slider img").nth(1).wait_for()
    made = read_image(download(page, "#derain-download", tmp_path / "page"))
    before = page.request.get(page.get_attribute("#derain-slider img >> nth=0", "src")).body()
    (tmp_path / "before.jpg").write_bytes(before)
    rain = read_image(tmp_path / "before.jpg").pixels.astype(float)
    assert rain.max() - rain.min() > 8
    assert made.pixels.std() < rain.std()


def test_what_cannot_be_used_is_a_message(page: Any, tmp_path: Path) -> None:
    page.click("#derain-go")
    page.get_by_text("there is no image yet").wait_for()
    vast, heavy = tmp_path / "vast.png", tmp_path / "heavy.png"
    write_image(vast, np.zeros((1500, 1500, 3), np.uint8))
    upload(page, "#derain-files", vast)
    page.click("#derain-go")
    told = page.get_by_text("1500×1500 is 2 million pixels, more than the 2 million allowed").first.text_content()
    assert "/" not in told.split("vast.png")[0]
    heavy.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(4_000_000))
    page.set_input_files("#video-file input[type=file], #derain-files input[type=file]", str(heavy))
    page.get_by_text(re.compile("too large|exceeds|maximum", re.IGNORECASE)).first.wait_for()


def test_a_video_keeps_its_sound(page: Any, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make_video(clip, frames=12)
    page.get_by_role("tab", name="Video").click()
    upload(page, "#video-file", clip)
    page.click("#video-go")
    page.locator("#video-result video").wait_for()
    made = download(page, "#video-download", tmp_path / "page")
    assert made.name == "clip.mp4"
    assert sound_of(made) == sound_of(clip) != []
    assert until(lambda: page.evaluate("document.querySelector('#video-result video').videoWidth")) == 64


def test_a_video_is_cancelled(page: Any, site: Site, tmp_path: Path) -> None:
    clip = tmp_path / "long.mp4"
    make_video(clip, frames=400, size=(240, 320), sound=False)
    page.get_by_role("tab", name="Video").click()
    upload(page, "#video-file", clip)
    page.click("#video-go")
    page.get_by_text(re.compile(r"[\d.]+ frames/s")).first.wait_for()
    page.click("#video-cancel")
    page.get_by_text("cancelled; nothing was written").wait_for()
    until(lambda: len(site.results("long.mp4")) == 1)  # the upload
    assert site.results("*.tmp") == []


# ---- Blend ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    y, x = np.mgrid[0:240, 0:400]
    target = np.stack([x / 2, y, 255 - x / 2], axis=2).astype(np.uint8)
    paths = tmp_path / "source.png", tmp_path / "Ziel.png"
    for path, pixels in zip(paths, (source, target), strict=True):
        write_image(path, pixels)
    return paths


@pytest.fixture
def blend(page: Any, pair: tuple[Path, Path]) -> Any:
    page.get_by_role("tab", name="Blend").click()
    choose(page, "#blend-source", pair[0])
    page.wait_for_function(
        "document.querySelector('.rx-source').width > 0 && document.querySelector('.rx-source').style.width"
    )
    choose(page, "#blend-target", pair[1])
    page.get_by_text("Click around a part of the source").wait_for()
    return page


def said(page: Any) -> str:
    text: str = page.locator("#blend .rx-said").text_content()
    return text


def solved(page: Any) -> int:
    """Pixels of the result that is shown, once it is."""
    return int(until(lambda: re.match(r"([\d,]+) pixels in [\d.]+ s, error", said(page)))[1].replace(",", ""))


def on(page: Any, canvas: str, size: tuple[int, int], *points: tuple[float, float]) -> list[tuple[float, float]]:
    """Where pixels (x, y) of an image of size (width, height) are on the screen."""
    frame = box(page, canvas)
    return [
        (frame["x"] + (x + 0.5) / size[0] * frame["width"], frame["y"] + (y + 0.5) / size[1] * frame["height"])
        for x, y in points
    ]


def values(page: Any, *fields: str) -> list[float]:
    return [float(page.input_value(f"#blend input[type=number][data-field={field}]")) for field in fields]


def test_a_polygon_is_clicked_and_dragged(blend: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = blend
    corners = [(50, 40), (150, 40), (150, 120), (50, 120)]
    places = on(page, ".rx-source", (300, 200), *corners, (250, 180))
    for place in (places[0], places[1], places[4]):
        page.mouse.click(*place)
    page.get_by_role("button", name="Undo").click()  # the last was a mistake
    for place in places[2:4]:
        page.mouse.click(*place)
    got = np.array([point.split(",") for point in page.input_value(".rx-points").split()], float)
    np.testing.assert_allclose(got, corners, atol=1.5)
    assert said(page).startswith("4 corners: click the next one")  # it is not closed yet
    page.mouse.click(*places[0])  # the first corner again
    area = solved(page)
    assert area == pytest.approx(101 * 81, rel=0.05)
    assert values(page, "x", "y", "scale", "rotate") == [200, 120, 1, 0]

    start, end = on(page, ".rx-target", (400, 240), (200, 120), (260, 90))
    page.mouse.move(*start)
    still = page.evaluate("document.querySelector('.rx-target').toDataURL()")
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    assert page.evaluate("document.querySelector('.rx-target').toDataURL()") != still  # the outline moves
    page.mouse.up()
    np.testing.assert_allclose(values(page, "x", "y"), (260, 90), atol=1.5)
    assert solved(page) == area

    made = download(page, "#blend-download", tmp_path / "page")
    assert made.name == "Ziel_blend.png"
    before, after = read_image(pair[1]).pixels, read_image(made).pixels
    rows, columns = np.nonzero((before != after).any(2))
    span = rows.min(), rows.max(), columns.min(), columns.max()
    np.testing.assert_allclose(span, (90 - 40, 90 + 40, 260 - 50, 260 + 50), atol=2.5)

    page.get_by_role("button", name="Clear").click()
    assert page.input_value(".rx-points") == ""
    assert "Click around" in said(page)


def noisy(path: Path, size: tuple[int, int]) -> Path:
    """An image that takes a while to read, because it does not compress."""
    write_image(path, np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8))
    return path


def test_a_slow_image_and_a_fast_one_do_not_lose_each_other(page: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    slow = tmp_path / "slow.avif"  # small, so that it is there at once, and takes a while to read
    y, x = np.mgrid[0:1400, 0:1400]
    write_image(slow, np.stack([x / 6, y / 6, 120 + 100 * np.sin(x * y / 9e3)], axis=2).astype(np.uint8))
    for _ in range(3):
        page.reload()
        page.get_by_role("tab", name="Blend").click()
        choose(page, "#blend-source", slow)
        choose(page, "#blend-target", pair[1])
        page.get_by_text("Click around a part of the source").wait_for()
        page.locator(".rx-points").fill("20,30 90,30 90,110 20,110")
        page.keyboard.press("Enter")
        solved(page)
    made = download(page, "#blend-download", tmp_path / "made")
    assert made.name == "Ziel_blend.png"
    source, target = (Picture(read_image(path).pixels) for path in (slow, pair[1]))
    corners = [(20.0, 30.0), (90.0, 30.0), (90.0, 110.0), (20.0, 110.0)]
    expected = paste(source, target, Placing(polygon=corners, x=200, y=120))
    np.testing.assert_array_equal(read_image(made).pixels, expected.pixels)


def test_the_last_image_chosen_for_a_canvas_stays(page: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    slow = noisy(tmp_path / "slow.png", (700, 1400))
    page.get_by_role("tab", name="Blend").click()
    choose(page, "#blend-source", slow)
    choose(page, "#blend-source", pair[0])
    page.wait_for_timeout(3000)
    assert page.evaluate("document.querySelector('.rx-source').style.aspectRatio") == "300 / 200"


def test_the_download_is_what_is_shown(blend: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = blend
    page.locator(".rx-points").fill("20,30 90,30 90,110 20,110")
    page.keyboard.press("Enter")
    solved(page)
    page.locator("#blend input[type=number][data-field=x]").fill("90")  # and no waiting for the answer
    made = download(page, "#blend-download", tmp_path / "made")
    source, target = (Picture(read_image(path).pixels) for path in pair)
    corners = [(20.0, 30.0), (90.0, 30.0), (90.0, 110.0), (20.0, 110.0)]
    expected = paste(source, target, Placing(polygon=corners, x=90, y=120))
    np.testing.assert_array_equal(read_image(made).pixels, expected.pixels)
    page.get_by_role("button", name="Clear").click()
    page.click("#blend-download")
    page.get_by_text("nothing is selected").wait_for()


def test_a_brush_and_an_eraser(blend: Any) -> None:
    page = blend
    page.get_by_text("Brush", exact=True).click()
    page.locator(".rx-radius").fill("20")
    drag(page, *on(page, ".rx-source", (300, 200), (60, 100), (150, 100), (240, 100)))
    painted = solved(page)
    radius = 20 / 400 * 300
    assert painted == pytest.approx(180 * 2 * radius + np.pi * radius**2, rel=0.08)
    page.get_by_text("Eraser", exact=True).click()
    drag(page, *on(page, ".rx-source", (300, 200), (150, 60), (150, 140)))
    until(lambda: solved(page) < painted - 700)
    page.get_by_role("button", name="Undo").click()
    until(lambda: solved(page) == painted)


def test_blending_by_the_keyboard_alone(blend: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = blend
    page.locator(".rx-points").focus()
    page.keyboard.type("20,30 90,30 90,110 20,110")
    page.keyboard.press("Enter")
    solved(page)
    page.locator(".rx-target").focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "ArrowUp", "+", "[", "["):
        page.keyboard.press(key)
    assert values(page, "x", "y", "scale", "rotate") == [202, 129, 1.02, 2]
    page.locator("#blend input[type=number][data-field=x]").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("100")
    page.locator("[name=rx-mode][value=import]").focus()
    page.keyboard.press("ArrowRight")
    assert page.is_checked("[name=rx-mode][value=mixed]")
    solved(page)
    page.locator("#blend-download").focus()
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    waiting.value.save_as(tmp_path / "made.png")
    source, target = (Picture(read_image(path).pixels) for path in pair)
    corners = [(20.0, 30.0), (90.0, 30.0), (90.0, 110.0), (20.0, 110.0)]
    placing = Placing(polygon=corners, x=100, y=129, scale=1.02, rotate=2, mode="mixed")
    np.testing.assert_array_equal(read_image(tmp_path / "made.png").pixels, paste(source, target, placing).pixels)
    page.locator(".rx-source").focus()
    page.keyboard.press("Escape")
    assert page.input_value(".rx-points") == ""


def test_an_example_is_blended_at_once(page: Any) -> None:
    page.get_by_role("tab", name="Blend").click()
    page.locator("#blend-example input").click()
    page.get_by_role("option", name="Balloon").click()
    assert solved(page) > 50_000
    page.locator("[data-field=x][type=number]").fill("-900")
    until(lambda: "lies outside the target" in said(page))


# ---- Translate ------------------------------------------------------------------------------------------------------


def painted(page: Any, folder: Path) -> NDArray[np.uint8]:
    """The label map that the server drew, as classes, (256, 256)."""
    pixels = read_image(download(page, "#paint-labels", folder)).pixels
    labels = nearest_label(pixels, FACADES)
    np.testing.assert_array_equal(pixels, np.array([colour.rgb for colour in FACADES])[labels])
    return labels


def shown_after(page: Any, part: str, act: Callable[[], Any]) -> None:
    """Do something and wait for the image to be another."""
    page.locator(f"{part} img").first.wait_for()
    before = page.get_attribute(f"{part} img >> nth=0", "src")
    act()
    until(lambda: page.get_attribute(f"{part} img >> nth=0", "src") != before)


def model(page: Any, part: str, name: str) -> None:
    page.locator(f"{part} input").click()
    page.get_by_role("option", name=name, exact=True).click()


def test_a_facade_is_painted(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Translate").click()
    shown_after(page, "#paint-result", lambda: model(page, "#paint-model", "darken-photo"))

    def paint() -> None:
        page.get_by_text("balcony", exact=True).click()
        drag(page, *on(page, "#paint canvas", (256, 256), (30, 200), (120, 230)))

    shown_after(page, "#paint-result", paint)
    labels = painted(page, tmp_path / "1")
    rows, columns = np.nonzero(labels == LABELS["balcony"])
    span = rows.min(), rows.max(), columns.min(), columns.max()
    np.testing.assert_allclose(span, (200, 230, 30, 120), atol=1)
    assert len(rows) == (span[1] - span[0] + 1) * (span[3] - span[2] + 1)
    assert (labels == LABELS["door"]).any()

    def brush() -> None:
        page.get_by_text("Brush", exact=True).click()
        page.get_by_text("shop", exact=True).click()
        drag(page, *on(page, "#paint canvas", (256, 256), (60, 60), (200, 60)))

    shown_after(page, "#paint-result", brush)
    assert (painted(page, tmp_path / "2") == LABELS["shop"]).sum() == pytest.approx(140 * 10 + 78, rel=0.12)

    page.locator("#paint canvas").focus()
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    until(lambda: not np.isin(painted(page, tmp_path / "3"), [LABELS["shop"], LABELS["balcony"]]).any())
    start = painted(page, tmp_path / "3")
    made = read_image(download(page, "#paint-download", tmp_path / "4")).pixels
    colours = np.array([colour.rgb for colour in FACADES])
    np.testing.assert_allclose(made, 0.4 * colours[start], atol=1)


def test_a_facade_is_written(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Translate").click()

    def write(text: str) -> None:
        page.locator("#paint .rx-shapes").focus()
        page.keyboard.press("Control+a")
        page.keyboard.type(text)

    page.locator("#paint-result img").wait_for()
    write("facade 10,20 200,255\nwindow 40,60 80,110")
    until(lambda: (painted(page, tmp_path) == LABELS["window"]).sum() == 41 * 51)
    labels = painted(page, tmp_path)
    assert labels[60, 40] == labels[110, 80] == LABELS["window"]
    assert labels[15, 15] == LABELS["background"]
    write("roof 1,2 3,4")
    page.get_by_text("“roof” is none of background").wait_for()


def test_a_photo_becomes_labels(page: Any, rainy: Path, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Translate").click()
    page.get_by_role("tab", name="Upload").click()
    upload(page, "#translate-file", rainy)
    model(page, "#translate-model", "darken-labels")
    page.get_by_text("To labels, times 0.4").wait_for()
    page.click("#translate-go")
    page.locator("#translate-slider img").nth(1).wait_for()
    made = download(page, "#translate-download", tmp_path / "page")
    assert made.suffix == ".png"  # JPEG would mix the labels' colours
    np.testing.assert_allclose(read_image(made).pixels, 0.4 * read_image(rainy).pixels, atol=1)


# ---- Compare, and the web UI as a whole -----------------------------------------------------------------------------


def test_models_are_compared_with_their_seconds(page: Any, rainy: Path) -> None:
    page.get_by_role("tab", name="Compare").click()
    upload(page, "#compare-file", rainy)
    page.click("#compare-go")
    captions = until(lambda: page.locator("#compare-shown figcaption").all_text_contents())
    assert captions[0] == "as it was"
    models = [*(card.name for card in list_cards() if card.task is DERAIN), "darken"]
    assert [re.sub(r"[\d.]+ s$", "N s", caption) for caption in captions[1:]] == [f"{name} · N s" for name in models]
    sizes = "[...document.querySelectorAll('#compare-shown img')].map(image => image.naturalWidth)"
    until(lambda: page.evaluate(sizes) == [321] * (1 + len(models)))


@pytest.mark.parametrize("page", [(390, "light"), (390, "dark"), (1280, "dark")], indirect=True)
def test_every_tab_fits_its_window_in_light_and_dark(page: Any) -> None:
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (np.mean([int(value) for value in re.findall(r"\d+", ground)[:3]]) < 60) == dark
    for name in ("Derain", "Blend", "Translate", "Compare"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(150)
        beyond = page.evaluate(
            """() => [...document.querySelectorAll('button, input, canvas, label, p, img')]
                .filter((part) => part.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}))
                .filter((part) => part.getBoundingClientRect().right > innerWidth + 1)
                .map((part) => part.outerHTML.slice(0, 120))"""
        )
        assert beyond == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("footer").count() == 0 or not page.locator("footer").first.is_visible()


# ---- the HTTP API ----------------------------------------------------------------------------------------------------


def documented(language: str, site: Site) -> list[str]:
    """The examples of docs/app.md in a language, for the web UI that runs."""
    text = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block.replace("http://127.0.0.1:7860/", site.url) for block in found]


def test_the_documented_python_works(site: Site, tmp_path: Path) -> None:
    script = "\n".join([*documented("python", site), "print(result)", "print(report['error_levels'])"])
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100)
    derained, blended, error = done.stdout.splitlines()[-3:]
    restore(EXAMPLE, tmp_path, options=BatchOptions(threads=1))
    np.testing.assert_array_equal(read_image(derained).pixels, read_image(tmp_path / "rainy.jpg").pixels)
    assert Path(blended).name == "rainy_blend.jpg"
    assert 0 <= float(error) < 0.5


@pytest.mark.skipif(shutil.which("curl") is None or sys.platform == "win32", reason="no curl, or no shell")
def test_the_documented_curl_works(site: Site, tmp_path: Path) -> None:
    (script,) = (block for block in documented("bash", site) if "curl" in block)
    done = subprocess.run(["sh", "-eu", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100)
    event, data = (line.partition(": ")[2] for line in done.stdout.split("\n")[:2])
    assert event == "complete", done.stdout + done.stderr
    assert json.loads(data)[0]["url"].startswith(site.url)


def test_errors_are_one_line_for_programs_too(site: Site) -> None:
    script = f"""
from gradio_client import Client, handle_file
page = Client({site.url!r}, verbose=False)
for arguments in (dict(model="../../weights"), dict(model="darken-photo"), dict(strength=2)):
    try:
        page.predict(file=handle_file({str(EXAMPLE)!r}), **arguments, api_name="/derain")
    except Exception as error:
        print(error)
try:
    page.predict(file=handle_file({__file__!r}), model="darken-photo", api_name="/translate")
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stdout + done.stderr
    assert "../../weights" in lines[0]
    assert "darken-photo" in lines[1]
    assert "strength" in lines[2] or "2" in lines[2]
    assert "test_web_ui.py" in lines[3]
    assert str(site.files) not in done.stdout
