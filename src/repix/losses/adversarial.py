"""Adversarial losses of a discriminator and of its generator, from the discriminator's logits.

They take logits rather than images, so they are no part of `LOSSES`; `repix.train.translation` runs both sides.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn.functional import softplus

from repix.errors import RecipeError

Mode = Literal["vanilla", "lsgan", "hinge"]


def discriminator_loss(real: Tensor, fake: Tensor, *, mode: Mode = "vanilla") -> Tensor:
    """What the discriminator minimises; half the sum of both terms, as pix2pix does to slow it down.

    Args:
        real, fake: logits of true and of made images, of any shape.
        mode: `vanilla`, binary cross-entropy (Goodfellow et al. 2014, eq. 1); `lsgan`, least squares (Mao et al. 2017,
            eq. 2 with a = 0, b = 1); `hinge` (Lim & Ye 2017, eq. 3).

    Returns:
        Scalar ≥ 0.
    """
    _check(mode)
    if mode == "vanilla":  # −log σ(x) = softplus(−x)
        return (softplus(-real).mean() + softplus(fake).mean()) / 2
    if mode == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    return ((1 - real).relu().mean() + (1 + fake).relu().mean()) / 2


def generator_loss(fake: Tensor, *, mode: Mode = "vanilla") -> Tensor:
    """What the generator minimises: −log D for `vanilla` (the form that does not saturate, Goodfellow et al. 2014,
    section 3), (D − 1)² for `lsgan` (c = 1), −D for `hinge`.

    Args:
        fake: logits of made images, of any shape.
        mode: as in `discriminator_loss`.

    Returns:
        Scalar; only that of `hinge` may be negative.
    """
    _check(mode)
    if mode == "vanilla":
        return softplus(-fake).mean()
    return (fake - 1).square().mean() if mode == "lsgan" else -fake.mean()


class Adversarial(nn.Module):
    """Both sides of one mode.

    Args:
        mode: as in `discriminator_loss`.
    """

    def __init__(self, *, mode: Mode = "vanilla") -> None:
        super().__init__()
        self.mode: Mode = mode

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """See `discriminator_loss`."""
        return discriminator_loss(real, fake, mode=self.mode)

    def generator(self, fake: Tensor) -> Tensor:
        """See `generator_loss`."""
        return generator_loss(fake, mode=self.mode)


def _check(mode: str) -> None:
    if mode not in get_args(Mode):
        raise RecipeError(f"adversarial: got mode {mode!r}, expected one of {', '.join(get_args(Mode))}")
