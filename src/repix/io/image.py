"""Reading and writing images with everything about them kept: orientation, ICC, EXIF, XMP, alpha, depth, grey.

libvips (through pyvips) decodes and encodes what it can, Pillow and pillow-heif decode the rest; `io.formats` says
which. Pixels that come back from NumPy have no metadata, so it travels beside them in `Picture`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import struct
import tempfile
import threading
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyvips
from numpy.typing import NDArray

from repix._types import Floats, Image, within
from repix.errors import InputError, counted
from repix.io import containers, exif, inventory, tiff, xmp
from repix.io.files import atomic, read_head
from repix.io.formats import HEAD, IMAGES_WRITABLE, Format, advice, by_suffix, listed, names, sniff
from repix.io.inventory import Difference, Inventory

MAX_PIXELS = 400_000_000
"""Images with more pixels than this are refused from their header, unless asked otherwise."""

_COLOURS = ("icc-profile-data", "nclx", "png-cICP", "png-gAMA", "png-cHRM", "png-sRGB", "png-mDCV", "png-cLLI")
"""Metadata that says how the numbers are to be read as colours."""
_READABLE = "repix reads 8 and 16 bit grey, RGB and CMYK"
_cache = threading.Lock()  # libvips' cache belongs to all threads
_VIPS_ERRORS = (pyvips.Error, UnicodeDecodeError)
_PILLOW_ERRORS = (
    *(OSError, ValueError, RuntimeError, EOFError, SyntaxError, LookupError, TypeError, ArithmeticError),
    *(AttributeError, AssertionError, struct.error, zlib.error),
)
"""What Pillow and its plugins raise on damaged files."""
_SRGB = {(primaries, transfer) for primaries in (1, 2) for transfer in (1, 2, 6, 13)}  # H.273
_DISPLAY_P3 = (12, 13)
_DPI_72 = 72 / 25.4  # what EXIF takes an unknown resolution for, in pixels per millimetre
_RESOLUTION_IN_EXIF = ("webp", "avif")
"""Formats that have no other place for it."""


@dataclass(frozen=True)
class Picture:
    """An image and everything about its file that must survive.

    Attributes:
        pixels: (H, W, 3), uint8 or uint16, RGB in the image's own colour space, upright. Grey images have three
            equal channels.
        alpha: (H, W) of the same type, or None.
        grey: written with one channel.
        format: what the file was, a key of `io.formats.FORMATS`.
        bits: bits per sample in the file, 1 to 16.
        resolution: pixels per millimetre, (horizontal, vertical).
        metadata: libvips' names (`exif-data`, `icc-profile-data`, `xmp-data`, …), and those of
            `containers.put_metadata` -> contents.
        notes: what could not be kept as it was, one sentence each.
        inventory: what the file held beyond its pixels; None for an image that was made.
    """

    pixels: Image
    alpha: Image | None = None
    grey: bool = False
    format: str = "png"
    bits: int = 8
    resolution: tuple[float, float] = (_DPI_72, _DPI_72)
    metadata: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    inventory: Inventory | None = None

    def with_pixels(self, pixels: Image) -> Picture:
        """The same image, everything about its file included, with other (H, W, 3) pixels."""
        return replace(self, pixels=pixels)

    def repainted(self, pixels: Image) -> Picture:
        """A new image of the same place, (H, W, 3) in colour and in sRGB: everything about the file is kept but what
        says how its colours are to be read."""
        metadata = {name: value for name, value in self.metadata.items() if name not in _COLOURS}
        return replace(self, pixels=pixels, grey=False, metadata=metadata)


class Notes(tuple[str, ...]):
    """What could not be kept as it was, one sentence each.

    Attributes:
        lost: the same, thing by thing.
    """

    lost: tuple[Difference, ...] = ()


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read an image upright, with its metadata.

    Args:
        path: a still image of a kind in `io.formats.FORMATS`; the contents decide, not the name.
        max_pixels: largest H·W that is decoded; known from the header, so a bomb costs nothing.

    Returns:
        The image. CMYK comes as sRGB, with a note; palettes come as RGB, with alpha where they are transparent.

    Raises:
        InputError: unreadable, empty, truncated, not an image, animated or of several pages, too large, or with
            pixels that are not 8 or 16 bit grey, RGB or CMYK.
    """
    path = Path(path)
    if not within(max_pixels, 1, math.inf):
        raise InputError(f"max_pixels is {max_pixels!r}; expected a number of pixels, at least 1")
    format = _image_format(path, max_pixels)
    try:
        found = inventory.take(path, format.name)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if found.refused:
        raise InputError(f"{path}: {found.refused}; {_READABLE}; convert it first")
    if format.load == "pillow_heif":
        image = _read_heic(path, max_pixels)
    elif format.load == "pillow":
        image = _read_pillow(path, format, max_pixels)
    elif found.is_lab:
        image = _read_lab(path, max_pixels, found)
    else:
        try:
            image = _read_vips(path, format, max_pixels, found)
        except _VIPS_ERRORS as error:
            raise InputError(f"{path}: damaged or truncated {format.title}: {_reason(error)}") from error
        finally:
            _let_go_of_files()
    metadata = found.parts | image.metadata
    if block := metadata.get("exif-data"):
        H, W = image.pixels.shape[:2]
        metadata["exif-data"] = block = exif.adapt(block, W, H, turned=found.orientation > 4)
        if not _has_resolution(image) and (said := exif.resolution(block)) is not None:
            image = replace(image, resolution=said)
    named = by_suffix(path)
    if named is not None and named is not format:
        note = f"{format.title} by its contents, though named {path.suffix}; the result is what its own name says"
        image = replace(image, notes=(*image.notes, note))
    return replace(image, metadata=metadata, inventory=found)


