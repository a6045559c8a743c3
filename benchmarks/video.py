"""Videos: what `--deflicker` does to flicker and to what moves, and how fast and in how much memory a video runs.

    python benchmarks/video.py deflicker [--csv benchmarks/results/deflicker.csv] [--look FOLDER]
    python benchmarks/video.py memory [--clips FOLDER] [--csv benchmarks/results/memory.csv]
    python benchmarks/video.py merge [--model NAME|PATH] [--csv benchmarks/results/merge.csv] [--look FOLDER]
    python benchmarks/video.py peers --clips FOLDER [--csv benchmarks/results/video_peers.csv]
    python benchmarks/video.py tiles --model repixnet-video [--csv benchmarks/results/video_tiles.csv]
    python benchmarks/video.py speed [--seconds 2] [--csv benchmarks/results/video.csv]

`deflicker` puts rain, another seed for each frame, on videos made of Rain100L's clean photos, which no shipped network
has seen: a still scene, a still scene that something crosses, a camera that pans fast, and one that pans by fractions
of a pixel; behind repixnet, which sees each frame alone, and behind repixnet-video. Flicker is the mean change between
consecutive frames, which in the still scene should be 0. `memory` puts repixnet-video, which carries a state, beside
repixnet: on such scenes, one from the hand too, and on two clips, of which the walk lies in FOLDER. Its flicker is the
mean change of the error from frame to frame: at the places of the screen, where an error that lasts and moves with the
scene counts too, and along the scene's motion, as the eye follows it and as the temporal warping error has it (Lai et
al. 2018), there of the error and not of the frames, so that what the resampling of sharp edges changes does not count.
The motion is the true one, which made scenes have; the walk has none. Beside it stands an oracle, which has for each
sample the better of repixnet's and of a perfect memory: the ground truth of the frame before as repixnet-video's motion
lays it on this one. `merge` makes one
photo of nine frames in heavy rain: of a still scene, of one that something crosses, and from the hand. `peers` puts
published weights beside repix's on frames 121 to 168 of NTURain's a1, which
`../shared/data/more/lay.py` lays out in FOLDER; rows that are there are not measured again. `tiles` restores three
large frames in one piece and in tiles, each in a process of its own with one thread: memory, CPU time, and how far the
results differ. `speed` derains videos of 720 and 1080 rows with sound, each in a process of its own, with both models
in both engines; and their first ten frames without reading and writing.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, shift
from torch.nn.functional import pad

import s2vd
from common import DATA, read_rows, to_8_bits, write_rows
from peers import nturain, published_prenet, yard
from repix.degradations.rain import RainParams, add_rain, falling
from repix.infer.backends import openvino
from repix.infer.camera import Camera
from repix.infer.deflicker import deflicker
from repix.infer.frames import restore_frames
from repix.infer.merge import merge
from repix.infer.restorer import Restorer
from repix.io.image import read_image, write_image
from repix.io.video import Frame, VideoReader, write_video
from repix.metrics import METRICS
from repix.models.alignment import CELL, find_motion, warped_sharp

Image = NDArray[np.uint8]
PHOTOS = DATA / "Rain100L"
FRAMES = 14
SEVERITIES = (0.2, 0.5, 0.8)
BOTH = ("repixnet", "repixnet-video")  # frame by frame, and with memory

CHILD = """
import resource, sys, time
from repix.cli import main
begun = time.perf_counter()
try:
    main(sys.argv[1:])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    print("used", used.ru_maxrss * unit, used.ru_utime + used.ru_stime, time.perf_counter() - begun)
"""


TILED = """
import resource, sys, time
from pathlib import Path
import numpy as np
from repix.infer.frames import restore_frames
from repix.infer.restorer import Restorer
from repix.io.video import Frame
from repix.weights import Tiling
model, folder, kind, tile = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
restorer = Restorer.from_pretrained(model, threads=1)
restorer.tiling = Tiling(tile=tile, overlap=restorer.tiling.overlap) if tile else None
begun = time.process_time()
for frame in restore_frames(restorer, (Frame(np.load(folder / f"{t}.npy"), t) for t in range(3))):
    np.save(folder / f"{kind}{frame.pts}.npy", frame.pixels)
