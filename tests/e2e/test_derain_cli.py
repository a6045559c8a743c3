"""`repix derain` and `repix models` as users meet them: good, bad and odd input, and that nothing is ever lost.

The network is `darkening_weight` (times 0.4), so that every result can be told exactly.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from own_process import process, stopped_at
from PIL import Image, ImageOps

from repix.cli import main
from repix.infer.restorer import Quality, Restorer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def derain(darkening_weight: Path, work: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path, model: Path = darkening_weight) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["derain", "--model", str(model), *map(str, arguments)])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert not list(work.rglob("*.tmp")), "a temporary file was left"
        return int(stop.value.code or 0), out, err

    return run


def save(path: Path, array: NDArray[np.generic]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path.read_bytes()


def load(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def dark(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.rint(array * 0.4).astype(array.dtype)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- what it is for


def test_one_file_goes_beside_itself(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    before = save(work / "a.png", photo)
    code, out, err = derain("a.png")
    assert (code, err) == (0, "")
    assert "a_derained.png" in out
    np.testing.assert_array_equal(load(work / "a_derained.png"), dark(photo))
    assert (work / "a.png").read_bytes() == before
    assert sorted(os.listdir(work)) == ["a.png", "a_derained.png"]


def test_one_file_to_a_name(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.jpg", photo)
    assert derain("a.jpg", "-o", "new/b.webp")[0] == 0
    with Image.open(work / "new" / "b.webp") as image:
        assert image.format == "WEBP"


def test_folder_is_mirrored(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    for name in ("a.png", "x/a.png", "x/y z/ü.png", "x/B.JPG", ".hidden/a.png", "x/._a.png"):
        save(work / "in" / name, photo)
    (work / "in" / "notes.txt").write_text("no image")
    before = tree(work / "in")
    code, out, err = derain("in", "-o", "out")
    assert (code, err) == (0, "")
    assert "4 images" in out
    assert "out" in out
    assert sorted(tree(work / "out")) == ["a.png", "x/B.JPG", "x/a.png", "x/y z/ü.png"]
    assert tree(work / "in") == before


def test_folder_without_output_goes_beside_it(
    derain: Run, work: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(work / "in" / "x" / "a.png", photo)
    assert derain("in")[0] == 0
    assert sorted(tree(work)) == ["in/x/a.png", "in_derained/x/a.png"]
    monkeypatch.chdir(work / "in")
    assert derain(".", "--overwrite")[0] == 0
    assert sorted(tree(work)) == ["in/x/a.png", "in_derained/x/a.png"]


def test_output_inside_the_folder_is_not_taken_for_input(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    for _ in range(2):
        assert derain(".", "-o", "clean")[0] == 0
    assert sorted(tree(work)) == ["a.png", "clean/a.png"]


def test_pattern_that_the_shell_left(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    for name in ("a.png", "b.png", "c.jpg", "d [1].png"):
        save(work / name, photo)
    assert derain("*.png", "-o", "out")[0] == 0
    assert sorted(tree(work / "out")) == ["a.png", "b.png", "d [1].png"]
    # a name that looks like a pattern and is there is that file
    assert derain("d [1].png", "-o", "out2")[0] == 0


def test_second_run_skips_what_is_there_and_takes_no_result_for_input(
    derain: Run, work: Path, photo: NDArray[np.uint8]
) -> None:
    save(work / "a.png", photo)
    save(work / "b.png", photo)
    derain("a.png")
    first = tree(work)
    code, out, _ = derain(*sorted(p.name for p in work.glob("*.png")))
    assert code == 0
    assert "1 already there" in out
    assert {name: data for name, data in tree(work).items() if name in first} == first
    assert sorted(tree(work)) == ["a.png", "a_derained.png", "b.png", "b_derained.png"]


def test_second_run_over_a_folder_leaves_results_out_and_counts_them(
    derain: Run, work: Path, photo: NDArray[np.uint8]
) -> None:
    save(work / "in" / "a.png", photo)
    save(work / "in" / "b_compare.png", photo)
    save(work / "in" / "a_dry.png", photo)  # by version 0.1
    assert derain("in/a.png", "--compare")[0] == 0
    save(work / "in" / "in_derained" / "a.png", photo)
    code, out, err = derain("in", "-o", "out")
    assert (code, err) == (0, "")
    assert "derained 2 images" in out
    assert "; 4 results of earlier runs left out" in out
    assert sorted(tree(work / "out")) == ["a.png", "b_compare.png"]
    assert "left out" not in derain("in/a_derained.png", "-o", "out")[1]
    np.testing.assert_array_equal(load(work / "out" / "a_derained.png"), dark(dark(photo)))


def test_overwrite_writes_again(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    save(work / "a_derained.png", photo[:5])
    derain("a.png")
    assert load(work / "a_derained.png").shape == (5, 83, 3)
    derain("a.png", "--overwrite")
    np.testing.assert_array_equal(load(work / "a_derained.png"), dark(photo))


def test_input_is_replaced_only_when_asked(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    before = save(work / "in" / "a.png", photo)
    code, _, err = derain("in", "-o", "in")
    assert code == 2
    assert "is an input and would be overwritten" in err
    assert tree(work) == {"in/a.png": before}
    assert derain("in", "-o", "in", "--overwrite")[0] == 0
    np.testing.assert_array_equal(load(work / "in" / "a.png"), dark(photo))


def test_names_that_collide_are_reported_before_any_work(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "one" / "a.png", photo)
    save(work / "two" / "a.png", photo)
    code, _, err = derain("one", "two", "-o", "out")
    assert code == 2
    assert err.count("\n") == 1
    assert os.path.join("one", "a.png") in err
    assert os.path.join("two", "a.png") in err
    assert not (work / "out").exists()
    save(work / "three" / "a.png", photo)
    save(work / "three" / "a.jpg", photo)
    code, out, _ = derain("three", "-o", "out", "--format", "png")
    assert code == 0
    assert "note: the result of a.jpg is called a.jpg.png, since another has its name" in out
    assert {path.name for path in (work / "out").iterdir()} == {"a.jpg.png", "a.png"}


def test_strength_and_compare(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    derain("a.png", "--strength", "0.5", "--compare")
    half = np.rint(photo * 0.7).astype(np.uint8)
    assert np.abs(load(work / "a_derained.png").astype(int) - half).max() <= 1
    both = load(work / "a_compare.png")
    np.testing.assert_array_equal(both[:, :83], photo)
    np.testing.assert_array_equal(both[:, 83:], load(work / "a_derained.png"))
    derain("a.png", "--strength", "0", "-o", "same")
    np.testing.assert_array_equal(load(work / "same" / "a.png"), photo)


def test_strength_auto(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    assert derain("a.png", "--strength", "auto")[0] == 0  # the network looks at single pixels: never in doubt
    assert np.abs(load(work / "a_derained.png").astype(int) - photo * 0.4).max() <= 1
    for wrong in ("1.5", "nan", "much"):
        code, _, err = derain("a.png", "--strength", wrong)
        assert code == 2
        assert "strength must be between 0 and 1, or 'auto', got" in err


def test_levels(derain: Run, work: Path, make_weight: Callable[..., Path]) -> None:
    save(work / "a.png", np.full((1000, 1000, 3), 100, np.uint8))
    scaled = make_weight("scaled", scales=[1, 16], multiple_of=8, tiling={"tile": 512, "overlap": 64})
    for number, (asked, said) in enumerate({"1": "1", "2,1": "2,1", "4": "4", "8,2": "2", "16": "4"}.items()):
        arguments = ("a.png", "-o", f"{number}.png", "--levels", asked, "-v")
        code, out, err = derain(*arguments, model=scaled)
        assert code == 0
        assert f", levels {said}\n" in err
        missing = set(asked.split(",")) - set(said.split(","))
        assert [f"note: too small for level {one} of the pyramid; level {said} ran" for one in missing] == [
            line for line in out.splitlines() if line.startswith("note")
        ]
        assert "model scaled (onnx-fp32) on " in err
    assert (load(work / "0.png") == 40).all()
    _, _, err = derain("a.png", "-o", "zero.png", "--strength", "0", "-v", model=scaled)
    assert "level" not in err  # nothing was looked for
    assert "no rain" not in err
    for wrong, said in (("x", "levels must be"), ("", "levels must be"), ("3", "powers of two")):
        code, _, err = derain("a.png", "--levels", wrong, model=scaled)
        assert code == 2
        assert said in err
    assert derain("a.png", "--levels", "2")[0] == 2  # a card without scales
    assert derain("a.png", "--quality", "draft")[0] == 2
    assert derain("a.png", "-o", "draft.png", "--quality", "draft", model=scaled)[0] == 0
    code, _, err = derain("a.png", "--quality", "draft", "--levels", "2,1", model=scaled)
    assert code == 2
    assert "quality draft leaves out level 1" in err


def test_quality(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    qualities: tuple[Quality, ...] = ("fast", "best")
    for quality in qualities:
        arguments = ("a.png", "--device", "cpu", "--quality", quality, "-o", f"{quality}.png")
        assert derain(*arguments, model=Path("repixnet"))[0] == 0
        expected = Restorer.from_pretrained(device="cpu", quality=quality)(photo)
        np.testing.assert_array_equal(load(work / f"{quality}.png"), expected)
    assert (load(work / "fast.png") != load(work / "best.png")).any()
    code, _, err = derain("a.png", "--quality", "22")
    assert code == 2
    assert "'22' is not one of 'draft', 'fast', 'best'" in err


def test_format_changes_the_extension(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "in" / "a.jpg", photo)
    assert derain("in", "-o", "out", "--format", "PNG")[0] == 0
    with Image.open(work / "out" / "a.png") as image:
        assert image.format == "PNG"
    code, _, err = derain("in", "-o", "out", "--format", "bmp")
    assert code == 2
    assert "choose one of" in err


# ---- odd input


@pytest.mark.parametrize("size", [(1, 1), (2, 30_000), (30_000, 2)])
def test_extreme_sizes(derain: Run, work: Path, size: tuple[int, int]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    save(work / "a.png", array)
    assert derain("a.png")[::2] == (0, "")
    np.testing.assert_array_equal(load(work / "a_derained.png"), dark(array))


def test_grey(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo[..., 0])
    assert derain("a.png")[::2] == (0, "")
    np.testing.assert_array_equal(load(work / "a_derained.png"), dark(photo[..., 0]))


def test_16_bit(derain: Run, work: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65536, (40, 50), dtype=np.uint16)
    save(work / "a.png", grey)
    save(work / "a.tif", grey)
    assert derain("a.png", "a.tif")[::2] == (0, "")
    for name in ("a_derained.png", "a_derained.tif"):
        np.testing.assert_array_equal(load(work / name), dark(grey))


def test_cmyk(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo).convert("CMYK").save(work / "a.jpg", quality=95)
    code, out, err = derain("a.jpg")
    assert (code, err) == (0, "")
    assert "note: CMYK converted to sRGB" in out
    with Image.open(work / "a_derained.jpg") as image:
        assert image.mode == "RGB"


def test_palette_with_transparency(derain: Run, work: Path) -> None:
    image = Image.fromarray((np.arange(64) % 4).astype(np.uint8).reshape(8, 8)).convert("P")
    image.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250, 10, 10, 10])
    image.save(work / "a.png", transparency=bytes([0, 128, 255, 255]))
    assert derain("a.png")[::2] == (0, "")
    with Image.open(work / "a.png") as image:
        expected = np.asarray(image.convert("RGBA")).copy()
    expected[..., :3] = dark(expected[..., :3])
    np.testing.assert_array_equal(load(work / "a_derained.png"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(derain: Run, work: Path, photo: NDArray[np.uint8], orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(photo).save(work / "a.jpg", exif=tags, quality=100, subsampling=0)
    assert derain("a.jpg", "-o", "b.png")[::2] == (0, "")
    with Image.open(work / "a.jpg") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    with Image.open(work / "b.png") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert np.abs(np.asarray(image).astype(int) - dark(upright)).max() <= 1


def test_what_the_name_hides_is_told(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    (work / "a.png").rename(work / "a.jpg")
    code, out, _ = derain("a.jpg")
    assert code == 0
    assert "note: PNG by its contents, though named .jpg; the result is what its own name says" in out
    with Image.open(work / "a_derained.jpg") as made:
        assert made.format == "JPEG"
    save(work / "b.jpg", photo)
    assert "by its contents" not in derain("b.jpg")[1]


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.2024"])
def test_a_file_that_is_named_is_known_by_its_contents(
    derain: Run, work: Path, photo: NDArray[np.uint8], name: str
) -> None:
    save(work / "a.png", photo)
    (work / "a.png").rename(work / name)
    assert derain(name)[0] == 0
    assert np.array_equal(load(work / "photo_derained.png"), dark(photo))
    (work / "other").write_text("words")
    code, _, err = derain("other")
    assert code == 1
    assert "other: not an image or video that repix reads (JPEG, PNG" in err
    (work / "nothing").touch()
    assert "nothing: the file is empty" in derain("nothing")[2]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_in_a_folder_have_results_of_their_own(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "in" / "a.png", photo)
    (work / "in" / "b.png").symlink_to("a.png")
    code, out, _ = derain("in")
    assert (code, "2 images" in out) == (0, True)
    assert sorted(tree(work / "in_derained")) == ["a.png", "b.png"]
    assert "1 image" not in derain("in", "in/a.png", "--overwrite")[1]


def test_more_threads_than_any_machine_has(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    code, _, err = derain("a.png", "--threads", "100000")
    assert code == 2
    assert err == "repix: threads must be a whole number from 1 to 1,024, or None, got 100000\n"


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animated_is_one_clear_line(derain: Run, work: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    frames = [Image.fromarray(np.roll(photo, k, axis=0)) for k in range(3)]
    frames[0].save(work / f"a{suffix}", save_all=True, append_images=frames[1:])
    code, _, err = derain(f"a{suffix}")
    assert code == 1
    assert err.count("\n") == 1
    assert "animated" in err
    assert os.listdir(work) == [f"a{suffix}"]


def test_heic_becomes_jpeg_with_a_word(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    pillow_heif.from_pillow(Image.fromarray(photo)).save(work / "IMG_1.HEIC", quality=90)
    code, out, err = derain("IMG_1.HEIC")
    assert (code, err) == (0, "")
    assert "note: HEIC written as JPG" in out
    with Image.open(work / "IMG_1_derained.jpg") as image:
        assert image.format == "JPEG"


# ---- bad input: one clear line each, the others go on, nothing lost


def bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text.jpg", "not an image"),
        ("truncated.jpg", "damaged or truncated"),
        ("empty.jpg", "empty"),
        ("bomb.png", "million pixels"),
        ("missing.jpg", "no such file"),
        ("notes.txt", "not an image"),
    ],
)
def test_one_bad_file_stops_nothing(derain: Run, work: Path, photo: NDArray[np.uint8], name: str, said: str) -> None:
    whole = save(work / "good.jpg", photo)
    save(work / "good2.jpg", photo)
    contents = {
        "text.jpg": b"this is no image",
        "truncated.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "bomb.png": bomb(),
        "notes.txt": b"notes",
    }
    if name in contents:
        (work / name).write_bytes(contents[name])
    before = tree(work)
    code, out, err = derain("good.jpg", name, "good2.jpg", "-o", "out")
    assert code == 1
    assert err.count("\n") == 1
    assert said in err
    assert name in err
    assert "2 images" in out
    assert "1 failed" in out
    assert sorted(tree(work / "out")) == ["good.jpg", "good2.jpg"]
    assert {key: data for key, data in tree(work).items() if not key.startswith("out/")} == before
    # alone it is the same line, and no folder is left behind
    code, _, err = derain(name, "-o", "out2")
    assert code == 1
    assert err.count("\n") == 1
    assert not (work / "out2").exists()


def test_max_pixels(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    code, _, err = derain("a.png", "--max-pixels", "100")
    assert code == 1
    assert "more than the" in err


def test_folder_without_images(derain: Run, work: Path) -> None:
    (work / "in").mkdir()
    code, _, err = derain("in")
    assert code == 2
    assert "no images or videos in in" in err


def test_output_that_is_a_file(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    (work / "out").write_text("precious")
    code, _, err = derain("a.png", "-o", "out")
    assert code == 2
    assert "is a file, not a folder" in err
    assert (work / "out").read_text() == "precious"
    save(work / "b.png", photo)
    code, _, err = derain("a.png", "b.png", "-o", "c.png")
    assert code == 2
    assert "names one file" in err


def test_a_model_with_one_byte_changed(
    derain: Run, work: Path, photo: NDArray[np.uint8], darkening_weight: Path
) -> None:
    save(work / "a.png", photo)
    data = bytearray((darkening_weight / "model.onnx").read_bytes())
    data[-5] ^= 4
    (darkening_weight / "model.onnx").write_bytes(bytes(data))
    code, out, err = derain("a.png")
    assert (code, out) == (4, "")
    assert err.count("\n") == 1
    assert "sha256" in err
    assert os.listdir(work) == ["a.png"]


def test_unknown_model_and_device(derain: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    code, _, err = derain("a.png", model=Path("nothing"))
    assert code == 4
    assert "no model 'nothing'" in err
    code, _, err = derain("a.png", "--device", "directml")
    assert code == 5
    assert "onnxruntime-directml" in err


def test_no_arguments_is_a_usage_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["derain"])
    assert stop.value.code == 2
    assert "Missing argument 'PATH...'" in capfd.readouterr().err


# ---- in processes of their own: rights, full disks, signals


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX rights")
def test_folder_without_rights(work: Path, photo: NDArray[np.uint8], darkening_weight: Path) -> None:
    save(work / "in" / "a.png", photo)
    (work / "locked").mkdir(mode=0o555)
    prelude = ""
    if os.geteuid() == 0:  # root may do anything: become nobody, who may come here and read
        for folder in [work, *work.parents]:
            if folder.owner() == "root" and folder.name:
                os.chmod(folder, folder.stat().st_mode | 0o055)
        for path in darkening_weight.rglob("*"):
            path.chmod(0o644)
        # Python itself may lie where nobody may not look, so everything is imported before, by a run as root
        prelude = f"""