def read_pixels(path: str | os.PathLike[str]) -> Image:
    """An image's pixels alone, (H, W, 3), to train on or to measure: where it is transparent, those that lie beneath.

    A warning says so, once for each folder.

    Raises:
        InputError: as `read_image`.
    """
    image = read_image(path)
    if image.alpha is not None and image.alpha.min() < np.iinfo(image.alpha.dtype).max:
        _say_transparent(Path(path).parent)
    return image.pixels


@functools.cache
def _say_transparent(folder: Path) -> None:
    text = "%s: images are transparent in places, which is left out: the pixels beneath count like all others"
    logging.getLogger("repix").warning(text, folder)


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of an image as `read_image` gives it, from the header alone.

    Raises:
        InputError: unreadable, empty, or not an image.
    """
    path = Path(path)
    format = _image_format(path)
    try:
        if format.load == "pillow_heif":
            import pillow_heif

            container = pillow_heif.open_heif(path)
            return container[container.primary_index].size[::-1]
        if format.load == "pillow":
            import PIL.Image

            with PIL.Image.open(path) as opened:
                return opened.size[::-1]
        header = getattr(pyvips.Image, format.load)(os.fsencode(path), access="sequential", revalidate=True)
    except (*_VIPS_ERRORS, *_PILLOW_ERRORS) as error:
        reason = _reason(error) if isinstance(error, _VIPS_ERRORS) else error
        raise InputError(f"{path}: damaged or truncated {format.title}: {reason}") from error
    finally:
        _let_go_of_files()
    turned = _field(header, "orientation", 1) > 4
    return (header.width, header.height) if turned else (header.height, header.width)


def refuse_to_destroy(path: Path, image: Picture, target: Path) -> None:
    """Refuse to write over a file that holds more than its image: a gain map, the video of a motion photo.

    Args:
        path: where the image was read.
        image: what was read.
        target: what is to be written.

    Raises:
        InputError: `target` is the same file, and it does.
    """
    held = image.inventory.images if image.inventory is not None else []
    if held and target.exists() and os.path.samefile(path, target):
        raise InputError(
            f"{path} holds {', '.join(held)}, which overwriting it would destroy; --force does so, -o writes elsewhere"
        )


def write_image(path: str | os.PathLike[str], image: Picture | Image) -> Notes:
    """Write an image atomically: the whole file, or none and whatever was there before.

    JPEG at quality 95 without chroma subsampling, WebP lossless, AVIF at quality 95, TIFF and PNG compressed without
    loss. The orientation tag says upright, because the pixels are.

    Args:
        path: the extension says the format.
        image: what to write; an array alone has no metadata: uint8 or uint16, (H, W, 3) RGB, (H, W, 4) RGBA, (H, W) or
            (H, W, 1) grey, (H, W, 2) grey with transparency.

    Returns:
        What could not be kept, found by comparing what the input held with what the file that was written holds.

    Raises:
        InputError: unknown extension, a format that cannot hold the image (transparency, size), or a file that
            cannot be written (rights, full disk).
    """
    path = Path(path)
    if isinstance(image, np.ndarray):
        image = _picture_of(image)
    if not isinstance(image, Picture):
        raise InputError(f"an image must be an array (H, W, 3) or a Picture, got {type(image).__name__}")
    format = by_suffix(path)
    if format is None or format.save is None or format.kind != "image":
        what = path.suffix.lower() or "a file without extension"
        raise InputError(f"{path}: cannot write {what}; choose {listed(IMAGES_WRITABLE)}")
    name = format.title
    pixels, alpha = image.pixels, image.alpha
    check_pixels(pixels, alpha)
    if format.max_side is not None and max(pixels.shape[:2]) > format.max_side:
        H, W = pixels.shape[:2]
        raise InputError(f"{path}: {name} ends at {format.max_side} pixels a side, got {W}×{H}; use png or tiff")
    if not format.alpha and alpha is not None:
        if alpha.min() < np.iinfo(alpha.dtype).max:
            raise InputError(
                f"{path}: {name} cannot hold the image's transparency; "
                "choose png, webp or tiff (--format, or the name after -o)"
            )
        alpha = None
    notes: list[str] = []
    bits = max(image.bits, 9) if pixels.dtype == np.uint16 else 8
    if bits > format.bits:
        notes.append(f"{bits if image.bits > 8 else 16} bit reduced to {format.bits}, {name} holds no more")
    if pixels.dtype == np.uint16 and format.bits == 8:
        pixels, alpha = to_8_bits(pixels), None if alpha is None else to_8_bits(alpha)
    options = dict(format.options)
    if format.name == "avif":
        wide = pixels.dtype == np.uint16
        options = {**options, "bitdepth": (image.bits if image.bits in (10, 12) else 12) if wide else 8}
    if format.name == "tiff" and pixels.nbytes > 3_500_000_000:
        options = {**options, "bigtiff": True}  # plain TIFF ends at 4 GB
    H, W = pixels.shape[:2]
    metadata = _for_format(image, format.name, W, H)
    if tags := metadata.get("nclx"):
        pixels, matrix = _for_matrix(pixels, tags[2])
        metadata["nclx"] = bytes([tags[0], tags[1], matrix, 1])
    pyvips.vips_lib.vips_error_clear()
    try:
        raster = _to_vips(pixels, alpha, image)
        if format.name == "tiff":
            _set_for_tiff(raster, metadata)
        with atomic(path) as temporary:
            keep = "all" if format.name == "tiff" else "none"
            getattr(raster, format.save)(os.fsencode(temporary), keep=keep, **options)
            if format.name != "tiff":
                containers.put_metadata(temporary, format.name, metadata, size=(W, H), alpha=alpha is not None)
            elif block := metadata.get("exif-data"):
                with contextlib.suppress(InputError):  # the comparison tells that it is missing
                    tiff.add_exif(temporary, block)
            lost = _compare(image.inventory, temporary, format.name)
    except _VIPS_ERRORS as error:
        raise InputError(f"{path}: cannot be written: {_reason(error)}") from error
    written = Notes((*notes, *inventory.sentences(lost)))
    written.lost = tuple(lost)
    return written


def _picture_of(samples: NDArray[Any]) -> Picture:
    """An array alone as a picture: with one channel it is written grey, with two or four transparent."""
    samples = np.asarray(samples, samples.dtype.newbyteorder("="))
    channels = samples.shape[2:]
    if samples.ndim not in (2, 3) or channels not in ((), (1,), (2,), (3,), (4,)) or 0 in samples.shape:
        hint = "; channels come last" if samples.ndim == 3 and samples.shape[0] in (1, 3, 4) else ""
        raise InputError(f"an image must be (H, W, 3) RGB, (H, W) grey or (H, W, 4) RGBA, got {samples.shape}{hint}")
    if samples.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"an image must be uint8 or uint16, got {samples.dtype}; make it .astype(np.uint8), of floats in [0, 1] "
            "after (255 * image).round()"
        )
    return Picture(**_split(samples))


def _compare(before: Inventory | None, path: Path, format: str) -> list[Difference]:
    return [] if before is None else inventory.compare(before, inventory.take(path, format))


def _for_format(image: Picture, format: str, width: int, height: int) -> dict[str, bytes]:
    """An image's metadata as a format takes it, and as it is true of the new pixels."""
    metadata = dict(image.metadata)
    dots = [min(65535, max(1, round(25.4 * value))) for value in _resolution(image)]
    if format == "jpeg":
        metadata["dpi"] = struct.pack(">HH", *dots)
    if block := metadata.pop("exif-data", None):
        adapted = exif.adapt(block, width, height)
        if len(adapted) > 8:
            metadata["exif-data"] = adapted
    if format in _RESOLUTION_IN_EXIF and _has_resolution(image):
        block = exif.with_resolution(metadata.get("exif-data", b""), _resolution(image))
        metadata["exif-data"] = block
    if (packet := metadata.pop("xmp-data", None)) is not None:
        extended = format == "jpeg" and "xmp-extended" in metadata
        if (said := xmp.adapt(packet, extended=extended)) is not None:
            metadata["xmp-data"] = said
    colours = metadata.pop("nclx", None)
    if colours is None and (tags := metadata.get("png-cICP")) is not None and len(tags) == 4:
        colours = bytes([tags[0], tags[1], 9 if tags[0] == 9 else 6, 1])
    if colours is not None and tuple(colours[:2]) not in _SRGB and "icc-profile-data" not in metadata:
        if format == "png":
            metadata.setdefault("png-cICP", bytes([colours[0], colours[1], 0, 1]))
        elif format == "avif":
            metadata["nclx"] = colours
        elif tuple(colours[:2]) == _DISPLAY_P3:
            metadata["icc-profile-data"] = bytes(pyvips.Image.profile_load("p3"))
    return metadata


