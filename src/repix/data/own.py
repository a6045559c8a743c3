"""Degradations as samples ask for them: what one of the user's own does wrong is a sentence that names it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from repix._types import Floats, one_line
from repix.degradations import Context, Degradation, create_degradation
from repix.errors import InputError, RecipeError, counted
from repix.named import is_own

# How far beyond [0, 1] values may go, where noise and light reach and are cut off; 0 to 255 is another scale.
_BEYOND = 1.0


def load_degradation(name: str) -> Degradation:
    """A degradation by name.

    Raises:
        RecipeError: no such name, file or class, or a class that cannot be made without arguments.
    """
    return _told(name, lambda: create_degradation(name)) if is_own(name) else create_degradation(name)


def degraded(
    name: str, degradation: Degradation, clean: Floats, rng: np.random.Generator, context: Context
) -> tuple[Floats, Floats]:
    """What a degradation makes of an image.

    Args:
        name: of the degradation.
        degradation: what is called; one of the user's own is looked at closely.
        clean: (H, W, 3) float32 in [0, 1].
        rng, context: see `Degradation`.

    Returns:
        Degraded and clean, both of the shape of `clean`.

    Raises:
        RecipeError: one of the user's own fails, or returns something else.
    """
    if not is_own(name):
        return degradation(clean, rng, context)
    made: Any = _told(name, lambda: degradation(clean, rng, context))
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise RecipeError(f"degradation {name!r} returned {_form(made)}; expected two images, degraded and clean")
    for image, what in zip(made, ("degraded", "clean"), strict=True):
        _check(name, f"as the {what} image", image, clean)
    return made[0], made[1]


def degraded_frames(
    name: str, degradation: Degradation, clean: Floats, rng: np.random.Generator, context: Context
) -> Floats:
    """What the `frames` of a degradation makes of a scene; as `degraded`, of (T, H, W, 3) and back."""
    frames: Callable[..., Any] = degradation.frames  # type: ignore[attr-defined]
    if not is_own(name):
        made: Floats = frames(clean, rng, context)
        return made
    made = _told(name, lambda: frames(clean, rng, context))
    _check(name, "by `frames`", made, clean)
    return made


def rehearse(
    name: str, degradation: Degradation, shape: tuple[int, ...], rng: np.random.Generator, context: Context
) -> None:
    """Call a degradation of the user's own once, on noise, before anything is trained; others are known to do well.

    Args:
        name: of the degradation.
        degradation: what is called.
        shape: (H, W, 3), or (T, H, W, 3) for its `frames`.
        rng, context: see `Degradation`.

    Raises:
        RecipeError: it fails, or returns something else than the guide says, or changes the image that it is given.
    """
    if not is_own(name):
        return
    clean = rng.random(shape, np.float32)
    given = clean.copy()
    if len(shape) == 4:
        made: tuple[Floats, ...] = (degraded_frames(name, degradation, given, rng, context),)
    else:
        made = degraded(name, degradation, given, rng, context)
    if not np.array_equal(given, clean):
        raise RecipeError(
            f"degradation {name!r} changes the image that it is given; expected it left as it is: change a copy"
        )
    for image in made:
        if image.dtype != np.float32:
            raise RecipeError(
                f"degradation {name!r} returned {image.dtype}; expected float32: add .astype(np.float32) at its end"
            )


def _told(name: str, call: Callable[[], Any]) -> Any:
    """What a call of the user's code gives; what it raises is said in a sentence, with the line of that file."""
    try:
        return call()
    except InputError as error:  # an image to draw from: of the same type, as another takes the place of a broken one
        raise type(error)(f"degradation {name!r}: {error}") from error
    except RecipeError:  # of loading, with the name
        raise
    except (Exception, SystemExit) as error:
        file = Path(name.rpartition(":")[0]).name
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if Path(at.filename).name == file]
        where = f", line {lines[-1]}" if lines else ""
        raise RecipeError(f"degradation {name!r} fails ({type(error).__name__}: {one_line(error)}{where})") from error


def _check(name: str, how: str, image: Any, clean: Floats) -> None:
    got = ""
    if not isinstance(image, np.ndarray) or image.shape != clean.shape or image.dtype.kind != "f":
        got = _form(image)
    elif not np.isfinite(image).all():
        got = "NaN or infinity"
    elif image.min() < -_BEYOND or image.max() > 1 + _BEYOND:
        got = f"values from {image.min():.4g} to {image.max():.4g}"
    if got:
        expected = f"float32 of {clean.shape} with values from 0 to 1"
        raise RecipeError(f"degradation {name!r} returned {got} {how}; expected {expected}")


def _form(made: Any) -> str:
    if isinstance(made, np.ndarray):
        return f"{made.dtype} of {made.shape}"
    return counted(len(made), "value") if isinstance(made, tuple | list) else f"a {type(made).__name__}"
