"""`Restorer` takes what Python users have and gives the same kind back."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from repix.errors import InputError, RepixError
from repix.infer.restorer import Restorer
from repix.io.image import Picture, read_image


@pytest.fixture
def dark(darkening_weight: Path) -> Restorer:
    return Restorer.from_pretrained(darkening_weight)


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "float16", "float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(9, 12, 3), (9, 12), (9, 12, 1), (9, 12, 2), (9, 12, 4), (2, 9, 12, 3), (2, 9, 12, 4)]
)
def test_arrays_come_back_as_they_were(dark: Restorer, dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    full = 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)
    image = (rng.random(shape) * full).astype(kind)
    before = image.copy()
    result = dark(image)
    assert result.shape == shape
    assert result.dtype == kind
    np.testing.assert_array_equal(image, before)
    colours = slice(0, 1) if shape[-1] in (1, 2) else slice(0, 3)
    if len(shape) == 2:
        colours = slice(None)
    step = full / 255 if kind == np.uint8 else full / 1000
    np.testing.assert_allclose(
        result[..., colours].astype(np.float64), image[..., colours].astype(np.float64) * 0.4, atol=step
    )
    if len(shape) > 2 and shape[-1] in (2, 4):
        np.testing.assert_array_equal(result[..., -1], image[..., -1])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "P", "1"])
def test_pil_images_come_back_as_pil_images(dark: Restorer, photo: NDArray[np.uint8], mode: str) -> None:
    image = Image.fromarray(photo)
    image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    image.info["comment"] = b"kept"
    result = dark(image)
    assert isinstance(result, Image.Image)
    assert result.mode == {"P": "RGB", "1": "L"}.get(mode, mode)
    assert result.size == image.size
    assert result.info["comment"] == b"kept"
    assert np.asarray(result).mean() < np.asarray(image.convert(result.mode)).mean()


def test_paths_and_pictures_come_back_as_pictures(dark: Restorer, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "a.png")
    expected = np.rint(photo * 0.4)
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), read_image(tmp_path / "a.png")):
        result = dark(given)
        assert isinstance(result, Picture)
        np.testing.assert_array_equal(result.pixels, expected)


def test_a_missing_file_is_both_kinds_of_error(dark: Restorer) -> None:
    for kind in (FileNotFoundError, InputError, RepixError):
        with pytest.raises(kind, match=r"nowhere\.jpg: cannot be read"):
            dark("nowhere.jpg")
        with pytest.raises(kind, match=r"nowhere\.jpg"):
            read_image("nowhere.jpg")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.full((8, 8, 3), 1.5), r"floats must be in \[0, 1\], got 1.5"),
        (np.full((8, 8, 3), -0.1), "got -0.1"),
        (np.full((8, 8, 3), np.nan), "floats must be in"),
        (np.full((8, 8, 3), 200.0, np.float32), "divide by the largest"),
        (np.zeros((8, 8, 3), np.int64), "scale it to 0…255"),
        (np.zeros((8, 8, 3), bool), "got bool"),
        (np.zeros((3, 8, 8), np.uint8), "channels come last"),
        (np.zeros((8, 0, 3), np.uint8), r"got \(8, 0, 3\)"),
        (np.zeros(9, np.uint8), r"got \(9,\)"),
        ([1, 2], "got list"),
        (None, "got NoneType"),
    ],
)
def test_what_would_have_to_be_guessed_is_an_error(dark: Restorer, image: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        dark(image)


def test_arguments_are_checked_before_any_work(dark: Restorer, photo: NDArray[np.uint8]) -> None:
    for strength in (float("nan"), 2, -1, "much", None):
        with pytest.raises(InputError, match="strength must be"):
            dark(photo, strength=strength)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rounding must be nearest or down"):
        dark(photo, rounding="up")  # type: ignore[arg-type]
    out = np.empty_like(photo)
    out.flags.writeable = False
    with pytest.raises(InputError, match="out is read-only"):
        dark(photo, out=out)


def test_pickled_and_copied_it_does_the_same(dark: Restorer, photo: NDArray[np.uint8]) -> None:
    for again in (pickle.loads(pickle.dumps(dark)), copy.copy(dark)):
        np.testing.assert_array_equal(again(photo), dark(photo))
    with pytest.raises(TypeError, match="from_pretrained"):
        pickle.dumps(Restorer(dark.backend))


def test_it_says_what_it_is_and_logs(make_weight: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "repix"):
        restorer = Restorer.from_pretrained(make_weight("mine"))
    assert repr(restorer) == "<Restorer mine (onnx-fp32) on cpu, quality=fast>"
    assert "model mine (onnx-fp32) on cpu" in caplog.text
