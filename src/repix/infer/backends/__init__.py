"""What runs a network: one protocol, and what runs a model on a device.

A new engine is one module with a class of this protocol, and a line in `DEVICES` for each device that it is best on.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from repix._types import Floats
from repix.errors import BackendError, InputError, WeightsError
from repix.infer.backends import threads as cores
from repix.weights import ModelCard, read_weights

State = tuple[Floats, ...]
"""What a recurrent network carries from frame to frame, as its card lists it; empty for images."""


class Backend(Protocol):
    """Runs a network."""

    @property
    def device(self) -> str:
        """Where it runs, a key of `DEVICES`; torch's own name for a torch network."""

    @property
    def form(self) -> str:
        """Which of the model's forms runs, a key of `repix.weights.FORMS`; `torch` for a torch network."""

    def run(self, x: Floats, state: State = ()) -> tuple[Floats, State]:
        """Run the network once.

        Args:
            x: (N, 3, H, W) in [0, 1].
            state: what the run on the frame before gave; zeros before the first frame, nothing for images.

        Returns:
            The estimate, of the same shape, not clamped; and the state for the next frame.

        Raises:
            BackendError: out of memory, or the network does not take this size or state.
        """

    def parallel(self) -> tuple[Backend, int]:
        """The same network for many calls at once, and how many at once make the best of the device."""


class Device(NamedTuple):
    """Something that networks run on.

    Attributes:
        engine: module in `repix.infer.backends`; it has `absent(device) -> str`, why it can't be had (empty: it may),
            and `load(model, *, form, device, threads) -> Backend`, which raises BackendError.
        forms: the forms of a model that it takes, best first.
        chooses: the engine has `choose(card, folder, forms) -> (form, faster)` too: which of the model's forms is best
            on this very machine, and whether that is faster than what comes after it here.
    """

    engine: str
    forms: tuple[str, ...]
    chooses: bool = False


_ANY_FLOAT = ("onnx-fp32", "onnx-fp16")

DEVICES: Mapping[str, Device] = {
    "cuda": Device("onnxruntime", (*_ANY_FLOAT, "onnx-int8")),
    "coreml": Device("onnxruntime", _ANY_FLOAT),  # int8 it would hand back to the CPU, layer by layer
    "directml": Device("onnxruntime", (*_ANY_FLOAT, "onnx-int8")),
    "openvino": Device("openvino", ("onnx-int8", *_ANY_FLOAT), chooses=True),
    "cpu": Device("onnxruntime", ("onnx-int8", *_ANY_FLOAT)),
}
"""Where networks run, best first."""

DEVICE_NAMES = ("auto", *DEVICES)

_NUMBERED = ("cuda", "directml")  # of which a machine may have several
_log = logging.getLogger("repix")


def open_backend(card: ModelCard, folder: Path, *, device: str = "auto", threads: int | None = None) -> Backend:
    """Load a model in the form that suits the device.

    Args:
        card: the card found in `folder`.
        folder: where card and weights lie.
        device: one of `DEVICE_NAMES`; `auto` takes the best that is there, has a form of the model, and works. A number
            after a colon, as in `cuda:1`, says which of several.
        threads: threads on the CPU; None takes OMP_NUM_THREADS where it is set, else what the process may use.

    Raises:
        InputError: no such number of threads.
        BackendError: an unknown device, one that is not there, or weights that the engine cannot load.
        WeightsError: damaged weights, or no form of them that the device takes.
    """
    if threads is not None and not (type(threads) is int and 1 <= threads <= cores.MOST):
        raise InputError(f"threads must be a whole number from 1 to {cores.MOST:,}, or None, got {threads!r}")
    kind, _, number = str(device).partition(":")
    if kind not in DEVICE_NAMES:
        raise BackendError(f"unknown device {device!r}; choose one of {', '.join(DEVICE_NAMES)}")
    if ":" in device and (kind not in _NUMBERED or not number.isdecimal()):
        raise BackendError(f"unknown device {device!r}; a number is for {' and '.join(_NUMBERED)}, as in cuda:1")
    if device != "auto":
        return _load(card, folder, device, threads)
    failed: list[str] = []
    surprising: list[str] = []
    for name, one in DEVICES.items():
        if _engine(name).absent(name) or not set(one.forms) & set(card.forms):
            continue
        try:
            found = _load(card, folder, name, threads, unasked=True)
        except _NotFasterError:
            continue
        except BackendError as error:  # such as missing libraries of CUDA: the next may work
            failed.append(str(error))
            if one.chooses:  # it is installed, and should have worked
                surprising.append(str(error))
            continue
        for said in surprising:
            _log.warning("%s", said)
        return found
    if not failed:
        card.form(*DEVICES["cpu"].forms)  # says what is missing
    raise BackendError("; ".join(failed))


def check_ports(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse a network that does not take and give float32 images, and as much state as it takes.

    Args:
        inputs: the types of its inputs, as the engine calls them.
        outputs: those of its outputs.

    Raises:
        BackendError: it is none of ours.
    """
    if not inputs or len(inputs) != len(outputs) or {*inputs, *outputs} - {"tensor(float)", "f32"}:
        takes, gives = (", ".join(types) or "nothing" for types in (inputs, outputs))
        raise BackendError(
            f"the network takes {takes} and gives {gives}; expected an image as float32 (N, 3, H, W) for an image, "
            "and behind it float32 state for state"
        )


class _NotFasterError(BackendError):
    """The device would do, but another is faster."""


def _load(card: ModelCard, folder: Path, device: str, threads: int | None, *, unasked: bool = False) -> Backend:
    kind = device.partition(":")[0]
    engine = _engine(kind)
    if reason := engine.absent(kind):
        raise BackendError(reason)
    try:
        form = card.form(*DEVICES[kind].forms)
    except WeightsError as error:
        raise WeightsError(f"{error}; {device} takes no other, try --device cpu") from None
    if DEVICES[kind].chooses:
        form, faster = engine.choose(card, folder, [one for one in DEVICES[kind].forms if one in card.forms])
        if unasked and not faster:
            raise _NotFasterError(device)
    return engine.load(read_weights(card, folder, form), form=form, device=device, threads=threads)


class _Engine(Protocol):
    absent: Callable[[str], str]
    choose: Callable[[ModelCard, Path, Sequence[str]], tuple[str, bool]]  # where `Device.chooses`

    def load(self, model: bytes, *, form: str, device: str, threads: int | None) -> Backend: ...


def _engine(device: str) -> _Engine:
    module: _Engine = importlib.import_module(f"repix.infer.backends.{DEVICES[device].engine}")
    return module
