"""How many threads a network may use on the CPU."""

from __future__ import annotations

import os


def allowed() -> int:
    """Cores that the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wanted() -> int | None:
    """OMP_NUM_THREADS where it is a number; else the cores that the process may use, where it may not use all.

    None where an engine may count for itself: engines count the machine's cores, not those that a container or taskset
    leaves.
    """
    text = os.environ.get("OMP_NUM_THREADS", "")
    if text.isdigit():
        return max(1, int(text))
    return allowed() if allowed() < (os.cpu_count() or 1) else None
