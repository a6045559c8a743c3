"""SPANet: where is the rain? A recurrence over the whole image answers, and residual blocks act there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from repix._types import one_line
from repix.errors import WeightsError
from repix.models import Network, Prediction
from repix.models.irnn import DIRECTIONS, IRNN


class SpatialAttention(nn.Module):
    """Spatial attentive module (Wang et al. 2019, fig. 5): features -> a map of where rain is.

    Two rounds of the four-directional recurrence gather the whole image's context at each pixel; a small branch
    weights the four directions at each pixel.

    Args:
        channels: channels of the features.
        apply_direction_attention: weight the directions, as the paper says. The published code computes the weights
            and drops them, so its weights need False.
        direction_bias: biases in the branch's 3×3 convolutions.
        irnn_bias: biases in the recurrence.
        irnn_shared: one weight for the four directions.
    """

    def __init__(
        self,
        channels: int,
        *,
        apply_direction_attention: bool = True,
        direction_bias: bool = True,
        irnn_bias: bool = True,
        irnn_shared: bool = False,
    ) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.head = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.irnns = nn.ModuleList(IRNN(channels, bias=irnn_bias, shared=irnn_shared) for _ in range(2))
        self.fuse = nn.ModuleList(nn.Conv2d(4 * channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.tail = nn.Conv2d(channels, 1, 1, bias=False)
        self.directions: nn.Sequential | None = None
        if apply_direction_attention:
            self.directions = nn.Sequential(
                nn.Conv2d(channels, half, 3, padding=1, bias=direction_bias),
                nn.ReLU(),
                nn.Conv2d(half, half, 3, padding=1, bias=direction_bias),
                nn.ReLU(),
                nn.Conv2d(half, len(DIRECTIONS), 1),
                nn.Sigmoid(),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1, H, W) in [0, 1]."""
        weights = None if self.directions is None else self.directions(x).unbind(1)
        features = self.head(x)
        for irnn, fuse in zip(self.irnns, self.fuse, strict=True):
            four = irnn(features)
            if weights is not None:
                four = tuple(out * weight[:, None] for out, weight in zip(four, weights, strict=True))
            features = fuse(torch.cat(four, dim=1))
        return torch.sigmoid(self.tail(torch.relu(features)))


class Bottleneck(nn.Sequential):
    """1×1, dilated 3×3, 1×1 convolution without biases (Wang et al. 2019, fig. 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
        )


class SPANet(Network):
    """Spatial attentive network (Wang et al. 2019, "Spatial attentive single-image deraining with a high quality real
    rain dataset", fig. 4): residual blocks, `units` spatial attentive blocks that share one attention module, and
    residual blocks again; in the attentive ones the residual counts where rain is (eq. 4).

    Args:
        channels: width.
        units: spatial attentive blocks.
        blocks: residual blocks before the first and within each attentive block.
        last: residual blocks at the end.
        apply_direction_attention: see `SpatialAttention`.
        predict: `image` as in the paper, `rain` subtracts the output from the input.

    Shapes: (N, 3, H, W) in [0, 1] -> the same, any H and W.
    """

    tileable = False  # the recurrence crosses the whole image

    def __init__(
        self,
        *,
        channels: PositiveInt = 32,
        units: PositiveInt = 4,
        blocks: NonNegativeInt = 3,
        last: NonNegativeInt = 2,
        apply_direction_attention: bool = True,
        predict: Literal["rain", "image"] = "image",
    ) -> None:
        super().__init__()
        self.predict = predict
        self.head = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.attention = SpatialAttention(channels, apply_direction_attention=apply_direction_attention)
        self.first = nn.ModuleList(Bottleneck(channels) for _ in range(blocks))
        self.units = nn.ModuleList(nn.ModuleList(Bottleneck(channels) for _ in range(blocks)) for _ in range(units))
        self.last = nn.ModuleList(Bottleneck(channels) for _ in range(last))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.forward_train(x).pred

    def forward_train(self, x: Tensor) -> Prediction:
        """The estimate, and the first attention map as `mask`, which the paper supervises with the rain (eq. 5)."""
        features = torch.relu(self.head(x))
        for block in self.first:
            features = torch.relu(block(features) + features)
        mask = None
        for unit in self.units:
            attention = self.attention(features)
            mask = attention if mask is None else mask
            assert isinstance(unit, nn.ModuleList)
            for block in unit:
                features = torch.relu(block(features) * attention + features)
        for block in self.last:
            features = torch.relu(block(features) + features)
        out = self.tail(features)
        return Prediction(x - out if self.predict == "rain" else out, mask=mask)


def load_published(path: str | Path) -> SPANet:
    """SPANet with the weights that its authors published; runs anywhere (theirs needs CUDA and cupy).

    Raises:
        WeightsError: no such file, or other weights.
    """
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["net"]
        theirs = {key.removeprefix("module."): value for key, value in weights.items()}
        ours = {"head.weight": theirs["conv_in.0.weight"], "tail.weight": theirs["conv_out.0.weight"]}
        for key, name in (("head", "conv_in"), ("fuse.0", "conv2"), ("fuse.1", "conv3"), ("tail", "conv_out")):
            ours[f"attention.{key}.weight"] = theirs[f"SAM1.{name}.weight"]
        for number in range(2):
            for kind in ("weight", "bias"):
                four = [theirs[f"SAM1.irnn{number + 1}.{name}_weight.{kind}"].flatten() for name in DIRECTIONS]
                ours[f"attention.irnns.{number}.{kind}"] = torch.stack(four)
        blocks = [f"first.{i}" for i in range(3)]
        blocks += [f"units.{unit}.{i}" for unit in range(4) for i in range(3)]
        blocks += [f"last.{i}" for i in range(2)]
        for number, block in enumerate(blocks, start=1):
            for layer in range(3):
                ours[f"{block}.{2 * layer}.weight"] = theirs[f"res_block{number}.group1.conv{layer + 1}.weight"]
        net = SPANet(apply_direction_attention=False)
        net.load_state_dict(ours)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise WeightsError(f"{path} does not hold SPANet's published weights ({one_line(error)})") from None
    return net
