"""Files are written whole or not at all, and only regular ones are read or replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repix.errors import InputError
from repix.io.files import atomic, check_outputs, check_writable, read_head, remove_temporaries


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_atomic_replaces_at_the_end(work: Path) -> None:
    Path("a").write_text("old")
    with atomic(Path("a")) as temporary:
        temporary.write_text("new")
        assert Path("a").read_text() == "old"
        assert temporary.parent == Path()
    assert Path("a").read_text() == "new"
    assert os.listdir(work) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_leaves_the_old_file_on_any_error(work: Path, error: type[BaseException]) -> None:
    Path("a").write_text("old")

    def fail() -> None:
        with atomic(Path("a")) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert Path("a").read_text() == "old"
    assert os.listdir(work) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_results_have_ordinary_rights(work: Path) -> None:
    old = os.umask(0o022)
    try:
        with atomic(Path("sub") / "a") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(old)
    assert Path("sub/a").stat().st_mode & 0o777 == 0o644


def test_atomic_says_what_is_wrong_in_one_line(work: Path) -> None:
    Path("file").write_text("x")
    Path("folder").mkdir()
    for name, said in (("file/a", "cannot be written"), ("folder", "a folder is there")):
        with pytest.raises(InputError, match=said), atomic(Path(name)) as temporary:
            temporary.write_text("x")
    assert sorted(os.listdir(work)) == ["file", "folder"]


@pytest.mark.skipif(os.name == "nt", reason="named pipes have no file names there")
def test_pipes_are_neither_read_nor_replaced(work: Path) -> None:
    os.mkfifo("pipe")
    with pytest.raises(InputError, match="pipe: cannot be read: a pipe, not a regular file"):
        read_head(Path("pipe"), 10)
    with pytest.raises(InputError, match="a pipe is there"), atomic(Path("pipe")) as temporary:
        temporary.write_text("x")
    assert os.listdir(work) == ["pipe"]
    assert not Path("pipe").is_file()


def test_what_is_no_file_has_one_clear_line(work: Path) -> None:
    Path("empty").touch()
    Path("folder").mkdir()
    for name, said in (("empty", "empty"), ("folder", "a folder"), ("missing", "No such file")):
        with pytest.raises(InputError, match=f"{name}: .*{said}"):
            read_head(Path(name), 10)


def test_temporaries_of_a_killed_process_are_found_by_their_mark(work: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from repix.io.files import atomic, mark_temporaries
mark_temporaries("abcd")
with atomic(Path("a")) as temporary:
    temporary.write_text("half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    Path(".repix-other.tmp").touch()
    assert len(os.listdir(work)) == 2
    remove_temporaries([work], "abcd")
    assert os.listdir(work) == [".repix-other.tmp"]


def test_two_results_of_one_name_are_refused(work: Path) -> None:
    with pytest.raises(InputError, match=r"table\.csv is to be written twice"):
        check_outputs([work / "table.csv", None, work / "sub" / ".." / "table.csv"], [None])
    check_outputs([work / "table.csv", None, None, work / "table.json"], [])


def test_a_place_that_cannot_be_written_is_told_before_the_work(work: Path) -> None:
    Path("file").write_text("x")
    check_writable([Path("new") / "deep"])
    assert os.listdir(work) == ["file"]
    with pytest.raises(InputError, match="is a file, not a folder"):
        check_writable([Path("file") / "deep"])
