from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repix.errors import InputError
from repix.poisson.mask import (
    as_mask,
    as_offset,
    bounding_box,
    create_mask_from_points,
    cut,
    parse_polygon,
    read_polygon,
    target_windows,
    threshold_mask,
)


def even_odd(rings: list[list[tuple[int, int]]], height: int, width: int) -> np.ndarray:
    """The rule, pixel by pixel: on an edge, or an odd number of edges to the right."""
    mask = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            inside = False
            for ring in rings:
                for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
                    cross = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
                    within = min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1)
                    if cross == 0 and within:
                        inside = True
                        break
                    if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                        inside = not inside
                else:
                    continue
                break
            mask[y, x] = 255 * inside
    return mask


points = st.tuples(st.integers(-4, 24), st.integers(-4, 19))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(points, min_size=3, max_size=7), min_size=1, max_size=3))
def test_every_polygon_follows_the_even_odd_rule(rings: list[list[tuple[int, int]]]) -> None:
    # touching and self-crossing outlines, rings in rings and corners beyond the frame all occur among these
    got = create_mask_from_points(rings, 16, 20)
    wanted = even_odd(rings, 16, 20)
    # A pixel on the outline of one ring stays inside whatever the others say
    edge = np.any([even_odd_edge(ring, 16, 20) for ring in rings], axis=0)
    np.testing.assert_array_equal(got > 0, (wanted > 0) | edge)


def even_odd_edge(ring: list[tuple[int, int]], height: int, width: int) -> np.ndarray:
    edge = np.zeros((height, width), bool)
    y, x = np.mgrid[:height, :width]
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        on = (x1 - x0) * (y - y0) == (y1 - y0) * (x - x0)
        edge |= on & (x >= min(x0, x1)) & (x <= max(x0, x1)) & (y >= min(y0, y1)) & (y <= max(y0, y1))
    return edge


def test_a_square_holds_its_corners() -> None:
    mask = create_mask_from_points([(2, 1), (6, 1), (6, 4), (2, 4)], 8, 9)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    wanted = np.zeros((8, 9), bool)
    wanted[1:5, 2:7] = True
    np.testing.assert_array_equal(mask > 0, wanted)


def test_a_five_pointed_star_has_a_hole() -> None:
    angles = np.radians(90 + 144 * np.arange(5))
    star = np.stack([50 + 45 * np.cos(angles), 50 - 45 * np.sin(angles)], axis=1)
    mask = create_mask_from_points(star, 100, 100) > 0
    assert not mask[50, 50]
    assert mask[15, 50]
    assert mask[38, 15]


def test_several_regions_and_a_hole() -> None:
    square = [(10.5, 10.5), (40.5, 10.5), (40.5, 40.5), (10.5, 40.5)]
    hole = [(20.5, 20.5), (30.5, 20.5), (30.5, 30.5), (20.5, 30.5)]
    other = [(50.5, 0.5), (55.5, 0.5), (55.5, 5.5), (50.5, 5.5)]
    mask = create_mask_from_points([square, hole, other], 60, 60) > 0
    assert mask.sum() == 30 * 30 - 10 * 10 + 5 * 5
    assert not mask[25, 25]
    assert mask[3, 53]


def test_a_polygon_around_the_frame_takes_everything_and_one_beside_it_nothing() -> None:
    assert (create_mask_from_points([(-9, -9), (99, -9), (99, 99), (-9, 99)], 20, 30) == 255).all()
    assert not create_mask_from_points([(-9, -9), (-3, -9), (-3, 99)], 20, 30).any()


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([(1, 2), (3, 4)], "polygon of 2 points"),
        ([], "polygon of 0 points|not a polygon"),
        ([[]], "polygon of 0 points|not a polygon"),
        ([(1, 2, 3)] * 3, r"array of shape \(3, 3\)"),
        ([(1, 2), (3, float("nan")), (5, 6)], "not a finite number"),
        ([(1, 2), (3, "x"), (5, 6)], "not a polygon"),
        ([[(0, 0), (5, 0), (5, 5)], [(1, 1), (2, 2)]], "polygon of 2 points"),
        (7, "not a polygon"),
        ("abc", "not a polygon"),
    ],
)
def test_bad_polygons_are_refused(polygon: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_mask_from_points(polygon, 10, 10)  # type: ignore[arg-type]


def test_a_mask_without_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="no pixels"):
        create_mask_from_points([(0, 0), (1, 0), (1, 1)], 0, 5)


