"""The table of docs/metadata.md, from forty files that go through every writer.

    python tests/metadata_table.py            writes it into the page

Each file holds one thing that is looked for. A cell says what became of it: `kept` where the result holds the same,
`converted` where it holds it in another form, `noted` where `write_image` tells that it is missing or has changed, and
`refused` where nothing is written. Anything else is an error: something would be lost in silence.
"""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from repix.errors import InputError
from repix.io.image import Picture, read_image, write_image

PAGE = Path(__file__).parents[1] / "docs" / "metadata.md"
BEGIN, END = "<!-- python tests/metadata_table.py -->", "<!-- end -->"
WRITERS = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "TIFF": ".tif", "AVIF": ".avif"}
PIXELS = np.full((40, 60, 3), 120, np.uint8)
RDF = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
XMP = RDF + b"<rdf:Description xmlns:dc='http://purl.org/dc/elements/1.1/' dc:source='b'/></rdf:RDF></x:xmpmeta>"
GUID = b"0123456789ABCDEF0123456789ABCDEF"
SONG = b"\0\0\0\x18ftypmp42" + bytes(400)


def saved(format: str, image: Image.Image | None = None, **how: object) -> bytes:
    """A file by Pillow."""
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(buffer, format, **how)
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*parts: bytes, behind: bytes = b"") -> bytes:
    """A JPEG with further segments."""
    data = saved("jpeg")
    return data[:2] + b"".join(parts) + data[2:] + behind


def png(kind: bytes, content: bytes) -> bytes:
    """A PNG with a further chunk before the pixels."""
    data = saved("png")
    made = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + made + data[33:]


def xmp(attributes: bytes) -> bytes:
    """A segment of XMP."""
    packet = RDF + b"<rdf:Description " + attributes + b"/></rdf:RDF></x:xmpmeta>"
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def tags(note: bytes = b"") -> Image.Exif:
    """EXIF in three directories."""
    block = Image.Exif()
    block[0x010E], block[0x4746], block[0x9C9B] = "a street", 4, "title".encode("utf-16-le")
    inner = block.get_ifd(0x8769)
    inner.update({0x829A: TiffImagePlugin.IFDRational(1, 250), 0x9400: 21} | ({0x927C: note} if note else {}))
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 3.0)})
    block[0x8769], block[0x8825] = dict(inner), dict(block.get_ifd(0x8825))
    return block


def with_xmp(format: str) -> bytes:
    """A file with a packet of XMP."""
    if format == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return saved("png", pnginfo=info)
    if format == "tiff":
        block = Image.Exif()
        block[700] = XMP
        return saved("tiff", exif=block)
    return saved(format, xmp=XMP)


def texts(*kinds: str) -> Iterator[bytes]:
    """PNG files with a text."""
    for kind in kinds:
        inside = {
            "tEXt": b"Title\0" + "Café".encode("latin-1"),
            "zTXt": b"Title\0\0" + zlib.compress("Café".encode("latin-1")),
            "iTXt": b"Title\0\0\0de\0Titel\0" + "雨".encode(),
        }[kind]
        yield png(kind.encode(), inside)


def files() -> dict[str, list[bytes]]:
    """What is looked for -> files that hold it; forty of them."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    every = ("jpeg", "png", "webp", "tiff", "avif")
    rgba = np.dstack([PIXELS, PIXELS[..., :1]])
    iptc = b"8BIM\4\4\0\0\0\0\0\x0c\x1c\2\x78\0\x07caption"
    resource = b"8BIM\x04\x0b\0\0\0\0\0\x04http"
    hdr = b"xmlns:h='http://ns.adobe.com/hdr-gain-map/1.0/' h:Version='1.0'"
    motion = b"xmlns:G='http://ns.google.com/photos/1.0/camera/' G:MotionPhoto='1'"
    extended = xmp(b"xmlns:n='http://ns.adobe.com/xmp/note/' n:HasExtendedXMP='" + GUID + b"'")
    extended += segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + GUID + struct.pack(">II", 9, 0) + b"w" * 9)
    wide = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    return {
        "EXIF, every tag": [saved(format, exif=tags()) for format in every],
        "a maker's note": [saved(format, exif=tags(b"private" * 9)) for format in every[:2]],
        "XMP": [with_xmp(format) for format in every],
        "extended XMP (over 64 KB)": [jpeg(extended)],
        "colour profile (ICC)": [saved(format, icc_profile=profile) for format in every],
        "Display P3 without a profile (cICP, nclx)": [png(b"cICP", bytes([12, 13, 0, 1]))],
        "BT.2020 with PQ or HLG (cICP, nclx)": [png(b"cICP", bytes([9, transfer, 0, 1])) for transfer in (16, 18)],
        "gamma, chromaticities, HDR brightness of PNG": [
            png(b"gAMA", struct.pack(">I", 100000)),
            png(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
            png(b"mDCV", bytes(range(24))),
            png(b"cLLI", bytes(range(8))),
        ],
        "IPTC, Photoshop's resources": [
            jpeg(segment(0xED, b"Photoshop 3.0\0" + inside)) for inside in (iptc, resource)
        ],
        "comment of JPEG and GIF": [jpeg(segment(0xFE, "Café".encode("latin-1"))), saved("gif", comment=b"words")],
        "texts of PNG, in every encoding": list(texts("tEXt", "zTXt", "iTXt")),
        "transparency": [saved("png", Image.fromarray(rgba))],
        "16 bits a sample": [saved("png", wide)],
        "gain map (Ultra HDR)": [jpeg(xmp(hdr), behind=jpeg())],
        "video of a motion photo": [jpeg(xmp(motion), behind=SONG)],
        "further images (MPO)": [jpeg(behind=jpeg())],
        "content credentials (C2PA)": [jpeg(segment(0xEB, b"JP\0\1jumb"))],
        "private segments and chunks": [jpeg(segment(0xE5, b"HYPER\0abc")), png(b"prVt", b"123")],
    }


def became(image: Picture, path: Path) -> str:
    """What a writer makes of what an image's file held."""
    try:
        notes = write_image(path, image)
    except InputError:
        return "refused"
    if notes:
        return "noted"
    after = read_image(path)
    assert image.inventory is not None
    assert after.inventory is not None
    now = {key: entry.value for key, entry in after.inventory.entries.items()}
    before = {key: entry.value for key, entry in image.inventory.entries.items()}
    same = all(now.get(key) == value for key, value in before.items())
    if same and after.bits >= image.bits and (after.alpha is None) == (image.alpha is None):
        return "kept"
    # in another form, and not another thing in its place
    if (not same and ("icc", "", "") in now) or "text" in {entry.kind for entry in after.inventory.entries.values()}:
        return "converted"
    raise AssertionError(f"{path.name} lost {set(before) - set(now) or (image.bits, after.bits)} in silence")


def table() -> str:
    """The table in Markdown."""
    lines = ["| what | " + " | ".join(WRITERS) + " |", "|---" * (1 + len(WRITERS)) + "|"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        for what, sources in files().items():
            images = []
            for data in sources:
                source.write_bytes(data)
                images.append(read_image(source))
            cells = []
            for suffix in WRITERS.values():
                found = {became(image, Path(folder) / f"result{suffix}") for image in images}
                cells.append(", ".join(sorted(found)))
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
