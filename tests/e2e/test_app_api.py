"""`repix app` as a process of its own: the API in one call, and what it does not let through."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repix.infer.images import restore
from repix.infer.jobs import BatchOptions
from repix.infer.merge import merge
from repix.infer.restorer import Restorer
from repix.io.image import Picture, read_image, write_image
from repix.poisson.blend import blend
from running_app import Answer, Running, run
from tiny_weight import write_weight
from videos import frames_of, make_video, sound_of

pytest.importorskip("fastapi", reason="the web UI is not installed")
pytestmark = [pytest.mark.enable_socket, pytest.mark.skipif(sys.platform == "win32", reason="signals")]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "rainy.jpg"


@pytest.fixture(scope="module")
def weight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weight(tmp_path_factory.mktemp("weights"), "darken", multiple_of=8, tiling={"tile": 48, "overlap": 8})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weight: Path) -> Iterator[Running]:
    files = tmp_path_factory.mktemp("files")
    limits = ("--max-pixels", "2000000", "--max-upload", "3")
    with run(files, *limits, "--model", str(weight)) as running:
        yield running
    assert running.process.returncode == 0
    assert list(files.iterdir()) == [], "it left something behind"


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A 16-bit image with transparency and metadata, and a name that needs care."""
    path = tmp_path / "Häuser (2).png"
    y, x = np.mgrid[0:61, 0:83]
    pixels = np.stack([x * 700, y * 900, 50_000 - x * y], axis=2).astype(np.uint16)
    alpha = np.full(pixels.shape[:2], 40_000, np.uint16)
    write_image(path, Picture(pixels, alpha=alpha, metadata={"xmp-data": b"<xmp/>"}, bits=16))
    return path


# ---- a file in, a file out ----


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("number", range(4))
def test_the_documented_curl_lines_work(server: Running, tmp_path: Path, number: int) -> None:
    text = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
    lines = [line for line in re.findall(r"^curl .*", text, re.MULTILINE) if "-o " in line]
    assert lines[0] == "curl -F file=@photo.jpg http://127.0.0.1:7860/api/derain -o derained.jpg"
    assert len(lines) == 4
    for name in ("photo.jpg", "source.jpg", "target.jpg"):
        shutil.copy(EXAMPLE, tmp_path / name)
    make_video(tmp_path / "video.mp4", frames=5)
    line = lines[number].replace("http://127.0.0.1:7860", f"http://127.0.0.1:{server.port}")
    done = subprocess.run(["sh", "-eu", "-c", line.replace("curl ", "curl --fail -sS ", 1)], cwd=tmp_path)
    assert done.returncode == 0
    if number == 0:
        restore(EXAMPLE, tmp_path / "cli.jpg", options=BatchOptions(threads=1))
        assert (tmp_path / "derained.jpg").read_bytes() == (tmp_path / "cli.jpg").read_bytes()


def test_what_the_command_line_does_to_an_image(server: Running, wide: Path, weight: Path, tmp_path: Path) -> None:
    for query, options in (
        ("", {}),
        ("&strength=0.5", {"strength": 0.5}),
        ("&strength=auto", {"strength": "auto"}),
        ("&quality=best&format=tiff", {"quality": "best", "format": "tiff"}),
    ):
        answer = server.form(f"/api/derain?model=darken{query}", file=wide)
        folder = tmp_path / f"cli{query}"
        wanted = BatchOptions(model=weight, threads=1, **options)
        (made,) = restore(wide, folder, options=wanted).done[0].written
        assert answer.status == 200, answer.body
        assert answer.body == made.read_bytes()
        assert f"derained{made.suffix}" in answer.headers["content-disposition"]
    assert read_image(made).pixels.dtype == np.uint16
    beside = server.form("/api/derain?model=darken&compare=true", file=wide)
    (tmp_path / "beside.png").write_bytes(beside.body)
    assert read_image(tmp_path / "beside.png").pixels.shape == (61, 166, 3)


