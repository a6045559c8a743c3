"""PReNet's forms, and the loading of the authors' weights (their figures: tests/calibration/test_published.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from repix.errors import RecipeError, WeightsError
from repix.models import create_model
from repix.models.prenet import PReNet, load_published

FORMS = [
    {"recurrence": recurrence, "recursive": recursive} for recurrence in ("none", "lstm", "gru") for recursive in (0, 1)
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("join_input", [True, False])
def test_forms(form: dict[str, object], join_input: bool) -> None:
    net = create_model("prenet", channels=8, stages=3, join_input=join_input, **form)
    x = torch.rand(2, 3, 9, 13)
    prediction = net.forward_train(x)
    assert prediction.pred.shape == x.shape
    assert len(prediction.stages) == 2
    torch.testing.assert_close(prediction.pred, net(x))
    (prediction.pred.square().mean() + prediction.stages[0].mean()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_sizes_of_the_paper() -> None:
    """Table 1 of the paper gives 168,963 parameters for PReNet; recursion saves four blocks of five."""
    count = {key: sum(p.numel() for p in PReNet(**key_args).parameters()) for key, key_args in _PAPER.items()}
    block = 2 * (32 * 32 * 9 + 32)
    gates = 4 * (64 * 32 * 9 + 32)
    assert count == {
        "PReNet": 168_963,
        "PReNet_r": 168_963 - 4 * block,
        "PRN": 168_963 - gates,
        "PReNet_GRU": 168_963 - gates // 4,
    }


_PAPER: dict[str, dict[str, object]] = {
    "PReNet": {},
    "PReNet_r": {"recursive": True},
    "PRN": {"recurrence": "none"},
    "PReNet_GRU": {"recurrence": "gru"},
}


def test_stages_may_be_switched_on() -> None:
    """The first estimates don't depend on how many stages follow."""
    net = PReNet(channels=4, stages=4).eval()
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        long = net.forward_train(x)
        net.stages = 2
        torch.testing.assert_close(net(x), long.stages[1])
        net.stages = 1
        assert net.forward_train(x).stages == ()


def test_direct_prediction() -> None:
    net = PReNet(channels=4, stages=1)
    direct = PReNet(channels=4, stages=1, predict="image")
    direct.load_state_dict(net.state_dict())
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(net(x), x + direct(x))


def test_head_without_relu() -> None:
    assert len(PReNet(head_relu=False).head) == 1


@pytest.mark.parametrize("arguments", [{"stages": 0}, {"blocks": 0}, {"recurrence": "rnn"}])
def test_bad_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="expected"):
        create_model("prenet", **arguments)


def authors_weights(recurrence: str, recursive: bool) -> dict[str, Tensor]:
    """A random state dict under the authors' keys."""
    shapes = {"conv0.0": (8, 6), "conv.0": (3, 8)}
    for number in range(1 if recursive else 5):
        shapes |= {f"res_conv{number + 1}.{layer}": (8, 8) for layer in (0, 2)}
    if recurrence == "lstm":
        shapes |= {f"conv_{gate}.0": (8, 16) for gate in "ifgo"}
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, (out, into) in shapes.items():
        out, into = (32 if out == 8 else out), (into * 4 if into != 6 else into)
        weights[f"{name}.weight"] = torch.randn(out, into, 3, 3, generator=generator) * 0.05
        weights[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.05
    return weights


def authors_forward(weights: dict[str, Tensor], y: Tensor, stages: int) -> Tensor:
    """Eq. 3–5 step by step with the authors' names, gates one by one."""

    def conv(name: str, x: Tensor) -> Tensor:
        return torch.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    x = y
    h = c = torch.zeros(y.shape[0], 32, *y.shape[2:])
    for _ in range(stages):
        features = conv("conv0.0", torch.cat((y, x), 1)).relu()
        if "conv_i.0.weight" in weights:
            joined = torch.cat((features, h), 1)
            i, f, o = (conv(f"conv_{gate}.0", joined).sigmoid() for gate in "ifo")
            c = f * c + i * conv("conv_g.0", joined).tanh()
            features = h = o * c.tanh()
        for number in range(5):
            block = f"res_conv{number + 1}" if "res_conv2.0.weight" in weights else "res_conv1"
            features = (conv(f"{block}.2", conv(f"{block}.0", features).relu()).relu() + features).relu()
        x = conv("conv.0", features) + y
    return x


@pytest.mark.parametrize("recurrence", ["none", "lstm"])
@pytest.mark.parametrize("recursive", [False, True])
def test_authors_weights(tmp_path: Path, recurrence: str, recursive: bool) -> None:
    weights = authors_weights(recurrence, recursive)
    torch.save(weights, tmp_path / "net.pth")
    net = load_published(tmp_path / "net.pth", stages=3)
    x = torch.rand(1, 3, 12, 10)
    torch.testing.assert_close(net(x), authors_forward(weights, x, 3), atol=1e-5, rtol=1e-4)


def test_other_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a readable state dict"):
        load_published(tmp_path / "absent.pth")
    (tmp_path / "bad.pth").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="not a readable state dict"):
        load_published(tmp_path / "bad.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="other weights than PReNet's"):
        load_published(tmp_path / "other.pth")
