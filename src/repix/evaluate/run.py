"""Measure restorers on pairs: the very `Restorer` that users run, one table, the protocol beside the numbers."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from repix.data.pairs import Pair
from repix.errors import InputError
from repix.figures import Figure, Panel
from repix.infer.ensemble import VIEWS
from repix.io.image import read_image, resize, to_8_bits
from repix.metrics import (
    COURSE_METRICS,
    KERNEL_METRICS,
    KNOWN_METRICS,
    LABEL_METRICS,
    LOWER_IS_BETTER,
    METRICS,
    KernelDistance,
    MeanIoU,
    Metric,
    SetMetric,
    label_accuracy,
)
from repix.palettes import VOID, LabelColour, nearest_label
from repix.tasks import DERAIN, TASKS, TRANSLATE
from repix.weights import ModelCard

Image = np.ndarray[Any, np.dtype[Any]]
Protocol = Literal["default", "paper", "course"]

PROTOCOLS: Mapping[Protocol, str] = {
    "default": "estimates rounded to the ground truth's bit depth",
    "paper": "estimates truncated to the ground truth's bit depth, as the scripts of PReNet and JORDER save them",
    "course": "images squeezed to 128x128 first, as the course measured; SSIM 7x7 has a uniform window",
}
_LUMA = (
    "Y is MATLAB's luma (16..235) in double precision; SSIM has a Gaussian window 11x11, sigma 1.5, inside the image"
)
_FIGURES = (
    "Means over images. Seconds per megapixel: wall clock of the whole restorer (padding, tiling, network), without "
    "reading and writing files. GMAC: multiply-adds of convolutions at 256x256, in 1e9, which papers call GFLOP"
)
_OF_SETS = {
    "l1_pm1": "L1 with images on [-1, 1]",
    "label_accuracy": "Labels: each pixel's nearest colour of the palette; accuracy is a share of pixels",
    "mean_iou_pooled": "mean IoU is of the pixels of all images together, over classes that occur",
    "kid_vgg16": f"KID: unbiased squared MMD of pooled VGG16 relu5_3 features, cubic kernel, mean and deviation of "
    f"{KernelDistance.SUBSETS} subsets of {KernelDistance.SUBSET} images",
}
_COURSE_SIDE = 128
_WHOLE = 1 << 30


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: how many.
        gmacs: multiply-adds of its convolutions for one image of 256×256, in 1e9; of all runs at quality best.
    """

    parameters: int
    gmacs: float


@dataclass(frozen=True)
class EvalRow:
    """One image through one model, or the mean over a set's images.

    Attributes:
        data: name of the set.
        model: name of the model; `input` for the degraded image itself.
        image: name of the image; None in a mean.
        images: how many images the row stands for.
        values: metric name -> figure; a row of one image, or of `input`, has none of those that only a set has.
        seconds_per_megapixel: wall clock; None for `input`.
    """

    data: str
    model: str
    picture: str | None
    pictures: int
    values: Mapping[str, float]
    seconds_per_megapixel: float | None


