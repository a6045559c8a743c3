"""The course's baseline: a short residual network at full resolution."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from repix.models import Network
from repix.models.layers import ResidualBlock


class ResNet(Network):
    """Head, residual blocks with batch norm, tail (He et al. 2016; Fu et al. 2017, "Removing rain from single images
    via a deep detail network", eq. 3 for the residual form).

    Args:
        channels: width of every block.
        blocks: number of residual blocks, each two 3×3 convolutions.
        predict: `rain` learns the rain layer and subtracts it from the input, `image` the clean picture itself.

    Shapes: (N, 3, H, W) in [0, 1] -> the same, any H and W.
    """

    def __init__(self, *, channels: int = 64, blocks: int = 4, predict: Literal["rain", "image"] = "rain") -> None:
        super().__init__()
        self.predict = predict
        self.head = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(inplace=True))
        self.body = nn.Sequential(*(ResidualBlock(channels, batch_norm=True) for _ in range(blocks)))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        out: Tensor = self.tail(self.body(self.head(x)))
        return x - out if self.predict == "rain" else out
