"""Levels: resampling, which level is chosen for which rain, corners, seams, memory, both depths."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, grey_opening

from repix.errors import InputError
from repix.infer import pyramid
from repix.infer.looking import direction_of
from repix.infer.pyramid import check_levels, list_levels, over_levels, restore_levels
from repix.infer.resampling import enlarge, reduce

Floats = NDArray[np.float32]


def thin_lines(x: Floats) -> Floats:
    """A network that takes away what is brighter than its surroundings and at most three pixels wide."""
    plain = grey_opening(x, size=(1, 1, 1, 4), mode="nearest")
    rain = np.maximum(x - plain, 0)
    return x - np.where(rain > 0.04, rain, 0)


def scene(height: int, width: int, seed: int = 0) -> Floats:
    """(H, W, 3) in [0.2, 0.6]: smooth."""
    noise = np.random.default_rng(seed).standard_normal((height // 16, width // 16, 3))
    smooth = gaussian_filter(noise, (2, 2, 0)).repeat(16, 0).repeat(16, 1)
    smooth = gaussian_filter(smooth, (16, 16, 0))
    smooth = np.pad(smooth, ((0, height - len(smooth)), (0, width - smooth.shape[1]), (0, 0)), mode="edge")
    return (0.4 + 0.2 * np.clip(smooth / np.abs(smooth).max(), -1, 1)).astype(np.float32)


def streaks(height: int, width: int, wide: int, seed: int = 1) -> Floats:
    """(H, W, 1): upright streaks `wide` pixels wide."""
    rng = np.random.default_rng(seed)
    rain = np.zeros((height, width, 1), np.float32)
    for _ in range(height * width // (600 * wide**2)):
        y, x = rng.integers(0, height), rng.integers(0, width - wide)
        rain[y : y + 20 * wide, x : x + wide] = 0.25
    return gaussian_filter(rain, (0, wide / 5, 0))


def levels_of(values: Floats, dtype: type = np.uint8) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    scale = np.iinfo(a.dtype).max
    return float(-10 * np.log10(np.mean((a / scale - b / scale) ** 2) + 1e-12))


def restore(image: NDArray[np.uint8], levels: pyramid.Levels = "auto") -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    made, ran, _ = restore_levels(thin_lines, image, levels, multiple_of=8, tile=512, overlap=64)
    return made, ran  # type: ignore[return-value]


@pytest.mark.parametrize("shape", [(7, 5, 3), (64, 96, 3), (131, 203, 3)])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_reduction_is_the_mean_of_blocks(shape: tuple[int, int, int], factor: int) -> None:
    image = np.random.default_rng(0).random(shape, np.float32)
    padded = np.pad(image, ((0, -shape[0] % factor), (0, -shape[1] % factor), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    expected = padded.reshape(rows, factor, columns, factor, 3).mean((1, 3))
    np.testing.assert_allclose(reduce(image, factor), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_enlargement_is_bicubic_wherever_the_window_lies(factor: int) -> None:
    torch = pytest.importorskip("torch")
    layer = np.random.default_rng(0).random((21, 17, 3), np.float32)
    height, width = 21 * factor, 17 * factor
    given = torch.from_numpy(layer.transpose(2, 0, 1)[None])
    # with antialias torch takes Keys' a = -1/2, as we do; it weighs borders in another way
    expected = torch.nn.functional.interpolate(given, size=(height, width), mode="bicubic", antialias=True)
    whole = enlarge(layer, factor, slice(0, height), slice(0, width))
    inner = slice(2 * factor, -2 * factor)
    np.testing.assert_allclose(whole[inner, inner], expected[0].numpy().transpose(1, 2, 0)[inner, inner], atol=2e-6)
    rows, columns = slice(factor + 1, height - 3), slice(5, width - 7)
    np.testing.assert_allclose(enlarge(layer, factor, rows, columns), whole[rows, columns], atol=1e-6)
    np.testing.assert_allclose(enlarge(np.ones_like(layer), factor, slice(0, height), slice(0, width)), 1, atol=1e-6)


def test_levels_of_an_image_end_where_it_gets_small() -> None:
    assert list_levels(321, 481) == (1,)
    assert list_levels(720, 1280) == (1, 2)
    assert list_levels(1080, 1920) == (1, 2, 4)
    assert list_levels(3024, 4032) == (1, 2, 4, 8)
    assert list_levels(60_000, 50_000) == (1, 2, 4, 8, 16)
    assert list_levels(100, 4000) == (1,)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (40, 40)])
def test_an_image_of_one_level_runs_it_whoever_looks_on(size: tuple[int, int]) -> None:
    image, seen = levels_of(scene(64, 70))[: size[0], : size[1]], list[int]()
    kept, ran, _ = pyramid.restore_levels(thin_lines, image, on_layer=lambda level, layer: seen.append(level))
    assert ran == (1,) == tuple(seen)
    np.testing.assert_array_equal(kept, pyramid.restore_levels(thin_lines, image)[0])


@pytest.mark.parametrize("wrong", [(3,), (1, 1), (0,), (-2,), (1, 32)])
def test_wrong_levels_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="powers of two"):
        check_levels(wrong)
    check_levels((4, 1, 2))
    check_levels("auto")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("wide", [2, 4, 8])
def test_each_width_is_found_where_it_is_narrow(wide: int, dtype: type) -> None:
    clean = levels_of(scene(960, 1000), dtype)
    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, wide), dtype)
    result, ran = restore(rainy)
    assert result.dtype == dtype
    assert ran[0] in (wide // 2, max(wide // 4, 1))
    assert psnr(result, clean) > psnr(rainy, clean) + 8
    if wide > 2:  # a single pass does not see them
        assert psnr(restore(rainy, (1,))[0], clean) < psnr(rainy, clean) + 4


def test_wide_streaks_alone_never_run_the_full_resolution() -> None:
    largest = 0
    rainy = levels_of(scene(1920, 2000) + streaks(1920, 2000, 8))

    def run(x: Floats) -> Floats:
        nonlocal largest
        largest = max(largest, x.shape[2] * x.shape[3])
        return thin_lines(x)

    _, ran, _ = restore_levels(run, rainy, multiple_of=8, tile=1024, overlap=64)
    assert 1 not in ran
    assert 4 in ran
    assert largest <= (1920 // 4 + 8) * (2000 // 4 + 8) * 4  # level 2 at most


def test_thin_and_wide_streaks_together_begin_with_the_thin_ones() -> None:
    clean = levels_of(scene(960, 1000))
    both = np.maximum(streaks(960, 1000, 2), streaks(960, 1000, 8, seed=5))
    rainy = levels_of(scene(960, 1000) + both)
    result, ran = restore(rainy)
    assert ran[0] == 1
    assert len(ran) > 1
    assert psnr(result, clean) > psnr(restore(rainy, (1,))[0], clean) + 3


@pytest.mark.parametrize("wide", [2, 8])
@pytest.mark.parametrize("bottom", [False, True])
def test_rain_in_one_corner_only_is_found(wide: int, bottom: bool) -> None:
    clean = scene(1200, 1600)
    rainy = clean.copy()
    rain = streaks(200, 200, wide)
    where = (slice(1000, 1200), slice(1400, 1600)) if bottom else (slice(0, 200), slice(0, 200))
    rainy[where] += rain
    result, _ = restore(levels_of(rainy))
    assert psnr(result, levels_of(clean)) > psnr(levels_of(rainy), levels_of(clean)) + 6


def test_a_clean_image_comes_back_as_it_was() -> None:
    clean = levels_of(scene(960, 1000))
    result, ran = restore(clean)
    assert ran == ()
    np.testing.assert_array_equal(result, clean)


def test_what_the_mirrored_image_does_not_show_is_no_rain() -> None:
    specks = np.where(np.random.default_rng(0).random((3, 1008, 1008)) < 0.1, np.float32(0.2), 0)

    def run(x: Floats) -> Floats:
        return x - specks[:, : x.shape[2], : x.shape[3]]  # wherever they lie in the image

    clean = levels_of(scene(960, 1000))
    result, ran, _ = restore_levels(run, clean, multiple_of=8, tile=512, overlap=64)
    assert ran == ()
    np.testing.assert_array_equal(result, clean)


def test_one_tile_that_agrees_is_enough() -> None:
    counts: dict[tuple[int, ...], int] = {}

    def run(x: Floats) -> Floats:
        counts[x.shape] = counts.get(x.shape, 0) + 1
        return thin_lines(x)

    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, 2))
    _, ran, _ = restore_levels(run, rainy, multiple_of=8, tile=512, overlap=64)
    assert ran[0] == 1
    assert counts[1, 3, 128, 128] == 36 + 1  # one in each cell, and one of those mirrored


def test_strokes_across_the_rain_are_left_alone() -> None:
    """A level that finds wide strokes after thin rain is gone runs where they fall, not where they lie."""

    def thin_strokes(x: Floats) -> Floats:
        """A network that takes away thin bright lines of any direction."""
        rain = x - np.minimum(
            grey_opening(x, size=(1, 1, 1, 4), mode="nearest"), grey_opening(x, size=(1, 1, 4, 1), mode="nearest")
        )
        return x - np.where(rain > 0.04, rain, 0)

    thin, wide = streaks(1200, 1600, 2), streaks(1600, 1200, 12)
    near = streaks(1200, 1600, 12)
    for strokes, expected in ((near, True), (wide.transpose(1, 0, 2), False)):
        image = levels_of(scene(1200, 1600) + thin + strokes)
        _, ran, _ = restore_levels(thin_strokes, image, multiple_of=8, tile=512, overlap=64)
        assert ran[0] == 1
        assert (4 in ran) == expected, ran


def test_a_direction_is_told_by_all_pixels() -> None:
    layer = np.repeat(streaks(200, 300, 3), 3, axis=2)
    upright, level = (direction_of([one]) for one in (layer, layer.transpose(1, 0, 2)))
    assert upright[0] > 0.7
    assert level == pytest.approx((-upright[0], upright[1]), abs=1e-4)
    assert direction_of([np.zeros((8, 8, 3), np.float32)]) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(240, 320), (960, 1000)])
def test_rain_that_falls_sideways_is_turned_for_the_network(shape: tuple[int, int]) -> None:
    """A network that finds level streaks too, and takes half of them; upright ones it takes as a whole."""

    def trained_upright(x: Floats) -> Floats:
        rain, sideways = (
            np.maximum(x - grey_opening(x, size=(1, 1, *size), mode="nearest"), 0) for size in ((1, 4), (4, 1))
        )
        return x - np.where(rain > 0.04, rain, np.where(sideways > 0.04, 0.97 * sideways, 0))

    clean = scene(*shape)
    upright, lying = levels_of(clean + streaks(*shape, 2)), levels_of(clean + streaks(*shape[::-1], 2).swapaxes(0, 1))
    ran = restore_levels(trained_upright, upright, multiple_of=8, tile=512, overlap=64)
    assert not ran[2]
    seen: dict[int, Floats] = {}
    made, levels, turned = restore_levels(trained_upright, lying, multiple_of=8, tile=512, overlap=64)
    assert turned
    mirrored, _, _ = restore_levels(
        trained_upright, np.ascontiguousarray(lying.swapaxes(0, 1)), levels, multiple_of=8, tile=512, overlap=64
    )
    np.testing.assert_array_equal(made, mirrored.swapaxes(0, 1))
    asked = restore_levels(
        trained_upright, lying, levels, multiple_of=8, tile=512, overlap=64, turned=True, on_layer=seen.__setitem__
    )
    np.testing.assert_array_equal(asked[0], made)
    assert {level: layer.shape for level, layer in seen.items()} == {
        level: (*(-(-side // level) for side in shape), 3) for level in levels if seen
    }
    # in place, and at half strength
    again = lying.copy()
    restore_levels(trained_upright, again, multiple_of=8, tile=512, overlap=64, out=again)
    np.testing.assert_array_equal(again, made)
    half, _, turned = restore_levels(trained_upright, lying, multiple_of=8, tile=512, overlap=64, strength=0.5)
    assert turned
    assert np.abs(half - (lying / 2 + made / 2)).max() <= 1
    assert restore_levels(trained_upright, lying, multiple_of=8, scales=(1, 1))[2] is False
    assert pyramid.find_first(trained_upright, lying, multiple_of=8) == (levels[0], True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (129, 40), (385, 40)])
def test_images_whose_last_rows_have_no_direction(shape: tuple[int, int]) -> None:
    """A structure tensor needs two pixels each way, and images are looked at in bands of 128 rows."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    made, levels, turned = restore_levels(lambda x: x * np.float32(0.5), image, multiple_of=8)
    assert (levels, turned) == ((1,), False)
    np.testing.assert_allclose(made, image / 2, atol=1)


