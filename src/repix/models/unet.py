"""A plain U-Net with instance norm."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from repix.models import Network
from repix.models.layers import Widths


class UNet(Network):
    """U-shaped network with skip connections (Ronneberger et al. 2015, fig. 1), instance norm (Ulyanov et al. 2016,
    eq. 3) and the input added to the output.

    Args:
        channels: width at each level, finest first; each level halves the resolution.
        predict: `rain` subtracts the output from the input, `image` takes it as the image.

    Shapes: (N, 3, H, W) in [0, 1] -> the same; H and W multiples of `multiple_of`.
    """

    tileable = False  # instance norm averages over the image

    def __init__(
        self,
        *,
        channels: Widths = (64, 128, 256),
        predict: Literal["rain", "image"] = "rain",
    ) -> None:
        super().__init__()
        self.predict = predict
        # Twice what the levels need: instance norm has nothing to average over a single pixel.
        self.multiple_of = 2 ** len(channels)
        self.downs = nn.ModuleList(_double(into, out) for into, out in pairwise((3, *channels)))
        coarse_first = list(reversed(list(pairwise(channels))))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in coarse_first)
        self.merges = nn.ModuleList(_double(2 * fine, fine) for fine, _ in coarse_first)
        self.tail = nn.Conv2d(channels[0], 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        features = x
        skips = []
        for number, down in enumerate(self.downs):
            features = down(features if number == 0 else nn.functional.max_pool2d(features, 2))
            skips.append(features)
        skips.pop()
        for up, merge in zip(self.ups, self.merges, strict=True):
            features = merge(torch.cat((skips.pop(), up(features)), dim=1))
        out: Tensor = self.tail(features)
        return x - out if self.predict == "rain" else out


def _double(into: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (into, out):
        # A bias before instance norm would be subtracted again.
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.InstanceNorm2d(out, affine=True), nn.ReLU()]
    return nn.Sequential(*layers)
