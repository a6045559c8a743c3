"""Image in, image out: the one object that users, evaluation and training's validation run."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from repix._types import Floats, Image, within
from repix.errors import InputError
from repix.infer import kinds
from repix.infer.backends import Backend, open_backend
from repix.infer.ensemble import self_ensemble
from repix.infer.memory import Memory, zeros
from repix.infer.pyramid import Levels, check_levels, find_first, levels_to_run, restore_levels
from repix.infer.resampling import reduce
from repix.infer.tiling import Rounding
from repix.infer.uncertainty import find_strength
from repix.io.image import check_pixels, resize
from repix.weights import DEFAULT_MODEL, ModelCard, State, Tiling, find_card

Strength = float | Literal["auto"]
"""0 (the image as it was) to 1; `auto` does less where what was found may not be rain."""

Quality = Literal["draft", "fast", "best"]
"""`fast` runs the network once; `best` four times, mirrored and shifted, and takes the mean (self-ensemble). `draft`
leaves out the full resolution of images that have coarser levels."""


class Restored(NamedTuple):
    """A result and how it was made.

    Attributes:
        image: the restored image.
        strength: how strongly; what was found, for `auto`.
        levels: the levels of the pyramid that ran, in their order; see `repix.infer.pyramid`.
        turned: whether rain falls sideways in it: the network got the image on its side.
    """

    image: Image
    strength: float
    levels: tuple[int, ...]
    turned: bool = False


_log = logging.getLogger("repix")
_MAX_ASPECT = 8  # times the shorter side: what the network is given at most


def check_strength(strength: Strength) -> None:
    """Refuse what is neither `auto` nor within [0, 1].

    Raises:
        InputError: such a strength.
    """
    if strength != "auto" and not within(strength, 0, 1):
        raise InputError(f"strength must be between 0 and 1, or 'auto', got {strength!r}")


def parse_strength(text: str) -> Strength:
    """A strength as users write it, `0.5` or `auto`.

    Raises:
        InputError: neither a number within [0, 1] nor `auto`.
    """
    strength: float | str = text
    with contextlib.suppress(ValueError):
        strength = float(text)
    check_strength(strength)  # type: ignore[arg-type]  # refuses other words
    return strength  # type: ignore[return-value]


class Restorer:
    """A network that takes images of any size, 8 or 16 bit, and gives back the same size and type.

    The same image gives the same bits on one device with one number of threads. A restorer may be called from several
    threads at once. It can be pickled if it was made by `from_pretrained`. It logs to `logging.getLogger("repix")`.

    Args:
        backend: what runs the network.
        multiple_of: H and W given to the network are padded to multiples of this.
        tiling: how to tile; None runs every image in one piece.
        size: images are scaled to this shorter side for the network, and its results back; None takes them as they
            are. Label maps, where the card has a palette, are scaled back without mixing their colours.
        quality: `fast`, `draft` for a quarter of the time where images are large, or `best` for four times the time,
            and no more memory; see `Quality`.
        levels: levels of the pyramid, for a network whose card has `scales`: `auto`, or which run in which order.
        scales: the finest and the coarsest level of the pyramid; None keeps to each image's own size.
        state: what the network carries from frame to frame; an image is a first frame.
        card: what the network is, where it came with a card.

    Raises:
        InputError: another quality, `best` of a network whose task has no use for it (`Task.self_ensemble`), `draft` or
            levels of one that keeps to each image's own size.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        multiple_of: int = 1,
        tiling: Tiling | None = None,
        size: int | None = None,
        quality: Quality = "fast",
        levels: Levels = "auto",
        scales: tuple[int, int] | None = None,
        state: Sequence[State] = (),
        card: ModelCard | None = None,
    ) -> None:
        if quality not in get_args(Quality):
            raise InputError(f"quality must be 'draft', 'fast' or 'best', got {quality!r}")
        check_levels(levels)
        if size is not None and not (type(size) is int and size > 0):
            raise InputError(f"size must be a whole number of pixels above 0, or None, got {size!r}")
        if quality == "draft" and levels != "auto" and 1 in levels:
            raise InputError(f"quality draft leaves out level 1, which levels {levels} have; give one of the two")
        if scales is None and (quality == "draft" or (levels != "auto" and tuple(levels) != (1,))):
            what = "quality draft" if quality == "draft" else f"levels {levels}"
            name = card.name if card is not None else "this network"
            raise InputError(f"{what} is for networks that work on reduced images too; {name} does not")
        if quality == "best" and card is not None and not card.task.self_ensemble:
            raise InputError(f"quality best is not for networks that {card.task.verb}, such as {card.name}; use fast")
        self.backend = backend
        self.multiple_of = multiple_of
        self.tiling = tiling
        self.size = size
        self.quality = quality
        self.levels = levels
        self.scales = scales
        self.state = tuple(state)
        self.card = card
        self._origin: tuple[str, str, int | None] | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = DEFAULT_MODEL,
        device: str = "auto",
        *,
        threads: int | None = None,
        size: int | None = None,
        quality: Quality = "fast",
        levels: Levels = "auto",
    ) -> Restorer:
        """Load a model, after checking its sha256.

        Args:
            name_or_path: name of a shipped model (`repix models` lists them), or the path of a model's folder.
            device: `auto`, `cpu`, `openvino`, `cuda`, `coreml` or `directml`.
            threads: threads on the CPU; None takes what the process may use.
            size: shorter side at which the network works; None takes the card's, 0 every image as it is.
            quality: `draft`, `fast` or `best`; see `Quality`.
            levels: `auto`, or levels of the pyramid in the order in which they run.

        Raises:
            WeightsError: no such model, or damaged.
            InputError: see `Restorer`.
            BackendError: the device is not there.
        """
        begun = time.perf_counter()
        card, folder = find_card(name_or_path)
        backend = open_backend(card, folder, device=device, threads=threads)
        seconds = time.perf_counter() - begun
        _log.info("model %s (%s) on %s, loaded in %.1f s", card.name, backend.form, backend.device, seconds)
        restorer = cls(
            backend,
            multiple_of=card.multiple_of,
            tiling=card.tiling,
            size=card.size if size is None else size or None,
            quality=quality,
            levels=levels,
            scales=card.scales,
            state=card.state,
            card=card,
        )
        shipped = folder.name == str(name_or_path) and not Path(name_or_path).is_dir()
        restorer._origin = (str(name_or_path) if shipped else str(folder.absolute()), device, threads)
        return restorer

    def parallel(self) -> tuple[Restorer, int]:
        """A restorer for many images of moderate size, and how many calls at once make the best of the machine."""
        backend, calls = self.backend.parallel()
        again = copy.copy(self)
        again.backend = backend
        return again, calls

    def __copy__(self) -> Restorer:
        again = object.__new__(type(self))
        again.__dict__.update(self.__dict__)
        return again

    def __getstate__(self) -> dict[str, Any]:
        """For pickling: a network in native memory is loaded again where the restorer goes."""
        if self._origin is None:
            raise TypeError("only a Restorer made by from_pretrained can be pickled")
        return {**self.__dict__, "backend": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        assert self._origin is not None
        name, device, threads = self._origin
        self.backend = open_backend(*find_card(name), device=device, threads=threads)

    def __repr__(self) -> str:
        name = self.card.name if self.card is not None else "a network"
        size = f", size={self.size}" if self.size is not None else ""
        return f"<Restorer {name} ({self.backend.form}) on {self.backend.device}, quality={self.quality}{size}>"

    def __call__(
        self,
        image: Any,
        *,
        strength: Strength = 1.0,
        rounding: Rounding = "nearest",
        out: Image | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Any:
        """Restore one image of any kind, and give the same kind back: the image alone of `restore`.

        Args:
            image: see `repix.infer.kinds.through`: an array (uint8, uint16, floats in [0, 1]; grey, RGB, RGBA, a
                batch), a PIL image, a `Picture`, or the path of a file, for which a `Picture` is given back.
            strength: see `restore`.
            rounding: see `restore`.
            out: see `restore`; for (H, W, 3) arrays only.
            progress: see `restore`.

        Raises:
            InputError: as `restore`, and of another kind, or of numbers outside [0, 1].
            FileNotFoundError: no such file.
        """

        def one(pixels: Image, out: Image | None = None) -> Image:
            return self.restore(pixels, strength=strength, rounding=rounding, out=out, progress=progress).image

        if out is not None or kinds.is_plain(image):
            return one(image, out)
        return kinds.through(image, one)

    def restore(
        self,
        image: Image,
        *,
        strength: Strength = 1.0,
        levels: Levels | None = None,
        turned: bool | None = None,
        rounding: Rounding = "nearest",
        out: Image | None = None,
        progress: Callable[[float], None] | None = None,
        memory: Memory | None = None,
    ) -> Restored:
        """Restore one image, and say how.

        Args:
            image: (H, W, 3), uint8 or uint16, RGB.
            strength: 0 (the input) to 1 (the network's output); between, the two are blended. `auto`: what
                `find_strength` finds.
            levels: in place of the restorer's own, such as those found for another frame of the same scene.
            turned: whether the network gets the image on its side, as found for another frame; None: where levels are
                `auto`, if rain falls sideways.
            rounding: `nearest`, or `down` for the protocol of papers whose scripts truncated.
            out: where to write, of the same shape and type; may be `image` itself, which saves memory.
            progress: called with fractions of the work that add up to 1.
            memory: what the frames before have left, for a network with a state (`remember`); this one's is added. It
                needs levels that are no `auto`.

        Returns:
            `image`: (H, W, 3) of the same type, `out` where that was given; strength, levels and whether it was turned.

        Raises:
            InputError: another shape or type, or a strength outside [0, 1], or below 1 where images are scaled.
            BackendError: the network failed, for example out of memory.
        """
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            got = getattr(image, "shape", type(image).__name__)
            raise InputError(f"an image must be an (H, W, 3) RGB array, got {got}")
        if image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"an image must be uint8 or uint16, got {image.dtype}; scale it to 0…255 and cast it")
        check_strength(strength)
        if rounding not in get_args(Rounding):
            raise InputError(f"rounding must be {' or '.join(get_args(Rounding))}, got {rounding!r}")
        if out is not None and not isinstance(out, np.ndarray):
            raise InputError(f"out must be an array, {image.shape} {image.dtype}, got {type(out).__name__}")
        if out is not None and (out.shape != image.shape or out.dtype != image.dtype):
            raise InputError(f"out must be {image.shape} {image.dtype}, got {out.shape} {out.dtype}")
        if out is not None and not out.flags.writeable:
            raise InputError("out is read-only; give an array that can be written")
        scaled = self._working_size(*image.shape[:2])
        if scaled == image.shape[:2]:
            amount = self.find_strength(image) if strength == "auto" else strength
            levels = self.levels if levels is None else levels
            return self._run(image, amount, levels if amount > 0 else (), turned, rounding, out, progress, memory)
        if strength != 1:
            raise InputError(f"strength {strength} needs a network that works at the image's own size; use size=0")
        worked = self._run(resize(image, scaled), 1.0, (1,), turned, rounding, None, progress)
        labels = self.card is not None and self.card.palette is not None
        result = resize(worked.image, image.shape[:2], "nearest" if labels else "cubic")
        if out is None:
            return worked._replace(image=result)
        out[...] = result
        return worked._replace(image=out)

    def remember(self) -> Memory | None:
        """What a video's frames are restored with, in their order; None for a network without a state.

        Raises:
            InputError: quality `best`, which runs every image mirrored.
        """
        if not self.state:
            return None
        if self.quality == "best":
            name = self.card.name if self.card is not None else "this network"
            raise InputError(f"{name} remembers the frame before, quality best sees it mirrored; take fast")
        return Memory(self.backend.run, self.state)

    def run(self, x: Floats) -> Floats:
        """The network alone, once: (1, 3, H, W) in [0, 1] of sides that it takes -> the same shape, not clamped."""
        y, _ = self.backend.run(x, zeros(self.state, x))
        return y

    def find_strength(self, image: Image) -> float:
        """What `strength="auto"` takes for an image: 1 where it is surely rain that is taken away, down to 0 where it
        can't be; see `repix.infer.uncertainty.find_strength`. Costs up to four runs over a megapixel.

        Of a large image the level is judged with which restoration begins: others may not see its streaks.

        Args:
            image: (H, W, 3), uint8 or uint16.

        Raises:
            InputError: something else.
        """
        check_pixels(image)
        level: int | None = 1
        turned = False
        if self.scales is not None and self.levels and self.levels != "auto":
            level = self.levels[0]
        elif self.scales is not None:
            level, turned = find_first(self.run, image, scales=self._scales, multiple_of=self.multiple_of)
        if level is None:
            return 0.0
        if turned:
            image = image.swapaxes(0, 1)
        if level > 1:
            reduced = np.rint(reduce(image, level))
            image = reduced.astype(np.uint8) if image.dtype == np.uint8 else reduced.astype(np.uint16)
        return find_strength(self.run, image, multiple_of=self.multiple_of)

    def note_levels(self, height: int, width: int) -> tuple[str, ...]:
        """One sentence where levels were asked for that an image of this size is too small for, else none."""
        if self.scales is None or self.levels == "auto":
            return ()
        there, ran = levels_to_run((height, width), self.levels, self._scales)
        missing = [str(level) for level in self.levels if level not in there]
        if not missing:
            return ()
        asked = f"{'level' if len(missing) == 1 else 'levels'} {', '.join(missing)}"
        return (f"too small for {asked} of the pyramid; level {', '.join(map(str, ran))} ran",)

    @property
    def _scales(self) -> tuple[int, int]:
        finest, coarsest = self.scales or (1, 1)
        return max(finest, 2) if self.quality == "draft" else finest, coarsest

    def _working_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the network sees an image; a narrow strip is not blown up without end."""
        if self.size is None:
            return height, width
        scale = min(self.size / min(height, width), _MAX_ASPECT * self.size / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _run(
        self,
        image: Image,
        strength: float,
        levels: Levels,
        turned: bool | None,
        rounding: Rounding,
        out: Image | None,
        progress: Callable[[float], None] | None,
        memory: Memory | None = None,
    ) -> Restored:
        best = self.quality == "best"
        made, ran, turned = restore_levels(
            self_ensemble(self.run, multiple_of=self.multiple_of) if best else self.run,
            image,
            levels,
            scales=self._scales,
            multiple_of=self.multiple_of,
            tile=self.tiling.tile if self.tiling is not None else None,
            overlap=self.tiling.overlap if self.tiling is not None else 0,
            strength=strength,
            rounding=rounding,
            out=out,
            progress=progress,
            memory=memory,
            turned=turned,
        )
        return Restored(made, strength, ran, turned)