@pytest.mark.parametrize(
    "text",
    [
        "1,2 30,4 5,6.5",
        " 1,2;30,4;5,6.5 ",
        "[[1, 2], [30, 4], [5, 6.5]]",
        "[[[1, 2], [30, 4], [5, 6.5]]]",
        '{"points": [[1, 2], [30, 4], [5, 6.5]]}',
        '{"polygon": [[[1, 2], [30, 4], [5, 6.5]]], "name": "x"}',
    ],
)
def test_polygons_as_text(text: str) -> None:
    assert parse_polygon(text) == [[(1, 2), (30, 4), (5, 6.5)]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[1, 2], [3", "not valid JSON"),
        ('{"a": 1}', "not a polygon"),
        ('[{"x": 1}]', "not a polygon"),
        ("[1, 2, 3]", "not a polygon"),
        ("[[1, 2], [3, null], [5, 6]]", "not a (polygon|finite number)"),
        ("hello", "'hello' is not a polygon"),
        ("1,2 3,4", "polygon of 2 points"),
        ("", "polygon of 0 points|not a polygon"),
        ("1 2 3", "not a polygon"),
    ],
)
def test_text_that_is_no_polygon(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_polygon(text)


def test_polygon_files(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text("\ufeff[[1, 2], [30, 4], [5, 6]]", encoding="utf-8")
    assert read_polygon(file) == [[(1, 2), (30, 4), (5, 6)]]
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read_polygon(file)
    with pytest.raises(InputError, match="cannot read"):
        read_polygon(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot read"):
        read_polygon(tmp_path)


def test_masks_of_two_values_are_taken_and_soft_ones_refused() -> None:
    hard = np.array([[0, 255], [255, 0]], np.uint8)
    for mask in (hard, hard > 0, hard // 255, hard * 1.0, hard[..., None]):
        np.testing.assert_array_equal(as_mask(mask, (2, 2)), hard > 0)
    with pytest.raises(InputError, match="soft"):
        as_mask(np.array([[0, 255], [128, 0]], np.uint8), (2, 2))
    with pytest.raises(InputError, match="must be"):
        as_mask(hard, (3, 2))
    with pytest.raises(InputError, match="not numbers"):
        as_mask(np.array([[0, np.nan], [1, 0]]), (2, 2))
    with pytest.raises(InputError, match="not numbers"):
        as_mask([["a", "b"], ["c", "d"]], (2, 2))


@pytest.mark.parametrize(
    ("mask", "inside", "soft"),
    [
        (np.array([[0, 127, 128, 255]], np.uint8), [0, 0, 1, 1], True),
        (np.array([[0, 255]], np.uint8), [0, 1], False),
        (np.array([[0, 1]], np.uint8), [0, 1], False),
        (np.array([[0, 32767, 32768, 65535]], np.uint16), [0, 0, 1, 1], True),
        (np.array([[0, 0.49, 0.5, 1]]), [0, 0, 1, 1], True),
        (np.array([[False, True]]), [0, 1], False),
    ],
)
def test_soft_masks_are_cut_at_half(mask: np.ndarray, inside: list[int], soft: bool) -> None:
    got, was_soft = threshold_mask(mask)
    assert got.astype(int).tolist() == [inside]
    assert was_soft == soft


def windows(mask: np.ndarray, offset: tuple[int, int], size: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Where each window is, having checked that together they hold the placed mask exactly once."""
    placed = np.zeros(size, int)
    for window in target_windows(mask, offset, size):
        placed[window.rows, window.columns] += window.inside
    wanted = np.zeros(size, int)
    for y, x in np.argwhere(mask) + offset:
        if 0 <= y < size[0] and 0 <= x < size[1]:
            wanted[y, x] = 1
    np.testing.assert_array_equal(placed, wanted)
    return [(window.rows, window.columns) for window in target_windows(mask, offset, size)]


def test_a_window_is_the_box_and_one_pixel_cut_at_the_frame() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:7] = True
    assert windows(mask, (0, 0), (50, 60)) == [(slice(1, 6), slice(2, 8))]
    assert windows(mask, (-3, -4), (50, 60)) == [(slice(0, 3), slice(0, 4))]
    assert windows(mask, (47, 54), (50, 60)) == [(slice(48, 50), slice(56, 60))]
    assert windows(mask, (-1, -2), (3, 3)) == [(slice(0, 3), slice(0, 3))]
    with pytest.raises(InputError, match="outside the target"):
        target_windows(mask, (48, 0), (50, 60))
    with pytest.raises(InputError, match="outside the target"):
        target_windows(mask, (-5, 0), (50, 60))
    with pytest.raises(InputError, match="empty"):
        target_windows(mask & False, (0, 0), (50, 60))
    corners = np.zeros((10, 10), bool)
    corners[0, 9] = corners[9, 0] = True  # the box meets the target, none of its pixels does
    with pytest.raises(InputError, match="outside the target"):
        target_windows(corners, (-5, -5), (3, 3))


def test_regions_far_apart_get_a_window_each() -> None:
    mask = np.zeros((200, 300), bool)
    mask[5:15, 5:15] = mask[15, 15] = mask[180:190, 250:280] = True  # two of them touch at a corner only
    assert windows(mask, (0, 0), (200, 300)) == [
        (slice(4, 16), slice(4, 16)),
        (slice(14, 17), slice(14, 17)),
        (slice(179, 191), slice(249, 281)),
    ]
    assert windows(mask, (-10, -10), (175, 260)) == [
        (slice(0, 6), slice(0, 6)),
        (slice(4, 7), slice(4, 7)),
        (slice(169, 175), slice(239, 260)),
    ]
    mask[:, 20] = mask[100, :] = True  # one region now, apart from the corners
    assert len(windows(mask, (0, 0), (200, 300))) == 1
    noise = np.random.default_rng(0).random((200, 300)) < 0.1
    assert len(windows(noise, (3, 4), (200, 300))) == 1  # thousands of small ones are solved together


def test_cut_goes_on_past_the_edge() -> None:
    image = np.arange(12).reshape(3, 4)
    assert cut(image, slice(-1, 2), slice(2, 5), "edge").tolist() == [[2, 3, 3], [2, 3, 3], [6, 7, 7]]
    assert cut(image, slice(-1, 1), slice(3, 5), "constant").tolist() == [[0, 0], [3, 0]]
    assert cut(image[..., None], slice(0, 4), slice(0, 4), "edge").shape == (4, 4, 1)


def test_offsets_are_two_whole_numbers() -> None:
    assert as_offset((3.0, -4)) == (3, -4)
    for bad in ((1.5, 2), (1,), (1, 2, 3), (float("nan"), 0), (float("inf"), 0), "ab", None):
        with pytest.raises(InputError, match=r"expected two whole numbers \(y, x\)"):
            as_offset(bad)  # type: ignore[arg-type]


def test_the_bounding_box_just_holds_the_mask() -> None:
    mask = np.zeros((9, 12), bool)
    mask[2, 5] = mask[7, 3] = True
    assert bounding_box(mask) == (slice(2, 8), slice(3, 6))
    with pytest.raises(InputError, match="the mask is empty"):
        bounding_box(mask & False)
