"""Fixtures that several test folders share. Pictures are made here; nothing is read from outside the tests."""

from __future__ import annotations

import os

# Tests run side by side; before anything imports NumPy or torch, keep each to one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """A 61x83 picture with smooth ground, edges and colour: odd sizes on purpose, (H, W, 3) uint8."""
    y, x = np.mgrid[0:61, 0:83]
    ground = np.stack([x * 2.5, y * 3.5, 200 - x - y], axis=2)
    ground[20:40, 30:60] = (250, 40, 90)
    return np.clip(ground, 0, 255).astype(np.uint8)


@pytest.fixture
def make_weight(tmp_path: Path) -> Callable[..., Path]:
    """Makes weight folders (card.json, model.onnx) whose network multiplies every value by `factor`: exact, instant."""
    import onnx

    from repix.weights import ModelCard, save_card

    def make(name: str, *, factor: float = 0.4, **card: object) -> Path:
        shape = ["n", 3, "h", "w"]
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Mul", ["x", "factor"], ["y"])],
            name,
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
            [onnx.helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [factor])],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        folder = tmp_path / "weights" / name
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        settings = {"task": "derain", "arch": "none", "tiling": None, "licence": "Apache-2.0"} | card
        save_card(ModelCard.model_validate({"name": name, **settings}), folder)
        return folder

    return make


@pytest.fixture
def darkening_weight(make_weight: Callable[..., Path]) -> Path:
    """A weight that makes pictures darker, times 0.4."""
    return make_weight("darken", multiple_of=8, tiling={"tile": 48, "overlap": 8})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four coloured pictures, 90x70 PNG."""
    import pyvips

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 256, (14, 18, 3), dtype=np.uint8).repeat(5, 0).repeat(5, 1)
        pyvips.Image.new_from_array(pixels).write_to_file(str(folder / f"{i}.png"))
    return folder
