"""VGG16 as the way down of a U-Net: its weights arrive, stay where they are frozen, and wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from repix.errors import RecipeError, WeightsError
from repix.features import FeatureStack, conv_stack
from repix.models import create_model
from repix.models.vgg_unet import VggUNet
from repix.train.recipe import parse_recipe
from repix.train.task import RestorationTask

SMALL = {"channels": [4, 4, 4, 4, 4], "palette": [[0, 0, 0], [255, 255, 255]]}


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision's, in half precision, of random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    state = nn.ModuleDict({"features": nn.Sequential(*conv_stack("vgg16"))}).state_dict()
    torch.save({key: value.half() for key, value in state.items()}, path)
    return path


def net(**changes: object) -> VggUNet:
    made = create_model("vgg_unet", **{**SMALL, **changes})
    assert isinstance(made, VggUNet)
    return made


def test_the_way_down_is_the_classifier(vgg16: Path) -> None:
    ours = net().eval()
    ours.load_encoder(vgg16)
    taps = (3, 8, 15, 22, 29)
    expected = FeatureStack("vgg16", layers=taps, weights=vgg16)
    found: dict[int, torch.Tensor] = {}
    for number in taps:
        ours.encoder[number].register_forward_hook(lambda _, __, out, number=number: found.update({number: out}))
    x = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours(x)
        for number, features in zip(taps, expected(x), strict=True):
            torch.testing.assert_close(found[number], features)
    assert [tuple(found[n].shape[1:]) for n in taps] == [
        (64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3)
    ]  # fmt: skip


def test_frozen_blocks_are_not_trained_and_a_stage_may_thaw_some() -> None:
    ours = net()
    assert not any(parameter.requires_grad for parameter in ours.encoder.parameters())
    assert all(parameter.requires_grad for parameter in ours.laterals.parameters())
    ours.frozen = 3
    trained = {key.partition(".")[0] for key, parameter in ours.encoder.named_parameters() if parameter.requires_grad}
    assert trained == {"17", "19", "21", "24", "26", "28"}  # conv4_1 … conv5_3
    ours.frozen = 0
    assert all(parameter.requires_grad for parameter in ours.parameters())
    with pytest.raises(RecipeError, match="frozen 6, expected 0 to 5"):
        ours.frozen = 6


def test_a_recipe_begins_with_a_classifiers_file(vgg16: Path) -> None:
    values = {
        "name": "t", "task": "translate", "model": "vgg_unet", "args": SMALL, "init": str(vgg16),
        "data": {"pairs": "nowhere"}, "stages": [{"steps": 1, "losses": {"cross_entropy": 1}}],
    }  # fmt: skip
    task = RestorationTask(parse_recipe(values))
    expected = torch.load(vgg16, weights_only=True)["features.28.weight"].float()
    assert torch.equal(task.net.get_parameter("encoder.28.weight"), expected)
    with pytest.raises(RecipeError, match=r"vgg16\.pth is a file; RepixNet starts from a model's name or folder"):
        RestorationTask(parse_recipe({**values, "model": "repixnet", "args": {}}))


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "alexnet.pth")
    with pytest.raises(WeightsError, match=r"alexnet\.pth: not vgg16's weights"):
        net().load_encoder(tmp_path / "alexnet.pth")


def test_five_levels_or_one_line() -> None:
    with pytest.raises(RecipeError, match="got 2 channels, expected 5"):
        create_model("vgg_unet", channels=[8, 8])
