"""One job at a time, in order: what waits knows its place, and can be cancelled while it waits and while it runs."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal

from repix.errors import RepixError

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class StoppedError(RepixError):
    """The user has cancelled, or has left."""


class Job:
    """A piece of work, and what is known of it.

    Args:
        work: called with the job in the queue's thread; calls `advance` now and then, and gives the result.

    Attributes:
        id: by which its owner, who alone was told it, finds it again.
        state: `waiting`, `running`, `done`, `failed` or `cancelled`; the last three are final.
        fraction: of the work that is done, 0 to 1.
        doing: what it is at, for the page to put in words: `model`; `level` (0 while levels are tried), `tile`,
            `tiles`; `frame`, `frames` (0: not known), `rate`.
        future: of the result; its exception is what went wrong, `StoppedError` where it was cancelled.
        begun, ended: of running; seconds of `time.monotonic`, 0 before.
    """

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.state: State = "waiting"
        self.fraction = 0.0
        self.doing: dict[str, Any] = {}
        self.future: Future[Any] = Future()
        self.begun = self.ended = 0.0
        self._work = work
        self._first: tuple[float, float] | None = None  # time and fraction from which on the speed counts
        self._last = (0.0, 0.0)  # and those of the last advance

    def check(self) -> None:
        """Raise `StoppedError` if the job has been cancelled."""
        if self.is_cancelled:
            raise StoppedError("cancelled")

    def say(self, **doing: Any) -> None:
        """What it is at now, in place of what was said before under the same names."""
        self.doing = self.doing | doing
        if self._first is None and "tile" in doing:
            self._first = time.monotonic(), self.fraction

    def advance(self, fraction: float) -> None:
        """Some more is done: fractions add up to 1. Raises `StoppedError` if the job has been cancelled."""
        self.check()
        self.fraction = min(1.0, self.fraction + fraction)
        self._last = time.monotonic(), self.fraction
        self._first = self._first or self._last

    @property
    def left(self) -> float | None:
        """Seconds until its end at the speed so far, which counts from the first tile or advance on: what comes before,
        such as loading, is of another kind. None where nothing is known yet."""
        (begun, had), (then, has) = self._first or self._last, self._last
        if self.state != "running" or has <= had:
            return None
        return max(0.0, (1 - has) * (then - begun) / (has - had) - (time.monotonic() - then))

    @property
    def is_cancelled(self) -> bool:
        """Whether it has been cancelled."""
        return self.state == "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("waiting", "running")


class JobQueue:
    """Runs jobs one after the other in a thread of its own. A job that is cancelled while it runs is cancelled at once
    for everyone who looks; the next one begins when its work has noticed."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._lock = threading.Condition()
        self._running: Job | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def __len__(self) -> int:
        return len(self._waiting) + (self._running is not None)

    def submit(self, work: Callable[[Job], Any]) -> Job:
        """Put work at the end."""
        job = Job(work)
        with self._lock:
            if self._closing:
                job.state = "cancelled"
                job.future.set_exception(StoppedError("cancelled"))
                return job
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="repix-jobs", daemon=True)
                self._thread.start()
            self._lock.notify()
        return job

    def place(self, job: Job) -> int:
        """How many jobs come before this one; 0 for one that runs or has ended."""
        with self._lock:
            if job not in self._waiting:
                return 0
            return self._waiting.index(job) + (self._running is not None)

    def cancel(self, job: Job) -> None:
        """End a job, whether it waits or runs; one that has ended stays as it is."""
        with self._lock:
            if not job.is_open:
                return
            if job in self._waiting:
                self._waiting.remove(job)
            job.state, job.ended = "cancelled", time.monotonic()
        job.future.set_exception(StoppedError("cancelled"))

    def stop(self) -> None:
        """Cancel everything, and take nothing more."""
        with self._lock:
            self._closing = True
            jobs = [*self._waiting, *([self._running] if self._running is not None else [])]
            self._lock.notify_all()
        for job in jobs:
            self.cancel(job)

    def close(self) -> None:
        """Stop, and wait until the work that runs has noticed: Python must not end while another thread is inside an
        engine, which crashes when its libraries are taken down around it."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    if self._closing:
                        return
                    self._lock.wait()
                job = self._running = self._waiting.popleft()
                job.state, job.begun = "running", time.monotonic()
            result: Any = None
            failure: BaseException | None = None
            try:
                result = job._work(job)
            except BaseException as error:
                failure = error
            with self._lock:
                self._running = None
                if job.is_cancelled:
                    continue
                job.state, job.ended = ("done" if failure is None else "failed"), time.monotonic()
            if failure is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(failure)
