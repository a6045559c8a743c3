"""The inventory finds what a file holds, compares by meaning, and takes hostile files calmly."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from repix.io import containers, exif, xmp
from repix.io.inventory import Inventory, compare, sentences, take

PIXELS = np.full((40, 60, 3), 120, np.uint8)
HEAD = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<rdf:Description xmlns:dc='http://purl.org/dc/elements/1.1/' dc:format='image/jpeg' "
)
TAIL = b"/></rdf:RDF></x:xmpmeta>"


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*parts: bytes, behind: bytes = b"", **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "jpeg", **how)
    data = buffer.getvalue()
    return data[:2] + b"".join(parts) + data[2:] + behind


def packet(attributes: bytes) -> bytes:
    return segment(0xE1, containers.XMP + HEAD + attributes + TAIL)


def tags(order: str = "<") -> bytes:
    """An EXIF block with a tag that libexif has no name for, a maker's note, a place and a thumbnail."""
    block = Image.Exif()
    block.endian = order
    block[0x010E], block[0x0112], block[0x4746] = "a street", 6, 4
    block.get_ifd(0x8769).update({0x829A: TiffImagePlugin.IFDRational(1, 250), 0x927C: b"private" * 4, 0xA002: 60})
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 3.0)})
    return block.tobytes()


def whats(found: Inventory) -> list[str]:
    return [entry.what for entry in found.entries.values()]


GAIN = b"xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'"
MOTION = b"xmlns:G='http://ns.google.com/photos/1.0/camera/' G:MotionPhoto='1' G:MicroVideoOffset='5000' G:Other='kept'"
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(4988)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (jpeg(packet(GAIN), behind=jpeg()), "the gain map (HDR)"),
        (jpeg(packet(MOTION), behind=VIDEO), "the video of a motion photo"),
        (jpeg(behind=jpeg()), "further images (MPO)"),
        (jpeg(segment(0xFE, b"from the bridge")), "comment"),
        (jpeg(segment(0xEB, b"JP\0\1jumb")), "content credentials (C2PA), which vouch for the old pixels"),
        (jpeg(segment(0xE5, b"HYPER\0abc")), "segment APP5 HYPER"),
        (jpeg(behind=b"what the camera put there"), "25 bytes behind the image"),
        (jpeg(exif=tags()), "tag 0x4746"),
    ],
)
def test_what_a_jpeg_holds_is_told(data: bytes, what: str) -> None:
    found = take(data, "jpeg")
    assert what in whats(found) or (what == "tag 0x4746" and "Rating" in whats(found))
    lost = compare(found, take(jpeg(), "jpeg"))
    assert any(difference.change == "lost" for difference in lost)
    assert sentences(lost)


def test_what_means_something_else_is_told() -> None:
    before, after = (take(jpeg(packet(b"dc:source='%s'" % words)), "jpeg") for words in (b"here", b"there"))
    lost = compare(before, after)
    assert [(one.change, one.kind, one.what) for one in lost] == [("changed", "xmp", "dc:source")]
    assert sentences(lost) == ["XMP changed: dc:source"]


def test_padding_behind_a_jpeg_and_its_thumbnail_are_no_loss() -> None:
    assert whats(take(jpeg(behind=bytes(500)), "jpeg")) == []


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_png_texts_are_read_wherever_they_lie(kind: str) -> None:
    text = "Jürgen"
    content = {
        "tEXt": b"Title\0" + text.encode("latin-1"),
        "zTXt": b"Title\0\0" + zlib.compress(text.encode("latin-1")),
        "iTXt": b"Title\0\0\0de\0Titel\0" + text.encode(),
    }[kind]
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "png")
    data = buffer.getvalue()
    made = struct.pack(">I", len(content)) + kind.encode() + content
    made += struct.pack(">I", zlib.crc32(kind.encode() + content))
    for where in (33, len(data) - 12):
        found = take(data[:where] + made + data[where:], "png")
        assert [(entry.what, entry.value) for entry in found.entries.values()] == [("Title", text)]
        assert found.parts["png-text-0"] == kind.encode() + content


def test_a_text_that_inflates_without_end_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(200 * 2**20))
    assert containers.read_text("zTXt", b"Title\0\0" + bomb) is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_equal_whatever_its_byte_order(order: str) -> None:
    here, there = take(jpeg(exif=tags(order)), "jpeg"), take(jpeg(exif=tags("<")), "jpeg")
    assert compare(here, there) == []
    assert here.orientation == 6


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_block_is_adapted_where_it_stands(order: str) -> None:
    block = exif.strip_header(tags(order))
    adapted = exif.adapt(block, 40, 90, turned=True)
    assert len(adapted) == len(block)
    assert exif.orientation(adapted) == 1
    read = Image.Exif()
    read.load(b"Exif\0\0" + adapted)
    assert read.get_ifd(0x8769)[0xA002] == 40
    assert read.get_ifd(0x8769)[0x927C] == b"private" * 4
    assert sum(a != b for a, b in zip(block, adapted, strict=True)) <= 4


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turned", [False, True])
def test_resolutions_of_a_block_change_places_where_the_image_was_turned(order: str, turned: bool) -> None:
    block = Image.Exif()
    block.endian = order
    block[0x011A], block[0x011B] = 300.0, 200.0
    read = Image.Exif()
    read.load(b"Exif\0\0" + exif.adapt(block.tobytes(), 40, 90, turned=turned))
    assert (read[0x011A], read[0x011B]) == ((200, 300) if turned else (300, 200))


