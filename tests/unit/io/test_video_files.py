"""Videos as cameras, phones and discs write them: each file here was once refused, or lost something in silence."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from repix.errors import InputError
from repix.io.formats import sniff
from repix.io.video import Frame, VideoReader, _later, write_video

H, W = 48, 64


def make(
    path: Path,
    *,
    frames: int = 25,
    codec: str = "libx264",
    sound: str | None = None,
    rate: int = 48000,
    size: tuple[int, int] = (H, W),
    form: str = "yuv420p",
    container: str | None = None,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    track: dict[str, str] | None = None,
    writing: dict[str, str] | None = None,
) -> Path:
    """Grey frames that grow lighter by one level each, so that each can be told; and a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container, container_options=writing or {}) as out:
        video: Any = out.add_stream(codec, 25, options or {}, width=size[1], height=size[0], pix_fmt=form)
        video.metadata.update(track or {})
        out.metadata.update(metadata or {})
        channels = 2 if rate >= 44100 and sound != "nellymoser" else 1
        layout = "stereo" if channels == 2 else "mono"
        audio: Any = out.add_stream(sound, rate, layout=layout) if sound else None
        fifo, done = av.AudioFifo(), 0
        resampler = av.AudioResampler(audio.codec_context.format, layout, rate) if audio else None
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), level(t), np.uint8), "rgb24").reformat(format=form)
            frame.pts, frame.time_base = t, Fraction(1, 25)
            out.mux(video.encode(frame))
            if audio is None or resampler is None:
                continue
            tone = np.sin(np.arange(t * rate // 25, (t + 1) * rate // 25) / 9) * 0.3
            block = av.AudioFrame.from_ndarray(np.stack([tone] * channels).astype(np.float32), "fltp", layout)
            block.sample_rate = rate
            for part in resampler.resample(block):
                part.pts = None
                fifo.write(part)
            while (ready := fifo.read(audio.codec_context.frame_size or 960)) is not None:
                ready.pts, ready.time_base = done, Fraction(1, rate)
                done += ready.samples
                out.mux(audio.encode(ready))
        for stream in (video, audio):
            if stream is not None:
                out.mux(stream.encode(None))
    return path


def level(t: int) -> int:
    return 10 + t % 240


def rewrite(src: Path, dst: Path, *, start: float | None = None, end: float | None = None, **options: Any) -> list[str]:
    with VideoReader(src, start=start, end=end) as video, write_video(dst, video, **options) as writer:
        for item in video:
            writer.write(item)
    return [*video.notes, *writer.notes]


def levels(path: Path, **options: Any) -> list[int]:
    """Which frames a reader gives, by their grey."""
    with VideoReader(path, **options) as video:
        return [round(float(item.pixels.mean())) for item in video if isinstance(item, Frame)]


def times(path: Path, kind: str = "video") -> list[Fraction]:
    with av.open(str(path)) as video:
        track = next(s for s in video.streams if s.type == kind)
        return sorted(p.pts * p.time_base for p in video.demux(track) if p.size and p.pts is not None)


def samples(path: Path) -> np.ndarray[Any, Any]:
    """The sound, decoded, as integers of 32 bits over their whole range."""
    with av.open(str(path)) as video:
        resampler = av.AudioResampler("s32")
        blocks = [part.to_ndarray() for block in video.decode(audio=0) for part in resampler.resample(block)]
        return np.concatenate(blocks, axis=1)


# ---- clocks


def test_a_piece_whose_clock_is_far_ahead_cuts_nothing_short(tmp_path: Path) -> None:
    """The length of such a file is that of the gap, and no measure of what is missing."""
    first = make(tmp_path / "1.ts", writing={"mpegts_flags": "+initial_discontinuity"}).read_bytes()
    second = make(tmp_path / "2.ts", writing={"output_ts_offset": "3600"}).read_bytes()
    (tmp_path / "all.ts").write_bytes(first + second)
    notes = rewrite(tmp_path / "all.ts", tmp_path / "b.mkv")
    assert [note for note in notes if "clock starts again at 1." in note] == notes != []
    assert times(tmp_path / "b.mkv")[-1] - times(tmp_path / "b.mkv")[0] == pytest.approx(Fraction(49, 25), abs=0.05)


def test_a_hole_in_a_transport_stream_is_told(tmp_path: Path) -> None:
    data = make(tmp_path / "a.ts", frames=60, options={"g": "12", "preset": "ultrafast"}, size=(96, 128)).read_bytes()
    third = len(data) // 188 // 3 * 188
    (tmp_path / "hole.ts").write_bytes(data[:third] + data[2 * third :])
    notes = rewrite(tmp_path / "hole.ts", tmp_path / "b.mkv")
    assert any(note.startswith("damaged at ") for note in notes), notes
    assert rewrite(tmp_path / "a.ts", tmp_path / "b.mkv") == []


@pytest.mark.parametrize("sound", [None, "aac", "mp2"])
@pytest.mark.parametrize("ending", ["ts", "m2ts", "mpg"])
def test_glued_pieces_whose_clocks_start_again(tmp_path: Path, sound: str | None, ending: str) -> None:
    if ending == "mpg" and sound == "aac":
        sound = "mp2"
    options = {"bf": "2"} if ending != "mpg" else {}
    codec = "libx264" if ending != "mpg" else "mpeg1video"
    piece = make(tmp_path / f"1.{ending}", sound=sound, codec=codec, options=options).read_bytes()
    (tmp_path / f"all.{ending}").write_bytes(piece * 3)
    notes = rewrite(tmp_path / f"all.{ending}", tmp_path / "b.mkv")
    assert [note for note in notes if "clock starts again at 1." in note] == notes != []
    got = times(tmp_path / "b.mkv")
    assert len(got) == 75
    gaps = [later - earlier for earlier, later in pairwise(got)]
    assert all(Fraction(20, 1000) <= gap <= Fraction(120, 1000) for gap in gaps), gaps
    if sound is not None:
        heard = times(tmp_path / "b.mkv", "audio")
        assert len(heard) == 3 * len(times(tmp_path / f"1.{ending}", "audio"))
        assert abs(heard[-1] - got[-1]) < Fraction(15, 100)
    # times count on the joined clock
    assert levels(tmp_path / f"all.{ending}", start=1.4, end=1.8)[0] in range(level(8), level(13))


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.ts", "libx264", None),
        ("a.m2ts", "libx264", "mpegts"),
        ("a.mts", "mpeg2video", "mpegts"),
        ("a.mpg", "mpeg2video", "mpeg"),
        ("a.vob", "mpeg2video", "vob"),
        ("a.mkv", "libx264", None),
        ("a.avi", "mpeg4", None),
        ("a.flv", "flv", None),
    ],
)
def test_start_and_end_in_every_container(tmp_path: Path, name: str, codec: str, container: str | None) -> None:
    options = {"g": "50", "bf": "2"} if codec in ("libx264", "mpeg2video") else {"g": "50"}
    src = make(tmp_path / name, frames=240, codec=codec, container=container, options=options)
    for start, end in ((1, 2), (3, 4), (5.52, 6.52), (8, 9), (8.6, None), (None, 1)):
        got = levels(src, start=start, end=end)
        first, last = round(25 * (start or 0)), round(25 * end) if end else 240
        assert len(got) == last - first, (start, end)
        assert max(abs(a - level(t)) for a, t in zip(got, range(first, last), strict=True)) <= 4, (start, end)
    with VideoReader(src, start=2, end=3) as video:
        assert not video.notes


