"""`repix evaluate`: models measured on pairs, or on real photos."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repix.cli.options import device_option, refuse_given, renamed_option
from repix.cli.output import say
from repix.cli.values import NAME, PATH, PNG, Choice

if TYPE_CHECKING:
    from repix.infer.restorer import Quality


@click.command()
@click.option(
    "--model", "models", multiple=True, type=NAME, metavar="NAME", help="A shipped model or a folder; repeatable."
)
@click.option("--set", "sets", multiple=True, metavar="NAME", help="A public set in REPIX_DATA; repeatable.")
@click.option("--data", "data", multiple=True, type=PATH, help="Folder of pairs; repeatable.")
@click.option("--layout", default="auto", show_default=True, help="How --data is laid out.")
@click.option("--lq", type=PATH, help="Folder of degraded images; --gt has their ground truth.")
@click.option("--gt", type=PATH, help="Folder of the ground truth of --lq.")
@click.option("--real", multiple=True, type=PATH, help="Folder of rainy photos without ground truth; repeatable.")
@click.option("--referee", "referees", multiple=True, type=NAME, metavar="NAME", help="Looks for rain in the results.")
@click.option("--pairwise", type=PATH, help="New folder for blind comparisons of results of --real, two by two.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="psnr_y, ssim_y, …, lpips; repeatable.")
@click.option("--palette", type=click.Choice(["facades", "cityscapes"]), help="Label maps' colours. [the model's]")
@click.option(
    "--backbone",
    type=PATH,
    help="Weights of vgg16 (kid_vgg16) or AlexNet (lpips): a file, or a folder. [in REPIX_DATA]",
)
@click.option(
    "--protocol",
    type=Choice(["default", "paper", "resize128"], renamed={"course": "resize128"}),
    default="default",
    show_default=True,
    help="paper truncates results to 8 bits, as papers' scripts do; resize128 squeezes all images to 128x128 first.",
)
@device_option
@click.option(
    "--quality",
    "qualities",
    multiple=True,
    type=click.Choice(["fast", "best"]),
    default=("fast",),
    show_default=True,
    help="As of repix derain; repeatable.",
)
@click.option("--per-image", is_flag=True, help="Also a row for each image.")
@renamed_option("--per-picture", "--per-image", flag=True)
@click.option("--json", type=PATH, help="Write the table there as JSON.")
@click.option("--csv", type=PATH, help="Write the table there as CSV.")
@click.option("--markdown", type=PATH, help="Write the table there as Markdown.")
@click.option("--latex", type=PATH, help="Write the table there as LaTeX.")
@click.option("--sheet", type=PNG, help="Draw crops through every model there (PNG).")
@click.option("--plot", type=PNG, help="Draw quality against time there (PNG).")
def evaluate(
    models: tuple[str, ...],
    sets: tuple[str, ...],
    data: tuple[Path, ...],
    layout: str,
    lq: Path | None,
    gt: Path | None,
    real: tuple[Path, ...],
    referees: tuple[str, ...],
    pairwise: Path | None,
    metrics: tuple[str, ...],
    palette: str | None,
    backbone: Path | None,
    protocol: str,
    device: str,
    qualities: tuple[Quality, ...],
    per_image: bool,
    sheet: Path | None,
    plot: Path | None,
    **files: Path | None,
) -> None:
    """Measure models on pairs of images: PSNR, SSIM and time, as means over images.

    Models that translate are measured by L1 too; where they paint label maps by accuracy and mean IoU; elsewhere, with
    a --backbone, by the kernel distance between the sets. Pairs of --data are turned to the model's direction.

    With --real there is no ground truth: how much changed, how much of it where no other network finds rain, sharpness
    kept there, and what each --referee still finds in the result.

    \b
    repix evaluate --set Rain100L --set Rain100H
    repix evaluate --model facades-labels --data facades/val
    repix evaluate --model repixnet --model ./my-model --data my-pairs --latex table.tex
    repix evaluate --real photos --referee ./prenet --pairwise look
    """
    from repix.evaluate.figures import contact_sheet, quality_plot
    from repix.evaluate.real import evaluate_real, find_photos
    from repix.evaluate.run import evaluate as measure
    from repix.evaluate.run import find_sets
    from repix.evaluate.table import EvaluationStopped
    from repix.figures import save_figure
    from repix.infer.restorer import Restorer
    from repix.io.files import check_outputs
    from repix.palettes import PALETTES
    from repix.weights import DEFAULT_MODEL

    if (lq is None) != (gt is None):
        raise click.UsageError("--lq and --gt belong together")
    if not real and lq is None and not data and not sets:
        raise click.UsageError("give pairs: --data DIR, --set NAME, or --lq DIR and --gt DIR; or photos: --real DIR")
    if real:
        of_pairs = ("sets", "data", "lq", "metrics", "palette", "backbone", "protocol", "sheet", "plot")
        refuse_given(of_pairs, "is for pairs, and --real has readings of its own; leave one of them out")
    else:
        refuse_given(("referees", "pairwise"), "belongs to --real DIR")
    if not data:
        refuse_given(("layout",), "is for --data DIR")
    photos = find_photos(real)
    pairs = {}
    if not real:
        folders = (lq, gt) if lq is not None and gt is not None else None
        pairs = find_sets(data, layout=layout, folders=folders, names=sets)
    inputs = (path for pair in itertools.chain(*pairs.values()) for path in (pair.lq, pair.gt))
    check_outputs([*files.values(), sheet, plot], itertools.chain(*photos.values(), inputs))
    restorers = {
        name if quality == "fast" else f"{name} ({quality})": Restorer.from_pretrained(name, device, quality=quality)
        for name in models or (DEFAULT_MODEL,)
        for quality in qualities
    }
    try:
        if real:
            asked = {Path(name).name: Restorer.from_pretrained(name, device) for name in referees}
            table = evaluate_real(restorers, photos, referees=asked, pairwise=pairwise, progress=True)
        else:
            table = measure(
                restorers,
                pairs,
                metrics=metrics or None,
                protocol=protocol,
                palette=PALETTES[palette] if palette is not None else None,
                backbone=backbone,
                progress=True,
            )
    except EvaluationStopped as stop:
        for line in stop.table.to_text(per_image=per_image).splitlines():
            say(line)
        raise  # files are written of whole tables only
    try:
        for form, file in files.items():
            if file is not None:
                table.save(file, form=form, per_image=per_image)
        if sheet is not None:
            save_figure(contact_sheet(restorers, pairs, table), sheet)
        if plot is not None:
            save_figure(quality_plot(table), plot)
    finally:  # after hours of measuring, a file that cannot be written must not cost the values
        for line in table.to_text(per_image=per_image).splitlines():
            say(line)
