"""`make_pairs`: folders mirrored, the same photo always gets the same rain, failures are listed and nothing is lost."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import pyvips

from repix.data.pairs import find_pairs
from repix.degradations import write_pairs
from repix.degradations.write_pairs import make_pairs
from repix.errors import InputError
from repix.io.image import Picture, read_image, write_image


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    write_image(folder / "a.png", Picture(photo))
    write_image(folder / "trip" / "b.jpg", Picture(photo[::-1].copy()))
    return folder


def test_pairs_that_find_pairs_finds(photos: Path, tmp_path: Path) -> None:
    made = make_pairs([photos], tmp_path / "out", severity=0.8, layer=True)
    assert made == (2, [], [], 0, ())
    assert (tmp_path / "out" / "input" / "trip" / "b.png").is_file()
    assert (tmp_path / "out" / "layer" / "a.png").is_file()
    assert np.array_equal(read_image(tmp_path / "out" / "target" / "a.png").pixels, read_image(photos / "a.png").pixels)
    flat = make_pairs([photos / "a.png"], tmp_path / "flat", severity=0.8, copies=3)
    assert flat.made == 3
    assert [pair.name for pair in find_pairs(tmp_path / "flat")] == ["a_1", "a_2", "a_3"]
    rains = [read_image(pair.lq).pixels for pair in find_pairs(tmp_path / "flat")]
    assert not np.array_equal(rains[0], rains[1])


def test_an_image_of_one_pixel_has_rain_too(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((1, 1, 3), 90, np.uint8))
    assert make_pairs([tmp_path / "a.png"], tmp_path / "out")[:2] == (1, [])


def test_results_of_derain_are_no_clean_photos(photos: Path, tmp_path: Path) -> None:
    for name in ("a_derained.png", "a_compare.png"):
        write_image(photos / name, read_image(photos / "a.png"))
    made = make_pairs([photos], tmp_path / "out")
    assert made == (2, [], [photos / "a_compare.png", photos / "a_derained.png"], 0, ())


def test_pairs_in_the_photos_own_folder_are_no_photos(photos: Path) -> None:
    assert make_pairs([photos], photos, layer=True).made == 2
    before = sorted(photos.rglob("*"))
    again = make_pairs([photos], photos, layer=True)
    assert (again.made, again.there) == (0, 2)
    assert len(again.left_out) == 4
    assert sorted(photos.rglob("*")) == before


def test_rain_depends_on_seed_and_name_alone(photos: Path, tmp_path: Path) -> None:
    make_pairs([photos], tmp_path / "one", seed=5)
    make_pairs([photos / "a.png"], tmp_path / "two", seed=5)
    make_pairs([photos / "a.png"], tmp_path / "three", seed=6)
    one, two, three = (read_image(tmp_path / n / "input" / "a.png").pixels for n in ("one", "two", "three"))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_what_is_there_is_kept_unless_asked(photos: Path, tmp_path: Path) -> None:
    make_pairs([photos], tmp_path / "out", seed=1)
    before = (tmp_path / "out" / "input" / "a.png").read_bytes()
    again = make_pairs([photos], tmp_path / "out", seed=2)
    assert (again.made, again.there) == (0, 2)
    assert (tmp_path / "out" / "input" / "a.png").read_bytes() == before
    assert make_pairs([photos], tmp_path / "out", seed=2, overwrite=True).made == 2


def test_photos_of_one_name_all_get_a_pair(photos: Path, tmp_path: Path) -> None:
    (photos / "a.gif").write_bytes(pyvips.Image.black(32, 32).copy(interpretation="srgb").gifsave_buffer())
    made = make_pairs([photos], tmp_path / "out")
    assert (made.made, made.failed) == (3, [])
    assert made.notes == ("the result of a.gif is called a.gif.png, since another has its name",)
    assert {path.name for path in (tmp_path / "out" / "input").iterdir()} == {"a.gif.png", "a.png", "trip"}


def test_a_bad_photo_does_not_stop_the_others(photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"not an image")
    made = make_pairs([photos, tmp_path / "nowhere.png"], tmp_path / "out")
    assert made.made == 2
    assert len(made.failed) == 2
    with pytest.raises(InputError, match="no streak masks"):
        make_pairs([photos], tmp_path / "out", masks=tmp_path)


@pytest.mark.parametrize("error", [InputError("disk full"), KeyboardInterrupt()])
def test_no_half_pair_is_left(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def full(path: Path, image: Picture) -> tuple[str, ...]:
        if path.parent.name == "input":
            raise error
        return write_image(path, image)

    monkeypatch.setattr(write_pairs, "write_image", full)
    with contextlib.suppress(KeyboardInterrupt):
        assert len(make_pairs([photos / "a.png"], tmp_path / "out").failed) == 1
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_own_masks(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    streaks = np.zeros((40, 40, 3), np.uint8)
    streaks[5:30, ::9] = 255
    write_image(tmp_path / "masks" / "m.png", Picture(streaks, grey=True))
    make_pairs([photos / "a.png"], tmp_path / "out", masks=tmp_path / "masks", severity=0.9, layer=True)
    assert read_image(tmp_path / "out" / "layer" / "a.png").pixels.max() > 60