def test_a_block_written_anew_says_the_same() -> None:
    again = exif.to_block(exif.read_directories(exif.strip_header(tags(">"))))
    read = Image.Exif()
    read.load(b"Exif\0\0" + again)
    assert read[0x010E] == "a street"
    assert read[0x4746] == 4
    assert read.get_ifd(0x8769)[0x829A] == 1 / 250
    assert read.get_ifd(0x8825)[2] == (48.0, 12.0, 3.0)
    moved = compare(take(jpeg(exif=tags(">")), "jpeg"), take(jpeg(exif=b"Exif\0\0" + again), "jpeg"))
    assert all("MakerNote, which moved" in difference.what for difference in moved)


@pytest.mark.parametrize("attributes", [GAIN, MOTION])
def test_the_promise_of_further_images_is_taken_out_of_xmp(attributes: bytes) -> None:
    before = HEAD + attributes + TAIL
    after = xmp.adapt(before, extended=False)
    assert after is not None
    assert xmp.claims(before)
    assert not xmp.claims(after)
    assert xmp.properties(before) == xmp.properties(after)
    assert (b"G:Other='kept'" in after) == (b"G:Other" in before)


def test_promises_in_elements_go_with_all_that_is_in_them() -> None:
    before = (
        HEAD[:-1] + b" xmlns:C='http://ns.google.com/photos/1.0/container/'>"
        b"<C:Directory><rdf:Seq><rdf:li rdf:parseType='Resource'><C:Item C:Length='9'/></rdf:li></rdf:Seq>"
        b"</C:Directory>"
        b"<dc:title>a street</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    after = xmp.adapt(before, extended=False)
    assert after is not None
    assert b"Directory" not in after
    assert b"a street" in after
    found = xmp.properties(after)
    assert found is not None
    assert found["dc:title"] == ("a street",)


def test_xmp_with_entities_is_not_expanded() -> None:
    bomb = b"<!DOCTYPE a [<!ENTITY b 'bbbb'>]><a xmlns='u'>&b;</a>"
    assert xmp.properties(bomb) is None


def test_a_tiff_thumbnail_is_no_loss_and_a_page_is() -> None:
    for subtype, said in ((1, []), (0, ["further pages"]), (4, ["a transparency mask"])):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            file.write(PIXELS, photometric="rgb", metadata=None, software=False)
            if subtype == 4:
                file.write(PIXELS[..., 0] > 9, photometric="mask", subfiletype=4, metadata=None)
            else:
                file.write(PIXELS[::4, ::4], photometric="rgb", subfiletype=subtype, metadata=None)
        assert take(buffer.getvalue(), "tiff").images == said


def test_heic_auxiliary_images_and_colours_are_told() -> None:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]]))).save(buffer, quality=90)
    assert take(buffer.getvalue(), "heic").images == []  # transparency is carried with the pixels
    heif = pillow_heif.from_pillow(Image.fromarray(PIXELS))
    heif.add_from_pillow(Image.fromarray(PIXELS[::-1]))
    buffer = io.BytesIO()
    heif.save(buffer, quality=90, save_all=True)
    assert take(buffer.getvalue(), "heic").images == ["further images"]


def test_sides_of_an_avif_written_anew_are_the_same(tmp_path: object) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])).save(buffer, "avif", quality=90)
    data = buffer.getvalue()
    items = containers.read_items(data)
    for item in items.items.values():
        item.data = containers.item_data(data, item)
    first = next(box for box in items.boxes if box.kind == "ftyp")
    again = containers.write_items(items, data[first.offset : first.offset + first.size])
    old, new = (np.asarray(Image.open(io.BytesIO(whole))) for whole in (data, again))
    np.testing.assert_array_equal(old, new)


def everything() -> list[tuple[str, bytes]]:
    """One file of each format with much in it, to be damaged."""
    image = Image.fromarray(PIXELS)
    info = PngInfo()
    info.add_itxt("Title", "é")
    info.add_itxt("XML:com.adobe.xmp", (HEAD + GAIN + TAIL).decode())
    made = [("jpeg", jpeg(packet(GAIN), segment(0xFE, b"c"), behind=jpeg() + VIDEO, exif=tags()))]
    for format, how in (("png", {"pnginfo": info}), ("webp", {"xmp": HEAD + TAIL}), ("tiff", {}), ("avif", {})):
        buffer = io.BytesIO()
        image.save(buffer, format, exif=tags(), **how)
        made.append((format, buffer.getvalue()))
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, exif=tags(), quality=80)
    made.append(("heic", buffer.getvalue()))
    for format in ("gif", "jpeg2000"):
        buffer = io.BytesIO()
        image.save(buffer, format, comment=b"c")
        made.append((format, buffer.getvalue()))
    return made


@pytest.mark.parametrize(("format", "data"), everything(), ids=lambda value: value if isinstance(value, str) else "")
def test_damaged_files_end_without_an_exception(format: str, data: bytes) -> None:
    rng = random.Random(format)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(len(damaged))] = rng.choice((0, 255, rng.randrange(256)))
        cut = bytes(damaged[: rng.randrange(1, len(damaged))]) if rng.random() < 0.3 else bytes(damaged)
        found = take(cut, format)
        sentences(compare(found, Inventory(format)))
        block = found.parts.get("exif-data")
        if block is not None:
            exif.adapt(block, 10, 20, turned=True)
        if (text := found.parts.get("xmp-data")) is not None:
            xmp.adapt(text, extended=False)


def test_directories_that_point_at_each_other_end() -> None:
    loop = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)
    assert len(exif.read_directories(loop)) == 1


def test_a_value_longer_than_the_file_is_left_alone() -> None:
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x010E, 2, 2**32 - 1, 26, 0)
    assert [directory.tags[0x010E].data for directory in exif.read_directories(block)] == [b""]
