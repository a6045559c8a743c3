"""How one frame of a scene lies on another: motion of the camera, then small local corrections. NumPy and SciPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from repix._types import Floats, Image
from repix.io.image import resize

_PIXELS = 1_000_000  # motion is found on images of at most so many
_SMALLEST = 40  # pixels on the shorter side of the coarsest level
_STILL = 0.12  # pixels; less is a camera that stands, and no reason to interpolate
_WINDOW = 8.0  # pixels: standard deviation of the window in which a local correction is one
_LOCAL = 4.0  # pixels: the largest local correction, where motion is found
_GRID = 4  # pixels between the points of the field that is kept


@dataclass(frozen=True)
class Motion:
    """Where each place of the reference lies in another frame.

    Attributes:
        field: (h, w, 2) displacements (down, right) in pixels of the frame, on a coarse grid over the whole frame.
        is_still: whether nothing has to be moved.
    """

    field: Floats
    is_still: bool

    def rows(self, top: int, bottom: int, shape: tuple[int, int]) -> Floats:
        """Where rows of a reference of the given (height, width) lie: (rows, width, 2) as (down, right)."""
        from scipy.ndimage import map_coordinates

        height, width = shape
        y, x = np.mgrid[top:bottom, 0:width].astype(np.float32)
        at = (_between(y, height, self.field.shape[0]), _between(x, width, self.field.shape[1]))
        moved = [map_coordinates(self.field[..., axis], at, order=1, mode="nearest") for axis in (0, 1)]
        return np.stack([y + moved[0], x + moved[1]], axis=2)


def find_motion(reference: Image, frame: Image) -> Motion:
    """How a frame lies on the reference; both without rain as far as may be, (H, W, 3) of one size and type."""
    height, width = reference.shape[:2]
    scale = min(1.0, (_PIXELS / (height * width)) ** 0.5)
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    fixed, moving = (_luma(resize(image, size) if scale < 1 else image) for image in (reference, frame))
    grid = tuple(max(2, -(-side // _GRID)) for side in size)
    if min(size) < 16:
        return Motion(np.zeros((*grid, 2), np.float32), True)
    flow = _camera(fixed, moving)
    if float(np.abs(flow).max()) < _STILL:
        return Motion(np.zeros((*grid, 2), np.float32), True)
    flow = flow + _corrections(fixed, moving, flow)
    from scipy.ndimage import map_coordinates

    y, x = np.mgrid[0 : grid[0], 0 : grid[1]].astype(np.float32)
    at = (_between(y, grid[0], size[0]), _between(x, grid[1], size[1]))
    scales = (height / size[0], width / size[1])
    kept = [map_coordinates(flow[..., axis], at, order=1, mode="nearest") * scales[axis] for axis in (0, 1)]
    return Motion(np.stack(kept, axis=2).astype(np.float32), False)


def _between(index: Floats, old: int, new: int) -> Floats:
    """Where the centres of `old` pixels lie among those of `new` that cover the same."""
    return cast(Floats, (index + np.float32(0.5)) * np.float32(new / old) - np.float32(0.5))


def _luma(image: Image) -> Floats:
    """(H, W) in 8-bit levels."""
    level = np.float32(255 / np.iinfo(image.dtype).max)
    return cast(Floats, (image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)) * level)


def _halved(image: Floats) -> Floats:
    from scipy.ndimage import gaussian_filter

    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    smooth: Floats = gaussian_filter(even, 0.7, mode="nearest")
    return cast(Floats, (smooth[::2, ::2] + smooth[1::2, ::2] + smooth[::2, 1::2] + smooth[1::2, 1::2]) / 4)


def _sampled(image: Floats, down: Floats, right: Floats) -> Floats:
    from scipy.ndimage import map_coordinates

    return cast(Floats, map_coordinates(image, (down, right), order=1, mode="nearest"))


def _camera(fixed: Floats, moving: Floats) -> Floats:
    """A homography as displacements (H, W, 2): coarse to fine, from the shift that phase correlation finds.

    Gauss and Newton with weights that fall with the residual (Baker and Matthews 2004, forward compositional), so that
    people who cross take no part; brightness and contrast may change.
    """
    pyramid = [(fixed, moving)]
    while min(pyramid[-1][0].shape) >= 2 * _SMALLEST:
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))
    start = next((i for i, (image, _) in enumerate(pyramid) if max(image.shape) <= 320), len(pyramid) - 1)
    shift = _phase_shift(*pyramid[start]) * 2.0**start
    # centred coordinates in units of the longer side, the same on every level
    found = np.eye(3)
    unit = max(fixed.shape)
    found[:2, 2] = shift[::-1] / unit
    candidates = [np.eye(3), found] if np.abs(shift).max() >= 1 else [np.eye(3)]
    for level in range(len(pyramid) - 1, -1, -1):
        terms = 6 if level > 1 and len(pyramid) > 2 else 8
        refined = [_refined(*pyramid[level], matrix, terms) for matrix in candidates]
        if level <= start:  # the better one alone goes on
            refined = [min(refined, key=lambda pair: pair[1])]
        candidates = [matrix for matrix, _ in refined]
    down, right = _placed(candidates[0], fixed.shape)
    y, x = np.mgrid[0 : fixed.shape[0], 0 : fixed.shape[1]].astype(np.float32)
    return np.stack([down - y, right - x], axis=2).astype(np.float32)


def _placed(matrix: Any, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Where a homography puts every pixel of an image, in pixels (down, right)."""
    height, width = shape
    unit = max(shape)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (x - (width - 1) / 2) / unit, (y - (height - 1) / 2) / unit
    depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    right = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / depth
    down = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / depth
    return (
        cast(Floats, (down * unit + (height - 1) / 2).astype(np.float32)),
        cast(Floats, (right * unit + (width - 1) / 2).astype(np.float32)),
    )


