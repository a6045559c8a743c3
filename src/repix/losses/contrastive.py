"""Losses that pull towards the clean image and push away from the rainy one, in feature space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from repix.features import FeatureStack
from repix.models import Prediction

Form = Literal["cosine", "cosine-layers", "ratio"]

_FIVE = (1, 6, 11, 20, 29)  # the first ReLU of each of VGG19's five blocks
_DEFAULT_LAYERS: dict[str, tuple[int, ...]] = {"cosine": (34,), "cosine-layers": _FIVE, "ratio": _FIVE}


class Contrastive(nn.Module):
    """Contrastive loss in one of three forms, on features φ of the estimate p, the clean g and the rainy l.

    - `cosine`: 1 - cos(φ(p), φ(g)) + cos(φ(p), φ(l)), features averaged over the image;
    - `cosine-layers`: the same on five layers averaged and joined into one vector, the second
      cosine counted from 0 on;
    - `ratio`: Σ w·|φ(p) - φ(g)| / |φ(p) - φ(l)|, contrastive regularisation (Wu et al. 2021, AECR-Net, eq. 4), the
      weights halving from the deepest layer up.

    Args:
        form: see above.
        backbone: `vgg19`, `vgg16` or `alexnet`.
        layers: indices in torchvision's `features`; None takes those that the form has in its source, for VGG19.
        weights: file of the backbone's weights, or where to look: `repix.features.load_weights`.
        normalize: ImageNet normalisation before the backbone.

    Only `ratio` is 0 at p = g; the cosine forms keep pushing away from the rainy image.
    """

    def __init__(
        self,
        *,
        form: Form = "ratio",
        backbone: str = "vgg19",
        layers: Sequence[int] | None = None,
        weights: str | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.form = form
        layers = layers or _DEFAULT_LAYERS[form]
        self.features = FeatureStack(backbone, layers=layers, weights=weights, normalize=normalize)

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar."""
        with torch.no_grad():
            cleans, rainies = self.features(gt), self.features(lq)
        preds = self.features(prediction.pred)
        if self.form == "ratio":
            terms = []
            for depth, (pred, clean, rainy) in enumerate(
                zip(reversed(preds), reversed(cleans), reversed(rainies), strict=True)
            ):
                # Not the source's 1e-7: networks that start as the identity have pred = lq.
                apart = (pred - rainy).abs().mean() + 1e-3
                terms.append(2.0**-depth * (pred - clean).abs().mean() / apart)
            return torch.stack(terms).sum()
        vectors = [torch.cat([one.mean((2, 3)) for one in layers], dim=1) for layers in (preds, cleans, rainies)]
        positive, negative = (cosine_similarity(vectors[0], other) for other in vectors[1:])
        if self.form == "cosine-layers":
            negative = negative.clamp(min=0)
        return (1 - positive + negative).mean()
