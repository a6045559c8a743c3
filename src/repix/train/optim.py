"""Muon for convolutions: updates of equal strength in every direction, so that fewer steps are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

# Layers that read or write images have fewer channels on one side; they are left to AdamW.
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
            alike: dict[torch.Size, list[Tensor]] = {}  # kernels of one shape take their step together
            for kernel in group["params"]:
                if kernel.grad is not None and kernel.ndim == 4 and min(kernel.shape[:2]) >= _HIDDEN:
                    alike.setdefault(kernel.shape, []).append(kernel)
            for kernels in alike.values():
                self._orthogonal_step(kernels, group)
        super().step()
        return loss

    def _orthogonal_step(self, kernels: list[Tensor], group: dict[str, Any]) -> None:
        updates = orthogonalized(torch.stack([self._momentum(kernel).flatten(1) for kernel in kernels]))
        size = 0.2 * max(updates.shape[1:]) ** 0.5
        for kernel, update in zip(kernels, updates, strict=True):
            kernel.mul_(1 - group["lr"] * group["weight_decay"])
            kernel.add_(update.view(kernel.shape), alpha=-group["lr"] * size)
            kernel.grad = None  # nothing left for AdamW to do

    def _momentum(self, kernel: Tensor) -> Tensor:
        state, grad = self.state[kernel], kernel.grad
        assert grad is not None
        if not state:
            state["step"] = torch.zeros(())  # AdamW looks for it when it is restored
            state["momentum"] = torch.zeros_like(kernel)
        state["momentum"].lerp_(grad, 1 - _MOMENTUM)
        return grad.lerp(state["momentum"], _MOMENTUM)  # Nesterov's


def orthogonalized(matrices: Tensor) -> Tensor:
    """U·Vᵀ of matrices U·S·Vᵀ, approximately (singular values of 0.7 to 1.2), by products alone.

    A step of the iteration is X ← P·X, P a polynomial of A = X·Xᵀ; so A ← P·A·P, and the long matrix is multiplied
    but twice, to make the first A and by the product of all P: on a CPU float32 then takes less time than bfloat16 did.

    Args:
        matrices: (K, M, N).
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalized(matrices.mT).mT
    a, b, c = _COEFFICIENTS
    x = matrices.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    gram, product = x @ x.mT, torch.eye(x.shape[1], device=x.device)
    for _ in range(_ITERATIONS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor @ product
        gram = factor @ gram @ factor
    result: Tensor = product @ x
    return result
