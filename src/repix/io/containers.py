"""The parts of an image file beside its pixels: found in every container that repix reads, put into those it writes.

Libraries decode and encode pixels; what lies around the pixels they read in part, change, and write in part. Here it is
read and written as it is. Everything is bounded: a part is at most as large as its file says and the file is, parts are
at most `MOST_PARTS`, and no offset is followed twice.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from repix.io import exif as exif_block

MOST_PARTS = 20_000
MOST_BYTES = 64 * 2**20
"""Longest content of one part that is looked at."""

EXIF, XMP, EXTENDED_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
ICC, PHOTOSHOP = b"ICC_PROFILE\0", b"Photoshop 3.0\0"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_SEGMENT = 65533
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7\x01]", re.DOTALL)
_BEFORE_PIXELS = ("cICP", "gAMA", "cHRM", "sRGB", "mDCV", "cLLI", "iCCP")


class Part(NamedTuple):
    """One segment, chunk or box.

    Attributes:
        kind: `APP1`, `COM`, `tEXt`, `EXIF`, `ftyp` …
        data: its content, without length and checksum; empty where it is longer than `MOST_BYTES`.
        size: length of the content.
        offset: where the content lies in the file.
        behind: whether it lies behind the pixels.
    """

    kind: str
    data: bytes
    size: int
    offset: int
    behind: bool = False


def _content(data: bytes, start: int, size: int) -> bytes:
    return bytes(data[start : start + size]) if size <= MOST_BYTES else b""


# ---- JPEG ------------------------------------------------------------------------------------------------------------


def read_jpeg(data: bytes, start: int = 0) -> tuple[list[Part], int]:
    """The segments of the JPEG image that begins at `start`, and where it ends."""
    parts: list[Part] = []
    position, behind = start + 2, False
    while len(parts) < MOST_PARTS:
        position = data.find(b"\xff", position)
        if position < 0:
            break
        while data[position + 1 : position + 2] == b"\xff":
            position += 1
        marker = data[position + 1 : position + 2]
        if not marker:
            break
        code = marker[0]
        position += 2
        if code == 0xD9:
            return parts, position
        if code in (0x00, 0x01) or 0xD0 <= code <= 0xD8:
            continue
        length = data[position : position + 2]
        if len(length) < 2:
            break
        size = int.from_bytes(length, "big") - 2
        if size < 0:
            break
        if code == 0xDA:
            behind = True
            found = _MARKER.search(data, position + 2 + size)
            if found is None:
                break
            position = found.end() - 2
            continue
        kind = f"APP{code - 0xE0}" if 0xE0 <= code <= 0xEF else "COM" if code == 0xFE else f"{code:02X}"
        parts.append(Part(kind, _content(data, position + 2, size), size, position + 2, behind))
        position += 2 + size
    return parts, len(data)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _jpeg_with(data: bytes, metadata: Mapping[str, bytes]) -> bytes:
    """A JPEG file with metadata put in before everything else, its resolution first."""
    parts = []
    if dpi := metadata.get("dpi"):
        parts.append(_segment(0xE0, b"JFIF\0\1\2\1" + dpi + b"\0\0"))
    if block := metadata.get("exif-data"):
        block = exif_block.strip_header(block)
        # longer ones go on in further segments, as exiftool and Pillow write and read them
        room = _SEGMENT - len(EXIF)
        parts += [_segment(0xE1, EXIF + block[k : k + room]) for k in range(0, len(block), room)]
    if (xmp := metadata.get("xmp-data")) and len(xmp) <= _SEGMENT - len(XMP):
        parts.append(_segment(0xE1, XMP + xmp))
    if extended := metadata.get("xmp-extended"):
        guid, whole = extended[:32], extended[32:]
        parts += [
            _segment(0xE1, EXTENDED_XMP + guid + struct.pack(">II", len(whole), k) + whole[k : k + 65400])
            for k in range(0, len(whole), 65400)
        ]
    if profile := metadata.get("icc-profile-data"):
        room = _SEGMENT - len(ICC) - 2
        pieces = [profile[k : k + room] for k in range(0, len(profile), room)]
        if len(pieces) < 256:
            parts += [_segment(0xE2, ICC + bytes([k, len(pieces)]) + piece) for k, piece in enumerate(pieces, 1)]
    if iptc := metadata.get("iptc-data"):
        room = _SEGMENT - len(PHOTOSHOP)
        parts += [_segment(0xED, PHOTOSHOP + iptc[k : k + room]) for k in range(0, len(iptc), room)]
    parts += [_segment(0xFE, value[:_SEGMENT]) for name, value in metadata.items() if name.startswith("jpeg-comment-")]
    return data[:2] + b"".join(parts) + data[2:]


# ---- PNG -------------------------------------------------------------------------------------------------------------


def read_png(data: bytes) -> tuple[list[Part], int]:
    """The chunks of a PNG file but those of pixels, and where it ends."""
    parts: list[Part] = []
    position, behind = 8, False
    for _ in range(100 * MOST_PARTS):
        head = data[position : position + 8]
        if len(head) < 8 or len(parts) >= MOST_PARTS:
            break
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND":
            return parts, position + 12
        if kind == b"IDAT":
            behind = True
        else:
            content = _content(data, position + 8, size)
            if len(content) < size <= MOST_BYTES:
                break
            parts.append(Part(kind.decode("latin-1"), content, size, position + 8, behind))
        position += 12 + size
    return parts, len(data)


def read_text(kind: str, content: bytes) -> tuple[str, str] | None:
    """Keyword and text of a PNG chunk tEXt, zTXt or iTXt; None where it is damaged or longer than `MOST_BYTES`."""
    keyword, _, rest = content.partition(b"\0")
    try:
        if kind == "tEXt":
            return keyword.decode("latin-1"), rest.decode("latin-1")
        if kind == "zTXt":
            return keyword.decode("latin-1"), _inflate(rest[1:]).decode("latin-1")
        packed = rest[:1] == b"\1"
        _, _, rest = rest[2:].partition(b"\0")
        _, _, text = rest.partition(b"\0")
        return keyword.decode("latin-1"), (_inflate(text) if packed else text).decode("utf-8")
    except (zlib.error, UnicodeDecodeError, ValueError):
        return None


def _inflate(packed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    plain = inflater.decompress(packed, MOST_BYTES)
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("longer than is looked at, or cut short")
    return plain


def read_iccp(content: bytes) -> bytes | None:
    """The profile in a PNG's chunk iCCP."""
    try:
        return _inflate(content.partition(b"\0")[2][1:])
    except (zlib.error, ValueError):
        return None


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_chunks(metadata: Mapping[str, bytes]) -> bytes:
    """What goes between a PNG's header and its pixels."""
    parts = []
    if profile := metadata.get("icc-profile-data"):
        parts.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)))
    for name in _BEFORE_PIXELS:
        if value := metadata.get(f"png-{name}"):
            parts.append(_chunk(name.encode(), value))
    if block := metadata.get("exif-data"):
        parts.append(_chunk(b"eXIf", exif_block.strip_header(block)))
    if xmp := metadata.get("xmp-data"):
        parts.append(_chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp))
    for name, value in metadata.items():
        if name.startswith("png-text-"):
            parts.append(_chunk(value[:4], value[4:]))
        elif name.startswith("jpeg-comment-"):
            if value.isascii():
                parts.append(_chunk(b"tEXt", b"Comment\0" + value))
            else:
                parts.append(_chunk(b"iTXt", b"Comment\0\0\0\0\0" + comment_text(value).encode()))
    return b"".join(parts)


