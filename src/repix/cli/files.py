"""What commands that run a model over files and folders do around it: load, work, say what was done."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repix.cli.output import command, say
from repix.cli.summary import say_plan, say_result, say_summary, saying_log, saying_results
from repix.errors import InputError, WeightsError, counted

if TYPE_CHECKING:
    from repix.cli.options import Run
    from repix.infer.jobs import BatchOptions, Result, Summary
    from repix.tasks import Task

_Y4M = b"YUV4MPEG2"


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
            f"type: {command(card.task.verb, 'PATH', '--model', model)}"
        )


def run_over_files(
    paths: Sequence[str],
    output: str | None,
    options: BatchOptions,
    task: Task,
    run: Run,
    *,
    address: str | None = None,
) -> None:
    """Do the work, say what was done, and exit with 1 where a file failed.

    Args:
        paths: files, folders and patterns; `-` alone for standard input.
        output: where results go; `-` for standard output.
        options: what is asked for.
        task: of the model.
        run: how much is said, and whether anything is done.
        address: of a Ray cluster, empty for this machine; None for no cluster.
    """
    if run.dry:
        say_plan(paths, output, options, run)
        return
    with saying_log() if run.verbose else contextlib.nullcontext():
        if "-" in (*paths, output):
            _through_streams(paths, output, options, task, run)
            return
        begun = time.perf_counter()
        with saying_results(task.done, run) as on_result:
            summary = _work(paths, output, options, run, on_result, address)
    say_summary(summary, task.done, time.perf_counter() - begun, run)
    if summary.failed:
        raise click.exceptions.Exit(1)


def _work(
    paths: Sequence[str],
    output: str | None,
    options: BatchOptions,
    run: Run,
    on_result: Callable[[Result], None],
    address: str | None = None,
) -> Summary:
    if address is None:
        from repix.infer.images import restore

        return restore(paths, output, options=options, progress=not run.quiet, on_result=on_result)
    from repix.infer.cluster import restore_on_ray

    return restore_on_ray(
        paths, output, address=address or None, options=options, progress=not run.quiet, on_result=on_result
    )


def _through_streams(paths: Sequence[str], output: str | None, options: BatchOptions, task: Task, run: Run) -> None:
    """One image or video from standard input, to standard output, or both."""
    from repix.infer.jobs import Naming, plan
    from repix.io.stream import begin_input, check_output, read_input, temporary_folder, write_output

    if len(paths) != 1 or os.path.isdir(paths[0]):
        raise InputError("- stands for one image or video; give nothing else beside it")
    begun = time.perf_counter()
    to_stream = output in (None, "-")
    if to_stream:
        if options.compare:
            raise InputError("--compare writes a second file, and standard output takes one; name the result with -o")
        check_output()
    head = begin_input(len(_Y4M)) if paths[0] == "-" else b""
    if head == _Y4M or options.video.raw is not None:
        _through_pipe(None if output in (None, "-") else Path(output or ""), head, options, task, run)
        return
    with temporary_folder() as folder:
        source = read_input(folder, head=head) if paths[0] == "-" else Path(paths[0])
        target = Path(output or "")
        if to_stream:
            jobs = plan([source], folder / "made", options=options, naming=Naming.of(options.card)).jobs
            target = folder / f"standard-output{(jobs[0].dst if jobs else source).suffix}"
        streams = {source: "standard input", target: "standard output"}
        called = {path: words for path, words in streams.items() if path.parent == folder}
        on_result = functools.partial(say_result, run=run._replace(called=called))
        summary = _work([str(source)], str(target), options, run, on_result)
        if summary.failed:
            raise click.exceptions.Exit(1)
        if to_stream:
            write_output(target)
        if not run.quiet:
            for result in summary.done:  # one
                where = " and ".join(str(called.get(path, path)) for path in result.written)
                said = called.get(source, source)
                say(f"{task.done} {said} in {time.perf_counter() - begun:.1f} s → {where}", err=to_stream)
                for note in (*summary.notes, *result.notes):
                    say(f"note: {note}", err=to_stream)


def _through_pipe(output: Path | None, head: bytes, options: BatchOptions, task: Task, run: Run) -> None:
    """Frames from standard input as they come, to standard output or into a file."""
    from repix.infer.video import restore_pipe
    from repix.io.y4m import PipeReader, RawVideo

    begun = time.perf_counter()
    if not task.takes_video:
        raise InputError(f"standard input is a video; repix {task.verb} takes images")
    raw = RawVideo.parse(options.video.raw) if options.video.raw is not None else None
    restorer = options.load_for_video()
    source = PipeReader(sys.stdin.buffer, raw=raw, head=head, max_pixels=options.max_pixels)
    notes: tuple[str, ...] = ()
    try:
        count, notes = restore_pipe(restorer, source, output or sys.stdout.buffer, options=options)
        said = counted(count, "frame")
    except BrokenPipeError:
        said = "frames until nobody read them any more"
    if not run.quiet:
        where = output or "standard output"
        say(f"{task.done} {said} in {time.perf_counter() - begun:.1f} s → {where}", err=output is None)
        for note in notes:
            say(f"note: {note}", err=output is None)
