"""Reading and writing videos frame by frame; sound, subtitles, frame times, rotation and colour tags are carried over.

FFmpeg (through PyAV) does the work. A video is a sequence of `Frame` and of packets of its other tracks, in the order
of the file. The packets are written as they were read, so sound is the same to the bit.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, cast

import av
import numpy as np
from av.codec.context import CodecContext, Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from repix._types import Image
from repix.errors import InputError, counted
from repix.io.files import atomic, read_head
from repix.io.formats import FORMATS, HEAD, VIDEOS_WRITABLE, Format, by_suffix, listed, sniff
from repix.io.image import MAX_PIXELS

# playlists and scripts, which may name other files and addresses, are no videos
_DEMUXERS = ",".join(dict.fromkeys(format.load for format in FORMATS.values() if format.kind == "video"))
_THREADS = min(os.cpu_count() or 1, 4)  # each holds frames

# a photo comes back from RGB with luma exact and chroma at 70 dB; with swscale's own choice luma is at 47 dB, one
# level too dark
_ROUNDED = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_TO_RGB = Interpolation.BICUBIC | _ROUNDED
_FROM_RGB = Interpolation.AREA | _ROUNDED
# FFmpeg's number of a frame's matrix (AVColorSpace) -> swscale's name for it
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.SMPTE170M,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}

_PLACES = ("center", "left", "topleft", "top", "bottomleft", "bottom")  # of chroma, by FFmpeg's names
_ALIKE: Any = {  # conversions that change the size and the format alone
    "src_colorspace": Colorspace.ITU601,
    "dst_colorspace": Colorspace.ITU601,
    "src_color_range": ColorRange.MPEG,
    "dst_color_range": ColorRange.MPEG,
}
_SWAPPED = ("rgb555be", "rgb565be", "bgr555be", "bgr565be")  # swscale's shortcut to RGB takes them for little-endian
_BACKWARDS, _FORWARDS = Fraction(1, 10), Fraction(10)  # seconds; a packet that jumps further begins a new clock
_KEPT_BYTES = 64 * 2**20  # of packets before `start`; what does not fit is decoded and dropped
_CRASHES = range(33, 49)  # widths at which libx265, as PyAV brings it, corrupts the heap
_SMALLEST = 16  # pixels a side that libx265 takes
_ISO = ("mp4", "mov", "3gp")  # muxers of ISO base media files
# metadata of the file and not of what it shows
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder"}
# metrics of the old encoding, which Matroska's tools leave
_OF_THE_ENCODING = ("encoder", "vendor_id", "BPS", "DURATION", "NUMBER_OF", "_STATISTICS")
_OF_THE_TRACK = {"timecode", "title"}  # a language is always written, a handler's name never missed
_LIVE = {
    "h264": {"tune": "zerolatency"},
    "h265": {"tune": "zerolatency"},
    "vp9": {"lag-in-frames": "0"},
    "av1": {"svtav1-params": "pred-struct=1"},
}


class Codec(NamedTuple):
    """How frames are encoded.

    Attributes:
        encoder: FFmpeg's name.
        crf: the constant rate factor where none is asked for.
        worst: the end of that scale; 0 is the best.
        options: of the encoder. Quick presets: the network should have the processor.
    """

    encoder: str
    crf: float
    worst: int
    options: dict[str, str]


CODECS = {
    "h264": Codec("libx264", 17, 51, {"preset": "veryfast"}),
    "h265": Codec("libx265", 19, 51, {"preset": "veryfast", "x265-params": "log-level=none"}),
    "vp9": Codec("libvpx-vp9", 24, 63, {"deadline": "realtime", "cpu-used": "6", "row-mt": "1"}),
    "av1": Codec("libsvtav1", 24, 63, {"preset": "9"}),
}


@dataclass(frozen=True)
class Frame:
    """One image of a video.

    Attributes:
        pixels: (H, W, 3) RGB, upright; uint8, or uint16 over its whole range where the video has more than 8 bits.
        pts: when it is shown, in the video's time base.
        duration: for how long, in the time base; 0 where the file does not say.
    """

    pixels: Image
    pts: int
    duration: int = 0


class FrameSource:
    """What a sequence of frames is like; `VideoReader` reads them from a file, `repix.io.stream` from a pipe.

    Attributes:
        name: what messages call it.
        first: the first frame as it was decoded.
        time_base: seconds per tick of `Frame.pts`.
        rate: frames per second, on average.
        bits: per sample.
        place: where chroma sits, by FFmpeg's name; None where there is one sample of it for each pixel.
        notes: what could not be kept as it was, one sentence each; complete when all has been read.
        shift: seconds that are taken from every time.
        aspect: width over height of a pixel; None where nothing says so.
        others: tracks whose packets are passed on.
        covers: the image files among them, by the track's index.
        metadata: of the whole video.
        track_metadata: of the track of images.
        disposition: of the track of images.
        chapters: as PyAV gives them.
    """

    name = "standard input"
    first: VideoFrame
    time_base: Fraction
    rate: Fraction
    bits: int
    place: str | None
    shift = Fraction(0)
    aspect: Fraction | None = None
    disposition: Disposition | None = None

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.others: list[Stream] = []
        self.covers: dict[int, bytes] = {}
        self.metadata: dict[str, str] = {}
        self.track_metadata: dict[str, str] = {}
        self.chapters: Any = []
        self._to_rgb = VideoReformatter()
        self._resized = False

    def look_at(self, frame: VideoFrame) -> None:
        """What the samples mean, from the first frame: headers say less."""
        self.first = frame
        self.bits = max(component.bits for component in frame.format.components)
        self.place = _place_of(frame)
        hd = frame.height >= 720 or frame.width >= 1280
        # where the video says nothing, what players take it for; it still says nothing afterwards
        self.matrix = _MATRICES.get(frame.colorspace, Colorspace.ITU709 if hd else Colorspace.ITU601)
        full = frame.format.is_rgb or frame.format.name.startswith("yuvj")
        self.range = frame.color_range or (ColorRange.JPEG if full else ColorRange.MPEG)
        self.matrix_tag, self.range_tag = frame.colorspace, frame.color_range
        if frame.format.is_rgb or frame.colorspace == 0:
            # RGB or a palette; encoded as luma and chroma that y4m, which has no tags, is taken for
            self.matrix = Colorspace.ITU709 if hd else Colorspace.ITU601
            self.matrix_tag, self.range_tag = (1 if hd else 6), 1
        self.turns = round(frame.rotation / 90) % 4
        side_data: Any = frame.side_data
        kinds = {data.type.name: data for data in (side_data[i] for i in range(len(side_data)))}
        matrix = kinds.get("DISPLAYMATRIX")
        self.display_matrix = None if matrix is None else np.frombuffer(bytes(matrix), np.int32).tolist()
        if frame.interlaced_frame:
            self.notes.append("interlaced: both fields of a frame were restored as one image")
        if kinds.keys() & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "DOVI_METADATA", "DYNAMIC_HDR_PLUS"}:
            self.notes.append("HDR mastering data left out; the colours are kept")
        if frame.format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya")):
            self.notes.append("transparency left out")

    def to_frame(self, decoded: VideoFrame) -> Frame:
        """A decoded frame, which has a time, as RGB, upright, of the first frame's size.

        Raises:
            InputError: a kind of samples that cannot become RGB.
        """
        assert decoded.pts is not None
        samples, kind = decoded, decoded.format.name
        if (decoded.width, decoded.height) != (self.first.width, self.first.height) and not self._resized:
            self._resized = True
            size = f"{self.first.width}×{self.first.height}"
            self.notes.append(f"the size changes to {decoded.width}×{decoded.height}; written as {size} throughout")
        try:
            if kind.startswith("yaf32") or (kind.startswith("bayer_") and decoded.height < 2):
                raise ValueError("swscale would end the process")
            if kind in _SWAPPED:
                samples = decoded.reformat(format="gbrp")
            rgb = self._to_rgb.reformat(
                samples,
                self.first.width,  # the size may change in the middle
                self.first.height,
                "rgb24" if self.bits <= 8 else "rgb48le",
                src_colorspace=self.matrix,
                src_color_range=self.range,
                dst_color_range=ColorRange.JPEG,
                interpolation=_TO_RGB,
                threads=1,
            )
        except (ValueError, av.FFmpegError) as error:
            size = f"{decoded.width}×{decoded.height}"
            raise InputError(
                f"{self.name}: frames of {size} in the pixel format {kind} cannot be converted; "
                "let FFmpeg make yuv420p or rgb24 of them"
            ) from error
        pixels: Any = np.rot90(rgb.to_ndarray(), self.turns)
        return Frame(pixels, decoded.pts - round(self.shift / self.time_base), decoded.duration)

    def from_frame(
        self, frame: Frame, reformatter: VideoReformatter, form: str, place: str | None = None
    ) -> VideoFrame:
        """What `to_frame` gave, as samples of the format `form` with this video's colours and times.

        Args:
            frame: the pixels.
            reformatter: of whoever calls it.
            form: FFmpeg's name of the format.
            place: where chroma is to sit; None takes the video's.
        """
        pixels: Any = np.ascontiguousarray(np.rot90(frame.pixels, -self.turns))
        height, width = pixels.shape[:2]
        kind = "rgb24" if pixels.dtype == np.uint8 else "rgb48le"
        made = reformatter.reformat(
            plain_decoder(width, height, kind, place or self.place).decode(Packet(pixels.data))[0],
            format=form,
            dst_colorspace=self.matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=self.range_tag or self.range,
            interpolation=_FROM_RGB,
            threads=1,
        )
        made.color_range, made.colorspace = self.range_tag, self.matrix_tag
        made.color_trc, made.color_primaries = self.first.color_trc, self.first.color_primaries
        made.pts, made.duration, made.time_base = frame.pts, frame.duration, self.time_base
        return made


def plain_decoder(width: int, height: int, format: str, place: str | None = None) -> VideoCodecContext:
    """What makes frames of plain bytes.

    Args:
        width, height: of each frame.
        format: FFmpeg's name of the format.
        place: where chroma sits, by FFmpeg's name; frames made in another way cannot be told.
    """
    decoder = CodecContext.create("rawvideo", "r")
    decoder.width, decoder.height, decoder.pix_fmt = width, height, format
    decoder.options = {"chroma_sample_location": place} if place else {}
    return decoder


def _place_of(frame: VideoFrame) -> str | None:
    """Where a frame's chroma sits. PyAV does not say it, but swscale heeds it: a pattern of our own shows where.

    A frame that says nothing is treated as one with chroma in the center.
    """
    if _chroma(frame.format) == (16, 16):
        return None
    side, form = 8, "yuv420p"
    pattern = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)

    def enlarged(frame: VideoFrame) -> bytes:
        for plane in frame.planes:
            samples = np.frombuffer(cast(Any, plane), np.uint8).reshape(plane.height, plane.line_size)
            samples[:, : plane.width] = pattern[: plane.height, : plane.width]
        large: Any = frame.reformat(format="yuv444p", **_ALIKE).to_ndarray()
        return bytes(large[1])

    try:
        sought = enlarged(frame.reformat(side, side, form, **_ALIKE))
    except av.FFmpegError:
        return None  # what cannot be converted is refused where it is read
    empty = bytes(side * side * 3 // 2)
    found = (p for p in _PLACES if enlarged(plain_decoder(side, side, form, p).decode(Packet(empty))[0]) == sought)
    return next(found, None)


class _Clock:
    """One clock for pieces that were glued together, each of which begins its own, as parts of a dash cam do.

    Attributes:
        restarts: when that happened, in seconds of the joined clock.
    """

    def __init__(self) -> None:
        self.restarts: list[Fraction] = []
        self._offsets = [Fraction(0)]  # of each piece
        self._piece: dict[int, int] = {}  # in which each track is: they do not change over at one packet
        self._last: dict[int, Fraction] = {}
        self._end = Fraction(0)

    def place(self, packet: Packet[Any], rate: Fraction) -> None:
        """Change a packet's times to those of the joined clock."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        track = packet.stream.index
        piece = self._piece.get(track, len(self._offsets) - 1)
        if stamp is not None and packet.stream.type in ("video", "audio"):
            time = stamp * packet.time_base
            if track in self._last and not -_BACKWARDS <= time - self._last[track] <= _FORWARDS:
                piece += 1
                if piece == len(self._offsets):
                    first = (packet.pts if packet.pts is not None else stamp) * packet.time_base
                    self._offsets.append(self._end - first)
                    self.restarts.append(self._end)
            self._piece[track], self._last[track] = piece, time
        elif packet.stream.type not in ("video", "audio"):
            piece = len(self._offsets) - 1
        ticks = round(self._offsets[piece] / packet.time_base)
        if packet.dts is not None:
            packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks
            length = packet.duration * packet.time_base if packet.duration else 1 / rate
            self._end = max(self._end, packet.pts * packet.time_base + length)


