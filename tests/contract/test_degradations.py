"""What every degradation must do, whatever it is. A new one is one line in `CHANGES`."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from repix._types import Floats
from repix.degradations import DEGRADATIONS, Context, Degradation, create_degradation
from repix.errors import RecipeError

# Which side of a sample differs from the clean image that was given; every degradation must be here.
CHANGES: dict[str, set[str]] = {
    "clean": set(),
    "crisp_streaks": {"degraded", "clean"},
    "curtain": {"degraded", "clean"},
    "grounds": {"degraded", "clean"},
    "hard_negatives": {"degraded", "clean"},
    "haze": {"degraded"},
    "lens_drops": {"degraded"},
    "rain": {"degraded"},
    "rain_transfer": {"degraded"},
    "sharp_streaks": {"degraded"},
    "specks": {"degraded", "clean"},
    "splash": {"degraded", "clean"},
    "streak_masks": {"degraded"},
}
SIZES = [(1, 1), (1, 40), (7, 3), (33, 57), (96, 96)]


def test_every_degradation_is_under_contract() -> None:
    assert set(CHANGES) == set(DEGRADATIONS)


@pytest.fixture(params=sorted(CHANGES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def degradation(name: str) -> Degradation:
    return create_degradation(name)


def scene(height: int, width: int, phase: float = 0.0) -> Floats:
    """A clean image with light and dark, smooth and busy parts."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(x * 0.05 + phase) * np.cos(y * 0.08), np.sin((x + y) * 0.3 + phase), np.cos(x * 0.02 + y * 0.01)]
    return np.float32(0.5) + np.float32(0.3) * np.stack(waves, axis=2).astype(np.float32)


def context(**changes: object) -> Context:
    """Every source, of sizes of its own."""
    mask = np.zeros((50, 40), np.uint8)
    mask[::7, ::11] = mask[1::7, ::11] = 220
    bare = (scene(60, 45, 1.0) * 255).astype(np.uint8)
    rainy = np.clip(
        bare.astype(int) + mask[:, :, None].repeat(3, 2).astype(int).repeat(2, 0)[:60].repeat(2, 1)[:, :45], 0, 255
    )
    sources = {"photos": [bare], "pairs": [(rainy.astype(np.uint8), bare)], "masks": [mask]}
    return Context(**{**sources, **changes})  # type: ignore[arg-type]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_what_says_that_it_is_clean_gives_one_image_twice(degradation: Degradation) -> None:
    same = [np.array_equal(*degradation(scene(40, 56), rng(seed), context(severity=(1.0, 1.0)))) for seed in range(8)]
    assert all(same) if degradation.is_clean else not all(same)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shape_type_and_range_at_any_size(degradation: Degradation, size: tuple[int, int]) -> None:
    for seed in range(8):
        for image in degradation(scene(*size), rng(seed), context()):
            assert image.shape == (*size, 3)
            assert image.dtype == np.float32
            assert np.isfinite(image).all()
            assert image.min() >= 0
            assert image.max() <= 1


def test_black_and_white_images_stay_in_range(degradation: Degradation) -> None:
    for level in (0.0, 1.0):
        for seed in range(8):
            for image in degradation(np.full((24, 31, 3), level, np.float32), rng(seed), context()):
                assert np.isfinite(image).all()
                assert 0 <= image.min() <= image.max() <= 1


def test_the_same_seed_gives_the_same_sample(degradation: Degradation, name: str) -> None:
    fresh = create_degradation(name)
    for seed in range(4):
        first = degradation(scene(40, 50), rng(seed), context())
        again = fresh(scene(40, 50), rng(seed), context())
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_other_source_of_randomness(degradation: Degradation) -> None:
    """NumPy's own generator is neither read nor moved on."""
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    degradation(scene(40, 50), rng(), context())
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], before)  # noqa: NPY002


def test_inputs_are_not_changed(degradation: Degradation) -> None:
    clean, drawn_from = scene(40, 50), context()
    clean.setflags(write=False)
    for source in (*drawn_from.photos, *drawn_from.masks, *(image for pair in drawn_from.pairs for image in pair)):
        source.setflags(write=False)
    for seed in range(8):
        degradation(clean, rng(seed), drawn_from)
    np.testing.assert_array_equal(clean, scene(40, 50))


def test_it_changes_what_it_says_and_varies(degradation: Degradation, name: str) -> None:
    clean = scene(64, 64)
    changed: set[str] = set()
    for seed in range(12):
        sides = dict(zip(("degraded", "clean"), degradation(clean, rng(seed), context()), strict=True))
        changed |= {side for side, image in sides.items() if not np.array_equal(image, clean)}
    assert changed == CHANGES[name]
    if changed:
        seen = {degradation(clean, rng(seed), context())[0].tobytes() for seed in range(6)}
        assert len(seen) == 6


def test_it_takes_crops_that_share_memory(degradation: Degradation) -> None:
    """Crops come mirrored and transposed, not copied."""
    wide = scene(80, 60)[::-1, 10:50].transpose(1, 0, 2)
    for seed in range(4):
        plain = degradation(np.ascontiguousarray(wide), rng(seed), context())
        for one, other in zip(degradation(wide, rng(seed), context()), plain, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_it_needs_no_more_than_it_says(degradation: Degradation) -> None:
    assert set(degradation.needs) <= {"photos", "pairs", "masks"}
    rest = {source: () for source in ("photos", "pairs", "masks") if source not in degradation.needs}
    for seed in range(8):
        degradation(scene(40, 50), rng(seed), context(**rest))


@pytest.mark.parametrize(
    "changes", [{"focal": 700.0}, {"severity": (0.0, 0.0)}, {"severity": (1.0, 1.0)}, {"camera": True}]
)
def test_any_context(degradation: Degradation, changes: dict[str, object]) -> None:
    for seed in range(6):
        degraded, clean = degradation(scene(40, 50), rng(seed), context(**changes))
        assert degraded.shape == clean.shape == (40, 50, 3)


def test_it_says_what_it_is(name: str) -> None:
    module, _, attribute = DEGRADATIONS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert inspect.isclass(found)
    assert len(inspect.getdoc(found) or "") > 20
    assert found.__doc__ != Degradation.__doc__


def test_degradations_need_no_torch() -> None:
    script = "import sys\nfrom repix.degradations import *\n[create_degradation(name) for name in DEGRADATIONS]\n"
    done = subprocess.run([sys.executable, "-c", f"{script}assert 'torch' not in sys.modules"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_one_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "my_fog.py"
    file.write_text(
        "import numpy as np\n"
        "class Fog:\n"
        "    def __call__(self, clean, rng, context):\n"
        "        return clean * np.float32(rng.uniform(0.2, 0.9)), clean\n"
        "fog = Fog()\n"
    )
    degraded, clean = create_degradation(f"{file}:Fog")(scene(20, 30), rng(), Context())
    assert degraded.mean() < clean.mean()
    for attribute in ("fog", "np", "Mist"):
        with pytest.raises(RecipeError, match=attribute):
            create_degradation(f"{file}:{attribute}")
    with pytest.raises(RecipeError, match=r"no file .*none\.py"):
        create_degradation(f"{tmp_path / 'none.py'}:Fog")
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    with pytest.raises(RecipeError, match=r"broken\.py does not run \(ModuleNotFoundError"):
        create_degradation(f"{tmp_path / 'broken.py'}:Fog")
    with pytest.raises(RecipeError, match="did you mean 'rain'"):
        create_degradation("rian")
