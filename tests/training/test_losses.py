"""Losses: gradients, extremes, what is random in them, and what they refuse."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.representations.coding import Mode
from training.losses import cdvd_tsp, efnet, gem, s_sdm, sc_net


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean(dim=(1, 2, 3))


def fixed_rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "efnet": efnet.psnr_loss,
    "efnet, two outputs": lambda p, t: efnet.loss([p, 0.5 * p], t),
    "sc-net": sc_net.loss,
    "sc-net, spectrum": sc_net.spectral_l1,
    "cdvd-tsp": lambda p, t: cdvd_tsp.loss(p, t, np.random.RandomState(1)),
    "s-sdm, imitation": s_sdm.imitation,
    "s-sdm, re-blur": lambda p, t: s_sdm.reblur(t, [p, 0.5 * p]),
    "s-sdm": lambda p, t: s_sdm.loss(t, [t, t * t], [p, 0.5 * p], distance, structure=True),
}
EVERY = pytest.mark.parametrize("loss", [pytest.param(f, id=n) for n, f in LOSSES.items()])


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scalars_with_finite_gradients(loss: Any, dtype: torch.dtype) -> None:
    prediction, target = (
        rand(2, 3, 12, 14, dtype=dtype).requires_grad_(),
        rand(2, 3, 12, 14, seed=1, dtype=dtype),
    )
    value = loss(prediction, target)
    assert value.shape == ()
    assert value.dtype == dtype
    value.backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert prediction.grad.count_nonzero() > 0.9 * prediction.numel()


@EVERY
def test_gradients_are_the_derivatives(loss: Any) -> None:
    prediction, target = rand(1, 3, 11, 12).requires_grad_(), rand(1, 3, 11, 12, seed=1)
    torch.autograd.gradcheck(lambda p: loss(p, target), (prediction,), fast_mode=True)


@EVERY
def test_equal_pictures_keep_gradients_finite(loss: Any) -> None:
    target = rand(2, 3, 12, 14)
    prediction = target.clone().requires_grad_()
    value = loss(prediction, target)
    value.backward()
    assert value.isfinite()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


@EVERY
def test_nan_goes_through_to_the_loss(loss: Any) -> None:
    prediction, target = rand(2, 3, 12, 14), rand(2, 3, 12, 14, seed=1)
    prediction[1, 2, 3, 4] = math.nan
    assert loss(prediction, target).isnan()


@EVERY
def test_other_shapes_are_refused_instead_of_broadcast(loss: Any) -> None:
    for target in (rand(1, 3, 12, 14), rand(2, 1, 12, 14), rand(3, 12, 14)):
        with pytest.raises(ValueError, match=r"expected two \(N, C, H, W\) of one size") as error:
            loss(rand(2, 3, 12, 14), target)
        assert "\n" not in str(error.value)


# -- EFNet ---------------------------------------------------------------------------------------------------


def test_efnet_is_half_the_negative_psnr() -> None:
    prediction, target = rand(3, 3, 8, 9), rand(3, 3, 8, 9, seed=1)
    psnr = [
        10 * math.log10(1 / float((p - t).square().mean())) for p, t in zip(prediction, target, strict=True)
    ]
    assert float(efnet.psnr_loss(prediction, target)) == pytest.approx(-0.5 * np.mean(psnr), abs=1e-5)
    assert float(efnet.psnr_loss(target, target)) == pytest.approx(-40)
    assert float(efnet.loss([prediction, target], target)) == pytest.approx(-0.5 * np.mean(psnr) - 40, abs=1e-5)
    with pytest.raises(ValueError, match="no output"):
        efnet.loss([], target)


def test_efnet_touches_idle_parameters_when_told() -> None:
    idle, prediction = torch.ones(3, requires_grad=True), rand(1, 3, 4, 4).requires_grad_()
    target = rand(1, 3, 4, 4, seed=1)
    plain, touched = efnet.loss([prediction], target), efnet.loss([prediction], target, [idle])
    assert torch.equal(plain, touched)
    plain.backward()
    assert idle.grad is None
    touched.backward()
    assert idle.grad is not None
    assert not idle.grad.any()


# -- SC-Net --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (9, 14)])
def test_sc_nets_spectrum_is_its_definition(size: tuple[int, int]) -> None:
    prediction, target = rand(2, 3, *size), rand(2, 3, *size, seed=1)
    a, b = (np.fft.fft2(x.numpy()) for x in (prediction, target))
    expected = 0.5 * (np.abs(a.real - b.real).mean() + np.abs(a.imag - b.imag).mean())
    assert float(sc_net.spectral_l1(prediction, target)) == pytest.approx(expected, abs=1e-12)
    total = float(sc_net.pixel_l1(prediction, target)) + 0.1 * expected
    assert float(sc_net.loss(prediction, target)) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sc_nets_spectrum_takes_half_precision(dtype: torch.dtype) -> None:
    prediction, target = rand(1, 3, 16, 16).to(dtype), rand(1, 3, 16, 16, seed=1).to(dtype)
    wide = sc_net.spectral_l1(prediction.double(), target.double())
    assert float(sc_net.spectral_l1(prediction, target)) == pytest.approx(float(wide), rel=5e-3)


# -- CDVD-TSP ------------------------------------------------------------------------------------------------

RNGS: list[Callable[[], Any]] = [fixed_rng, lambda: np.random.RandomState(1), lambda: np.random.default_rng(1)]


@pytest.mark.parametrize("rng", RNGS)
def test_cdvd_tsps_mask(rng: Callable[[], Any]) -> None:
    prediction, target = rand(3, 12, 20, 25).requires_grad_(), rand(3, 12, 20, 25, seed=1)
    mask = cdvd_tsp.hard_mask(prediction, target, rng())
    assert mask.shape == (3, 1, 20, 25)
    assert not mask.requires_grad
    assert set(mask.unique().tolist()) == {0, 1}
    error = (prediction - target).abs().sum(1, keepdim=True).detach()
    for picture, of in zip(mask, error, strict=True):
        order = of.flatten().argsort(descending=True)
        assert picture.flatten()[order[:250]].all()  # above the middle
        chance = picture.flatten()[order[250:]].sum()
        assert 10 <= chance <= 40  # a tenth of the other half, in the mean 25
    assert torch.equal(mask, cdvd_tsp.hard_mask(prediction, target, rng()))
    assert not torch.equal(mask[0, 0, :, :], mask[1, 0, :, :])


@pytest.mark.parametrize("rng", RNGS)
def test_cdvd_tsps_mask_of_equal_pictures_is_a_random_tenth(rng: Callable[[], Any]) -> None:
    target = rand(2, 12, 20, 25)
    assert cdvd_tsp.hard_mask(target, target, rng()).sum(dim=(1, 2, 3)).tolist() == [50, 50]
    assert not cdvd_tsp.hard_mask(target[..., :1, :1], target[..., :1, :1], rng()).any()


def test_cdvd_tsps_pixels_are_weighed_one_or_three_times() -> None:
    prediction, target = rand(1, 12, 6, 7).requires_grad_(), rand(1, 12, 6, 7, seed=1)
    mask = cdvd_tsp.hard_mask(prediction, target, fixed_rng())
    cdvd_tsp.loss(prediction, target, fixed_rng()).backward()
    assert prediction.grad is not None
    torch.testing.assert_close(prediction.grad.abs() * prediction.numel(), (1 + 2 * mask).expand(1, 12, 6, 7))


def test_cdvd_tsps_outputs_are_held_against_their_frames() -> None:
    outputs, targets = ([rand(1, 3, 2, 2, seed=s) for s in range(n)] for n in (4, 3))
    prediction, target = cdvd_tsp.stacked(outputs, targets)
    assert torch.equal(prediction, torch.cat(outputs, 1))
    assert torch.equal(target[:, 9:], targets[1])
    assert torch.equal(target[:, 6:9], targets[2])
    with pytest.raises(ValueError, match="4 outputs and 3 targets, not 4 and 5"):
        cdvd_tsp.stacked(outputs, [*targets, *targets[:2]])


# -- S-SDM ---------------------------------------------------------------------------------------------------


def test_s_sdm_sees_no_difference_where_there_is_none() -> None:
    blurry = rand(2, 3, 12, 12)
    apart = 0.2 * rand(2, 3, 12, 12, seed=1) * blurry.minimum(1 - blurry)
    parts = [blurry - apart, blurry + apart]
    assert float(s_sdm.reblur(blurry, parts)) == pytest.approx(0, abs=1e-30)
    assert float(s_sdm.loss(blurry, parts, parts, distance, structure=True)) == pytest.approx(0, abs=1e-12)
    shifted = s_sdm.loss(blurry, parts, [p * 0.5 for p in parts], distance)
    assert float(shifted) == pytest.approx(
        float(s_sdm.teaching(parts, [p * 0.5 for p in parts], distance))
        + 100 * float((0.5 * blurry).square().mean())
    )


def test_s_sdm_clips_and_lets_no_gradient_through_outside() -> None:
    prediction = torch.tensor([-0.5, 0.25, 1.5]).reshape(1, 3, 1, 1).requires_grad_()
    target = torch.full((1, 3, 1, 1), 0.5)
    for loss in (s_sdm.imitation(prediction, target), s_sdm.reblur(target, [prediction])):
        assert loss.item() == pytest.approx((0.25 + 0.0625 + 0.25) / 3)
        (gradient,) = torch.autograd.grad(loss, prediction)
        assert (gradient.flatten() != 0).tolist() == [False, True, False]


@pytest.mark.parametrize("mode", [Mode.PUBLISHED, Mode.CORRECTED])
def test_s_sdm_hands_the_distance_what_the_mode_says(mode: Mode) -> None:
    teacher, own = rand(2, 3, 4, 4).requires_grad_(), (2 * rand(2, 3, 4, 4, seed=1) - 0.5).requires_grad_()
    seen: list[Tensor] = []

    def look(a: Tensor, b: Tensor) -> Tensor:
        seen.extend((a, b))
        return distance(a, b)

    s_sdm.teaching([teacher], [own], look, mode).backward()
    expected = [teacher, own.clamp(0, 1)]
    if mode is Mode.CORRECTED:
        expected = [2 * x[:, [2, 1, 0]] - 1 for x in expected]
    assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))
    assert teacher.grad is None
    assert own.grad is not None


def test_s_sdm_refuses_what_does_not_pair() -> None:
    x = rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="no instant"):
        s_sdm.reblur(x, [])
    with pytest.raises(ValueError, match="2 pictures of the teacher for 1 predictions"):
        s_sdm.teaching([x, x], [x], distance)
    with pytest.raises(ValueError, match="SSIM needs pictures of at least 11×11 pixels, got 8×8"):
        s_sdm.dissimilarity([x], [x])


# -- GEM -----------------------------------------------------------------------------------------------------


class Scaled(torch.nn.Module):
    """Stands for GEM: the ratio is what the first event channel says, times a learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        self.calls = 0

    def forward(self, events: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        ratio = self.gain * torch.nn.functional.interpolate(events[:, :1], image.shape[-2:]).expand_as(image)
        return image * ratio, ratio


def gem_batch() -> gem.Batch:
    """Pictures and ratios that fit one another: B→s is B→b times b→s."""
    large = 0.2 + 0.3 * rand(2, 3, 16, 24)
    to_sharp, to_frame = (0.8 + 0.4 * rand(2, 1, 1, 1, seed=s).expand(2, 6, 4, 6) for s in (1, 2))
    return gem.Batch(to_sharp, to_sharp * to_frame, to_frame, large * to_frame[:, :1, :1, :1], large)


def test_gem_sees_no_fault_in_what_fits() -> None:
    network, batch = Scaled(), gem_batch()
    parts = gem.second_stage(network, Scaled(), batch, 8)
    for name in gem.WEIGHTS:
        assert getattr(parts, name).item() == pytest.approx(0, abs=1e-12), name
    assert network.calls == 2  # the stacked batch, and the reduced picture


@pytest.mark.parametrize("difference", ["l1", "l2"])
def test_gems_parts_are_their_definitions(difference: gem.Difference) -> None:
    network, teacher, batch = Scaled(), Scaled(), gem_batch()
    with torch.no_grad():
        network.gain.fill_(1.1)

    def mean(a: Tensor) -> float:
        return float(a.abs().mean() if difference == "l1" else a.square().mean())

    def part(value: Tensor | None) -> float:
        assert value is not None
        return value.item()

    first = gem.first_stage(network, batch, difference)
    assert part(first.brightness) == pytest.approx(mean(0.1 * batch.frame))
    # The gain cancels in the chained ratio, so it stays in the one that it is held against.
    assert part(first.structure) == pytest.approx(mean(0.1 * batch.frame_from_large[:, :1]))
    assert first.temporal is first.spatial is None
    second = gem.second_stage(network, teacher, batch, 8, difference)
    sharp = batch.frame * batch.sharp_from_frame[:, :1, :1, :1]
    assert part(second.temporal) == pytest.approx(mean(0.1 * sharp))
    small = gem.reduced(sharp, 8)
    assert part(second.spatial) == pytest.approx(mean(0.1 * small), rel=1e-6)
    weighted = 50 * first.brightness + first.structure
    torch.testing.assert_close(first.total(), weighted)
    torch.testing.assert_close(second.total(), weighted + 50 * second.temporal + 50 * second.spatial)


def test_gems_teacher_learns_nothing_and_the_student_does() -> None:
    network, teacher = Scaled(), Scaled()
    with torch.no_grad():
        network.gain.fill_(1.1)
    gem.second_stage(network, teacher, gem_batch(), 8).total().backward()
    assert teacher.gain.grad is None
    assert network.gain.grad is not None
    assert network.gain.grad.isfinite()
    assert network.gain.grad != 0


def test_gem_clips_the_picture_without_gradient() -> None:
    network, batch = Scaled(), gem_batch()
    with torch.no_grad():
        network.gain.fill_(40)
    gem.first_stage(network, batch).brightness.backward()
    assert network.gain.grad == 0


def test_gems_reduction() -> None:
    x = rand(1, 3, 32, 48)
    torch.testing.assert_close(gem.reduced(x, 32), x)
    assert gem.reduced(x, 20).shape == (1, 3, 20, 30)
    torch.testing.assert_close(
        gem.reduced(torch.full_like(x, 0.3), 16), torch.full((1, 3, 16, 24), 0.3).double()
    )
    edge = (rand(1, 1, 32, 32) > 0.5).double()  # bicubic overshoots here
    small = gem.reduced(edge, 20)
    assert (small == 0).any()
    assert (small == 1).any()
    assert small.min() == 0
    assert small.max() == 1
    for height in (0, 33):
        with pytest.raises(ValueError, match=f"reduction to {height} of 32 rows"):
            gem.reduced(x, height)


@pytest.mark.parametrize("rng", [np.random.RandomState(3), np.random.default_rng(3)])
def test_gems_heights_are_drawn_as_published(rng: Any) -> None:
    n = 20_000
    counts = Counter(gem.draw_height(64, 256, rng) for _ in range(n))
    assert set(counts) == set(range(64, 257, 32))
    for height in range(64, 225, 32):
        assert counts[height] / n == pytest.approx(32 / 193, abs=0.015)
    assert counts[256] / n == pytest.approx(1 / 193, abs=0.003)
    assert {gem.draw_height(256, 256, rng) for _ in range(20)} == {256}
    small = {gem.draw_height(8, 128, rng) for _ in range(200)}
    assert small == {32, 64, 96} or small == {32, 64, 96, 128}
    assert gem.draw_height(8, 16, rng) == 16
    with pytest.raises(ValueError, match="64 event rows and 32 image rows"):
        gem.draw_height(64, 32, rng)


@pytest.mark.gpu
@EVERY
def test_losses_are_the_same_on_a_gpu(loss: Any) -> None:
    prediction, target = rand(2, 3, 12, 14), rand(2, 3, 12, 14, seed=1)
    on_gpu = loss(prediction.cuda(), target.cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), loss(prediction, target))
