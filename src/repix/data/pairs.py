"""Pairs of a degraded image (lq) and its ground truth (gt): found on disk in the layouts that data sets come in.

A layout is two folders and a rule that says which names belong together; `LAYOUTS` is the whole list. Images
are matched by name without the suffix, so a set converted from PNG to WebP is still the same set. Names that
differ only in upper and lower case, or in how Unicode spells them (a Mac's `é` is two characters), are the same where
that is unambiguous.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from repix.errors import InputError, counted, did_you_mean
from repix.io.files import resolved
from repix.io.formats import IMAGES
from repix.io.image import read_size

# Names the list of a longer message ends with "and N more".
_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """One degraded image and its ground truth.

    Attributes:
        name: the degraded image's file name without its suffix; unique within a set.
        lq: file of the degraded image.
        gt: file of the ground truth.
        lq_half: set where both are the halves of one file (then `lq == gt`): the half that holds the degraded one.
        is_given: set where the caller has said which folder holds which: no model's direction turns it round.
    """

    name: str
    lq: Path
    gt: Path
    lq_half: Literal["left", "right"] | None = None
    is_given: bool = False

    def swapped(self) -> Pair:
        """The same pair with the roles of its images exchanged, under the name of this one."""
        half: Mapping[str | None, Literal["left", "right"]] = {"left": "right", "right": "left"}
        return Pair(self.name, self.gt, self.lq, half.get(self.lq_half))

    def split(self, lq: np.ndarray[Any, Any], gt: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
        """The two images from the arrays (H, W, C) of the files `lq` and `gt`: views, equal for whole files."""
        if self.lq_half is None:
            return lq, gt
        middle = lq.shape[1] // 2
        left, right = lq[:, :middle], gt[:, middle : 2 * middle]
        return (left, right) if self.lq_half == "left" else (right, left)


class PairScan(NamedTuple):
    """What a look through a folder found.

    Attributes:
        layout: name of the layout in `LAYOUTS`, `"side-by-side"`, `"side-by-side-reversed"` or `"list"`.
        pairs: the pairs in natural order (2 before 10).
        problems: one sentence for each image left out: an orphan, unequal sizes, an unreadable header.
    """

    layout: str
    pairs: list[Pair]
    problems: list[str]


class _Rule(NamedTuple):
    """Two names belong together when both match and their groups `key` are equal."""

    lq: re.Pattern[str]
    gt: re.Pattern[str]


def _rule(lq: str, gt: str) -> _Rule:
    return _Rule(re.compile(lq, re.IGNORECASE), re.compile(gt, re.IGNORECASE))


_SAME = _rule(r"(?P<key>.+)", r"(?P<key>.+)")
_RAIN_NORAIN = _rule(r"rain-?(?P<key>\d+)", r"norain-?(?P<key>\d+)")
_X2 = _rule(r"(?P<key>.+)x2", r"(?P<key>.+)")
_NUMBERED = _rule(r"(?P<key>.+)_\d+", r"(?P<key>.+)")
_GT_SUFFIX = _rule(r"(?P<key>.+)(?<!gt)", r"(?P<key>.+)gt")


class Layout(NamedTuple):
    """Folders of a data set, relative to its root, and the rules that join their names; the first that fits counts."""

    folders: tuple[tuple[str, str], ...]
    rules: tuple[_Rule, ...]


LAYOUTS: Mapping[str, Layout] = {
    # Yang et al. 2017 as PReNet repacked it: rainy/rain-001, norain-001; or all in one folder.
    "rain100": Layout((("rainy", "."), ("rainy", "norain"), ("rain", "norain"), (".", ".")), (_RAIN_NORAIN,)),
    # Yang et al. as published: rain/norain-1 or rain/X2/norain-1x2, and norain/norain-1.
    "rain200": Layout((("rain", "norain"), ("rain/X2", "norain"), ("rainy", "norain")), (_SAME, _X2)),
    # Fu et al. 2017 (DDN): fourteen rainy images 123_1 … 123_14 of one clean 123.
    "rain1400": Layout(
        (("rainy_image", "ground_truth"), ("rainy_images", "ground_truth"), ("rainy_image", "clean_image")),
        (_NUMBERED,),
    ),
    # Wang et al. 2019 (SPANet): x and xgt.
    "spa-data": Layout((("rain", "gt"), ("rainy", "gt"), ("rain", "norain"), (".", ".")), (_GT_SUFFIX,)),
    # Rain13K (MPRNet) and most later sets: the same name in two folders.
    "input-target": Layout(
        (
            ("input", "target"),
            ("inputs", "targets"),
            ("input", "gt"),
            ("input", "groundtruth"),
            ("lq", "gt"),
            ("rainy", "clean"),
            ("rainy", "gt"),
            ("rainy", "groundtruth"),
            ("rain", "clean"),
            ("rain", "gt"),
            ("rain", "groundtruth"),
            ("data", "gt"),
            ("A", "B"),
        ),
        (_SAME,),
    ),
}

_SIDES: Mapping[str, Literal["left", "right"]] = {"side-by-side": "left", "side-by-side-reversed": "right"}


def find_pairs(root: str | Path, layout: str = "auto") -> list[Pair]:
    """The pairs of a data set in a known layout.

    Args:
        root: folder of the set; or, for SPA-Data, its list: a text file with two paths on each line.
        layout: a name in `LAYOUTS`; `"side-by-side"` (one file holds both: degraded left, ground truth right) or
            `"side-by-side-reversed"`; `"list"`; or `"auto"`, which takes the one that joins most images.

    Raises:
        InputError: no such folder, no known layout, or images without a partner or of unequal sizes: the message
            names them. `scan_pairs` returns the good pairs and the problems instead.
    """
    return _strict(scan_pairs(root, layout), str(root))


def find_pairs_in(lq: str | Path, gt: str | Path) -> list[Pair]:
    """Pairs between two folders, by whichever of the known naming rules joins most images.

    Ground truths without a degraded image are no problem here: a part of a set may be given. The same folder twice,
    without pairs inside, pairs each image with itself.

    Raises:
        InputError: a folder is missing, nothing fits together, or degraded images have no ground truth of their size.
    """
    lq_dir, gt_dir = _folder(lq), _folder(gt)
    rules = dict.fromkeys(rule for layout in LAYOUTS.values() for rule in layout.rules)
    matches = [_match(lq_dir, gt_dir, rule) for rule in rules]
    best = max(matches, key=lambda match: len(match.pairs))
    if not best.pairs and resolved(lq_dir) == resolved(gt_dir):  # asked for, so what clean images lose can be measured
        best = _Match([Pair(file.stem, file, file) for file in _images(lq_dir)], [], [])
    if not best.pairs:
        raise InputError(
            f"no image in {lq_dir} has a partner in {gt_dir}: names must be equal, or differ as in rain-001 ↔ "
            "norain-001, 1x2 ↔ 1, 1_14 ↔ 1, x ↔ xgt"
        )
    found = _strict(_checked("folders", best.pairs, best.lq_orphans), f"{lq_dir} and {gt_dir}")
    return [replace(pair, is_given=True) for pair in found]


def scan_pairs(root: str | Path, layout: str = "auto") -> PairScan:
    """As `find_pairs`, but images without a partner or of unequal sizes are left out and reported, not raised.

    Raises:
        InputError: no such folder, no such layout, or no pair at all.
    """
    known = ("auto", *LAYOUTS, *_SIDES, "list")
    if layout not in known:
        hint = did_you_mean(layout, known)
        raise InputError(f"unknown layout {layout!r}{hint} (known: {', '.join(known)})")
    path = Path(root)
    if path.is_file() and layout in ("auto", "list"):
        return _scan_list(path)
    path = _folder(path)
    if layout == "list":
        lists = sorted(path.glob("*.txt"))
        if len(lists) != 1:
            raise InputError(f"{path} holds {len(lists)} lists (*.txt), expected one: give the path of the list")
        return _scan_list(lists[0])
    if layout in _SIDES:
        return _scan_sides(path, layout)

    names = list(LAYOUTS) if layout == "auto" else [layout]
    found = [(name, match) for name in names for match in _layout_matches(path, LAYOUTS[name])]
    name, best = max(found, key=lambda item: len(item[1].pairs), default=("", _Match([], [], [])))
    if best.pairs:
        return _checked(name, best.pairs, [*best.lq_orphans, *best.gt_orphans])
    if layout == "auto" and _looks_side_by_side(path):
        return _scan_sides(path, "side-by-side")
    if layout == "auto" and len(lists := sorted(path.glob("*.txt"))) == 1:
        return _scan_list(lists[0])
    raise InputError(
        f"no pairs in {path}: expected one of the layouts {', '.join((*LAYOUTS, *_SIDES))}, with folders such as "
        "rainy/ and norain/ or input/ and target/, or images of two squares side by side. Where the ground truth is "
        "elsewhere, `repix evaluate` takes both: --lq and --gt"
    )


class _Match(NamedTuple):
    pairs: list[Pair]
    lq_orphans: list[str]
    gt_orphans: list[str]


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder} is {'a file' if folder.exists() else 'missing'}, expected a folder of images")
    return folder


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 2 before 10 and is total (digits first, then text)."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name.lower()) if part]


def _images(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() in IMAGES and file.is_file())
    return sorted((file for file in files if not file.name.startswith(".")), key=lambda file: _natural(file.name))


def _subfolder(root: Path, name: str) -> Path | None:
    """The folder `name` below `root`, upper and lower case alike; None where there is none."""
    here = root
    for part in Path(name).parts:
        found = [child for child in here.iterdir() if child.name.lower() == part.lower() and child.is_dir()]
        if not found:
            return None
        here = found[0]
    return here


def _layout_matches(root: Path, layout: Layout) -> Iterable[_Match]:
    for lq_name, gt_name in layout.folders:
        lq_dir, gt_dir = _subfolder(root, lq_name), _subfolder(root, gt_name)
        if lq_dir is not None and gt_dir is not None:
            for rule in layout.rules:
                yield _match(lq_dir, gt_dir, rule)


def _match(lq_dir: Path, gt_dir: Path, rule: _Rule) -> _Match:
    shared = resolved(lq_dir) == resolved(gt_dir)
    if shared and rule is not _RAIN_NORAIN and rule is not _GT_SUFFIX:
        return _Match([], [], [])  # the other rules would pair an image with itself
    ground_truths: dict[str, Path] = {}
    strangers: list[Path] = []
    for file in _images(gt_dir):
        if found := rule.gt.fullmatch(file.stem):
            if (other := ground_truths.setdefault(found["key"], file)) is not file:
                raise InputError(f"{other} and {file} share a name: keep one of them")
        elif not shared:
            strangers.append(file)
    keys: dict[Path, str | None] = {}
    names: dict[str, Path] = {}
    for file in _images(lq_dir):
        found = rule.lq.fullmatch(file.stem)
        if found is None and shared:
            continue
        if (other := names.setdefault(file.stem, file)) is not file:
            raise InputError(f"{other} and {file} share a name: keep one of them")
        keys[file] = found["key"] if found else None
    alike: dict[str, list[str]] = defaultdict(list)
    for left in ground_truths.keys() - keys.values():
        alike[_folded(left)].append(left)
    pairs: list[Pair] = []
    lq_orphans: list[str] = []
    used: set[str] = set()
    for file, key in keys.items():
        if key is not None and key not in ground_truths and len(others := alike[_folded(key)]) == 1:
            key = others[0]
        if key is None or key not in ground_truths:
            lq_orphans.append(f"{file} has no ground truth in {gt_dir}")
        else:
            used.add(key)
            pairs.append(Pair(file.stem, file, ground_truths[key]))
    unused = [*strangers, *(file for key, file in ground_truths.items() if key not in used)]
    return _Match(pairs, lq_orphans, [f"{file} has no degraded image in {lq_dir}" for file in unused])


def _folded(name: str) -> str:
    """A name as file systems that are blind to case and to the forms of Unicode compare it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _checked(layout: str, pairs: Sequence[Pair], problems: Sequence[str]) -> PairScan:
    """Sets aside the pairs whose sizes, read from the headers, differ."""
    good: list[Pair] = []
    bad = list(problems)
    sizes: dict[Path, tuple[int, int]] = {}  # fourteen rainy images may share one ground truth
    for pair in pairs:
        try:
            lq = read_size(pair.lq)
            gt = sizes[pair.gt] = sizes.get(pair.gt) or read_size(pair.gt)
        except InputError as error:
            bad.append(str(error))
            continue
        if lq == gt:
            good.append(pair)
        else:
            bad.append(f"{pair.lq} is {lq[1]}x{lq[0]}, its ground truth {pair.gt} {gt[1]}x{gt[0]}")
    return PairScan(layout, good, bad)


