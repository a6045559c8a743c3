"""Fuzzing and killing, a little of it here; as much as `.ci/long` asks for by these variables."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fuzz
import kill
import onnx
import pytest
from PIL import Image

from repix.weights import find_card, save_card


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize(
    ("kind", "variable", "count"), [("images", "REPIX_FUZZ_IMAGES", 150), ("videos", "REPIX_FUZZ_VIDEOS", 15)]
)
def test_damaged_files(make_weight: Callable[..., Path], kind: str, variable: str, count: int) -> None:
    model = make_weight("same", factor=1.0)
    failed = fuzz.run(kind, count=int(os.environ.get(variable, count)), seed=0, first=0, model=model)
    assert failed == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_a_network_without_an_end_can_be_ended(make_weight: Callable[..., Path], tmp_path: Path, device: str) -> None:
    if importlib.util.find_spec(device) is None and device != "cpu":
        pytest.skip(f"{device} is not installed")
    helper, kinds = onnx.helper, onnx.TensorProto
    folder = make_weight("endless")
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", kinds.INT64, []),
            helper.make_tensor_value_info("go", kinds.BOOL, []),
            helper.make_tensor_value_info("v", kinds.FLOAT, None),
        ],
        [helper.make_tensor_value_info("on", kinds.BOOL, []), helper.make_tensor_value_info("w", kinds.FLOAT, None)],
    )
    shape = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        [helper.make_node("Loop", ["many", "true", "x"], ["y"], body=body)],
        "endless",
        [helper.make_tensor_value_info("x", kinds.FLOAT, shape)],
        [helper.make_tensor_value_info("y", kinds.FLOAT, shape)],
        [helper.make_tensor("many", kinds.INT64, [], [2**62]), helper.make_tensor("true", kinds.BOOL, [], [True])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    save_card(find_card(folder)[0], folder, forms={"onnx-fp32": "model.onnx"})
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "grey").save(photo)
    command = [sys.executable, "-m", "repix", "derain", "-m", str(folder), "--device", device, str(photo)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(20)
        begun = time.perf_counter()
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert time.perf_counter() - begun < 15
    assert process.returncode in (130, 143)
    assert said.count(b"\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "weights"]


@pytest.mark.skipif(os.name == "nt", reason="kill -9 by process group")
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", kill.WHAT)
def test_killed_at_any_moment(make_weight: Callable[..., Path], name: str) -> None:
    count = int(os.environ.get("REPIX_KILLS", 2 if name in ("folder", "video") else 0))
    if not count:
        pytest.skip("long: set REPIX_KILLS")
    assert kill.trial(name, count=count, seed=0, model=make_weight("same", factor=1.0)) == []
