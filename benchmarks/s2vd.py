"""S2VD's deraining network (Yue et al., CVPR 2021, github.com/zsyOAOA/S2VD, MIT), to run its published weight.

Written from the description in that repository; nothing of it is imported. The network sees a clip at once, forwards
and backwards in time, and is given 24 frames at a time with two more at both ends, as its authors test it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

AT_ONCE, MARGIN = 24, 2  # frames

Image = NDArray[np.uint8]


class Conv(nn.Module):
    """3×3×3 over time and space; the first and the last frame are repeated, the frame's border is zero."""

    def __init__(self, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, out, 3, padding=(0, 1, 1), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 0, 0, 0, 1, 1), mode="replicate"))


class Residual(nn.Module):
    """x + conv(ReLU(BN(conv(ReLU(BN(x))))))."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.BatchNorm3d(n), nn.ReLU(), Conv(n, n), nn.BatchNorm3d(n), nn.ReLU(), Conv(n, n)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res(x)


class S2VD(nn.Module):
    """Rain found at half the size by eight residual blocks and taken away, then three convolutions at full size."""

    def __init__(self, n: int = 32, blocks: int = 8) -> None:
        super().__init__()
        self.head = nn.Sequential(Conv(12, n), nn.ReLU(), Conv(n, n))
        self.body = nn.Sequential(*(Residual(n) for _ in range(blocks)), nn.BatchNorm3d(n), nn.ReLU(), Conv(n, 12))
        self.tail = nn.Sequential(
            Conv(3, n, bias=False), nn.ReLU(), Conv(n, n, bias=False), nn.ReLU(), Conv(n, 3, bias=False)
        )  # fmt: skip

    def forward(self, clip: Tensor) -> Tensor:
        """(1, 3, T, H, W) of even sizes in [0, 1] -> the same, not clamped."""

        def by_frame(change: nn.Module, x: Tensor) -> Tensor:
            return change(x.transpose(1, 2)).transpose(1, 2)

        rain = self.body(self.head(by_frame(nn.PixelUnshuffle(2), clip)))
        return self.tail(clip - by_frame(nn.PixelShuffle(2), rain))


def load(path: Path) -> S2VD:
    """The network with its published weight."""
    net = S2VD()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


@torch.no_grad()
def restore(net: S2VD, frames: list[Image]) -> list[Image]:
    """(H, W, 3) frames of a clip -> as many."""
    clip = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)[None].float() / 255
    made: list[Image] = []
    for start in range(0, len(frames), AT_ONCE):
        first, end = max(start - MARGIN, 0), min(start + AT_ONCE, len(frames))
        out = net(clip[:, :, first : min(end + MARGIN, len(frames))])[0, :, start - first :][:, : end - start]
        made += list((out.clamp(0, 1) * 255).round().byte().permute(1, 2, 3, 0).numpy())
    return made
