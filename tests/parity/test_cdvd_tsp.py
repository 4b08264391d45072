"""CDVD-TSP against outputs, intermediates and single operations of the published code."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from inference.networks import build, warping
from inference.networks.cdvd_tsp import CDVDTSP, align, box_mean, sharpness_prior
from inference.networks.warping import backward_warp, cost_volume, warp_coverage
from tests.parity.cases import Arrays, Case, assert_close, cases, filled, reads

CASES = cases("cdvd-tsp")
OUTPUTS = ("recons_1", "recons_2", "recons_3", "out")


def network(case: Case) -> CDVDTSP:
    net = filled(case, "cdvd-tsp")
    assert isinstance(net, CDVDTSP)
    return net


def tolerance(case: Case, name: str) -> float:
    return float(case.manifest.get("tolerances", {}).get(name, case.tolerance))


@torch.inference_mode()
def intermediates(
    net: CDVDTSP, frames: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> dict[str, Any]:
    """Centre 1 with neighbour 0, the first prior, and the same of the second stage.

    Args:
        frames: the window; first, second: the first stage's results 1 and 2 of it.
    """
    known = [net.know(frame) for frame in frames[:, :3].unbind(1)]
    flow = net.flow(known[1], known[0])
    before, mask_before = align(known[0].frame, flow)
    after, mask_after = align(known[2].frame, net.flow(known[1], known[2]))
    prior = sharpness_prior(before, known[1].frame, after, mask_before, mask_after, net.mean_filter)
    stage2 = net.flow(net.know(second), net.know(first))
    found = {"flow_1_0": flow, "warped_1_0": before, "mask_1_0": mask_before, "prior_1": prior}
    return found | {"flow_stage2_0": stage2}


@reads("cdvd-tsp", "case*", "*frames", "*recons_?", "*out", "*_?_0", "*_stage2_0", "*_prior_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_intermediates_match(case: Case) -> None:
    net = network(case)
    for arrays in case.arrays("case*.npz"):
        windows = [name for name in arrays if name.endswith("frames")]
        assert windows
        for window in windows:
            prefix = window.removesuffix("frames")
            priors: list[torch.Tensor] = []
            hook = net.recons_net.register_forward_pre_hook(lambda _m, args, p=priors: p.append(args[0][:, 9:]))
            frames = torch.from_numpy(arrays[window])
            with torch.inference_mode():
                got = net(frames)
            hook.remove()
            found: dict[str, Any] = dict(zip(OUTPUTS, got, strict=True))
            if f"{prefix}flow_1_0" in arrays:
                found |= intermediates(net, frames, got[0], got[1])
                found["prior_stage2"] = priors[3]
                assert torch.allclose(priors[0], found["prior_1"], rtol=0, atol=1e-6)
            for name, value in found.items():
                full = prefix + name
                assert_close(value, arrays[full], tolerance(case, full), full)


@reads("cdvd-tsp", "case*", "pwc_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_flow_network_matches(case: Case) -> None:
    net = network(case).flow_net.moduleNetwork
    for arrays in case.arrays("case*.npz"):
        if "pwc_first" not in arrays:
            continue
        with torch.inference_mode():
            flow = net(torch.from_numpy(arrays["pwc_first"]), torch.from_numpy(arrays["pwc_second"]))
        assert_close(flow, arrays["pwc_flow"], tolerance(case, "pwc_flow"), "pwc_flow")


def operations(case: Case) -> Arrays:
    arrays: Arrays = case.only("operations*.npz")
    if not arrays:
        pytest.skip(f"{case} has no operations")
    return arrays


@reads("cdvd-tsp", "operations*", "cost_*", "feature_warp_*", "image_warp_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_cost_volume_and_warps_match(case: Case) -> None:
    o = operations(case)
    got = {"cost_volume": cost_volume(o.tensor("cost_first"), o.tensor("cost_second"))}
    x, flow = o.tensor("feature_warp_input"), o.tensor("feature_warp_flow")
    got["feature_warp_output"] = backward_warp(x, flow, "zeros") * (warp_coverage(flow) > 0.999)
    got["image_warp_output"], got["image_warp_mask"] = align(
        o.tensor("image_warp_input"), o.tensor("image_warp_flow")
    )
    for name, value in got.items():
        assert_close(value, o[name], 1e-5, name)


@reads("cdvd-tsp", "operations*", "prior*", "mean_filter_of_center")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_prior_matches(case: Case) -> None:
    o = operations(case)
    names = ("prior_previous", "prior_center", "prior_next", "prior_mask_previous", "prior_mask_next")
    prior = sharpness_prior(*(o.tensor(name) for name in names))
    assert_close(prior, o["prior"], 1e-5, "prior")
    assert_close(box_mean(o.tensor("prior_center")), o["mean_filter_of_center"], 1e-5, "box")


@reads("cdvd-tsp", "operations*", "level2_*", "recons_input", "recons_output")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_level_and_the_restoration_match(case: Case) -> None:
    o, net = operations(case), network(case)
    decoder = net.flow_net.moduleNetwork.get_submodule("moduleTwo")
    above = (o.tensor("level2_previous_flow"), o.tensor("level2_previous_feature"))
    first, second = o.tensor("level2_first"), o.tensor("level2_second")
    with torch.inference_mode():
        up = decoder.upsample(*above)  # type: ignore[operator]
        assert_close(torch.cat(up, dim=1), o["level2_upsampled"], 1e-5, "level2_upsampled")
        volume = decoder.volume(first, second, up[0])  # type: ignore[operator]
        assert_close(volume, o["level2_volume"], 1e-5, "level2_volume")
        flow, _ = decoder(first, second, above)
        assert_close(flow, o["level2_flow"], 1e-4, "level2_flow")
        restored = net.recons_net(o.tensor("recons_input"))
        assert_close(restored, o["recons_output"], 1e-4, "recons_output")


def small() -> CDVDTSP:
    torch.manual_seed(0)
    net = build("cdvd-tsp", n_resblock=1, n_feat=4).eval()
    assert isinstance(net, CDVDTSP)
    return net


def test_a_stream_gives_the_same_bits() -> None:
    """Frames and first-stage results that are kept give what whole windows give."""
    net = small()
    video = torch.rand(7, 1, 3, 20, 28)
    with torch.inference_mode():
        whole = [net(torch.stack(list(video[i : i + 5]), dim=1)) for i in range(3)]
        known = [net.know(frame) for frame in video]
        first = [net.know(net.restore(*known[i : i + 3])) for i in range(5)]
        streamed = [net.restore(*first[i : i + 3]) for i in range(3)]
    for window, result in zip(whole, streamed, strict=True):
        assert torch.equal(window[3], result)
    for earlier, later in pairwise(whole):
        assert torch.equal(earlier[1], later[0])
        assert torch.equal(earlier[2], later[1])


def test_gradients_reach_both_networks_but_not_through_the_prior() -> None:
    net = small().train()
    net(torch.rand(1, 5, 3, 16, 16, requires_grad=True))[3].square().mean().backward()
    missing = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    mask = torch.ones(1, 1, 8, 8)
    assert not sharpness_prior(x, x * 0.5, x, mask, mask).requires_grad


def test_gradients_of_the_operations() -> None:
    torch.manual_seed(0)
    a, b = (torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.autograd.gradcheck(lambda x, y: cost_volume(x, y, 2), (a, b))
    flow = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x, f: backward_warp(x, f, "zeros"), (a, flow))


@pytest.mark.parametrize(("n", "c", "h", "w", "side"), [(1, 1, 1, 1, 3), (2, 5, 7, 11, 9), (1, 3, 4, 2, 5)])
def test_both_orders_of_products_are_one_cost_volume(n: int, c: int, h: int, w: int, side: int) -> None:
    torch.manual_seed(0)
    first, padded = torch.randn(n, c, h, w), torch.randn(n, c, h + side - 1, w + side - 1)
    whole = warping._row_by_row(first, padded, side)
    assert whole.shape == (n, side * side, h, w)
    torch.testing.assert_close(whole, warping._one_by_one(first, padded, side), rtol=1e-5, atol=1e-5)
    wide = [x.double().requires_grad_() for x in (first[..., :2, :2], padded[..., : side + 1, : side + 1])]
    if h > 1 and w > 1:
        assert torch.autograd.gradcheck(lambda x, y: warping._row_by_row(x, y, side), wide)


def test_coverage_is_a_warped_picture_of_ones() -> None:
    torch.manual_seed(0)
    flow = 4 * torch.randn(3, 2, 9, 11)
    ones = backward_warp(torch.ones(3, 1, 9, 11), flow, "zeros")
    assert torch.allclose(warp_coverage(flow), ones, rtol=0, atol=1e-5)


def test_sizes_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="multiples of 4, not 30×16"):
        small()(torch.zeros(1, 5, 3, 16, 30))
    with pytest.raises(ValueError, match=r"\(N, 5, 3, H, W\), not \(1, 3, 3, 16, 16\)"):
        small()(torch.zeros(1, 3, 3, 16, 16))
