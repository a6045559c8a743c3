"""What a network of the user's own does wrong is a sentence about it, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from repix.errors import RecipeError
from repix.models import create_model
from repix.train.recipe import parse_recipe
from repix.train.task import RestorationTask

_HEAD = """
import torch
from torch import nn
from repix.models import Network

class Net(Network):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
"""


def rehearse(folder: Path, text: str) -> None:
    (folder / "my.py").write_text(text, encoding="utf-8")
    stages = [{"steps": 1, "batch": 1, "patch": 16, "lr": 1e-3}]
    data = {"photos": str(folder), "mixture": {"rain": 1}}
    recipe = {"name": "mine", "model": f"{folder / 'my.py'}:Net", "data": data, "stages": stages}
    RestorationTask(parse_recipe(recipe)).rehearse()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "    def forward(self, x): return self.body(x).mean(1, keepdim=True)",
            r"an estimate of \(1, 1, 16, 16\) from",
        ),
        ("    def forward(self, x): return self.body(x)[..., 1:]", r"an estimate of \(1, 3, 16, 15\) from"),
        ("    def forward(self, x): return (self.body(x),)", "an estimate of tuple from .*expected the same shape"),
        ("    def forward(self, x): self.body(x)", "an estimate of NoneType from"),
        (
            "    forward_train = forward = lambda self, x: self.body(x)",
            "forward_train returns a Tensor; expected a repix",
        ),
        (
            "    multiple_of = 0\n    def forward(self, x): return x",
            "Net.multiple_of is 0; expected a whole number from 1",
        ),
        (
            "    overlap = 'all'\n    def forward(self, x): return x",
            "Net.overlap is 'all'; expected a whole number from 0",
        ),
        (
            "    overlap = 900\n    def forward(self, x): return x",
            "Net: tile: overlap 900 is more than half of tile 1024",
        ),
    ],
)
def test_what_breaks_the_contract_is_told_before_training(tmp_path: Path, body: str, said: str) -> None:
    rehearse(tmp_path, _HEAD + "    def forward(self, x): return self.body(x)\n")
    with pytest.raises(RecipeError, match=said):
        rehearse(tmp_path, _HEAD + body + "\n")


def test_a_network_without_parameters_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no parameters that can be trained"):
        rehearse(tmp_path, "from torch import nn\nclass Net(nn.Identity): pass\n")


def test_a_file_that_ends_python_does_not_end_repix(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"my.py does not run \(SystemExit: 3\)"):
        create_model(f"{tmp_path / 'my.py'}:Net")
