"""int8: what is rounded and what is not, how far the result may be off, and that it can be shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import safetensors.torch
import torch
from torch import nn

from repix.errors import InputError
from repix.infer.restorer import Restorer
from repix.models import create_model
from repix.train.export import export, to_onnx
from repix.train.loop import train
from repix.train.quantize import least_change, to_int8
from repix.train.recipe import parse_recipe
from repix.weights import find_card

NET = {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [3]}


def network(name: str = "repixnet", **args: object) -> nn.Module:
    """One whose every layer matters."""
    torch.manual_seed(0)
    net = create_model(name, **args)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return net.eval()


def scaling_network() -> nn.Module:
    """One whose activations grow with the image, as its biases are small, and that changes it visibly."""
    net = network(**NET)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            parameter.data *= 0.02
    net.get_parameter("tail.0.weight").data *= 20
    return net


def mostly_dark(count: int) -> torch.Tensor:
    x = images(count)
    x[1:] *= 0.3
    return x


def images(count: int, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def initializers(model: bytes) -> dict[str, np.ndarray]:
    return {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(model).graph.initializer}


def test_the_network_says_what_stays_in_floating_point() -> None:
    net = network(**NET)
    x = images(4)
    model = to_onnx(net, multiple_of=4)
    weights = initializers(to_int8(net, model, [x.numpy()]))
    floats = {name for name, value in weights.items() if name.endswith(".weight") and value.dtype == np.float32}
    spared = ("decoders.0.1", "decoders.0.2")
    blocks = {f"{block}.body.{layer}.weight" for block in spared for layer in (0, 2)}
    assert floats == {"stem.1.weight", "ups.0.0.weight", "tail.0.weight", *blocks}
    rounded = {name.removesuffix("_quantized") for name in weights if name.endswith(".weight_quantized")}
    assert rounded | floats == {name for name, value in net.named_parameters() if value.ndim == 4}
    for name in rounded:
        levels = weights[f"{name}_quantized"]
        assert levels.dtype == np.int8
        assert np.abs(levels.astype(int)).max() == 64  # more would overflow without VNNI
        assert weights[f"{name}_scale"].size == len(levels)  # one for each channel

    ends = initializers(to_int8(net, model, [x.numpy()], keep_float=("stem",)))
    assert {name for name in ends if name.endswith(".weight")} == {"stem.1.weight"}
    assert ends["tail.0.weight_quantized"].dtype == np.int8


def test_what_runs_past_the_blocks_is_not_rounded() -> None:
    net = network(**NET)
    graph = onnx.load_from_string(to_int8(net, to_onnx(net, multiple_of=4), [images(4).numpy()])).graph
    maker = {output: node for node in graph.node for output in node.output}
    adds = [node for node in graph.node if node.op_type == "Add" and all(name in maker for name in node.input)]
    assert len(adds) == 6  # five blocks and a skip connection
    read = [sorted(maker[name].op_type for name in node.input) for node in adds]
    # one side is what a convolution in int8 made; both where the other leads down to the coarse level
    assert read.count(["DequantizeLinear", "DequantizeLinear"]) == 1
    assert read.count(["Conv", "DequantizeLinear"]) == 1  # the stem
    assert read.count(["Add", "DequantizeLinear"]) == 1
    assert read.count(["Add", "DepthToSpace"]) == 1
    assert read.count(["Add", "Conv"]) == 2


def test_weights_are_rounded_together() -> None:
    random = np.random.default_rng(0)
    alike = random.normal(size=(500, 24)) @ random.normal(size=(24, 72))  # as neighbouring pixels are
    read = alike + random.normal(size=(500, 72))
    weight = random.normal(size=(8, 72)).astype(np.float32)
    scale = np.abs(weight).max(1) / 64
    levels = least_change(weight, scale, read.T @ read)
    assert levels.dtype == np.int8
    assert np.abs(levels.astype(int)).max() <= 64
    nearest = np.rint(weight / scale[:, None])
    assert np.abs(levels - nearest).max() <= 4
    error, usual = (np.square(read @ (q * scale[:, None] - weight).T).mean(0) for q in (levels, nearest))
    assert (error < usual).all()
    assert error.mean() < 0.4 * usual.mean()
    alone = least_change(weight, scale, np.eye(72))  # nothing that could make up for anything
    assert np.array_equal(alone, nearest)


@pytest.mark.parametrize(("name", "args"), [("repixnet", NET), ("resnet", {}), ("prenet", {"stages": 2})])
def test_int8_errs_by_the_noise_of_its_steps(name: str, args: dict[str, object]) -> None:
    net = network(name, **args)
    x = images(4)
    model = to_onnx(net, multiple_of=int(getattr(net, "multiple_of", 1)))
    (got,) = ort.InferenceSession(to_int8(net, model, [x.numpy()])).run(None, {"x": x.numpy()})
    with torch.inference_mode():
        exact = net(x).numpy()
    assert 0 < np.sqrt(np.square(got - exact).mean()) < 0.03 * (exact - x.numpy()).std()


def test_single_crops_are_calibrated_on_together() -> None:
    """However the images are divided, the brightest rain among many of them is not cut off."""
    net = network(**NET)
    x = images(16).numpy()
    x[::5] *= np.float32(0.2)  # some are dark
    model = to_onnx(net, multiple_of=int(getattr(net, "multiple_of", 1)))
    together, alone = ([x[:8], x[8:]], list(x[:, None]))
    scales = [
        [value for name, value in sorted(initializers(to_int8(net, model, batches)).items()) if name.endswith("scale")]
        for batches in (together, alone)
    ]
    assert scales[0]
    for one, other in zip(*scales, strict=True):
        assert np.array_equal(one, other)


def test_rare_extremes_are_cut_off_where_that_changes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = scaling_network(), mostly_dark(16)
    model = to_onnx(net, multiple_of=4)
    with torch.inference_mode():
        exact = net(x).numpy()

    def measured() -> tuple[dict[str, np.ndarray], float]:
        int8 = to_int8(net, model, [x.numpy()])
        (got,) = ort.InferenceSession(int8).run(None, {"x": x.numpy()})
        return initializers(int8), float(np.log(np.square(got - exact).mean((1, 2, 3))).mean())

    (narrowed, error), _ = measured(), monkeypatch.setattr("repix.train.quantize._SHARES", (1.0,))
    whole, more = measured()
    assert error < more - 0.2
    shares = {name: narrowed[name] / whole[name] for name in whole if name.endswith("_scale")}
    assert {0.7, 0.59} & {round(float(share.max()), 3) for share in shares.values()}
    for name, share in shares.items():  # weights have theirs still
        assert share.max() - share.min() < 1e-6
        assert (share.max() == 1) == ("weight" in name), name
    for name, parameter in net.named_parameters():
        if (steps := narrowed.get(f"{name}_quantized")) is not None and name.endswith("bias"):
            scale = narrowed[f"{name}_quantized_scale"]
            assert (np.abs(steps * scale - parameter.detach().numpy()) < 2 * scale).all(), name


def test_every_rounded_convolution_computes_in_int8(tmp_path: Path) -> None:
    """ONNX Runtime leaves one in floating point, slower than before, without a word."""
    net, x = scaling_network(), mostly_dark(16)
    int8 = to_int8(net, to_onnx(net, multiple_of=4), [x.numpy()])
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    ort.InferenceSession(int8, options, providers=["CPUExecutionProvider"])
    run = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    rounded = [name for name in initializers(int8) if name.endswith(".weight_quantized")]
    assert run.count("QLinearConv") == len(rounded) >= 5


def test_a_network_with_a_state_is_calibrated_on_clips() -> None:
    net = network("repixnet_video", **NET, features=4)
    clip = images(10).unflatten(0, (2, 5))
    clip = 0.8 * images(2)[:, None] + 0.2 * clip  # a scene that stands still, in noise
    model = to_onnx(net, multiple_of=int(getattr(net, "multiple_of", 1)))
    int8 = to_int8(net, model, [clip.numpy()])
    graph = onnx.load_from_string(int8).graph
    made = {output for node in graph.node for output in node.output}
    stored = {one.name: one for one in graph.initializer}
    # what the memory reads, unshuffled and not, tail and gate in one, and what is kept: 6 and 4, 8 and 8 channels
    floats = [
        tuple(stored[node.input[1]].dims) for node in graph.node if node.op_type == "Conv" and node.input[1] not in made
    ]
    assert {(8, 6, 6, 6), (8, 4, 3, 3), (16, 8, 3, 3), (4, 8, 1, 1)} <= set(floats)

    session = ort.InferenceSession(int8)
    names = [one.name for one in session.get_inputs()]
    state = net.zeros(clip[:, 0])
    carried = [one.numpy() for one in state]
    for frame in clip.unbind(1):
        got, *carried = session.run(None, dict(zip(names, [frame.numpy(), *carried], strict=True)))
        with torch.inference_mode():
            exact, *state = net(frame, *state)
        change = (exact - frame).std().item()
        assert 0 < np.sqrt(np.square(got - exact.numpy()).mean()) < 0.05 * change


def test_a_model_in_int8_is_shipped_as_any_other(photos: Path, tmp_path: Path) -> None:
    values = {
        "name": "tiny",
        "model": "repixnet",
        "args": NET,
        "data": {"photos": str(photos), "mixture": {"sharp_streaks": 1, "clean": 1}, "workers": 0},
        "stages": [{"steps": 30, "batch": 2, "patch": 32, "lr": 1e-2}],
        "trainer": {"accelerator": "cpu", "devices": 1},
    }
    checkpoint = train(parse_recipe(values), tmp_path / "run", progress=False)
    assert set(export(checkpoint, tmp_path / "fp32").forms) == {"onnx-fp32", "safetensors-fp32"}
    card = export(checkpoint, tmp_path / "int8", int8=True)
    assert (
        set(card.forms)
        == set(find_card(tmp_path / "int8")[0].forms)
        == {
            "onnx-fp16",
            "onnx-int8",
            "safetensors-fp16",
        }
    )
    assert max(card.onnx_parity.values()) <= 1e-4  # before rounding
    state = safetensors.torch.load_file(tmp_path / "int8" / "model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}

    image = (np.random.default_rng(0).random((40, 44, 3)) * 255).astype(np.uint8)
    exact, got = (Restorer.from_pretrained(tmp_path / form, "cpu")(image).astype(int) for form in ("fp32", "int8"))
    change = np.abs(exact - image).mean()
    assert change > 1
    assert 0 < np.abs(got - exact).mean() < 0.1 * change

    again = parse_recipe({**values, "args": {}, "init": str(tmp_path / "int8")})  # learns on in floating point
    assert again.args == NET
    train(again, tmp_path / "again", progress=False)

    for photo in photos.iterdir():
        photo.unlink()
    with pytest.raises(InputError, match="no images in it"):
        export(checkpoint, tmp_path / "gone", int8=True)
    assert not (tmp_path / "gone").exists()
