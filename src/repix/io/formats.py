"""The kinds of files that repix reads and writes: the only list of them.

A file is what its first bytes say (`sniff`); its name decides only what it is taken for in a folder, and what a result
is written as (`by_suffix`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class Format:
    """A kind of file. What cannot be written has no `save`.

    Attributes:
        name: key of `FORMATS`, and `Picture.format`.
        kind: image or video.
        suffixes: extensions of file names in lower case, the usual one first.
        is_it: whether a file begins like one of these, from its first bytes.
        load: what reads it: libvips' operation, `pillow` or `pillow_heif`; for videos, FFmpeg's demuxer.
        save: what writes it: libvips' operation; for videos, FFmpeg's muxer.
        options: how it is written.
        max_side: most pixels a side that the encoder takes.
        bits: most bits per sample that it is written with.
        alpha: whether it is written with transparency.
        exact: whether pixels that are written are read again as they were.
        fallback: extension that stands in for this kind in names of results, where it cannot be written.
        label: what messages call it, where that is not the name in capitals.
    """

    name: str
    kind: Kind
    suffixes: tuple[str, ...]
    is_it: Callable[[bytes], bool]
    load: str
    save: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    max_side: int | None = None
    bits: int = 16
    alpha: bool = True
    exact: bool = True
    fallback: str | None = None
    label: str | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.label or self.name.upper()


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _riff(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == kind


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    """ISO base media files (ISO/IEC 14496-12, section 4.3): one of these brands is the main or a compatible one."""

    def is_it(head: bytes) -> bool:
        end = min(int.from_bytes(head[:4], "big"), 256)
        return head[4:8] == b"ftyp" and any(brand in head[8:end] for brand in brands)

    return is_it


def _bitmap(head: bytes) -> bool:
    """The name, two reserved fields, and the size of a header that exists; "BM" alone begins many a text."""
    return head[:2] == b"BM" and not any(head[6:10]) and head[14:18] in _BITMAP_HEADERS


def _portable_map(head: bytes) -> bool:
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#"


def _iso_video(head: bytes) -> bool:
    """To be asked after the images, which are ISO base media files too; old QuickTime files have no brand."""
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes; .m2ts puts four bytes of time before each."""
    return any(head[at : at + 1] == head[at + step : at + step + 1] == b"G" for at, step in ((0, 188), (4, 192)))


_BITMAP_HEADERS = [size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)]
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # boxes; a code stream alone
_EBML = b"\x1aE\xdf\xa3"
_MPEG = (b"\0\0\1\xba", b"\0\0\1\xb3")  # a program stream; a video stream alone

