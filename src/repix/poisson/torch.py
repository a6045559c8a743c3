"""The exact solve as a torch layer, and blending by gradient descent, for comparison.

Gradient descent minimises the squared difference of the Laplacians of the pasted and the blended image with Adam. That
loss squares the condition number of the equation, so thousands of steps leave errors of tens of grey levels; `descend`
says how many. Given the solver's V-cycle as a preconditioner the very same loss is done in a few steps.

The base install has no torch, so it is imported inside functions: the first call names the extra that brings it,
`pip install 'repix[train]'`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repix._types import require
from repix.errors import InputError, counted
from repix.poisson.blend import BlendReport
from repix.poisson.mask import cut, target_windows
from repix.poisson.solver import solve_poisson, v_cycle

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DescentReport:
    """Where the descent ended.

    Attributes:
        loss: `cal_laplacian_loss` at the end, images in [0, 1].
        error_levels: largest difference of any pixel from the exact solution, in grey levels of 255.
        steps: steps taken.
    """

    loss: float
    error_levels: float
    steps: int


def laplacian(x: Tensor) -> Tensor:
    """Sum of each pixel's differences to its neighbours inside the image.

    Args:
        x: `(..., H, W)`.

    Returns:
        `(..., H, W)`; at the frame, neighbours that are not there count nothing (free edges).
    """
    torch = _torch()
    right, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    # Slices: conv2d with one channel is about ten times slower on a CPU
    pad = torch.nn.functional.pad
    sums: Tensor = pad(right, (0, 1)) - pad(right, (1, 0)) + pad(down, (0, 0, 0, 1)) - pad(down, (0, 0, 1, 0))
    return sums


def cal_laplacian_loss(foreground: Tensor, foreground_mask: Tensor, blended: Tensor, background_mask: Tensor) -> Tensor:
    """How far the Laplacians of the two images differ inside their masks.

    Args:
        foreground: the image that is pasted, `(N, C, H, W)`.
        foreground_mask: `(1, 1, H, W)`, above 0 inside.
        blended: the image so far, `(N, C, H', W')`.
        background_mask: `(1, 1, H', W')`: the same region, moved by its offset in the target.

    Returns:
        The mean squared difference, a scalar.

    Raises:
        InputError: the masks have different numbers of pixels, or none.
    """
    here, there = foreground_mask[0, 0] > 0, background_mask[0, 0] > 0
    if int(here.sum()) != int(there.sum()) or not bool(here.any()):
        raise InputError(
            f"the masks have {int(here.sum())} and {int(there.sum())} pixels; "
            "both must be the same region, and not empty"
        )
    loss: Tensor = _torch().nn.functional.mse_loss(laplacian(blended)[..., there], laplacian(foreground)[..., here])
    return loss


def descend(
    source: Tensor,
    target: Tensor,
    mask: NDArray[np.bool_],
    *,
    steps: int = 5000,
    learning_rate: float = 1e-3,
    preconditioned: bool = False,
    on_step: Callable[[int, float, float], None] | None = None,
) -> tuple[Tensor, DescentReport]:
    """Blends by descent on `cal_laplacian_loss`.

    Args:
        source: `(C, H, W)` in [0, 1], already moved by its offset.
        target: `(C, H, W)` in [0, 1]; the descent starts from nine parts of it and one of the source.
        mask: `(H, W)`, True where the source is pasted; it must leave some pixel out. Work is on its bounding box.
        steps: number of steps.
        learning_rate: of Adam, a tenth of it in the second half; not used when preconditioned.
        preconditioned: instead of Adam, plain descent with the solver's V-cycle applied to the gradient once for each
            of the two Laplacians in it.
        on_step: called with the step, the loss and the error in grey levels after every hundredth of the steps.

    Returns:
        The blended image `(C, H, W)`, not clipped, equal to the target outside; and a report.

    Raises:
        InputError: sizes that differ, or a mask that is empty or covers everything.
    """
    if source.shape != target.shape or source.ndim != 3 or mask.shape != source.shape[1:]:
        raise InputError(
            f"source {tuple(source.shape)}, target {tuple(target.shape)} and mask {mask.shape} must be (C, H, W), "
            "the same, and (H, W)"
        )
    torch = _torch()
    if not mask.any() or mask.all():
        raise InputError("the mask must select some pixels and leave some out")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2))
    mask = mask[box]
    whole, target, source = target, target[(slice(None), *box)].detach(), source[(slice(None), *box)].detach()
    inside = torch.as_tensor(mask, device=source.device)
    exact = poisson_blend(source[None], target[None], mask, tolerance=1e-4)[0]
    inverse = v_cycle(mask, source) if preconditioned else None

    selection = inside[None, None]
    blended = torch.where(inside, 0.9 * target + 0.1 * source, target).requires_grad_()
    optimizer = torch.optim.Adam([blended], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, steps // 2), gamma=0.1)
    loss, error = torch.zeros(()), 0.0
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = cal_laplacian_loss(source[None], selection, torch.where(inside, blended, target)[None], selection)
        loss.backward()  # type: ignore[no-untyped-call]
        assert blended.grad is not None
        if inverse is None:
            optimizer.step()
            schedule.step()
        else:
            with torch.no_grad():
                gradient = blended.grad * (inside.sum() * len(source) / 2)
                blended -= inverse(inverse(gradient))
        if step == steps or step % max(1, steps // 100) == 0:
            error = 255 * float(((blended.detach() - exact) * inside).abs().max())
            if on_step is not None:
                on_step(step, float(loss.detach()), error)
    result = whole.detach().clone()
    result[(slice(None), *box)] = torch.where(inside, blended.detach(), target)
    return result, DescentReport(float(loss.detach()), error, steps)


def blend_by_descent(
    source: NDArray[Any],
    target: NDArray[Any],
    *,
    mask: NDArray[np.bool_],
    offset: tuple[int, int],
    steps: int,
    on_step: Callable[[int, float, float], None] | None = None,
) -> tuple[NDArray[Any], BlendReport]:
    """Gradient descent on arrays, for comparison with `repix.blend`, whose form it has.

    Args:
        source, target: `(H, W, C)` of one type, uint8 or uint16.
        mask: `(H, W)` of the source's size, True where it is pasted.
        offset: (y, x) of the source's top left corner in the target.
        steps, on_step: as in `descend`.

    Returns:
        The image, equal to the target outside, and a report with the true error.

    Raises:
        InputError: the mask is empty, lies outside the target, or covers all of it.
        MissingExtraError: torch is not installed.
    """
    torch = _torch()
    target_windows(mask, offset, target.shape[:2])  # refuses what lies outside
    window = [slice(-start, size - start) for start, size in zip(offset, target.shape[:2], strict=True)]
    inside = cut(mask, window[0], window[1], "constant")
    full = np.iinfo(target.dtype).max
    planes = [
        torch.from_numpy((image / np.float32(full)).transpose(2, 0, 1).copy())
        for image in (cut(source, window[0], window[1], "edge"), target)
    ]
    blended, report = descend(planes[0], planes[1], inside, steps=steps, on_step=on_step)
    pixels = np.clip(np.rint(blended.numpy().transpose(1, 2, 0) * full), 0, full).astype(target.dtype)
    return np.where(inside[..., None], pixels, target), BlendReport(
        report.error_levels, steps, f"{counted(steps, 'step')} of Adam", int(inside.sum())
    )


def poisson_blend(source: Tensor, target: Tensor, mask: NDArray[np.bool_], *, tolerance: float = 1e-3) -> Tensor:
    """The exact blend as a layer: differentiable, any number of times, in both images. Backward is another solve.

    Args:
        source: `(N, C, H, W)`, float32 or float64, already moved by its offset.
        target: `(N, C, H, W)`.
        mask: `(H, W)`, True where the source is pasted. One that covers everything keeps the target's mean.
        tolerance: largest error of a pixel, relative to the largest value on the right-hand side of the equation; in
            the backward pass, relative to the largest incoming gradient.

    Returns:
        `(N, C, H, W)`, equal to the target outside the mask.

    Raises:
        InputError: sizes that differ.
    """
    if source.shape != target.shape or source.ndim != 4 or mask.shape != source.shape[2:]:
        raise InputError(
            f"source {tuple(source.shape)}, target {tuple(target.shape)} and mask {mask.shape} must be (N, C, H, W), "
            "the same, and (H, W)"
        )
    torch = _torch()
    inside = torch.as_tensor(mask, device=source.device)
    pasted = torch.where(inside, source, target)
    b = (laplacian(pasted) - laplacian(source)) * inside
    blended: Tensor = pasted + _solve()(b.flatten(0, 1), mask, tolerance).view_as(b)
    if mask.all():
        blended = blended + (target - source).mean((2, 3), keepdim=True)
    return blended


def _torch() -> Any:
    require("train", "torch")
    import torch

    return torch


@functools.cache
def _solve() -> Callable[[Tensor, NDArray[np.bool_], float], Tensor]:
    """The solve as a function that autograd knows."""
    torch = _torch()

    class Solve(torch.autograd.Function):  # type: ignore[misc, name-defined]
        """x = A^-1 b. A is symmetric, so the gradient with respect to b is A^-1 times the one with respect to x."""

        @staticmethod
        def forward(ctx: Any, b: Tensor, mask: NDArray[np.bool_], tolerance: float) -> Tensor:
            ctx.mask, ctx.tolerance = mask, tolerance
            scale = float(b.abs().max()) or 1.0
            solution: Tensor = solve_poisson(b, mask, tolerance=tolerance * scale).x
            return solution

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
            (gradient,) = gradients
            inside = torch.as_tensor(ctx.mask, device=gradient.device)
            return _solve()(gradient * inside, ctx.mask, ctx.tolerance), None, None

    apply: Callable[[Tensor, NDArray[np.bool_], float], Tensor] = Solve.apply
    return apply


@functools.cache
def _layer() -> Any:
    """The class `PoissonBlend`, whose base is torch's."""

    class PoissonBlend(_torch().nn.Module):  # type: ignore[misc]
        """`poisson_blend` as a module.

        Args:
            mask: `(H, W)`, True where the source is pasted.
            tolerance: as in `poisson_blend`.
        """

        __qualname__ = "PoissonBlend"  # where pickle finds it

        def __init__(self, mask: NDArray[np.bool_], tolerance: float = 1e-3) -> None:
            super().__init__()
            self.mask, self.tolerance = mask, tolerance

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            """`(N, C, H, W)` twice -> the same."""
            return poisson_blend(source, target, self.mask, tolerance=self.tolerance)

    return PoissonBlend


def __getattr__(name: str) -> Any:
    if name == "PoissonBlend":
        return _layer()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
