"""Which files go where: inputs listed, folders mirrored, names that collide reported, files written atomically."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repix.errors import InputError
from repix.io.files import atomic as atomic
from repix.io.files import check_writable
from repix.io.files import mark_temporaries as mark_temporaries
from repix.io.files import remove_temporaries as remove_temporaries
from repix.io.formats import IMAGES, IMAGES_WRITABLE, VIDEOS, VIDEOS_WRITABLE, listed, result_suffix

READABLE, WRITABLE = IMAGES, IMAGES_WRITABLE
_CASE_BLIND = sys.platform in ("win32", "darwin")


@dataclass(frozen=True)
class Job:
    """One image or video to read and what is written for it.

    Attributes:
        src: the image or video.
        dst: the result.
        compare: the before|after image, or None; always None for a video.
    """

    src: Path
    dst: Path
    compare: Path | None = None

    @property
    def is_film(self) -> bool:
        """Whether this is a video, by the name of the result."""
        return self.dst.suffix.lower() in VIDEOS_WRITABLE


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        jobs: in the order in which they run; no two write the same file.
        failed: inputs that can be refused by their name, with the reason.
    """

    jobs: list[Job]
    failed: list[tuple[Path, str]]


def plan(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    *,
    format: str | None = None,
    compare: bool = False,
    overwrite: bool = False,
    films: bool = False,
    tag: str = "dry",
    lossless: bool = False,
) -> Plan:
    """Decide every output name before any work is done.

    Args:
        inputs: files, folders (searched recursively; names that start with a dot are left out) and patterns that the
            shell did not expand.
        output: a folder, in which a folder given as input is mirrored; or a file name, for one input file; or None:
            `NAME_<tag>.EXT` beside a file, and a folder `DIR_<tag>` beside a folder.
        format: extension to write, such as `png`; None keeps each image's own (`.heic` becomes `.jpg`). With videos
            it is for the images or, such as `mkv`, for the videos.
        compare: plan `NAME_compare.EXT` beside each result too.
        overwrite: whether a result may take the place of an input.
        videos: whether videos are taken too; not only images.
        tag: what results are called where nobody named them.
        lossless: without a `format`, results of images in a format that loses colours are written as PNG.

    Returns:
        The plan. A file that two inputs name, or that is another input's result, is taken once or not at all.

    Raises:
        InputError: two inputs would share an output name, a result would overwrite an input unasked, an unknown
            format, no image at all, or an output that cannot be written.
    """
    known = READABLE | VIDEOS if films else READABLE
    suffix = _checked_suffix(format, films=films)
    out = Path(output) if output is not None else None
    out_file = out if out is not None and not out.is_dir() and out.suffix.lower() in known else None
    if out_file is not None:
        named_suffix = _checked_suffix(out_file.suffix, films=films)
        if suffix not in (None, named_suffix):
            raise InputError(f"{out_file} and --format {format} contradict each other; leave one out")
        suffix = named_suffix
    failed: list[tuple[Path, str]] = []
    named = [path for name in inputs for path in _expand(name)]
    if out_file is not None and (len(named) != 1 or named[0].is_dir()):
        raise InputError(f"{out_file} names one file, but the input is not one file; give a folder with -o")
    found: list[tuple[Path, Path, str]] = []
    for path in named:
        if path.is_dir():
            target = out if out is not None else beside(path, tag)
            files = list(_walk(path, known, leave_out=target, failed=failed))
            found += [(file, target / file.relative_to(path), file.stem) for file in files]
            if not files and len(named) == 1 and not failed:
                raise InputError(f"no images{' or films' if films else ''} in {path} (looked for {listed(known)})")
        elif not path.is_file():
            failed.append((path, "no such file or folder" if not path.exists() else "not a regular file"))
        elif out_file is not None:
            found.append((path, out_file, out_file.stem))
        elif out is not None:
            found.append((path, out / path.name, path.stem))
        else:
            found.append((path, path.with_name(f"{path.stem}_{tag}{path.suffix}"), path.stem))
    if lossless and suffix is None:
        found = [(src, dst.with_suffix(result_suffix(dst.suffix, exact=True)), stem) for src, dst, stem in found]
    return _settle(found, failed, suffix, named=out_file is not None, compare=compare, overwrite=overwrite, films=films)


def planlisted(
    found: Sequence[tuple[Path, Path]],
    *,
    format: str | None = None,
    compare: bool = False,
    overwrite: bool = False,
    films: bool = False,
) -> Plan:
    """As `plan`, for files that lie elsewhere and were listed there: a name for each, and its result's."""
    suffix = _checked_suffix(format, films=films)
    stems = [(src, dst, dst.stem) for src, dst in found]
    return _settle(stems, [], suffix, named=False, compare=compare, overwrite=overwrite, films=films)