def test_a_raw_body_is_a_file_too(server: Running, wide: Path) -> None:
    form, raw = (
        server.form("/api/derain?model=darken", file=wide),
        server.ask("/api/derain?model=darken", wide.read_bytes()),
    )
    assert (raw.status, raw.body) == (200, form.body)
    assert raw.headers["content-type"] == "image/png"
    assert 'filename="file_derained.png"' in raw.headers["content-disposition"]


def test_a_video_keeps_its_sound(server: Running, tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", frames=6)
    answer = server.form("/api/derain?model=darken&deflicker=true&format=mkv", file=tmp_path / "clip.mp4")
    assert answer.status == 200, answer.body
    (tmp_path / "made.mkv").write_bytes(answer.body)
    assert sound_of(tmp_path / "made.mkv") == sound_of(tmp_path / "clip.mp4") != []


def test_a_video_without_a_model_is_that_of_the_command_line(server: Running, tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", frames=4)
    made = {}
    for query in ("", "?model=repixnet-video", "?model=repixnet"):
        answer = server.form(f"/api/derain{query}", file=tmp_path / "clip.mp4")
        assert answer.status == 200, answer.body
        (tmp_path / "made.mp4").write_bytes(answer.body)
        made[query] = np.stack(frames_of(tmp_path / "made.mp4"))
    restore(tmp_path / "clip.mp4", tmp_path / "cli.mp4", options=BatchOptions(threads=1))
    np.testing.assert_array_equal(made[""], np.stack(frames_of(tmp_path / "cli.mp4")))
    np.testing.assert_array_equal(made[""], made["?model=repixnet-video"])
    assert (made[""] != made["?model=repixnet"]).any()


def test_blending_translating_and_rain(server: Running, wide: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "s.png", tmp_path / "t.png"
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(2)]
    for path, pixels in zip((source, target), images, strict=True):
        write_image(path, pixels)
    answer = server.form("/api/blend?polygon=10,10+29,10+29,29+10,29&offset=5,7", source=source, target=target)
    assert answer.status == 200, answer.body
    (tmp_path / "b.png").write_bytes(answer.body)
    mask = np.zeros((60, 80), bool)
    mask[10:30, 10:30] = True
    expected, _ = blend(images[0], images[1], mask=mask, offset=(7, 5))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, expected)
    alone = server.form("/api/blend?mode=colour&gain=2,1,1&polygon=10,10+29,10+29,29", source=source)
    assert alone.status == 200, alone.body
    translated = server.form("/api/translate?model=facades-photo&format=png", file=source)
    assert (translated.status, translated.body[:4]) == (200, b"\x89PNG")
    drops = [server.form(f"/api/rain?seed={seed}", file=source).body for seed in (1, 1, 2)]
    assert drops[0] == drops[1] != drops[2]


def burst(paths: list[Path]) -> bytes:
    """A form with all of them as the field `file`."""
    body = b""
    for path in paths:
        head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
        body += head.encode() + path.read_bytes() + b"\r\n"
    return body + b"--edge--\r\n"


def test_a_burst_becomes_one_photo(server: Running, weight: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(60, 180, (8, 10, 3)).repeat(12, 0).repeat(12, 1)
    pixels = [(scene + 40 * (rng.random((96, 120, 1)) < 0.1)).astype(np.uint8) for _ in range(3)]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, one in zip(paths, pixels, strict=True):
        write_image(path, Picture(one, metadata={"xmp-data": b"<xmp/>"}))
    kind = "multipart/form-data; boundary=edge"
    answer = server.ask("/api/merge?model=darken&reference=3", burst(paths), Content_Type=kind)
    assert answer.status == 200, answer.body
    assert "2_merged.png" in answer.headers["content-disposition"]
    (tmp_path / "made.png").write_bytes(answer.body)
    made = read_image(tmp_path / "made.png")
    wanted = merge(pixels, reference=2, restorer=Restorer.from_pretrained(weight, "cpu", threads=1))
    np.testing.assert_array_equal(made.pixels, wanted.pixels)
    assert made.metadata["xmp-data"] == b"<xmp/>"
    one_photo = server.form("/api/merge", file=paths[0])
    assert one_photo.error == "0.png is one photo, and merge takes several: -F file=@1.jpg -F file=@2.jpg"
    answer = server.ask("/api/merge?reference=4", burst(paths), Content_Type=kind)
    assert (answer.status, answer.error) == (400, "reference 4: there are 3 frames")
    write_image(tmp_path / "large.png", np.zeros((1100, 1200, 3), np.uint8))
    answer = server.ask("/api/merge", burst([tmp_path / "large.png"] * 5), Content_Type=kind)
    assert (answer.status, answer.error) == (
        400,
        "5 photos of this size are too many; together they may have 6 megapixels",
    )


def test_it_says_what_there_is(server: Running) -> None:
    assert json.loads(server.ask("/health").body)["status"] == "ok"
    models = {one["name"]: one for one in json.loads(server.ask("/api/models").body)}
    assert models["repixnet"]["default"]
    assert models["darken"]["task"] == "derain"
    described = json.loads(server.ask("/openapi.json").body)
    paths = ["/health", "/api/models", "/api/derain", "/api/merge", "/api/rain", "/api/blend", "/api/translate"]
    assert list(described["paths"]) == paths
    body = described["paths"]["/api/derain"]["post"]["requestBody"]["content"]
    assert sorted(body) == ["application/octet-stream", "multipart/form-data"]
    page = server.ask("/docs")
    assert page.status == 200
    for path in paths:
        assert path in page.body.decode()
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page.body.decode()) == []


@pytest.mark.parametrize("path", ["/", "/health", "/static/page.js", "/docs"])
def test_what_is_there_can_be_asked_for_without_its_body(server: Running, path: str) -> None:
    whole, head = server.ask(path), server.ask(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))


