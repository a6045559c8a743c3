"""Backends: one protocol, the form that suits the device, errors that say what to do."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from repix.errors import BackendError, WeightsError
from repix.infer.backends import DEVICES, Backend, open_backend
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.backends.torch import TorchBackend
from repix.weights import FORMS, find_card, save_card


@pytest.fixture(autouse=True)
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is installed and faster depends on the machine; test_openvino.py is about it."""
    monkeypatch.setattr("repix.infer.backends.openvino.absent", lambda device: "not in this test")


def add_form(folder: Path, *forms: str) -> None:
    """Give the model in a folder the same file in other forms, and no more."""
    card, _ = find_card(folder)
    files = {form: f"model.{form}.onnx" for form in forms}
    for file in files.values():
        shutil.copy(folder / "model.onnx", folder / file)
    save_card(card, folder, forms=files)


def accumulator() -> bytes:
    """An ONNX network of one state: y = x + h, and that is the next h."""
    kinds = [("x", ["n", 3, "h", "w"]), ("h", ["n", 3, "h", "w"]), ("y", None), ("h_next", None)]
    x, h, y, following = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in kinds
    )
    nodes = [onnx.helper.make_node("Add", ["x", "h"], ["y"]), onnx.helper.make_node("Identity", ["y"], ["h_next"])]
    graph = onnx.helper.make_graph(nodes, "g", [x, h], [y, following])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def network(nodes: list[onnx.NodeProto], takes: dict[str, int], gives: dict[str, int], **parts: object) -> bytes:
    """An ONNX network of (n, 3, h, w) tensors of some types."""
    ports = [
        [onnx.helper.make_tensor_value_info(name, kind, ["n", 3, "h", "w"]) for name, kind in side.items()]
        for side in (takes, gives)
    ]
    graph = onnx.helper.make_graph(nodes, "g", *ports, **parts)  # type: ignore[arg-type]
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


FLOAT, STRING, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.STRING, onnx.TensorProto.INT64
SAME = [onnx.helper.make_node("Identity", ["x"], ["y"])]
ZEROS = onnx.helper.make_tensor("zeros", FLOAT, [1, 3, 2, 2], [0.0] * 12)
FOREIGN = onnx.helper.make_tensor("k", FLOAT, [], [0.0])
FOREIGN.ClearField("float_data")
FOREIGN.data_location = onnx.TensorProto.EXTERNAL
FOREIGN.external_data.add(key="location", value="../../../../../etc/hostname")
HOSTILE = {
    "no inputs": (network([onnx.helper.make_node("Constant", [], ["y"], value=ZEROS)], {}, {"y": FLOAT}), "nothing"),
    "strings": (network(SAME, {"x": STRING}, {"y": STRING}), "string"),
    "whole numbers": (network(SAME, {"x": INT64}, {"y": INT64}), "64"),
    "state that does not come out": (
        network([onnx.helper.make_node("Add", ["x", "h"], ["y"])], {"x": FLOAT, "h": FLOAT}, {"y": FLOAT}),
        "expected an image",
    ),
    "an unknown operator": (
        network([onnx.helper.make_node("Evil", ["x"], ["y"], domain="my.ops")], {"x": FLOAT}, {"y": FLOAT}),
        "cannot run the network",
    ),
    "another file's bytes": (
        network([onnx.helper.make_node("Mul", ["x", "k"], ["y"])], {"x": FLOAT}, {"y": FLOAT}, initializer=[FOREIGN]),
        "cannot run the network",
    ),
    "no network": (bytes(range(256)) * 40, "cannot run the network"),
}


