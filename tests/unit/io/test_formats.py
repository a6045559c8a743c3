"""The table of formats: what every row promises is tried with real files."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from repix.errors import InputError
from repix.io.formats import (
    FORMATS,
    HEAD,
    IMAGES,
    IMAGES_WRITABLE,
    VIDEOS,
    VIDEOS_WRITABLE,
    by_suffix,
    result_suffix,
    sniff,
)
from repix.io.image import Picture, read_image, read_size, write_image
from repix.io.video import VideoReader, write_video
from videos import make_video

IMAGE_FORMATS = [format for format in FORMATS.values() if format.kind == "image"]
WRITTEN = [format for format in IMAGE_FORMATS if format.save is not None]


def pillow(photo: NDArray[np.uint8], suffix: str) -> bytes:
    """An image file by another program's encoder."""
    image = Image.fromarray(photo)
    if suffix in FORMATS["heic"].suffixes:
        pillow_heif.register_heif_opener()
        buffer = io.BytesIO()
        image.save(buffer, "HEIF", quality=95)
        return buffer.getvalue()
    buffer = io.BytesIO()
    kind = {".gif": "GIF", ".j2k": "JPEG2000", ".jfif": "JPEG", ".dib": "DIB", ".pgm": "PPM", ".pbm": "PPM"}
    image.save(buffer, kind.get(suffix) or Image.registered_extensions()[suffix], lossless=True)
    return buffer.getvalue()


def test_no_two_rows_share_a_name_or_an_extension() -> None:
    suffixes = [suffix for format in FORMATS.values() for suffix in format.suffixes]
    assert len(suffixes) == len(set(suffixes)) == len(IMAGES) + len(VIDEOS)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)
    assert IMAGES_WRITABLE < IMAGES
    assert VIDEOS_WRITABLE < VIDEOS


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)
def test_what_cannot_be_written_has_a_stand_in_of_its_kind_that_can(format: object) -> None:
    assert isinstance(format, type(FORMATS["png"]))
    if format.save is not None:
        assert format.fallback is None
        return
    assert format.fallback is not None
    instead = by_suffix(f"a{format.fallback}")
    assert instead is not None
    assert instead.save is not None
    assert instead.kind == format.kind


