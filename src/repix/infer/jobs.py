"""What a run over files is asked for, what there is to do, and what became of it."""

from __future__ import annotations

import glob
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, NamedTuple

from repix._types import within
from repix.errors import InputError
from repix.infer.earlier import CASE_BLIND, COMPARE, are_results, by_contents
from repix.infer.pyramid import Levels, check_levels
from repix.infer.restorer import Quality, Restorer, Strength, check_strength
from repix.io.files import EMPTY_NAME, check_regular, check_writable, resolved
from repix.io.formats import (
    IMAGES,
    IMAGES_WRITABLE,
    REFUSED,
    VIDEOS,
    VIDEOS_WRITABLE,
    Format,
    by_suffix,
    listed,
    names,
    result_suffix,
)
from repix.io.image import MAX_PIXELS
from repix.io.inventory import Difference, has_alpha
from repix.tasks import DERAIN, Task
from repix.weights import DEFAULT_MODEL, VIDEO_MODEL, ModelCard, find_card, is_shipped

_LONGEST_NAME = 255


# ---- what is asked for


@dataclass(frozen=True)
class VideoOptions:
    """What videos can be asked for beyond images.

    Attributes:
        start: leave out what comes before, in seconds from the video's beginning.
        end: leave out what comes from here on.
        codec: h264, h265, vp9 or av1; None takes h264, h265 for more than 8 bits, and vp9 in webm.
        crf: constant rate factor on that codec's scale, 0 is the best; None takes what looks like the original.
        deflicker: calm flicker with the neighbouring frames.
        raw: what frames on standard input are, where they do not say it: `WxH@FPS:PIXFMT`.
    """

    start: float | None = None
    end: float | None = None
    codec: str | None = None
    crf: float | None = None
    deflicker: bool = False
    raw: str | None = None

    @property
    def part(self) -> str:
        """What names of results say of `start` and `end`: a trial of some seconds is not the whole video."""
        if self.start is None:
            return "" if self.end is None else f"_to{self.end:g}s"
        return f"_from{self.start:g}s" if self.end is None else f"_{self.start:g}s-{self.end:g}s"


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What a run over files is asked for.

    Attributes:
        model: name of a shipped model, a model's folder, or a `Restorer`; the next five are for loading the first two.
            None takes `repixnet`, and for videos `repixnet-video`, which sees the frame before too.
        device: `auto`, `cpu`, `openvino`, `cuda`, `coreml` or `directml`.
        threads: threads on the CPU; None takes what the process may use.
        quality: `draft`, `fast`, or `best` for four times the time; see `repix.infer.restorer.Quality`.
        levels: of the pyramid: `auto`, or which run in which order.
        size: shorter side at which the network works; None takes the model's, 0 every image as it is.
        strength: 0 (as it was) to 1; `auto`, for images only, does less where what was found may not be rain.
        compare: write `NAME_compare.EXT`, before | after in one image or video, beside each result too.
        format: extension to write, such as `png` or, for videos, `mkv`; None keeps each file's own, but label maps
            become PNG where that would change their colours.
        overwrite: write results that are already there again, and inputs where the output says so.
        force: overwrite an input even where that destroys what it holds beside its image (a gain map, a video).
        times: give results the times of their inputs.
        max_pixels: larger images and frames are refused from their header.
        video: what is asked for videos.

    Raises:
        InputError: a strength that is neither within [0, 1] nor `auto`, levels that are no powers of two, or a value of
            another type.
    """

    model: str | os.PathLike[str] | Restorer | None = None
    device: str = "auto"
    threads: int | None = None
    quality: Quality = "fast"
    levels: Levels = "auto"
    size: int | None = None
    strength: Strength = 1.0
    compare: bool = False
    format: str | None = None
    overwrite: bool = False
    force: bool = False
    times: bool = True
    max_pixels: int = MAX_PIXELS
    video: VideoOptions = VideoOptions()

    def __post_init__(self) -> None:
        check_strength(self.strength)
        check_levels(self.levels)
        if not isinstance(self.video, VideoOptions):
            raise InputError(f"video must be a repix.VideoOptions, got {self.video!r}")
        if not isinstance(self.format, str | None):
            raise InputError(f"format must be an extension such as 'png', or None, got {self.format!r}")
        if not within(self.max_pixels, 1, math.inf):
            raise InputError(f"max_pixels must be a number of pixels, at least 1, got {self.max_pixels!r}")

    @property
    def image_model(self) -> str | os.PathLike[str] | Restorer:
        """What restores images."""
        return DEFAULT_MODEL if self.model is None else self.model

    @property
    def card(self) -> ModelCard | None:
        """The card of what restores images; None for a network without one.

        Raises:
            WeightsError: no such model.
        """
        model = self.image_model
        return find_card(model)[0] if isinstance(model, str | os.PathLike) else model.card

    @property
    def video_model(self) -> str | os.PathLike[str] | Restorer:
        """What restores videos: where nobody named a model, the one for videos. Quality `best`, which mirrors images,
        is for those that see each frame alone."""
        is_free = self.model is None and self.quality != "best" and is_shipped(VIDEO_MODEL)
        return VIDEO_MODEL if is_free else self.image_model

    def load(self) -> Restorer:
        """The restorer of images.

        Raises:
            WeightsError, InputError, BackendError: as `Restorer.from_pretrained`.
        """
        return self._load(self.image_model)

    def load_for_video(self, restorer: Restorer | None = None) -> Restorer:
        """The restorer of videos; see `video_model`.

        Args:
            restorer: that of images, where it is loaded already.

        Raises:
            WeightsError, InputError, BackendError: as `Restorer.from_pretrained`.
        """
        model = self.video_model
        return restorer if restorer is not None and model == self.image_model else self._load(model)

    def _load(self, model: str | os.PathLike[str] | Restorer) -> Restorer:
        if not isinstance(model, str | os.PathLike):
            return model
        return Restorer.from_pretrained(
            model,
            self.device,
            threads=self.threads,
            size=self.size,
            quality=self.quality,
            levels=self.levels,
        )


class Naming(NamedTuple):
    """How results are called, which depends on the model.

    Attributes:
        tag: `NAME_<tag>.EXT` is a file's result where nobody named one, `DIR_<tag>` a folder's.
        takes_video: whether videos are taken too; not only images.
        exact: whether colours have a meaning, as a label map's: formats that change them become PNG.
    """

    tag: str = DERAIN.result_suffix(None)
    takes_video: bool = True
    exact: bool = False

    @classmethod
    def of(cls, card: ModelCard | None) -> Naming:
        """Of what a model makes; None for a network without a card."""
        task: Task = card.task if card is not None else DERAIN
        name = card.name if card is not None else None
        return cls(task.result_suffix(name), task.takes_video, card is not None and card.palette is not None)


# ---- what there is to do


@dataclass(frozen=True)
class Job:
    """One image or video to read and what is written for it.

    Attributes:
        src: the image or video.
        dst: the result.
        compare: the before | after image or video, or None.
        wanted: those of both that are to be written: not those already there.
    """

    src: Path
    dst: Path
    compare: Path | None = None
    wanted: tuple[Path, ...] = ()

    @property
    def is_video(self) -> bool:
        """Whether this is a video, by the name of the result."""
        return self.dst.suffix.lower() in VIDEOS_WRITABLE


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        jobs: in the order in which they run; no two write the same file.
        failed: inputs that can be refused by their name, with the reason.
        left_out: files that are results of earlier runs.
        unknown: how many files of folders were left out by their extension.
        notes: what was asked for and does nothing here, and results that are called otherwise; one sentence each.
    """

    jobs: list[Job]
    failed: list[tuple[Path, str]]
    left_out: list[Path]
    unknown: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    @property
    def unknown_in_words(self) -> str:
        """What `unknown` says: `12 .nef (camera RAW: develop it first), 3 .txt`."""
        return _counted(self.unknown)

    def pending(self, *, overwrite: bool) -> tuple[list[Job], list[Result]]:
        """The jobs with something still to be written, and what is settled: failed by its name, or already there."""
        settled = [Result(path, "failed", message=f"{path}: {reason}") for path, reason in self.failed]
        jobs = []
        for job in self.jobs:
            paths = (job.dst, job.compare)
            wanted = tuple(path for path in paths if path is not None and (overwrite or not os.path.exists(path)))
            if wanted:
                jobs.append(replace(job, wanted=wanted))
            else:
                message = f"{job.dst} is already there; --overwrite writes it again, -o names another"
                settled.append(Result(job.src, "skipped", message=message))
        return jobs, settled


