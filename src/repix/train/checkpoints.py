"""What lets a run survive: checkpoints written whole, its files and code on record, NaN kept out."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback

from repix._environment import STOP_SIGNALS
from repix._types import one_line
from repix.errors import InputError, RecipeError, WeightsError
from repix.io.files import atomic
from repix.named import check_trusted, digest, is_own, own_names, remember_code
from repix.train.recipe import Recipe, dump_recipe

_FILES, _CODE = "files.txt", "code.json"


class SafeCheckpoints(CheckpointIO):
    """Checkpoints written beside their place, brought to the disk and renamed; read as data, never as code.

    Lightning writes to the system's temporary folder and copies, which a kill can leave empty where that is another
    file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write it, if every weight is finite.

        Raises:
            RecipeError: one is not; the checkpoint before stays.
            InputError: it cannot be written (full disk).
        """
        for name, value in checkpoint.get("state_dict", {}).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise RecipeError(f"{name} is not finite any more; {path} keeps the last good weights")
        with atomic(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # what torch's writer makes of a full disk
                raise InputError(f"{path}: cannot be written ({one_line(error)}); is the disk full?") from error

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read it.

        Raises:
            WeightsError: it is damaged.
        """
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as error:
            raise WeightsError(f"{path}: not a checkpoint, or a damaged one ({one_line(error)})") from error

    def remove_checkpoint(self, path: Any) -> None:
        """Remove it."""
        Path(path).unlink(missing_ok=True)


def check_checkpoint(path: Path) -> None:
    """Compare the checksums inside a checkpoint, which is a zip file, with its contents.

    Raises:
        WeightsError: it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise WeightsError(f"{path}: damaged ({one_line(error)}); start another run, from a model by init") from error
    if bad is not None:
        raise WeightsError(f"{path}: damaged (the checksum of {bad} is wrong); start another run, from a model by init")


class StopAtNonFinite(Callback):
    """Stops a run at the first loss that is not finite, before a checkpoint is made of what it has done."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """See Lightning.

        Raises:
            RecipeError: the loss is not finite.
        """
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, torch.Tensor):
            loss = trainer.callback_metrics.get("loss")
        if loss is not None and not bool(torch.isfinite(loss).all()):
            last = self._folder / "last.ckpt"
            kept = f"{last} has the last good weights" if last.is_file() else "no checkpoint had been made"
            raise RecipeError(
                f"the loss is {float(loss.mean()):g} at step {trainer.global_step}; the run stops, {kept}; lower lr, "
                "or set grad_clip_norm"
            )


class StopBetweenSteps(Callback):
    """Ends a run that is told to stop when its step is done and saved; told again, at once.

    A validation is left at its next image. Its result would be lost with what has been measured so far, so the run is
    saved one step ahead of each: resumed, it makes that step and the validation anew.

    Args:
        path: the checkpoint to save.
        validates: whether the run validates after a step.
    """

    def __init__(self, path: Path, validates: Callable[[int], bool]) -> None:
        self._path, self._validates = path, validates
        self._asked_at: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take the signals that would raise KeyboardInterrupt while the block runs."""
        if threading.current_thread() is not threading.main_thread():  # which alone may take signals
            yield
            return
        handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        self._before = {number: handler for number, handler in handlers.items() if callable(handler)}
        self._take()
        try:
            yield
        except RuntimeError as error:  # a worker process that was still starting ended with the signal
            if self._asked_at is None:
                raise
            raise KeyboardInterrupt from error
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before = {}
        if self._asked_at is not None:
            raise KeyboardInterrupt

    def _take(self) -> None:
        for number in self._before:
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at > 1:  # a launcher passes on what came already
            self._before[signal.Signals(number)](number, frame)
        self._asked_at = self._asked_at or now

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take SIGTERM back from Lightning, whose handler waits for the other processes of a run."""
        self._take()

    def _is_asked(self, trainer: lightning.Trainer) -> bool:
        """Whether any of the processes that train together is told to stop."""
        return bool(trainer.strategy.reduce_boolean_decision(self._asked_at is not None, all=False))

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        """See Lightning.

        Raises:
            KeyboardInterrupt: the run is told to stop, and is saved.
        """
        step, asked = trainer.global_step, self._is_asked(trainer)
        if self._validates(step):
            return
        if asked or self._validates(step + 1):
            trainer.save_checkpoint(self._path)
        if asked:
            raise KeyboardInterrupt

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any
    ) -> None:
        """See Lightning.

        Raises:
            KeyboardInterrupt: the run is told to stop.
        """
        if self._is_asked(trainer):
            raise KeyboardInterrupt


def record_run(folder: Path, recipe: Recipe, files: Sequence[str]) -> None:
    """Write down what a run is made from: its recipe, its files, and the sha256 of code of the user's own."""
    folder.mkdir(parents=True, exist_ok=True)
    code = {name: digest(name) for name in own_names(recipe.model_dump())}
    texts = {"recipe.yaml": dump_recipe(recipe), _FILES: "".join(f"{name}\n" for name in files)}
    if code:
        texts[_CODE] = json.dumps(code, indent=2) + "\n"
    for name, text in texts.items():
        with atomic(folder / name) as temporary:
            temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
    remember_code(code)


def check_files(files: Sequence[str], folder: Path) -> None:
    """Refuse to resume a run with other files: other images would be held out, and the order of samples another.

    Raises:
        RecipeError: there are more or fewer.
    """
    try:
        before = (folder / _FILES).read_bytes().decode("utf-8", "surrogateescape").splitlines()
    except OSError:  # a run of a version that kept no record
        return
    more, fewer = sorted(set(files) - set(before)), sorted(set(before) - set(files))
    if more or fewer:
        parts = [f"{len(names)} {word} ({names[0]})" for names, word in ((more, "more"), (fewer, "fewer")) if names]
        raise RecipeError(
            f"{folder}: the data has changed since the run was started, files: {', '.join(parts)}; restore them, or "
            "start another run from this one's weights by init"
        )


def check_code(recipe: Recipe, folder: Path, *, trust: bool) -> None:
    """Refuse to resume a run with other code.

    Raises:
        UntrustedCodeError: a file of the user's own has changed.
    """
    try:
        before = json.loads((folder / _CODE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    changed = [name for name in own_names(recipe.model_dump()) if is_own(name) and digest(name) != before.get(name)]
    if changed and not trust:
        check_trusted(changed, where=f"{folder}, where it has changed since the run was started,", trust=False)
