"""Layouts are recognised, orphans and unequal sizes are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips

from data_sets import DATA, needs
from repix.data.pairs import Pair, find_pairs, find_pairs_in, scan_pairs
from repix.errors import InputError


def save_image(path: Path, height: int = 4, width: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(np.full((height, width, 3), 9, np.uint8)).write_to_file(str(path))
    return path


def made(root: Path, *names: str) -> Path:
    for name in names:
        save_image(root / name)
    return root


def names(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.lq.name, pair.gt.name) for pair in pairs]


@pytest.mark.parametrize(
    ("layout", "files", "expected"),
    [
        (
            "rain100",
            ("rainy/rain-001.png", "rainy/rain-002.webp", "norain-001.jpg", "norain-002.png"),
            [("rain-001.png", "norain-001.jpg"), ("rain-002.webp", "norain-002.png")],
        ),
        (
            "rain100",
            ("rain-1.png", "rain-10.png", "rain-2.png", "norain-1.png", "norain-10.png", "norain-2.png"),
            [("rain-1.png", "norain-1.png"), ("rain-2.png", "norain-2.png"), ("rain-10.png", "norain-10.png")],
        ),
        (
            "rain200",
            ("rain/norain-1.png", "norain/norain-1.jpg"),
            [("norain-1.png", "norain-1.jpg")],
        ),
        (
            "rain200",
            ("rain/X2/norain-1x2.png", "norain/norain-1.png"),
            [("norain-1x2.png", "norain-1.png")],
        ),
        (
            "rain1400",
            (
                "rainy_image/1_1.jpg",
                "rainy_image/1_14.jpg",
                "rainy_image/12_1.jpg",
                "ground_truth/1.jpg",
                "ground_truth/12.jpg",
            ),
            [("1_1.jpg", "1.jpg"), ("1_14.jpg", "1.jpg"), ("12_1.jpg", "12.jpg")],
        ),
        ("spa-data", ("rain/000.png", "gt/000gt.png"), [("000.png", "000gt.png")]),
        ("spa-data", ("000.png", "000gt.png"), [("000.png", "000gt.png")]),
        ("input-target", ("input/a.png", "target/a.jpg"), [("a.png", "a.jpg")]),
        ("input-target", ("input/a.webp", "groundtruth/a.png"), [("a.webp", "a.png")]),
        ("input-target", ("rainy/a.png", "gt/a.png"), [("a.png", "a.png")]),
        ("input-target", ("Input/a.PNG", "Target/a.png"), [("a.PNG", "a.png")]),
    ],
)
def test_layouts_are_recognised(tmp_path: Path, layout: str, files: tuple[str, ...], expected: list[object]) -> None:
    made(tmp_path, *files)
    (tmp_path / "readme.md").write_text("not an image")
    assert names(find_pairs(tmp_path)) == expected
    assert names(find_pairs(tmp_path, layout)) == expected
    assert scan_pairs(tmp_path).layout == layout


def test_ground_truth_in_another_folder(tmp_path: Path) -> None:
    made(tmp_path, "H/rainy/rain-001.png", "L/norain-001.png", "L/norain-002.png", "L/rainy/rain-001.png")
    assert names(find_pairs_in(tmp_path / "H" / "rainy", tmp_path / "L")) == [("rain-001.png", "norain-001.png")]
    with pytest.raises(InputError, match="--lq and --gt"):
        find_pairs(tmp_path / "H")


def test_the_same_folder_twice(tmp_path: Path) -> None:
    made(tmp_path, "clean/a.png", "clean/b.jpg", "both/rain-1.png", "both/norain-1.png")
    assert names(find_pairs_in(tmp_path / "clean", tmp_path / "clean")) == [("a.png", "a.png"), ("b.jpg", "b.jpg")]
    assert names(find_pairs_in(tmp_path / "both", tmp_path / "both")) == [("rain-1.png", "norain-1.png")]


def test_side_by_side(tmp_path: Path) -> None:
    save_image(tmp_path / "1.png", height=4, width=8)
    (pair,) = find_pairs(tmp_path)
    assert pair == Pair("1", tmp_path / "1.png", tmp_path / "1.png", "left")
    both = np.arange(32, dtype=np.uint8).reshape(4, 8, 1)
    lq, gt = pair.split(both, both)
    np.testing.assert_array_equal(lq, both[:, :4])
    np.testing.assert_array_equal(gt, both[:, 4:])
    (turned,) = find_pairs(tmp_path, "side-by-side-reversed")
    np.testing.assert_array_equal(turned.split(both, both)[0], both[:, 4:])


def test_a_folder_of_photos_is_not_side_by_side(tmp_path: Path) -> None:
    save_image(tmp_path / "1.png", height=4, width=6)
    with pytest.raises(InputError, match="no pairs in"):
        find_pairs(tmp_path)
    save_image(tmp_path / "2.png", height=4, width=7)
    assert scan_pairs(tmp_path, "side-by-side").problems == [
        f"{tmp_path / '2.png'} is 7 pixels wide: an odd width has no two halves"
    ]


@pytest.mark.parametrize("given", ["folder", "file"])
def test_list(tmp_path: Path, given: str) -> None:
    made(tmp_path, "real/a/0.png", "real_gt/a/0.jpg")
    listed = tmp_path / "real.txt"
    listed.write_text("/real/a/0.png /real_gt/a/0.jpg\n\n")
    assert find_pairs(tmp_path if given == "folder" else listed) == [
        Pair("real/a/0", tmp_path / "real/a/0.png", tmp_path / "real_gt/a/0.jpg")
    ]
    listed.write_text("real/a/0.png real_gt/a/0.jpg\nreal/b.png real_gt/b.png\n")
    with pytest.raises(InputError, match=r"b\.png is missing"):
        find_pairs(listed)
    listed.write_text("real/a/0.png\n")
    with pytest.raises(InputError, match="line 1: 1 entry, expected two"):
        find_pairs(listed)


def test_orphans_are_named(tmp_path: Path) -> None:
    made(tmp_path, "input/a.png", "input/b.png", "target/a.png", "target/c.png")
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path)
    assert "b.png has no ground truth" in str(caught.value)
    assert "c.png has no degraded image" in str(caught.value)
    scan = scan_pairs(tmp_path)
    assert names(scan.pairs) == [("a.png", "a.png")]
    assert len(scan.problems) == 2
    with pytest.raises(InputError, match=r"b\.png has no ground truth"):
        find_pairs_in(tmp_path / "input", tmp_path / "target")
    (tmp_path / "input" / "b.png").unlink()
    assert len(find_pairs_in(tmp_path / "input", tmp_path / "target")) == 1


def test_many_orphans_are_counted(tmp_path: Path) -> None:
    made(tmp_path, "input/a.png", "target/a.png", *(f"input/b{i}.png" for i in range(8)))
    with pytest.raises(InputError, match=r"8 images .* and 3 more"):
        find_pairs(tmp_path)


def test_unequal_sizes_are_named(tmp_path: Path) -> None:
    made(tmp_path, "input/a.png", "input/b.png", "target/a.png")
    save_image(tmp_path / "target" / "b.png", height=5, width=6)
    with pytest.raises(InputError, match=r"b\.png is 6x4, its ground truth .*b\.png 6x5"):
        find_pairs(tmp_path)
    assert names(scan_pairs(tmp_path).pairs) == [("a.png", "a.png")]


def test_orientation_counts(tmp_path: Path) -> None:
    made(tmp_path, "input/a.png")
    target = tmp_path / "target" / "a.jpg"
    target.parent.mkdir()
    turned = pyvips.Image.new_from_array(np.full((6, 4, 3), 9, np.uint8)).copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    turned.write_to_file(str(target))
    assert names(find_pairs(tmp_path)) == [("a.png", "a.jpg")]


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    made(tmp_path, "input/a.png", "target/a.png", "target/b.png")
    (tmp_path / "input" / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.png: the file is empty"):
        find_pairs(tmp_path)


def test_ambiguous_names(tmp_path: Path) -> None:
    made(tmp_path, "input/a.png", "target/a.png", "target/a.jpg")
    with pytest.raises(InputError, match="share a name"):
        find_pairs(tmp_path)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing, expected a folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(InputError, match="did you mean 'rain100'"):
        find_pairs(tmp_path, "rain-100")
    with pytest.raises(InputError, match="no pairs in"):
        find_pairs(tmp_path)
    made(tmp_path, "x/a.png", "y/b.png")
    with pytest.raises(InputError, match="has a partner"):
        find_pairs_in(tmp_path / "x", tmp_path / "y")


@needs("Rain100H")
def test_the_real_sets() -> None:
    light = find_pairs(DATA / "Rain100L")
    heavy = find_pairs_in(DATA / "Rain100H" / "rainy", DATA / "Rain100L")
    train = find_pairs(DATA / "RainTrainL")
    facades = scan_pairs(DATA / "facades" / "val")
    assert [len(light), len(heavy), len(train), len(facades.pairs)] == [100, 100, 200, 100]
    assert facades.layout == "side-by-side"
    for pair in light + heavy:
        assert pair.gt.stem == "no" + pair.lq.stem
    for pair in train:
        assert pair.gt.stem == pair.lq.stem


def test_swapped_pairs_exchange_images_and_halves() -> None:
    two = Pair("x", Path("a/x.png"), Path("b/x.png"))
    assert two.swapped() == Pair("x", Path("b/x.png"), Path("a/x.png"))
    one = Pair("y", Path("y.png"), Path("y.png"), "left")
    both = np.arange(8).reshape(1, 8, 1)
    a, b = one.split(both, both)
    assert [half.tolist() for half in one.swapped().split(both, both)] == [b.tolist(), a.tolist()]
    assert one.swapped().swapped() == one


def test_names_that_differ_only_in_case_or_in_the_form_of_unicode_are_the_same(tmp_path: Path) -> None:
    root = made(tmp_path, "input/Cafe\u0301.png", "input/B.PNG", "target/caf\u00e9.png", "target/b.png")
    assert [(pair.lq.stem, pair.gt.stem) for pair in find_pairs(root)] == [
        ("B", "b"),
        ("Cafe\u0301", "caf\u00e9"),
    ]


def test_where_case_tells_names_apart_it_does(tmp_path: Path) -> None:
    root = made(tmp_path, "input/a.png", "input/A.png", "input/b.png", "target/a.png", "target/A.png", "target/B.png")
    if len(list((tmp_path / "input").iterdir())) < 3:
        pytest.skip("a file system that is blind to case")
    found = {pair.lq.stem: pair.gt.stem for pair in find_pairs(root)}
    assert found == {"a": "a", "A": "A", "b": "B"}
    save_image(tmp_path / "target" / "É.png"), save_image(tmp_path / "target" / "e\u0301.png")
    save_image(tmp_path / "input" / "E\u0301.png")  # of two alike neither is taken
    assert any("has no ground truth" in problem for problem in scan_pairs(root).problems)
