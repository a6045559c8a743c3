"""One photograph of several frames of a scene: what rain hides in one, the others show.

Frames are restored, laid on the reference, and combined by a robust mean; what is left goes through the network again.
Rain adds light and stays nowhere, so the lower values at a place are the scene's. Where the others show something else,
because someone walked through, the reference alone counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from repix._types import Floats, Image
from repix.errors import InputError
from repix.infer.align import Motion, find_motion
from repix.infer.restorer import Restorer
from repix.io.image import Picture, pixels_like, sample

_BAND = 96  # rows that are combined at once, of all frames
_SUPPORT = 9  # pixels a side over which frames are compared, on images of 500 on the shorter side
_THIN = 5  # pixels: brighter things narrower than this may be rain, on the same images
_QUANTILE = 0.25  # of the values at a place: the scene's, where up to so many others are rainier
_NEAR = 5.0  # levels of 255: how far from that the values are that the mean is made of
_RAIN = 12.0  # levels that the network took away, at which a value counts a third
_DARKER = 8.0  # levels below the others from which on something is no rain
_OTHER = 12.0  # median difference in levels from which on a frame shows another scene, or could not be laid on
_ALIKE = 0.2  # share of the reference that a frame must show to be of use


@dataclass(frozen=True)
class _Frame:
    """A frame and how it lies on the reference."""

    rainy: Image
    clean: Image
    motion: Motion | None  # None for the reference
    gain: Floats  # (3,), to the reference's exposure
    unlike: float  # median difference from the reference, in levels of 255


def merge(
    frames: Sequence[Picture | Image],
    *,
    reference: int | None = None,
    restorer: Restorer | None = None,
    progress: Callable[[float], None] | None = None,
) -> Picture:
    """Make one photograph without rain of several frames of a scene, from a tripod or from the hand.

    Args:
        frames: images of one size and type, (H, W, 3) where they are arrays; nine are a good number.
        reference: which frame the photograph is: its moment, its frame and its metadata; None takes the middle one.
        restorer: what restores a frame; None takes the shipped model.
        progress: called with fractions of the work that add up to 1.

    Returns:
        The photograph, of the reference's size, type and metadata; its notes say which frames were of no use.

    Raises:
        InputError: no frames, other sizes or types, or no frame with the number `reference`.
        BackendError: the network failed.
    """
    pictures = [frame if isinstance(frame, Picture) else _picture(frame) for frame in frames]
    if not pictures:
        raise InputError("merge needs at least one frame, got none")
    middle = (len(pictures) - 1) // 2 if reference is None else reference
    if not (isinstance(middle, int) and 0 <= middle < len(pictures)):
        raise InputError(f"reference must be 0 to {len(pictures) - 1}, the number of a frame, got {reference!r}")
    chosen = pictures[middle]
    for number, picture in enumerate(pictures):
        if picture.pixels.shape != chosen.pixels.shape or picture.pixels.dtype != chosen.pixels.dtype:
            raise InputError(
                f"frame {number + 1} is {_kind(picture)}, the reference {_kind(chosen)}; "
                "they must be alike in size and depth, as those of one burst are"
            )
    restorer = restorer if restorer is not None else Restorer.from_pretrained()
    step = 1 / (len(pictures) + 2)

    def done() -> None:
        if progress is not None:
            progress(step)

    clean = restorer(chosen.pixels)
    done()
    laid = [_Frame(chosen.pixels, clean, None, np.ones(3, np.float32), 0.0)]
    notes = list(chosen.notes)
    for number, picture in enumerate(pictures):
        if number == middle:
            continue
        pixels, converted = pixels_like(picture, chosen, called=(f"frame {number + 1}", "the reference"))
        notes += converted
        found = _lay(clean, pixels, restorer(pixels))
        if found is None:
            notes.append(f"frame {number + 1} left out: it shows something else than the reference")
        else:
            laid.append(found)
        done()
    combined = _combined(laid)
    done()
    result = restorer(combined)
    done()
    made = chosen.with_pixels(result)
    return Picture(**{**vars(made), "notes": tuple(notes)})


def _picture(pixels: Image) -> Picture:
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        got = getattr(pixels, "shape", type(pixels).__name__)
        raise InputError(f"a frame must be an (H, W, 3) RGB array, got {got}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"a frame must be uint8 or uint16, got {pixels.dtype}")
    return Picture(pixels, bits=8 * pixels.dtype.itemsize)


def _kind(picture: Picture) -> str:
    height, width = picture.pixels.shape[:2]
    return f"{width}×{height} {picture.pixels.dtype}"


def _lay(reference: Image, rainy: Image, clean: Image) -> _Frame | None:
    """How a frame lies on the restored reference; None where it shows something else."""
    motion = find_motion(reference, clean)
    step = max(1, min(reference.shape[:2]) // 500)
    rows = list(range(0, reference.shape[0], _BAND))
    differences, ratios = [], []
    for top in rows[:: max(1, len(rows) // 12)]:  # a dozen bands tell enough
        bottom = min(top + _BAND, reference.shape[0])
        there, inside = _warped(clean, motion, top, bottom)
        inside = inside[::step, ::step]
        fixed = _levels(reference[top:bottom])[::step, ::step]
        there = there[::step, ::step]
        if inside.any():
            differences.append((fixed - there)[inside])
            ratios.append(((fixed + 4) / (there + 4))[inside])
    if not differences:
        return None
    gain = np.median(np.concatenate(ratios), axis=0).astype(np.float32)
    gain = gain if np.abs(gain - 1).max() > 0.01 else np.ones(3, np.float32)
    change = np.abs(np.concatenate(differences)).max(axis=1)
    unlike = float(np.median(change))
    size = sum(len(part) for part in differences)
    whole = len(rows[:: max(1, len(rows) // 12)]) * _BAND * reference.shape[1] / step**2
    if size < _ALIKE * whole or unlike > _OTHER:
        return None
    return _Frame(rainy, clean, motion, gain, unlike)


def _levels(image: Image) -> Floats:
    """Float32 in levels of 255."""
    return image.astype(np.float32) * np.float32(255 / np.iinfo(image.dtype).max)


def _warped(image: Image, motion: Motion | None, top: int, bottom: int) -> tuple[Floats, Any]:
    """What a frame shows in rows of the reference, in levels of 255, and where it shows anything: (rows, W)."""
    height, width = image.shape[:2]
    if motion is None or motion.is_still:
        return _levels(image[top:bottom]), np.ones((bottom - top, width), bool)
    places = motion.rows(top, bottom, (height, width))
    first = max(int(places[..., 0].min()) - 4, 0)
    last = min(int(places[..., 0].max()) + 6, height)
    inside = (
        (places[..., 0] >= 0) & (places[..., 0] <= height - 1) & (places[..., 1] >= 0) & (places[..., 1] <= width - 1)
    )
    if last <= first:
        return np.zeros((bottom - top, width, 3), np.float32), np.zeros_like(inside)
    return sample(_levels(image[first:last]), places - np.array([first, 0], np.float32)), inside


def _combined(frames: list[_Frame]) -> Image:
    """The robust mean of frames over the first of them, the reference; of its type."""
    reference = frames[0]
    height = len(reference.rainy)
    result = np.empty_like(reference.rainy)
    if len(frames) == 1:
        result[...] = reference.rainy
        return result
    scale = max(1.0, min(reference.rainy.shape[:2]) / 500)
    margin = _odd(_SUPPORT * scale) + _odd(_THIN * scale) + 2
    top_value = np.float32(np.iinfo(result.dtype).max / 255)
    for top in range(0, height, _BAND):
        first, last = max(top - margin, 0), min(top + _BAND + margin, height)
        inner = slice(top - first, top - first + min(_BAND, height - top))
        cleans, rainies, insides = [], [], []
        for frame in frames:
            clean, inside = _warped(frame.clean, frame.motion, first, last)
            cleans.append(clean * frame.gain)
            rainies.append(_warped(frame.rainy, frame.motion, first, last)[0] * frame.gain)
            insides.append(inside)
        unlike = [frame.unlike for frame in frames]
        likeness = _likeness(np.stack(rainies), np.stack(cleans), np.stack(insides), unlike, scale)
        values, weights = [], []
        for clean, rainy, alike in zip(cleans, rainies, likeness, strict=True):
            rain = np.abs(rainy - clean).max(axis=2)
            values.append(rainy[inner])
            weights.append((alike * np.exp(-rain / np.float32(_RAIN)))[inner])
        weights[0] = np.maximum(weights[0], np.float32(1e-3))  # where nothing else is, the reference is all there is
        mean = _robust_mean(np.stack(values), np.stack(weights)[..., None])
        # where the reference alone counts, as it was restored with all the rain around it in sight
        support = np.max(likeness[1:], axis=0)[inner][..., None]
        mean = support * mean + (1 - support) * cleans[0][inner]
        result[top : top + _BAND] = np.clip(np.rint(mean * top_value), 0, np.iinfo(result.dtype).max)
    return result


def _likeness(rainies: Floats, cleans: Floats, inside: Any, unlike: Sequence[float], scale: float) -> list[Floats]:
    """Where frames (n, rows, W, 3) show the same as the first: 1, where something else: 0. (rows, W) each.

    Frames are compared with what is typical of a place, the scene without rain. Something else is what differs from
    that over more than the width of a streak once it is restored, and what was darker from the beginning, however thin:
    rain is brighter. What is brighter and thin may be a streak that was left; by that alone nobody goes. Where the
    reference itself shows something else, it alone counts.
    """
    from scipy.ndimage import binary_dilation, grey_opening, uniform_filter

    thin, support = _odd(_THIN * scale), _odd(_SUPPORT * scale)
    typical = np.quantile(np.where(inside[..., None], rainies, rainies[:1]), _QUANTILE, axis=0)
    general = float(np.median(unlike[1:]))
    found = []
    for rainy, clean, there, level in zip(rainies, cleans, inside, [general, *unlike[1:]], strict=True):
        moved = grey_opening(np.abs(clean - typical).max(axis=2), size=(thin, thin))
        uniform_filter(moved, support, mode="nearest", output=moved)
        alike = np.clip((4 + 1.5 * level - moved) / (2 + 0.5 * level), 0, 1)
        darker = binary_dilation((rainy - typical).min(axis=2) < -(_DARKER + 2 * level), np.ones((3, 3), bool))
        found.append((alike * (there & ~darker)).astype(np.float32))
    own = found[0]
    return [np.ones_like(own), *(alike * own for alike in found[1:])]


def _robust_mean(values: Floats, weights: Floats) -> Floats:
    """The mean of what lies near a low quantile: (n, rows, W, 3) and (n, rows, W, 1) -> (rows, W, 3)."""
    weights = np.broadcast_to(weights, values.shape)
    order = np.argsort(values, axis=0)
    sorted_values = np.take_along_axis(values, order, axis=0)
    summed = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    index = (summed < _QUANTILE * summed[-1:]).sum(axis=0, keepdims=True)
    base = np.take_along_axis(sorted_values, np.minimum(index, len(values) - 1), axis=0)
    near = weights * np.exp(-(((values - base) / np.float32(_NEAR)) ** 2))
    return cast(Floats, (near * values).sum(axis=0) / np.maximum(near.sum(axis=0), np.float32(1e-12)))


def _odd(size: float) -> int:
    return int(size) // 2 * 2 + 1
