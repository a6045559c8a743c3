"""The card's arguments rebuild the network as training left it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from repix.engine.export import export
from repix.engine.inspect import load_network
from repix.infer.backend import TorchBackend
from repix.infer.restorer import Restorer
from repix.models import create_model


def test_arguments_that_stages_changed(tmp_path: Path) -> None:
    """A recipe that switches recurrent stages on; its last stage runs two of three."""
    net = create_model("prenet", stages=3, channels=4, blocks=1)
    (tmp_path / "recipe.yaml").write_text(
        "name: few\nmodel: prenet\nargs: {stages: 3, channels: 4, blocks: 1}\ndata: {photos: photos}\n"
        "stages: [{steps: 1, network: {stages: 1}}, {steps: 1, network: {stages: 2}}]\nema: 0\n",
        encoding="utf-8",
    )
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 2}, tmp_path / "last.ckpt")
    card = export(tmp_path, tmp_path / "weight")
    assert card.args == {"stages": 2, "channels": 4, "blocks": 1}
    again = load_network(tmp_path / "weight")
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    onnx, torch_ = Restorer.from_pretrained(tmp_path / "weight", "cpu")(image), Restorer(TorchBackend(again))(image)
    assert np.abs(onnx.astype(int) - torch_.astype(int)).max() <= 1
