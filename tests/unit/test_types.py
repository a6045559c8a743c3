"""Errors in one line, and optional dependencies by name."""

from __future__ import annotations

import pickle
import sys

import pytest

import repix.errors
from repix._types import one_line, require
from repix.errors import InputError, MissingExtraError, RepixError, counted


def test_an_error_becomes_one_line() -> None:
    assert one_line(ValueError("a\n\tb  c\n")) == "a b c"
    advice = "Weights only load failed. Re-running `torch.load` with `weights_only` set to `False` will likely succeed"
    assert one_line(ValueError(advice)) == "no file of weights that can be read as data"
    assert one_line(MemoryError()) == "MemoryError"
    assert one_line(ValueError("x" * 1000)) == "x" * 299 + "…"
    assert one_line(InputError("x" * 1000 + "\n")) == "x" * 1000


def test_a_count_has_the_word_that_goes_with_it() -> None:
    assert [counted(count, "frame") for count in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert [counted(count, "entry is", "entries are") for count in (1, 2)] == ["1 entry is", "2 entries are"]
    assert counted(12345, "byte", form=",") == "12,345 bytes"


def test_what_is_missing_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ray", None)  # type: ignore[arg-type]
    with pytest.raises(MissingExtraError, match=r"needs scikit-image, .* 'repix\[train\]'"):
        require("train", "skimage")
    with pytest.raises(MissingExtraError, match=r"needs ray, .* 'repix\[scale\]'"):
        require("scale")
    require("train", "numpy")


KINDS = [kind for kind in vars(repix.errors).values() if isinstance(kind, type) and issubclass(kind, RepixError)]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_come_whole_from_another_process(kind: type[RepixError]) -> None:
    error = kind("scale", "ray") if kind is MissingExtraError else kind("a sentence")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), vars(back)) == (str(error), vars(error))
