"""VGG and AlexNet as feature stacks, and LPIPS on top: a few lines each, with torchvision's keys and weights.

Weights come from a file, from the folder `backbones` in REPIX_DATA, or from the cache of the torch hub
(`$TORCH_HOME/hub/checkpoints`). Nothing is downloaded: where there are none, the message says what to put where.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from repix._environment import data_folder
from repix._types import one_line
from repix.errors import InputError, WeightsError, counted

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
# what files of them are called; vgg16_bn-… is another network
_NAMES = ("{0}-*.pth", "{0}_features*.pth", "{0}.pth")
BACKBONES = ("alexnet", "vgg16", "vgg19")


class FeatureStack(nn.Module):
    """The convolutional part of a classifier, frozen, up to the deepest layer asked for.

    Args:
        backbone: `alexnet`, `vgg16` or `vgg19`.
        layers: indices in torchvision's `features`; the output of each is returned (34 is the last convolution of
            VGG19, so the end of `features[:35]`).
        weights: as `path` of `load_weights`.
        normalize: subtract ImageNet's mean and divide by its deviation first; False takes [0, 1] as it is.

    Raises:
        InputError: unknown backbone or layer.
        WeightsError: no weights, or others.
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
        backbone: AlexNet's state dict, as `path` of `load_weights`.
        head: LPIPS' own weights, likewise; None also looks beside the backbone's file.

    Raises:
        WeightsError: no weights, or others.
    """

    _LAYERS = (1, 4, 7, 9, 11)  # after each ReLU

    def __init__(self, *, backbone: str | Path | None = None, head: str | Path | None = None) -> None:
        super().__init__()
        self.features = FeatureStack("alexnet", layers=self._LAYERS, weights=backbone)
        # LPIPS' own constants, for x in [-1, 1]: ImageNet's to three digits.
        self.features._mean = (1 + torch.tensor((-0.030, -0.088, -0.188))[:, None, None]) / 2
        self.features._std = torch.tensor((0.458, 0.448, 0.450))[:, None, None] / 2
        if head is None and backbone is not None:
            beside = Path(backbone)
            head = _find("lpips_alex", beside if beside.is_dir() else beside.parent)
        found = load_weights("lpips_alex", head)
        try:
            self.heads = nn.ParameterList(found[f"lin{i}.model.1.weight"].float() for i in range(len(self._LAYERS)))
        except KeyError as error:
            raise WeightsError(
                f"{head or 'lpips_alex'}: not LPIPS' weights (no {error}); wanted: {_URLS['lpips_alex']}"
            ) from None
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
    for key, parameter in stack.state_dict().items():
        tensor = found.get(f"features.{key}")
        if tensor is None or tensor.shape != parameter.shape:
            got = "it is not there" if tensor is None else f"it is of {tuple(tensor.shape)}"
            other = next((f", but {one}'s" for one in BACKBONES if one != backbone and _fits(found, one)), "")
            raise WeightsError(
                f"{weights or backbone}: not {backbone}'s weights{other} (features.{key}: {got}, expected "
                f"{tuple(parameter.shape)}); wanted: {_URLS[backbone]}, or its features alone"
            )
    stack.load_state_dict({key: found[f"features.{key}"].float() for key in stack.state_dict()})


def _fits(state: dict[str, Tensor], backbone: str) -> bool:
    with torch.device("meta"):
        wanted = nn.Sequential(*conv_stack(backbone)).state_dict()
    return all(getattr(state.get(f"features.{key}"), "shape", None) == one.shape for key, one in wanted.items())


def load_weights(name: str, path: str | Path | None = None) -> dict[str, Tensor]:
    """A state dict with torchvision's keys, on the CPU.

    Args:
        name: one of `BACKBONES`, or `lpips_alex`.
        path: a file, or a folder of such files (`vgg16-397923af.pth`, `vgg16_features_fp16.pth`, `vgg16.pth`, …);
            None looks in `backbones` of REPIX_DATA, then in the torch hub's cache.

    Raises:
        WeightsError: unreadable, with NaN or infinity, or not there: the message says what to put where.
    """
    file = Path(path) if path is not None else None
    if file is None or file.is_dir():
        data = data_folder()
        hub = Path(torch.hub.get_dir()) / "checkpoints"
        folders = [file] if file is not None else [*([] if data is None else [data / "backbones"]), hub]
        found = next((one for one in (_find(name, folder) for folder in folders) if one is not None), None)
        if found is None:
            usual = _URLS[name].rpartition("/")[2] if name in BACKBONES else f"{name}.pth"
            also = "" if file is not None or data is not None else " or into backbones/ of the folder REPIX_DATA"
            raise WeightsError(f"no weights of {name}: put {_URLS[name]} at {folders[0] / usual}{also}")
        file = found
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{file}: no readable state dict of {name} ({one_line(error)}); wanted: {_URLS[name]}"
        ) from None
    if not isinstance(state, dict):
        raise WeightsError(f"{file}: holds {type(state).__name__}, expected a state dict of {name}")
    check_finite(state, file)
    return state


def check_finite(state: Mapping[str, object], where: object) -> None:
    """Refuse weights that hold NaN or infinity, which every result would be made of.

    Args:
        state: tensors by name; what is none is passed over.
        where: the file or the model, for the message.

    Raises:
        WeightsError: some do; the first is named.
    """
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and value.is_floating_point()}
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        holds = counted(len(bad), "tensor holds", "tensors hold")
        raise WeightsError(f"{where}: {holds} NaN or infinity, first {bad[0]}; these weights are damaged, take others")


def _find(name: str, folder: Path) -> Path | None:
    return next((path for names in _NAMES for path in sorted(folder.glob(names.format(name)))), None)
