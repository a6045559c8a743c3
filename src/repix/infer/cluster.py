"""Files through a `Restorer` on many machines, with Ray Data: every worker does, and writes, what `infer.images` would.

A worker holds one network and takes files in blocks. Only names and outcomes pass between machines, so inputs, results
and the model must lie where every node finds them under the same path; inputs may also be URLs. A node that dies takes
the blocks that it was at with it, and these are done again elsewhere: results appear whole or not at all, so doing a
file twice is the same as doing it once.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, cast

from repix._types import one_line, require
from repix.errors import BackendError, InputError
from repix.infer.images import restore_jobs
from repix.infer.jobs import Bar, BatchOptions, Found, Job, Plan, Result, Summary, beside, plan, plan_listed
from repix.io.files import atomic, mark_temporaries, remove_temporaries
from repix.io.formats import by_suffix
from repix.weights import find_card, verify

ATTEMPTS = 3
"""So often is a file given to workers that die before they answer."""

_BLOCK = 8  # files: what a dying worker takes with it
_MOST_BLOCKS = 10_000  # more would only burden the scheduler
_STORE_BYTES = 80 * 2**20  # nothing but names and outcomes passes through Ray's object store


class _Task(NamedTuple):
    """A file for a worker; `url` where it has to be fetched first."""

    number: int
    job: Job
    url: str | None


class _Outcome(NamedTuple):
    """What became of it, in how many seconds, on which machine."""

    number: int
    result: Result
    seconds: float
    node: str


def restore_on_ray(
    src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    dst: str | os.PathLike[str] | None = None,
    *,
    address: str | None = None,
    options: BatchOptions | None = None,
    progress: bool = False,
    on_result: Callable[[Result], None] | None = None,
) -> Summary:
    """Restore files and folders on a Ray cluster; like `repix.restore`, where nothing else is said.

    Args:
        src: files, folders and patterns; or URLs of files and folders that fsspec knows, such as `s3://bucket/day1`.
        dst: as for `repix.restore`; URLs need a folder here.
        address: `HOST:PORT` of a running cluster, or `auto` for the one that this machine belongs to; None starts one
            of this machine alone and ends it afterwards.
        options: `model` is a name or a folder, which every node must see. With the device `cuda` there is a worker for
            each GPU; else as many as the cores allow, each with `threads` of them (None: one).
        progress, on_result: as for `repix.restore`.

    Returns:
        What was done, skipped, failed and left out. A file whose worker died `ATTEMPTS` times has failed. The same is
        said by `manifest.jsonl` in the folder of the results, a line for each file: `src`, `dst`, `status`, `seconds`,
        `node`, `message`, `notes`. Lines are added as results come; a later run into the same folder goes on with the
        file.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: nothing can be done as asked.
        WeightsError: no such model, or a damaged one.
        BackendError: the cluster cannot be reached, or its workers cannot start.
    """
    options = options or BatchOptions()
    require("scale")
    inputs = [str(src)] if isinstance(src, str | os.PathLike) else [str(path) for path in src]
    if dst is not None:
        dst = os.path.abspath(dst)
    urls: dict[Path, str] = {}
    if any("://" in name for name in inputs):
        planned, urls = _find_remote(inputs, dst, options)
    else:
        inputs = [os.path.abspath(name) for name in inputs]  # workers have a current folder of their own
        planned = plan(inputs, dst, options=options)
        _refuse_results_over_inputs(planned.jobs)
    jobs, settled = planned.pending(overwrite=options.overwrite)
    model = options.image_model
    if not isinstance(model, str | os.PathLike):
        raise InputError("a cluster's workers load the model themselves; give its name or its folder")
    model = os.path.abspath(model) if os.path.isdir(model) else str(model)
    options = replace(options, model=options.model and model, threads=options.threads or 1)
    verify(*find_card(model))  # a damaged model is better told of before there are workers

    mark = secrets.token_hex(4)
    tasks = [_Task(number, job, urls.get(job.src)) for number, job in enumerate(jobs)]
    summary = Summary(left_out=planned.left_out, notes=planned.notes)
    with (
        _Manifest(_results(inputs, dst) / "manifest.jsonl") as lines,
        contextlib.closing(Bar(len(tasks), enabled=progress)) as bar,
    ):

        def note(result: Result, dst: Path | None = None, *, seconds: float = 0.0, node: str = "") -> None:
            summary.add(result)
            lines.add(result, urls.get(result.src, str(result.src)), dst, seconds, node)
            if on_result is not None:
                on_result(result)

        for result in settled:
            note(result)
        if tasks:
            try:
                with _cluster(address):
                    for outcome in _rounds(tasks, options, mark):
                        job = tasks[outcome.number].job
                        bar.start(job.src)
                        note(outcome.result, job.dst, seconds=outcome.seconds, node=outcome.node)
                        bar.advance(1)
            finally:
                remove_temporaries({task.job.dst.parent for task in tasks}, mark)  # of workers that were killed
    return summary


def _find_remote(inputs: Sequence[str], dst: str | None, options: BatchOptions) -> tuple[Plan, dict[Path, str]]:
    """As `plan`, for URLs; the second gives the URL of each job's `src`, which is only a name."""
    import fsspec

    if dst is None or _names_a_file(dst):
        raise InputError(f"{inputs[0]}: say with -o into which folder the results go; got {dst or 'none'}")
    urls: dict[Path, str] = {}
    found: list[Found] = []
    for url in inputs:
        if "://" not in url:
            raise InputError(f"{url}: URLs and paths cannot be mixed; run them apart")
        try:
            files, root = fsspec.core.url_to_fs(url)
            names = sorted(files.find(root))
        except ImportError as error:
            raise InputError(f"{url}: {error}; it is needed on every node") from error
        except Exception as error:  # each file system has errors of its own
            raise InputError(f"{url} cannot be listed: {one_line(error)}") from error
        before = len(found)
        for name in names:
            inside = PurePosixPath(PurePosixPath(name).relative_to(root) if name != root else PurePosixPath(name).name)
            hidden = any(part.startswith(".") for part in inside.parts)  # and never above the folder of the results
            if by_suffix(inside.name) is not None and not hidden:
                whole = files.unstrip_protocol(name)
                urls[Path(whole)] = whole
                folder = None if name == root else Path(files.unstrip_protocol(root))
                found.append(Found(Path(whole), Path(dst) / inside, inside.stem, folder))
        if len(found) == before:
            raise InputError(f"no images or videos in {url}")
    return plan_listed(found, options=options), urls


