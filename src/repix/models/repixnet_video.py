"""RepixNet with a memory: what a streak hides in one frame, the frames before have shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle

from repix.models import Prediction
from repix.models.alignment import CELL, find_motion, warped, warped_sharp
from repix.models.layers import Widths
from repix.models.repixnet import RepixNet
from repix.weights import State

# What is new begins at 0 and has far to go, while the other weights are nearly there already: it learns so much faster.
_QUICK = 10.0


class RepixNetVideo(RepixNet):
    """RepixNet that sees the frame before, its result and a few features, laid on this frame by `alignment`.

    The camera's motion may be told, for each 8×8 pixels, and is taken where blocks do not explain the frame better.
    What lies between pixels of the result before is found with little blur.

    The result and the input before enter the stem as differences from this frame, so that where they show nothing (the
    first frame, what has come into view) they are 0 and the network is RepixNet. At the end a gate in [0, 1] takes the
    result before in place of what was found in this frame alone, where both show the same. Gate and memory are
    zero-initialised: the untrained network is the RepixNet that its other weights are of.

    Args:
        features: channels that are carried, at 1/unshuffle of the resolution.
        channels, encoder, middle, decoder, unshuffle: see `RepixNet`.

    Shapes: (N, 3, H, W) in [0, 1], and the state, what the frame before left: (N, 7, H, W), its result, its input and
    ones; (N, features, H/unshuffle, W/unshuffle); (N, 2, H/8, W/8), motion in pixels (right, down) from each place to
    where it was in the frame before, zeros where that is not known. Zeros before the first frame. Returns the estimate
    and the state; of the motion, which is not carried on, zeros.
    """

    additions = ("memory", "gate", "keep")

    def __init__(
        self,
        *,
        features: PositiveInt = 8,
        channels: Widths = (32, 64, 128),
        encoder: Sequence[NonNegativeInt] = (1, 1),
        middle: NonNegativeInt = 3,
        decoder: Sequence[NonNegativeInt] = (1, 2),
        unshuffle: PositiveInt = 2,
    ) -> None:
        super().__init__(channels=channels, encoder=encoder, middle=middle, decoder=decoder, unshuffle=unshuffle)
        self.multiple_of = max(self.multiple_of, CELL)
        # motion is found over more than the blocks reach: at 208 a moved edge differs by 8 grey levels, at 304 by one
        self.overlap = 304
        # differences from this frame are small, and what says how far the result before holds is exact or a trace
        self.keep_float = (*self.keep_float, "memory", "gate", "keep")
        self.state = (
            State(name="frame", channels=7),
            State(name="features", channels=features, stride=unshuffle),
            State(name="motion", channels=2, stride=CELL, camera=True),
        )
        self.unshuffle = unshuffle
        self.memory = nn.Conv2d(6 * unshuffle**2 + features, channels[0], 3, padding=1, bias=False)
        self.gate = nn.Sequential(nn.Conv2d(channels[0], unshuffle**2, 3, padding=1), nn.PixelShuffle(unshuffle))
        self.keep = nn.Conv2d(channels[0], features, 1)
        new = self.gate[0]
        assert isinstance(new, nn.Conv2d)
        assert new.bias is not None
        for part in (self.memory.weight, new.weight, new.bias):
            nn.init.zeros_(part)

    def forward(  # type: ignore[override]  # the contract of networks that carry a state
        self, x: Tensor, frame: Tensor, features: Tensor, motion: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, 3, H, W) and the state -> the estimate, (N, 3, H, W), and the state for the next frame."""
        moved = find_motion(x, frame[:, 3:6], motion)
        frame = warped_sharp(frame, moved, 3).to(x.dtype)
        before, seen = frame[:, :3], frame[:, 6:]
        # of the result and of the input before; 0 where nothing was seen
        change = (torch.unflatten(frame[:, :6], 1, (2, 3)) - (seen * x).unsqueeze(1)).flatten(1, 2)
        features = warped(features, moved / (x.shape[3] // features.shape[3]))
        made = self.decoded(self.stem(x) + _QUICK * self._remembered(change, features.to(x.dtype)))
        rain, gate = self._ends(made)
        alone = x - rain
        y = alone + (_QUICK * gate).clamp(0, 1) * (before - seen * alone)
        frame = torch.cat([y.clamp(0, 1), x, torch.ones_like(x[:, :1])], dim=1)
        return y, frame, self.keep(made).tanh(), torch.zeros_like(motion)  # the next frame's is told, or is not known

    def _remembered(self, change: Tensor, features: Tensor) -> Tensor:
        """`memory` of both, of `change` unshuffled: one convolution with a stride, which takes a quarter less time."""
        n, weight = self.unshuffle, self.memory.weight
        folded = change.shape[1] * n**2
        # a tap of an unshuffled channel is one of every n-th pixel
        wide = torch.unflatten(weight[:, :folded], 1, (-1, n, n)).permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)
        return conv2d(change, wide, stride=n, padding=n) + conv2d(features, weight[:, folded:], padding=1)

    def _ends(self, made: Tensor) -> tuple[Tensor, Tensor]:
        """`tail` and `gate`, in one convolution: engines make 16 channels as fast as the 4 of the gate."""
        ends = [part[0] for part in (self.tail, self.gate)]
        weight, bias = (torch.cat([getattr(one, name) for one in ends]) for name in ("weight", "bias"))
        both = pixel_shuffle(conv2d(made, weight, bias, padding=1), self.unshuffle)
        return both[:, :3], both[:, 3:]

    def forward_train(self, x: Tensor) -> Prediction:
        """(N, 3, H, W) in [0, 1], each the first frame of a clip -> `Prediction`."""
        return Prediction(self(x, *self.zeros(x))[0])

    def zeros(self, x: Tensor) -> tuple[Tensor, ...]:
        """The state before a first frame (N, 3, H, W)."""
        count, _, height, width = x.shape
        return tuple(x.new_zeros(one.shape(count, height, width)) for one in self.state)
