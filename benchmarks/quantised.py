"""Faster still at inference? Every form of the shipped weights on the CPU: time, and what it costs in dB.

    python benchmarks/quantised.py [--model repixnet ...] [--csv benchmarks/results/quantised.csv]

Forms: ONNX Runtime's settings (graph optimisation, a graph that was optimised before, memory arena, prepacked weights,
a bound output, two threads), fp16, and int8 by onnxruntime.quantization: static, QDQ, per channel, ranges from crops of
RainTrainL's training pairs, first and last convolution in fp32. Median seconds for 512x512, all forms in turns in one
process, PReNet among them. One thread, where no other number is named. CPU-seconds are the process's; wall_seconds
are left out where the machine did other things too. `fps_1080p`: 1920x1080 frames a second of the network alone, all
cores, by the wall clock. int8 needs a processor with dot products of bytes.
`psnr_y` in 8 bits on what `recipes/repixnet.yaml` holds out, as the change against fp32. All derain weights that are
shipped, unless named.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from tqdm import tqdm

from confidence import write
from lines import held_out, to_8_bits
from repix.data.dataset import Sample
from repix.data.pairs import find_pairs
from repix.engine.export import to_onnx
from repix.io.image import read_image
from repix.metrics import psnr_y
from repix.models import create_model
from repix.weights import find_card, list_cards, read_weights

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SIZE = 512
FRAME = (1088, 1920)  # 1080 and what makes it a multiple of 8
FP32, BEST_INT8, PRENET = "fp32", "int8, sums and finest level in fp32", "PReNet"
CROPS, SIDE = 8, 256
# convolutions by the names that RepixNet gives their weights
FINEST = r"stem|tail|(encoders|decoders|downs|ups)\.0\."
FINER = r"(?!middle)"

Floats = npt.NDArray[np.float32]
Run = Callable[[Floats], Floats]


class Crops(CalibrationDataReader):
    """Rainy crops of training pairs, one at a time."""

    def __init__(self, held: set[str]) -> None:
        pairs = [pair for pair in find_pairs(DATA / "RainTrainL") if pair.name not in held]
        rng = np.random.default_rng(0)
        self._rest = []
        for i in rng.choice(len(pairs), CROPS, replace=False):
            pixels = read_image(pairs[i].lq).pixels
            top, left = (int(rng.integers(side - SIDE + 1)) for side in pixels.shape[:2])
            crop = pixels[top : top + SIDE, left : left + SIDE] / np.float32(255)
            self._rest.append({"x": np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32)})

    def get_next(self) -> dict[str, Floats] | None:
        return self._rest.pop() if self._rest else None


def quantised(
    model: bytes,
    folder: Path,
    held: set[str],
    operators: Sequence[str],
    *,
    kept: str = r"stem|tail",
) -> bytes:
    """Static QDQ of these operators, but the convolutions whose weights' names begin as `kept` says.

    Ranges by entropy instead of the extremes gave the same, by percentile (99.999) worse results in dense lines.
    """
    source, result = folder / "fp32.onnx", folder / "int8.onnx"
    source.write_bytes(model)
    nodes = onnx.load_from_string(model).graph.node
    quantize_static(
        source,
        result,
        Crops(held),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(operators),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[node.name for node in nodes if node.op_type == "Conv" and re.match(kept, node.input[1])],
    )
    return result.read_bytes()


def optimised(model: bytes, folder: Path) -> bytes:
    """The graph as ONNX Runtime rewrites it on this machine."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that the result fits this kind of machine only
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return (folder / "optimised.onnx").read_bytes()


def runner(
    model: bytes,
    *,
    level: ort.GraphOptimizationLevel = ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    arena: bool = True,
    prepacking: bool = True,
    bound: bool = False,
    threads: int = 1,
    spinning: bool = False,
) -> Run:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = level
    options.enable_cpu_mem_arena = arena
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if not prepacking:
        options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Floats) -> Floats:
        return np.asarray(session.run(None, {name: x})[0])

    def run_bound(x: Floats) -> Floats:
        y = np.empty_like(x)
        binding = session.io_binding()
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output(session.get_outputs()[0].name, ort.OrtValue.ortvalue_from_numpy(y))
        session.run_with_iobinding(binding)
        return y

    return run_bound if bound else run