class Found(NamedTuple):
    """A file that may become a job.

    Attributes:
        src: the file.
        dst: its result, which may still get another extension.
        stem: what `NAME_compare` is made from.
        root: the folder in which it was found; None for a file that was named itself.
    """

    src: Path
    dst: Path
    stem: str
    root: Path | None


def plan(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    *,
    options: BatchOptions | None = None,
    naming: Naming | None = None,
) -> Plan:
    """Decide every output name before any work is done.

    Results of earlier runs are no inputs: a file `NAME_derained.*`, `NAME_dry.*`, `NAME_compare.*` or `NAME_<tag>.*`
    whose source `NAME.*` lies beside it (by its name, or by its contents where the name does not say what it is), and a
    folder `DIR_derained` beside or inside `DIR`, are left out. A file that is named itself is taken, unless its source
    is named too, as by a pattern.

    Args:
        inputs: files, folders (searched recursively; names that start with a dot are left out) and patterns that the
            shell did not expand.
        output: a folder, in which a folder given as input is mirrored; or a file name, for one input file; or None:
            `NAME_<tag>.EXT` beside a file, and a folder `DIR_<tag>` beside a folder.
        options: `format`, `compare` and `overwrite` count here. With videos a `format` is for the images or, such as
            `mkv`, for the videos.
        naming: how results are called.

    Returns:
        The plan. A file that two inputs name, or that is another input's result, is taken once or not at all.

    Raises:
        InputError: two inputs would share an output name, a result would overwrite an input unasked, an unknown
            format, no image at all, or an output that cannot be written.
    """
    options, naming = options or BatchOptions(), naming or Naming()
    known = _known(naming)
    if "" in inputs or output == "":  # which pathlib would take for the current folder
        raise InputError(EMPTY_NAME)
    named = [path for name in inputs for path in expand(name)]
    suffix = _checked_suffix(options.format, naming, named)
    out = Path(output) if output is not None else None
    out_file = out if out is not None and not out.is_dir() and out.suffix.lower() in known else None
    if out_file is not None:
        named_suffix = _checked_suffix(out_file.suffix, naming, named)
        if suffix not in (None, named_suffix):
            raise InputError(f"{out_file} and --format {options.format} contradict each other; leave one out")
        suffix = named_suffix
    failed: list[tuple[Path, str]] = []
    unknown: Counter[str] = Counter()
    if out_file is not None and (len(named) != 1 or named[0].is_dir()):
        raise InputError(f"{out_file} names one file, but the input is not one file; give a folder with -o")
    found: list[Found] = []
    for path in named:
        if path.is_dir():
            target = out if out is not None else beside(path, naming.tag)
            files = list(_walk(path, known, leave_out=target, failed=failed, unknown=unknown))
            found += [Found(file, target / file.relative_to(path), file.stem, path) for file in files]
            if not files and len(named) == 1 and not failed:
                kinds = "images or videos" if naming.takes_video else "images"
                there = f"; it holds {_counted(unknown)}" if unknown else ""
                raise InputError(f"no {kinds} in {path} (looked for {listed(known)}{there})")
        elif (reason := _refused(path)) is not None:
            failed.append((path, reason))
        elif out_file is not None:
            found.append(Found(path, out_file, out_file.stem, None))
        elif out is not None:
            found.append(Found(path, out / path.name, path.stem, None))
        else:
            found.append(Found(path, path.with_name(f"{path.stem}_{naming.tag}{path.suffix}"), path.stem, None))
    planned = _settle(found, failed, suffix, named=out_file is not None, options=options, naming=naming)
    return replace(planned, unknown=unknown)


