"""Dead units of residual blocks: what keeps units from dying, and what reinitialises those that are dead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from repix.models.layers import ResidualBlock


def _pairs(net: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.Conv2d]]:
    """The two convolutions of each residual block without normalisation."""
    for block in net.modules():
        if isinstance(block, ResidualBlock):
            first, *_, last = block.body
            if isinstance(last, nn.Conv2d) and isinstance(first, nn.Conv2d):
                yield first, last


def keep_alive(net: nn.Module) -> None:
    """Let no step of training move all units of a residual block below zero at once.

    What a block reads has a mean far from zero, so a change of the first convolution's kernels along that mean moves
    every unit at every pixel, up to 200 times as fast as its bias can. Optimizers whose steps are of one size (Adam,
    Muon) soon have units below zero that way, for good: a ReLU that nothing passes has no gradient. So the gradient's
    part along the mean over the batch is taken out of the kernels, and the mean over units out of the biases: single
    units can still move. Of several processes each goes by the mean of its own share. (Gradient centralization, Yong
    et al. 2020, eq. 1, along the mean of what is read instead of along ones.)

    Args:
        net: hooks are put on its residual blocks that have no batch norm, which takes out means by itself.
    """
    for first, _ in _pairs(net):
        _centre(first)


def _centre(convolution: nn.Conv2d) -> None:
    mean = torch.zeros(convolution.in_channels)

    def read(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal mean
        if torch.is_grad_enabled():
            mean = inputs[0].detach().mean((0, 2, 3), dtype=torch.float32)

    def across(gradient: Tensor) -> Tensor:
        along = mean[:, None, None].expand(gradient.shape[1:])
        part = torch.einsum("ochw,chw->o", gradient, along) / along.square().sum().clamp(min=1e-12)
        return gradient - part[:, None, None, None] * along

    convolution.register_forward_pre_hook(read)
    convolution.weight.register_hook(across)  # type: ignore[no-untyped-call]
    if convolution.bias is not None:
        convolution.bias.register_hook(lambda gradient: gradient - gradient.mean())  # type: ignore[no-untyped-call]


def _alone(shares: Tensor) -> Tensor:
    return shares


@torch.no_grad()
def reinitialise(
    net: nn.Module,
    images: Tensor,
    *,
    seed: int,
    least: float = 1e-3,
    largest: Callable[[Tensor], Tensor] = _alone,
) -> int:
    """Reinitialise units of residual blocks that are hardly ever above zero (ReDo, Sokar et al. 2023, algorithm 1).

    They get new first kernels, and leave the second convolution, so the network computes what it did, but for what
    they did.

    Args:
        net: changed in place.
        images: (N, 3, H, W) in [0, 1].
        seed: of the new kernels.
        least: share of the pixels at which a unit is to be above zero.
        largest: of what each process found, where several train one network.

    Returns:
        How many units were reinitialised.
    """
    shares: dict[nn.Conv2d, Tensor] = {}

    def observe(part: nn.Module, _: Any, out: Tensor) -> None:
        assert isinstance(part, nn.Conv2d)
        shares[part] = (out > 0).float().mean((0, 2, 3))

    handles = [first.register_forward_hook(observe) for first, _ in _pairs(net)]
    try:
        net(images)
    finally:
        for handle in handles:
            handle.remove()
    generator = torch.Generator().manual_seed(seed)
    number = 0
    for first, last in _pairs(net):
        dead = largest(shares[first]) < least
        fresh = nn.init.kaiming_normal_(torch.empty(first.weight.shape), nonlinearity="relu", generator=generator)
        first.weight[dead] = fresh.to(first.weight)[dead]
        if first.bias is not None:
            first.bias[dead] = 0
        last.weight[:, dead] = 0
        number += int(dead.sum())
    return number
