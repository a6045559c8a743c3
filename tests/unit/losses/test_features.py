"""Feature stacks against torchvision's numbering, and the losses on them; VGG16's real weights where they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from data_sets import DATA, needs
from repix import features
from repix.errors import InputError, RecipeError, WeightsError
from repix.features import FeatureStack, Lpips, load_weights
from repix.losses import WeightedLoss, create_loss
from repix.metrics import METRICS
from repix.models import Prediction

BACKBONES = DATA / "backbones"
VGG16 = BACKBONES / "vgg16_features_fp16.pth"
needs_vgg16 = needs("backbones", VGG16.name)

GT = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
LQ = (GT + 0.3 * torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


@pytest.fixture
def random_weights(tmp_path: Path) -> str:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for number, (out, into) in {0: (64, 3), 2: (64, 64), 5: (128, 64)}.items():
        state[f"features.{number}.weight"] = torch.randn(out, into, 3, 3, generator=generator) * 0.05
        state[f"features.{number}.bias"] = torch.randn(out, generator=generator)
    torch.save(state, tmp_path / "vgg.pth")
    return str(tmp_path / "vgg.pth")


def test_layers_and_normalisation(random_weights: str) -> None:
    """Against the operations one by one; layers in the order asked for."""
    state = torch.load(random_weights, weights_only=True)
    x = (GT - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def conv(number: int, x: Tensor) -> Tensor:
        return torch.conv2d(x, state[f"features.{number}.weight"], state[f"features.{number}.bias"], padding=1)

    first = conv(0, x)
    fifth = conv(5, nn.functional.max_pool2d(conv(2, first.relu()).relu(), 2))
    stack = FeatureStack("vgg16", layers=[5, 0], weights=random_weights)
    got = stack(GT)
    torch.testing.assert_close(got[0], fifth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got[1], first, atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in stack.parameters())
    plain = FeatureStack("vgg16", layers=[0], weights=random_weights, normalize=False)
    torch.testing.assert_close(plain(GT)[0], conv(0, GT), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "layer", "channels", "side"),
    [("vgg16", 28, 512, 2), ("vgg19", 34, 512, 2), ("alexnet", 10, 256, 1)],
)
def test_torchvision_numbers(
    backbone: str, layer: int, channels: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last convolution of each; its weights would be `features.<layer>`."""
    full = nn.ModuleDict({"features": nn.Sequential(*features.conv_stack(backbone))}).state_dict()
    monkeypatch.setattr(features, "load_weights", lambda name, path: full)
    stack = FeatureStack(backbone, layers=[layer])
    assert isinstance(stack.features[layer], nn.Conv2d)
    (got,) = stack(GT)
    assert got.shape == (2, channels, side, side)


def test_wrong_arguments(random_weights: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown backbone 'vgg11'"):
        FeatureStack("vgg11", layers=[0])
    with pytest.raises(InputError, match="layers 0 to 30"):
        FeatureStack("vgg16", layers=[31], weights=random_weights)
    with pytest.raises(WeightsError, match="not vgg16's weights"):
        FeatureStack("vgg16", layers=[7], weights=random_weights)
    with pytest.raises(WeightsError, match="no readable state dict"):
        load_weights("vgg16", tmp_path / "absent.pth")
    (tmp_path / "bad.pth").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="no readable state dict"):
        load_weights("vgg16", tmp_path / "bad.pth")
    torch.save({"features.0.bias": torch.tensor([1.0, float("nan")])}, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=r"nan.pth: 1 tensor holds NaN or infinity, first features.0.bias"):
        load_weights("vgg16", tmp_path / "nan.pth")


@needs("backbones")
def test_lpips_with_other_weights(random_weights: str) -> None:
    with pytest.raises(WeightsError, match="not LPIPS' weights"):
        Lpips(backbone=BACKBONES / "alexnet_features.pth", head=random_weights)


@pytest.fixture
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither data sets nor torch's cache; the folder that the latter would be."""
    monkeypatch.delenv("REPIX_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_absent_weights_say_what_to_put_where(
    nothing_there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError) as caught:
        create_loss("perceptual")
    message = str(caught.value)
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in message
    assert str(nothing_there / "vgg19-dcbb9e9d.pth") in message
    assert "REPIX_DATA" in message
    assert "\n" not in message
    monkeypatch.setenv("REPIX_DATA", str(tmp_path / "data"))
    with pytest.raises(WeightsError) as caught:
        WeightedLoss({"lpips": 1.0}, where="stages.2.losses")
    assert str(caught.value).startswith("stages.2.losses.lpips: no weights of alexnet")
    assert str(tmp_path / "data" / "backbones" / "alexnet-owt-7be5be79.pth") in str(caught.value)


def random_classifier(backbone: str, path: Path) -> Path:
    """A file with a classifier's keys and shapes, in half precision, as torchvision has them."""
    torch.manual_seed(0)
    state = nn.ModuleDict({"features": nn.Sequential(*features.conv_stack(backbone))}).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({key: value.half() for key, value in state.items()}, path)
    return path


