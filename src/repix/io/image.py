"""Reading and writing images with everything about them kept: orientation, ICC, EXIF, XMP, alpha, depth, grey.

libvips (through pyvips) decodes and encodes; `.heic` goes through pillow-heif, because libvips' binary wheel carries
no HEVC decoder. Pixels that come back from NumPy have no metadata, so it travels beside them in `Picture`.
"""

from __future__ import annotations

import os
import re
import struct
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyvips
from numpy.typing import NDArray

from repix.errors import InputError
from repix.io import tiff
from repix.io.paths import WRITABLE, atomic

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 400_000_000
"""Images with more pixels than this are refused from their header, unless asked otherwise."""

_CARRIED = ("exif-data", "icc-profile-data", "xmp-data", "iptc-data", "image-description")
_CARRIED_PREFIX = "png-comment-"
_LOADERS = {
    "jpeg": "jpegload",
    "png": "pngload",
    "webp": "webpload",
    "tiff": "tiffload",
    "avif": "heifload",
    "gif": "gifload",
}
_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".jfif": "jpeg", ".tif": "tiff"}
_SAVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("jpegsave", {"Q": 95, "subsample_mode": "off", "optimize_coding": True}),
    "png": ("pngsave", {"filter": "paeth"}),
    # the default quality of libvips caps a clean image at 37 dB
    "webp": ("webpsave", {"lossless": True, "exact": True, "effort": 2}),
    "tiff": ("tiffsave", {"compression": "deflate", "predictor": "horizontal"}),
    # effort 2 is within 1 dB of effort 6 at a twentieth of the time
    "avif": ("heifsave", {"compression": "av1", "Q": 95, "subsample_mode": "off", "effort": 2}),
}
_LONGEST_SIDE = {"jpeg": 65535, "webp": 16383, "avif": 65536}
_cache = threading.Lock()  # libvips' cache belongs to all threads
_DPI_72 = 72 / 25.4  # what EXIF takes an unknown resolution for, in pixels per millimetre


