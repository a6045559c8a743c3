"""The solver against SciPy's sparse direct solve on masks that break multigrid solvers, in NumPy and in torch."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from repix.io.image import Picture
from repix.poisson.compose import blend_images
from repix.poisson.solver import interruptible, solve_poisson, v_cycle

H, W = 93, 110
Y, X = np.mgrid[:H, :W]


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[top:bottom, left:right] = True
    return mask


def spiral() -> np.ndarray:
    """A path one pixel wide with one pixel between its turns."""
    mask, y, x, dy, dx = np.zeros((H, W), bool), 1, 1, 0, 1
    mask[y, x] = True
    while True:
        for _ in range(2):
            ahead, beyond = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx)
            if 1 <= ahead[0] < H - 1 and 1 <= ahead[1] < W - 1 and not mask[beyond]:
                break
            dy, dx = dx, -dy
        else:
            return mask
        y, x = ahead
        mask[y, x] = True


def discs() -> np.ndarray:
    rng, mask = np.random.default_rng(1), np.zeros((H, W), bool)
    for _ in range(300):
        y, x, radius = rng.uniform(0, H), rng.uniform(0, W), rng.uniform(0.5, 4)
        mask |= np.hypot(Y - y, X - x) < radius
    return mask


def text() -> np.ndarray:
    glyphs = ("11110", "10001", "10001", "11110", "10000", "10000"), ("01110", "10001", "10001", "10001", "01110", "0")
    mask = np.zeros((H, W), bool)
    for k in range(70):
        for row, bits in enumerate(glyphs[k % 2]):
            for column, bit in enumerate(bits):
                mask[3 + 8 * (k // 10) + row, 5 + 9 * (k % 10) + column] = bit == "1"
    return mask


def noise(part: float) -> np.ndarray:
    return np.random.default_rng(2).random((H, W)) < part


def with_holes(every: int) -> np.ndarray:
    mask = box(2, H - 2, 2, W - 2)
    mask[5::every, 5::every] = False
    return mask


RADIUS = np.hypot(Y - H / 2, X - W / 2)
SLIT = box(2, H - 2, 2, W - 2) & ~box(H // 2, H // 2 + 1, 2, W - 12)
ALL_BUT_ONE = ~box(30, 31, 41, 42)
WAVY = 30 + 6 * np.cos(7 * np.arctan2(Y - H / 2, X - W / 2)) > RADIUS
MASKS = {
    "wavy": WAVY,
    "spiral": spiral(),
    "300 discs": discs(),
    "thin ring": (RADIUS < 43) & (RADIUS > 41),
    "text": text(),
    "slit": SLIT,
    "holes, 3": with_holes(3),
    "holes, 8": with_holes(8),
    "holes, 31": with_holes(31),
    "one pixel": box(40, 41, 50, 51),
    "one pixel in the corner": box(0, 1, W - 1, W),
    "two far pixels": box(0, 1, 0, 1) | box(H - 1, H, W - 1, W),
    "noise 50 %": noise(0.5),
    "noise 62 %": noise(0.62),
    "noise 90 %": noise(0.9),
    "noise 99 %": noise(0.99),
    "checkerboard": (Y + X) % 2 == 0,
    "stripes": Y % 2 == 0,
    "diagonal": np.abs(Y - X) < 2,
    "row": box(50, 51, 0, W),
    "column": box(0, H, 13, 14),
    "all but one pixel": ALL_BUT_ONE,
    "square": box(10, 60, 20, 90),
    "between left and right": box(20, 60, 0, W),
    "top": WAVY & box(0, 1, 0, W) | box(0, 40, 20, 80),
    "bottom": box(40, H, 20, 80),
    "left": box(20, 70, 0, 51),
    "right": box(20, 70, 52, W),
    "top left": box(0, 40, 0, 51),
    "top right": box(0, 41, 50, W),
    "bottom left": box(40, H, 0, 50),
    "bottom right": box(41, H, 51, W),
    "wavy over the left edge": np.roll(WAVY, -40, axis=1) & (X < 60),
    "wavy over a corner": np.roll(WAVY, (40, 45), axis=(0, 1)) & (Y > 30) & (X > 40),
}


def matrix_of(mask: np.ndarray) -> scipy.sparse.csc_matrix:
    """The equation at the head of the module, written down pixel by pixel as a graph."""
    h, w = mask.shape
    number = np.full((h, w), -1)
    number[mask] = np.arange(mask.sum())
    entries: dict[tuple[int, int], float] = {}
    for y, x in np.argwhere(mask):
        p = number[y, x]
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= y + dy < h and 0 <= x + dx < w:
                entries[p, p] = entries.get((p, p), 0) + 1
                if number[y + dy, x + dx] >= 0:
                    entries[p, number[y + dy, x + dx]] = -1
    rows, columns = np.array(list(entries)).T
    return scipy.sparse.csc_matrix((list(entries.values()), (rows, columns)))


def direct(b: np.ndarray, mask: np.ndarray) -> np.ndarray:
    x = np.zeros_like(b)
    x[:, mask] = scipy.sparse.linalg.splu(matrix_of(mask)).solve(b[:, mask].T).T
    return x


@functools.cache
def problem(name: str) -> tuple[np.ndarray, np.ndarray]:
    b = right_hand_side(MASKS[name])
    return b, direct(b, MASKS[name])


def right_hand_side(mask: np.ndarray, channels: int = 3, seed: int = 0) -> np.ndarray:
    """What pasting one noisy image on another of different brightness asks for, in grey levels."""
    rng = np.random.default_rng(seed)
    outside = np.where(mask, 0, rng.normal(0, 40, (channels, *mask.shape)) + rng.normal(0, 60, (channels, 1, 1)))
    outside = np.pad(outside, ((0, 0), (1, 1), (1, 1)))
    b = outside[:, 2:, 1:-1] + outside[:, :-2, 1:-1] + outside[:, 1:-1, 2:] + outside[:, 1:-1, :-2]
    return (b + rng.normal(0, 3, b.shape)) * mask


@pytest.mark.parametrize("name", MASKS)
def test_within_a_quarter_level_of_a_direct_solve(name: str) -> None:
    mask, (b, exact) = MASKS[name], problem(name)
    solution = solve_poisson(b.astype(np.float32), mask)
    error = np.abs(solution.x - exact).max()
    assert error <= solution.error + 1e-4 <= 0.2501
    assert solution.method != "direct"
    assert solution.iterations <= 6
    assert solution.x.dtype == np.float32
    assert not solution.x[:, ~mask].any()


@pytest.mark.parametrize("name", MASKS)
def test_float64_agrees_with_scipy_to_a_millionth(name: str) -> None:
    b, exact = problem(name)
    solution = solve_poisson(b, MASKS[name], tolerance=1e-7)
    assert np.abs(solution.x - exact).max() <= 1e-6


@pytest.mark.parametrize("name", MASKS)
def test_torch_gives_what_numpy_gives(name: str) -> None:
    torch = pytest.importorskip("torch")
    mask = MASKS[name]
    b = right_hand_side(mask).astype(np.float32)
    theirs = solve_poisson(torch.from_numpy(b), mask)
    assert isinstance(theirs.x, torch.Tensor)
    ours = solve_poisson(b, mask)
    assert np.abs(theirs.x.numpy() - ours.x).max() <= 0.05
    assert theirs.iterations == ours.iterations


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    part=st.floats(0.02, 1),
    seed=st.integers(0, 10**6),
    channels=st.integers(1, 4),
)
def test_any_mask_of_any_size(height: int, width: int, part: float, seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < part
    mask[rng.integers(height), rng.integers(width)] = True
    if mask.all():
        mask[rng.integers(height), rng.integers(width)] = mask.size == 1
        if mask.all() or not mask.any():
            return
    b = right_hand_side(mask, channels, seed)
    solution = solve_poisson(b.astype(np.float32), mask)
    assert np.abs(solution.x - direct(b, mask)).max() <= solution.error + 1e-3 <= 0.2511


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = MASKS["wavy over a corner"]
    b = right_hand_side(mask)
    whole = solve_poisson(b, mask, tolerance=1e-9).x
    monkeypatch.setattr("repix.poisson.solver._NumPy.strip", 700)
    assert np.abs(solve_poisson(b, mask, tolerance=1e-9).x - whole).max() < 1e-8


@pytest.mark.parametrize("name", ["square", "between left and right", "row", "column", "one pixel"])
def test_rectangles_are_transformed_at_once(name: str) -> None:
    solution = solve_poisson(right_hand_side(MASKS[name]), MASKS[name])
    assert (solution.method, solution.iterations) == ("transform", 0)


@pytest.mark.parametrize("whole", [True, False])
def test_a_transform_says_how_much_was_rounded(whole: bool) -> None:
    mask = np.ones((500, 420), bool)
    mask[[0, -1]] = mask[:, [0, -1]] = whole
    exact = np.random.default_rng(0).normal(0, 60, (1, 500, 420)) * mask
    exact -= exact.mean() * mask * whole
    b = np.zeros_like(exact)
    for axis in (1, 2):
        difference = np.diff(exact, axis=axis)
        b -= np.insert(difference, difference.shape[axis], 0, axis=axis) - np.insert(difference, 0, 0, axis=axis)
    b = (b * mask).astype(np.float32)
    coarse, fine = solve_poisson(b, mask), solve_poisson(b, mask, tolerance=1e-4)
    assert coarse.method == "transform"
    assert np.abs(coarse.x - exact).max() <= coarse.error <= 0.1
    assert fine.error <= 1e-4  # done again in float64
    assert np.abs(solve_poisson(b.astype(np.float64), mask).x - fine.x).max() <= 1e-4


def test_a_whole_image_is_solved_up_to_its_mean() -> None:
    mask = np.ones((H, W), bool)
    exact = np.random.default_rng(0).normal(0, 50, (2, H, W))
    exact -= exact.mean((1, 2), keepdims=True)
    b = (matrix_of(mask) @ exact.reshape(2, -1).T).T.reshape(exact.shape)
    assert np.abs(solve_poisson(b, mask).x - exact).max() < 1e-8
    assert np.abs(solve_poisson(b.astype(np.float32), mask).x - exact).max() < 0.05


def test_float32_holds_a_large_region_that_hangs_on_one_pixel() -> None:
    mask = np.ones((700, 500), bool)
    mask[123, 321] = False
    b = np.zeros((1, 700, 500), np.float32)
    b[:, 122, 321] = b[:, 124, 321] = b[:, 123, 320] = b[:, 123, 322] = 200  # the target is 200 brighter there
    assert np.abs(solve_poisson(b, mask).x - 200 * mask).max() < 0.25


def test_past_the_cap_of_iterations_a_direct_solve_answers() -> None:
    mask = MASKS["noise 90 %"]
    b = right_hand_side(mask)
    solution = solve_poisson(b, mask, tolerance=1e-8, max_iterations=2)
    assert solution.method == "direct"
    assert solution.error < 1e-8
    assert np.abs(solution.x - direct(b, mask)).max() < 1e-8


def test_an_empty_mask_gives_zero() -> None:
    solution = solve_poisson(np.ones((3, H, W)), np.zeros((H, W), bool))
    assert not solution.x.any()


def test_channels_that_are_done_stay_still() -> None:
    mask = WAVY
    b = right_hand_side(mask)
    b[1] = 0
    solution = solve_poisson(b, mask)
    assert not solution.x[1].any()
    assert np.isfinite(solution.x).all()


@pytest.mark.parametrize("name", ["wavy", "spiral", "noise 62 %", "wavy over a corner"])
def test_the_v_cycle_is_symmetric_and_positive(name: str) -> None:
    mask = MASKS[name]
    a, b = np.random.default_rng(3).normal(size=(2, 1, H, W)) * mask
    cycle = v_cycle(mask, a)
    assert np.isclose((cycle(a) * b).sum(), (a * cycle(b)).sum(), rtol=1e-10)
    assert (cycle(a) * a).sum() > 0


@pytest.mark.parametrize("how", [{}, {"scale": 0.9, "rotate": 10}])
def test_a_solve_that_nobody_waits_for_ends_early(how: dict[str, float]) -> None:
    """In the web UI each drag of a selection asks for another one."""

    class EnoughError(Exception):
        pass

    seen = 0

    def check() -> None:
        nonlocal seen
        seen += 1
        if seen == most:
            raise EnoughError

    random = np.random.default_rng(0)
    source, target = (Picture(random.integers(0, 255, (90, 120, 3), dtype=np.uint8)) for _ in range(2))
    disc = np.hypot(*np.mgrid[-45:45, -60:60]) < 40
    asked = {"mask": disc, "offset": (45, 60), "anchor": (45, 60), **how}
    most = 1000
    with interruptible(check):
        whole = blend_images(source, target, **asked)  # type: ignore[arg-type]
    at_all, seen = seen, 0
    assert at_all > whole.report.iterations + 2
    most = 4
    with pytest.raises(EnoughError), interruptible(check):
        blend_images(source, target, **asked)  # type: ignore[arg-type]
    again = blend_images(source, target, **asked)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.pixels, whole.pixels)