def _for_matrix(pixels: Image, matrix: int) -> tuple[Image, int]:
    """Pixels from which an encoder that knows BT.601 alone makes the luma and chroma of another matrix (H.273), and the
    matrix that is to be told; BT.601 with the pixels as they are where a colour is too strong for that."""
    red_blue = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}.get(matrix)
    if red_blue is None:
        return pixels, 6
    wanted, known = _luma_chroma(*red_blue), _luma_chroma(0.299, 0.114)
    turn = (np.linalg.inv(known) @ wanted).astype(np.float32)
    full = np.iinfo(pixels.dtype).max
    changed = np.rint(pixels @ turn.T)
    if changed.min() < 0 or changed.max() > full:
        return pixels, 6
    return changed.astype(pixels.dtype), matrix


def _luma_chroma(red: float, blue: float) -> NDArray[np.float64]:
    """(3, 3): RGB to luma and chroma, by the shares of red and blue in luma."""
    luma = np.array([red, 1 - red - blue, blue])
    chroma = [(np.eye(3)[k] - luma) / (2 * (1 - luma[k])) for k in (2, 0)]
    return np.stack([luma, *chroma])


def _set_for_tiff(raster: Any, metadata: Mapping[str, bytes]) -> None:
    names = {"icc-profile-data": "icc-profile-data", "xmp-data": "xmp-data", "iptc-data": "photoshop-data"}
    for name, theirs in names.items():
        if value := metadata.get(name):
            raster.set_type(pyvips.GValue.blob_type, theirs, value)


