"""Readings of real photos: what each means, on images where it is known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from repix.cli import main
from repix.errors import InputError
from repix.evaluate.real import evaluate_real, find_photos
from repix.io.image import Picture, read_image, write_image

Image = np.ndarray
CLEAN = np.tile(np.linspace(60, 120, 48).astype(np.uint8)[None, :, None], (40, 1, 3))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos: a ramp with a bright streak in the left third."""
    for number, column in enumerate((5, 9)):
        image = CLEAN.copy()
        image[4:30, column] = 220
        write_image(tmp_path / "rain" / f"{number}.png", Picture(image))
    return tmp_path / "rain"


def without_streaks(image: Image) -> Image:
    return np.where(image > 150, CLEAN, image)


def blurred_right(image: Image) -> Image:
    """Leaves the streak, and smooths the right half, where there is no rain."""
    out = image.copy()
    out[:, 24:] = ndimage.uniform_filter(image.astype(float), (1, 9, 1))[:, 24:] * 0.9
    return out


def table(photos: Path, **models: object) -> dict[str, dict[str, float]]:
    found = evaluate_real(models, find_photos([photos]), referees={"referee": without_streaks})
    return {row.model: dict(row.values) for row in found.means}


def test_a_referee_finds_rain_in_the_input_and_none_in_a_clean_result(photos: Path) -> None:
    rows = table(photos, right=without_streaks, blurs=blurred_right)
    assert list(rows) == ["input", "right", "blurs"]
    streak = 26 * (220 - CLEAN[0, [5, 9], 0].mean()) / CLEAN[..., 0].size
    assert rows["input"]["left_referee"] == pytest.approx(streak, rel=1e-3)
    assert rows["right"]["left_referee"] == 0
    assert rows["blurs"]["left_referee"] == pytest.approx(streak, rel=1e-3)


def test_changes_where_nobody_else_finds_rain_are_told_apart(photos: Path) -> None:
    rows = table(photos, right=without_streaks)
    assert rows["input"]["changed"] == 0
    assert rows["right"]["changed"] > 0
    assert rows["right"]["changed_elsewhere"] == 0
    assert rows["right"]["sharpness_elsewhere"] == 1
    rows = table(photos, blurs=blurred_right)
    assert rows["blurs"]["changed_elsewhere"] > 5
    assert rows["blurs"]["sharpness_elsewhere"] < 1


def test_without_another_network_only_the_change_is_known(photos: Path) -> None:
    found = evaluate_real({"right": without_streaks}, find_photos([photos]))
    assert found.metrics == ("changed",)
    assert "changed: mean absolute change" in found.note
    assert "no other network" not in found.note
    assert found.to_text().splitlines()[2].split()[:4] == [
        "rain",
        "right",
        "2",
        f"{found.means[1].values['changed']:.4f}",
    ]


def test_sixteen_bits_read_as_eight(tmp_path: Path, photos: Path) -> None:
    wide = read_image(photos / "0.png").pixels.astype(np.uint16) * 257
    write_image(tmp_path / "wide" / "0.png", Picture(wide))
    (photos / "1.png").unlink()
    dark = {"dark": lambda image: image // 2}
    narrow, wide_ = (evaluate_real(dark, find_photos([folder])).means[1] for folder in (photos, tmp_path / "wide"))
    assert wide_.values["changed"] == pytest.approx(narrow.values["changed"], abs=0.5)


def test_pairwise_images_hide_which_is_which(tmp_path: Path, photos: Path) -> None:
    models = {"a": without_streaks, "b": lambda image: image}
    evaluate_real(models, find_photos([photos]), pairwise=tmp_path / "look", seed=1)
    rows = list(csv.DictReader((tmp_path / "look" / "key.csv").read_text().splitlines()))
    assert len(rows) == 2
    for row in rows:
        assert "a" not in row["file"].replace(".png", "")
        pixels = read_image(tmp_path / "look" / row["file"]).pixels
        sides = {row["left"]: pixels[:, :48], row["right"]: pixels[:, -48:]}
        assert sides["a"].max() < 150 < sides["b"].max()
    orders = set()
    for seed in range(6):
        evaluate_real(models, find_photos([photos]), pairwise=tmp_path / str(seed), seed=seed)
        orders |= {row["left"] for row in csv.DictReader((tmp_path / str(seed) / "key.csv").read_text().splitlines())}
    assert orders == {"a", "b"}
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"a\.png is a file, not a folder"):
        evaluate_real(models, find_photos([photos]), pairwise=tmp_path / "a.png" / "look")
    with pytest.raises(InputError, match="not an empty folder"):
        evaluate_real(models, find_photos([photos]), pairwise=tmp_path / "look")


def test_wrong_arguments_are_told(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in it"):
        find_photos([tmp_path / "empty"])
    with pytest.raises(InputError, match="no such folder"):
        find_photos([tmp_path / "none"])
    with pytest.raises(InputError, match="cannot be called 'input'"):
        evaluate_real({"input": without_streaks}, find_photos([photos]))
    for arguments, message in (
        (["--real", str(photos), "--data", str(photos)], "--data is for pairs"),
        (["--referee", "repixnet", "--data", str(photos)], "belongs to --real"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", *arguments])
        assert stop.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_the_command_reads_a_shipped_model(tmp_path: Path, photos: Path) -> None:
    arguments = ["evaluate", "--real", str(photos), "--referee", "repixnet", "--csv", str(tmp_path / "t.csv")]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    header, first, second = (tmp_path / "t.csv").read_text().splitlines()
    assert header.startswith("data,model,images,changed,left_repixnet,")
    assert first.startswith("rain,input,2,0.0000,")
    assert second.split(",")[-1] == "real"
