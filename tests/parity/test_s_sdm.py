"""LDN, BSN and EDSR of S-SDM against outputs of the published code, and LDN with the published weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.networks import build
from tests.parity.cases import Arrays, Case, assert_close, cases, filled, reads


def parts(kind: str) -> list[Case]:
    return [case for case in cases("s-sdm") if case.path.stem == f"manifest-{kind}"]


def files(case: Case, kind: str) -> list[tuple[str, Arrays]]:
    """The case files that the manifest names and that are there, or all of its kind."""
    names = case.manifest.get("cases") or [p.name for p in case.path.parent.glob(f"case-{kind}*.npz")]
    return [(name, arrays) for name in names if (arrays := case.only(name))]


@reads("s-sdm", "case-bsn*", "input*", "output*")
@pytest.mark.parametrize("case", parts("bsn"), ids=str)
def test_bsn_matches(case: Case) -> None:
    net = filled(case, "s-sdm-bsn")
    assert files(case, "bsn")
    for name, arrays in files(case, "bsn"):
        inputs = [key for key in arrays if key.startswith("input")]
        assert inputs
        for key in inputs:
            output = key.replace("input", "output", 1)
            with torch.inference_mode():
                got = net(torch.from_numpy(arrays[key]))
            assert_close(got, arrays[output], case.tolerance, f"{name}: {output}")


@pytest.mark.parametrize("size", [(20, 20), (22, 22), (24, 24)])
def test_bsn_is_blind_on_squares(size: tuple[int, int]) -> None:
    net = build("s-sdm-bsn").double()
    torch.manual_seed(0)
    x = torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True)
    out = net(x)
    for row, column in ((0, 0), (7, 12), (19, 3)):
        (gradient,) = torch.autograd.grad(out[0, 0, row, column], x, retain_graph=True)
        assert gradient[0, 0, row, column] == 0
        assert gradient.count_nonzero() > 0.5 * gradient.numel()


def test_bsn_refuses_what_cannot_be_reflected() -> None:
    with pytest.raises(ValueError, match="not 32×10"):
        build("s-sdm-bsn")(torch.zeros(1, 1, 10, 32))


@reads("s-sdm", "case-edsr*", "input", "output")
@pytest.mark.parametrize("case", parts("edsr"), ids=str)
def test_edsr_matches(case: Case) -> None:
    net = filled(case, "s-sdm-edsr")
    assert files(case, "edsr")
    for name, arrays in files(case, "edsr"):
        with torch.inference_mode():
            got = net(torch.from_numpy(arrays["input"]))
        assert_close(got, arrays["output"], case.tolerance, name)


def test_edsr_starts_with_the_published_mean() -> None:
    net = build("s-sdm-edsr")
    own = net.state_dict()
    assert own["sub_mean.weight"].item() == own["add_mean.weight"].item() == 1
    assert own["add_mean.bias"].item() == -own["sub_mean.bias"].item() == pytest.approx(0.446)
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {f"{part}_mean.{entry}" for part in ("sub", "add") for entry in ("weight", "bias")}


@reads("s-sdm", "case-ldn", "blur", "spike", "output")
@pytest.mark.parametrize("case", parts("ldn"), ids=str)
def test_ldn_matches(case: Case) -> None:
    net = filled(case, "s-sdm-ldn")
    found = [(name, arrays) for name, arrays in files(case, "ldn") if "blur" in arrays]
    assert found
    for name, arrays in found:
        with torch.inference_mode():
            got = net(torch.from_numpy(arrays["blur"]), torch.from_numpy(arrays["spike"]).float())
        assert_close(got, arrays["output"], case.tolerance, name)


@reads("s-sdm", "case-ldn-published*", "blur_bgr", "spike", "spike_shape", "output_*")
@pytest.mark.parametrize("case", parts("ldn"), ids=str)
def test_ldn_matches_with_the_published_weights(case: Case, published_weights: Path) -> None:
    """Every instant: the picture divided by 255, the frames of the instant ± half the window."""
    found = [(name, arrays) for name, arrays in files(case, "ldn") if "blur_bgr" in arrays]
    if not found:
        pytest.skip(f"{case} has no case for the published weights")
    options = case.options
    net = build("s-sdm-ldn", **options).eval()
    path = published_weights / "s-sdm-ldn-gopro.pth"
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    half = options.get("spike_dim", 21) // 2
    for name, arrays in found:
        image = torch.from_numpy(arrays["blur_bgr"].astype(np.float32) / 255).permute(2, 0, 1)[None]
        shape = tuple(arrays["spike_shape"])
        volume = np.unpackbits(arrays["spike"], count=int(np.prod(shape))).reshape(shape)
        instants = [int(key.split("_")[1]) for key in arrays if key.startswith("output_")]
        assert instants
        for instant in instants:
            window = torch.from_numpy(volume[instant - half : instant + half + 1]).float()[None]
            with torch.inference_mode():
                got = net(image, window)[0]
            assert_close(got, arrays[f"output_{instant}"], case.tolerance, f"{name}: instant {instant}")


def test_ldn_refuses_other_spike_sizes() -> None:
    with pytest.raises(ValueError, match="16×8, not 16×9"):
        build("s-sdm-ldn")(torch.zeros(1, 3, 32, 64), torch.zeros(1, 21, 9, 16))


@pytest.mark.parametrize("name", ["s-sdm-ldn", "s-sdm-edsr", "s-sdm-bsn"])
def test_gradients_reach_every_entry(name: str) -> None:
    torch.manual_seed(0)
    net = build(name)
    ldn = name == "s-sdm-ldn"
    inputs = (torch.rand(2, 3, 16, 16), torch.rand(2, 21, 4, 4)) if ldn else (torch.rand(2, 1, 16, 16),)
    net(*inputs).square().mean().backward()
    assert not [
        n for n, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
