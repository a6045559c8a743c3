"""`repix import`: published weights from their files to a derained image, by the command line alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_sets import DATA, needs
from repix.cli import main
from repix.models.prenet import load_published

PEERS = DATA / "peers"


def repix(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def published_prenet(path: Path, *, lstm: bool, recursive: bool) -> Path:
    """A small file with the keys that PReNet's authors use, filled at random."""
    rng = torch.Generator().manual_seed(3)

    def layer(name: str, rows: int, columns: int) -> dict[str, torch.Tensor]:
        scale = (columns * 9) ** -0.5
        weight = torch.randn(rows, columns, 3, 3, generator=rng) * scale
        return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(rows)}

    state = layer("conv0.0", 32, 6) | layer("conv.0", 3, 32)
    for block in range(1, 2 if recursive else 6):
        state |= layer(f"res_conv{block}.0", 32, 32) | layer(f"res_conv{block}.2", 32, 32)
    if lstm:
        for gate in "ifgo":
            state |= layer(f"conv_{gate}.0", 32, 64)
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    ("name", "lstm", "recursive", "args"),
    [
        ("PReNet2", True, False, {"stages": 2, "recurrence": "lstm", "recursive": False}),
        ("PReNet2_r", True, True, {"stages": 2, "recurrence": "lstm", "recursive": True}),
        ("PRN2", False, False, {"stages": 2, "recurrence": "none", "recursive": False}),
        ("PRN2_r", False, True, {"stages": 2, "recurrence": "none", "recursive": True}),
    ],
)
def test_every_form_of_prenet_becomes_a_model_that_derains_as_its_file_does(
    name: str, lstm: bool, recursive: bool, args: dict[str, object], tmp_path: Path
) -> None:
    file = published_prenet(tmp_path / f"{name}.pth", lstm=lstm, recursive=recursive)
    model = tmp_path / "model"
    assert repix("import", "prenet", file, "-o", model, "--licence", "MIT") == 0
    card = json.loads((model / "card.json").read_text())
    assert card["args"] == args
    assert card["arch"] == "prenet"
    assert card["licence"] == "MIT"
    assert card["source"]["url"] == "https://github.com/csdwren/PReNet"
    assert card["source"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert repix("derain", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", model, "--device", "cpu") == 0
    with torch.inference_mode():
        x = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None]
        expected = load_published(file, stages=2)(x)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(np.asarray(Image.open(tmp_path / "b.png")) - expected).max() <= 0.51


def test_another_file_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "PReNet6.pth")
    assert repix("import", "prenet", tmp_path / "PReNet6.pth", "-o", tmp_path / "model") == 4
    assert "expected keys such as conv0.0.weight" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_pickle_with_code_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return ran.touch, ()  # type: ignore[return-value]

    torch.save({"conv0.0.weight": Hostile()}, tmp_path / "PReNet6.pth")
    assert repix("import", "prenet", tmp_path / "PReNet6.pth", "-o", tmp_path / "model") == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not ran.exists()


def test_a_file_with_nan_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = published_prenet(tmp_path / "PRN2_r.pth", lstm=False, recursive=True)
    state = torch.load(file, weights_only=True)
    state["conv0.0.bias"][0] = float("nan")
    torch.save(state, file)
    assert repix("import", "prenet", file, "-o", tmp_path / "model") == 4
    assert "PRN2_r.pth: 1 tensor holds NaN or infinity, first head.0.bias" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_unknown_kinds_name_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repix("import", "prenets", tmp_path / "x.pth", "-o", tmp_path / "model") == 2
    assert "did you mean 'prenet'" in capsys.readouterr().err


@needs("peers")
def test_spanet_as_published(tmp_path: Path) -> None:
    assert repix("import", "spanet", PEERS / "SPANet" / "latest.pth", "-o", tmp_path / "spanet") == 0
    assert json.loads((tmp_path / "spanet" / "card.json").read_text())["args"] == {"apply_direction_attention": False}


def test_a_name_or_licence_that_no_card_can_have_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = published_prenet(tmp_path / "PReNet6.pth", lstm=True, recursive=False)
    for arguments, said in (
        (("-o", tmp_path / "mödel 1"), "the model's name: got 'mödel 1', expected a letter or digit"),
        (("-o", tmp_path / "m", "--licence", ""), "the model's licence: got '', expected at least 1 character"),
    ):
        assert repix("import", "prenet", file, *arguments) == 2
        assert capsys.readouterr().err.startswith(f"repix: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["PReNet6.pth"]
