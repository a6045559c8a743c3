"""Ending a command that is told to stop: at once where Python can, by force where it is inside native code."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

from repix._environment import STOP_SIGNALS
from repix.io.files import abandon_temporaries

GRACE = 5.0
"""Seconds that a command has for its own end after the signal."""

_grace = GRACE


def allow_for_end(seconds: float) -> None:
    """Give the command that runs more time than `GRACE`, in seconds, for its own end."""
    global _grace
    _grace = seconds


@contextlib.contextmanager
def watched_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the process like Ctrl-C while the block runs, and within `GRACE` seconds in any
    case, or those of `allow_for_end`.

    Python runs a signal's handler when the main thread is back from native code, such as a network on a large image;
    that may be long. Python also writes the signal's number to a socket at once, and a thread that waits there counts
    the seconds, removes what is half written and ends the process. It does so after the block too, since what Python
    does at its end may wait for native code as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    allow_for_end(GRACE)
    # nohup ignores SIGHUP
    watched = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in watched}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    fd_before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    came = threading.Event()
    threading.Thread(target=_end_in_time, args=(reading, came), name="repix-stop", daemon=True).start()
    try:
        yield
    finally:
        if not came.is_set():
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            writing.close()


def _end_in_time(reading: socket.socket, came: threading.Event) -> None:
    with reading:  # until the end: the signals that follow are written to it too
        while numbers := reading.recv(16):
            found = [number for number in numbers if number in STOP_SIGNALS]
            if found:
                break
        else:
            return  # the block has ended
        came.set()
        time.sleep(_grace)
        abandon_temporaries()
        with contextlib.suppress(OSError):
            os.write(2, b"repix: stopped\n")
        os._exit(128 + found[0])


def _in_child() -> None:
    """A worker's signals are its own, and must not end its parent."""
    with contextlib.suppress(ValueError):
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is _interrupt:
                signal.set_wakeup_fd(-1)
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
