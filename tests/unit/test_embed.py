"""docs/embed.md: the network without repix, in Python, gives what repix gives. tests/long has JavaScript."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repix.infer.pyramid import restore_levels
from repix.io.image import read_image, resize, write_image
from repix.weights import find_card

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the guide's Python defines, after it has run as it stands there."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "embed.md").read_text("utf-8"), re.S)
    card, folder = find_card("repixnet")
    shutil.copy(folder / card.forms[card.form("onnx-fp16", "onnx-fp32")].file, tmp_path / "model.onnx")
    # just large enough for level 2, and no side a multiple of anything
    write_image(tmp_path / "rainy.png", resize(read_image(ROOT / "examples" / "rainy.jpg").pixels, (481, 487)))
    monkeypatch.chdir(tmp_path)
    defined: dict[str, Any] = {}
    exec(compile(code, "embed.md", "exec"), defined)
    return defined


@pytest.mark.parametrize("levels", [(2, 1), (1, 2)])
def test_result_is_that_of_repix(program: dict[str, Any], tmp_path: Path, levels: tuple[int, ...]) -> None:
    rainy = read_image(tmp_path / "rainy.png").pixels
    session = program["session"]
    wanted, ran, _ = restore_levels(lambda x: session.run(None, {"x": x})[0], rainy, levels, multiple_of=8)
    assert ran == levels
    made = read_image(tmp_path / "clean.png").pixels if levels == (2, 1) else program["derain"](rainy, levels)
    assert np.abs(made.astype(int) - rainy).max() > 20
    assert np.abs(made.astype(int) - wanted).max() <= 1