def pixels_like(
    image: Picture, other: Picture, *, called: tuple[str, str] = ("the source", "the target")
) -> tuple[Image, tuple[str, ...]]:
    """An image's pixels as they fit into another: in its colour space and depth, and without colours where it has none.

    A grey image may have a profile of tones or of colours, and without one is sRGB.

    Args:
        image: what is to fit.
        other: into what.
        called: what sentences call the two.

    Returns:
        (H, W, 3) of the other's type, and what was left out, one sentence each.
    """
    pixels, notes = image.pixels, []
    source, target = colour_profile(image), colour_profile(other)
    if _other_colours(image) != _other_colours(other):
        notes.append(f"{called[0]}'s colours are tagged otherwise than {called[1]}'s (HDR, BT.2020) and may be off")
    elif source != target:
        try:
            for picture, profile in ((image, source), (other, target)):
                if _space(profile) not in (b"RGB ", b"GRAY" if picture.grey else None):
                    raise pyvips.Error("no profile for these colours")  # libvips would take one of its own instead
            pixels = _converted(pixels, source, target)  # 16 bits
            pixels = pixels if other.pixels.dtype == np.uint16 else to_8_bits(pixels)
            notes.append(f"{called[0]}'s colours were converted to {called[1]}'s colour space")
        except pyvips.Error:
            notes.append(f"a colour profile is damaged or of other colours, so {called[0]}'s colours may be off")
    if other.grey and np.ptp(pixels, axis=2).any():
        luma = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(pixels.dtype)
        pixels = luma[..., None].repeat(3, axis=2)
    if other.grey and not image.grey:
        notes.append(f"{called[1]} is grey, so {called[0]}'s colours were left out")
    if pixels.dtype != other.pixels.dtype:
        pixels = pixels.astype(np.uint16) * 257 if other.pixels.dtype == np.uint16 else to_8_bits(pixels)
    return pixels, tuple(notes)


