"""Which output names a run plans. `repix derain` tests the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from repix.errors import InputError
from repix.infer import jobs
from repix.infer.jobs import BatchOptions, Naming, VideoOptions, plan


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def planned(
    *inputs: str, out: str | None = None, format: str | None = None, naming: Naming | None = None
) -> dict[str, str]:
    jobs = plan(inputs, out, options=BatchOptions(format=format), naming=naming).jobs
    return {job.src.as_posix(): job.dst.as_posix() for job in jobs}


def test_names(work: Path) -> None:
    touch("a.jpg", "b.v2.PNG", "c.HEIC", "d/e.tif", "d/f/g.webp", "d/f/readme.md")
    assert planned("a.jpg", "b.v2.PNG", "c.HEIC") == {
        "a.jpg": "a_derained.jpg",
        "b.v2.PNG": "b.v2_derained.PNG",
        "c.HEIC": "c_derained.jpg",
    }
    assert planned("d") == {"d/e.tif": "d_derained/e.tif", "d/f/g.webp": "d_derained/f/g.webp"}
    assert planned("d", out="o") == {"d/e.tif": "o/e.tif", "d/f/g.webp": "o/f/g.webp"}
    assert planned("d", "a.jpg", out="o", format="png")["d/f/g.webp"] == "o/f/g.png"
    assert planned("a.jpg", out="x.png") == {"a.jpg": "x.png"}
    assert planned("d/../d", out="o") == {"d/../d/e.tif": "o/e.tif", "d/../d/f/g.webp": "o/f/g.webp"}
    assert list(planned("d/f/..")) == ["d/f/../e.tif", "d/f/../f/g.webp"]
    assert [Path(dst).resolve() for dst in planned("d/f/..").values()] == [
        work / "d_derained" / "e.tif",
        work / "d_derained" / "f" / "g.webp",
    ]


def test_other_names_and_lossless_ones(work: Path) -> None:
    touch("a.jpg", "b.HEIC", "d/c.avif", "d/e.webp", "d/f.tiff", "d/g.gif")
    assert planned("a.jpg", "d", naming=Naming("labels"))["a.jpg"] == "a_labels.jpg"
    assert planned("a.jpg", "b.HEIC", "d", naming=Naming("labels", exact=True)) == {
        "a.jpg": "a_labels.png",
        "b.HEIC": "b_labels.png",
        "d/c.avif": "d_labels/c.png",
        "d/e.webp": "d_labels/e.webp",
        "d/f.tiff": "d_labels/f.tiff",
        "d/g.gif": "d_labels/g.png",
    }
    assert planned("a.jpg", naming=Naming(exact=True), format="jpg") == {"a.jpg": "a_derained.jpg"}
    assert planned("a.jpg", out="x.jpg", naming=Naming(exact=True)) == {"a.jpg": "x.jpg"}


def test_comparisons_have_their_own_names(work: Path) -> None:
    touch("a.jpg", "d/b.heic")
    jobs = plan(["a.jpg", "d"], None, options=BatchOptions(compare=True)).jobs
    assert [job.compare for job in jobs] == [Path("a_compare.jpg"), Path("d_derained/b_compare.jpg")]


def test_one_file_named_twice_is_done_once(work: Path) -> None:
    touch("a.jpg", "b.jpg")
    assert len(planned("a.jpg", "*.jpg", os.path.abspath("a.jpg"), out="o")) == 2


def test_heic_and_jpeg_of_one_name(work: Path) -> None:
    touch("d/IMG_1.HEIC", "d/IMG_1.jpg")
    planned = plan(["d"], "o")
    assert sorted(str(job.dst) for job in planned.jobs) == [
        os.path.join("o", n) for n in ("IMG_1.HEIC.jpg", "IMG_1.jpg")
    ]


def test_an_input_is_never_dropped_for_a_collision(work: Path) -> None:
    touch("d/a.jpg", "d/a.png", "e/a.jpg")
    with pytest.raises(InputError, match="would both be written"):
        plan(["d/a.jpg", "e/a.jpg"], "o")
    planned = plan(["d"], "o", options=BatchOptions(format="png"))
    assert {job.src.name: job.dst.name for job in planned.jobs} == {"a.jpg": "a.jpg.png", "a.png": "a.png"}
    assert planned.notes == ("the result of a.jpg is called a.jpg.png, since another has its name",)
    assert plan(["d/a.jpg"], "o").notes == ()


def test_a_result_with_its_inputs_extension_is_a_result(work: Path) -> None:
    touch("a.gif", "a.png")
    made = [str(job.dst) for job in plan(["a.gif", "a.png"], None).jobs]
    assert made == ["a_derained.gif.png", "a_derained.png"]
    touch(*made)
    again = plan(["."], "o")
    assert [job.src.name for job in again.jobs] == ["a.gif", "a.png"]
    assert [path.name for path in again.left_out] == made


@pytest.mark.parametrize(
    ("names", "asked", "said"),
    [
        (["a.jpg"], {"video": VideoOptions(codec="h264")}, "codec does nothing here: for videos only"),
        (["a.jpg"], {"video": VideoOptions(start=0.0, deflicker=True)}, "start and deflicker do nothing here"),
        (["a.jpg"], {"format": "mkv"}, "format mkv does nothing here: for videos only, and there are images only"),
        (["a.mp4"], {"format": "png"}, "format png does nothing here: for images only, and there are videos only"),
        (["a.jpg", "b.mp4"], {"format": "mkv", "video": VideoOptions(codec="h264")}, None),
        (["a.mp4"], {"format": "mkv", "video": VideoOptions(crf=20)}, None),
    ],
)
def test_what_does_nothing_for_these_inputs_is_said(
    work: Path, names: list[str], asked: dict[str, Any], said: str | None
) -> None:
    touch(*names)
    notes = plan(names, "o", options=BatchOptions(**asked)).notes
    assert len(notes) == (said is not None)
    assert said is None or notes[0].startswith(said)


@pytest.mark.parametrize(
    ("inputs", "kinds", "choice"),
    [
        (["a.mp4"], " videos", [".3gp", ".m4v"]),
        (["a.mp4", "b.mkv"], " videos", [".3gp", ".m4v"]),
        (["a.jpg"], " images", [".avif", ".webp"]),
        (["a.jpg", "a.mp4"], "", [".avif", ".webp for images, or one of .3gp", ".webm for videos"]),
        (["d"], "", [".avif", ".webp for images, or one of .3gp", ".webm for videos"]),
    ],
)
@pytest.mark.parametrize("format", ["gif", "avi", "xyz"])
def test_a_format_that_is_not_written_names_those_that_fit(
    work: Path, format: str, inputs: list[str], kinds: str, choice: list[str]
) -> None:
    touch("a.mp4", "b.mkv", "a.jpg", "d/a.mp4")
    with pytest.raises(InputError) as raised:
        plan(inputs, None, options=BatchOptions(format=format))
    said = str(raised.value)
    assert said.startswith(f"cannot write '{format}'{kinds}; choose one of {choice[0]}, ")
    assert all(one in said for one in choice)
    assert bool(kinds) != (".mkv" in said and ".png" in said)
    images = Naming("labels", takes_video=False)
    with pytest.raises(InputError, match=r"^cannot write 'mkv' images; .*\.webp$"):
        plan(["a.jpg"], None, options=BatchOptions(format="mkv"), naming=images)


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
            plan(inputs, out, options=BatchOptions(**options))


def test_unknown_extension_needs_a_name_for_the_result(work: Path) -> None:
    touch("raw.dng")
    assert plan(["raw.dng"], None).failed[0][0] == Path("raw.dng")
    assert planned("raw.dng", out="x.png") == {"raw.dng": "x.png"}


def test_planning_leaves_nothing_behind(work: Path) -> None:
    touch("a.jpg")
    plan(["a.jpg"], "deep/er/out")
    assert os.listdir(work) == ["a.jpg"]


def test_what_fails_is_not_a_result_of_an_earlier_run(work: Path) -> None:
    long = f"{'x' * 250}.jpg"
    touch(long, "ok.jpg")
    made = plan([long, "ok.jpg"], None)
    assert [path.name for path, _ in made.failed] == [long]
    assert made.left_out == []


# ---- results of earlier runs


def taken(*inputs: str, out: str | None = None, naming: Naming | None = None) -> tuple[list[str], list[str]]:
    made = plan(inputs, out, naming=naming)
    assert not made.failed
    return sorted(job.src.as_posix() for job in made.jobs), sorted(path.as_posix() for path in made.left_out)


@pytest.mark.parametrize("out", [None, "o", "d"])
def test_results_beside_their_sources_are_no_inputs(work: Path, out: str | None) -> None:
    results = ["a_derained.jpg", "a_dry.jpg", "a_compare.jpg", "a_derained_derained.jpg", "b_derained.jpg"]
    touch("d/a.jpg", "d/b.HEIC", "d/c.avi", "d/c_derained.mkv", *(f"d/{name}" for name in results))
    made = plan(["d"], out, options=BatchOptions(overwrite=out == "d"))
    assert [job.src.name for job in made.jobs] == ["a.jpg", "b.HEIC", "c.avi"]
    assert sorted(path.name for path in made.left_out) == sorted([*results, "c_derained.mkv"])


def test_a_result_without_its_source_is_an_input(work: Path) -> None:
    names = ["a_compare.jpg", "b_derained.png", "_derained.jpg", "derained.jpg", "x_dried.jpg", "x.jpg", "e_dry.jpg"]
    touch(*(f"d/{name}" for name in names), "d/e.mp4", "d/f/b.png", "d/a.txt")
    assert taken("d") == (sorted([*(f"d/{name}" for name in names), "d/e.mp4", "d/f/b.png"]), [])


def test_the_source_of_a_result_may_have_no_extension_or_another(work: Path) -> None:
    for name in ("a", "b.data"):
        Path(name).write_bytes(b"\xff\xd8\xff\xe0")
    touch("c", "a_derained.jpg", "a_compare.jpg", "b_derained.jpg", "c_derained.jpg")  # c is no image
    results = ["a_compare.jpg", "a_derained.jpg", "b_derained.jpg"]
    assert taken(".", out="o") == (["c_derained.jpg"], results)
    assert taken("a", "b.data", *results, out="o") == (["a", "b.data"], results)
    assert taken("a", "b_derained.jpg", out="o") == (["a", "b_derained.jpg"], [])


def test_a_named_file_is_taken_unless_its_source_is_named_too(work: Path) -> None:
    touch("a.jpg", "a_derained.jpg", "a_compare.jpg", "b.jpg")
    assert taken("a_derained.jpg") == (["a_derained.jpg"], [])
    assert taken("*_derained.jpg", "b.jpg", out="o") == (["a_derained.jpg", "b.jpg"], [])
    assert taken(".", "a_derained.jpg", out="o")[0] == ["a.jpg", "a_derained.jpg", "b.jpg"]
    # what a shell makes of *.jpg, and a pattern that it left
    for out in (None, "o"):
        for inputs in (["a.jpg", "a_compare.jpg", "a_derained.jpg", "b.jpg"], ["*.jpg"]):
            assert taken(*inputs, out=out) == (["a.jpg", "b.jpg"], ["a_compare.jpg", "a_derained.jpg"])


def test_folders_of_results_are_no_inputs(work: Path) -> None:
    touch("p/d/a.jpg", "p/d_derained/a.jpg", "p/d_derained/s/a_compare.jpg", "p/d_dry/a.jpg", "p/e_derained/a.jpg")
    touch("p/p_derained/q/x.jpg")
    results = ["p/d_derained/a.jpg", "p/d_derained/s/a_compare.jpg", "p/d_dry/a.jpg", "p/p_derained/q/x.jpg"]
    assert taken("p") == (["p/d/a.jpg", "p/e_derained/a.jpg"], results)
    assert taken("p", out="o") == (["p/d/a.jpg", "p/e_derained/a.jpg"], results)
    # where they are put inside the folder, by an earlier run with -o
    assert taken("p", out="p/p_derained") == (["p/d/a.jpg", "p/e_derained/a.jpg"], results[:-1])
    # as a shell's * names them; alone such a folder is an input
    assert taken("p/d", "p/d_derained", "p/d_dry", out="o") == (["p/d/a.jpg"], results[:-1])
    assert taken("p/d*", out="o") == (["p/d/a.jpg"], results[:-1])
    assert taken("p/d_derained", out="o") == (["p/d_derained/a.jpg", "p/d_derained/s/a_compare.jpg"], [])
    assert taken("p", "p/d_dry")[0] == ["p/d/a.jpg", "p/d_dry/a.jpg", "p/e_derained/a.jpg"]


def test_the_folder_itself_may_be_here(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.jpg", "in/in_derained/a.jpg", "in/a_derained.jpg")
    monkeypatch.chdir(work / "in")
    assert taken(".", out="../o") == (["a.jpg"], ["a_derained.jpg", "in_derained/a.jpg"])


def test_an_empty_name_is_not_the_current_folder(work: Path) -> None:
    touch("a.jpg")
    for inputs, output in (([""], None), (["a.jpg", ""], None), (["a.jpg"], "")):
        with pytest.raises(InputError, match="name of a file or folder is empty"):
            plan(inputs, output)


def test_label_maps_in_a_format_that_changes_them_are_noted(work: Path) -> None:
    touch("a.jpg")
    labels = Naming("labels", takes_video=False, exact=True)
    assert plan(["a.jpg"], "o.jpg", naming=labels).notes == ("JPEG changes the colours of labels; PNG keeps them",)
    assert plan(["a.jpg"], "o.jpg").notes == plan(["a.jpg"], "o", naming=labels).notes == ()


def test_results_of_a_translation_carry_its_models_name(work: Path) -> None:
    touch("d/a.jpg", "d/a_labels.png", "d/a_other.png")
    assert taken("d", naming=Naming("labels")) == (["d/a.jpg", "d/a_other.png"], ["d/a_labels.png"])
    assert taken("d")[0] == ["d/a.jpg", "d/a_labels.png", "d/a_other.png"]


@pytest.mark.parametrize("shipped", [True, False])
def test_videos_have_a_model_of_their_own_where_none_was_named(monkeypatch: pytest.MonkeyPatch, shipped: bool) -> None:
    monkeypatch.setattr(jobs, "is_shipped", lambda name: shipped and name == "repixnet-video")
    monkeypatch.setattr(BatchOptions, "_load", lambda self, model: model)
    of_images, asked = "the restorer of images", cast("Any", BatchOptions)
    assert asked().load() == "repixnet"
    assert asked().video_model == ("repixnet-video" if shipped else "repixnet")
    assert asked(quality="best").video_model == "repixnet"
    assert asked(model="darken").video_model == "darken"
    assert asked().load_for_video() == ("repixnet-video" if shipped else "repixnet")
    assert asked().load_for_video(of_images) == ("repixnet-video" if shipped else of_images)
    assert asked(quality="best").load_for_video(of_images) == of_images
    assert asked(model="repixnet").load_for_video(of_images) == of_images
    assert asked(model="repixnet").load_for_video() == "repixnet"
