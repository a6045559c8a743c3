"""Poisson blending against its peers: seconds and largest error against the exact solution.

    python benchmarks/blend.py [--unknowns 10000 250000 2000000] [--output DIR] [--slow]

Three channels, one thread, processor time, median of several runs; every peer in the same run. Peers that are not
installed are left out, with a word: pip install pyamg opencv-python-headless fpie pie-torch (and torch for ours in
torch and for gradient descent (Adam)). `--slow` adds those that take minutes. Writes
benchmarks/results/blend.csv, which report.py makes the table of docs/results.md from, and docs/images/blend/time.webp.

The images are synthetic: two clouds of noise at all scales, so that source and target disagree everywhere. The exact
solution is our float64 solve to 1e-7, itself compared with SciPy's sparse direct solve wherever that is run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg

from common import IMAGES, RESULTS, write_rows
from repix.poisson.blend import blend
from repix.poisson.solver import solve_poisson

Array = np.ndarray[Any, Any]


@dataclass
class Row:
    shape: str
    unknowns: int
    method: str
    seconds: float
    error_levels: float | None
    changed_outside: int | None  # largest change outside the mask, where the method returns an image
    note: str


def irregular_mask(size: int) -> Array:
    """A blob with a wavy outline and twelve round holes, filling half of its square."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle, radius = np.arctan2(y, x), np.hypot(y, x) / (size / 2)
    outline = 0.8 + sum(rng.normal(0, 0.06) * np.cos(k * angle + rng.uniform(0, 6.28)) for k in range(2, 12))
    mask = radius < np.minimum(outline + 0.02 * np.cos(60 * angle), 0.98)
    for _ in range(12):
        cy, cx = rng.uniform(-0.2, 0.2, 2) * size
        mask &= np.hypot(y - cy, x - cx) > rng.uniform(0.01, 0.04) * size
    return mask


def square_mask(size: int) -> Array:
    mask = np.zeros((size, size), bool)
    mask[1:-1, 1:-1] = True
    return mask


