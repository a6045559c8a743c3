"""The translation networks: the paper's sizes, what dropout, skips and upsampling do, and heads of flat colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from repix.errors import RecipeError
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.models import create_model
from repix.models.layers import PaletteHead
from repix.models.pix2pix import PatchGAN
from repix.models.stored import onnx_parity
from repix.palettes import FACADES
from repix.train.export import to_onnx


def noise(side: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(side))


def used(net: nn.Module, **args: Any) -> nn.Module:
    """A network whose batch statistics are not those of a fresh one."""
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(noise(64, batch=2))
    return net.eval()


def test_the_papers_generator_has_its_size() -> None:
    """54.4 M parameters for 256×256, as the authors' code prints; their batch norm has no running mean to count."""
    with torch.device("meta"):
        net = create_model("pix2pix")
    assert sum(parameter.numel() for parameter in net.parameters()) == pytest.approx(54.414e6, rel=1e-3)
    assert net.multiple_of == 256
    widths = [module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 512, 512, 512]
    assert sum(isinstance(module, nn.Dropout) for module in net.modules()) == 3
    with torch.inference_mode():
        out = create_model("pix2pix", channels=2).eval()(noise(256) * 50)
    assert out.shape == (1, 3, 256, 256)
    assert 0 <= out.min() <= out.max() <= 1  # tanh's range stays inside


def test_fcn_has_the_layers_of_its_source() -> None:
    net = create_model("fcn")
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions] == [8, 16, 32, 64, 32, 16, 8, 3]
    assert all(m.kernel_size == (4, 4) and m.stride == (2, 2) for m in convolutions)
    assert net.multiple_of == 16


def test_a_tile_of_fcn_sees_all_that_matters() -> None:
    """What lies beyond the ignored three eighths of the overlap must not reach the other side."""
    net = used(create_model("fcn"))
    x = noise(512)
    changed = x.clone()
    changed[..., :256] = 1 - changed[..., :256]
    with torch.inference_mode():
        moved = (net(x) - net(changed)).abs().amax((0, 1, 2)).nonzero().max().item() - 255
    assert 0 < moved <= net.overlap * 3 / 8


def test_dropout_is_for_training_only() -> None:
    net = create_model("pix2pix", channels=8, depth=4)
    x = noise(32, batch=2)
    assert not torch.equal(net.train()(x), net(x))
    with torch.inference_mode():
        assert torch.equal(net.eval()(x), net(x))
    quiet = create_model("pix2pix", channels=8, depth=4, dropout=0).train()
    assert torch.equal(quiet(x), quiet(x))


@pytest.mark.parametrize("skips", [True, False])
def test_without_skips_everything_passes_the_innermost_level(skips: bool) -> None:
    net: Any = create_model("pix2pix", channels=8, depth=4, skips=skips, dropout=0).eval()
    net.ups[0].register_forward_hook(lambda module, given, out: torch.zeros_like(out))
    with torch.inference_mode():
        assert torch.equal(net(noise(32)), net(1 - noise(32))) is not skips


def test_resize_convolutions_leave_no_checkerboard() -> None:
    """From a flat image: the share of the output's energy that alternates from pixel to pixel (Odena et al.)."""

    def alternating(upsample: str) -> float:
        torch.manual_seed(1)
        net = create_model("pix2pix", channels=8, depth=3, upsample=upsample, dropout=0).train()
        with torch.no_grad():
            out = net(torch.full((2, 3, 64, 64), 0.3))[0, :, 16:48, 16:48]
        spectrum = torch.fft.fft2(out - out.mean((1, 2), keepdim=True)).abs()
        return float(spectrum[:, 16, :].max() + spectrum[:, :, 16].max())

    assert alternating("resize") < 0.01 * alternating("transposed")


@pytest.mark.parametrize(
    "args",
    [
        {"channels": 8, "depth": 3, "norm": "instance", "upsample": "resize", "skips": False},
        {"channels": 8, "depth": 3, "palette": "facades"},
    ],
)
def test_every_form_is_exported_at_any_size(args: dict[str, Any]) -> None:
    """Beside the plain one, which is under contract."""
    net = used(create_model("pix2pix", **args))
    found = onnx_parity(net, to_onnx(net, multiple_of=net.multiple_of), multiple_of=net.multiple_of)
    assert len(found) == 3
    assert max(found.values()) < 1e-4


