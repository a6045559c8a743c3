"""What `repix inspect` shows is what the network does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repix.cli import main
from repix.cli.inspect import VIEWS
from repix.errors import InputError, WeightsError
from repix.evaluate import inspect as looking
from repix.io.image import Picture, read_image, write_image
from repix.models import create_model
from repix.models.adapter import Adapter
from repix.train.export import save_model
from repix.weights import ModelCard


class Darker(nn.Module):
    """Takes away 0.1 and sees 5×5 pixels, evenly."""

    multiple_of = 4

    def __init__(self) -> None:
        super().__init__()
        self.box = nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False)
        nn.init.constant_(self.box.weight, 1 / 25)

    def forward(self, x: Tensor) -> Tensor:
        return self.box(x) - 0.1


@pytest.fixture
def flat() -> Any:
    return np.full((30, 41, 3), 128, np.uint8)


def test_rain(flat: Any) -> None:
    seen = looking.rain(Darker(), flat)
    assert seen.arrays["rain"].shape == (30, 41, 3)
    np.testing.assert_allclose(seen.arrays["rain"][2:-2, 2:-2], 0.1, atol=1e-6)
    np.testing.assert_allclose(seen.arrays["rain"] + seen.arrays["estimate"], 128 / 255, atol=1e-6)
    assert [panel.label.split()[0] for panel in seen.panels] == ["input", "taken", "estimate"]
    np.testing.assert_array_equal(seen.panels[0].image, flat)


def test_uncertainty(photo: Any) -> None:
    net = Darker()
    seen = looking.uncertainty(net, photo)
    error = seen.arrays["uncertainty"]
    assert error.shape == photo.shape[:2]
    # a box is the same in every mirror and shift, except at the frame that a shift moves
    assert error[15:-15, 15:-15].max() < 0.01
    with torch.no_grad():
        net.box.weight[..., 0] += 0.1  # to one side: mirrored, it is another network
    lopsided = looking.uncertainty(net, photo).arrays["uncertainty"]
    assert lopsided[15:-15, 15:-15].mean() > 1
    assert [panel.label.split()[0] for panel in seen.panels] == ["input", "estimate", "uncertainty"]
    np.testing.assert_array_equal(seen.panels[0].image, photo)


def test_recurrences_and_attention(photo: Any) -> None:
    net = create_model("progressive_spanet", channels=4).eval()
    seen = looking.recurrences(net, photo)
    assert seen.arrays["recurrences"].shape == (3, *photo.shape)
    assert [panel.label for panel in seen.panels] == ["input", *(f"recurrence {number}" for number in (1, 2, 3))]
    x = torch.from_numpy(photo / np.float32(255)).permute(2, 0, 1)[None]
    with torch.no_grad():
        prediction = net.forward_train(x)
    np.testing.assert_allclose(seen.arrays["recurrences"][-1], prediction.pred[0].permute(1, 2, 0), atol=1e-6)
    mask = looking.attention(net, photo).arrays["attention"]
    np.testing.assert_allclose(mask, prediction.mask[0, 0], atol=1e-6)
    resnet = create_model("resnet", channels=4, blocks=1).eval()
    with pytest.raises(InputError, match="estimates once"):
        looking.recurrences(resnet, photo)
    with pytest.raises(InputError, match="no attention map"):
        looking.attention(resnet, photo)


def test_features(photo: Any) -> None:
    net = create_model("resnet", channels=70, blocks=1).eval()
    seen = looking.features(net, photo, layer="head.0")
    assert seen.arrays["features"].shape == (70, *photo.shape[:2])
    assert len(seen.panels) == 64
    with pytest.raises(InputError, match=r"no layer 'head\.7'; this network has: head, head\.0"):
        looking.features(net, photo, layer="head.7")


def test_receptive_field_of_a_box(photo: Any) -> None:
    net = Darker()
    seen = looking.receptive_field(net, photo, side=32)
    plane = seen.arrays["receptive_field"]
    assert plane.shape == (32, 32)
    assert int(seen.arrays["radius"]) == 2
    expected = np.zeros((32, 32), np.float32)
    expected[14:19, 14:19] = 3 / 25 / 3 * 1  # each of three channels sees its own
    np.testing.assert_allclose(plane / plane.sum(), expected / expected.sum(), atol=1e-6)
    assert net.box.weight.requires_grad
    assert net.box.weight.grad is None


def test_deeper_networks_see_further(photo: Any) -> None:
    radius = {}
    for blocks in (1, 6):
        torch.manual_seed(0)
        net = create_model("resnet", channels=8, blocks=blocks).eval()
        radius[blocks] = int(looking.receptive_field(net, photo, side=48, samples=2).arrays["radius"])
    assert radius[1] < radius[6]


def test_signal_vanishes_in_the_plain_stack_alone(photo: Any) -> None:
    seen = looking.signal(photo, depth=12, channels=8)
    assert len(seen.arrays) == 8

    def ratio(key: str) -> float:
        return float(seen.arrays[key][-1] / seen.arrays[key][0])

    assert ratio("variance plain, default") < 1e-2
    assert ratio("variance residual, kaiming") > 0.1
    assert seen.arrays["gradient plain, default"][0] < seen.arrays["gradient residual, default"][0]


def test_levels_show_what_each_takes_away() -> None:
    class Lines(torch.nn.Module):
        multiple_of = 2

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            low = -torch.nn.functional.max_pool2d(-x, (1, 5), stride=1, padding=(0, 2))
            return torch.nn.functional.max_pool2d(low, (1, 5), stride=1, padding=(0, 2))

    image = np.full((500, 520, 3), 60, np.uint8)
    image[::40, 7::13] = image[1::40, 7::13] = image[2::40, 7::13] = 200
    seen = looking.levels(Lines(), image)
    names = list(seen.arrays)
    assert names
    assert names[0] == "level_1"
    assert seen.panels[0].label == "input"
    assert len(seen.panels) == len(names) + 2
    np.testing.assert_allclose(seen.arrays["level_1"].max(), 140 / 255, atol=0.01)
    nothing = looking.levels(Lines(), np.full((500, 520, 3), 60, np.uint8))
    assert nothing.title == "no level finds rain"
    assert [panel.label for panel in nothing.panels] == ["input", "result"]


def test_weights_and_untrained_networks(tmp_path: Path, photo: Any) -> None:
    args = {"channels": 4, "blocks": 1}
    net = create_model("resnet", **args).eval()
    unit, tiling = Adapter(net).multiple_of, Adapter(net).tiling
    card = ModelCard(
        name="mine", task="derain", arch="resnet", args=args, multiple_of=unit, tiling=tiling, licence="CC0-1.0"
    )
    save_model(net, card, tmp_path / "mine")
    again = looking.load_network(tmp_path / "mine")
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))
    assert looking.load_network("prenet").stages == 6
    with pytest.raises(WeightsError, match="no model 'prenett'"):
        looking.load_network("prenett")


def test_command_line(
    tmp_path: Path, photo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image("photo.png", Picture(photo))
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", "photo.png", "--show", "rain", "--model", "resnet", "--size", "40", "--npz", "a/rain.npz"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "photo.rain.png" in said
    assert "of random weights (resnet is untrained)" in said
    drawn = read_image("photo.rain.png").pixels
    assert drawn.shape[1] > drawn.shape[0] > 200
    assert drawn.std() > 10
    with np.load("a/rain.npz") as arrays:
        assert arrays["rain"].shape == (40, 40, 3)


def test_the_photo_is_never_written_over(
    tmp_path: Path, photo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "photo.jpg"):
        write_image(name, Picture(photo))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for given, said in (
        (["photo.png", "-o", "./photo.png"], "photo.png is an input and would be overwritten"),
        (["photo.jpg", "-o", "photo.jpg"], "what is written there is .png; name it so"),
        (["photo.jpg", "--npz", "photo.jpg"], "what is written there is .npz; name it so"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["inspect", *given, "--show", "rain", "--model", "resnet"])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--show", "features", "--model", "resnet"], "name a layer"),
        (["--show", "features", "--model", "vgg16", "--layer", "conv"], "layers are numbers"),
        (
            ["--show", "features", "--model", "vgg16", "--layer", "1", "--backbone", "absent.pth"],
            "no readable state dict",
        ),
        (["--show", "signal", "-o", "photo.png/figure.png"], "cannot write to"),
        (["--show", "signal", "--model", "nosuch"], "--model does nothing with --show signal"),
        (["--show", "rain", "--layer", "2"], "--layer is for --show features"),
        (["--show", "rain", "--backbone", "a.pth"], "--backbone is for --show features"),
        (
            ["--show", "features", "--model", "resnet", "--layer", "head", "--backbone", "a.pth"],
            "--backbone is for --model alexnet, vgg16, vgg19",
        ),
    ],
)
def test_command_line_errors(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    photo: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image("photo.png", Picture(photo))
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", "photo.png", *arguments])
    assert stopped.value.code in (2, 4)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png"]


def test_the_command_offers_all_views() -> None:
    assert set(VIEWS) == {*looking.SHOWN, "features", "signal"}