def colour_profile(image: Picture) -> bytes | None:
    """The profile of an image's colours, also where tags alone say Display P3; None for sRGB, and for no profile."""
    if _tags(image) == _DISPLAY_P3:
        return bytes(pyvips.Image.profile_load("p3"))
    return image.metadata.get("icc-profile-data")


def _other_colours(image: Picture) -> tuple[int, ...]:
    """Primaries and transfer of colours that no profile here stands for; empty for others."""
    tags = _tags(image)
    return () if tags == _DISPLAY_P3 else tags


def _tags(image: Picture) -> tuple[int, ...]:
    """Primaries and transfer (H.273) that an image without a profile is tagged with; empty for sRGB and without any."""
    tags = tuple(image.metadata.get("nclx", image.metadata.get("png-cICP", b""))[:2])
    return () if tags in _SRGB or "icc-profile-data" in image.metadata else tags


def _space(profile: bytes | None) -> bytes:
    """What a colour profile, or None for sRGB, is for by its header: `RGB `, `GRAY`, …; empty of a damaged one."""
    if profile is None:
        return b"RGB "
    is_whole = int.from_bytes(profile[:4]) <= len(profile) and profile[36:40] == b"acsp"
    return profile[16:20] if is_whole else b""


def _converted(pixels: Image, profile: bytes | None, wanted: bytes | None) -> Image:
    """Pixels of one colour profile as those of another, in uint16; None is sRGB."""
    raster = _to_vips(pixels, None, Picture(pixels, grey=_space(profile) == b"GRAY"))
    with tempfile.TemporaryDirectory(prefix="repix-") as folder:  # libvips takes profiles as files
        names = []
        for number, data in enumerate((profile, wanted)):
            if data is None:
                names.append("srgb")
                continue
            file = Path(folder) / f"{number}.icc"
            file.write_bytes(data)
            names.append(str(file))
        # at 16 bits, because libvips cuts to 8 where it should round
        turned = raster.icc_transform(names[1], input_profile=names[0], intent="relative", depth=16)
        made = turned.numpy().reshape(*pixels.shape[:2], -1)
    return np.repeat(made[..., :1], 3, axis=2) if made.shape[2] < 3 else np.ascontiguousarray(made[..., :3])


def _image_format(path: Path, max_pixels: int = MAX_PIXELS) -> Format:
    """What an image file is by its contents; no file is read that is larger than such an image can be."""
    head = read_head(path, HEAD, max_bytes=8 * max_pixels + 2**28)
    format = sniff(head)
    if (said := advice(head)) is not None:
        raise InputError(f"{path}: {said}")
    if format is None:
        raise InputError(f"{path}: not an image that repix reads ({names('image')})")
    name = format.title
    if format.kind == "video":
        if by_suffix(path) is format:
            raise InputError(f"{path}: a video ({name}); give an image")
        raise InputError(f"{path}: a video by its contents ({name}), not an image; name it {format.suffixes[0]}")
    if (format.name == "png" and b"acTL" in head.partition(b"IDAT")[0]) or (
        format.name == "avif" and head[8:12] == b"avis"
    ):
        raise InputError(f"{path}: an animated {name}; repix takes still images")
    return format


