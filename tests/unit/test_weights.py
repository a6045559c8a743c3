"""Cards: what is found, what is refused, and that no changed byte passes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from repix import weights
from repix.errors import WeightsError
from repix.weights import Figures, ModelCard, Tiling, find_card, list_cards, read_weights, save_card, verify


def make_weight(folder: Path, name: str = "mine") -> ModelCard:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(b"onnx bytes")
    (folder / "model.safetensors").write_bytes(b"safetensors bytes")
    card = ModelCard(
        name=name,
        task="derain",
        arch="repixnet",
        args={"channels": 16},
        tiling=Tiling(tile=256, overlap=32),
        multiple_of=8,
        metrics=[Figures(data="made up", pictures=2, values={"psnr_y": 30.5}, protocol="none")],
        licence="Apache-2.0",
    )
    return save_card(card, folder)


def test_saved_card_is_found_by_folder_and_by_file(tmp_path: Path) -> None:
    card = make_weight(tmp_path / "w")
    assert card.files["model.onnx"] == hashlib.sha256(b"onnx bytes").hexdigest()
    assert set(card.files) == {"model.onnx", "model.safetensors"}
    for place in (tmp_path / "w", str(tmp_path / "w"), tmp_path / "w" / "card.json"):
        assert find_card(place) == (card, tmp_path / "w")
    verify(card, tmp_path / "w")
    assert read_weights(card, tmp_path / "w", "model.onnx") == b"onnx bytes"
    assert sorted(os.listdir(tmp_path / "w")) == ["card.json", "model.onnx", "model.safetensors"]


@pytest.mark.parametrize("position", [0, 5, -1])
def test_one_changed_byte_is_refused(tmp_path: Path, position: int) -> None:
    card = make_weight(tmp_path)
    data = bytearray((tmp_path / "model.onnx").read_bytes())
    data[position] ^= 1
    (tmp_path / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(WeightsError, match=r"model\.onnx is damaged or was changed"):
        read_weights(card, tmp_path, "model.onnx")
    with pytest.raises(WeightsError, match="damaged"):
        verify(card, tmp_path)


def test_missing_file_and_unlisted_file(tmp_path: Path) -> None:
    card = make_weight(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        verify(card, tmp_path)
    with pytest.raises(WeightsError, match="has no other"):
        read_weights(card, tmp_path, "other.onnx")


def test_unknown_name_suggests_and_empty_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_weight(tmp_path / "repixnet", "repixnet")
    monkeypatch.setattr(weights, "_ASSETS", tmp_path)
    assert [card.name for card in list_cards()] == ["repixnet"]
    assert find_card("repixnet")[1] == tmp_path / "repixnet"
    with pytest.raises(WeightsError, match="did you mean 'repixnet'"):
        find_card("repixnett")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"has no card\.json"):
        find_card(tmp_path / "empty")


def test_shipped_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_weight(tmp_path / "assets" / "repixnet", "repixnet")
    make_weight(tmp_path / "here" / "repixnet", "other")
    monkeypatch.setattr(weights, "_ASSETS", tmp_path / "assets")
    monkeypatch.chdir(tmp_path / "here")
    assert find_card("repixnet")[0].name == "repixnet"
    assert find_card("./repixnet")[0].name == "other"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": 1}, "colour"),
        ({"multiple_of": 0}, "multiple_of"),
        ({"task": "paint"}, "task"),
        ({"files": {"../model.onnx": "0"}}, "plain file name"),
        ({"tiling": {"tile": 64, "overlap": 40}}, "more than half"),
    ],
)
def test_card_that_does_not_validate_names_the_field(tmp_path: Path, change: dict[str, object], said: str) -> None:
    make_weight(tmp_path)
    fields = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(fields | change))
    with pytest.raises(WeightsError, match=said):
        find_card(tmp_path)


def test_card_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes(b"\x00\x01")
    with pytest.raises(WeightsError, match="not a model card"):
        find_card(tmp_path)


def test_shipped_weights_are_whole() -> None:
    for card in list_cards():
        verify(*find_card(card.name))


def test_a_card_of_a_translation(tmp_path: Path) -> None:
    plain = make_weight(tmp_path)
    assert (plain.size, plain.direction, plain.palette) == (None, "AtoB", None)
    values = plain.model_dump(mode="json") | {"task": "translate", "size": 256, "direction": "BtoA"}
    values["palette"] = [["wall", [0, 48, 255]], ["void", [0, 0, 0]]]
    (tmp_path / "card.json").write_text(json.dumps(values))
    card, _ = find_card(tmp_path)
    assert card.palette == [("wall", (0, 48, 255)), ("void", (0, 0, 0))]
    for change in ({"size": 0}, {"direction": "both"}, {"palette": [["wall", [0, 48, 255]]]}):
        (tmp_path / "card.json").write_text(json.dumps(values | change))
        with pytest.raises(WeightsError, match=f"is not a model card: {next(iter(change))}"):
            find_card(tmp_path)
