"""Dead units: a step that would kill all of them at once, and reinitialising them without changing what is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from repix.evaluate.inspect import load_network
from repix.io.image import read_image
from repix.models import create_model
from repix.models.layers import ResidualBlock
from repix.train.experimental.dead_units import keep_alive, reinitialise
from repix.train.export import save_model
from repix.train.loop import train
from repix.train.optim import Muon
from repix.train.recipe import parse_recipe
from repix.weights import ModelCard

WIDTH = 16


def read(*, mean: float = 1.0) -> Tensor:
    """What blocks read in trained networks: means far from zero, of either sign."""
    generator = torch.Generator().manual_seed(0)
    means = mean * torch.randn(1, WIDTH, 1, 1, generator=generator)
    return means + 0.3 * torch.randn(2, WIDTH, 32, 32, generator=generator)


def shares(block: ResidualBlock, x: Tensor) -> Tensor:
    share: Tensor = (block.body[0](x) > 0).float().mean((0, 2, 3))
    return share.detach()


def trained_to_nothing(*, alive: bool) -> Tensor:
    """Shares of a block's units after steps that ask for as little as possible of what it adds."""
    torch.manual_seed(1)
    block = ResidualBlock(WIDTH)
    if alive:
        keep_alive(block)
    optimizer = Muon(block.body[0].parameters(), lr=0.01, betas=(0.9, 0.999), weight_decay=0)
    x = read()
    for _ in range(100):
        optimizer.zero_grad()
        (block(x) - x).square().mean().backward()
        optimizer.step()
    return shares(block, x)


def test_units_do_not_die_together() -> None:
    assert trained_to_nothing(alive=False).median() < 0.02  # how it comes about
    assert trained_to_nothing(alive=True).median() > 0.2


def test_the_mean_of_what_is_read_has_no_part_in_the_gradient() -> None:
    block, x = ResidualBlock(WIDTH), read()
    keep_alive(block)
    plain = ResidualBlock(WIDTH)
    plain.load_state_dict(block.state_dict())
    for one in (block, plain):
        one(x).square().mean().backward()
    got, given = (one.get_parameter("body.0.weight").grad for one in (block, plain))
    assert got is not None
    assert given is not None
    along = x.mean((0, 2, 3))[:, None, None].expand(WIDTH, 3, 3)
    along = along / along.norm()
    assert (got * along).sum((1, 2, 3)).abs().max() < 1e-5 * got.norm()
    taken = given - got  # and that is all that was taken
    torch.testing.assert_close(taken, (taken * along).sum((1, 2, 3))[:, None, None, None] * along, atol=1e-6, rtol=1e-4)
    assert taken.norm() > 0.1 * given.norm()
    bias = block.get_parameter("body.0.bias").grad
    assert bias is not None
    assert abs(bias.sum()) < 1e-5 * bias.abs().sum()
    last, its = (one.get_parameter("body.2.weight").grad for one in (block, plain))
    assert torch.equal(last, its)  # type: ignore[arg-type]


def test_blocks_with_batch_norm_are_left_alone() -> None:
    block = ResidualBlock(WIDTH, batch_norm=True)
    keep_alive(block)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    block.eval()
    assert reinitialise(block, read(), seed=0) == 0
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_reinitialising_changes_dead_units_and_nothing_else() -> None:
    block, x = ResidualBlock(WIDTH, dropout=0.1).eval(), read(mean=0.0)
    dead = torch.zeros(WIDTH, dtype=torch.bool)
    dead[[2, 3, 11]] = True
    with torch.no_grad():
        block.get_parameter("body.0.bias")[dead] = -100
    before, kernels = block(x), block.get_parameter("body.0.weight").detach().clone()
    assert torch.equal(shares(block, x) == 0, dead)

    assert reinitialise(block, x, seed=0) == 3
    torch.testing.assert_close(block(x), before)
    assert shares(block, x)[dead].min() > 0.01
    changed = (block.get_parameter("body.0.weight") != kernels).flatten(1).any(1)
    assert torch.equal(changed, dead)
    assert reinitialise(block, x, seed=0) == 0
    block(x).sum().backward()
    learns = block.get_parameter("body.3.weight").grad
    assert learns is not None
    assert learns[:, dead].abs().max() > 0


def test_several_processes_reinitialise_what_is_dead_in_all() -> None:
    block, x = ResidualBlock(WIDTH), read(mean=0.0)
    with torch.no_grad():
        block.get_parameter("body.0.bias")[:2] = -100
    elsewhere = torch.ones(WIDTH).index_fill(0, torch.tensor([1]), 0.0)
    assert reinitialise(block, x, seed=0, largest=lambda found: torch.maximum(found, elsewhere)) == 1


def test_hardly_any_units_of_the_shipped_model_are_dead() -> None:
    net = load_network("repixnet")
    rainy = read_image(Path(__file__).parents[3] / "examples" / "rainy.jpg").pixels[:256, :384]
    x = torch.from_numpy(rainy.astype("float32") / 255).permute(2, 0, 1)[None]
    blocks = [part for part in net.modules() if isinstance(part, ResidualBlock)]
    units = sum(len(block.get_parameter("body.0.bias")) for block in blocks)
    assert reinitialise(net, x, seed=0) < 0.15 * units  # 161 of 1,536 on this image; before the recipe's key, 964


@pytest.mark.parametrize("reinit", [False, True])
def test_a_run_reinitialises_dead_units_of_its_init(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], reinit: bool
) -> None:
    args = {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1]}
    net = create_model("repixnet", **args)
    nn.init.constant_(net.get_parameter("middle.0.body.0.bias"), -100)
    card = ModelCard(name="dull", task="derain", arch="repixnet", args=args, multiple_of=4, tiling=None, licence="MIT")
    save_model(net, card, tmp_path / "dull")
    recipe = parse_recipe(
        {
            "name": "tiny",
            "model": "repixnet",
            "args": args,
            "init": str(tmp_path / "dull"),
            "reinit_dead_units": reinit,
            "data": {"photos": str(photos), "mixture": {"sharp_streaks": 1}, "workers": 0},
            "stages": [{"steps": 3, "batch": 2, "patch": 32, "lr": 1e-3}],
            "ema_decay": 0,
            "trainer": {"accelerator": "cpu", "devices": 1},
        }
    )
    checkpoint = torch.load(train(recipe, tmp_path / "run", progress=False), weights_only=True)
    bias = checkpoint["state_dict"]["net.middle.0.body.0.bias"]
    assert (bias.max() > -1) == (bias.min() > -1) == reinit
    assert ("dead units of residual blocks were reinitialised" in capsys.readouterr().out) == reinit