def test_what_grows_when_it_is_turned_is_no_rain_that_falls_sideways() -> None:
    """Such as slats and water: a network that takes little of what is level, and much of what is upright."""

    def fond_of_upright(x: Floats) -> Floats:
        rain, sideways = (
            np.maximum(x - grey_opening(x, size=(1, 1, *size), mode="nearest"), 0) for size in ((1, 4), (4, 1))
        )
        return x - np.where(rain > 0.04, rain, np.where(sideways > 0.04, 0.3 * sideways, 0))

    for shape in ((240, 320), (960, 1000)):
        lying = levels_of(scene(*shape) + streaks(*shape[::-1], 2).swapaxes(0, 1))
        made, levels, turned = restore_levels(fond_of_upright, lying, multiple_of=8, tile=512, overlap=64)
        assert not turned
        np.testing.assert_array_equal(
            made, restore_levels(fond_of_upright, lying, levels, multiple_of=8, tile=512, overlap=64)[0]
        )


def test_no_levels_change_nothing() -> None:
    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, 2))
    result, ran = restore(rainy, ())
    assert ran == ()
    np.testing.assert_array_equal(result, rainy)


def test_scales_limit_the_levels() -> None:
    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, 2))
    assert restore_levels(thin_lines, rainy, multiple_of=8, scales=(1, 1))[1] == (1,)
    assert 1 not in restore_levels(thin_lines, rainy, multiple_of=8, scales=(2, 16))[1]
    small = levels_of(scene(321, 481) + streaks(321, 481, 2))
    assert restore_levels(thin_lines, small, multiple_of=8, scales=(2, 16))[1] == (1,)


