"""What every part of the web UI and the API needs: limits, models loaded once, queues, files, errors as one line."""

from __future__ import annotations

import copy
import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from repix._types import Floats
from repix.app.files import Store, is_full
from repix.app.queue import JobQueue
from repix.errors import InputError, RepixError, WeightsError, did_you_mean
from repix.infer.pyramid import Levels
from repix.infer.restorer import Quality, Restorer
from repix.io.image import Picture, read_image, resize, to_8_bits, write_image
from repix.tasks import Task
from repix.weights import DEFAULT_MODEL, ModelCard, find_card, list_cards

MAX_WAITING = 64
"""Calls of the API that may wait for the network; the next is told to come back later."""

_READING = 2  # images that are decoded for previews at once

_LOGGED = "_repix_logged"  # an attribute of an error

_log = logging.getLogger("repix.app")


@dataclass(frozen=True)
class Options:
    """How the web UI is run.

    Attributes:
        models: folders of one's own models, offered beside the shipped ones.
        device: see `Restorer.from_pretrained`.
        threads: threads on the CPU; None takes what the process may use.
        max_pixels: larger images and video frames are refused from their header.
        max_megabytes: larger uploads are refused.
        max_disk_megabytes: all files together; an upload beyond it is refused.
        keep_minutes: files of a window that has not been heard of for this long are deleted.
    """

    models: tuple[str, ...] = ()
    device: str = "auto"
    threads: int | None = None
    max_pixels: int = 100_000_000
    max_megabytes: float = 500
    max_disk_megabytes: float = 10_000
    keep_minutes: float = 60


class Server:
    """Models, queues and files of one running web UI.

    Args:
        options: how it is run.
        folder: everything uploaded and made lies in it; the caller deletes it in the end.

    Attributes:
        network: everything that runs a network, which already uses all cores: one at a time.
        solves: blending, one at a time.
        reading: images that are decoded for previews, a few at a time.

    Raises:
        WeightsError: a folder in `options.models` is not a model.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self.options = options
        self.store = Store(folder, max_bytes=options.max_disk_megabytes * 2**20, keep_seconds=60 * options.keep_minutes)
        self.network, self.solves = JobQueue(), JobQueue()
        self.reading = anyio.CapacityLimiter(_READING)
        self.cards: dict[str, ModelCard] = {card.name: card for card in list_cards()}
        self._paths: dict[str, str] = {name: name for name in self.cards}
        for model in options.models:
            card, where = find_card(model)
            name = card.name if card.name not in self.cards else str(where)
            self.cards[name], self._paths[name] = card, str(where)
        self._restorer = functools.lru_cache(maxsize=4)(self._load)

    def models(self, task: Task) -> list[str]:
        """Names of the models that are made for a task."""
        return [name for name, card in self.cards.items() if card.task is task]

    def default(self, task: Task) -> str:
        """The model of a task where none is named; there must be one."""
        names = self.models(task)
        return DEFAULT_MODEL if DEFAULT_MODEL in names else names[0]

    def restorer(
        self,
        name: str,
        task: Task,
        *,
        quality: Quality = "fast",
        levels: Levels = "auto",
        check: Callable[[], None] | None = None,
    ) -> Restorer:
        """A model, loaded once. Only those that are offered: a path that a client sends is not looked at.

        Args:
            name: of the model.
            task: what it must be made for.
            quality, levels: as for `Restorer`.
            check: called before every run of the network; what it raises ends the work.

        Raises:
            WeightsError: not offered, or made for another task.
            InputError: a quality or levels that the model does not have.
        """
        known = self.models(task)
        if name not in known:
            offered = ", ".join(known) or f"no model that can {task.verb} is installed"
            raise WeightsError(
                f"no model {name!r} to {task.verb} with{did_you_mean(name, known)} (there is: {offered})"
            )
        restorer = self._restorer(name, quality, levels)
        if check is not None:
            restorer = copy.copy(restorer)
            restorer.backend = _Checked(restorer.backend, check)
        return restorer

    def _load(self, name: str, quality: Quality, levels: Levels) -> Restorer:
        return Restorer.from_pretrained(
            self._paths[name], self.options.device, threads=self.options.threads, quality=quality, levels=levels
        )

    def read(self, path: str | Path) -> Picture:
        """An image within the limit on pixels."""
        return read_image(path, max_pixels=self.options.max_pixels)

    def one_line(self, error: BaseException) -> str:
        """What the user reads about an error: no traceback, and no path of the server's folder."""
        if is_full(error):
            text = str(error) if isinstance(error, RepixError) else "the disk is full"
        elif isinstance(error, RepixError):
            text = str(error)
        elif isinstance(error, MemoryError):
            text = "out of memory; try a smaller image"
        else:
            if not is_logged(error):
                _log.error("unexpected error", exc_info=error)
                setattr(error, _LOGGED, True)
            text = f"something unexpected went wrong ({type(error).__name__}); the terminal tells more"
        inside = re.escape(str(self.store.folder)) + r"[/\\](?:[^/\\:]+[/\\])*"
        return " ".join(re.sub(inside, "", text).split())


def is_logged(error: BaseException) -> bool:
    """Whether `Server.one_line` has logged an error: once is enough, however often it is asked for or raised."""
    return bool(getattr(error, _LOGGED, False))


class _Checked:
    """A backend that asks before every run whether it may go on."""

    def __init__(self, backend: Any, check: Callable[[], None]) -> None:
        self._backend, self._check = backend, check

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        self._check()
        ran: tuple[Floats, tuple[Floats, ...]] = self._backend.run(x, state)
        return ran

    def parallel(self) -> tuple[_Checked, int]:
        backend, calls = self._backend.parallel()
        return _Checked(backend, self._check), calls


def save_preview(image: Picture, folder: Path, *, max_side: int) -> Path:
    """A copy that every browser shows: 8 bit, JPEG, or WebP where there is transparency.

    Args:
        image: what to show.
        folder: where to write it.
        max_side: it is scaled down to so many pixels a side.
    """
    pixels, alpha = image.pixels, image.alpha
    step = -(-max(pixels.shape[:2]) // max_side)
    if step > 1:
        size = (max(1, pixels.shape[0] // step), max(1, pixels.shape[1] // step))
        pixels, alpha = (
            resize(pixels, size),
            None if alpha is None else resize(alpha[..., None], size).reshape(size),
        )
    if pixels.dtype == np.uint16:
        pixels, alpha = to_8_bits(pixels), None if alpha is None else to_8_bits(alpha)
    profile = {name: value for name, value in image.metadata.items() if name == "icc-profile-data"}
    path = folder / ("preview.jpg" if alpha is None else "preview.webp")
    write_image(path, replace(image, pixels=pixels, alpha=alpha, metadata=profile, inventory=None))
    return path


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
