"""What a photo's file holds beside its pixels is in the result, or named in a note: through the command line."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pillow_heif
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

import metadata_table
from repix.cli import main
from repix.infer.images import restore
from repix.infer.jobs import BatchOptions
from repix.io.image import Picture, read_image, write_image
from repix.io.video import ordinary_threads

Derain = Callable[..., tuple[int, str, str]]
PIXELS = np.full((40, 60, 3), 120, np.uint8)
HEAD = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<rdf:Description "
)


@pytest.fixture
def derain(make_weight: Callable[..., Path], work: Path, capfd: pytest.CaptureFixture[str]) -> Derain:
    """`repix derain` with a network that changes nothing."""
    same = make_weight("same", factor=1.0)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["derain", "--model", str(same), *map(str, arguments)])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(stop.value.code or 0), out, err

    return run


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def xmp(attributes: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + HEAD + attributes + b"/></rdf:RDF></x:xmpmeta>")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*before: bytes, after: bytes = b"", pixels: np.ndarray = PIXELS) -> bytes:
    H, W = pixels.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + rows + after + chunk(b"IEND", b"")


def jpeg(*parts: bytes, behind: bytes = b"", **how: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "jpeg", **how)
    data = buffer.getvalue()
    return data[:2] + b"".join(parts) + data[2:] + behind


# ---- PNG: texts, XMP and EXIF in every encoding and place


def test_png_texts_keep_their_characters(derain: Derain) -> None:
    info = PngInfo()
    info.add_itxt("Title", "雨の街 – Jürgen")
    info.add_text("Comment", "Café")
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'>Jürgen</x:xmpmeta>")
    Image.fromarray(PIXELS).save("text.png", pnginfo=info)
    code, out, _ = derain("text.png")
    assert (code, out.count("note:")) == (0, 0)
    with Image.open("text_derained.png") as image:
        image.load()
        assert image.info["Title"] == "雨の街 – Jürgen"
        assert image.info["Comment"] == "Café"
        assert "Jürgen" in image.info["XML:com.adobe.xmp"]
    data = Path("text_derained.png").read_bytes()
    assert b"iTXtXML:com.adobe.xmp" in data
    assert b"zTXt" not in data


def test_what_lies_behind_the_pixels_of_a_png_counts(derain: Derain) -> None:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "a street"
    after = chunk(b"eXIf", tags.tobytes()[6:]) + chunk(b"tEXt", b"Title\0a street")
    Path("after.png").write_bytes(png(after=after))
    assert derain("after.png")[0] == 0
    with Image.open("after_derained.png") as image:
        image.load()
        assert image.size == (40, 60)  # upright
        assert image.info["Title"] == "a street"
        assert dict(image.getexif()) == {0x0112: 1, 0x010E: "a street"}


def test_latin_1_keywords_are_read(derain: Derain) -> None:
    Path("key.png").write_bytes(png(chunk(b"tEXt", "Größe\0groß".encode("latin-1"))))
    assert derain("key.png")[0] == 0
    assert "Größe\0groß".encode("latin-1") in Path("key_derained.png").read_bytes()


def test_no_block_where_there_was_none(derain: Derain) -> None:
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.fromarray(PIXELS).save(name)
        assert derain(name)[0] == 0
        with Image.open(name.replace(".", "_derained.")) as image:
            assert dict(image.getexif()) == {}


# ---- colours and depth


@pytest.mark.parametrize(("kind", "content"), [(b"cICP", bytes([9, 16, 0, 1])), (b"gAMA", struct.pack(">I", 100000))])
def test_colour_chunks_of_png_are_kept_or_named(derain: Derain, kind: bytes, content: bytes) -> None:
    Path("in.png").write_bytes(png(chunk(kind, content)))
    assert derain("in.png")[0] == 0
    assert chunk(kind, content) in Path("in_derained.png").read_bytes()
    code, out, _ = derain("in.png", "-o", "out.jpg")
    assert code == 0
    assert "note: the result no longer says how its colours are to be read" in out


@pytest.mark.parametrize("strong", [False, True])
def test_avif_keeps_primaries_transfer_and_matrix(derain: Derain, strong: bool) -> None:
    """Where a colour is too strong for the matrix by way of the encoder's own, the colours stay all the same."""
    pixels = np.full((64, 96, 3), (255, 0, 0) if strong else (200, 90, 60), np.uint8)
    with ordinary_threads(), av.open("pq.avif", "w", format="avif") as file:
        track = file.add_stream("libsvtav1", 1, {"preset": "9"}, width=96, height=64, pix_fmt="yuv420p10le")
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame = frame.reformat(format="yuv420p10le", dst_colorspace=9, dst_color_range=2)
        for tagged in (track.codec_context, frame):
            tagged.color_range, tagged.colorspace, tagged.color_trc, tagged.color_primaries = 2, 9, 16, 9
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    code, out, _ = derain("pq.avif")
    assert (code, out.count("note:")) == (0, 0)
    found = []
    for name in ("pq.avif", "pq_derained.avif"):
        with av.open(name) as file:
            frame = next(file.decode(video=0))
            found.append((frame.color_primaries, frame.color_trc))
            matrix = frame.colorspace
    assert found[0] == found[1] == (9, 16)
    assert matrix == (6 if strong else 9)
    before, after = (read_image(name).pixels.astype(int) for name in ("pq.avif", "pq_derained.avif"))
    assert np.abs(before - after).max() <= 65535 * 0.02


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".png", ".avif"])
def test_display_p3_stays_display_p3(derain: Derain, suffix: str) -> None:
    """By two numbers where the format has them, by a profile where not."""
    Path("in.png").write_bytes(png(chunk(b"cICP", bytes([12, 13, 0, 1]))))
    code, out, _ = derain("in.png", "-o", f"out{suffix}")
    assert (code, out.count("note:")) == (0, 0), out
    found = read_image(f"out{suffix}").metadata
    numbers = {".png": "png-cICP", ".avif": "nclx"}.get(suffix)
    if numbers:
        assert found[numbers][:2] == bytes([12, 13])
    else:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(found["icc-profile-data"])).profile
        assert "P3" in (profile.profile_description or "")


