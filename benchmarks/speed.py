"""CPU-seconds per image, one thread: PReNet and the models that derain, in each form and engine, in one run.

    python benchmarks/speed.py [--size 512] [--repeats 7] [--csv FILE] [--arch "repixnet:channels=(16,32,64),middle=2"]

A model's own name is the form that `--device cpu` runs, in ONNX Runtime as PReNet; the others say form and device.
OpenVINO computes in bf16 where the processor can, in the form onnx-int8 what is not in int8. Rows that end in AVX2 are
OpenVINO's, in a second process in which ONEDNN_MAX_CPU_ISA limits it to these instructions; their ratio is to PReNet's
time there. ONNX Runtime has no such switch.

PReNet (Ren et al. 2019, six stages) is exported from repix's own implementation with random weights, whose values don't
matter for speed; `--arch` adds networks that are not trained yet in the same way. Each network is warmed up, then all
take turns, so that a busy or throttled machine slows all of them alike. The figure is the median of the process's CPU
time, not of the wall clock; `ratio` is PReNet's median over the network's (higher is faster).
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from common import cpu_seconds, read_rows, write_rows
from repix.infer.backends import DEVICES, Backend, openvino
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.memory import zeros
from repix.models import create_model
from repix.tasks import DERAIN
from repix.train.export import to_onnx
from repix.weights import State, find_card, list_cards, read_weights

LIMIT = "ONEDNN_MAX_CPU_ISA"


def parse_arch(text: str) -> tuple[str, dict[str, Any]]:
    """`"name:key=literal,key=literal"` -> name and arguments."""
    name, _, rest = text.partition(":")
    call = ast.parse(f"f({rest})", mode="eval").body
    assert isinstance(call, ast.Call)
    return name, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


def in_turns(
    backends: dict[str, Backend], states: dict[str, list[State]], *, size: int, repeats: int
) -> dict[str, list[float]]:
    """CPU-seconds of each turn of each network on one square image, for networks with a state the first of a clip."""
    image = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
    given = {name: zeros(states.get(name, []), image) for name in backends}
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    for turn in tqdm(range(repeats + 1), desc="turns"):
        for name, backend in backends.items():
            taken = cpu_seconds(lambda name=name, backend=backend: backend.run(image, given[name]))  # type: ignore[misc]
            if turn:  # the first is the warm-up
                seconds[name].append(taken)
    return seconds


def limited(args: argparse.Namespace, isa: str) -> list[dict[str, str]]:
    """The rows of OpenVINO, limited to a set of instructions, which it reads once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        sizes = ["--size", str(args.size), "--repeats", str(args.repeats)]
        command = [sys.executable, __file__, *sizes, "--csv", str(table)]
        subprocess.run(command, env={**os.environ, LIMIT: isa}, check=True, stdout=subprocess.DEVNULL)
        rows = [row for row in read_rows(table) if row["network"].endswith("openvino")]
    return [row | {"network": f"{row['network']}, {isa}"} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="height and width of the image")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--arch", action="append", default=[], help="a network to measure untrained; may be repeated")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    args = parser.parse_args()

    backends: dict[str, Backend] = {"PReNet": OnnxBackend(to_onnx(create_model("prenet")), threads=1)}
    states: dict[str, list[State]] = {}
    parameters = {"PReNet": count(create_model("prenet"))}
    engines: dict[str, Callable[..., Backend]] = {"cpu": OnnxBackend}
    if not openvino.absent("openvino"):
        engines["openvino"] = openvino.OpenVinoBackend
    if LIMIT in os.environ:
        engines.pop("cpu")  # has no such limit
    for card in (card for card in list_cards() if card.task is DERAIN):
        _, folder = find_card(card.name)
        usual = card.form(*DEVICES["cpu"].forms)
        forms = [usual, *(form for form in card.forms if form.startswith("onnx") and form != usual)]
        for device, engine in engines.items():
            for form in forms:
                name = card.name if (device, form) == ("cpu", usual) else f"{card.name}, {form}, {device}"
                backends[name] = engine(read_weights(card, folder, form), form=form, threads=1)
                parameters[name] = count(create_model(card.arch, **card.args))
                states[name] = card.state
    for text in args.arch:
        name, arguments = parse_arch(text)
        net = create_model(name, **arguments)
        backends[text] = OnnxBackend(to_onnx(net, multiple_of=int(getattr(net, "multiple_of", 1))), threads=1)
        parameters[text] = count(net)

    seconds = in_turns(backends, states, size=args.size, repeats=args.repeats)
    reference = median(seconds["PReNet"])
    rows = [
        {
            "network": name,
            "parameters": str(parameters[name]),
            "cpu_seconds": f"{median(values):.4f}",
            "fastest": f"{min(values):.4f}",
            "slowest": f"{max(values):.4f}",
            "ratio": f"{reference / median(values):.1f}",
        }
        for name, values in seconds.items()
    ]
    if "openvino" in engines and LIMIT not in os.environ:
        rows += limited(args, "AVX2")
    width = max(len(row["network"]) for row in rows)
    print(f"{args.size}×{args.size}, one thread, median of {args.repeats}")
    print(f"{'network':{width}} {'parameters':>10} {'CPU s':>8} {'fastest':>8} {'slowest':>8} {'ratio':>6}")
    for row in rows:
        print(
            f"{row['network']:{width}} {row['parameters']:>10} {row['cpu_seconds']:>8} {row['fastest']:>8} "
            f"{row['slowest']:>8} {row['ratio']:>6}"
        )
    if args.csv:
        write_rows(args.csv, rows)


def count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    main()
