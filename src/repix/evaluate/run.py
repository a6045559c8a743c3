"""Measure restorers on pairs: the very `Restorer` that users run, one table, the protocol beside the numbers."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from tqdm import tqdm

from repix.data.pairs import Pair, find_pairs, find_pairs_in
from repix.data.sets import find_set
from repix.errors import InputError
from repix.evaluate.table import Cost, EvalRow, EvalTable, stoppable
from repix.infer.ensemble import AUGMENTATIONS
from repix.io.files import resolved
from repix.io.image import read_pixels, resize, to_8_bits
from repix.metrics import METRICS, PROTOCOLS, EvalProtocol, Metric, SetMetric, find_metric, find_protocol
from repix.palettes import VOID, LabelColour, nearest_label
from repix.tasks import DERAIN, TASKS, TRANSLATE
from repix.weights import ModelCard

Image = np.ndarray[Any, np.dtype[Any]]


def evaluate(
    restorers: Mapping[str, Callable[..., Image]],
    pairs: Mapping[str, Sequence[Pair]] | Sequence[Pair],
    *,
    metrics: Sequence[str] | None = None,
    protocol: str = "default",
    palette: Sequence[LabelColour] | None = None,
    backbone: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> EvalTable:
    """Run every restorer over every pair and measure the results against the ground truth.

    Pairs are taken in the direction that the restorers' cards say, those of `find_pairs_in` as they are.

    Args:
        restorers: name -> `Restorer`, or any function from an (H, W, 3) image, uint8 or uint16, to one of the same
            shape and type; for the protocol `paper` it must take `rounding="down"` as `Restorer` does.
        pairs: the pairs of one set, or name of the set -> its pairs.
        metrics: keys of `repix.metrics.METRICS`; None takes those of the protocol, or of the models' tasks those that
            fit the ground truth: metrics of labels with a palette, of VGG16's features with a backbone and no palette.
        protocol: key of `repix.metrics.PROTOCOLS`.
        palette: colours of label maps; None takes what the restorers' cards say.
        backbone: weights of VGG16 for the kernel distance, of AlexNet for LPIPS: a file, or a folder of both; None
            looks where `repix.features.load_weights` does.
        progress: show a bar on standard error.

    Raises:
        InputError: no pairs, an unknown metric or protocol, an unreadable image, one that no metric can take, label
            metrics without a palette, or restorers of both directions.
        WeightsError: no backbone.
        EvaluationStopped: an interrupt, after the first image; it has the table of what has been measured.
    """
    rules = find_protocol(protocol)
    cards = cards_of(restorers)
    sets = directed(restorers, pairs if isinstance(pairs, Mapping) else {"data": pairs})
    asked = {"palette": (palette, ("classes", "void")), "backbone": (backbone, ("weights",))}
    palette = palette or next((_palette(card) for card in cards if card.palette), None)
    own = metrics or rules.metrics or _default_metrics(cards, palette=bool(palette), backbone=bool(backbone))
    names = tuple(dict.fromkeys(own))
    measured = [find_metric(name) for name in names]
    for what, (given, needed) in asked.items():
        if given and not any(need in metric.needs for metric in measured for need in needed):
            users = ", ".join(name for name, metric in METRICS.items() if set(needed) & set(metric.needs))
            raise InputError(f"the {what} does nothing for {', '.join(names)}; it is for {users}")
    measures = _Measures(measured, palette, backbone)
    if "input" in restorers:
        raise InputError("a model cannot be called 'input': that row is the degraded image itself")
    for name, found in sets.items():
        if not found:
            raise InputError(f"no pairs in {name}")

    rows: list[EvalRow] = []
    pooled = {(data, model): measures.of_set() for data in sets for model in restorers}
    cold = set(restorers)
    work = [(data, pair) for data, found in sets.items() for pair in found]

    def table() -> EvalTable:
        means = []
        for mean in means_of(rows):
            whole: dict[str, float] = {}
            for _, one in pooled.get((mean.data, mean.model), ()):
                whole.update(one.values())
            means.append(
                replace(mean, values={**mean.values, **{name: whole[name] for name in names if name in whole}})
            )
        return EvalTable(protocol, names, tuple(means), tuple(rows), costs_of(restorers), _note(protocol, names))

    with (
        stoppable(table, rows),
        tqdm(total=len(work) * (1 + len(restorers)), unit="image", disable=None if progress else True) as bar,
    ):
        for data, pair in work:
            lq, gt = read_pair(pair, rules)
            megapixels = lq.shape[0] * lq.shape[1] / 1e6
            of_pair: list[EvalRow] = []
            preds: dict[str, Image] = {}
            for model, restorer in (("input", None), *restorers.items()):
                bar.set_postfix_str(model)
                seconds = None
                pred = lq
                if restorer is not None:
                    if model in cold:  # the first run allocates and optimises
                        restorer(lq)
                        cold.remove(model)
                    start = time.perf_counter()
                    pred = preds[model] = estimate(restorer, lq, rules)
                    seconds = (time.perf_counter() - start) / megapixels
                with _naming(pair):
                    values = measures.of_image(pred, gt)
                of_pair.append(EvalRow(data, model, pair.name, 1, values, seconds))
                bar.update()
            with _naming(pair):
                for model, pred in preds.items():
                    for metric, one in pooled[data, model]:
                        one.add(measures.seen(metric, pred), measures.seen(metric, gt))
            rows += of_pair  # of all models or of none: what has been measured when it is stopped can be compared
    return table()


@contextlib.contextmanager
def _naming(pair: Pair) -> Iterator[None]:
    """Say of which image a metric speaks."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{pair.lq}: {error}") from None


