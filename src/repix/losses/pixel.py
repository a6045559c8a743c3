"""Losses that compare pixel with pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from repix.errors import RecipeError
from repix.models import Prediction

# What a recipe may give; `create_loss` checks it.
Positive = Annotated[float, Field(gt=0)]


class L1(nn.Module):
    """Mean absolute error (Zhao et al. 2017, "Loss functions for image restoration", eq. 5)."""

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt."""
        return (prediction.pred - gt).abs().mean()


class Clean(nn.Module):
    """L1 of clean samples, whose input is the ground truth already; all others count as 0.

    A mean over all samples: a term of weight 4 counts no more where a batch has many clean ones by chance.
    """

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 where clean samples come back as they are, or there are none."""
        clean = (lq == gt).flatten(1).all(1)
        return ((prediction.pred - gt).abs().flatten(1).mean(1) * clean).mean()


class L2(nn.Module):
    """Mean squared error (Zhao et al. 2017, eq. 4)."""

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt."""
        return (prediction.pred - gt).square().mean()


class Psnr(nn.Module):
    """10·log10(1 + MSE/ε) of each image, averaged: what PSNR measures, in dB (Chen et al. 2021, "HINet", eq. 4).

    Every image counts by the share of its error that is removed, so light and heavy rain weigh alike; errors well
    below ε, 40 dB by default, no longer pull.

    Args:
        epsilon: mean squared error at which the loss is 3 dB.
    """

    def __init__(self, *, epsilon: Positive = 1e-4) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt."""
        error = (prediction.pred - gt).square().mean((1, 2, 3))
        return (10 / math.log(10)) * (error / self.epsilon).log1p().mean()


class Charbonnier(nn.Module):
    """sqrt(d² + ε²), an L1 that is smooth at 0 (Lai et al. 2017, "Deep Laplacian pyramid networks", eq. 4).

    Args:
        epsilon: ε, also the value at d = 0.
    """

    def __init__(self, *, epsilon: Positive = 1e-3) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ ε; ε at pred = gt."""
        return _charbonnier(prediction.pred - gt, self.epsilon)


