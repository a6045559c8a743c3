"""A network's ONNX in int8, for CPUs, by ONNX Runtime's quantiser."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from torch import Tensor, nn
from torch.nn import functional as F

from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.memory import zeros
from repix.models.adapter import Adapter

Doubles = NDArray[np.float64]
# without AVX-512 VNNI products of bytes are summed in pairs, in 16 bits: weights of 7 bits fit there
_MOST = 64
# images in one of the batches whose extremes are averaged: those of single crops are so small that bright rain is cut
# off, which cost repixnet 1 dB
_LEAST = 8
# of the ranges of activations, in steps of which each saves a half or a third of a bit
_SHARES = (1.0, 0.84, 0.7, 0.59)
# mean squared error: a third of a grey level off is none
_UNSEEN = 1e-6


def _keeps_float(net: nn.Module) -> tuple[str, ...]:
    """Names of the parts that stay in floating point."""
    if named := getattr(net, "keep_float", ()):
        return tuple(named)
    convolutions = [name for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    return (*convolutions[:1], *convolutions[-1:])


def _is_below(name: str, parts: tuple[str, ...]) -> bool:
    return any(f"{name}.".startswith(f"{part}.") for part in parts)


class _Calls:
    """As ONNX Runtime's quantiser wants to read them, `CalibrationDataReader`."""

    def __init__(self, names: Sequence[str], calls: Iterable[tuple[Tensor, ...]]) -> None:
        self._rest = ({name: x.numpy() for name, x in zip(names, call, strict=True)} for call in calls)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """What the next call gives, by the inputs' names."""
        return next(self._rest, None)


