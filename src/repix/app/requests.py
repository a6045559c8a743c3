"""Requests that bring files, and answers that are files."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.responses import FileResponse

from repix.app.files import safe_name
from repix.app.queue import Job, JobQueue
from repix.app.server import MAX_WAITING, Server
from repix.errors import BackendError, InputError, did_you_mean
from repix.io.formats import HEAD

_WATCH_SECONDS = 0.5  # how often a waiting call looks whether its client is still there


class BusyError(BackendError):
    """Too many calls wait already."""


def server_of(request: Request) -> Server:
    """What every route works with."""
    server: Server = request.app.state.server
    return server


Served = Annotated[Server, Depends(server_of)]


async def finished(request: Request, queue: JobQueue, job: Job) -> Any:
    """The result of a job; one whose client has left is cancelled."""
    future = asyncio.wrap_future(job.future)
    while not (await asyncio.wait({future}, timeout=_WATCH_SECONDS))[0]:
        if await request.is_disconnected():
            queue.cancel(job)
    return future.result()


async def check_room(request: Request, *, times: int = 1) -> None:
    """Refuse a body for whose bytes, so many times, the disk has no room."""
    length = request.headers.get("content-length", "0")
    await run_in_threadpool(server_of(request).store.check_room, times * int(length) if length.isdigit() else 0)


async def save_body(request: Request, path: Path) -> None:
    """Write a raw body to a file; nothing is left where it does not arrive whole."""
    await check_room(request)
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def named(path: Path, name: str) -> Path:
    """An uploaded file, under a name that suits what it holds."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise InputError(f"{name}: the file is empty (0 bytes)" if name else "the file is empty (0 bytes)")
    return path.rename(path.with_name(safe_name(name, head)))


def _refuse_unread(asked: Iterable[tuple[str, str]], known: Sequence[str]) -> None:
    """Options that nothing reads would be dropped without a word: the misspelt ones, and all but one of a name."""
    values: dict[str, str] = {}
    for name, value in asked:
        if values.setdefault(name, value) != value:
            raise InputError(f"{name} came twice, as {values[name]!r} and {value!r}; send it once")
        if name not in known:
            raise InputError(f"unknown option {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})")


def _refuse_unasked(form: FormData, fields: tuple[str, ...], known: Sequence[str], *, most: int) -> None:
    """What a form holds beside the files that are asked for; options in it would be dropped without a word."""
    for field, value in form.multi_items():
        if field in known and not isinstance(value, UploadFile):
            raise InputError(f"{field} came in the form; options go into the address: ?{field}={value}")
        if field not in fields:
            files = " ".join(f"-F {name}=@FILE" for name in fields)
            raise InputError(f"nothing is sent as {field!r}; files are sent as {files}, options in the address")
    for field in fields:
        if not most and len(form.getlist(field)) > 1:
            raise InputError(f"{len(form.getlist(field))} files came as {field!r}, one is taken; send one in a call")


@asynccontextmanager
async def taken(
    request: Request, fields: tuple[str, ...], name: str, *, most: int = 0
) -> AsyncIterator[tuple[Path, list[Path | None]]]:
    """A folder and the files of a request in it: one of each field, or up to `most` of the first. If all goes well,
    the answer deletes the folder."""
    known = sorted(option.alias for option in request.scope["route"].dependant.query_params)
    _refuse_unread(request.query_params.multi_items(), known)
    folder = server_of(request).store.new_folder()
    try:
        files: list[Path | None] = []
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            await check_room(request, times=2)  # as it arrives, and in the folder
            async with request.form(max_files=max(most, 8), max_fields=32) as form:
                _refuse_unasked(form, fields, known, most=most)
                parts: list[Any] = [form.get(field) for field in fields]
                if most:
                    parts = form.getlist(fields[0]) or parts
                for number, sent in enumerate(parts):
                    if not isinstance(sent, UploadFile):
                        files.append(None)
                        continue
                    path = folder / str(number) / "upload"
                    path.parent.mkdir()
                    await run_in_threadpool(_copy, sent, path)
                    files.append(await run_in_threadpool(named, path, name or sent.filename or ""))
        else:
            path = folder / "upload"
            await save_body(request, path)
            files = [await run_in_threadpool(named, path, name), *(None for _ in fields[1:])]
        if files[0] is None:
            raise InputError(f"no file came; send it as the field {fields[0]!r} of a form: -F {fields[0]}=@FILE")
        yield folder, files
    except BaseException:
        await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
        raise


async def answer(
    request: Request, queue: JobQueue, folder: Path, work: Callable[[Job], tuple[Path, tuple[str, ...]]]
) -> FileResponse:
    """The file that a job makes, with what is to be said of it; `folder` goes once it has been sent."""
    if len(queue) >= MAX_WAITING:
        raise BusyError(f"{len(queue)} calls wait already; try again later")
    path, notes = await finished(request, queue, queue.submit(work))
    headers = {"Repix-Notes": json.dumps(notes)} if notes else {}
    clean = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, headers=headers, background=clean)


def _copy(sent: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(sent.file, file, 2**20)
