"""Which files go where: inputs listed, folders mirrored, names that collide reported, files written atomically."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repix.errors import InputError

READABLE = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".gif"}
)
"""File name extensions that are taken for images, in lower case."""

WRITABLE = READABLE - {".heic", ".heif", ".gif"}
"""Extensions that an image can be written as."""

VIDEOS_WRITABLE = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Extensions that a video can be written as."""

VIDEOS = VIDEOS_WRITABLE | {".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv", ".flv", ".3gp", ".ogv"}
"""File name extensions that are taken for videos, in lower case."""

# Matroska holds the sound and subtitles of every other container as they are
_WRITTEN_AS = {".heic": ".jpg", ".heif": ".jpg", ".gif": ".png"} | dict.fromkeys(VIDEOS - VIDEOS_WRITABLE, ".mkv")
# what smears the flat colours of a label map
_LOSSLESS_AS = dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".avif", ".heic", ".heif", ".gif"), ".png")
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
                raise InputError(f"no images{' or films' if films else ''} in {path} (looked for {_listed(known)})")
        elif not path.is_file():
            failed.append((path, "no such file or folder" if not path.exists() else "not a regular file"))
        elif out_file is not None:
            found.append((path, out_file, out_file.stem))
        elif out is not None:
            found.append((path, out / path.name, path.stem))
        else:
            found.append((path, path.with_name(f"{path.stem}_{tag}{path.suffix}"), path.stem))
    if lossless and suffix is None:
        found = [
            (src, dst.with_suffix(_LOSSLESS_AS.get(dst.suffix.lower(), dst.suffix)), stem) for src, dst, stem in found
        ]
    return _settle(found, failed, suffix, named=out_file is not None, compare=compare, overwrite=overwrite, films=films)


def plan_listed(
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
    _check_writable(kept)
    return Plan(kept, failed)


def _job(src: Path, dst: Path, stem: str, suffix: str | None, *, named: bool, compare: bool, films: bool) -> Job | str:
    """What becomes of one file that is to go to `dst` or, unless the user `named` that, to `dst` of another kind."""
    known = READABLE | VIDEOS if films else READABLE
    own = dst.suffix.lower()
    if src.suffix.lower() not in known and suffix is None:
        return f"not a {'picture or film' if films else 'picture'} that repix knows by its extension ({_listed(known)})"
    is_film = films and (
        src.suffix.lower() in VIDEOS or (src.suffix.lower() not in READABLE and suffix in VIDEOS_WRITABLE)
    )
    if suffix is not None and (suffix in VIDEOS_WRITABLE) == is_film:
        if not named:
            dst = dst.with_suffix(suffix)
    elif named and suffix is not None:
        return f"cannot be written as {suffix}; choose one of {_listed(VIDEOS_WRITABLE if is_film else WRITABLE)}"
    elif own in _WRITTEN_AS:
        dst = dst.with_suffix(_WRITTEN_AS[own])
    return Job(src, dst, dst.with_name(f"{stem}_compare{dst.suffix}") if compare and not is_film else None)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Args:
        path: the file to write; folders above it are made.

    Yields:
        A name beside it to write to. It takes `path`'s place when the block ends, and is removed when it fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".repix-{_mark}{secrets.token_hex(6)}.tmp"
    try:
        yield temporary
        with temporary.open("r+b") as file:  # a result must not vanish in a power cut after its input was replaced
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


_mark = ""


def mark_temporaries(mark: str) -> None:
    """Begin this process's temporary names with a mark, so that what it leaves when it is killed can be found."""
    global _mark
    _mark = f"{mark}-"


def remove_temporaries(folders: Iterable[Path], mark: str) -> None:
    """Remove what processes of that mark left in some folders."""
    for folder in folders:
        for left in folder.glob(f".repix-{mark}-*.tmp"):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)


def _checked_suffix(format: str | None, *, films: bool) -> str | None:
    if format is None:
        return None
    suffix = "." + format.lower().lstrip(".")
    if films and suffix in VIDEOS:
        if suffix not in VIDEOS_WRITABLE:
            raise InputError(f"cannot write {format!r} videos; choose one of {_listed(VIDEOS_WRITABLE)}")
    elif suffix not in WRITABLE:
        raise InputError(f"cannot write {format!r} images; choose one of {_listed(WRITABLE)}")
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


def _check_writable(jobs: list[Job]) -> None:
    """Try the nearest existing folder above every result: an hour's work must not end in "permission denied"."""
    tried: set[Path] = set()
    for folder in dict.fromkeys(job.dst.parent for job in jobs):
        existing = folder
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if existing in tried:
            continue
        tried.add(existing)
        if not existing.is_dir():
            raise InputError(f"cannot write to {folder}: {existing} is a file, not a folder; choose another -o")
        probe = existing / f".repix-{secrets.token_hex(6)}.tmp"
        try:
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise InputError(f"cannot write to {existing}: {error.strerror}; choose another folder with -o") from error


def _key(path: Path) -> str:
    """One text for one file, however it is spelled."""
    whole = os.path.realpath(path)
    return whole.casefold() if _CASE_BLIND else whole


def _listed(suffixes: frozenset[str]) -> str:
    return ", ".join(sorted(suffixes))