def test_an_address_says_what_it_takes(server: Running) -> None:
    assert (server.ask("/api/derain").status, server.ask("/api/derain").headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("asked", "status"),
    [("bytes=9-5", 400), ("bytes", 400), ("chars=0-3", 400), ("bytes=", 400), ("bytes=999999999-", 416)],
)
def test_a_wrong_range_is_a_sentence(server: Running, asked: str, status: int) -> None:
    answer = server.ask("/static/rainy.jpg", Range=asked)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.error == f"Range is {asked!r}; expected bytes=FIRST-LAST inside of the file, such as bytes=0-1023"
    assert answer.headers.get("content-range") == (f"bytes */{EXAMPLE.stat().st_size}" if status == 416 else None)
    part = server.ask("/static/rainy.jpg", Range="bytes=5-9")
    assert (part.status, part.body) == (206, EXAMPLE.read_bytes()[5:10])


def test_a_preview_has_a_size(server: Running) -> None:
    answer = server.ask("/ui/files?name=a.jpg&side=0", EXAMPLE.read_bytes(), X_Repix_Session="2" * 32)
    assert (answer.status, answer.error) == (422, "side: input should be greater than or equal to 1, got '0'")
    answer = server.ask("/ui/rain", b'{"file"', X_Repix_Session="2" * 32, Content_Type="application/json")
    assert (answer.status, answer.error) == (422, "7: JSON decode error")


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("strength=4", 400, "strength must be between 0 and 1, or 'auto', got 4.0"),
        ("levels=x", 400, "levels must be 'auto' or powers of two such as 1,2,4, got 'x'"),
        ("quality=great", 400, "quality must be"),
        ("format=gif", 400, "cannot write 'gif' images"),
        ("model=../../weights", 404, "no model '../../weights' to derain with"),
        ("model=facades-photo", 404, "no model 'facades-photo' to derain with"),
        ("strenght=0.5", 400, "unknown option 'strenght'; did you mean 'strength'? (known: codec, compare"),
        ("crf=much", 422, "crf: input should be a valid number"),
        ("start=-1", 422, "start: input should be greater than or equal to 0"),
        ("quality=fast&quality=best", 400, "quality came twice, as 'fast' and 'best'; send it once"),
    ],
)
def test_wrong_options_are_a_sentence(server: Running, query: str, status: int, sentence: str) -> None:
    answer = server.form(f"/api/derain?{query}", file=EXAMPLE)
    assert answer.status == status
    assert answer.error.startswith(sentence)


