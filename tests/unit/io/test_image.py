"""Images survive reading and writing, checked with an independent reader (Pillow)."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import pyvips
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngInfo

from repix.errors import InputError
from repix.io.image import Picture, pixels_like, read_image, resize, write_image

XMP = (
    b"<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description "
    b"xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6' tiff:Artist='A. Uthor'/></rdf:RDF>"
    b"</x:xmpmeta><?xpacket end='w'?>"
)
MAKER_NOTE = b"Maker\0\1\2\3 private bytes"


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x010E] = "a rainy street"
    tags[0x013B] = "me"
    tags[0x0112] = orientation
    tags.get_ifd(0x8769).update({0x829A: TiffImagePlugin.IFDRational(1, 250), 0x927C: MAKER_NOTE})
    tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 3.0)})
    return tags


ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def save_with_metadata(path: Path, array: NDArray[np.uint8], orientation: int = 1) -> None:
    image = Image.fromarray(array)
    if path.suffix == ".png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        info.add_text("Comment", "kept")
        image.save(path, exif=exif(orientation), icc_profile=ICC, pnginfo=info)
    elif path.suffix == ".webp":
        image.save(path, exif=exif(orientation), icc_profile=ICC, xmp=XMP, lossless=True)
    elif path.suffix == ".tif":
        tags = exif(orientation)
        tags[700] = XMP
        for pointer in (0x8769, 0x8825):  # Pillow leaves out directories that are not set as a whole
            tags[pointer] = dict(tags.get_ifd(pointer))
        image.save(path, exif=tags, icc_profile=ICC)
    else:
        subsampling = "4:4:4" if path.suffix == ".avif" else 0
        image.save(path, exif=exif(orientation), icc_profile=ICC, xmp=XMP, quality=95, subsampling=subsampling)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    mse = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 99.0 if mse == 0 else 10 * np.log10(255**2 / mse)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_lossless_formats_give_the_same_pixels(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    assert write_image(tmp_path / f"a{suffix}", photo) == ()
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / f"a{suffix}")), photo)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").pixels, photo)


@pytest.mark.parametrize(("suffix", "least"), [(".jpg", 38.0), (".JPEG", 38.0), (".avif", 38.0)])
def test_lossy_formats_are_close(tmp_path: Path, photo: NDArray[np.uint8], suffix: str, least: float) -> None:
    write_image(tmp_path / f"a{suffix}", Picture(photo))
    assert psnr(np.asarray(opened(tmp_path / f"a{suffix}").convert("RGB")), photo) > least
    assert psnr(read_image(tmp_path / f"a{suffix}").pixels, photo) > least


def test_jpeg_has_full_chroma_and_high_quality(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "a.jpg", Picture(photo))
    with Image.open(tmp_path / "a.jpg") as image:
        assert isinstance(image, JpegImageFile)
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
        assert max(image.quantization[0]) <= 12  # quality 95 of the standard table


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".avif", ".tif"])
def test_metadata_is_carried_over(tmp_path: Path, photo: NDArray[np.uint8], source: str, target: str) -> None:
    save_with_metadata(tmp_path / f"in{source}", photo)
    write_image(tmp_path / f"out{target}", read_image(tmp_path / f"in{source}"))
    image = opened(tmp_path / f"out{target}")
    assert image.info["icc_profile"] == ICC
    tags = image.getexif()
    assert tags[0x010E] == "a rainy street"
    assert tags[0x013B] == "me"
    assert tags.get_ifd(0x8769)[0x829A] == 1 / 250
    assert tags.get_ifd(0x8769)[0x927C] == MAKER_NOTE
    assert tags.get_ifd(0x8825)[2] == (48.0, 12.0, 3.0)
    image.load()  # a PNG's texts may follow its pixels
    xmp = image.info.get("xmp", image.info.get("XML:com.adobe.xmp", b""))
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    assert b"A. Uthor" in xmp
    assert b"tiff:Orientation='1'" in xmp
    if source == target == ".png":
        assert image.info["Comment"] == "kept"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path: Path, photo: NDArray[np.uint8], suffix: str, orientation: int) -> None:
    path = tmp_path / f"in{suffix}"
    save_with_metadata(path, photo, orientation)
    expected = np.asarray(ImageOps.exif_transpose(opened(path)).convert("RGB"))
    read = read_image(path)
    assert read.pixels.shape == expected.shape == (photo.shape if orientation < 5 else (83, 61, 3))
    assert psnr(read.pixels, expected) > 35
    for target in (".jpg", ".png", ".webp", ".tif", ".avif"):
        write_image(tmp_path / f"out{target}", read)
        image = opened(tmp_path / f"out{target}")
        assert image.getexif().get(0x0112, 1) == 1
        assert image.size == expected.shape[1::-1]
        assert psnr(np.asarray(ImageOps.exif_transpose(image).convert("RGB")), expected) > 35
        np.testing.assert_array_equal(read_image(tmp_path / f"out{target}").pixels.shape, expected.shape)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_resolution_turns_with_the_image(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Scanners and faxes have pixels that are not square: 300 by 200 dpi lying are 200 by 300 standing."""
    tags = exif(orientation)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path, exif=tags, dpi=(300, 200))
    image = read_image(path)
    expected = (200, 300) if orientation > 4 else (300, 200)
    assert image.pixels.shape == ((30, 20, 3) if orientation > 4 else (20, 30, 3))
    assert tuple(25.4 * value for value in image.resolution) == pytest.approx(expected, abs=0.5)
    for name in ("b.jpg", "b.tif", "b.png"):
        write_image(tmp_path / name, image)
        written = opened(tmp_path / name)
        assert [float(value) for value in written.info["dpi"]] == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2"])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 2), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_arrays_alone_are_written_as_what_they_are(tmp_path: Path, suffix: str, shape: Any, dtype: Any) -> None:
    """As a `Restorer` takes and gives them: grey, RGB, and both with transparency."""
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    write_image(tmp_path / f"a{suffix}", array)
    read = read_image(tmp_path / f"a{suffix}")
    flat = array.reshape(20, 30, -1)
    channels = flat.shape[2]
    assert read.grey == (channels < 3 and suffix != ".webp")
    assert (read.alpha is not None) == (channels in (2, 4))
    if suffix != ".webp":  # it holds 8 bits alone
        colours = flat[..., :3] if channels > 2 else flat[..., :1].repeat(3, axis=2)
        np.testing.assert_array_equal(read.pixels, colours)
        if read.alpha is not None:
            np.testing.assert_array_equal(read.alpha, flat[..., -1])


