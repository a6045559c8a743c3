"""The shipped network that remembers, in tiles and in one piece: the same to a grey level, in numbers without int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repix.infer.backends import onnxruntime
from repix.infer.restorer import Restorer
from repix.io.image import read_image
from repix.weights import Tiling, find_card, read_weights

H, W = 640, 960


@pytest.mark.timeout(600)
def test_tiles_are_the_whole_to_a_level() -> None:
    photo = read_image(Path(__file__).parents[2] / "examples" / "rainy.jpg").pixels
    row = np.concatenate([photo, photo[:, ::-1], photo, photo[:, ::-1]], axis=1)
    ground = np.concatenate([row, row[::-1], row])
    frames = [np.ascontiguousarray(ground[3 * t : 3 * t + H, 5 * t : 5 * t + W]) for t in range(2)]  # a pan
    card, folder = find_card("repixnet-video")
    assert card.tiling is not None
    form = "onnx-fp16"  # of the weights; the processor computes in fp32
    backend = onnxruntime.load(read_weights(card, folder, form), form=form, device="cpu", threads=1)
    made = []
    for tiling in (None, Tiling(tile=2 * card.tiling.overlap + 32, overlap=card.tiling.overlap)):
        restorer = Restorer(
            backend, multiple_of=card.multiple_of, tiling=tiling, scales=(1, 1), levels=(1,), state=card.state
        )
        memory = restorer.remember()
        assert memory is not None
        for frame in frames:
            memory.begin_frame(frame)
            restored = restorer.restore(frame, levels=(1,), memory=memory).image
            memory.end_frame(restored)
            made.append(restored.astype(int))
    assert np.abs(made[1] - frames[1]).mean() > 1  # the network did something
    for whole, tiled in zip(made[:2], made[2:], strict=True):
        assert np.abs(whole - tiled).max() <= 1