@dataclass(frozen=True)
class EvalTable:
    """The result of `evaluate`.

    Attributes:
        protocol: key of `PROTOCOLS`.
        metrics: names of the metrics, in the order of the columns.
        means: a row for each set and model, `input` first.
        images: a row for each set, model and image.
        costs: model -> what it costs, where that is known.
    """

    protocol: Protocol
    metrics: tuple[str, ...]
    means: tuple[EvalRow, ...]
    pictures: tuple[EvalRow, ...]
    costs: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """The protocol in words."""
        luma = f" {_LUMA}." if any(name.endswith("_y") or name == "ssim_rgb" for name in self.metrics) else ""
        others = "".join(f" {text}." for name, text in _OF_SETS.items() if name in self.metrics)
        return f"Protocol {self.protocol}: {PROTOCOLS[self.protocol]}.{luma}{others} {_FIGURES}."

    def to_text(self, *, per_picture: bool = False) -> str:
        """The table for a terminal."""
        header, *body = self._cells(per_picture)
        widths = [max(len(row[i]) for row in (header, *body)) for i in range(len(header))]
        texts = header.index("pictures")  # names to the left, numbers to the right

        def line(cells: Sequence[str]) -> str:
            parts = [
                cell.ljust(width) if i < texts else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            return "  ".join(parts).rstrip()

        return "\n".join([line(header), *(line(row) for row in body), "", self.note]) + "\n"

    def to_markdown(self, *, per_picture: bool = False) -> str:
        """The table in Markdown, the protocol below."""
        header, *body = self._cells(per_picture)
        texts = header.index("pictures")
        rule = ["---"] * texts + ["---:"] * (len(header) - texts)
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *body)]
        return "\n".join([*lines, "", self.note]) + "\n"

    def to_csv(self, *, per_picture: bool = False) -> str:
        """The table as CSV; the protocol is a column."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        header, *body = self._cells(per_picture)
        writer.writerow([*header, "protocol"])
        writer.writerows([*row, self.protocol] for row in body)
        return text.getvalue()

    def to_json(self, *, per_picture: bool = False) -> str:
        """Protocol, means and, where asked for, images, at full precision; an infinite PSNR is null."""

        def entry(row: EvalRow) -> dict[str, object]:
            figures = {name: value if math.isfinite(value) else None for name, value in row.values.items()}
            where = {"picture": row.picture} if row.picture is not None else {"pictures": row.pictures}
            seconds = row.seconds_per_megapixel
            return {"data": row.data, "model": row.model, **where, **figures, "seconds_per_megapixel": seconds}

        report: dict[str, object] = {"protocol": self.protocol, "note": self.note}
        report["costs"] = {
            model: {"parameters": cost.parameters, "gmacs_256": cost.gmacs} for model, cost in self.costs.items()
        }
        report["means"] = [entry(row) for row in self.means]
        if per_picture:
            report["pictures"] = [entry(row) for row in self.pictures]
        return json.dumps(report, indent=2, allow_nan=False) + "\n"

    def _cells(self, per_picture: bool) -> list[list[str]]:
        """Header and rows as text: PSNR in hundredths of a dB, SSIM in ten-thousandths."""
        names = ["data", "model", *(["picture"] if per_picture else [])]
        cells = [[*names, "pictures", *self.metrics, "s_per_mp", *(["parameters", "gmac_256"] if self.costs else [])]]
        for row in (*self.pictures, *self.means) if per_picture else self.means:
            texts = [row.data, row.model, *([row.picture or "mean"] if per_picture else [])]
            figures = [
                f"{row.values[name]:.{2 if name.startswith('psnr') else 4}f}" if name in row.values else ""
                for name in self.metrics
            ]
            seconds = row.seconds_per_megapixel
            cost = self.costs.get(row.model)
            costs = ["", ""] if cost is None else [str(cost.parameters), f"{cost.gmacs:.2f}"]
            time_ = "" if seconds is None else f"{seconds:.3f}"
            cells.append([*texts, str(row.pictures), *figures, time_, *(costs if self.costs else [])])
        return cells


def evaluate(
    restorers: Mapping[str, Callable[..., Image]],
    pairs: Mapping[str, Sequence[Pair]] | Sequence[Pair],
    *,
    metrics: Sequence[str] | None = None,
    protocol: Protocol = "default",
    palette: Sequence[LabelColour] | None = None,
    backbone: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> EvalTable:
    """Run every restorer over every pair and measure the results against the ground truth.

    Pairs are taken in the direction that the restorers' cards say.

    Args:
        restorers: name -> `Restorer`, or any function from an (H, W, 3) image, uint8 or uint16, to one of the same
            shape and type; with the paper's protocol it must take `rounding="down"` as `Restorer` does.
        pairs: the pairs of one set, or name of the set -> its pairs.
        metrics: keys of `repix.metrics.METRICS`, and `label_accuracy`, `mean_iou_pooled`, `kid_vgg16`,
            `kid_vgg16_std`; None takes those of the protocol or, for translation, those that fit the target: labels
            with a palette, the kernel distance with a backbone and no palette.
        protocol: key of `PROTOCOLS`.
        palette: colours of label maps; None takes what the restorers' cards say.
        backbone: VGG16's weights for the kernel distance; None looks in torch hub's cache, or downloads.
        progress: show a bar on standard error.

    Raises:
        InputError: no pairs, an unknown metric or protocol, an unreadable image, one that no metric can take, label
            metrics without a palette, or restorers of both directions.
        WeightsError: no backbone.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r} (known: {', '.join(PROTOCOLS)})")
    cards = _cards(restorers)
    sets = _directed(cards, pairs if isinstance(pairs, Mapping) else {"data": pairs})
    palette = palette or next((_palette(card) for card in cards if card.palette), None)
    metrics = metrics or _default_metrics(protocol, cards, labels=bool(palette), kernel=backbone is not None)
    for name in metrics:
        if name not in KNOWN_METRICS:
            raise InputError(f"unknown metric {name!r} (known: {', '.join(KNOWN_METRICS)})")
        if name in LABEL_METRICS and palette is None:
            raise InputError(f"{name} needs a palette, and no model's card has one; say which with --palette")
    if "input" in restorers:
        raise InputError("a model cannot be called 'input': that row is the degraded image itself")
    for name, found in sets.items():
        if not found:
            raise InputError(f"no pairs in {name}")

    measures, of_set = _measures(metrics, palette, backbone)
    rows: list[EvalRow] = []
    pooled = {(data, model): of_set() for data in sets for model in restorers}
    cold = set(restorers)
    work = [(data, pair) for data, found in sets.items() for pair in found]
    with tqdm(total=len(work) * (1 + len(restorers)), unit="picture", disable=None if progress else True) as bar:
        for data, pair in work:
            lq, gt = _read(pair, protocol)
            megapixels = lq.shape[0] * lq.shape[1] / 1e6
            for model, restorer in (("input", None), *restorers.items()):
                bar.set_postfix_str(model)
                seconds = None
                pred = lq
                if restorer is not None:
                    if model in cold:  # the first run allocates and optimises
                        restorer(lq)
                        cold.remove(model)
                    start = time.perf_counter()
                    pred = restorer(lq, rounding="down") if protocol == "paper" else restorer(lq)
                    seconds = (time.perf_counter() - start) / megapixels
                try:
                    values = {name: measures[name](pred, gt) for name in metrics if name in measures}
                    for one in pooled.get((data, model), ()):
                        one.add(pred, gt)
                except InputError as error:
                    raise InputError(f"{pair.lq}: {error}") from None
                rows.append(EvalRow(data, model, pair.name, 1, values, seconds))
                bar.update()
    costs = {name: cost for name, restorer in restorers.items() if (cost := _cost(restorer)) is not None}
    means = []
    for mean in _means(rows):
        whole = {name: value for one in pooled.get((mean.data, mean.model), ()) for name, value in one.values().items()}
        means.append(replace(mean, values={**mean.values, **{name: whole[name] for name in metrics if name in whole}}))
    return EvalTable(protocol, tuple(metrics), tuple(means), tuple(rows), costs)


