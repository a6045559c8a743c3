"""Odd names, odd streams, odd files and signals: one clear line, nothing left, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from repix.palettes import FACADES

SRC = Path(__file__).parents[2] / "src"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX names, pipes and signals")


@pytest.fixture
def model(darkening_weight: Path) -> Path:
    return darkening_weight


def repix(*arguments: str | Path | bytes, **how: Any) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(SRC)} | how.pop("env", {})
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    command = [sys.executable, "-m", "repix", *arguments]
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        command, env=environment, timeout=120, check=False, **streams
    )
    return done


def photo(*names: str | bytes) -> None:
    for name in names:
        with open(name, "wb") as file:
            Image.new("RGB", (50, 40), "grey").save(file, "jpeg")


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == 1, done.stderr
    return done.stderr.decode()


# ---- names


@posix
def test_a_name_without_room_fails_alone(work: Path, model: Path) -> None:
    photo("x" * 250 + ".jpg", "ok.jpg")
    done = repix("derain", "-m", model, "x" * 250 + ".jpg", "ok.jpg")
    assert done.returncode == 1
    assert "255 are possible" in one_line(done)
    assert Path("ok_derained.jpg").exists()
    assert repix("derain", "-m", model, "x" * 250 + ".jpg", "-o", "out").returncode == 0


@posix
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii", "cp1252", "latin-1"])
def test_names_that_are_no_text(work: Path, model: Path, encoding: str) -> None:
    photo(b"caf\xe9.jpg", "ok.jpg")
    done = repix(
        "derain", "-m", model, b"caf\xe9.jpg", "-o", "out", env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(b"out") == [b"caf\xe9.jpg"]
    assert b"\\xe9" in done.stdout
    # another's byte is not blamed on a good file
    done = repix("derain", "-m", model, "ok.jpg", "nope.jpg", b"caf\xe9.jpg")
    assert one_line(done) == "repix: nope.jpg: no such file or folder\n"


@posix
def test_a_terminal_obeys_no_name(work: Path, model: Path) -> None:
    photo("a\x1b[31m\nb.jpg")
    done = repix("derain", "-m", model, "a\x1b[31m\nb.jpg")
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert done.stdout.count(b"\n") == 1
    done = repix("derain", "-m", model, "no\x1b[31m\nb.jpg")
    assert b"\x1b" not in done.stderr
    assert "no\\x1b[31m\\nb.jpg" in one_line(done)


def test_a_name_that_looks_like_an_option(work: Path, model: Path) -> None:
    photo("-dash.jpg")
    done = repix("derain", "-m", model, "-dash.jpg")
    assert done.returncode == 2
    assert b"./-dash.jpg" in done.stderr
    assert repix("derain", "-m", model, "--", "-dash.jpg").returncode == 0


@posix
@pytest.mark.parametrize(
    "command",
    [
        "inspect a.jpg --show rain",
        "blend a.jpg ok.jpg --mask ok.jpg -o new.png",
        "evaluate --lq a --gt ok",
        "rain ok -o a",
        "derain ok -o a",
    ],
)
def test_links_that_form_a_loop_are_one_line(work: Path, command: str) -> None:
    os.mkdir("ok")
    photo("ok.jpg", "ok/photo.jpg")
    for link, target in (("a", "b"), ("b", "a"), ("a.jpg", "a.jpg")):
        os.symlink(target, link)
    done = repix(*command.split())
    assert done.returncode in (1, 2)
    assert "unexpected" not in one_line(done)


@posix
def test_a_link_as_output_is_written_through(work: Path, model: Path) -> None:
    photo("a.jpg")
    os.mkdir("elsewhere")
    for target in ("elsewhere/new.jpg", "elsewhere/old.jpg"):
        os.symlink(target, Path(target).name)
    photo("elsewhere/old.jpg")
    assert repix("derain", "-m", model, "a.jpg", "-o", "new.jpg").returncode == 0
    assert repix("derain", "-m", model, "a.jpg", "-o", "old.jpg").returncode == 2
    assert repix("derain", "-m", model, "a.jpg", "-o", "old.jpg", "--overwrite").returncode == 0
    assert Path("new.jpg").is_symlink()
    assert Path("old.jpg").is_symlink()
    assert sorted(os.listdir("elsewhere")) == ["new.jpg", "old.jpg"]


# ---- streams


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_success_on_a_full_stream_is_success(work: Path, model: Path) -> None:
    photo("a.jpg")
    with open("/dev/full", "wb") as full:
        done = repix("derain", "-m", model, "a.jpg", stdout=full)
        assert done.returncode == 0
        assert "standard output cannot be written" in one_line(done)
        assert Path("a_derained.jpg").exists()
        assert repix("models", stdout=full).returncode == 0
        assert repix("derain", "-m", model, "nope.jpg", stderr=full).returncode == 1


@posix
def test_a_reader_that_has_gone_is_no_error(work: Path, model: Path) -> None:
    photo("a.jpg")
    for arguments in (("models",), ("derain", "-m", str(model), "a.jpg")):
        reading, writing = os.pipe()
        os.close(reading)
        done = repix(*arguments, stdout=writing)
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")


def test_an_image_through_both_streams(work: Path, model: Path) -> None:
    photo("a.jpg")
    data = Path("a.jpg").read_bytes()
    done = repix("derain", "-m", model, "-", input=data)
    assert done.returncode == 0
    assert done.stdout.startswith(b"\xff\xd8\xff")
    assert b"standard output" in done.stderr
    done = repix("derain", "-m", model, "-", "--format", "png", "-q", input=data)
    assert done.stdout.startswith(b"\x89PNG")
    assert done.stderr == b""
    assert repix("derain", "-m", model, "-", "-o", "b.jpg", input=data).returncode == 0
    done = repix("derain", "-m", model, "-", "-o", "d/c.png", "--compare", input=data)
    assert f"→ d{os.sep}c.png and d{os.sep}c_compare.png".encode() in done.stdout
    done = repix("derain", "-m", model, "-", "-o", "d", input=data)
    assert f"→ d{os.sep}standard-input.jpg".encode() in done.stdout
    assert repix("derain", "-m", model, "a.jpg", "-o", "-").stdout.startswith(b"\xff\xd8\xff")
    for bad, said in ((b"", "empty"), (b"hello", "nothing that repix reads")):
        done = repix("derain", "-m", model, "-", input=bad)
        assert done.returncode == 2
        assert said in one_line(done)
    done = repix("derain", "-m", model, "-", "--compare", input=data)
    assert (done.returncode, done.stdout) == (2, b"")
    assert one_line(done).startswith("repix: --compare writes a second file, and standard output takes one")


def test_a_stream_has_the_format_that_a_file_would_have(
    work: Path, model: Path, make_weight: Callable[..., Path]
) -> None:
    photo("a.jpg")
    labels = make_weight("labels", task="translate", palette=FACADES)
    done = repix("translate", "-m", labels, "-", input=Path("a.jpg").read_bytes())
    assert done.stdout.startswith(b"\x89PNG")  # JPEG would mix the labels' colours
    pillow_heif.from_pillow(Image.new("RGBA", (64, 64), (9, 9, 9, 99))).save("a.heic")
    done = repix("derain", "-m", model, "-", input=Path("a.heic").read_bytes())
    assert done.stdout.startswith(b"\x89PNG")


def test_messages_say_standard_input(work: Path, model: Path) -> None:
    """And not the name of the file that it is kept in."""
    photo("a.jpg")
    data = Path("a.jpg").read_bytes()
    done = repix("derain", "-m", model, "-", input=data[: len(data) // 2])
    assert (done.returncode, done.stdout) == (1, b"")
    assert one_line(done).startswith("repix: standard input: damaged")
    done = repix("derain", "-m", model, "-", "-v", input=data)
    assert b"standard input \xe2\x86\x92 standard output in " in done.stderr
    done = repix("derain", "-m", model, "-", "--dry-run", input=data)
    assert done.stdout == "standard input → standard output\n".encode()


def test_quiet_verbose_and_dry(work: Path, model: Path) -> None:
    os.mkdir("d")
    photo("d/a.jpg")
    done = repix("derain", "-m", model, "d", "--dry-run")
    said = [f"d{os.sep}a.jpg → d_derained{os.sep}a.jpg", "would write 1 file for 1 input"]
    assert done.stdout.decode().splitlines()[:2] == said
    assert not Path("d_derained").exists()
    done = repix("derain", "-m", model, "d", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = repix("derain", "-m", model, "d", "-v", "--overwrite")
    assert b"model darken" in done.stderr
    assert b" on cpu" in done.stderr
    assert b"a.jpg in 0." in done.stderr


# ---- files that are none


@posix
def test_pipes_sockets_devices_and_folders_do_not_hang(work: Path, model: Path) -> None:
    os.mkdir("d")
    os.mkfifo("d/pipe.jpg")
    photo("d/a.jpg")
    done = repix("derain", "-m", model, "d")
    assert done.returncode == 1
    assert "a pipe, not a regular file" in one_line(done)
    assert Path("d_derained/a.jpg").exists()
    for name, said in (("d/pipe.jpg", "a pipe"), ("/dev/null", "a device")):
        done = repix("derain", "-m", model, name, "-o", "o.jpg")
        assert done.returncode == 1
        assert said in done.stderr.decode()
    done = repix("blend", "d/pipe.jpg", "d/a.jpg", "--polygon", "1,1 9,1 9,9")
    assert done.returncode == 2


@posix
def test_sparse_files_are_refused_at_once(work: Path, model: Path) -> None:
    for name, size in (("four.jpg", 4 * 2**30), ("forty.png", 40 * 2**30)):
        with open(name, "wb") as file:
            file.write(b"\xff\xd8\xff\xe0")
            file.truncate(size)
        done = repix("derain", "-m", model, name)
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr


# ---- signals


SLOW = """
import os, signal, sys, threading, time
import repix.infer.restorer as restorer
real = restorer.restore_levels
def slow(*arguments, **named):
    # a native call that does not come back: a lock's acquire with a timeout returns to Python for signals, a join not
    print("working", file=sys.stderr, flush=True)
    import ctypes
    ctypes.CDLL(None).sleep(60) or ctypes.CDLL(None).sleep(60)
    return real(*arguments, **named)
