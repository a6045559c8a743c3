"""What an image file holds beyond its pixels, and what of it another file no longer holds.

One mechanism for every format: an inventory is taken of the input and of the result, and what is missing or means
something else becomes a note. It looks at the files themselves, not at what a library made of them, so that nothing
that a library leaves behind goes unnoticed. What follows from the pixels (thumbnails, previews, sizes, the orientation
that has been applied) is no loss.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from repix.errors import counted
from repix.io import containers, exif, xmp
from repix.io.containers import Part

Key = tuple[str, str, int | str]
Kind = Literal["exif", "xmp", "icc", "iptc", "text", "colour", "image", "other"]

_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_SRGB = {1, 2, 5, 6, 13}
"""Primaries and transfers (H.273) that are sRGB's, or are taken for it where nothing else is said."""
_SRGB_GAMMA, _SRGB_CHROMA = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_PRIMARIES = {1: "BT.709", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_TRANSFERS = {8: "linear", 13: "sRGB", 16: "PQ", 18: "HLG"}


class Entry(NamedTuple):
    """One thing that a file holds.

    Attributes:
        kind: what sort of thing.
        what: in words.
        value: compares equal where it means the same.
    """

    kind: Kind
    what: str
    value: object


class Difference(NamedTuple):
    """What became of one thing.

    Attributes:
        change: `lost`, or `changed` where it is there and means something else.
        kind: what sort of thing.
        what: in words.
    """

    change: Literal["lost", "changed"]
    kind: Kind
    what: str


@dataclass
class Inventory:
    """What a file holds beyond its pixels.

    Attributes:
        format: jpeg, png, webp, tiff, avif, heic, gif …
        entries: by a key that is the same in every format.
        parts: raw metadata by the names that `containers.put_metadata` takes.
        orientation: that is to be applied, as EXIF has it.
        page: of a TIFF, the first directory that is the image itself, not a smaller copy or a mask.
        pages: of a TIFF, how many such directories there are.
        is_lab: of a TIFF, whether its colours are CIE L*a*b*.
        refused: of a TIFF, what its samples are, in words, where they are none that repix reads; else empty.
    """

    format: str
    entries: dict[Key, Entry] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    orientation: int = 1
    page: int = 0
    pages: int = 1
    is_lab: bool = False
    refused: str = ""

    @property
    def images(self) -> list[str]:
        """Further images, videos and layers that the file holds, in words; a result has one image only."""
        return [entry.what for entry in self.entries.values() if entry.kind == "image"]

    def add(self, key: Key, kind: Kind, what: str, value: object = True) -> None:
        """Add an entry; a second one of that key joins the first."""
        if key in self.entries:
            before = self.entries[key]
            value = (before.value, value)
            if kind == "image":
                what = before.what
        if len(self.entries) < containers.MOST_PARTS:
            self.entries[key] = Entry(kind, what, value)


def take(source: str | os.PathLike[str] | bytes, format: str) -> Inventory:
    """The inventory of a file.

    Args:
        source: the file, or its bytes.
        format: what it is, by its contents.

    Returns:
        The inventory; of what is damaged, as far as it can be read.

    Raises:
        OSError: the file cannot be read.
    """
    found = Inventory(format)
    reader = _READERS.get(format)
    if reader is None:
        return found
    if isinstance(source, bytes):
        reader(source, found)
        return found
    with Path(source).open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return found
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            reader(mapped, found)  # type: ignore[arg-type]
    return found


def has_alpha(path: str | os.PathLike[str]) -> bool:
    """Whether an AVIF or HEIC file's main image has transparency, from its header; False where it cannot be read."""
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            read = containers.read_items(mapped)  # type: ignore[arg-type]
    except (OSError, ValueError):
        return False
    for item in read.items.values():
        auxiliary = any(kind == "auxl" and read.primary in to for kind, to in item.references)
        urns = b" ".join(content for kind, content, _ in item.properties if kind == "auxC").lower()
        if auxiliary and (b"alpha" in urns or b"auxid:1" in urns):
            return True
    return False


def compare(before: Inventory, after: Inventory) -> list[Difference]:
    """What of one file is missing in another made from it, or means something else there."""
    differences = []
    converted = ("icc", "", "") in after.entries and ("icc", "", "") not in before.entries
    for key, entry in before.entries.items():
        if entry.kind == "colour" and converted:
            continue  # said by a profile now
        now = after.entries.get(key)
        if now is None and key[0] in ("text", "comment"):
            now = _same_text(entry, after)
        if now is None:
            differences.append(Difference("lost", entry.kind, entry.what))
        elif now.value != entry.value:
            differences.append(Difference("changed", entry.kind, entry.what))
    return differences


def _same_text(entry: Entry, after: Inventory) -> Entry | None:
    """A comment has no keyword in JPEG and GIF, and one in PNG."""
    return next(
        (other for other in after.entries.values() if other.kind == "text" and other.value == entry.value), None
    )


_LOST: dict[Kind, str] = {
    "exif": "EXIF left out: {}",
    "xmp": "XMP left out: {}",
    "icc": "colour profile left out",
    "iptc": "IPTC left out: {}",
    "text": "text left out: {}",
    "colour": "the result no longer says how its colours are to be read: {}",
    "image": "left out: {}; the result holds the main image only",
    "other": "left out: {}",
}


def sentences(differences: Iterable[Difference]) -> list[str]:
    """Notes on what was lost or changed, one sentence for each kind."""
    grouped: dict[tuple[str, Kind], list[str]] = {}
    for difference in differences:
        grouped.setdefault((difference.change, difference.kind), []).append(difference.what)
    notes = []
    for (change, kind), names in grouped.items():
        unique = list(dict.fromkeys(names))
        more = f" and {len(unique) - 6} more" if len(unique) > 7 else ""
        listed = ", ".join(unique[:6] if more else unique) + more
        template = _LOST[kind] if change == "lost" else f"{kind.upper() if len(kind) < 5 else kind} changed: {{}}"
        notes.append(template.format(listed))
    return notes


# ---- what is inside every format -------------------------------------------------------------------------------------


def _add_exif(found: Inventory, block: bytes) -> None:
    block = exif.strip_header(block)
    if block and block != found.parts.get("exif-data", block):
        found.add(("exif", "", "second"), "exif", "a second block", _digest(block))
    if not block or "exif-data" in found.parts:
        return
    found.parts["exif-data"] = block
    directories = exif.read_directories(block)
    if not directories:
        found.add(("exif", "", "damaged"), "exif", "a damaged block", _digest(block))
        return
    if found.format not in ("avif", "heic"):  # there the container alone says how an image is turned
        found.orientation = exif.orientation(block)
    _add_directories(found, directories)


def _add_directories(found: Inventory, directories: list[exif.Directory]) -> None:
    for directory in directories:
        if directory.name == "SubIFD" or (directory.parent and found.format != "tiff"):
            continue  # a thumbnail's
        name = "IFD0" if directory.name.startswith("IFD") else directory.name
        for tag, value in directory.tags.items():
            if tag in exif.STRUCTURE or (directory.name == "Exif" and tag in (0xA002, 0xA003)):
                continue
            if not value.data and value.many:
                continue
            found.add(("exif", name, tag), "exif", _tag_name(directory.name, tag), value.plain())
            if tag == exif.MAKER_NOTE and not value.data.startswith((b"Nikon\0", b"FUJIFILM", b"OLYMPUS\0")):
                what = "MakerNote, which moved: some programs will not read all of it"
                found.add(("exif", "MakerNote", "offset"), "exif", what, value.offset)


def _tag_name(directory: str, tag: int) -> str:
    from PIL import ExifTags

    names = ExifTags.GPSTAGS if directory == "GPS" else ExifTags.TAGS
    name = names.get(tag)
    return name if name else f"tag 0x{tag:04X}"


def _add_xmp(found: Inventory, packet: bytes) -> None:
    packet = packet.rstrip(b"\0")
    if packet and packet != found.parts.get("xmp-data", packet):
        found.add(("xmp", "", "second"), "xmp", "a second packet", _digest(packet))
    if not packet or "xmp-data" in found.parts:
        return
    found.parts["xmp-data"] = packet
    properties = xmp.properties(packet)
    if properties is None:
        found.add(("xmp", "", ""), "xmp", "a packet that cannot be read", _digest(packet))
    for name, values in (properties or {}).items():
        found.add(("xmp", name, ""), "xmp", name, values)


def _add_icc(found: Inventory, profile: bytes | None) -> None:
    if profile:
        found.parts["icc-profile-data"] = profile
        found.add(("icc", "", ""), "icc", "colour profile", _digest(profile))


def _add_photoshop(found: Inventory, content: bytes) -> None:
    """IPTC and other resources of Photoshop; each is `8BIM`, a number, a name, a length and a content."""
    found.parts["iptc-data"] = content
    position = 0
    for _ in range(4096):
        if content[position : position + 4] != b"8BIM":
            break
        number = int.from_bytes(content[position + 4 : position + 6], "big")
        name = content[position + 6 : position + 7]
        position += 6 + (1 + (name[0] if name else 0) + 1) // 2 * 2
        size = int.from_bytes(content[position : position + 4], "big")
        inside = content[position + 4 : position + 4 + size]
        position += 4 + size + size % 2
        if number == 0x0404:
            _add_iptc(found, inside)
        elif number not in (0x0409, 0x040C, 0x03ED, 0x0425):  # thumbnails, resolution, a digest of the IPTC
            found.add(("iptc", "8BIM", number), "iptc", f"Photoshop's resource {number}", _digest(inside))


def _add_iptc(found: Inventory, content: bytes) -> None:
    names = {5: "title", 25: "keywords", 80: "author", 105: "headline", 110: "credit", 116: "copyright", 120: "caption"}
    position = 0
    for _ in range(4096):
        if content[position : position + 1] != b"\x1c" or position + 5 > len(content):
            break
        record, dataset = content[position + 1], content[position + 2]
        size = int.from_bytes(content[position + 3 : position + 5], "big")
        name = names.get(dataset, f"{record}:{dataset}") if record == 2 else f"{record}:{dataset}"
        found.add(("iptc", str(record), dataset), "iptc", name, content[position + 5 : position + 5 + size])
        position += 5 + size


def _add_cicp(found: Inventory, primaries: int, transfer: int) -> None:
    if primaries in _SRGB and transfer in _SRGB:
        return
    words = f"{_PRIMARIES.get(primaries, f'primaries {primaries}')}, {_TRANSFERS.get(transfer, f'transfer {transfer}')}"
    found.add(("colour", "cicp", ""), "colour", words, (primaries, transfer))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


# ---- the formats -----------------------------------------------------------------------------------------------------


def _jpeg(data: bytes, found: Inventory) -> None:
    parts, end = containers.read_jpeg(data)
    extended: dict[bytes, dict[int, bytes]] = {}
    profile: dict[int, bytes] = {}
    block = photoshop = b""
    further: list[bytes] = []
    previews: list[bool] = []
    for part in parts:
        content = part.data
        if part.kind == "APP1" and content.startswith(containers.EXIF):
            if block and content[6:10] in (b"II*\0", b"MM\0*"):  # no continuation, one of its own
                further.append(content[6:])
            else:
                block += content[6:]
        elif part.kind == "APP1" and content.startswith(containers.XMP):
            _add_xmp(found, content[len(containers.XMP) :])
        elif part.kind == "APP1" and content.startswith(containers.EXTENDED_XMP):
            rest = content[len(containers.EXTENDED_XMP) :]
            extended.setdefault(rest[:32], {})[int.from_bytes(rest[36:40], "big")] = rest[40:]
        elif part.kind == "APP2" and content.startswith(containers.ICC):
            profile[content[12] if len(content) > 12 else 0] = content[14:]
        elif part.kind == "APP2" and content.startswith(b"MPF\0"):
            previews = _previews(content[4:])
        elif part.kind == "APP2" and content.startswith(b"urn:iso:std:iso:ts:21496"):
            continue  # speaks of the gain map, which is told of by itself
        elif part.kind == "APP13" and content.startswith(containers.PHOTOSHOP):
            photoshop += content[len(containers.PHOTOSHOP) :]
        elif part.kind == "COM":
            _add_comment(found, content)
        elif part.kind == "APP11" and content.startswith(b"JP"):
            found.add(("other", "C2PA", ""), "other", "content credentials (C2PA), which vouch for the old pixels")
        elif part.kind.startswith("APP") and part.kind not in ("APP0", "APP14"):
            name = content[:32].partition(b"\0")[0].decode("ascii", "replace")
            readable = "".join(c for c in name if c.isprintable() and c != "\ufffd")
            found.add(("other", part.kind, readable), "other", f"segment {part.kind} {readable}".strip())
    for each in (block, *further):
        _add_exif(found, each)
    if profile:
        _add_icc(found, b"".join(profile[k] for k in sorted(profile)))
    if photoshop:
        _add_photoshop(found, photoshop)
    for guid, pieces in extended.items():
        whole = b"".join(pieces[k] for k in sorted(pieces))
        found.parts["xmp-extended"] = guid + whole
        size = counted(len(whole), "byte", form=",")
        found.add(("xmp", "extended", ""), "xmp", f"the extended part ({size})", _digest(whole))
    _trailer(data, end, found, previews)


def _previews(content: bytes) -> list[bool]:
    """Of each image that an MPO's index names, whether it is but a smaller copy of the first."""
    for directory in exif.read_directories(content):
        if (value := directory.tags.get(0xB002)) is not None:
            order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
            starts = range(0, len(value.data) - 15, 16)
            kinds = [int.from_bytes(value.data[k : k + 4], order) & 0xFFFFFF for k in starts]
            return [kind in (0x010001, 0x010002) for kind in kinds]
    return []


def _trailer(data: bytes, end: int, found: Inventory, previews: list[bool]) -> None:
    """What lies behind a JPEG image: further images, a video, a camera's own."""
    number = 1
    for _ in range(256):
        start = data.find(b"\xff\xd8\xff", end)
        if start < 0:
            break
        _behind(data, end, start, found)
        if any(part.kind == "image" and "video" in part.what for part in found.entries.values()):
            return  # what looks like an image lies in the video
        parts, end = containers.read_jpeg(data, start)
        text = b"".join(part.data for part in parts if part.kind in ("APP1", "APP2"))
        gain = any(name in text for name in (b"hdr-gain-map/1.0/", b"urn:iso:std:iso:ts:21496", b"HDRGainMap"))
        if gain or b"hdr-gain-map" in found.parts.get("xmp-data", b""):
            found.add(("image", "gain map", ""), "image", "the gain map (HDR)")
        elif not (number < len(previews) and previews[number]):
            found.add(("image", "further", ""), "image", "further images (MPO)")
        number += 1
    _behind(data, end, len(data), found)


def _behind(data: bytes, start: int, end: int, found: Inventory) -> None:
    content = bytes(data[start : min(end, start + 4096)]).strip(b"\0")
    if not content:
        return
    if b"ftyp" in content[:256] or b"MotionPhoto_Data" in content or data.find(b"MotionPhoto_Data", start, end) >= 0:
        found.add(("image", "video", ""), "image", "the video of a motion photo")
    else:
        found.add(("other", "trailer", ""), "other", f"{counted(end - start, 'byte', form=',')} behind the image")


def _add_comment(found: Inventory, content: bytes) -> None:
    content = content.rstrip(b"\0")
    if content:
        number = sum(name.startswith("jpeg-comment-") for name in found.parts)
        found.parts[f"jpeg-comment-{number}"] = content
        found.add(("comment", "", number), "text", "comment", containers.comment_text(content))


def _png(data: bytes, found: Inventory) -> None:
    parts, end = containers.read_png(data)
    texts = 0
    gamma: int | None = None
    for part in parts:
        kind, content = part.kind, part.data
        if kind in ("tEXt", "zTXt", "iTXt"):
            read = containers.read_text(kind, content)
            if read is not None and read[0] == "XML:com.adobe.xmp":
                _add_xmp(found, read[1].encode())
                continue
            found.parts[f"png-text-{texts}"] = kind.encode() + content
            name = read[0] if read is not None else ""
            found.add(
                ("text", name, texts),
                "text",
                name or "one without a keyword",
                read[1] if read is not None else _digest(content),
            )
            texts += 1
        elif kind == "eXIf":
            _add_exif(found, content)
        elif kind == "iCCP":
            _add_icc(found, containers.read_iccp(content))
        elif kind in ("cICP", "gAMA", "cHRM", "mDCV", "cLLI"):
            found.parts[f"png-{kind}"] = content
            if kind == "cICP" and len(content) == 4:
                _add_cicp(found, content[0], content[1])
            elif kind == "gAMA" and len(content) == 4:
                gamma = int.from_bytes(content, "big")
            elif kind == "cHRM" and len(content) == 32:
                values = tuple(int.from_bytes(content[k : k + 4], "big") for k in range(0, 32, 4))
                if any(abs(a - b) > 200 for a, b in zip(values, _SRGB_CHROMA, strict=True)):
                    found.add(("colour", "cHRM", ""), "colour", "chromaticities (cHRM)", values)
            elif kind in ("mDCV", "cLLI"):
                found.add(("colour", kind, ""), "colour", f"HDR brightness ({kind})", content)
        elif kind == "sRGB":
            found.parts["png-sRGB"] = content
        elif kind == "caBX":
            found.add(("other", "C2PA", ""), "other", "content credentials (C2PA), which vouch for the old pixels")
        elif kind == "tIME":
            found.add(("other", "tIME", ""), "other", "time of the last change (tIME)", content)
            found.parts["png-tIME"] = content
        elif kind not in (
            "IHDR",
            "PLTE",
            "tRNS",
            "bKGD",
            "hIST",
            "sBIT",
            "pHYs",
            "sPLT",
            "acTL",
            "fcTL",
            "fdAT",
            "gIFx",
        ):
            found.add(("other", "chunk", kind), "other", f"chunk {kind if kind.isprintable() else kind.encode().hex()}")
    if gamma is not None and abs(gamma - _SRGB_GAMMA) > 500 and not {"png-sRGB", "icc-profile-data"} & set(found.parts):
        found.add(("colour", "gAMA", ""), "colour", f"gamma {gamma / 1e5:g} (gAMA)", gamma)
    if end < len(data) and bytes(data[end : end + 4096]).strip(b"\0"):
        _behind(data, end, len(data), found)


def _webp(data: bytes, found: Inventory) -> None:
    parts, end = containers.read_webp(data)
    for part in parts:
        if part.kind == "EXIF":
            _add_exif(found, part.data)
        elif part.kind == "XMP ":
            _add_xmp(found, part.data)
        elif part.kind == "ICCP":
            _add_icc(found, part.data)
        elif part.kind == "C2PA":
            found.add(("other", "C2PA", ""), "other", "content credentials (C2PA), which vouch for the old pixels")
        elif part.kind not in ("VP8X", "VP8 ", "VP8L", "ALPH", "ANIM", "ANMF"):
            found.add(("other", "chunk", part.kind), "other", f"chunk {_readable(part.kind)}")
    if end < len(data) and bytes(data[end : end + 4096]).strip(b"\0"):
        _behind(data, end, len(data), found)


def _readable(name: str) -> str:
    return name.strip() if name.isprintable() else name.encode("latin-1", "replace").hex()


def _gif(data: bytes, found: Inventory) -> None:
    parts, _ = containers.read_gif(data)
    for part in parts:
        if part.kind == "FE":
            _add_comment(found, part.data)
        elif part.kind == "FF" and part.data.startswith(b"XMP DataXMP"):
            start = part.offset + 12
            _add_xmp(found, bytes(data[start : start + part.size * 2]).partition(b"<?xpacket end")[0])
        elif part.kind == "FF" and not part.data.startswith((b"NETSCAPE", b"ANIMEXTS", b"ICCRGBG1")):
            name = part.data[:8].decode("ascii", "replace")
            found.add(("other", "block", name), "other", f"application block {_readable(name)}")


def _tiff(data: bytes, found: Inventory) -> None:
    directories = exif.read_directories(data, keep=False)
    rows = [directory for directory in directories if directory.name.startswith("IFD")]
    if not rows:
        return
    full = [k for k, directory in enumerate(rows) if not _subtype(directory) & 5]
    found.page, found.pages = (full[0] if full else 0), max(1, len(full))
    own = [directory for directory in directories if directory.parent == found.page]
    _add_directories(found, own)
    tags = rows[found.page].tags
    found.is_lab = _first(tags, 0x0106) == 8
    found.refused = _unusual_samples(tags, is_lab=found.is_lab)
    if (value := tags.get(exif.ORIENTATION)) is not None and value.data and 1 <= value.data[0] <= 8:
        found.orientation = value.data[0]
    for tag, add in ((exif.XMP, _add_xmp), (exif.ICC, _add_icc), (exif.PHOTOSHOP, _add_photoshop)):
        if (value := tags.get(tag)) is not None:
            add(found, bytes(data[value.offset : value.offset + min(value.many, containers.MOST_BYTES)]))
    if (value := tags.get(exif.IPTC)) is not None and "iptc-data" not in found.parts:
        size = min(value.many * (4 if value.type == 4 else 1), containers.MOST_BYTES)
        content = bytes(data[value.offset : value.offset + size]).rstrip(b"\0")
        resource = b"8BIM\x04\x04\0\0" + len(content).to_bytes(4, "big") + content + bytes(len(content) % 2)
        _add_photoshop(found, resource)
    if exif.LAYERS in tags:
        found.add(("image", "layers", ""), "image", "Photoshop's layers")
    described = [exif.Directory(directory.name, _described(directory)) for directory in own]
    if any(directory.tags for directory in described):
        for directory in described:
            directory.name = "IFD0" if directory.name.startswith("IFD") else directory.name
        found.parts["exif-data"] = exif.to_block(described)
    for number, directory in enumerate(rows):
        if number != found.page and _subtype(directory) & 4:
            found.add(("image", "mask", ""), "image", "a transparency mask")
        elif number != found.page and not _subtype(directory) & 1:
            found.add(("image", "pages", ""), "image", "further pages")
    for directory in directories:
        if directory.name == "SubIFD" and not _subtype(directory) & 5:
            found.add(("image", "pages", ""), "image", "further pages")


def _first(tags: Mapping[int, exif.Value], tag: int, default: int = 1) -> int:
    """The first number of a tag of short ones."""
    value = tags.get(tag)
    return int.from_bytes(value.data[:2], "little") if value is not None and value.data else default


def _unusual_samples(tags: Mapping[int, exif.Value], *, is_lab: bool) -> str:
    bits, form = _first(tags, 0x0102), _first(tags, 0x0153)
    kind = {2: " signed", 3: " floating point", 5: " complex", 6: " complex"}.get(form, "")
    if not kind and bits in ((8,) if is_lab else (1, 2, 4, 8, 16)):
        return ""
    return f"{bits} bit{kind}{' L*a*b*' if is_lab else ''} samples"


def _subtype(directory: exif.Directory) -> int:
    """Whether a directory of a TIFF is a smaller copy (1) or a mask (4); bits of NewSubfileType."""
    value = directory.tags.get(0x00FE)
    return int.from_bytes(value.data[:4], "little") if value is not None else 0


def _described(directory: exif.Directory) -> dict[int, exif.Value]:
    """Tags of a TIFF file's directory that describe the image, not how its pixels lie."""
    inside = directory.name in ("Exif", "GPS", "Interop")
    left_out = {exif.INTEROP_POINTER} if inside else exif.STRUCTURE
    return {tag: value for tag, value in directory.tags.items() if tag not in left_out and value.data}


_AUXILIARY = {
    "alpha": "",
    "hevc:2015:auxid:1": "",
    "hevc:2015:auxid:2": "the depth map",
    "hdrgainmap": "the gain map (HDR)",
    "depth": "the depth map",
    "disparity": "the depth map",
    "matte": "mattes (hair, skin, sky)",
}


def _items(data: bytes, found: Inventory) -> None:
    read = containers.read_items(data)
    tiles = {number for item in read.items.values() for kind, to in item.references if kind == "dimg" for number in to}
    for item in read.items.values():
        kinds = {kind for kind, _ in item.references}
        if item.type == "Exif":
            content = containers.item_data(data, item)
            offset = int.from_bytes(content[:4], "big")
            _add_exif(found, content[4 + offset :] if offset < len(content) else b"")
        elif item.type == "mime" and item.content_type == "application/rdf+xml":
            _add_xmp(found, containers.item_data(data, item))
        elif item.type in ("mime", "uri "):
            name = _readable(item.content_type or item.type)
            found.add(("other", "item", name), "other", f"an item of {name}")
        elif item.type == "tmap":
            found.add(("image", "gain map", ""), "image", "the gain map (HDR)")
        elif "auxl" in kinds:
            urns = b" ".join(content for kind, content, _ in item.properties if kind == "auxC").lower()
            words = next((word for name, word in _AUXILIARY.items() if name.encode() in urns), "an auxiliary image")
            if words:
                found.add(("image", words, ""), "image", words)
        elif not kinds & {"thmb"} and item.id not in tiles | {read.primary}:
            found.add(("image", "further", ""), "image", "further images")
    primary = read.items.get(read.primary)
    for kind, content, _ in primary.properties if primary is not None else ():
        if kind == "colr" and content[:4] in (b"prof", b"rICC"):
            _add_icc(found, content[4:])
        elif kind == "colr" and content[:4] == b"nclx" and len(content) >= 10:
            codes = tuple(int.from_bytes(content[k : k + 2], "big") for k in (4, 6, 8))
            full = content[10] >> 7 if len(content) > 10 else 1
            found.parts["nclx"] = bytes([codes[0] & 255, codes[1] & 255, codes[2] & 255, full])
            _add_cicp(found, codes[0], codes[1])
        elif kind in ("clli", "mdcv"):
            found.parts[kind] = content
            name = {"clli": "cLLI", "mdcv": "mDCV"}[kind]
            found.add(("colour", name, ""), "colour", f"HDR brightness ({name})", content)
    _top(read.boxes, data, found)


def _top(boxes: list[Part], data: bytes, found: Inventory) -> None:
    """Boxes at the top of a file that hold more than the image."""
    for box in boxes:
        if box.kind in ("mpvd", "moov"):
            what = "the video of a motion photo" if box.kind == "mpvd" else "a sequence of images"
            found.add(("image", "video", ""), "image", what)
        elif box.kind == "uuid" and bytes(data[box.offset : box.offset + 16]) == _C2PA:
            found.add(("other", "C2PA", ""), "other", "content credentials (C2PA), which vouch for the old pixels")
        elif box.kind not in ("ftyp", "meta", "mdat", "free", "skip", "wide", "moof", "mfra", "sidx", "idat"):
            found.add(("other", "box", box.kind), "other", f"box {_readable(box.kind)}")


def _jp2(data: bytes, found: Inventory) -> None:
    uuids = {bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): _add_xmp, b"JpgTiffExif->JP2": _add_exif}
    for box in containers.read_boxes(data):
        if box.kind == "xml ":
            found.add(("text", "xml", ""), "text", "XML", _digest(box.data))
        elif box.kind == "uuid":
            add = uuids.get(box.data[:16])
            if add is not None:
                add(found, box.data[16:])
            else:
                found.add(("other", "uuid", box.data[:16].hex()), "other", "a private box")
        elif box.kind == "jp2h":
            for inner in containers.read_boxes(box.data):
                if inner.kind == "colr" and inner.data[:1] == b"\2":
                    _add_icc(found, inner.data[3:])


_READERS: dict[str, Callable[[bytes, Inventory], None]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
    "avif": _items,
    "heic": _items,
    "jpeg2000": _jp2,
}
