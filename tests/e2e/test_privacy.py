"""Nothing leaves the machine and nothing is left in the home folder: seen from outside, by strace, without a network.

pytest-socket sees what Python opens only; onnxruntime's telemetry, for one, is C++. Each command runs in a network
namespace of its own, whose loopback is all there is, with an empty HOME and without CI, which hides telemetry.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SRC = Path(__file__).parents[2] / "src"


def _can_trace() -> bool:
    if not all(shutil.which(name) for name in ("strace", "unshare", "ip")):
        return False
    trial = ["strace", "-f", "-qq", "-o", os.devnull, "unshare", "-n", "ip", "link", "set", "lo", "up"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.skipif(not _can_trace(), reason="needs strace, iproute2 and the right to make a network namespace"),
    pytest.mark.timeout(300),
]


@dataclass
class Seen:
    """What a command did: addresses it spoke to that are not this machine's, and files it left in HOME."""

    code: int
    said: str
    outside: list[str]
    home: list[str]


def watch(command: Sequence[str], folder: Path, **environment: str) -> Seen:
    """Run a command in `folder` and watch it."""
    home, trace = folder / "home", folder / "trace"
    home.mkdir()
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        if name in os.environ
    }
    calls = "trace=connect,sendto,sendmsg,sendmmsg,bind"
    strace = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", calls, "-o", str(trace))
    done = subprocess.run(
        [*strace, "unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command],
        cwd=folder,
        env=kept | {"HOME": str(home), "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    lines = trace.read_text(errors="replace").splitlines()
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir())
    return Seen(done.returncode, done.stdout, [line for line in lines if _is_outside(line)], left)


def _is_outside(line: str) -> bool:
    """Whether a system call names an address that is not this machine's, or asks a name server, wherever that is."""
    if "sin_port=htons(53)" in line or "sin6_port=htons(53)" in line:
        return True
    addresses = re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
    local = ("127.", "0.0.0.0", "::1", "::ffff:127.")
    return any(not (four or six).startswith(local) and (four or six) != "::" for four, six in addresses)


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def repix(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "repix", *arguments]


def assert_private(seen: Seen, *, cache: str | None = None) -> None:
    assert seen.code == 0, seen.said
    assert seen.outside == [], seen.outside[:5]
    assert [name for name in seen.home if cache is None or not name.startswith(cache)] == [], seen.home[:10]


# Every way to run a network: name, what the command line is given, and the module without which there is none.
BACKENDS = [("onnxruntime", (), "onnxruntime"), ("openvino", ("--device", "openvino"), "openvino")]


@pytest.mark.parametrize("cache", ["on", "off"])
@pytest.mark.parametrize(("name", "options", "module"), BACKENDS, ids=[name for name, _, _ in BACKENDS])
def test_derain(photo_file: Path, tmp_path: Path, name: str, options: tuple[str, ...], module: str, cache: str) -> None:
    if importlib.util.find_spec(module) is None:  # an import in this process might do what the test looks for
        pytest.skip(f"{module} is not installed")
    from repix.infer import backends

    if name != "onnxruntime" and name not in getattr(backends, "DEVICES", ()):
        pytest.skip(f"this version has no backend {name}")
    environment = {"REPIX_CACHE": "off"} if cache == "off" else {}
    seen = watch(repix("derain", str(photo_file), *options), tmp_path, **environment)
    assert_private(seen, cache=None if cache == "off" else ".cache/repix/")
    assert "derained" in seen.said


def test_blend(photo_file: Path, tmp_path: Path) -> None:
    seen = watch(repix("blend", "photo.jpg", "--mode", "colour", "--polygon", "9,9 60,9 60,60"), tmp_path)
    assert_private(seen)


def test_python_without_the_command_line(photo_file: Path, tmp_path: Path) -> None:
    script = "import repix; r = repix.Restorer.from_pretrained('repixnet'); r(repix.read_image('photo.jpg').pixels)"
    assert_private(watch([sys.executable, "-c", script], tmp_path), cache=".cache/repix/")


def test_web_ui(photo_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    script = textwrap.dedent(
        """
        import re, signal, subprocess, sys, urllib.request
        page = subprocess.Popen(
            [sys.executable, "-m", "repix", "app", "--no-browser"], stdout=subprocess.PIPE, text=True
        )
        try:
            address = re.search(r"http://[^ ]+", page.stdout.readline())[0]
            assert b"repix" in urllib.request.urlopen(address, timeout=60).read()
            photo = open("photo.jpg", "rb").read()
            assert urllib.request.urlopen(address + "api/derain", photo, timeout=60).read()[:2] == photo[:2]
        finally:
            page.send_signal(signal.SIGTERM)
            page.wait(60)
        """
    )
    assert_private(watch([sys.executable, "-c", script], tmp_path), cache=".cache/repix/")


def test_training_and_export(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    (tmp_path / "photos").mkdir()
    for k in range(4):
        Image.fromarray(np.full((96, 128, 3), 50 * k, np.uint8)).save(tmp_path / "photos" / f"{k}.png")
    (tmp_path / "tiny.yaml").write_text(
        "name: tiny\nmodel: derainnet\ndata: {photos: photos, workers: 0, hold_out: 1}\n"
        "stages: [{steps: 2, batch: 2, patch: 48}]\nprecision: 32-true\nema_decay: 0\n"
    )
    assert_private(watch(repix("train", "tiny.yaml", "-o", "run"), tmp_path, REPIX_CACHE="off"))


def test_figures_of_inspect(photo_file: Path, tmp_path: Path) -> None:
    """matplotlib's list of fonts goes to the documented cache folder."""
    pytest.importorskip("matplotlib")
    seen = watch(repix("inspect", "photo.jpg", "--show", "rain"), tmp_path)
    assert_private(seen, cache=".cache/repix/")


def test_the_test_fails_without_the_variable(photo_file: Path, tmp_path: Path) -> None:
    """What `_environment` sets is what keeps onnxruntime silent: told otherwise, it leaves a device id."""
    import onnxruntime

    if tuple(int(part) for part in onnxruntime.__version__.split(".")[:2]) < (1, 29):
        pytest.skip("this onnxruntime has no telemetry on this system")
    seen = watch(repix("derain", str(photo_file)), tmp_path, ORT_DISABLE_TELEMETRY="0")
    assert seen.home != []
