"""How many threads a network may use on the CPU."""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST = 1024
"""More threads are refused: an engine that is told to start a hundred thousand never begins."""


def allowed() -> int:
    """Cores that the process may use: those it may run on, and no more than a container's quota of CPU time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def wanted() -> int | None:
    """OMP_NUM_THREADS where it is a number; else the cores that the process may use, where it may not use all.

    None where an engine may count for itself: engines count the machine's cores, not those that a container or taskset
    leaves.
    """
    text = os.environ.get("OMP_NUM_THREADS", "")
    if text.isdigit():
        return min(max(1, int(text)), MOST)
    return allowed() if allowed() < (os.cpu_count() or 1) else None


def quota(root: Path = Path("/")) -> float | None:
    """CPUs' worth of time that Linux' control groups leave the process, as `docker --cpus=1.5` sets it; None: no limit.

    Control groups nest, and the least of their limits holds. Version 2 has one tree with `cpu.max`, version 1 one for
    `cpu` with `cpu.cfs_quota_us` and `cpu.cfs_period_us`.

    Args:
        root: where `proc` and `sys` lie.
    """
    limits = []
    for folder, group in _groups(root):
        here = folder / group.lstrip("/")
        # inside a container /proc may name the group as the host sees it, whose own folder is then the top
        for path in [here, *here.parents] if here.is_dir() else [folder]:
            limit = _limit(path)
            if limit is not None:
                limits.append(limit)
            if path == folder:
                break
    return min(limits, default=None)


def _groups(root: Path) -> list[tuple[Path, str]]:
    """The trees of control groups that limit CPU time, and which group in them is the process's."""
    base = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if ".." in group.split("/"):
            group = "/"
        if number == "0" and not controllers:
            found.append((base, group))
        elif "cpu" in controllers.split(","):
            found += [(base / name, group) for name in (controllers, "cpu") if (base / name).is_dir()][:1]
    return found


def _limit(folder: Path) -> float | None:
    """CPUs that one group's files allow."""
    try:
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text(encoding="ascii").split()[:2]
        else:
            most = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        return int(most) / int(period) if int(most) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None
