"""Faster still at inference? Every form of the shipped weights on the CPU: time, and what it costs in dB.

    python benchmarks/quantised.py [--model repixnet ...] [--csv benchmarks/results/quantised.csv]

Forms: ONNX Runtime's settings (graph optimisation, a graph that was optimised before, memory arena, prepacked weights,
a bound output, two threads), fp16, and int8 (`repix.train.quantize`), with more or less of the network in fp32; `int8`
is the file that is shipped, where that is int8. Median seconds for 512x512, each form and PReNet in turns with fp32
(with all forms loaded at once some took a sixth longer). One thread, where no other number is named. CPU-seconds are
the process's; wall_seconds are left out where the machine did other things too. `fps_1080p`: 1920x1080 frames a second of
the network alone, all cores, by the wall clock. int8 needs a processor with dot products of bytes.
`psnr_y` in 8 bits on what `recipes/repixnet.yaml` holds out, as the change against fp32. All derain weights that are
shipped, unless named.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.transformers.float16 import convert_float_to_float16
from tqdm import tqdm

from confidence import write
from lines import held_out, to_8_bits
from repix.data.dataset import Sample
from repix.evaluate.inspect import load_network
from repix.metrics import psnr_y
from repix.models import create_model
from repix.tasks import DERAIN
from repix.train.export import to_onnx
from repix.train.loop import last_batches
from repix.train.quantize import to_int8
from repix.weights import find_card, list_cards, read_weights
from translate import recipe_of

ROOT = Path(__file__).resolve().parents[1]
SIZE = 512
FRAME = (1088, 1920)  # 1080 and what makes it a multiple of 8
FP32, INT8, PRENET = "fp32", "int8", "PReNet"
# What stays in fp32 instead of what the network says itself, by the names that RepixNet gives its parts.
ENDS = ("stem", "tail")
FINEST = (*ENDS, *(f"{part}.0" for part in ("encoders", "decoders", "downs", "ups")))
KEPT = {
    "int8, but first and last convolution": ENDS,
    "int8, but the finest level": FINEST,
    "int8 in the coarsest level alone": (*ENDS, "encoders", "decoders", "downs", "ups"),
}

Floats = npt.NDArray[np.float32]
Run = Callable[[Floats], Floats]
Make = Callable[[], Run]


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


def forms_of(name: str) -> tuple[dict[str, Make], set[str], dict[str, Make]]:
    """Everything of a weight that is measured, which of it may change the result, and what is measured on all cores."""
    net, (card, folder) = load_network(name), find_card(name)
    model = to_onnx(net, multiple_of=card.multiple_of)
    levels = ort.GraphOptimizationLevel
    forms = {
        FP32: partial(runner, model),
        "fp32, graph not optimised": partial(runner, model, level=levels.ORT_DISABLE_ALL),
        "fp32, no memory arena": partial(runner, model, arena=False),
        "fp32, weights not prepacked": partial(runner, model, prepacking=False),
        "fp32, output bound": partial(runner, model, bound=True),
        "fp32, two threads": partial(runner, model, threads=2),
        "fp32, two threads that spin": partial(runner, model, threads=2, spinning=True),
    }
    with tempfile.TemporaryDirectory() as made:
        forms["fp32, graph optimised before"] = partial(
            runner, optimised(model, Path(made)), level=levels.ORT_DISABLE_ALL
        )
    batches = list(last_batches(recipe_of(card)))
    others = {
        "fp16": convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True).SerializeToString(),
        INT8: read_weights(card, folder, "onnx-int8") if "onnx-int8" in card.forms else to_int8(net, model, batches),
    }
    others |= {form: to_int8(net, model, batches, keep_float=kept) for form, kept in KEPT.items()}
    wide = {FP32: partial(on_all_cores, model), INT8: partial(on_all_cores, others[INT8])}
    return forms | {form: partial(runner, other) for form, other in others.items()}, {FP32, *others}, wide


def on_all_cores(model: bytes) -> Run:
    return runner(model, threads=os.cpu_count() or 1, spinning=True)


def frames_per_second(make: Make, turns: int) -> float:
    """By the wall clock, median."""
    run, frame = make(), np.random.default_rng(0).random((1, 3, *FRAME), dtype=np.float32)
    found = []
    for _ in range(turns + 1):
        begun = time.perf_counter()
        run(frame)
        found.append(time.perf_counter() - begun)
    return 1 / median(found[1:])


def take_turns(make: Make, base: Make, repeats: int) -> list[list[tuple[float, float]]]:
    """(CPU, wall clock) in seconds of each turn of a form, and of fp32 beside it."""
    picture = np.random.default_rng(0).random((1, 3, SIZE, SIZE), dtype=np.float32)
    runs = [make(), base()]
    seconds: list[list[tuple[float, float]]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        for run, found in zip(runs, seconds, strict=True):
            start, begun = time.process_time(), time.perf_counter()
            run(picture)
            if turn:  # the first is the warm-up
                found.append((time.process_time() - start, time.perf_counter() - begun))
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

    samples = held_out()
    sets: dict[str, list[Sample]] = {}
    for one in (samples[i] for i in range(len(samples))):  # type: ignore[arg-type]
        sets.setdefault(str(one["set"]), []).append(one)
    kept = [one for kind, found in sets.items() if kind != "rain" for one in found[: args.pictures]]
    rows = []
    prenet = to_onnx(create_model("prenet"))
    for model in args.model or [card.name for card in list_cards() if card.task is DERAIN]:
        forms, changing, wide = forms_of(model)
        frames = {form: frames_per_second(make, 5) for form, make in wide.items()}
        if not rows:
            forms[PRENET] = partial(runner, prenet)
            frames[PRENET] = frames_per_second(partial(on_all_cores, prenet), 1)
        quality = {form: decibels(forms[form](), kept) for form in tqdm(forms, desc=model) if form in changing}
        for form, make in tqdm(forms.items(), desc="turns"):
            (cpu, wall), (base, elapsed) = (
                (median(side) for side in zip(*turns, strict=True))
                for turns in take_turns(make, forms[FP32], args.repeats)
            )
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