@pytest.mark.parametrize("suffix", sorted(IMAGES))
def test_every_image_extension_is_read_whatever_the_name(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    photo = photo[:60, :80]
    data = pillow(photo, suffix)
    if suffix == ".dib":  # a bitmap in memory has no file header; files of that name do have one
        data = pillow(photo, ".bmp")
    format = by_suffix(f"A{suffix.upper()}")
    assert format is not None
    assert sniff(data[:HEAD]) is format
    for name in (f"a{suffix}", "a.png", "a.jpg", "a"):  # the contents decide
        (tmp_path / name).write_bytes(data)
        image = read_image(tmp_path / name)
        assert image.format == format.name
        assert image.pixels.shape == photo.shape
        assert np.abs(image.pixels.astype(int) - photo).mean() < (12 if suffix == ".gif" else 3)
        assert read_size(tmp_path / name) == photo.shape[:2]
        if format.exact:
            np.testing.assert_array_equal(image.pixels, photo)


@pytest.mark.parametrize("format", WRITTEN, ids=lambda format: format.name)
def test_what_is_said_of_writing_is_so(tmp_path: Path, photo: NDArray[np.uint8], format: object) -> None:
    assert isinstance(format, type(FORMATS["png"]))
    path = tmp_path / f"a{format.suffixes[0]}"
    assert write_image(path, photo) == ()
    assert sniff(path.read_bytes()[:HEAD]) is format
    assert (read_image(path).pixels == photo).all() == format.exact
    wide = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    assert bool(write_image(path, wide)) == (format.bits == 8)
    assert read_image(path).pixels.dtype == (np.uint8 if format.bits == 8 else np.uint16)
    see_through = Picture(photo, np.full(photo.shape[:2], 9, np.uint8))
    if format.alpha:
        write_image(path, see_through)
        alpha = read_image(path).alpha
        assert alpha is not None
        assert np.abs(alpha.astype(int) - 9).max() <= 2
    else:
        with pytest.raises(InputError, match="transparency"):
            write_image(path, see_through)


@pytest.mark.parametrize("format", [f for f in WRITTEN if f.max_side], ids=lambda format: format.name)
def test_the_longest_side_is_written_and_one_more_is_refused(tmp_path: Path, format: object) -> None:
    assert isinstance(format, type(FORMATS["png"]))
    assert format.max_side is not None
    path = tmp_path / f"a{format.suffixes[0]}"
    write_image(path, np.zeros((1, format.max_side, 3), np.uint8))
    assert read_size(path) == (1, format.max_side)
    with pytest.raises(InputError, match=f"{format.title} ends at {format.max_side} pixels a side"):
        write_image(path, np.zeros((format.max_side + 1, 1, 3), np.uint8))


@pytest.mark.parametrize("suffix", sorted(VIDEOS_WRITABLE))
def test_every_video_container_is_written_and_sniffed(tmp_path: Path, suffix: str) -> None:
    make_video(tmp_path / "in.mp4", sound=False)
    path = tmp_path / f"a{suffix}"
    with VideoReader(tmp_path / "in.mp4") as source, write_video(path, source) as writer:
        for item in source:
            writer.write(item)
    found, named = sniff(path.read_bytes()[:HEAD]), by_suffix(path)
    assert found is not None
    assert named is not None
    assert found.kind == "video"
    assert found.is_it(path.read_bytes()[:HEAD])
    assert named.is_it(path.read_bytes()[:HEAD])


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".avi", "mpeg4"), (".ts", "libx264"), (".mpg", "mpeg2video"), (".flv", "flv1"), (".wmv", "msmpeg4")],
)
def test_other_video_containers_are_read_and_sniffed(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"a{suffix}"
    make_video(path, codec=codec, sound=False)
    assert sniff(path.read_bytes()[:HEAD]) is by_suffix(path)
    with VideoReader(path) as video:
        assert video.first.width == 64


def test_a_video_in_an_images_place_and_the_reverse_are_told(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    make_video(tmp_path / "a.mp4", sound=False)
    (tmp_path / "a.mp4").rename(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: a video by its contents \(MP4\), not an image; name it \.mp4"):
        read_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.png", photo)
    (tmp_path / "b.png").rename(tmp_path / "b.mp4")
    (tmp_path / "a.jpg").rename(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4: a video \(MP4\); give an image"):
        read_image(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"b\.mp4: an image by its contents \(PNG\), not a video; name it \.png"):
        VideoReader(tmp_path / "b.mp4")


@pytest.mark.parametrize("text", [b"BMW drives\n" * 9, b"P5 is a name", b"PNG", b"<svg/>", b"GIF", b"\0\0\0\x18ftyp"])
def test_a_text_is_not_taken_for_an_image(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(text)
    with pytest.raises(InputError, match=r"a\.jpg"):
        read_image(tmp_path / "a.jpg")


def test_results_of_label_maps_keep_their_colours() -> None:
    assert [result_suffix(suffix, exact=True) for suffix in (".jpg", ".HEIC", ".gif", ".webp", ".TIF", ".dng")] == [
        *(".png", ".png", ".png", ".webp", ".TIF", ".dng")
    ]
    assert [result_suffix(suffix) for suffix in (".JPG", ".heic", ".gif", ".bmp", ".avi", ".mp4", ".dng")] == [
        *(".JPG", ".jpg", ".png", ".png", ".mkv", ".mp4", ".dng")
    ]


def portable_map(kind: bytes, samples: NDArray[np.integer], largest: int) -> bytes:
    height, width = samples.shape[:2]
    return kind + f"\n# by hand\n{width} {height}\n{largest}\n".encode() + samples.astype(">u2").tobytes()


@pytest.mark.parametrize("largest", [65535, 1023])
def test_16_bit_portable_maps_lose_nothing(tmp_path: Path, largest: int) -> None:
    samples = np.random.default_rng(0).integers(0, largest + 1, (9, 7, 3))
    (tmp_path / "a.ppm").write_bytes(portable_map(b"P6", samples, largest))
    (tmp_path / "a.pgm").write_bytes(portable_map(b"P5", samples[..., 0], largest))
    colour, grey = read_image(tmp_path / "a.ppm"), read_image(tmp_path / "a.pgm")
    assert colour.pixels.dtype == grey.pixels.dtype == np.uint16
    assert (colour.grey, grey.grey) == (False, True)
    np.testing.assert_array_equal(colour.pixels, np.rint(samples * (65535 / largest)))
    assert np.abs(grey.pixels[..., 1] - samples[..., 0] * (65535 / largest)).max() <= 0.5


def test_jpeg_2000_of_16_bit(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    y, x = np.mgrid[0:40, 0:50]
    grey = (x * 1300 + y).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.jp2")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.jp2").pixels[..., 2], grey)
    colour = np.stack([x * 1300, y * 1600, (x + y) * 700], -1).astype(np.uint16)
    encoder = av.CodecContext.create("jpeg2000", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 50, 40, "rgb48le", Fraction(1, 25)
    encoder.options = {"pred": "dwt53"}
    packets = [*encoder.encode(av.VideoFrame.from_ndarray(colour, "rgb48le")), *encoder.encode(None)]
    (tmp_path / "colour.jp2").write_bytes(b"".join(map(bytes, packets)))
    image = read_image(tmp_path / "colour.jp2")
    assert image.notes == ("16 bit reduced to 8",)
    assert np.abs(image.pixels - colour / 257).max() < 2
    Image.fromarray(photo).save(tmp_path / "eight.jp2")
    assert read_image(tmp_path / "eight.jp2").notes == ()


def bitmap_of_palette(path: Path) -> NDArray[np.uint8]:
    image = Image.fromarray((np.arange(64) % 4).astype(np.uint8).reshape(8, 8)).convert("P")
    image.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250, 10, 10, 10])
    image.save(path)
    return np.asarray(image.convert("RGB"))


def bitmap_of_one_bit(path: Path) -> NDArray[np.uint8]:
    image = Image.fromarray((np.indices((9, 13)).sum(0) % 2 * 255).astype(np.uint8)).convert("1")
    image.save(path)
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("make", [bitmap_of_palette, bitmap_of_one_bit])
def test_bitmaps_of_few_colours(tmp_path: Path, make: Callable[[Path], NDArray[np.uint8]]) -> None:
    expected = make(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp").pixels, expected)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".jp2"])
def test_what_pillow_reads_is_limited_and_refused_as_the_rest(
    tmp_path: Path, photo: NDArray[np.uint8], suffix: str
) -> None:
    data = pillow(photo, suffix)
    (tmp_path / f"a{suffix}").write_bytes(data)
    with pytest.raises(InputError, match="more than the"):
        read_image(tmp_path / f"a{suffix}", max_pixels=100)
    for size in (len(data) // 2, 40, 20, 12):
        (tmp_path / f"b{suffix}").write_bytes(data[:size])
        with pytest.raises(InputError, match=f"b{suffix}: (damaged or truncated|not an image)"):
            read_image(tmp_path / f"b{suffix}")
    with pytest.raises(InputError, match=f"cannot write {suffix}"):
        write_image(tmp_path / f"c{suffix}", photo)