def comment_text(content: bytes) -> str:
    """The text of a JPEG's or GIF's comment, which does not say its encoding: UTF-8 where it is that, else Latin-1."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


# ---- WebP and GIF ----------------------------------------------------------------------------------------------------


def read_webp(data: bytes) -> tuple[list[Part], int]:
    """The chunks of a WebP file, those of pixels without content, and where it ends."""
    parts: list[Part] = []
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    position = 12
    while position + 8 <= end and len(parts) < MOST_PARTS:
        kind = bytes(data[position : position + 4]).decode("latin-1")
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        pixels = kind in ("VP8 ", "VP8L", "ALPH", "ANMF")
        content = bytes(data[position + 8 : position + 18]) if pixels else _content(data, position + 8, size)
        parts.append(Part(kind, content, size, position + 8, any(part.kind in ("VP8 ", "VP8L") for part in parts)))
        position += 8 + size + size % 2
    return parts, max(end, 12)


def _webp_with(data: bytes, metadata: Mapping[str, bytes], size: tuple[int, int], *, alpha: bool) -> bytes:
    """A still WebP file with metadata; `size` is (width, height)."""
    inner = {}
    for part in read_webp(data)[0]:
        inner[part.kind] = data[part.offset : part.offset + part.size]

    def chunk(kind: str, content: bytes) -> bytes:
        return kind.encode() + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    block, xmp, profile = (metadata.get(name, b"") for name in ("exif-data", "xmp-data", "icc-profile-data"))
    flags = (0x20 if profile else 0) | (0x10 if alpha else 0) | (0x08 if block else 0) | (0x04 if xmp else 0)
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in size)
    parts = [chunk("VP8X", struct.pack("<I", flags) + sides)]
    if profile:
        parts.append(chunk("ICCP", profile))
    parts += [chunk(kind, inner[kind]) for kind in ("ALPH", "VP8 ", "VP8L") if kind in inner]
    if block:
        parts.append(chunk("EXIF", exif_block.strip_header(block)))
    if xmp:
        parts.append(chunk("XMP ", xmp))
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def read_gif(data: bytes) -> tuple[list[Part], int]:
    """Comments and application blocks of a GIF file, an empty part for each image, and where it ends."""
    parts: list[Part] = []
    if len(data) < 13:
        return parts, len(data)
    position = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while position < len(data) and len(parts) < MOST_PARTS:
        kind = data[position]
        if kind == 0x3B:
            return parts, position + 1
        if kind == 0x2C:
            flags = data[position + 9] if position + 9 < len(data) else 0
            position += 10 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0) + 1
            name = "image"
        elif kind == 0x21:
            name = f"{data[position + 1]:02X}" if position + 1 < len(data) else ""
            position += 2
        else:
            break
        start, blocks, total = position, [], 0
        while position < len(data) and data[position]:
            length = data[position]
            if name != "image" and total < MOST_BYTES:
                blocks.append(bytes(data[position + 1 : position + 1 + length]))
            total += length
            position += 1 + length
        parts.append(Part(name, b"".join(blocks), total, start))
        position += 1
    return parts, len(data)


# ---- ISO boxes: AVIF, HEIC, JPEG XL, JPEG 2000 -----------------------------------------------------------------------


@dataclass
class Item:
    """One item of an AVIF or HEIC file.

    Attributes:
        id: its number.
        type: `av01`, `hvc1`, `grid`, `Exif`, `mime` …
        content_type: of `mime` items.
        properties: (type, content, whether a reader must understand it).
        references: (kind, items it refers to).
        extents: (offset, length) in the file, or in `idat` where `inside`.
        data: content to write, where it was read.
    """

    id: int
    type: str
    content_type: str = ""
    properties: list[tuple[str, bytes, bool]] = field(default_factory=list)
    references: list[tuple[str, list[int]]] = field(default_factory=list)
    extents: list[tuple[int, int]] = field(default_factory=list)
    inside: bool = False
    data: bytes = b""


@dataclass
class Items:
    """What an AVIF or HEIC file holds.

    Attributes:
        items: by number.
        primary: number of the main image.
        boxes: at the top of the file, in their order.
    """

    items: dict[int, Item] = field(default_factory=dict)
    primary: int = 0
    boxes: list[Part] = field(default_factory=list)


def read_boxes(data: bytes, start: int = 0, end: int | None = None, *, contents: bool = True) -> Iterator[Part]:
    """The boxes between two offsets, not those inside them; without their contents where those are not wanted."""
    end = len(data) if end is None else min(end, len(data))
    position = start
    for _ in range(MOST_PARTS):
        if position + 8 > end:
            return
        size, kind = struct.unpack(">I4s", data[position : position + 8])
        head = 8
        if size == 1:
            if position + 16 > end:
                return
            (size,) = struct.unpack(">Q", data[position + 8 : position + 16])
            head = 16
        elif size == 0:
            size = end - position
        if size < head or position + size > end:
            return
        content = _content(data, position + head, size - head) if contents else b""
        yield Part(kind.decode("latin-1"), content, size - head, position + head)
        position += size


def read_items(data: bytes) -> Items:
    """Items of an AVIF or HEIC file, as far as they can be read."""
    found = Items(boxes=list(read_boxes(data, contents=False)))
    meta = next((box for box in found.boxes if box.kind == "meta"), None)
    if meta is None or meta.size > MOST_BYTES:
        return found
    properties: list[tuple[str, bytes]] = []
    inside = 0
    boxes = list(read_boxes(data, meta.offset + 4, meta.offset + meta.size))
    # items first: the other boxes speak of them
    for box in sorted(boxes, key=lambda box: box.kind != "iinf"):
        try:
            if box.kind == "pitm":
                found.primary = int.from_bytes(box.data[4:6] if box.data[0] == 0 else box.data[4:8], "big")
            elif box.kind == "iinf":
                _read_infos(box.data, found)
            elif box.kind == "iref":
                _read_references(box.data, found)
            elif box.kind == "iloc":
                _read_locations(box.data, found)
            elif box.kind == "idat":
                inside = box.offset
            elif box.kind == "iprp":
                for inner in read_boxes(box.data):
                    if inner.kind == "ipco":
                        properties = [(one.kind, one.data) for one in read_boxes(inner.data)]
                for inner in read_boxes(box.data):
                    if inner.kind == "ipma":
                        _read_associations(inner.data, found, properties)
        except (struct.error, IndexError):
            continue
    for item in found.items.values():
        if item.inside:
            item.extents = [(offset + inside, length) for offset, length in item.extents]
    return found


def item_data(data: bytes, item: Item) -> bytes:
    """The content of an item; empty where it is longer than `MOST_BYTES` or lies beyond the file."""
    if sum(length for _, length in item.extents) > MOST_BYTES:
        return b""
    return b"".join(bytes(data[offset : offset + length]) for offset, length in item.extents)


def _read_infos(content: bytes, found: Items) -> None:
    for box in read_boxes(content, 6 if content[0] == 0 else 8):
        if box.kind != "infe" or len(box.data) < 8 or box.data[0] < 2 or len(found.items) >= MOST_PARTS:
            continue
        width = 2 if box.data[0] == 2 else 4
        number = int.from_bytes(box.data[4 : 4 + width], "big")
        kind = box.data[6 + width : 10 + width].decode("latin-1")
        texts = box.data[10 + width :].split(b"\0")
        mime = texts[1].decode("latin-1") if kind == "mime" and len(texts) > 1 else ""
        found.items.setdefault(number, Item(number, kind, mime))


def _read_references(content: bytes, found: Items) -> None:
    width = 2 if content[0] == 0 else 4
    for box in read_boxes(content, 4):
        origin = int.from_bytes(box.data[:width], "big")
        many = int.from_bytes(box.data[width : width + 2], "big")
        numbers = [
            int.from_bytes(box.data[width + 2 + k * width :][:width], "big")
            for k in range(min(many, (len(box.data) - width - 2) // width))
        ]
        if origin in found.items and len(found.items[origin].references) < 256:
            found.items[origin].references.append((box.kind, numbers))


def _read_locations(content: bytes, found: Items) -> None:
    version = content[0]
    sizes = content[4:6]
    offset_size, length_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_size = sizes[1] & 15 if version else 0
    position = 6

    def take(width: int) -> int:
        nonlocal position
        if position + width > len(content):
            raise IndexError
        value = int.from_bytes(content[position : position + width], "big")
        position += width
        return value

    for _ in range(min(take(2 if version < 2 else 4), MOST_PARTS)):
        number = take(2 if version < 2 else 4)
        method = take(2) & 15 if version else 0
        take(2)
        base = take(base_size)
        extents = []
        for _ in range(take(2)):
            take(index_size)
            offset = take(offset_size)
            extents.append((base + offset, take(length_size)))
            if len(extents) > MOST_PARTS:
                return
        if number in found.items:
            found.items[number].extents = extents
            found.items[number].inside = method == 1


def _read_associations(content: bytes, found: Items, properties: Sequence[tuple[str, bytes]]) -> None:
    version, wide = content[0], content[3] & 1
    position = 8
    for _ in range(min(int.from_bytes(content[4:8], "big"), MOST_PARTS)):
        width = 2 if version < 1 else 4
        number = int.from_bytes(content[position : position + width], "big")
        many = content[position + width]
        position += width + 1
        for _ in range(many):
            value = int.from_bytes(content[position : position + 1 + wide], "big")
            position += 1 + wide
            essential, index = bool(value >> (15 if wide else 7)), value & (0x7FFF if wide else 0x7F)
            if number in found.items and 1 <= index <= len(properties):
                found.items[number].properties.append((*properties[index - 1], essential))


def write_items(items: Items, brands: bytes) -> bytes:
    """An AVIF file of items whose `data` is filled in; `brands` is the content of its first box."""

    def box(kind: str, content: bytes) -> bytes:
        return struct.pack(">I", len(content) + 8) + kind.encode("latin-1") + content

    def full(kind: str, content: bytes, version: int = 0, flags: int = 0) -> bytes:
        return box(kind, struct.pack(">I", version << 24 | flags) + content)

    listed = sorted(items.items.values(), key=lambda item: item.id)
    properties: dict[tuple[str, bytes], int] = {}
    infos, associations, references = [], [], []
    for item in listed:
        mime = item.content_type.encode("latin-1") + b"\0" if item.type == "mime" else b""
        infos.append(full("infe", struct.pack(">HH4s", item.id, 0, item.type.encode("latin-1")) + b"\0" + mime, 2))
        if item.properties:
            indices = [properties.setdefault((kind, data), len(properties) + 1) for kind, data, _ in item.properties]
            flags = [essential for _, _, essential in item.properties]
            values = b"".join(struct.pack(">H", k | must << 15) for k, must in zip(indices, flags, strict=True))
            associations.append(struct.pack(">HB", item.id, len(indices)) + values)
        for kind, numbers in item.references:
            references.append(box(kind, struct.pack(f">HH{len(numbers)}H", item.id, len(numbers), *numbers)))
    described = box("ipco", b"".join(box(kind, data) for kind, data in properties))
    described += full("ipma", struct.pack(">I", len(associations)) + b"".join(associations), flags=1)

    def whole(first: int) -> bytes:
        places, offset = [], first
        for item in listed:
            places.append(struct.pack(">HHHII", item.id, 0, 1, offset, len(item.data)))
            offset += len(item.data)
        return full(
            "meta",
            full("hdlr", bytes(4) + b"pict" + bytes(13))
            + full("pitm", struct.pack(">H", items.primary))
            + full("iloc", b"\x44\0" + struct.pack(">H", len(places)) + b"".join(places))
            + full("iinf", struct.pack(">H", len(infos)) + b"".join(infos))
            + (full("iref", b"".join(references)) if references else b"")
            + box("iprp", described),
        )

    start = box("ftyp", brands)
    begin = len(start) + len(whole(0)) + 8
    return start + whole(begin) + box("mdat", b"".join(item.data for item in listed))


def _tag_colours(item: Item, tags: bytes) -> None:
    """Let an item say that its colours are those of `tags`, primaries, transfer, matrix: in its box and in its stream.

    The stream's sequence header (AV1, section 5.5.2) has the three as bytes, at any bit; they are found by their old
    values behind the flag that announces them.
    """
    boxes = [content for kind, content, _ in item.properties if kind == "colr" and content[:4] == b"nclx"]
    old = boxes[0][5:10:2] if boxes else bytes([1, 13, 6])  # what libheif takes where nothing is said

    def retag(stream: bytes) -> bytes:
        head = stream[:64]
        bits = f"{int.from_bytes(head, 'big'):0{8 * len(head)}b}"
        before, after = ("1" + "".join(f"{byte:08b}" for byte in three) for three in (old, tags[:3]))
        if bits.count(before) != 1:
            return stream
        changed: int = int(bits.replace(before, after), 2)
        return changed.to_bytes(len(head), "big") + stream[64:]

    item.data = retag(item.data)
    kept = [(kind, content, essential) for kind, content, essential in item.properties if content[:4] != b"nclx"]
    item.properties = [
        (kind, content[:4] + retag(content[4:]) if kind == "av1C" else content, essential)
        for kind, content, essential in kept
    ]
    codes = b"".join(bytes([0, code]) for code in tags[:3])
    item.properties.append(("colr", b"nclx" + codes + bytes([tags[3] << 7]), False))


def _avif_with(data: bytes, metadata: Mapping[str, bytes]) -> bytes:
    """An AVIF file with metadata."""
    items = read_items(data)
    for item in items.items.values():
        item.data = item_data(data, item)
    kept = {number: item for number, item in items.items.items() if item.type not in ("Exif", "mime")}
    primary = kept[items.primary]
    if tags := metadata.get("nclx"):
        for item in kept.values():
            if item.type == "av01" and not any(kind == "auxl" for kind, _ in item.references):
                _tag_colours(item, tags)
    for name in ("clli", "mdcv"):
        if value := metadata.get(name):
            primary.properties.append((name, value, False))
    if profile := metadata.get("icc-profile-data"):
        primary.properties.append(("colr", b"prof" + profile, False))
    free = max(kept) + 1
    if block := metadata.get("exif-data"):
        content = struct.pack(">I", 0) + exif_block.strip_header(block)
        kept[free] = Item(free, "Exif", data=content, references=[("cdsc", [items.primary])])
        free += 1
    if xmp := metadata.get("xmp-data"):
        kept[free] = Item(free, "mime", "application/rdf+xml", data=xmp, references=[("cdsc", [items.primary])])
    first = next(box for box in items.boxes if box.kind == "ftyp")
    return write_items(replace(items, items=kept), data[first.offset : first.offset + first.size])


# ---- all of them -----------------------------------------------------------------------------------------------------


def put_metadata(
    path: Path,
    format: str,
    metadata: Mapping[str, bytes],
    *,
    size: tuple[int, int],
    alpha: bool = False,
) -> None:
    """Put metadata into a file that was written without any.

    Args:
        path: jpeg, png, webp or avif; changed in place.
        format: which of them.
        metadata: libvips' names (`exif-data`, `xmp-data`, `icc-profile-data`, `iptc-data`), and `xmp-extended`,
            `jpeg-comment-N`, `png-text-N` (kind and content of a chunk), `png-gAMA`, `png-cICP` …, `nclx` (primaries,
            transfer, matrix; the matrix must be the one by which the file was written), `dpi` (two big-endian numbers
            of 16 bits, for JPEG).
        size: (width, height).
        alpha: whether the image has transparency.

    Raises:
        OSError: the file cannot be written; it may be damaged.
    """
    if format == "png":
        parts = _png_chunks(metadata)
        if parts:
            _insert(path, 33, parts)  # behind the signature and IHDR
    elif metadata:
        data = path.read_bytes()
        if format == "jpeg":
            data = _jpeg_with(data, metadata)
        elif format == "webp":
            if not {"exif-data", "xmp-data", "icc-profile-data"} & set(metadata):
                return
            data = _webp_with(data, metadata, size, alpha=alpha)
        else:
            data = _avif_with(data, metadata)
        path.write_bytes(data)


def _insert(path: Path, offset: int, content: bytes) -> None:
    """Put bytes into a file, moving what is behind them, in bounded memory."""
    step = max(2**22, len(content))
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        while end > offset:
            start = max(offset, end - step)
            file.seek(start)
            block = file.read(end - start)
            file.seek(start + len(content))
            file.write(block)
            end = start
        file.seek(offset)
        file.write(content)