used = resource.getrusage(resource.RUSAGE_SELF)
unit = 1 if sys.platform == "darwin" else 1024
engine = f"{type(restorer.backend).__name__}:{restorer.backend.form}"
print(engine, round(used.ru_maxrss * unit / 1e6), round((time.process_time() - begun) / 3, 2))
"""


def still(photo: Image, other: Image, t: int) -> Image:
    return photo


def crossed(photo: Image, other: Image, t: int) -> Image:
    """A piece of another photo, 60×50, and a bar three pixels wide cross the scene."""
    frame = photo.copy()
    H, W = frame.shape[:2]
    x, top = 20 + 14 * t, H // 3
    frame[top : top + 60, x : x + 50] = other[100:160, 150:200][:, : max(W - x, 0)]
    bar = W - 30 - 9 * t
    frame[20:-20, bar : bar + 3] = (20, 20, 24)
    return frame


def pan(photo: Image, other: Image, t: int) -> Image:
    return crossed(photo[30:-30, 5 * t : 5 * t + photo.shape[1] - 5 * FRAMES], other, t)


def drift(photo: Image, other: Image, t: int) -> Image:
    """A third of a pixel down and a half to the side each frame: a hand that is not quite still."""
    moved = np.stack([shift(photo[..., c].astype(np.float32), (t / 3, t / 2), order=1) for c in range(3)], axis=2)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)[10:-10, 10:-10]


SCENES: dict[str, Callable[[Image, Image, int], Image]] = {
    "still": still, "still, crossed": crossed, "pan": pan, "drift": drift,
}  # fmt: skip


def described(restorer: Restorer) -> str:
    card = restorer.card
    return f"{card.name}, {card.training.get('steps', '?')} steps" if card is not None else "unnamed"


def psnr(a: Image, b: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float32) - b) ** 2)))


def flicker(frames: list[Image]) -> float:
    return float(np.mean([np.abs(b.astype(np.float32) - a).mean() for a, b in itertools.pairwise(frames)]))


def measure_deflicker(options: argparse.Namespace) -> list[dict[str, Any]]:
    photos = sorted(PHOTOS.glob("norain-*"))[:: 100 // options.photos][: options.photos]
    rows = []
    for model, (name, scene), severity in itertools.product(BOTH, SCENES.items(), SEVERITIES):
        restorer = Restorer.from_pretrained(model, "cpu")
        results: list[tuple[float, ...]] = []
        for number, path in enumerate(photos):
            photo, other = (read_image(p).pixels.astype(np.uint8) for p in (path, photos[number - 1]))
            params = RainParams.from_severity(severity, np.random.default_rng(number), focal=420)
            clean = [scene(photo, other, t) for t in range(FRAMES)]
            rainy = [add_rain(frame, params, np.random.default_rng([number, t]))[0] for t, frame in enumerate(clean)]
            frames = [Frame(pixels, t) for t, pixels in enumerate(rainy)]
            restored = list(restore_frames(restorer, frames))
            videos = (rainy, *([frame.pixels for frame in video] for video in (restored, deflicker(restored))))
            quality = [float(np.mean([psnr(*pair) for pair in zip(video, clean, strict=True)])) for video in videos]
            results.append((*map(flicker, (*videos, clean)), *quality))
            if options.look and number == 0:
                k = FRAMES // 2
                before, single, calm = (video[k] for video in videos)
                change = np.clip(128 + 4 * (calm.astype(int) - single), 0, 255).astype(np.uint8)
                sheet = np.concatenate([
                    np.concatenate([before, single], axis=1), np.concatenate([calm, change], axis=1),
                ])  # fmt: skip
                options.look.mkdir(parents=True, exist_ok=True)
                write_image(options.look / f"{model}-{name.replace(', ', '-')}-{severity}.png", sheet)
        mean = np.mean(results, axis=0)
        rows.append({
            "model": described(restorer), "scene": name, "severity": severity,
            "flicker_rainy": round(mean[0], 3), "flicker_restored": round(mean[1], 3),
            "flicker_deflicker": round(mean[2], 3), "flicker_ground_truth": round(mean[3], 3),
            "psnr_rainy": round(mean[4], 2), "psnr_restored": round(mean[5], 2), "psnr_deflicker": round(mean[6], 2),
            "worst_gain": round(min(r[6] - r[5] for r in results), 3),
        })  # fmt: skip
        print(*(f"{key} {value}" for key, value in rows[-1].items()), sep="  ", flush=True)
    return rows


def shaking(photo: Image, other: Image, t: int) -> Image:
    return held(photo, np.random.default_rng(t), reach=2)


@dataclass(frozen=True)
class Motion:
    """How a made scene has moved, which is known.

    Attributes:
        back: for each frame but the first, 3×3: from its places (down, right, 1) to where they were one frame before.
        crosses: for each frame what moves by itself, (H, W).
    """

    back: list[NDArray[np.float64]]
    crosses: list[NDArray[np.bool_]]


def moves(name: str, scene: Callable[[Image, Image, int], Image], photo: Image) -> Motion:
    """The motion of one of `measure_memory`'s scenes."""
    cameras = [seen_at(name, t, *photo.shape[:2]) for t in range(FRAMES)]
    back = [np.linalg.inv(before) @ now for before, now in itertools.pairwise(cameras)]
    black, white = np.zeros_like(photo), np.full_like(photo, 255)
    return Motion(back, [scene(black, white, t).any(2) for t in range(FRAMES)])


