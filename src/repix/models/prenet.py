"""PReNet: the same shallow network again and again, each time with the rainy image and its last estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from repix._types import one_line
from repix.errors import WeightsError
from repix.models import Network, Prediction


class PReNet(Network):
    """Progressive recurrent network (Ren et al. 2019, "Progressive image deraining networks: a better and simpler
    baseline", fig. 2 and 3, eq. 3–5): PRN with `recurrence="none"`, PReNet with `"lstm"`, its GRU form with `"gru"`;
    the recursive forms PRN_r and PReNet_r (one residual block unrolled, fig. 4 c) with `recursive=True`.

    Args:
        stages: how often the network is applied, 1 or more; may be changed on the built network (`net.stages = 2`).
        recurrence: what carries features from stage to stage, eq. 4.
        recursive: use one residual block `blocks` times instead of as many blocks.
        channels: width.
        blocks: residual blocks in a stage.
        predict: `rain` adds the stage's output (the rain, negative) to the input, `image` takes it as the image.
        join_input: feed each stage the rainy image beside the last estimate (section 4.1.2), or the estimate only.
        head_relu: ReLU after the first convolution, as in the authors' code.

    Shapes: (N, 3, H, W) in [0, 1] -> the same, any H and W.
    """

    stage_attributes = ("stages",)
    overlap = 96  # six stages of thirteen convolutions see 78 pixels far

    def __init__(
        self,
        *,
        stages: PositiveInt = 6,
        recurrence: Literal["none", "lstm", "gru"] = "lstm",
        recursive: bool = False,
        channels: PositiveInt = 32,
        blocks: PositiveInt = 5,
        predict: Literal["rain", "image"] = "rain",
        join_input: bool = True,
        head_relu: bool = True,
    ) -> None:
        super().__init__()
        self.stages = stages
        self.recurrence = recurrence
        self.predict = predict
        self.join_input = join_input
        self.repeats = blocks if recursive else 1
        self.head = nn.Sequential(nn.Conv2d(6 if join_input else 3, channels, 3, padding=1))
        if head_relu:
            self.head.append(nn.ReLU())
        # One convolution for all gates of the same input: the arithmetic of several, fewer passes over memory.
        gates = _GATES[recurrence]
        if gates:
            self.gates = nn.Conv2d(2 * channels, gates * channels, 3, padding=1)
        if recurrence == "gru":
            self.candidate = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.blocks = nn.ModuleList(_block(channels) for _ in range(1 if recursive else blocks))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W), the last stage's estimate."""
        return self._estimates(x)[-1]

    def forward_train(self, x: Tensor) -> Prediction:
        """The last estimate, and those before it as `stages`."""
        *stages, pred = self._estimates(x)
        return Prediction(pred, tuple(stages))

    def _estimates(self, x: Tensor) -> list[Tensor]:
        estimates: list[Tensor] = []
        estimate = x
        state: tuple[Tensor, ...] = ()
        for _ in range(self.stages):
            features = self.head(torch.cat((x, estimate), dim=1) if self.join_input else estimate)
            features, state = self._recur(features, state)
            for _ in range(self.repeats):
                for block in self.blocks:
                    features = torch.relu(block(features) + features)
            estimate = self.tail(features)
            if self.predict == "rain":
                estimate = x + estimate
            estimates.append(estimate)
        return estimates

    def _recur(self, features: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Eq. 4: features (N, C, H, W) and the last stage's state -> features and the new state."""
        if self.recurrence == "none":
            return features, ()
        hidden = state[0] if state else torch.zeros_like(features)
        gates = self.gates(torch.cat((features, hidden), dim=1))
        if self.recurrence == "lstm":
            i, f, g, o = gates.chunk(4, dim=1)
            cell = torch.sigmoid(i) * torch.tanh(g)
            if state:
                cell = torch.sigmoid(f) * state[1] + cell
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            return hidden, (hidden, cell)
        update, reset = torch.sigmoid(gates).chunk(2, dim=1)
        candidate = torch.tanh(self.candidate(torch.cat((reset * hidden, features), dim=1)))
        hidden = (1 - update) * hidden + update * candidate
        return hidden, (hidden,)


_GATES = {"none": 0, "lstm": 4, "gru": 2}


def _block(channels: int) -> nn.Sequential:
    """Two convolutions, each with ReLU, as in the authors' code; the sum around it is rectified once more."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def load_published(path: str | Path, *, stages: int = 6) -> PReNet:
    """PRN, PReNet, PReNet_r or PRN_r with the weights that its authors published (`PReNet6.pth` and so on).

    Args:
        path: their state dict; its keys say which of the four it is.
        stages: the number of stages it was trained with (the digit in its name); the weights don't know.

    Raises:
        WeightsError: no such file, or other weights.
    """
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise WeightsError(f"{path} is not a readable state dict ({one_line(error)})") from None
    if not isinstance(weights, dict) or not {"conv0.0.weight", "res_conv1.0.weight", "conv.0.weight"} <= weights.keys():
        raise WeightsError(f"{path} holds other weights than PReNet's: expected keys such as conv0.0.weight")
    net = PReNet(
        stages=stages,
        recurrence="lstm" if "conv_i.0.weight" in weights else "none",
        recursive="res_conv2.0.weight" not in weights,
    )
    ours: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        ours[f"head.0.{kind}"] = weights[f"conv0.0.{kind}"]
        ours[f"tail.{kind}"] = weights[f"conv.0.{kind}"]
        for number in range(len(net.blocks)):
            for layer in (0, 2):
                ours[f"blocks.{number}.{layer}.{kind}"] = weights[f"res_conv{number + 1}.{layer}.{kind}"]
        if net.recurrence == "lstm":
            ours[f"gates.{kind}"] = torch.cat([weights[f"conv_{gate}.0.{kind}"] for gate in "ifgo"])
    net.load_state_dict(ours)
    return net
