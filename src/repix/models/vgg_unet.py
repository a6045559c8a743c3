"""A U-Net whose encoder is VGG16, trained on ImageNet: where pairs are few, features that need not be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, cast

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from repix.errors import RecipeError, counted
from repix.features import IMAGENET_MEAN, IMAGENET_STD, conv_stack, fill_stack
from repix.models import Network, Prediction
from repix.models.layers import Palette, PaletteHead, ResidualBlock, Share

# Where each of VGG16's five blocks ends, before its pooling, in torchvision's numbering; and how wide it is there.
_ENDS = (4, 9, 16, 23, 30)
_WIDTHS = (64, 128, 256, 512, 512)


class VggUNet(Network):
    """VGG16 down, and up again by narrow residual blocks (TernausNet, Iglovikov & Shvets 2018, fig. 2, with sums).

    The encoder comes from a classifier (recipe: `init: FILE`, torchvision's VGG16) and may stay as it is; each of its
    levels reaches the decoder through a 1×1 convolution, added to what comes from below (Lin et al. 2017, fig. 3).

    Args:
        channels: width of the decoder at each of the five levels, finest first.
        dropout: rate within the blocks of the decoder.
        frozen: so many of the five blocks of the encoder, from the finest, are not trained. An attribute too, so
            that a stage may train more of them: `network: {frozen: 3}`.
        palette: of label maps to be made, see `PaletteHead`; None makes an image.

    Shapes: (N, 3, H, W) in [0, 1] -> the same; H and W multiples of `multiple_of`.
    """

    multiple_of = 16
    stage_attributes = ("frozen",)
    overlap = 208

    def __init__(
        self,
        *,
        channels: Sequence[PositiveInt] = (32, 64, 96, 128, 128),
        dropout: Share = 0.1,
        frozen: Annotated[int, Field(ge=0, le=5)] = 5,
        palette: Palette = None,
    ) -> None:
        super().__init__()
        if len(channels) != len(_ENDS):
            got = counted(len(channels), "channel")
            raise RecipeError(f"vgg_unet: got {got}, expected {len(_ENDS)}, one for each level")
        self.encoder = nn.Sequential(*conv_stack("vgg16")[: _ENDS[-1]])
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))
            for wide, width in zip(_WIDTHS, channels, strict=True)
        )
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(coarse, fine, 1, bias=False))
            for fine, coarse in pairwise(channels)
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, batch_norm=True, dropout=dropout) for width in channels)
        self.head = PaletteHead(palette) if palette is not None else None
        self.tail = nn.Conv2d(channels[0], 3 if self.head is None else len(self.head.palette), 1)
        self.register_buffer("_mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.frozen = frozen

    @property
    def frozen(self) -> int:
        """How many of the five blocks of the encoder are not trained."""
        return self._frozen

    @frozen.setter
    def frozen(self, count: int) -> None:
        if not 0 <= count <= len(_ENDS):
            raise RecipeError(f"vgg_unet: got frozen {count}, expected 0 to {len(_ENDS)}")
        self._frozen = count
        first = (0, *_ENDS)[count]
        for number, layer in enumerate(self.encoder):
            layer.requires_grad_(number >= first)

    def load_encoder(self, path: str | Path) -> None:
        """Fill the encoder with a classifier's weights.

        Args:
            path: a state dict of VGG16 with torchvision's keys (`features.0.weight`, …).

        Raises:
            WeightsError: unreadable, or of another network.
        """
        fill_stack(self.encoder, "vgg16", path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.forward_train(x).pred

    def forward_train(self, x: Tensor) -> Prediction:
        """(N, 3, H, W) in [0, 1] -> `Prediction`, with `logits` where there is a palette."""
        assert isinstance(self._mean, Tensor)
        assert isinstance(self._std, Tensor)
        features = (x - self._mean) / self._std
        skips = []
        for number, layer in enumerate(self.encoder, start=1):
            features = layer(features)
            if number in _ENDS:
                skips.append(features)
        sides = [lateral(skip) for lateral, skip in zip(self.laterals, skips, strict=True)]
        out: Tensor = self.blocks[-1](sides[-1])
        for side, up, block in zip(sides[-2::-1], reversed(self.ups), self.blocks[-2::-1], strict=True):
            out = block(up(out) + side)
        raw: Tensor = self.tail(out)
        return Prediction(raw) if self.head is None else cast("Prediction", self.head(raw))