def forms_of(model: bytes, held: set[str]) -> tuple[dict[str, Run], set[str], dict[str, Run]]:
    """Everything that is measured, which of it may change the result, and what is measured on all cores."""
    levels = ort.GraphOptimizationLevel
    forms = {
        FP32: runner(model),
        "fp32, graph not optimised": runner(model, level=levels.ORT_DISABLE_ALL),
        "fp32, no memory arena": runner(model, arena=False),
        "fp32, weights not prepacked": runner(model, prepacking=False),
        "fp32, output bound": runner(model, bound=True),
        "fp32, two threads": runner(model, threads=2),
        "fp32, two threads that spin": runner(model, threads=2, spinning=True),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forms["fp32, graph optimised before"] = runner(optimised(model, folder), level=levels.ORT_DISABLE_ALL)
        half = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True).SerializeToString()
        others = {
            "fp16": half,
            "int8": quantised(model, folder, held, ("Conv", "Relu", "Add")),
            "int8, sums in fp32": quantised(model, folder, held, ("Conv", "Relu")),
            BEST_INT8: quantised(model, folder, held, ("Conv", "Relu"), kept=FINEST),
            "int8 in the coarsest level alone": quantised(model, folder, held, ("Conv", "Relu"), kept=FINER),
        }
    wide = {FP32: on_all_cores(model), BEST_INT8: on_all_cores(others[BEST_INT8])}
    return forms | {form: runner(other) for form, other in others.items()}, {FP32, *others}, wide


def on_all_cores(model: bytes) -> Run:
    return runner(model, threads=os.cpu_count() or 1, spinning=True)


def frames_per_second(run: Run, turns: int) -> float:
    """By the wall clock, median."""
    frame = np.random.default_rng(0).random((1, 3, *FRAME), dtype=np.float32)
    found = []
    for _ in range(turns + 1):
        begun = time.perf_counter()
        run(frame)
        found.append(time.perf_counter() - begun)
    return 1 / median(found[1:])


def take_turns(forms: dict[str, Run], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """(CPU, wall clock) in seconds of each turn of each form."""
    picture = np.random.default_rng(0).random((1, 3, SIZE, SIZE), dtype=np.float32)
    seconds: dict[str, list[tuple[float, float]]] = {form: [] for form in forms}
    for turn in tqdm(range(repeats + 1), desc="turns"):
        for form, run in forms.items():
            start, begun = time.process_time(), time.perf_counter()
            run(picture)
            if turn:  # the first is the warm-up
                seconds[form].append((time.process_time() - start, time.perf_counter() - begun))
    return seconds


def decibels(run: Run, kept: Sequence[Sample]) -> dict[str, float]:
    """Mean `psnr_y` in 8 bits of each set."""
    found: dict[str, list[float]] = {}
    for one in kept:
        lq, gt = (one[side].numpy().clip(0, 1) for side in ("lq", "gt"))  # type: ignore[union-attr]
        got = run((to_8_bits(lq)[None] / np.float32(255)).astype(np.float32))[0].clip(0, 1)
        figure = psnr_y(*(to_8_bits(side.transpose(1, 2, 0)) for side in (got, gt)))
        found.setdefault(str(one["set"]), []).append(figure)
    return {kind: mean(values) for kind, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="may be repeated")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=12, help="at most so many of each set")
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "results" / "quantised.csv")
    args = parser.parse_args()
    args.csv = args.csv.absolute()
    logging.disable(logging.WARNING)  # the quantiser advises to optimise first; fp32 shows what that is worth

    samples = held_out()
    sets: dict[str, list[Sample]] = {}
    for one in (samples[i] for i in range(len(samples))):  # type: ignore[arg-type]
        sets.setdefault(str(one["set"]), []).append(one)
    held = {str(one["name"]) for one in sets["pairs"]}
    kept = [one for kind, found in sets.items() if kind != "drawn" for one in found[: args.pictures]]
    rows = []
    prenet = to_onnx(create_model("prenet"))
    for model in args.model or [card.name for card in list_cards() if card.task == "derain"]:
        forms, changing, wide = forms_of(read_weights(*find_card(model), "model.onnx"), held)
        frames = {form: frames_per_second(run, 5) for form, run in wide.items()}
        if not rows:
            forms[PRENET] = runner(prenet)
            frames[PRENET] = frames_per_second(on_all_cores(prenet), 1)
        seconds = take_turns(forms, args.repeats)
        quality = {form: decibels(forms[form], kept) for form in tqdm(forms, desc=model) if form in changing}
        base, elapsed = (median(side) for side in zip(*seconds[FP32], strict=True))
        for form, turns in seconds.items():
            cpu, wall = (median(side) for side in zip(*turns, strict=True))
            row = {"model": model, "form": form, "cpu_seconds": f"{cpu:.4f}", "of fp32": f"{cpu / base:.2f}"}
            if form == PRENET:
                row |= {"model": PRENET, "form": FP32, "of fp32": "1.00"}
            row["fps_1080p"] = f"{frames[form]:.2f}" if form in frames else ""
            row["wall_seconds"] = f"{wall:.4f}" if elapsed < 1.2 * base else ""
            row["pictures"] = str(len(kept)) if form in quality else ""
            for kind, figure in quality[FP32].items():
                change = quality[form][kind] - figure if form in quality else None
                row[kind] = "" if change is None else f"{figure:.2f}" if form == FP32 else f"{change:+.2f}"
            rows.append(row)
            print(*row.values())
    write(args.csv, rows)


if __name__ == "__main__":
    main()
