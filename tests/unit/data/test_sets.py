"""Public sets by one word."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from repix.data.sets import SETS, find_set
from repix.errors import InputError


def images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (16, 12)).save(folder / f"{name}.png")


def test_sets_are_found_in_the_folder_of_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPIX_DATA", str(tmp_path))
    images(tmp_path / "Rain100L" / "norain", "norain-001", "norain-002")
    images(tmp_path / "Rain100L" / "rainy", "rain-001", "rain-002")
    images(tmp_path / "Rain100H" / "rainy", "rain-001")
    images(tmp_path / "mine" / "input", "a")
    images(tmp_path / "mine" / "target", "a")
    assert [pair.gt.name for pair in find_set("Rain100L")] == ["norain-001.png", "norain-002.png"]
    (heavy,) = find_set("Rain100H")
    assert (heavy.lq.parent.parent.name, heavy.gt.name) == ("Rain100H", "norain-001.png")
    assert len(find_set("mine")) == 1


def test_what_is_missing_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPIX_DATA", str(tmp_path))
    images(tmp_path / "Rain100H" / "rainy", "rain-001")
    for name, known in SETS.items():
        with pytest.raises(InputError) as caught:
            find_set(name)
        assert known.source in str(caught.value)
        assert str(tmp_path) in str(caught.value)
    with pytest.raises(InputError, match="as Rain100L/"):
        find_set("Rain100H")  # whose ground truth lies there
    with pytest.raises(InputError, match="'Rain10L'; did you mean 'Rain100L'"):
        find_set("Rain10L")
    monkeypatch.delenv("REPIX_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the variable REPIX_DATA"):
        find_set("Rain100L")
