"""What one level of a pyramid leaves to the next, as training samples.

`infer.pyramid` runs a network at several scales, one after the other: it reduces the image, takes the network's rain
layer, enlarges it and subtracts it. A network that has seen whole rain alone makes half-removed rain worse. So a share
of each batch is first worked on by the network itself at other scales, without gradients, and then learnt from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

# Levels that come before the one that is trained, coarse to fine, and how often; 0.5: the image at twice the size.
_ORDERS: tuple[tuple[tuple[float, ...], float], ...] = (
    ((2,), 0.4),
    ((4,), 0.15),
    ((4, 2), 0.15),
    ((8, 4, 2), 0.1),
    ((0.5,), 0.2),
)
_LEAST_SIDE = 16


@torch.no_grad()
def left_by_levels(
    run: Callable[[Tensor], Tensor], lq: Tensor, share: float, rng: np.random.Generator, *, multiple_of: int = 1
) -> Tensor:
    """A batch, of which a share has been restored at other levels first.

    Args:
        run: the network, (N, 3, H, W) -> (N, 3, H, W), of sides that are multiples of `multiple_of`.
        lq: (N, 3, H, W) in [0, 1].
        share: of the batch, [0, 1]; what is left over of it counts by chance.
        rng: source of all randomness.
        multiple_of: of the network.

    Returns:
        The batch with some images replaced, on the 256 levels of files.
    """
    count = int(np.floor(share * len(lq) + rng.random()))
    chosen = rng.permutation(len(lq))[:count]
    orders = rng.choice(len(_ORDERS), count, p=[weight for _, weight in _ORDERS])
    made = lq.clone()
    for number in np.unique(orders):
        levels = _ORDERS[number][0]
        if min(lq.shape[2:]) < _LEAST_SIDE * max(levels):
            continue  # the patch is too small for this level
        members = torch.as_tensor(chosen[orders == number], device=lq.device)
        images = lq[members]
        for level in levels:
            images = _at_level(run, images, level, multiple_of)
        made[members] = (images.clamp(0, 1) * 255).round() / 255
    return made


def _at_level(run: Callable[[Tensor], Tensor], images: Tensor, level: float, multiple_of: int) -> Tensor:
    """The images without the rain that the network finds when they are reduced so many times."""
    height, width = images.shape[2:]
    if level < 1:
        large = interpolate(images, scale_factor=1 / level, mode="bicubic", align_corners=False).clamp(0, 1)
        return avg_pool2d(_padded(run, large, multiple_of), round(1 / level))
    size = (round(height / level), round(width / level))
    small = interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    rain = small - _padded(run, small, multiple_of)
    return images - interpolate(rain, size=(height, width), mode="bicubic", align_corners=False)


def _padded(run: Callable[[Tensor], Tensor], images: Tensor, multiple_of: int) -> Tensor:
    height, width = images.shape[2:]
    edges = (0, -width % multiple_of, 0, -height % multiple_of)
    return run(pad(images, edges, mode="reflect") if any(edges) else images)[..., :height, :width]
