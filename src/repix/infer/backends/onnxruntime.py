"""ONNX Runtime, on CPUs and on whatever else its installed package drives."""

from __future__ import annotations

from typing import Any

import numpy as np

from repix._types import Floats, one_line
from repix.errors import BackendError, counted
from repix.infer.backends import check_ports
from repix.infer.backends import threads as cores

_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_WHEELS = {"cuda": "onnxruntime-gpu", "directml": "onnxruntime-directml"}
_CALLS = 4  # at once at most: each needs memory of its own


def absent(device: str) -> str:
    """Why the installed ONNX Runtime has no such device; empty where it has."""
    import onnxruntime

    present = onnxruntime.get_available_providers()
    if _PROVIDERS[device] in present:
        return ""
    names = ", ".join(name for name, provider in _PROVIDERS.items() if provider in present) or "none of ours"
    wheel = _WHEELS.get(device)
    how = f": pip uninstall onnxruntime && pip install {wheel} (they overwrite each other)" if wheel else ""
    return f"this ONNX Runtime has no {device} (it has: {names}){how}"


class OnnxBackend:
    """A model in ONNX Runtime.

    Args:
        model: the ONNX file's bytes. Its first input is the image and its first output the estimate; the others are the
            state, in the same order.
        form: which form of the model that is, for messages.
        device: one that is not `absent`; `cuda:1` is the second of several.
        threads: threads on the CPU; None takes what `repix.infer.backends.threads` says.

    Raises:
        BackendError: a model that ONNX Runtime cannot load there.
    """

    def __init__(
        self, model: bytes, *, form: str = "onnx-fp32", device: str = "cpu", threads: int | None = None
    ) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)  # what matters comes as an exception; the rest is noise on stderr
        kind, _, number = device.partition(":")
        options = _options(onnxruntime, threads)
        provider: Any = (_PROVIDERS[kind], {"device_id": number}) if number else _PROVIDERS[kind]
        try:
            session = onnxruntime.InferenceSession(model, options, [provider])
            reason = f"its libraries (such as CUDA and cuDNN for {kind}) cannot be loaded"
        except Exception as error:
            session, reason = None, one_line(error)
        # a provider whose libraries are missing gives way to the CPU without an exception
        if session is None or session.get_providers()[0] != _PROVIDERS[kind]:
            advice = "" if device == "cpu" else "; try --device cpu"
            raise BackendError(f"ONNX Runtime cannot run the network on {device}: {reason}{advice}")
        ports = session.get_inputs(), session.get_outputs()
        check_ports(*([one.type for one in side] for side in ports))
        self.form = form
        self.device = device
        self._model = model
        self._threads = threads or cores.wanted() or cores.allowed()
        self._session = session
        self._inputs = [one.name for one in ports[0]]

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        """See `Backend.run`."""
        if 1 + len(state) != len(self._inputs):
            carried = counted(len(self._inputs) - 1, "tensor")
            raise BackendError(f"this network carries {carried} between frames, got {len(state)}")
        try:
            y, *following = self._session.run(None, dict(zip(self._inputs, (x, *state), strict=True)))
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on {self.device} at {x.shape}: {one_line(error)}") from error
        return np.asarray(y), tuple(np.asarray(one) for one in following)

    def parallel(self) -> tuple[OnnxBackend, int]:
        """See `Backend.parallel`: on a CPU a seventh faster than one call after the other.

        The threads of one call wait for each other after every layer; calls on threads of their own never do.
        """
        calls = min(self._threads, _CALLS) if self.device == "cpu" else 1
        if calls == 1:
            return self, 1
        each = self._threads // calls
        return OnnxBackend(self._model, form=self.form, device=self.device, threads=each), calls


load = OnnxBackend


def _options(onnxruntime: Any, threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # threads that wait busily cost half as much CPU again on a machine that does other things too
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # DirectML does not support it, and on a CPU each shape of tile keeps a block of its own: half as much memory again
    options.enable_mem_pattern = False
    if threads := threads or cores.wanted():
        options.intra_op_num_threads = threads
    return options