def test_what_nobody_reads_is_not_dropped_without_a_word(server: Running) -> None:
    def field(name: str, value: bytes, file: str = "") -> bytes:
        name += f'"; filename="{file}' if file else ""
        return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"

    photo = field("file", EXAMPLE.read_bytes(), "a.jpg")
    for body, said in (
        (photo + field("strength", b"0.5"), "strength came in the form; options go into the address: ?strength=0.5"),
        (photo + field("more", b"1"), "nothing is sent as 'more'"),
        (photo + photo, "2 files came as 'file', one is taken"),
    ):
        answer = server.ask("/api/derain", body + b"--x--\r\n", content_type="multipart/form-data; boundary=x")
        assert (answer.status, answer.error[: len(said)]) == (400, said)
    assert server.left() == []


def test_wrong_files_are_a_sentence(server: Running, tmp_path: Path) -> None:
    broken, vast, text = tmp_path / "broken.jpg", tmp_path / "vast.png", tmp_path / "a.txt"
    broken.write_bytes(b"not an image")
    text.write_text("text")
    write_image(vast, np.zeros((1500, 1500, 3), np.uint8))
    for path, sentence in (
        (broken, "broken.jpg: not an image that repix reads"),
        (vast, "vast.png: 1500×1500 is 2.25 million pixels, more than the 2 million allowed"),
        (text, "a.txt: not an image or video that repix reads"),
    ):
        answer = server.form("/api/derain", file=path)
        assert answer.status == 400
        assert answer.error.startswith(sentence)
    assert server.form("/api/derain", other=EXAMPLE).error.startswith(
        "nothing is sent as 'other'; files are sent as -F fi"
    )
    assert server.ask("/api/derain", b"").error == "the file is empty (0 bytes)"
    assert server.ask("/api/nothing").status == 404
    assert "/docs lists what there is" in server.ask("/api/derain").error
    assert server.left() == []


def test_many_at_once_come_back_right_and_leave_nothing(server: Running, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (20 + k, 30, 3), np.uint8) for k in range(20)]
    for k, pixels in enumerate(images):
        write_image(tmp_path / f"{k}.png", pixels)
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda k: server.form("/api/derain?model=darken", file=tmp_path / f"{k}.png"), range(20))
        )
    for k, (answer, pixels) in enumerate(zip(answers, images, strict=True)):
        assert answer.status == 200
        (tmp_path / f"made{k}.png").write_bytes(answer.body)
        np.testing.assert_allclose(read_image(tmp_path / f"made{k}.png").pixels, pixels * 0.4, atol=1)
    end = time.monotonic() + 60
    while server.left() and time.monotonic() < end:
        time.sleep(0.05)
    assert server.left() == []


# ---- what is not let through ----


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "localhost.evil.example", "", "192.168.1.5", "[::2]"]
)
def test_a_foreign_host_is_refused(server: Running, host: str) -> None:
    for path in ("/", "/api/models", "/ui/config"):
        answer = server.ask(path, Host=host)
        assert answer.status in (400, 421)
        assert b"repixnet" not in answer.body


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:7860", "[::1]:80", "LOCALHOST:1"])
def test_this_machine_is_served(server: Running, host: str) -> None:
    assert server.ask("/health", Host=host).status == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}]
)
def test_a_foreign_page_is_refused(server: Running, headers: dict[str, str]) -> None:
    for path in ("/api/derain", "/ui/files?name=a.jpg", "/ui/close", "/api/blend"):
        answer = server.ask(path, EXAMPLE.read_bytes(), **headers)
        assert answer.status == 403
        assert "may not use repix" in answer.error
    own = f"http://127.0.0.1:{server.port}"
    assert server.ask("/api/derain?model=darken", EXAMPLE.read_bytes(), Origin=own).status == 200


def test_every_answer_has_the_headers(server: Running) -> None:
    for path in ("/", "/static/style.css", "/docs", "/nothing", "/api/models"):
        headers = server.ask(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/%2e%2e/pyproject.toml",
        "/static//etc/passwd",
        "/ui/files/..%2f..%2fetc%2fpasswd",
        "/ui/files/lock",
        "/../../etc/passwd",
        "/static/index.html%00.js",
    ],
)
def test_no_path_leads_out(server: Running, path: str) -> None:
    answer = server.ask(path)
    assert answer.status == 404
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


