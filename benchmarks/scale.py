"""What a fleet's images cost: measures one 2-megapixel frame, and computes docs/scale.md's tables from that.

    python benchmarks/scale.py measure      # benchmarks/results/scale.csv
    python benchmarks/scale.py report       # the tables in docs/scale.md; --check compares instead

A frame is 1920×1080, laid together from sixteen rainy photos of RainTrainL at their own size, and stored as a dash cam
would: JPEG, quality 90, half chroma. Every step's CPU time, on one thread, is taken beside that of the network alone on
512×512 pixels, whose time on an idle machine `speed.csv` has: figures are medians of the ratio times that, so that a
busy machine does not show in them. Ray's share is what its driver spends on one of many tiny files.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import pyvips
from numpy.typing import NDArray

from common import DATA, RESULTS, ROOT, cpu_seconds, read_rows, write_rows
from repix.infer.images import restore_jobs
from repix.infer.jobs import BatchOptions, plan
from repix.infer.restorer import Restorer
from repix.io.image import read_image, write_image

RESULT = RESULTS / "scale.csv"
PAGE = ROOT / "docs" / "scale.md"
HEIGHT, WIDTH = 1080, 1920
FRAMES = 10_000_000
CORES = (2, 16, 64, 256, 1024, 4096)
# What these carry when they are new and nobody else uses them; the names are those of the tables.
LINKS = {
    "one hard disk, 0.2 GB/s": 0.2e9,
    "10 Gbit/s network, 1.25 GB/s": 1.25e9,
    "one NVMe disk, 3 GB/s": 3e9,
    "100 Gbit/s network, 12.5 GB/s": 12.5e9,
}
DRIVER = """
import resource, sys
from repix.cli import main
try:
    main(["derain", sys.argv[1], "-o", sys.argv[2], "--ray"])
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("cpu", used.ru_utime + used.ru_stime)
"""


def frames(photos: Path) -> Iterator[NDArray[np.uint8]]:
    """(1080, 1920, 3) mosaics."""
    wide = [read_image(path).pixels for path in sorted(photos.iterdir())]
    wide = [photo for photo in wide if photo.shape[0] == 321]
    for first in range(0, len(wide) - 15, 16):
        rows = [np.concatenate(wide[first + row : first + row + 4], axis=1) for row in range(0, 16, 4)]
        yield np.concatenate(rows)[:HEIGHT, :WIDTH].astype(np.uint8)


def driver_seconds(folder: Path, files: tuple[int, int]) -> float:
    """CPU-seconds that one more file costs the process that gives them out."""
    spent = []
    for count in files:
        source = folder / f"tiny{count}"
        source.mkdir()
        for number in range(count):
            pyvips.Image.black(8, 8, bands=3).write_to_file(str(source / f"{number}.png"))
        command = [sys.executable, "-c", DRIVER, str(source), str(folder / f"clean{count}")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent.append(float(said.split()[-1]))
    return (spent[1] - spent[0]) / (files[1] - files[0])


def measure(photos: Path, count: int) -> None:
    restorer = Restorer.from_pretrained(device="cpu", threads=1)
    square = np.random.default_rng(0).random((1, 3, 512, 512), np.float32)
    units: list[float] = []

    def cpu(work: Callable[[], object]) -> float:
        """CPU-seconds, as on an idle machine."""
        unit = cpu_seconds(lambda: restorer.run(square))
        taken = cpu_seconds(work)
        units.append((unit + cpu_seconds(lambda: restorer.run(square))) / 2)
        return taken / units[-1] * yardstick()

    steps: dict[str, list[float]] = {name: [] for name in ("decode", "network", "encode", "all", "in", "out")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        warm = False
        for number, pixels in enumerate(islice(frames(photos), count)):
            source, result = folder / f"{number}.jpg", folder / f"{number}_derained.jpg"
            pyvips.Image.new_from_array(pixels).jpegsave(str(source), Q=90)
            if not warm:
                restorer(pixels)
                warm = True
            image = read_image(source)
            steps["decode"].append(cpu(lambda source=source: read_image(source)))  # type: ignore[misc]
            clean = image.with_pixels(restorer(image.pixels))
            steps["network"].append(cpu(lambda image=image: restorer(image.pixels)))  # type: ignore[misc]
            steps["encode"].append(cpu(lambda result=result, clean=clean: write_image(result, clean)))  # type: ignore[misc]
            steps["in"].append(source.stat().st_size)
            steps["out"].append(result.stat().st_size)
            result.unlink()
            jobs, _ = plan([source], None).pending(overwrite=False)
            steps["all"].append(cpu(lambda jobs=jobs: list(restore_jobs(restorer, jobs, options=BatchOptions()))))  # type: ignore[misc]
        many = folder / "many"
        many.mkdir()
        for number in range(5000):
            (many / f"frame-{number:08d}.jpg").touch()
        tracemalloc.start()
        kept = plan([many], folder / "out").pending(overwrite=False)
        memory = tracemalloc.get_traced_memory()[0] / len(kept[0])
        tracemalloc.stop()
        driver = driver_seconds(folder, (100, 3100)) / median(units) * yardstick()
    rows = [
        ("decode", f"{median(steps['decode']):.4f}", "CPU-seconds a frame"),
        ("network and tiles", f"{median(steps['network']):.4f}", "CPU-seconds a frame"),
        ("encode and write", f"{median(steps['encode']):.4f}", "CPU-seconds a frame"),
        ("all, together", f"{median(steps['all']):.4f}", "CPU-seconds a frame"),
        ("Ray's driver", f"{driver:.5f}", "CPU-seconds a file"),
        ("read", f"{median(steps['in']):.0f}", "bytes a frame"),
        ("written", f"{median(steps['out']):.0f}", "bytes a frame"),
        ("driver's memory", f"{memory:.0f}", "bytes a file"),
    ]
    write_rows(RESULT, [dict(zip(("what", "value", "unit"), row, strict=True)) for row in rows])
    print(RESULT.read_text(encoding="utf-8"))


def load(file: Path) -> dict[str, float]:
    return {row["what"]: float(row["value"]) for row in read_rows(file)}


def yardstick() -> float:
    """CPU-seconds of the shipped model's network on 512×512 pixels on an idle machine."""
    return {row["network"]: float(row["cpu_seconds"]) for row in read_rows(RESULTS / "speed.csv")}["repixnet"]