@dataclass(frozen=True)
class Picture:
    """An image and everything about its file that must survive.

    Attributes:
        pixels: (H, W, 3), uint8 or uint16, RGB in the image's own colour space, upright. Grey images have three
            equal channels.
        alpha: (H, W) of the same type, or None.
        grey: written with one channel.
        format: what the file was: jpeg, png, webp, tiff, avif, heic or gif.
        bits: bits per sample in the file, 1 to 16.
        resolution: pixels per millimetre, (horizontal, vertical).
        metadata: libvips' names (`exif-data`, `icc-profile-data`, `xmp-data`, …) -> contents.
        notes: what could not be kept as it was, one sentence each.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    format: str = "png"
    bits: int = 8
    resolution: tuple[float, float] = (_DPI_72, _DPI_72)
    metadata: dict[str, bytes | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def with_pixels(self, pixels: Pixels) -> Picture:
        """The same image, everything about its file included, with other (H, W, 3) pixels."""
        return replace(self, pixels=pixels)

    def repainted(self, pixels: Pixels) -> Picture:
        """A new image of the same place, (H, W, 3) in colour and in sRGB: everything about the file is kept but what
        says how its colours are to be read."""
        metadata = {name: value for name, value in self.metadata.items() if name != "icc-profile-data"}
        return replace(self, pixels=pixels, grey=False, metadata=metadata)


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read an image upright, with its metadata.

    Args:
        path: JPEG, PNG, WebP, TIFF, AVIF, HEIC or a still GIF; the contents decide, not the name.
        max_pixels: largest H·W that is decoded; known from the header, so a bomb costs nothing.

    Returns:
        The image. CMYK comes as sRGB, with a note; palettes come as RGB, with alpha where they are transparent.

    Raises:
        InputError: unreadable, empty, truncated, not an image, animated or of several pages, too large, or with
            pixels that are not 8 or 16 bit grey, RGB or CMYK.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(65536)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise InputError(f"{path}: the file is empty (0 bytes)")
    format = _sniff(head)
    if format is None:
        raise InputError(f"{path}: not an image that repix reads (JPEG, PNG, WebP, TIFF, AVIF, HEIC, GIF)")
    if format == "heic":
        return _read_heic(path, max_pixels)
    if (format == "png" and b"acTL" in head.partition(b"IDAT")[0]) or (format == "avif" and head[8:12] == b"avis"):
        raise InputError(f"{path}: an animated {format.upper()}; repix takes still images")
    try:
        return _read_vips(path, format, max_pixels)
    except pyvips.Error as error:
        raise InputError(f"{path}: damaged or truncated {format.upper()}: {_reason(error)}") from error
    finally:
        _let_go_of_files()


def write_image(path: str | os.PathLike[str], picture: Picture | Pixels) -> tuple[str, ...]:
    """Write an image atomically: the whole file, or none and whatever was there before.

    JPEG at quality 95 without chroma subsampling, WebP lossless, AVIF at quality 95, TIFF and PNG compressed without
    loss. The orientation tag says upright, because the pixels are.

    Args:
        path: the extension says the format.
        image: what to write; an array alone, (H, W, 3) uint8 or uint16, has no metadata.

    Returns:
        What the format could not keep, one sentence each.

    Raises:
        InputError: unknown extension, a format that cannot hold the image (transparency, size), or a file that
            cannot be written (rights, full disk).
    """
    path = Path(path)
    if isinstance(picture, np.ndarray):
        picture = Picture(picture)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        known = ", ".join(sorted(WRITABLE))
        raise InputError(f"{path}: cannot write {suffix or 'a file without extension'}; choose {known}")
    format = _FORMATS.get(suffix, suffix[1:])
    pixels, alpha = picture.pixels, picture.alpha
    _check_pixels(pixels, alpha)
    longest = _LONGEST_SIDE.get(format)
    if longest is not None and max(pixels.shape[:2]) > longest:
        H, W = pixels.shape[:2]
        raise InputError(f"{path}: {format.upper()} ends at {longest} pixels a side, got {W}×{H}; use png or tiff")
    if format == "jpeg" and alpha is not None:
        if alpha.min() < np.iinfo(alpha.dtype).max:
            raise InputError(f"{path}: JPEG cannot hold the image's transparency; use --format png, webp or tiff")
        alpha = None
    notes: list[str] = []
    if pixels.dtype == np.uint16 and format in ("jpeg", "webp"):
        pixels, alpha = to_8_bits(pixels), None if alpha is None else to_8_bits(alpha)
        notes.append(f"16 bit reduced to 8, {format.upper()} holds no more")
    operation, options = _SAVERS[format]
    if format == "avif":
        wide = pixels.dtype == np.uint16
        options = {**options, "bitdepth": (picture.bits if picture.bits in (10, 12) else 12) if wide else 8}
    if format == "tiff" and pixels.nbytes > 3_500_000_000:
        options = {**options, "bigtiff": True}  # plain TIFF ends at 4 GB
    try:
        image = _to_vips(pixels, alpha, picture)
        with atomic(path) as temporary:
            getattr(image, operation)(os.fsencode(temporary), **options)
            exif = picture.metadata.get("exif-data")
            if format == "tiff" and isinstance(exif, bytes):
                try:
                    tiff.add_exif(temporary, exif)
                except InputError:
                    notes.append("EXIF left out")
    except pyvips.Error as error:
        raise InputError(f"{path}: cannot be written: {_reason(error)}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return tuple(notes)


def pixels_like(picture: Picture, other: Picture) -> tuple[Pixels, tuple[str, ...]]:
    """An image's pixels as they fit into another: in its depth, and without colours where it has none.

    Returns:
        (H, W, 3) of the other's type, and what was left out, one sentence each.
    """
    pixels, notes = picture.pixels, []
    if other.grey and not picture.grey:
        luma = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(pixels.dtype)
        pixels = luma[..., None].repeat(3, axis=2)
        notes.append("the target is grey, so the source's colours were left out")
    if pixels.dtype != other.pixels.dtype:
        pixels = pixels.astype(np.uint16) * 257 if other.pixels.dtype == np.uint16 else to_8_bits(pixels)
    return pixels, tuple(notes)


def _sniff(head: bytes) -> str | None:
    """Name of the format from the first bytes, or None. libvips would take far more than photos (SVG, matrices)."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[4:8] == b"ftyp":
        brands = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
        if b"avif" in brands or b"avis" in brands:
            return "avif"
        if any(brand in brands for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")):
            return "heic"
    return None


def _read_vips(path: Path, format: str, max_pixels: int) -> Picture:
    # revalidate: others may have read this name through libvips, and the file may have been replaced since
    load = getattr(pyvips.Image, _LOADERS[format])
    image = load(os.fsencode(path), access="sequential", fail_on="error", revalidate=True)
    _check_size(path, image.width, image.height, max_pixels)
    pages = _field(image, "n-pages", 1)
    if pages > 1:
        kind = "an animated" if format in ("gif", "webp") else "a several-page"
        raise InputError(f"{path}: {kind} {format.upper()} ({pages} images); repix takes still, single images")
    bits = _field(image, "bits-per-sample", 8 if image.format == "uchar" else 16)
    notes = []
    if image.interpretation == "cmyk" and image.format in ("uchar", "ushort"):
        depth = 8 if image.format == "uchar" else 16
        image = image.icc_transform("srgb", embedded=True, intent="relative", depth=depth)
        notes.append("CMYK converted to sRGB")
    grey = image.interpretation in ("b-w", "grey16")
    alpha = image.bands in (2, 4)
    if (
        image.format not in ("uchar", "ushort")
        or not (grey or image.interpretation in ("srgb", "rgb", "rgb16"))
        or image.bands != (1 if grey else 3) + alpha
    ):
        raise InputError(
            f"{path}: {image.bands} channels of {image.format} in {image.interpretation}; "
            "repix reads 8 and 16 bit grey, RGB and CMYK; convert it first"
        )
    names = image.get_fields()
    metadata = {name: image.get(name) for name in names if name in _CARRIED or name.startswith(_CARRIED_PREFIX)}
    if format == "tiff" and (exif := tiff.read_exif(path)) is not None:
        metadata["exif-data"] = exif
    resolution = (image.xres, image.yres)
    orientation = _field(image, "orientation", 1)
    if orientation > 1:
        image = image.copy_memory().autorot()  # turning needs the rows in another order than the decoder gives them
    H, W, bands = image.height, image.width, image.bands
    dtype = np.uint8 if image.format == "uchar" else np.uint16
    samples = np.frombuffer(image.write_to_memory(), dtype).reshape(H, W, bands)
    return Picture(
        pixels=np.repeat(samples[..., :1], 3, axis=2) if grey else np.ascontiguousarray(samples[..., :3]),
        alpha=np.ascontiguousarray(samples[..., -1]) if alpha else None,
        grey=grey,
        format=format,
        bits=bits,
        resolution=resolution[::-1] if orientation > 4 else resolution,
        metadata=metadata,
        notes=tuple(notes),
    )


def _read_heic(path: Path, max_pixels: int) -> Picture:
    import pillow_heif

    try:
        container = pillow_heif.open_heif(path)
        image = container[container.primary_index]
        _check_size(path, *image.size, max_pixels)
        samples = np.asarray(image)
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError) as error:
        raise InputError(f"{path}: damaged or truncated HEIC: {error}") from error
    if samples.ndim == 2:
        samples = samples[..., None]
    grey = samples.shape[2] < 3
    names = {"exif": "exif-data", "icc_profile": "icc-profile-data", "xmp": "xmp-data"}
    found = {ours: image.info.get(theirs) for theirs, ours in names.items()}
    metadata: dict[str, bytes | str] = {name: value for name, value in found.items() if isinstance(value, bytes)}
    return Picture(
        pixels=np.repeat(samples[..., :1], 3, axis=2) if grey else np.ascontiguousarray(samples[..., :3]),
        alpha=np.ascontiguousarray(samples[..., -1]) if samples.shape[2] in (2, 4) else None,
        grey=grey,
        format="heic",
        metadata=metadata,
        notes=(f"the main one of {len(container)} images in the file",) if len(container) > 1 else (),
    )