def _refuse_results_over_inputs(jobs: Sequence[Job]) -> None:
    """A file may be done twice, and twice derained is not what was asked for."""
    inputs = {os.path.realpath(job.src) for job in jobs}
    for job in jobs:
        if os.path.realpath(job.dst) in inputs:
            raise InputError(f"{job.dst} is an input, which --ray never overwrites; choose another folder with -o")


def _results(inputs: Sequence[str], dst: str | None) -> Path:
    """The folder that all results go to."""
    if dst is not None:
        return Path(dst).parent if _names_a_file(dst) else Path(dst)
    if len(inputs) == 1 and os.path.isdir(inputs[0]):
        return beside(Path(inputs[0]))
    return Path(os.path.commonpath([os.path.dirname(name) for name in inputs]))


def _names_a_file(dst: str) -> bool:
    return by_suffix(dst) is not None and not os.path.isdir(dst)


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A connection to a cluster, or one of this machine for as long as the block lasts; Ray is kept quiet in it."""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    # Ray tells of dying workers on stdout
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        with _without_stderr():
            import ray
            import ray.data
        warnings.simplefilter("ignore")
        own = not ray.is_initialized()
        try:
            if own:
                _join(address)
            if threading.current_thread() is threading.main_thread():  # Ray has put its own in place
                signal.signal(signal.SIGTERM, on_sigterm)
            context = ray.data.DataContext.get_current().copy()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            context.max_errored_blocks = -1  # what was lost is tried again by `_rounds`
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            with ray.data.DataContext.current(context):
                yield
        finally:
            if own:
                ray.shutdown()


def _join(address: str | None) -> None:
    import ray

    where: dict[str, Any] = {"address": address}
    if address is None:
        where = {"address": "local", "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        where["_node_ip_address"] = "127.0.0.1"  # nobody else is to come
    advice = ""
    try:
        if ":" in where["address"]:  # Ray itself would wait for minutes
            host, port = where["address"].rsplit(":", 1)
            socket.create_connection((host, int(port)), timeout=10).close()
            advice = "; if the cluster asks for a token, set RAY_AUTH_MODE=token and bring its ~/.ray/auth_token here"
        with _without_stderr():
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **where)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = getattr(error, "strerror", None) or one_line(error).partition(". ")[0]
        raise BackendError(f"no Ray cluster at {address or 'this machine'}: {reason}{advice}") from error


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Ray's native part tells of its log level, and nothing else turns that off."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _rounds(tasks: Sequence[_Task], options: BatchOptions, mark: str) -> Iterator[_Outcome]:
    """Every task's outcome, once; what died with a worker is done again, then file by file."""
    waiting = {task.number: task for task in tasks}
    trouble: Exception | None = None
    for attempt in range(ATTEMPTS):
        if not waiting:
            return
        try:
            for outcome in _round(list(waiting.values()), options, mark, alone=attempt > 0):
                if waiting.pop(outcome.number, None) is not None:
                    yield outcome
        except BackendError:
            raise
        except Exception as error:  # whatever Ray makes of a node that went
            trouble = error
    if trouble is not None and len(waiting) == len(tasks):
        raise BackendError(f"no worker could start: {_last_line(trouble)}") from trouble
    for task in waiting.values():
        message = f"{task.url or task.job.src}: its worker died {ATTEMPTS} times, perhaps out of memory"
        yield _Outcome(task.number, Result(task.job.src, "failed", message=message), 0.0, "")