def _looks_side_by_side(root: Path) -> bool:
    """Whether every image is two squares (pix2pix); anything less could be a folder of single images."""
    try:
        sizes = [read_size(file) for file in _images(root)]
    except InputError:
        return False
    return bool(sizes) and all(width == 2 * height for height, width in sizes)


def _scan_sides(root: Path, layout: str) -> PairScan:
    pairs: list[Pair] = []
    problems: list[str] = []
    for file in _images(root):
        try:
            width = read_size(file)[1]
        except InputError as error:
            problems.append(str(error))
            continue
        if width % 2:
            problems.append(f"{file} is {width} pixels wide: an odd width has no two halves")
        else:
            pairs.append(Pair(file.stem, file, file, _SIDES[layout]))
    if not pairs:
        raise InputError(f"no images of two halves in {root}")
    return PairScan(layout, pairs, problems)


def _scan_list(path: Path) -> PairScan:
    """SPA-Data's lists: `./rain/000.png ./gt/000gt.png` on each line, relative to the list, whatever the root sign."""
    pairs: list[Pair] = []
    problems: list[str] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable list of pairs ({error})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 2:
            raise InputError(
                f"{path}, line {number}: {counted(len(parts), 'entry', 'entries')}, expected two: the rainy file, "
                "the clean file"
            )
        lq, gt = (path.parent / part.lstrip("/") for part in parts)
        missing = [file for file in (lq, gt) if not file.is_file()]
        problems += [f"{file} is missing ({path.name}, line {number})" for file in missing]
        if not missing:
            name = lq.relative_to(path.parent).with_suffix("").as_posix()
            pairs.append(Pair(name, lq, gt))
    if not pairs:
        raise InputError(f"{path} lists no pair of existing images" + (f": {problems[0]}" if problems else ""))
    return _checked("list", pairs, problems)


def _strict(scan: PairScan, where: str) -> list[Pair]:
    if scan.problems:
        shown = "; ".join(scan.problems[:_SHOWN])
        more = len(scan.problems) - _SHOWN
        count, do = (f"{len(scan.problems)} images", "do") if len(scan.problems) > 1 else ("1 image", "does")
        raise InputError(
            f"{count} in {where} ({scan.layout}) {do} not pair up: {shown}"
            + (f"; and {more} more" if more > 0 else "")
            + f". Remove or repair {'them' if do == 'do' else 'it'}"
        )
    if not scan.pairs:
        raise InputError(f"no pairs in {where}")
    return scan.pairs