def test_ten_bit_heic_becomes_a_png_of_sixteen(derain: Derain) -> None:
    ramp = (np.arange(60, dtype=np.uint16) * 1000)[None, :, None].repeat(40, 0).repeat(3, 2)
    pillow_heif.from_bytes("RGB;16", (60, 40), ramp.tobytes()).save("ten.heic", quality=-1)
    assert derain("ten.heic", "-o", "ten.png")[0] == 0
    written = pyvips.Image.new_from_file("ten.png")
    assert written.format == "ushort"
    assert np.abs(written.numpy().astype(int) - ramp).max() < 800
    code, out, _ = derain("ten.heic", "-o", "ten.jpg")
    assert code == 0
    assert "note: 10 bit reduced to 8" in out


# ---- what lies around a JPEG


EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
GAIN = b"xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'"
MOTION = b"xmlns:G='http://ns.google.com/photos/1.0/camera/' G:MotionPhoto='1' G:MicroVideoOffset='5000'"
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(4988)


@pytest.mark.parametrize(
    ("data", "said", "promise"),
    [
        (jpeg(xmp(GAIN), behind=jpeg()), "gain map", b"hdrgm:Version"),
        (jpeg(xmp(MOTION), behind=VIDEO), "motion photo", b"MotionPhoto='1'"),
        (jpeg(behind=jpeg()), "further images", b"MPF\0"),
    ],
    ids=["gain map", "motion photo", "stereo"],
)
def test_images_behind_a_jpeg_are_named_and_no_longer_promised(
    derain: Derain, data: bytes, said: str, promise: bytes
) -> None:
    Path("in.jpg").write_bytes(data)
    code, out, _ = derain("in.jpg")
    assert code == 0
    assert "note: left out: " in out
    assert said in out
    assert promise not in Path("in_derained.jpg").read_bytes()
    # in place nothing is destroyed unasked
    code, _, err = derain("in.jpg", "-o", "in.jpg", "--overwrite")
    assert code == 1
    assert "--force" in err
    assert Path("in.jpg").read_bytes() == data
    Image.fromarray(PIXELS[:20, :20]).save("s.png")
    blend = ["blend", "s.png", "in.jpg", "--polygon", "2,2 9,2 9,9", "-o", "in.jpg", "--overwrite"]
    with pytest.raises(SystemExit) as stop:
        main(blend)
    assert stop.value.code == 2
    assert Path("in.jpg").read_bytes() == data
    with pytest.raises(SystemExit) as stop:
        main([*blend, "--force"])
    assert stop.value.code == 0
    Path("in.jpg").write_bytes(data)
    assert derain("in.jpg", "-o", "in.jpg", "--overwrite", "--force")[0] == 0
    assert len(Path("in.jpg").read_bytes()) < len(data)


