"""RepixNet with a memory: where it starts, what it is given, and motion found without learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from repix.models import create_model
from repix.models.adapter import Adapter
from repix.models.alignment import find_motion, warped, warped_sharp
from repix.models.repixnet_video import RepixNetVideo
from repix.train.start import start_from
from repix.weights import ModelCard, save_card

ARGS = {"channels": [8, 16, 16], "encoder": [1, 1], "middle": 1, "decoder": [1, 1]}


def scene(height: int = 128, width: int = 160, seed: int = 0) -> np.ndarray:
    """Detail of all sizes, as photos have, (H, W, 3) in [0, 1]."""
    rng = np.random.default_rng(seed)
    sizes = [gaussian_filter(rng.standard_normal((height, width, 3)), (s, s, 0)) * s for s in (1, 3, 9)]
    made = np.sum(sizes, axis=0)
    return np.clip(0.5 + 0.15 * made / made.std(), 0, 1).astype(np.float32)


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))


def net(trained: bool = False) -> RepixNetVideo:
    torch.manual_seed(0)
    made = create_model("repixnet_video", features=4, **ARGS).eval()
    assert isinstance(made, RepixNetVideo)
    nn.init.normal_(made.tail[0].weight, std=0.02)  # type: ignore[arg-type]
    if trained:
        for part in (made.memory, made.gate[0]):
            nn.init.normal_(part.weight, std=0.1)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("shift", [(0, 0), (0, 5), (3, -17.5), (-0.5, 0.25), (12, 25)])
def test_motion_of_the_camera(shift: tuple[float, float]) -> None:
    wide = scene(224, 256)
    there = moved(wide, (*shift, 0), order=3, mode="reflect")[48:-48, 48:-48]
    here = wide[48:-48, 48:-48]
    rng = np.random.default_rng(1)
    rainy = np.clip(here + 0.5 * (rng.random((*here.shape[:2], 1)) > 0.96), 0, 1).astype(np.float32)
    field = find_motion(tensor(rainy), tensor(there.astype(np.float32)))
    inner = field[0, :, 4:-4, 4:-4]
    assert float((inner[0] - shift[1]).abs().median()) < 0.35
    assert float((inner[1] - shift[0]).abs().median()) < 0.35
    laid = warped(tensor(there.astype(np.float32)), field)
    error = (laid - tensor(here))[..., 40:-40, 40:-40].square().mean()
    assert float(error) < 1e-3
    if max(map(abs, shift)) > 1:
        assert float(error) < 0.3 * float((tensor(there.astype(np.float32)) - tensor(here)).square().mean())


def under_rain(image: np.ndarray, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    streaks = gaussian_filter((rng.random(image.shape[:2]) > 0.99).astype(float), (6, 0.5))[..., None]
    return tensor(np.clip(image + 0.5 * (streaks > 0.03), 0, 1).astype(np.float32))


def test_the_cameras_motion_is_taken_where_it_explains_the_frame() -> None:
    wide = scene(224, 288)
    wide[:, :140] = 0.5 + 0.02 * (wide[:, :140] - 0.5)  # a plain wall, on which blocks go astray
    here, there = (wide[16 + down : 208 + down, 16 + across : 272 + across] for down, across in ((0, 0), (-3, -7)))
    now, before = under_rain(here, 1), under_rain(there, 2)
    true = torch.tensor([7.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 24, 32)

    def astray(field: Tensor) -> float:
        return float(((field - true).square().sum(1).sqrt() > 0.25).float().mean())

    told = find_motion(now, before, true)
    assert astray(told) < 0.15 < 0.8 < astray(find_motion(now, before))


def test_wrong_motion_loses_to_what_blocks_find() -> None:
    wide = scene(224, 288)
    here, there = (
        tensor(wide[16 + down : 208 + down, 16 + across : 272 + across]) for down, across in ((0, 0), (-3, -7))
    )
    wrong = torch.tensor([-6.0, 9.0]).view(1, 2, 1, 1).expand(1, 2, 24, 32)
    torch.testing.assert_close(find_motion(here, there, wrong), find_motion(here, there))


def test_what_moves_by_itself_keeps_its_motion() -> None:
    ground, thing = scene(224, 288), scene(96, 96, seed=3)
    frames = []
    for t in (0, 1):
        frame = ground[:192, 5 * t : 256 + 5 * t].copy()
        frame[48:144, 80 + 12 * t : 176 + 12 * t] = thing
        frames.append(tensor(frame))
    camera = torch.tensor([5.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 24, 32)
    field = find_motion(frames[1], frames[0], camera)[0]
    assert float((field[0, 1:4] - 5).abs().max()) == 0  # above it, the camera's
    assert float((field[0, 10:14, 15:19].median() + 12).abs()) < 1


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 0.8])
def test_between_pixels_little_is_blurred(part: float) -> None:
    wide = scene(96, 128)
    there = moved(wide, (0, part, 0), order=5, mode="reflect")
    field = torch.zeros(1, 2, 12, 16)
    field[:, 0] = part
    both = torch.cat([tensor(there.astype(np.float32)), torch.ones(1, 1, 96, 128)], dim=1)
    exact, inner = tensor(wide), (..., slice(8, -8), slice(8, -8))
    sharp, linear = warped_sharp(both, field, 3), warped(both, field)
    torch.testing.assert_close(sharp[:, 3:], linear[:, 3:])
    errors = [float((laid[:, :3] - exact)[inner].square().mean()) for laid in (sharp, linear)]
    assert errors[0] <= (errors[1] if part == 0 else 0.5 * errors[1])


def test_training_is_told_the_cameras_motion() -> None:
    video = net(trained=True)
    ground = scene(200, 240)
    clean = torch.stack([tensor(ground[:128, 9 * t : 9 * t + 128])[0] for t in range(3)])[None]
    rainy = torch.stack([under_rain(ground[:128, 9 * t : 9 * t + 128], t)[0] for t in range(3)])[None]
    given: list[Tensor] = []
    video.register_forward_pre_hook(lambda _, inputs: given.append(inputs[3]))
    with torch.inference_mode():
        Adapter(video).predict_clips(rainy, clean)
        Adapter(video).predict_clips(rainy)
    assert not given[0].any()
    for motion in given[1:3]:
        torch.testing.assert_close(motion, torch.tensor([9.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 16, 16))
    assert not given[3].any()
    assert not given[4].any()  # nobody told: what it has left, nothing


def test_what_nothing_shows_is_zero() -> None:
    field = torch.zeros(1, 2, 4, 4)
    field[:, 0] = 8
    laid = warped(torch.ones(1, 1, 32, 32), field)
    assert (laid[..., :24] == 1).all()
    assert (laid[..., 24:] == 0).all()


def test_a_first_frame_is_what_the_image_network_makes(tmp_path: Path) -> None:
    image = create_model("repixnet", **ARGS).eval()
    nn.init.normal_(image.tail[0].weight, std=0.02)  # type: ignore[index, arg-type, union-attr]
    card = ModelCard(name="still", task="derain", arch="repixnet", args=ARGS, tiling=None, multiple_of=8, licence="X")
    (tmp_path / "model.safetensors").write_bytes(safetensors.torch.save(image.state_dict()))
    save_card(card, tmp_path, forms={"safetensors-fp32": "model.safetensors"})
    video = net()
    start_from(video, str(tmp_path))
    a, b = tensor(scene()), tensor(scene(seed=1))
    with torch.inference_mode():
        y, *state = video(a, *video.zeros(a))
        torch.testing.assert_close(y, image(a), atol=0, rtol=0)
        torch.testing.assert_close(video(b, *state)[0], image(b), atol=0, rtol=0)  # nothing learnt yet: each alone
        for part in (video.memory, video.gate[0]):
            nn.init.normal_(part.weight, std=0.1)  # type: ignore[arg-type]
        torch.testing.assert_close(video(a, *video.zeros(a))[0], image(a), atol=1e-6, rtol=0)
        assert float((video(b, *state)[0] - image(b)).abs().max()) > 0.01


@pytest.mark.parametrize("unshuffle", [1, 2, 4])
def test_what_is_done_in_one_convolution(unshuffle: int) -> None:
    torch.manual_seed(0)
    video = RepixNetVideo(channels=(8, 16), encoder=(1,), middle=1, decoder=(1,), features=4, unshuffle=unshuffle)
    for part in (video.memory.weight, *video.gate.parameters(), *video.tail.parameters()):
        nn.init.normal_(part)
    change, features = torch.rand(2, 6, 32, 48), torch.rand(2, 4, 32 // unshuffle, 48 // unshuffle)
    with torch.inference_mode():
        apart = video.memory(torch.cat([pixel_unshuffle(change, unshuffle), features], dim=1))
        torch.testing.assert_close(video._remembered(change, features), apart, atol=1e-4, rtol=1e-4)
        made = torch.rand(2, 8, 16, 24)
        torch.testing.assert_close(video._ends(made), (video.tail(made), video.gate(made)), atol=1e-4, rtol=1e-4)


def test_an_open_gate_gives_the_result_before() -> None:
    video = net()
    gate = video.gate[0]
    assert isinstance(gate, nn.Conv2d)
    assert gate.bias is not None
    nn.init.constant_(gate.bias, 0.2)
    before, now = tensor(scene()), tensor(scene())
    frame = torch.cat([before * 0.5, now, torch.ones_like(now[:, :1])], dim=1)
    with torch.inference_mode():
        y, after, *_ = video(now, frame, *video.zeros(now)[1:])
    torch.testing.assert_close(y, before * 0.5, atol=1e-5, rtol=0)
    torch.testing.assert_close(after[:, 3:6], now)
    assert (after[:, 6] == 1).all()
