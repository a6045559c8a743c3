"""Write docs/results.md and docs/models.md, and the tables between marks in README.md and three pages of docs.

All from the committed CSV files, the cards and the docstrings.

    python benchmarks/report.py            # write
    python benchmarks/report.py --check    # exit 1 if what is there is not what would be written

Each section names the command that measured it, so that every number can be taken again. In a page, what stands
between `<!-- NAME -->` and `<!-- end -->` is written: the table of NAME.csv, or one of `PARTS`.
"""

from __future__ import annotations

import argparse
import ast
import csv
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

from repix.weights import list_cards

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PUBLISHED = ROOT / "tests" / "calibration" / "published.csv"
PAPER = ROOT / "tests" / "calibration" / "paper.csv"  # Ren et al. 2019 (PReNet), tables 2 and 6
WITH_MARKS = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("architecture", "repixnet", "study", "video")),
]
MODEL = "repixnet"
# PReNet for all rain, trained on Rain13K, as MPRNet's authors measured it (Zamir et al. 2021, table 2)
FOR_ALL_RAIN = {"Rain100L": "32.44 / 0.950", "Rain100H": "26.77 / 0.858"}

Rows = list[list[str]]


class Section(NamedTuple):
    """A table of results.md.

    Attributes:
        name: CSV below benchmarks/results, without suffix, or one of `PARTS`; left out where it is not there.
        title: heading.
        text: protocol and data.
        command: what wrote the file.
    """

    name: str
    title: str
    text: str
    command: str