def test_what_a_file_holds_twice_is_named(derain: Derain) -> None:
    blocks = []
    for turned in (6, 3):
        tags = Image.Exif()
        tags[0x0112] = turned
        blocks.append(segment(0xE1, b"Exif\0\0" + tags.tobytes().removeprefix(b"Exif\0\0")))
    ratings = [xmp(b"xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='%d'" % stars) for stars in (5, 2)]
    Path("twice.jpg").write_bytes(jpeg(*blocks, *ratings))
    Path("same.jpg").write_bytes(jpeg(blocks[0], blocks[0], ratings[0], ratings[0]))
    _, out, _ = derain("twice.jpg", "same.jpg")
    assert "note: EXIF left out: a second block (twice.jpg)" in out
    assert "note: XMP left out: a second packet (twice.jpg)" in out
    assert "same.jpg" not in out
    assert read_image("twice_derained.jpg").pixels.shape == (60, 40, 3)  # by the first


def test_comments_extended_xmp_and_long_exif_stay(derain: Derain) -> None:
    extended = b"w" * 80000
    guid = hashlib.md5(extended).hexdigest().upper().encode()
    pieces = [segment(0xE1, EXTENSION + guid + struct.pack(">II", 80000, k) + extended[k:][:60000]) for k in (0, 60000)]
    tags = Image.Exif()
    tags[0x4746], tags[0x9C9B] = 4, "title".encode("utf-16-le")
    tags.get_ifd(0x8769).update({0x927C: bytes(range(256)) * 400, 0x9400: 21})
    block = tags.tobytes()
    long = [segment(0xE1, b"Exif\0\0" + block[6:][k : k + 65000]) for k in range(0, len(block), 65000)]
    note = b"xmlns:xmpNote='http://ns.adobe.com/xmp/note/' xmpNote:HasExtendedXMP='" + guid + b"'"
    Path("all.jpg").write_bytes(jpeg(*long, xmp(note), *pieces, segment(0xFE, b"from the bridge")))
    code, out, _ = derain("all.jpg")
    assert (code, out.count("note:")) == (0, 0), out
    data = Path("all_derained.jpg").read_bytes()
    assert b"from the bridge" in data
    assert data.count(guid) == 3
    with Image.open("all_derained.jpg") as image:
        found = image.getexif()
        assert found[0x4746] == 4
        assert found.get_ifd(0x8769)[0x927C] == bytes(range(256)) * 400
    # another format: what it cannot hold is named
    code, out, _ = derain("all.jpg", "-o", "all.webp")
    assert code == 0
    assert "text left out: comment" in out
    assert "XMP left out: the extended part" in out


def test_a_note_says_whose_it_is(derain: Derain) -> None:
    Path("a").mkdir()
    for name in ("a/1.jpg", "a/3.jpg"):
        Path(name).write_bytes(jpeg(behind=jpeg()))
    Path("a/2.jpg").write_bytes(jpeg())
    Path("a/4.jpg").write_bytes(jpeg(segment(0xE5, b"MAKER\0")))
    _, out, _ = derain("a")
    assert "note: left out: further images (MPO); the result holds the main image only (2 of them, first 1.jpg)" in out
    assert "note: left out: segment APP5 MAKER (4.jpg)" in out
    _, out, _ = derain("a/4.jpg")
    assert "note: left out: segment APP5 MAKER\n" in out


