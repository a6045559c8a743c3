"""Each network's output on a fixed image with fixed weights, against committed values.

Weights and image come from a formula, not from a random generator, so only a change of the network's own arithmetic
moves the values. After such a change, on purpose: python tests/golden/test_golden.py
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from repix.models import create_model
from repix.models.adapter import Adapter

GOLDEN = Path(__file__).with_name("golden.json")
# Largest accepted difference; recurrent networks amplify rounding.
TOLERANCE = {"prenet": 1e-4, "spanet": 1e-4, "progressive_spanet": 1e-4}


def small_arguments() -> dict[str, dict[str, Any]]:
    """The small networks of the contract tests, which know every model."""
    path = Path(__file__).parents[1] / "contract" / "test_models.py"
    spec = importlib.util.spec_from_file_location("contract_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    small: dict[str, dict[str, Any]] = module.SMALL
    return small


def values(name: str, arguments: dict[str, Any]) -> list[float]:
    """Twelve pixels of the output, spread over it."""
    net = create_model(name, **arguments).eval()
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            wave = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number)
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.copy_((wave / fan_in**0.5).reshape(parameter.shape))
        count = torch.arange(3 * 32 * 48, dtype=torch.float64)
        x = (0.5 + 0.5 * torch.sin(count * 0.013) * torch.cos(count * 0.37)).float().reshape(1, 3, 32, 48)
        y = (net(x, *net.zeros(x))[0] if Adapter(net).state else net(x)).flatten()  # of a video, its first frame
    return [round(float(value), 6) for value in y[:: y.numel() // 12][:12]]


@pytest.mark.parametrize("name", sorted(small_arguments()))
def test_output_is_what_it_was(name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert values(name, small_arguments()[name]) == pytest.approx(golden[name], abs=TOLERANCE.get(name, 1e-5))


if __name__ == "__main__":
    rows = {name: values(name, arguments) for name, arguments in sorted(small_arguments().items())}
    GOLDEN.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