def _refused(path: Path) -> str | None:
    """Why a path that was named can't be taken, or None."""
    try:
        check_regular(path)
    except InputError as error:
        if not os.path.lexists(path):
            return "no such file or folder"
        return str(error).removeprefix(f"{path}: ")
    return None


def _counted(unknown: Counter[str]) -> str:
    parts = []
    for suffix, count in unknown.most_common(6):
        parts.append(
            f"{count:,} {suffix or 'without extension'}" + (f" ({REFUSED[suffix]})" if suffix in REFUSED else "")
        )
    more = sum(unknown.values()) - sum(count for _, count in unknown.most_common(6))
    return ", ".join(parts) + (f" and {more:,} more" if more else "")


def plan_listed(found: Sequence[Found], *, options: BatchOptions) -> Plan:
    """As `plan`, for files that lie elsewhere and were listed there."""
    naming = Naming()
    suffix = _checked_suffix(options.format, naming, [file.src for file in found])
    return _settle(found, [], suffix, named=False, options=options, naming=naming)


def beside(folder: Path, tag: str = DERAIN.result_suffix(None)) -> Path:
    """Where results go that nobody named a place for: a folder, to `DIR_<tag>`."""
    whole = resolved(folder)
    if not whole.name:
        raise InputError(f"{folder} has no folder above it to write to; say where with -o")
    named = folder if folder.name not in ("", "..") else whole  # as the user wrote it, where that has a name
    return named.with_name(f"{named.name}_{tag}")


