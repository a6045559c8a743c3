"""Samples: one draw for both images, the same for a seed and an index wherever they are made."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from torch._utils import ExceptionWrapper

from repix._types import one_line
from repix.data.config import SAMPLES, Augment, Data, Samples
from repix.data.datamodule import (
    Degraded,
    RestorationData,
    ValidationDataset,
    ValidationSet,
    _split,
    as_in_this_process,
    list_photos,
)
from repix.data.dataset import (
    BrokenImageError,
    ImageCache,
    MixtureDataset,
    PairedDataset,
    Sources,
    StreamBatches,
    collate,
    load_pair,
    paired_warp,
)
from repix.data.pairs import Pair
from repix.degradations.crop import paired_crop
from repix.errors import InputError, RecipeError
from repix.io.image import read_image, write_image

STAGES = [Samples(steps=1, patch=32)]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos, six pairs whose rainy side is the clean one plus 7 levels, two masks."""
    rng = np.random.default_rng(0)
    for i in range(6):
        base = rng.integers(0, 60, (12, 16, 3)).repeat(6, 0).repeat(6, 1).astype(np.uint8) * 4
        save(tmp_path / "photos" / f"{i}.png", base)
        save(tmp_path / "pairs" / "input" / f"{i}.png", base + 7)
        save(tmp_path / "pairs" / "target" / f"{i}.png", base)
    for i in range(2):
        streaks = np.zeros((64, 64), np.uint8)
        streaks[8:40, 10 + i :: 16] = 200
        save(tmp_path / "masks" / f"{i}.png", streaks)
    return tmp_path


def pairs_of(folder: Path) -> list[Pair]:
    return [
        Pair(str(i), folder / "pairs" / "input" / f"{i}.png", folder / "pairs" / "target" / f"{i}.png")
        for i in range(6)
    ]


def mixture_dataset(folder: Path, seed: int = 3, **mixture: float) -> MixtureDataset:
    sources = Sources(
        list_photos([folder / "photos"]),
        mixture or dict.fromkeys(SAMPLES, 1.0),
        pairs=pairs_of(folder),
        masks=list_photos([folder / "masks"]),
    )
    return MixtureDataset(sources, stages=STAGES, seed=seed)


def module(*, stages: list[Samples] = STAGES, augment: bool = False, seed: int = 0, **data: object) -> RestorationData:
    """The data module of a recipe's `data`, made inline, two images held out unless told otherwise."""
    settings = Data.model_validate({"hold_out": 2, "workers": 0, **data})
    return RestorationData(settings, stages, metric="psnr_y", augment=augment, seed=seed)


def set_names(data: RestorationData) -> list[str]:
    return [found.name for found in data.sets]


def test_crops_and_flips_are_drawn_once_for_both() -> None:
    gt = np.arange(50 * 70 * 3, dtype=np.int64).reshape(50, 70, 3)
    lq = gt + 1_000_000  # any misalignment changes the difference
    seen = set()
    for seed in range(60):
        a, b = paired_crop(lq, gt, (16, 16), np.random.default_rng(seed), name="x")
        assert np.array_equal(a, b + 1_000_000)
        seen.add((b[0, 0, 0] < b[-1, 0, 0], b[0, 0, 0] < b[0, -1, 0]))
    assert len(seen) == 4  # both flips happen


def test_pairs_stay_aligned_through_the_data_set(folder: Path) -> None:
    dataset = PairedDataset(pairs_of(folder), stages=STAGES, seed=1)
    for index in range(30):
        sample = dataset[index]
        assert torch.allclose(sample["lq"] * 255, sample["gt"] * 255 + 7, atol=1e-3)
        assert sample["lq"].shape == (3, 32, 32)


