"""What stands before every route: who may ask (Host, Origin), how much and how slowly, and headers of every answer."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from repix.app.server import is_logged

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SLOW_SECONDS = 30.0
"""So long a connection may send nothing of its request before it is closed."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


MOST_CONNECTIONS = 512
"""So many connections at once are answered."""

NO_REQUEST = "this is no HTTP/1.1 request; it needs the header Host, and an address in ASCII (else %XX) without spaces"


def refuse(status: int, sentence: str) -> JSONResponse:
    """An error as every route says it."""
    return JSONResponse({"error": sentence}, status, headers={"Retry-After": "10"} if status == 503 else None)


class Guard:
    """Middleware. A page of a foreign site must not use a browser to reach repix: neither under a name of its own that
    leads to this machine (DNS rebinding), nor by requests across sites.

    Args:
        app: what is guarded.
        host: the address that is listened on.
        names: further names by which it may be asked for, as behind a reverse proxy.
        max_bytes: of a request's body.
        slow_seconds: see `SLOW_SECONDS`.
    """

    def __init__(
        self, app: Any, *, host: str, names: Iterable[str], max_bytes: int, slow_seconds: float = SLOW_SECONDS
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.slow_seconds = slow_seconds
        self._local = is_loopback(host)
        own = socket.gethostname().lower()
        mine = {"localhost"} if self._local else {"localhost", host.lower(), own, f"{own}.local", socket.getfqdn()}
        self._allowed = {name.lower() for name in names}
        self._names = mine | self._allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen, finished = 0, False

        async def receive_some() -> MutableMapping[str, Any]:
            nonlocal seen, finished
            if finished:  # what comes now tells of the client's leaving
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.slow_seconds)
            except TimeoutError:
                raise HTTPException(408, f"nothing came for {self.slow_seconds:g} seconds; send it again") from None
            finished = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                raise HTTPException(413, self._too_large())
            return message

        async def send_more(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        send_all = _in_json(scope, receive, send_more)
        answer = self._refusal(scope["method"], Headers(scope=scope))
        if scope["method"] == "HEAD":  # every address that takes GET takes HEAD; the server leaves the body out
            scope = {**scope, "method": "GET"}
        try:
            await (self.app if answer is None else answer)(scope, receive_some, send_all)
        except Exception as error:
            if not is_logged(error):  # what is, has been answered too; uvicorn would log it a second time
                raise

    def _refusal(self, method: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if not self._is_mine(host):
            return refuse(421, f"repix is not to be found under {host!r}; a name is allowed by --allow-host")
        if method not in ("GET", "HEAD", "OPTIONS"):
            origin = headers.get("origin")
            there = (origin or "").partition("://")[2].lower()
            foreign = origin is not None and there != host.lower() and _without_port(there) not in self._allowed
            if foreign or headers.get("sec-fetch-site") == "cross-site":
                return refuse(403, f"a page of {origin} may not use repix")
        if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > self.max_bytes:
            return refuse(413, self._too_large())
        return None

    def _too_large(self) -> str:
        return f"this is too large; at most {self.max_bytes / 2**20:g} MB are taken (--max-upload)"

    def _is_mine(self, host: str) -> bool:
        name = _without_port(host)
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)  # no name that somebody else could let lead here
        except ValueError:
            return False
        return address.is_loopback if self._local else True


def _in_json(scope: Scope, receive: Receive, send: Send) -> Send:
    """`send`, for an application whose errors are JSON but for Starlette's own, which are of a Range."""
    plain: MutableMapping[str, Any] | None = None

    async def send_json(message: MutableMapping[str, Any]) -> None:
        nonlocal plain
        is_error = message["type"] == "http.response.start" and message["status"] in (400, 416)
        if is_error and Headers(scope=message).get("content-type", "").startswith("text/plain"):
            plain = message  # its body comes with the next one
            return
        if plain is None:
            await send(message)
            return
        got = Headers(scope=scope).get("range", "")[:100]
        sentence = f"Range is {got!r}; expected bytes=FIRST-LAST inside of the file, such as bytes=0-1023"
        answer = refuse(plain["status"], sentence)
        where = Headers(scope=plain).get("content-range")  # how long the file is
        if where is not None:
            answer.headers["content-range"] = where
        await answer(scope, receive, send)

    return send_json


def _without_port(host: str) -> str:
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    answer = refuse(503, f"{MOST_CONNECTIONS} connections are open already; try again later")
    answer.headers.update({**HEADERS, "Connection": "close"})
    await answer(scope, receive, send)


def _as_bytes(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes connections which do not say in time what they want, for which uvicorn waits for ever; and
    whose own errors, before any route is asked, are JSON as those of the routes are."""

    _slow: Any = None
    _served: Any = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._served = self._served or self.app
        is_full = max(len(self.connections), len(self.tasks)) >= MOST_CONNECTIONS
        self.app = _full if is_full else self._served
        super().data_received(data)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, in JSON; where an answer has begun, it breaks off."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = refuse(400, NO_REQUEST)
            headers = [*answer.raw_headers, *_as_bytes(HEADERS), (b"connection", b"close")]
            begin = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (begin, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        if self._slow is not None:
            self._slow.cancel()

    def _watch(self) -> None:
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked and self._slow is not None:
            self._slow.cancel()
            self._slow = None
        elif not asked and self._slow is None:
            self._slow = self.loop.call_later(SLOW_SECONDS, self._close_if_waiting)

    def _close_if_waiting(self) -> None:
        self._slow = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
