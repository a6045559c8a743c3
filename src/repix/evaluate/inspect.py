"""Look into a network: what it takes away, at which level, its recurrences, attention, features, uncertainty, and more.

Each function gives a `Figure`: panels to draw, and the arrays behind them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repix._types import Floats, Image
from repix.errors import InputError, WeightsError, counted
from repix.features import BACKBONES, FeatureStack
from repix.figures import Figure, Panel
from repix.infer.padding import to_floats
from repix.infer.pyramid import over_levels, restore_levels
from repix.infer.uncertainty import estimates, expected_error
from repix.io.files import atomic
from repix.models import MODELS, create_model, stored
from repix.models.adapter import Adapter
from repix.named import is_own
from repix.weights import Tiling, find_card

_MOST_MAPS = 64


def load_network(name_or_path: str | os.PathLike[str], *, trust: bool = False) -> nn.Module:
    """The torch network of a model (a shipped name or a folder), or, untrained and seeded, of a name in `MODELS` or
    `"my_file.py:MyNet"`.

    Args:
        name_or_path: which network.
        trust: run Python code that the model's card names.

    Raises:
        UntrustedCodeError: the card names code, and it is not trusted.
        WeightsError: no such model, or one without a form for torch.
    """
    name = os.fspath(name_or_path)
    if _is_untrained(name):
        torch.manual_seed(0)
        return create_model(name).eval()
    return stored.load_network(*find_card(name), trust=trust)


def _is_untrained(name: str) -> bool:
    """Whether a name is a network's, and no model's."""
    if name not in MODELS and not is_own(name):
        return False
    try:
        find_card(name)
    except WeightsError:
        return True
    return False


def rain(net: nn.Module, image: Image) -> Figure:
    """What the network takes away: input - estimate.

    Args:
        net: (N, 3, H, W) -> the same.
        image: (H, W, 3), uint8 or uint16.
    """
    known = Adapter(net)
    with torch.inference_mode():
        estimate = known.array(net(known.tensor(image)), image)
    given = _channels_last(to_floats(image))
    layer = given - estimate
    most = max(float(np.abs(layer).max()), 1e-6)
    return Figure(
        "rain",
        [
            Panel("input", _shown(given)),
            Panel(f"taken away (grey is nothing, ±{most:.2f})", _shown(0.5 + layer / (2 * most))),
            Panel("estimate", _shown(estimate)),
        ],
        arrays={"rain": layer, "estimate": estimate},
    )


def recurrences(net: nn.Module, image: Image) -> Figure:
    """The estimate of each recurrence of a progressive network.

    Raises:
        InputError: a network that estimates once.
    """
    known = Adapter(net)
    with torch.inference_mode():
        prediction = known.predict(known.tensor(image))
    if not prediction.stages:
        raise InputError("this network estimates once, without recurrences; prenet and progressive_spanet have several")
    found = [known.array(estimate, image) for estimate in (*prediction.stages, prediction.pred)]
    panels = [Panel("input", _shown(_channels_last(to_floats(image))))]
    panels += [Panel(f"recurrence {number}", _shown(estimate)) for number, estimate in enumerate(found, start=1)]
    return Figure("recurrences", panels, arrays={"recurrences": np.stack(found)})


def attention(net: nn.Module, image: Image) -> Figure:
    """The network's map of where rain is, alone and over the image.

    Raises:
        InputError: a network without such a map.
    """
    known = Adapter(net)
    with torch.inference_mode():
        mask = known.predict(known.tensor(image)).mask
    if mask is None:
        raise InputError("this network has no attention map; spanet and progressive_spanet have one")
    plane = known.array(mask, image)[..., 0]
    whole = _channels_last(to_floats(image))
    grey = whole.mean(axis=2, keepdims=True)
    over = grey * (1 - plane[..., None]) + plane[..., None] * np.array((1.0, 0.2, 0.0), np.float32)
    return Figure(
        "attention",
        [Panel("input", _shown(whole)), Panel("attention", plane), Panel("over the image", _shown(over))],
        arrays={"attention": plane},
    )


def features(net: nn.Module, image: Image, *, layer: str) -> Figure:
    """Feature maps of one layer; at most 64 are drawn, all are in the arrays.

    Args:
        net: a network, or a `FeatureStack`.
        image: (H, W, 3).
        layer: name of a module, as in `named_modules`.

    Raises:
        InputError: no such layer, or one that doesn't give feature maps.
    """
    modules = {name: module for name, module in net.named_modules() if name}
    if layer not in modules:
        raise InputError(f"no layer {layer!r}; this network has: {', '.join(modules)}")
    caught: list[Tensor] = []

    def keep(_module: nn.Module, _given: tuple[Any, ...], out: object) -> None:
        if isinstance(out, Tensor):
            caught.append(out)

    handle = modules[layer].register_forward_hook(keep)
    try:
        with torch.inference_mode():
            net(Adapter(net).tensor(image))
    finally:
        handle.remove()
    if not caught or caught[-1].dim() != 4:
        raise InputError(f"layer {layer!r} gives no feature maps (N, C, H, W); try another")
    maps = caught[-1][0].float().numpy()  # the last run, where a layer runs several times
    shown = [Panel(str(number), plane) for number, plane in enumerate(maps[:_MOST_MAPS])]
    more = f" (the first {_MOST_MAPS} of {len(maps)})" if len(maps) > _MOST_MAPS else ""
    return Figure(f"features of {layer}{more}", shown, arrays={"features": maps})


def uncertainty(net: nn.Module, image: Image) -> Figure:
    """Where the estimate is probably wrong: how much estimates of mirrored and shifted copies differ
    (`repix.infer.uncertainty`).

    Args:
        net: (N, 3, H, W) -> the same.
        image: (H, W, 3), uint8 or uint16.
    """
    restorer = Adapter(net).restorer()
    x = to_floats(image)
    _, levels, turned = restore_levels(restorer.run, image, multiple_of=restorer.multiple_of)
    run = over_levels(restorer.run, levels, multiple_of=restorer.multiple_of)
    found = estimates(run, x.swapaxes(2, 3) if turned else x, multiple_of=restorer.multiple_of)
    found = found.swapaxes(2, 3) if turned else found
    error = expected_error(found) * np.float32(255)
    estimate = found[0].transpose(1, 2, 0)
    return Figure(
        "uncertainty",
        [
            Panel("input", _shown(_channels_last(x))),
            Panel("estimate", _shown(estimate)),
            Panel(f"uncertainty in grey levels, {error.mean():.1f} on average", error),
        ],
        arrays={"uncertainty": error, "estimate": estimate},
    )


def levels(net: nn.Module, image: Image) -> Figure:
    """What each level of the pyramid takes away, in the order in which they run (`repix.infer.pyramid`).

    Args:
        net: (N, 3, H, W) -> the same.
        image: (H, W, 3), uint8 or uint16.
    """
    restorer, tiling = Adapter(net).restorer(), Adapter(net).tiling or Tiling()
    layers: dict[int, Floats] = {}
    made, ran, turned = restore_levels(
        restorer.run,
        image,
        multiple_of=restorer.multiple_of,
        tile=tiling.tile,
        overlap=tiling.overlap,
        on_layer=layers.__setitem__,
    )
    most = max([float(np.abs(layer).max()) for layer in layers.values()], default=1e-6)
    sizes = {level: f"reduced {level} times" if level > 1 else "at its own size" for level in ran}
    return Figure(
        f"levels {', '.join(map(str, ran))}{', on its side' if turned else ''}" if ran else "no level finds rain",
        [
            Panel("input", _shown(_channels_last(to_floats(image)))),
            *(
                Panel(f"{sizes[level]} (grey is nothing, ±{most:.2f})", _shown(0.5 + layers[level] / (2 * most)))
                for level in ran
            ),
            Panel("result", _shown(_channels_last(to_floats(made)))),
        ],
        arrays={f"level_{level}": layers[level] for level in ran},
    )


def receptive_field(net: nn.Module, image: Image, *, side: int = 256, samples: int = 8) -> Figure:
    """How far one output pixel sees: the mean absolute derivative of it to every input pixel (Luo et al. 2016,
    "Understanding the effective receptive field in deep convolutional neural networks", section 2).

    Args:
        net: (N, 3, H, W) -> the same.
        image: (H, W, 3); the derivative is taken on parts of it.
        side: side of the parts in pixels; a longer field is cut off there.
        samples: parts to average over.
    """
    known = Adapter(net)
    x, unit = known.tensor(image), known.multiple_of
    height, width = (max(min(side, length) // unit, 1) * unit for length in x.shape[2:])
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(height, width)
    parameters = list(net.parameters())
    wanted = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        for _ in range(samples):
            top, left = (
                int(torch.randint((length - part) // unit + 1, (), generator=generator)) * unit
                for length, part in zip(x.shape[2:], (height, width), strict=True)
            )
            part = x[..., top : top + height, left : left + width].clone().requires_grad_()
            net(part)[0, :, height // 2, width // 2].sum().backward()
            assert part.grad is not None
            total += part.grad[0].abs().sum(0)
    finally:
        for parameter, want in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(want)
    plane = (total / samples).numpy()
    radius = _radius(plane)
    return Figure(
        "effective receptive field",
        [
            Panel(
                f"log10 of |d out / d in|; 95 % within {counted(radius, 'pixel')}",
                np.log10(plane / plane.max() + 1e-6).astype(np.float32),
            )
        ],
        arrays={"receptive_field": plane, "radius": np.array(radius)},
    )


def signal(image: Image, *, depth: int = 24, channels: int = 32) -> Figure:
    """The vanishing signal, layer by layer, in untrained stacks of 3×3 convolutions with ReLU: plain against residual
    (He et al. 2016, fig. 2), torch's default against Kaiming's initialisation (He et al. 2015, eq. 10).

    Drawn are the variance of the activations over the image (mean over channels, so that constants don't count) and
    the norm of the weights' derivatives.

    Args:
        image: (H, W, 3), what goes through them.
        depth: convolutions; even.
        channels: width.
    """
    x = torch.from_numpy(to_floats(image))
    variances: dict[str, Floats] = {}
    norms: dict[str, Floats] = {}
    for form in ("plain", "residual"):
        for start in ("default", "kaiming"):
            torch.manual_seed(0)
            convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
            head = nn.Conv2d(3, channels, 3, padding=1)
            for conv in (head, *convs):
                assert isinstance(conv, nn.Conv2d)
                if start == "kaiming":
                    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                    assert conv.bias is not None
                    nn.init.zeros_(conv.bias)
            features = torch.relu(head(x))
            found = []
            for number, conv in enumerate(convs):
                if form == "plain":
                    features = torch.relu(conv(features))
                elif number % 2 == 0:
                    skip, features = features, torch.relu(conv(features))
                else:
                    features = torch.relu(skip + conv(features))
                found.append(float(features.detach().var((2, 3)).mean()))
            torch.autograd.backward(features.mean())
            label = f"{form}, {start}"
            variances[label] = np.array(found, np.float32)
            gradients = [conv.weight.grad for conv in convs if isinstance(conv.weight, Tensor)]
            norms[label] = np.array([float(one.norm()) for one in gradients if one is not None], np.float32)
    arrays = {f"{what} {label}": values for what, all_ in (("variance", variances), ("gradient", norms))
              for label, values in all_.items()}  # fmt: skip
    axes = ("layer", "")
    return Figure(
        f"signal through {counted(depth, 'convolution')}",
        [
            Panel("variance of the activations", curves=variances, axes=axes),
            Panel("norm of the weights' derivative", curves=norms, axes=axes),
        ],
        arrays=arrays,
    )


SHOWN: Mapping[str, Callable[[nn.Module, Image], Figure]] = {
    "rain": rain,
    "levels": levels,
    "uncertainty": uncertainty,
    "recurrences": recurrences,
    "attention": attention,
    "receptive-field": receptive_field,
}


def inspect(
    show: str,
    image: Image,
    *,
    model: str | os.PathLike[str],
    layer: str | None = None,
    backbone: str | Path | None = None,
    trust: bool = False,
) -> Figure:
    """What `repix inspect --show` names.

    Args:
        show: a key of `SHOWN`, or `features` or `signal`.
        image: (H, W, 3), uint8 or uint16.
        model: as in `load_network`; for `features` also `vgg16`, `vgg19` or `alexnet`.
        layer: for `features`: name of a module; for a backbone, a number in torchvision's `features`.
        backbone: for a backbone, the file of its weights.
        trust: run Python code that the model's card names.

    Raises:
        UntrustedCodeError: see `load_network`.
        InputError: an unknown name, or something that the network doesn't have.
    """
    if show == "signal":
        return signal(image)
    if show == "features" and layer is None:
        raise InputError("features: name a layer (--layer); a wrong name lists those that there are")
    if show == "features" and model in BACKBONES:
        if not str(layer).isdigit():
            raise InputError(f"{model}'s layers are numbers, as in torchvision's features[:{layer}]")
        stack = FeatureStack(str(model), layers=[int(str(layer))], weights=backbone)
        return features(stack, image, layer=f"features.{layer}")
    if show not in (*SHOWN, "features"):
        raise InputError(f"cannot show {show!r}; choose {', '.join((*SHOWN, 'features', 'signal'))}")
    net = load_network(model, trust=trust)
    seen = features(net, image, layer=str(layer)) if show == "features" else SHOWN[show](net, image)
    if _is_untrained(os.fspath(model)):  # a random map looks like one that has been learnt
        seen = replace(seen, title=f"{seen.title}, of random weights ({model} is untrained)")
    return seen


def save_arrays(figure: Figure, path: str | Path) -> None:
    """Write the arrays as NumPy's .npz, atomically.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **figure.arrays)


def _channels_last(x: Floats) -> Floats:
    """(1, 3, H, W) -> (H, W, 3)."""
    image: Floats = x[0].transpose(1, 2, 0)
    return image


def _shown(image: Floats) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _radius(plane: Floats) -> int:
    """Chebyshev distance from the middle within which 95 % of the sum lies."""
    height, width = plane.shape
    y, x = np.ogrid[:height, :width]
    distance = np.maximum(np.abs(y - height // 2), np.abs(x - width // 2))
    shares = np.cumsum(np.bincount(distance.ravel(), plane.ravel())) / plane.sum()
    return int(np.searchsorted(shares, 0.95))
