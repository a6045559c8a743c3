"""kill -9 at random moments, and the same command again: nothing that was finished is lost, and the end is the same.

    python tests/long/kill.py --count 50 --seed 0
    python tests/long/kill.py folder video training export --count 8

Each moment is drawn from the time that an undisturbed run takes. Commands run in processes that are forked from one
which has imported everything: a moment before the work begins would show nothing, and imports take most of the time.
TMPDIR is on another file system where /dev/shm is one.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import multiprocessing.process
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

WHAT = ("folder", "video", "training", "export")


_FORKS: Any = multiprocessing.get_context("forkserver" if os.name != "nt" else "spawn")
_FORKS.set_forkserver_preload(
    ["repix.cli", "repix.infer.images", "repix.infer.video", "repix.train.loop", "onnxruntime"]
)


def _work(arguments: Sequence[str], folder: Path, errors: Path) -> None:
    """The command line in a process of its own, and in a group of its own with what it starts."""
    os.setsid()
    os.chdir(folder)
    if Path("/dev/shm").is_dir():
        os.environ["TMPDIR"] = "/dev/shm"
        tempfile.tempdir = None
    for number, name in ((1, os.devnull), (2, str(errors))):
        opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
    from repix.cli import main

    main(list(arguments))


def _start(arguments: Sequence[str], folder: Path) -> tuple[multiprocessing.process.BaseProcess, Path]:
    errors = folder.with_name(f"{folder.name}.errors")
    process = _FORKS.Process(target=_work, args=(arguments, folder, errors))
    process.start()
    return process, errors


def run(arguments: Sequence[str], folder: Path) -> float:
    """Run to the end; gives the seconds."""
    begun = time.perf_counter()
    process, errors = _start(arguments, folder)
    process.join()
    if process.exitcode:
        said = errors.read_text(errors="replace")[-500:]
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.exitcode}: {said}")
    return time.perf_counter() - begun


def killed(arguments: Sequence[str], folder: Path, seconds: float) -> None:
    """Run, and kill after some seconds, with everything that it has started."""
    process, _ = _start(arguments, folder)
    process.join(seconds)
    if process.exitcode is None:
        assert process.pid is not None
        with contextlib.suppress(ProcessLookupError):  # it may have no group of its own yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers(folder: Path) -> list[str]:
    """What should have gone."""
    return [path.name for path in folder.rglob("*") if path.name.startswith(".repix-")]


class Folder:
    """Images of a folder."""

    def __init__(self, model: Path) -> None:
        self.command = ["derain", "in", "-o", "out", "-m", str(model), "-q"]

    def prepare(self, folder: Path) -> None:
        """Make the inputs."""
        import numpy as np
        from PIL import Image

        (folder / "in").mkdir()
        for k in range(12):
            pixels = np.random.default_rng(k).integers(0, 256, (400, 600, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "in" / f"{k}.png", compress_level=1)

    def again(self, folder: Path) -> list[str]:
        """The command that goes on."""
        return self.command

    def result(self, folder: Path) -> dict[str, bytes]:
        """What must be the same as without a kill."""
        return tree(folder / "out")


class Video(Folder):
    """One video."""

    def __init__(self, model: Path) -> None:
        self.command = ["derain", "in", "-o", "out", "-m", str(model), "-q"]

    def prepare(self, folder: Path) -> None:
        """Make the inputs."""
        import av
        import numpy as np

        (folder / "in").mkdir()
        with av.open(str(folder / "in" / "a.mkv"), "w") as out:
            track = out.add_stream("libx264", 25, {"preset": "ultrafast"}, width=320, height=240, pix_fmt="yuv420p")
            for t in range(60):
                frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 4 * t, np.uint8), "rgb24")
                frame.pts, frame.time_base = t, Fraction(1, 25)
                out.mux(track.encode(frame))
            out.mux(track.encode(None))

    def result(self, folder: Path) -> dict[str, bytes]:
        """Frames: containers carry random identifiers."""
        import av

        found = {}
        for path in (folder / "out").glob("*.mkv"):
            with av.open(str(path)) as file:
                found[path.name] = b"".join(frame.to_ndarray().tobytes() for frame in file.decode(video=0))
        return found


class Training(Folder):
    """A run, resumed."""

    def __init__(self, model: Path) -> None:
        self.command = ["train", "tiny.yaml", "-o", "run", "--no-export"]

    def prepare(self, folder: Path) -> None:
        """Make the inputs."""
        import numpy as np
        from PIL import Image

        (folder / "photos").mkdir()
        for k in range(4):
            pixels = np.random.default_rng(k).integers(0, 256, (96, 128, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / f"{k}.png")
        (folder / "tiny.yaml").write_text(
            "name: tiny\nmodel: derainnet\ndata: {photos: photos, workers: 0}\nsave_every: 0.02\n"
            "stages: [{steps: 60, batch: 2, patch: 48}]\nprecision: 32-true\nema_decay: 0.9\n"
        )

    def again(self, folder: Path) -> list[str]:
        """The command that goes on."""
        return [*self.command, "--resume"] if (folder / "run" / "last.ckpt").exists() else self.command

    def result(self, folder: Path) -> dict[str, bytes]:
        """The weights, bit by bit."""
        import torch

        saved = torch.load(folder / "run" / "last.ckpt", weights_only=True)
        return {name: value.numpy().tobytes() for name, value in saved["state_dict"].items()}


class Export(Training):
    """A run's model over another."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.train = self.command
        self.command = ["export", "run", "-o", "model"]

    def prepare(self, folder: Path) -> None:
        """Make the inputs."""
        super().prepare(folder)
        recipe = folder / "tiny.yaml"
        recipe.write_text(recipe.read_text().replace("steps: 60", "steps: 2"))
        run(self.train, folder)
        (folder / "model").mkdir()
        (folder / "model" / "card.json").write_text("{}")
        (folder / "model" / "mine.txt").write_text("mine")

    def again(self, folder: Path) -> list[str]:
        """The command that goes on."""
        return self.command

    def result(self, folder: Path) -> dict[str, bytes]:
        """Everything but what holds the time of day."""
        found = tree(folder / "model")
        assert found["mine.txt"] == b"mine"
        return {name: data for name, data in found.items() if name != "card.json"}


