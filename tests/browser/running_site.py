"""A web UI that runs in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Site:
    """A running web UI.

    Attributes:
        url: its address, with a slash at the end.
        files: the folder in which its temporary files lie.
        weights: name -> folder of those it was given beside the shipped ones.
    """

    url: str
    files: Path
    weights: dict[str, Path]

    def results(self, name: str) -> list[Path]:
        """Files of that name which the web UI has made or been given."""
        return list(self.files.rglob(name))
