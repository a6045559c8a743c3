"""OpenVINO: agreement with ONNX Runtime, what is kept, what is chosen, silence."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from test_backends import accumulator

from repix.errors import BackendError
from repix.infer import backends
from repix.infer.backends import Backend, cache, open_backend, openvino
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.backends.openvino import OpenVinoBackend
from repix.infer.memory import zeros
from repix.weights import find_card, read_weights

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("REPIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


def kept(folder: Path, begin: str) -> list[Path]:
    return sorted(folder.glob(f"{begin}-*"))


def test_both_engines_agree(photo: NDArray[np.uint8], folder: Path) -> None:
    card, where = find_card("repixnet")
    x = (np.tile(photo, (2, 2, 1))[:64, :96].transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    for form in (one for one in card.forms if one.startswith("onnx")):
        model = read_weights(card, where, form)
        expected, _ = OnnxBackend(model, threads=1).run(x)
        got, state = OpenVinoBackend(model, form=form, threads=1).run(x)
        assert state == ()
        assert got.dtype == np.float32
        assert 10 * np.log10(1 / np.mean((got - expected) ** 2)) > 50
        again, _ = OpenVinoBackend(model, form=form, threads=1).run(x)  # from what was kept
        np.testing.assert_array_equal(again, got)
    assert kept(folder, "openvino")


def test_a_video_network_finds_its_way_in_either_engine(photo: NDArray[np.uint8]) -> None:
    card, where = find_card("repixnet-video")
    assert openvino.choose(card, where, ["onnx-fp16"])[0] == "onnx-fp16"
    model = read_weights(card, where, "onnx-fp16")
    wide = (np.tile(photo, (2, 6, 1))[:64, :328].transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    frames = [np.ascontiguousarray(wide[..., 5 * t : 5 * t + 304]) for t in range(3)]  # beyond what bf16 can count
    engines: list[Backend] = [OnnxBackend(model, threads=1), OpenVinoBackend(model, threads=1)]
    states = [zeros(card.state, frames[0]) for _ in engines]
    for frame in frames:
        made = []
        for i, engine in enumerate(engines):
            y, states[i] = engine.run(frame, states[i])
            made.append(y)
        assert 10 * np.log10(1 / np.mean((made[0] - made[1]) ** 2)) > 60


def test_a_state_goes_in_and_comes_out() -> None:
    x = np.random.default_rng(0).random((1, 3, 5, 7), dtype=np.float32)
    backend = OpenVinoBackend(accumulator(), threads=1)
    y, state = backend.run(x, (np.zeros_like(x),))
    y, state = backend.run(x, state)
    np.testing.assert_allclose(y, 2 * x, rtol=1e-2)
    with pytest.raises(BackendError, match="carries 1 tensor between frames, got 0"):
        backend.run(x)


def test_many_calls_at_once_give_each_its_own(darkening_weight: Path) -> None:
    model = (darkening_weight / "model.onnx").read_bytes()
    backend, calls = OpenVinoBackend(model, threads=2).parallel()
    assert calls == 2
    xs = [np.full((1, 3, 16, 16), value, np.float32) for value in np.linspace(0, 1, 24)]
    expected = [backend.run(x)[0] for x in xs]
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda x: backend.run(x)[0], xs))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_damaged_things_in_the_cache_are_made_again(darkening_weight: Path, folder: Path) -> None:
    card, where = find_card(darkening_weight)
    x = np.full((1, 3, 16, 16), 0.5, np.float32)
    expected, _ = open_backend(card, where, device="openvino", threads=1).run(x)
    for damage in (lambda data: b"damaged", lambda data: data[:-1], lambda data: data[:-40] + b"?" + data[-39:]):
        before = {path: path.read_bytes() for path in [*kept(folder, "openvino"), *kept(folder, "verdict")]}
        for path, data in before.items():
            path.write_bytes(damage(data))
        got, _ = open_backend(card, where, device="openvino", threads=1).run(x)
        np.testing.assert_array_equal(got, expected)
        assert {path: path.read_bytes() for path in kept(folder, "verdict")}.items() <= before.items()
        assert all(len(path.read_bytes()) > 300 for path in kept(folder, "openvino"))


def test_what_is_damaged_reaches_no_engine(darkening_weight: Path, folder: Path) -> None:
    """OpenVINO takes a network with a byte changed, and computes something else."""
    cache.store("one", b"network")
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert cache.load("one") is None
    assert not path.exists()


def test_without_a_cache_nothing_is_written(
    darkening_weight: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPIX_CACHE", "off")
    backend = open_backend(*find_card(darkening_weight), device="openvino", threads=1)
    assert backend.device == "openvino"
    assert not folder.exists()


@pytest.mark.parametrize(("faster", "expected"), [(True, "openvino"), (False, "cpu")])
def test_auto_follows_the_trial(
    darkening_weight: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, faster: bool, expected: str
) -> None:
    monkeypatch.setattr(openvino, "_seconds", lambda one, x, state: 1.0 if (one.device == "cpu") == faster else 0.5)
    assert open_backend(*find_card(darkening_weight), threads=1).device == expected
    (verdict,) = kept(folder, "verdict")
    assert json.loads(cache.load(verdict.name) or b"") == {"form": "onnx-fp32", "faster": faster}

    def never(one: object, x: object) -> float:
        raise AssertionError("tried again")

    monkeypatch.setattr(openvino, "_seconds", never)
    assert open_backend(*find_card(darkening_weight), threads=1).device == expected
    assert open_backend(*find_card(darkening_weight), device="cpu", threads=1).device == "cpu"
    assert open_backend(*find_card(darkening_weight), device="openvino", threads=1).device == "openvino"


def test_auto_falls_back_with_one_line(
    darkening_weight: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise BackendError("OpenVINO cannot be loaded: libtbb.so.12 is missing; try --device cpu")

    monkeypatch.setattr(openvino, "_core", broken)
    assert open_backend(*find_card(darkening_weight), threads=1).device == "cpu"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "OpenVINO cannot be loaded: libtbb.so.12 is missing; try --device cpu"
    ]
    with pytest.raises(BackendError, match="libtbb"):
        open_backend(*find_card(darkening_weight), device="openvino", threads=1)


def test_without_openvino(darkening_weight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert open_backend(*find_card(darkening_weight), threads=1).device == "cpu"
    with pytest.raises(BackendError, match=r"pip install 'repix\[openvino\]'"):
        open_backend(*find_card(darkening_weight), device="openvino")


def test_bytes_that_are_no_network() -> None:
    with pytest.raises(BackendError, match=r"OpenVINO cannot run the network.*--device cpu"):
        OpenVinoBackend(b"not a model")


def test_numbers_of_devices(darkening_weight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, where = find_card(darkening_weight)
    for wrong in ("cpu:1", "cuda:", "cuda:x", "openvino:0", "auto:1"):
        with pytest.raises(BackendError, match=r"a number is for cuda and directml, as in cuda:1"):
            open_backend(card, where, device=wrong)
    import onnxruntime

    asked: list[object] = []

    class Session:
        """Stands in for a session on a GPU, which tests have none of."""

        def __init__(self, model: bytes, options: object, providers: list[object]) -> None:
            asked.extend(providers)

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider"]

        def get_inputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(name="x", type="tensor(float)")]

        get_outputs = get_inputs

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    assert open_backend(card, where, device="cuda:1").device == "cuda:1"
    assert asked == [("CUDAExecutionProvider", {"device_id": "1"})]


def test_nothing_is_sent_or_left_at_home(darkening_weight: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import socket, threading
def refuse(*args, **kwargs): raise SystemExit("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from repix.infer.backends import open_backend
from repix.weights import find_card
open_backend(*find_card({str(darkening_weight)!r}), device="openvino", threads=1)
import sys
print(sorted(name for name in sys.modules if "telemetry" in name), [t.name for t in threading.enumerate()])
"""
    environment = {"HOME": str(home), "PYTHONPATH": ":".join(sys.path), "REPIX_CACHE": str(tmp_path / "elsewhere")}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "openvino_telemetry" not in said.stdout.replace("openvino.tools.ovc.telemetry", "")
    assert "'MainThread']" in said.stdout
    assert list(home.iterdir()) == []


