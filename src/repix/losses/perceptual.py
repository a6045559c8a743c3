"""Losses in the feature space of a classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repix import features
from repix.features import FeatureStack
from repix.models import Prediction


class Perceptual(nn.Module):
    """Mean squared difference of features (Johnson et al. 2016, eq. 2), summed over layers.

    Args:
        backbone: `vgg19`, `vgg16` or `alexnet`.
        layers: indices in torchvision's `features`; the default is the end of VGG19's `features[:35]`.
        weights: file of the backbone's weights, or where to look: `repix.features.load_weights`.
        normalize: ImageNet normalisation before the backbone.
    """

    def __init__(
        self,
        *,
        backbone: str = "vgg19",
        layers: Sequence[int] = (34,),
        weights: str | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.features = FeatureStack(backbone, layers=layers, weights=weights, normalize=normalize)

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt."""
        with torch.no_grad():
            targets = self.features(gt)
        pairs = zip(self.features(prediction.pred), targets, strict=True)
        return torch.stack([(a - b).square().mean() for a, b in pairs]).sum()


class Lpips(nn.Module):
    """Learned perceptual distance with AlexNet (Zhang et al. 2018, eq. 1), mean over the batch.

    Args:
        weights: AlexNet's file, LPIPS' own beside it; or where to look: `repix.features.load_weights`.
    """

    def __init__(self, *, weights: str | None = None) -> None:
        super().__init__()
        self.distance = features.Lpips(backbone=weights)

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt. Images of at least 31×31."""
        distance: Tensor = self.distance(prediction.pred, gt)
        return distance.mean()