def test_every_pair_once_in_a_round_in_another_order(folder: Path) -> None:
    dataset = PairedDataset(pairs_of(folder), stages=STAGES, seed=1)
    rounds = [[dataset[lap * 6 + i]["name"] for i in range(6)] for lap in range(4)]
    assert all(sorted(names) == list("012345") for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1


def test_a_sample_is_a_function_of_seed_and_index_alone(folder: Path) -> None:
    forwards, backwards = mixture_dataset(folder), mixture_dataset(folder)
    ahead = [forwards[i] for i in range(20)]
    behind = [backwards[i] for i in reversed(range(20))][::-1]
    for one, other in zip(ahead, behind, strict=True):
        assert torch.equal(one["lq"], other["lq"])
        assert torch.equal(one["gt"], other["gt"])
    assert not torch.equal(ahead[0]["lq"], mixture_dataset(folder, seed=4)[0]["lq"])


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_kind_gives_images_in_range(folder: Path, kind: str) -> None:
    dataset = mixture_dataset(folder, **{kind: 1.0})
    changed = 0
    for index in range(12):
        sample = dataset[index]
        for side in ("lq", "gt"):
            assert sample[side].dtype == torch.float32
            assert sample[side].shape == (3, 32, 32)
            assert 0 <= sample[side].min() <= sample[side].max() <= 1
        changed += not torch.equal(sample["lq"], sample["gt"])
        assert sample["name"].startswith(kind)
    assert changed == 0 if kind in ("clean", "grounds", "hard_negatives") else changed >= 6


def test_some_clean_crops_are_enlarged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photos' blocks of 6 pixels become as many times as large, their borders soft."""

    def steepest() -> list[float]:
        samples = mixture_dataset(folder, clean=1.0)
        crops = [samples[i]["gt"] for i in range(40)]
        assert all(crop.shape == (3, 32, 32) for crop in crops)  # type: ignore[union-attr]
        return [float((crop[:, 1:] - crop[:, :-1]).abs().max()) for crop in crops]  # type: ignore[index]

    monkeypatch.setattr("repix.data.dataset._FINER", 0.0)
    monkeypatch.setattr("repix.data.dataset._SOFTER", 0.0)
    sharp = np.mean(steepest())
    monkeypatch.setattr("repix.data.dataset._SOFTER", 1.0)
    assert np.mean(steepest()) < 0.7 * sharp


def hard_dataset(folder: Path, share: float, **mixture: float) -> MixtureDataset:
    sources = Sources(list_photos([folder / "photos"]), mixture, pairs=pairs_of(folder), camera=0.5)
    return MixtureDataset(sources, stages=[Samples(steps=1, patch=32, hard_clean=share)], seed=3)


def test_some_clean_samples_bring_others_to_choose_from(folder: Path) -> None:
    mixture = {"clean": 1.0, "grounds": 1.0, "hard_negatives": 1.0, "pairs": 1.0, "rain": 1.0}
    plain, half = hard_dataset(folder, 0.0, **mixture), hard_dataset(folder, 0.5, **mixture)
    have = clean = 0
    for index in range(60):
        sample, without = half[index], plain[index]
        assert torch.equal(sample["lq"], without["lq"])  # the sample itself stays what it was
        assert "others" not in without
        kind = str(sample["name"]).partition(":")[0]
        clean += kind in ("clean", "grounds", "hard_negatives")
        if "others" in sample:
            assert kind in ("clean", "grounds", "hard_negatives")
            assert sample["others"].shape == (2, 3, 32, 32)
            assert not any(torch.equal(other, sample["lq"]) for other in sample["others"])
            assert torch.equal(sample["others"], half[index]["others"])
            have += 1
    assert 0.25 * clean < have < 0.75 * clean


def test_a_batch_says_whose_the_others_are(folder: Path) -> None:
    dataset = hard_dataset(folder, 1.0, clean=1.0, pairs=1.0)
    samples = [dataset[index] for index in range(16)]
    batch = collate(samples)
    mine = [number for number, sample in enumerate(samples) if "others" in sample]
    assert 0 < len(mine) < 16
    assert batch["others_of"].tolist() == [number for number in mine for _ in range(2)]
    assert torch.equal(batch["others"][:2], samples[mine[0]]["others"])
    assert batch["lq"].shape == (16, 3, 32, 32)
    assert set(collate([sample for sample in samples if "others" not in sample])) == {"lq", "gt", "name"}


def test_pairs_alone_have_no_clean_samples_to_choose(folder: Path) -> None:
    with pytest.raises(InputError, match=r"stages\.hard_clean: pairs alone"):
        module(pairs=str(folder / "pairs"), stages=[Samples(steps=1, patch=32, hard_clean=0.5)])


def test_stages_change_the_patch(folder: Path) -> None:
    dataset = PairedDataset(
        pairs_of(folder), stages=[Samples(steps=5, batch=2, patch=16), Samples(steps=1, patch=48)], seed=0
    )
    assert [dataset[i]["lq"].shape[-1] for i in (0, 9, 10, 99)] == [16, 16, 48, 48]


@pytest.mark.parametrize(("alpha", "said"), [(0, 1), (255, 0)])
def test_transparency_is_left_out_and_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture, alpha: int, said: int
) -> None:
    for pair in pairs_of(folder):
        pixels = read_image(pair.lq).pixels
        save(pair.lq, np.dstack([pixels, np.full(pixels.shape[:2], alpha, np.uint8)]))
    dataset = PairedDataset(pairs_of(folder), stages=STAGES, seed=0)
    for index in range(12):
        sample = dataset[index]
        assert torch.allclose(sample["lq"] - sample["gt"], torch.tensor(7 / 255), atol=1e-6)
    assert [str(folder / "pairs" / "input") in record.getMessage() for record in caplog.records] == [True] * said


