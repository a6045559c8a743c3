"""A student's own model: PReNet's loop around one stage of SPANet."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from repix.models import Network, Prediction
from repix.models.spanet import Bottleneck, SpatialAttention


class ProgressiveSPANet(Network):
    """One shared stage, applied `stages` times to the rainy image and the last estimate (Ren et al. 2019, fig. 2 a);
    the stage is a residual block and one spatial attentive block (Wang et al. 2019, fig. 4), its output is added to the
    rainy image and clamped to [0, 1].

    Args:
        stages: how often the stage is applied, 1 or more; may be changed on the built network.
        channels: width.

    Shapes: (N, 3, H, W) in [0, 1] -> the same, any H and W.
    """

    stage_attributes = ("stages",)
    tileable = False  # the recurrence crosses the whole image

    def __init__(self, *, stages: PositiveInt = 3, channels: PositiveInt = 32) -> None:
        super().__init__()
        self.stages = stages
        self.head = nn.Conv2d(6, channels, 3, padding=1, bias=False)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False), nn.ReLU(inplace=True)]
        self.block = nn.Sequential(*layers[:-1])
        self.attention = SpatialAttention(channels, direction_bias=False, irnn_bias=False, irnn_shared=True)
        self.attended = Bottleneck(channels)
        self.tail = nn.Conv2d(channels, 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W), the last stage's estimate."""
        return self.forward_train(x).pred

    def forward_train(self, x: Tensor) -> Prediction:
        """The last estimate, those before it as `stages`, and the last attention map as `mask`."""
        estimates = [x]
        mask = None
        for _ in range(self.stages):
            features = torch.relu(self.head(torch.cat((x, estimates[-1]), dim=1)))
            features = self.block(features) + features
            mask = self.attention(features)
            features = torch.relu(self.attended(features) * mask + features)
            estimates.append((x + self.tail(features)).clamp(0, 1))
        return Prediction(estimates[-1], tuple(estimates[1:-1]), mask)
