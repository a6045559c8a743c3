"""Clean samples that are hard: of several, the one that the network changes most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def choose_hardest(
    run: Callable[[Tensor], Tensor], lq: Tensor, gt: Tensor, others: Tensor, others_of: Tensor
) -> tuple[Tensor, Tensor]:
    """A batch in which samples that have others are replaced by the one of them all that the network changes most.

    Args:
        run: the network, (N, 3, H, W) -> the same; for clips (N, T, 3, H, W) -> (N·T, 3, H, W).
        lq, gt: (N, 3, H, W) or (N, T, 3, H, W) in [0, 1].
        others: (K, …) further clean samples, which are their own ground truth.
        others_of: (K,) which of the N samples each belongs to.

    Returns:
        Both images of the batch. By mean squared change; of equal ones the sample itself stays.
    """
    lq, gt = lq.clone(), gt.clone()
    places: Tensor = others_of.unique()  # type: ignore[no-untyped-call]
    candidates = torch.cat([lq[places], others])
    changes = (run(candidates).view_as(candidates) - candidates).square().flatten(1).mean(1)
    belongs = torch.cat([places, others_of])
    for place in places:
        mine = (belongs == place).nonzero()[:, 0]
        hardest = int(mine[changes[mine].argmax()])
        if hardest >= len(places):
            lq[place] = gt[place] = candidates[hardest]
    return lq, gt