@pytest.mark.usefixtures("nothing_there")
@pytest.mark.parametrize("folder", ["data/backbones", "hub/checkpoints"])
def test_vgg19_by_its_keys_wherever_it_lies(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPIX_DATA", str(tmp_path / "data"))
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "vgg19_bn-c79401a0.pth").write_bytes(b"another network")
    path = random_classifier("vgg19", tmp_path / folder / "vgg19-dcbb9e9d.pth")
    for loss in ("perceptual", "style"):
        at_clean, at_rainy = (float(create_loss(loss)(Prediction(pred), GT, LQ)) for pred in (GT, LQ))
        assert at_clean == 0 < at_rainy
    with pytest.raises(WeightsError, match=r"not vgg16's weights, but vgg19's .*wanted: .*vgg16-397923af.pth"):
        FeatureStack("vgg16", layers=[28], weights=path)


@pytest.mark.usefixtures("nothing_there")
def test_lpips_finds_its_own_weights_beside_alexnets(tmp_path: Path) -> None:
    path = random_classifier("alexnet", tmp_path / "files" / "alexnet.pth")
    with pytest.raises(WeightsError, match="no weights of lpips_alex"):
        create_loss("lpips", weights=str(path))
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 192, 384, 256, 256))}
    torch.save(heads, tmp_path / "files" / "lpips_alex.pth")
    for weights in (path, path.parent):
        loss = create_loss("lpips", weights=str(weights))
        pred = LQ.clone().requires_grad_()
        value = loss(Prediction(pred), GT, LQ)
        value.backward()
        assert float(value.detach()) > float(loss(Prediction(GT), GT, LQ)) == 0
        assert pred.grad is not None
        assert torch.isfinite(pred.grad).all()
        image, other = (one[0].permute(1, 2, 0).numpy() for one in (LQ, GT))
        expected = float(loss(Prediction(LQ[:1]), GT[:1], LQ[:1]))
        assert METRICS["lpips"].measure(image, other, weights=weights) == pytest.approx(expected, rel=1e-3)


@needs_vgg16
@pytest.mark.parametrize("name", ["perceptual", "style", "contrastive"])
def test_real_features_tell_clean_from_rainy(name: str) -> None:
    layers = [1, 6, 11]
    loss = create_loss(name, backbone="vgg16", layers=layers, weights=str(VGG16))
    at_clean, near, at_rainy = (float(loss(Prediction(pred), GT, LQ)) for pred in (GT, 0.9 * GT + 0.1 * LQ, LQ))
    assert at_clean == pytest.approx(0, abs=1e-6)
    assert at_clean < near < at_rainy


def test_weights_of_the_contrastive_ratio_halve_from_the_deepest_layer_up(random_weights: str) -> None:
    layers, pred = [0, 2, 5], 0.6 * GT + 0.3
    stack = FeatureStack("vgg16", layers=layers, weights=random_weights)
    ratios = [
        float((p - g).abs().mean() / ((p - l_).abs().mean() + 1e-3))
        for p, g, l_ in zip(stack(pred), stack(GT), stack(LQ), strict=True)
    ]
    assert max(ratios) > 1.1 * min(ratios)
    loss = create_loss("contrastive", form="ratio", backbone="vgg16", layers=layers, weights=random_weights)
    wanted = sum(weight * ratio for weight, ratio in zip((0.25, 0.5, 1), ratios, strict=True))
    assert float(loss(Prediction(pred), GT, LQ)) == pytest.approx(wanted, rel=1e-5)


@needs_vgg16
@pytest.mark.parametrize("form", ["cosine", "cosine-layers"])
def test_cosine_forms(form: str) -> None:
    """cos(φ(p), φ(g)) is 1 at the clean image, which leaves the other cosine; at the rainy one it's the reverse."""
    loss = create_loss("contrastive", form=form, backbone="vgg16", layers=[6, 11], weights=str(VGG16))
    at_clean, at_rainy = (float(loss(Prediction(pred), GT, LQ)) for pred in (GT, LQ))
    assert 0 < at_clean < 1 < at_rainy < 2
    assert at_clean + at_rainy == pytest.approx(2, abs=1e-5)
    with pytest.raises(RecipeError, match="form: got 'cos', expected 'cosine', 'cosine-layers' or 'ratio'"):
        create_loss("contrastive", form="cos", weights=str(VGG16))


@pytest.mark.parametrize("form", ["cosine", "cosine-layers"])
def test_cosine_forms_have_right_and_finite_gradients(form: str, random_weights: str) -> None:
    loss = create_loss("contrastive", form=form, backbone="vgg16", layers=[1, 5], weights=random_weights).double()
    gt, lq = GT[:1, :, :8, :8].double(), LQ[:1, :, :8, :8].double()
    pred = (0.5 * gt + 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(Prediction(x), gt, lq), (pred,), fast_mode=True)
    for level in (0.0, 0.5, 1.0):
        flat = torch.full_like(gt, level)
        pred = flat.clone().requires_grad_()
        value = loss(Prediction(pred), flat, flat)
        value.backward()
        assert torch.isfinite(value)
        assert pred.grad is not None
        assert torch.isfinite(pred.grad).all()
