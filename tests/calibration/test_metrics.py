"""The metrics against the MATLAB formulas, written here a second time and differently."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import convolve2d

from data_sets import DATA, needs
from repix.errors import InputError
from repix.io.image import read_image
from repix.metrics import METRICS, lpips, psnr_rgb, psnr_y, ssim_rgb, ssim_rgb_7x7, ssim_y
from repix.tasks import DERAIN

RNG = np.random.default_rng(7)


def image_pair(kind: str, height: int = 45, width: int = 38) -> tuple[np.ndarray, np.ndarray]:
    """Smooth, noisy, flat and saturated pairs."""
    yy, xx = np.mgrid[:height, :width]
    waves = np.stack([np.sin(xx / (3 + c)) * np.cos(yy / (5 + c)) for c in range(3)], axis=-1)
    gt = np.clip(127 + 110 * waves, 0, 255)
    if kind == "flat":
        gt = np.full_like(gt, 90.0)
    noise = {"smooth": 4, "noisy": 40, "flat": 10, "saturated": 5}[kind]
    if kind == "saturated":
        gt = np.where(gt > 127, 255.0, 0.0)
    pred = np.clip(gt + noise * RNG.standard_normal(gt.shape), 0, 255)
    return pred.round().astype(np.uint8), gt.round().astype(np.uint8)


def matlab_y(rgb: np.ndarray) -> np.ndarray:
    """im2double, then the first row of MATLAB's rgb2ycbcr: its matrix applied to [0, 1], scaled by 1/255."""
    rgb = rgb.astype(np.float64) / 255
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return (16 + 65.481 * red + 128.553 * green + 24.966 * blue) / 255


def matlab_psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(1 / np.mean((a - b) ** 2))


def wang_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """ssim_index.m of Wang et al. 2004: fspecial('gaussian', 11, 1.5), filter2(…, 'valid'), on [0, 255]."""
    axis = np.arange(11) - 5
    window = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = a * 255, b * 255

    def blur(x: np.ndarray) -> np.ndarray:
        return convolve2d(x, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    ssim = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(ssim.mean())


@pytest.mark.parametrize("kind", ["smooth", "noisy", "flat", "saturated"])
def test_psnr_and_ssim_are_matlabs(kind: str) -> None:
    pred, gt = image_pair(kind)
    assert psnr_y(pred, gt) == pytest.approx(matlab_psnr(matlab_y(pred), matlab_y(gt)), abs=1e-9)
    assert psnr_rgb(pred, gt) == pytest.approx(matlab_psnr(pred / 255.0, gt / 255.0), abs=1e-9)
    assert ssim_y(pred, gt) == pytest.approx(wang_ssim(matlab_y(pred), matlab_y(gt)), abs=1e-9)
    channels = [wang_ssim(pred[..., c] / 255.0, gt[..., c] / 255.0) for c in range(3)]
    assert ssim_rgb(pred, gt) == pytest.approx(np.mean(channels), abs=1e-9)


def test_ssim_rgb_7x7_is_wangs_formula_over_plain_windows() -> None:
    """Wang's formula over plain 7×7 windows, with the sample's (co)variances."""
    pred, gt = image_pair("noisy", 12, 11)
    found = []
    for y in range(12 - 6):
        for x in range(11 - 6):
            for c in range(3):
                a, b = (image[y : y + 7, x : x + 7, c].astype(float).ravel() for image in (pred, gt))
                (va, ab), (_, vb) = np.cov(a, b)
                c1, c2 = 2.55**2, 7.65**2
                top = (2 * a.mean() * b.mean() + c1) * (2 * ab + c2)
                found.append(top / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2)))
    assert ssim_rgb_7x7(pred, gt) == pytest.approx(np.mean(found), abs=1e-9)
    with pytest.raises(InputError, match="at least 7x7"):
        ssim_rgb_7x7(pred[:6], gt[:6])


def test_psnr_of_a_known_difference() -> None:
    """White against a grey ten levels darker: the luma differs by 10·219/255."""
    white = np.full((16, 16, 3), 255, np.uint8)
    grey = white - 10
    assert psnr_rgb(grey, white) == pytest.approx(20 * math.log10(255 / 10))
    assert psnr_y(grey, white) == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)))
    assert psnr_y(grey, white) - psnr_rgb(grey, white) == pytest.approx(1.322, abs=1e-3)


@pytest.mark.parametrize("name", DERAIN.metrics)
def test_8_bit_16_bit_and_float_have_the_same_value(name: str) -> None:
    pred, gt = image_pair("noisy")
    value = METRICS[name].measure(pred, gt)
    assert METRICS[name].measure(pred.astype(np.uint16) * 257, gt) == pytest.approx(value, abs=1e-9)
    assert METRICS[name].measure((pred / 255.0).astype(np.float64), gt) == pytest.approx(value, abs=1e-9)
    assert METRICS[name].measure(gt, gt) == (math.inf if name.startswith("psnr") else pytest.approx(1.0))


@pytest.mark.parametrize("name", DERAIN.metrics)
def test_wrong_shapes_and_types_are_refused(name: str) -> None:
    pred, gt = image_pair("noisy")
    with pytest.raises(InputError, match=r"shapes \(45, 38, 3\) and \(44, 38, 3\)"):
        METRICS[name].measure(pred, gt[1:])
    with pytest.raises(InputError, match="expected uint8, uint16 or float"):
        METRICS[name].measure(pred.astype(np.int64), gt)
    if name.startswith("ssim"):
        with pytest.raises(InputError, match="at least 11x11"):
            METRICS[name].measure(pred[:10], gt[:10])


BACKBONES = DATA / "backbones"


@needs("backbones")
def test_lpips_on_the_authors_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values that LPIPS' readme gives for its three images; the weights come from the torch hub's cache."""
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    shutil.copy(BACKBONES / "alexnet_features.pth", checkpoints / "alexnet-owt-7be5be79.pth")
    shutil.copy(BACKBONES / "lpips_alex.pth", checkpoints / "lpips_alex.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    ref, far, near = (
        read_image(BACKBONES / "lpips_reference" / f"{name}.png").pixels for name in ("ex_ref", "ex_p0", "ex_p1")
    )
    assert lpips(far, ref) == pytest.approx(0.722, abs=0.002)
    assert lpips(near, ref) == pytest.approx(0.138, abs=0.002)
    assert lpips(ref, ref) == 0
    with pytest.raises(InputError, match="at least 31x31"):
        lpips(ref[:30], ref[:30])
