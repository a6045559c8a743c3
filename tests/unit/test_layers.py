"""The rules of docs/architecture.md: two stacks, imports to the left, and a runtime that loads no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from import_graph import PATHS, imports, loaded, part

# a part imports from groups left of its own; the training stack also from the whole runtime
RUNTIME = (
    {"errors", "_environment"},
    {"_types"},
    {"named", "networks"},
    {"io"},
    {"tasks", "figures"},
    {"weights"},
    {"infer", "poisson"},
    {"degradations", "palettes"},
)
TRAINING = ({"features"}, {"metrics"}, {"data"}, {"models"}, {"losses"}, {"train"}, {"evaluate"})
ENDS = {
    "app": set().union(*RUNTIME),
    "cli": set().union(*RUNTIME, *TRAINING, {"app"}),
    "__main__": {"cli"},
    "__init__": set().union(*RUNTIME, {"data"}),  # the public names
}
ALLOWED = {
    **{one: set().union(*RUNTIME[:place]) for place, group in enumerate(RUNTIME) for one in group},
    **{one: set().union(*RUNTIME, *TRAINING[:place]) for place, group in enumerate(TRAINING) for one in group},
    **ENDS,
}
IMPORT_TORCH_INSIDE = {"repix.infer.backends.torch", "repix.poisson.torch"}
# what the base install does not bring
EXTRAS = {"torch", "lightning", "skimage", "torchmetrics", "matplotlib", "tensorboard", "onnx", "safetensors", "yaml"}
WITHOUT_EXTRAS = [name for name in PATHS if part(name) in {*set().union(*RUNTIME), "cli", "__main__", "__init__"}] + [
    "repix.data.pairs"
]  # which the public names include
HEAVY = (
    "numpy",
    "pydantic",
    "torch",
    "lightning",
    "onnxruntime",
    "fastapi",
    "uvicorn",
    "ray",
    "av",
    "scipy",
    "skimage",
    "pyvips",
    "pillow_heif",
    "PIL",
)


@pytest.mark.parametrize("name", PATHS)
def test_imports_go_to_the_left(name: str) -> None:
    mine = part(name)
    assert mine in ALLOWED, f"{mine} has no place in the layers"
    for other in imports(name, inside_functions=True) & PATHS.keys():
        # `from repix import __version__`: the package itself, which loads nothing
        assert part(other) in ALLOWED[mine] | {mine} or other == "repix", f"{name} imports {other}"


@pytest.mark.parametrize("name", WITHOUT_EXTRAS)
def test_the_base_install_is_enough_to_import(name: str) -> None:
    ways = loaded(name)
    found = {other: " → ".join(ways[other]) for other in ways.keys() & EXTRAS}
    assert not found


def test_the_way_to_torch_is_found() -> None:
    assert loaded("repix.models.adapter")["torch"][0] == "repix.models.adapter"
    assert loaded("repix.data.dataset")["repix.data"] == ("repix.data.dataset", "repix.data")
    assert "torch" not in loaded("repix.infer.backends.torch")


def test_two_runtime_modules_import_torch() -> None:
    """Inside functions, and neither knows the networks; the commands of the training stack are not meant."""
    runtime = [name for name in PATHS if part(name) in set().union(*RUNTIME, {"app", "__init__"})]
    found = {name for name in runtime if "torch" in imports(name, inside_functions=True)}
    assert found == IMPORT_TORCH_INSIDE
    for name in found:
        assert not [other for other in imports(name, inside_functions=True) if part(other) == "models"]


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