def stands(image: Image, count: int) -> Motion:
    """That of a camera on a tripod."""
    return Motion([np.eye(3)] * (count - 1), [np.zeros(image.shape[:2], bool)] * count)


def seen_at(name: str, t: int, height: int, width: int) -> NDArray[np.float64]:
    """Where a scene's frame has its places (down, right, 1) on the photo of that size, a matrix of 3×3."""
    if name == "hand":
        turn, shifted = hold(np.random.default_rng(t), reach=2)
        middle = np.array([height / 2, width / 2])
        return np.block([[turn, (turn @ (16 - middle) + middle + shifted)[:, None]], [np.eye(3)[2:]]])
    down, right = {"pan": (30, 5 * t), "drift": (10 - t / 3, 10 - t / 2)}.get(name, (0, 0))
    return np.array([[1, 0, down], [0, 1, right], [0, 0, 1.0]])


def error_change(frames: list[Image], clean: list[Image], motion: Motion | None = None) -> float:
    """Mean change of the error from frame to frame, in levels.

    With `motion` it is the change at the places of the scene, as the eye follows them, of what both frames show and
    what does not move by itself. The error before is found between pixels by splines of fifth order. At half a pixel
    either way they keep 70 % of white noise's power, so that an error which is another in every frame changes by 8 %
    less than on the screen at most; bilinear interpolation, which keeps 25 %, would give it 21 %. Without `motion` it
    is the change at the places of the screen.
    """
    errors = [frame.astype(np.float32) - gt for frame, gt in zip(frames, clean, strict=True)]
    if motion is None:
        return float(np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(errors)]))
    height, width = errors[0].shape[:2]
    places = np.stack([*np.mgrid[:height, :width].reshape(2, -1), np.ones(height * width)])
    changes = []
    for t, back in enumerate(motion.back, 1):
        y, x = there = (back @ places)[:2].reshape(2, height, width)
        before = np.stack([map_coordinates(errors[t - 1][..., c], there, order=5, mode="nearest") for c in range(3)], 2)
        seen = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1) & ~motion.crosses[t]
        seen &= ~map_coordinates(motion.crosses[t - 1], there, order=0, mode="nearest")
        changes.append(np.abs(errors[t] - before)[seen].mean())
    return float(np.mean(changes))


def walk(folder: Path) -> tuple[list[Image], list[Image]]:
    """Frames 121 to 168 of NTURain's a1, and their ground truth."""
    pairs = nturain(folder)[120:168]
    rainy, clean = ([read_image(getattr(pair, side)).pixels for pair in pairs] for side in ("lq", "gt"))
    return rainy, clean


