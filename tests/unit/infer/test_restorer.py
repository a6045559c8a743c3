"""`Restorer` over both backends: the same image out, odd sizes, clear errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from scipy.ndimage import grey_opening

from fake_backend import FakeBackend
from repix._types import Floats, Image
from repix.errors import BackendError, InputError, WeightsError
from repix.infer.backends.onnxruntime import OnnxBackend
from repix.infer.backends.torch import TorchBackend
from repix.infer.restorer import Restorer
from repix.weights import Tiling


def test_from_pretrained_knows_its_card(darkening_weight: Path, photo: NDArray[np.uint8]) -> None:
    restorer = Restorer.from_pretrained(darkening_weight, device="cpu")
    assert restorer.card is not None
    assert restorer.multiple_of == 8
    assert restorer.backend.device == "cpu"
    np.testing.assert_array_equal(restorer(photo), np.rint(photo * 0.4))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3), (100, 133)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_size_and_depth(darkening_weight: Path, size: tuple[int, int], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (*size, 3), dtype=dtype)
    result = Restorer.from_pretrained(darkening_weight)(image)
    assert (result.shape, result.dtype) == (image.shape, dtype)
    assert np.abs(result - image * 0.4).max() <= 0.51


def test_torch_and_onnx_give_the_same_image(darkening_weight: Path, photo: NDArray[np.uint8]) -> None:
    import torch

    class Darken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 0.4

    net = Darken()
    net.train()
    restorer = Restorer(TorchBackend(net), multiple_of=8, tiling=Tiling(tile=32, overlap=8))
    np.testing.assert_array_equal(restorer(photo), Restorer.from_pretrained(darkening_weight)(photo))
    assert net.training  # as it was
    assert restorer.backend.device == "cpu"


class Seen(FakeBackend):
    """A backend that notes what shapes it is given, and gives them back."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def apply(self, x: Floats) -> Floats:
        self.shapes.append(x.shape[2:])
        return x


