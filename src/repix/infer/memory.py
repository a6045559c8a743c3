"""What a recurrent network carries from frame to frame: whole frames at each level, cut and joined as tiles are.

NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from repix._types import Floats, Image
from repix.infer.camera import Camera, CameraMotion
from repix.weights import State

Step = Callable[[Floats, tuple[Floats, ...]], tuple[Floats, tuple[Floats, ...]]]


def zeros(state: Sequence[State], x: Floats) -> tuple[Floats, ...]:
    """What is carried into a first frame (N, 3, H, W)."""
    count, _, height, width = x.shape
    return tuple(np.zeros(one.shape(count, height, width), np.float32) for one in state)


class LevelMemory:
    """The memory of one level of the pyramid, while its tiles run.

    Args:
        step: the network, (1, 3, h, w) and the state -> the same.
        state: what it carries.
        before: what the frame before left, each (1, C, H, W) divided by its stride; empty before the first.
    """

    def __init__(self, step: Step, state: Sequence[State], before: tuple[Floats, ...]) -> None:
        self._step = step
        self._state = state
        self._before = before
        self.after: tuple[Floats, ...] = ()

    def run(self, x: Floats, top: int, left: int, size: tuple[int, int], weights: Floats) -> Floats:
        """One tile.

        Args:
            x: (1, 3, h, w).
            top, left: where the tile lies in the padded frame.
            size: (H, W) of the padded frame.
            weights: (h, w), the tile's; those of all tiles add up to 1 everywhere.
        """
        height, width = x.shape[2:]
        if not self._before or not self.after:
            whole = np.broadcast_to(np.float32(0), (1, 3, *size))
            self._before = self._before or zeros(self._state, whole)
            self.after = zeros(self._state, whole)
        places = [
            (slice(top // n, (top + height) // n), slice(left // n, (left + width) // n))
            for n in (one.stride for one in self._state)
        ]
        given = tuple(
            np.ascontiguousarray(one[:, :, rows, columns])
            for one, (rows, columns) in zip(self._before, places, strict=True)
        )
        y, following = self._step(x, given)
        if (height, width) == size:
            self.after = following
            return y
        for whole, part, one, (rows, columns) in zip(self.after, following, self._state, places, strict=True):
            n = one.stride
            share = weights.reshape(height // n, n, width // n, n).mean((1, 3)) if n > 1 else weights
            whole[:, :, rows, columns] += part * share
        return y


class Memory:
    """What a recurrent network remembers of a video: one state for each level of the pyramid that ran.

    Args:
        step: the network; see `repix.infer.backends.Backend.run`.
        state: what it carries.
    """

    def __init__(self, step: Step, state: Sequence[State]) -> None:
        self._step = step
        self._state = tuple(state)
        self._camera = Camera() if any(one.camera for one in self._state) else None
        self._moved: CameraMotion | None = None
        self._before: dict[int, tuple[Floats, ...]] = {}
        self._now: dict[int, LevelMemory] = {}

    def begin_frame(self, frame: Image) -> None:
        """Find how the camera has moved, for a network that is told.

        Args:
            frame: (H, W, 3), uint8 or uint16, as it came.
        """
        if self._camera is not None:
            self._moved = self._camera.follow(frame)

    @property
    def follows(self) -> bool:
        """Whether this frame surely shows the scene of the one before: it is known how the camera has moved."""
        return self._moved is not None

    def at(self, level: int, *, turned: bool = False) -> LevelMemory:
        """The memory with which a level of this frame runs.

        Args:
            level: how many times the frame is reduced.
            turned: whether the network gets the frame's columns for rows.
        """
        before = self._before.get(level, ())
        if before and self._moved is not None:
            before = tuple(
                self._moved.cells(one.stride, level, (old.shape[2], old.shape[3]), turned=turned) if one.camera else old
                for one, old in zip(self._state, before, strict=True)
            )
        self._now[level] = LevelMemory(self._step, self._state, before)
        return self._now[level]

    def end_frame(self, restored: Image) -> None:
        """What the levels of this frame have left is what the next one begins with; of other levels nothing stays.

        Args:
            restored: (H, W, 3), the frame as it goes out.
        """
        if self._camera is not None:
            self._camera.keep(restored)
        self._before = {level: memory.after for level, memory in self._now.items()}
        self._now, self._moved = {}, None

    def forget(self) -> None:
        """Begin anew: the next frame shows something else."""
        self._before, self._now, self._moved = {}, {}, None
        if self._camera is not None:
            self._camera.forget()
