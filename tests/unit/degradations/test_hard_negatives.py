"""Hard negatives: seeded, of any size, really full of thin structures, and without holes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from repix.degradations.hard_negatives import HARD_NEGATIVES, _ground, _stroke, draw_hard_negative
from repix.errors import InputError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", HARD_NEGATIVES)
def test_same_seed_same_image(kind: str) -> None:
    first, again, other = (draw_hard_negative((61, 48), rng(seed), kind=kind) for seed in (1, 1, 2))
    assert first.shape == (61, 48, 3)
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


@pytest.mark.parametrize("kind", HARD_NEGATIVES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (33, 7)])
def test_any_size(kind: str, shape: tuple[int, int]) -> None:
    image = draw_hard_negative(shape, rng(), kind=kind)
    assert image.shape == (*shape, 3)
    assert np.isfinite(image).all()


@pytest.mark.parametrize("kind", HARD_NEGATIVES)
def test_there_are_thin_structures(kind: str) -> None:
    def fine(image: np.ndarray) -> float:
        grey = image.mean(2)
        return float(np.abs(grey - gaussian_filter(grey, 3)).mean())

    drawn = np.median([fine(draw_hard_negative((96, 96), rng(seed), kind=kind)) for seed in range(5)])
    bare = np.median([fine(_ground((96, 96), rng(seed))) for seed in range(5)])
    assert drawn > 5 * bare


def test_every_kind_is_drawn_and_cloth_most(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    for kind in list(HARD_NEGATIVES):

        def drawn(behind: Any, _: np.random.Generator, kind: str = kind) -> Any:
            seen[kind] += 1
            return behind

        monkeypatch.setitem(HARD_NEGATIVES, kind, drawn)  # type: ignore[arg-type]
    for seed in range(300):
        draw_hard_negative((4, 4), rng(seed))
    assert set(seen) == set(HARD_NEGATIVES)
    assert seen.most_common(1)[0][0] == "cloth"


def test_the_background_shows_between_the_wires() -> None:
    behind = np.zeros((80, 90, 3), np.float32)
    behind[...] = (0.2, 0.5, 0.8)
    for kind in ("wires", "fence"):
        image = draw_hard_negative((80, 90), rng(3), kind=kind, background=behind)
        bare = np.isclose(image, behind, atol=1e-6).all(2)
        assert 0.2 < bare.mean() < 0.98
    np.testing.assert_array_equal(behind[0, 0], np.float32([0.2, 0.5, 0.8]))


def test_strokes_have_their_width_and_no_holes() -> None:
    ink = np.ones((1, 3))
    for degrees in (0, 17, 37, 45, 90):
        along = 60 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        middle = np.array([40.0, 40.0])
        curve = np.stack([middle - along, middle, middle + along])[None]
        drawn = _stroke(np.zeros((80, 80, 3), np.float32), curve, 3, ink)[..., 0]
        length = 80 / max(abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees))))
        assert drawn.sum() == pytest.approx(3 * length, rel=0.12)
        y, x = np.mgrid[:80, :80] + 0.5 - 40
        off = np.abs(x * along[0] - y * along[1]) / 60
        assert (drawn[off < 0.6] == 1).all()
        assert (drawn[off > 2.6] == 0).all()


def test_later_strokes_lie_over_earlier_ones_and_taper() -> None:
    across = np.array([[[20.0, -5], [20, 20], [20, 45]], [[-5, 20.0], [20, 20], [45, 20]]])
    drawn = _stroke(np.zeros((40, 40, 3), np.float32), across, 4, np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    np.testing.assert_array_equal(drawn[20, 20], [0, 1, 0])
    np.testing.assert_array_equal(drawn[20, 5], [1, 0, 0])
    blade = np.array([[[38.0, 20], [20, 20], [2, 20]]])
    tapered = _stroke(np.zeros((40, 40, 3), np.float32), blade, 6, np.ones((1, 3)), tapered=True)[..., 0]
    assert tapered[36].sum() > tapered[12].sum() > tapered[4].sum()


def test_errors() -> None:
    with pytest.raises(InputError, match="got kind 'zebra', expected one of hatching, fence"):
        draw_hard_negative((8, 8), rng(), kind="zebra")
    with pytest.raises(InputError, match="at least one pixel"):
        draw_hard_negative((0, 8), rng())
    with pytest.raises(InputError, match=r"the background is \(4, 4, 3\), expected \(8, 8, 3\)"):
        draw_hard_negative((8, 8), rng(), background=np.zeros((4, 4, 3), np.float32))
