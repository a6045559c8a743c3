"""Files live as long as someone needs them, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repix.app.files import DiskFullError, GoneError, Store, open_folder, safe_name
from repix.app.queue import Job
from repix.errors import InputError

ME, YOU = "0" * 32, "1" * 32
JPEG, MP4 = b"\xff\xd8\xff\xe0" + bytes(20), b"\0\0\0\x18ftypisom" + bytes(20)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, max_bytes=1000, keep_seconds=60)


def put(store: Store, name: str) -> tuple[str, Path]:
    session = store.session(name)
    path = store.new_folder(session) / "a.png"
    path.write_bytes(b"image")
    return store.offer(session, path), path


def test_a_session_that_is_gone_takes_its_files_along(store: Store) -> None:
    (mine, kept), (yours, gone) = put(store, ME), put(store, YOU)
    store.sessions[YOU].seen -= 61
    store.sweep()
    assert store.find(mine) == kept
    assert not gone.parent.exists()
    with pytest.raises(GoneError, match="choose it again"):
        store.find(yours)


def test_a_session_with_a_job_and_one_that_asks_keep_theirs(store: Store) -> None:
    (busy, _), (asking, _) = put(store, ME), put(store, YOU)
    store.sessions[ME].jobs["a"] = Job(lambda job: None)
    for session in store.sessions.values():
        session.seen -= 3600
    store.find(asking)
    store.sweep()
    store.find(busy)
    store.sessions[ME].jobs["a"].state = "done"
    store.sessions[ME].seen -= 3600
    store.sweep()
    with pytest.raises(GoneError):
        store.find(busy)


def test_a_window_that_is_closed_leaves_nothing(store: Store) -> None:
    name, path = put(store, ME)
    store.sessions[ME].jobs["a"] = Job(lambda job: None)
    assert len(store.close(ME)) == 1
    assert not path.parent.exists()
    assert store.close(ME) == []
    with pytest.raises(GoneError):
        store.find(name)


def test_names_are_no_paths(store: Store) -> None:
    put(store, ME)
    for name in ("", "../a.png", str(store.folder), "a.png"):
        with pytest.raises(GoneError):
            store.find(name)
    for name in ("", "../../etc", "x" * 32, "0" * 31):
        with pytest.raises(InputError, match="reload"):
            store.session(name)


def test_the_whole_is_limited(store: Store) -> None:
    (store.new_folder(store.session(ME)) / "a").write_bytes(bytes(600))
    store.check_room(400)
    with pytest.raises(DiskFullError, match="no room for another file: 0 of 0 MB are in use"):
        store.check_room(401)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("photo.jpg", JPEG, "photo.jpg"),
        ("../../etc/passwd", JPEG, "passwd.jpg"),
        ("C:\\Users\\me\\Häuser (2).JPG", JPEG, "Häuser (2).JPG"),
        ("/.hidden.png", JPEG, "hidden.png"),
        ("", JPEG, "file.jpg"),
        ("...", MP4, "file.mp4"),
        ("holiday.jpg", MP4, "holiday.mp4"),
        ("no extension", MP4, "no extension.mp4"),
        ("a\n<b>|.png", JPEG, "a__b__.png"),
        ("x" * 400 + ".png", JPEG, "x" * 150 + ".png"),
        ("broken.jpg", b"not an image", "broken.jpg"),  # reading it will say what is wrong
    ],
)
def test_uploads_are_named_safely(name: str, head: bytes, expected: str) -> None:
    assert safe_name(name, head) == expected


@pytest.mark.parametrize("name", ["list.m3u8", "page.svg", "a.txt", ""])
def test_what_is_no_image_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="not an image or video that repix reads"):
        safe_name(name, b"#EXTM3U\nhttp://127.0.0.1/")


def test_what_a_killed_one_left_goes_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "import os, sys, tempfile; from repix.app.files import open_folder\n"
        "with open_folder() as folder:\n"
        "    (folder / 'photo.jpg').write_bytes(b'x'); print(folder, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        with open_folder() as mine:
            assert mine.is_dir()
            assert (folder / "photo.jpg").exists(), "it still runs"
        other.kill()
        other.wait()
    assert (folder / "photo.jpg").exists()
    with open_folder() as mine:
        assert mine.is_dir()
        assert not folder.parent.exists()
    assert list(tmp_path.glob("repix-app-*")) == []


def test_sweeping_goes_on_while_the_web_ui_runs(tmp_path: Path) -> None:
    import threading

    store = Store(tmp_path, max_bytes=1e9, keep_seconds=0.2)
    name, path = put(store, ME)
    running = threading.Event()
    running.set()
    thread = threading.Thread(target=store.sweep_while, args=(running,))
    thread.start()
    end = time.monotonic() + 60
    while path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    running.clear()
    thread.join()
    assert not path.exists()
    with pytest.raises(GoneError):
        store.find(name)
