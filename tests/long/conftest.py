"""What long tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chromium import launch, start


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for a module."""
    with start() as playwright, launch(playwright) as browser:
        yield browser
