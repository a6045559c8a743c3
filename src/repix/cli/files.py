"""What commands that run a model over files and folders do around it: load, work, say what was done."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repix.cli.output import printable, say
from repix.errors import WeightsError

if TYPE_CHECKING:
    from repix.infer.jobs import Result, Summary
    from repix.tasks import Task


def check_model(task: Task, model: str) -> None:
    """Refuse a model that is made for something else.

    Raises:
        WeightsError: it is, or there is no such model.
    """
    from repix.weights import find_card

    card, _ = find_card(model)
    if card.task is not task:
        raise WeightsError(
            f"model {model!r} is made to {card.task.verb}, not to {task.verb}; "
            f"type: repix {card.task.verb} PATH --model {model}"
        )


def run_over_files(work: Callable[[], Summary], verb: str) -> None:
    """Do the work, say what was done, and exit with 1 where a file failed."""
    begun = time.perf_counter()
    summary = work()
    _say_summary(summary, verb, time.perf_counter() - begun)
    if summary.failed:
        raise click.exceptions.Exit(1)


def say_failure(result: Result) -> None:
    """Say at once why a file failed, above the progress bar."""
    if result.status == "failed":
        from tqdm import tqdm

        with contextlib.suppress(OSError, ValueError):
            tqdm.write(printable(f"repix: {result.message}"), file=sys.stderr)


def left_out(results: Sequence[Path]) -> str:
    """What a summary says about files that were not taken."""
    return f"{len(results)} result{'s' if len(results) > 1 else ''} of earlier runs left out"


def _kinds(results: Sequence[Result]) -> str:
    from repix.io.formats import VIDEOS

    videos = sum(result.src.suffix.lower() in VIDEOS for result in results)
    return "images" if not videos else "videos" if videos == len(results) else "images and videos"


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
    if summary.left_out:
        counts.append(left_out(summary.left_out))
    say("; ".join(counts) or "nothing to do")
    notes = Counter(note for result in summary.done for note in result.notes)
    for note, count in notes.items():
        say(f"note: {note}" + (f" ({count} of them)" if count > 1 else ""))
