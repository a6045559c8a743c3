"""Muon for convolutions: updates of equal strength in every direction, so that fewer steps are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

# Layers that read or write pictures have fewer channels on one side; they are left to AdamW.
_HIDDEN = 16
_MOMENTUM = 0.95
# Newton and Schulz' iteration with Jordan's coefficients, and how often
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al. 2024) for the kernels of hidden convolutions, AdamW for everything else.

    The momentum of each kernel, as a matrix (out, in·height·width), is replaced by the nearest orthogonal one, scaled
    to the size that AdamW's updates have (Liu et al. 2025, "Muon is scalable for LLM training", eq. 4), so learning
    rates and weight decay are those of AdamW. torch.optim.Muon takes matrices only.

    Args:
        params: of a network; kernels (out, in, height, width) with 16 channels or more on both sides are Muon's.
        lr: learning rate.
        betas: of AdamW.
        weight_decay: of both.
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; `closure`, if there is one, fills the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None and kernel.ndim == 4 and min(kernel.shape[:2]) >= _HIDDEN:
                    self._orthogonal_step(kernel, kernel.grad, group)
                    kernel.grad = None  # nothing left for AdamW to do
        super().step()
        return loss

    def _orthogonal_step(self, kernel: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[kernel]
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it when it is restored
            state["momentum"] = torch.zeros_like(kernel)
        momentum = state["momentum"]
        momentum.lerp_(grad, 1 - _MOMENTUM)
        update = grad.lerp(momentum, _MOMENTUM).flatten(1)  # Nesterov's
        size = 0.2 * max(update.shape) ** 0.5
        kernel.mul_(1 - group["lr"] * group["weight_decay"])
        kernel.add_(orthogonalized(update).view(kernel.shape).to(kernel.dtype), alpha=-group["lr"] * size)


def orthogonalized(matrix: Tensor) -> Tensor:
    """U·Vᵀ of a matrix U·S·Vᵀ, approximately (singular values of .7 to 1.2), by products alone, in bfloat16.

    Args:
        matrix: (M, N).
    """
    a, b, c = _COEFFICIENTS
    x: Tensor = matrix.bfloat16()
    if tall := len(x) > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
