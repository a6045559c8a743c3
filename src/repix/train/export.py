"""From a checkpoint to a model that users run: ONNX, safetensors and a card, checked against each other."""

from __future__ import annotations

import contextlib
import csv
import inspect
import logging
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.torch
import torch
from numpy.typing import NDArray
from onnxscript.optimizer import optimize
from torch import nn

from repix._types import one_line
from repix.errors import WeightsError
from repix.features import check_finite
from repix.infer.memory import zeros
from repix.infer.pyramid import COARSEST
from repix.io.files import temporary_folder
from repix.metrics import METRICS, PROTOCOLS
from repix.models import create_model, model_class
from repix.models.adapter import Adapter
from repix.models.stored import MOST_DIFFERENCE, network_of_onnx, onnx_parity
from repix.named import check_trusted, own_names
from repix.palettes import PALETTES
from repix.train.quantize import to_int8
from repix.train.recipe import Recipe, dump_recipe, load_recipe
from repix.weights import CARD_NAME, Measured, ModelCard, checking_card, find_card, save_card

_OPSET = 18
_LARGEST = 2**20  # numbers in a weight that is computed of others here


def _load_checkpoint(checkpoint: Path, recipe: Recipe) -> tuple[nn.Module, int]:
    """A checkpoint's network, with the averaged weights where the run kept an average, and its step.

    Raises:
        WeightsError: not a checkpoint, or one of another network.
    """
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state, step = saved["state_dict"], int(saved["global_step"])
        net = create_model(recipe.model, **recipe.args)
        net.load_state_dict({key.removeprefix("net."): value for key, value in state.items() if key.startswith("net.")})
    except Exception as error:
        raise WeightsError(f"{checkpoint}: not a checkpoint of {recipe.model!r} ({one_line(error)})") from error
    for name, value in recipe.stages[-1].network.items():
        setattr(net, name, value)
    return net.eval(), step


