"""The command line. Every command lives here; heavy imports stay inside the command bodies."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from repix import __version__
from repix.errors import InputError, MissingExtraError, RepixError, WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repix.infer.images import Result, Summary
    from repix.infer.restorer import Quality, Restorer
    from repix.io.image import Pixels
    from repix.poisson.blend import BlendReport


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="repix")
def app() -> None:
    """Take the rain out of photos and videos, translate images, blend them without a seam, train networks for it."""


# ---- derain, translate, models: running shipped weights --------------------------------------------------------


def _seconds(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """`90`, `1:30` or `0:01:30.5` in seconds."""
    if text is None:
        return None
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(0 <= part < float("inf") for part in parts):
        raise click.BadParameter(f"{text!r} is not a time; give seconds, such as 90, or H:M:S, such as 0:01:30.5")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def _strength(context: click.Context, parameter: click.Parameter, text: str) -> float | Literal["auto"]:
    """A number from 0 to 1, or auto."""
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise click.BadParameter(f"{text!r} is neither a number from 0 to 1 nor auto")
    return value


def _ray_address(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """None without --ray, empty for this machine; a path that stands where an address may is no address."""
    if text and text != "auto" and not re.fullmatch(r"[^/\\:]+:\d+", text):
        raise click.BadParameter(f"{text!r} is not HOST:PORT; without an address, write --ray after the paths")
    return text


Command = Callable[..., None]


def _file_options(*, names: str, model: str | None, models: str, formats: str) -> Callable[[Command], Command]:
    """What all commands that run a weight over files and folders have in common."""
    # click takes None for a default too
    chosen = click.option("-m", "--model", required=True, help=models)
    if model is not None:
        chosen = click.option("-m", "--model", default=model, show_default=True, help=models)
    options = (
        click.argument("paths", nargs=-1, required=True, metavar="PATH..."),
        click.option("-o", "--output", metavar="OUT", help=f"Folder (or file name, for one file). [{names}]"),
        chosen,
        click.option("--compare", is_flag=True, help="Write NAME_compare.EXT too, of images: before | after."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, coreml or directml."),
        click.option("--threads", type=click.IntRange(1), help="Threads on the CPU. [all cores]"),
        click.option("--format", metavar="EXT", help=formats),
        click.option(
            "--max-pixels", type=click.IntRange(1), default=400_000_000, show_default=True, help="Refuse larger."
        ),
        click.option("--overwrite", is_flag=True, help="Write results that are already there again."),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@app.command()
@_file_options(
    names="NAME_dry.EXT, DIR_dry/",
    model="repixnet",
    models="Shipped weight, or a weight's folder.",
    formats="Write jpg, png, webp, tiff or avif; videos mp4, mov, mkv, webm. [as is]",
)
@click.option(
    "--strength",
    default="1",
    show_default=True,
    callback=_strength,
    metavar="0…1|auto",
    help="0 leaves the rain; auto (images only) does less to those where what is found may not be rain.",
)
@click.option(
    "--quality",
    type=click.Choice(["fast", "best"]),
    default="fast",
    show_default=True,
    help="best averages what is made of four views of the image, in four times the time.",
)
@click.option("--start", callback=_seconds, metavar="TIME", help="Videos: begin there; seconds, or H:M:S.")
@click.option("--end", callback=_seconds, metavar="TIME", help="Videos: stop there.")
@click.option("--codec", type=click.Choice(["h264", "h265", "vp9", "av1"]), help="Videos. [h264; h265 over 8 bit]")
@click.option("--crf", type=click.FloatRange(0), help="Videos: constant rate factor, 0 is best. [by codec]")
@click.option("--steady", is_flag=True, help="Videos: calm flicker with the neighbouring frames.")
@click.option(
    "--ray",
    "address",
    is_flag=False,
    flag_value="",
    callback=_ray_address,
    metavar="[ADDRESS]",
    help="Share the work on a Ray cluster: HOST:PORT, auto, or nothing for this machine. PATH may be a URL: s3://…",
)
def derain(
    paths: tuple[str, ...],
    output: str | None,
    model: str,
    strength: float | Literal["auto"],
    compare: bool,
    device: str,
    threads: int | None,
    format: str | None,
    max_pixels: int,
    overwrite: bool,
    quality: Quality,
    start: float | None,
    end: float | None,
    codec: str | None,
    crf: float | None,
    steady: bool,
    address: str | None,
) -> None:
    """Take the rain out of photos and videos.

    PATH is a file, a folder (with all folders in it) or a pattern such as "*.jpg". Everything else about an image
    stays: size, depth, transparency, EXIF, colour profile; and about a video: sound, subtitles, frame times, rotation,
    colour tags. Inputs are never changed, unless OUT says so and --overwrite is given.
    """
    import functools

    from repix.infer.images import VideoOptions, restore_path

    if end is not None and end <= (start or 0):
        raise InputError(f"--end {end:g} s must come after --start {start or 0:g} s")

    def work() -> Summary:
        how = functools.partial(
            restore_path,
            _restorer("derain", model, "cpu" if address is not None else device, threads=threads, quality=quality),
        )
        if address is not None:
            from repix.infer.cluster import restore_on_ray

            how = functools.partial(
                restore_on_ray, model, address=address or None, device=device, threads=threads or 1, quality=quality
            )
        return how(
            paths,
            output,
            strength=strength,
            compare=compare,
            format=format,
            overwrite=overwrite,
            max_pixels=max_pixels,
            film=VideoOptions(start, end, codec, crf, steady),
            progress=True,
            on_result=_say_failure,
        )

    _run_over_files(work, "derained")


@app.command()
@_file_options(
    names="NAME_MODEL.EXT, DIR_MODEL/",
    model=None,
    models="facades-labels (photo to labels), facades-photo (labels to photo), or a weight's folder.",
    formats="Write jpg, png, webp, tiff or avif. [as is; label maps of JPEG, AVIF, HEIC and GIF: png]",
)
@click.option(
    "--size",
    type=click.IntRange(0, 8192),
    metavar="N",
    help="Shorter side at which the network works; results are scaled back. 0: the image's own. [the model's]",
)
def translate(
    paths: tuple[str, ...],
    output: str | None,
    model: str,
    compare: bool,
    device: str,
    threads: int | None,
    format: str | None,
    max_pixels: int,
    overwrite: bool,
    size: int | None,
) -> None:
    """Turn one kind of image into another, by a network that has learnt it from pairs (pix2pix).

    PATH is a file, a folder (with all folders in it) or a pattern such as "*.jpg": the input alone, of any size.
    Networks know their images at one scale only, so larger and smaller ones are worked on at the model's size and
    scaled back: photos smoothly, label maps without mixing colours. Size, depth, transparency and EXIF stay; grey
    images become coloured, and a colour profile is left out, because the new colours are sRGB. Inputs are never
    changed, unless OUT says so and --overwrite is given.

    \b
    repix translate house.jpg --model facades-labels
    repix translate drawings/ --model facades-photo -o houses
    """
    from repix.infer.images import restore_path

    def work() -> Summary:
        return restore_path(
            _restorer("translate", model, device, threads=threads, size=size),
            paths,
            output,
            compare=compare,
            format=format,
            overwrite=overwrite,
            max_pixels=max_pixels,
            progress=True,
            on_result=_say_failure,
        )

    _run_over_files(work, "translated")


def _restorer(
    task: str,
    model: str,
    device: str,
    *,
    threads: int | None,
    size: int | None = None,
    quality: Quality = "fast",
) -> Restorer:
    """The weight, if it is made for this."""
    from repix.infer.restorer import Restorer
    from repix.weights import find_card

    card, _ = find_card(model)
    if card.task != task:
        raise WeightsError(
            f"model {model!r} is made to {card.task}, not to {task}; type: repix {card.task} PATH --model {model}"
        )
    return Restorer.from_pretrained(model, device, threads=threads, size=size, quality=quality)


def _run_over_files(work: Callable[[], Summary], verb: str) -> None:
    """Do the work, say what was done, and exit with 1 where a file failed."""
    import signal
    import time

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job that is stopped cleans up like Ctrl-C
    begun = time.perf_counter()
    summary = work()
    _say_summary(summary, verb, time.perf_counter() - begun)
    if summary.failed:
        raise click.exceptions.Exit(1)


def _say_failure(result: Result) -> None:
    if result.status == "failed":
        from tqdm import tqdm

        tqdm.write(f"repix: {result.message}", file=sys.stderr)  # above the bar, not through it


def _kinds(results: Sequence[Result]) -> str:
    from repix.io.paths import VIDEOS

    films = sum(result.src.suffix.lower() in VIDEOS for result in results)
    return "pictures" if not films else "films" if films == len(results) else "images and videos"


def _say_summary(summary: Summary, verb: str, seconds: float) -> None:
    """One line that says how many, and where they are; then what could not be kept."""
    counts = []
    written = [path for result in summary.done for path in result.written]
    if len(summary.done) == 1:
        counts.append(f"{verb} {summary.done[0].src} in {seconds:.1f} s → {' and '.join(map(str, written))}")
    elif summary.done:
        where = os.path.commonpath([path.parent for path in written]) or "."
        counts.append(f"{verb} {len(summary.done)} {_kinds(summary.done)} in {seconds:.1f} s → {where}{os.sep}")
    if summary.skipped:
        counts.append(f"{len(summary.skipped)} already there (--overwrite writes again)")
    if summary.failed:
        counts.append(f"{len(summary.failed)} failed")
    click.echo("; ".join(counts) or "nothing to do")
    notes = Counter(note for result in summary.done for note in result.notes)
    for note, count in notes.items():
        click.echo(f"note: {note}" + (f" ({count} of them)" if count > 1 else ""))


@app.command()
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """List the weights that are there, or tell everything about one (NAME, or the path of a weight's folder)."""
    from repix.weights import find_card, list_cards, verify

    if name is None:
        cards = list_cards()
        for card in cards:
            figures = "; ".join(
                f"{row.data}: " + ", ".join(f"{metric} {value:g}" for metric, value in row.values.items())
                for row in card.metrics
            )
            click.echo(f"{card.name}  ({card.task}, {card.licence})  {card.description}")
            if figures:
                click.echo(f"    {figures}")
        click.echo(f"{len(cards)} weights; `repix models NAME` tells more" if cards else "no weights are installed")
        return
    card, folder = find_card(name)
    verify(card, folder)
    click.echo(f"{card.name}: {card.description}")
    rows = {
        "task": card.task,
        "works at": f"{card.size} px on the shorter side" if card.size else "",
        "labels": ", ".join(name for name, _ in card.palette or ()),
        "pairs": f"{card.direction} where they lie side by side" if card.task == "translate" else "",
        "network": f"{card.arch}({', '.join(f'{key}={value}' for key, value in card.args.items())})",
        "licence": card.licence,
        "tiles": f"{card.tiling.tile} px, overlap {card.tiling.overlap} px" if card.tiling else "whole image only",
        "sizes": f"any; padded to multiples of {card.multiple_of}",
        "ONNX parity": ", ".join(f"{size}: {value:.1e}" for size, value in card.onnx_parity.items()),
        "computes in": "int8" if card.int8 else "fp32",
        "folder": folder,
    }
    for key, value in rows.items():
        if value:
            click.echo(f"  {key:<12}{value}")
    for title, lines in (
        (
            "figures",
            [
                f"{row.data} ({row.pictures} images): "
                + ", ".join(f"{metric} {value:g}" for metric, value in row.values.items())
                + f"  [{row.protocol}]"
                for row in card.metrics
            ],
        ),
        ("limits", card.limits),
        ("training", [f"{key}: {value}" for key, value in card.training.items()]),
        ("files, sha256 verified", [f"{file}  {digest}" for file, digest in card.files.items()]),
    ):
        if lines:
            click.echo(f"  {title}:")
            for line in lines:
                click.echo(f"    {line}")


# ---- end of derain, models --------------------------------------------------------------------------------------


# ---- rain, train, export: making data and weights -----------------------------------------------------------------


@app.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for the pairs.")
@click.option("--severity", type=click.FloatRange(0, 1), help="0 drizzle to 1 storm. [drawn for each photo]")
@click.option("--angle", type=click.FloatRange(-90, 90), help="Lean of the streaks, degrees. [drawn]")
@click.option("--masks", type=click.Path(path_type=Path), help="Folder of streak masks to use in place of drawn rain.")
@click.option("--copies", type=click.IntRange(1, 1000), default=1, show_default=True, help="Rains for each photo.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same rain.")
@click.option("--layer", is_flag=True, help="Write the rain layer too, in DIR/layer.")
@click.option("--format", default="png", show_default=True, help="What to write; jpg loses a little.")
@click.option("--overwrite", is_flag=True, help="Replace images that are there already.")
def rain(
    photos: tuple[str, ...],
    output: Path,
    severity: float | None,
    angle: float | None,
    masks: Path | None,
    copies: int,
    seed: int,
    layer: bool,
    format: str,
    overwrite: bool,
) -> None:
    """Make rainy pairs from clean photos (files, globs, folders): DIR/input/NAME and DIR/target/NAME.

    \b
    repix rain holiday/ -o pairs --severity 0.6
    repix train recipes/own-pairs.yaml --set data.pairs=pairs
    """
    from repix.degradations.write_pairs import make_pairs

    summary = make_pairs(
        photos,
        output,
        severity=severity,
        angle=angle,
        masks=masks,
        copies=copies,
        seed=seed,
        layer=layer,
        format=format,
        overwrite=overwrite,
        progress=True,
    )
    for message in summary.failed:
        click.echo(f"repix: {message}", err=True)
    failed = f"; {len(summary.failed)} failed" if summary.failed else ""
    click.echo(f"{summary.made} pairs → {output}{os.sep}{failed}")
    if summary.failed:
        raise click.exceptions.Exit(1)


@app.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the run. [runs/NAME]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe: data.photos=DIR.")
@click.option("--resume", is_flag=True, help="Go on from where the run in that folder was stopped.")
@click.option("--export/--no-export", "exports", default=True, show_default=True, help="Make a weight at the end.")
def train(recipe: Path, output: Path | None, overrides: tuple[str, ...], resume: bool, exports: bool) -> None:
    """Train a network by a RECIPE; stopped at any moment, --resume continues exactly.

    \b
    repix train recipes/own-photos.yaml --set data.photos=DIR
    repix train recipes/repixnet.yaml --resume
    tensorboard --logdir runs
    """
    import importlib.util

    for module in ("torch", "lightning", "yaml"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("train", module)
    from repix.train.export import export as make_weight
    from repix.train.loop import is_main_process
    from repix.train.loop import train as run
    from repix.train.recipe import load_recipe

    settings = load_recipe(recipe, overrides=overrides)
    folder = output if output is not None else Path("runs") / settings.name
    try:
        checkpoint = run(settings, folder, resume=resume)
    except KeyboardInterrupt:
        click.echo(f"\nstopped; go on with: repix train {recipe} -o {folder} --resume", err=True)
        raise click.exceptions.Exit(130) from None
    if not is_main_process():
        return
    if exports:
        card = make_weight(checkpoint, folder / "weight")
        click.echo(f"trained {card.name}, {card.training['steps']} steps → {folder / 'weight'}")
        click.echo(f"try it: repix {card.task} PHOTO --model {folder / 'weight'}")
    else:
        click.echo(f"trained {settings.name} → {checkpoint}")


@app.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the weight.")
@click.option("--name", help="Name on the card. [the recipe's]")
@click.option("--description", help="A sentence on the card. [the recipe's]")
@click.option("--licence", default="Apache-2.0", show_default=True, help="SPDX name on the card.")
@click.option("--figures", multiple=True, type=click.Path(path_type=Path), help="Table of evaluate --csv; repeatable.")
@click.option("--limit", "limits", multiple=True, help="A sentence on what it cannot do; repeatable.")
@click.option("--int8", is_flag=True, help="Let the ONNX compute in int8: less than half the time on many CPUs.")
def export(
    run: Path,
    output: Path,
    name: str | None,
    description: str | None,
    licence: str,
    figures: tuple[Path, ...],
    limits: tuple[str, ...],
    int8: bool,
) -> None:
    """Make a weight (ONNX, safetensors, card) from a RUN's folder or one of its checkpoints."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("train", "torch")
    from repix.train.export import export as make_weight
    from repix.train.export import read_figures

    metrics = [row for file in figures for row in read_figures(file)]
    card = make_weight(
        run,
        output,
        name=name,
        description=description,
        licence=licence,
        metrics=metrics,
        limits=limits,
        int8=int8,
    )
    worst = max(card.onnx_parity.values())
    rounded = "; then rounded to int8" if card.int8 else ""
    sizes = ", ".join(card.onnx_parity)
    click.echo(f"{card.name} → {output}{os.sep} (ONNX within {worst:.1e} of torch at {sizes}{rounded})")


# ---- end of rain, train, export -----------------------------------------------------------------------------------


# --- evaluate ---------------------------------------------------------------------------------------------------------


@app.command()
@click.option("--model", "models", multiple=True, metavar="NAME", help="Shipped weight or a folder; repeatable.")
@click.option("--data", "data", multiple=True, type=click.Path(path_type=Path), help="Folder of pairs; repeatable.")
@click.option("--layout", default="auto", show_default=True, help="How --data is laid out.")
@click.option("--lq", type=click.Path(path_type=Path), help="Folder of degraded images; --gt has their ground truth.")
@click.option("--gt", type=click.Path(path_type=Path), help="Folder of the ground truth of --lq.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="psnr_y, ssim_y, …, lpips; repeatable.")
@click.option("--palette", type=click.Choice(["facades", "cityscapes"]), help="Label maps' colours. [the model's]")
@click.option("--backbone", type=click.Path(path_type=Path), help="File of vgg16's weights, for kid_vgg16.")
@click.option("--protocol", type=click.Choice(["default", "paper", "course"]), default="default", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, coreml or directml.")
@click.option(
    "--quality",
    "qualities",
    multiple=True,
    type=click.Choice(["fast", "best"]),
    default=("fast",),
    show_default=True,
    help="As repix derain would; repeatable.",
)
@click.option("--per-picture", is_flag=True, help="Also a row for each image.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the table there as JSON.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the table there as CSV.")
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path), help="Write the table there as Markdown.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Draw crops through every model there (PNG).")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw quality against time there (PNG).")
def evaluate(
    models: tuple[str, ...],
    data: tuple[Path, ...],
    layout: str,
    lq: Path | None,
    gt: Path | None,
    metrics: tuple[str, ...],
    palette: str | None,
    backbone: Path | None,
    protocol: Literal["default", "paper", "course"],
    device: str,
    qualities: tuple[Quality, ...],
    per_picture: bool,
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    sheet: Path | None,
    plot: Path | None,
) -> None:
    """Measure weights on pairs: PSNR, SSIM and time, means over images.

    Weights that translate are measured by L1 too, where they paint labels by accuracy and mean IoU, elsewhere, given a
    --backbone, by the kernel distance between the sets; pairs side by side are taken in the direction of the model.

    \b
    repix evaluate --data Rain100L
    repix evaluate --model facades-labels --data facades/val
    repix evaluate --model repixnet --model ./my-weight --lq Rain100H/rainy --gt Rain100L --csv table.csv
    """
    from repix.data.pairs import find_pairs, find_pairs_in
    from repix.evaluate.run import contact_sheet, quality_plot
    from repix.evaluate.run import evaluate as measure
    from repix.figures import save_figure
    from repix.infer.restorer import Restorer
    from repix.io.paths import atomic
    from repix.palettes import PALETTES
    from repix.weights import DEFAULT_MODEL

    if (lq is None) != (gt is None):
        raise click.UsageError("--lq and --gt belong together")
    if lq is None and not data:
        raise click.UsageError("give pairs: --data DIR, or --lq DIR and --gt DIR")
    short = len({folder.resolve().name for folder in data}) == len(data)
    pairs = {folder.resolve().name if short else str(folder): find_pairs(folder, layout) for folder in data}
    if lq is not None and gt is not None:
        itself = lq.resolve() == gt.resolve()
        name = f"{lq.resolve().name}, dry to itself" if itself else "/".join(lq.resolve().parts[-2:])
        pairs[name] = find_pairs_in(lq, gt)
    restorers = {
        name if quality == "fast" else f"{name} (best)": Restorer.from_pretrained(name, device, quality=quality)
        for name in models or (DEFAULT_MODEL,)
        for quality in qualities
    }
    table = measure(
        restorers,
        pairs,
        metrics=metrics or None,
        protocol=protocol,
        palette=PALETTES[palette] if palette is not None else None,
        backbone=backbone,
        progress=True,
    )
    click.echo(table.to_text(per_picture=per_picture), nl=False)
    for file, text in (
        (json_file, table.to_json(per_picture=per_picture)),
        (csv_file, table.to_csv(per_picture=per_picture)),
        (markdown_file, table.to_markdown(per_picture=per_picture)),
    ):
        if file is not None:
            try:
                with atomic(file) as temporary:
                    temporary.write_text(text, encoding="utf-8", newline="\n")
            except OSError as error:
                raise InputError(f"{file} cannot be written: {error.strerror or error}") from error
    if sheet is not None:
        save_figure(contact_sheet(restorers, pairs, table), sheet)
    if plot is not None:
        save_figure(quality_plot(table), plot)


# ---- blend -------------------------------------------------------------------------------------------------------


@app.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path), required=False)
@click.option("--polygon", metavar="POINTS", help='"x,y x,y x,y ..." in source pixels, or a JSON file of them.')
@click.option("--mask", type=click.Path(path_type=Path), help="Image of the source's size, white where it is taken.")
@click.option("--at", default="0,0", show_default=True, metavar="X,Y", help="Where the source's corner goes.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Scale the source and its selection.")
@click.option("--rotate", type=float, default=0.0, metavar="DEG", help="Turn them, counter-clockwise.")
@click.option(
    "--mode",
    type=click.Choice(["import", "mixed", "monochrome", "average", "colour", "illumination", "flatten", "tile"]),
    default="import",
    show_default=True,
)
@click.option("--gain", default="1.5,0.5,0.5", show_default=True, metavar="R,G,B", help="For colour: factors.")
@click.option("--alpha", type=float, default=0.2, show_default=True, help="For illumination: gradients above shrink.")
@click.option("--beta", type=float, default=0.2, show_default=True, help="For illumination: by how much.")
@click.option("--threshold", type=float, default=8.0, show_default=True, help="For flatten: what counts as an edge.")
@click.option("--descent", type=click.IntRange(1), metavar="STEPS", help="Gradient descent instead, to compare.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT", help="[TARGET_blend.EXT]")
@click.option("--overwrite", is_flag=True, help="Let OUT take the place of SOURCE, TARGET or the mask.")
def blend(
    source: Path,
    target: Path | None,
    polygon: str | None,
    mask: Path | None,
    at: str,
    scale: float,
    rotate: float,
    mode: str,
    gain: str,
    alpha: float,
    beta: float,
    threshold: float,
    descent: int | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Paste a region of SOURCE into TARGET without a seam, or change a region of one image.

    Without --polygon and --mask, the region is where SOURCE is not transparent. The modes colour, illumination,
    flatten and tile work on SOURCE alone. Outside the region no pixel changes; TARGET's metadata and alpha stay.

    \b
    repix blend shark.jpg sea.jpg --polygon "60,75 210,110 330,170 60,150" --at 180,215
    repix blend logo.png wall.jpg --mode mixed --at 400,40 --scale 0.5 --rotate 12
    repix blend flower.jpg --mode colour --gain 0.5,0.6,1.5 --polygon petals.json
    """
    import time
    from typing import cast

    import numpy as np

    from repix.io.image import pixels_like, read_image, write_image
    from repix.io.paths import WRITABLE
    from repix.poisson import blend as poisson
    from repix.poisson import mask as selecting

    if mask is not None and polygon is not None:
        raise InputError("give --polygon or --mask, not both")
    alone = mode in ("colour", "illumination", "flatten", "tile")
    if alone and target is not None:
        raise InputError(f"--mode {mode} changes one image; leave out TARGET")
    if alone and (at != "0,0" or scale != 1 or rotate != 0):
        raise InputError(f"--mode {mode} changes one image; leave out --at, --scale and --rotate")
    if descent is not None and mode != "import":
        raise InputError(f"--descent minimises the loss of --mode import; leave out --mode {mode}")
    if not alone and target is None:
        raise InputError(f"--mode {mode} needs a TARGET to paste into")
    x, y = _numbers("--at", at, 2)
    place = selecting.as_place((y, x))
    base = target if target is not None else source
    if output is None:
        suffix = base.suffix if base.suffix.lower() in WRITABLE else ".png"
        output = base.with_name(f"{base.stem}_blend{suffix}")
    if not overwrite and output.resolve() in [path.resolve() for path in (source, target, mask) if path is not None]:
        raise InputError(f"{output} is an input and would be overwritten; choose another -o, or say --overwrite")

    picture, notes = read_image(source), []
    selection = np.ones(picture.pixels.shape[:2], bool)
    if mask is not None:
        drawn, soft = selecting.threshold_mask(read_image(mask).pixels.max(2))
        selection = selecting.as_mask(drawn, picture.pixels.shape[:2])
        notes += ["the mask has soft edges, which were cut at half"] if soft else []
    elif polygon is not None:
        file = Path(polygon)
        is_file = polygon.lower().endswith(".json") or (len(polygon) < 256 and file.is_file())
        points = selecting.read_polygon(file) if is_file else selecting.parse_polygon(polygon)
        selection = selecting.create_mask_from_points(points, *picture.pixels.shape[:2]) > 0
    elif picture.alpha is None and mode != "tile":
        raise InputError(f"{source} is not transparent, so nothing is selected; give --polygon or --mask")
    if picture.alpha is not None and mode != "tile":
        opaque, soft = selecting.threshold_mask(picture.alpha)
        selection &= opaque
        notes += ["the source's transparency is soft, and was cut at half"] if soft else []

    pixels, result = picture.pixels, picture
    start = time.perf_counter()
    if alone:
        values = cast("tuple[float, float, float]", _numbers("--gain", gain, 3))
        changed, report = poisson.edit_selection(
            pixels,
            mode=cast("poisson.EditMode", mode),
            mask=None if mode == "tile" else selection,
            gain=values,
            alpha=alpha,
            beta=beta,
            threshold=threshold,
        )
    else:
        assert target is not None
        result = read_image(target)
        pixels, lost = pixels_like(picture, result)
        notes += lost
        if scale != 1 or rotate != 0:
            pixels, selection = selecting.scale_and_rotate(pixels, selection, scale, rotate)
        if descent is not None:
            changed, report = _blend_by_descent(pixels, result.pixels, selection, place, descent)
        else:
            changed, report = poisson.blend(
                pixels, result.pixels, mask=selection, at=place, mode=cast("poisson.Mode", mode)
            )
    seconds = time.perf_counter() - start
    notes += [*result.notes, *write_image(output, result.with_pixels(changed))]
    how = f"{report.iterations} multigrid cycles" if report.method == "multigrid" else report.method
    click.echo(
        f"{report.pixels} pixels in {seconds:.2f} s ({how}), error at most about {report.error_levels:.2g} "
        f"of 255 grey levels → {output}"
    )
    for note in notes:
        click.echo(f"note: {note}")


def _blend_by_descent(
    source: Pixels, target: Pixels, selection: NDArray[np.bool_], at: tuple[int, int], steps: int
) -> tuple[Pixels, BlendReport]:
    """The course's loop, for comparison; prints the loss and the true error as they fall."""
    import numpy as np

    from repix.poisson.blend import BlendReport
    from repix.poisson.mask import cut, place
    from repix.poisson.torch import descend  # names the extra where torch is missing

    place(selection, at, target.shape[:2])
    import torch

    window = (slice(-at[0], target.shape[0] - at[0]), slice(-at[1], target.shape[1] - at[1]))
    inside = cut(selection, *window, "constant")
    full = np.iinfo(target.dtype).max
    planes = [
        torch.from_numpy((picture / np.float32(full)).transpose(2, 0, 1).copy())
        for picture in (cut(source, *window, "edge"), target)
    ]

    def say(step: int, loss: float, error: float) -> None:
        if step % max(1, steps // 10) == 0:
            click.echo(f"step {step}: loss {loss:.2g}, off by {error:.3g} of 255 grey levels")

    blended, report = descend(planes[0], planes[1], inside, steps=steps, on_step=say)
    changed = np.clip(np.rint(blended.numpy().transpose(1, 2, 0) * full), 0, full).astype(target.dtype)
    return np.where(inside[..., None], changed, target), BlendReport(
        report.error_levels, steps, f"{steps} steps of Adam", int(inside.sum())
    )


def _numbers(option: str, text: str, count: int) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise InputError(f"{option} is {text!r}; expected {count} numbers with commas between them")
    return values


# ---- end of blend ------------------------------------------------------------------------------------------------


# --- inspect ----------------------------------------------------------------------------------------------------------


@app.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "--show", required=True, metavar="VIEW", help="rain confidence stages attention features receptive-field signal"
)
@click.option("--model", metavar="NAME", help="A weight, an untrained network, or vgg16, vgg19, alexnet.")
@click.option("--layer", metavar="NAME", help="For features: the module, or a number for vgg16, vgg19, alexnet.")
@click.option("--backbone", type=click.Path(path_type=Path), help="File of vgg16's, vgg19's or alexnet's weights.")
@click.option("--size", type=click.IntRange(1), default=512, show_default=True, help="Look at the middle N×N pixels.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The figure. [PHOTO.VIEW.png in this folder]")
@click.option("--npz", type=click.Path(path_type=Path), help="Write the arrays there too.")
def inspect(
    photo: Path,
    show: str,
    model: str | None,
    layer: str | None,
    backbone: Path | None,
    size: int,
    output: Path | None,
    npz: Path | None,
) -> None:
    """Look into a network: one labelled figure.

    \b
    repix inspect photo.jpg --show rain
    repix inspect photo.jpg --show confidence
    repix inspect photo.jpg --show stages --model prenet
    repix inspect photo.jpg --show features --model vgg16 --layer 3 --npz maps.npz
    """
    from repix.evaluate.inspect import inspect as look
    from repix.evaluate.inspect import save_arrays
    from repix.figures import save_figure
    from repix.io.image import read_image
    from repix.weights import DEFAULT_MODEL

    pixels = read_image(photo).pixels
    top, left = (max(0, (length - size) // 2) for length in pixels.shape[:2])
    part = pixels[top : top + size, left : left + size]
    seen = look(show, part, model=model or DEFAULT_MODEL, layer=layer, backbone=backbone)
    output = output or Path(f"{photo.stem}.{show}.png")
    save_figure(seen, output)
    if npz is not None:
        save_arrays(seen, npz)
    click.echo(f"{seen.title}: {output}")


# --- app: the page ----------------------------------------------------------------------------------------------------


@app.command("app")
@click.option("-m", "--model", "models", multiple=True, metavar="DIR", help="Offer one's own weight too; repeatable.")
@click.option("--port", type=click.IntRange(1, 65535), help="[the first free one from 7860 on]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for the network.")
@click.option("--browser/--no-browser", default=True, help="Open one. [yes]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, coreml or directml.")
@click.option("--threads", type=click.IntRange(1), help="Threads on the CPU. [all cores]")
@click.option("--max-pixels", type=click.IntRange(1), default=100_000_000, show_default=True, help="Refuse larger.")
@click.option("--max-upload", type=click.FloatRange(0, min_open=True), default=500, show_default=True, help="In MB.")
@click.option(
    "--keep",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    help="Minutes until uploads and results are deleted; at the end all are.",
)
def page(
    models: tuple[str, ...],
    port: int | None,
    host: str,
    browser: bool,
    device: str,
    threads: int | None,
    max_pixels: int,
    max_upload: float,
    keep: float,
) -> None:
    """Open the page: derain, blend, translate and compare in a browser.

    Only this machine reaches it, and it fetches nothing from elsewhere. Ctrl-C ends it.
    """
    import importlib.util
    import ipaddress
    import signal

    if importlib.util.find_spec("gradio") is None:
        raise MissingExtraError("app", "gradio")
    from repix.app.page import serve
    from repix.app.server import Options

    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        click.echo(f"warning: everyone who reaches {host} can use this page; there is no password", err=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job that is stopped cleans up like Ctrl-C
    options = Options(models, device, threads, max_pixels, max_upload, keep)
    try:
        serve(
            options,
            host=host,
            port=port,
            browser=browser,
            on_ready=lambda address: click.echo(f"repix is at {address} (Ctrl-C ends it)"),
        )
    except KeyboardInterrupt:
        click.echo("repix: the page has ended, its files are deleted", err=True)


# --- end of app -------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: one clear line and the right exit code for every deliberate error, never a traceback."""
    try:
        code = app.main(args=list(argv) if argv is not None else None, prog_name="repix", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        click.echo("repix: interrupted", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except RepixError as error:
        click.echo(f"repix: {error}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