def test_arrays_that_are_no_image_are_refused(tmp_path: Path) -> None:
    for array, said in (
        (np.zeros((3, 20, 30), np.uint8), r"got \(3, 20, 30\); channels come last"),
        (np.zeros((2, 20, 30, 3), np.uint8), r"got \(2, 20, 30, 3\)$"),
        (np.zeros(20, np.uint8), r"got \(20,\)$"),
        (np.zeros((0, 5), np.uint8), r"got \(0, 5\)$"),
        (np.zeros((20, 30, 3)), "got float64; make it"),
    ):
        with pytest.raises(InputError, match=f"an image must be .*{said}"):
            write_image(tmp_path / "a.png", array)
    with pytest.raises(InputError, match="cannot hold the image's transparency"):
        write_image(tmp_path / "a.jpg", np.zeros((20, 30, 4), np.uint8))


def dots(path: Path) -> list[float] | None:
    """Dots per inch by Pillow; of formats without a place for them, those of EXIF."""
    image = opened(path)
    tags = image.getexif()
    of_exif = (tags[0x011A], tags[0x011B]) if tags.get(0x0128) == 2 else None
    found = of_exif if path.suffix in (".webp", ".avif") else image.info.get("dpi")
    return None if found is None else [float(value) for value in found]


@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".bmp", ".lab.tif", ".webp", ".avif", ".heic"])
def test_a_resolution_is_kept_wherever_it_stands(tmp_path: Path, source: str, target: str) -> None:
    """In a JPEG's head, a PNG's chunk, a TIFF's tags, a BMP's header, or EXIF alone."""
    before, after = tmp_path / f"a{source}", tmp_path / f"b{target}"
    image = Image.new("LAB" if "lab" in source else "RGB", (40, 30), (90, 128, 128))
    if source in (".webp", ".avif", ".heic"):
        tags = Image.Exif()
        tags[0x011A], tags[0x011B], tags[0x0128] = 300, 200, 2
        if source == ".heic":
            pillow_heif.from_pillow(image).save(before, exif=tags.tobytes())
        else:
            image.save(before, exif=tags)
    else:
        image.save(before, dpi=(300, 200))
    assert write_image(after, read_image(before)).lost == ()
    assert dots(after) == pytest.approx([300, 200], abs=0.5)
    write_image(tmp_path / "again.jpg", read_image(after))
    assert dots(tmp_path / "again.jpg") == pytest.approx([300, 200], abs=0.5)


