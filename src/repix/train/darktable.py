"""A model as a `.dtmodel` package, which darktable 5.6 imports for neural restore.

The package is a zip with one folder, named by the model's id: `config.json` and `model.onnx`, whose input and output
are (1, 3, H, W) RGB in [0, 1]. Fields as github.com/darktable-org/darktable-ai has them.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import onnx

from repix import __version__
from repix.errors import InputError
from repix.io.files import atomic
from repix.tasks import DERAIN
from repix.weights import ModelCard, find_card, read_weights

SUFFIX = ".dtmodel"
TILE = 768  # what darktable's own models take
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same model gives the same bytes


def write_package(model: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    """Write a model's package.

    Args:
        model: name of a shipped model, or a model's folder.
        out: the file; the suffix is added where it is missing.

    Returns:
        The file.

    Raises:
        InputError: a model that does something else than restore images, or needs them whole; or the file cannot be
            written.
        WeightsError: no such model, or one without floating point.
    """
    card, folder = find_card(model)
    if card.task is not DERAIN or card.tiling is None or card.state or TILE % card.multiple_of:
        raise InputError(f"{card.name}: darktable takes networks that restore single images on tiles of {TILE} pixels")
    network = _network(read_weights(card, folder, card.form("onnx-fp32", "onnx-fp16")))
    path = Path(out) if Path(out).suffix == SUFFIX else Path(f"{out}{SUFFIX}")
    id_ = f"derain-{card.name}"
    files = {
        "config.json": (json.dumps(_config(card, id_), indent=4, ensure_ascii=False) + "\n").encode(),
        "model.onnx": network,
    }
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as package:
        for name, data in files.items():
            package.writestr(zipfile.ZipInfo(f"{id_}/{name}", _EPOCH), data, zipfile.ZIP_DEFLATED)
    return path


def _network(data: bytes) -> bytes:
    """The same network with darktable's names, and images one by one."""
    model = onnx.load_from_string(data)
    graph = model.graph
    names = {graph.input[0].name: "input", graph.output[0].name: "output"}
    for node in graph.node:
        for places in (node.input, node.output):
            for place, name in enumerate(places):
                places[place] = names.get(name, name)
    for value in (graph.input[0], graph.output[0]):
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString()
    return written


def _config(card: ModelCard, id_: str) -> dict[str, object]:
    return {
        "id": id_,
        "name": f"derain {card.name}",
        "description": card.description,
        "task": "denoise",  # the place in neural restore for images that keep their size
        "arch": card.arch,
        "backend": "onnx",
        "version": __version__,
        "tiling": True,
        "model_card": {
            "long_description": " ".join([card.description, *card.limits]),
            "scope": "rain streaks taken out of single images",
            "author": card.source.work if card.source else "repix",
            "source": card.source.url if card.source else "",
            "license": card.licence,
            "training_data": str(card.training.get("data", "")),
        },
        "attributes": {"input_sizes": [TILE]},
    }
