"""What runs the network: ONNX Runtime for users, torch for training's validation. Both see (N, 3, H, W) float32."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from repix.errors import BackendError

if TYPE_CHECKING:
    from torch import nn

_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Devices, best first, and ONNX Runtime's names for them."""

_WHEELS = {"cuda": "onnxruntime-gpu", "directml": "onnxruntime-directml"}

DEVICES = ("auto", *_PROVIDERS)

_CALLS = 4  # at once at most: each needs memory of its own


class Backend(Protocol):
    """Runs a network.

    Attributes:
        device: where it runs, as in `DEVICES` but `auto`; torch's own name for a torch network.
    """

    device: str

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, H, W) float32 in [0, 1] -> the same shape, not clamped.

        Raises:
            BackendError: out of memory, or the network does not take this size.
        """
        ...


class OnnxBackend:
    """ONNX Runtime with the best provider that is there.

    Args:
        model: the ONNX file's bytes.
        device: `auto`, `cpu`, `cuda`, `coreml` or `directml`; `auto` takes the best that works.
        threads: threads on the CPU; None takes OMP_NUM_THREADS where it is set, and the physical cores that the
            process may use where not.
        int8: whether the model computes in int8, which CoreML does not take; `auto` then leaves it out.

    Raises:
        BackendError: unknown device, a device that is not there, or a model that ONNX Runtime cannot load.
    """

    def __init__(self, model: bytes, *, device: str = "auto", threads: int | None = None, int8: bool = False) -> None:
        import onnxruntime as ort

        if device not in DEVICES:
            raise BackendError(f"unknown device {device!r}; choose one of {', '.join(DEVICES)}")
        ort.set_default_logger_severity(4)  # what matters comes as an exception; the rest is noise on stderr
        present = ort.get_available_providers()
        if device == "auto":
            wanted = [name for name, provider in _PROVIDERS.items() if provider in present]
            if int8 and "coreml" in wanted:  # what it can't take it would hand back to the CPU, layer by layer
                wanted.remove("coreml")
        elif _PROVIDERS[device] in present:
            wanted = [device]
        else:
            wheel = _WHEELS.get(device)
            how = f": pip uninstall onnxruntime && pip install {wheel} (they overwrite each other)" if wheel else ""
            raise BackendError(f"this ONNX Runtime has no {device} (it has: {_names(present)}){how}")
        reason = "no provider"
        for name in wanted:
            try:
                session = ort.InferenceSession(model, _options(ort, name, threads), [_PROVIDERS[name]])
            except Exception as error:
                reason = _first_line(error)
                continue
            # a provider whose libraries are missing gives way to the CPU without an exception
            if session.get_providers()[0] == _PROVIDERS[name]:
                self.device = name
                self._model = model
                self._threads = threads or _threads()
                self._session = session
                self._input = session.get_inputs()[0].name
                return
            reason = f"its libraries (such as CUDA and cuDNN for {name}) cannot be loaded"
        raise BackendError(f"ONNX Runtime cannot run the network on {' or '.join(wanted)}: {reason}; try --device cpu")

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Backend.run`."""
        try:
            (y,) = self._session.run(None, {self._input: x})
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on {self.device} at {x.shape}: {_first_line(error)}") from error
        return np.asarray(y)

    def side_by_side(self) -> tuple[OnnxBackend, int]:
        """The same network for many calls at once, and how many: on a CPU a seventh faster than one after the other.

        The threads of one call wait for each other after every layer; calls on threads of their own never do.
        """
        calls = min(self._threads, _CALLS) if self.device == "cpu" else 1
        if calls == 1:
            return self, 1
        return OnnxBackend(self._model, device=self.device, threads=self._threads // calls), calls


class TorchBackend:
    """A torch network behind the same interface, so that training and evaluation measure what users run.

    Args:
        net: (N, 3, H, W) in [0, 1] -> the same; runs where its parameters are. It is put into evaluation mode for
            each run and back into its own afterwards.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    @property
    def device(self) -> str:
        """torch's name of the device that holds the network's parameters."""
        parameter = next(self._net.parameters(), None)
        return "cpu" if parameter is None else str(parameter.device)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Backend.run`."""
        import torch

        training = self._net.training
        self._net.eval()
        try:
            with torch.inference_mode():
                y = self._net(torch.from_numpy(x).to(self.device))
        except RuntimeError as error:
            raise BackendError(f"torch failed on {self.device} at {x.shape}: {_first_line(error)}") from error
        finally:
            self._net.train(training)
        result: NDArray[np.float32] = y.float().cpu().numpy()
        return result


def _options(ort: Any, device: str, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # threads that wait busily cost half as much CPU again on a machine that does other things too
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "directml":
        options.enable_mem_pattern = False  # DirectML does not support it
    if threads is None and (os.environ.get("OMP_NUM_THREADS", "").isdigit() or _allowed() < (os.cpu_count() or 1)):
        threads = _threads()  # ONNX Runtime counts the machine's cores, not those that a container or taskset leaves
    if threads:
        options.intra_op_num_threads = threads
    return options


def _allowed() -> int:
    """Cores that the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> int:
    """OMP_NUM_THREADS where it is set, else the cores that the process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(wanted)) if wanted.isdigit() else _allowed()


def _names(present: list[str]) -> str:
    return ", ".join(name for name, provider in _PROVIDERS.items() if provider in present) or "none of ours"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