def test_a_photo_smaller_than_the_patch_is_named(folder: Path) -> None:
    dataset = PairedDataset(pairs_of(folder), stages=[Samples(steps=1, patch=500)], seed=0)
    with pytest.raises(InputError, match="smaller than the patch"):
        dataset[0]


def test_images_smaller_than_a_patch_are_left_out_from_the_start(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And not found when the first of them is drawn, hours later."""
    for name in ("photos", "pairs/input", "pairs/target"):
        save(folder / name / "small.png", np.zeros((40, 300, 3), np.uint8))
    stages = [Samples(steps=5, patch=16), Samples(steps=1, patch=48)]
    paths = {"photos": str(folder / "photos"), "pairs": str(folder / "pairs")}
    found = module(stages=stages, **paths)
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(": ")[1] for text in said] == ["300x40 is smaller than the patch of 48x48; left out"] * 2
    assert not any(file.endswith("small.png") for file in found.files)
    caplog.clear()
    module(stages=STAGES, **paths)
    assert not caplog.records
    module(stages=STAGES, max_side=150, **paths)  # small.png is then 150x20
    assert [record.getMessage() for record in caplog.records if "at data.max_side: 150" in record.getMessage()]
    with pytest.raises(InputError, match=r"data\.pairs: all 7 images are smaller than the patch of 100x100"):
        module(stages=[Samples(steps=1, patch=100)], pairs=paths["pairs"])
    pairs = {"stages": stages, "pairs": paths["pairs"], "augment": True}  # of a translation
    for augment, warned in (({}, 1), ({"resize_short": 48}, 0), ({"rotation": 5.0}, 0), ({"scale": (0.5, 1.0)}, 0)):
        caplog.clear()
        found = module(**pairs, **augment)
        assert len(caplog.records) == warned
        assert any(file.endswith("small.png") for file in found.files) == (not warned)
        found._train[5]
    with pytest.raises(InputError, match=r"data\.resize_short: 40 is smaller than the patch of 48x48; give 48 or more"):
        module(**pairs, resize_short=40)


def test_a_mixture_without_its_source_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"'streak_masks'.*data\.masks"):
        MixtureDataset(Sources(list_photos([folder / "photos"]), {"streak_masks": 1}), stages=STAGES)


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        list_photos([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        list_photos([tmp_path / "empty"])


def test_batches_resume_and_divide_without_gap_or_repeat() -> None:
    stages = [Samples(steps=3, batch=4), Samples(steps=2, batch=6)]
    whole = list(StreamBatches(stages))
    assert [len(batch) for batch in whole] == [4, 4, 4, 6, 6]
    assert [index for batch in whole for index in batch] == list(range(24))
    assert list(StreamBatches(stages, start=2)) == whole[2:]
    halves = [list(StreamBatches(stages, rank=rank, world=2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == whole
    with pytest.raises(InputError, match="divide"):
        StreamBatches([Samples(steps=1, batch=5)], world=2)


def test_a_data_set_without_its_folder_names_the_variable() -> None:
    for key in ("photos", "pairs"):
        with pytest.raises(InputError, match=rf"data\.{key}: .*\$REPIX_DATA/x.*; set REPIX_DATA to"):
            module(**{"photos": [], key: ["$REPIX_DATA/x"]})


def test_held_out_images_are_never_trained_on(folder: Path) -> None:
    data = module(
        photos=[folder / "photos"],
        pairs=[folder / "pairs"],
        masks=[folder / "masks"],
        mixture=dict.fromkeys(SAMPLES, 1.0),
    )
    held = data._validation
    assert set_names(data) == ["pairs", "rain", "sharp_streaks", "clean"]
    assert len(held) == 2 + 3 * 2
    held_photos = {held[i]["name"] for i in range(len(held)) if held[i]["set"] == "clean"}
    held_pairs = {held[i]["name"] for i in range(len(held)) if held[i]["set"] == "pairs"}
    assert isinstance(data._train, MixtureDataset)
    assert held_photos.isdisjoint(path.stem for path in data._train._from.photos)
    assert held_pairs.isdisjoint(pair.name for pair in data._train._from.pairs)
    assert len(data._train._from.photos) == len(data._train._from.pairs) == 4


def test_data_processes_start_where_images_have_been_read(folder: Path) -> None:
    """libvips has threads by then, which a forked copy of this process would wait for in vain."""
    photos = list_photos([folder / "photos"])
    for photo in photos:
        write_image(folder / "copy.webp", read_image(photo))
    data = module(
        stages=[Samples(steps=2, batch=2, patch=32)],
        photos=[folder / "photos"],
        mixture={"rain": 1.0},
        hold_out=0,
        workers=1,
    )
    loader = data.train_dataloader()
    loader.timeout = 60
    batches = iter(loader)
    assert next(batches)["lq"].shape[0] == 2


def test_validation_is_the_same_every_time(folder: Path) -> None:
    photos = list_photos([folder / "photos"])
    sets = [ValidationSet("rain", "psnr_y", [Degraded(photo, "rain") for photo in photos], "held out")]
    first, second = ValidationDataset(sets, seed=1), ValidationDataset(sets, seed=1)
    assert not torch.equal(first[0]["lq"], ValidationDataset(sets, seed=2)[0]["lq"])
    for i in range(len(first)):
        assert torch.equal(first[i]["lq"], second[i]["lq"])
        assert first[i]["lq"].shape[-1] % 32 == 0


def test_a_stage_may_have_a_mixture_of_its_own(folder: Path) -> None:
    stages = [Samples(steps=4, batch=2, patch=32), Samples(steps=1, patch=32, mixture={"pairs": 1.0})]
    sources = Sources(list_photos([folder / "photos"]), {"clean": 1}, pairs=pairs_of(folder))
    dataset = MixtureDataset(sources, stages=stages)
    assert {dataset[i]["name"].split(":")[0] for i in range(8)} == {"clean"}
    assert {dataset[i]["name"].split(":")[0] for i in range(8, 16)} == {"pairs"}


def test_a_stage_sets_the_density_of_sharp_streaks(folder: Path) -> None:
    def rain(**changes: float) -> float:
        stages = [Samples(steps=1, patch=32, **changes)]  # type: ignore[arg-type]
        dataset = MixtureDataset(Sources(list_photos([folder / "photos"]), {"sharp_streaks": 1}), stages=stages)
        return float(np.mean([(dataset[i]["lq"] - dataset[i]["gt"]).abs().mean() for i in range(24)]))

    never, half, always = rain(sharp_streaks_density=0.0), rain(), rain(sharp_streaks_density=1.0)
    assert 1.2 * never < half < always / 1.1


def ramps(height: int, width: int) -> np.ndarray:
    """(H, W, 3) whose red grows to the right and whose green grows downwards, so that a value tells its place."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, np.full((height, width), 128)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    "augment",
    [
        Augment(),
        Augment(flip=True),
        Augment(scale=(0.7, 1.4), rotation=20),
        Augment(flip=True, scale=(0.7, 1.4), rotation=20),
    ],
)
def test_a_warp_is_drawn_once_for_both(augment: Augment) -> None:
    gt = ramps(60, 90)
    lq = 255 - gt
    flipped = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, b = paired_warp(lq, gt, 40, augment, rng, name="x")
        assert a.shape == b.shape == (40, 40, 3)
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, 1 - b, atol=1e-5)
        flipped.add(bool(b[20, 0, 0] > b[20, -1, 0]))
    assert flipped == ({True, False} if augment.flip else {False})


