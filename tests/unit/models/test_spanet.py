"""SPANet: the published weights against an independent forward with a loop over rows; attention; the student's form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data_sets import DATA, needs
from repix.errors import RecipeError, WeightsError
from repix.models import create_model
from repix.models.spanet import SPANet, SpatialAttention, load_published

WEIGHTS = DATA / "peers" / "SPANet" / "latest.pth"


def authors_forward(weights: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The published network as its authors run it (their keys, one row after another): attention map, image."""

    def conv(name: str, x: Tensor, padding: int = 0, dilation: int = 1) -> Tensor:
        bias = weights.get(f"{name}.bias")
        return torch.conv2d(x, weights[f"{name}.weight"], bias, padding=padding, dilation=dilation)

    def recur(name: str, x: Tensor) -> Tensor:
        outs = []
        for direction in ("up", "right", "down", "left"):
            w = weights[f"SAM1.{name}.{direction}_weight.weight"].view(-1, 1)
            b = weights[f"SAM1.{name}.{direction}_weight.bias"].view(-1, 1)
            lines = list(x.unbind(2 if direction in ("up", "down") else 3))
            if direction in ("up", "left"):
                lines.reverse()
            done = [lines[0].clamp(min=0)]
            for line in lines[1:]:
                done.append((done[-1] * w + b + line).clamp(min=0))
            if direction in ("up", "left"):
                done.reverse()
            outs.append(torch.stack(done, 2 if direction in ("up", "down") else 3))
        return torch.cat(outs, 1)

    def attention(x: Tensor) -> Tensor:
        out = recur("irnn1", conv("SAM1.conv_in", x, 1))
        out = recur("irnn2", conv("SAM1.conv2", out, 1))
        return conv("SAM1.conv_out", conv("SAM1.conv3", out, 1).relu()).sigmoid()

    def block(number: int, x: Tensor) -> Tensor:
        name = f"res_block{number}.group1"
        return conv(f"{name}.conv3", conv(f"{name}.conv2", conv(f"{name}.conv1", x).relu(), 2, 2).relu())

    features = conv("conv_in.0", x, 1).relu()
    first, mask = None, None
    for number in range(1, 18):
        if number in (4, 7, 10, 13):
            mask = attention(features)
            first = mask if first is None else first
        if number in (1, 16):
            mask = torch.ones(())
        features = (block(number, features) * mask + features).relu()
    assert first is not None
    return first, conv("conv_out.0", features, 1)


@needs("peers", "SPANet", "latest.pth")
def test_published_weights() -> None:
    weights = torch.load(WEIGHTS, map_location="cpu", weights_only=True)["net"]
    x = torch.rand(1, 3, 31, 44, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mask, image = authors_forward(weights, x)
        prediction = load_published(WEIGHTS).eval().forward_train(x)
    assert prediction.mask is not None
    assert (prediction.pred - image).abs().max() <= 1e-4
    assert (prediction.mask - mask).abs().max() <= 1e-4
    assert mask.std() > 0.01  # a map that is flat would prove nothing


def test_other_weights(tmp_path: Path) -> None:
    torch.save({"net": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    for name in ("absent.pth", "other.pth"):
        with pytest.raises(WeightsError, match="SPANet's published weights"):
            load_published(tmp_path / name)


def test_direction_attention_counts() -> None:
    """A branch that always says 0 leaves nothing of the context: the map is sigmoid(0)."""
    net = SpatialAttention(4)
    assert net.directions is not None
    last = net.directions[-2]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, -100.0)
    x = torch.rand(1, 4, 6, 7)
    torch.testing.assert_close(net(x), torch.full((1, 1, 6, 7), 0.5))
    without = SpatialAttention(4, apply_direction_attention=False)
    assert without.directions is None
    assert without(x).std() > 0


def test_attention_sees_the_whole_image() -> None:
    torch.manual_seed(0)
    net = SpatialAttention(4)
    for irnn in net.irnns:
        torch.nn.init.constant_(irnn.weight, 0.9)
    x = torch.rand(1, 4, 40, 40, requires_grad=True)
    net(x)[0, 0, 0, 0].backward()
    assert x.grad is not None
    assert x.grad[0, :, -1, -1].abs().max() > 0


def test_direct_and_residual() -> None:
    direct = SPANet(channels=4, units=1, blocks=1)
    residual = SPANet(channels=4, units=1, blocks=1, predict="rain")
    residual.load_state_dict(direct.state_dict())
    x = torch.rand(1, 3, 8, 9)
    torch.testing.assert_close(residual(x), x - direct(x))


def test_progressive_stages() -> None:
    net: Any = create_model("progressive_spanet", channels=4, stages=3)
    x = torch.rand(1, 3, 8, 9)
    prediction = net.forward_train(x)
    assert len(prediction.stages) == 2
    assert prediction.mask is not None
    assert prediction.mask.shape == (1, 1, 8, 9)
    net.stages = 2
    torch.testing.assert_close(net(x), prediction.stages[1])
    torch.nn.init.constant_(net.tail.weight, 10.0)
    for estimate in (net(x), *net.forward_train(x).stages):
        assert estimate.min() >= 0
        assert estimate.max() <= 1


@pytest.mark.parametrize(("name", "argument"), [("spanet", {"units": 0}), ("progressive_spanet", {"stages": 0})])
def test_bad_arguments(name: str, argument: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="got 0, expected greater than 0"):
        create_model(name, **argument)
