"""Two rules of docs/architecture.md: modules import only to their left, and the base install loads nothing heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import repix

ROOT = Path(repix.__file__).parent

# the leaves import nothing of repix but `errors`
ORDER = (
    "io",
    "figures",
    "infer",
    "poisson",
    "degradations",
    "data",
    "models",
    "losses",
    "train",
    "evaluate",
    "app",
    "cli",
    "__main__",
)
LAYERS = {name: place for place, name in enumerate(ORDER)}
LEAVES = {
    "_environment",
    "_types",
    "errors",
    "metrics",
    "palettes",
    "weights",
    "features",
    "tasks",
    "__init__",
}
TORCH_FREE_DATA = ("degradations/hard_negatives", "palettes", "data/pairs", "degradations/rain")
TORCH_FREE = ("io", "infer", "poisson", "weights", "errors", "cli", "__init__", *TORCH_FREE_DATA)
HEAVY = (
    "numpy",
    "pydantic",
    "torch",
    "lightning",
    "onnxruntime",
    "gradio",
    "ray",
    "av",
    "scipy",
    "skimage",
    "pyvips",
    "pillow_heif",
    "PIL",
)
MODULES = sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports(path: Path, *, top_only: bool) -> set[str]:
    """Absolute names of what a file imports; those for type checkers alone do not count."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.orelse:
                visit(child)
            return
        if top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_to_the_left(path: Path) -> None:
    mine = part_of(path)
    assert mine in LAYERS or mine in LEAVES, f"{mine} has no place in the layers"
    for name in imports(path, top_only=False):
        parts = name.split(".")
        if parts[0] != "repix" or len(parts) < 2:
            continue
        other = parts[1]
        if other == mine or other in LEAVES or other not in LAYERS:  # the last: a name of repix itself
            if mine in LEAVES and other in LEAVES and other != mine:
                # the one metric that is a network; what is set before anything is imported; what a card names
                named = (mine, other) in {("metrics", "features"), ("__init__", "_environment"), ("weights", "tasks")}
                assert other in ("errors", "_types") or named, f"{path}: the leaf {mine} imports the leaf {other}"
            continue
        assert mine not in LEAVES, f"{path}: the leaf {mine} imports {name}"
        assert LAYERS[other] < LAYERS[mine], f"{path}: {mine} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.relative_to(ROOT).as_posix().removesuffix(".py").startswith(TORCH_FREE)],
    ids=lambda p: p.relative_to(ROOT).as_posix(),
)
def test_base_install_needs_no_torch(path: Path) -> None:
    heavy = {name.split(".")[0] for name in imports(path, top_only=True)} & {"torch", "lightning", "skimage"}
    assert not heavy, f"{path} imports {heavy} at its top"


def loaded_by(statement: str) -> set[str]:
    script = f"{statement}\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "statement",
    [
        "import repix",
        "import repix.cli\ntry: repix.cli.main(['--help'])\nexcept SystemExit: pass",
        "import repix.cli\ntry: repix.cli.main(['derain', '--help'])\nexcept SystemExit: pass",
    ],
    ids=["import repix", "repix --help", "repix derain --help"],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    assert not loaded_by(statement) & set(HEAVY)


def test_derain_loads_no_more_than_it_needs(darkening_weight: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    arguments = ["derain", str(tmp_path / "a.jpg"), "--model", str(darkening_weight)]
    loaded = loaded_by(
        f"import repix.cli\ntry: repix.cli.main({arguments!r})\nexcept SystemExit as e: assert not e.code"
    )
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "scipy", "av", "pillow_heif", "PIL", "skimage", "yaml", "lightning"}