def test_a_warp_scales_and_rotates_by_what_it_says() -> None:
    gt = ramps(200, 200)

    def slopes(augment: Augment) -> list[tuple[float, float]]:
        """How red changes from pixel to pixel to the right and downwards, in the middle, against the image's own."""
        found = []
        for seed in range(30):
            _, b = paired_warp(gt, gt, 100, augment, np.random.default_rng(seed), name="x")
            rows, columns = np.gradient(b[20:80, 20:80, 0])
            found.append((float(columns.mean() * 200), float(rows.mean() * 200)))
        return found

    scaled = [across for across, _ in slopes(Augment(scale=(0.8, 1.25)))]
    assert 0.78 < min(scaled) < 0.85
    assert 1.15 < max(scaled) < 1.27
    turned = [np.degrees(np.arctan2(down, across)) for across, down in slopes(Augment(rotation=10))]
    assert -10.5 < min(turned) < -6
    assert 6 < max(turned) < 10.5
    assert all(abs(np.hypot(*slope) - 1) < 0.02 for slope in slopes(Augment(rotation=10)))


def test_colours_vary_on_the_input_alone() -> None:
    gt = ramps(40, 40)
    both = [paired_warp(gt, gt, 40, Augment(colour=0.3), np.random.default_rng(seed), name="x") for seed in range(5)]
    assert all(np.array_equal(b, both[0][1]) for _, b in both)
    assert len({round(float(a.mean()), 4) for a, _ in both}) == 5
    assert all(0.4 < a.mean() / b.mean() < 1.7 for a, b in both)