def _grouped(batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Batches of `_LEAST` images or clips and more, of those of one size that follow each other."""
    group: list[NDArray[np.float32]] = []
    for batch in batches:
        if group and (batch.shape[1:] != group[0].shape[1:] or sum(map(len, group)) >= _LEAST):
            yield np.concatenate(group)
            group = []
        group.append(batch)
    if group:
        yield np.concatenate(group)


def _calls(net: nn.Module, batches: Iterable[NDArray[np.float32]]) -> Iterator[tuple[Tensor, ...]]:
    """What a network is called with: each batch; of clips each frame, and what those before have left."""
    state = Adapter(net).state
    for batch in map(torch.from_numpy, _grouped(batches)):
        if not state:
            yield (batch,)
            continue
        carried = tuple(torch.from_numpy(one) for one in zeros(state, batch[:, 0].numpy()))
        for frame in batch.unbind(1):
            yield (frame, *carried)
            with torch.inference_mode():
                _, *following = net(frame, *carried)
            carried = tuple(following)


def to_int8(
    net: nn.Module, model: bytes, batches: Iterable[NDArray[np.float32]], *, keep_float: Sequence[str] | None = None
) -> bytes:
    """A network's ONNX with convolutions in int8, but sums in floating point.

    Args:
        net: what `model` was exported from; says what stays in floating point.
        model: ONNX in fp32, whose convolutions' weights bear the names that `net` gives them.
        batches: rainy images, (N, 3, H, W) in [0, 1], or clips, (N, T, 3, H, W), for a network that carries a state.
            The ranges of activations are taken from them: for each the mean over batches of eight and more, or their
            frames, of the smallest and the largest value; then of all ranges the share of 1 to 0.59 with which the
            images change least.
        keep_float: in place of the network's own word.

    Returns:
        ONNX with QuantizeLinear and DequantizeLinear around each such convolution, which ONNX Runtime fuses.
    """
    kept = _keeps_float(net) if keep_float is None else tuple(keep_float)
    calls = list(_calls(net, batches))
    graph = onnx.load_from_string(model).graph
    names = net.state_dict()
    # weights that are made of several have another name, which does not tell of what
    excluded = [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and (_is_below(node.input[1], kept) or node.input[1] not in names)
    ]
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises to optimise the graph first, which ONNX Runtime does anyway
    try:
        with tempfile.TemporaryDirectory() as name:
            source, result = Path(name) / "fp32.onnx", Path(name) / "int8.onnx"
            source.write_bytes(model)
            quantize_static(
                source,
                result,
                _Calls([one.name for one in graph.input], calls),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Relu"],
                per_channel=True,
                reduce_range=True,  # to _MOST
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                # the extremes of all batches would cost twice as many dB in light rain
                extra_options={"CalibMovingAverage": True},
            )
            rounded = onnx.load(result)
    finally:
        logging.root.setLevel(level)
    _spare_sums(rounded)
    _round_together(rounded, graph, _second_moments(net, calls[::4], kept))
    return _narrowed(rounded, model, calls[::4])


def _narrowed(rounded: onnx.ModelProto, exact: bytes, calls: Sequence[tuple[Tensor, ...]]) -> bytes:
    """The model with that share of its activations' ranges which brings it nearest to the exact one: the extremes are
    rare, and with them cut off everything else is rounded in finer steps (ACIQ, Banner et al. 2019, section 3)."""
    stored = {one.name: one for one in rounded.graph.initializer}
    scales: dict[str, NDArray[Any]] = {}
    biases: dict[str, NDArray[Any]] = {}
    for node in rounded.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        source = stored.get(node.input[0])
        # a bias in the steps of a convolution's sums, which are its input's times its weight's: others would keep ONNX
        # Runtime from fusing it
        if source is not None and source.data_type == onnx.TensorProto.INT32:
            biases[node.input[0]] = numpy_helper.to_array(source)
        if source is None or node.input[0] in biases:
            scales[node.input[1]] = numpy_helper.to_array(stored[node.input[1]])

    def put(name: str, values: NDArray[Any], like: NDArray[Any]) -> None:
        stored[name].CopyFrom(numpy_helper.from_array(values.astype(like.dtype), name))

    def made(model: bytes) -> list[Doubles]:
        backend = OnnxBackend(model)
        return [backend.run(x.numpy(), tuple(one.numpy() for one in state))[0].astype(float) for x, *state in calls]

    wanted = made(exact)
    candidates: list[tuple[float, bytes]] = []
    for share in _SHARES:
        for name, scale in scales.items():
            put(name, np.asarray(scale * share), scale)
        for name, bias in biases.items():
            put(name, np.rint(bias / share), bias)
        model: bytes = rounded.SerializeToString()
        errors = [np.square(y - z).mean((1, 2, 3)) for y, z in zip(made(model), wanted, strict=True)]
        # in decibels: an image with much rain must not outweigh ten with little
        candidates.append((float(np.log(np.concatenate(errors) + _UNSEEN).mean()), model))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _spare_sums(model: onnx.ModelProto) -> None:
    """Let only convolutions read what was rounded for them: the quantiser rounds it for everyone, so that what runs
    past the residual blocks is rounded at each, which is most of what int8 costs."""
    maker = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in ("Conv", "QuantizeLinear", "DequantizeLinear"):
            continue
        for place, name in enumerate(node.input):
            if name in maker and maker[name].op_type == "DequantizeLinear":
                rounds = maker[maker[name].input[0]]
                source = rounds.input[0]
                # what a convolution in int8 makes leaves it as bytes
                if source in maker and not _in_int8(maker[source], maker):
                    node.input[place] = source


def _in_int8(node: onnx.NodeProto, maker: Mapping[str, onnx.NodeProto]) -> bool:
    read = maker.get(node.input[0])
    return node.op_type == "Conv" and read is not None and read.op_type == "DequantizeLinear"


def _second_moments(net: nn.Module, calls: Iterable[tuple[Tensor, ...]], kept: tuple[str, ...]) -> dict[str, Doubles]:
    """By the name of each convolution but those kept, XᵀX over the patches X that it reads, (in·height·width)²."""
    moments: dict[str, Tensor] = {}

    def add(name: str, part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(part, nn.Conv2d)
        read = F.unfold(inputs[0], part.kernel_size, part.dilation, part.padding, part.stride)  # type: ignore[arg-type]
        moments[name] = moments.get(name, 0) + torch.einsum("nip,njp->ij", read, read).double()

    handles = [
        part.register_forward_pre_hook(partial(add, name))
        for name, part in net.named_modules()
        if isinstance(part, nn.Conv2d)
        and part.groups == 1
        and part.padding_mode == "zeros"
        and not _is_below(name, kept)
    ]
    try:
        with torch.inference_mode():
            for call in calls:
                net(*call)
    finally:
        for handle in handles:
            handle.remove()
    return {name: moment.numpy() for name, moment in moments.items()}


def _round_together(model: onnx.ModelProto, exact: onnx.GraphProto, moments: Mapping[str, Doubles]) -> None:
    """Round weights again, not each to the nearest, but so that what their convolution makes changes least."""
    weights = {one.name: one for one in exact.initializer}
    rounded = {one.name: one for one in model.graph.initializer}
    for name, moment in moments.items():
        if (levels := rounded.get(f"{name}.weight_quantized")) is None:
            continue
        weight = numpy_helper.to_array(weights[f"{name}.weight"])
        scale = numpy_helper.to_array(rounded[f"{name}.weight_scale"])
        found = least_change(weight.reshape(len(weight), -1), scale, moment)
        levels.CopyFrom(numpy_helper.from_array(found.reshape(weight.shape), levels.name))


def least_change(weight: NDArray[np.float32], scale: NDArray[np.float32], moment: Doubles) -> NDArray[np.int8]:
    """Levels Q of weights W that make tr (Q·scale - W) XᵀX (Q·scale - W)ᵀ small: one input is rounded after the other,
    and those that are left make up for its error (GPTQ, Frantar et al. 2023, algorithm 1; most important inputs first).

    Args:
        weight: (out, inputs).
        scale: (out,), of a level.
        moment: XᵀX, (inputs, inputs).
    """
    order = np.argsort(-moment.diagonal())
    left, step = weight[:, order].astype(float), scale.astype(float)
    damped = moment[np.ix_(order, order)] + np.eye(len(order)) * (0.01 * moment.diagonal().mean() + 1e-12)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    levels = np.empty(weight.shape, np.int8)
    for k, place in enumerate(order):
        levels[:, place] = np.clip(np.rint(left[:, k] / step), -_MOST, _MOST)
        error = (left[:, k] - levels[:, place] * step) / factor[k, k]
        left[:, k + 1 :] -= np.outer(error, factor[k, k + 1 :])
    return levels
