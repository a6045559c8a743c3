"""Training that tells what it did: `recorded_run.py RECIPE FOLDER RECORD`, also as one of several processes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from repix.data.dataset import MixtureDataset, Sample
from repix.train.loop import train
from repix.train.recipe import Recipe, load_recipe
from repix.train.task import RestorationTask


def recorded(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Losses by step, a digest of each sample by its global index, and what this process wrote into the folder."""
    losses: list[float] = []
    samples: dict[str, str] = {}
    wrote: list[str] = []
    step, get = RestorationTask.training_step, MixtureDataset.__getitem__

    def training_step(self: RestorationTask, batch: dict[str, Any], batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        losses.append(loss.item())
        return loss

    def getitem(self: MixtureDataset, index: int) -> Sample:
        sample = get(self, index)
        digest = hashlib.sha256(b"".join(sample[side].numpy().tobytes() for side in ("lq", "gt")))
        assert str(index) not in samples, "a sample was drawn twice"
        samples[str(index)] = digest.hexdigest()
        return sample

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writing = event in ("os.mkdir", "os.rename", "os.remove") or (
            event == "open" and (set(str(arguments[1])) & set("wax+") or int(arguments[2] or 0) & os.O_ACCMODE)
        )
        if writing and str(arguments[0]).startswith(str(folder)):
            # a file that is written whole takes its name from a temporary one
            wrote.append(str(arguments[1 if event == "os.rename" else 0]))

    sys.addaudithook(watch)
    with (
        patch.object(RestorationTask, "training_step", training_step),
        patch.object(MixtureDataset, "__getitem__", getitem),
    ):
        train(recipe, folder, progress=False)
    return {"losses": losses, "samples": samples, "wrote": list(wrote)}


if __name__ == "__main__":
    made = recorded(load_recipe(sys.argv[1]), Path(sys.argv[2]))
    Path(f"{sys.argv[3]}.{os.environ['RANK']}").write_text(json.dumps(made))
