"""How the frame before lies on this one: a smooth field of motion, found by matching, with nothing to learn.

Blocks are matched at an eighth of the resolution over 32 pixels either way, the matches are smoothed, and from coarse
to fine the field is refined by what gradients say (Lucas and Kanade 1981), with weights that fall with the residual:
rain on one of two frames is an outlier. The field has one vector for each 8×8 pixels and is smooth over some 24: the
camera's motion and parallax, not the outlines of what moves by itself. Everything is local, so that tiles see what the
whole frame does, and made of operations that ONNX has.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

CELL = 8
"""Pixels along the side of what has one vector."""

_REACH = 4  # cells that blocks are looked for either way
_FAR = 0.06  # difference of two values, of the full range, beyond which it counts no more
_STAYS = 1.15  # a block that has moved must match so much better than one that has stayed
_WINDOWS = ((5, 0.5), (21, 2.0))  # cells along the side over which blocks are compared, and how much each counts
_SMOOTH = 13  # cells over which matches are smoothed
# pixels of a frame for one of the finest image; finer ones are worth nothing where the camera's motion is told
_FINE = 4
# pixels for one of a step's image, window in cells
_STEPS = ((CELL, 9), (_FINE, 5))
_FLOOR = 2e-5  # squared gradient below which nothing is known
_NOISE = 0.01  # residual that has no meaning, of the full range
_STILL = 0.12  # pixels from a whole number that are none: interpolation blurs
_CLEARLY = 0.85  # of what the guess leaves unexplained: found motion that leaves more is not taken


@torch.no_grad()
def find_motion(now: Tensor, before: Tensor, guess: Tensor | None = None) -> Tensor:
    """Where each cell of a frame was in another.

    Args:
        now: (N, 3, H, W) in [0, 1], H and W multiples of `CELL`.
        before: of the same shape.
        guess: (N, 2, H/8, W/8), of the camera's motion, say. It is taken, as it is, wherever what is found does not
            explain the frame clearly better.

    Returns:
        (N, 2, H/8, W/8) displacements (right, down) in pixels.
    """
    a, b = (avg_pool2d(_grey(image.float()), _FINE) for image in (now, before))
    images = {_FINE: (a, b), CELL: (avg_pool2d(a, CELL // _FINE), avg_pool2d(b, CELL // _FINE))}
    field = _matched(*images[CELL]) * CELL
    for size, window in _STEPS:
        fixed, moving = images[size]
        cells = CELL // size
        there = warped(moving, field / size, "border")
        field = field + size * _step(fixed, there, cells, window)
    whole = field.round()
    rest = field - whole
    field = whole + rest.sign() * (rest.abs() - _STILL).clamp(min=0) * (0.5 / (0.5 - _STILL))
    return field if guess is None else _better(a, b, field, guess)


def _better(now: Tensor, before: Tensor, found: Tensor, guess: Tensor) -> Tensor:
    """For each cell what was found, if it explains the frame clearly better than the guess, else the guess.

    Args:
        now, before: (N, 1, H/4, W/4): rain is less sharp there, and it costs a sixteenth.
        found, guess: (N, 2, H/8, W/8) displacements in pixels of the frame.
    """
    left = [
        _mean(_pooled((warped(before, field / _FINE, "border") - now).abs().clamp(max=_FAR), CELL // _FINE), 9)
        for field in (found, guess)
    ]
    return torch.where(left[0] < _CLEARLY * left[1], found, guess)


def warped(images: Tensor, field: Tensor, beyond: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Images as a field of motion lays them on the frame it was found for, bilinearly.

    Args:
        images: (N, C, h, w), h and w multiples of the field's.
        field: (N, 2, rows, columns) displacements (right, down) in pixels of `images`.
        beyond: what stands outside the images: 0, or what their border shows.
    """
    return _sampled(images, _everywhere(field, images.shape[2]), beyond)


def warped_sharp(images: Tensor, field: Tensor, count: int) -> Tensor:
    """`warped`, the first `count` channels, in [0, 1], with little blur between pixels.

    Along each direction this is what cubic interpolation (Catmull and Rom 1974) makes: the linear one less that of
    second differences times f·(1 - f)/2, at a fraction f of a pixel. These are taken away before, which is the same
    where the field is smooth. Engines are ten times faster at it than at their own cubic sampling.
    """
    field = _everywhere(field, images.shape[2])
    fraction = field - field.floor()
    across, down = (0.5 * fraction * (1 - fraction)).chunk(2, 1)
    sharp = images[:, :count].float()
    around = pad(sharp, (1, 1, 1, 1), mode="replicate")
    beside = around[:, :, 1:-1, 2:] + around[:, :, 1:-1, :-2]
    above = around[:, :, 2:, 1:-1] + around[:, :, :-2, 1:-1]
    sharp = (1 + 2 * (across + down)) * sharp - across * beside - down * above
    laid = _sampled(torch.cat([sharp, images[:, count:].float()], dim=1), field, "zeros")
    return torch.cat([laid[:, :count].clamp(0, 1), laid[:, count:]], dim=1)