def contact_sheet(
    restorers: Mapping[str, Callable[..., Image]],
    pairs: Mapping[str, Sequence[Pair]],
    table: EvalTable,
    *,
    side: int = 160,
) -> Figure:
    """The same crops through every model: for each set the image that the first model does worst on, and its median.

    Args:
        restorers: as given to `evaluate`.
        pairs: name of the set -> its pairs.
        table: what `evaluate` found.
        side: side of the crops in pixels; each is where rain changes the image most. Translations are shown whole.

    Returns:
        Columns input, models, ground truth; a row for each image.
    """
    metric = next((name for name in table.metrics if name in table.pictures[0].values), None)
    if metric is None:
        raise InputError(f"{', '.join(table.metrics)} have no figure for one image; add one that has, such as psnr_rgb")
    cards = _cards(restorers)
    if not all(card.task.local for card in cards):
        side = _WHOLE  # what changes is everywhere
    panels: list[Panel] = []
    for data, found in _directed(cards, pairs).items():
        first = next(iter(restorers), "input")
        rows = [row for row in table.pictures if (row.data, row.model) == (data, first)]
        rows.sort(key=lambda row: row.values[metric], reverse=metric in LOWER_IS_BETTER)
        for what, row in (("worst", rows[0]), ("median", rows[len(rows) // 2])):
            pair = next(pair for pair in found if pair.name == row.picture)
            lq, gt = _read(pair, table.protocol)
            at = _busiest(np.abs(lq.astype(np.float32) - gt).sum(2), side)
            panels.append(Panel(f"{data}: {pair.name} ({what})", _eight_bit(lq[at])))
            for model, restorer in restorers.items():
                values = next(
                    one.values
                    for one in table.pictures
                    if (one.data, one.model, one.picture) == (data, model, pair.name)
                )
                panels.append(Panel(f"{model}: {metric} {values[metric]:.4g}", _eight_bit(restorer(lq)[at])))
            panels.append(Panel("truth", _eight_bit(gt[at])))
    return Figure("the same crops through every model", panels, columns=len(restorers) + 2)


def quality_plot(table: EvalTable) -> Figure:
    """Quality by the first metric against seconds per megapixel, a panel for each set."""
    metric = table.metrics[0]
    panels = []
    for data in dict.fromkeys(row.data for row in table.means):
        points = {
            row.model: (row.seconds_per_megapixel, row.values[metric])
            for row in table.means
            if row.data == data and row.seconds_per_megapixel is not None
        }
        panels.append(Panel(data, points=points, axes=("seconds per megapixel", metric)))
    return Figure(f"{metric} against time", panels)


def _busiest(change: Image, side: int) -> tuple[slice, slice]:
    """Where a window (at most side×side) of a plane (H, W) has the largest sum."""
    height, width = (min(side, length) for length in change.shape)
    sums = np.pad(change.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def _eight_bit(image: Image) -> Image:
    return image if image.dtype == np.uint8 else to_8_bits(image)


def _cost(restorer: object) -> Cost | None:
    """What a restorer's network costs; None without a card that says which it is, or without torch."""
    card = getattr(restorer, "card", None)
    try:
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from repix.models import MODELS, create_model
    except ModuleNotFoundError:
        return None
    if card is None or card.arch not in MODELS:
        return None
    net = create_model(card.arch, **card.args).eval()
    parameters = sum(parameter.numel() for parameter in net.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta")(torch.empty(1, 3, 256, 256, device="meta"))  # shapes alone, no arithmetic
    runs = len(VIEWS) if getattr(restorer, "quality", "fast") == "best" else 1
    return Cost(parameters, runs * counter.get_total_flops() / 2e9)


def _read(pair: Pair, protocol: Protocol) -> tuple[Image, Image]:
    lq = read_image(pair.lq).pixels
    gt = lq if pair.gt == pair.lq else read_image(pair.gt).pixels
    lq, gt = (np.ascontiguousarray(image) for image in pair.split(lq, gt))
    return (_squeezed(lq), _squeezed(gt)) if protocol == "course" else (lq, gt)


def _squeezed(image: Image) -> Image:
    """128×128, bilinear, filtered where it shrinks."""
    return resize(image, (_COURSE_SIDE, _COURSE_SIDE), "linear")


def _means(rows: Iterable[EvalRow]) -> Iterable[EvalRow]:
    groups: dict[tuple[str, str], list[EvalRow]] = {}
    for row in rows:
        groups.setdefault((row.data, row.model), []).append(row)
    for (data, model), group in groups.items():
        seconds = [row.seconds_per_megapixel for row in group if row.seconds_per_megapixel is not None]
        # an image that is void all over has no accuracy
        values = {name: _mean([row.values[name] for row in group]) for name in group[0].values}
        yield EvalRow(data, model, None, len(group), values, fmean(seconds) if seconds else None)


class _OnLabels:
    """A figure of label maps, taken of images of them."""

    def __init__(self, measure: MeanIoU, labels: Callable[[Image], Image]) -> None:
        self._measure, self._labels = measure, labels

    def add(self, pred: Image, gt: Image) -> None:
        self._measure.add(self._labels(pred), self._labels(gt))

    def values(self) -> Mapping[str, float]:
        return self._measure.values()


def _measures(
    metrics: Sequence[str], palette: Sequence[LabelColour] | None, backbone: str | os.PathLike[str] | None
) -> tuple[Mapping[str, Metric], Callable[[], list[SetMetric]]]:
    """The metrics of single images by name, and what makes those of one more set."""
    measures = dict(METRICS)
    makers: list[Callable[[], SetMetric]] = []
    if palette is not None:
        void = next((label for label, colour in enumerate(palette) if colour.name == VOID), None)
        numbers = np.array([void if one.name == VOID else label for label, one in enumerate(palette)], np.uint8)

        def labels(image: Image) -> Image:
            found: Image = numbers[nearest_label(_eight_bit(image), palette)]
            return found

        measures["label_accuracy"] = lambda pred, gt: label_accuracy(labels(pred), labels(gt), void=void)
        if "mean_iou_pooled" in metrics:
            makers.append(lambda: _OnLabels(MeanIoU(len(palette), void=void), labels))
    if set(metrics) & set(KERNEL_METRICS):
        makers.append(lambda: KernelDistance(backbone))
    return measures, lambda: [make() for make in makers]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def _cards(restorers: Mapping[str, object]) -> list[ModelCard]:
    cards = (getattr(restorer, "card", None) for restorer in restorers.values())
    return [card for card in cards if card is not None]


def _palette(card: ModelCard) -> list[LabelColour]:
    return [LabelColour(*colour) for colour in card.palette or ()]


def _directed(cards: Sequence[ModelCard], pairs: Mapping[str, Sequence[Pair]]) -> Mapping[str, Sequence[Pair]]:
    """The pairs with the image first that the models take."""
    directions = {card.direction for card in cards}
    if len(directions) > 1:
        raise InputError("the models translate in both directions, AtoB and BtoA; measure them one after the other")
    if directions != {"BtoA"}:
        return pairs
    return {name: [pair.swapped() for pair in found] for name, found in pairs.items()}


def _default_metrics(protocol: Protocol, cards: Sequence[ModelCard], *, labels: bool, kernel: bool) -> tuple[str, ...]:
    if protocol == "course":
        return COURSE_METRICS
    tasks = {card.task for card in cards} or {TRANSLATE if labels else DERAIN}
    found = [name for task in TASKS.values() if task in tasks for name in task.metrics]
    if labels:
        found += LABEL_METRICS
    elif kernel and any(task.adversarial for task in tasks):
        found += KERNEL_METRICS
    return tuple(dict.fromkeys(found))