@pytest.mark.parametrize("target", [".webp", ".avif"])
def test_a_resolution_joins_exif_that_has_none(tmp_path: Path, target: str) -> None:
    """Every tag and the maker's note stay; nothing is added where the resolution is not known."""
    write = {"exif": exif(), "dpi": (300, 300)}
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", **write)
    assert write_image(tmp_path / f"b{target}", read_image(tmp_path / "a.jpg")) == ()
    tags = opened(tmp_path / f"b{target}").getexif()
    assert (tags[0x010E], tags[0x013B], tags[0x011A]) == ("a rainy street", "me", 300)
    assert tags.get_ifd(0x8769)[0x927C] == MAKER_NOTE
    assert tags.get_ifd(0x8825)[2] == (48.0, 12.0, 3.0)
    Image.new("RGB", (40, 30)).save(tmp_path / "c.png")
    write_image(tmp_path / f"c{target}", read_image(tmp_path / "c.png"))
    assert not opened(tmp_path / f"c{target}").getexif()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_become_luma_in_a_grey_image(dtype: type) -> None:
    """ITU-R BT.601: 0.299 red, 0.587 green, 0.114 blue."""
    full = np.iinfo(dtype).max
    colours = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]]]) * full
    grey = Picture(np.zeros((3, 3, 3), dtype), grey=True)
    fitted, notes = pixels_like(Picture(colours.astype(dtype)), grey)
    assert notes == ("the target is grey, so the source's colours were left out",)
    for channel in range(3):
        np.testing.assert_allclose(fitted[0, :, channel] / full, [0.299, 0.587, 0.114, 0.886, 1], atol=0.51 / full)
    colour = Picture(np.zeros((3, 3, 3), dtype))
    np.testing.assert_array_equal(pixels_like(Picture(colours.astype(dtype)), colour)[0], colours)


def linear_grey() -> bytes:
    """A profile of grey tones in linear light: half of it is 188 of 255 in sRGB."""
    linear = b"curv" + bytes(8)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 12)
    head = struct.pack(
        ">I4sI4s4s4s12x4s28x3i", 188, b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp", 63190, 65536, 54061
    )
    return head.ljust(128, b"\0") + table + white + linear


CONVERTED = "the source's colours were converted to the target's colour space"


