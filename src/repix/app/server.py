"""What every tab of the web UI needs: limits, models loaded once, a folder that is emptied, errors as messages."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import quote

import gradio as gr
import numpy as np

from repix.errors import InputError, RepixError, WeightsError, did_you_mean
from repix.infer.restorer import Restorer
from repix.io.image import Picture, read_image, resize, to_8_bits, write_image
from repix.tasks import Task
from repix.weights import ModelCard, find_card, list_cards

NETWORK = "network"
"""Queue of everything that runs a network: one at a time, which already uses all cores."""

PROGRESS = gr.Progress()
"""As a handler's default argument: gradio puts the bar of the event that runs in its place."""

_log = logging.getLogger("repix.app")
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Options:
    """How the web UI is run.

    Attributes:
        models: folders of one's own models, offered beside the shipped ones.
        device: `auto`, `cpu`, `cuda`, `coreml` or `directml`.
        threads: threads on the CPU; None takes what the process may use.
        max_pixels: larger images and video frames are refused from their header.
        max_megabytes: larger uploads are refused.
        keep_minutes: uploads and results are deleted when they are this old.
    """

    models: tuple[str, ...] = ()
    device: str = "auto"
    threads: int | None = None
    max_pixels: int = 100_000_000
    max_megabytes: float = 500
    keep_minutes: float = 60


class StoppedError(RepixError):
    """The user pressed Cancel, or closed the window."""


