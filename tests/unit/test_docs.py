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


def test_files_that_texts_name_are_there() -> None:
    """In documents, docstrings, comments and recipes; `NAME` stands for any."""
    name = re.compile(r"(?<![\w/$.-])(?:benchmarks|docs|recipes|tests|src/repix)/[\w./-]+\.(?:py|md|yaml|csv)\b")
    texts = [ROOT / "CONTRIBUTING.md", *ROOT.glob("README*.md")]
    for folder in ("src", "tests", "docs", "benchmarks", "recipes"):
        texts += [path for kind in ("py", "md", "yaml") for path in sorted((ROOT / folder).rglob(f"*.{kind}"))]
    found = [(path.name, one) for path in texts for one in name.findall(path.read_text("utf-8")) if "NAME" not in one]
    assert len(found) > 50
    assert not [f"{path}: {one}" for path, one in found if not (ROOT / one).exists()]


def test_every_shipped_model_has_its_recipe_and_there_are_few() -> None:
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert {card.name for card in list_cards()} <= recipes
    assert len(recipes) <= 13


def test_the_guide_to_training_has_every_key_of_a_recipe_and_every_loss() -> None:
    from repix.data.config import Data
    from repix.losses import LOSSES
    from repix.train.recipe import Recipe, Stage, Trainer

    text = (ROOT / "docs" / "train.md").read_text("utf-8")
    keys = {key for part in (Recipe, Data, Stage, Trainer) for key in part.model_fields} - {"data"}
    assert not {name for name in keys | set(LOSSES) if not re.search(rf"`(?:\w+\.)?{name}`", text)}


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
    clean, rainy = (repix.read_image(tmp_path / name).pixels for name in ("clean.jpg", "examples/rainy.jpg"))
    assert clean.shape == rainy.shape
    assert clean.mean() < rainy.mean()  # rain is bright


def test_every_public_name_resolves_and_is_documented() -> None:
    for name in repix.__all__:
        if name != "__version__":
            assert getattr(repix, name).__doc__


def test_every_exit_code_is_documented() -> None:
    import repix.errors

    found = [value for value in vars(repix.errors).values() if isinstance(value, type)]
    codes = {kind.exit_code for kind in found if issubclass(kind, repix.errors.RepixError)}
    said = re.search(r"The exit code is .*?\n\n", (ROOT / "docs" / "derain.md").read_text("utf-8"), re.DOTALL)
    assert said is not None
    assert codes <= set(map(int, re.findall(r"\d+", said[0])))
