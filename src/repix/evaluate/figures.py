"""What an evaluation looks like: the same crops through every model, and quality against time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from repix.data.pairs import Pair
from repix.errors import InputError
from repix.evaluate.run import cards_of, directed, eight_bit, estimate, read_pair
from repix.evaluate.table import EvalTable
from repix.figures import Figure, Panel
from repix.metrics import METRICS, find_protocol

Image = np.ndarray[Any, np.dtype[Any]]

_WHOLE = 1 << 30


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
    metric = next((name for name in table.metrics if name in table.images[0].values), None)
    if metric is None:
        raise InputError(
            f"{', '.join(table.metrics)} have no value for a single image; add one that has, such as psnr_rgb"
        )
    if not all(card.task.local for card in cards_of(restorers)):
        side = _WHOLE  # what changes is everywhere
    protocol = find_protocol(table.protocol)
    panels: list[Panel] = []
    for data, found in directed(restorers, pairs).items():
        first = next(iter(restorers), "input")
        rows = [row for row in table.images if (row.data, row.model) == (data, first)]
        rows.sort(key=lambda row: row.values[metric], reverse=not METRICS[metric].higher_is_better)
        for what, row in (("worst", rows[0]), ("median", rows[len(rows) // 2])):
            pair = next(pair for pair in found if pair.name == row.image)
            lq, gt = read_pair(pair, protocol)
            window = busiest(np.abs(lq.astype(np.float32) - gt).sum(2), side)
            panels.append(Panel(f"{data}: {pair.name} ({what})", eight_bit(lq[window])))
            for model, restorer in restorers.items():
                values = next(
                    one.values for one in table.images if (one.data, one.model, one.image) == (data, model, pair.name)
                )
                crop = estimate(restorer, lq, protocol)[window]
                panels.append(Panel(f"{model}: {metric} {values[metric]:.4g}", eight_bit(crop)))
            panels.append(Panel("ground truth", eight_bit(gt[window])))
    return Figure("the same crops through every model", panels, columns=len(restorers) + 2)


def quality_plot(table: EvalTable) -> Figure:
    """Quality by the first metric against seconds per megapixel, a panel for each set.

    Where it is infinite for some images (PSNR of identical ones), it is that of the others.
    """
    metric = table.metrics[0]
    panels = []
    for data in dict.fromkeys(row.data for row in table.means):
        points = {
            row.model: (row.seconds_per_megapixel, row.mean_of_others(metric))
            for row in table.means
            if row.data == data and row.seconds_per_megapixel is not None
        }
        panels.append(Panel(data, points=points, axes=("seconds per megapixel", metric)))
    return Figure(f"{metric} against time", panels)


def busiest(change: Image, side: int) -> tuple[slice, slice]:
    """Where a window (at most side×side) of a plane (H, W) has the largest sum."""
    height, width = (min(side, length) for length in change.shape)
    sums = np.pad(change.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)