def _read_vips(path: Path, format: Format, max_pixels: int, found: Inventory) -> Picture:
    pyvips.vips_lib.vips_error_clear()  # what libvips only warned of stays for the next error, of another file
    # revalidate: others may have read this name through libvips, and the file may have been replaced since
    load = getattr(pyvips.Image, format.load)
    page = {"page": found.page} if found.page else {}
    image = load(os.fsencode(path), access="sequential", fail_on="error", revalidate=True, **page)
    _check_size(path, image.width, image.height, max_pixels)
    pages = found.pages if format.name == "tiff" else _field(image, "n-pages", 1)
    if pages > 1:
        kind = "an animated" if format.name in ("gif", "webp") else "a several-page"
        raise InputError(f"{path}: {kind} {format.title} ({pages} images); repix takes still, single images")
    bits = _field(image, "bits-per-sample", 8 if image.format == "uchar" else 16)
    notes, metadata = [], {}
    if image.interpretation == "cmyk" and image.format in ("uchar", "ushort"):
        depth = 8 if image.format == "uchar" else 16
        image = image.icc_transform("srgb", embedded=True, intent="relative", depth=depth)
        metadata["icc-profile-data"] = image.get("icc-profile-data")
        found.entries.pop(("icc", "", ""), None)
        notes.append("CMYK converted to sRGB")
    grey = image.interpretation in ("b-w", "grey16")
    alpha = image.bands in (2, 4)
    if (
        image.format not in ("uchar", "ushort")
        or not (grey or image.interpretation in ("srgb", "rgb", "rgb16"))
        or image.bands != (1 if grey else 3) + alpha
    ):
        raise InputError(
            f"{path}: {counted(image.bands, 'channel')} of {image.format} in {image.interpretation}; {_READABLE}; "
            "convert it first"
        )
    resolution = (image.xres, image.yres)
    if found.orientation > 1:
        image = image.copy_memory()  # turning needs the rows in another order than the decoder gives them
        image.set_type(pyvips.GValue.gint_type, "orientation", found.orientation)
        image = image.autorot()
    H, W, bands = image.height, image.width, image.bands
    dtype = np.uint8 if image.format == "uchar" else np.uint16
    samples = np.frombuffer(image.write_to_memory(), dtype).reshape(H, W, bands)
    return Picture(
        **_split(samples),
        format=format.name,
        bits=bits,
        resolution=resolution[::-1] if found.orientation > 4 else resolution,
        metadata=metadata,
        notes=tuple(notes),
    )


def _split(samples: NDArray[Any]) -> dict[str, Any]:
    """(H, W) or (H, W, 1 to 4) samples as a `Picture` has them: pixels, alpha, and whether they are grey."""
    if samples.ndim == 2:
        samples = samples[..., None]
    grey = samples.shape[2] < 3
    return {
        "pixels": np.repeat(samples[..., :1], 3, axis=2) if grey else np.ascontiguousarray(samples[..., :3]),
        "alpha": np.ascontiguousarray(samples[..., -1]) if samples.shape[2] in (2, 4) else None,
        "grey": grey,
    }


def _read_heic(path: Path, max_pixels: int) -> Picture:
    import pillow_heif

    try:
        container = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
        image = container[container.primary_index]
        _check_size(path, *image.size, max_pixels)
        samples = np.asarray(image)
    except _PILLOW_ERRORS as error:
        raise InputError(f"{path}: damaged or truncated HEIC: {error}") from error
    return Picture(
        **_split(samples),
        format="heic",
        bits=cast("int", image.info.get("bit_depth", 16)) if samples.dtype == np.uint16 else 8,
    )


