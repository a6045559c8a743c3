"""Networks that turn one kind of image into another: one without skips, pix2pix's generator and its discriminator.

All three work on [-1, 1] inside, where tanh lives; images are in [0, 1] on both sides of their borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from repix.models import Network, Prediction
from repix.models.layers import Palette, PaletteHead, Share

Norm = Literal["batch", "instance"]


class FCN(Network):
    """A fully convolutional encoder and decoder, without skips (Long et al. 2015, fig. 1, in idea).

    A stride-2 4×4 convolution for each width and as many transposed ones back, batch norm and ReLU after each, tanh at
    the end.

    Args:
        channels: width after each convolution.

    Shapes: (N, 3, H, W) in [0, 1] -> the same; H and W multiples of `multiple_of`.
    """

    overlap = 160  # three eighths of it are more than half the receptive field at the default depth

    def __init__(self, *, channels: Annotated[Sequence[PositiveInt], Field(min_length=1)] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.multiple_of = 2 ** len(channels)
        layers: list[nn.Module] = []
        for into, out in pairwise((3, *channels)):
            layers += [nn.Conv2d(into, out, 4, 2, 1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        for into, out in pairwise(reversed(channels)):
            layers += [nn.ConvTranspose2d(into, out, 4, 2, 1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers, nn.ConvTranspose2d(channels[0], 3, 4, 2, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        out: Tensor = self.body(x * 2 - 1)
        return (out + 1) / 2


class Pix2Pix(Network):
    """pix2pix's generator (Isola et al. 2017, section 6.1): one convolution for each level of a deep U-Net.

    Stride-2 4×4 convolutions down to where 2^depth pixels are one, leaky ReLU (0.2), norm except at the first and the
    innermost; the same number back with ReLU and norm, each beside its skip; weights from N(0, 0.02).

    Args:
        channels: width at the first level; it doubles with each, up to `widest`.
        widest: largest width.
        depth: levels; 8 for 256×256 and 7 for 128×128 in the paper. H and W must be multiples of 2^depth.
        skips: features of the encoder beside those of the decoder.
        dropout: rate in the three innermost blocks of the decoder, in training; the paper has it in use as well.
        norm: `batch`, or `instance` (Ulyanov et al. 2016, eq. 3).
        upsample: `transposed` 4×4 convolutions, or `resize`: nearest neighbour and a 3×3 convolution, which leaves no
            checkerboard (Odena et al. 2016).
        palette: of the label maps to be made, see `PaletteHead`; None ends with tanh.

    Shapes: (N, 3, H, W) in [0, 1] -> the same; H and W multiples of `multiple_of`.
    """

    tileable = False  # the innermost level sees the whole image

    def __init__(
        self,
        *,
        channels: PositiveInt = 64,
        widest: PositiveInt = 512,
        depth: Annotated[int, Field(ge=2, le=12)] = 8,
        skips: bool = True,
        dropout: Share = 0.5,
        norm: Norm = "batch",
        upsample: Literal["transposed", "resize"] = "transposed",
        palette: Palette = None,
    ) -> None:
        super().__init__()
        self.multiple_of = 2**depth
        self.skips = skips
        widths = [min(channels * 2**level, widest) for level in range(depth)]
        self.downs = nn.ModuleList([nn.Conv2d(3, widths[0], 4, 2, 1)])
        for level, (fine, coarse) in enumerate(pairwise(widths), start=1):
            block: list[nn.Module] = [nn.LeakyReLU(0.2)]
            if level == depth - 1:  # a single pixel has nothing to be normalised by
                block += [nn.Conv2d(fine, coarse, 4, 2, 1)]
            else:
                block += [nn.Conv2d(fine, coarse, 4, 2, 1, bias=False), _norm(norm, coarse)]
            self.downs.append(nn.Sequential(*block))
        self.ups = nn.ModuleList()
        into = widths[-1]
        for number, width in enumerate(reversed(widths[:-1])):
            block = [nn.ReLU(), _up(upsample, into, width, bias=False), _norm(norm, width)]
            if number < 3 and dropout:
                block.append(nn.Dropout(dropout))
            self.ups.append(nn.Sequential(*block))
            into = 2 * width if skips else width
        self.head = PaletteHead(palette) if palette is not None else None
        out = 3 if self.head is None else len(self.head.palette)
        self.tail = nn.Sequential(nn.ReLU(), _up(upsample, into, out, bias=True))
        self.apply(_start)

    def _raw(self, x: Tensor) -> Tensor:
        features = x * 2 - 1
        held = []
        for down in self.downs:
            features = down(features)
            held.append(features)
        held.pop()
        for up in self.ups:
            features = up(features)
            if self.skips:
                features = torch.cat((features, held.pop()), dim=1)
        raw: Tensor = self.tail(features)
        return raw

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.forward_train(x).pred

    def forward_train(self, x: Tensor) -> Prediction:
        """(N, 3, H, W) in [0, 1] -> `Prediction`, with `logits` where there is a palette."""
        raw = self._raw(x)
        return Prediction((raw.tanh() + 1) / 2) if self.head is None else cast("Prediction", self.head(raw))


class PatchGAN(nn.Module):
    """pix2pix's discriminator (Isola et al. 2017, section 6.1.2): says of each patch whether it is real.

    Args:
        channels: width after the first convolution; it doubles with each, up to eight times.
        layers: stride-2 convolutions; 3 look at patches of 70×70.
        norm: `batch` or `instance`, after each convolution but the first and the last.

    Shapes: two images (N, 3, H, W) in [0, 1] -> logits (N, 1, h, w).
    """

    def __init__(
        self,
        *,
        channels: PositiveInt = 64,
        layers: PositiveInt = 3,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        widths = [channels * min(2**level, 8) for level in range(layers + 1)]
        body: list[nn.Module] = [nn.Conv2d(6, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for level, (into, out) in enumerate(pairwise(widths), start=1):
            stride = 2 if level < layers else 1
            body += [nn.Conv2d(into, out, 4, stride, 1, bias=False), _norm(norm, out), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*body, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.apply(_start)

    def forward(self, lq: Tensor, image: Tensor) -> Tensor:
        """The input and what is said to belong to it -> logits, above 0 where that looks real."""
        out: Tensor = self.body(torch.cat((lq, image), dim=1) * 2 - 1)
        return out


def _norm(kind: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def _up(kind: str, into: int, out: int, *, bias: bool) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(into, out, 4, 2, 1, bias=bias)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(into, out, 3, padding=1, bias=bias))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
