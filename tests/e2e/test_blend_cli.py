"""`repix blend` as users meet it: images of all kinds in, one image out, one clear line for what cannot be done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import repix
from repix.cli import main
from repix.io.image import Picture, read_image, write_image

Run = Callable[..., tuple[int, str, str]]
POLYGON = "5,4 40,6 30,30 8,25"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: NDArray[np.uint8]) -> Path:
    monkeypatch.chdir(tmp_path)
    write_image("source.png", Picture(photo[:40, :50]))
    write_image("target.png", Picture(255 - photo))
    return tmp_path


@pytest.fixture
def blend(work: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["blend", *map(str, arguments)])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert not list(work.rglob("*.tmp")), "a temporary file was left"
        return int(stop.value.code or 0), out, err

    return run


def pixels(path: str | Path) -> NDArray[np.generic]:
    return read_image(path).pixels


def test_a_polygon_goes_beside_the_target(blend: Run, photo: NDArray[np.uint8]) -> None:
    code, out, err = blend("source.png", "target.png", "--polygon", POLYGON, "--offset", "20,11")
    assert code == 0, err
    assert "multigrid cycles" in out
    assert "grey levels → target_blend.png" in out
    points = [tuple(map(int, p.split(","))) for p in POLYGON.split()]
    wanted, _ = repix.blend(photo[:40, :50], 255 - photo, polygon=points, offset=(11, 20))
    np.testing.assert_array_equal(pixels("target_blend.png"), wanted)


@pytest.mark.parametrize("mode", ["import", "mixed", "monochrome", "average"])
def test_every_mode(blend: Run, photo: NDArray[np.uint8], mode: str) -> None:
    code, _, err = blend("source.png", "target.png", "--polygon", POLYGON, "--mode", mode, "-o", f"{mode}.png")
    assert code == 0, err
    points = [tuple(map(int, p.split(","))) for p in POLYGON.split()]
    wanted, _ = repix.blend(photo[:40, :50], 255 - photo, polygon=points, mode=mode)
    np.testing.assert_array_equal(pixels(f"{mode}.png"), wanted)


def test_polygon_file_mask_file_and_transparency_select_alike(blend: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    points = [[float(v) for v in p.split(",")] for p in POLYGON.split()]
    Path("region.json").write_text(json.dumps({"points": points}), encoding="utf-8")
    mask = repix.create_mask_from_points(points, 40, 50)
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(np.dstack([photo[:40, :50], mask])).save("cutout.png")
    assert blend("source.png", "target.png", "--polygon", POLYGON, "-o", "a.png")[0] == 0
    assert blend("source.png", "target.png", "--polygon", "region.json", "-o", "b.png")[0] == 0
    assert blend("source.png", "target.png", "--mask", "mask.png", "-o", "c.png")[0] == 0
    code, out, _ = blend("cutout.png", "target.png", "-o", "d.png")
    assert code == 0
    assert "note" not in out
    for name in ("b.png", "c.png", "d.png"):
        np.testing.assert_array_equal(pixels(name), pixels("a.png"))


def test_soft_masks_are_cut_with_a_word(blend: Run, photo: NDArray[np.uint8]) -> None:
    soft = np.linspace(0, 255, 50).astype(np.uint8)[None].repeat(40, axis=0)
    Image.fromarray(soft).save("mask.png")
    code, out, _ = blend("source.png", "target.png", "--mask", "mask.png", "-o", "a.png")
    assert code == 0
    assert "soft edges, which were cut at half" in out
    wanted, _ = repix.blend(photo[:40, :50], 255 - photo, mask=soft >= 128)
    np.testing.assert_array_equal(pixels("a.png"), wanted)
    Image.fromarray(np.dstack([photo[:40, :50], soft])).save("cutout.png")
    code, out, _ = blend("cutout.png", "target.png", "-o", "b.png")
    assert "transparency is soft, and was cut at half" in out
    np.testing.assert_array_equal(pixels("b.png"), wanted)


def test_sixteen_bits_alpha_and_metadata_of_the_target_stay(blend: Run, photo: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Kamera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = np.arange(61 * 83, dtype=np.uint16).reshape(61, 83)
    target = Picture(photo * np.uint16(257), alpha=alpha, bits=16)
    write_image("deep.png", target)
    assert blend("source.png", "deep.png", "--polygon", POLYGON, "-o", "deep_out.tif")[0] == 0
    result = read_image("deep_out.tif")
    assert result.pixels.dtype == np.uint16
    np.testing.assert_array_equal(result.alpha, alpha)
    Image.fromarray(photo).save("camera.jpg", exif=exif.tobytes(), icc_profile=profile, dpi=(300, 300))
    write_image("opaque.png", Picture(photo[:40, :50] * np.uint16(257), bits=16))
    assert blend("opaque.png", "camera.jpg", "--polygon", POLYGON, "--offset", "3,-2", "-o", "out.jpg")[0] == 0
    with Image.open("out.jpg") as image:
        assert image.getexif()[0x010F] == "Kamera"
        assert image.info["icc_profile"] == profile


def test_grey_targets_stay_grey(blend: Run, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo[..., 0]).save("grey.png")
    code, out, _ = blend("source.png", "grey.png", "--polygon", POLYGON)
    assert code == 0
    assert "target is grey" in out
    with Image.open("grey_blend.png") as image:
        assert image.mode == "L"
    assert blend("grey.png", "target.png", "--polygon", POLYGON)[0] == 0


def test_scaled_and_turned(blend: Run) -> None:
    assert blend("source.png", "target.png", "--polygon", POLYGON, "--offset", "10,5", "-o", "a.png")[0] == 0
    code, out, _ = blend(
        "source.png",
        "target.png",
        "--polygon",
        POLYGON,
        "--offset",
        "10,5",
        "--scale",
        "0.5",
        "--rotate",
        "30",
        "-o",
        "b.png",
    )
    assert code == 0
    count = int(out.split()[0])
    code, out, _ = blend("source.png", "target.png", "--polygon", POLYGON, "--offset", "10,5", "-o", "c.png")
    assert abs(count / int(out.split()[0]) - 0.25) < 0.03
    changed = (pixels("b.png") != pixels("target.png")).any(axis=2)
    assert 0 < changed.sum() <= count


@pytest.mark.parametrize("mode", ["colour", "illumination", "flatten"])
def test_edits_of_one_image(blend: Run, photo: NDArray[np.uint8], mode: str) -> None:
    options = {
        "colour": ["--gain", "0.5,1,1.5"],
        "illumination": ["--alpha", "0.3", "--beta", "0.1"],
        "flatten": ["--threshold", "20"],
    }[mode]
    code, _, err = blend("target.png", "--mode", mode, "--polygon", POLYGON, *options)
    assert code == 0, err
    points = [tuple(map(int, p.split(","))) for p in POLYGON.split()]
    wanted, _ = repix.edit_selection(
        255 - photo, mode=mode, polygon=points, gain=(0.5, 1, 1.5), alpha=0.3, beta=0.1, threshold=20
    )
    np.testing.assert_array_equal(pixels("target_blend.png"), wanted)


def test_tiling(blend: Run) -> None:
    code, out, _ = blend("target.png", "--mode", "tile")
    assert code == 0
    assert "transform" in out
    tile = pixels("target_blend.png")
    np.testing.assert_array_equal(tile[0], tile[-1])
    np.testing.assert_array_equal(tile[:, 0], tile[:, -1])


def test_descent_says_how_far_off_it_is(blend: Run) -> None:
    pytest.importorskip("torch")
    code, out, err = blend("source.png", "target.png", "--polygon", POLYGON, "--offset", "4,-3", "--descent", "20")
    assert code == 0, err
    errors = [float(line.split("off by ")[1].split()[0]) for line in out.splitlines() if line.startswith("step ")]
    assert len(errors) == 10
    assert errors[-1] > 5
    assert "20 steps of Adam" in out.splitlines()[-1]
    wanted, before = pixels("target_blend.png"), pixels("target.png")
    assert (wanted != before).any()
    assert (wanted == before)[40:].all()


BAD: list[tuple[list[str], str]] = [
    (["source.png", "target.png"], "nothing is selected: give a polygon or a mask"),
    (["source.png"], "mode 'import' needs a target"),
    (["source.png", "target.png", "--polygon", "1,2 3,4"], "polygon of 2 points"),
    (["source.png", "target.png", "--polygon", "broken.json"], "broken.json: the polygon is not valid JSON"),
    (["source.png", "target.png", "--polygon", "none.json"], "cannot read the polygon file none.json"),
    (["source.png", "target.png", "--polygon", "hello"], "'hello' is not a polygon"),
    (["source.png", "target.png", "--polygon", POLYGON, "--mask", "black.png"], "not both"),
    (["source.png", "target.png", "--mask", "black.png"], "the mask is empty"),
    (["source.png", "target.png", "--mask", "target.png"], "the mask has shape"),
    (["source.png", "target.png", "--mask", "none.png"], "none.png: cannot be read"),
    (["source.png", "target.png", "--polygon", POLYGON, "--offset", "999,0"], "outside the target"),
    (["source.png", "target.png", "--polygon", "900,900 950,900 950,950"], "the mask is empty"),
    (["source.png", "target.png", "--polygon", POLYGON, "--offset", "3"], "--offset is '3'"),
    (["source.png", "target.png", "--polygon", POLYGON, "--offset", "1.5,2"], "two whole numbers"),
    (["target.png", "--mode", "tile", "--polygon", POLYGON], "leave out the mask and the polygon"),
    (["source.png", "target.png", "--polygon", POLYGON, "-o", "target.png"], "would be overwritten"),
    (["source.png", "target.png", "--polygon", POLYGON, "-o", "x.xyz"], "cannot write .xyz"),
    (["source.png", "broken.json", "--polygon", POLYGON], "not an image"),
    (["none.png", "target.png", "--polygon", POLYGON], "none.png: cannot be read"),
    (["source.png", "target.png", "--mode", "flatten", "--polygon", POLYGON], "leave out the target"),
    (
        ["source.png", "target.png", "--mode", "mixed", "--polygon", POLYGON, "--descent", "9"],
        "leave out the mode 'mixed'",
    ),
    (["source.png", "target.png", "--polygon", POLYGON, "--offset", "900,0", "--descent", "9"], "outside the target"),
    (["source.png", "--mode", "flatten", "--polygon", POLYGON, "--scale", "2"], "leave out offset, scale"),
    (["source.png", "--mode", "colour", "--polygon", POLYGON, "--gain", "1,2"], "--gain is '1,2'"),
    (["source.png", "target.png", "--polygon", POLYGON, "--gain", "1,2,3"], "--gain is for --mode colour"),
    (["source.png", "--mode", "flatten", "--polygon", POLYGON, "--beta", "0.1"], "--beta is for --mode illumination"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_one_clear_line(blend: Run, work: Path, arguments: list[str], message: str) -> None:
    Path("broken.json").write_text("[[1, 2], [3", encoding="utf-8")
    Image.fromarray(np.zeros((40, 50), np.uint8)).save("black.png")
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    code, out, err = blend(*arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before


@pytest.mark.parametrize(("option", "value", "range"), [("--scale", "0", "x>0"), ("--beta", "2", "0<=x<1")])
def test_a_number_out_of_its_range_names_it(blend: Run, option: str, value: str, range: str) -> None:
    code, _, err = blend("source.png", "target.png", "--polygon", POLYGON, option, value)
    assert code == 2
    assert f"is not in the range {range}" in err


def test_the_option_of_version_0_1_names_the_new_one(blend: Run) -> None:
    code, _, err = blend("source.png", "target.png", "--polygon", POLYGON, "--at", "3,4")
    assert code == 2
    assert "--at is now --offset" in err


def test_an_input_is_replaced_only_when_told_to(blend: Run) -> None:
    before = pixels("target.png")
    assert blend("source.png", "target.png", "--polygon", POLYGON, "-o", "target.png", "--overwrite")[0] == 0
    assert (pixels("target.png") != before).any()