def _phase_shift(fixed: Floats, moving: Floats) -> Any:
    """(down, right) by which `moving` lies off, to a pixel (Kuglin and Hines 1975), by what is not as fine as rain."""
    from scipy.ndimage import gaussian_filter

    window = np.outer(np.hanning(fixed.shape[0]), np.hanning(fixed.shape[1]))
    smooth = (gaussian_filter(np.minimum(image, np.percentile(image, 95)), 2) for image in (fixed, moving))
    a, b = (np.fft.rfft2((image - image.mean()) * window) for image in smooth)
    cross = b * np.conj(a)
    peak = np.fft.irfft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).max() + 1e-12), s=fixed.shape)
    place = np.array(np.unravel_index(int(np.argmax(peak)), peak.shape), float)
    size = np.array(fixed.shape)
    return np.where(place > size / 2, place - size, place)


def _refined(fixed: Floats, moving: Floats, matrix: Any, terms: int) -> tuple[Any, float]:
    """A homography refined on one level, and the median residual that it leaves."""
    height, width = fixed.shape
    unit = max(fixed.shape)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (x - (width - 1) / 2) / unit, (y - (height - 1) / 2) / unit
    residual = np.inf
    for _ in range(12):
        down, right = _placed(matrix, fixed.shape)
        warped = _sampled(moving, down, right)
        inside = (down >= 0) & (down <= height - 1) & (right >= 0) & (right <= width - 1)
        if inside.mean() < 0.2:
            return matrix, float("inf")
        gy, gx = (gradient * unit for gradient in cast(tuple[Floats, Floats], np.gradient(warped)))
        error = fixed - warped
        error -= np.median(error[inside])
        spread = 1.4826 * float(np.median(np.abs(error[inside]))) + 0.5
        residual = spread
        weight = inside / (1 + (error / (2 * spread)) ** 2) ** 2
        columns = [gx * x, gx * y, gx, gy * x, gy * y, gy]
        if terms == 8:
            along = gx * x + gy * y
            columns += [-along * x, -along * y]
        columns += [warped - warped.mean(), np.ones_like(warped)]  # contrast and brightness
        jacobian = np.stack([column.ravel() for column in columns])
        weighted = jacobian * weight.ravel()
        gram = weighted @ jacobian.T
        gram += np.diag(1e-6 * np.diag(gram) + 1e-9)
        step = np.linalg.solve(gram.astype(float), (weighted @ error.ravel()).astype(float))
        delta = np.array([[1 + step[0], step[1], step[2]], [step[3], 1 + step[4], step[5]], [0, 0, 1.0]])
        if terms == 8:
            delta[2, :2] = step[6], step[7]
        matrix = matrix @ delta
        matrix = matrix / matrix[2, 2]
        if float(np.abs(step[:6]).max()) * unit < 0.01:
            break
    return matrix, residual


def _corrections(fixed: Floats, moving: Floats, flow: Floats) -> Floats:
    """Local displacements (H, W, 2) beyond `flow`, smooth and small (Lucas and Kanade 1981)."""
    from scipy.ndimage import gaussian_filter

    y, x = np.mgrid[0 : fixed.shape[0], 0 : fixed.shape[1]].astype(np.float32)
    local = np.zeros_like(flow)

    def smooth(image: Floats, width: float = _WINDOW) -> Floats:
        return cast(Floats, gaussian_filter(image, width, mode="nearest", truncate=2.5))

    for _ in range(6):
        warped = _sampled(moving, y + flow[..., 0] + local[..., 0], x + flow[..., 1] + local[..., 1])
        gy, gx = cast(tuple[Floats, Floats], np.gradient((warped + fixed) / 2))
        error = fixed - warped
        error -= smooth(error, 3 * _WINDOW)
        spread = 1.4826 * float(np.median(np.abs(error))) + 1
        weight = (1 / (1 + (error / (2 * spread)) ** 2) ** 2).astype(np.float32)
        xx, xy, yy = smooth(weight * gx * gx), smooth(weight * gx * gy), smooth(weight * gy * gy)
        ex, ey = smooth(weight * gx * error), smooth(weight * gy * error)
        floor = 0.02 * float((xx + yy).mean()) + 0.5  # where nothing is seen nothing moves
        xx, yy = xx + floor, yy + floor
        determinant = xx * yy - xy * xy
        step = np.stack([(xx * ey - xy * ex) / determinant, (yy * ex - xy * ey) / determinant], axis=2)
        local += np.clip(step, -1, 1).astype(np.float32)
        np.clip(local, -_LOCAL, _LOCAL, out=local)
        if float(np.abs(step).max()) < 0.05:
            break
    length = np.hypot(local[..., 0], local[..., 1])[..., None]
    local *= np.maximum(0, 1 - _STILL / np.maximum(length, 1e-6))
    return local
