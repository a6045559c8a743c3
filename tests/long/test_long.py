"""Fuzzing and killing, a little of it here; as much as `.ci/long` asks for by these variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import fuzz
import kill
import pytest


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize(
    ("kind", "variable", "count"), [("images", "REPIX_FUZZ_IMAGES", 150), ("videos", "REPIX_FUZZ_VIDEOS", 15)]
)
def test_damaged_files(make_weight: Callable[..., Path], kind: str, variable: str, count: int) -> None:
    model = make_weight("same", factor=1.0)
    failed = fuzz.run(kind, count=int(os.environ.get(variable, count)), seed=0, first=0, model=model)
    assert failed == []


@pytest.mark.skipif(os.name == "nt", reason="kill -9 by process group")
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", kill.WHAT)
def test_killed_at_any_moment(make_weight: Callable[..., Path], name: str) -> None:
    count = int(os.environ.get("REPIX_KILLS", 2 if name in ("folder", "video") else 0))
    if not count:
        pytest.skip("long: set REPIX_KILLS")
    assert kill.trial(name, count=count, seed=0, model=make_weight("same", factor=1.0)) == []
