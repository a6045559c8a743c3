"""Label maps as they are painted."""

from __future__ import annotations

import numpy as np
import pytest

from repix.app.translate import SIZE, Shape, draw_labels, first_facade
from repix.errors import InputError
from repix.palettes import FACADES, nearest_label

RGB = {colour.name: colour.rgb for colour in FACADES}


def test_only_the_palettes_colours_whatever_is_painted() -> None:
    shapes = [
        *map(Shape.model_validate, first_facade()),
        Shape(kind="line", label="balcony", width=7, points=[(10.3, 20.7), (200, 61), (30, 240)]),
        Shape(kind="line", label="shop", width=21, points=[(128, 128)]),
        Shape(kind="rect", label="deco", points=[(250, 250), (300, 400)]),
    ]
    drawn = draw_labels(shapes)
    assert drawn.shape == (SIZE, SIZE, 3)
    colours = {tuple(colour) for colour in np.unique(drawn.reshape(-1, 3), axis=0).tolist()}
    assert colours <= set(RGB.values())
    assert {RGB["balcony"], RGB["shop"], RGB["deco"], RGB["door"]} <= colours
    disc = (drawn == RGB["shop"]).all(2).sum()
    assert disc == pytest.approx(np.pi * 10.5**2, rel=0.1)


def test_a_rectangle_has_both_its_corners_in_any_order() -> None:
    for points in ([(40, 60), (80, 110)], [(80, 60), (40, 110)]):
        labels = nearest_label(draw_labels([Shape(kind="rect", label="window", points=points)]), FACADES)
        rows, columns = np.nonzero(labels == [colour.name for colour in FACADES].index("window"))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (60, 110, 40, 80)
        assert len(rows) == 51 * 41


def test_what_is_no_class_is_named() -> None:
    with pytest.raises(InputError, match="'roof' is no class of a facade; choose background"):
        draw_labels([Shape(kind="rect", label="roof", points=[(0, 0), (5, 5)])])
