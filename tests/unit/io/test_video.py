"""Videos in and out: what is read is what is written, but for the images' own encoding. Videos are made here."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.context import Flags
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

from repix.errors import InputError
from repix.io.video import CODECS, Frame, FrameSource, VideoReader, plain_decoder, write_video

H, W = 48, 64


def painted(t: int, height: int = H, width: int = W) -> NDArray[np.uint8]:
    """A smooth scene with a bright square that moves by three pixels a frame."""
    y, x = np.mgrid[0:height, 0:width]
    scene = np.stack([40 + 2 * x, 60 + 2 * y, 180 - x - y], axis=2).clip(0, 255).astype(np.uint8)
    scene[10:20, 3 * t : 3 * t + 10] = (230, 210, 40)
    return scene


def make_video(
    path: Path,
    *,
    frames: int = 10,
    size: tuple[int, int] = (H, W),
    form: str = "yuv420p",
    codec: str = "libx264",
    times: list[int] | None = None,
    time_base: Fraction = Fraction(1, 12800),
    rate: int = 25,
    sound: str | None = None,
    subtitles: str | None = None,
    display: list[int] | None = None,
    tags: dict[str, int] | None = None,
    container: str | None = None,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    last: int = 0,
) -> Path:
    """A small video through PyAV alone, in the order that cameras write: sound and image in turns."""
    lossless = {"libx264": {"qp": "0", "preset": "ultrafast"}, "libvpx-vp9": {"lossless": "1"}}.get(codec, {})
    with av.open(str(path), "w", format=container) as out:
        video: Any = out.add_stream(codec, rate, options or lossless, width=size[1], height=size[0], pix_fmt=form)
        video.codec_context.time_base = time_base
        if last:
            video.codec_context.flags |= Flags.frame_duration
        if codec == "libx264" and not options:
            video.codec_context.max_b_frames = 2
        for name, value in (tags or {}).items():
            setattr(video.codec_context, name, value)
        if display is not None:
            video.set_display_matrix(display)
        out.metadata.update(metadata or {})
        audio: Any = out.add_stream(sound, 48000, layout="stereo") if sound else None
        texts: Any = out.add_stream(subtitles) if subtitles else None
        if texts is not None:
            texts.codec_context.subtitle_header = b"[Script Info]\n[Events]\n"
            texts.time_base = Fraction(1, 1000)
        rng = np.random.default_rng(0)
        step = int(1 / (rate * time_base))
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(painted(t, *size), "rgb24").reformat(format=form)
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = (t * step if times is None else times[t]), time_base
            frame.duration = last if t == frames - 1 else step
            out.mux(video.encode(frame))
            if audio is not None:
                samples = (rng.standard_normal((2, 48000 // rate)) * 0.1).astype(np.float32)
                block = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
                block.sample_rate, block.pts, block.time_base = 48000, t * 48000 // rate, Fraction(1, 48000)
                out.mux(audio.encode(block))
            if texts is not None and t % 4 == 0:
                packet = av.Packet(f"words at {t}".encode() if subtitles != "mov_text" else b"\0\5words")
                packet.stream, packet.time_base = texts, Fraction(1, 1000)
                packet.pts = packet.dts = t * 1000 // rate
                packet.duration = 100
                out.mux(packet)
        for stream in (video, audio):
            if stream is not None:
                out.mux(stream.encode(None))
    return path


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """(time, contents) of every packet of one kind of track, in the order of the file."""
    with av.open(str(path)) as video:
        streams = [s for s in video.streams if s.type == kind]
        return [(p.pts * p.time_base, bytes(p)) for p in video.demux(streams) if p.size and p.pts is not None]


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as video:
        return [f.pts * f.time_base for f in video.decode(video=0) if f.pts is not None and f.time_base is not None]


def rewrite(src: Path, dst: Path, change: Callable[[Frame], Frame] = lambda f: f, **options: Any) -> list[str]:
    reading = {name: options.pop(name) for name in ("start", "end") if name in options}
    with VideoReader(src, **reading) as video, write_video(dst, video, **options) as writer:
        for item in video:
            writer.write(change(item) if isinstance(item, Frame) else item)
    assert not list(dst.parent.glob("*.tmp"))
    return [*video.notes, *writer.notes]


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(np.iinfo(a.dtype).max ** 2 / max(error, 1e-9)))


def frames_of(path: Path) -> list[Frame]:
    with VideoReader(path) as video:
        return [item for item in video if isinstance(item, Frame)]


@pytest.mark.parametrize(("container", "sound"), [("mp4", "aac"), ("mkv", "aac"), ("mov", "pcm_s16le"), ("mkv", "mp3")])
def test_sound_is_the_same_to_the_bit_and_times_are_kept(tmp_path: Path, container: str, sound: str) -> None:
    src, dst = make_video(tmp_path / f"a.{container}", sound=sound), tmp_path / f"b.{container}"
    assert rewrite(src, dst) == []
    before, after = packets(src, "audio"), packets(dst, "audio")
    assert before[0][0] == after[0][0]
    if sound == "pcm_s16le":  # cut into packets as the demuxer likes
        before, after = ([(Fraction(0), b"".join(data for _, data in track))] for track in (before, after))
    assert before == after
    assert times(dst) == times(src)
    with av.open(str(src)) as a, av.open(str(dst)) as b:
        assert b.duration == pytest.approx(a.duration, abs=12_000 if container == "mkv" else 0)  # half a packet
        assert b.streams.video[0].average_rate == a.streams.video[0].average_rate
    for frame, copied in zip(frames_of(src), frames_of(dst), strict=True):
        assert psnr(frame.pixels, copied.pixels) > 35


# ---- what the image says about itself


def test_variable_rate(tmp_path: Path) -> None:
    src = make_video(tmp_path / "a.mp4", times=[0, 512, 1024, 5000, 5001, 9999, 12800, 20000, 20512, 40000])
    dst = tmp_path / "b.mp4"
    rewrite(src, dst)
    assert times(dst) == times(src)
    assert times(src)[-1] == Fraction(40000, 12800)


def test_the_last_frame_stays_as_long_as_it_did(tmp_path: Path) -> None:
    src, dst = make_video(tmp_path / "a.mp4", last=51200), tmp_path / "b.mp4"
    rewrite(src, dst)
    with av.open(str(src)) as a, av.open(str(dst)) as b:
        assert b.duration == a.duration == 4_360_000


def test_two_frames_at_one_time(tmp_path: Path) -> None:
    """As cameras write them when their clock stumbles; encoders take none of it."""
    make_video(tmp_path / "a.mkv", codec="ffv1", time_base=Fraction(1, 1000))
    with av.open(str(tmp_path / "a.mkv")) as video, av.open(str(tmp_path / "b.mkv"), "w") as out:
        track = out.add_stream_from_template(video.streams.video[0], opaque=True)
        for number, packet in enumerate(video.demux(video=0)):
            if packet.size:
                packet.stream = track
                packet.dts, packet.pts = number - 20, 40 * (number - number % 2)
                out.mux(packet)
    assert len(set(times(tmp_path / "b.mkv"))) == 5
    rewrite(tmp_path / "b.mkv", tmp_path / "c.mkv")
    assert times(tmp_path / "c.mkv")[:4] == [0, Fraction(1, 1000), Fraction(80, 1000), Fraction(81, 1000)]
    assert len(times(tmp_path / "c.mkv")) == 10


@pytest.mark.parametrize(("before", "after"), [("mkv", "mkv"), ("mp4", "mp4"), ("ts", "mp4"), ("ts", "mkv")])
def test_times_that_do_not_begin_at_zero(tmp_path: Path, before: str, after: str) -> None:
    late = [25610 + 512 * t for t in range(10)]
    src, dst = make_video(tmp_path / f"a.{before}", times=late, sound="aac"), tmp_path / f"b.{after}"
    rewrite(src, dst)
    rounding = Fraction(1, 2000) if after == "mkv" else 0  # Matroska counts milliseconds
    assert times(src)[0] >= 2
    for old, new in zip(times(src), times(dst), strict=True):
        assert abs(old - new) <= rounding


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_rotation_is_kept_and_frames_come_upright(tmp_path: Path, degrees: int, container: str) -> None:
    c, s = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    # FFmpeg's matrix for a clockwise turn by `degrees` when shown
    matrix = [c * one, s * one, 0, -s * one, c * one, 0, 0, 0, 1 << 30]
    src, dst = make_video(tmp_path / f"a.{container}", display=matrix), tmp_path / f"b.{container}"
    rewrite(src, dst)
    for frame, copied in zip(frames_of(src), frames_of(dst), strict=True):
        assert psnr(frame.pixels, copied.pixels) > 35
    upright = np.rot90(painted(0), -degrees // 90)
    assert frames_of(src)[0].pixels.shape == upright.shape
    assert psnr(frames_of(src)[0].pixels, upright) > 25
    for path in (src, dst):
        with av.open(str(path)) as video:
            stored = next(video.decode(video=0))
            assert stored.rotation % 360 == -degrees % 360
            assert (stored.height, stored.width) == (H, W)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"color_range": 1, "colorspace": 1, "color_primaries": 1, "color_trc": 1},
        {"color_range": 2, "colorspace": 6, "color_primaries": 6, "color_trc": 6},
        {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 16},
    ],
)
def test_colour_tags_and_colours_are_kept(tmp_path: Path, tags: dict[str, int]) -> None:
    src, dst = make_video(tmp_path / "a.mp4", tags=tags), tmp_path / "b.mp4"
    rewrite(src, dst, crf=0)  # 0 is lossless in 8 bit, so what differs is the way to RGB and back
    with av.open(str(src)) as a, av.open(str(dst)) as b:
        for before, after in zip(a.decode(video=0), b.decode(video=0), strict=True):
            for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
                assert getattr(after, name) == getattr(before, name)
                assert getattr(after, name) == tags.get(name, getattr(before, name))
            luma, *chroma = zip(before.planes, after.planes, strict=True)
            assert psnr(*(plane_of(plane) for plane in luma)) > 55
            for pair in chroma:
                assert psnr(*(plane_of(plane) for plane in pair)) > 35


def plane_of(plane: Any) -> NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


@pytest.mark.parametrize(
    ("tag", "height", "kr", "kb"),
    [
        (1, H, 0.2126, 0.0722),
        (6, H, 0.299, 0.114),
        (9, H, 0.2627, 0.0593),
        (2, H, 0.299, 0.114),  # says nothing: as players take it, by its size
        (2, 720, 0.2126, 0.0722),
    ],
)
def test_the_matrix_that_the_video_names_is_used(tmp_path: Path, tag: int, height: int, kr: float, kb: float) -> None:
    Y, Cb, Cr = 120.0, 100.0, 160.0
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video: Any = out.add_stream("libx264", 25, {"qp": "0"}, width=W, height=height, pix_fmt="yuv420p")
        video.codec_context.colorspace, video.codec_context.color_range = tag, 1
        frame = av.VideoFrame(W, height, "yuv420p")
        for plane, value in zip(frame.planes, (Y, Cb, Cr), strict=True):
            plane.update(bytes([int(value)]) * plane.buffer_size)
        frame.colorspace, frame.color_range = tag, 1
        out.mux(video.encode(frame))
        out.mux(video.encode(None))
    y, cb, cr = (Y - 16) / 219, (Cb - 128) / 224, (Cr - 128) / 224
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    (only,) = frames_of(tmp_path / "a.mkv")
    np.testing.assert_allclose(only.pixels[H // 2, W // 2] / 255, [r, g, b], atol=1.01 / 255)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("place", ["left", "center", "topleft", None])
def test_chroma_stays_where_it_is_and_the_file_says_where(tmp_path: Path, place: str | None, codec: str) -> None:
    """A sharp edge of colour, an odd number of pixels from the left and from the top, of one luma."""
    rgb = np.full((H, W, 3), (20, 110, 60), np.uint8)
    rgb[21:, 31:] = (170, 40, 60)
    source = FrameSource()
    source.time_base, source.rate = Fraction(1, 25), Fraction(25)
    source.look_at(plain_decoder(W, H, "yuv420p", place).decode(Packet(bytes(H * W * 3 // 2)))[0])
    assert source.place == place or (source.place, place) == ("center", None)
    path = tmp_path / "a.mkv"
    with write_video(path, source, codec=codec, crf=1) as writer:
        for t in range(3):
            writer.write(Frame(rgb, t))
    with VideoReader(path) as video:
        # AV1 knows no center
        assert video.place == ("left" if codec == "av1" and source.place == "center" else source.place)
        got = next(item.pixels for item in video if isinstance(item, Frame)).astype(float)
    share = (got - rgb[0, 0]) @ (rgb[-1, -1] - rgb[0, 0].astype(float))
    share /= np.sum((rgb[-1, -1] - rgb[0, 0].astype(float)) ** 2)
    # as many pixels to the right and below as there were, to a tenth
    np.testing.assert_allclose(share[30:].sum(1).mean(), W - 31, atol=0.1)
    np.testing.assert_allclose(share[:, 40:].sum(0).mean(), H - 21, atol=0.1)


def test_ten_bits_stay_ten(tmp_path: Path) -> None:
    src, dst = make_video(tmp_path / "a.mp4", form="yuv420p10le", options={"qp": "0"}), tmp_path / "b.mp4"
    frames = frames_of(src)
    assert frames[0].pixels.dtype == np.uint16
    assert len(np.unique(frames[0].pixels)) > 256
    assert rewrite(src, dst) == []
    with av.open(str(dst)) as video:
        assert video.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
        assert video.streams.video[0].codec_context.name == "hevc"
        assert video.streams.video[0].codec_context.codec_tag == "hvc1"
    for before, after in zip(frames, frames_of(dst), strict=True):
        assert psnr(before.pixels, after.pixels) > 35
    assert "10 bit reduced to 8" in rewrite(src, tmp_path / "c.webm")[0]


@pytest.mark.parametrize("form", ["yuv422p", "yuv444p", "yuvj420p", "gray", "yuv422p10le"])
def test_pixel_formats(tmp_path: Path, form: str) -> None:
    src, dst = make_video(tmp_path / "a.mkv", form=form), tmp_path / "b.mkv"
    notes = rewrite(src, dst, codec="h264")
    assert [note[:16] for note in notes] == (
        ["written as 4:2:2"] if "422" in form else ["written as 4:4:4"] if "444" in form else []
    )
    with av.open(str(dst)) as video:
        got = video.streams.video[0].codec_context.pix_fmt
        assert got == {"gray": "yuv420p", "yuvj420p": "yuvj420p"}.get(form, form)
    for frame, copied in zip(frames_of(src), frames_of(dst), strict=True):
        assert psnr(frame.pixels, copied.pixels) > 35


def test_chroma_that_a_codec_cannot_hold_is_said(tmp_path: Path) -> None:
    for form, note in (("yuv444p", "4:4:4"), ("yuv422p", "4:2:2"), ("yuv420p", None), ("gray", None)):
        src = make_video(tmp_path / "a.mkv", form=form, frames=2)
        notes = rewrite(src, tmp_path / "b.mkv", codec="av1")
        assert notes == ([f"{note} reduced to 4:2:0: av1 holds no more"] if note else [])


@pytest.mark.parametrize(("codec", "form"), [("qtrle", "rgb24"), ("png", "rgba"), ("qtrle", "rgb555be")])
def test_videos_that_are_rgb(tmp_path: Path, codec: str, form: str) -> None:
    src, dst = make_video(tmp_path / "a.mov", codec=codec, form=form, options={}), tmp_path / "b.mov"
    notes = rewrite(src, dst, codec="h264")
    assert [note for note in notes if "few players" not in note] == (
        ["transparency left out"] if form == "rgba" else []
    )
    for before, after in zip(frames_of(src), frames_of(dst), strict=True):
        assert psnr(before.pixels, after.pixels) > 33


def test_a_palette_keeps_its_colours(tmp_path: Path) -> None:
    src = tmp_path / "a.mov"
    palette = np.array([(255, 200, 30, 40), (255, 20, 40, 220)], np.uint8)
    stripes = np.tile(np.arange(64, dtype=np.uint8) % 2, (48, 1))  # which 4:2:0 would mix
    with av.open(str(src), "w") as out:
        track: Any = out.add_stream("png", 25, width=64, height=48, pix_fmt="pal8")
        whole = np.concatenate([palette, np.zeros((254, 4), np.uint8)])
        for t in range(3):
            frame = av.VideoFrame.from_ndarray((stripes, whole), "pal8")
            frame.pts = t
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    notes = rewrite(src, tmp_path / "b.mov", codec="h264")
    assert notes == ["written as 4:4:4 like the original, which few players show in h264"]
    assert np.abs(frames_of(tmp_path / "b.mov")[0].pixels - palette[stripes][..., 1:].astype(int)).max() < 24
    assert rewrite(src, tmp_path / "c.mkv", codec="av1") == ["4:4:4 reduced to 4:2:0: av1 holds no more"]


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (47, 64), (2, 2)])
@pytest.mark.parametrize("container", ["mkv", "webm"])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int], container: str) -> None:
    codec = "ffv1" if container == "mkv" else "libvpx-vp9"
    src, dst = make_video(tmp_path / f"a.{container}", size=size, codec=codec), tmp_path / f"b.{container}"
    notes = rewrite(src, dst)
    assert [note for note in notes if "odd size" in note] == notes
    assert bool(notes) == (container == "mkv" and size != (2, 2))
    for before, after in zip(frames_of(src), frames_of(dst), strict=True):
        assert after.pixels.shape == (*size, 3)
        assert psnr(before.pixels, after.pixels) > 30


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_and_crf(tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    src = make_video(tmp_path / "a.mkv", size=(64, 64))
    sizes = []
    for crf in (10, 45):
        dst = tmp_path / f"{crf}.mkv"
        rewrite(src, dst, codec=codec, crf=crf)
        sizes.append(sum(len(data) for _, data in packets(dst, "video")))
        assert times(dst) == times(src)
    assert sizes[0] > 1.5 * sizes[1]
    assert capfd.readouterr() == ("", "")  # encoders like to talk


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed by Linux")
def test_no_encoder_keeps_real_time_priority(tmp_path: Path) -> None:
    """SVT-AV1 takes it where root runs it: everything else on the machine would wait, and children would inherit it."""
    src = make_video(tmp_path / "a.mkv", size=(64, 64))
    seen: set[int] = set()
    with VideoReader(src) as video, write_video(tmp_path / "b.mkv", video, codec="av1") as out:
        for item in video:
            out.write(item)
            seen |= {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    seen |= {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    assert seen == {os.SCHED_OTHER}


def test_metadata_and_other_tracks(tmp_path: Path) -> None:
    src = make_video(tmp_path / "a.mkv", sound="aac", subtitles="ass", metadata={"title": "Rain", "comment": "ü"})
    for name in ("b.mkv", "c.mp4"):
        notes = rewrite(src, tmp_path / name)
        with av.open(str(tmp_path / name)) as video:
            assert video.metadata.get("title", video.metadata.get("TITLE")) == "Rain"
        assert packets(tmp_path / name, "audio")
        if name == "b.mkv":
            assert notes == []
            assert packets(tmp_path / name, "subtitle") == packets(src, "subtitle") != []
        else:
            assert notes == ["subtitle track 2 (ssa) left out: mp4 cannot hold it, mkv can"]


@pytest.mark.parametrize(
    ("before", "after"), [("mp4", "mp4"), ("mp4", "mkv"), ("mkv", "mkv"), ("mkv", "mp4"), ("mp4", "mov")]
)
@pytest.mark.parametrize("options", [{}, {"start": 0.2}])
def test_the_cover_is_kept(tmp_path: Path, before: str, after: str, options: dict[str, float]) -> None:
    with av.open(str(tmp_path / "plain.mp4"), "w") as out:
        cover: Any = out.add_stream("png", width=8, height=6, pix_fmt="rgb24")
        image = bytes(cover.encode(av.VideoFrame.from_ndarray(painted(0, 6, 8), "rgb24"))[0])
    src, dst = tmp_path / f"a.{before}", tmp_path / f"b.{after}"
    make_video(tmp_path / "c.mkv", sound="aac")
    with av.open(str(tmp_path / "c.mkv")) as plain, av.open(str(src), "w") as out:
        tracks = {track.index: out.add_stream_from_template(track) for track in plain.streams}
        if before == "mkv":
            out.add_attachment("cover.png", "image/png", image)
        else:
            picture: Any = out.add_stream("png", width=8, height=6, pix_fmt="rgb24")
            picture.disposition = Disposition.attached_pic
        for packet in plain.demux():
            if packet.size:
                packet.stream = tracks[packet.stream.index]
                out.mux(packet)
        if before == "mp4":
            packet = av.Packet(image)
            packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 90000)
            out.mux(packet)
    notes = rewrite(src, dst, **options)
    if after == "mov":
        assert notes == ["cover (png) left out: mov cannot hold it, mp4 and mkv can"]
        return
    assert notes == []
    with av.open(str(dst)) as video:
        covers = [track for track in video.streams.video if track.disposition & Disposition.attached_pic]
        assert [bytes(packet) for packet in video.demux(covers) if packet.size] == [image]


def test_chapters_are_no_data_tracks(tmp_path: Path) -> None:
    src, dst = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_video(tmp_path / "c.mp4")
    chapters = [
        {"id": k, "start": 200 * k, "end": 200 * k + 200, "time_base": Fraction(1, 1000), "metadata": {"title": f"{k}"}}
        for k in range(2)
    ]
    with av.open(str(tmp_path / "c.mp4")) as plain, av.open(str(src), "w") as out:
        out.set_chapters(chapters)
        track = out.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux():
            if packet.size:
                packet.stream = track
                out.mux(packet)
    with av.open(str(src)) as video:
        assert len(video.streams.data) == 1
    assert rewrite(src, dst) == []
    with av.open(str(dst)) as video:
        assert [chapter["metadata"]["title"] for chapter in video.chapters()] == ["0", "1"]


def test_another_size_in_the_middle_is_said(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{k}.ts", size=size) for k, size in enumerate([(H, W), (32, 40)])]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    notes = rewrite(tmp_path / "a.ts", tmp_path / "b.mkv")
    assert "the size changes to 40×32; written as 64×48 throughout" in notes
    assert len(frames_of(tmp_path / "b.mkv")) == 20


def test_no_sound_and_one_frame(tmp_path: Path) -> None:
    src, dst = make_video(tmp_path / "a.mp4", frames=1), tmp_path / "b.mp4"
    assert rewrite(src, dst) == []
    assert times(dst) == [0]


# ---- from here to there


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_start_and_end(tmp_path: Path, container: str) -> None:
    src = make_video(tmp_path / f"a.{container}", frames=25, sound="aac", options={"g": "10"})
    dst = tmp_path / f"b.{container}"
    rewrite(src, dst, start=0.32, end=0.64)
    whole, part = frames_of(src), frames_of(dst)
    assert len(part) == 8
    assert times(dst)[0] == 0
    for before, after in zip(whole[8:16], part, strict=True):
        assert psnr(before.pixels, after.pixels) > 35
    inside = [data for time, data in packets(src, "audio") if Fraction(8, 25) <= time < Fraction(16, 25)]
    assert [data for _, data in packets(dst, "audio")] == inside
    first = next(time for time, _ in packets(src, "audio") if time >= Fraction(8, 25))
    assert abs(packets(dst, "audio")[0][0] - (first - Fraction(8, 25))) <= Fraction(1, 1000)
    with VideoReader(src, start=0.32, end=0.64) as video:
        assert video.count == 8


def test_a_time_that_is_not_in_the_video(tmp_path: Path) -> None:
    src = make_video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"no frame in that time; the video lasts 0\.4 s"):
        VideoReader(src, start=5)


# ---- bad input


def test_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(tmp_path / "real.mp4")
    for contents, said in [
        (b"", "empty"),
        (b"this is no video" * 99, "not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://example.com/x.ts\n", "not a video"),
        (b"ffconcat version 1.0\nfile real.mp4\n", "not a video"),
    ]:
        path.write_bytes(contents)
        with pytest.raises(InputError, match=said):
            VideoReader(path)
    with pytest.raises(InputError, match="cannot be read"):
        VideoReader(tmp_path / "none.mp4")
    with av.open(str(path), "w") as out:
        audio: Any = out.add_stream("aac", 48000)
        block = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", "stereo")
        block.sample_rate = 48000
        out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    with pytest.raises(InputError, match="no moving images"):
        VideoReader(path)
    with pytest.raises(InputError, match="more than the 100 pixels"):
        VideoReader(make_video(tmp_path / "b.mp4"), max_pixels=100)


def test_damage_in_the_middle_is_passed_over_and_said(tmp_path: Path) -> None:
    src = make_video(tmp_path / "a.mkv", frames=30, sound="aac", options={"g": "5", "qp": "20"})
    data = bytearray(src.read_bytes())
    frames = [d for _, d in packets(src, "video")]
    at = data.find(frames[12])
    data[at : at + len(frames[12])] = b"\xff" * len(frames[12])
    src.write_bytes(data)
    notes = rewrite(src, tmp_path / "b.mkv")
    assert any(note.startswith("damaged at 0.") for note in notes), notes
    assert 25 <= len(times(tmp_path / "b.mkv")) <= 30
    assert packets(tmp_path / "b.mkv", "audio") == packets(src, "audio")


def test_cut_short(tmp_path: Path) -> None:
    src = make_video(tmp_path / "a.mkv", frames=50, sound="aac")
    src.write_bytes(src.read_bytes()[: src.stat().st_size // 2])
    notes = rewrite(src, tmp_path / "b.mkv")
    assert any("cut short: ends at" in note and "of 2.0 s" in note for note in notes), notes
    assert 10 < len(times(tmp_path / "b.mkv")) < 40
    src = make_video(tmp_path / "c.mp4", frames=50)
    src.write_bytes(src.read_bytes()[: src.stat().st_size // 2])
    with pytest.raises(InputError, match="not a video, or damaged beyond reading"):
        VideoReader(src)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("b.avi", {}, "cannot write .avi videos"),
        ("b.mp4", {"codec": "mpeg2"}, "unknown codec 'mpeg2'"),
        ("b.mp4", {"crf": 60}, "from 0 .best. to 51, got 60"),
        ("b.webm", {"codec": "h264"}, "webm cannot hold h264"),
        ("b.mov", {"codec": "vp9"}, "mov cannot hold vp9; choose another --codec, or write .mkv"),
        ("b.mov", {"codec": "av1"}, "mov cannot hold av1"),
        ("b.webm", {}, "webm cannot hold the audio track 1 .aac. as it is"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, options: dict[str, Any], said: str) -> None:
    src = make_video(tmp_path / "a.mp4", sound="aac")
    with pytest.raises(InputError, match=said):
        rewrite(src, tmp_path / name, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    src, dst = make_video(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    dst.write_bytes(b"precious")

    def fail(frame: Frame) -> Frame:
        if frame.pts > 2000:
            raise KeyboardInterrupt
        return frame

    with pytest.raises(KeyboardInterrupt):
        rewrite(src, dst, fail)
    assert dst.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
