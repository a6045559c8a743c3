from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from repix.errors import InputError, MissingExtraError
from repix.poisson.blend import blend

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from repix.poisson.torch import (
    PoissonBlend,
    blend_by_descent,
    cal_laplacian_loss,
    descend,
    laplacian,
    poisson_blend,
)

Y, X = np.mgrid[:30, :34]
BLOB = np.hypot(Y - 14, X - 16) < 11 + 2 * np.cos(5 * np.arctan2(Y - 14, X - 16))


def images(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    source, target = torch.rand((2, *shape), generator=generator, dtype=torch.float64)
    return source, target


def test_the_laplacian_is_a_convolution_inside() -> None:
    x, _ = images(2, 3, 12, 15)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=x.dtype).expand(3, 1, 3, 3)
    wanted = torch.nn.functional.conv2d(x, kernel, groups=3)
    torch.testing.assert_close(laplacian(x)[..., 1:-1, 1:-1], wanted)
    assert laplacian(torch.ones(1, 5, 6)).abs().max() == 0  # free edges


def test_the_loss_compares_moved_regions() -> None:
    source, _ = images(1, 3, 30, 34)
    small = torch.zeros(1, 1, 30, 34)
    small[..., 5:12, 6:20] = 1
    moved = torch.roll(small, (4, 9), (2, 3))
    blended = torch.roll(source, (4, 9), (2, 3))
    assert float(cal_laplacian_loss(source, small, blended + 0.3, moved)) < 1e-20
    blended[..., 10, 20] += 0.5
    # the changed pixel weighs 4, its four neighbours 1 each
    wanted = 3 * 0.5**2 * (16 + 4) / (3 * 7 * 14)
    assert float(cal_laplacian_loss(source, small, blended, moved)) == pytest.approx(wanted)
    for bad in (torch.zeros(1, 1, 30, 34), torch.ones(1, 1, 30, 34)):
        with pytest.raises(InputError, match="same region"):
            cal_laplacian_loss(source, bad, blended, moved)


def test_adam_is_far_off_when_its_loss_is_small_and_the_v_cycle_is_not() -> None:
    source, target = images(3, 30, 34)
    target = target * 0.3 + 0.6
    seen: list[tuple[int, float, float]] = []
    result, adam = descend(source, target, BLOB, steps=150, on_step=lambda *state: seen.append(state))
    assert adam.error_levels > 10
    assert [step for step, _, _ in seen] == list(range(1, 151))
    assert seen[-1][1] < seen[0][1]
    assert seen[-1][2] == adam.error_levels
    preconditioned, ours = descend(source, target, BLOB, steps=25, preconditioned=True)
    assert ours.error_levels < 0.05
    assert ours.loss < adam.loss / 1e6
    outside = ~torch.from_numpy(BLOB)
    for image in (result, preconditioned):
        assert torch.equal(image[:, outside], target[:, outside])
    exact, _ = blend(source.numpy().transpose(1, 2, 0), target.numpy().transpose(1, 2, 0), mask=BLOB, tolerance=1e-5)
    got = preconditioned.numpy().transpose(1, 2, 0)
    assert 255 * np.abs(got - exact).max() == pytest.approx(ours.error_levels, abs=1e-2)


@pytest.mark.parametrize("region", ["blob", "corner", "everything"])
def test_the_layer_passes_a_gradient_check(region: str) -> None:
    mask = {"blob": BLOB[::2, ::2], "corner": np.hypot(Y, X)[:20, :20] < 17, "everything": np.ones((7, 8), bool)}[
        region
    ]
    source, target = (p.requires_grad_() for p in images(1, 2, *mask.shape))

    def layer(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return poisson_blend(s, t, mask, tolerance=1e-12)

    assert torch.autograd.gradcheck(layer, (source, target), atol=1e-7, fast_mode=True)
    assert torch.autograd.gradgradcheck(layer, (source, target), atol=1e-7, fast_mode=True)


def test_the_layer_is_the_blend() -> None:
    source, target = images(2, 3, 30, 34)
    result = PoissonBlend(BLOB, tolerance=1e-8)(source, target)
    for k in range(2):
        s, t = (p[k].numpy().transpose(1, 2, 0) for p in (source, target))
        wanted, _ = blend(s, t, mask=BLOB, tolerance=1e-5)
        np.testing.assert_allclose(result[k].numpy().transpose(1, 2, 0), wanted, atol=1e-6)


def test_the_layer_is_one_class_that_can_be_saved() -> None:
    layer = PoissonBlend(BLOB, tolerance=1e-8)
    assert isinstance(layer, torch.nn.Module)
    again = pickle.loads(pickle.dumps(layer))
    assert type(again) is PoissonBlend
    source, target = images(1, 1, 30, 34)
    assert torch.equal(again(source, target), layer(source, target))


def test_descent_on_arrays_moves_the_source_and_says_how_far_off_it_is() -> None:
    rng = np.random.default_rng(0)
    source, target = (rng.integers(0, 256, (30, 34, 3), np.uint8), rng.integers(0, 256, (50, 40, 3), np.uint8))
    seen: list[int] = []
    image, report = blend_by_descent(
        source, target, mask=BLOB, offset=(12, -3), steps=30, on_step=lambda step, loss, error: seen.append(step)
    )
    exact, _ = blend(source, target, mask=BLOB, offset=(12, -3), tolerance=0.01)
    assert seen == list(range(1, 31))
    assert report.method == "30 steps of Adam"
    assert (
        np.abs(image.astype(float) - exact).max() <= report.error_levels + 1
    )  # both are rounded, and cut at 0 and 255
    outside = np.ones((50, 40), bool)
    outside[12:42, :31] &= ~BLOB[:, 3:]
    np.testing.assert_array_equal(image[outside], target[outside])
    assert report.pixels == (~outside).sum()
    with pytest.raises(InputError, match="outside the target"):
        blend_by_descent(source, target, mask=BLOB, offset=(90, 0), steps=1)


def test_an_image_is_trained_through_the_layer() -> None:
    """The layer is linear in the source, so the gradient of a squared error leads to a source that gives the target."""
    source, target = images(1, 1, 30, 34)
    wanted = poisson_blend(source, target, BLOB).float()
    start = torch.zeros(1, 1, 30, 34, requires_grad=True)
    optimizer = torch.optim.LBFGS([start], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (poisson_blend(start, target.float(), BLOB, tolerance=1e-5) - wanted).square().sum()
        loss.backward()
        return loss

    before = float(closure().detach())
    optimizer.step(closure)
    assert float(closure().detach()) < 1e-3 * before


def test_wrong_sizes_are_refused() -> None:
    source, target = images(3, 30, 34)
    with pytest.raises(InputError, match="must be"):
        descend(source, target[:, 1:], BLOB)
    with pytest.raises(InputError, match="must be"):
        poisson_blend(source, target, BLOB)
    for mask in (BLOB & False, BLOB | True):
        with pytest.raises(InputError, match="leave some out"):
            descend(source, target, mask)


def test_without_torch_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import repix, repix.poisson.torch; repix.blend, repix.blend_images\n"  # the rest of blending needs none
        "print('imported')\n"
        "repix.poisson.torch.PoissonBlend"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "imported"
    assert run.returncode != 0
    assert MissingExtraError.__name__ in run.stderr.splitlines()[-1]
    assert "pip install 'repix[train]'" in run.stderr.splitlines()[-1]
