"""Write docs/results.md, docs/models.md, the end of docs/translate.md and the tables of docs/repixnet.md and study.md.

All from the committed CSV files and the cards.

    python benchmarks/report.py            # write
    python benchmarks/report.py --check    # exit 1 if what is there is not what would be written

Each section names the command that measured it, so that every figure can be taken again.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from repix.weights import list_cards

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


WITH_TABLES = [ROOT / "docs" / "repixnet.md", ROOT / "docs" / "study.md"]
PAGE = ROOT / "docs" / "translate.md"
BEGIN = "<!-- translate: written by benchmarks/report.py, do not edit -->"
END = "<!-- end of translate -->"
STUDY = "Over-fitting"
STUDY_TEXT = (
    "The same small U-Net (`recipes/translate-study.yaml`: skips, L1 alone, no augmentation, no dropout) for the same "
    "number of steps, photo to labels, with one thing changed in each row. Figures of the last step, on the pairs "
    "trained on and on all of the set's validation images; `lowest_l1_val` was met on the way, on twenty of them."
)
_ROWS = "Two pairs that it has learnt from above three that it has not"
SHEETS = {
    "Pictures": [
        ("images/translate/facades-labels.webp", f"facades-labels: photo, output, target. {_ROWS}."),
        ("images/translate/facades-photo.webp", f"Labels, L1 alone, facades-photo with its PatchGAN, target. {_ROWS}."),
        ("images/translate/facades-fcn.webp", f"The course's network by its recipe: photo, output, target. {_ROWS}."),
        ("images/translate/cityscapes.webp", f"Cityscapes: photo, the course's network, ours, target. {_ROWS}."),
    ],
    STUDY: [
        (
            "images/translate/study_curves.png",
            "L1 of twenty pairs trained on (dashed) and twenty that are not, by steps.",
        ),
        (
            "images/translate/study_facades.webp",
            f"Photo, then as in the table: 25, 100, 400 facades, 100 augmented, with dropout, without skips; target. "
            f"{_ROWS}.",
        ),
        ("images/translate/study_cities.webp", f"Photo, 50 and 200 cities, target. {_ROWS}."),
    ],
}


class Section(NamedTuple):
    """A table of results.md.

    Attributes:
        file: CSV below benchmarks/results; the section is left out where it is not there.
        title: heading.
        text: protocol and data.
        command: what wrote the file.
    """

    file: str
    title: str
    text: str
    command: str


SECTIONS = [
    Section(
        "rain100.csv",
        "Deraining: all of Rain100L and Rain100H",
        "One weight for both sets, which has seen neither of them nor its backgrounds; (best) is `--quality best`. "
        "PSNR in dB and SSIM on MATLAB's luma (`_y`) and on RGB; means over 100 images each. For comparison, PReNet "
        "trained for all rain (Rain13K, which has Rain100H's training rain): 32.44 / .950 and 26.77 / .858; for each "
        "set alone: 37.48 / .979 and 29.46 / .899. The machine did other things too and was slow: what a weight "
        "costs is in the next table but one.",
        "repix evaluate --model repixnet --model repixnet-large --quality fast --quality best "
        "--data ../shared/data/Rain100L --lq ../shared/data/Rain100H/rainy --gt ../shared/data/Rain100L "
        "--csv benchmarks/results/rain100.csv",
    ),
    Section(
        "dry.csv",
        "Clean images to themselves",
        "Rain100L's 100 clean BSDS images, none trained on, through the same weight at the same strength: how much "
        "of an image without rain is changed.",
        "repix evaluate --model repixnet --model repixnet-large --lq ../shared/data/Rain100L "
        "--gt ../shared/data/Rain100L --csv benchmarks/results/dry.csv",
    ),
    Section(
        "speed.csv",
        "Cost: 512×512, one thread, ONNX Runtime",
        "Median CPU-seconds of a warm session, networks in turns in one process, each as it is shipped (repixnet in "
        "int8, the others in fp32), on a CPU with AVX512-VNNI; `ratio` is PReNet's time over the network's.",
        "python benchmarks/speed.py --csv benchmarks/results/speed.csv",
    ),
    Section(
        "quantised.csv",
        "Forms of the weights: 512×512 on a CPU",
        "ONNX Runtime's settings, fp16 and int8 (sums in fp32) on a CPU with AVX512-VNNI, one thread where no other "
        "number is named: median CPU-seconds, the same against fp32's in turns with it, wall-clock seconds where the "
        "machine was idle, and the change of `psnr_y` on so many held-out images. `int8` is what `export --int8` "
        "makes, with the last two blocks in fp32 as well; here as shipped; fp32 is what repixnet-large is.",
        "python benchmarks/quantised.py --model repixnet",
    ),
    Section(
        "views.csv",
        "`--quality best`: the mean over several views",
        "`psnr_y` in 8 bits on what the recipe holds out, `side` pixels a side from each image: of the image as it "
        "is, and below how much the mean over the views, one run for each, changes that.",
        "python benchmarks/views.py --test",
    ),
    Section(
        "lines.csv",
        "Rain or stripes: clean images full of thin lines",
        "192×192, drawn and photographed, none trained on; `psnr_y` to themselves, beside PReNet's published weights.",
        "python benchmarks/lines.py",
    ),
    Section(
        "confidence.csv",
        "Seen or guessed: what tells where the estimate is wrong",
        "Mean Spearman correlation per image with the true absolute error, both smoothed by a Gaussian of 2 pixels; "
        "`pairs`, `drawn` and `lines` (of rain) are held out of training and were used to choose; the first 25 of "
        "Rain100L and Rain100H, where they are measured (`--test`), were not. Last row: mean true error over the mean "
        "of what was expected.",
        "python benchmarks/confidence.py --test",
    ),
    Section(
        "strength.csv",
        "`--strength auto`",
        "`psnr_y` at strength 1 and at auto; the last two columns are the same rule applied to every pixel's own "
        "surroundings (2 and 64 pixels) instead of the image. An unchanged clean image counts as 60 dB.",
        "python benchmarks/confidence.py --test",
    ),
    Section(
        "structure.csv",
        "Networks tried for the same training time",
        "`recipes/repixnet.yaml` with another network, for so many minutes of its own pace from nothing; `psnr_y` "
        "(`psnr_rgb` for `dry`) on 256×256 crops of photos, pairs and masks that no row has seen, with rain of each "
        "kind; `rain` is the mean of the five kinds, `ratio` PReNet's CPU time over the network's. What it says: "
        "[repixnet.md](repixnet.md).",
        "python benchmarks/structure.py --table structure --minutes 1",
    ),
    Section(
        "mixture.csv",
        "What each kind of rain is worth",
        "The row `muon` above for the same number of steps with some kinds of training samples left out (`row`), on "
        "the same held-out images; `drop` is what the kind left out loses by it, the larger of two.",
        "python benchmarks/structure.py --table mixture --minutes 1",
    ),
    Section(
        "train_speed.csv",
        "Training speed of the course's baseline",
        "`resnet`, batch 8, 128×128, L1, Adam 1e-4: repix's recipe against a plain script of the course's kind.",
        "python benchmarks/train_speed.py --csv benchmarks/results/train_speed.csv",
    ),
    Section(
        "published_means.csv",
        "PReNet's published weights, measured here",
        "All of Rain100L and Rain100H by the paper's protocol (truncated to 8 bits), against the paper's tables.",
        "python benchmarks/published.py",
    ),
    Section(
        "study.csv",
        "The study: every network and idea for the same training time",
        "`recipes/study.yaml` with a few settings changed; the first 25 pairs of Rain100L, which no row has seen. "
        "`s_per_mp` is the exported weight's time for a megapixel; `onnx_parity` the largest difference between it and "
        "torch at three sizes other than the traced one. What it says: [study.md](study.md).",
        "python benchmarks/study.py",
    ),
    Section(
        "irnn.csv",
        "SPANet's recurrence against a loop over rows",
        "Forward and backward at (4, 32, 128, 128), and a training step of `progressive_spanet`; two threads, medians, "
        "in turns in one process.",
        "python benchmarks/irnn.py --csv benchmarks/results/irnn.csv",
    ),
    Section(
        "translate.csv",
        "Translation: what was learnt from, and what was not",
        "`train` are the pairs that a weight has learnt from, `val` the data set's validation images. L1 on [-1, 1], "
        "PSNR and SSIM on RGB and label accuracy are means over images; mean IoU is of the pixels of all images "
        "together, over the classes that occur; `kid_vgg16` is the kernel distance on VGG16's features, with its "
        "deviation over subsets, where the target is a photo. CPU-seconds of a 256×256 image: one thread, ONNX "
        "Runtime fp32. For comparison, L1 of the course's network, train / val: .182 / .382 on facades after 1,000 "
        "epochs, .096 / .119 on Cityscapes with 2,975 images; its U-Net .32 / .38. What the figures mean: "
        "[translate.md](translate.md).",
        "python benchmarks/translate.py facades-labels facades-photo runs/NAME/model …",
    ),
    Section(
        "video.csv",
        "Videos: where the time goes",
        "A video with sound through `repix derain`, on two cores; the network alone on as many frames in the same run. "
        "CPU-seconds a frame of the whole and of its parts; peak memory.",
        "python benchmarks/video.py speed --csv benchmarks/results/video.csv",
    ),
    Section(
        "deflicker.csv",
        "Videos: --deflicker",
        "Mean change between consecutive frames in grey levels (flicker) of the rainy video, frame by frame, and "
        "with --deflicker; PSNR against the clean video. `still` is a photo with another rain in every frame; in the "
        "others the camera or things move.",
        "python benchmarks/video.py deflicker --csv benchmarks/results/deflicker.csv",
    ),
    Section(
        "blend.csv",
        "Blending: one core, three channels",
        "Processor seconds on one thread and the largest error in grey levels against the exact solution; "
        "`changed_outside` is the largest change of a pixel outside the mask.",
        "python benchmarks/blend.py --slow --output benchmarks/results",
    ),
]


def table(rows: list[list[str]]) -> str:
    """Markdown; numbers to the right."""
    header, *body = rows

    def number(column: int) -> bool:
        return all(row[column] == "" or row[column].replace(".", "", 1).lstrip("+-").isdigit() for row in body)

    rule = ["---:" if number(i) else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *body])


def read(file: str) -> list[list[str]]:
    """The rows of a CSV below benchmarks/results; none where it is not there."""
    path = RESULTS / file
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as opened:
        return [row for row in csv.reader(opened) if row]


def results() -> str:
    """docs/results.md."""
    parts = ["# Results\n\nGenerated by `benchmarks/report.py` from `benchmarks/results/*.csv`; do not edit.\n"]
    for section in SECTIONS:
        rows = read(section.file)
        if rows:
            parts.append(f"## {section.title}\n\n{section.text}\n\n    {section.command}\n\n{table(rows)}\n")
    return "\n".join(parts)


def with_tables(page: Path) -> str:
    """A page, with each table, and the image of its name, written anew between its marks."""
    text = page.read_text(encoding="utf-8")
    sections = {section.file: section for section in SECTIONS}

    def fill(found: re.Match[str]) -> str:
        rows = read(found[1])
        title, command, picture = sections[found[1]].title, sections[found[1]].command, f"images/{found[2]}.webp"
        written = f"    {command}\n\n{table(rows)}\n" if rows else ""
        if (page.parent / picture).is_file():
            written += f"\n![{title}]({picture})\n"
        return f"<!-- {found[1]} -->\n{written}<!-- end -->"

    return re.sub(r"<!-- ((\w+)\.csv) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def translate() -> str:
    """docs/translate.md, with what was measured and drawn between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} has lost its marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{''.join(_translations())}{END}{after}"