def _settle(
    found: Sequence[tuple[Path, Path, str]],
    failed: list[tuple[Path, str]],
    suffix: str | None,
    *,
    named: bool,
    compare: bool,
    overwrite: bool,
    films: bool,
) -> Plan:
    jobs: dict[str, Job] = {}
    for src, dst, stem in found:
        job = _job(src, dst, stem, suffix, named=named, compare=compare, films=films)
        if isinstance(job, Job):
            jobs.setdefault(_key(src), job)
        else:
            failed.append((src, job))
    kept = _without_collisions(list(jobs.values()), overwrite=overwrite)
    check_writable(job.dst.parent for job in kept)
    return Plan(kept, failed)


def _job(src: Path, dst: Path, stem: str, suffix: str | None, *, named: bool, compare: bool, films: bool) -> Job | str:
    """What becomes of one file that is to go to `dst` or, unless the user `named` that, to `dst` of another kind."""
    known = READABLE | VIDEOS if films else READABLE
    if src.suffix.lower() not in known and suffix is None:
        return f"not a {'picture or film' if films else 'picture'} that repix knows by its extension ({listed(known)})"
    is_film = films and (
        src.suffix.lower() in VIDEOS or (src.suffix.lower() not in READABLE and suffix in VIDEOS_WRITABLE)
    )
    if suffix is not None and (suffix in VIDEOS_WRITABLE) == is_film:
        if not named:
            dst = dst.with_suffix(suffix)
    elif named and suffix is not None:
        return f"cannot be written as {suffix}; choose one of {listed(VIDEOS_WRITABLE if is_film else WRITABLE)}"
    else:
        dst = dst.with_suffix(result_suffix(dst.suffix))
    return Job(src, dst, dst.with_name(f"{stem}_compare{dst.suffix}") if compare and not is_film else None)


def _checked_suffix(format: str | None, *, films: bool) -> str | None:
    if format is None:
        return None
    suffix = "." + format.lower().lstrip(".")
    if films and suffix in VIDEOS:
        if suffix not in VIDEOS_WRITABLE:
            raise InputError(f"cannot write {format!r} videos; choose one of {listed(VIDEOS_WRITABLE)}")
    elif suffix not in WRITABLE:
        raise InputError(f"cannot write {format!r} images; choose one of {listed(WRITABLE)}")
    return suffix


def _expand(name: str | os.PathLike[str]) -> list[Path]:
    """A path as it is, or what an unexpanded pattern matches (Windows shells leave that to the program)."""
    path = Path(name)
    if path.exists() or not glob.has_magic(str(name)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(name), recursive=True))] or [path]


def _walk(folder: Path, known: frozenset[str], *, leave_out: Path, failed: list[tuple[Path, str]]) -> Iterator[Path]:
    """Files of known kinds below a folder, in the order of their names, without an output folder that lies inside."""
    out = leave_out.resolve()
    same = out == folder.resolve()

    def cannot(error: OSError) -> None:
        failed.append((Path(error.filename), f"cannot be read: {error.strerror}"))

    for root, folders, files in os.walk(folder, onerror=cannot):
        here = Path(root)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and (same or (here / n).resolve() != out))
        for name in sorted(files):
            # macOS leaves "._photo.jpg" beside "photo.jpg" on foreign disks: no image
            if Path(name).suffix.lower() in known and not name.startswith("."):
                yield here / name


def beside(folder: Path, tag: str = "dry") -> Path:
    """Where results go that nobody named a place for: a folder, to `DIR_<tag>`."""
    whole = folder.resolve()
    if not whole.name:
        raise InputError(f"{folder} has no folder above it to write to; say where with -o")
    named = folder if folder.name not in ("", "..") else whole  # as the user wrote it, where that has a name
    return named.with_name(f"{named.name}_{tag}")


def _without_collisions(jobs: list[Job], *, overwrite: bool) -> list[Job]:
    made: dict[str, Path] = {}
    for job in jobs:
        for path in (job.dst, job.compare):
            other = job.src if path is None else made.setdefault(_key(path), job.src)
            if other != job.src:
                raise InputError(
                    f"{other} and {job.src} would both be written to {path}; rename one, run them apart, or choose "
                    "another --format; nothing was done"
                )
    # what this run makes from another input is no input: `repix derain *.jpg` a second time
    kept = [job for job in jobs if made.get(_key(job.src), job.src) == job.src]
    inputs = {_key(job.src) for job in kept}
    for job in kept:
        for path in (job.dst, job.compare):
            if path is not None and _key(path) in inputs and not overwrite:
                raise InputError(f"{path} is an input and would be overwritten; choose another -o, or say --overwrite")
    return kept


def _key(path: Path) -> str:
    """One text for one file, however it is spelled."""
    whole = os.path.realpath(path)
    return whole.casefold() if _CASE_BLIND else whole
