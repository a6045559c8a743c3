"""UNet and DerainNet."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from repix.errors import RecipeError
from repix.models import create_model


@pytest.mark.parametrize("name", ["unet", "derainnet"])
def test_direct_and_residual(name: str) -> None:
    residual, direct = (create_model(name, predict=predict).eval() for predict in ("rain", "image"))
    direct.load_state_dict(residual.state_dict())
    x = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(residual(x), x - direct(x))


@pytest.mark.parametrize("channels", [(4, 8), (4, 8, 16), (4, 8, 16, 32)])
def test_unet_levels(channels: tuple[int, ...]) -> None:
    net: Any = create_model("unet", channels=channels)
    side = net.multiple_of
    assert net(torch.rand(1, 3, side, side)).shape == (1, 3, side, side)  # also in training, at the smallest size
    shapes = []
    net.downs[-1].register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    net(torch.rand(2, 3, 2 * side, 4 * side))
    assert shapes == [(2, channels[-1], 4, 8)]


def test_unet_of_one_level() -> None:
    with pytest.raises(RecipeError, match="expected at least 2 items"):
        create_model("unet", channels=(64,))


@pytest.mark.parametrize("upsample", ["learned", "bilinear"])
def test_derainnet_scales(upsample: str) -> None:
    net = create_model("derainnet", channels=4, blocks=2, upsample=upsample)
    sizes = []
    for branch in net.branches:
        branch.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[2:])))
    assert net(torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)
    assert sizes == [(16, 24), (8, 12), (4, 6)]
    assert sum("ups" in name for name, _ in net.named_parameters()) == (6 if upsample == "learned" else 0)


def test_levels_of_repixnet_that_do_not_go_together_are_counted() -> None:
    said = "got 3 levels of channels, 1 encoder entry and 2 decoder entries; expected one encoder and one decoder entry"
    with pytest.raises(RecipeError, match=said):
        create_model("repixnet", channels=[8, 16, 32], encoder=[1], decoder=[1, 2])