def test_every_difference_is_a_field_of_the_result(make_weight: Callable[..., Path], work: Path) -> None:
    Path("in.jpg").write_bytes(jpeg(xmp(GAIN), segment(0xFE, b"words"), behind=jpeg()))
    same = make_weight("same", factor=1.0)
    (result,) = restore("in.jpg", "out.webp", options=BatchOptions(model=same)).done
    assert {(lost.change, lost.kind) for lost in result.lost} == {("lost", "image"), ("lost", "text")}
    assert len(result.notes) == 2


# ---- kinds of files


def test_a_folder_of_everything(derain: Derain) -> None:
    os.mkdir("in")
    big = np.full((96, 128, 3), 120, np.uint8)
    with tifffile.TiffWriter("in/thumb.tif") as file:
        file.write(big, photometric="rgb")
        file.write(big[::4, ::4], photometric="rgb", subfiletype=1)
    Image.fromarray(big).convert("LAB").save("in/lab.tif")
    pillow_heif.from_pillow(Image.fromarray(np.dstack([big, big[..., :1]]))).save("in/cut-out.heic", quality=95)
    for name in ("a.bmp", "a.jp2", "a.ppm", "a.jpg", "gif.gif"):
        Image.fromarray(big).save(f"in/{name}")
    Image.fromarray(big).save("in/jfif.jfif", format="jpeg")
    Path("in/b.nef").write_bytes(b"II*\0")
    Path("in/notes.txt").write_text("x")
    code, out, err = derain("in", "-o", "out")
    assert (code, err) == (0, "")
    assert sorted(os.listdir("out")) == [
        *("a.bmp.png", "a.jp2.png", "a.jpg", "a.ppm.png", "cut-out.png", "gif.png", "jfif.jfif", "lab.tif", "thumb.tif")
    ]
    assert "1 .nef (camera RAW: develop it first)" in out
    assert "1 .txt" in out
    for name in os.listdir("out"):
        assert np.abs(read_image(Path("out") / name).pixels.astype(int) - 120).max() <= 4, name


def test_raw_is_told_to_be_developed(derain: Derain) -> None:
    Path("a.nef").write_bytes(b"II*\0")
    dng = b"II*\0\x08\0\0\0" + struct.pack("<HHHI", 1, 0xC612, 1, 4) + bytes([1, 4, 0, 0]) + bytes(4)
    Path("b.tif").write_bytes(dng)
    for name in ("a.nef", "b.tif"):
        code, _, err = derain(name)
        assert code == 1
        assert "develop it first" in err


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("float64", {"photometric": "minisblack"}, "64 bit floating point samples"),
        ("float32", {"photometric": "rgb"}, "32 bit floating point samples"),
        ("int16", {"photometric": "minisblack"}, "16 bit signed samples"),
        ("uint32", {"photometric": "minisblack"}, "32 bit samples"),
        ("uint16", {"photometric": "cielab"}, "16 bit L*a*b* samples"),
    ],
)
def test_samples_of_tiff_that_are_not_read_are_named(derain: Derain, name: str, how: dict[str, str], said: str) -> None:
    pixels = PIXELS if how["photometric"] != "minisblack" else PIXELS[..., 0]
    with tifffile.TiffWriter("in.tif") as file:
        file.write(pixels.astype(name), **how)
    code, _, err = derain("in.tif")
    assert code == 1
    assert err.startswith(f"repix: in.tif: {said}; repix reads 8 and 16 bit")


