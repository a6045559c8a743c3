"""Which output names a run plans. `repix derain` tests the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repix.errors import InputError
from repix.io.paths import plan


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def planned(*inputs: str, out: str | None = None, **options: object) -> dict[str, str]:
    return {job.src.as_posix(): job.dst.as_posix() for job in plan(inputs, out, **options).jobs}  # type: ignore[arg-type]


def test_names(work: Path) -> None:
    touch("a.jpg", "b.v2.PNG", "c.HEIC", "d/e.tif", "d/f/g.webp", "d/f/readme.md")
    assert planned("a.jpg", "b.v2.PNG", "c.HEIC") == {
        "a.jpg": "a_dry.jpg",
        "b.v2.PNG": "b.v2_dry.PNG",
        "c.HEIC": "c_dry.jpg",
    }
    assert planned("d") == {"d/e.tif": "d_dry/e.tif", "d/f/g.webp": "d_dry/f/g.webp"}
    assert planned("d", out="o") == {"d/e.tif": "o/e.tif", "d/f/g.webp": "o/f/g.webp"}
    assert planned("d", "a.jpg", out="o", format="png")["d/f/g.webp"] == "o/f/g.png"
    assert planned("a.jpg", out="x.png") == {"a.jpg": "x.png"}
    assert planned("d/../d", out="o") == {"d/../d/e.tif": "o/e.tif", "d/../d/f/g.webp": "o/f/g.webp"}
    assert list(planned("d/f/..")) == ["d/f/../e.tif", "d/f/../f/g.webp"]
    assert [Path(dst).resolve() for dst in planned("d/f/..").values()] == [
        work / "d_dry" / "e.tif",
        work / "d_dry" / "f" / "g.webp",
    ]


def test_other_names_and_lossless_ones(work: Path) -> None:
    touch("a.jpg", "b.HEIC", "d/c.avif", "d/e.webp", "d/f.tiff", "d/g.gif")
    assert planned("a.jpg", "d", tag="labels")["a.jpg"] == "a_labels.jpg"
    assert planned("a.jpg", "b.HEIC", "d", tag="labels", lossless=True) == {
        "a.jpg": "a_labels.png",
        "b.HEIC": "b_labels.png",
        "d/c.avif": "d_labels/c.png",
        "d/e.webp": "d_labels/e.webp",
        "d/f.tiff": "d_labels/f.tiff",
        "d/g.gif": "d_labels/g.png",
    }
    assert planned("a.jpg", lossless=True, format="jpg") == {"a.jpg": "a_dry.jpg"}
    assert planned("a.jpg", out="x.jpg", lossless=True) == {"a.jpg": "x.jpg"}


def test_comparisons_have_their_own_names(work: Path) -> None:
    touch("a.jpg", "d/b.heic")
    jobs = plan(["a.jpg", "d"], None, compare=True).jobs
    assert [job.compare for job in jobs] == [Path("a_compare.jpg"), Path("d_dry/b_compare.jpg")]
    touch("d/b_compare.jpg")
    with pytest.raises(InputError, match=r"would both be written to d_dry.b_compare\.jpg"):
        plan(["d"], None, compare=True)


def test_one_file_named_twice_is_done_once(work: Path) -> None:
    touch("a.jpg", "b.jpg")
    assert len(planned("a.jpg", "*.jpg", os.path.abspath("a.jpg"), out="o")) == 2


def test_heic_and_jpeg_of_one_name(work: Path) -> None:
    touch("d/IMG_1.HEIC", "d/IMG_1.jpg")
    with pytest.raises(InputError, match=r"IMG_1\.HEIC and .*IMG_1\.jpg would both be written"):
        plan(["d"], "o")


def test_an_input_is_never_dropped_for_a_collision(work: Path) -> None:
    touch("d/a.jpg", "d/a.png")
    with pytest.raises(InputError, match="would both be written"):
        plan(["d"], "d", format="jpg", overwrite=True)


def test_contradictions(work: Path) -> None:
    touch("a.jpg", "d/b.jpg")
    for inputs, out, options, said in (
        (["a.jpg"], "x.png", {"format": "jpg"}, "contradict"),
        (["a.jpg"], "x.heic", {}, "cannot write"),
        (["a.jpg"], None, {"format": "bmp"}, "cannot write 'bmp'"),
        (["d"], "x.png", {}, "names one file"),
        (["a.jpg"], "a.jpg", {}, "would be overwritten"),
        ([os.sep + "nowhere*"], None, {}, None),
    ):
        if said is None:
            assert plan(inputs, out).failed == [(Path(inputs[0]), "no such file or folder")]
            continue
        with pytest.raises(InputError, match=said):
            plan(inputs, out, **options)  # type: ignore[arg-type]


def test_unknown_extension_needs_a_name_for_the_result(work: Path) -> None:
    touch("raw.dng")
    assert plan(["raw.dng"], None).failed[0][0] == Path("raw.dng")
    assert planned("raw.dng", out="x.png") == {"raw.dng": "x.png"}


def test_planning_leaves_nothing_behind(work: Path) -> None:
    touch("a.jpg")
    plan(["a.jpg"], "deep/er/out")
    assert os.listdir(work) == ["a.jpg"]