def test_start_far_into_a_video_without_key_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is needed of what lies before is kept only so far; then it is decoded and dropped."""
    src = make(tmp_path / "a.ts", frames=200, options={"g": "999"})
    whole = levels(src, start=6, end=7)
    monkeypatch.setattr("repix.io.video._KEPT_BYTES", 500)
    assert levels(src, start=6, end=7) == whole
    assert len(whole) == 25


# ---- sound


def test_amr_of_a_phone_stays_in_3gp(tmp_path: Path) -> None:
    src = make(tmp_path / "a.3gp", codec="h263", sound="libopencore_amrnb", rate=8000, size=(96, 128))
    assert rewrite(src, tmp_path / "b.3gp") == []
    for path in (src, tmp_path / "b.3gp"):
        with av.open(str(path)) as video:
            assert video.streams.audio[0].codec_context.name == "amrnb"
    np.testing.assert_array_equal(samples(src), samples(tmp_path / "b.3gp"))
    with pytest.raises(InputError, match=r"cannot hold the audio track 1 \(amrnb\) as it is; write \.mov"):
        rewrite(src, tmp_path / "b.mkv")


@pytest.mark.parametrize(
    ("name", "container", "codec", "sound", "into"),
    [
        ("a.vob", "vob", "mpeg2video", "pcm_dvd", "mkv"),
        ("a.m2ts", "mpegts", "libx264", "pcm_bluray", "mkv"),
        ("a.m2ts", "mpegts", "libx264", "pcm_bluray", "mov"),
    ],
)
def test_pcm_of_discs_is_unpacked_without_loss(
    tmp_path: Path, name: str, container: str, codec: str, sound: str, into: str
) -> None:
    src = make(tmp_path / name, codec=codec, sound=sound, container=container)
    (note,) = rewrite(src, tmp_path / f"b.{into}")
    assert note == f"sound converted from {sound} to pcm_s16le, without loss"
    np.testing.assert_array_equal(samples(src), samples(tmp_path / f"b.{into}"))
    assert abs(samples(src)).max() > 2**28
    begins = [times(path, "audio")[0] - times(path)[0] for path in (src, tmp_path / f"b.{into}")]
    assert abs(begins[0] - begins[1]) < Fraction(1, 500)


@pytest.mark.parametrize(
    ("name", "codec", "sound", "rate", "said"),
    [
        ("a.avi", "mpeg4", "adpcm_ima_wav", 8000, r"\(adpcm_ima_wav\) as it is; no other that repix writes can"),
        ("a.flv", "flv", "nellymoser", 44100, r"\(nellymoser\) as it is; write \.mov"),
    ],
)
def test_sound_that_cannot_be_kept_is_one_sentence(
    tmp_path: Path, name: str, codec: str, sound: str, rate: int, said: str
) -> None:
    src = make(tmp_path / name, codec=codec, sound=sound, rate=rate)
    with pytest.raises(InputError, match=said):
        rewrite(src, tmp_path / "b.mkv")
    assert [path.name for path in tmp_path.iterdir()] == [name]


# ---- what files say about themselves

KEYS = {
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.location.ISO6709": "+48.1+011.5/",
    "com.apple.quicktime.creationdate": "2024-01-02T03:04:05+0200",
}


@pytest.mark.parametrize("into", ["mov", "mp4", "mkv"])
def test_keys_of_phones(tmp_path: Path, into: str) -> None:
    src = make(tmp_path / "a.mov", metadata=KEYS, writing={"movflags": "use_metadata_tags"})
    assert rewrite(src, tmp_path / f"b.{into}") == []
    with av.open(str(tmp_path / f"b.{into}")) as video:
        got = {key.lower(): value for key, value in video.metadata.items()}
    assert {key.lower(): value for key, value in KEYS.items()}.items() <= got.items()


def test_metadata_that_a_container_has_no_place_for_is_named(tmp_path: Path) -> None:
    src = make(tmp_path / "a.mkv", metadata={"title": "Rain", "lens": "50 mm", "filmed by": "me"})
    assert rewrite(src, tmp_path / "b.mkv") == []
    assert rewrite(src, tmp_path / "b.mp4") == [
        "metadata left out, for which the container has no place: FILMED_BY, LENS"
    ]


@pytest.mark.parametrize(
    ("code", "frames", "rate", "later"),
    [
        ("01:00:00:00", 25, 25, "01:00:01:00"),
        ("23:59:59:24", 1, 25, "00:00:00:00"),
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 17982, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("00:00:00;00", 1, 25, None),
        ("now", 1, 25, None),
    ],
)
def test_a_time_code_some_frames_later(code: str, frames: int, rate: Fraction | int, later: str | None) -> None:
    assert _later(code, frames, Fraction(rate)) == later


def test_a_part_has_the_time_code_of_its_first_frame(tmp_path: Path) -> None:
    for given, found in (("01:02:03:04", "01:02:03:14"), ("01:02:03;04", None)):
        src = make(tmp_path / "a.mkv", metadata={"timecode": given})
        notes = rewrite(src, tmp_path / "b.mkv", start=0.4)
        with av.open(str(tmp_path / "b.mkv")) as video:
            assert {key.lower(): value for key, value in video.metadata.items()}.get("timecode") == found
        assert any("time code left out" in note for note in notes) == (found is None)


def test_time_code_is_kept_and_no_note_says_otherwise(tmp_path: Path) -> None:
    src = make(tmp_path / "a.mov", track={"timecode": "01:02:03:04"})
    with av.open(str(src)) as video:
        assert [stream.type for stream in video.streams] == ["video", "data"]
    for into in ("mov", "mp4", "mkv"):
        assert rewrite(src, tmp_path / f"b.{into}") == []
        with av.open(str(tmp_path / f"b.{into}")) as video:
            track = {key.lower(): value for key, value in video.streams.video[0].metadata.items()}
            assert track["timecode"] == "01:02:03:04"


def test_transparency_of_vp9_is_said_to_be_lost(tmp_path: Path) -> None:
    src = make(tmp_path / "a.webm", codec="libvpx-vp9", form="yuva420p", track={"alpha_mode": "1"})
    assert rewrite(src, tmp_path / "b.webm") == ["transparency left out"]
    with av.open(str(tmp_path / "b.webm")) as video:
        assert "alpha_mode" not in {key.lower() for key in video.streams.video[0].metadata}
    assert rewrite(tmp_path / "b.webm", tmp_path / "c.webm") == []


def test_few_players_show_what_keeps_all_colours(tmp_path: Path) -> None:
    src = make(tmp_path / "a.mov", form="yuv422p")
    assert rewrite(src, tmp_path / "b.mov") == ["written as 4:2:2 like the original, which few players show in h264"]


@pytest.mark.parametrize("size", [(48, 33), (48, 34), (48, 40), (48, 48), (48, 50), (14, 64), (16, 64), (48, 14)])
def test_where_the_encoder_for_h265_fails_another_is_taken(tmp_path: Path, size: tuple[int, int]) -> None:
    src = make(tmp_path / "a.mkv", codec="ffv1", size=size, form="yuv420p10le")
    notes = rewrite(src, tmp_path / "b.mp4")
    fails = 33 <= size[1] <= 48 or min(size) < 16
    with av.open(str(tmp_path / "b.mp4")) as video:
        context = video.streams.video[0].codec_context
        assert context.name == ("h264" if fails else "hevc")
        assert "10le" in str(context.pix_fmt)
    assert any("written as H.264" in note for note in notes) == fails
    assert len(levels(tmp_path / "b.mp4")) == 25


# ---- what cannot be decoded


def test_images_that_cannot_be_decoded(tmp_path: Path) -> None:
    src = make(tmp_path / "a.mkv", sound="aac")
    src.write_bytes(src.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_NOBODY/KNOWS/"))
    with pytest.raises(
        InputError, match=r"a\.mkv: (no video: it has no moving images|its images are encoded in a way)"
    ):
        VideoReader(src)
    src = make(tmp_path / "b.mp4")
    src.write_bytes(src.read_bytes().replace(b"avc1", b"zzz9"))
    with pytest.raises(
        InputError, match=r"b\.mp4: (no video: it has no moving images|its images are encoded in a way)"
    ):
        VideoReader(src)


def test_other_tracks_that_cannot_be_decoded_are_left_out_with_a_note(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", sound="aac")
    src = tmp_path / "two.mkv"
    with av.open(str(tmp_path / "a.mkv")) as video, av.open(str(src), "w") as out:
        copies = {0: [out.add_stream_from_template(video.streams[0], opaque=True) for _ in range(2)]}
        copies[1] = [out.add_stream_from_template(video.streams[1], opaque=True)]
        for packet in video.demux():
            if packet.size:
                again = bytes(packet), packet.pts, packet.dts, packet.time_base, packet.is_keyframe
                for copy in copies[packet.stream.index]:
                    fresh = av.Packet(again[0])
                    fresh.pts, fresh.dts, fresh.time_base, fresh.is_keyframe = again[1:]
                    fresh.stream = copy
                    out.mux(fresh)
    data = src.read_bytes()
    second = data.index(b"V_MPEG4/ISO/AVC", data.index(b"V_MPEG4/ISO/AVC") + 1)
    src.write_bytes(data[:second] + b"V_NOBODY/KNOWS/" + data[second + 15 :])
    for into in ("mkv", "mp4"):
        notes = rewrite(src, tmp_path / f"b.{into}")
        assert len(levels(tmp_path / f"b.{into}")) == 25
        assert any("left out" in note or "only the main one" in note for note in notes), notes


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("a.mxf", {"codec": "mpeg2video", "sound": "pcm_s16le"}, "mxf"),
        ("a.dv", {"codec": "dvvideo", "size": (576, 720), "sound": "pcm_s16le", "container": "dv"}, "dv"),
        ("a.y4m", {"codec": "rawvideo", "container": "yuv4mpegpipe"}, "y4m"),
    ],
)
def test_kinds_of_cameras_and_pipes(tmp_path: Path, name: str, options: dict[str, Any], kind: str) -> None:
    src = make(tmp_path / name, **options)
    found = sniff(src.read_bytes()[:1024])
    assert found is not None
    assert found.name == kind
    rewrite(src, tmp_path / "b.mkv")
    assert len(levels(tmp_path / "b.mkv")) == 25
    with av.open(str(tmp_path / "b.mkv")) as video:
        assert video.streams.video[0].average_rate == 25
    if "sound" in options:
        np.testing.assert_array_equal(samples(src)[:, :40000], samples(tmp_path / "b.mkv")[:, :40000])
