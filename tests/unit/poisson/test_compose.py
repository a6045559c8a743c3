"""Source, selection, placement and mode to one image, against `repix.blend` and a transform made independently."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

import repix
from repix.errors import InputError
from repix.io.image import Picture, read_image, write_image
from repix.poisson.compose import BlendedPicture, blend_images

RNG = np.random.default_rng(0)
SOURCE = Picture(
    scipy.ndimage.gaussian_filter(RNG.integers(0, 256, (60, 80, 3)).astype(float), (1, 1, 0)).astype(np.uint8)
)
TARGET = Picture(RNG.integers(0, 256, (90, 120, 3), np.uint8), metadata={"xmp-data": b"<x/>"}, notes=("the target's",))
POLYGON = [(20, 10), (59, 14), (50, 44), (25, 39)]
MASK = repix.create_mask_from_points(POLYGON, 60, 80) > 0


def test_it_is_the_blend_with_the_metadata_of_the_target_and_a_report(tmp_path: object) -> None:
    for selected in ({"polygon": POLYGON}, {"mask": MASK}, {"mask": MASK.astype(np.uint8) * 255}):
        got = blend_images(SOURCE, TARGET, offset=(-4, 30), mode="mixed", **selected)  # type: ignore[arg-type]
        wanted, report = repix.blend(SOURCE.pixels, TARGET.pixels, mask=MASK, offset=(-4, 30), mode="mixed")
        np.testing.assert_array_equal(got.pixels, wanted)
        assert got.report == report
        assert got.metadata == TARGET.metadata
        assert got.notes == ("the target's",)
    assert isinstance(got, Picture)
    write_image(f"{tmp_path}/out.png", got)
    np.testing.assert_array_equal(read_image(f"{tmp_path}/out.png").pixels, got.pixels)


def test_depth_grey_and_transparency_are_the_targets() -> None:
    alpha = RNG.integers(0, 65536, (90, 120), np.uint16)
    deep = Picture(np.repeat(TARGET.pixels[..., :1].astype(np.uint16) * 257, 3, 2), alpha=alpha, grey=True, bits=16)
    got = blend_images(SOURCE, deep, polygon=POLYGON)
    assert got.pixels.dtype == np.uint16
    assert got.grey
    np.testing.assert_array_equal(got.alpha, alpha)
    assert (got.pixels[..., 0] == got.pixels[..., 1]).all()
    assert got.notes == ("the target is grey, so the source's colours were left out",)


def test_what_is_soft_is_cut_at_half_with_a_note() -> None:
    ramp = np.linspace(0, 255, 80).astype(np.uint8)[None].repeat(60, axis=0)
    drawn = Picture(ramp[..., None].repeat(3, axis=2))
    wanted, _ = repix.blend(SOURCE.pixels, TARGET.pixels, mask=ramp >= 128)
    from_mask = blend_images(SOURCE, TARGET, mask=drawn)
    from_alpha = blend_images(Picture(SOURCE.pixels, alpha=ramp), TARGET)
    for got, words in ((from_mask, "the mask has soft edges"), (from_alpha, "transparency is soft")):
        np.testing.assert_array_equal(got.pixels, wanted)
        assert words in got.notes[0]
    with pytest.raises(InputError, match="soft"):  # an array says exactly what is meant
        blend_images(SOURCE, TARGET, mask=ramp)
    both = blend_images(Picture(SOURCE.pixels, alpha=ramp), TARGET, polygon=POLYGON)
    assert both.report.pixels == (MASK & (ramp >= 128)).sum()


def reference(scale: float, degrees: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The whole source and selection, scaled and rotated in a frame that just holds them."""
    size = np.array(MASK.shape)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    frame = np.rint(np.array([[abs(cos), abs(sin)], [abs(sin), abs(cos)]]) @ size * scale).astype(int)
    matrix = np.array([[cos, sin], [-sin, cos]]) / scale
    back = (size - 1) / 2 - matrix @ ((frame - 1) / 2)

    def sample(plane: NDArray[np.generic], order: int, mode: str) -> NDArray[np.float32]:
        plane = plane.astype(np.float32)
        if scale < 1:
            plane = scipy.ndimage.gaussian_filter(plane, (1 / scale - 1) / 2, mode="nearest")
        return scipy.ndimage.affine_transform(plane, matrix, back, tuple(frame), order=order, mode=mode)

    image = np.stack([sample(SOURCE.pixels[..., c], 3, "nearest") for c in range(3)], axis=2)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), sample(MASK, 1, "grid-constant") >= 0.5