def test_deep_networks_take_small_and_odd_images() -> None:
    """Images far below 256×256 are padded: reflected, then held."""
    net = create_model("pix2pix", channels=2, widest=4).eval()
    restorer = Restorer(TorchBackend(net), multiple_of=net.multiple_of)
    for height, width in ((1, 1), (301, 417), (3, 300)):
        image = np.full((height, width, 3), 90, np.uint8)
        assert restorer(image).shape == image.shape


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"depth": 1}, "depth: got 1, expected"),
        ({"dropout": 1.0}, "dropout: got 1.0, expected"),
        ({"norm": "layer"}, "norm: got 'layer'"),
        ({"upsample": "bilinear"}, "upsample: got 'bilinear'"),
        ({"palette": "facade"}, "unknown palette 'facade'; did you mean 'facades'"),
        ({"palette": [[0, 0, 256], [0, 0, 0]]}, r"two or more colours \[R, G, B\]"),
        ({"palette": [[0, 0, 0]]}, "two or more colours"),
    ],
)
def test_wrong_arguments_are_named(args: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_model("pix2pix", **args)


def test_a_palette_gives_its_colours_where_it_is_sure() -> None:
    head = PaletteHead("facades")
    sure = torch.full((1, 12, 1, 12), -20.0)
    sure[0, range(12), 0, range(12)] = 20.0
    found = head(sure).pred[0, :, 0].T * 255
    torch.testing.assert_close(found, torch.tensor([colour.rgb for colour in FACADES]).float(), atol=0.2, rtol=0)


def test_a_palette_answers_with_the_colour_of_least_expected_error() -> None:
    """Against every mixture of levels, channel by channel, for random probabilities that are no tie."""
    colours = [colour.rgb for colour in FACADES]
    head = PaletteHead(colours)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 12, 20, 20, generator=generator) * 3
    chances = logits.softmax(1)[0].double()
    levels = torch.tensor(colours, dtype=torch.float64) / 255  # (12, 3)

    def risk(answer: torch.Tensor) -> torch.Tensor:
        """Expected absolute error of (3, H, W), (3, H, W)."""
        return torch.einsum("khw,kchw->chw", chances, (answer[None] - levels[:, :, None, None]).abs())

    least = torch.stack([risk(levels[k][:, None, None].expand(3, 20, 20)) for k in range(12)]).amin(0)
    excess = risk(head(logits).pred[0].double()) - least
    assert excess.min() > -1e-6  # no answer is better than the best colour
    assert excess.mean() < 0.01
    mean = torch.einsum("khw,kc->chw", chances, levels)
    assert (risk(mean) - least).mean() > 5 * excess.mean()


def test_a_palette_has_a_gradient_and_is_not_kept_with_the_weights() -> None:
    head = PaletteHead([[0, 0, 0], [255, 255, 255]])
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    head(logits).pred.sum().backward()
    assert logits.grad is not None
    assert (logits.grad[0, 1] > 0).all()
    assert not head.state_dict()


def test_repixnet_takes_a_palette_with_batch_norm_and_dropout() -> None:
    small = {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1], "predict": "image"}
    net = create_model("repixnet", **small, batch_norm=True, dropout=0.2, palette="cityscapes")
    prediction = net.train().forward_train(noise(32, batch=2))
    assert prediction.logits is not None
    assert prediction.logits.shape == (2, 27, 32, 32)
    assert prediction.pred.shape == (2, 3, 32, 32)
    assert any(isinstance(module, nn.Dropout2d) for module in net.modules())
    with pytest.raises(RecipeError, match="predict: image"):
        create_model("repixnet", palette="facades")


def test_the_discriminator_judges_patches_of_70() -> None:
    """Conditional on the input; one logit sees 70×70 pixels of both images."""
    torch.manual_seed(0)
    with torch.device("meta"):
        full = PatchGAN()
    net = PatchGAN(channels=4).eval()
    assert [m.out_channels for m in full.modules() if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512, 1]
    lq, made = noise(256).requires_grad_(), noise(256).requires_grad_()
    logits = net(lq, made)
    assert logits.shape == (1, 1, 30, 30)
    assert logits.min() < 0 or logits.max() > 1  # no sigmoid
    logits[0, 0, 15, 15].backward()
    for grad in (lq.grad, made.grad):
        assert grad is not None
        seen = grad.abs().sum((0, 1)).nonzero()
        assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]
