"""Three scales side by side."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from repix.models import Network
from repix.models.layers import ResidualBlock


class DerainNet(Network):
    """Branches at full, half and quarter resolution behind max pooling, each of residual blocks (He et al. 2016,
    fig. 2) with a skip around the branch; upsampled, concatenated, fused, and the rain subtracted (Fu et al. 2017,
    "Removing rain from single images via a deep detail network", eq. 3).

    Args:
        channels: width.
        blocks: residual blocks in each branch.
        upsample: `learned` by transposed convolutions, or `bilinear`.
        predict: `rain` subtracts the output from the input, `image` takes it as the image.

    Shapes: (N, 3, H, W) in [0, 1] -> the same; H and W multiples of 4.
    """

    multiple_of = 4
    overlap = 128  # sixteen convolutions at a quarter of the resolution see 64 pixels far, and more around them

    def __init__(
        self,
        *,
        channels: PositiveInt = 32,
        blocks: NonNegativeInt = 8,
        upsample: Literal["learned", "bilinear"] = "learned",
        predict: Literal["rain", "image"] = "rain",
    ) -> None:
        super().__init__()
        self.predict = predict
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.branches = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks))) for _ in range(3)
        )
        self.ups = nn.ModuleList(_upsampler(channels, level, upsample) for level in range(3))
        self.fuse = nn.Conv2d(3 * channels, channels, 1)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        features = torch.relu(self.head(x))
        scales = []
        for level, (branch, up) in enumerate(zip(self.branches, self.ups, strict=True)):
            if level:
                features = nn.functional.max_pool2d(features, 2)
            scales.append(up(branch(features) + features))
        out: Tensor = self.tail(torch.relu(self.fuse(torch.cat(scales, dim=1))))
        return x - out if self.predict == "rain" else out


def _upsampler(channels: int, level: int, how: str) -> nn.Module:
    if level == 0:
        return nn.Identity()
    if how == "bilinear":
        return nn.Upsample(scale_factor=2**level, mode="bilinear", align_corners=False)
    return nn.Sequential(*(nn.ConvTranspose2d(channels, channels, 2, stride=2) for _ in range(level)))
