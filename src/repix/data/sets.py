"""Public sets of pairs by one word, looked up in the folder of data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from repix._environment import data_folder
from repix.data.pairs import Pair, find_pairs, find_pairs_in
from repix.errors import InputError, did_you_mean


class KnownSet(NamedTuple):
    """Where a set lies, and who publishes it.

    Attributes:
        folder: relative to the folder of data sets: of pairs, or of degraded images.
        source: who publishes it.
        gt: the set whose ground truth is this one's too.
    """

    folder: str
    source: str
    gt: str | None = None


_YANG = "Yang et al. 2017; repacked by github.com/csdwren/PReNet"
_RAIN13K = "github.com/swz30/MPRNet (test parts of Rain13K)"
SETS: Mapping[str, KnownSet] = {
    "Rain100L": KnownSet("Rain100L", _YANG),
    "Rain100H": KnownSet("Rain100H/rainy", f"{_YANG}; its ground truth is Rain100L's", gt="Rain100L"),
    "Rain200L": KnownSet("Rain200L", "Yang et al. 2017, the authors' page at Peking University"),
    "Rain200H": KnownSet("Rain200H", "Yang et al. 2017, the authors' page at Peking University"),
    "Test100": KnownSet("Test100", _RAIN13K),
    "Test1200": KnownSet("Test1200", _RAIN13K),
    "Test2800": KnownSet("Test2800", _RAIN13K),
    "SPA-Data": KnownSet("SPA-Data", "github.com/stevewongv/SPANet"),
    "facades": KnownSet("facades/val", "github.com/phillipi/pix2pix"),
    "cityscapes": KnownSet("cityscapes/val", "github.com/phillipi/pix2pix"),
}


def find_set(name: str) -> list[Pair]:
    """The pairs of a set, or of any other folder of pairs in REPIX_DATA.

    Raises:
        InputError: no folder of data sets, no such set in it (the message says where to get it), or no pairs.
    """
    data = data_folder()
    known = SETS.get(name)
    folders = [name] if known is None else [known.folder, *([] if known.gt is None else [known.gt])]
    missing = next((one for one in folders if data is None or not (data / one).is_dir()), None)
    if missing is not None:
        if known is None:
            hint = did_you_mean(name, SETS)
            raise InputError(f"no set {name!r}{hint} (known: {', '.join(SETS)}; or a folder in REPIX_DATA)")
        where = "the folder that the variable REPIX_DATA names" if data is None else str(data)
        raise InputError(f"{name} is not there: put it into {where} as {missing}/ (from: {known.source})")
    assert data is not None
    if len(folders) == 1:
        return find_pairs(data / folders[0])
    return find_pairs_in(data / folders[0], find_pairs(data / folders[1])[0].gt.parent)
