"""The networks, by name. Adding one is one file, one line in `repix.networks` and one row of golden values.

A network is a `torch.nn.Module` with

    forward(x) -> Tensor            (N, 3, H, W) in [0, 1] -> the same; the only thing exported
    forward_train(x) -> Prediction  what the losses see: the estimate, earlier stages, an attention mask
    multiple_of: int                H and W must be multiples of this (padding is `repix.infer`'s work)
    stage_attributes: tuple         names of attributes that a stage of training may change
    tileable: bool                  False where a value depends on the whole image (pooling, recurrence)
    state: tuple[State, ...]        what it carries from frame to frame; empty for images. Such a network has
                                    forward(x, *state) -> (y, *state), and `zeros(x)`, the state before the first frame

Outputs are not clamped: losses need the gradient outside [0, 1], and `Restorer` clips once, at the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from repix._types import one_line
from repix.errors import RecipeError
from repix.named import check_names, checked_arguments, find_named, is_own
from repix.networks import MODELS as MODELS
from repix.weights import State


class Prediction(NamedTuple):
    """What a network gives its losses.

    Attributes:
        pred: the estimate of the clean image, (N, 3, H, W).
        stages: estimates of earlier stages, oldest first, each (N, 3, H, W); empty for one-stage networks.
        mask: attention over the rain, (N, 1, H, W) in [0, 1], or None.
        logits: of each colour of a palette, (N, K, H, W), or None.
        palette: those colours, (K, 3) in [0, 1], or None.
        frames: so many consecutive images are frames of one clip.
    """

    pred: Tensor
    stages: tuple[Tensor, ...] = ()
    mask: Tensor | None = None
    logits: Tensor | None = None
    palette: Tensor | None = None
    frames: int = 1


class Network(nn.Module):
    """Base of our networks: the contract above with its defaults."""

    multiple_of: int = 1
    tileable: bool = True
    # Side of a tile and what neighbours share, in pixels; the second at least the receptive field.
    tile: int = 1024
    overlap: int = 96
    # Attributes that a stage of training may change: `network: {stages: 3}`.
    stage_attributes: tuple[str, ...] = ()
    state: tuple[State, ...] = ()
    # Parts that a network which starts as another one adds to it, and which change nothing as they are made.
    additions: tuple[str, ...] = ()
    # Parts that stay in floating point where the rest runs in int8 (`repix.train.quantize`).
    keep_float: tuple[str, ...] = ()

    def forward_train(self, x: Tensor) -> Prediction:
        """(N, 3, H, W) in [0, 1] -> `Prediction`; networks with stages or masks override this."""
        return Prediction(self(x))


def model_class(name: str) -> type[nn.Module]:
    """The class behind a name in `MODELS`, or behind `"my_file.py:MyNet"`.

    Raises:
        RecipeError: no such name, file or class.
    """
    found = find_named(name, MODELS, what="model", example="my_file.py:MyNet")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise RecipeError(f"model {name!r}: not a torch.nn.Module class")
    return found


def create_model(name: str, **args: Any) -> nn.Module:
    """Build a network by name; unknown arguments are an error, none is swallowed.

    Args:
        name: a key of `MODELS`, or `"my_file.py:MyNet"` for a network of your own.
        **args: passed to the network's constructor.

    Raises:
        RecipeError: unknown name or argument, or arguments of which no network can be made.
    """
    cls = model_class(name)
    if is_own(name):  # whose errors say where in that file, and whose arguments may be of any type
        check_names(f"model {name!r}", cls, args)
        return cls(**args)
    args = checked_arguments(f"model {name!r}", cls, args)
    try:
        return cls(**args)
    except Exception as error:
        raise RecipeError(f"model {name!r} cannot be made with args {args}: {one_line(error)}") from error
