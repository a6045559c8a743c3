"""The table of an evaluation, and its forms: text, Markdown, LaTeX, CSV and JSON, the protocol beside the numbers."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repix.io.files import atomic
from repix.metrics import METRICS

_MEANS = (
    "Means over images. Seconds per megapixel: wall clock of the whole restorer (padding, tiling, network), without "
    "reading and writing files. GMAC: multiply-adds of convolutions at 256x256, in 1e9, which papers call GFLOP."
)
_IDENTICAL = (
    "inf is the PSNR of an image that is identical to its ground truth: identical counts those, and _others is the "
    "mean over the other images."
)


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: how many.
        gmacs: multiply-adds of its convolutions for one image of 256×256, in 1e9; of all runs with quality `best`.
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
        values: metric name -> value; a row of one image, or of `input`, has none of those that only a set has.
        seconds_per_megapixel: wall clock; None for `input`.
        identical: of a mean: how many of its images are infinitely good by a metric, as PSNR says of equal ones.
        others: of a mean: metric name -> mean over the other images, of metrics that are infinite for some; nan where
            there are no others.
    """

    data: str
    model: str
    image: str | None
    images: int
    values: Mapping[str, float]
    seconds_per_megapixel: float | None
    identical: int = 0
    others: Mapping[str, float] = field(default_factory=dict)

    def mean_of_others(self, metric: str) -> float:
        """Of a mean: over the images that are not infinitely good by the metric; the mean itself where none is."""
        return self.others.get(metric, self.values.get(metric, math.nan))


