"""Frames without a container, as pipes carry them: YUV4MPEG2 (y4m) in and out, raw frames in.

Each frame is read when it is asked for and written at once, so that a camera can be followed live; FFmpeg's own readers
look at many frames before they give the first. Written after https://wiki.multimedia.cx/index.php/YUV4MPEG2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any, Protocol

import av
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from repix.errors import InputError
from repix.io.image import MAX_PIXELS
from repix.io.video import Frame, FrameSource, plain_decoder

MAGIC = b"YUV4MPEG2"
"""What every y4m begins with."""

_LONGEST_LINE = 4096
# y4m's names of chroma -> FFmpeg's names of formats; those of more than 8 bits are the same with p10, p12 or p16
_FORMATS = {
    "420jpeg": "yuv420p",
    "420mpeg2": "yuv420p",
    "420paldv": "yuv420p",
    "420": "yuv420p",
    "411": "yuv411p",
    "422": "yuv422p",
    "444": "yuv444p",
    "444alpha": "yuva444p",
    "mono": "gray",
    **{f"mono{bits}": f"gray{bits}le" for bits in (10, 12, 16)},
    **{f"{chroma}p{bits}": f"yuv{chroma}p{bits}le" for chroma in (420, 422, 444) for bits in (10, 12, 16)},
}
# where chroma sits, as FFmpeg takes it from a file of that kind
_PLACES = {"420jpeg": "center", "420mpeg2": "left", "420paldv": "topleft", "420": "center"}
_NAMES = {format: name for name, format in reversed(_FORMATS.items())}


class Binary(Protocol):
    """What bytes come from: `sys.stdin.buffer`."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, fewer at the end."""

    def readline(self, size: int, /) -> bytes:
        """Bytes up to the end of the line."""


@dataclass(frozen=True)
class RawVideo:
    """What raw frames are, which they do not say themselves.

    Attributes:
        width: of each frame.
        height: of each frame.
        rate: frames per second.
        pixel_format: FFmpeg's name of it.
    """

    width: int
    height: int
    rate: Fraction
    pixel_format: str

    @classmethod
    def parse(cls, text: str) -> RawVideo:
        """From `WxH@FPS:PIXFMT`, such as `1920x1080@30:yuv420p` or `640x480@30000/1001:nv12`.

        Raises:
            InputError: another form, or a format that FFmpeg does not know.
        """
        found = re.fullmatch(r"(\d+)x(\d+)@(\d+(?:\.\d+)?|\d+[/:]\d+):(\w+)", text)
        if found is None:
            raise InputError(f"raw video must be WxH@FPS:PIXFMT, such as 1920x1080@30:yuv420p, got {text!r}")
        width, height, rate, format = found.groups()
        if 0 in (int(width), int(height)) or re.fullmatch(r"0+(\.0+)?|.*[/:]0+|0+[/:].*", rate):
            raise InputError(f"raw video needs a width, a height and a rate above 0, got {text!r}")
        return cls(int(width), int(height), Fraction(rate.replace(":", "/")).limit_denominator(1_000_000), format)


class PipeReader(FrameSource):
    """Frames from a pipe, one after another as they come.

    Args:
        stream: y4m or, with `raw`, frames alone.
        raw: what the frames are, where it is not y4m.
        head: bytes that have been read already.
        max_pixels: frames with more pixels than this are refused.

    Attributes:
        header: the first line of y4m, which suits the result too; None for raw frames.

    Raises:
        InputError: not y4m, a kind of pixels that can't be read, or not one whole frame.
    """

    def __init__(
        self, stream: Binary, *, raw: RawVideo | None = None, head: bytes = b"", max_pixels: int = MAX_PIXELS
    ) -> None:
        super().__init__()
        self._stream = stream
        self._head = head
        self._range = 0
        self._place: str | None = None  # where chroma sits, as FFmpeg names it
        self.header: bytes | None = None
        if raw is None:
            raw = self._read_header()
        self.rate, self.time_base = raw.rate, 1 / raw.rate
        self._raw = raw
        if raw.height * raw.width > max_pixels:
            raise InputError(
                f"standard input: {raw.width}×{raw.height} has more than the {max_pixels:,} pixels allowed"
            )
        self._size = _frame_size(raw)
        self._decoder = plain_decoder(raw.width, raw.height, raw.pixel_format, self._place)
        self._count = 0
        first = self._read_frame()
        if first is None:
            raise InputError("standard input: not one whole frame came")
        self._next: VideoFrame | None = first
        self.look_at(first)

    def __iter__(self) -> Iterator[Frame]:
        frame, self._next = self._next, None
        while frame is not None:
            yield self.to_frame(frame)
            frame = self._read_frame()

    def _take(self, size: int) -> bytes:
        taken, self._head = self._head[:size], self._head[size:]
        try:
            return taken + self._stream.read(size - len(taken)) if len(taken) < size else taken
        except OSError as error:
            raise InputError(f"standard input cannot be read: {error.strerror or error}") from error

    def _line(self) -> bytes:
        """Up to the end of the line, which is left out; None inside a line that does not end."""
        before, end, after = self._head.partition(b"\n")
        self._head = after
        line = before if end else before + self._stream.readline(_LONGEST_LINE)
        return line.removesuffix(b"\n")

    def _read_header(self) -> RawVideo:
        self.header = self._line()
        kind, *tags = self.header.decode("ascii", "replace").split(" ")
        if kind.encode() != MAGIC:
            raise InputError("standard input: not YUV4MPEG2; raw frames need --raw WxH@FPS:PIXFMT")
        given = {tag[:1]: tag[1:] for tag in reversed(tags) if tag and tag[0] != "X"}
        name = given.get("C", "420jpeg")
        if name not in _FORMATS:
            raise InputError(f"standard input: y4m of the kind C{name} cannot be read; choose {', '.join(_FORMATS)}")
        try:
            width, height = int(given["W"]), int(given["H"])
            rate = Fraction(given.get("F", "25:1").replace(":", "/"))
            aspect = given.get("A", "0:0").split(":")
        except (KeyError, ValueError, ZeroDivisionError) as error:
            raise InputError(f"standard input: damaged: y4m with the header {self.header[:80]!r}") from error
        if width <= 0 or height <= 0 or rate < 0:
            raise InputError(f"standard input: damaged: y4m with the header {self.header[:80]!r}")
        if len(aspect) == 2 and all(part.isdigit() and int(part) for part in aspect):
            self.aspect = Fraction(int(aspect[0]), int(aspect[1]))
        if given.get("I", "p") in ("t", "b", "m"):
            self.notes.append("interlaced: both fields of a frame were restored as one image")
        self._range = ColorRange.JPEG if "XCOLORRANGE=FULL" in tags else 0
        self._place = _PLACES.get(name)
        return RawVideo(width, height, rate or Fraction(25), _FORMATS[name])

    def _read_frame(self) -> VideoFrame | None:
        """The next frame; None at the end, with a note where that is inside a frame."""
        if self.header is not None:
            line = self._line()
            if not line:
                return None
            if b"FRAME".startswith(line) and line != b"FRAME" and not self._take(1):
                self.notes.append(f"cut short: of frame {self._count + 1} only its first bytes came")
                return None
            if line.split(b" ")[0] != b"FRAME":
                raise InputError(f"standard input: damaged: frame {self._count + 1} begins with {line[:20]!r}")
        data = self._take(self._size)
        if len(data) < self._size:
            if data:
                self.notes.append(
                    f"cut short: of frame {self._count + 1} only {len(data):,} of {self._size:,} bytes came"
                )
            return None
        frame = self._decoder.decode(Packet(data))[0]
        if self._range:
            frame.color_range = self._range
        frame.pts, frame.time_base, frame.duration = self._count, self.time_base, 1
        self._count += 1
        return frame