def test_grey_tones_are_converted_from_their_profile() -> None:
    pixels = np.full((8, 8, 3), 128, np.uint8)
    source = Picture(pixels, grey=True, metadata={"icc-profile-data": linear_grey()})
    for grey in (False, True):
        made, notes = pixels_like(source, Picture(pixels, grey=grey))
        assert notes == (CONVERTED,)
        np.testing.assert_allclose(made, 188, atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_fits_into_grey_tones_has_their_profile(dtype: type) -> None:
    """From colours without a profile, from grey ones, and from a profile of other colours."""
    full = np.iinfo(dtype).max
    target = Picture(np.zeros((8, 8, 3), dtype), grey=True, metadata={"icc-profile-data": linear_grey()})
    half: NDArray[Any] = np.full((8, 8, 3), round(188 / 255 * full), dtype)
    red: NDArray[Any] = np.zeros((8, 8, 3), dtype)
    red[..., 0] = full
    rgb = {"icc-profile-data": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    left_out = "the target is grey, so the source's colours were left out"
    for source, share, said in (
        (Picture(half), 0.5, (CONVERTED, left_out)),
        (Picture(half, grey=True), 0.5, (CONVERTED,)),
        (Picture(half, metadata=rgb), 0.5, (CONVERTED, left_out)),
        (Picture(red), 0.2126 + 0.01, (CONVERTED, left_out)),  # luminance in linear light; of D50, 0.22
    ):
        made, notes = pixels_like(source, target)
        assert notes == said
        assert made.shape == (8, 8, 3)
        assert made.dtype == dtype
        np.testing.assert_allclose(made / full, share, atol=0.005)


@pytest.mark.parametrize("where", ["nclx", "png-cICP"])
def test_display_p3_is_converted_and_hdr_is_said(where: str) -> None:
    """Tags without a profile, as phones write them; full red of sRGB is (234, 51, 35) in Display P3."""
    red = Picture(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    p3 = replace(red, metadata={where: bytes([12, 13, 6, 1])})
    made, notes = pixels_like(red, p3)
    assert notes == (CONVERTED,)
    np.testing.assert_allclose(made[0, 0], (234, 51, 35), atol=2)
    assert pixels_like(p3, p3)[1] == ()
    hdr = replace(red, metadata={where: bytes([9, 16, 9, 1])})
    for source, target in ((red, hdr), (hdr, red), (hdr, p3)):
        made, notes = pixels_like(source, target)
        assert notes == ("the source's colours are tagged otherwise than the target's (HDR, BT.2020) and may be off",)
        np.testing.assert_array_equal(made, source.pixels)
    srgb = replace(red, metadata={where: bytes([1, 13, 6, 1])})
    assert pixels_like(srgb, red)[1] == ()


def test_a_grey_target_with_a_profile_of_colours_has_tones_of_that() -> None:
    """Grey JPEG files often have sRGB's."""
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    target = Picture(np.zeros((8, 8, 3), np.uint8), grey=True, metadata={"icc-profile-data": rgb})
    source = Picture(np.full((8, 8, 3), 128, np.uint8), grey=True, metadata={"icc-profile-data": linear_grey()})
    made, notes = pixels_like(source, target)
    assert notes == (CONVERTED,)
    np.testing.assert_allclose(made, 188, atol=1)
    assert (np.ptp(made, axis=2) == 0).all()


def test_a_profile_that_cannot_be_used_is_not_said_to_be() -> None:
    whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.full((8, 8, 3), 99, np.uint8)
    for profile, said in (
        (rgb, "the source's colours were converted to the target's colour space"),
        (rgb[:300], "a colour profile is damaged or of other colours, so the source's colours may be off"),
        (whole, "a colour profile is damaged or of other colours, so the source's colours may be off"),
        (b"no profile", "a colour profile is damaged or of other colours, so the source's colours may be off"),
    ):
        source = Picture(pixels, metadata={"icc-profile-data": profile})
        made, notes = pixels_like(source, Picture(pixels))
        assert notes == (said,)
        assert np.abs(made.astype(int) - pixels).max() <= 1


def test_damaged_exif_costs_no_image(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    for k, blob in enumerate(
        (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(30))
    ):
        Image.fromarray(photo).save(tmp_path / "in.jpg", exif=blob)
        for suffix in (".jpg", ".png", ".tif", ".webp"):
            write_image(tmp_path / f"{k}{suffix}", read_image(tmp_path / "in.jpg"))
            assert read_image(tmp_path / f"{k}{suffix}").pixels.shape == photo.shape


def test_tiff_with_exif_is_whole(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    save_with_metadata(tmp_path / "in.png", photo)
    write_image(tmp_path / "a.tif", read_image(tmp_path / "in.png"))
    for _ in range(3):  # once more through itself does not pile up or lose anything
        write_image(tmp_path / "b.tif", read_image(tmp_path / "a.tif"))
        assert abs((tmp_path / "b.tif").stat().st_size - (tmp_path / "a.tif").stat().st_size) < 300
        (tmp_path / "b.tif").replace(tmp_path / "a.tif")
    strict = pyvips.Image.tiffload(str(tmp_path / "a.tif"), fail_on="warning")
    np.testing.assert_array_equal(strict.numpy(), photo)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), photo)


def test_thumbnail_of_the_rainy_image_is_dropped(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    thumbnail = io.BytesIO()
    Image.fromarray(photo[:16, :16]).save(thumbnail, "jpeg")
    data = thumbnail.getvalue()
    # IFD0 with one tag, IFD1 with the thumbnail's place and length
    ifd0 = struct.pack(">HHHIIHHI", 1, 0x0112, 3, 1, 1, 0, 0, 0)[:14] + struct.pack(">I", 26)
    ifd1 = struct.pack(">HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(data), 0)
    blob = b"Exif\0\0MM\0*\0\0\0\x08" + ifd0 + ifd1 + data
    Image.fromarray(photo).save(tmp_path / "in.jpg", exif=blob)
    assert data in (tmp_path / "in.jpg").read_bytes()
    write_image(tmp_path / "out.jpg", read_image(tmp_path / "in.jpg"))
    assert (tmp_path / "out.jpg").read_bytes().count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_stay_16_bits(tmp_path: Path, suffix: str) -> None:
    rgb = np.random.default_rng(1).integers(0, 65536, (13, 17, 3), dtype=np.uint16)
    alpha = np.random.default_rng(2).integers(0, 65536, (13, 17), dtype=np.uint16)
    write_image(tmp_path / f"a{suffix}", Picture(rgb, alpha, bits=16))
    back = read_image(tmp_path / f"a{suffix}")
    assert back.bits == 16
    assert back.alpha is not None
    np.testing.assert_array_equal(back.pixels, rgb)
    np.testing.assert_array_equal(back.alpha, alpha)


def test_16_bits_to_8_says_so_and_rounds(tmp_path: Path) -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    notes = write_image(tmp_path / "a.webp", Picture(np.stack([ramp] * 3, axis=2), bits=16))
    assert notes == ("16 bit reduced to 8, WebP holds no more",)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp").pixels[..., 0], np.rint(ramp / 257))


def test_16_bit_avif_keeps_its_depth(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    write_image(tmp_path / "a.avif", Picture(np.stack([ramp] * 3, axis=2), bits=10))
    back = read_image(tmp_path / "a.avif")
    assert back.bits == 10
    assert back.pixels.dtype == np.uint16
    assert np.abs(back.pixels[..., 1].astype(int) - ramp).max() < 1000


@pytest.mark.parametrize("mode", ["L", "I;16", "1"])
def test_grey_stays_grey(tmp_path: Path, photo: NDArray[np.uint8], mode: str) -> None:
    grey = photo[..., 0]
    array = {"L": grey, "I;16": grey.astype(np.uint16) * 257, "1": grey > 128}[mode]
    Image.fromarray(array).save(tmp_path / "in.png")
    image = read_image(tmp_path / "in.png")
    assert image.grey
    assert image.pixels.shape == (*grey.shape, 3)
    write_image(tmp_path / "out.png", image)
    written = opened(tmp_path / "out.png")
    assert written.mode == ("I;16" if mode == "I;16" else "L")
    np.testing.assert_array_equal(np.asarray(written), array * np.uint8(255) if mode == "1" else array)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".avif"])
def test_alpha_is_untouched(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    alpha = np.random.default_rng(3).integers(0, 256, photo.shape[:2], dtype=np.uint8)
    Image.fromarray(np.dstack([photo, alpha])).save(tmp_path / "in.png")
    image = read_image(tmp_path / "in.png")
    write_image(tmp_path / f"out{suffix}", image)
    out = np.asarray(opened(tmp_path / f"out{suffix}"))
    if suffix == ".avif":
        assert psnr(out[..., 3], alpha) > 30
    else:
        np.testing.assert_array_equal(out, np.dstack([photo, alpha]))


def test_transparency_is_not_lost_in_jpeg(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    write_image(tmp_path / "opaque.jpg", Picture(photo, alpha))
    alpha[3, 4] = 254
    with pytest.raises(InputError, match="cannot hold the image's transparency"):
        write_image(tmp_path / "a.jpg", Picture(photo, alpha))
    assert os.listdir(tmp_path) == ["opaque.jpg"]


def test_grey_with_alpha(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    both = np.dstack([photo[..., 0], photo[..., 1]])
    Image.fromarray(both).save(tmp_path / "in.png")
    write_image(tmp_path / "out.png", read_image(tmp_path / "in.png"))
    written = opened(tmp_path / "out.png")
    assert written.mode == "LA"
    np.testing.assert_array_equal(np.asarray(written), both)


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray((np.arange(64) % 4).astype(np.uint8).reshape(8, 8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    image.save(tmp_path / "in.png", transparency=bytes([0, 128, 255, 255]))
    write_image(tmp_path / "out.png", read_image(tmp_path / "in.png"))
    expected = np.asarray(opened(tmp_path / "in.png").convert("RGBA"))
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "out.png").convert("RGBA")), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_srgb_with_a_note(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    Image.fromarray(photo).convert("CMYK").save(tmp_path / f"in{suffix}", quality=95)
    image = read_image(tmp_path / f"in{suffix}")
    assert image.notes == ("CMYK converted to sRGB",)
    assert image.pixels.shape == photo.shape
    write_image(tmp_path / f"out{suffix}", image)
    written = opened(tmp_path / f"out{suffix}")
    assert written.mode == "RGB"
    # a press cannot print these colours, but red must stay red
    red = np.asarray(written)[30, 45].astype(int)
    assert red[0] > 200 > 120 > red[1]
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(written.info["icc_profile"])))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 2)])
def test_tiny_images(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    array = np.full((*size, 3), 100, np.uint8)
    write_image(tmp_path / f"a{suffix}", Picture(array))
    back = read_image(tmp_path / f"a{suffix}").pixels
    assert back.shape == array.shape
    assert np.abs(back.astype(int) - 100).max() <= 2


def test_too_long_for_the_format_says_which_to_take(tmp_path: Path) -> None:
    long = Picture(np.zeros((2, 70000, 3), np.uint8))
    for suffix, most in ((".webp", "16383"), (".jpg", "65500")):
        with pytest.raises(InputError, match=f"ends at {most} pixels"):
            write_image(tmp_path / f"a{suffix}", long)
    write_image(tmp_path / "a.png", long)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif", ".avif"])
def test_animated_is_one_clear_line(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    frames = [Image.fromarray(np.roll(photo, k, axis=0)) for k in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"animated|several-page") as error:
        read_image(tmp_path / f"a{suffix}")
    assert "\n" not in str(error.value)


def test_still_gif_is_read(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo).save(tmp_path / "a.gif")
    with opened(tmp_path / "a.gif") as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif").pixels, expected)


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_read_upright_and_written_as_jpeg(tmp_path: Path, photo: NDArray[np.uint8], orientation: int) -> None:
    pillow_heif.from_pillow(Image.fromarray(photo)).save(tmp_path / "a.heic", quality=90, exif=exif(orientation))
    expected = np.asarray(pillow_heif.open_heif(tmp_path / "a.heic"))
    image = read_image(tmp_path / "a.heic")
    assert image.format == "heic"
    np.testing.assert_array_equal(image.pixels, expected)
    write_image(tmp_path / "a.jpg", image)
    written = opened(tmp_path / "a.jpg")
    assert written.getexif()[0x0112] == 1
    assert written.getexif()[0x010E] == "a rainy street"
    assert psnr(np.asarray(written), expected) > 35


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jpg", b"", "empty"),
        ("a.jpg", b"hello, this is text", "not an image"),
        ("a.png", b"\x89PNG\r\n\x1a\n rest is rubbish", "damaged"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 rubbish", "damaged"),
        ("a.tif", b"II*\0\x08\0\0\0 rubbish", "damaged"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic rubbish", "damaged"),
        ("a.avif", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif rubbish", "damaged"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not an image"),
    ],
)
def test_rubbish_is_one_clear_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said) as error:
        read_image(tmp_path / name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_truncated_is_refused(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_image(path, Picture(noisy))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_image(path)


def test_bomb_is_refused_from_the_header(tmp_path: Path) -> None:
    # a PNG that claims 100,000 x 100,000 and holds nothing: decoding would fail with another message
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError, match=r"10,000 million pixels, more than the 400 million allowed.*--max-pixels"):
        read_image(tmp_path / "bomb.png")


def test_max_pixels_is_inclusive(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "a.png", Picture(photo))
    read_image(tmp_path / "a.png", max_pixels=61 * 83)
    with pytest.raises(InputError, match="million pixels"):
        read_image(tmp_path / "a.png", max_pixels=61 * 83 - 1)


def test_other_pixels_keep_everything_else(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    save_with_metadata(tmp_path / "in.png", photo)
    write_image(tmp_path / "out.png", read_image(tmp_path / "in.png").with_pixels(255 - photo))
    image = opened(tmp_path / "out.png")
    np.testing.assert_array_equal(np.asarray(image), 255 - photo)
    assert image.getexif()[0x010E] == "a rainy street"


def test_float_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 5), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="8 and 16 bit"):
        read_image(tmp_path / "a.tif")


def test_a_replaced_file_is_read_again(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "a.png", Picture(photo))
    read_image(tmp_path / "a.png")
    write_image(tmp_path / "a.png", Picture(255 - photo))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, 255 - photo)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="open files are told by /proc")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_no_file_stays_open(tmp_path: Path, photo: NDArray[np.uint8], suffix: str) -> None:
    for path in (tmp_path / f"good{suffix}", tmp_path / f"bad{suffix}"):
        write_image(path, photo)
    (tmp_path / f"bad{suffix}").write_bytes((tmp_path / f"bad{suffix}").read_bytes()[:-40])
    read_image(tmp_path / f"good{suffix}")
    with contextlib.suppress(InputError):
        read_image(tmp_path / f"bad{suffix}")
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(fd)]


@pytest.mark.parametrize("name", ["a b[1].png", "ü日本.png", "x[page=2]", "%s{}.jpg"])
def test_odd_file_names(tmp_path: Path, photo: NDArray[np.uint8], name: str) -> None:
    path = tmp_path / (name if "." in name else name + ".png")
    write_image(path, Picture(photo))
    assert read_image(path).pixels.shape == photo.shape
    assert os.listdir(tmp_path) == [path.name]


def test_wrong_arrays_are_refused(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    for bad in (photo[..., 0], photo.astype(np.float32), photo[:0]):
        with pytest.raises(InputError, match="must be"):
            write_image(tmp_path / "a.png", Picture(bad))
    with pytest.raises(InputError, match="alpha must be"):
        write_image(tmp_path / "a.png", Picture(photo, photo[:5, :5, 0]))
    with pytest.raises(InputError, match=r"cannot write \.bmp"):
        write_image(tmp_path / "a.bmp", Picture(photo))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits on Windows")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, Picture(np.zeros((8, 8, 3), np.uint8)))
    before = path.read_bytes()
    script = f"""
import resource, numpy as np
from repix.errors import InputError
from repix.io.image import Picture, write_image
noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_image({str(path)!r}, Picture(noise))
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert done.stderr == ""
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resize(dtype: type) -> None:
    image: NDArray[Any] = np.random.default_rng(5).integers(0, 200, (6, 9, 3)).astype(dtype)
    larger = image.repeat(2, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(resize(image, (12, 27), "nearest"), larger)
    np.testing.assert_array_equal(resize(larger, (6, 9), "nearest"), image)
    np.testing.assert_array_equal(resize(image, (6, 9)), image)
    for size in ((1, 1), (13, 2), (417, 301)):
        for kernel in ("cubic", "linear", "nearest"):
            made = resize(np.full((5, 7, 3), 77, dtype), size, kernel)
            assert made.dtype == dtype
            np.testing.assert_array_equal(made, np.full((*size, 3), 77, dtype))
    halves: NDArray[Any] = np.zeros((40, 40, 3), dtype)
    halves[:, 20:] = 200
    for kernel in ("cubic", "linear"):  # shrinking looks at all pixels, and keeps them where they were
        small = resize(halves, (4, 4), kernel)
        assert small[0, :2].max() < 30
        assert small[0, 2:].min() > 170