def _translations() -> Iterator[str]:
    for title, pictures in SHEETS.items():
        there = [(file, text) for file, text in pictures if (PAGE.parent / file).is_file()]
        rows = read("translate_study.csv") if title == STUDY else []
        if not there and not rows:
            continue
        yield f"\n## {title}\n\n"
        if rows:
            yield f"{STUDY_TEXT}\n\n    python benchmarks/translate_study.py\n\n{table(rows)}\n\n"
        for file, text in there:
            yield f"![{Path(file).stem}]({file})\n\n{text}\n\n"


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
        lines.append(
            f"- ONNX against torch: at most {max(card.onnx_parity.values()):.1e} at {', '.join(card.onnx_parity)}"
            + ("; then rounded to int8" if "onnx-int8" in card.forms else "")
        )
        lines += [f"- limit: {limit}" for limit in card.limits]
        metrics = list(dict.fromkeys(name for row in card.metrics for name in row.values))
        if metrics:
            rows = [["data", "images", *metrics, "protocol"]]
            for row in card.metrics:
                values = [f"{row.values[name]:g}" if name in row.values else "" for name in metrics]
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
    pages = {docs / "results.md": results(), docs / "models.md": models(), PAGE: translate()}
    pages |= {page: with_tables(page) for page in WITH_TABLES}
    for path, text in pages.items():
        if args.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path.relative_to(ROOT)))
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
    if stale:
        print(f"not up to date: {', '.join(stale)}; run python benchmarks/report.py")
        sys.exit(1)


if __name__ == "__main__":
    main()