@pytest.mark.parametrize("kind", list(HOSTILE))
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_networks_that_are_none_of_ours_are_one_line(kind: str, engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    data, said = HOSTILE[kind]
    load = importlib.import_module(f"repix.infer.backends.{engine}").load
    with pytest.raises(BackendError, match=said) as caught:
        load(data, threads=1)
    assert "\n" not in str(caught.value)


class Accumulator(torch.nn.Module):
    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + h, x + h


@pytest.mark.parametrize("backend", [OnnxBackend(accumulator()), TorchBackend(Accumulator())], ids=["onnx", "torch"])
def test_a_state_goes_in_and_comes_out(backend: Backend) -> None:
    x = np.random.default_rng(0).random((1, 3, 5, 7), dtype=np.float32)
    y, state = backend.run(x, (np.zeros_like(x),))
    np.testing.assert_array_equal(y, x)
    y, state = backend.run(x, state)
    np.testing.assert_array_equal(y, 2 * x)
    assert [one.shape for one in state] == [x.shape]


def test_a_state_that_is_missing_or_too_much(darkening_weight: Path) -> None:
    x = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(BackendError, match="carries 1 tensor between frames, got 0"):
        OnnxBackend(accumulator()).run(x)
    with pytest.raises(BackendError, match="carries 0 tensors between frames, got 1"):
        OnnxBackend((darkening_weight / "model.onnx").read_bytes()).run(x, (x,))


def test_devices_that_are_not_there(darkening_weight: Path) -> None:
    card, folder = find_card(darkening_weight)
    assert open_backend(card, folder, device="cpu").device == "cpu"
    with pytest.raises(BackendError, match=r"unknown device 'gpu'; choose one of auto, cuda"):
        open_backend(card, folder, device="gpu")
    with pytest.raises(BackendError, match=r"has no directml.*onnxruntime-directml"):
        open_backend(card, folder, device="directml")


def test_bytes_that_are_no_network(tmp_path: Path, darkening_weight: Path) -> None:
    (darkening_weight / "model.onnx").write_bytes(b"not a model")
    card, folder = find_card(darkening_weight)
    card = save_card(card, folder, forms={"onnx-fp32": "model.onnx"})
    for device in ("auto", "cpu"):
        with pytest.raises(BackendError, match="cannot run the network on cpu"):
            open_backend(card, folder, device=device)


def test_every_device_has_an_engine_and_known_forms() -> None:
    for device in DEVICES.values():
        assert set(device.forms) <= set(FORMS)
    for name in ("cuda", "coreml", "directml", "cpu"):
        assert isinstance(__import__(f"repix.infer.backends.{DEVICES[name].engine}"), object)


def test_the_cpu_takes_int8_where_there_is_one(darkening_weight: Path) -> None:
    add_form(darkening_weight, "onnx-fp16")
    assert open_backend(*find_card(darkening_weight), device="cpu").form == "onnx-fp16"
    add_form(darkening_weight, "onnx-fp16", "onnx-fp32")
    assert open_backend(*find_card(darkening_weight), device="cpu").form == "onnx-fp32"
    add_form(darkening_weight, "onnx-fp32", "onnx-int8")
    backend = open_backend(*find_card(darkening_weight), device="auto", threads=2)
    assert (backend.device, backend.form) == ("cpu", "onnx-int8")
    assert backend.parallel()[0].form == "onnx-int8"
    assert backend.parallel()[1] == 2


def test_a_model_without_a_form_for_the_device(darkening_weight: Path) -> None:
    card, folder = find_card(darkening_weight)
    shutil.copy(folder / "model.onnx", folder / "model.safetensors")
    card = save_card(card, folder, forms={"safetensors-fp32": "model.safetensors"})
    for device in ("auto", "cpu"):
        with pytest.raises(WeightsError, match=r"not stored as onnx-int8 or onnx-fp32 or .*lists: safetensors-fp32"):
            open_backend(card, folder, device=device)


def with_coreml(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let ONNX Runtime say that it has CoreML; gives the providers that it is asked for."""
    asked: list[str] = []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: bytes, options: object, providers: list[str]) -> None:
            asked.extend(providers)
            super().__init__(model, options, ["CPUExecutionProvider"])

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CoreMLExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return asked


def test_a_network_in_int8_is_kept_from_coreml(darkening_weight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = with_coreml(monkeypatch)
    add_form(darkening_weight, "onnx-int8")
    assert open_backend(*find_card(darkening_weight)).device == "cpu"
    assert asked == ["CPUExecutionProvider"]
    with pytest.raises(WeightsError, match="coreml takes no other, try --device cpu"):
        open_backend(*find_card(darkening_weight), device="coreml")


def test_a_device_whose_libraries_are_missing_gives_way(
    darkening_weight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = with_coreml(monkeypatch)
    assert open_backend(*find_card(darkening_weight)).device == "cpu"
    assert asked == ["CoreMLExecutionProvider", "CPUExecutionProvider"]
    with pytest.raises(BackendError, match=r"cannot run the network on coreml: its libraries .* try --device cpu"):
        open_backend(*find_card(darkening_weight), device="coreml")


@pytest.mark.parametrize(("variable", "expected"), [("3", 3), ("", 0), ("four", 0)])
def test_threads_follow_the_environment(
    darkening_weight: Path, monkeypatch: pytest.MonkeyPatch, variable: str, expected: int
) -> None:
    import os

    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "cpu_count", lambda: len(os.sched_getaffinity(0)))
    backend = OnnxBackend((darkening_weight / "model.onnx").read_bytes(), device="cpu")
    assert backend._session.get_session_options().intra_op_num_threads == expected


def test_shapes_of_tiles_keep_no_memory_of_their_own(darkening_weight: Path) -> None:
    """Two calls at a time on tiles of two shapes hold 530 MB without patterns, and 770 with them."""
    backend = OnnxBackend((darkening_weight / "model.onnx").read_bytes(), device="cpu")
    assert not backend._session.get_session_options().enable_mem_pattern


def test_torch_keeps_its_mode(photo: NDArray[np.uint8]) -> None:
    net = torch.nn.Dropout()
    net.train()
    x = np.ones((1, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(TorchBackend(net).run(x)[0], x)
    assert net.training
    with pytest.raises(BackendError, match=r"torch failed on cpu at \(1, 3, 4, 4\)"):
        TorchBackend(torch.nn.Conv2d(4, 4, 1)).run(x)
