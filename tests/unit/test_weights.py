"""Cards: what is found, what is refused, and that no changed byte passes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from repix import weights
from repix.errors import WeightsError
from repix.infer.restorer import Restorer
from repix.weights import Form, Measured, ModelCard, Tiling, find_card, list_cards, read_weights, save_card, verify

FIRST_CARDS = Path(__file__).parents[1] / "golden" / "cards_0.1"


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
        metrics=[Measured(data="made up", images=2, values={"psnr_y": 30.5}, protocol="none")],
        licence="Apache-2.0",
    )
    return save_card(card, folder, forms={"onnx-fp32": "model.onnx", "safetensors-fp32": "model.safetensors"})


def test_saved_card_is_found_by_folder_and_by_file(tmp_path: Path) -> None:
    card = make_weight(tmp_path / "w")
    assert card.forms["onnx-fp32"] == Form(file="model.onnx", sha256=hashlib.sha256(b"onnx bytes").hexdigest())
    assert set(card.forms) == {"onnx-fp32", "safetensors-fp32"}
    for place in (tmp_path / "w", str(tmp_path / "w"), tmp_path / "w" / "card.json"):
        assert find_card(place) == (card, tmp_path / "w")
    verify(card, tmp_path / "w")
    assert read_weights(card, tmp_path / "w", "onnx-fp32") == b"onnx bytes"
    assert sorted(os.listdir(tmp_path / "w")) == ["card.json", "model.onnx", "model.safetensors"]


@pytest.mark.parametrize("position", [0, 5, -1])
def test_one_changed_byte_is_refused(tmp_path: Path, position: int) -> None:
    card = make_weight(tmp_path)
    data = bytearray((tmp_path / "model.onnx").read_bytes())
    data[position] ^= 1
    (tmp_path / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(WeightsError, match=r"model\.onnx is damaged or was changed"):
        read_weights(card, tmp_path, "onnx-fp32")
    with pytest.raises(WeightsError, match="damaged"):
        verify(card, tmp_path)


def test_missing_file_and_unlisted_file(tmp_path: Path) -> None:
    card = make_weight(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        verify(card, tmp_path)
    with pytest.raises(WeightsError, match=r"is not stored as onnx-int8 \(its card lists: onnx-fp32, safet"):
        read_weights(card, tmp_path, "onnx-int8")
    with pytest.raises(WeightsError, match=r"model\.onnix cannot be read"):
        save_card(card, tmp_path, forms={"onnx-fp32": "model.onnix"})


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
    make_weight(tmp_path, "here")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="the name of a file or folder is empty"):
        find_card("")
    assert find_card(".")[0].name == "here"


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
        ({"multiple_of": 100_000}, "multiple_of"),
        ({"size": 100_000}, "size"),
        ({"scales": [4, 2]}, r"scales: got 4 to 2, expected a range within 1 to 64"),
        ({"palette": [["a", [0, 0, 300]], ["b", [0, 0, 0]]]}, "palette"),
        ({"name": "a\0b"}, "name"),
        ({"metrics": [{"data": "a", "images": 1, "values": {"psnr_y": float("nan")}, "protocol": ""}]}, "metrics"),
        ({"forms": {"onnx-fp32": {"file": "../model.onnx", "sha256": "0" * 64}}}, "plain file name"),
        ({"forms": {"onnx-fp32": {"file": "model\0.onnx", "sha256": "0" * 64}}}, "plain file name"),
        ({"forms": {"onnx-fp32": {"file": "model.onnx", "sha256": "0"}}}, "sha256"),
        ({"forms": {"onnx-fp23": {"file": "model.onnx", "sha256": "0" * 64}}}, "did you mean 'onnx-fp32'"),
        ({"tiling": {"tile": 64, "overlap": 40}}, "more than half"),
        ({"state": [{"name": "h", "channels": 4, "stride": 3}]}, "state.h: stride 3 does not divide multiple_of 8"),
        ({"state": [{"name": "h", "channels": 4}] * 2}, "have the same name"),
        ({"format": 3}, "format 3, this repix knows up to 2; install a newer repix"),
        ({"format": "two"}, "format"),
    ],
)
def test_card_that_does_not_validate_names_the_field(tmp_path: Path, change: dict[str, object], said: str) -> None:
    make_weight(tmp_path)
    fields = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(fields | change))
    with pytest.raises(WeightsError, match=said):
        find_card(tmp_path)


@pytest.mark.parametrize(
    "content", [b"\x00\x01", b"[1]", b"\xff", b"[" * 100_000, b"{}", b'{"files": 3, "metrics": [3]}']
)
def test_card_that_is_not_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(WeightsError, match="not a model card"):
        find_card(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ""])
def test_names_that_no_path_can_have(name: str) -> None:
    with pytest.raises(WeightsError, match=r"no model|is not a model"):
        find_card(name)


@pytest.mark.parametrize("path", sorted(FIRST_CARDS.glob("*.json")), ids=lambda path: path.stem)
def test_cards_of_0_1_load(tmp_path: Path, path: Path) -> None:
    """The four cards that repix 0.1 shipped."""
    first = json.loads(path.read_text())
    (tmp_path / "card.json").write_text(json.dumps(first))
    card, _ = find_card(tmp_path)
    precision = ("int8", "fp16") if first.get("int8") else ("fp32", "fp32")
    assert {name: form.model_dump() for name, form in card.forms.items()} == {
        f"{kind}-{one}": {"file": f"model.{kind}", "sha256": first["files"][f"model.{kind}"]}
        for kind, one in zip(("onnx", "safetensors"), precision, strict=True)
    }
    assert [row.images for row in card.metrics] == [row["pictures"] for row in first["metrics"]]
    same = first.keys() - {"files", "int8", "metrics"}
    assert {key: value for key, value in card.model_dump(mode="json").items() if key in same} == {
        key: first[key] for key in same
    }
    # and the file that is shipped today says the same of the same bytes; repixnet's weights are newer
    if path.stem in {card.name for card in list_cards()} - {"repixnet"}:
        shipped, _ = find_card(path.stem)
        other = {"metrics", "limits", "forms", "scales", "description", "tiling"}
        assert shipped.model_dump(exclude=other) == card.model_dump(exclude=other)


def test_a_name_of_0_1_for_the_same_network(caplog: pytest.LogCaptureFixture) -> None:
    card, folder = find_card("repixnet-large")
    assert card == find_card("repixnet")[0]
    verify(card, folder)
    assert [record.getMessage() for record in caplog.records] == [
        "repixnet-large is the same network as repixnet, whose name it goes by now"
    ]


def test_no_file_is_shipped_twice_and_all_are_small() -> None:
    sums = [form.sha256 for card in list_cards() for form in card.forms.values()]
    assert len(set(sums)) == len(sums)
    assets = Path(weights.__file__).parent / "assets"
    files = [path for path in assets.rglob("*") if path.is_file()]
    listed = sum(len(card.forms) + 1 for card in list_cards())
    assert len(files) == listed
    assert max(path.stat().st_size for path in files) < 20e6
    assert sum(path.stat().st_size for path in files) < 48e6


def test_a_folder_that_0_1_exported_runs(tmp_path: Path, darkening_weight: Path, photo: NDArray[np.uint8]) -> None:
    """What `repix train` and `repix export` of 0.1 left in a run's folder `weight`."""
    folder = tmp_path / "runs" / "mine" / "weight"
    folder.mkdir(parents=True)
    shutil.copy(darkening_weight / "model.onnx", folder)
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    card = json.loads((FIRST_CARDS / "repixnet-large.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"name": "mine", "files": {"model.onnx": digest}}))
    restorer = Restorer.from_pretrained(folder, "cpu")
    np.testing.assert_array_equal(restorer(photo), np.rint(photo * 0.4))


def test_shipped_models_are_whole() -> None:
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


def test_the_name_of_an_untrained_network_is_told_from_a_missing_model() -> None:
    with pytest.raises(
        WeightsError, match=r"prenet is a network without weights, not a model: train it .*repix import"
    ):
        find_card("prenet")
