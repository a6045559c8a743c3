"""VGG and AlexNet as feature stacks, and LPIPS on top: a few lines each, with torchvision's keys and weights.

Weights come from a file, from the cache of the torch hub (`$TORCH_HOME/hub/checkpoints`), or are downloaded there.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from repix._types import one_line
from repix.errors import InputError, WeightsError

# ImageNet's mean and standard deviation, RGB in [0, 1]; all published weights expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Channels of each 3×3 convolution; None is 2×2 max pooling (Simonyan & Zisserman 2015, table 1, D and E).
_VGG: dict[str, tuple[int | None, ...]] = {
    "vgg16": (64, 64, None, 128, 128, None, 256, 256, 256, None, 512, 512, 512, None, 512, 512, 512, None),
    "vgg19": (64, 64, None, 128, 128, None, *(256,) * 4, None, *(512,) * 4, None, *(512,) * 4, None),
}
_URLS = {
    "alexnet": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    "lpips_alex": "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/alex.pth",
}
BACKBONES = ("alexnet", "vgg16", "vgg19")


class FeatureStack(nn.Module):
    """The convolutional part of a classifier, frozen, up to the deepest layer asked for.

    Args:
        backbone: `alexnet`, `vgg16` or `vgg19`.
        layers: indices in torchvision's `features`; the output of each is returned (34 is the last convolution of
            VGG19, so the end of `features[:35]`).
        weights: a state dict with torchvision's keys; None takes the torch hub's cache, or downloads.
        normalize: subtract ImageNet's mean and divide by its deviation first; False takes [0, 1] as it is.

    Raises:
        InputError: unknown backbone or layer.
        WeightsError: no weights, or others; offline, the message says where to put the file.
    """

    def __init__(
        self,
        backbone: str,
        *,
        layers: Sequence[int],
        weights: str | Path | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        stack = conv_stack(backbone)
        if not layers or not all(0 <= layer < len(stack) for layer in layers):
            raise InputError(f"{backbone} has the layers 0 to {len(stack) - 1}, got {list(layers)}")
        self.layers = tuple(layers)
        self.features = nn.Sequential(*stack[: max(layers) + 1])
        fill_stack(self.features, backbone, weights)
        self.requires_grad_(False).eval()
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if normalize else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("_mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [0, 1] -> features (N, C, h, w) of each layer, in the order asked for."""
        assert isinstance(self._mean, Tensor)
        assert isinstance(self._std, Tensor)
        x = (x.to(self._mean.dtype) - self._mean) / self._std
        found = {}
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.layers:
                found[number] = x
        return [found[layer] for layer in self.layers]


class Lpips(nn.Module):
    """Learned perceptual distance (Zhang et al. 2018, eq. 1), AlexNet, version 0.1; lower is more alike.

    Args:
        backbone: AlexNet's state dict; None as in `FeatureStack`.
        head: state dict of LPIPS' own weights; None as in `FeatureStack`.
    """

    _LAYERS = (1, 4, 7, 9, 11)  # after each ReLU

    def __init__(self, *, backbone: str | Path | None = None, head: str | Path | None = None) -> None:
        super().__init__()
        self.features = FeatureStack("alexnet", layers=self._LAYERS, weights=backbone)
        # LPIPS' own constants, for x in [-1, 1]: ImageNet's to three digits.
        self.features._mean = (1 + torch.tensor((-0.030, -0.088, -0.188))[:, None, None]) / 2
        self.features._std = torch.tensor((0.458, 0.448, 0.450))[:, None, None] / 2
        found = load_weights("lpips_alex", head)
        try:
            self.heads = nn.ParameterList(found[f"lin{i}.model.1.weight"].float() for i in range(len(self._LAYERS)))
        except KeyError as error:
            raise WeightsError(f"{head}: not LPIPS' weights (no {error})") from None
        self.requires_grad_(False)

    def forward(self, pred: Tensor, gt: Tensor) -> Tensor:
        """Two of (N, 3, H, W) in [0, 1] -> (N,)."""
        total = pred.new_zeros(len(pred))
        for a, b, head in zip(self.features(pred), self.features(gt), self.heads, strict=True):
            difference = (_unit(a) - _unit(b)).square()
            total = total + (difference * head).sum(1).mean((1, 2))
        return total


def _unit(x: Tensor) -> Tensor:
    """Length 1 over the channels."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


def conv_stack(backbone: str) -> list[nn.Module]:
    """The convolutional part of a classifier, untrained: all layers, numbered as torchvision numbers them.

    Raises:
        InputError: unknown backbone.
    """
    layers: list[nn.Module] = []
    if backbone == "alexnet":  # Krizhevsky 2014, "One weird trick", one column
        for into, out, kernel, stride, padding, pool in (
            (3, 64, 11, 4, 2, True),
            (64, 192, 5, 1, 2, True),
            (192, 384, 3, 1, 1, False),
            (384, 256, 3, 1, 1, False),
            (256, 256, 3, 1, 1, True),
        ):
            layers += [nn.Conv2d(into, out, kernel, stride, padding), nn.ReLU()]
            if pool:
                layers.append(nn.MaxPool2d(3, 2))
        return layers
    if backbone not in _VGG:
        raise InputError(f"unknown backbone {backbone!r} (known: {', '.join(BACKBONES)})")
    into = 3
    for width in _VGG[backbone]:
        if width is None:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(into, width, 3, padding=1), nn.ReLU()]
            into = width
    return layers


def fill_stack(stack: nn.Sequential, backbone: str, weights: str | Path | None = None) -> None:
    """Load a classifier's weights into the first layers of its `conv_stack`.

    Args:
        stack: filled in place.
        backbone: whose weights.
        weights: as in `FeatureStack`.

    Raises:
        WeightsError: no weights, or others.
    """
    found = load_weights(backbone, weights)
    own = {key: found[f"features.{key}"].float() for key in stack.state_dict() if f"features.{key}" in found}
    try:
        stack.load_state_dict(own)
    except RuntimeError as error:
        raise WeightsError(f"{weights or backbone}: not {backbone}'s weights ({one_line(error)})") from None


def load_weights(name: str, path: str | Path | None = None) -> dict[str, Tensor]:
    """A state dict, on the CPU.

    Args:
        name: one of `BACKBONES`, or `lpips_alex`.
        path: file to read; None takes the torch hub's cache, and downloads with a progress bar what is not there.

    Raises:
        WeightsError: unreadable, or absent and offline.
    """
    if path is not None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            raise WeightsError(f"{path}: no readable state dict of {name} ({one_line(error)})") from None
    else:
        url = _URLS[name]
        file = url.rpartition("/")[2] if name in BACKBONES else f"{name}.pth"
        place = Path(torch.hub.get_dir()) / "checkpoints" / file
        try:
            state = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", file_name=file, check_hash=name in BACKBONES, weights_only=True
            )
        except Exception as error:  # urllib, sockets and pickles all have their own
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise WeightsError(f"no weights of {name}: put {url} at {place} ({reason})") from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path or name}: holds {type(state).__name__}, expected a state dict")
    return state