def test_what_was_wrong_with_one_file_is_not_said_of_another(derain: Derain) -> None:
    """libvips keeps what it only warned of for the next error."""
    with tifffile.TiffWriter("warned.tif") as file:
        file.write(PIXELS, photometric="rgb", extratags=[(34675, "B", 4, b"none", True)])
    Path("cut.png").write_bytes(png()[:-30])
    assert derain("warned.tif")[0] == 0
    code, _, err = derain("cut.png")
    assert code == 1
    assert "icc" not in err.lower()


def test_jpeg_xl_and_cameras_names_for_heic(derain: Derain) -> None:
    for name in ("a.jxl", "a.png"):
        Path(name).write_bytes(b"\xff\x0a" + bytes(40))
        code, _, err = derain(name)
        assert (code, err) == (1, f"repix: {name}: JPEG XL: convert it to PNG first\n")
    pillow_heif.from_pillow(Image.fromarray(PIXELS)).save("a.heic")
    os.rename("a.heic", "a.hif")
    assert derain("a.hif")[0] == 0
    assert Path("a_derained.jpg").exists()


@pytest.mark.parametrize("words", ["caf\xe9".encode("latin-1"), "雨".encode(), b"plain"])
def test_a_comment_is_a_text_of_png_in_every_encoding(derain: Derain, words: bytes) -> None:
    Path("in.jpg").write_bytes(jpeg(segment(0xFE, words)))
    code, out, _ = derain("in.jpg", "-o", "out.png")
    assert (code, out.count("note:")) == (0, 0)
    with Image.open("out.png") as image:
        image.load()
        assert image.info["Comment"] == (words.decode("latin-1") if words[-1] == 0xE9 else words.decode())


def test_times_of_the_input_stay(derain: Derain) -> None:
    Image.fromarray(PIXELS).save("a.jpg")
    os.utime("a.jpg", (10**9, 10**9))
    derain("a.jpg")
    assert os.stat("a_derained.jpg").st_mtime == 10**9
    derain("a.jpg", "--overwrite", "--no-times")
    assert os.stat("a_derained.jpg").st_mtime > 10**9


# ---- every writer


SOURCES = ("jpeg", "png", "webp", "tiff", "avif")
VARIANTS = [(order, turn, grey) for order in "<>" for turn in (1, 6) for grey in (False, True)]


def everything(format: str, order: str, turn: int, *, grey: bool) -> Picture:
    """An image whose file holds something of every kind that its format takes."""
    tags = Image.Exif()
    tags.endian = order
    tags[0x010E], tags[0x4746], tags[0x0112] = "a street", 4, turn
    tags.get_ifd(0x8769).update({0x829A: 0.004, 0x9400: 21, 0xA002: 60, 0xA003: 40})
    tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 3.0)})
    for pointer in (0x8769, 0x8825):
        tags[pointer] = dict(tags.get_ifd(pointer))
    packet = HEAD + b"xmlns:dc='http://purl.org/dc/elements/1.1/' dc:source='bridge'/></rdf:RDF></x:xmpmeta>"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(PIXELS[..., 0] if grey and format != "webp" else PIXELS)
    how: dict[str, object] = {"exif": tags} | ({} if grey else {"icc_profile": profile})  # it is of RGB
    if format == "png":
        how["pnginfo"] = info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        info.add_itxt("Title", "雨")
    elif format == "tiff":
        tags[700] = packet
    else:
        how["xmp"] = packet
    buffer = io.BytesIO()
    image.save(buffer, format, **how)
    data = buffer.getvalue()
    if format == "jpeg":
        iptc = b"8BIM\4\4\0\0\0\0\0\x0c\x1c\2\x78\0\x07caption"
        data = data[:2] + segment(0xED, b"Photoshop 3.0\0" + iptc) + segment(0xFE, b"words") + data[2:]
    Path("everything").write_bytes(data)
    return read_image("everything")


NO_ROOM = {".jpg": set(), ".png": {"iptc"}, ".webp": {"iptc", "text"}, ".tif": {"text"}, ".avif": {"iptc", "text"}}
"""By the writer, kinds of things that it has no place for."""


