"""Seeded fuzzing: files of every kind, damaged, through reading, a network and writing.

    python tests/long/fuzz.py images --count 20000 --seed 0
    python tests/long/fuzz.py videos --count 6000 --seed 0

The work is done in processes of their own, a thousand files each, which a crash of a native library ends and a hang is
told by. They work in memory where the machine has such a folder. What fails is named by its seed, so that it can be
made again: `--first N --count 1`.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from fractions import Fraction
from pathlib import Path

BATCH = 1000
SECONDS = 60.0  # of one file, on a busy machine; more is a hang
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # half of the time would be the disk's


def image_seeds() -> list[tuple[str, bytes]]:
    """A small file of each kind with much in it."""
    import numpy as np
    import pillow_heif
    import tifffile
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    y, x = np.mgrid[0:40, 0:56]
    pixels = np.stack([x * 4, y * 6, 255 - x - y], axis=2).astype(np.uint8)
    image, found = Image.fromarray(pixels), []
    tags = Image.Exif()
    tags[0x010E], tags[0x0112], tags[0x4746] = "a street", 6, 4
    tags.get_ifd(0x8769)[0x927C] = b"private" * 9
    tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 3.0)})
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    xmp += b"<rdf:Description xmlns:h='http://ns.adobe.com/hdr-gain-map/1.0/' h:Version='1.0'/></rdf:RDF></x:xmpmeta>"

    def add(suffix: str, format: str, source: Image.Image = image, **how: object) -> None:
        buffer = io.BytesIO()
        source.save(buffer, format, **how)
        found.append((suffix, buffer.getvalue()))

    add(".jpg", "jpeg", exif=tags, xmp=xmp, comment=b"words", quality=90)
    found.append((".jpg", found[0][1] + found[0][1]))
    add(".jpg", "jpeg", progressive=True)
    add(".jpg", "jpeg", image.convert("CMYK"))
    add(".jpg", "MPO", save_all=True, append_images=[image])
    info = PngInfo()
    info.add_itxt("Title", "é")
    info.add_text("Comment", "words", zip=True)
    add(".png", "png", exif=tags, pnginfo=info)
    add(".png", "png", image.quantize(16), transparency=3)
    add(".png", "png", Image.fromarray(pixels[..., 0].astype(np.uint16) * 257))
    add(".webp", "webp", exif=tags, xmp=xmp, lossless=True)
    add(".webp", "webp", quality=80)
    add(".tif", "tiff", exif=tags, compression="tiff_lzw")
    add(".tif", "tiff", image.convert("LAB"))
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=True) as file:
        file.write(pixels, photometric="rgb", tile=(16, 16))
        file.write(pixels[::4, ::4], photometric="rgb", subfiletype=1)
    found.append((".tif", buffer.getvalue()))
    add(".avif", "avif", exif=tags, xmp=xmp)
    add(".avif", "avif", Image.fromarray(np.dstack([pixels, pixels[..., :1]])))
    buffer = io.BytesIO()
    heif = pillow_heif.from_pillow(Image.fromarray(np.dstack([pixels, pixels[..., :1]])))
    heif.save(buffer, exif=tags.tobytes(), xmp=xmp, quality=80)
    found.append((".heic", buffer.getvalue()))
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (56, 40), (pixels.astype(np.uint16) * 257).tobytes()).save(buffer)
    found.append((".heic", buffer.getvalue()))
    for suffix, format in ((".gif", "gif"), (".bmp", "bmp"), (".ppm", "ppm"), (".jp2", "jpeg2000")):
        add(suffix, format)
    return found


def video_seeds() -> list[tuple[str, bytes]]:
    """A short video in each container, with sound."""
    import av
    import numpy as np

    found = []
    for suffix, codec, sound in (
        (".mp4", "libx264", "aac"),
        (".mov", "mpeg4", "aac"),
        (".mkv", "libx264", "libopus"),
        (".webm", "libvpx-vp9", "libopus"),
        (".avi", "mpeg4", "mp2"),
        (".ts", "libx264", "aac"),
        (".mpg", "mpeg2video", "mp2"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{suffix}"
            with av.open(str(path), "w") as out:
                track = out.add_stream(codec, 25, width=48, height=32, pix_fmt="yuv420p")
                audio = out.add_stream(sound, 48000, layout="stereo")
                for t in range(8):
                    frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 25 * t, np.uint8), "rgb24")
                    frame.pts, frame.time_base = t, Fraction(1, 25)
                    out.mux(track.encode(frame))
                size = audio.codec_context.frame_size or 1024
                for t in range(4):
                    kind = audio.codec_context.format.name
                    shape = (2, size) if kind.endswith("p") else (1, 2 * size)
                    dtype = np.float32 if kind.startswith("flt") else np.int16
                    samples = av.AudioFrame.from_ndarray(np.zeros(shape, dtype), kind, "stereo")
                    samples.sample_rate, samples.pts, samples.time_base = 48000, t * size, Fraction(1, 48000)
                    out.mux(audio.encode(samples))
                for stream in (track, audio):
                    out.mux(stream.encode(None))
            found.append((suffix, path.read_bytes()))
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut, doubled, moved; lengths and counts driven to their limits."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        at = rng.randrange(min(len(out), rng.choice((64, 512, 1 << 30))))
        kind = rng.randrange(8)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at : at + 4] = struct.pack(rng.choice((">I", "<I")), rng.choice((0, 1, 2**31, 2**32 - 1, len(out))))
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            del out[at : at + rng.randrange(1, 64)]
        elif kind == 5:
            out[at:at] = out[at : at + rng.randrange(1, 64)]
        elif kind == 6:
            out[at : at + 16] = bytes(rng.choice((0, 255)) for _ in range(16))
        else:
            out += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 64)))
    if out.startswith(b"\x89PNG") and rng.random() < 0.7:  # a checksum ends most damage at once
        out = bytearray(_with_checksums(bytes(out)))
    return bytes(out)


def _with_checksums(data: bytes) -> bytes:
    out, at = data[:8], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            break
        body = data[at + 4 : at + 8 + size]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return out + data[at:]


def work(kind: str, first: int, count: int, seed: int, folder: Path, model: Path) -> None:
    """Do `count` files from `first` on in this process; prints the number of each before it is begun, and at last how
    many were restored."""
    from repix.infer.images import restore
    from repix.infer.jobs import BatchOptions
    from repix.infer.restorer import Restorer
    from repix.io.image import read_image

    seeds = image_seeds() if kind == "images" else video_seeds()
    options = BatchOptions(model=Restorer.from_pretrained(model), overwrite=True, max_pixels=4_000_000)
    restored = 0
    for number in range(first, first + count):
        print(number, flush=True)
        rng = random.Random(f"{seed}/{number}")
        suffix, data = seeds[rng.randrange(len(seeds))]
        source, target = folder / f"in{suffix}", folder / "out"
        damaged = damage(data, rng)
        source.write_bytes(damaged)
        summary = restore([source], target, options=options)
        wrong = [
            f"said {result.message[:300]}"
            for result in summary.failed
            if any(part in result.message for part in ("unexpected", "Traceback", "\n"))
        ]
        there = list(target.rglob("*"))
        written = [path for result in summary.done for path in result.written]
        if sorted(there) != sorted(written):
            wrong.append(f"left {[path.name for path in there]}, told of {[path.name for path in written]}")
        if sorted(path.name for path in folder.iterdir()) != sorted(
            [source.name, *(["out"] if target.exists() else [])]
        ):
            wrong.append(f"left {[path.name for path in folder.iterdir()]}")
        if source.read_bytes() != damaged:
            wrong.append("changed its input")
        if kind == "images":
            for path in written:
                try:
                    read_image(path)
                except Exception as error:
                    wrong.append(f"wrote what it cannot read: {error}")
        restored += len(summary.done)
        for text in wrong:
            print(f"FAILED {number} {suffix}: {text}", flush=True)
        source.unlink()
        for path in there:
            path.unlink()
    print(f"restored {restored}", flush=True)


def run(kind: str, *, count: int, seed: int, first: int, model: Path) -> list[str]:
    """Everything, in processes of their own; gives what failed, one line each."""
    failed: list[str] = []
    at, end, restored = first, first + count, 0
    while at < end:
        many = min(BATCH, end - at)
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            command = [sys.executable, __file__, kind, "--work", folder, "--model", str(model)]
            command += ["--first", str(at), "--count", str(many), "--seed", str(seed)]
            lines, ended = _watched(command)
        numbers = [int(line) for line in lines if line.isdigit()]
        last = numbers[-1] if numbers else at
        failed += [line for line in lines if line.startswith("FAILED")]
        restored += sum(int(line.split()[1]) for line in lines if line.startswith("restored"))
        if ended:
            failed.append(f"FAILED {last}: {ended}")
        at = last + 1
        print(
            f"{kind}: {at - first} of {count}, {restored} restored, {len(failed)} failed", file=sys.stderr, flush=True
        )
    return failed


def _watched(command: list[str]) -> tuple[list[str], str]:
    """What a process says, and how it ended where that was not well; one that says nothing for long has hung."""
    lines: list[str] = []
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        hung = False

        def end() -> None:
            nonlocal hung
            hung = True
            process.kill()

        while True:
            timer = threading.Timer(SECONDS, end)
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            if not line:
                break
            lines.append(line.rstrip("\n"))
        code = process.wait()
        process.stdout.close()
        errors.seek(0)
        said = errors.read().splitlines()
    if hung:
        return lines, f"hung for {SECONDS:.0f} s"
    return lines, f"ended with {code}: {said[-1] if said else ''}" if code else ""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["images", "videos"])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="a model's folder; one that changes nothing, where none is given")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        work(given.kind, given.first, given.count, given.seed, given.work, given.model)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = given.model
        if model is None:
            sys.path.insert(0, str(Path(__file__).parents[1]))
            from tiny_weight import write_weight

            model = write_weight(Path(folder), "same", factor=1.0)
        failed = run(given.kind, count=given.count, seed=given.seed, first=given.first, model=model)
    print(*failed, f"{given.count} {given.kind}, {len(failed)} failed", sep=os.linesep)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