def test_layers_are_what_was_taken_away() -> None:
    rainy = levels_of(scene(500, 600) + streaks(500, 600, 2))
    layers: dict[int, NDArray[np.float32]] = {}
    result, ran, _ = restore_levels(thin_lines, rainy, (2, 1), multiple_of=8, on_layer=layers.__setitem__)
    assert tuple(layers) == ran == (2, 1)
    expected = rainy / 255 - enlarge(layers[2], 2, slice(0, 500), slice(0, 600)) - layers[1]
    np.testing.assert_allclose(result / 255, expected, atol=2 / 255)


def test_levels_as_one_network() -> None:
    rainy = levels_of(scene(500, 600) + streaks(500, 600, 2))
    expected, _, _ = restore_levels(thin_lines, rainy, (2, 1), multiple_of=8)
    run = over_levels(thin_lines, (2, 1), multiple_of=8)
    got = run((rainy.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32))
    assert np.abs(got[0].transpose(1, 2, 0) * 255 - expected).max() <= 0.51
    assert over_levels(thin_lines, (1,)) is thin_lines


def test_a_small_image_runs_as_without_levels() -> None:
    from tiled import apply_tiled

    rainy = levels_of(scene(321, 481) + streaks(321, 481, 2))
    result, ran = restore(rainy)
    assert ran == (1,)
    np.testing.assert_array_equal(result, apply_tiled(thin_lines, rainy, multiple_of=8, tile=512, overlap=64))


