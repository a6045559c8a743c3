"""Losses that compare pixel with pixel."""

from __future__ import annotations

from torch import Tensor, nn

from repix.models import Prediction


class L1(nn.Module):
    """Mean absolute error, the course's loss (Zhao et al. 2017, "Loss functions for image restoration", eq. 5)."""

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt."""
        return (prediction.pred - gt).abs().mean()
