"""What another level leaves: nothing changes where the network finds nothing, and the share is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from repix.train.levels import left_by_levels


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def batch(side: int = 64) -> Tensor:
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    smooth = 0.5 + 0.3 * torch.stack([torch.sin(3 * x + y), torch.cos(2 * y), torch.sin(2 * x * y)])
    return (smooth.repeat(8, 1, 1, 1) * 255).round() / 255


def test_a_network_that_finds_nothing_changes_little() -> None:
    """Coarser levels change nothing at all; only the one at twice the size is resampled."""
    made = left_by_levels(lambda x: x, batch(), 1.0, rng(), multiple_of=8)
    assert (made - batch()).abs().max() < 0.02


def test_half_of_the_rain_is_taken_at_a_coarser_level() -> None:
    made = left_by_levels(lambda x: x - 0.1, batch(), 1.0, rng(), multiple_of=8)
    taken = (batch() - made).mean((1, 2, 3))
    assert all(min(abs(float(one) - 0.1 * runs) for runs in (0, 1, 2, 3)) < 0.01 for one in taken)
    assert taken.max() > 0.09


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_is_kept_on_average(share: float) -> None:
    changed = [
        int(
            (
                (left_by_levels(lambda x: x - 0.1, batch(128), share, rng(seed)) - batch(128)).abs().amax((1, 2, 3)) > 0
            ).sum()
        )
        for seed in range(40)
    ]
    assert np.mean(changed) == pytest.approx(8 * share, abs=0.5)


def test_the_network_sees_sides_that_it_takes_and_no_gradients() -> None:
    seen = []

    def run(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape[2:]))
        assert not torch.is_grad_enabled()
        return images

    left_by_levels(run, batch(72).requires_grad_(), 1.0, rng(), multiple_of=8)
    assert seen
    assert all(side % 8 == 0 for size in seen for side in size)


def test_small_patches_skip_levels_that_are_too_coarse() -> None:
    sides = []

    def note(x: torch.Tensor) -> torch.Tensor:
        sides.append(x.shape[-1])
        return x

    left_by_levels(note, batch(32), 1.0, rng())
    assert min(sides) >= 16
