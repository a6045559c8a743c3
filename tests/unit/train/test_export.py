"""The card's arguments rebuild the network as training left it; what an ONNX file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from repix.errors import WeightsError
from repix.evaluate.inspect import load_network
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.models import create_model
from repix.palettes import FACADES
from repix.tasks import TRANSLATE
from repix.train.export import export, read_metrics, save_model, to_half, to_onnx
from repix.weights import ModelCard


def test_an_infinite_mean_is_left_out_of_a_card_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        "data,model,images,psnr_y,ssim_y,protocol\nMine,input,2,30,0.9,default\nMine,own,2,inf,0.95,default\n"
    )
    (row,) = read_metrics(table)
    assert row.values == {"ssim_y": 0.95}
    assert "on Mine psnr_y is infinite, for which a card has no place" in caplog.text


def test_arguments_that_stages_changed(tmp_path: Path) -> None:
    """A recipe that switches recurrent stages on; its last stage runs two of three."""
    net = create_model("prenet", stages=3, channels=4, blocks=1)
    (tmp_path / "recipe.yaml").write_text(
        "name: few\nmodel: prenet\nargs: {stages: 3, channels: 4, blocks: 1}\ndata: {photos: photos}\n"
        "stages: [{steps: 1, network: {stages: 1}}, {steps: 1, network: {stages: 2}}]\nema_decay: 0\n",
        encoding="utf-8",
    )
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 2}, tmp_path / "last.ckpt")
    card = export(tmp_path, tmp_path / "model")
    assert card.args == {"stages": 2, "channels": 4, "blocks": 1}
    again = load_network(tmp_path / "model")
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    onnx, torch_ = Restorer.from_pretrained(tmp_path / "model", "cpu"), Restorer(TorchBackend(again))
    # at level 1, as stored: a shipped model also tries the image on its side, where some random weights find their rain
    one, other = (restorer.restore(image, levels=(1,)).image.astype(int) for restorer in (onnx, torch_))
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize(
    ("palette", "names"),
    [
        ("facades", [colour.name for colour in FACADES]),
        ("[[0, 0, 0], [9, 200, 7]]", ["label 0", "label 1"]),
        (None, None),
    ],
)
def test_a_card_says_what_a_translation_needs(tmp_path: Path, palette: str | None, names: list[str] | None) -> None:
    args = "channels: 4, widest: 8, depth: 2" + (f", palette: {palette}" if palette else "")
    (tmp_path / "recipe.yaml").write_text(
        f"name: few\ntask: translate\nmodel: pix2pix\nargs: {{{args}}}\n"
        f"data: {{pairs: pairs, direction: BtoA{', resize_short: 36' if palette else ''}}}\n"
        "stages: [{steps: 1, patch: 64}, {steps: 1, patch: 32}]\nema_decay: 0\n",
        encoding="utf-8",
    )
    given = FACADES if palette == "facades" else [("a", (0, 0, 0)), ("b", (9, 200, 7))]
    wanted = [rgb for _, rgb in given] if palette else None
    net = create_model("pix2pix", channels=4, widest=8, depth=2, palette=wanted)
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 2}, tmp_path / "last.ckpt")
    card = export(tmp_path, tmp_path / "model")
    assert (card.task, card.direction, card.size) == (TRANSLATE, "BtoA", 32 if palette else None)
    assert [name for name, _ in card.palette or ()] == (names or [])
    assert [rgb for _, rgb in card.palette or ()] == (wanted or [])
    image = np.random.default_rng(0).integers(0, 256, (41, 57, 3), dtype=np.uint8)
    assert Restorer.from_pretrained(tmp_path / "model", "cpu")(image).shape == image.shape


def test_half_precision_is_storage_alone(tmp_path: Path) -> None:
    net = create_model("repixnet", channels=[8, 16], encoder=[1], middle=1, decoder=[1])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
    model = to_onnx(net, multiple_of=4)
    half = to_half(model)
    assert len(half) < 0.75 * len(model)
    types = {tensor.data_type for tensor in onnx.load_from_string(half).graph.initializer if np.prod(tensor.dims) >= 8}
    assert types == {onnx.TensorProto.FLOAT16}
    x = np.random.default_rng(0).random((1, 3, 24, 32), dtype=np.float32)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
        expected = net(torch.from_numpy(x)).numpy()
    (got, _), (before, _) = OnnxBackend(half).run(x), OnnxBackend(model).run(x)
    np.testing.assert_allclose(got, expected, atol=1e-5)  # weights are rounded, nothing else
    assert np.abs(got - before).max() > 1e-5

    card = ModelCard(name="h", task="derain", arch="repixnet", multiple_of=4, tiling=None, licence="MIT")
    written = save_model(net, card, tmp_path / "h", half=True)
    assert set(written.forms) == {"onnx-fp16", "safetensors-fp16"}
    image = np.random.default_rng(0).integers(0, 256, (41, 57, 3), dtype=np.uint8)
    assert Restorer.from_pretrained(tmp_path / "h", "cpu")(image).shape == image.shape


@pytest.mark.parametrize("value", [65536.0, -70016.0])
def test_a_weight_too_large_for_half_precision_is_named(tmp_path: Path, value: float) -> None:
    """It would become infinity."""
    net: Any = create_model("repixnet", channels=[8, 16], encoder=[1], middle=1, decoder=[1])
    card = ModelCard(name="h", task="derain", arch="repixnet", multiple_of=4, tiling=None, licence="MIT")
    said = f"holds {value:.6g}, and half precision ends at 65504; export without --half"
    with torch.no_grad():
        net.stem[1].weight[0, 0, 0, 0] = value
    with pytest.raises(WeightsError, match=rf"tensor 'stem\.1\.weight' {said}"):
        save_model(net, card, tmp_path / "h", half=True)
    assert not (tmp_path / "h").exists()
    with pytest.raises(WeightsError, match=said):
        to_half(to_onnx(net, multiple_of=4))
    with torch.no_grad():
        net.stem[1].weight[0, 0, 0, 0] = 65504.0
    assert np.isfinite(onnx.numpy_helper.to_array(largest(to_half(to_onnx(net, multiple_of=4))))).all()


def largest(model: bytes) -> onnx.TensorProto:
    """The tensor with the largest number in half precision."""
    tensors = [
        one for one in onnx.load_from_string(model).graph.initializer if one.data_type == onnx.TensorProto.FLOAT16
    ]
    return max(tensors, key=lambda one: np.abs(onnx.numpy_helper.to_array(one)).max())


class Joined(nn.Module):
    """Two convolutions done as one, of weights larger than what torch's exporter computes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.rand(400, 3, 3, 3)) for _ in range(2))
        self.last = nn.Conv2d(800, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.last(conv2d(x, torch.cat([self.first, self.second]), padding=1))
        return made


def test_what_is_made_of_weights_alone_is_made_at_the_export() -> None:
    graph = onnx.load_from_string(to_onnx(Joined())).graph
    assert [node.op_type for node in graph.node] == ["Conv", "Conv"]
    assert {node.input[1] for node in graph.node} <= {one.name for one in graph.initializer}
