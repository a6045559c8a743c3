"""`repix app` as a process of its own, asked by HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


def until(say: Callable[[], Any], seconds: float = 60) -> Any:
    """What `say` gives, once it is something."""
    end = time.monotonic() + seconds
    while not (value := say()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


class Answer(NamedTuple):
    """An HTTP answer; names of headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def error(self) -> str:
        """The one sentence of an error."""
        said = json.loads(self.body)
        assert list(said) == ["error"]
        assert "\n" not in said["error"]
        assert "Traceback" not in said["error"]
        return str(said["error"])


class Running(NamedTuple):
    """A web UI that runs: its port, the folder for its files, its process."""

    port: int
    files: Path
    process: subprocess.Popen[str]

    def ask(self, path: str, body: Any = None, *, method: str = "", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
        answer = connection.getresponse()
        read = Answer(answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()})
        connection.close()
        return read

    def form(self, path: str, **files: Path) -> Answer:
        edge = "edge-of-a-part"
        body = b""
        for field, file in files.items():
            head = f'--{edge}\r\nContent-Disposition: form-data; name="{field}"; filename="{file.name}"\r\n\r\n'
            body += head.encode() + file.read_bytes() + b"\r\n"
        body += f"--{edge}--\r\n".encode()
        return self.ask(path, body, Content_Type=f"multipart/form-data; boundary={edge}")

    def left(self) -> list[Path]:
        """Its files, but for the lock. It may delete folders meanwhile, which `os.walk` passes over."""
        return [Path(folder, name) for folder, _, names in os.walk(self.files) for name in names if name != "lock"]


@contextlib.contextmanager
def run(files: Path, *arguments: str, before: str = "") -> Iterator[Running]:
    command = [sys.executable, "-m", "repix", "app", "--no-browser", "--threads", "1", *arguments]
    if before:
        command = ["bash", "-c", f"{before}; exec " + " ".join(f"'{part}'" for part in command)]
    variables = {**os.environ, "TMPDIR": str(files), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.match(r"repix is at http://[^/]+:(\d+)/", process.stdout.readline())
        assert found is not None
        try:
            yield Running(int(found[1]), files, process)
        finally:
            process.terminate()
            process.wait(30)