def _round(tasks: Sequence[_Task], options: BatchOptions, mark: str, *, alone: bool) -> Iterator[_Outcome]:
    import ray
    import ray.data

    threads, cuda = options.threads or 1, options.device == "cuda"
    cluster: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(cluster.get("GPU", 0))
    if cuda and not gpus:
        raise BackendError("--device cuda, but the cluster has no GPU; see: ray status")
    workers = max(1, gpus if cuda else int(cluster.get("CPU", 0)) // threads)
    size = max(min(_BLOCK, len(tasks) // (4 * workers)), len(tasks) // _MOST_BLOCKS, 1)
    rows = [{"task": pickle.dumps(task)} for task in tasks]
    outcomes = ray.data.from_items(rows, override_num_blocks=len(rows) if alone else -(-len(rows) // size)).map(
        cast(Any, _Worker),
        fn_constructor_args=(options, mark),
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1 if alone else 2),
        num_cpus=threads,
        num_gpus=1 if cuda else 0,
        # Ray's own retries wait for the dead worker's place, which another may have taken
        ray_remote_args_fn=lambda: {"max_task_retries": 0},
    )
    for row in outcomes.iter_rows():
        yield pickle.loads(row["outcome"])


class _Worker:
    """What Ray keeps on the nodes: a network and how to use it."""

    def __init__(self, options: BatchOptions, mark: str) -> None:
        import ray

        mark_temporaries(mark)
        # several nodes may run on one machine
        self._node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"
        self._restorer = options.load()
        self._options = options

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        task: _Task = pickle.loads(row["task"])
        begun = time.perf_counter()
        # a worker that died may have written the result and not lived to tell
        wanted = tuple(path for path in task.job.wanted if self._options.overwrite or not path.exists())
        result = Result(task.job.src, "done", task.job.wanted)
        if wanted:
            try:
                with _fetched(task) as job:
                    (done,) = restore_jobs(self._restorer, [replace(job, wanted=wanted)], options=self._options)
                message = done.message.replace(str(job.src), task.url) if task.url else done.message
                result = replace(done, src=task.job.src, message=message)
            except Exception as error:  # of fetching: each file system has its own
                text = f"{task.url} cannot be fetched: {one_line(error)}"
                result = Result(task.job.src, "failed", message=text)
        outcome = _Outcome(task.number, result, time.perf_counter() - begun, self._node)
        return {"outcome": pickle.dumps(outcome)}


@contextlib.contextmanager
def _fetched(task: _Task) -> Iterator[Job]:
    """The job with its input on this machine."""
    if task.url is None:
        yield task.job
        return
    import fsspec

    with tempfile.TemporaryDirectory(prefix="repix-") as folder:
        files, path = fsspec.core.url_to_fs(task.url)
        local = Path(folder) / PurePosixPath(path).name
        files.get_file(path, str(local))
        yield replace(task.job, src=local)


class _Manifest:
    """A line of JSON for each file: added as it comes, each file once at the end. Torn lines of a crash are dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> _Manifest:
        try:
            if self._path.exists():
                for text in self._path.read_text(encoding="utf-8").splitlines():
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        line = json.loads(text)
                        self._lines[line["src"]] = line
            self._write()
            self._file = self._path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {error.strerror or error}") from error
        return self

    def add(self, result: Result, src: str, dst: Path | None, seconds: float, node: str) -> None:
        """Note a result; one that was there already says nothing new about a file that is known."""
        if result.status == "skipped" and self._lines.get(src, {}).get("status") in ("done", "skipped"):
            return
        line = {"src": src, "dst": str(dst or ""), "status": result.status, "seconds": round(seconds, 3), "node": node}
        self._lines[src] = line | {"message": result.message, "notes": list(result.notes)}
        self._file.write(json.dumps(self._lines[src]) + "\n")
        self._file.flush()

    def _write(self) -> None:
        with atomic(self._path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(line) + "\n" for line in self._lines.values())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._write()


def _last_line(error: Exception) -> str:
    """What a remote traceback says in the end."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
