"""A backend over a function of arrays."""

from __future__ import annotations

from repix._types import Floats


class FakeBackend:
    """Runs `apply`, which a test defines; no state, one call at a time."""

    device = "cpu"
    form = "fake"

    def apply(self, x: Floats) -> Floats:
        return x

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        return self.apply(x), ()

    def parallel(self) -> tuple[FakeBackend, int]:
        return self, 1
