"""The discrete Poisson equation on the pixels of a mask, for NumPy arrays and torch tensors alike.

The unknowns u are the pixels of a mask inside a frame, and for each of them

    sum over its neighbours q inside the frame of (u_p - u_q)  =  b_p,        u_q = 0 where q is outside the mask

which is eq. 7 of Perez, Gangnet, Blake, "Poisson Image Editing" (SIGGRAPH 2003), written for a correction that vanishes
outside the mask. Edges of the frame are free (Neumann): a pixel there simply has fewer neighbours.

- A full rectangle with like edges on opposite sides is solved at once by sine or cosine transforms.
- Every other mask: conjugate gradients preconditioned by one V-cycle of geometric multigrid. Coarse grids take every
  second pixel, prolongation is bilinear and cut off at the mask, and the coarse operators are the Galerkin products
  P'AP (nine-point stencils, stored as arrays). Being projections they cannot diverge, whatever the mask looks like:
  spirals one pixel wide and noise converge like discs. The smoother is Chebyshev-Jacobi, scaled by each row's sum of
  absolute values, so that its bound holds in every row (Baker, Falgout, Kolev, Yang, SIAM J. Sci. Comput. 33, 2011).
- Should that not converge within a hard cap of iterations, a sparse direct solve answers instead.

Large arrays meet only slices and `add`, `subtract`, `multiply` with `out=`, which NumPy and torch spell alike, so a
torch tensor is solved on its own device, and this module never imports torch. The finest grid is worked in strips of
rows that stay in a processor's cache.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse
import scipy.sparse.linalg

Array = Any  # a NumPy array or a torch tensor
Stencil = dict[tuple[int, int], Array]  # (dy, dx) -> (h, w): the matrix entry that couples a pixel to that neighbour

_COARSEST = 144  # cells at or below which a grid is inverted as a dense matrix
# Inverse roots of the Chebyshev polynomial of degree 2 on [1/4, 1], the part of the spectrum (scaled by row sums) that
# coarse grids cannot see. Two sweeps before and two after the coarse grid keep the cycle symmetric, as conjugate
# gradients need it.
_OMEGAS = tuple(float(1 / (0.625 + 0.375 * np.cos(np.pi * (k + 0.5) / 2))) for k in range(2))


_check: ContextVar[Callable[[], None] | None] = ContextVar("check", default=None)


@contextlib.contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Let work on a large image be ended from outside while the block runs.

    Args:
        check: called by `checkpoint`, a few times a second; what it raises ends the work.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def checkpoint() -> None:
    """Where work may be ended; see `interruptible`."""
    check = _check.get()
    if check is not None:
        check()


@dataclass(frozen=True)
class Solution:
    """What `solve_poisson` returns.

    Attributes:
        x: the solution `(C, H, W)`, zero outside the mask; of the right-hand side's kind, type and device.
        error: estimate of the largest error of any pixel, in the units of the right-hand side.
        iterations: V-cycles used, 0 where none was needed.
        method: "transform", "multigrid" or "direct".
    """

    x: Array
    error: float
    iterations: int
    method: str


class _NumPy:
    """The few things that NumPy and torch spell differently."""

    xp: Any = np
    strip = 128 * 1024  # elements in a strip of rows: the few such buffers in flight together fit a cache

    def __init__(self, like: Array) -> None:
        self.like = like

    def zeros(self, *shape: int) -> Array:
        return np.zeros(shape, self.like.dtype)

    def array(self, values: Array) -> Array:
        return np.asarray(values, self.like.dtype)

    def numpy(self, values: Array) -> np.ndarray[Any, Any]:
        return np.asarray(values)

    def max_abs(self, values: Array) -> float:
        return max(float(values.max()), -float(values.min()))


class _Torch(_NumPy):
    def __init__(self, like: Array) -> None:
        super().__init__(like)
        self.xp = sys.modules["torch"]
        if like.device.type != "cpu":
            self.strip = sys.maxsize

    def zeros(self, *shape: int) -> Array:
        return self.like.new_zeros(shape)

    def array(self, values: Array) -> Array:
        return self.xp.as_tensor(values, dtype=self.like.dtype, device=self.like.device)

    def numpy(self, values: Array) -> np.ndarray[Any, Any]:
        return np.asarray(values.cpu().numpy())


def _backend(array: Array) -> _NumPy:
    torch = sys.modules.get("torch")
    return _Torch(array) if torch is not None and isinstance(array, torch.Tensor) else _NumPy(array)


class _Grid:
    """One grid of the hierarchy: its operator, smoother and transfer to the next coarser grid.

    Args:
        backend: NumPy or torch.
        mask: `(h, w)`, 1 for unknowns and 0 elsewhere.
        stencil: the operator; None for the finest grid, where it is the five-point Laplacian.
        free: whether the top, bottom, left and right side of the box is an edge of the frame.
        channels: C; vectors are `(C, h, w)`, some with a margin of one zero on each side.
    """

    def __init__(
        self, backend: _NumPy, mask: Array, stencil: Stencil | None, free: tuple[bool, bool, bool, bool], channels: int
    ) -> None:
        self.backend, self.mask, self.free = backend, mask, free
        h, w = self.shape = (int(mask.shape[0]), int(mask.shape[1]))
        matrix = _five_point(backend, mask, free) if stencil is None else stencil
        total = sum(abs(entries) for entries in matrix.values())
        self.weights = [mask * omega / (total + (1 - mask)) for omega in _OMEGAS]
        self.minus = None if stencil is None else {offset: -entries for offset, entries in stencil.items()}

        rows = max(2, backend.strip // (channels * w) // 2 * 2)
        self.strips = [(top, min(h, top + rows)) for top in range(0, h, rows)]
        rows = min(h, rows)
        zeros = backend.zeros
        self.b = zeros(channels, h, w)
        self.x, self._next = zeros(channels, h + 2, w + 2), zeros(channels, h + 2, w + 2)
        self._t, self._u = zeros(channels, rows, w), zeros(channels, rows, w)
        self._right, self._down = zeros(channels, rows, w + 1), zeros(channels, rows + 1, w)

        self.inverse: Array | None = None
        self.coarse: _Grid | None = None
        coarse_mask = mask[::2, ::2]
        if h * w <= _COARSEST:
            inside = backend.numpy(mask).ravel() > 0
            self.inverse = np.zeros((h * w, h * w))
            self.inverse[np.ix_(inside, inside)] = np.linalg.inv(_sparse(backend, mask, matrix).toarray())
            self.inverse = backend.array(self.inverse)
        elif bool((coarse_mask > 0).any()):
            wc = coarse_mask.shape[1]
            self._rows = zeros(channels, rows // 2 + 1, wc)
            self._columns = zeros(channels, rows, wc)
            self.coarse = _Grid(backend, coarse_mask, _galerkin(matrix, coarse_mask, free), free, channels)

    def minus_a(self, x: Array, top: int, bottom: int) -> Array:
        """-A x on some rows, for x with a margin. The array returned is overwritten by the next call."""
        xp, t, w = self.backend.xp, self._t[:, : bottom - top], self.shape[1]
        if self.minus is not None:
            u = self._u[:, : bottom - top]
            xp.multiply(x[:, top + 1 : bottom + 1, 1:-1], self.minus[0, 0][top:bottom], out=t)
            for (dy, dx), entries in self.minus.items():
                if (dy, dx) != (0, 0):
                    xp.multiply(x[:, top + 1 + dy : bottom + 1 + dy, 1 + dx : 1 + dx + w], entries[top:bottom], out=u)
                    xp.add(t, u, out=t)
            return t
        # Differences of differences: exact for constant x of any size, which keeps float32 honest where a few pixels
        # alone hold a large region in place.
        right, down = self._right[:, : bottom - top], self._down[:, : bottom - top + 1]
        xp.subtract(x[:, top + 1 : bottom + 1, 1:], x[:, top + 1 : bottom + 1, :-1], out=right)
        xp.subtract(x[:, top + 1 : bottom + 2, 1:-1], x[:, top : bottom + 1, 1:-1], out=down)
        if self.free[0] and top == 0:
            down[:, 0] = 0
        if self.free[1] and bottom == self.shape[0]:
            down[:, -1] = 0
        if self.free[2]:
            right[..., 0] = 0
        if self.free[3]:
            right[..., -1] = 0
        xp.subtract(right[..., 1:], right[..., :-1], out=t)
        xp.add(t, down[:, 1:], out=t)
        return xp.subtract(t, down[:, :-1], out=t)

    def cycle(self, b: Array) -> Array:
        """One V-cycle for A x = b from x = 0; b is `(C, h, w)` and may be anything outside the mask.

        Returns x with a margin, overwritten by the next cycle.
        """
        xp, inner = self.backend.xp, (slice(None), slice(1, -1), slice(1, -1))
        if self.inverse is not None:
            self.x[inner] = (b.reshape(len(b), -1) @ self.inverse).reshape(b.shape)
            return self.x
        xp.multiply(b, self.weights[0], out=self.x[inner])
        for weight in self.weights[1:]:
            self._smooth(b, weight)
        if self.coarse is not None:
            self._restrict_residual(b)
            self._prolong(self.coarse.cycle(self.coarse.b))
        for weight in self.weights:
            self._smooth(b, weight)
        return self.x

    def _smooth(self, b: Array, weight: Array) -> None:
        xp = self.backend.xp
        for top, bottom in self.strips:
            t = self.minus_a(self.x, top, bottom)
            xp.add(t, b[:, top:bottom], out=t)
            xp.multiply(t, weight[top:bottom], out=t)
            rows = (slice(None), slice(top + 1, bottom + 1), slice(1, -1))
            xp.add(self.x[rows], t, out=self._next[rows])
        self.x, self._next = self._next, self.x

    def _restrict_residual(self, b: Array) -> None:
        """coarse.b = P' (b - A x)."""
        assert self.coarse is not None
        xp, (h, w), (hc, wc) = self.backend.xp, self.shape, self.coarse.shape
        out = self.coarse.b
        out[:] = 0
        for top, bottom in self.strips:
            t = self.minus_a(self.x, top, bottom)
            xp.add(t, b[:, top:bottom], out=t)
            xp.multiply(t, self.mask[top:bottom], out=t)
            c = self._columns[:, : bottom - top]
            c[:] = t[..., 0::2]
            odd = t[..., 1::2]
            xp.multiply(odd, 0.5, out=odd)
            c[..., : w // 2] += odd
            c[..., 1:] += odd[..., : wc - 1]
            if self.free[3] and w % 2 == 0:  # past the last coarse pixel, constant instead of linear
                c[..., -1] += odd[..., -1]
            first = top // 2
            even, odd = c[:, 0::2], c[:, 1::2]
            out[:, first : first + even.shape[1]] += even
            xp.multiply(odd, 0.5, out=odd)
            out[:, first : first + odd.shape[1]] += odd
            below = min(odd.shape[1], hc - first - 1)
            out[:, first + 1 : first + 1 + below] += odd[:, :below]
            if self.free[1] and bottom == h and h % 2 == 0:
                out[:, -1] += odd[:, -1]

    def _prolong(self, e: Array) -> None:
        """x += P e."""
        assert self.coarse is not None
        xp, (h, w), (hc, _) = self.backend.xp, self.shape, self.coarse.shape
        for top, bottom in self.strips:
            first, odd_rows = top // 2, (bottom - top) // 2
            c = self._columns[:, : bottom - top]
            c[:, 0::2] = e[:, 1 + first : 1 + (bottom + 1) // 2, 1:-1]
            between = c[:, 1::2]
            xp.add(
                e[:, 1 + first : 1 + first + odd_rows, 1:-1], e[:, 2 + first : 2 + first + odd_rows, 1:-1], out=between
            )
            xp.multiply(between, 0.5, out=between)
            if self.free[1] and bottom == h and h % 2 == 0:
                between[:, -1] = e[:, hc, 1:-1]
            t = self._t[:, : bottom - top]
            t[..., 0::2] = c
            between = t[..., 1::2]
            between[:] = c[..., : w // 2]
            between[..., : c.shape[-1] - 1] += c[..., 1:]
            xp.multiply(between, 0.5, out=between)
            if self.free[3] and w % 2 == 0:
                between[..., -1] = c[..., -1]
            xp.multiply(t, self.mask[top:bottom], out=t)
            rows = self.x[:, top + 1 : bottom + 1, 1:-1]
            xp.add(rows, t, out=rows)


def _five_point(backend: _NumPy, mask: Array, free: tuple[bool, bool, bool, bool]) -> Stencil:
    neighbours = backend.zeros(*mask.shape) + 4
    neighbours[0] -= float(free[0])
    neighbours[-1] -= float(free[1])
    neighbours[:, 0] -= float(free[2])
    neighbours[:, -1] -= float(free[3])
    right, down = backend.zeros(*mask.shape), backend.zeros(*mask.shape)
    left, up = backend.zeros(*mask.shape), backend.zeros(*mask.shape)
    right[:, :-1] = left[:, 1:] = -(mask[:, :-1] * mask[:, 1:])
    down[:-1] = up[1:] = -(mask[:-1] * mask[1:])
    return {(0, 0): neighbours * mask, (0, -1): left, (0, 1): right, (-1, 0): up, (1, 0): down}


def _galerkin(fine: Stencil, coarse_mask: Array, free: tuple[bool, bool, bool, bool]) -> Stencil:
    """P'AP for bilinear P, one axis after the other, cut to the coarse mask."""
    half = {}
    for dy in (-1, 0, 1):
        triple = _galerkin_along(fine.get((dy, -1)), fine[dy, 0], fine.get((dy, 1)), free[3])
        half.update({(dy, dx): entries for dx, entries in zip((-1, 0, 1), triple, strict=True)})
    stencil = {}
    for dx in (-1, 0, 1):
        above, centre, below = (half[dy, dx].swapaxes(0, 1) for dy in (-1, 0, 1))
        triple = _galerkin_along(above, centre, below, free[1])
        stencil.update({(dy, dx): entries.swapaxes(0, 1) for dy, entries in zip((-1, 0, 1), triple, strict=True)})
    h, w = coarse_mask.shape
    for (dy, dx), entries in stencil.items():
        entries *= coarse_mask
        here = (slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx)))
        there = (slice(max(0, dy), h - max(0, -dy)), slice(max(0, dx), w - max(0, -dx)))
        entries[here] *= coarse_mask[there]
    return stencil


def _galerkin_along(before: Array | None, centre: Array, after: Array | None, free: bool) -> tuple[Array, Array, Array]:
    """P'AP along the last axis: odd pixels lie halfway between the coarse pixels, which are the even ones.

    Args:
        before, centre, after: `(m, n)`, the coupling of each pixel to the one before it, itself and the one after it.
        free: whether an odd pixel at the end copies its coarse neighbour instead of halving it.
    """
    n = centre.shape[-1]
    odd, inner = n // 2, (n + 1) // 2 - 1  # odd pixels; odd pixels with a coarse pixel on either side
    end = slice(inner, odd)  # the odd pixel past the last coarse one, if n is even
    tail = 1.0 if free else 0.5

    c = centre[..., 0::2] + 0
    between = centre[..., 1::2] * 0.25
    c[..., :inner] += between[..., :inner]
    c[..., 1:] += between[..., :inner]
    c[..., end] += between[..., end] * (4 * tail * tail)
    a, b = c * 0, c * 0
    a[..., :inner] = between[..., :inner]
    if after is not None and before is not None:
        to_odd, from_odd = after[..., 0::2], before[..., 1::2]  # even pixel to the odd one after it, and back
        c[..., :inner] += 0.5 * (to_odd[..., :inner] + from_odd[..., :inner])
        c[..., end] += tail * (to_odd[..., end] + from_odd[..., end])
        onward, back = after[..., 1::2], before[..., 0::2]  # odd pixel to the even one after it, and back
        c[..., 1:] += 0.5 * (onward[..., :inner] + back[..., 1:])
        b[..., 1:] = a[..., :inner] + 0.5 * (from_odd[..., :inner] + back[..., 1:])
        a[..., :inner] += 0.5 * (to_odd[..., :inner] + onward[..., :inner])
    else:
        b[..., 1:] = a[..., :inner]
    return b, c, a


def _sparse(backend: _NumPy, mask: Array, stencil: Stencil) -> scipy.sparse.csc_matrix:
    inside = backend.numpy(mask) > 0
    number = np.cumsum(inside).reshape(inside.shape) - 1
    data, rows, columns = [], [], []
    for (dy, dx), values in stencil.items():
        entries = backend.numpy(values)
        y, x = np.nonzero(entries)
        data.append(entries[y, x].astype(np.float64))
        rows.append(number[y, x])
        columns.append(number[y + dy, x + dx])
    n = int(inside.sum())
    return scipy.sparse.csc_matrix(
        (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)
    )


def solve_poisson(
    b: Array, mask: np.ndarray[Any, Any], *, tolerance: float = 0.25, max_iterations: int = 40
) -> Solution:
    """Solves the Poisson equation on a mask; see the head of this module for the equation and the method.

    Args:
        b: right-hand side `(C, H, W)`, float32 or float64, a NumPy array or a torch tensor; finite inside the mask.
        mask: `(H, W)`, True for the unknowns. The sides of this array are the free edges of the frame.
        tolerance: stop when the estimated error of every pixel is at most this, in the units of b.
        max_iterations: V-cycles after which a sparse direct solve takes over.

    Returns:
        Solution. If the mask covers the whole frame, the solution is only given up to a constant: the one with mean 0
        is returned, for b less its mean.
    """
    backend = _backend(b)
    x = backend.zeros(*b.shape)
    if not mask.any():
        return Solution(x, 0.0, 0, "transform")
    box, free = _bounding_box(mask)
    mask, b = mask[box], b[(slice(None), *box)]
    if mask.all() and free[0] == free[1] and free[2] == free[3]:
        values, error = _transform(backend.numpy(b), free[0], free[2])
        if error > tolerance:
            values, error = _transform(backend.numpy(b).astype(np.float64), free[0], free[2])
        x[(slice(None), *box)] = backend.array(values)
        return Solution(x, error, 0, "transform")

    checkpoint()
    grid = _Grid(backend, backend.array(mask), None, free, b.shape[0])
    checkpoint()
    estimate = float("inf")
    for iteration, (estimate, solution, correction) in enumerate(_conjugate_gradients(grid, b), 1):
        checkpoint()
        if estimate <= tolerance:
            backend.xp.add(solution, correction, out=x[(slice(None), *box)])
            return Solution(x, estimate, iteration, "multigrid")
        if iteration >= max_iterations or not np.isfinite(estimate):
            break
    values, error = _direct(backend.numpy(b), mask, free)
    x[(slice(None), *box)] = backend.array(values)
    return Solution(x, error, max_iterations, "direct")


def v_cycle(mask: np.ndarray[Any, Any], like: Array) -> Callable[[Array], Array]:
    """One V-cycle as a function: an approximate inverse of the operator, symmetric and positive, linear.

    Args:
        mask: as in `solve_poisson`; it must leave some pixel of the frame out.
        like: an array `(C, H, W)` whose type, device and C the later arguments share.

    Returns:
        A function from b to the approximate x, both `(C, H, W)`.
    """
    box, free = _bounding_box(mask)
    backend = _backend(like)
    grid = _Grid(backend, backend.array(mask[box]), None, free, like.shape[0])

    def apply(b: Array) -> Array:
        x = backend.zeros(*b.shape)
        x[(slice(None), *box)] = grid.cycle(b[(slice(None), *box)])[:, 1:-1, 1:-1]
        return x

    return apply


def _bounding_box(mask: np.ndarray[Any, Any]) -> tuple[tuple[slice, slice], tuple[bool, bool, bool, bool]]:
    """The box of a mask's pixels, and which of its sides (top, bottom, left, right) are edges of the frame."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    free = (top == 0, bottom == mask.shape[0], left == 0, right == mask.shape[1])
    return (slice(top, bottom), slice(left, right)), free


def _conjugate_gradients(grid: _Grid, b: Array) -> Iterator[tuple[float, Array, Array]]:
    """Yields, for each V-cycle, the estimated error, the solution so far and a last correction to add to it.

    The V-cycle's answer to the residual is an estimate of the error, and the last correction. Over a hundred masks,
    from discs to noise, the largest error left after adding it was 0.02 to 1.8 times the largest correction, so twice
    that is the estimate. (The residual itself says nothing about the error in grey levels.)
    """
    backend, xp = grid.backend, grid.backend.xp
    inner = (slice(None), slice(1, -1), slice(1, -1))
    r, (c, h, w) = b + 0, b.shape
    x, q, p = backend.zeros(c, h, w), backend.zeros(c, h, w), backend.zeros(c, h + 2, w + 2)
    rz_before = None
    while True:
        z = grid.cycle(r)[inner]
        yield 2 * backend.max_abs(z), x, z
        rz = sum(xp.einsum("chw,chw->c", z[:, i:j], r[:, i:j]) for i, j in grid.strips)
        beta = 0 * rz if rz_before is None else _ratio(rz, rz_before)
        rz_before, pq = rz, 0 * rz
        xp.multiply(p[inner], beta[:, None, None], out=p[inner])
        xp.add(p[inner], z, out=p[inner])
        for top, bottom in grid.strips:
            q[:, top:bottom] = grid.minus_a(p, top, bottom)
            pq -= xp.einsum("chw,chw->c", p[inner][:, top:bottom], q[:, top:bottom])
        alpha = _ratio(rz, pq)[:, None, None]
        xp.multiply(q, alpha, out=q)
        xp.add(r, q, out=r)
        xp.multiply(p[inner], alpha, out=q)
        xp.add(x, q, out=x)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Their quotient, 0 for channels that have nothing left to solve."""
    none = denominator == 0
    return numerator / (denominator + none) * ~none


def _transform(b: np.ndarray[Any, Any], free_rows: bool, free_columns: bool) -> tuple[np.ndarray[Any, Any], float]:
    """A full rectangle: the sine (fixed sides) or cosine (free sides) transform turns the operator into a product."""
    h, w = b.shape[1:]

    def eigenvalues(n: int, free: bool) -> np.ndarray[Any, Any]:
        k = np.arange(n)
        return 2 - 2 * np.cos(np.pi * k / n if free else np.pi * (k + 1) / (n + 1))

    forward = [scipy.fft.dct if free else scipy.fft.dst for free in (free_rows, free_columns)]
    inverse = [scipy.fft.idct if free else scipy.fft.idst for free in (free_rows, free_columns)]
    kinds = [2 if free else 1 for free in (free_rows, free_columns)]
    total = eigenvalues(h, free_rows)[:, None] + eigenvalues(w, free_columns)
    singular = free_rows and free_columns
    if singular:
        total[0, 0] = 1
    x = b
    for axis in (0, 1):
        x = forward[axis](x, type=kinds[axis], axis=axis + 1, overwrite_x=axis == 1)
    x /= total.astype(b.dtype)
    if singular:
        x[:, 0, 0] = 0
    for axis in (0, 1):
        x = inverse[axis](x, type=kinds[axis], axis=axis + 1, overwrite_x=True)
    # Exact but for rounding, which grows with the size: up to 0.5 n eps of the largest value was seen for n x n
    rounding = float(np.finfo(b.dtype).eps) * max(32, (h + w) / 2)
    return x, rounding * float(np.abs(x).max())


def _direct(
    b: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], free: tuple[bool, bool, bool, bool]
) -> tuple[np.ndarray[Any, Any], float]:
    backend = _NumPy(np.zeros(0))
    matrix = _sparse(backend, backend.array(mask), _five_point(backend, backend.array(mask), free))
    factors = scipy.sparse.linalg.splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    right = b[:, mask].astype(np.float64).T
    u = factors.solve(right)
    error = float(np.abs(factors.solve(right - matrix @ u)).max())
    x = np.zeros(b.shape)
    x[:, mask] = u.T
    return x, error
