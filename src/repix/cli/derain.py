"""`repix derain`: the rain out of photos and videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from repix.cli import values
from repix.cli.files import check_model, run_over_files
from repix.cli.options import Run, file_options, renamed_option
from repix.cli.values import Number, ray_address, seconds
from repix.errors import InputError

if TYPE_CHECKING:
    from repix.infer.pyramid import Levels
    from repix.infer.restorer import Quality, Strength


@click.command()
@file_options(
    names="NAME_derained.EXT, DIR_derained/",
    model="",
    models="A shipped model (repix models lists them), or a model's folder. "
    "[repixnet; for videos repixnet-video, which remembers the frame before]",
    formats="Write jpg, png, webp, tiff or avif; videos mp4, mov, mkv, webm. [as is]",
)
@click.option(
    "--strength",
    default="1",
    show_default=True,
    callback=values.strength,
    metavar="0…1|auto",
    help="0 leaves the rain, 1 takes out all that is found; auto (images only) takes out less where it may be no rain.",
)
@click.option(
    "--quality",
    type=click.Choice(["draft", "fast", "best"]),
    default="fast",
    show_default=True,
    help="draft: without the full resolution of large images. best: the mean of four results, of mirrored and shifted "
    "copies of the image, in four times the time.",
)
@click.option(
    "--levels",
    default="auto",
    show_default=True,
    callback=values.levels,
    metavar="auto|1|1,2,4",
    help="How many times images are reduced for the network, in the order in which it is done; auto finds it.",
)
@click.option("--start", callback=seconds, metavar="TIME", help="Videos: start there; seconds, or H:M:S.")
@click.option("--end", callback=seconds, metavar="TIME", help="Videos: stop there.")
@click.option("--codec", type=click.Choice(["h264", "h265", "vp9", "av1"]), help="Videos. [h264; h265 over 8 bit]")
@click.option("--crf", type=Number(0), help="Videos: constant rate factor, 0 is best. [by codec]")
@click.option("--deflicker", is_flag=True, help="Videos: reduce flicker, with the help of neighbouring frames.")
@click.option("--raw", metavar="WxH@FPS:PIXFMT", help="What raw frames on standard input are; y4m says it itself.")
@renamed_option("--steady", "--deflicker", flag=True)
@click.option(
    "--ray",
    "address",
    is_flag=False,
    flag_value="",
    callback=ray_address,
    metavar="[ADDRESS]",
    help="Share the work on a Ray cluster: HOST:PORT, auto, or nothing for this machine. PATH may be a URL: s3://…",
)
def derain(
    paths: tuple[str, ...],
    output: str | None,
    strength: Strength,
    quality: Quality,
    levels: Levels,
    start: float | None,
    end: float | None,
    codec: str | None,
    crf: float | None,
    deflicker: bool,
    raw: str | None,
    address: str | None,
    settings: dict[str, Any],
    run: Run,
) -> None:
    """Take the rain out of photos and videos.

    PATH is a file, a folder (with all folders in it), a pattern such as "*.jpg", or - for one image or video from
    standard input, which goes to standard output unless OUT says otherwise. An image keeps its size, bit depth,
    transparency, EXIF and colour profile. A video keeps its sound, subtitles, frame times, rotation and colour tags.
    Your files are never changed, unless you name them as OUT and give --overwrite.

    \b
    repix derain photo.jpg
    repix derain holiday/ --strength auto
    repix derain clip.mp4 --deflicker
    """
    from repix.infer.jobs import BatchOptions, VideoOptions
    from repix.tasks import DERAIN

    if end is not None and end <= (start or 0):
        raise InputError(f"--end {end:g} s must come after --start {start or 0:g} s")
    if raw is not None and paths != ("-",):
        raise InputError("--raw says what comes on standard input; give - as the only PATH")
    if settings["model"]:
        check_model(DERAIN, settings["model"])
    video = VideoOptions(start, end, codec, crf, deflicker, raw)
    options = BatchOptions(quality=quality, levels=levels, strength=strength, video=video, **settings)
    run_over_files(paths, output, options, DERAIN, run, address=address)
