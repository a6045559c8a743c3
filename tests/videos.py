"""Small videos for tests, and what is in them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

H, W = 48, 64


def make_video(
    path: Path, frames: int = 8, *, sound: bool = True, size: tuple[int, int] = (H, W), **video: Any
) -> bytes:
    """Noise that moves, so that the result is not tiny, and a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, form = video.get("codec", "libx264"), video.get("form", "yuv420p")
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        track: Any = out.add_stream(codec, 25, width=size[1], height=size[0], pix_fmt=form)
        audio: Any = out.add_stream("aac", 48000, layout="stereo") if sound else None
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(ground, t, axis=1), "rgb24").reformat(format=form)
            frame.pts, frame.time_base = t, Fraction(1, 25)
            out.mux(track.encode(frame))
            if audio is not None:
                tone = np.sin(np.arange(t * 1920, t * 1920 + 1920) / 20).astype(np.float32)
                block = av.AudioFrame.from_ndarray(np.stack([tone, tone]) * np.float32(0.2), "fltp", "stereo")
                block.sample_rate, block.pts, block.time_base = 48000, t * 1920, Fraction(1, 48000)
                out.mux(audio.encode(block))
        for stream in (track, audio):
            if stream is not None:
                out.mux(stream.encode(None))
    return path.read_bytes()


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as video:
        return [bytes(packet) for packet in video.demux(video.streams.audio) if packet.size]


def frames_of(path: Path) -> list[NDArray[Any]]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
