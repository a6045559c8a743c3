"""Measure restorers on pairs: the very `Restorer` that users run, one table, the protocol beside the numbers."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from repix.data.pairs import Pair
from repix.errors import InputError
from repix.io.image import read_image
from repix.metrics import DEFAULT_METRICS, METRICS

Image = np.ndarray[Any, np.dtype[Any]]
Protocol = Literal["default", "paper"]

PROTOCOLS: Mapping[Protocol, str] = {
    "default": "estimates rounded to the truth's bit depth",
    "paper": "estimates truncated to the truth's bit depth, as the scripts of PReNet and JORDER save them",
}
_FIGURES = (
    "Y is MATLAB's luma (16..235) in double precision; SSIM has a Gaussian window 11x11, sigma 1.5, inside the "
    "picture; means over pictures. Seconds per megapixel: wall clock of the whole restorer (padding, tiling, network), "
    "without reading and writing files"
)


@dataclass(frozen=True)
class EvalRow:
    """One picture through one model, or the mean over a set's pictures.

    Attributes:
        data: name of the set.
        model: name of the model; `input` for the degraded picture itself.
        picture: name of the picture; None in a mean.
        pictures: how many pictures the row stands for.
        values: metric name -> figure.
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
        pictures: a row for each set, model and picture.
    """

    protocol: Protocol
    metrics: tuple[str, ...]
    means: tuple[EvalRow, ...]
    pictures: tuple[EvalRow, ...]

    @property
    def note(self) -> str:
        """The protocol in words."""
        return f"Protocol {self.protocol}: {PROTOCOLS[self.protocol]}. {_FIGURES}."

    def to_text(self, *, per_picture: bool = False) -> str:
        """The table for a terminal."""
        header, *body = self._cells(per_picture)
        widths = [max(len(row[i]) for row in (header, *body)) for i in range(len(header))]
        texts = len(header) - len(self.metrics) - 2  # names to the left, numbers to the right

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
        texts = len(header) - len(self.metrics) - 2
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
        """Protocol, means and, where asked for, pictures, at full precision; an infinite PSNR is null."""

        def entry(row: EvalRow) -> dict[str, object]:
            figures = {name: value if math.isfinite(value) else None for name, value in row.values.items()}
            where = {"picture": row.picture} if row.picture is not None else {"pictures": row.pictures}
            seconds = row.seconds_per_megapixel
            return {"data": row.data, "model": row.model, **where, **figures, "seconds_per_megapixel": seconds}

        report: dict[str, object] = {"protocol": self.protocol, "note": self.note}
        report["means"] = [entry(row) for row in self.means]
        if per_picture:
            report["pictures"] = [entry(row) for row in self.pictures]
        return json.dumps(report, indent=2, allow_nan=False) + "\n"

    def _cells(self, per_picture: bool) -> list[list[str]]:
        """Header and rows as text: PSNR in hundredths of a dB, SSIM in ten-thousandths."""
        names = ["data", "model", *(["picture"] if per_picture else [])]
        cells = [[*names, "pictures", *self.metrics, "s_per_mp"]]
        for row in (*self.pictures, *self.means) if per_picture else self.means:
            texts = [row.data, row.model, *([row.picture or "mean"] if per_picture else [])]
            figures = [f"{row.values[name]:.{2 if name.startswith('psnr') else 4}f}" for name in self.metrics]
            seconds = row.seconds_per_megapixel
            cells.append([*texts, str(row.pictures), *figures, "" if seconds is None else f"{seconds:.3f}"])
        return cells


def evaluate(
    restorers: Mapping[str, Callable[..., Image]],
    pairs: Mapping[str, Sequence[Pair]] | Sequence[Pair],
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    protocol: Protocol = "default",
    progress: bool = False,
) -> EvalTable:
    """Run every restorer over every pair and measure the results against the truth.

    Args:
        restorers: name -> `Restorer`, or any function from an (H, W, 3) picture, uint8 or uint16, to one of the same
            shape and type; with the paper's protocol it must take `rounding="down"` as `Restorer` does.
        pairs: the pairs of one set, or name of the set -> its pairs.
        metrics: keys of `repix.metrics.METRICS`.
        protocol: key of `PROTOCOLS`.
        progress: show a bar on standard error.

    Raises:
        InputError: no pairs, an unknown metric or protocol, an unreadable picture, or one that no metric can take.
    """
    sets = pairs if isinstance(pairs, Mapping) else {"data": pairs}
    for name in metrics:
        if name not in METRICS:
            raise InputError(f"unknown metric {name!r} (known: {', '.join(METRICS)})")
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r} (known: {', '.join(PROTOCOLS)})")
    if "input" in restorers:
        raise InputError("a model cannot be called 'input': that row is the degraded picture itself")
    for name, found in sets.items():
        if not found:
            raise InputError(f"no pairs in {name}")

    rows: list[EvalRow] = []
    cold = set(restorers)
    work = [(data, pair) for data, found in sets.items() for pair in found]
    with tqdm(total=len(work) * (1 + len(restorers)), unit="picture", disable=None if progress else True) as bar:
        for data, pair in work:
            lq, gt = _read(pair)
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
                values = {name: METRICS[name](pred, gt) for name in metrics}
                rows.append(EvalRow(data, model, pair.name, 1, values, seconds))
                bar.update()
    return EvalTable(protocol, tuple(metrics), tuple(_means(rows, metrics)), tuple(rows))


def _read(pair: Pair) -> tuple[Image, Image]:
    lq = read_image(pair.lq).pixels
    gt = lq if pair.gt == pair.lq else read_image(pair.gt).pixels
    lq, gt = pair.split(lq, gt)
    return np.ascontiguousarray(lq), np.ascontiguousarray(gt)


def _means(rows: Iterable[EvalRow], metrics: Sequence[str]) -> Iterable[EvalRow]:
    groups: dict[tuple[str, str], list[EvalRow]] = {}
    for row in rows:
        groups.setdefault((row.data, row.model), []).append(row)
    for (data, model), group in groups.items():
        seconds = [row.seconds_per_megapixel for row in group if row.seconds_per_megapixel is not None]
        values = {name: fmean(row.values[name] for row in group) for name in metrics}
        yield EvalRow(data, model, None, len(group), values, fmean(seconds) if seconds else None)
