"""What every network must do, whatever it is. A new network is one line in `SMALL`."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from repix.errors import RecipeError
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.models import MODELS, Prediction, create_model, model_class
from repix.models.adapter import Adapter
from repix.train.export import save_model
from repix.weights import ModelCard, find_card

# Arguments that make each network small enough to test in a blink; every model must be here.
SMALL: dict[str, dict[str, Any]] = {
    "repixnet": {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1]},
    "repixnet_video": {"features": 4, "channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1]},
    "resnet": {"channels": 8, "blocks": 2},
    "prenet": {"stages": 2, "channels": 8, "blocks": 1},
    "unet": {"channels": [4, 8]},
    "derainnet": {"channels": 4, "blocks": 1},
    "spanet": {"channels": 4, "units": 1, "blocks": 1, "last": 1},
    "progressive_spanet": {"channels": 4, "stages": 2},
    "fcn": {"channels": [4, 8]},
    "pix2pix": {"channels": 4, "depth": 3},
    "vgg_unet": {"channels": [4, 4, 4, 4, 4], "frozen": 0},
}


def test_every_model_is_under_contract() -> None:
    assert set(SMALL) == set(MODELS)


@pytest.fixture(params=sorted(SMALL))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def trained(name: str) -> nn.Module:
    """A network that does something: fresh ones may be the identity by their zero tail."""
    torch.manual_seed(0)
    net = create_model(name, **SMALL[name])
    for parameter in net.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return net.eval()


def first(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a network makes of an image; of one that remembers, of a first frame."""
    state = net.zeros(x) if Adapter(net).state else ()
    made = net(x, *state)
    return made[0] if state else made


def noise(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height * width))


def test_shape_and_type_are_kept(name: str) -> None:
    net = trained(name)
    unit = Adapter(net).multiple_of
    for rows, columns in ((2, 3), (5, 2)):
        x = noise(rows * unit * 2, columns * unit * 2, batch=2)
        with torch.inference_mode():
            y = first(net, x)
        assert y.shape == x.shape
        assert y.dtype == torch.float32
        assert torch.isfinite(y).all()
        assert not torch.equal(y, x)


def test_training_sees_what_inference_gives(name: str) -> None:
    net = trained(name)
    x = noise(32, 48)
    with torch.inference_mode():
        prediction = net.forward_train(x)
        assert isinstance(prediction, Prediction)
        torch.testing.assert_close(prediction.pred, first(net, x))
    assert all(stage.shape == x.shape for stage in prediction.stages)


def test_a_stage_may_change_what_is_listed(name: str) -> None:
    net = trained(name)
    for attribute in Adapter(net).stage_attributes:
        assert attribute in SMALL[name], "what a stage leaves is exported by the constructor's arguments"
        setattr(net, attribute, getattr(net, attribute))
        assert first(net, noise(32, 48)).shape == (1, 3, 32, 48)


def test_every_parameter_gets_a_gradient(name: str) -> None:
    net = trained(name).train()
    x = noise(32, 48, batch=2)
    if Adapter(net).state:
        clips = torch.stack([x, noise(32, 48, batch=2) * 0.9, x * 0.5], dim=1)
        prediction, x = Adapter(net).predict_clips(clips), clips.flatten(0, 1)
    else:
        prediction = net.forward_train(x)
    loss = (prediction.pred - x * 0.7).square().mean()
    if prediction.mask is not None:
        loss = loss + prediction.mask.square().mean()
    loss.backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


