"""The recurrence against a plain loop: values, derivatives, ONNX at any size, speed."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from repix.models.irnn import DIRECTIONS, IRNN, irnn
from repix.train.export import to_onnx


def loop(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """Pixel row after pixel row, as other ports to CPUs do it: the reference."""
    H, W = x.shape[2:]
    order = {"up": range(H - 1, -1, -1), "right": range(W), "down": range(H), "left": range(W - 1, -1, -1)}
    outs = []
    for direction, name in enumerate(DIRECTIONS):
        dim = 2 if name in ("up", "down") else 3
        found: dict[int, Tensor] = {}
        before = None
        for i in order[name]:
            row = x[:, :, i, :] if dim == 2 else x[:, :, :, i]
            if before is not None:
                row = row + weight[direction, :, None] * before
                if bias is not None:
                    row = row + bias[direction, :, None]
            before = found[i] = torch.relu(row)
        outs.append(torch.stack([found[i] for i in range(len(found))], dim))
    return tuple(outs)


def arguments(shape: tuple[int, ...], *, bias: bool = True, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()
    weight = torch.randn((4, shape[1]), dtype=dtype, generator=generator).requires_grad_()
    if not bias:
        return x, weight
    return x, weight, torch.randn((4, shape[1]), dtype=dtype, generator=generator).requires_grad_()


SHAPES = [(2, 3, 5, 6), (1, 2, 1, 4), (1, 2, 4, 1), (2, 1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_values(shape: tuple[int, ...], bias: bool) -> None:
    given = arguments(shape, bias=bias)
    for got, expected in zip(irnn(*given), loop(*given), strict=True):
        torch.testing.assert_close(got, expected)
        assert got.is_contiguous()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_derivative(shape: tuple[int, ...], bias: bool) -> None:
    assert torch.autograd.gradcheck(irnn, arguments(shape, bias=bias))


def test_strided_input_and_some_derivatives() -> None:
    """A transposed input, only one output used, weights that need no derivative; the input is not overwritten."""
    x, weight, bias = arguments((2, 3, 5, 6))
    turned = x.detach().mT.clone().mT.requires_grad_()
    before = turned.detach().clone()
    irnn(turned, weight.detach(), bias.detach())[1].square().sum().backward()
    loop(x, weight, bias)[1].square().sum().backward()
    torch.testing.assert_close(turned.grad, x.grad)
    assert torch.equal(turned.detach(), before)


def test_half_precision_sums_in_float32() -> None:
    x = torch.full((1, 1, 400, 2), 0.01, dtype=torch.bfloat16)
    (_, _, down, _) = irnn(x, torch.ones(4, 1))
    assert down.dtype == torch.bfloat16
    torch.testing.assert_close(down[0, 0, -1].float(), torch.full((2,), 4.0), atol=0.05, rtol=0)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_module(shared: bool, bias: bool) -> None:
    net = IRNN(3, shared=shared, bias=bias)
    assert net.weight.shape == ((1, 3) if shared else (4, 3))
    assert (net.bias is not None) == bias
    outs = net(torch.randn(1, 3, 4, 5))
    torch.stack(outs).sum().backward()
    assert net.weight.grad is not None
    assert net.weight.grad.shape == net.weight.shape


class _Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.irnn = IRNN(3)
        nn.init.normal_(self.irnn.weight)
        assert self.irnn.bias is not None
        nn.init.normal_(self.irnn.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.irnn(x), dim=1)


def test_exported_at_any_size() -> None:
    torch.manual_seed(0)
    net = _Joined()
    session = ort.InferenceSession(to_onnx(net), providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 7, 9), (2, 3, 33, 12), (1, 3, 1, 1), (1, 3, 2, 50)):
        x = torch.randn(shape) * 0.1
        with torch.no_grad():
            expected = torch.cat(loop(x, net.irnn.weight, net.irnn.bias), dim=1).numpy()
        (got,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(got, expected, atol=1e-4 * max(1, np.abs(expected).max()))


def test_faster_than_a_loop() -> None:
    """Forward and backward, one thread; at full size the factor is larger."""
    x, weight = arguments((2, 16, 64, 64), bias=False, dtype=torch.float32)
    weight = (weight.detach() * 0.1).requires_grad_()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def seconds(function: object) -> float:
        start = time.process_time()
        torch.stack(function(x, weight)).sum().backward()  # type: ignore[operator]
        return time.process_time() - start

    try:
        times = [(seconds(loop), seconds(irnn)) for _ in range(4)][1:]
    finally:
        torch.set_num_threads(threads)
    assert median(slow / fast for slow, fast in times) > 2
