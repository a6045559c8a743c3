"""Weights that others have published, as models of repix: architecture and arguments follow from their keys."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from repix.errors import InputError, WeightsError, did_you_mean
from repix.features import check_finite
from repix.io.files import resolved
from repix.models import create_model, prenet, spanet
from repix.models.adapter import Adapter
from repix.tasks import DERAIN
from repix.train.export import save_model
from repix.weights import ModelCard, Source, checking_card


@dataclass(frozen=True)
class Published:
    """A kind of published weights.

    Attributes:
        load: file and number of recurrences -> the network with its weights, and the arguments that make it.
        what: the network and its paper, for the card.
        source: where its authors publish it.
    """

    load: Callable[[Path, int], tuple[nn.Module, dict[str, Any]]]
    what: str
    source: str


def _prenet(path: Path, recurrences: int) -> tuple[nn.Module, dict[str, Any]]:
    net = prenet.load_published(path, stages=recurrences)
    return net, {"stages": net.stages, "recurrence": net.recurrence, "recursive": net.repeats > 1}


def _spanet(path: Path, recurrences: int) -> tuple[nn.Module, dict[str, Any]]:
    # the published code computes the attention over directions and drops it
    return spanet.load_published(path), {"apply_direction_attention": False}


PUBLISHED = {
    "prenet": Published(
        _prenet,
        'Ren et al. 2019, "Progressive image deraining networks: a better and simpler baseline"',
        "https://github.com/csdwren/PReNet",
    ),
    "spanet": Published(
        _spanet,
        'Wang et al. 2019, "Spatial attentive single-image deraining with a high quality real rain dataset"',
        "https://github.com/stevewongv/SPANet",
    ),
}
"""What `repix import` reads; the key is also the architecture in `repix.models.MODELS`."""


def import_published(
    kind: str,
    file: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    recurrences: int | None = None,
    source: str | None = None,
    licence: str = "NOASSERTION",
) -> ModelCard:
    """Turn a published file into a model's folder that `derain`, `evaluate`, `inspect` and `init` take.

    Args:
        kind: key of `PUBLISHED`.
        file: the authors' state dict. It is read as data; no code in it is run.
        out: folder of the model; its name becomes the model's.
        recurrences: how often PReNet is applied, which its weights do not say; None takes the digit of the file's
            name (`PReNet6.pth`), or 6.
        source: where the file comes from; None names the authors' repository.
        licence: SPDX name as its authors state it; `NOASSERTION` where they state none.

    Raises:
        InputError: unknown kind, or a folder whose name cannot be a model's.
        WeightsError: another file, one that holds NaN or infinity, or one whose ONNX export differs from it.
    """
    if kind not in PUBLISHED:
        raise InputError(f"unknown kind {kind!r}{did_you_mean(kind, PUBLISHED)} (known: {', '.join(PUBLISHED)})")
    path, folder = Path(file), Path(out)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give the {kind} weights that its authors published")
    if recurrences is None:
        digit = re.search(r"PR(?:eNet|N)(\d+)", path.stem)
        recurrences = int(digit.group(1)) if digit else 6
    published = PUBLISHED[kind]
    net, args = published.load(path, recurrences)
    check_finite(net.state_dict(), path)
    again = create_model(kind, **args)
    again.load_state_dict(net.state_dict())  # the card's arguments make the very network
    known = Adapter(again)
    with checking_card():
        card = ModelCard(
            name=resolved(folder).name,
            task=DERAIN,
            arch=kind,
            args=args,
            description=f"{type(net).__name__} with the weights that its authors published as {path.name}.",
            multiple_of=known.multiple_of,
            tiling=known.tiling,
            training={"parameters": sum(parameter.numel() for parameter in again.parameters())},
            source=Source(
                work=published.what,
                url=source or published.source,
                file=path.name,
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            ),
            licence=licence,
        )
    return save_model(again.eval(), card, folder)