@pytest.mark.parametrize("levels", [(2,), (4, 1), (1, 2, 4)])
def test_tiles_leave_no_seams(levels: tuple[int, ...]) -> None:
    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, 4))
    whole, ran, _ = restore_levels(thin_lines, rainy, levels, multiple_of=8)
    assert ran == levels
    tiled, _, _ = restore_levels(thin_lines, rainy, levels, multiple_of=8, tile=160, overlap=48)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_levels_that_an_image_does_not_have_are_left_out() -> None:
    rainy = levels_of(scene(500, 600) + streaks(500, 600, 2))
    assert restore(rainy, (8, 2, 1))[1] == (2, 1)
    assert restore(rainy, (8,))[1] == (2,)


@pytest.mark.parametrize("levels", ["auto", (2, 4), (4, 1, 2)])
def test_strength_blends_with_the_input(levels: pyramid.Levels) -> None:
    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, 4))
    full, _ = restore(rainy, levels)
    half, _, _ = restore_levels(thin_lines, rainy, levels, multiple_of=8, tile=512, overlap=64, strength=0.5)
    assert np.abs((full.astype(float) + rainy) / 2 - half).max() <= 1


def test_the_result_may_be_written_into_the_image_itself() -> None:
    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, 4))
    for levels in ("auto", (4, 1, 2), (4, 2), (2, 1)):
        expected, _ = restore(rainy, levels)  # type: ignore[arg-type]
        image = rainy.copy()
        restore_levels(thin_lines, image, levels, multiple_of=8, tile=512, overlap=64, out=image)  # type: ignore[arg-type]
        np.testing.assert_array_equal(image, expected)


def test_progress_adds_up() -> None:
    rainy = levels_of(scene(960, 1000) + streaks(960, 1000, 4))
    for levels in ("auto", (1, 2, 4)):
        steps: list[float] = []
        restore_levels(thin_lines, rainy, levels, multiple_of=8, tile=512, overlap=64, progress=steps.append)  # type: ignore[arg-type]
        assert sum(steps) == pytest.approx(1)
        assert min(steps) > 0


def test_memory_is_a_few_times_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8)
    tracemalloc.start()
    restore_levels(lambda x: x * np.float32(0.9), image, (1, 2, 4), multiple_of=8, tile=256, overlap=32, out=image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4.5 * image.nbytes  # in floating point the image alone would be four times as large
