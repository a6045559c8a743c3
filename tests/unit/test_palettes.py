"""The colours of label maps are those of the data, and every pixel finds its class."""

from __future__ import annotations

import numpy as np
import pytest
import pyvips

from data_sets import DATA
from repix.errors import InputError
from repix.palettes import CITYSCAPES, FACADES, PALETTES, VOID, nearest_label


@pytest.mark.parametrize("name", PALETTES)
def test_colours_are_those_of_the_data(name: str) -> None:
    """JPEG turns each colour of the palette into one that is in the label images, and no other is common there."""
    folder = DATA / name / "val"
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside the project")
    labels = [pyvips.Image.new_from_file(str(file)).numpy()[:, 256:] for file in sorted(folder.iterdir())[:30]]
    packed = np.stack(labels).reshape(-1, 3).astype(int) @ (65536, 256, 1)
    found, counts = np.unique(packed, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    common = counts > 0.001 * packed.size
    coded = []
    for colour in PALETTES[name]:
        flat = pyvips.Image.new_from_array(np.full((16, 16, 3), colour.rgb, np.uint8))
        coded.append(pyvips.Image.new_from_buffer(flat.jpegsave_buffer(Q=100), "").numpy()[8, 8].astype(int))
        if name == "facades":
            assert counts[np.abs(colours - coded[-1]).max(1) <= 1].sum() > 500, colour
    far = np.abs(colours[common][:, None] - np.stack(coded)).max(2).min(1) > 4
    assert counts[common][far].sum() < 0.03 * counts[common].sum()  # JPEG rings along edges


def test_names() -> None:
    assert len(FACADES) == len({name for name, _ in FACADES}) == 12
    assert len({name for name, _ in CITYSCAPES} - {VOID}) == 19
    for palette in PALETTES.values():
        assert len({rgb for _, rgb in palette}) == len(palette)


@pytest.mark.parametrize("name", PALETTES)
def test_nearest(name: str) -> None:
    palette = PALETTES[name]
    colours = np.array([rgb for _, rgb in palette])
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    image[0, : len(palette)] = colours[:11]
    distances = ((image[:, :, None].astype(float) - colours) ** 2).sum(3)
    labels = nearest_label(image, palette)
    assert (np.take_along_axis(distances, labels[..., None].astype(int), 2)[..., 0] == distances.min(2)).all()
    assert labels[0].tolist() == list(range(11))
    assert (nearest_label(image.astype(np.uint16) * 257, palette) == labels).all()
    for wrong in (image / np.float32(255), image[..., 0], image.astype(np.int64)):
        with pytest.raises(InputError, match=r"expected an image \(H, W, 3\) of uint8 or uint16, got \("):
            nearest_label(wrong, palette)