def oracle(rainy: list[Image], clean: list[Image], alone: list[Image]) -> list[Image]:
    """What a perfect memory allows."""

    def tensor(image: Image) -> torch.Tensor:
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        return pad(x, (0, -x.shape[3] % CELL, 0, -x.shape[2] % CELL), mode="replicate")

    made = alone[:1]
    camera = Camera()
    for t in range(1, len(rainy)):
        camera.keep(clean[t - 1])
        now, before = tensor(rainy[t]), tensor(rainy[t - 1])
        moved = camera.follow(rainy[t])
        cells = (now.shape[2] // CELL, now.shape[3] // CELL)
        guess = torch.zeros(1, 2, *cells) if moved is None else torch.from_numpy(moved.cells(CELL, 1, cells))
        motion = find_motion(now, before, guess)
        laid = warped_sharp(tensor(clean[t - 1]), motion, 3)[0].permute(1, 2, 0).numpy()
        before = to_8_bits(laid[: rainy[t].shape[0], : rainy[t].shape[1]].clip(0, 1))
        errors = [np.abs(image.astype(np.int16) - clean[t]) for image in (alone[t], before)]
        made.append(np.where(errors[0] <= errors[1], alone[t], before))
    return made


def measure_memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    models = {name: Restorer.from_pretrained(name, "cpu") for name in BOTH}
    photos = sorted(PHOTOS.glob("norain-*"))[:: 100 // options.photos][: options.photos]
    clips: list[tuple[str, list[Image], list[Image], Motion | None]] = []
    if options.clips:
        frames, median = yard()
        clips += [("walk", *walk(options.clips), None)]
        clips += [("yard", frames[:60], [median] * 60, stands(median, 60))]
    for name, scene in {**SCENES, "hand": shaking}.items():
        for number, path in enumerate(photos):
            photo, other = (read_image(p).pixels.astype(np.uint8) for p in (path, photos[number - 1]))
            params = RainParams.from_severity(0.5, np.random.default_rng(number), focal=420)
            clean = [scene(photo, other, t) for t in range(FRAMES)]
            fall = np.random.default_rng([number, 9])
            floats = np.stack(clean).astype(np.float32) / 255
            rainy = list(np.rint(falling(floats, params, fall) * 255).astype(np.uint8))
            clips.append((name, rainy, clean, moves(name, scene, photo)))
    found: dict[str, list[list[float]]] = {}
    for number, (name, rainy, clean, motion) in enumerate(clips):
        made = [rainy]
        seconds = []
        for restorer in models.values():
            frames = (Frame(pixels, t) for t, pixels in enumerate(rainy))
            _, cpu, out = clocked(lambda r=restorer, f=frames: [f.pixels for f in restore_frames(r, f)])
            made.append(out)
            seconds.append(cpu / len(out))
        quality = [float(np.mean([psnr(*pair) for pair in zip(video, clean, strict=True)])) for video in made]
        made.append(oracle(rainy, clean, made[1]))
        on_screen = [error_change(video, clean) for video in made]
        along = [error_change(video, clean, motion) if motion else np.nan for video in made]
        found.setdefault(name, []).append([*quality, *on_screen, *along, *seconds])
        if options.look:
            options.look.mkdir(parents=True, exist_ok=True)
            k = 2 * len(clean) // 3
            sheet = np.concatenate([
                np.concatenate([rainy[k], made[1][k]], axis=1), np.concatenate([made[2][k], clean[k]], axis=1),
            ])  # fmt: skip
            write_image(options.look / f"memory-{name.replace(', ', '-')}-{number}.png", sheet)
    columns = ("rainy", "alone", "memory")
    heads = [f"psnr_{one}" for one in columns] + [
        f"{what}_{one}" for what in ("flicker", "along_motion") for one in (*columns, "oracle")
    ]
    rows = []
    for name, results in found.items():
        mean = dict(zip([*heads, "cpu_s_alone", "cpu_s_memory"], np.mean(results, axis=0), strict=True))
        row: dict[str, Any] = {"model": described(models[BOTH[1]]), "scene": name, "clips": len(results)}
        for head, value in mean.items():
            digits = {"psnr": 2, "cpu": 4}.get(head.partition("_")[0], 3)
            row[head] = "" if np.isnan(value) else round(float(value), digits)
        row["worst_gain"] = round(min(r[2] - r[1] for r in results), 2)
        rows.append(row)
        print(*(f"{key} {value}" for key, value in row.items()), sep="  ", flush=True)
    return rows


# what each has trained on that has to do with the clip
KNOWN = {
    "repixnet": "frames 1-112 of the clip",
    "repixnet-video": "frames 1-112 of the clip",
    "S2VD": "NTURain's training clips",
    "PReNet (Rain100L)": "nothing: zero-shot",
}


def measure_peers(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Frames 121 to 168 of NTURain's a1, through each network as its authors run it."""
    found = [dict(row) for row in (read_rows(options.csv) if options.csv else [])]
    rainy, clean = walk(options.clips)

    def run(name: str) -> list[Image]:
        if name == "input":
            return rainy
        if name == "S2VD":
            return s2vd.restore(s2vd.load(DATA / "peers" / "S2VD" / "derainer.pt"), rainy)
        if name.startswith("PReNet"):
            restorer = published_prenet(name.removeprefix("PReNet (").removesuffix(")"))
        else:
            restorer = Restorer.from_pretrained(name, "cpu")
        return [made.pixels for made in restore_frames(restorer, (Frame(p, t) for t, p in enumerate(rainy)))]

    rows: list[dict[str, Any]] = []
    for name in ("input", *KNOWN):
        there = [row for row in found if row["model"] == name]
        if not there:
            _, cpu, made = clocked(lambda name=name: run(name))
            values = {
                metric: np.mean([METRICS[metric].measure(*pair) for pair in zip(made, clean, strict=True)])
                for metric in ("psnr_rgb", "psnr_y", "ssim_y")
            }
            there = [{
                "model": name, **{key: f"{value:.{4 if key == 'ssim_y' else 2}f}" for key, value in values.items()},
                "flicker": f"{error_change(made, clean):.2f}", "cpu_s_a_frame": f"{cpu / len(rainy):.2f}",
                "trained_on": KNOWN.get(name, ""),
            }]  # fmt: skip
            print(*there[0].values(), sep="  ", flush=True)
            if options.look:
                options.look.mkdir(parents=True, exist_ok=True)
                write_image(options.look / f"peers-{name}.png", made[32])
        rows += there
        if options.csv:
            write_rows(options.csv, rows)
    return rows


def hold(rng: np.random.Generator, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A hand: a matrix that turns and zooms about the middle, and a shift (down, right)."""
    moved, angle, zoom = rng.uniform(-reach, reach, 2), np.deg2rad(rng.uniform(-1, 1)), 1 + rng.uniform(-0.01, 0.01)
    c, s = np.cos(angle), np.sin(angle)
    return zoom * np.array([[c, s], [-s, c]]), moved


def held(photo: Image, rng: np.random.Generator | None, margin: int = 16, reach: float = 10) -> Image:
    """A photo as a hand holds it: shifted by up to `reach` pixels, turned by up to a degree, closer by up to 1 %."""
    H, W = photo.shape[:2]
    y, x = np.mgrid[margin : H - margin, margin : W - margin].astype(float)
    if rng is None:  # the reference
        return photo[margin : H - margin, margin : W - margin].copy()
    turn, (down, right) = hold(rng, reach)
    y, x = y - H / 2, x - W / 2
    places = (
        H / 2 + turn[0, 0] * y + turn[0, 1] * x + down,
        W / 2 + turn[1, 0] * y + turn[1, 1] * x + right,
    )
    moved = np.stack([map_coordinates(photo[..., c].astype(float), places, order=3, mode="reflect") for c in range(3)])
    return np.clip(np.rint(moved.transpose(1, 2, 0)), 0, 255).astype(np.uint8)


def measure_merge(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Nine frames in heavy rain, another in each, against the clean reference."""
    restorer = Restorer.from_pretrained(options.model)
    photos = sorted(PHOTOS.glob("norain-*"))[:: 100 // options.photos][: options.photos]
    rows = []
    for name in ("still", "still, crossed", "hand-held"):
        results = []
        for number, path in enumerate(photos):
            photo, other = (read_image(p).pixels.astype(np.uint8) for p in (path, photos[number - 1]))
            params = RainParams.from_severity(0.8, np.random.default_rng(number), focal=420)
            rng = np.random.default_rng(100 + number)
            if name == "hand-held":
                truth = [held(photo, None if t == 4 else rng) for t in range(9)]
            else:
                truth = [SCENES[name](photo, other, t) for t in range(9)]
            rainy = [add_rain(frame, params, np.random.default_rng([number, t]))[0] for t, frame in enumerate(truth)]
            seconds, _, merged = clocked(lambda rainy=rainy: merge(rainy, restorer=restorer))
            single = restorer(rainy[4])
            results.append((*(psnr(image, truth[4]) for image in (rainy[4], single, merged.pixels)), seconds))
            if options.look:
                options.look.mkdir(parents=True, exist_ok=True)
                sheet = np.concatenate([rainy[4], single, merged.pixels], axis=1)
                write_image(options.look / f"merge-{name.replace(', ', '-')}-{number}.png", sheet)
        mean = np.mean(results, axis=0)
        rows.append({
            "model": described(restorer), "scene": name, "frames": 9, "severity": 0.8, "photos": len(photos),
            "psnr_rainy": round(mean[0], 2), "psnr_single": round(mean[1], 2), "psnr_merged": round(mean[2], 2),
            "worst_gain_dB": round(min(r[2] - r[1] for r in results), 2), "seconds": round(mean[3], 1),
        })  # fmt: skip
        print(*(f"{key} {value}" for key, value in rows[-1].items()), sep="  ", flush=True)
    return rows


def panned(height: int, width: int, count: int) -> Iterator[Image]:
    """A pan over a rainy photo with noise as a sensor's."""
    photo = read_image(next(iter(sorted(PHOTOS.glob("norain-*"))))).pixels
    tiles = (-(-height // photo.shape[0]), -(-width // photo.shape[1]) + 1)
    ground = np.tile(np.concatenate([photo, photo[:, ::-1]], axis=1), (*tiles, 1)).astype(np.uint8)[:height]
    params = RainParams.from_severity(0.6, np.random.default_rng(0), focal=height * 1.5)
    rain = [
        add_rain(ground[:, : width + 64], params, np.random.default_rng(t))[0].astype(np.int16)
        - ground[:, : width + 64]
        for t in range(min(5, count))
    ]
    for t in range(count):
        at, streaks = 2 * t % 64, rain[t % 5]
        image = np.clip(ground[:, at : at + width] + np.roll(streaks, 7 * t, axis=1)[:, :width], 0, 255)
        yield np.ascontiguousarray(image.astype(np.uint8))


def make_video(path: Path, height: int, seconds: float, rate: int = 25) -> int:
    """Rainy frames of 16:9, and sound; returns the number of frames."""
    width = height * 16 // 9 // 2 * 2
    frames, rng = round(seconds * rate), np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate, {"preset": "veryfast", "crf": "20"}, width=width, height=height)
        audio: Any = out.add_stream("aac", 48000, layout="stereo")
        for t, image in enumerate(panned(height, width, frames)):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = t, Fraction(1, rate)
            out.mux(video.encode(frame))
            samples = (rng.standard_normal((2, 48000 // rate)) * 0.1).astype(np.float32)
            block = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
            block.sample_rate, block.pts, block.time_base = 48000, t * 48000 // rate, Fraction(1, 48000)
            out.mux(audio.encode(block))
        for stream in (video, audio):
            out.mux(stream.encode(None))
    return frames


def clocked(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of wall clock and of CPU, and the result."""
    begun, used = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - begun, time.process_time() - used, result


def measure_tiles(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for height, width in ((1080, 1920), (2160, 3840), (3000, 4000)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for t, image in enumerate(panned(height, width, 3)):
                np.save(folder / f"{t}.npy", image)
            row: dict[str, Any] = {"model": options.model, "size": f"{width}x{height}", "tile": options.tile}
            for kind, tile in (("whole", 0), ("tiled", options.tile)):
                child = [sys.executable, "-c", TILED, options.model, str(folder), kind, str(tile)]
                done = subprocess.run(child, capture_output=True, text=True, check=True)
                engine, peak, cpu = done.stdout.split()
                row |= {"engine": engine, f"{kind}_peak_MB": peak, f"{kind}_cpu_s": cpu}
            for t in (0, 2):
                a, b = (np.load(folder / f"{kind}{t}.npy").astype(int) for kind in ("whole", "tiled"))
                row[f"most_{t + 1}"] = int(np.abs(a - b).max())
                row[f"more_than_one_{t + 1}_percent"] = round(100 * float((np.abs(a - b) > 1).mean()), 4)
        rows.append(row)
        print(*(f"{key} {value}" for key, value in row.items()), sep="  ", flush=True)
    return rows


def measure_speed(options: argparse.Namespace) -> list[dict[str, Any]]:
    devices = ["cpu"] if openvino.absent("openvino") else ["cpu", "openvino"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for height in (720, 1080):
            clip = Path(name) / f"{height}.mp4"
            frames = make_video(clip, height, options.seconds)
            for model, device in itertools.product(reversed(BOTH), devices):
                rows.append({"model": model, "device": device, "height": height, "frames": frames})
                rows[-1] |= of_a_run(clip, frames, model, device)
                print(*(f"{key} {value}" for key, value in rows[-1].items()), sep="  ", flush=True)
    return rows


def of_a_run(clip: Path, frames: int, model: str, device: str) -> dict[str, Any]:
    """Speed, cost and memory of `repix derain clip`, and of its parts on the first ten frames."""
    dst = clip.with_name("clean.mp4")
    arguments = ["derain", str(clip), "-o", str(dst), "--model", model, "--device", device, "--overwrite"]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True)
    peak, cpu, wall = (float(word) for word in done.stdout.splitlines()[-1].split()[1:])
    with VideoReader(clip, end=10 / 25) as video:
        _, reading, items = clocked(lambda: [item for item in video if isinstance(item, Frame)])

        def write() -> None:
            with write_video(clip.with_name("again.mp4"), video) as writer:
                for item in items:
                    writer.write(item)

        _, writing, _ = clocked(write)
    restorer = Restorer.from_pretrained(model, device)
    restorer(items[0].pixels)  # loads the network
    alone, alone_cpu, _ = clocked(lambda: list(restore_frames(restorer, items)))
    count = len(items)
    return {
        "peak_MB": round(peak / 1e6),
        "frames_per_s": round(frames / wall, 2),
        "network_alone_frames_per_s": round(count / alone, 2),
        "cpu_s_per_frame": round(cpu / frames, 3),
        "network_cpu_s": round(alone_cpu / count, 3),
        "decode_and_to_rgb_cpu_s": round(reading / count, 4),
        "from_rgb_and_encode_cpu_s": round(writing / count, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["deflicker", "memory", "merge", "peers", "tiles", "speed"])
    parser.add_argument("--model", default="repixnet")
    parser.add_argument("--photos", type=int, default=2, help="deflicker, memory and merge: how many photos")
    parser.add_argument(
        "--look",
        type=Path,
        help="folder for rainy | alone over deflicker | its change times 4, or rainy | alone | merged",
    )
    parser.add_argument(
        "--clips",
        type=Path,
        help="memory and peers: the folder of laid out data sets",
    )
    parser.add_argument("--tile", type=int, default=1536, help="tiles: the longest side of one")
    parser.add_argument("--seconds", type=float, default=2, help="speed: length of the videos, 25 frames a second")
    parser.add_argument("--csv", type=Path, help="add rows there")
    options = parser.parse_args()
    measures = {
        "deflicker": measure_deflicker,
        "memory": measure_memory,
        "merge": measure_merge,
        "peers": measure_peers,
        "tiles": measure_tiles,
        "speed": measure_speed,
    }
    rows = measures[options.what](options)
    if options.csv:
        write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
