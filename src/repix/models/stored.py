"""A model's network back in torch: its weights from safetensors, or out of the ONNX file where there are none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from repix._types import one_line
from repix.errors import BackendError, RecipeError, WeightsError, counted
from repix.features import check_finite
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.backends.torch import TorchBackend
from repix.infer.memory import zeros
from repix.models import create_model
from repix.models.adapter import Adapter
from repix.named import check_trusted, own_names
from repix.weights import CARD_NAME, TORCH_FORMS, ModelCard, read_weights

# ONNX Runtime and torch sum in different orders; more than this is another network.
MOST_DIFFERENCE = 1e-4


def load_state(card: ModelCard, folder: Path, *, trust: bool = False) -> dict[str, Tensor]:
    """A model's weights by the names that its network has for them.

    Args:
        card: the card found in `folder`.
        folder: where card and weights lie.
        trust: run Python code that the card names, to build the network that an ONNX file is compared with.

    Raises:
        UntrustedCodeError: the card names code, and it is not trusted; of a model in ONNX alone.
        WeightsError: damaged weights, such with NaN or infinity, none in floating point, or an ONNX file that does not
            hold the network's own.
    """
    form = _torch_form(card)
    if form.startswith("onnx"):
        return load_network(card, folder, trust=trust).state_dict()
    return _from_safetensors(read_weights(card, folder, form), folder)


def load_network(card: ModelCard, folder: Path, *, trust: bool = False) -> nn.Module:
    """A model's network, in evaluation mode.

    Args:
        card: the card found in `folder`.
        folder: where card and weights lie.
        trust: run Python code that the card names.

    Raises:
        UntrustedCodeError: the card names code, and it is not trusted.
        WeightsError: damaged weights, none in floating point, or such that are not this network's or not finite.
    """
    check_trusted([card.arch, *own_names(card.args)], where=f"{folder / CARD_NAME}", trust=trust)
    form = _torch_form(card)
    data = read_weights(card, folder, form)
    if form.startswith("onnx"):
        return network_of_onnx(data, card, folder / card.forms[form].file)
    return _filled(card, _from_safetensors(data, folder), folder)


def network_of_onnx(model: bytes, card: ModelCard, where: Path) -> nn.Module:
    """The torch network of an ONNX file in floating point, which `repix.train.export.to_onnx` has written.

    The exporter keeps the names of weights, with exceptions: it leaves out zero biases, stores equal tensors once, and
    what it computes of several (a convolution and its batch norm) may go by the name of one of them. So the network is
    run beside the file.

    Args:
        model: the file's content.
        card: names the network and its arguments.
        where: the file, for messages.

    Raises:
        WeightsError: no ONNX, one that does not hold all of the network's weights as they are, or NaN in it.
    """
    stored, wanted = _initializers(model, where), _shapes(card)
    state = {key: stored[key] for key in wanted if key in stored}
    check_finite(state, where)
    state |= {key: torch.zeros(wanted[key]) for key in wanted if key not in stored and key.endswith("bias")}
    try:
        net = _filled(card, state, where)
    except WeightsError as error:
        raise WeightsError(f"{error}; {_ADVICE}") from None
    try:
        worst = float(np.max(list(onnx_parity(net, model, multiple_of=card.multiple_of).values())))
    except BackendError as error:
        raise WeightsError(f"{where}: {error}; {_ADVICE}") from error
    if not math.isfinite(worst):
        raise WeightsError(f"{where}: what it computes is NaN or infinite; these weights are damaged, take others")
    if worst > MOST_DIFFERENCE:
        raise WeightsError(
            f"{where}: {card.arch!r} with the weights in it differs from it by {worst:.1e} (at most "
            f"{MOST_DIFFERENCE:.0e} is accepted): it was made of other weights; {_ADVICE}"
        )
    return net


def onnx_parity(net: nn.Module, model: bytes, *, multiple_of: int = 1) -> dict[str, float]:
    """Largest absolute difference between ONNX Runtime and torch at three sizes other than the traced one.

    Returns:
        "HxW" -> difference on random images in [0, 1], and in what is carried from frame to frame; NaN where one is.
    """
    torch_, onnx_ = TorchBackend(net), OnnxBackend(model)
    unit = multiple_of * max(1, 16 // multiple_of)
    found = {}
    for rows, columns in ((1, 3), (5, 4), (7, 11)):
        x = torch.rand(1, 3, rows * unit, columns * unit, generator=torch.Generator().manual_seed(rows)).numpy()
        state = zeros(Adapter(net).state, x)
        if state:  # a second frame of a scene that stands still: where noise has moved to is a matter of rounding
            _, state = torch_.run(x, state)
        (expected, after), (got, next_) = torch_.run(x, state), onnx_.run(x, state)
        pairs = zip((expected, *after), (got, *next_), strict=True)
        # not Python's max, to which NaN is sometimes the smaller
        found[f"{rows * unit}x{columns * unit}"] = float(np.max([np.abs(a - b).max() for a, b in pairs]))
    return found


_ADVICE = "take a model with safetensors (repix export without --onnx-only)"


def _torch_form(card: ModelCard) -> str:
    try:
        return card.form(*TORCH_FORMS)
    except WeightsError as error:
        raise WeightsError(f"{error}; torch needs weights in floating point") from None


def _from_safetensors(data: bytes, where: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = safetensors.torch.load(data)
    except Exception as error:
        raise WeightsError(f"{where}: its weights are no safetensors ({one_line(error)})") from error
    check_finite(state, where)
    return state


def _initializers(model: bytes, where: Path) -> dict[str, Tensor]:
    """What an ONNX file stores, by name; half precision as it is cast (`repix.train.export.to_half`)."""
    import onnx  # takes a fifth of a second

    try:
        graph = onnx.load_from_string(model).graph
        elsewhere = [one.name for one in graph.initializer if onnx.external_data_helper.uses_external_data(one)]
        stored = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer if one.name not in elsewhere}
    except Exception as error:
        raise WeightsError(f"{where}: its weights are no ONNX ({one_line(error)}); {_ADVICE}") from error
    if not graph.node:
        raise WeightsError(f"{where}: its weights are no ONNX (it holds no network); {_ADVICE}")
    if elsewhere:
        raise WeightsError(
            f"{where}: {counted(len(elsewhere), 'tensor lies', 'tensors lie')} in a file beside it, first "
            f"{elsewhere[0]}; expected all weights in one file: {_ADVICE}"
        )
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]].astype(np.float32)
    return {name: torch.from_numpy(values.copy()) for name, values in stored.items()}


def _shapes(card: ModelCard) -> dict[str, tuple[int, ...]]:
    """Of a network's weights, by name; nothing is allocated."""
    try:
        with torch.device("meta"):
            state = create_model(card.arch, **card.args).state_dict()
    except RecipeError as error:  # of a recipe that nobody has written
        raise WeightsError(f"the card of {card.name!r} names a network that cannot be made: {error}") from error
    return {key: tuple(value.shape) for key, value in state.items()}


def _filled(card: ModelCard, state: dict[str, Tensor], where: Path) -> nn.Module:
    """The network of a card with these weights.

    Raises:
        WeightsError: they are another network's.
    """
    got, wanted = {key: tuple(value.shape) for key, value in state.items()}, _shapes(card)
    odd = sorted(key for key in wanted.keys() | got.keys() if wanted.get(key) != got.get(key))
    if odd:  # before anything is allocated that the file does not hold
        found, expected = (str(shapes.get(odd[0], "no tensor")) for shapes in (got, wanted))
        raise WeightsError(
            f"{where}: the weights don't fit {card.arch!r} with the card's args: "
            f"{counted(len(odd), 'tensor differs', 'tensors differ')}, first {odd[0]}: got {found}, expected {expected}"
        )
    net = create_model(card.arch, **card.args)
    net.load_state_dict(state)
    return net.eval()
