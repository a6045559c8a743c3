"""The folder of data sets that some tests measure on: REPIX_DATA, or `../shared/data` beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from repix._environment import data_folder

DATA = data_folder(Path(__file__).parents[1]) or Path("REPIX_DATA-is-not-set")


def needs(*parts: str) -> pytest.MarkDecorator:
    """Skips a test where the data folder has no such file or folder."""
    path = DATA.joinpath(*parts)
    return pytest.mark.skipif(not path.exists(), reason=f"no {'/'.join(parts)} in REPIX_DATA")
