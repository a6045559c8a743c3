"""`repix merge`: one photograph of several frames of a scene."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from repix.cli.files import check_model
from repix.cli.options import device_option, max_pixels_option, refuse_given, threads_option
from repix.cli.output import say
from repix.cli.values import NAME, PATH, seconds
from repix.errors import InputError, counted

if TYPE_CHECKING:
    from repix.io.image import Picture

_LONGEST = 10.0  # seconds of a video without --start and --end


@click.command()
@click.argument("names", nargs=-1, required=True, type=NAME, metavar="BURST...")
@click.option("-o", "--output", type=PATH, metavar="OUT", help="[NAME_merged.EXT, after the reference]")
@click.option("--reference", type=click.IntRange(1), metavar="N", help="Which frame the photo is. [the middle one]")
@click.option("--start", callback=seconds, metavar="TIME", help="Videos: start there; seconds, or H:M:S.")
@click.option("--end", callback=seconds, metavar="TIME", help="Videos: stop there.")
@click.option(
    "--frames", type=click.IntRange(2, 99), default=9, show_default=True, help="Videos: how many, evenly spread."
)
@click.option(
    "-m", "--model", type=NAME, default="repixnet", show_default=True, metavar="NAME", help="As for repix derain."
)
@device_option
@threads_option
@max_pixels_option()
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
def merge(
    names: tuple[str, ...],
    output: Path | None,
    reference: int | None,
    start: float | None,
    end: float | None,
    frames: int,
    model: str,
    device: str,
    threads: int | None,
    max_pixels: int,
    overwrite: bool,
) -> None:
    """Make one photo without rain of several frames of a scene: what rain hides in one, the others show.

    BURST is a series of photos, or a video with --start and --end. A tripod is best, a hand will do. The photo is the
    reference's moment: who walks through is neither doubled nor erased. Its metadata is the reference's too.

    \b
    repix merge IMG_01*.jpg -o photo.jpg
    repix merge clip.mp4 --start 0:02 --end 0:03 -o photo.jpg
    """
    import time

    from repix.infer.jobs import Bar, expand
    from repix.infer.merge import merge as merged
    from repix.infer.restorer import Restorer
    from repix.io.files import check_outputs, check_regular
    from repix.io.formats import IMAGES_WRITABLE, VIDEOS, listed
    from repix.io.image import read_image, write_image
    from repix.tasks import DERAIN

    if end is not None and end <= (start or 0):
        raise InputError(f"--end {end:g} s must come after --start {start or 0:g} s")
    check_model(DERAIN, model)
    paths = [path for name in names for path in expand(name)]
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name its photos, such as {path / '*.jpg'}")
        check_regular(path)
    is_video = len(paths) == 1 and paths[0].suffix.lower() in VIDEOS
    if not is_video:
        refuse_given(("start", "end", "frames"), "is for one video; a burst of photos is taken whole")
    if len(paths) == 1 and not is_video:
        raise InputError(f"{paths[0]} is one photo, and merge takes several; repix derain takes one")
    number = reference if reference is not None else (len(paths) + 1) // 2
    if not is_video and number > len(paths):
        raise InputError(f"--reference {number}: there are {len(paths)} frames")
    named = paths[0] if is_video else paths[number - 1]
    if output is None:
        suffix = named.suffix if named.suffix.lower() in IMAGES_WRITABLE else ".png"
        output = named.with_name(f"{named.stem}_merged{suffix}")
    check_outputs([output], paths)
    if output.suffix.lower() not in IMAGES_WRITABLE:
        raise InputError(f"{output}: merge writes one image; choose one of {listed(IMAGES_WRITABLE)}")
    if not overwrite and os.path.lexists(output):
        raise InputError(f"{output} is already there; --overwrite writes it again, -o names another")
    begun = time.perf_counter()
    if is_video:
        burst = _of_video(paths[0], start, end, frames, max_pixels)
        if reference is not None and reference > len(burst):
            raise InputError(f"--reference {reference}: the video has {counted(len(burst), 'frame')} there")
    else:
        burst = [read_image(path, max_pixels=max_pixels) for path in paths]
    restorer = Restorer.from_pretrained(model, device, threads=threads)
    bar = Bar(1, enabled=True)
    bar.start(named)
    try:
        result = merged(
            burst,
            reference=None if reference is None else reference - 1,
            restorer=restorer,
            progress=bar.advance,
        )
    finally:
        bar.close()
    notes = [*result.notes, *write_image(output, result)]
    say(f"merged {counted(len(burst), 'frame')} in {time.perf_counter() - begun:.1f} s → {output}")
    for note in dict.fromkeys(notes):
        say(f"note: {note}")


def _of_video(path: Path, start: float | None, end: float | None, count: int, max_pixels: int) -> list[Picture]:
    """So many frames of a part of a video, evenly spread; at most twice as many are held."""
    from repix.io.image import Picture
    from repix.io.video import Frame, VideoReader

    kept: list[Picture] = []
    step = 1
    with VideoReader(path, start=start, end=end, max_pixels=max_pixels) as video:
        lasts = float(video.count / video.rate)
        if lasts > _LONGEST and (start is None or end is None):
            raise InputError(f"{path} lasts {lasts:.0f} s from there; say which moment with --start and --end")
        frames = (item for item in video if isinstance(item, Frame))
        for number, frame in enumerate(frames):
            if number % step == 0:
                kept.append(Picture(frame.pixels, bits=8 * frame.pixels.dtype.itemsize))
            if len(kept) == 2 * count:
                kept, step = kept[::2], 2 * step
    if len(kept) < 2:
        raise InputError(f"{path}: only {len(kept)} frame in that time, and merge takes several")
    if len(kept) > count:
        kept = [kept[round(i * (len(kept) - 1) / (count - 1))] for i in range(count)]
    return kept