def find_sets(
    data: Sequence[Path],
    *,
    layout: str = "auto",
    folders: tuple[Path, Path] | None = None,
    names: Sequence[str] = (),
) -> dict[str, list[Pair]]:
    """Pairs of each set by a short name of it.

    Args:
        data: folders of pairs.
        layout: as `find_pairs` has it.
        folders: one more set, of a folder of degraded images and one of their ground truth; both may be one, to
            measure what clean images lose.
        names: sets that `repix.data.sets.find_set` finds.

    Raises:
        InputError: a folder without pairs, or a set that is not there.
    """
    short = len({resolved(folder).name for folder in data}) == len(data)
    sets = {resolved(folder).name if short else str(folder): find_pairs(folder, layout) for folder in data}
    if folders is not None:
        lq, gt = (resolved(folder) for folder in folders)
        name = f"{lq.name}, clean to itself" if lq == gt else "/".join(lq.parts[-2:])
        sets[name] = find_pairs_in(*folders)
    return {name: find_set(name) for name in names} | sets


def read_pair(pair: Pair, protocol: EvalProtocol) -> tuple[Image, Image]:
    """Degraded image and ground truth, (H, W, 3) uint8 or uint16, as a protocol measures them.

    Raises:
        InputError: a file cannot be read.
    """
    lq = read_pixels(pair.lq)
    gt = lq if pair.gt == pair.lq else read_pixels(pair.gt)
    lq, gt = (np.ascontiguousarray(image) for image in pair.split(lq, gt))
    if protocol.side is None:
        return lq, gt
    size = (protocol.side, protocol.side)
    return resize(lq, size, "linear"), resize(gt, size, "linear")  # filtered where it shrinks


def estimate(restorer: Callable[..., Image], lq: Image, protocol: EvalProtocol) -> Image:
    """What a restorer makes of an image, rounded as a protocol has it."""
    return restorer(lq) if protocol.rounding == "nearest" else restorer(lq, rounding=protocol.rounding)


def directed(restorers: Mapping[str, object], pairs: Mapping[str, Sequence[Pair]]) -> Mapping[str, Sequence[Pair]]:
    """The pairs with that image first which the models take; where the caller said which is which, it stays so.

    Raises:
        InputError: models of both directions.
    """
    directions = {card.direction for card in cards_of(restorers)}
    if len(directions) > 1:
        raise InputError("the models translate in both directions, AtoB and BtoA; measure them one after the other")
    if directions != {"BtoA"}:
        return pairs
    return {name: [pair if pair.is_given else pair.swapped() for pair in found] for name, found in pairs.items()}


def eight_bit(image: Image) -> Image:
    """Samples of 8 or 16 bits as 8 bits."""
    return image if image.dtype == np.uint8 else to_8_bits(image)


