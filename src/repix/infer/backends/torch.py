"""A torch network behind the protocol of backends, so that training and evaluation measure what users run.

Imports torch inside functions only, and knows nothing of `repix.models`: the caller hands the network over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repix._types import Floats, one_line
from repix.errors import BackendError

if TYPE_CHECKING:
    from torch import nn


class TorchBackend:
    """Runs a torch network where its parameters are.

    Args:
        net: (N, 3, H, W) in [0, 1], and the state's tensors if it has a state -> the same shape, or a tuple of that and
            the next state's tensors. It is put into evaluation mode for each run and back into its own afterwards.
    """

    form = "torch"

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    @property
    def device(self) -> str:
        """torch's name of the device that holds the network's parameters."""
        parameter = next(self._net.parameters(), None)
        return "cpu" if parameter is None else str(parameter.device)

    def run(self, x: Floats, state: tuple[Floats, ...] = ()) -> tuple[Floats, tuple[Floats, ...]]:
        """See `Backend.run`."""
        import torch

        training = self._net.training
        self._net.eval()
        try:
            with torch.inference_mode():
                made = self._net(*(torch.from_numpy(one).to(self.device) for one in (x, *state)))
        except RuntimeError as error:
            raise BackendError(f"torch failed on {self.device} at {x.shape}: {one_line(error)}") from error
        finally:
            self._net.train(training)
        y, *following = made if isinstance(made, tuple) else (made,)
        arrays = [np.asarray(one.float().cpu().numpy()) for one in (y, *following)]
        return arrays[0], tuple(arrays[1:])

    def parallel(self) -> tuple[TorchBackend, int]:
        """Itself, one call at a time."""
        return self, 1
