"""All four tabs of the web UI, used as a person would, in Chromium."""

from __future__ import annotations

import base64
import re
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
from running_app import run, until
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


def choose(page: Any, what: str, file: Path) -> None:
    with page.expect_file_chooser() as waiting:
        page.click(f"[data-choose={what}]")
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


# ---- Derain ---------------------------------------------------------------------------------------------------------


def add(page: Any, *files: Path) -> None:
    page.set_input_files("#derain-files", [str(file) for file in files])


def status(page: Any) -> str:
    text: str = page.locator("#status").text_content()
    return text


def done(page: Any, number: int) -> None:
    until(
        lambda: (
            page.locator("#thumbs .mark", has_text="✓").count() == number or (number == 1 and "Done in" in status(page))
        )
    )


def drop(page: Any, *files: Path, onto: str = "body") -> None:
    """Files dropped somewhere, as from the desktop."""
    content = [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files]
    page.locator(onto).evaluate(
        """(element, files) => {
            const data = new DataTransfer();
            for (const [name, content] of files)
                data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
            for (const kind of ['dragenter', 'dragover', 'drop'])
                element.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        content,
    )


def test_an_image_is_derained_on_drop_as_on_the_command_line(page: Any, rainy: Path, tmp_path: Path) -> None:
    drop(page, rainy)
    page.locator("#stage .over").wait_for()
    made = download(page, "#download", tmp_path / "page")
    assert made.name == "Mein Bild (1)_derained.jpg"
    restore(rainy, tmp_path / "cli.jpg", options=BatchOptions(threads=1))
    assert made.read_bytes() == (tmp_path / "cli.jpg").read_bytes()
    assert b"xmpmeta" in read_image(made).metadata["xmp-data"]

    divider = page.get_by_role("slider", name="Where before ends")
    assert divider.input_value() == "50"
    frame = box(page, "#stage .frame")
    page.mouse.click(frame["x"] + frame["width"] * 0.25, frame["y"] + 20)
    assert 22 <= int(divider.input_value()) <= 28
    divider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert 27 <= int(divider.input_value()) <= 33
    cut = page.locator("#stage .over").evaluate("(image) => getComputedStyle(image).clipPath")
    assert cut.endswith(f"{divider.input_value()}%)")


def test_strength_is_live_and_what_is_downloaded(page: Any, rainy: Path, tmp_path: Path) -> None:
    add(page, rainy)
    page.locator("#stage .over").wait_for()
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    page.locator("#strength").fill("0.4")
    assert page.locator("#stage .over").evaluate("(image) => image.style.opacity") == "0.4"
    assert [url for url in asked if "ui/jobs" not in url] == [], "strength needs no run"
    page.locator("#format").select_option("png")
    made = download(page, "#download", tmp_path / "page")
    restore(rainy, tmp_path / "cli.png", options=BatchOptions(threads=1, strength=0.4))
    ours, expected = read_image(made).pixels, read_image(tmp_path / "cli.png").pixels
    assert np.abs(ours.astype(int) - expected).max() <= 1
    assert (ours != read_image(rainy).pixels).any()


def test_many_files_of_which_one_is_broken_and_two_share_a_name(page: Any, rainy: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    alpha = np.full((40, 50), 30_000, np.uint16)
    write_image(wide, Picture(np.full((40, 50, 3), 30_000, np.uint16), alpha=alpha, bits=16))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    again = tmp_path / "again" / rainy.name
    again.parent.mkdir()
    again.write_bytes(rainy.read_bytes())
    add(page, rainy, wide, broken, again)
    until(lambda: status(page).startswith("3 of 4 done · 1 could not"))
    page.get_by_role("button", name="broken.jpg, failed").click()
    assert page.locator("#trouble").text_content().startswith("broken.jpg: not an image that repix reads")
    assert page.locator("#download").is_disabled()
    assert page.get_by_role("button", name="Mein Bild (1).jpg (2), done").count() == 1
    with zipfile.ZipFile(download(page, "#download-all", tmp_path / "page")) as archive:
        stem = "Mein Bild (1)_derained"
        assert sorted(archive.namelist()) == [f"{stem}-2.jpg", f"{stem}.jpg", "wide_derained.png"]
        archive.extract("wide_derained.png", tmp_path / "page")
    kept = read_image(tmp_path / "page" / "wide_derained.png")
    assert kept.pixels.dtype == np.uint16
    np.testing.assert_array_equal(kept.alpha, alpha)
    shown = page.get_attribute("#stage img >> nth=0", "src")
    page.get_by_role("button", name="Next").click()
    until(lambda: page.get_attribute("#stage img >> nth=0", "src") != shown)
    assert page.locator("#download").is_enabled()


def test_what_is_out_of_date_cannot_be_downloaded(page: Any, rainy: Path, tmp_path: Path) -> None:
    add(page, rainy)
    done(page, 1)
    before = download(page, "#download", tmp_path / "1").read_bytes()
    page.locator("#model").select_option("darken")
    assert page.locator("#download").is_disabled()
    done(page, 1)
    after = read_image(download(page, "#download", tmp_path / "2"))
    assert np.abs(after.pixels - read_image(rainy).pixels * 0.4).mean() < 3  # JPEG
    assert before != (tmp_path / "2" / "Mein Bild (1)_derained.jpg").read_bytes()
    page.locator("#clear").click()
    assert not page.locator("#download").is_visible()
    assert page.locator("#welcome").is_visible()


def test_rain_is_always_put_over_the_original(page: Any, tmp_path: Path) -> None:
    clean = tmp_path / "clean.png"
    write_image(clean, np.full((120, 160, 3), 90, np.uint8))
    add(page, clean)
    done(page, 1)
    original = page.get_attribute("#stage .under", "src")
    page.get_by_text("No rain at hand?").click()
    spreads = []
    over: list[str] = []
    page.on("request", lambda sent: over.append(sent.post_data_json["file"]) if sent.url.endswith("ui/rain") else None)
    for button in ("#add-rain", "#other-rain"):
        shown = page.get_attribute("#stage .under", "src")
        page.click(button)
        until(lambda: page.get_attribute("#stage .under", "src") != shown)  # noqa: B023
        page.locator("#stage .over").wait_for()
        (tmp_path / "before.jpg").write_bytes(
            page.request.get(site_url(page) + page.get_attribute("#stage .under", "src")).body()
        )
        spreads.append(read_image(tmp_path / "before.jpg").pixels.std())
    assert spreads[0] != spreads[1], "other drops"
    assert min(spreads) > 0.5
    assert over[0] == over[1], "not more of them"
    page.click("#undo-rain")
    until(lambda: page.get_attribute("#stage .under", "src") == original)


def site_url(page: Any) -> str:
    url: str = page.url
    return url.partition("#")[0]


def test_what_cannot_be_used_is_said_where_it_is(page: Any, tmp_path: Path) -> None:
    vast, heavy = tmp_path / "vast.png", tmp_path / "heavy.png"
    write_image(vast, np.zeros((1500, 1500, 3), np.uint8))
    heavy.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(4_000_000))
    add(page, vast)
    page.locator(
        "#trouble", has_text="vast.png: 1500×1500 is 2.25 million pixels, more than the 2 million allowed"
    ).wait_for()
    page.click("#remove")
    add(page, heavy)
    page.locator("#trouble", has_text="heavy.png is 4 MB; at most 3 MB are taken").wait_for()
    assert status(page) == "This file cannot be derained."


def test_a_video_dropped_with_images_is_derained_with_its_sound(page: Any, rainy: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make_video(clip, frames=12)
    drop(page, rainy, clip)
    done(page, 2)
    page.get_by_role("button", name="clip.mp4, done").click()
    assert not page.locator("#strength-field").is_visible()
    for which in (".under", ".over"):
        until(lambda: page.locator(f"#stage video{which}").evaluate("(video) => video.videoWidth") == 64)  # noqa: B023
    made = download(page, "#download", tmp_path / "page")
    assert made.name == "clip_derained.mp4"
    assert sound_of(made) == sound_of(clip) != []
    page.get_by_role("button", name="Play").click()
    until(lambda: page.locator("#stage video.over").evaluate("(video) => video.currentTime") > 0)


def said_of(page: Any, done: Callable[[], Any]) -> list[str]:
    """Everything that the status says until something is done."""
    page.evaluate(
        """() => {
            const part = document.querySelector('#status');
            window.everSaid = [];
            new MutationObserver(() => everSaid.push(part.textContent)).observe(part, { childList: true });
        }"""
    )
    until(done)
    return list(page.evaluate("everSaid"))


def test_progress_is_told_by_tile_and_level(page: Any, tmp_path: Path) -> None:
    rainy = np.tile(read_image(EXAMPLE).pixels[:427, :640], (3, 4, 1))[:990, :2000]  # two tiles at full size
    write_image(tmp_path / "wide.jpg", np.ascontiguousarray(rainy))
    add(page, tmp_path / "wide.jpg")
    said = said_of(page, lambda: "Done in" in status(page))
    told = [text for text in said if "tile" in text]
    assert any(re.search(r"^at full size, tile 1 of 2\b", text) for text in told), said
    assert any(re.search(r"^\d+ % · at full size, tile 2 of 2 · about \d+ s left$", text) for text in told), said
    assert page.locator("#caption").text_content() == "wide.jpg · 2000 × 990 · repixnet"


def test_progress_of_a_video_is_told_by_its_frames(page: Any, tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", frames=60, size=(240, 320), sound=False)
    add(page, tmp_path / "clip.mp4")
    said = said_of(page, lambda: "Done in" in status(page))
    told = [re.fullmatch(r"(\d+) % · frame (\d+) of 60 · [\d.]+ frames/s · about \d+ s left", text) for text in said]
    shares = [(int(one[1]), int(one[2])) for one in told if one]
    assert shares, said
    assert all(abs(share - 100 * frame / 60) <= 1 for share, frame in shares)
    assert page.locator("#caption").text_content() == "clip.mp4 · repixnet-video"  # as on the command line
    page.locator("#model").select_option("repixnet")
    until(lambda: page.locator("#caption").text_content() == "clip.mp4 · repixnet")
    page.click("#cancel")


def test_cancel_stops_what_runs_and_keeps_what_is_finished(page: Any, site: Site, rainy: Path, tmp_path: Path) -> None:
    clip = tmp_path / "long.mp4"
    make_video(clip, frames=400, size=(240, 320), sound=False)
    add(page, rainy, clip)
    done(page, 1)
    until(lambda: "frames/s" in status(page))
    page.click("#cancel")
    until(lambda: status(page).startswith("Cancelled. 1 of 2 are done and stay."))  # never, were it run to its end
    assert not page.locator("#cancel").is_visible()
    assert download(page, "#download-all", tmp_path / "page").name == "Mein Bild (1)_derained.jpg"
    until(lambda: len(site.results("long.mp4")) == 1)  # the upload
    until(lambda: site.results("*.tmp") == site.results(".repix*") == [])
    page.click("#go-on")
    until(lambda: "frames/s" in status(page))
    page.click("#cancel")


def test_two_users_wait_for_each_other_and_see_their_own(page: Any, chromium: Any, site: Site, tmp_path: Path) -> None:
    clip = tmp_path / "long.mp4"
    make_video(clip, frames=400, size=(240, 320), sound=False)
    add(page, clip)
    until(lambda: "frames/s" in status(page))
    other = chromium.new_page()
    other.goto(site.url)
    other.locator("body[data-ready]").wait_for()
    other.click("#sample")
    until(lambda: status(other) == "waits for its turn; 1 before it")
    page.goto("about:blank")  # who leaves makes room
    other.locator("#stage .over").wait_for()
    until(lambda: site.results("long.mp4") == [])
    other.reload()
    assert other.locator("#welcome").is_visible()
    other.close()


def test_it_is_used_by_the_keyboard_alone(page: Any) -> None:
    page.get_by_role("tab", name="Derain").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Blend").get_attribute("aria-selected") == "true"
    page.keyboard.press("Home")
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert "Try a sample" in reached
    page.locator("#sample").focus()
    page.keyboard.press("Enter")
    page.locator("#stage .over").wait_for()
    page.locator("#download").focus()
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "rainy_derained.jpg"


def focused(page: Any) -> str:
    """The id, or for want of one the kind, of what the keyboard is at."""
    at: str = page.evaluate("document.activeElement.id || document.activeElement.tagName")
    return at


def test_the_keyboard_keeps_its_place_when_what_it_is_at_goes(page: Any, rainy: Path) -> None:
    page.locator("#sample").focus()
    page.keyboard.press("Enter")
    page.locator("#work").wait_for()
    until(lambda: focused(page) == "derain")  # the welcome is gone, and the tab is the smallest thing around it
    add(page, rainy)
    page.locator("#cancel").focus()
    done(page, 2)
    until(lambda: focused(page) == "progress")
    page.locator("#download").focus()
    with page.expect_download():
        page.keyboard.press("Enter")  # cannot be pressed while the file is made
    until(lambda: focused(page) == "download")
    page.locator("main").click(position={"x": 1, "y": 1})
    assert focused(page) in ("BODY", "derain")  # a click beside everything stays there
    page.get_by_role("tab", name="Translate").click()
    page.set_input_files("#translate-file", str(rainy))
    model(page, "#translate-model", "darken-photo")
    until(lambda: page.locator("#translate-go").is_enabled())
    page.locator("#translate-go").focus()
    page.keyboard.press("Enter")
    page.locator("#translate-stage .over").wait_for()
    until(lambda: focused(page) == "translate-go")


def test_names_of_files_are_said_as_they_are_and_a_folder_is_no_lost_server(page: Any, tmp_path: Path) -> None:
    names = ["a $& b {} $1.png", "{}.txt"]
    for name in names:
        (tmp_path / name).write_text("no image")
    add(page, *(tmp_path / name for name in names))
    until(lambda: status(page).endswith("2 could not be derained"))
    for number, name in enumerate(names, 1):
        page.click(f"#thumbs li:nth-child({number}) button")
        assert page.inner_text("#trouble").startswith(f"{name}: ")
        assert page.inner_text("#download") == "No result"
    assert sorted(page.inner_text("#said").count(name) for name in names) == [0, 1]
    page.click("#clear")
    assert page.evaluate(
        "async () => (await import('./static/parts.js')).t('{} is {} MB; at most {} MB are taken', 'a {} $&', 2, 1)"
    ) == ("a {} $& is 2 MB; at most 1 MB are taken")
    page.evaluate("File.prototype.slice = () => ({ arrayBuffer: () => Promise.reject(new Error('as of a folder')) })")
    add(page, tmp_path / names[0])
    page.locator("#trouble", has_text=f"{names[0]} cannot be opened: it is a folder").wait_for()


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
    choose(page, "blend-source", pair[0])
    page.get_by_text("Now choose a target image").wait_for()
    choose(page, "blend-target", pair[1])
    page.get_by_text("Click around a part of the source").wait_for()
    return page


def points(page: Any) -> Any:
    """The field in which a polygon can be typed, unfolded."""
    page.locator("#blend details").evaluate("(box) => { box.open = true; }")
    return page.locator(".rx-points")


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
    places = on(page, "#blend .rx-source", (300, 200), *corners, (250, 180))
    for place in (places[0], places[1], places[4]):
        page.mouse.click(*place)
    page.locator("#blend").get_by_role("button", name="Undo").click()  # the last was a mistake
    for place in places[2:4]:
        page.mouse.click(*place)
    got = np.array([point.split(",") for point in page.input_value(".rx-points").split()], float)
    np.testing.assert_allclose(got, corners, atol=1.5)
    assert said(page).startswith("4 corners: click the next one")  # it is not closed yet
    page.mouse.click(*places[0])  # the first corner again
    area = solved(page)
    assert area == pytest.approx(101 * 81, rel=0.05)
    assert values(page, "x", "y", "scale", "rotate") == [200, 120, 1, 0]

    start, end = on(page, "#blend .rx-target", (400, 240), (200, 120), (260, 90))
    page.mouse.move(*start)
    still = page.evaluate("document.querySelector('#blend .rx-target').toDataURL()")
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    assert page.evaluate("document.querySelector('#blend .rx-target').toDataURL()") != still  # the outline moves
    page.mouse.up()
    np.testing.assert_allclose(values(page, "x", "y"), (260, 90), atol=1.5)
    assert solved(page) == area

    made = download(page, "#blend-download", tmp_path / "page")
    assert made.name == "Ziel_blend.png"
    before, after = read_image(pair[1]).pixels, read_image(made).pixels
    rows, columns = np.nonzero((before != after).any(2))
    span = rows.min(), rows.max(), columns.min(), columns.max()
    np.testing.assert_allclose(span, (90 - 40, 90 + 40, 260 - 50, 260 + 50), atol=2.5)

    page.locator("#blend").get_by_role("button", name="Clear").click()
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
    for _ in range(2):
        page.reload()
        page.get_by_role("tab", name="Blend").click()
        choose(page, "blend-source", slow)
        choose(page, "blend-target", pair[1])
        page.get_by_text("Click around a part of the source").wait_for()
        points(page).fill("20,30 90,30 90,110 20,110")
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
    choose(page, "blend-source", slow)
    choose(page, "blend-source", pair[0])
    page.wait_for_timeout(3000)
    assert page.evaluate("document.querySelector('#blend .rx-source').style.aspectRatio") == "300 / 200"


def test_fifty_megapixels_and_races_lose_nothing(chromium: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    big = tmp_path / "big.jpg"
    tile = np.random.default_rng(2).integers(0, 256, (58, 87, 3), np.uint8)
    write_image(big, tile.repeat(100, axis=0).repeat(100, axis=1))  # 5800 x 8700
    corners = [(4000.0, 3000.0), (4099.0, 3000.0), (4099.0, 3079.0), (4000.0, 3079.0)]
    (tmp_path / "files").mkdir()
    with run(tmp_path / "files") as server:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/#blend")
        page.locator("body[data-ready]").wait_for()
        late: list[Any] = []
        page.route("**/ui/example/*", lambda route: late.append(route))  # answered when the test says so
        page.locator("#blend-example").select_option(index=1)
        page.wait_for_timeout(300)
        choose(page, "blend-source", pair[0])
        page.wait_for_timeout(300)
        choose(page, "blend-source", big)  # overtakes what was chosen before it, though it is slower
        page.wait_for_timeout(300)
        choose(page, "blend-target", pair[1])
        page.get_by_text("Click around a part of the source").wait_for()
        late[0].continue_()  # and the example, chosen first, comes last
        page.wait_for_timeout(300)
        points(page).fill(" ".join(f"{x:.0f},{y:.0f}" for x, y in corners))
        page.keyboard.press("Enter")
        for x in (90, 150, 210, 120):  # each question takes the place of the one before
            page.locator("#blend input[type=number][data-field=x]").fill(str(x))
            page.wait_for_timeout(300)
        assert solved(page) == 100 * 80
        made = download(page, "#blend-download", tmp_path / "made")
        page.close()
    source, target = (Picture(read_image(path).pixels) for path in (big, pair[1]))
    expected = paste(source, target, Placing(polygon=corners, x=120, y=120))
    np.testing.assert_array_equal(read_image(made).pixels, expected.pixels)


def test_the_download_is_what_is_shown(blend: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = blend
    points(page).fill("20,30 90,30 90,110 20,110")
    page.keyboard.press("Enter")
    solved(page)
    page.locator("#blend input[type=number][data-field=x]").fill("90")  # and no waiting for the answer
    made = download(page, "#blend-download", tmp_path / "made")
    source, target = (Picture(read_image(path).pixels) for path in pair)
    corners = [(20.0, 30.0), (90.0, 30.0), (90.0, 110.0), (20.0, 110.0)]
    expected = paste(source, target, Placing(polygon=corners, x=90, y=120))
    np.testing.assert_array_equal(read_image(made).pixels, expected.pixels)
    page.locator("#blend").get_by_role("button", name="Clear").click()
    assert page.locator("#blend-download").is_disabled()


def test_a_brush_and_an_eraser(blend: Any) -> None:
    page = blend
    page.locator("#blend [value=brush]").check()
    page.locator("#blend .rx-radius").fill("20")
    drag(page, *on(page, "#blend .rx-source", (300, 200), (60, 100), (150, 100), (240, 100)))
    painted = solved(page)
    radius = 20 / 400 * 300
    assert painted == pytest.approx(180 * 2 * radius + np.pi * radius**2, rel=0.08)
    page.locator("#blend [value=eraser]").check()
    drag(page, *on(page, "#blend .rx-source", (300, 200), (150, 60), (150, 140)))
    until(lambda: solved(page) < painted - 700)
    page.locator("#blend").get_by_role("button", name="Undo").click()
    until(lambda: solved(page) == painted)


def test_blending_by_the_keyboard_alone(blend: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = blend
    points(page).focus()
    page.keyboard.type("20,30 90,30 90,110 20,110")
    page.keyboard.press("Enter")
    solved(page)
    page.locator("#blend .rx-target").focus()
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
    page.locator("#blend .rx-source").focus()
    page.keyboard.press("Escape")
    assert page.input_value(".rx-points") == ""


def test_an_example_is_blended_at_once(page: Any) -> None:
    page.get_by_role("tab", name="Blend").click()
    page.locator("#blend-example").select_option(index=1)
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
    page.locator(part).wait_for()
    before = page.get_attribute(part, "src")
    act()
    until(lambda: page.get_attribute(part, "src") != before)


def model(page: Any, part: str, name: str) -> None:
    page.locator(part).select_option(name)


def test_a_facade_is_painted(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Translate").click()
    shown_after(page, "#paint-result", lambda: model(page, "#paint-model", "darken-photo"))

    def paint() -> None:
        page.locator("#paint [value=balcony]").check()
        drag(page, *on(page, "#paint canvas", (256, 256), (30, 200), (120, 230)))

    shown_after(page, "#paint-result", paint)
    labels = painted(page, tmp_path / "1")
    rows, columns = np.nonzero(labels == LABELS["balcony"])
    span = rows.min(), rows.max(), columns.min(), columns.max()
    np.testing.assert_allclose(span, (200, 230, 30, 120), atol=1)
    assert len(rows) == (span[1] - span[0] + 1) * (span[3] - span[2] + 1)
    assert (labels == LABELS["door"]).any()

    def brush() -> None:
        page.locator("#paint [value=line]").check()
        page.locator("#paint [value=shop]").check()
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

    page.locator("#paint details").evaluate("(box) => { box.open = true; }")

    def write(text: str) -> None:
        page.locator("#paint .rx-shapes").focus()
        page.keyboard.press("Control+a")
        page.keyboard.type(text)

    page.locator("#paint-result").wait_for()
    write("facade 10,20 200,255\nwindow 40,60 80,110")
    until(lambda: (painted(page, tmp_path) == LABELS["window"]).sum() == 41 * 51)
    labels = painted(page, tmp_path)
    assert labels[60, 40] == labels[110, 80] == LABELS["window"]
    assert labels[15, 15] == LABELS["background"]
    write("roof 1,2 3,4")
    page.get_by_text("“roof” is none of background").wait_for()


def test_a_photo_becomes_labels(page: Any, rainy: Path, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Translate").click()
    choose(page, "translate-file", rainy)
    model(page, "#translate-model", "darken-photo")
    page.get_by_text("This does not look like a label map").wait_for()
    model(page, "#translate-model", "darken-labels")
    page.get_by_text("To labels, times 0.4").wait_for()
    page.click("#translate-go")
    page.locator("#translate-stage .over").wait_for()
    made = download(page, "#translate-download", tmp_path / "page")
    assert made.name == f"{rainy.stem}_darken-labels.png"  # JPEG would mix the labels' colours
    np.testing.assert_allclose(read_image(made).pixels, 0.4 * read_image(rainy).pixels, atol=1)
    model(page, "#translate-model", "darken-photo")
    assert page.locator("#translate-download").is_disabled()


# ---- Compare, and the web UI as a whole -----------------------------------------------------------------------------


def test_models_are_compared_with_their_seconds(page: Any, rainy: Path, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Compare").click()
    choose(page, "compare-file", rainy)
    until(lambda: page.locator("#compare-go").is_enabled())
    models = [*(card.name for card in list_cards() if card.task is DERAIN), "darken"]
    for name in models:
        page.locator(f"#compare-models [value={name}]").click()
    page.get_by_text("Choose one model or more.").wait_for()
    assert page.locator("#compare-go").is_disabled()
    for name in models:
        page.locator(f"#compare-models [value={name}]").click()
    page.click("#compare-go")
    captions = until(lambda: page.locator("#compare-shown figcaption").all_text_contents())
    assert captions[0] == "as it was"
    assert [re.sub(r"[\d.]+ s$", "N s", caption) for caption in captions[1:]] == [f"{name} · N s" for name in models]
    sizes = "[...document.querySelectorAll('#compare-shown img')].map(image => image.naturalWidth)"
    until(lambda: page.evaluate(sizes) == [321] * (1 + len(models)))
    with zipfile.ZipFile(download(page, "#compare-download", tmp_path)) as archive:
        assert sorted(archive.namelist()) == sorted(f"Mein Bild (1)_{name}.jpg" for name in models)


SIZES = [(1440, 900, "light"), (1440, 900, "dark"), (390, 844, "light"), (320, 568, "dark")]


@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_every_tab_fits_its_window_and_has_no_fault_that_axe_finds(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="pip install -c constraints.txt axe-playwright-python")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (np.mean([int(value) for value in re.findall(r"\d+", ground)[:3]]) < 60) == dark
    faults: dict[str, list[list[str]]] = {}

    def check(what: str) -> None:
        page.evaluate(script)
        # the violations alone: all that axe has to say is long, and slow to hand over
        faults[what] = page.evaluate(
            """axe.run({resultTypes: ['violations']})
                .then(({violations}) => violations.map((one) => [one.id, one.nodes[0].html]))"""
        )
        beyond = page.evaluate(
            """() => [...document.querySelectorAll('button, input, select, canvas, label, p, img')]
                .filter((part) => part.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}))
                .filter((part) => !part.closest('.live') && part.getBoundingClientRect().right > innerWidth + 1)
                .map((part) => part.outerHTML.slice(0, 120))"""
        )
        assert beyond == [], what
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), what

    check("nothing yet")
    page.click("#sample")
    page.locator("#stage .over").wait_for()
    page.get_by_text("No rain at hand?").click()
    check("Derain")
    for name in ("Blend", "Translate", "Compare"):
        page.get_by_role("tab", name=name).click()
        if name == "Blend":
            page.locator("#blend-example").select_option(index=1)
            solved(page)
        page.wait_for_timeout(200)
        check(name)
    page.goto(site_url(page) + "docs")
    check("the API's documentation")
    assert {what: found for what, found in faults.items() if found} == {}


def test_what_is_chosen_is_seen_in_forced_colours(page: Any) -> None:
    page.emulate_media(forced_colors="active")
    for tab in ("blend", "translate", "compare"):
        page.click(f"#tab-{tab}")
        grounds = page.evaluate(
            """(tab) => [`#tab-${tab}`, '#tab-derain', '.choice :checked + span', '.choice :not(:checked) + span']
                .map((one) => document.querySelector(one.startsWith('#') ? one : `#${tab} ${one}`))
                .map((part) => part && getComputedStyle(part).backgroundColor)""",
            tab,
        )
        assert grounds[0] != grounds[1]
        assert grounds[0] == grounds[2]
        assert grounds[2] != grounds[3]


def test_what_counts_is_not_read_aloud(page: Any, tmp_path: Path) -> None:
    """A screen reader would read every percent; it reads what comes of it."""
    page.get_by_role("tab", name="Compare").click()
    page.evaluate(
        """() => {
            const status = document.querySelector('#compare-said');
            window.aloud = []; window.shown = [];
            new MutationObserver(() => {
                window.shown.push(status.textContent);
                if (status.getAttribute('aria-live') !== 'off') window.aloud.push(status.textContent);
            }).observe(status, { childList: true, subtree: true, characterData: true });
        }"""
    )
    large = tmp_path / "large.png"
    write_image(large, np.full((1000, 1000, 3), 90, np.uint8))
    choose(page, "compare-file", large)
    until(lambda: page.locator("#compare-go").is_enabled())
    page.click("#compare-go")
    page.get_by_text("Done.", exact=True).wait_for(timeout=150_000)
    assert any("%" in text for text in page.evaluate("shown"))
    aloud = page.evaluate("aloud")
    assert aloud[-1] == "Done."
    assert not any("%" in text for text in aloud)


def test_nothing_glides_where_motion_is_reduced(page: Any) -> None:
    glides = """async () => {
        const asked = [], part = document.createElement('p');
        part.scrollIntoView = ({ behavior }) => asked.push(behavior);
        Object.defineProperty(window, 'innerWidth', { value: 390, configurable: true });
        (await import('./static/parts.js')).bring(part);
        return asked;
    }"""
    assert page.evaluate(glides) == ["instant"]
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(glides) == ["smooth"]


def test_modes_say_what_they_do_to_who_hears_them(page: Any) -> None:
    page.get_by_role("tab", name="Blend").click()
    for name in ("import", "mixed", "monochrome", "average"):
        assert page.get_by_role("radio", name=name).get_attribute("title")


def test_a_browser_in_chinese_reads_chinese(chromium: Any, site: Site) -> None:
    context = chromium.browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(site.url)
    page.locator("body[data-ready]").wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.click("#sample")
    page.locator("#stage .over").wait_for()
    for tab in ("derain", "blend", "translate", "compare"):
        page.click(f"#tab-{tab}")
        left = page.locator(f"#{tab}").evaluate(
            """(part) => [...part.querySelectorAll('button, label > span, h2, summary, figcaption')]
                .filter((one) => one.checkVisibility() && !one.closest('#thumbs, .choice'))
                .map((one) => one.textContent.trim()).filter((text) => /[a-z]{4}/.test(text))"""
        )
        assert left == []
    context.close()


def test_back_goes_to_the_tab_before_and_no_work_is_left_unasked(page: Any, rainy: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    def shown() -> str:
        return str(page.get_by_role("tab", selected=True).text_content())

    page.on("dialog", stay)
    page.set_input_files("#derain-files", [str(rainy)])
    page.locator("#stage .over").wait_for()
    for name in ("Blend", "Compare"):
        page.get_by_role("tab", name=name).click()
    page.go_back()
    until(lambda: shown() == "Blend")
    page.go_back()
    until(lambda: shown() == "Derain")
    assert page.locator("#stage .over").is_visible()
    page.go_forward()
    until(lambda: shown() == "Blend")
    page.evaluate("location.reload()")
    until(lambda: asked == ["beforeunload"])
    page.get_by_role("tab", name="Derain").click()
    download(page, "#download", tmp_path / "made")
    page.remove_listener("dialog", stay)
    page.reload()  # which asks no more
    page.locator("#welcome").wait_for()
    assert asked == ["beforeunload"]
    page.on("dialog", stay)
    page.click("#sample")
    page.locator("#stage .over").wait_for()
    page.reload()  # nothing of the user's is lost
    page.locator("#welcome").wait_for()
    page.remove_listener("dialog", stay)
    assert asked == ["beforeunload"]


@pytest.mark.parametrize("tab", ["Blend", "Translate", "paint", "Compare"])
def test_no_tab_is_left_with_work_that_was_not_downloaded(
    page: Any, pair: tuple[Path, Path], tmp_path: Path, tab: str
) -> None:
    asked: list[str] = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_role("tab", name="Translate" if tab == "paint" else tab).click()
    if tab == "Blend":
        page.locator("#blend-example").select_option(index=1)
        solved(page)
        page.reload()  # an example is not the user's
        page.locator("body[data-ready]").wait_for()
        page.get_by_role("tab", name="Blend").click()
        for part, file in zip(("blend-source", "blend-target"), pair, strict=True):
            choose(page, part, file)
        page.get_by_text("Click around a part of the source").wait_for()
        points(page).fill("5,5 30,5 30,30")
        points(page).blur()
        solved(page)
    elif tab == "Translate":
        choose(page, "translate-file", pair[0])
        page.locator("#translate-go").click()
    elif tab == "paint":
        page.locator("#paint-labels:enabled").wait_for()
        page.reload()  # nor is the painting to begin with
        page.locator("body[data-ready]").wait_for()
        page.get_by_role("tab", name="Translate").click()
        drag(page, *on(page, "#paint canvas", (256, 256), (30, 200), (120, 230)))
    else:
        choose(page, "compare-file", pair[0])
        page.locator("#compare-go").click()
    assert asked == []
    button = {"paint": "#paint-labels"}.get(tab, f"#{tab.lower()}-download")
    page.locator(f"{button}:enabled").wait_for()
    page.evaluate("location.reload()")
    until(lambda: asked == ["beforeunload"])
    download(page, button, tmp_path / "made")
    page.reload()
    page.locator("body[data-ready]").wait_for()
    page.remove_listener("dialog", stay)
    assert asked == ["beforeunload"]