@pytest.mark.parametrize(
    ("size", "worked_at"),
    [
        ((32, 50), (32, 50)),  # as it is, to the pixel
        ((417, 301), (44, 32)),
        ((10, 20), (32, 64)),
        ((1, 1), (32, 32)),
        ((1, 3000), (1, 256)),  # a strip is not blown up without end
        ((3000, 2), (256, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_network_that_works_at_one_size(size: tuple[int, int], worked_at: tuple[int, int], dtype: type) -> None:
    image: Image = np.full((*size, 3), np.iinfo(dtype).max // 3, dtype)
    image[..., 1] = 0
    seen = Seen()
    result = Restorer(seen, size=32)(image)
    assert seen.shapes == [worked_at]
    # libvips resizes 16 bit with weights of 12
    np.testing.assert_allclose(result.astype(float), image, rtol=0, atol=0 if dtype == np.uint8 else 40)
    assert result.dtype == dtype
    out = np.zeros_like(image)
    assert Restorer(seen, size=32)(image, out=out) is out
    np.testing.assert_array_equal(out, result)


def test_the_cards_size_and_ones_own(make_weight: Callable[..., Path], photo: NDArray[np.uint8]) -> None:
    model = make_weight("sized", task="translate", size=24)
    assert Restorer.from_pretrained(model).size == 24
    assert Restorer.from_pretrained(model).parallel()[0].size == 24
    assert Restorer.from_pretrained(model, size=48).size == 48
    whole = Restorer.from_pretrained(model, size=0)
    assert whole.size is None
    np.testing.assert_array_equal(whole(photo), np.rint(photo * 0.4))
    whole(photo, strength=0.5)
    with pytest.raises(InputError, match=r"strength 0\.5 needs a network that works at the image's own size"):
        Restorer.from_pretrained(model)(photo, strength=0.5)


def test_wrong_input_is_refused(darkening_weight: Path, photo: NDArray[np.uint8]) -> None:
    restorer = Restorer.from_pretrained(darkening_weight)
    for bad in (photo[..., 0], photo.astype(np.float32), photo[:0], "photo.jpg"):
        with pytest.raises(InputError, match="an image must be"):
            restorer.restore(bad)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            restorer(photo, strength=strength)
    with pytest.raises(InputError, match="between 0 and 1, or 'auto', got 2"):
        restorer(photo, strength=2)
    with pytest.raises(InputError, match="out must be"):
        restorer(photo, out=photo[:5])


def test_auto_takes_the_strength_that_it_finds(
    darkening_weight: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = Restorer.from_pretrained(darkening_weight)
    np.testing.assert_array_equal(restorer(photo, strength="auto"), restorer(photo))  # each pixel alone: always sure
    monkeypatch.setattr(restorer, "find_strength", lambda image: 0.3)
    np.testing.assert_array_equal(restorer(photo, strength="auto"), restorer(photo, strength=0.3))
    restorer.size = 20
    with pytest.raises(InputError, match="strength auto needs a network that works at the image's own size"):
        restorer(photo, strength="auto")


class Spot(Seen):
    """A backend that takes 0.4 away in one place of what it is given."""

    def apply(self, x: Floats) -> Floats:
        y = super().apply(x).copy()
        y[:, :, 9, 14] -= 0.4
        return y


def test_quality_best_is_the_mean_of_four_augmentations() -> None:
    image = np.full((16, 24, 3), 255, np.uint8)
    spot = Spot()
    result = Restorer(spot, multiple_of=8, quality="best")(image)
    assert spot.shapes == [(16, 24), (24, 32), (24, 32), (24, 32)]
    # as it is; mirrored, less the shift; upside down; both
    for row, column in ((9, 14), (9 - 1, 31 - 14 - 1), (23 - 9 - 2, 14 - 3), (23 - 9 - 3, 31 - 14 - 2)):
        np.testing.assert_array_equal(result[row, column], round(255 * 0.9))
        result[row, column] = 255
    assert (result == 255).all()


def test_quality_best_in_tiles_takes_tiles_that_are_hardly_larger() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 70, 3), dtype=np.uint8)
    fast, best = Seen(), Seen()
    tiling = Tiling(tile=48, overlap=8)
    Restorer(fast, multiple_of=8, tiling=tiling)(image)
    result = Restorer(best, multiple_of=8, tiling=tiling, quality="best")(image, strength=0.5)
    np.testing.assert_array_equal(result, image)
    assert len(best.shapes) == 4 * len(fast.shapes)
    for i, (height, width) in enumerate(fast.shapes):
        assert best.shapes[4 * i : 4 * i + 4] == [(height, width)] + 3 * [(height + 8, width + 8)]


def test_quality_is_kept_and_checked(darkening_weight: Path, make_weight: Callable[..., Path]) -> None:
    best = Restorer.from_pretrained(darkening_weight, device="cpu", threads=2, quality="best")
    assert best.parallel()[0].quality == "best"
    assert best.parallel()[0].backend is not best.backend
    with pytest.raises(InputError, match="quality must be 'draft', 'fast' or 'best', got 'worst'"):
        Restorer(Seen(), quality="worst")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="quality best is not for networks that translate, such as sized"):
        Restorer.from_pretrained(make_weight("sized", task="translate"), quality="best")


def test_changed_byte_is_refused(darkening_weight: Path) -> None:
    data = bytearray((darkening_weight / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (darkening_weight / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="damaged or was changed"):
        Restorer.from_pretrained(darkening_weight)


def test_a_network_that_fails_says_so(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    fixed = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 16, 16])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [fixed],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(BackendError, match=r"failed on cpu at \(1, 3, 61, 83\)"):
        Restorer(OnnxBackend(model.SerializeToString()))(photo)


class LinesBackend:
    """Takes away what is brighter than its surroundings and at most three pixels wide."""

    device = form = "none"

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def run(self, x: NDArray[np.float32], state: tuple[()] = ()) -> tuple[NDArray[np.float32], tuple[()]]:
        self.sizes.append(x.shape[2:])
        rain = x - grey_opening(x, size=(1, 1, 1, 4), mode="nearest")
        return x - np.where(rain > 0.04, rain, 0), ()

    def parallel(self) -> tuple[LinesBackend, int]:
        return self, 1


def striped(wide: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(1000, 1200, 3) with upright streaks, and without."""
    clean = np.full((1000, 1200, 3), 90, np.uint8)
    rainy = clean.copy()
    rng = np.random.default_rng(0)
    for _ in range(2000 // wide**2):
        y, x = rng.integers(0, 1000), rng.integers(0, 1190)
        rainy[y : y + 15 * wide, x : x + wide] = 160
    return rainy, clean


def test_wide_streaks_go_where_the_card_has_scales() -> None:
    rainy, clean = striped(6)
    backend = LinesBackend()
    assert np.abs(Restorer(backend, multiple_of=8)(rainy).astype(int) - rainy).max() == 0
    restored = Restorer(backend, multiple_of=8, scales=(1, 16)).restore(rainy)
    assert restored.levels
    assert restored.strength == 1
    assert 1 not in restored.levels
    assert np.square(restored.image.astype(float) - clean).mean() < 0.2 * np.square(rainy.astype(float) - clean).mean()


def test_nothing_is_computed_for_strength_0() -> None:
    rainy, _ = striped(2)
    backend = LinesBackend()
    for scales in (None, (1, 16)):
        restored = Restorer(backend, multiple_of=8, scales=scales).restore(rainy, strength=0)
        np.testing.assert_array_equal(restored.image, rainy)
        assert restored.levels == ()
    assert backend.sizes == []


def test_draft_leaves_the_full_resolution_out() -> None:
    rainy, _ = striped(2)
    backend = LinesBackend()
    draft = Restorer(backend, multiple_of=8, quality="draft", scales=(1, 16))
    assert draft.restore(rainy).levels in ((2,), (2, 4))
    assert max(height * width for height, width in backend.sizes) <= 512 * 608
    assert draft.restore(rainy[:300, :300]).levels == (1,)  # has no other


def test_levels_are_for_cards_with_scales(darkening_weight: Path, make_weight: Callable[..., Path]) -> None:
    with pytest.raises(
        InputError, match=r"levels \(2, 1\) is for networks that work on reduced images too; darken does"
    ):
        Restorer.from_pretrained(darkening_weight, "cpu", levels=(2, 1))
    with pytest.raises(InputError, match="quality draft is for networks that work on reduced images"):
        Restorer.from_pretrained(darkening_weight, "cpu", quality="draft")
    with pytest.raises(InputError, match="powers of two"):
        Restorer.from_pretrained(darkening_weight, "cpu", levels=(3,))
    Restorer.from_pretrained(darkening_weight, "cpu", levels=(1,))
    scaled = Restorer.from_pretrained(make_weight("scaled", scales=(1, 4)), "cpu", levels=(4, 1))
    assert scaled.restore(np.zeros((1000, 1000, 3), np.uint8)).levels == (4, 1)
    assert scaled.restore(np.zeros((1000, 1000, 3), np.uint8), levels=(2,)).levels == (2,)


def test_strength_auto_judges_the_level_that_sees_the_rain() -> None:
    rainy, clean = striped(6)
    restorer = Restorer(LinesBackend(), multiple_of=8, scales=(1, 16))
    assert restorer.find_strength(rainy) > 0.8
    assert restorer.find_strength(clean) == 0
    assert restorer.restore(clean, strength="auto").levels == ()
