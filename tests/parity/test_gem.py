"""GEM against outputs of the published code, and its deformable convolution against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from inference.networks import build, deformable, gem_fusion
from inference.networks.deformable import modulated_deform_conv
from tests.parity.cases import Case, assert_close, cases, filled, reads

CASES = cases("gem")
SUFFIX = "_events"


@reads("gem", "case*", "*_events", "*_blur", "*_latent", "*_ratio", "!train_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_match(case: Case) -> None:
    net = filled(case, "gem")
    found = 0
    for arrays in case.arrays("case*.npz"):
        for name in (key.removesuffix(SUFFIX) for key in arrays if key.endswith(SUFFIX)):
            inputs = (torch.from_numpy(arrays[f"{name}_{part}"]) for part in ("events", "blur"))
            with torch.inference_mode():
                latent, ratio = net(*inputs)
            assert_close(latent, arrays[f"{name}_latent"], case.tolerance, f"{name}_latent")
            assert_close(ratio, arrays[f"{name}_ratio"], case.tolerance, f"{name}_ratio")
            found += 1
    assert found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layout_steps_and_shared_picture_change_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    net = filled(case, "gem").to(memory_format=torch.channels_last)
    torch.manual_seed(3)
    events = torch.poisson(torch.full((2, case.options.get("ev_in_channel", 96), 16, 24), 0.3))
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        one, _ = net(events.contiguous(memory_format=torch.channels_last), image)
        monkeypatch.setattr(deformable, "_CPU_STEP", 1 << 30)
        monkeypatch.setattr(gem_fusion, "_CPU_STEP", 1 << 12)
        net.to(memory_format=torch.contiguous_format)
        two, _ = net(events, image.expand(2, -1, -1, -1))
    assert_close(one, two.numpy(), case.tolerance, "latent")


def reference(
    x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The definition, number by number."""
    n, c, height, width = x.shape
    d, _, k, _ = weight.shape
    out = np.zeros((n, d, height, width))
    xs, off, m, ws = (t.double().numpy() for t in (x, offset, mask, weight))

    def pixel(s: int, row: int, column: int) -> np.ndarray:
        inside = 0 <= row < height and 0 <= column < width
        return xs[s, :, row, column] if inside else np.zeros(c)

    for s, i, j, tap in np.ndindex(n, height, width, k * k):
        a, b = divmod(tap, k)
        row = i - k // 2 + a + off[s, 2 * tap, i, j]
        column = j - k // 2 + b + off[s, 2 * tap + 1, i, j]
        r0, c0 = math.floor(row), math.floor(column)
        fr, fc = row - r0, column - c0
        sample = (1 - fr) * ((1 - fc) * pixel(s, r0, c0) + fc * pixel(s, r0, c0 + 1))
        sample = sample + fr * ((1 - fc) * pixel(s, r0 + 1, c0) + fc * pixel(s, r0 + 1, c0 + 1))
        out[s, :, i, j] += ws[:, :, a, b] @ (m[s, tap, i, j] * sample)
    return torch.from_numpy(out + bias.double().numpy()[None, :, None, None])


def arguments(kernel: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Offsets from nothing to far outside, some of them whole numbers."""
    g = torch.Generator().manual_seed(kernel)
    k2 = kernel * kernel
    offset = 3 * torch.randn(2, 2 * k2, 6, 7, generator=g, dtype=torch.float64)
    offset[0, ::3] = offset[0, ::3].round()
    offset[1, 0, 0] = 1e6
    offset[1, 1, 0] = -1e6
    x = torch.randn(2, 3, 6, 7, generator=g, dtype=torch.float64)
    mask = torch.rand(2, k2, 6, 7, generator=g, dtype=torch.float64)
    weight = torch.randn(4, 3, kernel, kernel, generator=g, dtype=torch.float64)
    bias = torch.randn(4, generator=g, dtype=torch.float64)
    return [t.to(dtype) for t in (x, offset, mask, weight, bias)]


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_deformable_convolution_is_its_definition(kernel: int) -> None:
    expected = reference(*arguments(kernel)).numpy()
    assert_close(modulated_deform_conv(*arguments(kernel)), expected, 1e-11, "double")
    assert_close(modulated_deform_conv(*arguments(kernel, torch.float32)), expected, 2e-4, "single")


def test_deformable_convolution_without_offsets_is_a_convolution() -> None:
    x, offset, mask, weight, bias = arguments(3)
    plain = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    got = modulated_deform_conv(x, torch.zeros_like(offset), torch.ones_like(mask), weight, bias)
    assert_close(got, plain.numpy(), 1e-12, "no offsets")


def test_gradients_of_the_deformable_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deformable, "_CPU_STEP", 1 << 8)
    x, offset, mask, weight, bias = arguments(3)
    x, offset, mask = (t[:, :, :3, :4] for t in (x, offset, mask))
    weight, bias = weight[:2], bias[:2]
    # Away from the kinks at whole numbers, where the numerical derivative has no meaning.
    offset = (offset.clamp(-9, 9) * 4).floor() / 4 + 0.1
    inputs = [t.requires_grad_() for t in (x, offset, mask, weight, bias)]
    torch.autograd.gradcheck(modulated_deform_conv, inputs, atol=1e-6)


def test_gradients_of_the_query() -> None:
    torch.manual_seed(4)
    query = gem_fusion.Fusion(2, 3).double().mlp
    event = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    image = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    # The parameters are perturbed in place; that they are arguments too makes them part of the check.
    torch.autograd.gradcheck(lambda e, m, *_: query(e, m), (event, image, *query.parameters()))


@pytest.mark.parametrize(("events", "pixels"), [(16, 64), (40, 64), (52, 96), (33, 33), (20, 31), (64, 48)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_index_tables_are_the_nearest_search_in_single_precision(events: int, pixels: int, sign: int) -> None:
    axis = gem_fusion._axis(events, pixels, sign, torch.device("cpu"))
    centre = gem_fusion._centres(pixels, torch.device("cpu"))
    shifted = (centre + sign / events + 1e-6).clamp(-1 + 1e-6, 1 - 1e-6)
    for n, got in ((events, axis.event), (pixels, axis.image)):
        searched = (((shifted + 1) * n - 1) / 2).round().long()
        assert torch.equal(searched, got)


def test_sizes_are_refused_in_words() -> None:
    net = build("gem")
    with pytest.raises(ValueError, match="multiples of 16, not 100×64"):
        net(torch.zeros(1, 96, 16, 16), torch.zeros(1, 3, 64, 100))
    with pytest.raises(ValueError, match="at least 16×16 pixels, not 20×8"):
        net(torch.zeros(1, 96, 8, 20), torch.zeros(1, 3, 32, 80))


def test_gradients_reach_every_entry() -> None:
    torch.manual_seed(1)
    net = build("gem")
    latent, ratio = net(torch.rand(1, 96, 16, 16), torch.rand(1, 3, 32, 32))
    (latent.square().mean() + ratio.square().mean()).backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