def test_no_augmentation_is_the_image_itself(folder: Path) -> None:
    """resize_short null and flip false on images of the patch's size."""
    for i in range(6):
        pair = pairs_of(folder)[i]
        save(pair.lq, np.asarray(pyvips.Image.new_from_file(str(pair.lq)).numpy()[:64, :64]))
        save(pair.gt, np.asarray(pyvips.Image.new_from_file(str(pair.gt)).numpy()[:64, :64]))
    dataset = PairedDataset(pairs_of(folder), stages=[Samples(steps=1, patch=64)], seed=1, augment=Augment())
    sample = dataset[3]
    whole = pyvips.Image.new_from_file(str(folder / "pairs" / "input" / f"{sample['name']}.png")).numpy()
    assert np.array_equal((sample["lq"].numpy() * 255).round().transpose(1, 2, 0), whole)


def test_resize_short_brings_the_shorter_side_to_a_length(folder: Path) -> None:
    lq, gt = load_pair(ImageCache(), pairs_of(folder)[0], resize_short=86)  # from 96x72
    assert lq.shape == gt.shape == (86, 115, 3)
    dataset = PairedDataset(
        pairs_of(folder), stages=[Samples(steps=1, patch=80)], seed=1, augment=Augment(resize_short=86)
    )
    seen = torch.stack([dataset[i]["gt"] for i in range(0, 60, 6) if dataset[i]["name"] == dataset[0]["name"]])
    assert seen.shape[1:] == (3, 80, 80)
    with pytest.raises(InputError, match="smaller than the patch"):
        PairedDataset(pairs_of(folder), stages=[Samples(steps=1, patch=80)], augment=Augment())[0]


def test_augmented_samples_are_a_function_of_seed_and_index_alone(folder: Path) -> None:
    augment = Augment(resize_short=80, flip=True, scale=(0.8, 1.3), rotation=5, colour=0.2)
    one, other = (PairedDataset(pairs_of(folder), stages=STAGES, seed=1, augment=augment) for _ in range(2))
    ahead = [one[i] for i in range(10)]
    behind = [other[i] for i in reversed(range(10))][::-1]
    for a, b in zip(ahead, behind, strict=True):
        assert torch.equal(a["lq"], b["lq"])
        assert torch.equal(a["gt"], b["gt"])


