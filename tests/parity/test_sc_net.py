"""SC-Net and STRA against outputs, inner values and gradients of the published code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inference.networks import build, spiking
from inference.networks.blocks import channels_last
from inference.networks.sc_net import SCNet, TemporalBlock
from tests.parity.cases import Arrays, Case, assert_close, cases, filled, reads, state

CASES = cases("sc-net")
CONSTANT = "constant_"


def changed(case: Case, arrays: Arrays) -> dict[str, torch.Tensor]:
    """The filled entries after what the manifest says must be done to them."""
    entries, after = state(case), case.manifest.get("after_fill", {})
    for name in after.get("constant", []):
        if CONSTANT + name in arrays:
            entries[name] = torch.from_numpy(arrays[CONSTANT + name])
        else:
            del entries[name]  # the network computes it
    for name, value in after.get("set", {}).items():
        entries[name] = torch.full_like(entries[name], value)
    for name, factor in after.get("multiply", {}).items():
        entries[name] = entries[name] * factor
    return entries


def network(case: Case, arrays: Arrays, name: str, **options: Any) -> SCNet:
    """SC-Net, or STRA on the same entries without those of the spiking stage."""
    entries = changed(case, arrays)
    if name == "sc-net":
        net = filled(case, name, **options)
    else:
        net = build(name, **(case.options | options)).eval()
        entries = {entry: value for entry, value in entries.items() if not entry.startswith("snn.")}
        assert list(net.state_dict()) == list(entries)
    assert isinstance(net, SCNet)
    net.load_state_dict(entries, strict=True)
    return net


def each(case: Case, part: str) -> list[Arrays]:
    """The case files that hold this part."""
    return [arrays for arrays in case.arrays("case*.npz") if any(k.startswith(part + "_") for k in arrays)]


def check_two_calls(net: SCNet, arrays: Arrays, part: str, tolerance: float) -> None:
    first, second = (torch.from_numpy(arrays[f"{part}_frame_{i}"]) for i in (1, 2))
    with torch.inference_mode():
        image_1, feature_1 = net(first)
        image_2, feature_2 = net(second, feature_1)
    got = {"image_1": image_1, "feature_1": feature_1, "image_2": image_2, "feature_2": feature_2}
    for name, value in got.items():
        assert_close(value, arrays[f"{part}_{name}"], tolerance, f"{part}_{name}")


@reads("sc-net", "case*", "full_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_whole_network_matches(case: Case) -> None:
    for arrays in each(case, "full"):
        net = network(case, arrays, "sc-net")
        check_two_calls(net, arrays, "full", case.tolerance)
        with torch.inference_mode():
            maps = net.event_maps(torch.from_numpy(arrays["full_frame_1"]))
            inside = net.tmb(maps[:1])[0]
        assert_close(maps, arrays["full_spikes_1"], 0.0, "full_spikes_1")
        assert_close(inside, arrays["full_tmb_1_sample0"], case.tolerance, "full_tmb_1_sample0")


@reads("sc-net", "case*", "bypass_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_stra_matches(case: Case) -> None:
    for arrays in each(case, "bypass"):
        net = network(case, arrays, "stra")
        check_two_calls(net, arrays, "bypass", case.tolerance)
        assert channels_last(net) is net
        assert net.get_parameter("feat_extract.1.main.0.weight").is_contiguous(
            memory_format=torch.channels_last
        )
        check_two_calls(net, arrays, "bypass", case.tolerance)


@reads("sc-net", "case*", "tmb_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_temporal_block_matches(case: Case) -> None:
    for arrays in each(case, "tmb"):
        events = torch.from_numpy(arrays["tmb_input"])
        for theta, output in ((1e-4, "tmb_output"), (1.0, "tmb_output_thita_1")):
            net = network(case, arrays, "stra", theta_t=theta)
            with torch.inference_mode():
                whole, some = net.tmb(events), net.tmb(events, step=4)
            assert_close(whole, arrays[output], case.tolerance, output)
            assert_close(some, whole[:, :, ::4, ::4].numpy(), case.tolerance, f"{output}, every fourth pixel")


@reads("sc-net", "case*", "snn_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_spikes_are_exact_and_surrogate_gradients_match(case: Case) -> None:
    tolerance = float(case.manifest["gradient_tolerance"])
    for arrays in each(case, "snn"):
        stage = network(case, arrays, "sc-net").snn
        x = torch.from_numpy(arrays["snn_input"]).requires_grad_()
        spikes = stage(x)
        assert_close(spikes, arrays["snn_output"], 0.0, "snn_output")
        (spikes * torch.from_numpy(arrays["snn_cotangent"])).sum().backward()
        got = {"input": x.grad, "conv1": stage.conv1.weight.grad, "conv2": stage.conv2.weight.grad}
        for name, gradient in got.items():
            assert gradient is not None
            assert_close(gradient, arrays[f"snn_grad_{name}"], tolerance, f"gradient of {name}")


@reads("sc-net", "case*", "constant_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_follow_from_the_neurons(case: Case) -> None:
    own = build("sc-net", **case.options).state_dict()
    for arrays in case.arrays("case*.npz"):
        for key in (key for key in arrays if key.startswith(CONSTANT)):
            assert_close(own[key.removeprefix(CONSTANT)], arrays[key], 1e-6, key)


def test_a_file_without_kernels_or_with_shorter_ones_loads() -> None:
    net = build("sc-net", base_channel=4, num_res=1)
    own = {name: value.clone() for name, value in net.state_dict().items()}
    net.get_buffer("snn.slayer1.srmKernel").zero_()
    saved = {name: value for name, value in own.items() if name != "snn.slayer1.srmKernel"}
    saved["snn.slayer3.refKernel"] = saved["snn.slayer3.refKernel"][:-3]
    net.load_state_dict(saved, strict=True)
    assert all(torch.equal(value, own[name]) for name, value in net.state_dict().items())
    assert len(saved["snn.slayer3.refKernel"]) == 49


@pytest.mark.parametrize("steps", [1, 5, 64, 150])
def test_the_filter_is_causal_and_crosses_blocks(steps: int) -> None:
    torch.manual_seed(0)
    kernel, x = torch.randn(16), torch.randn(steps, 3)
    padded = np.pad(x.numpy(), ((15, 0), (0, 0)))
    expected = np.stack([(kernel.numpy()[::-1, None] * padded[t : t + 16]).sum(0) for t in range(steps)])
    assert_close(spiking.causal_filter(x, kernel), expected, 1e-5, "filter")


def test_window_form_takes_any_batch_and_time() -> None:
    torch.manual_seed(0)
    net = build("sc-net", base_channel=4, num_res=1, spiking="window", theta_t=1.0, theta_s=1.0)
    assert sum(p.numel() for p in net.get_submodule("snn").parameters()) == 1224
    assert isinstance(net, SCNet)
    events = torch.poisson(torch.full((2, 6, 8, 12, 16), 2.0))
    image, feature = net(torch.rand(2, 3, 8, 12), None, events)
    assert image.shape == (2, 3, 8, 12)
    assert feature.shape == (2, 4, 8, 12)
    maps = net.event_maps(torch.rand(2, 3, 8, 12), events)
    assert maps.max() > 1  # several spikes in sixteen steps
    alone, _ = channels_last(net)(torch.rand(1, 3, 8, 12), feature[:1].detach(), events[:1])
    assert alone.isfinite().all()


def test_what_the_stage_cannot_take_is_refused_in_words() -> None:
    net = build("sc-net", base_channel=4, num_res=1)
    with pytest.raises(ValueError, match="a clip of exactly 8 frames, not 2"):
        net(torch.zeros(2, 9, 8, 8))
    with pytest.raises(ValueError, match=r"9 channels.*not 5"):
        net(torch.zeros(8, 5, 8, 8))
    with pytest.raises(ValueError, match="multiples of 4, not 10×8"):
        net(torch.zeros(8, 9, 8, 10))
    with pytest.raises(ValueError, match=r"events \(N, 6, H, W, T\)"):
        build("sc-net", base_channel=4, num_res=1, spiking="window")(torch.zeros(2, 3, 8, 8))


def test_gradients_reach_all_but_the_unused_entries() -> None:
    torch.manual_seed(0)
    net = build("stra", base_channel=4, num_res=1, theta_t=1.0)
    with torch.no_grad():
        for block in ("sfb1.0", "sfb2.0"):
            net.get_parameter(f"{block}.gamma").fill_(1.0)
    frame = torch.cat([torch.rand(1, 3, 8, 8), torch.poisson(torch.ones(1, 6, 8, 8))], dim=1)
    image, feature = net(frame)
    again, after = net(frame, feature)
    (image.square().mean() + again.square().mean() + after.square().mean()).backward()
    idle = {name for name, p in net.named_parameters() if p.grad is None}
    unused = ("ConvsOut.", "event_c", "tmb.gamma", "tmb.event_feature", "tmb.x_feature", "tmb.conv_tmp2")
    assert idle == {name for name, _ in net.named_parameters() if name.startswith(unused)}


def test_without_the_temporal_attention_only_little_changes() -> None:
    torch.manual_seed(0)
    with_it, without = TemporalBlock(8), TemporalBlock(8, attention=False)
    without.load_state_dict(with_it.state_dict())
    events = torch.poisson(torch.ones(1, 6, 12, 8))
    difference = (with_it(events) - without(events)).abs().max()
    assert 0 < difference < 1e-3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_attention_never_stores_the_matrix_of_all_pixels(layout: torch.memory_format) -> None:
    block = TemporalBlock(8).to(memory_format=layout)
    events = torch.rand(1, 6, 40, 40).contiguous(memory_format=layout)
    with torch.inference_mode(), torch.profiler.profile(record_shapes=True) as profile:
        block(events)
    largest = max(np.prod(shape or [0]) for e in profile.events() for shape in e.input_shapes)
    assert largest < 1600 * 1600