def test_images_of_a_batch_do_not_touch_each_other(name: str) -> None:
    net = trained(name)
    x = noise(32, 48, batch=3)
    with torch.inference_mode():
        together = first(net, x)
        alone = torch.cat([first(net, x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_odd_sizes_through_the_restorer(name: str) -> None:
    net = trained(name)
    unit, tiling = Adapter(net).multiple_of, Adapter(net).tiling
    restorer = Restorer(TorchBackend(net), state=Adapter(net).state, multiple_of=unit, tiling=tiling)
    rng = np.random.default_rng(0)
    for height, width in ((37, 53), (1, 1), (7, 90)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        out = restorer(image)
        assert out.shape == image.shape
        assert out.dtype == np.uint8


def test_tiled_equals_whole_where_tiles_are_allowed(name: str) -> None:
    net = trained(name)
    unit, tiling = Adapter(net).multiple_of, Adapter(net).tiling
    if tiling is None:
        pytest.skip(f"{name} depends on the whole image and is never tiled")
    small = tiling.model_copy(update={"tile": max(128, 2 * tiling.overlap)})
    size = (small.tile + 70, small.tile + 110, 3)  # four tiles
    image = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    whole = Restorer(TorchBackend(net), state=Adapter(net).state, multiple_of=unit)(image)
    tiled = Restorer(TorchBackend(net), state=Adapter(net).state, multiple_of=unit, tiling=small)(image)
    assert np.abs(tiled.astype(int) - whole.astype(int)).max() <= 1


def test_onnx_and_safetensors_give_the_same_network(name: str, tmp_path: Path) -> None:
    net = trained(name)
    unit, tiling = Adapter(net).multiple_of, Adapter(net).tiling
    card = ModelCard(
        name=name,
        task="derain",
        arch=name,
        args=SMALL[name],
        multiple_of=unit,
        tiling=tiling,
        state=list(Adapter(net).state),
        licence="Apache-2.0",
    )
    written = save_model(net, card, tmp_path / name)
    assert len(written.onnx_parity) == 3
    assert str(Path(__file__).parents[2]).encode() not in (tmp_path / name / "model.onnx").read_bytes()
    assert max(written.onnx_parity.values()) <= 1e-4
    # the card alone rebuilds the network that the files hold
    found, folder = find_card(tmp_path / name)
    import safetensors
    import safetensors.torch

    again = create_model(found.arch, **found.args).eval()
    again.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    x = noise(32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(first(again, x), first(net, x), atol=0, rtol=0)
    image = np.random.default_rng(2).integers(0, 256, (45, 67, 3), dtype=np.uint8)
    onnx = Restorer.from_pretrained(str(folder), device="cpu")(image)
    torch_ = Restorer(TorchBackend(net), state=Adapter(net).state, multiple_of=unit, tiling=tiling)(image)
    assert np.abs(onnx.astype(int) - torch_.astype(int)).max() <= 1
    # and it travels inside the files
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        inside = ModelCard.model_validate_json(file.metadata()["card"])
    assert inside == written.model_copy(update={"forms": {}})


def test_unknown_arguments_and_names_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="has no argument 'chanels'"):
        create_model(name, chanels=3)
    with pytest.raises(RecipeError, match=f"did you mean '{name}'"):
        create_model(name[:-1])


def test_an_argument_of_a_wrong_type_is_told_by_its_name(name: str) -> None:
    for key in inspect.signature(model_class(name)).parameters:
        for value in ({"no": "value"}, [8, "x"], "x", math.nan):
            with pytest.raises(RecipeError, match=rf"^model '{name}'.*{key}.*(expected|known)") as error:
                create_model(name, **({"predict": "image"} if name == "repixnet" else {}) | {key: value})
            assert len(str(error.value)) < 200


def test_residual_or_direct_is_one_argument(name: str) -> None:
    if "predict" not in inspect.signature(type(trained(name))).parameters:
        pytest.skip(f"{name} has one form only")
    for predict in ("rain", "image"):
        net = create_model(name, **{**SMALL[name], "predict": predict}).eval()
        with torch.inference_mode():
            assert first(net, noise(32, 32)).shape == (1, 3, 32, 32)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n"
        "class MyNet(nn.Module):\n"
        "    def __init__(self, *, width=4):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1))\n"
        "    def forward(self, x):\n"
        "        return x - self.body(x)\n"
    )
    net = create_model(f"{file}:MyNet", width=6)
    assert net(noise(16, 16)).shape == (1, 3, 16, 16)
    with pytest.raises(RecipeError, match=r"not a torch\.nn\.Module"):
        create_model(f"{file}:nn")
    with pytest.raises(RecipeError, match="no file"):
        create_model(f"{tmp_path / 'none.py'}:MyNet")
