"""Blocks shared by two or more networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveInt, SkipValidation
from torch import Tensor, nn

from repix._types import shown, within
from repix.errors import RecipeError, did_you_mean
from repix.models import Prediction
from repix.palettes import PALETTES

Share = Annotated[float, Field(ge=0, lt=1)]
"""Of what is left out by dropout."""

Widths = Annotated[Sequence[PositiveInt], Field(min_length=2)]
"""Of features at each level of a network with several, finest first."""

Palette = SkipValidation[str | Sequence[Sequence[int]] | None]
"""A palette by its name, or its colours, or none; `PaletteHead` checks it."""

# How far from one half a cumulated probability must be to count as one or none; see `PaletteHead`.
_SOFTNESS = 0.05


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), two 3×3 convolutions, optionally with batch norm (He et al. 2016, fig. 2).

    Args:
        channels: channels in and out.
        batch_norm: normalise after each convolution, as in the original; off, as in EDSR (Lim et al. 2017, fig. 2c).
        dilation: distance between the taps of both convolutions (Yu & Koltun 2016, eq. 2).
        dropout: share of the channels that are left out between the convolutions, in training (Zagoruyko & Komodakis
            2016, section 2.4; whole channels, as Tompson et al. 2015).
    """

    def __init__(self, channels: int, *, batch_norm: bool = False, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            layers.append(nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            if not last:
                layers += [nn.ReLU(inplace=True), *([nn.Dropout2d(dropout)] if dropout else [])]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        out: Tensor = x + self.body(x)
        return out


class PaletteHead(nn.Module):
    """Colours from the probabilities of the colours of a palette: for each channel the median of what may be there.

    The median is the value of least expected absolute error, so a network that learns probabilities by cross-entropy
    answers with the best image by L1, in flat colours rather than their mixtures. Step functions of the cumulated
    probability are replaced by steep sigmoids, so that it has a gradient.

    Args:
        palette: two or more colours, each (R, G, B) in 0…255; or a name in `repix.palettes.PALETTES`.

    Shapes: logits (N, K, H, W) -> `Prediction` with `pred` (N, 3, H, W), `logits` and `palette` (K, 3), in [0, 1].
    """

    palette: Tensor
    below: Tensor
    steps: Tensor
    lowest: Tensor

    def __init__(self, palette: str | Sequence[Sequence[int]]) -> None:
        super().__init__()
        if isinstance(palette, str):
            if palette not in PALETTES:
                hint = did_you_mean(palette, PALETTES)
                raise RecipeError(
                    f"unknown palette {palette!r}{hint} (known: {', '.join(PALETTES)}, or a list of colours)"
                )
            palette = [colour.rgb for colour in PALETTES[palette]]
        rows = palette if isinstance(palette, list | tuple) else []
        fitting = [
            list(colour)
            for colour in rows
            if isinstance(colour, list | tuple) and len(colour) == 3 and all(within(value, 0, 255) for value in colour)
        ]
        if len(fitting) < max(2, len(rows)):
            raise RecipeError(f"palette: got {shown(palette)}, expected two or more colours [R, G, B] in 0…255")
        colours = torch.tensor(fitting, dtype=torch.float32) / 255
        values = colours.T.sort(dim=1).values  # (3, K)
        # rows: for each channel and each value but the last, the colours that are not above it
        below = (colours.T[:, None, :] <= values[:, :-1, None]).float()
        steps = torch.zeros(3, 3, len(fitting) - 1)
        steps[range(3), range(3)] = values.diff(dim=1)
        made = {
            "palette": colours,
            "below": below.reshape(-1, len(fitting), 1, 1),
            "steps": steps.reshape(3, -1, 1, 1),
            "lowest": values[:, 0],
        }
        for name, value in made.items():  # made from the palette, so not kept with the weights
            self.register_buffer(name, value, persistent=False)

    def forward(self, logits: Tensor) -> Prediction:
        """(N, K, H, W) -> `Prediction`."""
        cumulated = nn.functional.conv2d(logits.softmax(dim=1), self.below)
        passed = ((0.5 - cumulated) / _SOFTNESS).sigmoid()
        pred = nn.functional.conv2d(passed, self.steps, self.lowest)
        return Prediction(pred, logits=logits, palette=self.palette)
