from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

import repix
from data_sets import DATA, needs
from repix.errors import InputError
from repix.poisson.blend import BlendReport, blend, edit_selection

rng = np.random.default_rng(0)
SOURCE = rng.integers(0, 256, (30, 36, 3), np.uint8)
TARGET = rng.integers(0, 256, (40, 44, 3), np.uint8)
MASK = np.zeros((30, 36), bool)
MASK[4:25, 6:30] = True
MASK[10:14, 12:20] = False
MASK[2, 3] = True

Wanted = Callable[[np.ndarray, np.ndarray], np.ndarray]  # both images' differences (3,) along an edge -> wanted


def least_squares(
    source: np.ndarray, target: np.ndarray, mask: np.ndarray, offset: tuple[int, int], wanted: Wanted
) -> np.ndarray:
    """The minimiser of sum (f_p - f_q - v_pq)^2 over all edges that touch the region: eq. 6, by dense least squares."""
    h, w = target.shape[:2]
    region = [(y, x) for y, x in np.argwhere(mask) + offset if 0 <= y < h and 0 <= x < w]
    number = {p: k for k, p in enumerate(region)}

    def s(y: int, x: int) -> np.ndarray:  # beyond the source, its edge goes on
        return source[
            np.clip(y - offset[0], 0, len(source) - 1), np.clip(x - offset[1], 0, source.shape[1] - 1)
        ].astype(float)

    rows, right = [], []
    for p in region:
        for q in ((p[0], p[1] + 1), (p[0] + 1, p[1]), (p[0], p[1] - 1), (p[0] - 1, p[1])):
            if not (0 <= q[0] < h and 0 <= q[1] < w) or (q in number and q < p):
                continue
            v = wanted(s(*p) - s(*q), target[p].astype(float) - target[q])
            row = np.zeros(len(region))
            row[number[p]] = 1
            if q in number:
                row[number[q]] = -1
            else:
                v = v + target[q]
            rows.append(row)
            right.append(v)
    f = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    result = target.astype(float)
    for p, value in zip(region, f, strict=True):
        result[p] = value
    return result


LUMA = np.array([0.299, 0.587, 0.114])
WANTED: dict[str, Wanted] = {
    "import": lambda s, t: s,
    "mixed": lambda s, t: s if (s * s).sum() >= (t * t).sum() else t,
    "monochrome": lambda s, t: np.full(3, s @ LUMA),
    "average": lambda s, t: (s + t) / 2,
}


@pytest.mark.parametrize("mode", WANTED)
@pytest.mark.parametrize("offset", [(5, 4), (0, 0), (-8, -10), (22, 20), (-9, 21)])
@pytest.mark.parametrize("part", ["part of the source", "all of the source"])
def test_every_mode_is_the_paper_s_least_squares(mode: str, offset: tuple[int, int], part: str) -> None:
    source, mask = (SOURCE, MASK) if part == "part of the source" else (SOURCE[:15, :19], np.ones((15, 19), bool))
    wanted = least_squares(source, TARGET, mask, offset, WANTED[mode])
    got, report = blend(source / 255.0, TARGET / 255.0, mask=mask, offset=offset, mode=mode, tolerance=1e-6)
    assert np.abs(got * 255 - wanted).max() < 1e-5
    assert report.error_levels <= 1e-6
    rounded, report = blend(source, TARGET, mask=mask, offset=offset, mode=mode)
    assert np.abs(rounded - np.clip(wanted, 0, 255)).max() <= 0.75
    assert report.error_levels <= 0.25


