"""TIFF directories, of which EXIF blocks and TIFF files are made: read with every tag, changed in place, written again.

libexif, on which libvips relies, drops the tags that it has no name for and moves the rest, which breaks makers' notes.
Here a block is carried byte for byte; only the values that the new pixels make wrong are changed where they stand.
Layout: TIFF 6.0, section 2; BigTIFF; EXIF 3.0, section 4.6.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

ORIENTATION, XMP, IPTC, PHOTOSHOP, ICC, LAYERS = 0x0112, 0x02BC, 0x83BB, 0x8649, 0x8773, 0x935C
EXIF_POINTER, GPS_POINTER, INTEROP_POINTER, SUB_POINTER = 0x8769, 0x8825, 0xA005, 0x014A
MAKER_NOTE = 0x927C
_POINTERS = {EXIF_POINTER: "Exif", GPS_POINTER: "GPS", INTEROP_POINTER: "Interop"}
_WIDTH, _HEIGHT = 0xA002, 0xA003
_ACROSS, _DOWN, _MEASURE = 0x011A, 0x011B, 0x0128
_MILLIMETRES = {2: 25.4, 3: 10.0}
"""What resolutions are measured in, by the tag that says so: inches and centimetres."""
_UNIT = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes that one number of a type has, which turn round with the byte order."""
_LONGS = {5: 2, 10: 2}
"""Numbers that one value of a type has, where it is more than one: rationals."""

_LAYOUT = "254-268 273 277-281 282-284 288-293 296 317 320-327 330 332-347 512-521 529-532"
STRUCTURE = frozenset(
    number
    for first, _, last in (part.partition("-") for part in _LAYOUT.split())
    for number in range(int(first), int(last or first) + 1)
) | {ORIENTATION, XMP, IPTC, PHOTOSHOP, ICC, LAYERS, *_POINTERS}
"""Tags of a first directory that say how the pixels lie in a TIFF file, or hold what has a place of its own."""

_MOST_DIRECTORIES = 64
_MOST_ENTRIES = 4096
_MOST_BYTES = 64 * 2**20


class Value(NamedTuple):
    """What one tag holds.

    Attributes:
        type: TIFF's number of the type, such as 2 for text.
        many: how many values.
        data: the bytes, little-endian; empty where the file ends before them or they are too many.
        offset: where they lie.
    """

    type: int
    many: int
    data: bytes
    offset: int

    def plain(self) -> object:
        """The value in a form that compares equal however it was stored: numbers, text or bytes."""
        if self.type == 2:
            return self.data.rstrip(b"\0 ")
        if self.type in (1, 6, 7) or self.many > 4096:
            return self.data
        sign = {3: "H", 8: "h", 4: "I", 13: "I", 9: "i", 5: "I", 10: "i", 11: "f", 12: "d", 16: "Q", 17: "q", 18: "Q"}
        code = sign[self.type]
        numbers = struct.unpack(f"<{len(self.data) // _UNIT[self.type]}{code}", self.data)
        return numbers if self.type not in _LONGS else tuple(zip(numbers[::2], numbers[1::2], strict=False))


@dataclass
class Directory:
    """One directory of tags.

    Attributes:
        name: IFD0, IFD1 … for those in a row; Exif, GPS, Interop and SubIFD for those that a tag points to.
        tags: number -> value.
        parent: index of the one in a row that it belongs to.
    """

    name: str
    tags: dict[int, Value] = field(default_factory=dict)
    parent: int = 0


def strip_header(block: bytes) -> bytes:
    """An EXIF block without the six bytes that JPEG puts before it."""
    return block[6:] if block[:6] == b"Exif\0\0" else block


