"""Measures of quality against their definitions."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from inference.quality import Reblur, psnr, reblur_residual, sharpness, ssim
from inference.tone import decode, encode


def picture(shape: tuple[int, ...] = (40, 50), seed: int = 0) -> np.ndarray:
    smooth = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=shape), (0, 0), 2)
    return np.clip(128 + 300 * smooth, 0, 255).astype(np.uint8)


def test_psnr() -> None:
    a = np.full((4, 5, 3), 100, np.uint8)
    assert psnr(a, a) == math.inf
    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255))
    assert psnr(np.zeros_like(a), np.full_like(a, 255)) == 0
    # uint8 must not wrap: 100 - 110 is -10, not 246.
    assert psnr(a, a + 10) == pytest.approx(20 * math.log10(25.5))


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_ssim_is_the_papers(shape: tuple[int, ...]) -> None:
    a = picture(shape)
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-20, 21, shape), 0, 255).astype(np.uint8)
    g = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(g, g) / g.sum() ** 2
    values = []
    for c in range(shape[2] if len(shape) == 3 else 1):
        p, q = (v[..., c] if v.ndim == 3 else v for v in (a.astype(float), b.astype(float)))
        for y in range(30):
            for x in range(40):
                u, v = p[y : y + 11, x : x + 11], q[y : y + 11, x : x + 11]
                mu, mv = (window * u).sum(), (window * v).sum()
                su, sv = (window * (u - mu) ** 2).sum(), (window * (v - mv) ** 2).sum()
                cov = (window * (u - mu) * (v - mv)).sum()
                values.append(
                    (2 * mu * mv + 6.5025) * (2 * cov + 58.5225)
                    / ((mu**2 + mv**2 + 6.5025) * (su + sv + 58.5225))
                )  # fmt: skip
    assert ssim(a, b) == pytest.approx(float(np.mean(values)), abs=1e-9)
    assert ssim(a, a) == pytest.approx(1.0)
    assert ssim(a, b) < 0.95


def test_reblur_residual() -> None:
    latents = np.stack([picture(seed=k) for k in range(5)])
    mean = encode(decode(latents, "srgb").astype(np.float64).mean(axis=0), "srgb")
    got = reblur_residual(latents, mean, "srgb")
    assert got.rms == 0
    assert got.map.shape == (40, 50)
    off = mean.copy()
    off[3, 4] = mean[3, 4] - 30 if mean[3, 4] > 128 else mean[3, 4] + 30
    got = reblur_residual(latents, off, "srgb")
    assert got.rms == pytest.approx(30 / math.sqrt(2000))
    assert got.map[3, 4] == 30
    assert np.count_nonzero(got.map) == 1
    # The mean of light is not the mean of codes.
    assert reblur_residual(latents, mean, "linear").rms > 1


def test_as_many_pictures_as_fit_are_summed_up_exactly() -> None:
    white = np.full((2, 3), 255, np.uint8)
    reblur = Reblur("srgb")
    for _ in range(511):
        reblur.add(white)
    assert reblur.against(white).rms == 0
    with pytest.raises(ValueError, match="511 pictures are summed up"):
        reblur.add(white)
    with pytest.raises(ValueError, match="do not fit"):
        Reblur("srgb").against(white)


def test_reblur_residual_of_colour_is_per_pixel() -> None:
    latents = np.stack([picture((20, 20, 3), seed=k) for k in range(3)])
    assert reblur_residual(latents, latents[0], "linear").map.shape == (20, 20)


def test_sharpness_falls_with_blur() -> None:
    a = picture()
    assert sharpness(a) > 2 * sharpness(cv2.GaussianBlur(a, (0, 0), 2))
    assert sharpness(np.full((5, 5), 7, np.uint8)) == 0
    ramp = np.tile(np.arange(0, 100, 2, dtype=np.uint8), (9, 1))
    assert sharpness(ramp) == 4
    assert sharpness(np.repeat(ramp[..., None], 3, axis=2)) == 4


def test_what_cannot_be_compared_is_refused() -> None:
    a = picture()
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(a, a[:-1])
    with pytest.raises(ValueError, match="must be uint8"):
        ssim(a, a.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="11×11"):
        ssim(a[:8], a[:8])
    with pytest.raises(ValueError, match="do not fit"):
        reblur_residual(a, a, "linear")
    with pytest.raises(ValueError, match="do not fit"):
        reblur_residual(a[None][:0], a, "linear")
    with pytest.raises(ValueError, match="3×3"):
        sharpness(a[:2])