def test_instructions_may_be_limited() -> None:
    """Where oneDNN may not use what the processor has, nothing crashes."""
    code = """
import numpy as np
from repix.infer.backends import open_backend
from repix.weights import find_card
backend = open_backend(*find_card("repixnet"), device="openvino", threads=1)
print(backend.run(np.full((1, 3, 64, 64), 0.5, np.float32))[0].shape)
"""
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "REPIX_CACHE": "off", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout == "(1, 3, 64, 64)\n"


def test_the_cache_stays_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGEST", 1000)
    for number in range(5):
        cache.store(f"part-{number}", bytes(300))
        os.utime(folder / f"part-{number}", (number, number))
    cache.load("part-2")  # used last
    cache.store("part-5", bytes(300))
    assert sorted(path.name for path in folder.iterdir()) == ["part-2", "part-4", "part-5"]
    cache.store("huge", bytes(2000))
    assert cache.load("huge") is None
    assert cache.clear() == 3 * 332  # a checksum each
    assert not folder.exists()
    assert cache.load("part-2") is None
    assert cache.clear() == 0


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("REPIX_CACHE", str(tmp_path / "file"))
    cache.store("one", b"1")
    assert cache.load("one") is None
    assert cache.clear() == 0


def test_many_at_once_fill_the_cache_whole(folder: Path) -> None:
    threads = [threading.Thread(target=cache.store, args=("one", bytes([n]) * 10_000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(cache.load("one") or b"")) == 1
    assert [path.name for path in folder.iterdir()] == ["one"]


def test_devices_are_tried_in_order() -> None:
    assert list(backends.DEVICES).index("openvino") == list(backends.DEVICES).index("cpu") - 1
