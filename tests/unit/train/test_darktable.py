"""The package for darktable: its fields, and that its network gives what repix gives."""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from repix.cli import main
from repix.errors import InputError
from repix.train.darktable import write_package
from repix.weights import find_card, read_weights


def unpacked(package: Path, folder: Path) -> Path:
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    (only,) = folder.iterdir()
    return only


def test_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", "repixnet", "--format", "darktable", "-o", str(tmp_path / "rain")])
    assert not stopped.value.code, capsys.readouterr().err
    folder = unpacked(tmp_path / "rain.dtmodel", tmp_path / "unpacked")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert folder.name == config["id"]
    # what darktable's own SDK asks for
    assert {"id", "name", "description", "task", "backend", "version"} <= config.keys()
    assert config["task"] == "denoise"
    assert config["model_card"]["license"] == "Apache-2.0"
    if importlib.util.find_spec("dt_ai_sdk"):
        validate = importlib.import_module("dt_ai_sdk.validate")
        assert validate.validate_config_json(folder / "config.json")
        assert validate.validate_onnx(folder / "model.onnx")

    x = np.random.default_rng(0).random((1, 3, 64, 80), np.float32)
    theirs = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    card, place = find_card("repixnet")
    ours = onnxruntime.InferenceSession(read_weights(card, place, "onnx-fp16"), providers=["CPUExecutionProvider"])
    (made,) = theirs.run(["output"], {"input": x})
    np.testing.assert_allclose(made, ours.run(None, {"x": x})[0], atol=1e-6)

    again = write_package("repixnet", tmp_path / "again.dtmodel")
    assert again.read_bytes() == (tmp_path / "rain.dtmodel").read_bytes()


def test_other_models_are_refused(make_weight: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="facades-photo: darktable takes networks that restore"):
        write_package("facades-photo", tmp_path / "a")
    with pytest.raises(InputError, match="on tiles of 768"):
        write_package(make_weight("whole", tiling=None), tmp_path / "a")
    assert not list(tmp_path.glob("a*"))