def as_type(image: np.ndarray, dtype: str) -> np.ndarray:
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255, "float64": 1 / 255}[dtype]
    return (image * np.float64(scale)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_outside_the_mask_nothing_changes_in_any_kind_of_image(dtype: str, channels: int) -> None:
    def image(size: tuple[int, int], seed: int) -> np.ndarray:
        values = np.random.default_rng(seed).integers(0, 256, (*size, max(1, channels)))
        values = values[..., 0] if channels == 0 else values
        return as_type(values, dtype)

    source, target = image((30, 36), 1), image((40, 44), 2)
    if channels in (2, 4):
        source[..., -1] = source.max()
    before = target.copy()
    result, report = blend(source, target, mask=MASK, offset=(3, -7))
    assert result.dtype == target.dtype
    assert result.shape == target.shape
    inside = np.zeros((40, 44), bool)
    inside[3:33, :29] = MASK[:, 7:]
    assert report.pixels == inside.sum()
    np.testing.assert_array_equal(result[~inside], target[~inside])
    assert (result[inside] != target[inside]).any()
    if channels in (2, 4):
        np.testing.assert_array_equal(result[..., -1], target[..., -1])
    np.testing.assert_array_equal(target, before)


def test_sixteen_bits_are_as_exact_as_eight() -> None:
    eight, _ = blend(SOURCE, TARGET, mask=MASK)
    sixteen, report = blend(SOURCE * np.uint16(257), TARGET * np.uint16(257), mask=MASK, tolerance=0.001)
    assert np.abs(sixteen / 257 - eight).max() < 0.75
    assert report.error_levels <= 0.001


def test_pasting_an_image_on_itself_changes_nothing() -> None:
    for mode in ("import", "mixed", "average"):
        result, _ = blend(TARGET, TARGET, mask=np.ones((40, 44), bool), mode=mode)
        np.testing.assert_array_equal(result, TARGET)
        result, _ = blend(TARGET, TARGET, polygon=[(3, 3), (33, 8), (20, 35)], mode=mode)
        np.testing.assert_array_equal(result, TARGET)


def test_only_differences_of_the_source_count() -> None:
    dark = SOURCE // 2
    one, _ = blend(dark, TARGET, mask=MASK, tolerance=0.001)
    other, _ = blend(dark + np.uint8(100), TARGET, mask=MASK, tolerance=0.001)
    assert np.abs(one.astype(int) - other).max() <= 1


def test_a_polygon_is_its_mask() -> None:
    polygon = [(5, 4), (30, 6), (22, 25), (8, 20)]
    from_polygon, _ = blend(SOURCE, TARGET, polygon=polygon, offset=(2, 3))
    mask = repix.create_mask_from_points(polygon, 30, 36)
    from_mask, _ = repix.blend(SOURCE, TARGET, mask=mask, offset=(2, 3))
    np.testing.assert_array_equal(from_polygon, from_mask)


def test_a_source_that_covers_the_target_keeps_its_mean() -> None:
    source = np.random.default_rng(3).uniform(0.4, 0.6, (50, 60, 3))
    target = np.random.default_rng(4).uniform(0.3, 0.5, (40, 44, 3))
    result, report = blend(source, target, mask=np.ones((50, 60), bool), offset=(-3, -5))
    assert report.pixels == 40 * 44
    np.testing.assert_allclose(result.mean((0, 1)), target.mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(np.diff(result, axis=0), np.diff(source[3:43, 5:49], axis=0), atol=1e-4)


def test_alpha_of_the_source_is_the_mask() -> None:
    alpha = np.where(MASK, 200, 60).astype(np.uint8)
    source = np.dstack([SOURCE, alpha])
    wanted, _ = blend(SOURCE, TARGET, mask=MASK)
    got, _ = blend(source, TARGET)
    np.testing.assert_array_equal(got, wanted)
    half = np.zeros_like(MASK)
    half[:, :15] = True
    wanted, _ = blend(SOURCE, TARGET, mask=MASK & half)
    got, _ = blend(source, TARGET, mask=half)
    np.testing.assert_array_equal(got, wanted)


def test_values_stay_in_range() -> None:
    source = np.zeros((20, 20), np.uint8)
    source[10] = 255
    target = np.full((20, 20), 250, np.uint8)
    mask = np.zeros((20, 20), bool)
    mask[2:-2, 2:-2] = True
    result, _ = blend(source, target, mask=mask)
    assert result[10, 10] == 255
    assert result[11, 10] < 250


def test_regions_far_apart_do_not_influence_one_another() -> None:
    large = np.random.default_rng(1)
    source, target = large.integers(0, 256, (2, 150, 200, 3), np.uint8)
    one, other = np.zeros((2, 150, 200), bool)
    one[5:20, 5:25] = one[8, 9] = True
    one[10, 10] = False
    other[120:148, 180:198] = True
    offset = (4, 3)
    both, report = blend(source, target, mask=one | other, offset=offset)
    first, report_of_first = blend(source, target, mask=one, offset=offset)
    second, report_of_second = blend(source, first, mask=other, offset=offset)
    np.testing.assert_array_equal(both, second)
    assert report.pixels == report_of_first.pixels + report_of_second.pixels
    assert report.error_levels == max(report_of_first.error_levels, report_of_second.error_levels)
    assert report.method == "multigrid"
    for mode in ("colour", "illumination", "flatten"):
        both, _ = edit_selection(target, mode=mode, mask=one | other)
        first, _ = edit_selection(target, mode=mode, mask=one)
        second, _ = edit_selection(first, mode=mode, mask=other)
        np.testing.assert_array_equal(both, second)


# ---- edits of one image


def test_colour_change_is_an_import_of_the_tinted_image() -> None:
    image = TARGET / 255.0
    gain = (1.2, 0.6, 0.9)
    mask = np.zeros((40, 44), bool)
    mask[5:30, 5:40] = True
    got, _ = edit_selection(image, mode="colour", mask=mask, gain=gain, tolerance=1e-4)
    wanted, _ = blend(image * gain, image, mask=mask, tolerance=1e-4)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_flattening_keeps_edges_and_loses_texture() -> None:
    image = np.full((40, 50), 80.0)
    image[:, 25:] = 180
    image += np.random.default_rng(0).normal(0, 2, image.shape)
    mask = np.zeros((40, 50), bool)
    mask[3:-3, 3:-3] = True
    flat, _ = edit_selection((image / 255).astype(np.float32), mode="flatten", mask=mask, threshold=15)
    flat = flat * 255
    for part in (np.s_[8:-8, 8:22], np.s_[8:-8, 30:42]):
        assert flat[part].std() < 0.5 * image[part].std()
    assert abs((flat[10:30, 32].mean() - flat[10:30, 18].mean()) - 100) < 5
    unchanged, _ = edit_selection(TARGET, mode="flatten", mask=np.ones((40, 44), bool), threshold=0)
    np.testing.assert_array_equal(unchanged, TARGET)
    washed, _ = edit_selection(TARGET, mode="flatten", polygon=[(5, 5), (35, 5), (35, 35)], threshold=1e300)
    inside = repix.create_mask_from_points([(5, 5), (35, 5), (35, 35)], 40, 44) > 0
    lap = np.gradient(np.gradient(washed.astype(float), axis=0), axis=0)
    assert washed[inside].std() < TARGET[inside].std() / 2
    assert np.isfinite(lap).all()


def test_illumination_change_brings_up_shade() -> None:
    y, x = np.mgrid[:60, :60]
    shade = np.where(x < 30, 20, 200) + 6 * np.sin(y)
    image = np.clip(shade, 0, 255).astype(np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[:, 5:55] = True
    got, report = edit_selection(image, mode="illumination", mask=mask, alpha=0.2, beta=0.4)
    assert report.error_levels <= 0.25
    jump = np.log1p(got[:, 31].astype(float).mean()) - np.log1p(got[:, 28].astype(float).mean())
    assert 0 < jump < 0.9 * (np.log1p(200) - np.log1p(20))
    np.testing.assert_array_equal(got[~mask], image[~mask])
    same, _ = edit_selection(image, mode="illumination", mask=mask, beta=0)
    assert np.abs(same.astype(int) - image).max() <= 1
    flat = np.full((20, 20, 3), 90, np.uint8)
    same, _ = edit_selection(flat, mode="illumination", mask=np.ones((20, 20), bool))
    assert np.abs(same.astype(int) - 90).max() <= 1


def test_tiles_fit_beside_one_another() -> None:
    y, x = np.mgrid[:48, :64]
    image = (np.stack([x + y, 200 - x, 150 - y], axis=2) + 30 * np.sin(x / 3)[..., None]).astype(np.uint8)
    tile, _ = edit_selection(image, mode="tile")
    np.testing.assert_array_equal(tile[0], tile[-1])
    np.testing.assert_array_equal(tile[:, 0], tile[:, -1])
    # away from the corners, where the paper's averaged borders cannot agree, no step is larger than in the image
    four = np.tile(tile[:-1, :-1], (2, 2, 1)).astype(int)
    for axis in (0, 1):
        largest = np.abs(np.diff(image.astype(int), axis=axis)).max()
        assert np.abs(np.diff(four, axis=axis))[10:-10, 10:-10].reshape(-1, 3).max() <= 2 * largest + 20
    np.testing.assert_allclose(
        np.diff(tile[20:28, 20:40].astype(int), axis=1), np.diff(image[20:28, 20:40].astype(int), axis=1), atol=3
    )
    for bad in ({"mask": np.ones((48, 64), bool)}, {"polygon": [(0, 0), (9, 0), (9, 9)]}):
        with pytest.raises(InputError, match="whole image"):
            edit_selection(image, mode="tile", **bad)
    with pytest.raises(InputError, match="at least 3 x 3"):
        edit_selection(image[:2], mode="tile")


@pytest.mark.parametrize("mode", ["colour", "illumination", "flatten"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_edits_change_nothing_outside(mode: str, channels: int, dtype: str) -> None:
    image = as_type(np.random.default_rng(5).integers(0, 256, (33, 41, channels)), dtype)
    if channels == 4:
        image[..., 3] = image.max()
    mask = np.zeros((33, 41), bool)
    mask[0:20, 7:30] = True
    result, _ = edit_selection(image, mode=mode, mask=mask)
    np.testing.assert_array_equal(result[~mask], image[~mask])
    assert (result[mask] != image[mask]).any()
    assert result.dtype == image.dtype
    if channels == 4:
        np.testing.assert_array_equal(result[..., 3], image[..., 3])


# ---- what cannot be done


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros((30, 36), bool)}, "the mask is empty"),
        ({"offset": (500, 0)}, "outside the target"),
        ({"offset": (0, -40)}, "outside the target"),
        ({"polygon": [(500, 500), (510, 500), (505, 510)], "mask": None}, "the mask is empty"),
        ({"mask": None}, "nothing is selected"),
        ({"polygon": [(0, 0), (9, 0), (9, 9)]}, "both a mask and a polygon"),
        ({"polygon": [(0, 0), (9, 0)], "mask": None}, "polygon of 2 points"),
        ({"mask": np.ones((5, 5), bool)}, "the mask has shape"),
        ({"mask": np.arange(30 * 36).reshape(30, 36)}, "soft"),
        ({"source": np.full((30, 36, 3), np.nan)}, "source has pixels that are NaN"),
        ({"target": np.full((40, 44, 3), np.inf)}, "target has pixels that are NaN"),
        ({"source": SOURCE[..., 0]}, "1 colour channel and the target 3"),
        ({"target": TARGET[..., :1]}, "3 colour channels and the target 1"),
        ({"source": SOURCE.astype(np.uint16)}, "source is uint16 and the target uint8"),
        ({"source": SOURCE.astype(np.int32)}, "type int32"),
        ({"target": TARGET > 100}, "type bool"),
        ({"source": np.zeros((30, 36, 5), np.uint8)}, r"shape \(30, 36, 5\)"),
        ({"source": np.zeros((0, 36, 3), np.uint8)}, r"shape \(0, 36, 3\)"),
        ({"source": np.zeros(5, np.uint8)}, r"shape \(5,\)"),
        ({"source": [["a"]]}, "type"),
        ({"mode": "magic"}, "expected one of import, mixed, monochrome, average"),
        ({"offset": (0.5, 0)}, "two whole numbers"),
        ({"offset": 3}, "two whole numbers"),
        ({"offset": (float("nan"), 0)}, "two whole numbers"),
    ],
)
def test_one_clear_line_for_bad_input(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"source": SOURCE, "target": TARGET, "mask": MASK} | change
    source, target = arguments.pop("source"), arguments.pop("target")
    with pytest.raises(InputError, match=message) as error:
        blend(source, target, **arguments)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "import"}, "expected one of colour, illumination, flatten, tile"),
        ({"mode": "illumination", "beta": 1}, "beta"),
        ({"mode": "illumination", "alpha": 0}, "alpha"),
        ({"mode": "colour", "gain": (1, -1, 1)}, "gain"),
        ({"mode": "colour", "gain": (1, 1)}, "gain"),
        ({"mode": "colour", "mask": None}, "nothing is selected"),
    ],
)
def test_one_clear_line_for_bad_edits(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        edit_selection(SOURCE, **({"mask": MASK} | change))


# ---- images that others have blended

PAIRS: dict[str, tuple[str, str, dict[str, object]]] = {
    "monolisa": (
        "source.png",
        "target.png",
        {
            "polygon": [(72, 170), (150, 165), (255, 160), (275, 260), (235, 370), (145, 395), (74, 240)],
            "offset": (7, 5),
        },
    ),
    "water": (
        "source.jpg",
        "target.jpg",
        {"polygon": [(55, 75), (150, 85), (330, 130), (330, 200), (110, 190), (50, 155)], "offset": (190, 40)},
    ),
    "equation_2024": ("source.png", "target.jpg", {"offset": (30, 420), "mode": "mixed"}),
}


@needs("poisson")
@pytest.mark.parametrize("name", PAIRS)
def test_well_known_pairs_at_once(name: str) -> None:
    first, second, options = PAIRS[name]
    source = repix.read_image(DATA / "poisson" / name / first)
    target = repix.read_image(DATA / "poisson" / name / second).pixels
    pixels = source.pixels if source.alpha is None else np.dstack([source.pixels, source.alpha])
    exact, _ = blend(pixels, target, tolerance=1e-4, **options)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        result, report = blend(pixels, target, **options)
        seconds.append(time.process_time() - start)
    assert isinstance(report, BlendReport)
    assert report.error_levels <= 0.25
    assert np.abs(result.astype(int) - exact).max() <= 1
    assert min(seconds) <= 0.2


def test_keywords_of_version_0_1_name_the_new_ones() -> None:
    with pytest.raises(TypeError, match="blend: the keyword 'at' is now 'offset'"):
        blend(SOURCE, TARGET, mask=MASK, at=(2, 3))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="edit_selection: the keyword 'picture' is now 'image'"):
        edit_selection(picture=TARGET, mode="tile")  # type: ignore[call-arg]