def _known(naming: Naming) -> frozenset[str]:
    return IMAGES | VIDEOS if naming.takes_video else IMAGES


def _checked_suffix(format: str | None, naming: Naming, inputs: Sequence[Path]) -> str | None:
    """The extension that is asked for. One that only another kind than the inputs is written with is told later.

    Raises:
        InputError: nothing is written with it.
    """
    if format is None:
        return None
    suffix = "." + format.lower().lstrip(".")
    if suffix in IMAGES_WRITABLE or (naming.takes_video and suffix in VIDEOS_WRITABLE):
        return suffix
    images, videos = listed(IMAGES_WRITABLE), listed(VIDEOS_WRITABLE)
    formats = [by_suffix(path) for path in inputs]
    kinds = {one.kind if one is not None else None for one in formats}
    if not naming.takes_video or kinds == {"image"}:
        raise InputError(f"cannot write {format!r} images; choose one of {images}")
    if kinds == {"video"}:
        raise InputError(f"cannot write {format!r} videos; choose one of {videos}")
    raise InputError(f"cannot write {format!r}; choose one of {images} for images, or one of {videos} for videos")


def expand(name: str | os.PathLike[str]) -> list[Path]:
    """A path as it is, or what an unexpanded pattern matches (Windows shells leave that to the program)."""
    path = Path(name)
    if path.exists() or not glob.has_magic(str(name)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(name), recursive=True))] or [path]


def _walk(
    folder: Path, known: frozenset[str], *, leave_out: Path, failed: list[tuple[Path, str]], unknown: Counter[str]
) -> Iterator[Path]:
    """Files of known kinds below a folder, in the order of their names, without an output folder that lies inside."""
    out = resolved(leave_out)
    same = out == resolved(folder)

    def cannot(error: OSError) -> None:
        failed.append((Path(error.filename), f"cannot be read: {error.strerror}"))

    for root, folders, files in os.walk(folder, onerror=cannot):
        here = Path(root)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and (same or resolved(here / n) != out))
        for name in sorted(files):
            # macOS leaves "._photo.jpg" beside "photo.jpg" on foreign disks: no image
            if name.startswith("."):
                continue
            suffix = os.path.splitext(name)[1].lower()
            if suffix in known:
                yield here / name
            else:
                unknown[suffix] += 1


def _settle(
    found: Sequence[Found],
    failed: list[tuple[Path, str]],
    suffix: str | None,
    *,
    named: bool,
    options: BatchOptions,
    naming: Naming,
) -> Plan:
    jobs: dict[tuple[str, str], Job] = {}
    key = _Keys()
    left_out: dict[str, Path] = {}
    for file, is_result in zip(found, are_results([(file.src, file.root) for file in found], naming.tag), strict=True):
        if is_result:
            left_out[key(file.src)] = file.src
            continue
        job = _job(file, suffix, named=named, options=options, naming=naming)
        if isinstance(job, Job):
            # a link in a folder has a result of its own there, beside that of what it leads to
            link = key(file.dst) if file.root is not None and os.path.islink(file.src) else ""
            jobs.setdefault((key(file.src), link), job)
        else:
            failed.append((file.src, job))
    planned = list(jobs.values())
    planned, renamed = _told_apart(planned, key)
    notes = [*_without_effect(planned, options, suffix), *renamed]
    formats = [by_suffix(job.dst) for job in planned] if naming.exact else []
    if lossy := {format.title for format in formats if format is not None and not format.exact}:
        notes.append(f"{' and '.join(sorted(lossy))} changes the colours of labels; PNG keeps them")
    planned, failed = _fitting(planned, failed)
    kept = _without_collisions(planned, key, overwrite=options.overwrite)
    check_writable(job.dst.parent for job in kept)
    taken = {key(job.src) for job in kept}
    left_out |= {key(job.src): job.src for job in planned}
    results = [path for key, path in left_out.items() if key not in taken]
    return Plan(kept, failed, results, notes=tuple(notes))