SECTIONS = [
    Section(
        "rain100",
        "Rain100L and Rain100H",
        "One model for both sets. It has seen neither of them, nor their backgrounds. `(best)` is `--quality best`. "
        "PSNR in dB and SSIM on MATLAB's luma (`_y`) and on RGB; means over all 100 images of each set. For "
        f"comparison: PReNet trained for all rain (Rain13K, which has Rain100H's training rain) "
        f"{FOR_ALL_RAIN['Rain100L']} and {FOR_ALL_RAIN['Rain100H']}; trained for each set alone "
        "37.48 / 0.979 and 29.46 / 0.899.",
        "repix evaluate --device cpu --model repixnet --quality fast --quality best --data $REPIX_DATA/Rain100L "
        "--lq $REPIX_DATA/Rain100H/rainy --gt $REPIX_DATA/Rain100L --csv benchmarks/results/rain100.csv",
    ),
    Section(
        "sets",
        "Every set",
        "Means over images. `zero-shot` has trained on nothing of the set; the images measured were held out "
        "from repixnet's training. The ground truth of the yard, a static scene in real rain, is "
        "the temporal median. PReNet: published weights, by what they were trained on.",
        "python benchmarks/sets.py FOLDER",
    ),
    Section(
        "real",
        "Real photographs: what another network still finds",
        "The 53 photographs of real rain, reduced to at most 480 pixels, have no ground truth. A referee, PReNet with "
        "its published weights for Rain100L, which know thin light streaks and no other rain, changes the photograph "
        "and repixnet's result: `found` is the mean change of the luma in levels of 255, its median over the images. "
        "`less in`: of how many images it changes the result less. Ten clean images of Rain100L say what it changes "
        "where there is no rain. `sharpness`: gradients of the result over the photograph's where the referee finds "
        "nothing. None of it is a quality: a blurred result leaves a referee nothing to find.",
        "python benchmarks/real.py",
    ),
    Section(
        "clean",
        "Clean images to themselves",
        "Rain100L's 100 clean images, none trained on, at full strength: how much of an image without rain is changed.",
        "repix evaluate --device cpu --model repixnet --lq $REPIX_DATA/Rain100L --gt $REPIX_DATA/Rain100L "
        "--csv benchmarks/results/clean.csv",
    ),
    Section(
        "speed",
        "Cost",
        "512×512, one thread, median CPU-seconds of a warm session. The networks take turns in one process; a model's "
        "own name is the form that `--device cpu` runs. `ratio` is PReNet's time over the network's. Seconds depend on "
        "the machine and the day; compare the ratio.",
        "python benchmarks/speed.py --csv benchmarks/results/speed.csv",
    ),
    Section(
        "levels_enlarged",
        "Levels: Rain100L enlarged",
        "Both sides of a pair enlarged bicubically, as streaks near a camera of many pixels are: psnr_y on `--device "
        "cpu`. `lost` compares its gain over the input with the gain of the same images at their own size. `levels` "
        "ran most often; CPU-seconds an image on one thread.",
        "python benchmarks/levels.py enlarged",
    ),
    Section(
        "levels_photos",
        "Levels: photographs of cameras",
        "The middle 2560×1920 pixels of clean photographs that the rule was not found on, at their full resolution, "
        "with rain drawn at a focal length of 3,200 pixels (a phone of 12 MP) at three severities (`thin`), with rain "
        "layers of RainTrainL enlarged 8 times (`wide`), with both (`mixture`, 0.6), and as they are. psnr_y on "
        "`--device cpu`, capped at 99; `auto` and a single pass at full resolution; `least` is the smallest "
        "difference between them; CPU-seconds an image on one thread.",
        "python benchmarks/levels.py photos FOLDER --crop 1920 2560",
    ),
    Section(
        "levels_clean",
        "Levels: clean photographs of cameras",
        "Every third photograph by name of `more/lay.py --full unsplash30`, whole, none trained on at that size: "
        "psnr_y of the result against the photograph itself on `--device cpu`, 99 where nothing is changed, and of a "
        "single pass at full resolution.",
        "python benchmarks/levels.py clean FOLDER",
    ),
    Section(
        "uncertainty",
        "What tells where an estimate is wrong",
        "Mean Spearman correlation per image with the true absolute error, both smoothed by a Gaussian of 2 pixels; "
        "`runs` of the network. `pairs`, `rain` and `sharp_streaks` are held out of training and were used to choose; "
        "the first 25 images of Rain100L and Rain100H were not. Last row: mean true error over mean expected error.",
        "python benchmarks/uncertainty.py --test",
    ),
    Section(
        "strength",
        "Strength auto",
        "`psnr_y` at strength 1 and at auto. `hard_negatives` are drawn thin structures without rain. An unchanged "
        "clean image counts as 60 dB.",
        "python benchmarks/uncertainty.py --test",
    ),
    Section(
        "video",
        "Video: cost",
        "A second or two with sound through `repix derain`, two threads. The network without reading and writing, and "
        "both of these, on the first ten frames; peak memory of the whole; CPU-seconds a frame. The machine was "
        "busy with other work: frames a second are too low, and only rows of one run can be compared.",
        "python benchmarks/video.py speed --csv benchmarks/results/video.csv",
    ),
    Section(
        "deflicker",
        "Video: deflicker",
        "Mean change between consecutive frames in grey levels (flicker) of the rainy video, restored, and with "
        "`--deflicker`; PSNR against the clean video. repixnet sees each frame alone, repixnet-video the one before "
        "too. `still` is a photo with other rain in every frame; in the others the camera or things move. `worst_gain` "
        "is the least that `--deflicker` adds to the PSNR of one of the two videos.",
        "python benchmarks/video.py deflicker --csv benchmarks/results/deflicker.csv",
    ),
    Section(
        "video_peers",
        "Video: beside published weights",
        "NTURain a1, frames 121-168, a walk; means over the frames. `flicker` is the mean change of the error from"
        " frame to frame, in grey levels. S2VD (Yue et al. 2021) sees 24 frames and two more at both ends at once,"
        " as its authors test it; repixnet-video sees the past alone, the others one frame. repixnet and repixnet-"
        "video have trained on frames 1-112 of this clip, the others on none of it. CPU-seconds on one thread: "
        "repix's in ONNX Runtime or OpenVINO, whichever `--device cpu` takes, the others in torch.",
        "python benchmarks/video.py peers --clips FOLDER --csv benchmarks/results/video_peers.csv",
    ),
    Section(
        "translate",
        "Translation",
        "`train` are the pairs that a model has learnt from, `val` the data set's validation images. L1 on [-1, 1], "
        "PSNR and SSIM on RGB and label accuracy are means over images; mean IoU is of the pixels of all images "
        "together, over the classes that occur; `kid_vgg16` is the kernel distance on VGG16's features, with its "
        "deviation over subsets. `cpu_seconds_256` is one thread, ONNX Runtime. `facades-photo-l1` is facades-photo "
        "with L1 alone.",
        "python benchmarks/translate.py facades-labels facades-photo runs/facades-photo-l1/model "
        "runs/facades-fcn/model runs/cityscapes-fcn/model",
    ),
    Section(
        "blend",
        "Blending",
        "Processor seconds on one thread, three channels / largest error in grey levels against the exact solution, by "
        "shape and number of unknown pixels. `repix.blend` is the whole way from image to image; half a level of its "
        "error is rounding to 8 bits. A dash is a time extrapolated from the first steps. OpenCV shrinks the mask by "
        "some pixels first.",
        "python benchmarks/blend.py --slow",
    ),
    Section(
        "published",
        "PReNet's published weights, measured here",
        "All of Rain100L and Rain100H by the paper's protocol (truncated to 8 bits), against the paper's tables. The "
        "values of every image are in `tests/calibration/published.csv`.",
        "repix import prenet PReNet6.pth -o prenet && repix evaluate --model prenet --protocol paper --per-image "
        "--lq $REPIX_DATA/Rain100L/rainy --gt $REPIX_DATA/Rain100L --csv table.csv",
    ),
    Section(
        "study_derain",
        "Study: every network and idea for the same training time",
        "`benchmarks/recipes/study.yaml` with a few settings changed; the first 25 pairs of Rain100L, which no row "
        "has seen. `s_per_mp` is the exported model's time for a megapixel; `onnx_parity` the largest difference "
        "between it and torch. What it says: [study](study.md).",
        "python benchmarks/study.py derain",
    ),
    Section(
        "study_translate",
        "Study: over-fitting",
        "`benchmarks/recipes/translate-study.yaml` (a small U-Net, L1 alone, no augmentation, no dropout) for the same "
        "number of steps, photo to labels, with one thing changed in each row. Values of the last step, on the pairs "
        "trained on and on all of the set's validation images; `lowest_l1_val` was met on the way, on twenty of them.",
        "python benchmarks/study.py translate",
    ),
]