def to_onnx(net: nn.Module, *, multiple_of: int = 1) -> bytes:
    """The network as ONNX at any batch size and any height and width that are multiples of `multiple_of`.

    Args:
        net: (N, 3, H, W) -> (N, 3, H, W); exported in evaluation mode. What it carries from frame to frame becomes
            inputs, and outputs of the same names with `_next`.
        multiple_of: see `Network.multiple_of`.
    """
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    state = Adapter(net).state
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # a line for each operator of an absent torchvision
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.export's own deprecations
            example = torch.rand(2, 3, multiple_of * max(4, 32 // multiple_of), multiple_of * max(5, 40 // multiple_of))
            program = torch.onnx.export(
                net.eval(),
                (example, *(torch.from_numpy(one) for one in zeros(state, example.numpy()))),
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=["x", *(one.name for one in state)],
                output_names=["y", *(f"{one.name}_next" for one in state)],
                dynamic_shapes=(dynamic,) * (1 + len(state)),
            )
    finally:
        logger.setLevel(level)
    assert program is not None
    # what is made of weights alone is made once; torch leaves larger ones to each engine
    optimize(program.model, input_size_limit=_LARGEST, output_size_limit=_LARGEST)
    proto = program.model_proto
    proto.ClearField("metadata_props")
    for graph in (proto.graph, *proto.functions):
        _forget_traces(graph)
    model: bytes = proto.SerializeToString()
    return model


def _forget_traces(graph: Any) -> None:
    """Take out the exporter's stack traces, which carry paths of the machine, of a graph and those inside its nodes."""
    graph.ClearField("metadata_props")
    for kind in ("node", "value_info", "initializer", "input", "output"):
        for part in getattr(graph, kind, ()):
            if hasattr(part, "metadata_props"):  # a function's inputs are bare names
                part.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                _forget_traces(inner)


def to_half(model: bytes) -> bytes:
    """A network's ONNX with its weights stored in half precision: half the size, the same arithmetic.

    Each tensor of fp32 weights becomes one of fp16 and a `Cast` to fp32, which engines do once, when they load it.
    Single numbers stay: they take no room, and some (an epsilon) do not exist in half precision.

    Raises:
        WeightsError: a weight is too large for half precision.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 8:
            kept.append(tensor)
            continue
        _check_fits_half(tensor.name, values)
        half = f"{tensor.name}_half"
        kept.append(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(
            onnx.helper.make_node("Cast", [half], [tensor.name], f"{tensor.name}_cast", to=onnx.TensorProto.FLOAT)
        )
    nodes = list(graph.node)
    graph.ClearField("initializer")
    graph.ClearField("node")
    graph.initializer.extend(kept)
    graph.node.extend([*casts, *nodes])
    made: bytes = proto.SerializeToString()
    return made


def _check_fits_half(name: str, values: NDArray[np.float32]) -> None:
    """Refuse weights that half precision would make infinity of."""
    finite = values[np.isfinite(values)]
    largest = finite[np.abs(finite).argmax()] if finite.size else 0.0
    most = np.finfo(np.float16).max
    if abs(largest) > most:
        raise WeightsError(
            f"tensor {name!r} holds {largest:.6g}, and half precision ends at {most:.0f}; export without --half and "
            "--int8, or train with a smaller learning rate or more weight decay"
        )


def _replace_model(out: Path, made: Path, names: Sequence[str]) -> None:
    """Put a model's files in the place of another's; what else lies in its folder is the user's, and stays."""
    with contextlib.suppress(WeightsError):
        for stored in find_card(out)[0].forms.values():
            if stored.file not in names:
                (out / stored.file).unlink(missing_ok=True)
    for name in names:
        (made / name).replace(out / name)


def save_model(
    net: nn.Module,
    card: ModelCard,
    out: Path,
    *,
    half: bool = False,
    onnx_only: bool = False,
    batches: Iterable[NDArray[np.float32]] | None = None,
) -> ModelCard:
    """Write a model's folder, all of it or nothing.

    Args:
        net: the trained network.
        card: what it is; parity, forms and sha256 are filled in here.
        out: folder; of a model that is there already, its files are replaced and nothing else.
        half: store weights in half precision; arithmetic stays in fp32.
        onnx_only: leave out the safetensors; torch reads ONNX then (`repix.models.stored`).
        batches: rainy images or clips for another form of the network in int8; see `to_int8`.

    Returns:
        The card as written.

    Raises:
        WeightsError: `out` is something else than a model, the network holds NaN or infinity, ONNX and torch disagree
            by more than 1e-4; `half`, and a weight is too large for it; or `onnx_only`, and the ONNX does not hold the
            network's weights as they are.
    """
    if out.exists() and not (out / CARD_NAME).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError(f"{out} is there already and is not a model (no {CARD_NAME}); choose another folder")
    check_finite(net.state_dict(), card.name)
    for key, value in net.state_dict().items() if half else ():
        if value.is_floating_point():
            _check_fits_half(key, value.float().cpu().numpy())
    model = to_onnx(net, multiple_of=card.multiple_of)
    parity = onnx_parity(net, model, multiple_of=card.multiple_of)
    worst = np.max(list(parity.values()))
    if not worst <= MOST_DIFFERENCE:  # NaN is not
        raise WeightsError(
            f"the ONNX export of {card.name!r} differs from torch by {worst:.1e} "
            f"(at most {MOST_DIFFERENCE:.0e} is accepted); nothing was written"
        )
    card = card.model_copy(update={"onnx_parity": parity})
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    kept = to_half(model) if half else model
    networks = {"onnx-fp16" if half else "onnx-fp32": kept}
    if onnx_only:
        network_of_onnx(kept, card, out)
    if batches is not None:
        networks["onnx-int8"] = to_int8(net, model, batches)
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    # the card travels inside the files too; without the sha256 of the files, which would change them
    inside = card.model_copy(update={"forms": {}}).model_dump_json()
    files = {form: f"model.{form.removeprefix('onnx-')}.onnx" for form in networks}
    if len(files) == 1:
        files = dict.fromkeys(files, "model.onnx")
    with temporary_folder(out.parent) as made:
        for form, network in networks.items():
            proto = onnx.load_from_string(network)
            onnx.helper.set_model_props(proto, {"card": inside})
            (made / files[form]).write_bytes(proto.SerializeToString())
        if not onnx_only:
            files["safetensors-fp16" if half else "safetensors-fp32"] = "model.safetensors"
            (made / "model.safetensors").write_bytes(safetensors.torch.save(state, metadata={"card": inside}))
        card = save_card(card, made, forms=files)
        if out.exists():
            _replace_model(out, made, [*files.values(), CARD_NAME])
        else:
            made.replace(out)
    return card


def read_metrics(path: Path) -> list[Measured]:
    """What a table of `repix evaluate --csv` says of the one model in it, for a card.

    Infinite means (PSNR with an identical image) are left out with a warning: a card has no place for them.

    Raises:
        WeightsError: not such a table, or one of several models.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["model"] != "input"]
        found = []
        for row in rows:
            values = {name: float(row[name]) for name in METRICS if row.get(name)}
            if infinite := [name for name, value in values.items() if not math.isfinite(value)]:
                logging.getLogger("repix").warning(
                    "%s: on %s %s is infinite, for which a card has no place; it is left out",
                    path,
                    row["data"],
                    " and ".join(infinite),
                )
            values = {name: value for name, value in values.items() if name not in infinite}
            protocol = PROTOCOLS[row["protocol"]].note
            found.append(Measured(data=row["data"], images=int(row["images"]), values=values, protocol=protocol))
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not a table of `repix evaluate --csv` ({error})") from None
    if len({row["model"] for row in rows}) != 1:
        raise WeightsError(f"{path}: expected metrics of one model, got {len({row['model'] for row in rows})}")
    return found


def _final_args(recipe: Recipe) -> dict[str, Any]:
    """The constructor's arguments that give the network as the last stage left it (`stages: 6`, say)."""
    known = inspect.signature(model_class(recipe.model)).parameters
    return recipe.args | {key: value for key, value in recipe.stages[-1].network.items() if key in known}


def _translation(recipe: Recipe) -> dict[str, Any]:
    """What a card says of a translation: direction, the size at which the last stage saw images, the labels' names.

    Where images were brought to one size (`resize_short`) before patches were cut out, an image of a patch's size is
    what the network knows (pix2pix's 286 and 256); elsewhere it knows images as they came.
    """
    if not recipe.task.directed:
        return {}
    palette: Any = _final_args(recipe).get("palette")
    if isinstance(palette, str):
        palette = PALETTES[palette]
    elif palette is not None:
        palette = [(f"label {number}", rgb) for number, rgb in enumerate(palette)]
    size = recipe.stages[-1].patch if recipe.data.resize_short is not None else None
    return {"direction": recipe.data.direction, "size": size, "palette": palette}


def export(
    run: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    description: str | None = None,
    metrics: Sequence[Measured] = (),
    limits: Sequence[str] = (),
    licence: str = "Apache-2.0",
    half: bool = False,
    int8: bool = False,
    onnx_only: bool = False,
    trust: bool = False,
) -> ModelCard:
    """Turn a run into a model.

    Args:
        run: folder of a run (its best checkpoint, or the last where there is no best), or a checkpoint in one.
        out: folder of the model.
        name: of the model, by default the recipe's.
        description: by default the recipe's.
        metrics: what it reaches, for the card.
        limits: what it cannot do, for the card.
        licence: SPDX name.
        half: store weights in half precision.
        int8: write a form that computes in int8, for CPUs, too, with ranges from samples of the run's own data; and
            `half`.
        onnx_only: leave out the safetensors, which training, and a look into the network, then read out of the ONNX.
        trust: run Python files that the run's recipe names; not needed for those that this user has trained with.

    Raises:
        UntrustedCodeError: the recipe names code that is not trusted.
        InputError: int8, and the run's data is missing.
        WeightsError: no checkpoint, or the export does not match, or cannot be read back where it has to.
        RecipeError: the run's recipe is missing or damaged.
    """
    checkpoint = Path(run)
    if checkpoint.is_dir():
        best = checkpoint / "best.ckpt"
        checkpoint = best if best.is_file() else checkpoint / "last.ckpt"
    if not checkpoint.is_file():
        raise WeightsError(f"{checkpoint}: no such checkpoint; give the folder of a run (it has last.ckpt)")
    recipe = load_recipe(checkpoint.parent / "recipe.yaml")
    check_trusted(own_names(recipe.model_dump()), where=str(checkpoint.parent / "recipe.yaml"), trust=trust)
    net, step = _load_checkpoint(checkpoint, recipe)
    check_finite(net.state_dict(), checkpoint)
    known = Adapter(net)
    with checking_card():
        card = ModelCard(
            name=recipe.name if name is None else name,
            task=recipe.task,
            arch=recipe.model,
            args=_final_args(recipe),
            description=description if description is not None else recipe.description,
            **_translation(recipe),
            multiple_of=known.multiple_of,
            tiling=known.tiling,
            state=list(known.state),
            scales=(1, COARSEST) if recipe.task.local and known.tiling is not None else None,
            training={
                "recipe": dump_recipe(recipe),
                "checkpoint": checkpoint.name,
                "steps": step,
                "parameters": sum(parameter.numel() for parameter in net.parameters()),
                "torch": torch.__version__,
            },
            metrics=list(metrics),
            limits=list(limits),
            licence=licence,
        )
    if not int8:
        return save_model(net, card, Path(out), half=half, onnx_only=onnx_only)
    from repix.train.loop import last_batches  # Lightning takes two seconds to import

    return save_model(net, card, Path(out), half=True, onnx_only=onnx_only, batches=last_batches(recipe))
