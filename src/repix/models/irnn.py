"""The four-directional recurrence of SPANet, and its fast derivative.

For each of four directions, with one weight w and one bias b for each channel (Wang et al. 2019, eq. 2; Bell et al.
2016, section 3.2):

    h_0 = max(x_0, 0)        h_i = max(w·h_(i-1) + b + x_i, 0)

along the direction: `up` runs from the last row to the first, `left` from the last column to the first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

DIRECTIONS = ("up", "right", "down", "left")


class IRNN(nn.Module):
    """The recurrence in all `DIRECTIONS`.

    Args:
        channels: C.
        start: initial weight.
        bias: whether there are biases (the published SPANet has them).
        shared: one weight (and bias) for all four directions.
    """

    def __init__(self, channels: int, *, start: float = 0.2, bias: bool = True, shared: bool = False) -> None:
        super().__init__()
        rows = 1 if shared else len(DIRECTIONS)
        self.weight = nn.Parameter(torch.full((rows, channels), start))
        self.bias = nn.Parameter(torch.zeros(rows, channels)) if bias else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) -> four of the same, in the order of `DIRECTIONS`."""
        four = (len(DIRECTIONS), x.shape[1])
        return irnn(x, self.weight.expand(four), None if self.bias is None else self.bias.expand(four))


def irnn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """The recurrence, differentiable once; half precision is computed in float32, where long sums don't drift.

    Args:
        x: (N, C, H, W).
        weight: (4, C), of any sign, in the order of `DIRECTIONS`.
        bias: (4, C) or None.

    Returns:
        Four tensors (N, C, H, W) of the type of x, in the order of `DIRECTIONS`.
    """
    if torch.compiler.is_compiling():
        return _exportable(x, weight, bias)
    if x.dtype in (torch.float16, torch.bfloat16):
        outs = irnn(x.float(), weight.float(), None if bias is None else bias.float())
        return tuple(out.to(x.dtype) for out in outs)
    result: tuple[Tensor, ...] = _Recurrence.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result


class _Recurrence(torch.autograd.Function):
    """Two in-place operations on each row; autograd would keep a graph node and three tensors for each instead.

    Columns are made rows by a transposition, one pass over memory, so that every operation is on contiguous runs.
    Four outputs instead of one: the C library maps an allocation of 32 MB or more anew each time, and the page faults
    cost more than the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
        upright, turned = x.contiguous(), x.mT.contiguous()
        states: list[Tensor] = []
        for direction, name in enumerate(DIRECTIONS):
            source = upright if name in _VERTICAL else turned
            state = source.clone() if bias is None else source + bias[direction, :, None, None]
            rows = _rows(state, name)
            rows[0].copy_(_rows(source, name)[0]).clamp_min_(0)
            before = rows[0]
            w = weight[direction, :, None]
            for row in rows[1:]:
                before = row.addcmul_(w, before).clamp_min_(0)
            states.append(state)
        ctx.save_for_backward(weight, *states)
        return tuple(
            state if name in _VERTICAL else state.mT.contiguous()
            for name, state in zip(DIRECTIONS, states, strict=True)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        weight, *states = ctx.saved_tensors
        grad_x: dict[bool, Tensor] = {}
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        with_bias = ctx.needs_input_grad[2]
        for direction, name in enumerate(DIRECTIONS):
            vertical = name in _VERTICAL
            grad = grads[direction] if vertical else grads[direction].mT
            grad = grad.clone(memory_format=torch.contiguous_format)  # becomes the derivative to x + b in place
            rows, state_rows = _rows(grad, name), _rows(states[direction], name)
            w = weight[direction, :, None]
            weight_sum, bias_sum = torch.zeros_like(rows[0]), torch.zeros_like(rows[0])
            _mask(rows[-1], state_rows[-1])
            for i in range(len(rows) - 1, 0, -1):
                row, before = rows[i], state_rows[i - 1]
                weight_sum.addcmul_(row, before)
                if with_bias:
                    bias_sum.add_(row)
                _mask(rows[i - 1].addcmul_(w, row), before)
            grad_weight[direction], grad_bias[direction] = weight_sum.sum((0, 2)), bias_sum.sum((0, 2))
            grad_x[vertical] = grad_x[vertical].add_(grad) if vertical in grad_x else grad
        total = grad_x[True].add_(grad_x[False].mT.contiguous())  # a transposed operand is slower than a copy
        return total, grad_weight, grad_bias if with_bias else None


_VERTICAL = ("up", "down")
_BACKWARDS = ("up", "left")


def _rows(x: Tensor, direction: str) -> tuple[Tensor, ...]:
    """Views (N, C, M) along the direction; x is transposed for horizontal ones."""
    rows = x.unbind(-2)
    return rows[::-1] if direction in _BACKWARDS else rows


def _mask(grad: Tensor, state: Tensor) -> None:
    """Zero, in place, the derivative where max(…, 0) was 0."""
    torch.ops.aten.threshold_backward.grad_input(grad, state, 0, grad_input=grad)


def _exportable(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """The same by `scan`, which ONNX has as an operator: a loop over rows would bake the traced size in.

    Opposite directions run as one batch, one of them mirrored.
    """
    up, down = _scanned(x.permute(2, 0, 1, 3).contiguous(), weight[0::2], None if bias is None else bias[0::2])
    # `right` runs forwards and `left` backwards: the other way round than `down` and `up`
    left, right = _scanned(x.permute(3, 0, 1, 2).contiguous(), weight[[3, 1]], None if bias is None else bias[[3, 1]])
    up, down = up.permute(1, 2, 0, 3), down.permute(1, 2, 0, 3)
    left, right = left.permute(1, 2, 3, 0), right.permute(1, 2, 3, 0)
    return up, right, down, left


def _scanned(rows: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows (L, N, C, M), weight and bias (2, C) for backwards and forwards -> two of (L, N, C, M)."""
    from torch._higher_order_ops import scan

    both = torch.stack((rows.flip(0), rows), dim=1)
    w = weight[:, None, :, None]
    if bias is not None:
        both = torch.cat((both[:1], both[1:] + bias[:, None, :, None]))

    def step(before: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.relu(before * w + row)
        return state, state.clone()

    _, states = scan(step, torch.zeros_like(both[0]), both)
    return states[:, 0].flip(0), states[:, 1]