def table(rows: Rows) -> str:
    """Markdown; numbers to the right."""
    header, *body = rows

    def number(column: int) -> bool:
        return all(row[column] == "" or row[column].replace(".", "", 1).lstrip("+-").isdigit() for row in body)

    rule = ["---:" if number(i) else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *body])


def read(name: str) -> Rows:
    """The rows of a section: a CSV below benchmarks/results, or what is made of one; none where it is not there."""
    if name in PARTS:
        return PARTS[name]()
    path = RESULTS / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as opened:
        return [row for row in csv.reader(opened) if row]


def records(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def published() -> Rows:
    """Means over all images, beside the paper's."""
    rows = [["set", "weights", "images", "paper_psnr_y", "psnr_y", "paper_ssim_y", "ssim_y"]]
    for paper in records(PAPER):
        key = (paper["set"], paper["weights"])
        found = [one for one in records(PUBLISHED) if (one["set"], one["weights"]) == key]
        means = [fmean(float(one[name]) for one in found) for name in ("psnr_y", "ssim_y")]
        rows.append([*key, str(len(found)), paper["psnr_y"], f"{means[0]:.3f}", paper["ssim_y"], f"{means[1]:.4f}"])
    return rows


def blend() -> Rows:
    """A row for each method, a column for each shape and size."""
    found = records(RESULTS / "blend.csv")
    columns = sorted({(one["shape"], int(one["unknowns"])) for one in found})
    rows = [["method", *(f"{shape} {unknowns:,}" for shape, unknowns in columns)]]
    for method in dict.fromkeys(one["method"] for one in found):
        cells = {(one["shape"], int(one["unknowns"])): one for one in found if one["method"] == method}
        rows.append([method, *(_seconds_and_error(cells.get(column)) for column in columns)])
    return rows


def _seconds_and_error(one: dict[str, str] | None) -> str:
    if one is None:
        return ""
    error = one["error_levels"]
    short = "–" if not error else f"{float(error):.2g}" if float(error) < 10 else f"{float(error):.0f}"
    return f"{float(one['seconds']):.3g} / {short}"


def levels_enlarged() -> Rows:
    found = records(RESULTS / "levels_enlarged.csv")
    if not found:
        return []
    rows = [["enlarged", "images", "input", "psnr_y", "gain", "lost", "levels", "cpu_seconds"]]
    gain = {(one["image"], one["case"]): float(one["psnr_y"]) - float(one["input"]) for one in found}
    for case in sorted({one["case"] for one in found}):
        those = [one for one in found if one["case"] == case]
        gains = [gain[one["image"], case] for one in those]
        lost = [gain[one["image"], "1x"] - gain[one["image"], case] for one in those if (one["image"], "1x") in gain]
        usual = Counter(one["levels"] for one in those).most_common(1)[0][0].replace("-", ", ")
        means = [fmean(float(one[name]) for one in those) for name in ("input", "psnr_y", "cpu_seconds")]
        numbers = [f"{value:.2f}" for value in (*means[:2], fmean(gains), fmean(lost))]
        rows.append([case.replace("x", "×"), str(len(those)), *numbers, usual, f"{means[2]:.1f}"])
    return rows


def levels_photos() -> Rows:
    found = {(one["image"], one["case"], one["run"]): one for one in records(RESULTS / "levels_photos.csv")}
    if not found:
        return []
    rows = [["case", "photographs", "input", "auto", "single pass", "least", "cpu_seconds auto", "cpu_seconds single"]]
    for case in dict.fromkeys(case for _, case, _ in found):
        both = [
            (one, found[image, case, "single pass"])
            for (image, this, run), one in found.items()
            if this == case and run == "auto" and (image, case, "single pass") in found
        ]
        if not both:
            continue
        before = "" if case == "clean" else f"{fmean(float(one['input']) for one, _ in both):.2f}"
        least = min(float(one["psnr_y"]) - float(single["psnr_y"]) for one, single in both)
        means = [
            fmean(float(pair[side][name]) for pair in both) for name in ("psnr_y", "cpu_seconds") for side in (0, 1)
        ]
        cells = [f"{means[0]:.2f}", f"{means[1]:.2f}", f"{least:+.2f}", f"{means[2]:.1f}", f"{means[3]:.1f}"]
        rows.append([case, str(len(both)), before, *cells])
    return rows


def real() -> Rows:
    """Medians over the photographs."""
    found = records(RESULTS / "real.csv")
    if not found:
        return []
    names = ("found_in_input", "found_in_result", "changed", "sharpness_elsewhere")
    rows = [["images", "found in them", "found in the results", "less in", "changed by repixnet", "sharpness"]]
    for kind in dict.fromkeys(one["images"] for one in found):
        those = [one for one in found if one["images"] == kind]
        before, after, changed, sharp = (f"{median(float(one[name]) for one in those):.2f}" for name in names)
        less = sum(float(one["found_in_result"]) < float(one["found_in_input"]) for one in those)
        rows.append([kind, before, after, f"{less} of {len(those)}", changed, sharp])
    return rows


def clean_photos() -> Rows:
    """How many photographs of a camera without rain are left alone, in one row."""
    found = records(RESULTS / "levels_clean.csv")
    if not found:
        return []
    sizes, values = ([float(one[name]) for one in found] for name in ("megapixels", "psnr_y"))
    bounds = {"unchanged": (99, 1e9), "50 dB and more": (50, 99), "40 to 50 dB": (40, 50), "below 40 dB": (0, 40)}
    counts = [str(sum(low <= value < high for value in values)) for low, high in bounds.values()]
    pixels = f"{min(sizes):.0f} to {max(sizes):.0f}"
    return [
        ["photographs", "megapixels", *bounds, "least, dB"],
        [str(len(found)), pixels, *counts, f"{min(values):.1f}"],
    ]


SCENES = {
    "walk": "a walk (NTURain a1, frames 121–168)",
    "yard": "a yard in real rain (frames 188–247, against the median of the second half)",
    "pan": "pan, crossed",
    "hand": "from the hand",
}


def memory() -> Rows:
    """What repixnet-video gains over repixnet, as docs/video.md has it."""
    found = records(RESULTS / "memory.csv")
    head = ["video", "rainy", "frame by frame", "with memory", "on the screen: frame by frame", "with memory"]
    head += ["an oracle", "along the motion: frame by frame", "with memory", "CPU time"]
    names = ("psnr_rainy", "psnr_alone", "psnr_memory", "flicker_alone", "flicker_memory", "flicker_oracle")
    rows = [head]
    for one in found:
        cost = float(one["cpu_s_memory"]) / float(one["cpu_s_alone"])
        values = [
            f"{float(one[name]):.2f}" if one[name] else "–"
            for name in (*names, "along_motion_alone", "along_motion_memory")
        ]
        rows.append([SCENES.get(one["scene"], one["scene"]), *values, f"× {cost:.2f}"])
    return rows if found else []


def merge() -> Rows:
    """Nine frames to one photograph."""
    found = records(RESULTS / "merge.csv")
    rows = [["scene", "rainy", "the reference alone", "merged"]]
    rows += [[one["scene"], one["psnr_rainy"], one["psnr_single"], one["psnr_merged"]] for one in found]
    return rows if found else []


def tiles() -> Rows:
    """Large frames of a video in tiles and in one piece."""
    found = records(RESULTS / "video_tiles.csv")
    rows = [["frames", *(f"{way}, {what}" for way in ("in tiles", "in one piece") for what in ("memory", "CPU time"))]]
    for one in found:
        cells = [
            text
            for kind in ("tiled", "whole")
            for text in (f"{float(one[f'{kind}_peak_MB']) / 1000:.1f} GB", f"{float(one[f'{kind}_cpu_s']):.1f} s")
        ]
        rows.append([one["size"].replace("x", "×"), *cells])
    return rows if found else []


def metrics() -> Rows:
    """What the README says of the model, beside PReNet."""
    rows = [["", MODEL, "for comparison"]]
    means = {(one["data"].partition("/")[0], one["model"]): one for one in records(RESULTS / "rain100.csv")}
    for name in ("Rain100L", "Rain100H"):
        fast, best = means[name, MODEL], means[name, f"{MODEL} (best)"]
        ours = f"{fast['psnr_y']} / {float(fast['ssim_y']):.3f}; `--quality best` {best['psnr_y']}"
        (alone,) = (one for one in records(PAPER) if (one["set"], one["weights"]) == (name, "PReNet6"))
        peer = f"PReNet for all rain {FOR_ALL_RAIN[name]}, for this set alone {alone['psnr_y']} / {alone['ssim_y']}"
        rows.append([f"{name}, PSNR / SSIM (Y, 100 images)", ours, peer])
    (clean,) = (one for one in records(RESULTS / "clean.csv") if one["model"] == MODEL)
    rows.append(["a clean image to itself, PSNR (Y)", f"{clean['psnr_y']} dB", ""])
    costs = {one["network"]: float(one["cpu_seconds"]) for one in records(RESULTS / "speed.csv")}
    ratio = costs["PReNet"] / costs[MODEL]
    rows.append(["CPU time for 512×512, one thread", f"{costs[MODEL]:.2f} s, 1/{ratio:.0f} of PReNet's", ""])
    return rows


def limits() -> Rows:
    """What the model's card says that it cannot do."""
    (card,) = (card for card in list_cards() if card.name == MODEL)
    return [["where it fails"], *([limit] for limit in card.limits)]


def files() -> Rows:
    """What each file of the package is for: the first sentence of its docstring."""
    source = ROOT / "src" / "repix"
    rows = [["file", "what it is for"]]
    for path in sorted(source.rglob("*.py"), key=lambda path: (path.parent.relative_to(source).parts, path.name)):
        said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
        first = re.split(r"(?<=[.])\s", " ".join(said.split()))[0].replace("|", "\\|")
        rows.append([f"`{path.relative_to(source).as_posix()}`", first])
    return rows


PARTS: dict[str, Callable[[], Rows]] = {
    one.__name__: one
    for one in (
        published,
        blend,
        metrics,
        limits,
        levels_enlarged,
        levels_photos,
        clean_photos,
        real,
        memory,
        merge,
        tiles,
        files,
    )
}


def results() -> str:
    """docs/results.md."""
    parts = ["# Results\n\nGenerated by `benchmarks/report.py` from `benchmarks/results/*.csv`; do not edit.\n"]
    for section in SECTIONS:
        rows = read(section.name)
        if rows:
            parts.append(f"## {section.title}\n\n{section.text}\n\n    {section.command}\n\n{table(rows)}\n")
    return "\n".join(parts)


def with_tables(page: Path) -> str:
    """A page, with each table written anew between its marks."""

    def fill(found: re.Match[str]) -> str:
        rows = read(found[1])
        return f"<!-- {found[1]} -->\n{table(rows)}\n<!-- end -->" if rows else f"<!-- {found[1]} -->\n<!-- end -->"

    text = page.read_text(encoding="utf-8")
    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def models() -> str:
    """docs/models.md."""
    parts = ["# Models\n\nGenerated by `benchmarks/report.py` from the cards of the shipped models; do not edit.\n"]
    for card in list_cards():
        parameters = card.training.get("parameters")
        lines = [f"## {card.name}\n", f"{card.description}\n"]
        lines.append(f"- task: {card.task}; network: `{card.arch}`; licence of the weights: {card.licence}")
        if parameters:
            lines.append(f"- {parameters / 1e6:.2f} M parameters; trained for {card.training['steps']} steps")
        tiles = f"tiles of {card.tiling.tile} sharing {card.tiling.overlap} pixels" if card.tiling else "whole image"
        scaled = f"scaled to {card.size} pixels on the shorter side and back, " if card.size else ""
        lines.append(f"- sizes: any, {scaled}padded to multiples of {card.multiple_of}; {tiles}")
        lines.append(f"- forms: {', '.join(card.forms)}")
        if card.scales is not None:
            lines.append(f"- levels: images reduced {card.scales[0]} to {card.scales[1]} times")
        lines.append(
            f"- ONNX against torch: at most {max(card.onnx_parity.values()):.1e} at {', '.join(card.onnx_parity)}"
            + ("; one form rounded to int8" if "onnx-int8" in card.forms else "")
        )
        lines += [f"- limit: {limit}" for limit in card.limits]
        names = list(dict.fromkeys(name for row in card.metrics for name in row.values))
        if names:
            rows = [["data", "images", *names, "protocol"]]
            for row in card.metrics:
                values = [f"{row.values[name]:g}" if name in row.values else "" for name in names]
                rows.append([row.data, str(row.images), *values, row.protocol])
            lines.append("\n" + table(rows))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    stale = []
    docs = ROOT / "docs"
    pages = {docs / "results.md": results(), docs / "models.md": models()}
    pages |= {page: with_tables(page) for page in WITH_MARKS}
    for path, text in pages.items():
        if args.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(path.relative_to(ROOT).as_posix())
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
    if stale:
        print(f"not up to date: {', '.join(stale)}; run python benchmarks/report.py")
        sys.exit(1)


if __name__ == "__main__":
    main()