def _to_vips(pixels: Pixels, alpha: Pixels | None, picture: Picture) -> Any:
    """A libvips image on the arrays' own memory, with the image's metadata."""
    if picture.grey:
        pixels = np.rint(pixels.mean(axis=2, dtype=np.float32, keepdims=True)).astype(pixels.dtype)
    wide = pixels.dtype == np.uint16

    def wrap(array: Pixels) -> Any:
        H, W = array.shape[:2]
        bands = array.shape[2] if array.ndim == 3 else 1
        data = np.ascontiguousarray(array).data
        return pyvips.Image.new_from_memory(data, W, H, bands, "ushort" if wide else "uchar")

    image = wrap(pixels)
    if alpha is not None:
        image = image.bandjoin(wrap(alpha))
    kind = ("grey16" if wide else "b-w") if picture.grey else ("rgb16" if wide else "srgb")
    # libvips says one pixel a millimetre where the file said nothing
    xres, yres = (_DPI_72 if value == 1.0 else value for value in picture.resolution)
    image = image.copy(interpretation=kind, xres=xres, yres=yres)
    for name, value in picture.metadata.items():
        if isinstance(value, bytes):
            value = {"xmp-data": _upright_xmp, "exif-data": _without_thumbnail}.get(name, bytes)(value)
        image.set_type(pyvips.GValue.blob_type if isinstance(value, bytes) else pyvips.GValue.gstr_type, name, value)
    if "exif-data" in picture.metadata:
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)  # overrides the tag inside the EXIF block
    return image