def _read_pillow(path: Path, format: Format, max_pixels: int) -> Picture:
    """BMP, PPM and JPEG 2000."""
    import PIL.Image

    notes = []
    try:
        with warnings.catch_warnings(), PIL.Image.open(path) as image:
            warnings.simplefilter("ignore")  # of large images: `max_pixels` decides
            _check_size(path, *image.size, max_pixels)
            resolution = _pillow_resolution(image)
            tile: Any = image.tile[0] if image.tile else None
            if format.name == "ppm" and image.mode == "RGB" and tile.codec_name == "ppm" and tile.args[-1] > 255:
                samples = _wide_samples(path, tile.offset, image.size, tile.args[-1])  # Pillow cuts them to 8 bits
            elif image.mode in ("L", "LA", "RGB", "RGBA", "I", "I;16"):
                samples = np.asarray(image)
            else:
                samples = np.asarray(image.convert("L" if image.mode == "1" else "RGB"))
    except (*_PILLOW_ERRORS, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"{path}: damaged or truncated {format.title}: {error}") from error
    samples = samples.astype(np.uint8 if samples.dtype == np.uint8 else np.uint16)
    if format.name == "jpeg2000" and samples.dtype == np.uint8 and (bits := _bits_of_code_stream(path)) > 8:
        notes.append(f"{bits} bit reduced to 8")
    return Picture(
        **_split(samples),
        format=format.name,
        bits=8 * samples.itemsize,
        resolution=resolution,
        notes=tuple(notes),
    )


def _read_lab(path: Path, max_pixels: int, found: Inventory) -> Picture:
    """A TIFF in CIE L*a*b* of 8 bits, which libvips refuses."""
    from PIL import Image, ImageCms, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("ignore")
            opened.seek(found.page)
            _check_size(path, *opened.size, max_pixels)
            if opened.mode != "LAB" or found.pages > 1:
                raise InputError(f"{path}: L*a*b* in a form that repix does not read; convert it to RGB first")
            resolution = _pillow_resolution(opened)
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            turned = ImageOps.exif_transpose(opened)
            converted = ImageCms.profileToProfile(turned, lab, srgb, outputMode="RGB")
            assert converted is not None
            pixels = np.asarray(converted)
    except (*_PILLOW_ERRORS, Image.DecompressionBombError, ImageCms.PyCMSError) as error:
        raise InputError(f"{path}: damaged or truncated TIFF: {error}") from error
    found.entries.pop(("icc", "", ""), None)
    found.parts.pop("icc-profile-data", None)
    if found.orientation > 4:
        resolution = resolution[::-1]
    return Picture(pixels=pixels, format="tiff", resolution=resolution, notes=("L*a*b* converted to sRGB",))


def _pillow_resolution(image: Any) -> tuple[float, float]:
    """Pixels per millimetre, (horizontal, vertical), of an image that Pillow has opened."""
    across, down = (float(dots) / 25.4 for dots in image.info.get("dpi", (0, 0)))
    return (across, down) if min(across, down) > 0 else (_DPI_72, _DPI_72)


def _wide_samples(path: Path, offset: int, size: tuple[int, int], largest: int) -> NDArray[np.uint16]:
    """(H, W, 3) of a binary portable map with two bytes a sample, stretched to the whole range."""
    width, height = size
    with path.open("rb") as file:
        file.seek(offset)
        samples = np.frombuffer(file.read(6 * width * height), ">u2").reshape(height, width, 3)
    stretched: NDArray[np.uint16] = np.rint(np.minimum(samples, largest) * (65535 / largest)).astype(np.uint16)
    return stretched


def _bits_of_code_stream(path: Path) -> int:
    """Bits per sample of a JPEG 2000 (ISO/IEC 15444-1, section A.5.1)."""
    head = read_head(path, HEAD)
    start = head.find(b"\xff\x4f\xff\x51")
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def _to_vips(pixels: Image, alpha: Image | None, image: Picture) -> Any:
    """A libvips image on the arrays' own memory, without metadata but the resolution."""
    if image.grey:
        pixels = np.rint(pixels.mean(axis=2, dtype=np.float32, keepdims=True)).astype(pixels.dtype)
    wide = pixels.dtype == np.uint16

    def wrap(array: Image) -> Any:
        H, W = array.shape[:2]
        bands = array.shape[2] if array.ndim == 3 else 1
        data = np.ascontiguousarray(array).data
        return pyvips.Image.new_from_memory(data, W, H, bands, "ushort" if wide else "uchar")

    raster = wrap(pixels)
    if alpha is not None:
        raster = raster.bandjoin(wrap(alpha))
    kind = ("grey16" if wide else "b-w") if image.grey else ("rgb16" if wide else "srgb")
    xres, yres = _resolution(image)
    return raster.copy(interpretation=kind, xres=xres, yres=yres)


