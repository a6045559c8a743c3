"""Faster still at inference? Every form of the shipped weight on one CPU thread: time and what it costs in dB.

    python benchmarks/quantised.py [--model repixnet] [--csv benchmarks/results/quantised.csv]

Forms: ONNX Runtime's settings (graph optimisation, a graph that was optimised before, memory arena, prepacked weights,
a bound output), fp16, and int8 by onnxruntime.quantization (static, QDQ, per channel, ranges from sixteen 256x256 crops
of RainTrainL's training pairs, first and last convolution in fp32). Median CPU-seconds for 512x512, all forms in turns
in one process, as in speed.py, which has PReNet; `--prenet` measures it here too, which takes most of the time.
`psnr_y` in 8 bits on what `recipes/repixnet.yaml` holds out, as the change against fp32.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from tqdm import tqdm

from lines import held_out, to_8_bits
from repix.data.pairs import find_pairs
from repix.io.image import read_image
from repix.metrics import psnr_y
from repix.weights import find_card, read_weights

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SIZE, CROPS = 512, 16

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
            top, left = (int(rng.integers(side - 256 + 1)) for side in pixels.shape[:2])
            crop = pixels[top : top + 256, left : left + 256] / np.float32(255)
            self._rest.append({"x": np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32)})

    def get_next(self) -> dict[str, Floats] | None:
        return self._rest.pop() if self._rest else None


def quantised(model: bytes, folder: Path, held: set[str], operators: list[str]) -> bytes:
    """Static QDQ of these operators."""
    source, result = folder / "fp32.onnx", folder / "int8.onnx"
    source.write_bytes(model)
    convolutions = [node.name for node in onnx.load_from_string(model).graph.node if node.op_type == "Conv"]
    quantize_static(
        source,
        result,
        Crops(held),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=operators,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[convolutions[0], convolutions[-1]],
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
) -> Run:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = level
    options.enable_cpu_mem_arena = arena
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prenet", action="store_true")
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "results" / "quantised.csv")
    args = parser.parse_args()
    args.csv = args.csv.absolute()

    samples = held_out()
    every = (samples[i] for i in range(len(samples)))  # type: ignore[arg-type]
    kept = [one for one in every if one["set"] != "drawn"]
    held = {str(one["name"]) for one in kept if one["set"] == "pairs"}
    model = read_weights(*find_card(args.model), "model.onnx")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        half = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True).SerializeToString()
        convolutions = quantised(model, folder, held, ["Conv"])
        more = quantised(model, folder, held, ["Conv", "Relu", "Add"])
        before = optimised(model, folder)
    levels = ort.GraphOptimizationLevel
    forms: dict[str, Run] = {
        "fp32": runner(model),
        "fp32, graph not optimised": runner(model, level=levels.ORT_DISABLE_ALL),
        "fp32, graph optimised before": runner(before, level=levels.ORT_DISABLE_ALL),
        "fp32, no memory arena": runner(model, arena=False),
        "fp32, weights not prepacked": runner(model, prepacking=False),
        "fp32, output bound": runner(model, bound=True),
        "fp16": runner(half),
        "int8 convolutions": runner(convolutions),
        "int8 convolutions, sums and ReLU": runner(more),
    }
    if args.prenet:
        from repix.engine.export import to_onnx
        from repix.models import create_model

        forms["PReNet"] = runner(to_onnx(create_model("prenet")))
    picture = np.random.default_rng(0).random((1, 3, SIZE, SIZE), dtype=np.float32)
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for turn in tqdm(range(args.repeats + 1), desc="turns"):
        for form, run in forms.items():
            start = time.process_time()
            run(picture)
            if turn:  # the first is the warm-up
                seconds[form].append(time.process_time() - start)

    quality: dict[str, dict[str, float]] = {}
    for form in ("fp32", "fp16", "int8 convolutions", "int8 convolutions, sums and ReLU"):
        found: dict[str, list[float]] = {}
        for one in tqdm(kept, desc=form):
            lq, gt = (one[side].numpy().clip(0, 1) for side in ("lq", "gt"))  # type: ignore[union-attr]
            got = forms[form]((to_8_bits(lq)[None] / np.float32(255)).astype(np.float32))[0].clip(0, 1)
            figure = psnr_y(*(to_8_bits(side.transpose(1, 2, 0)) for side in (got, gt)))
            found.setdefault(str(one["set"]), []).append(figure)
        quality[form] = {kind: mean(values) for kind, values in found.items()}

    base = median(seconds["fp32"])
    rows = []
    for form, taken in seconds.items():
        row = {"form": form, "cpu_seconds": f"{median(taken):.4f}", "of fp32": f"{median(taken) / base:.2f}"}
        for kind, figure in quality["fp32"].items():
            change = quality[form][kind] - figure if form in quality else None
            row[kind] = "" if change is None else f"{figure:.2f}" if form == "fp32" else f"{change:.2f}"
        rows.append(row)
        print(*row.values())
    with args.csv.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