def _check_pixels(pixels: Pixels, alpha: Pixels | None) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an image must be (H, W, 3) uint8 or uint16, got {pixels.shape} {pixels.dtype}")
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        raise InputError(f"alpha must be {pixels.shape[:2]} {pixels.dtype}, got {alpha.shape} {alpha.dtype}")


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{path}: {width}×{height} is {width * height / 1e6:,.0f} million pixels, more than the "
            f"{max_pixels / 1e6:,.0f} million allowed; raise it with --max-pixels if the file can be trusted"
        )


def _field(image: Any, name: str, default: int) -> int:
    return int(image.get(name)) if image.get_typeof(name) else default


def to_8_bits(samples: Pixels) -> NDArray[np.uint8]:
    """uint16 samples as the nearest of 256 levels."""
    # round(v / 257) without leaving 16 bits; 257 is odd, so nothing ties
    return (samples // 257 + (samples % 257 > 128)).astype(np.uint8)


def resize(pixels: Pixels, size: tuple[int, int], kernel: Literal["cubic", "linear", "nearest"] = "cubic") -> Pixels:
    """Bring (H, W, 3) pixels to a size (height, width), averaged over the area where they shrink; with `nearest` every
    pixel of the result is one of the original."""
    if kernel == "nearest":
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(np.intp)
            for new, old in zip(size, pixels.shape[:2], strict=True)
        )
        picked: Pixels = pixels[rows[:, None], columns]
        return picked
    height, width = pixels.shape[:2]
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    resized: Pixels = image.resize(size[1] / width, vscale=size[0] / height, kernel=kernel).numpy()
    return resized


def _upright_xmp(xmp: bytes) -> bytes:
    """XMP repeats the orientation, and some programs (Lightroom) believe it over EXIF."""
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)


def _without_thumbnail(exif: bytes) -> bytes:
    """EXIF whose first directory says that none follows: the thumbnail there shows the rain, and unturned."""
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = ">" if exif[start : start + 2] == b"MM" else "<"
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, start + 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start + first)
        link = start + first + 2 + 12 * entries
        struct.unpack_from(f"{order}I", exif, link)
    except struct.error:  # not ours to judge; libexif takes what it can
        return exif
    return exif[:link] + b"\0\0\0\0" + exif[link + 4 :]


def _let_go_of_files() -> None:
    """libvips keeps the last files open to read them again; Windows replaces no open file, and ours change."""
    with _cache:
        most = pyvips.vips_lib.vips_cache_get_max()
        pyvips.cache_set_max(0)
        pyvips.cache_set_max(most)


def _reason(error: Any) -> str:
    lines: list[str] = [line.strip() for line in error.detail.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("system error: "):
            return line.removeprefix("system error: ")
    return "; ".join(dict.fromkeys(lines[:2])) or str(error.message)
