"""OpenVINO, on x86 CPUs: bf16 where the processor computes in it (AMX, AVX-512 BF16), int8 with VNNI, else fp32.

What it compiles is kept in the user's cache folder, and so is which of both engines was faster in which form.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import platform
import queue
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from repix._types import Floats, one_line
from repix.errors import BackendError, counted
from repix.infer.backends import cache as kept
from repix.infer.backends import check_ports, onnxruntime
from repix.infer.backends import threads as cores
from repix.infer.memory import zeros
from repix.weights import ModelCard, read_weights

_log = logging.getLogger("repix")
_CALLS = 4  # at once at most: each needs memory of its own
_TRIED = 256  # height and width of what engines are timed on
_TURNS = 3
# how much faster it must be to be taken unasked: ONNX Runtime is what published metrics are measured with
_WORTHWHILE = 1.1
_LIMIT = "ONEDNN_MAX_CPU_ISA"  # the instructions that oneDNN may use, for whoever limits them


def absent(device: str) -> str:
    """Why OpenVINO cannot be had; empty where it can."""
    if importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed: pip install 'repix[openvino]'"
    return ""


def choose(card: ModelCard, folder: Path, forms: Sequence[str]) -> tuple[str, bool]:
    """The form that runs fastest here, and whether that is faster than ONNX Runtime.

    Each engine runs each form it takes three times on 256×256 pixels, on one thread. That is done once for a model, a
    processor and a pair of versions; without a cache folder the processor's abilities decide.

    Args:
        card: the card found in `folder`.
        folder: where card and weights lie.
        forms: those of the model's forms that may be taken.
    """
    floats = [form for form in forms if form != "onnx-int8"][:1]
    tried = [*floats, *(form for form in forms if form == "onnx-int8")]
    if kept.load("probe") is None:
        kept.store("probe", b"")
    if kept.load("probe") is None:  # nothing lasts: no time is spent on trials
        int8 = "onnx-int8" in forms and not _has_amx()
        return "onnx-int8" if int8 else tried[0], "BF16" in _abilities()
    name = "verdict-" + _key([card.forms[form].sha256 for form in tried])
    known = kept.load(name)
    if known is not None:
        try:
            verdict = json.loads(known)
            if verdict["form"] in forms and isinstance(verdict["faster"], bool):
                return verdict["form"], verdict["faster"]
        except (ValueError, KeyError, TypeError):
            kept.forget(name)
    x = np.random.default_rng(0).random((1, 3, _TRIED, _TRIED), np.float32)
    state = zeros(card.state, x)
    seconds = {}
    for form in tried:
        seconds[form] = _seconds(OpenVinoBackend(read_weights(card, folder, form), form=form, threads=1), x, state)
    best = min(seconds, key=seconds.__getitem__)
    usual = "onnx-int8" if "onnx-int8" in forms else tried[0]
    before = _seconds(
        onnxruntime.load(read_weights(card, folder, usual), form=usual, device="cpu", threads=1), x, state
    )
    faster = before > _WORTHWHILE * seconds[best]
    _log.info("OpenVINO takes %.0f ms for %s, ONNX Runtime %.0f ms", 1e3 * seconds[best], best, 1e3 * before)
    kept.store(name, json.dumps({"form": best, "faster": faster}).encode())
    return best, faster


class OpenVinoBackend:
    """A model in OpenVINO on the CPU.

    Args:
        model: the ONNX file's bytes; inputs and outputs as `repix.infer.backends.onnxruntime.OnnxBackend` has them.
        form: which form of the model that is.
        device: `openvino`.
        threads: None takes what `repix.infer.backends.threads` says.
        calls: how many at once; they share the threads.

    Raises:
        BackendError: a model that OpenVINO cannot load.
    """

    device = "openvino"

    def __init__(
        self,
        model: bytes,
        *,
        form: str = "onnx-fp32",
        device: str = "openvino",
        threads: int | None = None,
        calls: int = 1,
    ) -> None:
        self.form = form
        self._model = model
        self._threads = threads or cores.wanted() or cores.allowed()
        compiled = _compiled(model, {"INFERENCE_NUM_THREADS": self._threads, "NUM_STREAMS": calls})
        ports = compiled.inputs, compiled.outputs
        check_ports(*([one.get_element_type().get_type_name() for one in side] for side in ports))
        self._inputs = len(compiled.inputs)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(calls):
            self._idle.put(compiled.create_infer_request())

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        """See `Backend.run`."""
        if 1 + len(state) != self._inputs:
            carried = counted(self._inputs - 1, "tensor")
            raise BackendError(f"this network carries {carried} between frames, got {len(state)}")
        request = self._idle.get()
        try:
            made = request.infer(dict(enumerate((x, *state))))
            y, *following = [np.array(made[place], np.float32) for place in range(len(made))]
        except Exception as error:
            raise BackendError(f"OpenVINO failed at {x.shape}: {one_line(error)}; try --device cpu") from error
        finally:
            self._idle.put(request)
        return y, tuple(following)

    def parallel(self) -> tuple[OpenVinoBackend, int]:
        """See `Backend.parallel`: streams, each with its share of the threads."""
        calls = min(self._threads, _CALLS)
        if calls == 1:
            return self, 1
        return OpenVinoBackend(self._model, form=self.form, threads=self._threads, calls=calls), calls


load = OpenVinoBackend


def _compiled(model: bytes, settings: Mapping[str, Any]) -> Any:
    digest = hashlib.sha256(model).hexdigest()
    by_precision = {
        precision: {"INFERENCE_PRECISION_HINT": precision, **settings}
        for precision in (("bf16", "f32") if "BF16" in _abilities() else ("f32",))
    }
    names = {
        precision: "openvino-" + _key([digest], [f"{key}={value}" for key, value in chosen.items()])
        for precision, chosen in by_precision.items()
    }
    for precision, name in names.items():  # reading the network, which says which it is, takes longer than both
        blob = kept.load(name)
        if blob is not None:
            try:
                return _core().import_model(blob, "CPU", by_precision[precision])
            except Exception:  # damaged, or of another build: made again
                kept.forget(name)
    core = _core()
    try:
        network = core.read_model(model)
        # a network with a state computes where pixels of the frame before lie: bf16 knows no places beyond 256
        precision = "f32" if len(network.inputs) > 1 else next(iter(names))
        compiled = core.compile_model(network, "CPU", by_precision[precision])
    except Exception as error:
        raise BackendError(f"OpenVINO cannot run the network: {one_line(error)}; try --device cpu") from error
    try:
        made = compiled.export_model()
        kept.store(names[precision], made if isinstance(made, bytes) else made.getvalue())
    except Exception as error:  # the network runs all the same
        _log.debug("OpenVINO cannot export the network: %s", one_line(error))
    return compiled


def _key(*parts: Sequence[str]) -> str:
    """Something that changes with the parts, the processor and the versions."""
    from importlib.metadata import version

    versions = [version("openvino"), version("onnxruntime") if importlib.util.find_spec("onnxruntime") else ""]
    words = [str(part) for one in parts for part in one] + versions + [_processor()]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]


def _seconds(backend: Any, x: Floats, state: tuple[Floats, ...]) -> float:
    """The least of a few turns, after one to warm up; the process's time, which others on the machine do not change."""
    backend.run(x, state)
    turns = []
    for _ in range(_TURNS):
        begun = time.process_time()
        backend.run(x, state)
        turns.append(time.process_time() - begun)
    return max(min(turns), 1e-9)


@cache
def _core() -> Any:
    # its telemetry sends events to Google when it is imported; without that module it has a stub in its place
    hidden = "openvino_telemetry" not in sys.modules
    if hidden:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino

        return openvino.Core()
    except Exception as error:
        raise BackendError(f"OpenVINO cannot be loaded: {one_line(error)}; try --device cpu") from error
    finally:
        if hidden:
            del sys.modules["openvino_telemetry"]


@cache
def _abilities() -> tuple[str, ...]:
    found = set(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    # OpenVINO looks at the processor alone, and crashes where it asks oneDNN for what that has been told not to use
    return tuple(sorted(found - {"BF16", "FP16"} if os.environ.get(_LIMIT) else found))


@cache
def _processor() -> str:
    """What the processor is and can do, found without importing OpenVINO."""
    found = _cpu_info("model name", "flags") or [f"{platform.machine()} {platform.processor()}"]
    return "\n".join([*found, os.environ.get(_LIMIT, "")])


def _has_amx() -> bool:
    return any("amx_bf16" in line.split() for line in _cpu_info("flags"))


def _cpu_info(*names: str) -> list[str]:
    """The first core's lines of these names, where Linux says so."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return []
    return [line for line in text.splitlines() if line.partition("\t")[0] in names]
