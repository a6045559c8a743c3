"""What every part needs: only offered models, errors as one line, previews, names that stay."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.responses import FileResponse

from repix.app.derain import Derained, rain_on_image, save_mixed
from repix.app.files import is_full
from repix.app.guard import Guard
from repix.app.queue import StoppedError
from repix.app.server import Options, Server, save_preview, save_zip
from repix.app.ui import build_app
from repix.errors import InputError, WeightsError
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions
from repix.io.image import Picture, read_image, write_image
from repix.tasks import DERAIN, TRANSLATE
from repix.weights import list_cards


@pytest.fixture
def server(tmp_path: Path, make_weight: Callable[..., Path]) -> Server:
    folder = tmp_path / "files"
    folder.mkdir()
    return Server(Options(models=(str(make_weight("darken")),), threads=1), folder)


def test_a_model_of_ones_own_is_offered_for_its_task_only(tmp_path: Path, make_weight: Callable[..., Path]) -> None:
    weights = (make_weight("mine"), make_weight("paint", task="translate"))
    server = Server(Options(models=tuple(map(str, weights))), tmp_path)
    for task, own in ((DERAIN, "mine"), (TRANSLATE, "paint")):
        assert server.models(task) == [*(card.name for card in list_cards() if card.task is task), own]
    assert server.restorer("mine", DERAIN) is server.restorer("mine", DERAIN)
    with pytest.raises(WeightsError, match="no model 'paint' to derain"):
        server.restorer("paint", DERAIN)


def test_a_path_that_a_client_sends_is_not_opened(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no model"):
        server.restorer(str(tmp_path / "weights" / "darken"), DERAIN)


def test_a_check_ends_the_network(server: Server, photo: NDArray[np.uint8]) -> None:
    def stop() -> None:
        raise StoppedError("cancelled")

    plain = server.restorer("darken", DERAIN)(photo)
    np.testing.assert_allclose(plain, photo * 0.4, atol=1)
    with pytest.raises(StoppedError):
        server.restorer("darken", DERAIN, check=stop)(photo)
    np.testing.assert_array_equal(server.restorer("darken", DERAIN, check=lambda: None)(photo), plain)


def test_errors_are_one_line_without_the_servers_folder(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    path = server.store.new_folder() / "My photo.jpg"
    path.write_bytes(b"not an image")
    with pytest.raises(InputError) as error:
        server.read(path)
    assert str(server.store.folder) in str(error.value)
    assert server.one_line(error.value).startswith("My photo.jpg: not an image")
    assert server.one_line(InputError("the mask\nis empty")) == "the mask is empty"
    assert "ValueError" in server.one_line(ValueError("secret /path"))
    assert "secret" not in server.one_line(ValueError("secret /path"))
    assert "secret" in caplog.text  # for whoever runs it
    full = OSError(errno.ENOSPC, "No space left on device", "/secret")
    assert server.one_line(full) == "the disk is full"
    assert is_full(full)
    wrapped = InputError("a.png: cannot be written: No space left on device")
    wrapped.__cause__ = full
    assert is_full(wrapped)
    assert not is_full(InputError("a.png: cannot be written"))


@pytest.mark.parametrize("late", [False, True], ids=["before the answer", "in the middle of it"])
def test_an_unforeseen_error_is_logged_once(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("unforeseen")

    if not late:
        monkeypatch.setattr(FileResponse, "__init__", fail)
    guarded = Guard(build_app(server), host="127.0.0.1", names=(), max_bytes=100)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if not sent:
            return {"type": "http.request", "body": b"", "more_body": False}
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)
        if late and message["type"] == "http.response.body":
            fail()

    headers = [(b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    anyio.run(guarded, scope, receive, send)
    assert sent[0]["status"] == (200 if late else 500)
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_the_error_of_a_job_is_logged_once_however_often_it_is_asked_for(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    error = ValueError("unforeseen")
    assert server.one_line(error) == server.one_line(error)
    assert len(caplog.records) == 1


def test_previews_are_8_bit_keep_the_colour_profile_and_shrink(server: Server) -> None:
    wide = np.full((300, 500, 3), 40_000, np.uint16)
    image = Picture(wide, alpha=np.full((300, 500), 30_000, np.uint16), metadata={"exif-data": b"Exif\0\0"})
    preview = read_image(save_preview(image, server.store.new_folder(), max_side=250))
    assert preview.pixels.shape == (150, 250, 3)
    assert preview.alpha is not None
    assert np.abs(preview.pixels.astype(int) - round(40_000 / 257)).max() <= 1
    whole = read_image(save_preview(Picture(wide), server.store.new_folder(), max_side=500))
    assert (whole.format, whole.pixels.dtype.type, whole.pixels.shape) == ("jpeg", np.uint8, (300, 500, 3))


def test_an_image_longer_than_any_preview_may_be_is_shown(server: Server) -> None:
    long = Picture(np.zeros((70_000, 2, 3), np.uint8), alpha=np.full((70_000, 2), 9, np.uint8))
    preview = read_image(save_preview(long, server.store.new_folder(), max_side=2560))
    assert max(preview.pixels.shape) <= 2560


def test_two_files_of_one_name_are_both_in_the_archive(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").write_text(folder)
    made = save_zip([tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg"], tmp_path / "all.zip")
    with zipfile.ZipFile(made) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.jpg": b"x", "a-2.jpg": b"y"}


def test_rain_is_the_same_for_the_same_draw(server: Server, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "clean.png"
    write_image(path, photo)
    one, again, other = (
        read_image(rain_on_image(server, path, 0.7, seed, server.store.new_folder())).pixels for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert (one != photo).any()


@pytest.mark.parametrize("wide", [False, True], ids=["8 bit", "16 bit"])
def test_strength_without_a_run_is_what_the_command_line_makes(
    server: Server, photo: NDArray[np.uint8], tmp_path: Path, *, wide: bool
) -> None:
    pixels = photo.astype(np.uint16) * 257 if wide else photo
    src = tmp_path / "rainy.png"
    alpha = np.full(photo.shape[:2], 200, pixels.dtype)
    write_image(src, Picture(pixels, alpha=alpha, metadata={"xmp-data": b"<xmp/>"}, bits=16 if wide else 8))
    restorer = server.restorer("darken", DERAIN)
    raw, full = tmp_path / "raw.npy", restorer(pixels)
    np.save(raw, full)
    dst = tmp_path / "rainy_derained.png"
    write_image(dst, read_image(src).with_pixels(full))
    made = Derained(src, dst, raw, (), False)
    assert save_mixed(made, tmp_path, strength=1, format=None, compare=False) == dst
    for strength in (0.0, 0.3, 0.5):
        folder = server.store.new_folder()
        ours = read_image(save_mixed(made, folder, strength=strength, format=None, compare=False))
        restore(src, tmp_path / f"cli-{strength}.png", options=BatchOptions(model=restorer, strength=strength))
        expected = read_image(tmp_path / f"cli-{strength}.png")
        assert ours.pixels.dtype == expected.pixels.dtype
        assert np.abs(ours.pixels.astype(int) - expected.pixels).max() <= 1
        assert ours.metadata == expected.metadata
        np.testing.assert_array_equal(ours.alpha, expected.alpha)
    beside = save_mixed(made, server.store.new_folder(), strength=1, format="tiff", compare=True)
    assert beside.name == "rainy_compare.tiff"
    np.testing.assert_array_equal(read_image(beside).pixels, np.concatenate([pixels, full], axis=1))
    with pytest.raises(InputError, match="cannot write 'gif'"):
        save_mixed(made, tmp_path, strength=1, format="gif", compare=False)
