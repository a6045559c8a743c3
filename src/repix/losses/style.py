"""The style loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repix.features import FeatureStack
from repix.models import Prediction


class Style(nn.Module):
    """Squared Frobenius distance of the Gram matrices of features (Gatys et al. 2016, eq. 3 and 4; scaled as in Johnson
    et al. 2016, eq. 3 and 4), summed over layers.

    Args:
        backbone: `vgg19`, `vgg16` or `alexnet`.
        layers: indices in torchvision's `features`; the default is the first ReLU of each of VGG19's five blocks.
        weights: file of the backbone's weights, or where to look: `repix.features.load_weights`.
        normalize: ImageNet normalisation before the backbone.
    """

    def __init__(
        self,
        *,
        backbone: str = "vgg19",
        layers: Sequence[int] = (1, 6, 11, 20, 29),
        weights: str | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.features = FeatureStack(backbone, layers=layers, weights=weights, normalize=normalize)

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt. Each image of the batch has matrices of its own."""
        with torch.no_grad():
            targets = [_gram(features) for features in self.features(gt)]
        pairs = zip(self.features(prediction.pred), targets, strict=True)
        return torch.stack([(_gram(a) - b).square().sum((1, 2)).mean() for a, b in pairs]).sum()


def _gram(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C), divided by C·H·W."""
    flat = features.flatten(2)
    return flat @ flat.mT / (flat.shape[1] * flat.shape[2])
