"""Measures: their definitions, their symmetries, their quirks, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference import quality
from inference.representations.coding import Mode
from training import metrics
from training.metrics import cdvd_tsp, codes, efnet, gem, s_sdm, sc_net
from training.metrics.structure import GAUSSIAN_11, UNIFORM_7, UNIFORM_11, Window, similarity

RGB = (24, 31, 3)
EIGHT_BIT: dict[str, Callable[..., float]] = {
    "psnr": metrics.psnr, "ssim": metrics.ssim, "efnet.psnr": efnet.psnr, "efnet.ssim": efnet.ssim,
    "gem.psnr": gem.psnr, "gem.ssim": gem.ssim, "cdvd_tsp.psnr": cdvd_tsp.psnr, "cdvd_tsp.ssim": cdvd_tsp.ssim,
}  # fmt: skip
FLOATING: dict[str, Callable[..., float]] = {
    "psnr": metrics.psnr, "ssim": metrics.ssim, "efnet.psnr": efnet.psnr, "efnet.ssim": efnet.ssim,
    "s_sdm.psnr": s_sdm.psnr, "s_sdm.ssim": s_sdm.ssim, "sc_net.psnr": sc_net.psnr, "sc_net.ssim": sc_net.ssim,
    "cdvd_tsp.validation_psnr": cdvd_tsp.validation_psnr,
}  # fmt: skip
EVERY = [pytest.param(f, True, id=n) for n, f in EIGHT_BIT.items()] + [
    pytest.param(f, False, id=f"{n}, floating") for n, f in FLOATING.items()
]


def pair(eight_bit: bool, shape: tuple[int, ...] = RGB, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    a = rng.integers(20, 236, shape)
    b = (a + rng.integers(-15, 16, shape)).astype(np.uint8)
    a = a.astype(np.uint8)
    return (a, b) if eight_bit else (a / np.float32(255), b / np.float32(255))


@pytest.mark.parametrize(("measure", "eight_bit"), EVERY)
def test_equal_pictures_are_perfect_and_order_does_not_matter(measure: Any, eight_bit: bool) -> None:
    a, b = pair(eight_bit)
    name = measure.__name__
    perfect = {"psnr": math.inf, "ssim": 1.0, "validation_psnr": 100.0}[name]
    assert measure(a, a) == pytest.approx(perfect, abs=1e-12)
    value = measure(a, b)
    assert type(value) is float
    assert value == pytest.approx(measure(b, a), abs=1e-12)
    assert value < min(perfect, 60)


@pytest.mark.parametrize(("measure", "eight_bit"), EVERY)
def test_pictures_and_tensors_give_the_same(measure: Any, eight_bit: bool) -> None:
    a, b = pair(eight_bit)
    first, second = (torch.from_numpy(x).permute(2, 0, 1) for x in (a, b))
    assert measure(first, second) == measure(a, b) == measure(first[None], b)


@pytest.mark.parametrize(("measure", "eight_bit"), EVERY)
def test_gray_pictures_are_measured_too(measure: Any, eight_bit: bool) -> None:
    a, b = pair(eight_bit, RGB[:2])
    assert measure(a, b) == measure(a[..., None], b[..., None])


@pytest.mark.parametrize("shape", [RGB, RGB[:2], (11, 11, 3)])
def test_plain_measures_are_those_of_the_program(shape: tuple[int, ...]) -> None:
    a, b = pair(True, shape)
    assert metrics.psnr(a, b) == pytest.approx(quality.psnr(a, b), abs=1e-10)
    assert metrics.ssim(a, b) == pytest.approx(quality.ssim(a, b), abs=1e-10)
    as_float = (a / 255, b / 255)
    assert metrics.psnr(*as_float) == pytest.approx(quality.psnr(a, b), abs=1e-9)
    assert metrics.ssim(*as_float) == pytest.approx(quality.ssim(a, b), abs=1e-9)
    assert metrics.psnr(a, b, peak=510) == pytest.approx(quality.psnr(a, b) + 20 * math.log10(2))


def definition(a: NDArray[Any], b: NDArray[Any], window: Window, peak: float, sample: bool) -> float:
    """SSIM number by number, for (H, W, C)."""
    r, taps = window.size // 2, np.array(window.taps())
    deep = window.channels
    weights = np.einsum("i,j,k->ijk", taps, taps, taps if deep else [1.0])
    if window.edge == "replicate":
        a, b = (np.pad(x, ((r, r), (r, r), (0, 0)), mode="edge") for x in (a, b))
    if deep:
        a, b = (np.pad(x, ((0, 0), (0, 0), (r, r)), mode="edge") for x in (a, b))
    size = (window.size, window.size, window.size if deep else 1)
    factor = weights.size / (weights.size - 1) if sample else 1
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for corner in np.ndindex(*(n - s + 1 for n, s in zip(a.shape, size, strict=True))):
        part = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
        x, y = a[part], b[part]
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (factor * (weights * (v - m) ** 2).sum() for v, m in ((x, mx), (y, my)))
        cov = factor * (weights * (x - mx) * (y - my)).sum()
        values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize(
    "window", [GAUSSIAN_11, UNIFORM_7, UNIFORM_11, efnet.VOLUME, Window(5, 1.0, edge="replicate"), Window(3)]
)
def test_similarity_is_its_definition(window: Window, sample: bool) -> None:
    a, b = (x.astype(np.float64) for x in pair(False, (12, 14, 3)))
    tensors = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (a, b)]
    got = float(similarity(tensors[0], tensors[1], peak=1.0, window=window, sample=sample).mean())
    assert got == pytest.approx(definition(a, b, window, 1.0, sample), abs=1e-10)


@pytest.mark.parametrize("window", [Window(3, 1.0), Window(3), Window(3, 1.0, "replicate", True)])
def test_gradients_of_the_similarity(window: Window) -> None:
    torch.manual_seed(0)
    a, b = (torch.rand(2, 2, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.autograd.gradcheck(lambda x, y: similarity(x, y, window=window), (a, b))


def test_a_batch_gives_the_mean_of_its_pictures() -> None:
    pairs = [pair(False, seed=seed) for seed in range(3)]
    stacks = [torch.from_numpy(np.stack([p[i] for p in pairs])).permute(0, 3, 1, 2) for i in range(2)]
    assert metrics.ssim(*stacks) == pytest.approx(np.mean([metrics.ssim(*p) for p in pairs]), abs=1e-12)


# -- what the published evaluations do differently -------------------------------------------------------------


def test_efnets_peak_follows_the_result() -> None:
    black, gray = np.zeros(RGB, np.uint8), np.full(RGB, 9, np.uint8)
    corrected = efnet.psnr(black, gray, mode=Mode.CORRECTED)
    assert corrected == pytest.approx(metrics.psnr(black, gray))
    assert efnet.psnr(black, gray) == pytest.approx(corrected - 20 * math.log10(255))
    assert efnet.psnr(gray, black) == pytest.approx(corrected)
    a, b = pair(False)
    a[0, 0, 0] = 1.01
    assert efnet.psnr(a, b) == pytest.approx(efnet.psnr(a, b, mode=Mode.CORRECTED) + 20 * math.log10(255))
    assert efnet.ssim(a, b) > efnet.ssim(a, b, mode=Mode.CORRECTED)


def test_efnets_border_is_left_out() -> None:
    a, b = pair(True)
    assert efnet.psnr(a, b, border=3) == efnet.psnr(a[3:-3, 3:-3], b[3:-3, 3:-3])


def test_s_sdms_range_drops_for_bright_results() -> None:
    a, b = (0.5 + 0.4 * x for x in pair(False))
    right = s_sdm.psnr(a, b, mode=Mode.CORRECTED)
    assert right == pytest.approx(metrics.psnr(a, b))
    assert s_sdm.psnr(a, b) == pytest.approx(right - 20 * math.log10(2))
    a[0, 0, 0] = 0.49
    assert s_sdm.psnr(a, b) == s_sdm.psnr(a, b, mode=Mode.CORRECTED)
    assert s_sdm.mse(a, b) == pytest.approx(4 * float(np.mean((a.astype(np.float64) - b) ** 2)))


def test_sc_nets_range_is_twice_too_large() -> None:
    a, b = pair(False)
    assert sc_net.ssim(a, b) > sc_net.ssim(a, b, mode=Mode.CORRECTED)
    over = a.copy()
    over[5, 5] = 7
    a[5, 5] = 1
    assert sc_net.psnr(over, b) == sc_net.psnr(a, b)  # the result is clipped


def test_cdvd_tsp_leaves_out_the_border_and_validates_unclipped() -> None:
    a, b = pair(True)
    spoilt = a.copy()
    spoilt[:4], spoilt[-4:], spoilt[:, :4], spoilt[:, -4:] = 0, 0, 0, 0
    assert cdvd_tsp.psnr(spoilt, b) == cdvd_tsp.psnr(a, b)
    assert cdvd_tsp.ssim(spoilt, b) == cdvd_tsp.ssim(a, b)
    exact = torch.from_numpy(a / 255).permute(2, 0, 1)
    assert cdvd_tsp.validation_psnr(exact, b) == pytest.approx(cdvd_tsp.psnr(a, b))
    white = np.full(RGB, 255, np.uint8)
    assert cdvd_tsp.validation_psnr(np.full(RGB, 1.5), white) == pytest.approx(20 * math.log10(2))


# -- 8 bits --------------------------------------------------------------------------------------------------


def test_codes_come_back_from_both_divisions() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for values in (every.astype(np.float32) / np.float32(255), every.astype(np.float32) * np.float32(1 / 255)):
        np.testing.assert_array_equal(codes.rounded(values), every)
        np.testing.assert_array_equal(codes.truncated(values), every)


def test_rounding_and_truncation() -> None:
    values = np.array([[-0.1, 0.5, 0.999, 1.2, 126.5 / 255, 127.5 / 255]])
    np.testing.assert_array_equal(codes.rounded(values), [[0, 128, 255, 255, 126, 128]])
    np.testing.assert_array_equal(codes.truncated(values), [[0, 127, 254, 255, 126, 127]])
    assert codes.rounded(torch.rand(1, 3, 4, 5)).shape == (4, 5, 3)
    with pytest.raises(ValueError, match="2 pictures: convert one at a time"):
        codes.rounded(torch.rand(2, 3, 4, 5))


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("measure", [pytest.param(f, id=n) for n, f in FLOATING.items()])
def test_what_is_not_finite_is_refused_in_one_line(measure: Any, value: float) -> None:
    a, b = pair(False)
    a[3, 4, 1] = value
    for x, y in ((a, b), (b, a)):
        with pytest.raises(ValueError, match="not finite") as error:
            measure(x, y)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="not finite"):
        codes.rounded(a)


@pytest.mark.parametrize(
    ("measure", "eight_bit", "smallest"),
    [
        (metrics.ssim, True, 11), (gem.ssim, True, 11), (cdvd_tsp.ssim, True, 19), (s_sdm.ssim, False, 7),
        (sc_net.ssim, False, 7), (efnet.ssim, True, 1),
    ],
)  # fmt: skip
def test_pictures_below_the_window_are_refused(measure: Any, eight_bit: bool, smallest: int) -> None:
    assert math.isfinite(measure(*pair(eight_bit, (smallest, smallest, 3))))
    if smallest > 1:
        size = smallest - (9 if measure is cdvd_tsp.ssim else 1)  # what is left inside the border
        with pytest.raises(ValueError, match=f"SSIM needs pictures of at least .*, got 40×{size}"):
            inner = 48 if measure is cdvd_tsp.ssim else 40
            measure(*pair(eight_bit, (smallest - 1, inner, 3)))


def test_other_misuse_is_refused_in_words() -> None:
    a, b = pair(True)
    as_float = a / np.float32(255)
    with pytest.raises(
        ValueError, match=r"1 picture of 31×24 with 3 channels cannot be measured against .* 31×23"
    ):
        metrics.psnr(a, b[:-1])
    with pytest.raises(ValueError, match="uint8 and float32 have different ranges"):
        metrics.psnr(a, as_float)
    with pytest.raises(ValueError, match="type int64 does not tell its range"):
        metrics.ssim(a.astype(np.int64), b.astype(np.int64))
    with pytest.raises(ValueError, match="peak 0: must be positive"):
        metrics.psnr(a, b, peak=0)
    with pytest.raises(ValueError, match="has no pixel"):
        metrics.psnr(a[:0], b[:0])
    with pytest.raises(ValueError, match=r"picture \(1, 24, 31, 3\): expected"):
        metrics.psnr(a[None], b[None])
    with pytest.raises(ValueError, match=r"tensor \(5,\): expected"):
        metrics.psnr(torch.zeros(5), torch.zeros(5))
    with pytest.raises(ValueError, match="no pixel is left without a border of 4"):
        cdvd_tsp.psnr(a[:8], b[:8])
    with pytest.raises(ValueError, match="GEM is measured on 8-bit pictures, not float32"):
        gem.psnr(as_float, as_float)
    for module, name in ((s_sdm, "S-SDM"), (sc_net, "SC-Net")):
        with pytest.raises(ValueError, match=f"{name} is measured on floating point in 0…1, not uint8"):
            module.psnr(a, b)