@pytest.mark.parametrize("suffix", list(NO_ROOM))
@pytest.mark.parametrize("format", SOURCES)
def test_every_writer_keeps_or_names_everything(work: Path, format: str, suffix: str) -> None:
    """Forty files, of five formats in eight variants, through every writer."""
    held = {"jpeg": {"iptc", "text"}, "png": {"text"}}.get(format, set())
    for order, turn, grey in VARIANTS:
        image = everything(format, order, turn, grey=grey)
        notes = write_image(f"out{suffix}", image)
        expected = held & NO_ROOM[suffix]
        if format == "png" and suffix == ".jpg":
            expected = {"text"}  # JPEG has a place for comments, and none for keywords
        assert {lost.kind for lost in notes.lost} == expected, (order, turn, grey, notes)
        found = read_image(f"out{suffix}")
        assert found.inventory is not None
        kinds = {"exif", "xmp"} | (set() if grey else {"icc"})
        assert {entry.kind for entry in found.inventory.entries.values()} >= kinds
        assert found.inventory.orientation == 1
        assert found.pixels.shape[:2] == ((60, 40) if turn == 6 and format != "avif" else found.pixels.shape[:2])
        assert write_image(f"again{suffix}", found) == ()


def test_the_table_of_the_page_is_what_happens() -> None:
    assert sum(len(made) for made in metadata_table.files().values()) == 40
    page = metadata_table.PAGE.read_text(encoding="utf-8")
    assert f"{metadata_table.BEGIN}\n{metadata_table.table()}\n{metadata_table.END}" in page


# ---- blending


@pytest.mark.parametrize("kind", ["layer", "hundred", "labels", "white"])
def test_a_mask_selects_what_was_drawn(work: Path, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    drawn = np.zeros((100, 120), np.uint8)
    drawn[30:60, 40:80] = 1
    black = np.zeros_like(drawn)
    masks = {
        "layer": np.dstack([np.full((100, 120, 3), 255, np.uint8), drawn * 255]),
        "hundred": drawn * 100,
        "labels": np.dstack([drawn * 64, black, black]),
        "white": drawn * 255,
    }
    Image.fromarray(np.full((100, 120, 3), (230, 40, 30), np.uint8)).save("s.png")
    Image.fromarray(np.full((150, 160, 3), (200, 60, 50), np.uint8)).save("t.png")
    Image.fromarray(masks[kind]).save("mask.png")
    with pytest.raises(SystemExit) as stop:
        main(["blend", "s.png", "t.png", "--mask", "mask.png", "-o", "o.png"])
    assert stop.value.code == 0
    assert capfd.readouterr().out.startswith("1200 pixels")
    with pytest.raises(SystemExit) as stop:  # as derain and translate: what is there is not replaced unasked
        main(["blend", "s.png", "t.png", "--mask", "mask.png", "-o", "o.png"])
    assert stop.value.code == 2


def test_a_source_in_another_colour_space_looks_the_same(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = np.full((100, 120, 3), (230, 40, 30), np.uint8)
    source[40:60, 30:60] = (30, 200, 40)
    Image.fromarray(source).save("s.png")
    wide = pyvips.Image.new_from_array(source, interpretation="srgb").icc_transform("p3", input_profile="srgb")
    wide.pngsave("p3.png")
    Image.fromarray(np.full((150, 160, 3), (200, 60, 50), np.uint8)).save("t.png")
    made = []
    for name in ("s", "p3"):
        polygon = "15,20 90,20 90,80 15,80"
        with pytest.raises(SystemExit) as stop:
            main(["blend", f"{name}.png", "t.png", "--polygon", polygon, "--offset", "10,10", "-o", f"o_{name}.png"])
        assert stop.value.code == 0
        made.append(read_image(f"o_{name}.png").pixels.astype(int))
    assert "note: the source's colours were converted" in capfd.readouterr().out
    # 8 bits of Display P3 hold these colours to half a level of it, which is 2.8 levels of sRGB between red and green
    assert np.abs(made[0] - made[1]).max() <= 3
