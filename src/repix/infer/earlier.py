"""Results of earlier runs, told by their names, so that a run does not take them for inputs."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from repix.errors import InputError
from repix.io.files import read_head
from repix.io.formats import HEAD, IMAGES, REFUSED, Format, by_suffix, sniff

CASE_BLIND = sys.platform in ("win32", "darwin")
"""Whether names that differ by upper and lower case alike are one file."""
COMPARE = "compare"
"""What names of before | after end with."""
_PART = re.compile(r"_(from[\d.]+s|to[\d.]+s|[\d.]+s-[\d.]+s)$")  # `VideoOptions.part`
_MARKS = ("derained", "dry")  # what names of results end with; `dry` in version 0.1


def by_contents(path: Path) -> Format | None:
    """What a file whose name does not say it is by its contents.

    Raises:
        InputError: it cannot be read.
    """
    return sniff(read_head(path, HEAD)) if path.suffix.lower() not in REFUSED and path.is_file() else None


def are_results(found: Sequence[tuple[Path, Path | None]], tag: str) -> list[bool]:
    """Whether each of the files was made by an earlier run of others of them; see `infer.jobs.plan`.

    Args:
        found: a file, and the folder in which it was found; None for a file that was named itself.
        tag: what names of results end with.
    """
    names = _Names(found, tag)
    return [names.is_result(path, root) for path, (_, root) in zip(names.files, found, strict=True)]


class _Spelled(NamedTuple):
    """A path in parts that can be compared: `folder`/`stem`, and image or video."""

    folder: str
    stem: str
    kind: str | None


class _Names:
    """The names of all files of a run, and what they tell of each other."""

    def __init__(self, found: Sequence[tuple[Path, Path | None]], tag: str) -> None:
        self._marks = (*_MARKS, tag)
        self._whole = functools.cache(_whole)
        self._nameless = functools.cache(_nameless)
        self._holds_results = functools.cache(self._find_whether_folder_holds_results)
        self.files = [self._spelled(path) for path, _ in found]
        self._everything = set(self.files)
        self._by_name = {file for file, (_, root) in zip(self.files, found, strict=True) if root is None}
        self._named = {self._whole(path) for path, root in found if root is None}
        self._roots = {self._whole(root) for _, root in found if root is not None}
        self._folders = set(self._roots)
        for folder in {file.folder for file in self.files}:
            while folder not in self._folders:
                self._folders.add(folder)
                folder = os.path.dirname(folder)

    def is_result(self, file: _Spelled, root: Path | None) -> bool:
        """Whether one of `files`, found in the folder `root`, is a result of others."""
        made_of = self._source(file.stem, COMPARE)
        if made_of is not None:
            # of what was named itself, the source must have been named too
            sources = self._by_name if file in self._by_name else self._everything
            if file._replace(stem=made_of) in sources or self._is_of_nameless(file, made_of):
                return True
        return file not in self._by_name and root is not None and self._holds_results(file.folder, self._whole(root))

    def _spelled(self, path: Path) -> _Spelled:
        stem, suffix = os.path.splitext(path.name.casefold() if CASE_BLIND else path.name)
        format = by_suffix(f"_{suffix}")
        return _Spelled(self._whole(os.path.dirname(path)), stem, format.kind if format is not None else None)

    def _source(self, name: str, *others: str) -> str | None:
        """What a result of this name was made of."""
        bare, suffix = os.path.splitext(name)
        name = _PART.sub("", bare if suffix.lower() in IMAGES else name)  # a_derained.gif.png: jobs._told_apart
        for mark in (*self._marks, *others):
            if name.endswith(f"_{mark}") and len(name) > len(mark) + 1:
                return name[: -len(mark) - 1]
        return None

    def _is_of_nameless(self, file: _Spelled, made_of: str) -> bool:
        for path in self._nameless(file.folder).get(made_of, ()):
            if file in self._by_name and self._whole(path) not in self._named:
                continue
            with contextlib.suppress(InputError):
                format = by_contents(path)
                if format is not None and format.kind == file.kind:
                    return True
        return False

    def _find_whether_folder_holds_results(self, folder: str, root: str) -> bool:
        above, name = os.path.split(folder)
        made_of = self._source(name)
        if folder == root or above == folder:  # named itself
            return made_of is not None and os.path.join(above, made_of) in self._roots
        if made_of is not None and (
            os.path.join(above, made_of) in self._folders or os.path.basename(above) == made_of
        ):
            return True
        return self._holds_results(above, root)


def _whole(path: str | Path) -> str:
    path = os.path.abspath(path)
    return path.casefold() if CASE_BLIND else path


def _nameless(folder: str) -> dict[str, list[Path]]:
    """By stem, files of a folder whose names do not say what they are; one that was named itself may be a source."""
    found: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if by_suffix(name) is None:
                stem, _ = os.path.splitext(name.casefold() if CASE_BLIND else name)
                found.setdefault(stem, []).append(Path(folder, name))
    return found
