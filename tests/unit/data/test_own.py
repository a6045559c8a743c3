"""What a degradation of the user's own does wrong is a sentence about it, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repix.data.clips import ClipDataset
from repix.data.config import Data, Samples
from repix.data.datamodule import RestorationData
from repix.data.dataset import MixtureDataset, Sources
from repix.errors import RecipeError
from repix.io.image import write_image

_CALL = "    def __call__(self, clean, rng, context):\n"
_EXPECTED = r"expected float32 of \(16, 16, 3\) with values from 0 to 1"


def own(folder: Path, body: str, head: str = "") -> tuple[str, list[Path]]:
    """The name of a class whose call is as given, and photos."""
    (folder / "my.py").write_text(
        f"import numpy as np\nclass Fog:\n{head}{_CALL}" + "".join(f"        {line}\n" for line in body.split("; ")),
        encoding="utf-8",
    )
    photos = [folder / "photos" / f"{number}.png" for number in range(4)]
    for photo in photos:
        photo.parent.mkdir(exist_ok=True)
        write_image(photo, np.full((40, 50, 3), 90, np.uint8))
    return f"{folder / 'my.py'}:Fog", photos


def mixture(folder: Path, body: str, head: str = "") -> MixtureDataset:
    name, photos = own(folder, body, head)
    return MixtureDataset(Sources(photos, {name: 1}), stages=[Samples(steps=1, patch=16)])


_WRONG = [
    ("raise ValueError('too thick')", r"fails \(ValueError: too thick, line 4\)"),
    ("raise SystemExit", r"fails \(SystemExit: SystemExit, line 4\)"),
    ("return clean", r"returned float32 of \(16, 16, 3\); expected two images, degraded and clean"),
    ("return clean, clean, clean", "returned 3 values; expected two images, degraded and clean"),
    ("pass", "returned a NoneType; expected two images, degraded and clean"),
    ("return clean.mean(2), clean", rf"returned float32 of \(16, 16\) as the degraded image; {_EXPECTED}"),
    ("return clean, clean[1:]", rf"returned float32 of \(15, 16, 3\) as the clean image; {_EXPECTED}"),
    ("return clean.tolist(), clean", rf"returned 16 values as the degraded image; {_EXPECTED}"),
    ("return (clean * 255).astype(np.uint8), clean", rf"returned uint8 of \(16, 16, 3\) as the degraded.*{_EXPECTED}"),
    ("return clean * np.float32(255), clean", rf"returned values from [\d.e-]+ to 25\d.* as the degraded.*{_EXPECTED}"),
    ("return clean * np.float32('nan'), clean", rf"returned NaN or infinity as the degraded image; {_EXPECTED}"),
    ("return clean.astype(float), clean", r"returned float64; expected float32: add \.astype\(np\.float32\)"),
    ("clean *= 0.5; return clean, clean", "changes the image that it is given; expected it left as it is"),
]


@pytest.mark.parametrize(("body", "said"), _WRONG)
def test_what_is_wrong_is_told_before_training(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(RecipeError, match=rf"^degradation '.*my\.py:Fog' {said}"):
        mixture(tmp_path, body)


def test_a_class_that_asks_for_arguments_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"my\.py:Fog' fails \(TypeError: .*missing 1 required"):
        mixture(tmp_path, "return clean, clean", "    def __init__(self, depth): pass\n")


def test_a_little_noise_beyond_the_range_is_cut_off(tmp_path: Path) -> None:
    sample = mixture(tmp_path, "return clean - np.float32(0.9), clean")[0]
    assert float(sample["lq"].min()) == 0  # type: ignore[union-attr]


def test_what_validation_degrades_with_is_called_before_training_too(tmp_path: Path) -> None:
    name, photos = own(tmp_path, "return context.photos[0], clean")
    data = Data(photos=[photos[0].parent], mixture={"clean": 1}, validation_degradations=[name], hold_out=1)
    with pytest.raises(RecipeError, match=r"my\.py:Fog' fails \(IndexError: .*line 4\)"):
        RestorationData(data, [Samples(steps=1, patch=16)], metric="psnr_y")


def test_frames_are_looked_at_in_mixtures_of_video(tmp_path: Path) -> None:
    frames = "    def frames(self, clean, rng, context): return clean[0]\n"
    name, photos = own(tmp_path, "return None", frames)
    with pytest.raises(
        RecipeError, match=r"returned float32 of \(16, 16, 3\) by `frames`; expected .*\(2, 16, 16, 3\)"
    ):
        ClipDataset(Sources(photos, {name: 1}), stages=[Samples(steps=1, patch=16, frames=2)])


def test_what_goes_wrong_later_is_told_as_well(tmp_path: Path) -> None:
    later = "self.calls = getattr(self, 'calls', 0) + 1; assert self.calls < 2, 'once'; return clean * 1, clean"
    data = mixture(tmp_path, later)
    with pytest.raises(RecipeError, match=r"my\.py:Fog' fails \(AssertionError: once, line 5\)"):
        data[0]
