"""The notebooks in examples/, executed: no cell fails, each is within two minutes of one core, and none grows large."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from data_sets import DATA

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
resource = pytest.importorskip("resource", reason="CPU time of child processes")

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 120
BYTES = 700_000


def test_committed_notebooks_are_small_and_executed() -> None:
    import nbformat

    found = sorted(EXAMPLES.glob("*.ipynb"))
    assert len(found) == 5
    for path in found:
        assert path.stat().st_size < BYTES, path.name
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        outputs = [output for cell in cells for output in cell.outputs]
        assert any("image/jpeg" in output.get("data", {}) for output in outputs), f"{path.name} shows no image"
        assert not [output for output in outputs if output.output_type == "error"]


@pytest.mark.enable_socket  # the kernel is asked over this machine's own ports
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get("REPIX_LONG"):
        pytest.skip("takes minutes; REPIX_LONG=1 asks for it")
    import nbformat

    if DATA.is_dir():
        monkeypatch.setenv("REPIX_DATA", str(DATA))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shutil.copy(EXAMPLES / "rainy.jpg", tmp_path)
    notebook = nbformat.read(path, as_version=4)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{path.name}: {spent:.0f} CPU-seconds")
    assert spent < SECONDS