@pytest.mark.parametrize(
    ("scale", "rotate"), [(0.5, 0), (1.7, 0), (1, 30), (0.6, -100), (1.3, 45), (0.21, 12), (1, 90), (2, 270)]
)
def test_scaled_and_rotated_the_offset_is_the_corner_of_the_frame_around_the_source(
    scale: float, rotate: float
) -> None:
    whole, selection = reference(scale, rotate)
    wanted, report = repix.blend(whole, TARGET.pixels, mask=selection, offset=(12, -9))
    got = blend_images(SOURCE, TARGET, polygon=POLYGON, offset=(12, -9), scale=scale, rotate=rotate)
    assert got.report.pixels == report.pixels
    changed = (wanted != TARGET.pixels).any(2)
    assert changed.any()
    # the splines see less of the source around the selection, so a few values are rounded the other way
    assert np.abs(got.pixels.astype(int) - wanted).max() <= 1
    assert (got.pixels == wanted).mean() > 0.999


def test_a_quarter_turn_is_counter_clockwise() -> None:
    got = blend_images(SOURCE, TARGET, polygon=POLYGON, offset=(2, 3), rotate=90)
    turned = np.ascontiguousarray(np.rot90(SOURCE.pixels))
    wanted, _ = repix.blend(turned, TARGET.pixels, mask=np.rot90(MASK), offset=(2, 3))
    assert np.abs(got.pixels.astype(int) - wanted).max() <= 1
    whole_turn = blend_images(SOURCE, TARGET, polygon=POLYGON, offset=(2, 3), rotate=-720)
    np.testing.assert_array_equal(
        whole_turn.pixels, repix.blend(SOURCE.pixels, TARGET.pixels, mask=MASK, offset=(2, 3))[0]
    )


def changed_centre(got: BlendedPicture) -> NDArray[np.float64]:
    return np.array(scipy.ndimage.center_of_mass((got.pixels != TARGET.pixels).any(2)))


@pytest.mark.parametrize(("scale", "rotate"), [(1, 0), (0.5, 0), (1.5, 30), (1, -120), (0.8, 180)])
def test_the_anchor_goes_to_the_offset(scale: float, rotate: float) -> None:
    middle = scipy.ndimage.center_of_mass(MASK)
    got = blend_images(SOURCE, TARGET, polygon=POLYGON, offset=(45.3, 60.8), anchor=middle, scale=scale, rotate=rotate)
    np.testing.assert_allclose(changed_centre(got), (45.3, 60.8), atol=0.6)
    assert got.report.pixels == pytest.approx(MASK.sum() * scale**2, rel=0.04)


@pytest.mark.parametrize("mode", ["colour", "illumination", "flatten"])
def test_edits_of_one_image(mode: str) -> None:
    parameters = {"gain": (0.5, 1, 1.5), "alpha": 0.3, "beta": 0.1, "threshold": 20.0}
    got = blend_images(TARGET, polygon=POLYGON, mode=mode, **parameters)  # type: ignore[arg-type]
    wanted, report = repix.edit_selection(TARGET.pixels, mode=mode, polygon=POLYGON, **parameters)  # type: ignore[arg-type]
    np.testing.assert_array_equal(got.pixels, wanted)
    assert (got.report, got.metadata) == (report, TARGET.metadata)


