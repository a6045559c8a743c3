"""Checkpoints survive, damage is one line, NaN stays out, and code runs on trust alone."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import safetensors.torch
import torch

from repix.errors import InputError, RecipeError, UntrustedCodeError, WeightsError
from repix.named import check_trusted, own_names, remember_code
from repix.train.checkpoints import (
    SafeCheckpoints,
    StopAtNonFinite,
    check_checkpoint,
    check_files,
)
from repix.train.recipe import load_recipe, read_yaml


def test_a_checkpoint_is_whole_or_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, writer = tmp_path / "last.ckpt", SafeCheckpoints()
    writer.save_checkpoint({"state_dict": {"a": torch.ones(3)}, "global_step": 1}, path)
    check_checkpoint(path)
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise RuntimeError("unexpected pos 1 vs 2")

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(InputError, match="is the disk full"):
        writer.save_checkpoint({"state_dict": {}}, path)
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["last.ckpt"]
    assert writer.load_checkpoint(path)["global_step"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_that_is_not_finite_is_kept(tmp_path: Path, value: float) -> None:
    path, writer = tmp_path / "last.ckpt", SafeCheckpoints()
    writer.save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)
    with pytest.raises(RecipeError, match="a is not finite any more"):
        writer.save_checkpoint({"state_dict": {"a": torch.tensor([1.0, value])}}, path)
    assert writer.load_checkpoint(path)["state_dict"]["a"].sum() == 3
    trainer = types.SimpleNamespace(global_step=7, callback_metrics={})
    stop = StopAtNonFinite(tmp_path)
    stop.on_train_batch_end(trainer, None, {"loss": torch.tensor(1.0)})  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"at step 7; the run stops, .*last.ckpt has the last good weights"):
        stop.on_train_batch_end(trainer, None, {"loss": torch.tensor(value)})  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text"])
def test_damage_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.ckpt"
    SafeCheckpoints().save_checkpoint({"state_dict": {"a": torch.ones(3000)}}, path)
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[: len(data) // 2], "bit": data, "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(WeightsError, match="damaged") as error:
        check_checkpoint(path)
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text("a.jpg\nb.jpg\n")
    check_files(["b.jpg", "a.jpg"], tmp_path)
    with pytest.raises(RecipeError, match=r"1 more \(00.jpg\), 1 fewer \(b.jpg\)"):
        check_files(["00.jpg", "a.jpg"], tmp_path)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("repix.named._session", set())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_code_runs_on_trust_or_where_it_was_trained_with(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.py").write_text("class Net: ...")
    names = own_names({"model": "net.py:Net", "data": {"mixture": {"fog.py:Fog": 1.0, "rain": 1.0}}})
    assert names == ["net.py:Net", "fog.py:Fog"]
    with pytest.raises(UntrustedCodeError, match=r"Net in .*net\.py; .*--trust"):
        check_trusted(["net.py:Net"], where="card.json", trust=False)
    check_trusted(["net.py:Net"], where="card.json", trust=True)
    check_trusted(["repixnet"], where="card.json", trust=False)
    remember_code(["net.py:Net"])
    monkeypatch.setattr("repix.named._session", set())  # another process
    check_trusted(["net.py:Net"], where="card.json", trust=False)
    Path("net.py").write_text("class Net: evil = True")
    with pytest.raises(UntrustedCodeError):
        check_trusted(["net.py:Net"], where="card.json", trust=False)


def test_a_card_from_elsewhere_runs_no_code(own_cache: Path) -> None:
    from repix.evaluate.inspect import load_network
    from repix.weights import ModelCard, save_card

    Path("evil.py").write_text("open('ran', 'w').close()\nclass Net: ...")
    card = ModelCard(name="evil", task="derain", arch="evil.py:Net", tiling=None, licence="MIT")  # type: ignore[arg-type]
    Path("evil").mkdir()
    Path("evil/model.safetensors").write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}))
    save_card(card, Path("evil"), forms={"safetensors-fp32": "model.safetensors"})
    with pytest.raises(UntrustedCodeError, match="Net in"):
        load_network("evil")
    assert not Path("ran").exists()
    with pytest.raises((WeightsError, RecipeError)):  # trusted: it runs, and is no network
        load_network("evil", trust=True)
    assert Path("ran").exists()


@pytest.mark.parametrize(
    "args",
    [{"channels": 10**9}, {"a": [[[[[[[[[1]]]]]]]]]}, {"a": "x" * 5000}, {"a": list(range(5000))}, {"a": -1e300}],
)
def test_values_of_a_card_are_bounded(args: dict[str, object]) -> None:
    from pydantic import ValidationError

    from repix.weights import ModelCard

    with pytest.raises(ValidationError):
        ModelCard(name="a", task="derain", arch="unet", args=args, tiling=None, licence="MIT")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "'name' is given twice"),
        ("a: " + "[" * 3000, "not YAML"),
        ("name: a\nmodel: unet\ndata: {photos: p}\nstages: [{steps: 1}]\nseed: -1\n", "seed"),
        ("name: a\nmodel: unet\ndata: {photos: p}\nstages: [{steps: 1, batch: 99999999}]\n", "batch"),
    ],
)
def test_odd_recipes_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RecipeError, match=said) as error:
        load_recipe(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)
    with pytest.raises(RecipeError):
        read_yaml(tmp_path)
