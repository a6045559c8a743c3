"""`repix` in a process of its own: for rights, full disks and signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def process(arguments: list[str], folder: Path, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """`repix` in a process of its own, after `prelude`, whose own messages are not returned."""
    script = f"""
import os, sys
stderr = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
{prelude}
os.dup2(stderr, 2)
from repix.cli import main
main(sys.argv[1:])"""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


def stopped_at(call: int, signal: str) -> str:
    """A prelude that sends the process a signal in its n-th call of the network."""
    return f"""
import os, signal, repix.infer.restorer as restorer
real = restorer.restore_levels
calls = []
def stopping(*args, **kwargs):
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.{signal})
    return real(*args, **kwargs)
restorer.restore_levels = stopping
"""
