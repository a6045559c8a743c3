"""One job at a time, in order; what is cancelled is cancelled at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from repix.app.queue import Job, JobQueue, StoppedError
from running_app import until


def test_jobs_run_in_order_and_one_at_a_time() -> None:
    queue = JobQueue()
    seen: list[int] = []
    at_once: list[int] = []

    def work(number: int) -> Callable[[Job], int]:
        def run(job: Job) -> int:
            at_once.append(len([1 for one in jobs if one.state == "running"]))
            seen.append(number)
            job.say(model="quick")
            job.advance(0.25)
            return number

        return run

    gate = threading.Event()
    first = queue.submit(lambda job: gate.wait(60))
    jobs = [queue.submit(work(number)) for number in range(20)]
    until(lambda: first.state == "running")
    assert [queue.place(job) for job in (first, jobs[0], jobs[19])] == [0, 1, 20]
    assert len(queue) == 21
    gate.set()
    assert [job.future.result(60) for job in jobs] == list(range(20)) == seen
    assert set(at_once) == {1}
    assert (jobs[3].state, jobs[3].fraction, queue.place(jobs[3])) == ("done", 0.25, 0)
    assert jobs[3].doing == {"model": "quick"}


def test_the_time_left_is_that_of_the_speed_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("repix.app.queue.time.monotonic", lambda: now[0])
    job = Job(lambda job: None)
    job.state, left = "running", []
    # ten seconds to load, the first tenth of the work, and from there on a tenth in two seconds
    for seconds, fraction in ((10, 0.1), (2, 0.1), (4, 0.2), (1, 0)):
        now[0] += seconds
        if fraction:
            job.advance(fraction)
        left.append(job.left)
    assert left == [None, pytest.approx(16), pytest.approx(12), pytest.approx(11)]
    job.state = "done"
    assert job.left is None
    job = Job(lambda job: None)  # of an image: from the first tile on
    job.state = "running"
    job.say(level=1, tile=1, tiles=4)
    now[0] += 3
    job.advance(0.25)
    assert job.left == pytest.approx(9)


def test_what_waits_and_what_runs_is_cancelled_at_once() -> None:
    queue, gate, left = JobQueue(), threading.Event(), []

    def slow(job: Job) -> None:
        gate.wait(60)
        try:
            job.advance(0.1)
        except StoppedError:
            left.append(True)
            raise

    running, waiting, later = queue.submit(slow), queue.submit(slow), queue.submit(lambda job: "later")
    until(lambda: running.state == "running")
    queue.cancel(running)
    queue.cancel(waiting)
    assert (running.state, waiting.state) == ("cancelled", "cancelled")
    for job in (running, waiting):
        with pytest.raises(StoppedError):
            job.future.result(0)
    assert left == []  # neither was waited for
    gate.set()
    assert later.future.result(60) == "later"
    assert left == [True]  # of the running one; the other never began
    queue.cancel(later)
    assert later.state == "done"


def test_an_error_ends_its_job_alone() -> None:
    queue = JobQueue()
    bad, good = queue.submit(lambda job: 1 // 0), queue.submit(lambda job: 1)
    assert good.future.result(60) == 1
    assert bad.state == "failed"
    assert isinstance(bad.future.exception(), ZeroDivisionError)


def test_a_closed_queue_has_let_go_of_its_work() -> None:
    """Python must not end while an engine computes in another thread."""
    queue, gate = JobQueue(), threading.Event()
    running, waiting = (queue.submit(lambda job: gate.wait(60)) for _ in range(2))
    until(lambda: running.state == "running")
    closing = threading.Thread(target=queue.close)
    closing.start()
    until(lambda: waiting.state == "cancelled" and running.state == "cancelled")
    assert closing.is_alive()
    gate.set()
    closing.join(60)
    assert not closing.is_alive()
    with pytest.raises(StoppedError):
        queue.submit(lambda job: None).future.result(60)
    JobQueue().close()  # one that never ran anything