restorer.restore_levels = slow
from repix.cli import main
main(sys.argv[1:])
"""


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_native_call_within_seconds(work: Path, model: Path, number: signal.Signals) -> None:
    photo("a.jpg")
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    command: Sequence[str] = [sys.executable, "-c", SLOW, "derain", "-m", str(model), "a.jpg"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        assert b"working" in running.stderr.readline()
        begun = time.perf_counter()
        running.send_signal(number)
        running.wait(60)
        assert time.perf_counter() - begun < 40  # of the two minutes that the call takes
    assert running.returncode in (128 + number, 130)
    assert os.listdir() == ["a.jpg"]


@posix
def test_what_a_killed_run_left_goes_with_the_next(work: Path, model: Path) -> None:
    from repix.io.files import _host

    photo("a.jpg")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    left = f".repix-{_host()}-{gone.pid}-0123456789ab.tmp"
    mine = f".repix-{_host()}-{os.getpid()}-0123456789ab.tmp"
    other = f".repix-ffffff-{gone.pid}-0123456789ab.tmp"
    for name in (left, mine, other):
        Path(name).write_bytes(b"half an image")
    assert repix("derain", "-m", model, "a.jpg").returncode == 0
    assert not Path(left).exists()
    assert Path(mine).exists()
    assert Path(other).exists()


def test_what_nobody_thought_of_is_one_line(work: Path, model: Path) -> None:
    photo("a.jpg")
    script = (
        "import sys, repix.infer.images as images\n"
        "def fail(*a, **k): raise ZeroDivisionError('1/0')\n"
        "images.plan = fail\n"
        "from repix.cli import main\n"
        "main(sys.argv[1:])"
    )
    for shown in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", script, "derain", "-m", str(model), "a.jpg"],
            env=os.environ | {"PYTHONPATH": str(SRC), "REPIX_TRACEBACK": shown},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1
        assert b"unexpected ZeroDivisionError" in done.stderr
        assert (b"Traceback" in done.stderr) == (shown == "1")
