"""The scripts in benchmarks/: they fit one another, and `study.py` loses nothing of what was measured before."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def names_in(path: Path) -> set[str]:
    """What a script defines or imports at its top level."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            found |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return found


def test_what_scripts_import_of_one_another_is_there() -> None:
    scripts = {path.stem: path for path in SCRIPTS.glob("*.py")}
    asked = [
        (path.name, node.module, alias.name)
        for path in scripts.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in scripts
        for alias in node.names
    ]
    assert asked
    assert [one for one in asked if one[2] not in names_in(scripts[one[1]])] == []


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, which writes under a folder of the test's own, where tables of an earlier study lie."""
    pytest.importorskip("tensorboard")
    monkeypatch.syspath_prepend(SCRIPTS)
    known = set(sys.modules)
    module = importlib.import_module("study")
    for name in {path.stem for path in SCRIPTS.glob("*.py")} - known:  # names as short as these are for this test alone
        sys.modules.pop(name, None)
    for name in ("RESULTS", "DRAWN", "RUNS"):
        monkeypatch.setattr(module, name, tmp_path / name)
        (tmp_path / name).mkdir()
    for table in ("study_derain", "study_derain_curves"):
        (module.RESULTS / f"{table}.csv").write_bytes((SCRIPTS / "results" / f"{table}.csv").read_bytes())
    return module


def test_a_study_trains_what_only_its_tables_have(study: Any) -> None:
    folders = {row: study.RUNS / row for row in ("repixnet", "prenet")}
    asked = []

    def measure(row: str, folder: Path) -> dict[str, object]:
        asked.append(row)
        folder.mkdir()
        return {"row": row, "steps": 7}

    study.fill("derain", {"prenet": folders["prenet"]}, measure)
    study.fill("derain", folders, measure)
    assert asked == ["prenet", "repixnet"]
    lines = study.read_rows(study.RESULTS / "study_derain.csv")
    assert [line["row"] for line in lines] == list(study.DERAIN)
    assert {line["row"] for line in lines if line["steps"] == "7"} == {"prenet", "repixnet"}


def test_a_study_draws_without_losing_rows_that_were_trained_elsewhere(
    study: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = study.RESULTS / "study_derain_curves.csv"
    before = curves.read_bytes()
    study.draw_derain({row: study.RUNS / row for row in study.DERAIN})
    assert curves.read_bytes() == before
    assert [path.name for path in study.DRAWN.iterdir()] == ["curves.png"]
    assert "networks.webp: not drawn, because these are not trained: repixnet, resnet" in capsys.readouterr().err