def _without_effect(jobs: Sequence[Job], options: BatchOptions, suffix: str | None) -> list[str]:
    """What was asked for videos alone where there is none, or for images alone; one sentence at most."""
    has = {job.is_video for job in jobs}
    if len(has) != 1:
        return []
    (videos,) = has
    asked = []
    if not videos:
        asked = [f.name for f in fields(VideoOptions) if getattr(options.video, f.name) != f.default]
    if suffix is not None and (suffix in VIDEOS_WRITABLE) != videos:
        asked.append(f"format {suffix[1:]}")
    if not asked:
        return []
    does = "do" if len(asked) > 1 else "does"
    kinds = ("images", "videos") if videos else ("videos", "images")
    return [f"{' and '.join(asked)} {does} nothing here: for {kinds[0]} only, and there are {kinds[1]} only"]


def _format(file: Found) -> Format | None:
    """What a file is taken for by its name; one that was named itself by its contents, where its name says nothing.

    Raises:
        InputError: of such a file, if it cannot be read.
    """
    format = by_suffix(file.src)
    return by_contents(file.src) if format is None and file.root is None else format


def _job(file: Found, suffix: str | None, *, named: bool, options: BatchOptions, naming: Naming) -> Job | str:
    """What becomes of one file that is to go to `dst` or, unless the user `named` that, to `dst` of another kind."""
    src, dst = file.src, file.dst
    try:
        format = _format(file)
    except InputError as error:
        return str(error).removeprefix(f"{src}: ")
    kind = format.kind if format is not None else None
    if (kind is None or (kind == "video" and not naming.takes_video)) and suffix is None:
        what = "an image or video" if naming.takes_video else "an image"
        kinds = f"{names('image')}, {names('video')}" if naming.takes_video else names("image")
        return REFUSED.get(src.suffix.lower()) or f"not {what} that repix reads ({kinds})"
    is_video = naming.takes_video and (kind == "video" or (kind is None and suffix in VIDEOS_WRITABLE))
    if suffix is not None and (suffix in VIDEOS_WRITABLE) == is_video:
        if not named:
            dst = dst.with_suffix(suffix)
    elif named and suffix is not None:
        return (
            f"cannot be written as {suffix}; choose one of {listed(VIDEOS_WRITABLE if is_video else IMAGES_WRITABLE)}"
        )
    else:
        exact = (naming.exact and not is_video) or (format is not None and format.name == "heic" and has_alpha(src))
        own = format.suffixes[0] if format is not None and by_suffix(dst) is None else dst.suffix
        dst = dst.with_suffix(result_suffix(own, exact=exact))
    part = options.video.part if is_video and not named else ""
    dst = dst.with_name(f"{dst.stem}{part}{dst.suffix}") if part else dst
    return Job(src, dst, dst.with_name(f"{file.stem}_{COMPARE}{part}{dst.suffix}") if options.compare else None)


def _told_apart(jobs: list[Job], key: _Keys) -> tuple[list[Job], list[str]]:
    """Results of one name only because they are of another format than their inputs get the input's extension too:
    `a.bmp` beside `a.png` becomes `a.bmp.png`. And a sentence that says so."""
    many = Counter(key(job.dst) for job in jobs)

    def marked(path: Path, src: Path) -> Path:
        return path.with_name(f"{path.stem}{src.suffix}{path.suffix}")

    made, renamed = [], []
    for job in jobs:
        if many[key(job.dst)] > 1 and job.dst.suffix.lower() != job.src.suffix.lower():
            compare = None if job.compare is None else marked(job.compare, job.src)
            job = replace(job, dst=marked(job.dst, job.src), compare=compare)
            renamed.append(job)
        made.append(job)
    if not renamed:
        return made, []
    more = f", and {len(renamed) - 1} more likewise" if len(renamed) > 1 else ""
    first = renamed[0]
    return made, [f"the result of {first.src.name} is called {first.dst.name}, since another has its name{more}"]


def _fitting(jobs: list[Job], failed: list[tuple[Path, str]]) -> tuple[list[Job], list[tuple[Path, str]]]:
    """Those whose results have names that file systems take; the others fail."""
    kept, refused = [], list(failed)
    for job in jobs:
        longest = max((path.name for path in (job.dst, job.compare) if path is not None), key=len)
        size = len(os.fsencode(longest)) if sys.platform != "win32" else len(longest)
        if size > _LONGEST_NAME:
            text = f"its result's name would have {size} bytes, {_LONGEST_NAME} are possible; name it with -o"
            refused.append((job.src, text))
        else:
            kept.append(job)
    return kept, refused


