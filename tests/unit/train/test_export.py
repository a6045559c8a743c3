"""The card's arguments rebuild the network as training left it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from repix.evaluate.inspect import load_network
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.models import create_model
from repix.palettes import FACADES
from repix.tasks import TRANSLATE
from repix.train.export import export


def test_arguments_that_stages_changed(tmp_path: Path) -> None:
    """A recipe that switches recurrent stages on; its last stage runs two of three."""
    net = create_model("prenet", stages=3, channels=4, blocks=1)
    (tmp_path / "recipe.yaml").write_text(
        "name: few\nmodel: prenet\nargs: {stages: 3, channels: 4, blocks: 1}\ndata: {photos: photos}\n"
        "stages: [{steps: 1, network: {stages: 1}}, {steps: 1, network: {stages: 2}}]\nema_decay: 0\n",
        encoding="utf-8",
    )
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 2}, tmp_path / "last.ckpt")
    card = export(tmp_path, tmp_path / "model")
    assert card.args == {"stages": 2, "channels": 4, "blocks": 1}
    again = load_network(tmp_path / "model")
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    onnx, torch_ = Restorer.from_pretrained(tmp_path / "model", "cpu")(image), Restorer(TorchBackend(again))(image)
    assert np.abs(onnx.astype(int) - torch_.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("palette", "names"),
    [
        ("facades", [colour.name for colour in FACADES]),
        ("[[0, 0, 0], [9, 200, 7]]", ["label 0", "label 1"]),
        (None, None),
    ],
)
def test_a_card_says_what_a_translation_needs(tmp_path: Path, palette: str | None, names: list[str] | None) -> None:
    args = "channels: 4, widest: 8, depth: 2" + (f", palette: {palette}" if palette else "")
    (tmp_path / "recipe.yaml").write_text(
        f"name: few\ntask: translate\nmodel: pix2pix\nargs: {{{args}}}\n"
        f"data: {{pairs: pairs, direction: BtoA{', resize_short: 36' if palette else ''}}}\n"
        "stages: [{steps: 1, patch: 64}, {steps: 1, patch: 32}]\nema_decay: 0\n",
        encoding="utf-8",
    )
    given = FACADES if palette == "facades" else [("a", (0, 0, 0)), ("b", (9, 200, 7))]
    wanted = [rgb for _, rgb in given] if palette else None
    net = create_model("pix2pix", channels=4, widest=8, depth=2, palette=wanted)
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 2}, tmp_path / "last.ckpt")
    card = export(tmp_path, tmp_path / "model")
    assert (card.task, card.direction, card.size) == (TRANSLATE, "BtoA", 32 if palette else None)
    assert [name for name, _ in card.palette or ()] == (names or [])
    assert [rgb for _, rgb in card.palette or ()] == (wanted or [])
    image = np.random.default_rng(0).integers(0, 256, (41, 57, 3), dtype=np.uint8)
    assert Restorer.from_pretrained(tmp_path / "model", "cpu")(image).shape == image.shape