_ALL = (
    Format(
        "jpeg",
        "image",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        _starts(b"\xff\xd8\xff"),
        load="jpegload",
        save="jpegsave",
        options={"Q": 95, "subsample_mode": "off", "optimize_coding": True},
        max_side=65500,
        bits=8,
        alpha=False,
        exact=False,
    ),
    Format(
        "png",
        "image",
        (".png",),
        _starts(b"\x89PNG\r\n\x1a\n"),
        load="pngload",
        save="pngsave",
        options={"filter": "paeth"},
    ),
    Format(
        "webp",
        "image",
        (".webp",),
        _riff(b"WEBP"),
        load="webpload",
        save="webpsave",
        # the default quality of libvips caps a clean image at 37 dB
        options={"lossless": True, "exact": True, "effort": 2},
        max_side=16383,
        bits=8,
        label="WebP",
    ),
    Format(
        "tiff",
        "image",
        (".tif", ".tiff"),
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        load="tiffload",
        save="tiffsave",
        options={"compression": "deflate", "predictor": "horizontal"},
    ),
    Format(
        "avif",
        "image",
        (".avif",),
        _brand(b"avif", b"avis"),
        load="heifload",
        save="heifsave",
        # effort 2 is within 1 dB of effort 6 at a twentieth of the time
        options={"compression": "av1", "Q": 95, "subsample_mode": "off", "effort": 2},
        max_side=16384,
        bits=12,
        exact=False,
    ),
    # libvips' binary wheel has no HEVC decoder
    Format(
        "heic",
        "image",
        (".heic", ".heif", ".hif"),
        _brand(*_HEIC_BRANDS),
        load="pillow_heif",
        exact=False,
        fallback=".jpg",
    ),
    Format("gif", "image", (".gif",), _starts(b"GIF87a", b"GIF89a"), load="gifload", exact=False, fallback=".png"),
    # nor does it read these three. Nothing that is installed reads JPEG XL.
    Format("bmp", "image", (".bmp", ".dib"), _bitmap, load="pillow", fallback=".png"),
    Format("ppm", "image", (".ppm", ".pgm", ".pbm", ".pnm"), _portable_map, load="pillow", fallback=".png"),
    Format(
        "jpeg2000",
        "image",
        (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
        _starts(*_JPEG_2000),
        load="pillow",
        exact=False,
        fallback=".png",
        label="JPEG 2000",
    ),
    Format("mkv", "video", (".mkv",), _starts(_EBML), load="matroska", save="matroska"),
    Format("webm", "video", (".webm",), _starts(_EBML), load="webm", save="webm"),
    Format("mov", "video", (".mov",), _brand(b"qt  "), load="mov", save="mov"),
    Format("3gp", "video", (".3gp",), _brand(b"3gp"), load="mov", save="3gp"),  # holds AMR, as no other does
    Format("mp4", "video", (".mp4", ".m4v"), _iso_video, load="mp4", save="mp4"),
    # Matroska holds nearly all sound and subtitles of other containers as they are
    Format("avi", "video", (".avi",), _riff(b"AVI "), load="avi", fallback=".mkv"),
    Format("ts", "video", (".ts", ".mts", ".m2ts"), _transport_stream, load="mpegts", fallback=".mkv"),
    Format("mpeg", "video", (".mpg", ".mpeg", ".vob"), _starts(*_MPEG), load="mpeg", fallback=".mkv"),
    Format("wmv", "video", (".wmv",), _starts(b"0&\xb2u\x8ef\xcf\x11"), load="asf", fallback=".mkv"),
    Format("flv", "video", (".flv",), _starts(b"FLV\1"), load="flv", fallback=".mkv"),
    Format("ogv", "video", (".ogv",), _starts(b"OggS"), load="ogg", fallback=".mkv"),
    Format("mxf", "video", (".mxf",), _starts(b"\x06\x0e\x2b\x34\x02\x05\x01\x01"), load="mxf", fallback=".mkv"),
    Format("dv", "video", (".dv", ".dif"), _starts(b"\x1f\x07\0"), load="dv", fallback=".mkv"),
    Format("y4m", "video", (".y4m",), _starts(b"YUV4MPEG2"), load="yuv4mpegpipe", fallback=".mkv"),
)

FORMATS: Mapping[str, Format] = {format.name: format for format in _ALL}
"""Every kind of file by its name, images first."""

_BY_SUFFIX = {suffix: format for format in _ALL for suffix in format.suffixes}


def _suffixes(kind: Kind, *, written: bool = False) -> frozenset[str]:
    formats = (format for format in _ALL if format.kind == kind and (format.save is not None or not written))
    return frozenset(suffix for format in formats for suffix in format.suffixes)


IMAGES = _suffixes("image")
"""File name extensions that are taken for images, in lower case."""

IMAGES_WRITABLE = _suffixes("image", written=True)
"""Extensions that an image can be written as."""

VIDEOS = _suffixes("video")
"""File name extensions that are taken for videos, in lower case."""

VIDEOS_WRITABLE = _suffixes("video", written=True)
"""Extensions that a video can be written as."""

_RAW = "3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
_RAW_ADVICE = "camera RAW: develop it first"
_JXL_ADVICE = "JPEG XL: convert it to PNG first"
REFUSED: Mapping[str, str] = {f".{name}": _RAW_ADVICE for name in _RAW.split(" ")} | {".jxl": _JXL_ADVICE}
"""Extensions of kinds that nothing here reads, although people take them for images: what to do with them."""

HEAD = 65536
"""So many bytes from the beginning of a file are enough for `sniff`."""


def by_suffix(name: str | Path) -> Format | None:
    """What a file is taken for by the extension of its name, upper and lower case alike; None for no kind of ours."""
    return _BY_SUFFIX.get(os.path.splitext(name)[1].lower())


def sniff(head: bytes) -> Format | None:
    """What a file is by its first bytes, or None. libvips and FFmpeg would take far more (SVG, matrices, playlists)."""
    return next((format for format in _ALL if format.is_it(head)), None)


def advice(head: bytes) -> str | None:
    """What `REFUSED` says of a file, by its first bytes; many camera RAW files are TIFF files by their beginning."""
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return _JXL_ADVICE
    raw = head.startswith((b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM"))
    if head[:4] in (b"II*\0", b"MM\0*"):
        dng = b"\x12\xc6\1\0\4\0\0\0" if head[:2] == b"II" else b"\xc6\x12\0\1\0\0\0\4"  # DNGVersion: 4 bytes
        raw = raw or head[8:10] == b"CR" or dng in head
    return _RAW_ADVICE if raw or head[4:12] == b"ftypcrx " else None


def result_suffix(suffix: str, *, exact: bool = False) -> str:
    """The extension of a result, where nobody chose one, of a file with the extension `suffix`.

    Args:
        suffix: of the input, with its dot; one that is not known stays.
        exact: the result's colours have a meaning, as a label map's, so a format that changes them becomes PNG.
    """
    format = _BY_SUFFIX.get(suffix.lower())
    if format is None:
        return suffix
    if exact and not format.exact:
        return FORMATS["png"].suffixes[0]
    return format.fallback or suffix


def listed(suffixes: frozenset[str]) -> str:
    """Extensions as a message names them."""
    return ", ".join(sorted(suffixes))


def names(kind: Kind) -> str:
    """Formats of a kind as a message names them."""
    return ", ".join(format.title for format in _ALL if format.kind == kind)
