"""What every tab needs: only offered weights, files that go away, errors as one line, names that stay."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import gradio as gr
import numpy as np
import pytest
from numpy.typing import NDArray

from repix.app.server import Options, Server, StoppedError, save_zip
from repix.app.ui import build_app, serve, theme
from repix.errors import InputError, WeightsError
from repix.io.image import Picture, read_image, write_image
from repix.tasks import DERAIN, TRANSLATE
from repix.weights import list_cards

T = TypeVar("T")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    folder = tmp_path / "files"
    folder.mkdir()
    return Server(Options(threads=1, keep_minutes=1), folder)


def in_a_loop(function: Callable[[], T]) -> T:
    """Call a function where an event loop runs: without one, gradio makes loops and forgets to close them."""

    async def call() -> T:
        return function()

    return asyncio.run(call())


def test_a_model_of_ones_own_is_offered_for_its_task_only(tmp_path: Path, make_weight: Callable[..., Path]) -> None:
    weights = (make_weight("mine"), make_weight("paint", task="translate"))
    server = Server(Options(models=tuple(map(str, weights))), tmp_path)
    for task, own in ((DERAIN, "mine"), (TRANSLATE, "paint")):
        assert server.models(task) == [*(card.name for card in list_cards() if card.task is task), own]
    assert server.restorer("mine", DERAIN) is server.restorer("mine", DERAIN)
    with pytest.raises(WeightsError, match="no model 'paint' to derain"):
        server.restorer("paint", DERAIN)


def test_a_path_that_a_client_sends_is_not_opened(server: Server, darkening_weight: Path) -> None:
    with pytest.raises(WeightsError, match="no model"):
        server.restorer(str(darkening_weight), DERAIN)


def test_what_is_old_is_deleted_and_what_is_new_stays(server: Server) -> None:
    old, new = server.new_folder(), server.new_folder()
    for folder in (old, new):
        (folder / "deep").mkdir()
        (folder / "deep" / "a.png").write_bytes(b"image")
    past = time.time() - 61
    for path in (old / "deep" / "a.png", old / "deep", old):
        os.utime(path, (past, past))
    server.sweep()
    assert not (old / "deep" / "a.png").exists()
    assert (new / "deep" / "a.png").exists()


def test_a_file_is_found_by_its_name_while_it_is_there(server: Server) -> None:
    path = server.new_folder() / "a.png"
    path.write_bytes(b"image")
    name = server.name(str(path))
    assert server.named(name) == str(path)
    for other in (str(path), "", name[:-1]):  # a path that a client sends is no name
        with pytest.raises(InputError, match="choose it again"):
            server.named(other)
    path.unlink()
    with pytest.raises(InputError, match="choose it again"):
        server.named(name)
    server.sweep()
    path.write_bytes(b"another image")
    with pytest.raises(InputError, match="choose it again"):
        server.named(name)


def test_sweeping_goes_on_while_the_web_ui_runs(tmp_path: Path) -> None:
    server = Server(Options(keep_minutes=0.002), tmp_path)
    (tmp_path / "upload.jpg").write_bytes(b"image")
    running = threading.Event()
    running.set()
    thread = threading.Thread(target=server.sweep_while, args=(running,))
    thread.start()
    end = time.monotonic() + 20
    while (tmp_path / "upload.jpg").exists() and time.monotonic() < end:
        time.sleep(0.05)
    running.clear()
    thread.join()
    assert not (tmp_path / "upload.jpg").exists()


def test_errors_are_one_line_without_the_servers_folder(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    path = server.new_folder() / "My photo.jpg"
    path.write_bytes(b"not an image")
    with pytest.raises(InputError) as error:
        server.read(path)
    assert str(server.folder) in str(error.value)
    assert server.one_line(error.value).startswith("My photo.jpg: not an image")
    assert "ValueError" in server.one_line(ValueError("secret /path"))
    assert "secret" not in server.one_line(ValueError("secret /path"))
    assert "secret" in caplog.text  # for whoever runs it

    @server.shown
    def handler() -> None:
        raise InputError("the mask is empty\nreally")

    with pytest.raises(gr.Error) as shown:
        handler()
    assert not shown.value.print_exception


def test_stopping_one_session_leaves_another_alone(server: Server) -> None:
    with server.cancellable("a") as check_a, server.cancellable("b") as check_b:
        server.stop("a")
        check_b()
        with pytest.raises(StoppedError, match="nothing was written"):
            check_a()
    with server.cancellable("a") as check:
        check()  # the next run of the same session is not cancelled


def test_previews_are_8_bit_keep_the_colour_profile_and_shrink(server: Server) -> None:
    wide = np.full((300, 500, 3), 40_000, np.uint16)
    image = Picture(wide, alpha=np.full((300, 500), 30_000, np.uint16), metadata={"exif-data": b"Exif\0\0"})
    preview = read_image(server.preview(image, largest=250))
    assert preview.pixels.shape == (150, 250, 3)
    assert preview.alpha is not None
    assert np.abs(preview.pixels.astype(int) - round(40_000 / 257)).max() <= 1
    whole = read_image(server.preview(Picture(wide)))
    assert (whole.format, whole.pixels.dtype, whole.pixels.shape) == ("jpeg", np.uint8, (300, 500, 3))


def test_two_files_of_one_name_are_both_in_the_archive(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").write_text(folder)
    made = save_zip([tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg"], tmp_path / "all.zip")
    with zipfile.ZipFile(made) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.jpg": b"x", "a-2.jpg": b"y"}


def test_the_look_asks_for_nothing_from_elsewhere() -> None:
    look = theme()
    assert look._stylesheets == []
    assert re.findall(r"url\(.{0,1}(?:https?:)?//|@import", look._get_theme_css()) == []


def test_the_web_ui_says_so_when_nothing_translates(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "cards", {"repixnet": server.cards["repixnet"]})
    texts = [
        block.value or ""
        for block in in_a_loop(lambda: build_app(server)).blocks.values()
        if isinstance(block, gr.Markdown)
    ]
    assert any("No weight that translates is installed" in text for text in texts)


def test_only_useful_endpoints_are_shown(make_weight: Callable[..., Path], tmp_path: Path) -> None:
    with_paint = Server(Options(models=(str(make_weight("paint", task="translate")),)), tmp_path)
    named = in_a_loop(lambda: build_app(with_paint)).get_api_info()["named_endpoints"]
    assert sorted(named) == ["/blend", "/compare", "/derain", "/rain", "/translate", "/video"]


def test_a_port_that_is_taken_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(*args: object, **kwargs: object) -> None:
        raise OSError("Cannot find empty port in range: 7860-7860")

    monkeypatch.setattr(gr.Blocks, "launch", launch)
    with pytest.raises(InputError, match=r"cannot listen on 127.0.0.1:7860 .*--port"):
        in_a_loop(lambda: serve(Options(), port=7860, browser=False))


def test_an_image_round_trips_through_the_folder(server: Server, photo: NDArray[np.uint8]) -> None:
    path = server.new_folder() / "a.png"
    write_image(path, photo)
    np.testing.assert_array_equal(server.read(path).pixels, photo)
    with pytest.raises(InputError, match="more than"):
        Server(Options(max_pixels=100), server.folder).read(path)