def read_directories(data: bytes, *, keep: bool = True) -> list[Directory]:
    """Every directory of an EXIF block or a TIFF file, as far as it can be read; bounded, and never in a circle.

    Args:
        data: the block or the file (anything that can be sliced, such as a memory map), from `II` or `MM` on.
        keep: whether values of tags of `STRUCTURE` are read too; a file's may be a million offsets.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        return []
    found: list[Directory] = []
    seen: set[int] = set()
    left = [_MOST_BYTES]
    try:
        (magic,) = struct.unpack(f"{order}H", data[2:4])
        big = magic == 43
        (offset,) = struct.unpack(f"{order}Q", data[8:16]) if big else struct.unpack(f"{order}I", data[4:8])
        for number in range(_MOST_DIRECTORIES):
            if not offset or offset in seen:
                break
            directory = Directory(f"IFD{number}", parent=number)
            pointers, offset = _read(data, offset, order, big, directory, seen, left, keep=keep)
            found.append(directory)
            _follow(data, pointers, order, big, found, seen, left, number, keep=keep)
    except struct.error:
        pass
    return found


def _follow(
    data: bytes,
    pointers: list[tuple[str, int]],
    order: str,
    big: bool,
    found: list[Directory],
    seen: set[int],
    left: list[int],
    parent: int,
    *,
    keep: bool,
) -> None:
    while pointers and len(found) < _MOST_DIRECTORIES:
        name, offset = pointers.pop(0)
        if offset in seen:
            continue
        directory = Directory(name, parent=parent)
        try:
            more, _ = _read(data, offset, order, big, directory, seen, left, keep=keep)
        except struct.error:
            continue
        found.append(directory)
        pointers += more


def _read(
    data: bytes,
    offset: int,
    order: str,
    big: bool,
    directory: Directory,
    seen: set[int],
    left: list[int],
    *,
    keep: bool,
) -> tuple[list[tuple[str, int]], int]:
    """Fill a directory; gives the directories that it points to, and the offset of the next in a row."""
    seen.add(offset)
    width, head, inline = (20, 8, 8) if big else (12, 2, 4)
    (count,) = struct.unpack(f"{order}{'Q' if big else 'H'}", data[offset : offset + head])
    pointers: list[tuple[str, int]] = []
    start = offset + head
    for k in range(min(count, _MOST_ENTRIES)):
        entry = data[start + width * k : start + width * (k + 1)]
        tag, kind = struct.unpack_from(f"{order}HH", entry)
        (many,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", entry, 4)
        if kind not in _UNIT:
            continue
        size = many * _UNIT[kind] * _LONGS.get(kind, 1)
        at = start + width * k + width - inline
        if size > inline:
            (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", entry, width - inline)
        wanted = size <= left[0] and (keep or tag not in STRUCTURE or tag in _POINTERS or size <= 4096)
        raw = bytes(data[at : at + size]) if wanted else b""
        raw = raw if len(raw) == size else b""
        left[0] -= len(raw)
        directory.tags[tag] = value = Value(kind, many, _little(raw, kind, order), at)
        if (tag in _POINTERS or tag == SUB_POINTER) and kind in (3, 4, 13, 16, 18) and raw:
            numbers = value.plain()
            assert isinstance(numbers, tuple)
            pointers += [(_POINTERS.get(tag, "SubIFD"), int(number)) for number in numbers[:_MOST_DIRECTORIES]]
    end = start + width * count
    link = data[end : end + inline]
    following = struct.unpack(f"{order}{'Q' if big else 'I'}", link)[0] if len(link) == inline else 0
    return pointers, following


def _little(raw: bytes, kind: int, order: str) -> bytes:
    unit = _UNIT[kind]
    if order == "<" or unit == 1:
        return raw
    swapped = bytearray(len(raw))
    for k in range(unit):
        swapped[k::unit] = raw[unit - 1 - k :: unit]
    return bytes(swapped)


def orientation(block: bytes) -> int:
    """The orientation that an EXIF block gives, 1 to 8; 1 where it gives none that is valid."""
    for directory in read_directories(strip_header(block)):
        if directory.name == "IFD0" and (value := directory.tags.get(ORIENTATION)) is not None:
            number = _number(value)
            return number if 1 <= number <= 8 else 1
    return 1


def _number(value: Value | None) -> int:
    """The first number that a tag holds; 0 without one."""
    numbers = value.plain() if value is not None else ()
    first = numbers[0] if isinstance(numbers, tuple) and numbers else 0
    return first if isinstance(first, int) else 0


def resolution(block: bytes) -> tuple[float, float] | None:
    """Pixels per millimetre, (horizontal, vertical), that an EXIF block gives; None where it gives none."""
    for directory in read_directories(strip_header(block)):
        if directory.name == "IFD0":
            found = [_ratio(directory.tags.get(tag)) for tag in (_ACROSS, _DOWN)]
            measure = _MILLIMETRES.get(_number(directory.tags.get(_MEASURE)) or 2)  # inches where nothing is said
            return (found[0] / measure, found[1] / measure) if measure is not None and all(found) else None
    return None


def _ratio(value: Value | None) -> float:
    """The number that a tag of a rational holds; 0 without one."""
    if value is None or value.type != 5 or len(value.data) < 8:
        return 0.0
    above, below = struct.unpack_from("<II", value.data)
    return above / below if below else 0.0


def with_resolution(block: bytes, wanted: tuple[float, float]) -> bytes:
    """An EXIF block that gives a resolution. Every other byte stays where it is: the first directory is written anew at
    the end, where there is room for more entries.

    Args:
        block: an EXIF block; empty for a new one. A damaged one comes back as it is.
        wanted: pixels per millimetre, (horizontal, vertical).
    """
    block = strip_header(block) or b"II*\0\x08\0\0\0" + bytes(6)
    given = resolution(block)
    if given is not None and all(math.isclose(*pair, rel_tol=1e-3) for pair in zip(given, wanted, strict=True)):
        return block
    order = "<" if block[:2] == b"II" else ">"
    if not read_directories(block) or block[2:4] != struct.pack(f"{order}H", 42):
        return block
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, first)
    if count > _MOST_ENTRIES:
        return block
    end = first + 2 + 12 * count
    rows = [block[k : k + 12] for k in range(first + 2, end, 12)]
    entries = {struct.unpack_from(f"{order}H", row)[0]: row for row in rows}
    changed = bytearray(block + bytes(len(block) % 2))
    for tag, value in zip((_ACROSS, _DOWN), wanted, strict=True):
        entries[tag] = struct.pack(f"{order}HHII", tag, 5, 1, len(changed))
        changed += struct.pack(f"{order}II", min(2**32 - 1, max(1, round(2540 * value))), 100)
    entries[_MEASURE] = struct.pack(f"{order}HHIHH", _MEASURE, 3, 1, 2, 0)
    struct.pack_into(f"{order}I", changed, 4, len(changed))
    changed += struct.pack(f"{order}H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    return bytes(changed) + block[end : end + 4].ljust(4, b"\0")


def adapt(block: bytes, width: int, height: int, *, turned: bool = False) -> bytes:
    """An EXIF block for new upright pixels of a size: every other byte stays where it is.

    Orientation becomes 1, the size becomes the new one, and resolutions change places where the image was `turned` by
    a quarter. The thumbnail is cut off, since it shows the image as it was; its bytes are blanked.
    """
    block = strip_header(block)
    directories = read_directories(block)
    if not directories:
        return block
    order = "<" if block[:2] == b"II" else ">"
    changed = bytearray(block)

    def put(value: Value, number: int) -> None:
        code = {3: "H", 4: "I"}.get(value.type)
        if code is not None and value.many == 1 and value.data and number < (65536 if code == "H" else 2**32):
            struct.pack_into(f"{order}{code}", changed, value.offset, number)

    for directory in directories:
        tags = directory.tags
        if directory.name == "IFD0":
            if ORIENTATION in tags:
                put(tags[ORIENTATION], 1)
            pair = tags.get(_ACROSS), tags.get(_DOWN)
            if turned and all(value is not None and value.type == 5 and len(value.data) == 8 for value in pair):
                one, other = pair
                assert one is not None
                assert other is not None
                for here, there in ((one, other), (other, one)):
                    changed[here.offset : here.offset + 8] = block[there.offset : there.offset + 8]
        elif directory.name == "Exif":
            for tag, number in ((_WIDTH, width), (_HEIGHT, height)):
                if tag in tags:
                    put(tags[tag], number)
        elif directory.name == "IFD1":
            first, length = _number(tags.get(0x0201)), _number(tags.get(0x0202))
            if 8 <= first < first + length <= len(block):
                changed[first : first + length] = bytes(length)
                if first + length == len(block):
                    del changed[first:]  # it mostly lies last, and is most of the block
    if any(directory.name == "IFD1" for directory in directories):
        (first,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, first)
        struct.pack_into(f"{order}I", changed, first + 2 + 12 * entries, 0)
    return bytes(changed)


def to_block(directories: Iterable[Directory]) -> bytes:
    """A little-endian EXIF block of IFD0, Exif, GPS and Interop; other directories are left out."""
    named = {directory.name: directory.tags for directory in directories if directory.parent == 0}
    return b"II*\0\x08\0\0\0" + _write_tree(named, 8)


def to_entries(directories: Iterable[Directory], offset: int) -> tuple[dict[int, bytes], bytes]:
    """What a little-endian TIFF file takes up of an EXIF block.

    Args:
        directories: of the block.
        offset: where the bytes given back will lie in the file; even.

    Returns:
        Tag -> its entry of 12 bytes for the file's first directory; and the bytes that the entries point to.
    """
    named = {directory.name: directory.tags for directory in directories if directory.parent == 0}
    appended = bytearray()
    entries: dict[int, bytes] = {}
    for tag, value in named.get("IFD0", {}).items():
        if tag not in STRUCTURE:
            entries[tag] = _entry(tag, value, offset, appended)
    for pointer in (EXIF_POINTER, GPS_POINTER):
        if named.get(_POINTERS[pointer]):
            where = offset + len(appended)
            inner = {"IFD0": named[_POINTERS[pointer]], "Interop": named.get("Interop", {})}
            appended += _write_tree(inner if pointer == EXIF_POINTER else {"IFD0": inner["IFD0"]}, where)
            entries[pointer] = struct.pack("<HHII", pointer, 4, 1, where)
    return entries, bytes(appended)


def _entry(tag: int, value: Value, offset: int, appended: bytearray) -> bytes:
    head = struct.pack("<HHI", tag, value.type, value.many)
    if len(value.data) <= 4:
        return head + value.data.ljust(4, b"\0")
    place = offset + len(appended)
    appended += value.data + bytes(len(value.data) % 2)
    return head + struct.pack("<I", place)


def _write_tree(named: Mapping[str, Mapping[int, Value]], offset: int) -> bytes:
    """IFD0 of `named` as it lies at an offset, with what it points to behind it."""
    tags = {tag: value for tag, value in named.get("IFD0", {}).items() if value.data and tag not in _POINTERS}
    below: dict[int, Mapping[str, Mapping[int, Value]]] = {}
    if named.get("Exif"):
        below[EXIF_POINTER] = {"IFD0": named["Exif"], "Interop": named.get("Interop", {})}
    elif named.get("Interop"):
        below[INTEROP_POINTER] = {"IFD0": named["Interop"]}
    if named.get("GPS"):
        below[GPS_POINTER] = {"IFD0": named["GPS"]}
    size = 2 + 12 * (len(tags) + len(below)) + 4
    appended = bytearray()
    entries = {tag: _entry(tag, value, offset + size, appended) for tag, value in tags.items()}
    for pointer, inner in below.items():
        where = offset + size + len(appended)
        entries[pointer] = struct.pack("<HHII", pointer, 4, 1, where)
        appended += _write_tree(inner, where)
    body = b"".join(entries[tag] for tag in sorted(entries))
    written = struct.pack("<H", len(entries)) + body + bytes(4) + bytes(appended)
    return written + bytes(len(written) % 2)
