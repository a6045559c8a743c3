"""Muon: torch's own on matrices, AdamW on what reads and writes images."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from repix.train.optim import Muon, orthogonalized

RATE, DECAY = 0.01, 0.1


def gradients(like: torch.Tensor, steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(like.shape, generator=generator) for _ in range(steps)]


def stepped(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, steps: int = 4) -> torch.Tensor:
    for grad in gradients(parameter, steps):
        parameter.grad = grad.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("shape", [(32, 20), (20, 48), (24, 24)])
def test_a_kernel_moves_as_torchs_muon_moves_its_matrix(shape: tuple[int, int]) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    kernel, matrix = nn.Parameter(start[:, :, None, None].clone()), nn.Parameter(start.clone())
    ours = stepped(Muon([kernel], lr=RATE, betas=(0.9, 0.999), weight_decay=DECAY), kernel)
    theirs = stepped(torch.optim.Muon([matrix], lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"), matrix)
    assert (ours.flatten(1) - start).abs().max() > RATE
    # bfloat16 throughout, in another order of additions
    torch.testing.assert_close(ours.flatten(1) - start, theirs - start, atol=RATE * 0.05, rtol=0.05)


@pytest.mark.parametrize("shape", [(32, 12, 3, 3), (12, 32, 3, 3), (64, 1, 3, 3), (64,)])
def test_the_rest_is_adamws(shape: tuple[int, ...]) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    one, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = stepped(Muon([one], lr=RATE, betas=(0.9, 0.99), weight_decay=DECAY), one)
    theirs = stepped(torch.optim.AdamW([other], lr=RATE, betas=(0.9, 0.99), weight_decay=DECAY, fused=True), other)
    assert torch.equal(ours, theirs)


def test_memory_layout_does_not_matter() -> None:
    start = torch.randn(32, 24, 3, 3, generator=torch.Generator().manual_seed(1))
    plain = nn.Parameter(start.clone())
    last = nn.Parameter(start.clone().contiguous(memory_format=torch.channels_last))
    moved = [stepped(Muon([p], lr=RATE, betas=(0.9, 0.999), weight_decay=0), p) for p in (plain, last)]
    torch.testing.assert_close(*moved)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (40, 40)])
def test_every_direction_gets_about_the_same(shape: tuple[int, int]) -> None:
    random = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    u, sizes, v = torch.linalg.svd(random, full_matrices=False)
    matrix = u @ torch.diag(torch.logspace(0, -1, len(sizes))) @ v
    got = orthogonalized(matrix[None])[0]
    sizes = torch.linalg.svdvals(got)
    assert 0.5 < sizes.min() <= sizes.max() < 1.3
    assert torch.cosine_similarity(got.flatten(), (u @ v).flatten(), dim=0) > 0.97


def test_nothing_is_done_without_a_gradient() -> None:
    kernel = nn.Parameter(torch.ones(16, 16, 3, 3))
    Muon([kernel], lr=RATE, betas=(0.9, 0.999), weight_decay=DECAY).step()
    assert torch.equal(kernel, torch.ones(16, 16, 3, 3))
