"""How far ResNet's blocks see."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from repix.errors import RecipeError
from repix.models import create_model
from repix.models.stored import onnx_parity
from repix.train.export import to_onnx


def reach(**args: object) -> int:
    """Distance of the furthest input pixel that the middle output pixel depends on."""
    torch.manual_seed(0)
    net = create_model("resnet", channels=8, **args).eval()
    x = torch.rand(1, 3, 96, 96, requires_grad=True)
    net(x)[0, :, 48, 48].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    return int((rows - 48).abs().max())


def test_blocks_widen_the_receptive_field() -> None:
    assert reach(blocks=3, block="plain") == 1 + 3 * 2 + 1
    assert reach(blocks=3, block="dilated") == 1 + 2 * (1 + 2 + 4) + 1
    assert reach(blocks=3, block="pyramid") > reach(blocks=3, block="dilated")


def test_pyramid_in_onnx() -> None:
    net = create_model("resnet", channels=8, blocks=1, block="pyramid").eval()
    assert net.multiple_of == 16
    model = to_onnx(net, multiple_of=16)
    assert max(onnx_parity(net, model, multiple_of=16).values()) <= 1e-4
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).random((1, 3, 16, 112), dtype=np.float32)
    assert session.run(None, {"x": x})[0].shape == x.shape


def test_unknown_block() -> None:
    with pytest.raises(RecipeError, match="got 'wide', expected 'plain', 'dilated' or 'pyramid'"):
        create_model("resnet", block="wide")
