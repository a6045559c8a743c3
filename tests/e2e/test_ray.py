"""`repix derain --ray` on real nodes: every file once, whatever dies. Each command runs in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("ray", reason="Ray is not installed: pip install 'repix[scale]'")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's clusters are for Linux and macOS")

HERE = Path(__file__).parent
# Of one test on an idle machine; each start of a worker takes seconds.
PATIENCE = 200
# On the cluster's nodes, an image of this name kills the process that opens it, and what turns onnxruntime's telemetry
# off is noted where that is imported.
POISON = """
import os, pathlib, sys
def hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith("poison.png"):
        os.kill(os.getpid(), 9)
    if event == "import" and arguments[0] == "onnxruntime":
        said = os.environ.get("ORT_DISABLE_TELEMETRY", "not set")
        pathlib.Path(__file__).with_name(f"telemetry-{os.getpid()}").write_text(said)
sys.addaudithook(hook)
"""


class Nodes:
    """The head node, and one more where a test asks for it."""

    def __init__(self) -> None:
        self.folder = Path(
            tempfile.mkdtemp(prefix="rx", dir="/tmp" if os.path.isdir("/tmp") else None)
        )  # short: sockets
        (self.folder / "sitecustomize.py").write_text(POISON)
        (self.folder / "ray").mkdir()  # where Ray notes the address; it makes the usual place only at times
        path = [str(self.folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # nodes run this repix
        with (self.folder / "errors").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "ray_nodes.py"), str(self.folder / "r")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
                | {
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "RAY_TMPDIR": str(self.folder),
                    "PYTHONPATH": os.pathsep.join(path),
                },
            )
        self.address = self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().strip()
        assert answer, f"the cluster is gone: {(self.folder / 'errors').read_text()[-2000:]}"
        return answer

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self._answer() == word

    def close(self) -> None:
        self.process.communicate(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    cluster = Nodes()
    yield cluster
    cluster.close()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def derain(darkening_weight: Path, tmp_path: Path) -> Start:
    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "repix", "derain", "--model", str(darkening_weight), *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def ends(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in out + err
    return process.returncode, out, err


def draw(folder: Path, names: list[str], size: tuple[int, int] = (70, 90)) -> dict[str, NDArray[np.uint8]]:
    """Images of noise, each its own: what takes long to compress is likely to be hit while it is written."""
    images = {}
    for number, name in enumerate(names):
        images[name] = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[name]).save(folder / name, compress_level=0)
    return images


def written(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    found.pop("manifest.jsonl", None)
    return found


def manifest(folder: Path) -> list[dict[str, object]]:
    path = folder / "manifest.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def check(folder: Path, images: dict[str, NDArray[np.uint8]]) -> None:
    """Every result is there, right to the last pixel, and nothing else is; the manifest names each once."""
    there = written(folder)
    assert sorted(there) == sorted(images)
    for name, pixels in images.items():
        with Image.open(there[name]) as image:
            np.testing.assert_array_equal(np.asarray(image), np.rint(pixels * 0.4).astype(np.uint8))
    good = [Path(str(line["src"])).name for line in manifest(folder) if line["status"] != "failed"]
    assert sorted(good) == sorted(Path(name).name for name in images)


def test_a_node_that_dies_half_way_costs_no_file(nodes: Nodes, derain: Start, tmp_path: Path) -> None:
    images = draw(tmp_path / "in", [f"{n % 3}/{n:02d}.png" for n in range(40)], (700, 900))
    out = tmp_path / "out"
    nodes.tell("add")
    running = derain("in", "-o", "out", "--ray", nodes.address)
    until = time.monotonic() + PATIENCE
    while len({line["node"] for line in manifest(out)}) < 2 and time.monotonic() < until and running.poll() is None:
        time.sleep(0.02)
    reported = [Path(str(line["dst"])) for line in manifest(out)]  # what else is there may be done again
    before = {path: path.stat().st_mtime_ns for path in reported}
    nodes.tell("kill")
    assert 0 < len(before) < len(images), "the node died too early or too late to tell anything"
    code, said, err = ends(running)
    assert (code, err) == (0, "")
    assert "40 images" in said
    check(out, images)
    lines = manifest(out)
    assert {line["status"] for line in lines} == {"done"}
    assert len({line["node"] for line in lines}) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a file was done twice"


def test_a_file_that_kills_its_worker_fails_alone(nodes: Nodes, derain: Start, tmp_path: Path) -> None:
    images = draw(tmp_path / "in", [f"{n}.png" for n in range(12)])
    draw(tmp_path / "in", ["poison.png"])
    code, said, err = ends(derain("in", "-o", "out", "--ray", nodes.address))
    assert code == 1
    assert "12 images" in said
    assert err.count("\n") == 1
    assert "poison.png: its worker died 3 times" in err
    check(tmp_path / "out", images)
    assert [Path(str(line["src"])).name for line in manifest(tmp_path / "out") if line["status"] == "failed"] == [
        "poison.png"
    ]


def test_urls_are_fetched_by_the_workers(nodes: Nodes, derain: Start, tmp_path: Path) -> None:
    images = draw(tmp_path / "in", ["a.png", "x/b.png"])
    draw(tmp_path / "in", [".hidden/c.png"])
    (tmp_path / "in" / "bad.jpg").write_text("no image")
    url = (tmp_path / "in").as_uri()
    code, said, err = ends(derain(url, "-o", "out", "--format", "png", "--ray", nodes.address))
    assert code == 1
    assert "2 images" in said
    assert f"{url}/bad.jpg: " in err
    check(tmp_path / "out", images)
    assert {line["src"] for line in manifest(tmp_path / "out")} == {f"{url}/{n}" for n in (*images, "bad.jpg")}
    # nothing set it where the nodes were started: the workers did, before they imported onnxruntime
    assert {path.read_text() for path in nodes.folder.glob("telemetry-*")} == {"1"}


def test_interrupted_without_a_cluster_and_taken_up_again(derain: Start, tmp_path: Path) -> None:
    images = draw(tmp_path / "in", [f"{n:02d}.png" for n in range(30)], (700, 900))
    out = tmp_path / "out"
    running = derain("in", "-o", "out", "--ray")
    until = time.monotonic() + PATIENCE
    while len(manifest(out)) < 4 and time.monotonic() < until and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)  # as Ctrl-C, which a runner in the background may have ignored
    code, _, err = ends(running)
    assert code == 130
    assert err.strip() == "repix: interrupted"
    first = written(out)
    assert 4 <= len(first) < len(images)
    assert all(path.suffix == ".png" for path in first.values()), "something half-written was left"
    times = {name: path.stat().st_mtime_ns for name, path in first.items()}
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"src": "torn')  # as a power cut would leave it
    code, said, err = ends(derain("in", "-o", "out", "--ray"))
    assert (code, err) == (0, "")
    assert f"{len(first)} already there" in said
    check(out, images)
    assert {name: written(out)[name].stat().st_mtime_ns for name in times} == times
