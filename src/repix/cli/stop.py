"""Ending a command that is told to stop: at once where Python can, by force where it is inside native code."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType

from repix.io.files import abandon_temporaries

GRACE = 5.0
"""Seconds that a command has for its own end after the signal."""


def watch_signals() -> None:
    """Let SIGTERM and SIGHUP end the process like Ctrl-C, and within `GRACE` seconds in any case.

    Python runs a signal's handler when the main thread is back from native code, such as a network on a large image;
    that may be long. Python also writes the signal's number to a socket at once, and a thread that waits there counts
    the seconds, removes what is half written and ends the process.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "set_wakeup_fd"):
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signals.append(signal.SIGHUP)
    for number in signals:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

    def in_child() -> None:
        # a worker's signals are its own, and must not end its parent
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
            for number in signals:
                if signal.getsignal(number) is _interrupt:
                    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)
    parent = os.getpid()

    def wait() -> None:
        while True:
            numbers = reading.recv(16)
            found = [number for number in numbers if number in signals]
            if found:
                break
        time.sleep(GRACE)
        if os.getpid() == parent:
            abandon_temporaries()
            with contextlib.suppress(OSError, ValueError):
                os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, b"repix: stopped\n")
            os._exit(128 + found[0])

    writing_end.append(writing)  # kept open as long as the process lives
    threading.Thread(target=wait, name="repix-stop", daemon=True).start()


writing_end: list[socket.socket] = []


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