class _Measures:
    """The chosen metrics, with what they need to measure: labels are read from images where a metric is of labels.

    Args:
        metrics: what to measure.
        palette: colours of label maps, None where images are none.
        backbone: a classifier's weights.

    Raises:
        InputError: a metric of labels, and no palette.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        palette: Sequence[LabelColour] | None,
        backbone: str | os.PathLike[str] | None,
    ) -> None:
        for metric in metrics:
            if metric.on == "labels" and palette is None:
                raise InputError(
                    f"{metric.name} needs a palette, and no model's card has one; say which with --palette"
                )
        self._metrics, self._palette = metrics, palette or ()
        void = next((label for label, colour in enumerate(self._palette) if colour.name == VOID), None)
        self._labels = np.array([void if one.name == VOID else at for at, one in enumerate(self._palette)], np.uint8)
        self._known = {"classes": len(self._palette), "void": void, "weights": backbone}

    def of_set(self) -> list[tuple[Metric, SetMetric]]:
        """What measures one more set; two metrics may be values of one."""
        makers = {metric.measure: metric for metric in self._metrics if metric.per == "set"}
        return [(metric, make(**self._arguments(metric))) for make, metric in makers.items()]

    def of_image(self, pred: Image, gt: Image) -> dict[str, float]:
        """Metric name -> value, of those that one image has."""
        return {
            metric.name: metric.measure(self.seen(metric, pred), self.seen(metric, gt), **self._arguments(metric))
            for metric in self._metrics
            if metric.per == "image"
        }

    def seen(self, metric: Metric, image: Image) -> Image:
        """The image itself, or its labels (H, W) uint8."""
        if metric.on == "images":
            return image
        labels: Image = self._labels[nearest_label(eight_bit(image), self._palette)]
        return labels

    def _arguments(self, metric: Metric) -> dict[str, object]:
        return {name: self._known[name] for name in metric.needs}


def costs_of(restorers: Mapping[str, object]) -> dict[str, Cost]:
    """What networks cost, of those that say which they are."""
    return {name: cost for name, restorer in restorers.items() if (cost := _cost(restorer)) is not None}


def _note(protocol: str, names: Sequence[str]) -> str:
    """The protocol in words."""
    sentences = dict.fromkeys(text for name in names for text in METRICS[name].protocol)
    return " ".join([f"Protocol {protocol}: {PROTOCOLS[protocol].note}.", *sentences])


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
    with torch.device("meta"):  # shapes alone, however large a card says that the network is
        net = create_model(card.arch, **card.args).eval()
    parameters = sum(parameter.numel() for parameter in net.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta")(torch.empty(1, 3, 256, 256, device="meta"))  # shapes alone, no arithmetic
    runs = len(AUGMENTATIONS) if getattr(restorer, "quality", "fast") == "best" else 1
    return Cost(parameters, runs * counter.get_total_flops() / 2e9)


def means_of(rows: Iterable[EvalRow]) -> Iterable[EvalRow]:
    """The mean over the images of each set and model."""
    groups: dict[tuple[str, str], list[EvalRow]] = {}
    for row in rows:
        groups.setdefault((row.data, row.model), []).append(row)
    for (data, model), group in groups.items():
        seconds = [row.seconds_per_megapixel for row in group if row.seconds_per_megapixel is not None]
        # an image that is void all over has no accuracy
        columns = {name: [row.values[name] for row in group] for name in group[0].values}
        values = {name: _mean(column) for name, column in columns.items()}
        infinite = {name: sum(map(math.isinf, column)) for name, column in columns.items() if math.isinf(values[name])}
        others = {name: _mean([value for value in columns[name] if not math.isinf(value)]) for name in infinite}
        yield EvalRow(
            data,
            model,
            None,
            len(group),
            values,
            fmean(seconds) if seconds else None,
            identical=max(infinite.values(), default=0),
            others=others,
        )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def cards_of(restorers: Mapping[str, object]) -> list[ModelCard]:
    """The cards of those that have one."""
    cards = (getattr(restorer, "card", None) for restorer in restorers.values())
    return [card for card in cards if card is not None]


def _palette(card: ModelCard) -> list[LabelColour]:
    return [LabelColour(*colour) for colour in card.palette or ()]


def _default_metrics(cards: Sequence[ModelCard], *, palette: bool, backbone: bool) -> tuple[str, ...]:
    """Those of the models' tasks that can be taken; functions without a card are judged by what they are given."""
    tasks = {card.task for card in cards} or {TRANSLATE if palette else DERAIN}
    names = dict.fromkeys(name for task in TASKS.values() if task in tasks for name in task.metrics)

    def fits(metric: Metric) -> bool:
        if metric.on == "labels":
            return palette
        return backbone and not palette if "weights" in metric.needs else True

    return tuple(name for name in names if fits(METRICS[name]))