class VideoReader(FrameSource):
    """The frames of a video, and the packets of its other tracks, in the order of the file.

    Args:
        path: the video; its contents decide what it is, not its name.
        start: leave out what is shown before this many seconds from the video's beginning; what remains then begins
            at time 0. None keeps all, and every time as it is.
        end: leave out what is shown from here on, in seconds from the video's beginning.
        max_pixels: frames with more pixels than this are refused from the header.

    Attributes:
        path: the video.
        track: where the frames come from.
        count: how many frames to expect, an estimate; 0 where the file says nothing.

    Raises:
        InputError: unreadable, not a video, so damaged that it has no frame, too large, or nothing between `start` and
            `end`. While reading: the disk fails.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: float | None = None,
        end: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.name = str(path)
        self.container = _open(self.path)
        try:
            self._choose_tracks(max_pixels)
            self._choose_times(start, end)
            self._raw = self._read()
            before = []
            for item in self._raw:
                before.append(item)
                if isinstance(item, VideoFrame):
                    break
            if not before or not isinstance(item, VideoFrame):
                if start is None and end is None:
                    raise InputError(f"{self.path}: damaged: not one frame can be decoded")
                raise InputError(f"{self.path}: no frame in that time; the video lasts {float(self._length):.1f} s")
            self._raw = itertools.chain(before, self._raw)
            self.covers = {p.stream.index: bytes(p) for p in before if isinstance(p, Packet) and _is_cover(p.stream)}
            self.look_at(item)
            if self._from is not None:
                assert item.pts is not None
                self._move_time_code(round((item.pts * self.time_base - self._zero) * self.rate))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.container.close()

    def __iter__(self) -> Iterator[Frame | Packet[Any]]:
        for item in self._raw:
            yield self.to_frame(item) if isinstance(item, VideoFrame) else item

    def _choose_tracks(self, max_pixels: int) -> None:
        streams = self.container.streams
        moving = [s for s in streams.video if not _is_cover(s)]
        best = streams.best("video")
        if best not in moving:
            raise InputError(f"{self.path}: no video: it has no moving images that can be decoded")
        assert isinstance(best, VideoStream)
        if best.codec_context is None:
            raise InputError(f"{self.path}: its images are encoded in a way that cannot be decoded here")
        self.track = best
        height, width = best.codec_context.height, best.codec_context.width
        if height * width > max_pixels:
            raise InputError(f"{self.path}: {width}×{height} has more than the {max_pixels:,} pixels allowed")
        best.codec_context.thread_type = "AUTO"
        best.codec_context.thread_count = _THREADS
        self.others = [s for s in streams if s is not best and s.type in ("audio", "subtitle", "video", "attachment")]
        if len(moving) > 1:
            self.notes.append("the video has more than one image track; only the main one was restored")
        chapters = len(self.container.chapters())
        # time code is metadata too, and MP4 has the names of chapters in a track
        if any("timecode" not in track.metadata and track.frames != chapters for track in streams.data):
            self.notes.append("data tracks (position and the like) left out")
        self.aspect, self.disposition = best.sample_aspect_ratio, best.disposition
        self.metadata = {key: value for key, value in self.container.metadata.items() if key not in _OF_THE_FILE}
        kept = {key: value for key, value in best.metadata.items() if not key.startswith(_OF_THE_ENCODING)}
        if {key.lower(): value for key, value in kept.items()}.get("alpha_mode", "0") != "0":
            # VP8's and VP9's transparency is a second image beside each, which FFmpeg's own decoder passes over
            self.notes.append("transparency left out")
            kept = {key: value for key, value in kept.items() if key.lower() != "alpha_mode"}
        self.track_metadata = kept

    def _move_time_code(self, frames: int) -> None:
        """Let the time code be that of the first frame which is shown; what cannot be counted is left out."""
        for metadata in (self.metadata, self.track_metadata):
            for key in [key for key in metadata if key.lower() == "timecode"]:
                moved = _later(metadata.pop(key), frames, self.rate)
                if moved is None:
                    self.notes.append("time code left out: it cannot be moved to where the part begins")
                else:
                    metadata[key] = moved

    def _choose_times(self, start: float | None, end: float | None) -> None:
        track = self.track
        self.time_base = track.time_base or Fraction(1, av.time_base)
        self.rate = track.average_rate or track.guessed_rate or Fraction(25)
        if self.rate * self.time_base == 1:  # ticks of a clock, as DV has them, and no frames
            self.rate = track.guessed_rate or self.rate
        self._zero = (track.start_time or 0) * self.time_base
        self._length = (
            track.duration * self.time_base if track.duration else Fraction(self.container.duration or 0, av.time_base)
        )
        # a frame at 8/25 s is not before 0.32 s, which is no binary fraction
        begin, stop = (None if t is None else Fraction(t).limit_denominator(10**6) for t in (start, end))
        self._from = None if begin is None else self._zero + begin
        self._to = None if stop is None else self._zero + stop
        self.shift = self._from or Fraction(0)
        if begin is None:
            self.chapters = self.container.chapters()
        shown = max(min(self._length, stop or self._length) - (begin or 0), Fraction(0))
        frames = track.frames or self._length * self.rate
        self.count = round(frames * shown / self._length) if self._length else track.frames
        format = self.container.format
        self._clock = _Clock() if av.format.Flags.ts_discont in av.format.Flags(format.flags) else None
        # others have no index, or none to rely on, and are read from their beginning
        if self._from is not None and format.name.startswith(("mov", "matroska")):
            with contextlib.suppress(av.FFmpegError):
                self.container.seek(int(self._from / self.time_base), stream=track)

    def _read(self) -> Iterator[VideoFrame | Packet[Any]]:
        """Decoded frames and other tracks' packets between `start` and `end`; damaged places are passed over."""
        self._damages: list[float] = []
        self._holes: list[float] = []  # where a transport stream's packets do not follow each other
        self._last: int | None = None
        waiting = {self.track.index} | {s.index for s in self.others if s.type == "audio"}
        skipped = _Skipped(self._from)
        expected: dict[int, int] = {}  # when a packet begins that does not say it
        for packet in self._packets():
            if packet is not None and self._clock is not None:
                self._clock.place(packet, self.rate)
            if packet is None or packet.stream is self.track:
                for frame, time in itertools.chain.from_iterable(map(self._decode, skipped.then(packet))):
                    if self._to is not None and time >= self._to:
                        waiting.discard(self.track.index)
                    elif self._from is None or time >= self._from:
                        yield frame
                continue
            if _is_cover(packet.stream):  # has no time, and comes first
                packet.pts = packet.dts = 0
                yield packet
                continue
            if packet.pts is None:
                packet.pts = packet.dts if packet.dts is not None else expected.get(packet.stream.index)
            if packet.pts is not None:
                expected[packet.stream.index] = packet.pts + (packet.duration or 0)
                time, shift = packet.pts * packet.time_base, round(self.shift / packet.time_base)
                if self._to is not None and time >= self._to:
                    waiting.discard(packet.stream.index)
                elif self._from is None or time >= self._from:
                    packet.dts = (packet.pts if packet.dts is None else packet.dts) - shift
                    packet.pts -= shift
                    yield packet
            if not waiting:
                break
        self._say_damages()
        if self._clock is not None and (restarts := self._clock.restarts):
            places = [f"{float(time - self._zero):.1f} s" for time in restarts]
            more = f" and {counted(len(places) - 3, 'more place')}" if len(places) > 3 else ""
            self.notes.append(
                f"the video's clock starts again at {', '.join(places[:3])}{more}; the pieces were joined"
            )

    def _packets(self) -> Iterator[Packet[Any] | None]:
        """What is in the file; None at the end."""
        tracks = [s for s in self.container.streams if s is self.track or s in self.others]
        try:
            for packet in self.container.demux(tracks):
                if packet.is_corrupt and packet.stream is self.track:
                    self._holes.append(self._seconds())
                if packet.size:  # the demuxer ends every track with an empty one
                    yield packet
        except av.error.InvalidDataError:
            self._damages.append(self._seconds())
        except av.FFmpegError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
        yield None

    def _decode(self, packet: Packet[Any] | None) -> Iterator[tuple[VideoFrame, Fraction]]:
        try:
            frames = self.track.codec_context.decode(packet)
        except av.error.InvalidDataError:
            self._damages.append(self._seconds())
            return
        except av.FFmpegError as error:
            raise InputError(f"{self.path}: cannot be decoded: {error.strerror}") from error
        for frame in frames:
            pts = frame.pts
            if pts is None:
                pts = 0 if self._last is None else self._last + round(1 / (self.rate * self.time_base))
            if self._last is not None:
                pts = max(pts, self._last + 1)  # encoders take times that grow
            frame.pts = self._last = pts
            if frame.is_corrupt:
                self._damages.append(self._seconds())
            yield frame, pts * self.time_base

    def _seconds(self) -> float:
        """From the video's beginning to the last frame decoded."""
        return 0.0 if self._last is None else float(self._last * self.time_base - self._zero)

    def _say_damages(self) -> None:
        joined = self._clock is not None and self._clock.restarts
        if not joined:  # where pieces were glued together, none is missing
            self._damages = sorted(self._damages + self._holes)
        if self._damages:
            places = list(dict.fromkeys(f"{seconds:.1f} s" for seconds in self._damages))
            more = f" and {counted(len(places) - 3, 'more place')}" if len(places) > 3 else ""
            self.notes.append(f"damaged at {', '.join(places[:3])}{more}; what could be decoded was kept")
        missing = float(self._length) - self._seconds() - 2 / float(self.rate)
        if self._to is None and missing > 0.5 and not joined:  # the length is that of the last piece's clock
            self.notes.append(f"cut short: ends at {self._seconds():.1f} s of {float(self._length):.1f} s")