def test_what_is_held_out_may_stay_under_another_seed(folder: Path) -> None:
    first, kept, other = (
        module(photos=[folder / "photos"], pairs=[folder / "pairs"], mixture={"rain": 1.0}, **seeds)  # type: ignore[arg-type]
        for seeds in ({"seed": 0}, {"seed": 1, "hold_out_seed": 0}, {"seed": 1})
    )

    def held(data: RestorationData) -> list[torch.Tensor]:
        return [data._validation[i]["lq"] for i in range(len(data._validation))]

    def same(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))

    assert same(held(first), held(kept))
    assert not same(held(first), held(other))
    assert not torch.equal(first._train[0]["lq"], kept._train[0]["lq"])


def names(data: RestorationData, kind: str) -> list[str]:
    items = (data._validation[i] for i in range(len(data._validation)))
    return [str(item["name"]) for item in items if item["set"] == kind]


def trained_on(data: RestorationData) -> set[str]:
    assert isinstance(data._train, PairedDataset)
    return {pair.name for pair in data._train._pairs}


def test_a_limit_takes_a_part_that_grows(folder: Path) -> None:
    """Fewer pairs are some of more, and what was held out stays the same."""
    some = [module(pairs=[folder / "pairs"], augment=True, limit=limit) for limit in (1, 3, 4, None)]
    sets = [trained_on(data) for data in some]
    assert [len(found) for found in sets] == [1, 3, 4, 4]
    assert sets[0] < sets[1] < sets[2] == sets[3]
    assert len({tuple(names(data, "pairs")) for data in some}) == 1


def test_a_subset_trained_on_may_be_validated(folder: Path) -> None:
    data = module(pairs=[folder / "pairs"], train_subset=3, validation=[folder / "pairs"], max_validation=2)
    assert set_names(data) == ["train", "pairs", f"{folder.name}-pairs"]  # the folder's own name is taken
    assert len(names(data, "train")) == len(names(data, f"{folder.name}-pairs")) == 2
    assert set(names(data, "train")) <= trained_on(data)
    assert trained_on(data).isdisjoint(names(data, "pairs"))


@pytest.mark.parametrize("name", ["rain", "sharp_streaks", "clean", "train", "pairs", "drawn", "other"])
def test_a_folder_never_merges_with_a_set_of_its_name(folder: Path, name: str) -> None:
    for parent in ("a/x", "b/x", "b/y"):
        shutil.copytree(folder / "pairs", folder / parent / name)
    data = module(photos=[folder / "photos"], validation=[folder / p / name for p in ("a/x", "b/x", "b/y")])
    own = name if name in ("drawn", "other") else f"x-{name}"
    second = "x-" + name if own == name else f"x-{name}-2"
    assert set_names(data) == [own, second, f"y-{name}", "rain", "sharp_streaks", "clean"]
    metrics = {found.name: found.metric for found in data.sets}
    assert [found for found, metric in metrics.items() if metric != "psnr_y"] == ["clean"]
    assert all(len(names(data, found.name)) == len(found.pairs) for found in data.sets)
    assert [len(found.pairs) for found in data.sets] == [6, 6, 6, 2, 2, 2]


