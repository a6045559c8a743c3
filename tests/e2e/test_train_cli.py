"""Through the command line as a user would: clean photos → rain → train → evaluate → export → derain."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import pyvips

from repix.cli import main
from repix.weights import find_card

RECIPES = Path(__file__).parents[2] / "recipes"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


def test_from_photos_to_a_model_that_derains(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("rain", photos, "-o", tmp_path / "pairs", "--severity", 0.9) == 0
    assert "4 pairs" in capsys.readouterr().out
    small = ["args={channels: [8, 16], encoder: [1], middle: 1, decoder: [1]}", "data.workers=0", "validate_every=4"]
    small += ["stages=[{steps: 4, batch: 2, patch: 32}]", "data.hold_out=1", f"data.pairs={tmp_path / 'pairs'}"]
    sets = [word for value in small for word in ("--set", value)]
    assert run("train", RECIPES / "own-pairs.yaml", *sets) == 0
    weight = tmp_path / "runs" / "own-pairs" / "model"
    assert str(Path("runs") / "own-pairs" / "model") in capsys.readouterr().out
    card, _ = find_card(weight)
    assert card.training["steps"] == 4
    assert {form.file for form in card.forms.values()} == {"model.onnx", "model.safetensors"}

    table = tmp_path / "table.json"
    csv = tmp_path / "table.csv"
    monkeypatch.setenv("REPIX_DATA", str(tmp_path))
    words = ["--model", weight, "--set", "pairs", "--json", table, "--csv", csv]
    assert run("evaluate", *words) == 0
    means = json.loads(table.read_text())["means"]
    assert [row["model"] for row in means] == ["input", str(weight)]
    assert means[1]["images"] == 4
    assert means[1]["psnr_y"] > 5

    words = [
        "runs/own-pairs",
        "-o",
        "final",
        "--name",
        "mine",
        "--description",
        "Ours.",
        "--metrics",
        csv,
        "--limit",
        "Barely trained.",
    ]
    assert run("export", *words) == 0
    final, _ = find_card(tmp_path / "final")
    assert (final.name, final.description) == ("mine", "Ours.")
    assert final.metrics[0].values["psnr_y"] == pytest.approx(means[1]["psnr_y"], abs=0.01)
    assert final.limits == ["Barely trained."]

    capsys.readouterr()
    assert run("export", "runs/own-pairs", "-o", "small", "--int8") == 0
    assert "one rounded to int8" in capsys.readouterr().out
    assert run("models", "small") == 0
    assert "onnx-int8" in capsys.readouterr().out

    assert run("derain", tmp_path / "pairs" / "input" / "0.png", "-o", "clean.png", "--model", "final") == 0
    assert pyvips.Image.new_from_file("clean.png").width == 90


def test_mistakes_are_one_line_and_an_exit_code(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = RECIPES / "own-images.yaml"
    for words, code, said in (
        (["train", recipe, "--set", "stges=[]"], 3, "did you mean 'stages'"),
        (["train", "none.yaml"], 3, "none.yaml"),
        (["train", recipe, "--set", f"data.photos={tmp_path / 'nowhere'}"], 2, "no such folder"),
        (["train", recipe, "--set", f"data.photos={photos}", "--resume"], 3, "nothing to resume"),
        (["train", recipe, "--set", f"data.photos={photos}", "--set", "model=repixnt"], 3, "did you mean 'repixnet'"),
        (["export", tmp_path / "nowhere", "-o", "w"], 4, "no such checkpoint"),
        (["rain", tmp_path / "nowhere.jpg", "-o", "out"], 1, "no such file"),
    ):
        assert run(*words) == code, words
        error = capsys.readouterr().err.strip()
        assert said in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "w").exists()


def test_what_is_said_when_it_is_stopped_holds(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from repix.train import loop

    def stopped(*args: Any, **kwargs: Any) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", stopped)
    stages = "stages=[{steps: 9, losses: {l1: 1}}]"
    folder = tmp_path / "my run"
    words = ["train", RECIPES / "own-pairs.yaml", "-o", folder, "--set", f"data.pairs={photos}", "--set", stages]
    assert run(*words) == 130
    assert "stopped; nothing is trained yet; start again without --resume" in capsys.readouterr().err
    folder.mkdir()
    (folder / "last.ckpt").touch()
    assert run(*words, "--no-export") == 130
    said = capsys.readouterr().err.strip().removeprefix("stopped; continue with: ")
    if sys.platform != "win32":  # as a shell would read it
        given = [str(word) for word in words]
        assert shlex.split(said) == ["repix", *given[:4], "--resume", "--no-export", *given[4:]]