def _later(code: str, frames: int, rate: Fraction) -> str | None:
    """A SMPTE time code (`01:00:00:00`, with `;` where numbers are dropped) so many frames later; None where it is
    damaged or the rate has no such code."""
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", code)
    whole = round(rate)
    dropped = 0 if found is None or found[4] == ":" else whole // 15  # numbers, at each minute but the tenth
    if found is None or not 0 < whole <= 99 or (dropped and whole % 30):
        return None
    hours, minutes, seconds, frame = (int(found[k]) for k in (1, 2, 3, 5))
    minutes += 60 * hours
    number = (60 * minutes + seconds) * whole + frame - dropped * (minutes - minutes // 10) + frames
    tens, rest = divmod(number, 600 * whole - 9 * dropped)
    number += dropped * (9 * tens + max(0, (rest - dropped) // (60 * whole - dropped)))
    seconds, frame = divmod(number, whole)
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{found[4]}{frame:02}"


def _open(path: Path) -> InputContainer:
    options = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
    format = sniff(read_head(path, HEAD))
    if format is not None and format.kind == "image":
        name = format.title
        if by_suffix(path) is format:
            raise InputError(f"{path}: an image ({name}); give a video")
        raise InputError(f"{path}: an image by its contents ({name}), not a video; name it {format.suffixes[0]}")
    try:
        # "file:", because "a:b.mp4" would be taken for an address
        return av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise InputError(f"{path}: not a video, or damaged beyond reading: {error.strerror}") from error


class _Skipped:
    """Packets before a time, of which only those are decoded that are needed for what is shown from then on."""

    def __init__(self, until: Fraction | None) -> None:
        self._until = until
        self._kept: list[Packet[Any]] = []

    def then(self, packet: Packet[Any] | None) -> list[Packet[Any] | None]:
        """What to decode when this packet comes; None is the end."""
        if self._until is None:
            return [packet]
        if packet is not None:
            stamps = [stamp * packet.time_base for stamp in (packet.dts, packet.pts) if stamp is not None]
            if packet.is_keyframe and stamps and stamps[-1] <= self._until:
                self._kept.clear()  # nothing that is shown after it refers to what comes before
            if not (stamps and stamps[0] > self._until) and sum(kept.size for kept in self._kept) < _KEPT_BYTES:
                self._kept.append(packet)
                return []
        self._until = None
        ready, self._kept = self._kept, []
        return [*ready, packet]


class VideoWriter:
    """Encodes frames, and writes the packets of other tracks as they are; `write_video` makes one.

    Attributes:
        notes: what could not be kept as it was, one sentence each.
    """

    def __init__(
        self,
        file: str | IO[bytes],
        video: FrameSource,
        *,
        shown: str | os.PathLike[str],
        container: str,
        codec: str,
        crf: float,
        across: int = 1,
        live: bool = False,
    ) -> None:
        self.notes: list[str] = []
        self._source = video
        self._container = container
        options = {"live": "1", "flush_packets": "1"} if live else {}
        if container in _ISO:
            # a video that begins late is placed to 1 ms without
            options["movie_timescale"] = str(video.time_base.denominator)
            if any("." in key for key in video.metadata):  # as com.apple.quicktime.make
                options["movflags"] = "use_metadata_tags"
        unfit = f"{shown}: {container} cannot hold {codec}; choose another --codec, or write .mkv"
        if container == "mov" and codec in ("vp9", "av1"):  # which its muxer says only when the first frame comes
            raise InputError(unfit)
        self._out = av.open(file, "w", format=container, container_options=options)
        first = video.first
        height, width = first.height, first.width
        if video.turns % 2:
            height *= across
        else:
            width *= across
        if codec == "h265" and (width in _CRASHES or min(width, height) < _SMALLEST):
            codec, crf = "h264", max(crf - 2, 0)
            self.notes.append(f"{width}×{height}: written as H.264, because the encoder for H.265 fails at that size")
        kind = CODECS[codec]
        form = _pixel_format(first, codec, height, width)
        bits = av.VideoFormat(form).components[0].bits
        if bits < video.bits:
            self.notes.append(f"{video.bits} bit reduced to {bits}: {codec} holds no more")
        before, after = (_chroma(one) for one in (first.format, av.VideoFormat(form)))
        if before > after and _has_colours(first.format):
            names = {(16, 16): "4:4:4", (8, 16): "4:2:2"}
            self.notes.append(f"{names.get(before, first.format.name)} reduced to 4:2:0: {codec} holds no more")
        if "444" in form and first.format.chroma_width(16) == 8:
            self.notes.append(f"an odd size, {width}×{height}: written as 4:4:4, which few players show")
        elif codec in ("h264", "h265") and (chroma := next((c for c in ("422", "444") if c in form), None)):
            self.notes.append(f"written as {':'.join(chroma)} like the original, which few players show in {codec}")
        self._place, said = _written_place(video.place, codec, form)
        try:
            track = self._out.add_stream(
                kind.encoder,
                video.rate,
                {**kind.options, **(_LIVE.get(codec, {}) if live else {}), **said, "crf": f"{crf:g}"},
                width=width,
                height=height,
                pix_fmt=form,
                time_base=video.time_base,
            )
        except ValueError as error:
            raise InputError(unfit) from error
        self._track = cast(VideoStream, track)
        context = self._track.codec_context
        context.thread_count = _THREADS
        context.flags |= Flags.frame_duration
        context.color_range, context.colorspace = video.range_tag, video.matrix_tag
        context.color_trc, context.color_primaries = first.color_trc, first.color_primaries
        if video.aspect:
            context.sample_aspect_ratio = video.aspect
        if codec == "h265" and self._container in _ISO:
            context.codec_tag = "hvc1"  # without it Apple's players show nothing
        if video.display_matrix is not None:
            self._track.set_display_matrix(video.display_matrix)
        self._keep_metadata()
        self._converted: set[int] = set()
        others = video.others if across == 1 else []
        self._tracks = {track.index: copy for track in others if (copy := self._add_copy(track, shown))}
        self._last_dts: dict[int, int] = {}
        self._from_rgb = VideoReformatter()
        self._failed = False

    def write(self, item: Frame | Packet[Any]) -> None:
        """Write the next frame or packet. Frames come in the order in which they are shown.

        Raises:
            av.FFmpegError: the disk is full or the encoder fails; `write_video` makes one line of it. Nothing is
                written after that.
        """
        if self._failed:  # FFmpeg crashes over frames that follow a header which could not be written
            return
        try:
            self._write(item)
        except BaseException:
            self._failed = True
            raise

    def _write(self, item: Frame | Packet[Any]) -> None:
        if isinstance(item, Frame):
            form = self._track.codec_context.pix_fmt
            assert form is not None
            frame = self._source.from_frame(item, self._from_rgb, form, self._place)
            if self._track.codec_context.is_open:
                self._out.mux(self._track.encode(frame))
                return
            with ordinary_threads():
                self._out.mux(self._track.encode(frame))
            return
        copy = self._tracks.get(item.stream.index)
        if copy is None:
            return
        if item.stream.index in self._converted:
            for block in item.decode():
                self._out.mux(copy.encode(block))
            return
        item.stream = copy
        last = self._last_dts.get(copy.index)
        if last is not None and item.dts is not None and item.dts <= last:  # muxers take times that grow
            item.dts = last + 1
            item.pts = max(item.pts if item.pts is not None else item.dts, item.dts)
        if item.dts is not None:
            self._last_dts[copy.index] = item.dts
        self._out.mux(item)

    def finish(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        for index in self._converted:
            self._out.mux(self._tracks[index].encode(None))
        self._out.mux(self._track.encode(None))
        self._out.close()

    def close(self) -> None:
        """Let go of the file, whole or not."""
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            self._out.close()

    def _keep_metadata(self) -> None:
        video = self._source
        self._out.metadata.update(video.metadata)
        self._track.metadata.update(video.track_metadata)
        if video.disposition is not None:
            self._track.disposition = video.disposition
        if video.chapters:
            self._out.set_chapters(video.chapters)

    def _add_copy(self, track: Stream, shown: str | os.PathLike[str]) -> Any:
        """A track that takes another's packets, or None, with a note, where the container cannot hold it."""
        codec = _codec_name(track)
        if _is_cover(track) and self._container != "mp4":
            self._attach(track.index, codec)
            return None
        try:
            copy: Any = self._out.add_stream_from_template(track, opaque=True)
        except ValueError as error:
            what = f"{track.type} track {track.index} ({codec})"
            if track.type != "audio":
                self.notes.append(f"{what} left out: {self._container} cannot hold it, mkv can")
                return None
            copy = self._add_pcm(track)
            if copy is None:
                written = (form for form in FORMATS.values() if form.kind == "video" and form.save is not None)
                holding = next((form.suffixes[0] for form in written if _holds(form, track)), None)
                advice = f"write {holding}" if holding else "no other that repix writes can; take the sound out first"
                raise InputError(f"{shown}: {self._container} cannot hold the {what} as it is; {advice}") from error
            self.notes.append(f"sound converted from {codec} to {_codec_name(copy)}, without loss")
            self._converted.add(track.index)
        copy.metadata.update(track.metadata)
        copy.disposition = track.disposition
        return copy

    def _attach(self, index: int, codec: str) -> None:
        """A cover as Matroska's attachment; MP4 has them as tracks, and others have no place for them."""
        data = self._source.covers.get(index)
        kind = {"png": "png", "mjpeg": "jpeg"}.get(codec)
        if self._container == "matroska" and data and kind:
            self._out.add_attachment(f"cover.{kind.replace('jpeg', 'jpg')}", f"image/{kind}", data)
        else:
            self.notes.append(f"cover ({codec}) left out: {self._container} cannot hold it, mp4 and mkv can")

    def _add_pcm(self, track: Stream) -> Any:
        """A track of plain PCM for PCM that is packed in a way of its own, as on DVD and Blu-ray; None for others."""
        context: Any = track.codec_context
        codec = _codec_name(track)
        kept = {"s16": "pcm_s16le", "s32": "pcm_s24le"}.get(context.format.packed.name) if context is not None else None
        if codec not in ("pcm_dvd", "pcm_bluray") or kept is None:  # neither holds more than 24 bits
            return None
        try:
            return self._out.add_stream(kept, context.sample_rate, layout=context.layout.name)
        except ValueError:
            return None


@contextlib.contextmanager
def ordinary_threads() -> Iterator[None]:
    """Let no thread have real-time priority that had none before.

    Where root runs it, SVT-AV1 gives that to the thread which opens the encoder, and to its own; whatever else the
    machine does then stands still, and processes that are started later inherit it.
    """
    there = Path("/proc/self/task")
    if not there.is_dir() or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    yield
    for thread in map(int, os.listdir(there)):
        with contextlib.suppress(OSError):  # it has ended since
            if os.sched_getscheduler(thread) == os.SCHED_FIFO:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _is_cover(track: Stream) -> bool:
    """Whether a track is one image that stands for the whole."""
    return bool(track.disposition & Disposition.attached_pic)


def _codec_name(track: Stream) -> str:
    context: Any = track.codec_context
    return context.name if context is not None else "unknown"


def _holds(format: Format, track: Stream) -> bool:
    """Whether a container can hold a track as it is."""
    with contextlib.suppress(ValueError, av.FFmpegError), av.open(io.BytesIO(), "w", format=format.save) as trial:
        trial.add_stream_from_template(track, opaque=True)
        return True
    return False


@contextlib.contextmanager
def write_video(
    path: str | os.PathLike[str],
    video: FrameSource,
    *,
    codec: str | None = None,
    crf: float | None = None,
    across: int = 1,
) -> Iterator[VideoWriter]:
    """Write a video with all that belongs to another: atomically, the whole file or none.

    Args:
        path: the extension says the container: mp4, m4v, mov, 3gp, mkv or webm.
        video: where tracks, times, colours, rotation and metadata come from.
        codec: h264, h265, vp9 or av1; None takes h264, h265 for more than 8 bits and vp9 in webm.
        crf: constant rate factor on that codec's scale, 0 is the best; None takes what the eye cannot tell from the
            original.
        across: how many times as wide as the video's the frames will be; from 2 on, they alone are written.

    Yields:
        The writer; what it is given is a file when the block ends.

    Raises:
        InputError: unknown extension or codec, a crf outside the codec's scale, a container that cannot hold the codec
            or the sound, or a file that cannot be written (rights, full disk).
    """
    path = Path(path)
    format = by_suffix(path)
    if format is None or format.save is None or format.kind != "video":
        what = path.suffix.lower() or "no extension"
        raise InputError(f"{path}: cannot write {what} videos; choose {listed(VIDEOS_WRITABLE)}")
    codec, crf = choose_codec(format.name, video.bits, codec, crf)
    try:
        with atomic(path) as temporary:
            # "file:", because "a:b.mp4" would be taken for an address
            writer = VideoWriter(
                f"file:{temporary}", video, shown=path, container=format.save, codec=codec, crf=crf, across=across
            )
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
            writer.notes += _lost(video, temporary)
    except av.FFmpegError as error:  # an error of FFmpeg need not be one of the system
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


class _Unseekable:
    """Standard output, of which FFmpeg would believe that it can go back."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write at once; what goes wrong is kept, because FFmpeg makes another error of it."""
        try:
            self._out.write(data)
            self._out.flush()
        except OSError as error:
            self.error = error
            raise
        return len(data)


@contextlib.contextmanager
def write_stream(
    out: IO[bytes], video: FrameSource, *, codec: str | None = None, crf: float | None = None
) -> Iterator[VideoWriter]:
    """Write a video as Matroska that can be watched while it is written; otherwise as `write_video`.

    Raises:
        InputError: as `write_video`.
        BrokenPipeError: nobody reads any more.
    """
    codec, crf = choose_codec("mkv", video.bits, codec, crf)
    sink = _Unseekable(out)
    try:
        kind: Any = sink
        writer = VideoWriter(
            kind, video, shown="standard output", container="matroska", codec=codec, crf=crf, live=True
        )
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()
    except (av.FFmpegError, OSError) as error:
        if isinstance(sink.error, BrokenPipeError):
            raise sink.error from error
        raise InputError(f"standard output cannot be written: {error.strerror or error}") from error


def choose_codec(container: str, bits: int, codec: str | None, crf: float | None) -> tuple[str, float]:
    """The codec and its constant rate factor; None takes what suits the container and so many bits per sample.

    Raises:
        InputError: an unknown codec, or a crf outside its scale.
    """
    if codec is None:
        codec = "vp9" if container == "webm" else "h264" if bits <= 8 else "h265"
    if codec not in CODECS:
        raise InputError(f"unknown codec {codec!r}; choose {', '.join(CODECS)}")
    worst = CODECS[codec].worst
    if crf is None:
        crf = CODECS[codec].crf
    if not 0 <= crf <= worst:
        raise InputError(f"the constant rate factor (crf) of {codec} must be from 0 (best) to {worst}, got {crf:g}")
    return codec, crf


def _lost(video: FrameSource, path: Path) -> list[str]:
    """A note on metadata that a written file does not hold: each container has names of its own."""
    with av.open(f"file:{path}", metadata_errors="replace") as written:
        there = {key.lower() for key in written.metadata}
        of_track = {key.lower() for key in written.streams.video[0].metadata}
    lost = [key for key in video.metadata if key.lower() not in there]
    lost += [key for key in video.track_metadata if key.lower() in _OF_THE_TRACK - of_track - there]
    return [f"metadata left out, for which the container has no place: {', '.join(lost)}"] if lost else []


def _written_place(place: str | None, codec: str, form: str) -> tuple[str, dict[str, str]]:
    """Where chroma is to sit in what a codec writes, and the encoder's option that says so: the video's own place.

    H.264 and H.265 say it of 4:2:0 alone, and what they do not say is taken as left; AV1 knows two places. VP9 leaves
    it to the container, where center is as good as nothing said.
    """
    if (codec in ("h264", "h265") and "420" not in form) or (codec == "av1" and place not in ("left", "topleft")):
        place = "left"
    place = place or "left"
    says = "420" in form and not (codec == "vp9" and place == "center")
    return place, {"chroma_sample_location": place} if says else {}


def _has_colours(format: av.VideoFormat) -> bool:
    """Whether frames are more than grey."""
    return len(format.components) >= 3 or format.has_palette


def _chroma(format: av.VideoFormat) -> tuple[int, int]:
    """Columns and rows of chroma for 16 by 16 pixels."""
    return format.chroma_width(16), format.chroma_height(16)


def _pixel_format(first: VideoFrame, codec: str, height: int, width: int) -> str:
    """The encoder's format that is nearest to a frame's: no chroma lost, and no bits if it can be."""
    source = first.format
    there = [form.name for form in av.Codec(CODECS[codec].encoder, "w").video_formats or ()]
    across, down = source.chroma_width(16), source.chroma_height(16)
    chroma = "420" if not _has_colours(source) or down < 16 > across else "422" if across < 16 else "444"
    odd = (chroma != "444" and width % 2) or (chroma == "420" and height % 2)
    if odd and codec in ("h264", "h265"):
        chroma = "444"  # their 4:2:0 has even sizes only
    bits = max(component.bits for component in source.components)
    for depth in ("12le", "10le", "")[0 if bits > 10 else 1 if bits > 8 else 2 :]:
        for layout in (chroma, "444", "420"):
            if f"yuv{layout}p{depth}" in there:
                return f"yuv{layout}p{depth}"
    raise InputError(f"{codec} cannot hold {source.name}; choose another --codec")
