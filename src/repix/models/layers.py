"""Blocks shared by two or more networks."""

from __future__ import annotations

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), two 3×3 convolutions, optionally with batch norm (He et al. 2016, fig. 2).

    Args:
        channels: channels in and out.
        batch_norm: normalise after each convolution, as in the original; off, as in EDSR (Lim et al. 2017, fig. 2c).
        dilation: distance between the taps of both convolutions (Yu & Koltun 2016, eq. 2).
    """

    def __init__(self, channels: int, *, batch_norm: bool = False, dilation: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            layers.append(nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            if not last:
                layers.append(nn.ReLU(inplace=True))
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        out: Tensor = x + self.body(x)
        return out
