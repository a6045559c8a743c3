"""The Derain tab's own work: the same files as the command line's, rain onto images, videos that can be cancelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from numpy.typing import NDArray

from repix.app.derain import RAIN, derain_image, derain_video, rain_on_image, show
from repix.app.server import Options, Server, StoppedError
from repix.errors import InputError
from repix.io.image import Picture, read_image, write_image
from videos import make_video, sound_of


@pytest.fixture
def server(tmp_path: Path, make_weight: Callable[..., Path]) -> Server:
    folder = tmp_path / "files"
    folder.mkdir()
    return Server(Options(models=(str(make_weight("darken")),), threads=1), folder)


def test_name_metadata_depth_and_transparency_stay(server: Server, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    wide = photo.astype(np.uint16) * 257
    rainy = Picture(wide, alpha=np.full(wide.shape[:2], 40_000, np.uint16), metadata={"xmp-data": b"<xmp/>"}, bits=16)
    path = tmp_path / "Häuser (2).png"
    write_image(path, rainy)
    made, notes = derain_image(server, str(path), "darken", 1.0, server.new_folder())
    result = read_image(made)
    assert (made.name, notes) == (path.name, [])
    assert result.metadata["xmp-data"] == b"<xmp/>"
    np.testing.assert_array_equal(result.alpha, rainy.alpha)
    np.testing.assert_allclose(result.pixels, wide * 0.4, atol=1)
    half, _ = derain_image(server, str(path), "darken", 0.5, server.new_folder())
    np.testing.assert_allclose(read_image(half).pixels, wide * 0.7, atol=1)


def test_rain_is_the_same_for_the_same_draw(server: Server, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "clean.png"
    write_image(path, photo)
    one, again, other = (
        read_image(rain_on_image(server, str(path), 0.7, seed, server.new_folder())).pixels for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert (one != photo).any()


def test_the_rain_taken_away_is_what_became_darker(server: Server, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    before, after = tmp_path / "before.png", tmp_path / "after.png"
    rainy = photo.copy()
    rainy[:, 40] = np.maximum(rainy[:, 40], 200)
    write_image(before, rainy)
    write_image(after, photo)
    row = {"name": "a", "before": str(before), "after": str(after)}
    layer = read_image(show(server, row, RAIN)[1]).pixels
    changed = rainy[:, 40].astype(int).sum() - photo[:, 40].astype(int).sum()
    assert changed > 0
    assert layer[:, 40].mean() > 40
    assert np.delete(layer, range(32, 48), axis=1).max() < 8  # JPEG spreads a line over its block
    write_image(before, replace(Picture(rainy.astype(np.uint16) * 257), bits=16))  # 16 bit became 8
    assert read_image(show(server, row, RAIN)[1]).pixels[:, 40].mean() > 40


def test_a_video_keeps_its_sound_and_can_be_cancelled(server: Server, tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    make_video(video, frames=10)
    steps: list[float] = []

    class Bar(gr.Progress):
        def __call__(self, fraction: float, desc: str = "") -> None:  # type: ignore[override]
            steps.append(fraction)
            if len(steps) == 13:  # in the second run
                server.stop("me")

    made, notes = derain_video(server, str(video), "darken", 1.0, False, Bar(), "me")
    assert (made.name, notes) == ("clip.mp4", [])
    assert sound_of(made) == sound_of(video) != []
    assert steps[-1] == pytest.approx(1)
    with pytest.raises(StoppedError):
        derain_video(server, str(video), "darken", 1.0, False, Bar(), "me")
    left = [path for path in server.folder.rglob("*") if path.is_file()]
    assert left == [made]
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="not a video"):
        derain_video(server, str(tmp_path / "a.png"), "darken", 1.0, False, Bar(), "me")
