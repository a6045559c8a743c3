"""repix's own network: as good as a plain U-shape can be made at the cost of a photo on a laptop."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, cast

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from repix.errors import RecipeError, counted
from repix.models import Network, Prediction
from repix.models.layers import Palette, PaletteHead, ResidualBlock, Share, Widths


class RepixNet(Network):
    """U-shaped residual network on pixel-unshuffled input, without normalisation or pooling.

    Every choice follows cost measured in ONNX Runtime on a CPU: a pixel-unshuffle stem (Shi et al. 2016, fig. 1,
    reversed) removes the full-resolution features that dominate the time of PReNet or NAFNet; plain 3×3 residual
    blocks (Lim et al. 2017, fig. 2c) reach the machine's arithmetic rate, layer norm doesn't; strided convolutions
    down and 1×1 convolution with pixel-shuffle up (no checkerboard from overlapping strides), features added rather
    than concatenated (Ronneberger et al. 2015, fig. 1, with sums). Without global pooling a tile sees what the whole
    image would, so tiles are seamless. The zero-initialised tail makes the untrained network the identity.

    Args:
        channels: width at each level, finest first; level k works at 1/(unshuffle·2^k) of the resolution.
        encoder: residual blocks of the encoder, one number for each level but the last.
        middle: residual blocks at the coarsest level.
        decoder: residual blocks of the decoder, one number for each level but the last, finest first.
        unshuffle: factor of the stem.
        predict: `rain` subtracts the output from the input, `image` returns it as the image.
        batch_norm: normalise within blocks; for translation, where it gains much.
        dropout: rate within blocks.
        palette: of label maps to be made, with `predict: image`; see `PaletteHead`.

    Shapes: (N, 3, H, W) in [0, 1] -> the same; H and W multiples of `multiple_of`.
    """

    def __init__(
        self,
        *,
        channels: Widths = (32, 64, 128),
        encoder: Sequence[NonNegativeInt] = (1, 1),
        middle: NonNegativeInt = 3,
        decoder: Sequence[NonNegativeInt] = (1, 2),
        unshuffle: PositiveInt = 2,
        predict: Literal["rain", "image"] = "rain",
        batch_norm: bool = False,
        dropout: Share = 0.0,
        palette: Palette = None,
    ) -> None:
        super().__init__()
        if not len(channels) == len(encoder) + 1 == len(decoder) + 1:
            raise RecipeError(
                f"repixnet: got {counted(len(channels), 'level')} of channels, "
                f"{counted(len(encoder), 'encoder entry', 'encoder entries')} and "
                f"{counted(len(decoder), 'decoder entry', 'decoder entries')}; "
                "expected one encoder and one decoder entry for each level but the coarsest"
            )
        if palette is not None and predict != "image":
            raise RecipeError("repixnet: a palette goes with predict: image")
        # in int8 either of the last two blocks takes 4 dB from clean images; stem and ups, which cost little, 0.3 dB
        # from streaks before smooth grounds
        self.keep_float = ("stem", "ups", "tail")
        self.keep_float += tuple(f"decoders.0.{block}" for block in range(decoder[0])[-2:])
        self.predict = predict
        self.head = PaletteHead(palette) if palette is not None else None
        self.multiple_of = unshuffle * 2 ** (len(channels) - 1)
        # the shipped weights of 8, 20 and 22 blocks, tiles of 512 in the densest rain: two grey levels off at most
        self.overlap = 128 if sum(encoder) + middle + sum(decoder) <= 12 else 208
        self.tile = 1536  # less is done twice than at 1024; activations take some 400 MB
        folded = 3 * unshuffle**2

        def blocks(width: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(width, batch_norm=batch_norm, dropout=dropout) for _ in range(count)))

        pairs = list(itertools.pairwise(channels))
        self.stem = nn.Sequential(nn.PixelUnshuffle(unshuffle), nn.Conv2d(folded, channels[0], 3, padding=1))
        self.encoders = nn.ModuleList(blocks(width, n) for (width, _), n in zip(pairs, encoder, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.middle = blocks(channels[-1], middle)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, fine * 4, 1), nn.PixelShuffle(2)) for fine, coarse in pairs
        )
        self.decoders = nn.ModuleList(blocks(width, n) for (width, _), n in zip(pairs, decoder, strict=True))
        out = folded if self.head is None else len(self.head.palette) * unshuffle**2
        self.tail = nn.Sequential(nn.Conv2d(channels[0], out, 3, padding=1), nn.PixelShuffle(unshuffle))
        last = self.tail[0]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.forward_train(x).pred

    def forward_train(self, x: Tensor) -> Prediction:
        """(N, 3, H, W) in [0, 1] -> `Prediction`, with `logits` where there is a palette."""
        out: Tensor = self.tail(self.decoded(self.stem(x)))
        if self.head is not None:
            return cast("Prediction", self.head(out))
        return Prediction(x - out if self.predict == "rain" else out)

    def decoded(self, features: Tensor) -> Tensor:
        """The U-shape between stem and tail: (N, channels[0], H/unshuffle, W/unshuffle) -> the same."""
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            features = decoder(up(features) + skips.pop())
        return features