def test_held_out_photos_are_validated_with_what_the_recipe_says(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "dim.py"
    file.write_text("class Dim:\n    def __call__(self, clean, rng, context):\n        return clean / 2, clean\n")
    own = f"{file}:Dim"
    data = module(photos=[folder / "photos"], mixture={own: 1.0}, validation_degradations=["clean", own])
    assert set_names(data) == ["clean", "Dim"]
    item = next(sample for i in range(4) if (sample := data._validation[i])["set"] == "Dim")
    assert torch.allclose(item["lq"], item["gt"] / 2, atol=1 / 255)


def test_a_degradation_of_ones_own_reaches_the_processes_that_make_data(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "dim.py"
    file.write_text("class Dim:\n    def __call__(self, clean, rng, context):\n        return clean / 2, clean\n")
    data = module(
        stages=[Samples(steps=2, batch=2, patch=32)],
        photos=[folder / "photos"],
        mixture={f"{file}:Dim": 1.0},
        hold_out=0,
        workers=1,
    )
    loader = data.train_dataloader()
    loader.timeout = 60
    batch = next(iter(loader))
    assert torch.allclose(batch["lq"], batch["gt"] / 2, atol=1 / 255)


def test_what_a_degradation_of_ones_own_gets_wrong_is_said(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(
        "class Grey:\n    def __call__(self, clean, rng, context):\n        return clean.mean(2), clean\n"
        "class Rainy(Grey):\n    needs = ('masks',)\n"
    )
    photos = list_photos([folder / "photos"])
    with pytest.raises(InputError, match=r"data\.masks names no files"):
        MixtureDataset(Sources(photos, {f"{file}:Rainy": 1}), stages=STAGES)
    with pytest.raises(RecipeError, match="there is no Fog"):
        MixtureDataset(Sources(photos, {f"{file}:Fog": 1}), stages=STAGES)


def test_a_mixture_of_one_stage_leaves_the_others_as_they_were(folder: Path) -> None:
    stages = [Samples(steps=1, batch=4, patch=32), Samples(steps=1, patch=32, mixture={"clean": 1})]
    data = module(stages=stages, pairs=[folder / "pairs"])
    kinds = [str(data._train[i]["name"]).split(":")[0] for i in range(8)]
    assert kinds == ["pairs"] * 4 + ["clean"] * 4


def test_b_to_a_exchanges_what_is_trained_and_validated(folder: Path) -> None:
    for direction, difference in (("AtoB", 7), ("BtoA", -7)):
        data = module(pairs=[folder / "pairs"], augment=True, direction=direction, train_subset=1)
        assert isinstance(data._train, PairedDataset)
        for sample in (data._train[0], data._validation[0], data._validation[2]):
            assert torch.allclose((sample["lq"] - sample["gt"]) * 255, torch.tensor(float(difference)), atol=1e-3)


def test_more_held_out_than_half_is_said(caplog: pytest.LogCaptureFixture) -> None:
    kept, held = _split("abcdefg", 5, np.random.default_rng(0))
    assert (len(kept), len(held)) == (4, 3)
    assert "3 of 7 are held out, not 5: at least half stays for training" in caplog.text
    assert sorted([*kept, *held]) == list("abcdefg")


_RAISED = [
    InputError("a.png: damaged"),
    BrokenImageError("a.png: damaged"),
    RecipeError("several\nlines: of words"),
    ValueError("zero-size array"),
    KeyError("name"),
    OSError(28, "No space left on device", "a.png"),
    FileNotFoundError(2, "No such file or directory", "it's.png"),
    PermissionError(13, "Permission denied"),
    OSError("no number"),
    pyvips.Error("out of order"),
    AssertionError(),
]


@pytest.mark.parametrize("raised", _RAISED, ids=repr)
def test_an_error_of_a_process_that_makes_data_says_what_it_says_here(raised: Exception) -> None:
    """torch hands on the type and a traceback."""
    met = as_in_this_process(handed_on(raised))
    assert type(met) is type(raised)
    assert one_line(met) == one_line(raised)
    if isinstance(raised, OSError):
        assert isinstance(met, OSError)
        assert (met.errno, met.filename) == (raised.errno, raised.filename)


def test_an_error_that_torch_cannot_make_again_says_its_type() -> None:
    with pytest.raises(MemoryError) as of_numpy:
        np.empty((2**40, 2**10))
    met = as_in_this_process(handed_on(of_numpy.value))
    assert type(met) is MemoryError
    assert str(met) == str(of_numpy.value)
    met = as_in_this_process(handed_on(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")))
    assert str(met).startswith("UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff")


def test_a_process_that_makes_data_and_was_ended_is_told() -> None:
    for text in ("DataLoader worker (pid 7) is killed by signal: Killed. ", "DataLoader worker (pid(s) 7) exited une"):
        assert "a smaller data.workers" in str(as_in_this_process(RuntimeError(text)))
    assert as_in_this_process(RuntimeError("of this process")) is None


def handed_on(raised: Exception) -> Exception:
    """What torch raises in the main process for what one that makes data has raised, from another error."""
    try:
        try:
            raise LookupError("a cause")
        except LookupError as cause:
            raise raised from cause
    except Exception:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(Exception, match="Caught") as caught:
        wrapped.reraise()
    return caught.value
