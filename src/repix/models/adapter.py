"""Any network as the rest of repix uses it: padded, cropped and clamped as users' images are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from repix._types import Floats, Image, invalid
from repix.errors import RecipeError
from repix.infer.backends.torch import TorchBackend
from repix.infer.camera import Camera
from repix.infer.padding import padded, to_floats
from repix.infer.restorer import Restorer
from repix.models import Network, Prediction
from repix.weights import State, Tiling


class ContractError(RecipeError):
    """A network that does not do what `repix.models` asks of every network."""


class Adapter:
    """A network with the contract of `repix.models`, of which a network of one's own may say nothing.

    Args:
        net: (N, 3, H, W) -> the same.

    Attributes:
        net: the network.
        stage_attributes: names of its attributes that a stage of training may change.
        multiple_of: H and W given to it must be multiples of this.
        tiling: how it may be tiled; None if it must run in one piece, which is what a network means that says nothing.
        state: what it carries from frame to frame; empty for images.

    Raises:
        ContractError: attributes that no network can have.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._name = type(net).__name__
        self.stage_attributes: tuple[str, ...] = tuple(getattr(net, "stage_attributes", Network.stage_attributes))
        self.multiple_of = self._number("multiple_of", least=1)
        self.state: tuple[State, ...] = tuple(getattr(net, "state", Network.state))
        self.tiling: Tiling | None = None
        if getattr(net, "tileable", False):
            tile, overlap = self._number("tile", least=1), self._number("overlap", least=0)
            try:
                self.tiling = Tiling(tile=tile, overlap=overlap)
            except ValidationError as error:
                raise ContractError(f"{self._name}: {invalid(error.errors()[0], where='tile')}") from None

    def _number(self, name: str, *, least: int) -> int:
        value = getattr(self.net, name, getattr(Network, name))
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = least - 1
        if number < least:
            raise ContractError(f"{self._name}.{name} is {value!r}; expected a whole number from {least} on")
        return number

    def predict(self, x: Tensor) -> Prediction:
        """What the losses see, in float32 whatever the network computes in.

        Args:
            x: (N, 3, H, W) in [0, 1], H and W multiples of `multiple_of`.

        Raises:
            ContractError: the network makes something else than estimates of that shape.
        """
        learn: Callable[[Tensor], Any] | None = getattr(self.net, "forward_train", None)
        made: Any = learn(x) if learn is not None else Prediction(self.net(x))
        if not isinstance(made, Prediction):
            raise ContractError(
                f"{self._name}.forward_train returns a {type(made).__name__}; expected a repix.models.Prediction"
            )
        parts: list[tuple[str, Any]] = [("estimate", made.pred)]
        parts += [("estimate of an earlier stage", one) for one in made.stages]
        for what, one in parts:
            if not isinstance(one, Tensor) or one.shape != x.shape:
                got = tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
                raise ContractError(
                    f"{self._name} made an {what} of {got} from {tuple(x.shape)}; expected the same shape"
                )
        return made._replace(
            pred=made.pred.float(),
            stages=tuple(one.float() for one in made.stages),
            logits=made.logits.float() if made.logits is not None else None,
        )

    def predict_clips(self, clips: Tensor, clean: Tensor | None = None) -> Prediction:
        """The same of clips, frame after frame; the estimates clip by clip.

        Args:
            clips: (N, T, 3, H, W) in [0, 1].
            clean: of the same shape. In it the camera's motion is found, for a network that is told: so small a frame
                does not tell it under rain, as those of a video do. None tells nothing.

        Returns:
            `pred`: (N·T, 3, H, W).
        """
        state: tuple[Tensor, ...] = self.net.zeros(clips[:, 0])  # type: ignore[operator]
        told = {one.stride: _told(clean, one.stride) for one in self.state if one.camera and clean is not None}
        made = []
        for t, frame in enumerate(clips.unbind(1)):
            state = tuple(
                torch.where(told[one.stride][:, t].isnan(), old, told[one.stride][:, t]) if one.camera and told else old
                for one, old in zip(self.state, state, strict=True)
            )
            y, *following = self.net(frame, *state)
            state = tuple(following)
            made.append(y.float())
        return Prediction(torch.stack(made, dim=1).flatten(0, 1), frames=clips.shape[1])

    def restorer(self) -> Restorer:
        """The network as users run it, over whole images."""
        return Restorer(TorchBackend(self.net), multiple_of=self.multiple_of, state=self.state)

    def tensor(self, image: Image) -> Tensor:
        """An image of any size as the network takes it, (1, 3, H', W') in [0, 1]."""
        return torch.from_numpy(padded(to_floats(image), self.multiple_of))

    @staticmethod
    def array(x: Tensor, image: Image) -> Floats:
        """What belongs to the image of (1, C, H', W'), (H, W, C), clamped to [0, 1] as users' results are."""
        height, width = image.shape[:2]
        cropped: Floats = x[0, :, :height, :width].detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        return cropped


def _told(clips: Tensor, side: int) -> Tensor:
    """The camera's motion in clips (N, T, 3, H, W), (N, T, 2, H/side, W/side); NaN where that cannot be told."""
    count, frames, _, height, width = clips.shape
    images = (clips.detach().float().clamp(0, 1) * 255).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
    made = clips.new_full((count, frames, 2, height // side, width // side), float("nan"))
    for n, clip in enumerate(images):
        camera = Camera()
        for t, image in enumerate(clip):
            motion = camera.follow(image)
            camera.keep(image)
            if motion is not None:
                made[n, t] = torch.from_numpy(motion.cells(side, 1, (height // side, width // side))[0])
    return made