def duration(hours: float) -> str:
    return f"{hours / 24:.0f} days" if hours >= 72 else f"{hours:.0f} h" if hours >= 10 else f"{hours:.1f} h"


def table(header: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def parts(cost: dict[str, float]) -> dict[str, str]:
    """The tables by name."""
    whole, driver, memory = cost["all, together"], cost["Ray's driver"], cost["driver's memory"]
    traffic = cost["read"] + cost["written"]
    frame = [
        ["decode", f"{cost['decode']:.3f}", f"{cost['decode'] / whole:.0%}"],
        ["network and tiles", f"{cost['network and tiles']:.3f}", f"{cost['network and tiles'] / whole:.0%}"],
        ["encode and write", f"{cost['encode and write']:.3f}", f"{cost['encode and write'] / whole:.0%}"],
        ["**all of it, measured together**", f"**{whole:.3f}**", ""],
    ]
    total = whole * FRAMES / 3600
    sizes = [
        ["CPU", f"{total:,.0f} core-hours"],
        ["read", f"{cost['read'] * FRAMES / 1e12:.1f} TB ({cost['read'] / 1e6:.2f} MB a frame)"],
        ["written", f"{cost['written'] * FRAMES / 1e12:.1f} TB ({cost['written'] / 1e6:.2f} MB a frame)"],
        ["the list of files, in the memory of one command, without its manifest", f"{memory * FRAMES / 1e9:.0f} GB"],
        ["giving them out, on one core", f"{driver * FRAMES / 3600:.1f} h"],
    ]
    cores = []
    for count in CORES:
        rate = count / whole
        bound = "; ".join(name for name, bytes_ in LINKS.items() if rate * traffic > bytes_)
        cores.append(
            [
                f"{count:,}",
                duration(total / count),
                f"{rate:,.0f}",
                f"{rate * traffic / 1e9:.2f}",
                f"{rate * driver:.0%}",
                bound or "none",
            ]
        )
    limits = [[name, f"{bytes_ / traffic:,.0f}", f"{bytes_ / traffic * whole:,.0f}"] for name, bytes_ in LINKS.items()]
    limits.append(["one `derain --ray` command", f"{1 / driver:,.0f}", f"{whole / driver:,.0f}"])
    return {
        "frame": table(["step", "CPU-seconds", "share"], frame),
        "total": table(["ten million frames", ""], sizes),
        "cores": table(
            ["cores", "time", "frames/s", "GB/s, read and written", "load of one driver", "links too slow for it"],
            cores,
        ),
        "limits": table(["what everything goes through", "carries frames/s", "enough for cores"], limits),
    }


def page(text: str) -> str:
    """The page with its tables made anew, each between `<!-- NAME -->` and `<!-- end -->`."""
    for name, made in parts(load(RESULT)).items():
        text, found = re.subn(
            rf"<!-- {name} -->\n.*?<!-- end -->", f"<!-- {name} -->\n{made}\n<!-- end -->", text, flags=re.S
        )
        if found != 1:
            sys.exit(f"{PAGE}: expected one place for the table {name!r}, found {found}")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "report"])
    parser.add_argument("--photos", type=Path, default=DATA / "RainTrainL" / "rain")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    if args.what == "measure":
        measure(args.photos, args.frames)
        return
    before = PAGE.read_text(encoding="utf-8")
    after = page(before)
    if args.check and before != after:
        sys.exit("docs/scale.md is not up to date; run python benchmarks/scale.py report")
    if not args.check:
        PAGE.write_text(after, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
