"""`repix translate` as users meet it. What it shares with `derain` is tested there; here is what is its own.

The networks multiply by 0.4, so that every result can be told exactly: `paint` takes images as they are, `small`
works at a shorter side of 32 pixels and makes photos, `labels` the same and makes label maps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from repix.cli import main
from repix.io.image import Picture, read_image, write_image
from repix.palettes import FACADES
from repix.train.export import read_metrics

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def repix(make_weight: Callable[..., Path], work: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    for name, card in {
        "paint": {},
        "small": {"size": 32, "multiple_of": 16},
        "labels": {"size": 32, "palette": FACADES, "multiple_of": 16},
    }.items():
        make_weight(name, task="translate", **card)
    weights = work.parent / "weights"

    def run(*arguments: str | Path, command: str = "translate") -> tuple[int, str, str]:
        words = [str(weights / word) if (weights / str(word)).is_dir() else str(word) for word in arguments]
        with pytest.raises(SystemExit) as stop:
            main([command, *words])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert not list(work.rglob("*.tmp")), "a temporary file was left"
        return int(stop.value.code or 0), out, err

    return run


def save(path: Path, array: NDArray[np.generic], **options: object) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path.read_bytes()


def dark(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.rint(array * 0.4).astype(array.dtype)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_results_are_named_after_the_model(repix: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    before = save(work / "a.png", photo)
    save(work / "in" / "x" / "b.png", photo)
    code, out, err = repix("a.png", "in", "-m", "paint")
    assert (code, err) == (0, "")
    assert "translated 2 images" in out
    assert names(work) == ["a.png", "a_paint.png", "in/x/b.png", "in_paint/x/b.png"]
    np.testing.assert_array_equal(read_image("a_paint.png").pixels, dark(photo))
    assert (work / "a.png").read_bytes() == before
    code, out, _ = repix("a.png", "a_paint.png", "-m", "paint")  # a second run takes no result for input
    assert code == 0
    assert "1 already there" in out
    assert "a_paint_paint.png" not in names(work)
    assert repix("a.png", "-m", "paint", "-o", "out/b.webp", "--compare")[0] == 0
    assert names(work / "out") == ["b.webp", "b_compare.webp"]
    both = read_image(work / "out" / "b_compare.webp").pixels
    np.testing.assert_array_equal(both, np.hstack([photo, dark(photo)]))


@pytest.mark.parametrize("model", ["paint", "small", "labels"])
@pytest.mark.parametrize("shape", [(417, 301), (1, 1), (1, 400), (32, 50), (7, 9)])
def test_any_size(repix: Run, work: Path, model: str, shape: tuple[int, int]) -> None:
    save(work / "a.png", np.full((*shape, 3), (250, 100, 50), np.uint8))
    assert repix("a.png", "-m", model, "-o", "b.png")[0] == 0
    np.testing.assert_array_equal(read_image("b.png").pixels, np.full((*shape, 3), (100, 40, 20), np.uint8))


def test_photos_are_scaled_smoothly_and_labels_keep_their_colours(repix: Run, work: Path) -> None:
    halves = np.zeros((192, 96, 3), np.uint8)
    halves[96:] = 250
    save(work / "a.png", halves)
    for model in ("small", "labels"):
        assert repix("a.png", "-m", model, "-o", f"{model}.png")[0] == 0
    photo, labels = (read_image(f"{model}.png").pixels for model in ("small", "labels"))
    assert photo.shape == labels.shape == halves.shape
    assert len(np.unique(photo)) > len(np.unique(labels))
    blocks = labels[::3, ::3].repeat(3, axis=0).repeat(3, axis=1)  # 96 pixels are three times 32
    np.testing.assert_array_equal(labels, blocks)
    for made in (photo, labels):
        assert (made[:80] == 0).all()
        assert (made[110:] == 100).all()


def test_size(repix: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "a.png", photo)
    for size in ("0", "61", "8"):
        assert repix("a.png", "-m", "small", "--size", size, "-o", f"{size}.png")[0] == 0
    own, same, coarse = (read_image(f"{size}.png").pixels for size in ("0", "61", "8"))
    np.testing.assert_array_equal(own, dark(photo))
    np.testing.assert_array_equal(own, same)
    assert coarse.shape == photo.shape
    assert np.abs(coarse.astype(int) - own).mean() > 1
    code, _, err = repix("a.png", "-m", "small", "--size", "-5")
    assert code == 2
    assert "--size" in err


def test_grey_becomes_coloured(repix: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "grey.png", photo[..., 0])
    save(work / "grey16.png", photo[..., 0].astype(np.uint16) * 257)
    for name in ("grey.png", "grey16.png"):
        assert repix(name, "-m", "labels")[0] == 0
    made = read_image("grey_labels.png")
    assert not made.grey
    assert made.pixels.dtype == np.uint8
    assert read_image("grey16_labels.png").pixels.dtype == np.uint16
    assert not read_image("grey16_labels.png").grey


def test_sixteen_bit_and_alpha_stay(repix: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    deep = photo.astype(np.uint16) * 257 + 3
    alpha = np.linspace(0, 255, photo.shape[0] * photo.shape[1]).reshape(photo.shape[:2]).astype(np.uint8)
    write_image(work / "deep.png", Picture(deep))
    write_image(work / "clear.png", Picture(photo, alpha=alpha))
    assert repix("deep.png", "clear.png", "-m", "paint", "-o", "out")[0] == 0
    np.testing.assert_array_equal(read_image("out/deep.png").pixels, dark(deep))
    made = read_image("out/clear.png")
    np.testing.assert_array_equal(made.pixels, dark(photo))
    np.testing.assert_array_equal(made.alpha, alpha)


def test_what_is_said_of_the_file_stays_but_for_its_colours(repix: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x013B] = "the author"
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save(work / "a.png", photo, exif=exif, icc_profile=profile)
    assert "icc-profile-data" in read_image("a.png").metadata
    assert repix("a.png", "-m", "paint", "-o", "b.png")[0] == 0
    made = read_image("b.png")
    assert made.pixels.shape == (83, 61, 3)  # upright
    assert "icc-profile-data" not in made.metadata
    with Image.open("b.png") as image:
        assert image.getexif()[0x013B] == "the author"


def test_label_maps_are_not_written_with_loss_unless_asked(repix: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    for name in ("a.jpg", "b.webp", "c.AVIF"):
        save(work / "in" / name, photo)
    assert repix("in", "-m", "labels")[0] == 0
    assert names(work / "in_labels") == ["a.png", "b.webp", "c.png"]
    assert repix("in", "-m", "paint")[0] == 0
    assert names(work / "in_paint") == ["a.jpg", "b.webp", "c.AVIF"]
    assert repix("in/a.jpg", "-m", "labels", "--format", "jpg", "-o", "asked")[0] == 0
    assert repix("in/a.jpg", "-m", "labels", "-o", "named.jpg")[0] == 0
    assert repix("in/a.jpg", "-m", "labels", "--compare")[0] == 0
    assert names(work / "asked") == ["a.jpg"]
    assert names(work / "in") == ["a.jpg", "a_compare.png", "a_labels.png", "b.webp", "c.AVIF"]
    with Image.open("named.jpg") as image:
        assert image.format == "JPEG"
    # where only the format makes two results share a name, the input's extension tells them apart
    save(work / "two" / "a.jpg", photo)
    save(work / "two" / "a.png", photo)
    assert repix("two", "-m", "labels")[0] == 0
    assert names(work / "two_labels") == ["a.jpg.png", "a.png"]


def test_one_bad_file_stops_nothing(repix: Run, work: Path, photo: NDArray[np.uint8]) -> None:
    save(work / "good.png", photo)
    (work / "bad.png").write_bytes(b"no image")
    (work / "video.mp4").write_bytes(b"no video either")
    code, out, err = repix("good.png", "bad.png", "video.mp4", "-m", "small", "-o", "out")
    assert code == 1
    assert "2 failed" in out
    by_name = sorted(err.splitlines())
    assert by_name[0].startswith("repix: bad.png: not an image that repix reads (JPEG, PNG")
    assert by_name[1].startswith("repix: video.mp4: not an image that repix reads (JPEG")
    assert len(by_name) == 2
    assert names(work / "out") == ["good.png"]


def test_a_model_made_for_something_else(
    repix: Run, work: Path, photo: NDArray[np.uint8], darkening_weight: Path
) -> None:
    save(work / "a.png", photo)
    for command, model, right in (("translate", darkening_weight, "derain"), ("derain", "paint", "translate")):
        code, out, err = repix("a.png", "-m", model, command=command)
        assert (code, out) == (4, "")
        assert err.count("\n") == 1
        assert f"not to {command}; type: repix {right} PATH --model " in err
    code, _, err = repix("a.png", "-m", "facades-labls")
    assert code == 4
    assert "no model 'facades-labls'" in err
    code, _, err = repix("a.png")
    assert code == 2
    assert "Missing option '-m' / '--model'" in err
    assert names(work) == ["a.png"]


def test_models_tells_what_a_translation_is(repix: Run) -> None:
    code, out, _ = repix("labels", command="models")
    assert code == 0
    assert "32 px on the shorter side" in out
    assert "background, facade, window" in out
    assert "AtoB" in out


def test_evaluate_measures_what_the_model_makes(repix: Run, work: Path) -> None:
    """Label maps on side-by-side pairs, to a table that a card takes its figures from; and other weights' palettes."""
    rng = np.random.default_rng(0)
    colours = np.array([rgb for _, rgb in FACADES], np.uint8)
    for number in range(2):
        labels = rng.integers(0, 12, (4, 4)).repeat(8, axis=0).repeat(8, axis=1)
        save(work / "pairs" / f"{number}.png", np.concatenate([colours[labels], colours[labels]], axis=1))
    code, out, err = repix("--model", "labels", "--data", "pairs", "--csv", "table.csv", command="evaluate")
    assert (code, "Traceback" in err) == (0, False)
    assert "label_accuracy" in out
    (row,) = read_metrics(Path("table.csv"))
    assert row.values.keys() == {"l1_pm1", "psnr_rgb", "ssim_rgb", "label_accuracy", "mean_iou_pooled"}
    assert 0 < row.values["label_accuracy"] < 1  # times 0.4 some colours are nearer to others
    code, out, _ = repix("--model", "paint", "--data", "pairs", command="evaluate")
    assert code == 0
    assert "l1_pm1" in out
    assert "label_accuracy" not in out
    code, again, _ = repix("--model", "paint", "--data", "pairs", "--palette", "facades", command="evaluate")
    assert code == 0
    assert f"{row.values['label_accuracy']:.4f}" in again
    code, _, err = repix("--model", "paint", "--data", "pairs", "--metric", "mean_iou_pooled", command="evaluate")
    assert code == 2
    assert "needs a palette" in err