MAKERS: dict[str, Callable[[Path], Folder]] = dict(zip(WHAT, (Folder, Video, Training, Export), strict=True))


def trial(name: str, *, count: int, seed: int, model: Path, first: int = 0) -> list[str]:
    """Kill and go on, `count` times, the moments from number `first` on; gives what was wrong, one line each."""
    wrong = []
    with tempfile.TemporaryDirectory() as made:
        base, case = Path(made) / "base", MAKERS[name](model)
        base.mkdir()
        case.prepare(base)
        undisturbed = Path(made) / "undisturbed"
        shutil.copytree(base, undisturbed)
        seconds = run(case.command, undisturbed)
        expected = case.result(undisturbed)
        for number in range(first, first + count):
            moment = random.Random(f"{seed}/{name}/{number}").uniform(0, seconds)
            folder = Path(made) / f"{number}"
            shutil.copytree(base, folder)
            killed(case.command, folder, moment)
            finished = {
                key: value for key, value in tree(folder).items() if key.startswith("out/") and ".repix-" not in key
            }
            try:
                run(case.again(folder), folder)
                now = tree(folder)
                lost = [key for key, value in finished.items() if now.get(key) != value]
                problems = [f"lost {lost}"] if lost else []
                problems += [f"left {leftovers(folder)}"] if leftovers(folder) else []
                problems += ["another result"] if case.result(folder) != expected else []
            except (RuntimeError, AssertionError, OSError, KeyError) as error:
                problems = [str(error)]
            print(f"{name} {number}: {'; '.join(problems) or 'well'}", file=sys.stderr, flush=True)
            wrong += [f"FAILED {name} {number} at {moment:.2f} of {seconds:.2f} s: {text}" for text in problems]
            shutil.rmtree(folder)
    return wrong


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help=f"of {', '.join(WHAT)} [all]")
    parser.add_argument("--count", type=int, default=8, help="moments, shared by all")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    what = given.what or list(WHAT)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tiny_weight import write_weight

    with tempfile.TemporaryDirectory() as folder:
        model = write_weight(Path(folder), "same", factor=1.0)
        wrong = []
        for k, name in enumerate(what):
            count = given.count // len(what) + (k < given.count % len(what))
            found = trial(name, count=count, seed=given.seed, model=model, first=given.first) if count else []
            print(*found, f"{name}: {count} kills, {len(found)} wrong", sep=os.linesep, flush=True)
            wrong += found
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