class Y4mWriter:
    """Writes frames as y4m, each at once; other tracks have no place there.

    Args:
        out: where to write.
        source: whose frames they are; its kind of pixels is kept where y4m knows it.
    """

    def __init__(self, out: IO[bytes], source: FrameSource) -> None:
        self._out = out
        self._source = source
        self._format = _y4m_format(source.first)
        self._encoder = _encoder(source.first.width, source.first.height, self._format)
        self._reformatter = VideoReformatter()
        header = source.header if isinstance(source, PipeReader) else None
        if source.first.format.name != self._format:  # without its transparency, for one
            header = None
        self._header = _header(source, self._format) if header is None else header

    def write(self, item: Any) -> None:
        """Write a frame; packets are passed over.

        Raises:
            BrokenPipeError: nobody reads any more.
            OSError: it cannot be written.
        """
        if not isinstance(item, Frame):
            return
        frame = self._source.from_frame(item, self._reformatter, self._format)
        if self._header:
            self._out.write(self._header + b"\n")
            self._header = b""
        self._out.write(b"FRAME\n")
        for packet in self._encoder.encode(frame):
            self._out.write(memoryview(packet))
        self._out.flush()


def _encoder(width: int, height: int, format: str) -> VideoCodecContext:
    """What makes plain bytes of frames."""
    encoder = CodecContext.create("rawvideo", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, format, Fraction(1)
    return encoder


def _frame_size(raw: RawVideo) -> int:
    """Bytes of a frame.

    Raises:
        InputError: no such format, or one whose frames are not plain bytes.
    """
    try:
        frame = VideoFrame(raw.width, raw.height, raw.pixel_format)
        size = sum(packet.size for packet in _encoder(raw.width, raw.height, raw.pixel_format).encode(frame))
    except (ValueError, MemoryError, av.FFmpegError) as error:
        raise InputError(
            f"raw video: unknown pixel format {raw.pixel_format!r}; `ffmpeg -pix_fmts` lists them"
        ) from error
    if frame.format.has_palette:  # where it lies behind pixels of an odd number is not agreed on
        raise InputError(f"raw video: {raw.pixel_format} has a palette, which cannot be read; choose rgb24")
    return size


def _y4m_format(first: VideoFrame) -> str:
    """What of y4m's formats is nearest to a frame's: no chroma and no bits lost."""
    source = first.format
    name = source.name.replace("yuvj", "yuv")
    if name in _NAMES and name != "yuva444p":
        return name
    across, down = source.chroma_width(16), source.chroma_height(16)
    colours = len(source.components) >= 3
    chroma = "444" if not colours or source.is_rgb or across == 16 else "420" if down < 16 else "422"
    bits = max(component.bits for component in source.components)
    depth = next(("" if most == 8 else f"{most}le" for most in (8, 10, 12, 16) if bits <= most), "16le")
    return f"yuv{chroma}p{depth}" if colours else f"gray{depth}"


def _header(source: FrameSource, format: str) -> bytes:
    first, rate, aspect = source.first, source.rate, source.aspect or Fraction(1)
    name = next((n for n, place in _PLACES.items() if place == source.place), "420jpeg")
    name = name if format == "yuv420p" else _NAMES[format]
    full = (source.range_tag or source.range) == ColorRange.JPEG
    tags = (
        f"W{first.width} H{first.height} F{rate.numerator}:{rate.denominator} Ip "
        f"A{aspect.numerator}:{aspect.denominator} C{name}" + (" XCOLORRANGE=FULL" if full else "")
    )
    return MAGIC + b" " + tags.encode()
