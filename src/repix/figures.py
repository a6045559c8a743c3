"""Labelled panels side by side, drawn as one PNG by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from repix._types import Floats, require
from repix.io.files import atomic

_FEW = 8  # panels that are drawn large


class Panel(NamedTuple):
    """One part of a figure: an image, curves or points.

    Attributes:
        label: written above it.
        image: (H, W, 3) uint8, shown as it is, or (H, W) float, shown in false colours over its own range.
        curves: label -> (K,) values over 1…K, or (2, K) places and values, on a logarithmic axis.
        points: label -> (x, y), x on a logarithmic axis.
        axes: what x and y are, for curves and points.
    """

    label: str
    image: NDArray[np.uint8] | Floats | None = None
    curves: Mapping[str, Floats] | None = None
    points: Mapping[str, tuple[float, float]] | None = None
    axes: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Figure:
    """What is to be drawn.

    Attributes:
        title: over it all.
        panels: from left to right, then down.
        columns: panels in a row; None for a shape near a square.
        arrays: name -> the numbers behind the panels.
    """

    title: str
    panels: Sequence[Panel]
    columns: int | None = None
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Draw a figure as PNG, atomically.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: the file cannot be written.
    """
    require("train", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels = figure.panels
    few = len(panels) <= _FEW or figure.columns is not None
    columns = figure.columns or (len(panels) if len(panels) <= 4 else int(np.ceil(np.sqrt(len(panels)))))
    rows = -(-len(panels) // columns)
    first = panels[0].image
    ratio = first.shape[0] / first.shape[1] if first is not None else 0.75
    across = 2.0 if not few else 5.0 if len(panels) <= _FEW else 3.0
    canvas = Canvas(figsize=(across * columns, (across * ratio + 0.4) * rows + 0.5), layout="constrained")
    FigureCanvasAgg(canvas)
    canvas.suptitle(figure.title)
    for number, panel in enumerate(panels, start=1):
        axes = canvas.add_subplot(rows, columns, number)
        axes.set_title(panel.label, fontsize=9)
        if panel.image is not None:
            drawn = axes.imshow(panel.image, cmap="magma", interpolation="nearest")
            axes.set_axis_off()
            if panel.image.ndim == 2 and few:
                canvas.colorbar(drawn, ax=axes, shrink=0.8)
            continue
        for label, values in (panel.curves or {}).items():
            places, heights = values if values.ndim == 2 else (np.arange(1, len(values) + 1), values)
            axes.semilogy(places, np.maximum(heights, 1e-30), label=label)
        for label, (x, y) in (panel.points or {}).items():
            axes.semilogx([x], [y], "o", label=label)
        axes.set_xlabel(panel.axes[0])
        axes.set_ylabel(panel.axes[1])
        if panel.curves or panel.points:
            axes.legend(fontsize=8)
    with atomic(Path(path)) as temporary:
        canvas.savefig(temporary, format="png", dpi=100)