class Server:
    """Models and files of one running web UI.

    Args:
        options: how it is run.
        folder: everything uploaded and made lies in it; the caller deletes it in the end.

    Raises:
        WeightsError: a folder in `options.models` is not a model.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.cards: dict[str, ModelCard] = {card.name: card for card in list_cards()}
        self._paths: dict[str, str] = {name: name for name in self.cards}
        for model in options.models:
            card, where = find_card(model)
            name = card.name if card.name not in self.cards else str(where)
            self.cards[name], self._paths[name] = card, str(where)
        self._restorer = functools.lru_cache(maxsize=4)(self._load)
        self._stops: dict[str, threading.Event] = {}
        self._names: dict[str, str] = {}

    def models(self, task: Task) -> list[str]:
        """Names of the models that are made for a task."""
        return [name for name, card in self.cards.items() if card.task is task]

    def restorer(self, name: str, task: Task) -> Restorer:
        """A model, loaded once. Only those that are offered: a path that a client sends is not looked at.

        Raises:
            WeightsError: not offered, or made for another task.
        """
        known = self.models(task)
        if name not in known:
            offered = ", ".join(known) or f"no model that can {task.verb} is installed"
            raise WeightsError(
                f"no model {name!r} to {task.verb} with{did_you_mean(name, known)} (there is: {offered})"
            )
        return self._restorer(name)

    def _load(self, name: str) -> Restorer:
        return Restorer.from_pretrained(self._paths[name], self.options.device, threads=self.options.threads)

    def new_folder(self) -> Path:
        """A fresh folder for results, in which names need not be changed."""
        return Path(tempfile.mkdtemp(prefix="repix-", dir=self.folder))

    def name(self, path: str) -> str:
        """A name for a file, by which the browser that was told it, and no other, can ask for it again."""
        name = secrets.token_urlsafe(16)
        self._names[name] = path
        return name

    def named(self, name: str) -> str:
        """The file of a name.

        Raises:
            InputError: nobody was told this name, or its file has been deleted since.
        """
        path = self._names.get(name, "")
        if not os.path.isfile(path):
            raise InputError("this image has been deleted in the meantime; choose it again")
        return path

    def read(self, path: str | Path) -> Picture:
        """An image within the limit on pixels."""
        return read_image(path, max_pixels=self.options.max_pixels)

    def preview(self, image: Picture, *, largest: int | None = None) -> Path:
        """A copy that every browser shows: 8 bit, JPEG, or WebP where there is transparency.

        Args:
            image: what to show.
            largest: scale it down to this many pixels a side; None keeps the full size.
        """
        pixels, alpha = image.pixels, image.alpha
        step = 1 if largest is None else -(-max(pixels.shape[:2]) // largest)
        if step > 1:
            size = (max(1, pixels.shape[0] // step), max(1, pixels.shape[1] // step))
            pixels, alpha = (
                resize(pixels, size),
                None if alpha is None else resize(alpha[..., None], size).reshape(size),
            )
        if pixels.dtype == np.uint16:
            pixels, alpha = to_8_bits(pixels), None if alpha is None else to_8_bits(alpha)
        profile = {name: value for name, value in image.metadata.items() if name == "icc-profile-data"}
        path = self.new_folder() / ("preview.jpg" if alpha is None else "preview.webp")
        write_image(path, replace(image, pixels=pixels, alpha=alpha, metadata=profile))
        return path

    def url(self, path: Path) -> str:
        """Where the browser finds a file of the folder."""
        return f"gradio_api/file={quote(path.as_posix())}"

    @contextlib.contextmanager
    def cancellable(self, session: str | None) -> Iterator[Callable[[], None]]:
        """Around work that `stop` can end; gives what the work calls now and then, which raises `StoppedError`."""
        event = self._stops.setdefault(session or "", threading.Event())

        def check() -> None:
            if event.is_set():
                raise StoppedError("cancelled; nothing was written")

        try:
            yield check
        finally:
            if self._stops.get(session or "") is event:
                del self._stops[session or ""]

    def stop(self, session: str | None) -> None:
        """Cancel what a session has under way."""
        event = self._stops.pop(session or "", None)
        if event is not None:
            event.set()

    def stop_session(self, request: gr.Request) -> None:
        """`stop`, as the handler of a Cancel button or of a window that is closed."""
        self.stop(request.session_hash)

    def sweep(self) -> None:
        """Delete what is older than `keep_minutes`."""
        oldest = time.time() - 60 * self.options.keep_minutes
        for path in sorted(self.folder.rglob("*"), reverse=True):  # files before their folders
            try:
                if path.stat().st_mtime < oldest:
                    path.rmdir() if path.is_dir() else path.unlink()
            except OSError:  # gone already, in use (Windows), or a folder that still holds something
                continue
        for name, file in list(self._names.items()):
            if not os.path.isfile(file):
                del self._names[name]

    def sweep_while(self, running: threading.Event) -> None:
        """`sweep` again and again until `running` is cleared; for a thread of its own."""
        while running.is_set():
            time.sleep(min(60.0, max(0.2, 15 * self.options.keep_minutes)))
            self.sweep()

    def one_line(self, error: Exception) -> str:
        """What the user reads about an error: no traceback, and no path of the server's folder."""
        if isinstance(error, RepixError):
            text = str(error)
        elif isinstance(error, MemoryError):
            text = "out of memory; try a smaller image"
        else:
            _log.error("unexpected error", exc_info=error)
            text = f"something unexpected went wrong ({type(error).__name__}); the terminal tells more"
        inside = re.escape(str(self.folder)) + r"[/\\](?:[^/\\:]+[/\\])*"
        return re.sub(inside, "", text)

    def shown(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorator for event handlers: errors reach the browser as one line."""

        @functools.wraps(function)
        def handler(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except gr.Error:
                raise
            except Exception as error:
                raise gr.Error(self.one_line(error), title="Sorry", print_exception=False) from None

        return handler


def present(value: str | None, what: str) -> str:
    """A value that must have been given.

    Raises:
        InputError: it has not.
    """
    if not value:
        raise InputError(f"there is no {what} yet; choose one first")
    return value


def save_zip(files: list[Path], path: Path) -> Path:
    """Files in one archive, under their names; a name that comes again gets a number."""
    import zipfile

    taken: set[str] = set()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # images are compressed already
        for file in files:
            name, number = file.name, 2
            while name.lower() in taken:
                name, number = f"{file.stem}-{number}{file.suffix}", number + 1
            taken.add(name.lower())
            archive.write(file, name)
    return path