def _everywhere(field: Tensor, height: int) -> Tensor:
    """A field of motion with a vector for each pixel of images of that height."""
    scale = height // field.shape[2]
    return interpolate(field, scale_factor=float(scale), mode="bilinear", align_corners=False) if scale > 1 else field


def _sampled(images: Tensor, field: Tensor, beyond: Literal["zeros", "border"]) -> Tensor:
    height, width = images.shape[2:]
    x = (torch.arange(width, device=images.device, dtype=torch.float32) * 2 + 1) / width - 1
    y = (torch.arange(height, device=images.device, dtype=torch.float32) * 2 + 1) / height - 1
    grid = torch.stack(
        [x[None, None] + field[:, 0] * (2.0 / width), y[None, :, None] + field[:, 1] * (2.0 / height)], dim=3
    )
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode=beyond, align_corners=False)


def _grey(image: Tensor) -> Tensor:
    return 0.299 * image[:, :1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:]


def _mean(values: Tensor, side: int) -> Tensor:
    """Means over windows of side×side, of what lies inside; rows, then columns."""
    half = side // 2
    rows = avg_pool2d(values, (1, side), 1, (0, half), count_include_pad=False)
    return avg_pool2d(rows, (side, 1), 1, (half, 0), count_include_pad=False)


def _matched(now: Tensor, before: Tensor) -> Tensor:
    """Whole displacements (N, 2, h, w) of blocks, smoothed, in pixels of the images (N, 1, h, w)."""
    now, before = now - _mean(now, 9), before - _mean(before, 9)
    height, width = now.shape[2:]
    around = pad(before, (_REACH,) * 4, mode="replicate")
    side = 2 * _REACH + 1
    rows = torch.cat([around[:, :, dy : dy + height] for dy in range(side)], dim=1)
    shifted = torch.cat([rows[:, :, :, dx : dx + width] for dx in range(side)], dim=1)
    change = (shifted - now).abs().clamp(max=_FAR)
    cost = torch.zeros_like(change) + 1e-3
    for window, weight in _WINDOWS:
        change = _mean(change, window)
        cost = cost + weight * change
    prior = torch.tensor([1.0 if place == side**2 // 2 else _STAYS for place in range(side**2)], device=now.device)
    best = (cost * prior.view(1, -1, 1, 1)).argmin(1, keepdim=True)
    field = torch.cat([best // side, best % side], dim=1).float() - _REACH
    texture = _mean((now - _mean(now, 3)).abs(), 5) + 1e-3  # flat blocks match anywhere
    return _mean(field * texture, _SMOOTH) / _mean(texture, _SMOOTH)


def _step(fixed: Tensor, moving: Tensor, cells: int, window: int) -> Tensor:
    """What is missing of the displacement, at most a pixel: one vector for each `cells`×`cells` pixels."""
    around = pad((fixed + moving) / 2, (1, 1, 1, 1), mode="replicate")
    across = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / 2
    down = (around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]) / 2
    error = fixed - moving
    error = error - _spread(error, cells, 2 * window - 1)
    weight = 1 / (1 + (error / (_NOISE + 2 * _spread(error.abs(), cells, 2 * window - 1))) ** 2) ** 2
    x, y = weight * across, weight * down
    products = torch.cat([x * across, x * down, y * down, x * error, y * error], dim=1)
    xx, xy, yy, ex, ey = _mean(_pooled(products, cells), window).chunk(5, 1)
    xx, yy = xx + _FLOOR, yy + _FLOOR
    determinant = xx * yy - xy * xy
    return torch.cat([(yy * ex - xy * ey) / determinant, (xx * ey - xy * ex) / determinant], dim=1).clamp(-1, 1)


def _pooled(values: Tensor, cells: int) -> Tensor:
    return avg_pool2d(values, cells) if cells > 1 else values


def _spread(values: Tensor, cells: int, window: int) -> Tensor:
    """Local means, at the resolution of what is given."""
    means = _mean(_pooled(values, cells), window)
    return interpolate(means, scale_factor=float(cells), mode="bilinear", align_corners=False) if cells > 1 else means