def test_nothing_is_fetched_for_a_client(server: Running, tmp_path: Path) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x.jpg"
        trap.settimeout(0.5)
        playlist = f"#EXTM3U\n#EXTINF:1,\n{url}\n".encode()
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'.encode()
        for name, content in (
            ("a.mp4", playlist),
            ("a.jpg", svg),
            ("a.m3u8", playlist),
            ("a.ts", playlist),
            ("a.svg", svg),
        ):
            (tmp_path / name).write_bytes(content)
            assert server.form("/api/derain", file=tmp_path / name).status == 400
        session = "0" * 32
        body = json.dumps({"kind": "derain", "file": url, "model": "darken"})
        assert server.ask("/ui/jobs", body, X_Repix_Session=session, Content_Type="application/json").status == 404
        with contextlib.suppress(TimeoutError):
            asked.append(trap.accept()[0].recv(100))
    assert asked == []


def test_what_is_too_large_is_refused_before_it_has_come(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(b"POST /api/derain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000000\r\n\r\n")
        assert b" 413 " in client.recv(1000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:  # which does not say how much
        client.sendall(b"POST /api/derain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(64):
                client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        assert b" 413 " in client.recv(1000)
    assert server.left() == []


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api/derain?name=ä HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /api/derain HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"POST /api/derain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000,
    ],
)
def test_what_is_no_request_is_told_in_json(server: Running, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(request_)
        head, _, body = b"".join(iter(lambda: client.recv(10_000), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\ncontent-type: application/json" in head.lower()
    assert b"\r\nx-content-type-options: nosniff" in head.lower()
    assert "this is no HTTP/1.1 request; it needs the header Host" in json.loads(body)["error"]


@contextlib.contextmanager
def _run_with(limits: str, tmp_path: Path) -> Iterator[Running]:
    """The app with smaller limits, which no option sets: statements on `guard`."""
    code = f"import repix.app.guard as guard, repix.cli, sys; {limits}; " + (
        "sys.argv = ['repix', 'app', '--no-browser', '--port', sys.argv[1]]; repix.cli.main()"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", code, str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield Running(port, tmp_path, process)
        finally:
            process.terminate()
            process.wait(60)


def test_too_many_connections_are_told_in_json(tmp_path: Path) -> None:
    with _run_with("guard.MOST_CONNECTIONS = 4", tmp_path) as server:
        others = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(3)]
        answer = server.ask("/health")
        assert (answer.status, answer.error) == (503, "4 connections are open already; try again later")
        for client in others:
            client.close()
        end = time.monotonic() + 60
        while server.ask("/health").status != 200 and time.monotonic() < end:
            time.sleep(0.05)
        assert server.ask("/health").status == 200


def test_what_a_client_does_wrong_is_not_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with run(tmp_path) as server:
        for request in (
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
                client.sendall(request)
                assert client.recv(10_000).startswith(b"HTTP/1.1 ")
    assert capfd.readouterr().err == "repix: the web UI has ended, its files are deleted\n"


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with run(tmp_path) as server:
        _break_off(server)
    assert capfd.readouterr().err == "repix: the web UI has ended, its files are deleted\n"  # no traceback


def _break_off(server: Running) -> None:
    for path in (b"/api/derain", b"/ui/files?name=a.jpg"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nX-Repix-Session: " + b"1" * 32
            client.sendall(head + b"\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
            time.sleep(0.3)
    end = time.monotonic() + 60
    while server.left() and time.monotonic() < end:
        time.sleep(0.05)
    assert server.left() == []
    assert server.ask("/health").status == 200


def test_slow_connections_are_closed_and_others_served(tmp_path: Path, weight: Path) -> None:
    limits = "guard.SLOW_SECONDS = 1.0; guard.Guard.__init__.__kwdefaults__['slow_seconds'] = 1.0"
    with _run_with(limits, tmp_path) as server:
        slow = []
        for k in range(200):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            if k < 100:
                client.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            else:
                client.sendall(b"POST /api/derain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
            slow.append(client)
        assert server.ask("/health").status == 200
        assert slow[0].recv(1000) == b""
        assert b" 408 " in slow[150].recv(1000)
        for client in slow:
            client.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence(tmp_path: Path, weight: Path, wide: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    with run(files, "--model", str(weight), before="ulimit -f 16") as server:  # no file over 16 KB, as on a full disk
        for answer in (
            server.ask("/api/derain", EXAMPLE.read_bytes()),
            server.form("/api/derain", file=EXAMPLE),
            server.ask("/ui/files?name=a.jpg", EXAMPLE.read_bytes(), X_Repix_Session="2" * 32),
        ):
            assert (answer.status, answer.error) == (507, "the disk is full")
        assert server.left() == []
        small = Picture(np.zeros((9, 9, 3), np.uint8))
        write_image(tmp_path / "small.png", small)
        assert server.form("/api/derain?model=darken", file=tmp_path / "small.png").status == 200
    with run(files, "--max-disk", "0.1") as server:
        answer = server.ask("/api/derain", EXAMPLE.read_bytes())
        assert answer.status == 507
        assert answer.error.startswith("there is no room for another file")


# ---- starting and ending ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_end_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    with run(tmp_path) as server:
        server.ask("/ui/files?name=a.jpg", EXAMPLE.read_bytes(), X_Repix_Session="3" * 32)
        assert server.left() != []
        server.process.send_signal(number)
        server.process.wait(60)
    assert list(tmp_path.iterdir()) == []


def test_an_end_while_a_network_runs_is_clean(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An engine that computes while Python ends takes the process down."""
    files, photo = tmp_path / "files", tmp_path / "photo.png"
    files.mkdir()
    write_image(photo, np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8))
    with run(files) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, "/api/derain", photo.read_bytes())
        end = time.monotonic() + 60
        while json.loads(server.ask("/health").body)["jobs"] == 0:
            assert time.monotonic() < end
        time.sleep(0.5)
        server.process.terminate()
        assert server.process.wait(60) in (0, 143)  # by force where the network takes longer than the grace
        assert asked.result(60).error == "cancelled"
    said = capfd.readouterr().err
    assert said in ("repix: the web UI has ended, its files are deleted\n", "repix: stopped\n")
    assert list(files.iterdir()) == []


def test_a_reverse_proxy_finds_it_under_its_path(tmp_path: Path) -> None:
    with run(tmp_path, "--root-path", "/rain", "--allow-host", "photos.example") as server:
        for path in ("/", "/rain/", "/rain/health", "/health", "/rain/static/main.js"):  # with and without the path
            assert server.ask(path, Host="photos.example").status == 200
        assert json.loads(server.ask("/openapi.json").body)["servers"] == [{"url": "/rain"}]
        post = server.ask("/api/derain", b"x", Host="127.0.0.1:1", Origin="https://photos.example")
        assert post.status == 400  # it is looked at
        assert server.ask("/", Host="other.example").status == 421


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "nowhere.invalid"], "--host nowhere.invalid is no address of this machine"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 is no address of this machine"),
        (["--host", "not an address"], "--host not an address is no address of this machine"),
    ],
)
def test_a_wrong_host_ends_at_once_in_plain_words(arguments: list[str], sentence: str) -> None:
    command = [sys.executable, "-m", "repix", "app", "--no-browser", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "repix", "app", "--no-browser", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "is in use, perhaps by another repix; choose another --port" in done.stderr


# ---- the page's own requests ----


def jobs(server: Running, session: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.ask("/ui/jobs", X_Repix_Session=session).body)
    return found


def send(server: Running, session: str, path: str, **asked: Any) -> Answer:
    return server.ask(path, json.dumps(asked), X_Repix_Session=session, Content_Type="application/json")


def test_one_session_does_not_see_or_cancel_anothers_jobs(server: Running) -> None:
    me, you = "4" * 32, "5" * 32
    up = json.loads(server.ask("/ui/files?name=a.jpg", EXAMPLE.read_bytes(), X_Repix_Session=me).body)
    job = json.loads(send(server, me, "/ui/jobs", kind="derain", file=up["id"], model="darken").body)["id"]
    assert jobs(server, you) == {}
    send(server, you, "/ui/cancel", jobs=[job])
    end = time.monotonic() + 60
    while jobs(server, me)[job]["state"] != "done":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert send(server, you, "/ui/download", jobs=[job]).status == 404
    made = json.loads(send(server, me, "/ui/download", jobs=[job]).body)
    assert made["name"] == "a_derained.jpg"
    assert server.ask(f"/{made['url']}?download=true").status == 200
    server.ask("/ui/close", b"", X_Repix_Session=me)
    assert server.ask(f"/{made['url']}").status == 404
    server.ask("/ui/close", b"", X_Repix_Session=you)


@pytest.mark.timeout(600)
def test_a_batch_that_takes_longer_than_keep_loses_nothing(tmp_path: Path) -> None:
    session, names = "6" * 32, []
    with run(tmp_path, "--keep", "0.05") as server:  # 3 s
        begun = time.monotonic()
        for k in range(10):  # half a second each on a fast machine
            up = server.ask(f"/ui/files?name={k}.jpg", EXAMPLE.read_bytes(), X_Repix_Session=session)
            asked = send(
                server,
                session,
                "/ui/jobs",
                kind="derain",
                file=json.loads(up.body)["id"],
                model="repixnet",
                quality="best",
            )
            names.append(json.loads(asked.body)["id"])
        end, states = time.monotonic() + 500, {"": {"state": "waiting"}}
        while not all(state["state"] == "done" for state in states.values()):
            assert time.monotonic() < end
            time.sleep(0.3)
            states = jobs(server, session)
        assert time.monotonic() - begun > 3
        assert sorted(states) == sorted(names)
        made = json.loads(send(server, session, "/ui/download", jobs=names, strength=0.5).body)
        assert made["name"] == "derained.zip"
        assert server.ask(f"/{made['url']}").body[:2] == b"PK"
        end = time.monotonic() + 60
        while server.left():
            assert time.monotonic() < end, "nobody asks any more, and it is still there"
            time.sleep(0.2)


def test_cancel_acts_within_a_second(tmp_path: Path) -> None:
    session = "7" * 32
    image = tmp_path / "large.jpg"
    write_image(image, np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8))
    files = tmp_path / "files"
    files.mkdir()
    with run(files) as server:
        up = server.ask("/ui/files?name=large.jpg", image.read_bytes(), X_Repix_Session=session)
        ids = []
        for _ in range(3):
            asked = send(server, session, "/ui/jobs", kind="derain", file=json.loads(up.body)["id"], model="repixnet")
            ids.append(json.loads(asked.body)["id"])
        end = time.monotonic() + 60
        while jobs(server, session)[ids[0]]["state"] != "running":
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.5)
        begun = time.monotonic()
        told = json.loads(send(server, session, "/ui/cancel", jobs=ids).body)
        assert time.monotonic() - begun < 5  # a second where nothing else runs; the three jobs take far longer
        assert {state["state"] for state in told.values()} == {"cancelled"}
        assert all("error" not in state for state in told.values())


def test_uploads_do_not_wait_for_each_other(server: Running) -> None:
    """A source that comes slowly does not hold up, and does not take the place of, a target that comes at once."""
    session, body, begun, other_is_there = "8" * 32, EXAMPLE.read_bytes(), threading.Event(), threading.Event()

    def slowly() -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            head = f"POST /ui/files?name=slow.jpg HTTP/1.1\r\nHost: localhost\r\nX-Repix-Session: {session}\r\n"
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:1000])
            begun.set()
            assert other_is_there.wait(60)
            client.sendall(body[1000:])
            assert b" 200 " in client.recv(100)

    thread = threading.Thread(target=slowly)
    thread.start()
    assert begun.wait(60)
    fast = json.loads(server.ask("/ui/files?name=fast.jpg", body, X_Repix_Session=session).body)
    other_is_there.set()
    thread.join()
    assert fast["name"] == "fast.jpg"
    server.ask("/ui/close", b"", X_Repix_Session=session)