def _resolution(image: Picture) -> tuple[float, float]:
    """Pixels per millimetre, horizontal and vertical; libvips says one where the file said nothing."""
    across, down = (_DPI_72 if value == 1.0 else value for value in image.resolution)
    return across, down


def _has_resolution(image: Picture) -> bool:
    """Whether an image has another resolution than one that is not known."""
    return any(not math.isclose(value, _DPI_72, rel_tol=1e-3) for value in _resolution(image))


def check_pixels(pixels: Image, alpha: Image | None = None) -> None:
    """Refuse what is no image's pixels, or no alpha that goes with them.

    Raises:
        InputError: it is not.
    """
    if not isinstance(pixels, np.ndarray):
        raise InputError(f"an image must be an array (H, W, 3) of uint8 or uint16, got {type(pixels).__name__}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an image must be (H, W, 3) uint8 or uint16, got {pixels.shape} {pixels.dtype}")
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        raise InputError(f"alpha must be {pixels.shape[:2]} {pixels.dtype}, got {alpha.shape} {alpha.dtype}")


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{path}: {width}×{height} is {width * height / 1e6:,.6g} million pixels, more than the "
            f"{max_pixels / 1e6:,.6g} million allowed; raise it with --max-pixels if the file can be trusted"
        )


def _field(image: Any, name: str, default: int) -> int:
    return int(image.get(name)) if image.get_typeof(name) else default


def to_8_bits(samples: Image) -> NDArray[np.uint8]:
    """uint16 samples as the nearest of 256 levels."""
    # round(v / 257) without leaving 16 bits; 257 is odd, so nothing ties
    return (samples // 257 + (samples % 257 > 128)).astype(np.uint8)


def resize(pixels: Image, size: tuple[int, int], kernel: Literal["cubic", "linear", "nearest"] = "cubic") -> Image:
    """Bring (H, W, 3) pixels to a size (height, width), averaged over the area where they shrink; with `nearest` every
    pixel of the result is one of the original."""
    if kernel == "nearest":
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(np.intp)
            for new, old in zip(size, pixels.shape[:2], strict=True)
        )
        picked: Image = pixels[rows[:, None], columns]
        return picked
    height, width = pixels.shape[:2]
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    resized: Image = image.resize(size[1] / width, vscale=size[0] / height, kernel=kernel).numpy()
    return resized


def sample(pixels: Floats, places: Floats) -> Floats:
    """(H, W, 3) pixels at places (h, w, 2), down and right from the first one's centre: bicubic, edges go on beyond."""
    index = pyvips.Image.new_from_array(np.ascontiguousarray(places[..., ::-1]))
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    moved = image.mapim(index, interpolate=pyvips.Interpolate.new("bicubic"), extend="copy")
    sampled: Floats = moved.numpy().astype(np.float32)
    return sampled


def shrink(pixels: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """(H, W, 3) pixels, scaled down so that their longer side is `max_side`."""
    shrunk: NDArray[np.uint8] = pyvips.Image.new_from_array(pixels).thumbnail_image(max_side, height=max_side).numpy()
    return shrunk


def through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """(H, W, 3) pixels as they come back from a JPEG of that quality, chroma subsampled as cameras do."""
    file = pyvips.Image.new_from_array(pixels, interpretation="srgb").jpegsave_buffer(Q=quality)
    coded: NDArray[np.uint8] = pyvips.Image.new_from_buffer(file, "").numpy()
    return coded


def _let_go_of_files() -> None:
    """libvips keeps the last files open to read them again; Windows replaces no open file, and ours change."""
    with _cache:
        most = pyvips.vips_lib.vips_cache_get_max()
        pyvips.cache_set_max(0)
        pyvips.cache_set_max(most)


def _reason(error: Any) -> str:
    if isinstance(error, UnicodeDecodeError):
        # pyvips reads libvips' words as UTF-8; a file's own bytes may stand there, and stay for the next error
        pyvips.vips_lib.vips_error_clear()
        return "it holds text that is none"
    lines: list[str] = [line.strip() for line in error.detail.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("system error: "):
            return line.removeprefix("system error: ")
    return "; ".join(dict.fromkeys(lines[:2])) or "its header makes no sense"