@dataclass(frozen=True)
class EvalTable:
    """The result of `evaluate`.

    Attributes:
        protocol: key of `PROTOCOLS`, or `real` where there is no ground truth.
        metrics: names of the metrics, in the order of the columns.
        means: a row for each set and model, `input` first.
        images: a row for each set, model and image.
        costs: model -> what it costs, where that is known.
        how: it was measured, in sentences.
    """

    protocol: str
    metrics: tuple[str, ...]
    means: tuple[EvalRow, ...]
    images: tuple[EvalRow, ...]
    costs: Mapping[str, Cost] = field(default_factory=dict)
    how: str = ""

    @property
    def note(self) -> str:
        """How it was measured, what means and costs are."""
        return " ".join([self.how, _MEANS, *([_IDENTICAL] if self._infinite else [])]).lstrip()

    @property
    def _infinite(self) -> list[str]:
        """The metrics that are infinite for some image, which makes the mean so."""
        return [name for name in self.metrics if any(name in row.others for row in self.means)]

    def to_text(self, *, per_image: bool = False) -> str:
        """The table for a terminal."""
        header, *body = self._cells(per_image)
        widths = [max(len(row[i]) for row in (header, *body)) for i in range(len(header))]
        texts = header.index("images")  # names to the left, numbers to the right

        def line(cells: Sequence[str]) -> str:
            parts = [
                cell.ljust(width) if i < texts else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            return "  ".join(parts).rstrip()

        return "\n".join([line(header), *(line(row) for row in body), "", self.note]) + "\n"

    def to_markdown(self, *, per_image: bool = False) -> str:
        """The table in Markdown, the protocol below."""
        header, *body = self._cells(per_image)
        texts = header.index("images")
        rule = ["---"] * texts + ["---:"] * (len(header) - texts)
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *body)]
        return "\n".join([*lines, "", self.note]) + "\n"

    def to_latex(self, *, per_image: bool = False) -> str:
        """The table as a LaTeX `tabular`, the protocol in a comment above."""
        header, *body = self._cells(per_image)
        texts = header.index("images")

        def line(cells: Sequence[str]) -> str:
            escaped = (re.sub(r"[&%$#_{}]", r"\\\g<0>", cell.replace("\\", "/")) for cell in cells)
            return " & ".join(escaped) + r" \\"

        columns = "l" * texts + "r" * (len(header) - texts)
        lines = [rf"\begin{{tabular}}{{{columns}}}", line(header), r"\hline", *(line(row) for row in body)]
        return "\n".join([f"% {self.note}", *lines, r"\end{tabular}"]) + "\n"

    def to_csv(self, *, per_image: bool = False) -> str:
        """The table as CSV; the protocol is a column."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        header, *body = self._cells(per_image)
        writer.writerow([*header, "protocol"])
        writer.writerows([*row, self.protocol] for row in body)
        return text.getvalue()

    def to_json(self, *, per_image: bool = False) -> str:
        """Protocol, means and, where asked for, images, at full precision; an infinite PSNR is null.

        Then each mean has the count `identical` too, and for each such metric `…_others`, the mean of the other images.
        """

        def entry(row: EvalRow) -> dict[str, object]:
            found = dict(row.values)
            if self._infinite and row.image is None:
                found["identical"] = row.identical
                found |= {f"{name}_others": row.mean_of_others(name) for name in self._infinite}
            values = {name: value if math.isfinite(value) else None for name, value in found.items()}
            where = {"image": row.image} if row.image is not None else {"images": row.images}
            seconds = row.seconds_per_megapixel
            return {"data": row.data, "model": row.model, **where, **values, "seconds_per_megapixel": seconds}

        report: dict[str, object] = {"protocol": self.protocol, "note": self.note}
        report["costs"] = {
            model: {"parameters": cost.parameters, "gmacs_256": cost.gmacs} for model, cost in self.costs.items()
        }
        report["means"] = [entry(row) for row in self.means]
        if per_image:
            report["images"] = [entry(row) for row in self.images]
        return json.dumps(report, indent=2, allow_nan=False) + "\n"

    def save(self, path: Path, *, form: str, per_image: bool = False) -> None:
        """Write the table in one of its forms (`text`, `markdown`, `latex`, `csv`, `json`), whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        text = {
            "text": self.to_text,
            "markdown": self.to_markdown,
            "latex": self.to_latex,
            "csv": self.to_csv,
            "json": self.to_json,
        }[form](per_image=per_image)
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")

    def _cells(self, per_image: bool) -> list[list[str]]:
        """Header and rows as text: values in hundredths of a dB, those without a unit in ten-thousandths."""
        names = ["data", "model", *(["image"] if per_image else [])]
        infinite = self._infinite
        extra = ["identical", *(f"{name}_others" for name in infinite)] if infinite else []
        names += ["images", *self.metrics, *extra, "s_per_mp"]
        cells = [[*names, *(["parameters", "gmac_256"] if self.costs else [])]]
        for row in (*self.images, *self.means) if per_image else self.means:
            texts = [row.data, row.model, *([row.image or "mean"] if per_image else [])]
            values = [_number(name, row.values[name]) if name in row.values else "" for name in self.metrics]
            if infinite and row.image is None:
                values += [str(row.identical), *(_number(name, row.mean_of_others(name)) for name in infinite)]
            else:
                values += [""] * len(extra)
            seconds = row.seconds_per_megapixel
            cost = self.costs.get(row.model)
            costs = ["", ""] if cost is None else [str(cost.parameters), f"{cost.gmacs:.2f}"]
            time_ = "" if seconds is None else f"{seconds:.3f}"
            cells.append([*texts, str(row.images), *values, time_, *(costs if self.costs else [])])
        return cells


def _number(metric: str, value: float) -> str:
    """In hundredths of a dB, or in ten-thousandths."""
    return f"{value:.{2 if metric in METRICS and METRICS[metric].unit == 'dB' else 4}f}"


class EvaluationStopped(KeyboardInterrupt):
    """An evaluation was interrupted.

    Attributes:
        table: of the images that every model has seen by then.
    """

    def __init__(self, table: EvalTable) -> None:
        super().__init__("interrupted")
        self.table = table


@contextlib.contextmanager
def stoppable(table: Callable[[], EvalTable], rows: Sequence[EvalRow]) -> Iterator[None]:
    """Have an interrupt bring the table of what has been measured, where there is any.

    Raises:
        EvaluationStopped: an interrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not rows:
            raise
        raise EvaluationStopped(table()) from None