def _without_collisions(jobs: list[Job], key: _Keys, *, overwrite: bool) -> list[Job]:
    made: dict[str, Path] = {}
    for job in jobs:
        for path in (job.dst, job.compare):
            other = job.src if path is None else made.setdefault(key(path), job.src)
            if other != job.src:
                raise InputError(
                    f"{other} and {job.src} would both be written to {path}; rename one, run them apart, or choose "
                    "another --format; nothing was done"
                )
    # what this run makes from another input is no input: `repix derain DIR DIR_derained`
    kept = [job for job in jobs if made.get(key(job.src), job.src) == job.src]
    inputs = {key(job.src) for job in kept}
    for job in kept:
        for path in (job.dst, job.compare):
            if path is not None and key(path) in inputs and not overwrite:
                raise InputError(f"{path} is an input and would be overwritten; choose another -o, or say --overwrite")
    return kept


class _Keys:
    """One text for one file, however it is spelled; each spelling and each folder is looked at once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._files: dict[str, str] = {}

    def __call__(self, path: Path) -> str:
        spelled = os.fspath(path)
        if spelled not in self._files:
            whole = self._whole(spelled)
            self._files[spelled] = whole.casefold() if CASE_BLIND else whole
        return self._files[spelled]

    def _whole(self, spelled: str) -> str:
        folder, name = os.path.split(spelled)
        if name in ("", ".", "..") or os.path.islink(spelled):
            return os.path.realpath(spelled)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder or os.curdir)
        return os.path.join(self._folders[folder], name)


# ---- what became of it


@dataclass(frozen=True)
class Result:
    """What became of one input.

    Attributes:
        src: the input.
        status: `done`, `skipped` (the result was already there) or `failed`.
        written: the files written for it.
        message: why it failed or was skipped, one line that names the file.
        notes: what could not be kept as it was, one sentence each.
        lost: the same of images, thing by thing.
        seconds: how long it took, reading and writing included.
        levels: the levels of the pyramid that an image ran, in their order; None where a model has none, at strength
            0, where nothing runs, and for videos, whose levels change.
        turned: whether rain falls sideways in an image, which lies on its side.
    """

    src: Path
    status: Literal["done", "skipped", "failed"]
    written: tuple[Path, ...] = ()
    message: str = ""
    notes: tuple[str, ...] = ()
    lost: tuple[Difference, ...] = ()
    seconds: float = 0.0
    levels: tuple[int, ...] | None = None
    turned: bool = False


@dataclass
class Summary:
    """What a run did, in the order of the inputs.

    Attributes:
        done: images and videos restored and written.
        skipped: those whose result was already there.
        failed: those that could not be read, restored or written.
        left_out: files that were not taken, because they are results of earlier runs.
        unknown: how many files of folders were left out by their extension.
        notes: of the run as a whole; see `Plan.notes`.
    """

    done: list[Result] = field(default_factory=list)
    skipped: list[Result] = field(default_factory=list)
    failed: list[Result] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    @property
    def unknown_in_words(self) -> str:
        """What `unknown` says: `12 .nef (camera RAW: develop it first), 3 .txt`."""
        return _counted(self.unknown)

    def add(self, result: Result) -> None:
        """Put a result where it belongs."""
        getattr(self, result.status).append(result)


class Bar:
    """One bar over the files that moves within large ones."""

    def __init__(self, total: int, *, enabled: bool) -> None:
        self._bar = None
        self._done = 0.0
        if enabled and total:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                disable=None,  # only on a terminal
                leave=False,
                bar_format="{percentage:3.0f}% |{bar}| {desc} [{elapsed}<{remaining}{postfix}]",
            )

    def start(self, path: Path) -> None:
        """Name the file at work."""
        self._done = 0.0
        if self._bar is not None:
            self._bar.set_description_str(path.name[:40])

    def advance(self, fraction: float, speed: str = "") -> None:
        """Move by a fraction of this file, never beyond its end."""
        step = min(fraction, 1 - self._done)
        self._done += step
        if self._bar is not None:
            self._bar.set_postfix_str(speed, refresh=False)
            self._bar.update(step)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
