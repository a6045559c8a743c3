"""The documents say what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import repix
from repix.weights import list_cards

ROOT = Path(__file__).parents[2]


def test_architecture_has_a_sentence_for_every_file() -> None:
    named = set(re.findall(r"^\| `([\w/.]+\.py)` \| \S", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.M))
    there = {path.relative_to(ROOT / "src" / "repix").as_posix() for path in (ROOT / "src" / "repix").rglob("*.py")}
    assert named == there


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]:
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.S)
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
                assert page.parent == ROOT or "../" not in link, f"{page.name}: {link} is not part of the site"


def test_every_shipped_model_has_its_recipe_and_there_are_few() -> None:
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert {card.name for card in list_cards()} <= recipes
    assert len(recipes) <= 13


def test_generated_pages_are_up_to_date() -> None:
    check = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "rainy.jpg").write_bytes((ROOT / "examples" / "rainy.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    dry, rainy = (repix.read_image(tmp_path / name).pixels for name in ("clean.jpg", "examples/rainy.jpg"))
    assert dry.shape == rainy.shape
    assert dry.mean() < rainy.mean()  # rain is bright


def test_every_public_name_resolves_and_is_documented() -> None:
    for name in repix.__all__:
        if name != "__version__":
            assert getattr(repix, name).__doc__