import os
from repix.cli import main
try:
    main(["derain", "in", "no such file", "-o", {str(work.parent / "warm")!r}, "--model",
          {str(darkening_weight)!r}, "--device", "cpu"])
except SystemExit:
    os.setgid(65534)
    os.setuid(65534)
"""
    done = process(
        ["derain", "in", "-o", "locked/out", "--model", str(darkening_weight), "--device", "cpu"], work, prelude
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot write to locked: Permission denied" in done.stderr
    assert sorted(tree(work)) == ["in/a.png"]
    (work / "in" / "a.png").chmod(0)
    save(work / "in" / "private" / "b.png", photo)
    (work / "in" / "private").chmod(0)
    (work / "out").mkdir()
    if os.geteuid() == 0:
        os.chown(work / "out", 65534, 65534)
    done = process(["derain", "in", "-o", "out", "--model", str(darkening_weight), "--device", "cpu"], work, prelude)
    (work / "in" / "private").chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert sorted(done.stderr.splitlines()) == [
        f"repix: {Path('in', 'a.png')}: cannot be read: Permission denied",
        f"repix: {Path('in', 'private')}: cannot be read: Permission denied",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits on Windows")
def test_full_disk(work: Path, darkening_weight: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    save(work / "big.png", noise)
    save(work / "small.png", noise[:4, :4])
    save(work / "out" / "big.png", noise[:9])
    before = tree(work)
    done = process(
        ["derain", "big.png", "small.png", "-o", "out", "--overwrite", "--model", str(darkening_weight)],
        work,
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))",
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "big.png: cannot be written" in done.stderr
    after = tree(work)
    assert after.pop("out/small.png")
    assert after == before  # the old result is still there, and nothing half-written


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_stopped_in_the_middle(work: Path, darkening_weight: Path, signal: str) -> None:
    for k in range(4):
        save(work / "in" / f"{k}.png", np.zeros((400, 400, 3), np.uint8))
    done = process(["derain", "in", "-o", "out", "--model", str(darkening_weight)], work, stopped_at(3, signal))
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    made = sorted(tree(work / "out"))
    assert made in (["0.png", "1.png"], ["0.png"])
    assert ("derained 2 images in" if len(made) == 2 else "derained in/0.png in") in done.stdout
    for name in tree(work / "out"):
        assert load(work / "out" / name).shape == (400, 400, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_stopped_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "repix", "derain", "a.png"]
    paths = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "")


# ---- models


def test_models(darkening_weight: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from repix import weights

    monkeypatch.setattr(weights, "_ASSETS", darkening_weight.parent)
    with pytest.raises(SystemExit) as stop:
        main(["models"])
    assert stop.value.code == 0
    assert "darken  (derain, Apache-2.0)" in capfd.readouterr().out
    for name in ("darken", str(darkening_weight)):
        with pytest.raises(SystemExit) as stop:
            main(["models", name])
        assert stop.value.code == 0
        out = capfd.readouterr().out
        assert "48 px, overlap 8 px" in out
        assert "model.onnx  " in out
    with pytest.raises(SystemExit) as stop:
        main(["models", "darkn"])
    assert stop.value.code == 4
    assert "did you mean 'darken'" in capfd.readouterr().err
