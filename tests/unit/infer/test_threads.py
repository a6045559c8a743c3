"""Quotas of CPU time, read from written trees of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repix.infer.backends import threads


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # docker --cpus=2, version 2: the container sees its own group as the root
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2.0),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        # a group within groups: the least holds
        (
            {
                "proc/self/cgroup": "0::/user.slice/job\n",
                "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
                "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
        # /proc names the host's path, which the container does not see
        ({"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4.0),
        ({"proc/self/cgroup": "0::/../../other\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4.0),
        # version 1
        (
            {
                "proc/self/cgroup": "12:memory:/docker/x\n5:cpu,cpuacct:/docker/x\n1:name=systemd:/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "5:cpuacct,cpu:/docker/x\n",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "50000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        # both at once, version 2 without the controller
        (
            {
                "proc/self/cgroup": "4:cpu:/x\n0::/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "nonsense\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
        ({}, None),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    assert threads.quota(tree(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("limit", "cores", "expected"), [(None, 8, 8), (2.0, 8, 2), (1.5, 8, 2), (0.5, 8, 1), (9, 8, 8)]
)
def test_a_quota_counts_as_cores(
    monkeypatch: pytest.MonkeyPatch, limit: float | None, cores: int, expected: int
) -> None:
    monkeypatch.setattr(threads, "quota", lambda: limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads.allowed() == expected
    assert threads.wanted() == (None if expected == cores else expected)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.wanted() == 3
