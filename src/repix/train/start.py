"""Where training starts: weights of an earlier model, also in a network with more residual blocks than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from repix.errors import RecipeError, counted
from repix.models.layers import ResidualBlock
from repix.models.stored import load_network, load_state
from repix.weights import find_card


def start_from(net: nn.Module, model: str, *, trust: bool = False) -> None:
    """Copy a model's weights into a network that is the same, or has more residual blocks, or takes a classifier's.

    Blocks that the model doesn't have are set to return their input, so that the network starts as what it has grown
    from (Net2DeeperNet, Chen et al. 2016, section 2.3). Parts that the network lists as its `additions` to another one
    stay as they are made.

    Args:
        net: filled in place.
        model: a shipped model's name, or a model's folder; or a classifier's file, for a network that has
            `load_encoder` (`repix.models.vgg_unet`).
        trust: run Python code that the model's card names.

    Raises:
        UntrustedCodeError: the card of a model in ONNX alone names code, and it is not trusted.
        WeightsError: no such model, or a damaged one.
        RecipeError: a network that differs in something else, or a file for one that takes none.
    """
    if Path(model).is_file():
        load: Callable[[str], None] | None = getattr(net, "load_encoder", None)
        if load is None:
            raise RecipeError(f"init: {model} is a file; {type(net).__name__} starts from a model's name or folder")
        load(model)
        return
    state = load_state(*find_card(model), trust=trust)
    own = net.state_dict()
    new = [name for name, part in net.named_modules() if isinstance(part, ResidualBlock) and _is_new(name, state)]
    added = [name for name in getattr(net, "additions", ()) if _is_new(name, state)]
    odd = sorted(
        key
        for key in own.keys() | state.keys()
        if not key.startswith(tuple(f"{name}." for name in [*new, *added]))
        and (key not in own or key not in state or own[key].shape != state[key].shape)
    )
    if odd:
        raise RecipeError(
            f"init: {model} is not this network with fewer residual blocks "
            f"({counted(len(odd), 'tensor differs', 'tensors differ')}, first {odd[0]}); "
            "give it the args on the model's card"
        )
    net.load_state_dict(state, strict=False)
    for name in new:
        last = [part for part in net.get_submodule(name).modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)][-1]
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)


def load_frozen(model: str, *, trust: bool = False) -> nn.Module:
    """A model's network for evaluation alone, without gradients.

    Args:
        model: a shipped model's name, or a model's folder.
        trust: run Python code that the model's card names.

    Raises:
        UntrustedCodeError: the card names code, and it is not trusted.
        WeightsError: no such model, a damaged one, or one without a form for torch.
    """
    return load_network(*find_card(model), trust=trust).requires_grad_(False)


def _is_new(block: str, state: Mapping[str, Tensor]) -> bool:
    return not any(key.startswith(f"{block}.") for key in state)