class Ssim(nn.Module):
    """1 - SSIM (Wang et al. 2004, eq. 13; as a loss Zhao et al. 2017, eq. 7), of R, G and B, 11×11 Gaussian, σ 1.5."""

    _TAPS = 11

    def __init__(self) -> None:
        super().__init__()
        window = [math.exp(-((i - self._TAPS // 2) ** 2) / (2 * 1.5**2)) for i in range(self._TAPS)]
        self._window = [weight / sum(window) for weight in window]

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar in [0, 2]; 0 at pred = gt.

        Raises:
            RecipeError: a side is shorter than 11 pixels.
        """
        pred = prediction.pred
        if min(pred.shape[2:]) < self._TAPS:
            raise RecipeError(f"ssim: got patches of {tuple(pred.shape[2:])}, expected at least 11 pixels a side")
        maps = torch.cat((pred, gt, pred * pred, gt * gt, pred * gt))
        maps = _filtered(_filtered(maps, self._window).mT, self._window).mT
        a, b, aa, bb, ab = maps.chunk(5)
        c1, c2 = 0.01**2, 0.03**2
        top = (2 * a * b + c1) * (2 * (ab - a * b) + c2)
        return 1 - (top / ((a * a + b * b + c1) * (aa - a * a + bb - b * b + c2))).mean()


class Edge(nn.Module):
    """Charbonnier distance of the Laplacians (Zamir et al. 2021, MPRNet, eq. 2, with the plain five-point Laplacian).

    Args:
        epsilon: ε of the Charbonnier distance.
    """

    def __init__(self, *, epsilon: Positive = 1e-3) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ ε; ε at pred = gt."""
        d = prediction.pred - gt
        # Linear, so the Laplacian of the difference; slices, since one-channel convolutions are slow.
        inner = d[..., 1:-1, 1:-1]
        return _charbonnier(
            4 * inner - d[..., :-2, 1:-1] - d[..., 2:, 1:-1] - d[..., 1:-1, :-2] - d[..., 1:-1, 2:], self.epsilon
        )


class Fft(nn.Module):
    """Mean absolute difference of the Fourier coefficients, real and imaginary parts, scaled to be orthonormal
    (Cho et al. 2021, MIMO-UNet, eq. 7)."""

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt."""
        return torch.view_as_real(torch.fft.rfft2(prediction.pred - gt, norm="ortho")).abs().mean()


class Flicker(nn.Module):
    """Mean absolute change of the error from frame to frame: what flickers where the scene does not (Lai et al. 2018,
    "Learning blind video temporal consistency", eq. 3, without its warping: the ground truth moves as the scene)."""

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 for images, and where the error stays the same.

        Raises:
            RecipeError: images that are no frames of a clip.
        """
        if prediction.frames < 2:
            raise RecipeError("flicker: images have no frames; give the stage's frames, or take the term out")
        error = prediction.pred - gt
        error = error.view(-1, prediction.frames, *error.shape[1:])
        change: Tensor = (error[:, 1:] - error[:, :-1]).abs().mean()
        return change


class Laplacian(nn.Module):
    """Absolute difference of the levels of a Laplacian pyramid (Burt & Adelson 1983), each by its mean, summed: with
    means instead of sums this is the weighting of Bojanowski et al. 2018, "Optimizing the latent space", eq. 3.

    Args:
        levels: levels of detail; the rest below them counts as one more.
    """

    def __init__(self, *, levels: Annotated[int, Field(ge=0, le=12)] = 3) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 at pred = gt.

        Raises:
            RecipeError: a side is shorter than 2^levels pixels.
        """
        d = prediction.pred - gt
        if min(d.shape[2:]) < 2**self.levels:
            raise RecipeError(
                f"laplacian: got patches of {tuple(d.shape[2:])}, expected {2**self.levels} pixels a side"
            )
        total = d.new_zeros(())
        for _ in range(self.levels):  # linear: the pyramid of the difference
            coarse = _blurred(_blurred(d).mT).mT[..., ::2, ::2]
            fine = nn.functional.interpolate(coarse, size=d.shape[2:], mode="bilinear", align_corners=False)
            total = total + (d - fine).abs().mean()
            d = coarse
        return total + d.abs().mean()


class Mask(nn.Module):
    """Mean squared error of an attention map against the rain (Wang et al. 2019, eq. 5): |lq - gt| summed over the
    channels, at most 1.

    Needs a network whose `forward_train` gives a mask.
    """

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0.

        Raises:
            RecipeError: the network has no attention map.
        """
        if prediction.mask is None:
            raise RecipeError("mask: this network has no attention map; take the term out, or another network")
        rain = (lq - gt).abs().sum(1, keepdim=True).clamp(max=1)
        return (prediction.mask - rain).square().mean()


class Stages(nn.Module):
    """L1 of the estimates of earlier stages, averaged over them: recursive supervision (Ren et al. 2019, eq. 7). 0 for
    networks without stages."""

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0; 0 where every stage = gt."""
        if not prediction.stages:
            return gt.new_zeros(())
        return torch.stack([(stage - gt).abs().mean() for stage in prediction.stages]).mean()


def _charbonnier(d: Tensor, epsilon: float) -> Tensor:
    return (d.square() + epsilon**2).sqrt().mean()


def _blurred(x: Tensor) -> Tensor:
    """Binomial filter down the columns; edges are held."""
    padded = torch.cat((x[..., :1, :], x[..., :1, :], x, x[..., -1:, :], x[..., -1:, :]), dim=-2)
    return _filtered(padded, [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16])


def _filtered(x: Tensor, taps: Sequence[float]) -> Tensor:
    """Weighted sums down the columns where all taps are inside; slices, since one-channel convolutions are slow."""
    n = x.shape[-2] - len(taps) + 1
    out = taps[0] * x[..., :n, :]
    for k, weight in enumerate(taps[1:], start=1):
        out = torch.add(out, x[..., k : k + n, :], alpha=weight)
    return out


class CrossEntropy(nn.Module):
    """Cross-entropy of the palette's colours, the nearest to each pixel of the ground truth being the right one.

    Only for networks with a palette (`pix2pix`): it teaches probabilities, where L1 on colours stalls once the network
    is sure of the wrong one.

    Args:
        smoothing: share of the ground truth that is spread over all colours (Szegedy et al. 2016, eq. 7).
    """

    def __init__(self, *, smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(self, prediction: Prediction, gt: Tensor, lq: Tensor) -> Tensor:
        """Scalar ≥ 0, in nats."""
        if prediction.logits is None or prediction.palette is None:
            raise RecipeError("the loss 'cross_entropy' needs a network with a palette: give args.palette")
        colours = prediction.palette.to(gt.dtype)
        distance = colours.square().sum(1)[:, None, None] - 2 * torch.einsum("kc,nchw->nkhw", colours, gt)
        nearest = distance.min(1).indices  # six times as fast as argmin
        return nn.functional.cross_entropy(prediction.logits, nearest, label_smoothing=self.smoothing)
