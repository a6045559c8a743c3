"""What `restore` reports, in which order it works, and how much it holds at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

import repix
from fake_backend import FakeBackend
from repix._types import Floats
from repix.errors import BackendError, InputError
from repix.infer import images as batch
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions, Result
from repix.infer.restorer import Restorer
from repix.io.formats import names
from repix.io.image import Picture, read_image, write_image


class Negative(FakeBackend):
    """A backend that turns light into dark, and fails on images whose first value is 13."""

    def apply(self, x: Floats) -> Floats:
        if round(float(x[0, 0, 0, 0]) * 255) == 13:
            raise BackendError("out of memory")
        return 1 - x


@pytest.fixture
def restorer() -> Restorer:
    return Restorer(Negative())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(5):
        write_image(tmp_path / "in" / f"{k}.png", Picture(np.full((9, 7, 3), 10 + k, np.uint8)))
    return tmp_path / "in"


def test_the_python_entry_is_at_the_top() -> None:
    assert repix.restore is restore
    assert repix.BatchOptions is BatchOptions
    assert repix.BatchOptions(video=repix.VideoOptions(deflicker=True)).video.deflicker


def test_summary_and_results_as_they_come(restorer: Restorer, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_bytes(b"bad")
    write_image(tmp_path / "out" / "1.png", Picture(np.zeros((2, 2, 3), np.uint8)))
    came: list[Result] = []
    summary = restore(folder, tmp_path / "out", options=BatchOptions(model=restorer), on_result=came.append)
    assert [r.src.name for r in summary.done] == ["0.png", "2.png", "4.png"]
    assert [r.src.name for r in summary.skipped] == ["1.png"]
    assert sorted(r.src.name for r in summary.failed) == ["3.png", "bad.png"]
    assert len(came) == 6
    assert {r.message for r in summary.failed} == {
        f"{folder / '3.png'}: out of memory",
        f"{folder / 'bad.png'}: not an image that repix reads ({names('image')})",
    }
    for result in summary.done:
        (written,) = result.written
        assert (read_image(written).pixels == 255 - read_image(result.src).pixels).all()
    assert read_image(tmp_path / "out" / "1.png").pixels.shape == (2, 2, 3)


def test_missing_comparison_is_written_beside_an_old_result(restorer: Restorer, folder: Path, tmp_path: Path) -> None:
    restore(folder / "0.png", tmp_path / "out", options=BatchOptions(model=restorer))
    old = os.stat(tmp_path / "out" / "0.png").st_mtime_ns
    summary = restore(folder / "0.png", tmp_path / "out", options=BatchOptions(model=restorer, compare=True))
    assert summary.done[0].written == (tmp_path / "out" / "0_compare.png",)
    assert os.stat(tmp_path / "out" / "0.png").st_mtime_ns == old


def test_alpha_grey_and_notes_pass_through(restorer: Restorer, tmp_path: Path) -> None:
    alpha = np.arange(63, dtype=np.uint8).reshape(9, 7)
    write_image(tmp_path / "a.png", Picture(np.full((9, 7, 3), 90, np.uint8), alpha, grey=True))
    summary = restore(tmp_path / "a.png", options=BatchOptions(model=restorer, compare=True))
    assert [path.name for path in summary.done[0].written] == ["a_derained.png", "a_compare.png"]
    result = read_image(tmp_path / "a_derained.png")
    assert result.grey
    assert result.alpha is not None
    np.testing.assert_array_equal(result.alpha, alpha)
    both = read_image(tmp_path / "a_compare.png")
    assert both.alpha is not None
    assert both.alpha.shape == (9, 14)
    write_image(tmp_path / "wide.png", Picture(np.full((9, 7, 3), 900, np.uint16), bits=16))
    summary = restore(tmp_path / "wide.png", tmp_path / "wide.jpg", options=BatchOptions(model=restorer))
    assert summary.done[0].notes == ("16 bit reduced to 8, JPEG holds no more",)


def test_an_unexpected_error_is_a_line_too(
    restorer: Restorer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_image

    def broken(path: Path, image: Picture) -> tuple[str, ...]:
        if path.name == "2.png":
            raise ZeroDivisionError("a bug\nof ours")
        return real(path, image)

    monkeypatch.setattr(batch, "write_image", broken)
    summary = restore(folder, tmp_path / "out", options=BatchOptions(model=restorer))
    assert [r.src.name for r in summary.done] == ["0.png", "1.png", "4.png"]
    assert f"{folder / '2.png'}: unexpected ZeroDivisionError: a bug of ours" in {r.message for r in summary.failed}


def test_few_images_are_held_at_once(restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(12):
        write_image(tmp_path / "in" / f"{k:02}.png", Picture(np.full((9, 7, 3), 50, np.uint8)))
    held, most, lock = 0, 0, threading.Lock()
    real_read, real_write = read_image, write_image

    def read(path: Path, *, max_pixels: int) -> Picture:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return real_read(path, max_pixels=max_pixels)

    def write(path: Path, image: Picture) -> tuple[str, ...]:
        nonlocal held
        threading.Event().wait(0.02)  # a slow disk
        notes = real_write(path, image)
        with lock:
            held -= 1
        return notes

    monkeypatch.setattr(batch, "read_image", read)
    monkeypatch.setattr(batch, "write_image", write)
    monkeypatch.setattr(batch, "_BYTES_WAITING", 0)  # as if every image were large
    assert len(restore(tmp_path / "in", tmp_path / "out", options=BatchOptions(model=restorer)).done) == 12
    assert most <= 2  # the one at work and the next


def test_strength_is_checked_before_any_work(restorer: Restorer, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        restore(folder, tmp_path / "out", options=BatchOptions(model=restorer, strength=2))
    assert not (tmp_path / "out").exists()


def test_strength_auto_is_told(
    restorer: Restorer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = restore(folder, tmp_path / "sure", options=BatchOptions(model=restorer, strength="auto"))
    assert not any("strength" in note for result in sure.done for note in result.notes)
    monkeypatch.setattr(restorer, "find_strength", lambda image: 0.42)
    unsure = restore(folder, tmp_path / "unsure", options=BatchOptions(model=restorer, strength="auto"))
    assert all("strength 0.4: what the network found may not be rain" in result.notes for result in unsure.done)
    (tmp_path / "a.mp4").write_bytes(b"")
    (video,) = restore(
        tmp_path / "a.mp4", tmp_path / "b.mp4", options=BatchOptions(model=restorer, strength="auto")
    ).failed
    assert video.message.endswith("a.mp4: strength auto is for images; give videos a number")


def test_the_bar_is_silent_without_a_terminal(
    restorer: Restorer, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    restore(folder, tmp_path / "out", options=BatchOptions(model=restorer), progress=True)
    assert capfd.readouterr() == ("", "")
