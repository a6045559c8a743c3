"""What a run over files says: its plan, each result, and the summary at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repix.cli.output import say
from repix.errors import counted

if TYPE_CHECKING:
    from repix.cli.options import Run
    from repix.infer.jobs import BatchOptions, Result, Summary


def say_plan(paths: Sequence[str], output: str | None, options: BatchOptions, run: Run) -> None:
    """What would be done, for --dry-run."""
    if "-" in (*paths, output):
        source = "standard input" if paths[0] == "-" else paths[0]
        say(f"{source} → {'standard output' if output in (None, '-') else output}")
        return
    from repix.infer.jobs import Naming, plan

    planned = plan(paths, output, options=options, naming=Naming.of(options.card))
    jobs, settled = planned.pending(overwrite=options.overwrite)
    for job in jobs:
        say(f"{job.src} → {' and '.join(map(str, job.wanted))}")
    for result in settled:
        say(f"{result.status}: {result.message}")
    files = sum(len(job.wanted) for job in jobs)
    said = [f"would write {counted(files, 'file')} for {counted(len(jobs), 'input')}"]
    if planned.left_out:
        said.append(left_out(planned.left_out))
    if planned.unknown:
        said.append(f"left out: {planned.unknown_in_words}")
    if not run.quiet:
        say("; ".join(said))
        for note in planned.notes:
            say(f"note: {note}")


def say_result(result: Result, *, run: Run) -> None:
    """Say at once why a file failed, above the progress bar; or, with `run.verbose`, everything."""
    for line in _lines(result, verbose=run.verbose):
        for path, words in run.called.items():
            line = line.replace(str(path), words)
        _above_bar(line)


@contextlib.contextmanager
def saying_results(verb: str, run: Run) -> Iterator[Callable[[Result], None]]:
    """What says each result as `say_result` does, and where the user stops the run, what was done until then."""
    from repix.infer.jobs import Summary

    begun, until_now = time.perf_counter(), Summary()

    def on_result(result: Result) -> None:
        until_now.add(result)
        say_result(result, run=run)

    try:
        yield on_result
    except KeyboardInterrupt:
        if until_now.done:
            say_summary(until_now, verb, time.perf_counter() - begun, run)
        raise


def _lines(result: Result, *, verbose: bool) -> Iterator[str]:
    if result.status == "failed":
        yield f"repix: {result.message}"
    elif verbose and result.status == "skipped":
        yield f"skipped: {result.message}"
    elif verbose:
        levels = ""
        if result.levels is not None:
            levels = f", levels {','.join(map(str, result.levels))}" if result.levels else ", no rain found"
            levels += ", on its side" if result.turned else ""
        yield f"{result.src} → {' and '.join(map(str, result.written))} in {result.seconds:.2f} s{levels}"
        yield from (f"    note: {note}" for note in result.notes)


@contextlib.contextmanager
def saying_log() -> Iterator[None]:
    """Says what repix logs meanwhile: which models run where, and which levels of videos."""
    log, handler = logging.getLogger("repix"), logging.Handler()
    handler.emit = lambda record: _above_bar(record.getMessage())  # type: ignore[method-assign]
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


def _above_bar(text: str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        say(text, err=True)


def left_out(results: Sequence[Path]) -> str:
    """What a summary says about files that were not taken."""
    return f"{counted(len(results), 'result')} of earlier runs left out"


def _kinds(results: Sequence[Result]) -> str:
    from repix.io.formats import VIDEOS

    videos = sum(result.src.suffix.lower() in VIDEOS for result in results)
    return "images" if not videos else "videos" if videos == len(results) else "images and videos"


def say_summary(summary: Summary, verb: str, seconds: float, run: Run) -> None:
    """One line that says how many, and where they are; then what could not be kept."""
    if run.quiet:
        return
    counts = []
    written = [path for result in summary.done for path in result.written]
    if len(summary.done) == 1:
        counts.append(f"{verb} {summary.done[0].src} in {seconds:.1f} s → {' and '.join(map(str, written))}")
    elif summary.done:
        where = os.path.commonpath([path.parent for path in written]) or "."
        counts.append(f"{verb} {len(summary.done)} {_kinds(summary.done)} in {seconds:.1f} s → {where}{os.sep}")
    if summary.skipped:
        counts.append(
            f"{len(summary.skipped)} already there, made earlier, maybe with other options (--overwrite writes again)"
        )
    if summary.failed:
        counts.append(f"{len(summary.failed)} failed")
    if summary.left_out:
        counts.append(left_out(summary.left_out))
    if summary.unknown:
        counts.append(f"left out: {summary.unknown_in_words}")
    say("; ".join(counts) or "nothing to do")
    for note in summary.notes:
        say(f"note: {note}")
    noted: dict[str, list[Path]] = {}
    for result in summary.done:
        for note in result.notes:
            noted.setdefault(note, []).append(result.src)
    for note, (first, *more) in noted.items():
        whose = f" ({len(more) + 1} of them, first {first.name})" if more else f" ({first.name})"
        say(f"note: {note}" + (whose if len(summary.done) > 1 else ""))
