"""A baseline: a short residual network at full resolution."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from repix.models import Network
from repix.models.layers import ResidualBlock


class ResNet(Network):
    """Head, residual blocks with batch norm, tail (He et al. 2016; Fu et al. 2017, "Removing rain from single images
    via a deep detail network", eq. 3 for the residual form).

    Args:
        channels: width of every block.
        blocks: number of residual blocks, each two 3×3 convolutions.
        block: how the receptive field is widened: `plain`, not at all; `dilated`, the blocks' dilations are 1, 2, 4 and
            again (Yu & Koltun 2016); `pyramid`, pooled features beside the others before the tail (see `_Pyramid`).
        predict: `rain` learns the rain layer and subtracts it from the input, `image` the clean image itself.

    Shapes: (N, 3, H, W) in [0, 1] -> the same, any H and W; with `pyramid` multiples of 16.
    """

    def __init__(
        self,
        *,
        channels: PositiveInt = 64,
        blocks: NonNegativeInt = 4,
        block: Literal["plain", "dilated", "pyramid"] = "plain",
        predict: Literal["rain", "image"] = "rain",
    ) -> None:
        super().__init__()
        self.predict = predict
        self.head = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(inplace=True))
        dilations = (1, 2, 4) if block == "dilated" else (1,)
        self.body = nn.Sequential(
            *(ResidualBlock(channels, batch_norm=True, dilation=dilations[i % len(dilations)]) for i in range(blocks))
        )
        if block == "pyramid":
            self.multiple_of = _Pyramid.WINDOWS[-1]
            self.body.append(_Pyramid(channels))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        out: Tensor = self.tail(self.body(self.head(x)))
        return x - out if self.predict == "rain" else out


class _Pyramid(nn.Module):
    """Pyramid pooling (Zhao et al. 2017, "Pyramid scene parsing network", fig. 3), but with windows of fixed size, not
    shares of the image: so it may be tiled and exported at any size."""

    WINDOWS = (2, 4, 8, 16)

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(channels // len(self.WINDOWS), 1)
        self.levels = nn.ModuleList(nn.Conv2d(channels, width, 1) for _ in self.WINDOWS)
        self.fuse = nn.Conv2d(channels + width * len(self.WINDOWS), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        found = [x]
        for window, level in zip(self.WINDOWS, self.levels, strict=True):
            pooled = torch.relu(level(nn.functional.avg_pool2d(x, window)))
            found.append(nn.functional.interpolate(pooled, scale_factor=float(window), mode="bilinear"))
        return torch.relu(self.fuse(torch.cat(found, dim=1)))
