"""Two processes over gloo train as one does: the same samples, the same losses, one folder written once."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from recorded_run import recorded

from repix.train.recipe import load_recipe

STEPS, BATCH = 10, 4


def settings(photos: Path) -> dict[str, object]:
    return {
        "name": "tiny",
        "model": "repixnet",  # no batch norm, whose statistics would be of each process's share
        "args": {"channels": [8, 16], "encoder": [1], "middle": 1, "decoder": [1]},
        "data": {
            "photos": str(photos),
            "mixture": {"rain": 1, "sharp_streaks": 1, "clean": 1},
            "workers": 0,
            "hold_out": 1,
        },
        "stages": [{"steps": STEPS, "batch": BATCH, "patch": 32, "lr": 1e-2}],
        "precision": "32-true",
        "validate_every": 5,
        "trainer": {"accelerator": "cpu"},  # torchrun says how many
    }


def names(folder: Path) -> list[str]:
    """Files without what differs from process to process in their names."""
    return sorted(path.relative_to(folder).as_posix().split(".tfevents")[0] for path in folder.rglob("*"))


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs libuv, which torch lacks on Windows")
def test_two_processes_train_as_one(photos: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(settings(photos)))
    script = Path(__file__).with_name("recorded_run.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    loopback = {"linux": "lo", "darwin": "lo0"}[sys.platform]
    done = subprocess.run(
        [*command, str(script), str(recipe), str(tmp_path / "two"), str(tmp_path / "record")],
        env=os.environ | {"GLOO_SOCKET_IFNAME": loopback, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two = [json.loads((tmp_path / f"record.{rank}").read_text()) for rank in (0, 1)]
    one = recorded(load_recipe(recipe), tmp_path / "one")

    # a sample is a function of the seed and its global index alone, and every one is drawn once
    assert [sorted(map(int, run["samples"])) for run in two] == [list(range(rank, STEPS * BATCH, 2)) for rank in (0, 1)]
    assert two[0]["samples"] | two[1]["samples"] == one["samples"]

    means = np.mean([run["losses"] for run in two], axis=0)
    assert len(means) == STEPS
    np.testing.assert_allclose(means, one["losses"], rtol=0, atol=1e-5)
    assert np.abs(np.subtract(two[0]["losses"], two[1]["losses"])).max() > 1e-4, "both had the same share"

    logged = {}
    weights = {}
    for run in ("one", "two"):
        with (tmp_path / run / "curves.csv").open() as file:
            logged[run] = {(row["step"], row["name"]): float(row["value"]) for row in csv.DictReader(file)}
        weights[run] = torch.load(tmp_path / run / "last.ckpt", weights_only=True)["state_dict"]
    assert ("10", "loss") in logged["one"]
    assert logged["two"] == pytest.approx(logged["one"], abs=1e-3)  # metrics are in dB
    assert logged["two"]["10", "loss"] == pytest.approx(logged["one"]["10", "loss"], abs=1e-5)
    assert weights["one"].keys() == weights["two"].keys()
    for key, value in weights["one"].items():
        torch.testing.assert_close(weights["two"][key], value, rtol=0, atol=1e-5)

    assert two[1]["wrote"] == [], "another process than the first wrote into the run's folder"
    assert any(path.endswith("recipe.yaml") for path in two[0]["wrote"])
    assert names(tmp_path / "two") == names(tmp_path / "one")