def mask_with(unknowns: int, shape: str) -> Array:
    """A mask of at least so many pixels, and hardly more."""
    if shape == "square":
        return square_mask(int(np.ceil(unknowns**0.5)) + 2)
    size = int((unknowns / irregular_mask(400).mean()) ** 0.5)
    while (mask := irregular_mask(size)).sum() < unknowns:
        size += max(1, size // 400)
    return mask


def clouds(size: int, seed: int) -> Array:
    """A synthetic image `(size, size, 3)` uint8 with detail at all scales."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.float32)
    step = size
    while step >= 1:
        coarse = rng.normal(size=(size // step + 3, size // step + 3, 3)).astype(np.float32)
        layer = scipy.ndimage.zoom(coarse, (step, step, 1), order=1)[:size, :size]
        image += layer * step**0.5
        step //= 2
    low, high = np.percentile(image, [1, 99])
    return np.clip((image - low) / (high - low) * 255, 0, 255).astype(np.uint8)


@dataclass
class Problem:
    shape: str
    source: Array
    target: Array
    mask: Array
    b: Array  # (3, H, W) float64, for the correction
    exact: Array  # (H, W, 3) float64, the blended image, not clipped

    @property
    def unknowns(self) -> int:
        return int(self.mask.sum())

    def error_of_correction(self, x: Array) -> float:
        return float(np.abs(self.source[self.mask] + x[:, self.mask].T - self.exact[self.mask]).max())

    def error_of_image(self, image: Array) -> float:
        return float(np.abs(np.clip(self.exact[self.mask], 0, 255) - image[self.mask]).max())

    def matrix(self) -> scipy.sparse.csr_matrix:
        number = np.cumsum(self.mask).reshape(self.mask.shape) - 1
        rows, columns = [], []
        for a, b in (
            (np.s_[:-1], np.s_[1:]),
            (np.s_[:, :-1], np.s_[:, 1:]),
        ):
            both = self.mask[a] & self.mask[b]
            rows += [number[a][both], number[b][both]]
            columns += [number[b][both], number[a][both]]
        r, c, n = np.concatenate(rows), np.concatenate(columns), self.unknowns
        return scipy.sparse.csr_matrix((-np.ones(len(r)), (r, c)), (n, n)) + 4 * scipy.sparse.identity(n, format="csr")


def make_problem(unknowns: int, shape: str) -> Problem:
    mask = mask_with(unknowns, shape)
    size = len(mask)
    source, target = clouds(size, 1), clouds(size, 2)
    difference = np.where(mask[..., None], 0, target.astype(float) - source)
    b = np.zeros_like(difference)
    b[1:] += difference[:-1]
    b[:-1] += difference[1:]
    b[:, 1:] += difference[:, :-1]
    b[:, :-1] += difference[:, 1:]
    b = np.ascontiguousarray((b * mask[..., None]).transpose(2, 0, 1))
    solution = solve_poisson(b, mask, tolerance=1e-7)
    exact = np.where(mask[..., None], source + solution.x.transpose(1, 2, 0), target)
    return Problem(shape, source, target, mask, b, exact)


def timed(run: Callable[[], Any], budget: float = 4.0) -> tuple[float, Any]:
    """Median processor seconds of 1 to 9 runs, after one that is not counted if it is short."""
    times: list[float] = []
    result = None
    while len(times) < 9 and (not times or sum(times) < budget):
        start = time.process_time()
        result = run()
        times.append(time.process_time() - start)
    return statistics.median(times[1:] or times), result


def whole_run(run: Callable[[int], Any], steps: int, done: int) -> tuple[float, Any]:
    """Seconds of so many steps, from the first ones where `done` is fewer; setting up is counted once."""
    seconds, result = timed(lambda: run(done))
    if done < steps:
        twice, result = timed(lambda: run(2 * done))
        seconds += (twice - seconds) * (steps - done) / done
    return seconds, result


def ours(p: Problem) -> Iterator[Row]:
    seconds, (image, report) = timed(lambda: blend(p.source, p.target, mask=p.mask))
    outside = np.abs(image[~p.mask].astype(int) - p.target[~p.mask]).max()
    note = f"{report.iterations} cycles" if report.iterations else report.method
    error = p.error_of_image(image)
    yield Row(p.shape, p.unknowns, "repix.blend, image to image", seconds, error, int(outside), f"{note}; rounded")
    b = p.b.astype(np.float32)
    seconds, solution = timed(lambda: solve_poisson(b, p.mask))
    yield Row(p.shape, p.unknowns, "repix solver, NumPy", seconds, p.error_of_correction(solution.x), None, note)
    try:
        import torch
    except ModuleNotFoundError:
        print("torch is not installed: left out")
        return
    torch.set_num_threads(1)
    t = torch.from_numpy(b)
    seconds, solution = timed(lambda: solve_poisson(t, p.mask))
    error = p.error_of_correction(solution.x.numpy())
    yield Row(p.shape, p.unknowns, "repix solver, torch", seconds, error, None, note)


def opencv(p: Problem) -> Iterator[Row]:
    import cv2

    cv2.setNumThreads(1)
    rows, columns = np.flatnonzero(p.mask.any(1)), np.flatnonzero(p.mask.any(0))
    centre = (int(columns[0] + columns[-1] + 1) // 2, int(rows[0] + rows[-1] + 1) // 2)
    middle = (len(p.mask) // 2, len(p.mask) // 2)
    flags = [("OpenCV seamlessClone", "NORMAL_CLONE", centre)]  # by the middle of the mask
    flags += [("OpenCV seamlessClone, wide", "NORMAL_CLONE_WIDE", middle)]  # by that of the source, from 4.11 on
    for name, flag, point in flags:
        if not hasattr(cv2, flag):
            print(f"OpenCV {cv2.__version__} has no {flag}: left out")
            continue

        def run(flag: str = flag, point: tuple[int, int] = point) -> Array:
            white = p.mask.astype(np.uint8) * 255  # anew: OpenCV changes the mask that it is given
            image: Array = cv2.seamlessClone(p.source, p.target, white, point, getattr(cv2, flag))
            return image

        seconds, image = timed(run)
        outside = np.abs(image[~p.mask].astype(int) - p.target[~p.mask]).max()
        yield Row(p.shape, p.unknowns, name, seconds, p.error_of_image(image), int(outside), cv2.__version__)


def pie_torch(p: Problem) -> Iterator[Row]:
    import pietorch
    import torch

    torch.set_num_threads(1)

    def run() -> Array:
        source, target = (torch.from_numpy(x.astype(np.float32) / 255) for x in (p.source, p.target))
        mask = torch.from_numpy(p.mask.astype(np.float32))
        blended = pietorch.blend(target, source, mask, torch.tensor([0, 0]), False, channels_dim=2)
        image: Array = np.clip(np.rint(blended.numpy() * 255), 0, 255).astype(np.uint8)
        return image

    seconds, image = timed(run)
    outside = np.abs(image[~p.mask].astype(int) - p.target[~p.mask]).max()
    yield Row(p.shape, p.unknowns, "pie-torch", seconds, p.error_of_image(image), int(outside), "one Fourier transform")


def fpie(p: Problem) -> Iterator[Row]:
    import fpie.process

    steps = 5000
    done = steps if p.unknowns < 1_000_000 else 100

    def run(count: int) -> Array:
        solver = fpie.process.EquProcessor("src", "numba", 1, 100, 1024)
        solver.reset(p.source, p.mask.astype(np.uint8) * 255, p.target, (0, 0), (0, 0))
        image: Array = solver.step(count)[0]
        return image

    run(1)  # compiles
    seconds, image = whole_run(run, steps, done)
    note = "its 5,000 iterations, numba" if done == steps else f"its 5,000 iterations, from {done}"
    error = p.error_of_image(image) if done == steps else None
    yield Row(p.shape, p.unknowns, "fpie", seconds, error, None, note)


def scipy_cg(p: Problem) -> Iterator[Row]:
    def run() -> Array:
        matrix, x = p.matrix(), np.zeros_like(p.b)
        for channel in range(3):
            x[channel, p.mask] = scipy.sparse.linalg.cg(matrix, p.b[channel, p.mask], rtol=1e-5)[0]
        return x

    seconds, x = timed(run)
    yield Row(p.shape, p.unknowns, "SciPy CG", seconds, p.error_of_correction(x), None, "rtol 1e-5")


def pyamg(p: Problem) -> Iterator[Row]:
    import pyamg

    def run() -> Array:
        matrix, x = p.matrix(), np.zeros_like(p.b)
        solver = pyamg.ruge_stuben_solver(matrix)
        for channel in range(3):
            x[channel, p.mask] = solver.solve(p.b[channel, p.mask], tol=1e-5, accel="cg")
        return x

    seconds, x = timed(run)
    yield Row(p.shape, p.unknowns, "pyamg, Ruge-Stüben + CG", seconds, p.error_of_correction(x), None, "tol 1e-5")


def superlu(p: Problem) -> Iterator[Row]:
    def run() -> Array:
        x = np.zeros_like(p.b)
        factors = scipy.sparse.linalg.splu(
            p.matrix().tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        for channel in range(3):
            x[channel, p.mask] = factors.solve(p.b[channel, p.mask])
        return x

    seconds, x = timed(run)
    yield Row(p.shape, p.unknowns, "SciPy SuperLU", seconds, p.error_of_correction(x), None, "direct")


def descent(p: Problem) -> Iterator[Row]:
    import torch

    from repix.poisson.torch import descend

    torch.set_num_threads(1)
    steps = 5000
    done = steps if p.unknowns < 50_000 else 50
    source, target = (torch.from_numpy(x.astype(np.float32).transpose(2, 0, 1) / 255) for x in (p.source, p.target))
    seconds, (image, _) = whole_run(lambda count: descend(source, target, p.mask, steps=count), steps, done)
    error = p.error_of_image(image.numpy().transpose(1, 2, 0) * 255) if done == steps else None
    note = "Adam, 5,000 steps" if done == steps else f"Adam, 5,000 steps, from {done}"
    yield Row(p.shape, p.unknowns, "gradient descent (Adam)", seconds, error, None, note)


NEVER = 10**9
METHODS: list[tuple[Callable[[Problem], Iterator[Row]], int, int]] = [  # above so many unknowns with --slow; not at all
    (ours, NEVER, NEVER),
    (pyamg, NEVER, NEVER),
    (opencv, NEVER, NEVER),
    (pie_torch, NEVER, NEVER),
    (fpie, NEVER, 500_000),
    (scipy_cg, 500_000, NEVER),
    (superlu, 500_000, NEVER),
    (descent, NEVER, 500_000),
]


def plot(rows: list[Row], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    methods = list(dict.fromkeys(row.method for row in rows))
    for axis, shape in zip(axes, ("irregular", "square"), strict=True):
        for index, method in enumerate(methods):
            points = sorted((row.unknowns, row.seconds) for row in rows if (row.method, row.shape) == (method, shape))
            mine = method.startswith("repix")
            axis.loglog(*zip(*points, strict=True), "o-" if mine else "s--", color=f"C{index}", label=method, ms=4)
        axis.set(title=f"{shape} mask", xlabel="unknown pixels, three channels each")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("processor seconds, one thread")
    axes[1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unknowns", type=int, nargs="+", default=[10_000, 250_000, 2_000_000])
    parser.add_argument("--shapes", nargs="+", choices=["irregular", "square"], default=["irregular", "square"])
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--slow", action="store_true", help="also what takes minutes")
    options = parser.parse_args()
    rows: list[Row] = []
    for unknowns in options.unknowns:
        for shape in options.shapes:
            problem = make_problem(unknowns, shape)
            for method, slow, hopeless in METHODS:
                if problem.unknowns > hopeless or (problem.unknowns > slow and not options.slow):
                    print(f"{method.__name__}: left out at {problem.unknowns:,} unknowns")
                    continue
                try:
                    for row in method(problem):
                        rows.append(row)
                        error = "" if row.error_levels is None else f"{row.error_levels:9.4f} levels"
                        print(f"{shape:10}{row.unknowns:>10,} {row.method:34}{row.seconds:10.4f} s {error} {row.note}")
                except ModuleNotFoundError as missing:
                    print(f"{missing.name} is not installed: {method.__name__} left out")
                write(rows, options.output)  # a run takes long; what is measured stays
    plot(rows, IMAGES / "blend" / "time.webp")


def write(rows: list[Row], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    written = [{name: f"{v:.4g}" if isinstance(v, float) else v for name, v in asdict(row).items()} for row in rows]
    write_rows(folder / "blend.csv", written)


if __name__ == "__main__":
    main()