def test_tiling_takes_the_whole_image() -> None:
    clear = Picture(TARGET.pixels, alpha=np.zeros((90, 120), np.uint8))
    got = blend_images(clear, mode="tile")
    np.testing.assert_array_equal(got.pixels, repix.edit_selection(TARGET.pixels, mode="tile")[0])
    np.testing.assert_array_equal(got.alpha, clear.alpha)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": None}, "mode 'import' needs a target"),
        ({"mode": "flatten"}, "changes one image; leave out the target"),
        ({"mode": "flatten", "target": None, "scale": 2}, "leave out offset, scale and rotation"),
        ({"mode": "tile", "target": None}, "leave out the mask and the polygon"),
        ({"mode": "paste"}, "expected one of import, mixed"),
        ({"mask": MASK}, "both a mask and a polygon"),
        ({"polygon": None}, "nothing is selected"),
        ({"polygon": None, "mask": MASK[1:]}, "the mask has shape"),
        ({"polygon": None, "mask": TARGET}, "the mask has shape"),
        ({"polygon": None, "mask": MASK & False, "scale": 2}, "the mask is empty"),
        ({"offset": (1.5, 2)}, "two whole numbers"),
        ({"offset": (400, 0)}, "rows 410 to 444"),
        ({"offset": (400, 0), "rotate": 45}, "outside the target"),
        ({"anchor": (float("nan"), 0)}, "of finite numbers"),
        ({"scale": 0}, "scale is 0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"rotate": float("inf")}, "angle inf"),
        ({"scale": 1e5}, "scale it less"),
        ({"scale": 1e-6}, "give a larger scale"),
        ({"offset": (0, 1e30)}, "at most 1,000,000,000 off"),
        ({"offset": (0, 10**30)}, "at most 1,000,000,000 off"),
        ({"offset": (0, 1e300), "anchor": (0, 0)}, "of finite numbers up to"),
        ({"mode": "colour", "target": None, "gain": (1e38, 1, 1)}, "three factors from 0 to 1,000"),
        ({"mode": "illumination", "target": None, "alpha": 1e300}, "alpha above 0, at most 1,000"),
        ({"mode": "flatten", "target": None, "threshold": float("nan")}, "threshold is nan"),
        ({"mode": "flatten", "target": None, "threshold": -1}, "threshold is -1"),
        ({"mode": "mixed", "descent": 5}, "leave out the mode 'mixed'"),
        ({"target": TARGET.pixels}, "expected an image as repix.read_image gives it"),
    ],
)
def test_what_cannot_be_used(given: dict[str, object], message: str) -> None:
    arguments = {"target": TARGET, "polygon": POLYGON, **given}
    with pytest.raises(InputError, match=message):
        blend_images(SOURCE, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [4, 8, 13])
def test_a_large_source_may_become_small(factor: int) -> None:
    """By means first: a blur as wide as that alone takes minutes on a large image."""
    large = Picture(SOURCE.pixels.repeat(factor, 0).repeat(factor, 1))
    ring = [(factor * x + (factor - 1) / 2, factor * y + (factor - 1) / 2) for x, y in POLYGON]
    got = blend_images(large, TARGET, polygon=ring, offset=(20, 11), scale=1 / factor)
    wanted = blend_images(SOURCE, TARGET, polygon=POLYGON, offset=(20, 11))
    changed = (wanted.pixels != TARGET.pixels).any(2)
    off = np.abs(got.pixels.astype(float) - wanted.pixels)[changed]
    moved = np.abs(np.roll(wanted.pixels, 1, 1).astype(float) - wanted.pixels)[changed]
    assert off.mean() < 0.6 * moved.mean()
    enormous = Picture(np.full((4000, 3000, 3), 90, np.uint8))
    begun = time.process_time()
    blend_images(enormous, TARGET, mask=np.ones((4000, 3000), bool), offset=(20, 11), scale=1 / 400)
    assert time.process_time() - begun < 20


def test_descent_is_off_and_says_so() -> None:
    pytest.importorskip("torch")
    steps: list[int] = []
    got = blend_images(
        SOURCE,
        TARGET,
        polygon=POLYGON,
        offset=(20, 11),
        descent=20,
        on_step=lambda step, loss, error: steps.append(step),
    )
    assert got.report.method == "20 steps of Adam"
    assert got.report.error_levels > 5
    assert steps[-1] == 20
    exact = repix.blend(SOURCE.pixels, TARGET.pixels, mask=MASK, offset=(20, 11))[0]
    changed = (exact != TARGET.pixels).any(2)
    np.testing.assert_array_equal(got.pixels[~changed], TARGET.pixels[~changed])
