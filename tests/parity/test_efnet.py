"""EFNet against outputs and intermediate statistics of the published code."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from inference.networks import build
from tests.parity.cases import Case, assert_close, cases, filled, reads

CASES = cases("efnet")


def record(net: torch.nn.Module, names: list[str], into: dict[str, torch.Tensor]) -> None:
    """Keep the outputs of the sub-modules; `name[i]` is part i of a tuple."""
    for name in names:
        path, part = re.fullmatch(r"(.+?)(?:\[(\d+)\])?", name).groups()  # type: ignore[union-attr]

        def keep(_m: Any, _in: Any, out: Any, name: str = name, part: str | None = part) -> None:
            into[name] = out if part is None else out[int(part)]

        net.get_submodule(path).register_forward_hook(keep)


@reads("efnet", "case*", "image", "event", "mask", "out_*")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_intermediates_match(case: Case) -> None:
    net = filled(case, "efnet")
    wanted: dict[str, Any] = case.manifest.get("intermediates", {})
    for arrays in case.arrays("case*.npz"):
        image, event, mask = (torch.from_numpy(arrays[k]) for k in ("image", "event", "mask"))
        with torch.inference_mode():
            unmasked = net(image, event)
            inside: dict[str, torch.Tensor] = {}
            record(net, list(wanted), inside)
            masked = net(image, event, mask)
        for i in (0, 1):
            assert_close(masked[i], arrays[f"out_{i + 1}_mask"], case.tolerance, f"out_{i + 1}_mask")
            assert_close(unmasked[i], arrays[f"out_{i + 1}_nomask"], case.tolerance, f"out_{i + 1}_nomask")
        for name, stat in wanted.items():
            x = inside[name].double()
            assert list(x.shape) == stat["shape"], name
            assert abs(float(x.mean()) - stat["mean"]) <= case.tolerance, name
            assert abs(float(x.std(correction=0)) - stat["std"]) <= case.tolerance, name
            first = x.flatten()[: len(stat["first"])].tolist()
            assert first == pytest.approx(stat["first"], rel=0, abs=case.tolerance), name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_channels_last_and_gradients(case: Case) -> None:
    """Memory layout changes nothing, and every entry that takes part learns."""
    net = filled(case, "efnet").to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(1, 3, 24, 36, generator=generator)
    event = torch.randn(1, case.options.get("ev_chn", 6), 24, 36, generator=generator)
    mask = (torch.rand(1, 1, 24, 36, generator=generator) > 0.5).float()
    with torch.inference_mode():
        last = net(*(x.to(memory_format=torch.channels_last) for x in (image, event)), mask)[1]
    out = net.to(memory_format=torch.contiguous_format)(image, event, mask)
    assert_close(last, out[1].detach().numpy(), case.tolerance, "channels-last")
    (out[0].square().mean() + out[1].square().mean()).backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_the_mask_is_taken_at_every_second_pixel() -> None:
    """Other ways to halve a mask agree on blocks; this one is alone on a chequerboard."""
    torch.manual_seed(0)
    net = build("efnet", wf=4, num_heads=(1, 1, 1)).eval()
    image, event = torch.rand(1, 3, 8, 8), torch.randn(1, 6, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., ::2, ::2] = 1
    moved = mask.roll(1, -1)
    seen: list[torch.Tensor] = []
    net.get_submodule("down_path_2.1").register_forward_pre_hook(lambda _m, args: seen.append(args[3]))
    with torch.inference_mode():
        net(image, event, mask)
        net(image, event, moved)
    assert bool((seen[0] == 1).all())
    assert bool((seen[1] == 0).all())


def test_a_side_that_does_not_halve_twice_is_refused() -> None:
    net = build("efnet", wf=4, num_heads=(1, 1, 1))
    with pytest.raises(ValueError, match="multiples of 4, not 30×32"):
        net(torch.zeros(1, 3, 32, 30), torch.zeros(1, 6, 32, 30))
