"""`repix evaluate`: models measured on pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from repix.errors import InputError

if TYPE_CHECKING:
    from repix.infer.restorer import Quality


@click.command()
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
    from repix.io.files import atomic
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
