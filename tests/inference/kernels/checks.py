"""Our own kernels against what PyTorch gives, on a GPU or, by Triton's interpreter, on a CPU.

    TRITON_INTERPRET=1 python -m tests.inference.kernels.checks      # all of them, on the CPU

The interpreter has no bfloat16: it rounds by truncation and multiplies the bits. Only a GPU shows that type.

In half precision a kernel rounds more than the float32 reference does. How much that can make is worked out
beside each result, from the unit roundoff u of the type and the sums of magnitudes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.device import without_tf32
from inference.networks import build, deformable, gem_fusion, kernels
from inference.networks.blocks import channels_last
from inference.networks.deformable import modulated_deform_conv
from inference.networks.gem_fusion import Fusion
from inference.restorers.precision import narrowed
from tests.inference.kernels.bounds import Bounded, queried

HALF = (torch.float16, torch.bfloat16)
# Sums of float32 in another order, as a share of the sum of magnitudes.
SINGLE = 4e-6


def with_kernels(yes: bool) -> Any:
    """Inside, the kernels do all they can, on any device, or nothing."""
    return mock.patch.object(kernels, "serve", return_value=yes)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def within(got: Tensor, want: Bounded) -> None:
    off = (got.float() - want.value).abs().double()
    bad = off > want.error + SINGLE * want.size
    assert not bad.any(), (
        f"{int(bad.sum())} of {bad.numel()} beyond the bound, off by up to {off[bad].max():.3g} "
        f"where {want.error[bad].min():.3g} may be"
    )


# -- deformable convolution


def offsets(n: int, k: int, height: int, width: int) -> Tensor:
    """From nothing to far outside; a NaN, infinities and whole numbers among them."""
    offset = 2.5 * normal(k, n, 2 * k * k, height, width)
    offset[:, ::5] = offset[:, ::5].round()
    flat = offset.view(n, 2 * k * k, -1)
    for at, bad in enumerate((float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 6e4, -float(height))):
        flat[at % n, at % (2 * k * k), (5 * at) % flat.shape[-1]] = bad
    return offset


def deform(
    device: str,
    dtype: torch.dtype,
    channels: int,
    k: int,
    height: int,
    width: int,
    out: int = 0,
    nchw: bool = False,
) -> None:
    """The kernel gives what the plain code gives, NaN where it gives NaN."""
    from inference.networks.kernels.deform import deform_conv

    n, u = 2, torch.finfo(dtype).eps / 2
    x = normal(1, n, channels, height, width).to(dtype)
    offset, mask = (
        offsets(n, k, height, width).to(dtype),
        normal(2, n, k * k, height, width).sigmoid().to(dtype),
    )
    weight, bias = normal(3, out or channels, channels, k, k) / k, normal(4, out or channels)
    given = (x, offset, mask, weight, bias)
    with with_kernels(False), mock.patch.object(deformable, "_on_one_core", return_value=False):
        want = modulated_deform_conv(*(t.to(device).float() for t in given))
        size = modulated_deform_conv(
            *(t.to(device).float() if t is offset else t.to(device).float().abs() for t in given)
        )
    laid = torch.contiguous_format if nchw else torch.channels_last
    got = deform_conv(
        *(t.to(device) if t.ndim < 4 else t.to(device).contiguous(memory_format=laid) for t in given)
    )
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(got.isnan(), want.isnan())
    ok = ~want.isnan()
    # Both factors are rounded, then the result.
    error = 2 * u * size + u * (want.abs() + 2 * u * size) if dtype in HALF else torch.zeros_like(size)
    within(got[ok], Bounded(want[ok], error[ok], size[ok]))


def align(device: str, dtype: torch.dtype, channels: int, k: int) -> None:
    """With its own offsets and masks; the convolution that makes them runs in the type of the map."""
    torch.manual_seed(5)
    dcn = gem_fusion._Align(channels, k).requires_grad_(False).to(device)
    torch.nn.init.normal_(dcn.conv_offset_mask.weight, std=1.5 / (k * channels**0.5))
    torch.nn.init.normal_(dcn.conv_offset_mask.bias)  # type: ignore[arg-type]
    x = normal(6, 1, channels, 9, 21).to(device).contiguous(memory_format=torch.channels_last)
    with with_kernels(True), torch.inference_mode(), without_tf32():
        got = dcn(x.to(dtype))
    with with_kernels(False), torch.inference_mode(), without_tf32():
        want = dcn(x.to(dtype).float())
    assert got.dtype == dtype
    # In half precision offsets of up to some pixels are off by u times themselves: no bound that tells much.
    share = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    assert (got - want).float().norm() < share * want.norm()


# -- implicit function


def query(
    device: str, dtype: torch.dtype, channels: int, sizes: tuple[int, int, int, int], pictures: int
) -> None:
    """The kernel gives what the definition gives, in float64."""
    torch.manual_seed(7)
    h, w, height, width = sizes
    mlp = Fusion(channels, 3).mlp.requires_grad_(False)
    event = normal(8, 2, channels, h, w).to(dtype)
    image = normal(9, pictures, channels, height, width).to(dtype)
    want = queried(mlp, event, image, torch.finfo(dtype).eps / 2 if dtype in HALF else 0.0)
    with with_kernels(True), torch.inference_mode():
        got = mlp.to(device)(event.to(device), image.to(device))
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    within(got.cpu(), want)


def query_of_nan(device: str, dtype: torch.dtype) -> None:
    """A NaN and an infinity come out where the plain code lets them out."""
    torch.manual_seed(7)
    mlp = Fusion(16, 3).mlp.requires_grad_(False).to(device)
    event, image = normal(8, 1, 16, 3, 4).to(device), normal(9, 1, 16, 6, 8).to(device)
    event[0, 2, 1, 1], image[0, 3, 4, 6] = float("nan"), float("nan")
    with torch.inference_mode():
        with with_kernels(False):
            want = mlp(event, image)
        with with_kernels(True):
            got = mlp(event.to(dtype), image.to(dtype))
    assert want.isnan().any()
    assert torch.equal(got.isnan(), want.isnan())


# -- the others


def bicubic(device: str, dtype: torch.dtype, channels: int, height: int, width: int) -> None:
    from inference.networks.kernels.bicubic import twice

    x = normal(10, 2, channels, height, width).to(device, dtype)
    want = F.interpolate(x.float(), scale_factor=2, mode="bicubic", align_corners=False)
    got = twice(x)
    assert got.dtype == dtype
    u = torch.finfo(dtype).eps / 2 if dtype in HALF else 0.0
    size = want.abs() + F.interpolate(x.float().abs(), scale_factor=2, mode="bicubic").abs()
    within(got, Bounded(want, (u * want.abs()).double(), size.double() + 1))


def layer_norm(device: str, dtype: torch.dtype, channels: int, rows: int) -> None:
    from inference.networks.kernels.layer_norm import layer_norm

    x = (3 * normal(11, 2, rows, channels) + 5).to(device, dtype)
    weight, bias = normal(12, channels).to(device), normal(13, channels).to(device)
    assert kernels.rows_fit(channels)
    want = F.layer_norm(x.float(), (channels,), weight, bias, 1e-5)
    got = layer_norm(x, weight, bias, 1e-5)
    assert got.dtype == dtype
    u = torch.finfo(dtype).eps / 2 if dtype in HALF else 0.0
    within(got, Bounded(want, (u * want.abs()).double(), (1 + want.abs()).double()))


def finish(device: str, dtype: torch.dtype, channels: int, slope: float, before: int, behind: int) -> None:
    """Sums with and without the second bias; infinities and NaN as PyTorch's activations leave them."""
    from inference.networks.kernels.finish import finished

    maps = [normal(20 + i, 2, channels, 5, 7).to(device, dtype) for i in range(before + behind)]
    maps[0][0, 0, 0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    bias, more = normal(15, channels).to(device), normal(16, channels).to(device)
    want = sum(maps[:before], torch.zeros_like(maps[0]).float()) + bias[:, None, None]
    size = sum(m.float().abs() for m in maps) + bias.abs()[:, None, None]
    want = F.leaky_relu(want, slope) if slope else F.relu(want)
    want = sum(maps[before:], want) + (more[:, None, None] if behind else 0)
    got = finished([m.clone() for m in maps[:before]], bias, slope, maps[before:], more if behind else None)
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(got.isnan(), want.isnan())
    ok = want.isfinite()
    assert torch.equal(got[~ok & ~want.isnan()].float(), want[~ok & ~want.isnan()])
    u = torch.finfo(dtype).eps / 2 if dtype in HALF else 0.0
    within(got[ok], Bounded(want[ok], u * want[ok].abs(), size[ok] + more.abs().max()))


def network(device: str, dtype: torch.dtype, name: str, side: int) -> None:
    """All of a network: float32 to rounding, half precision about as close as without the kernels."""
    torch.manual_seed(14)
    net = channels_last(build(name).eval().requires_grad_(False))
    for part in net.modules():
        if isinstance(part, gem_fusion._Align):
            torch.nn.init.normal_(part.conv_offset_mask.weight, std=0.02)
    image = torch.rand(1, 3, side, side).to(device)
    channels = 96 if name == "gem" else 6
    events = torch.poisson(torch.full((1, channels, side, side), 0.2)).to(device)
    given = (
        (events[:, :, ::2, ::2], image) if name == "gem" else (image, events / 3, (events[:, :1] > 0).float())
    )
    net.to(device)

    def result(kind: torch.dtype, yes: bool) -> Tensor:
        with torch.inference_mode(), with_kernels(yes), narrowed(torch.device(device), kind):
            found: Tensor = net(*given)[1]
        return found.float()

    want = result(torch.float32, False)
    if dtype == torch.float32:
        torch.testing.assert_close(result(dtype, True), want, rtol=1e-4, atol=1e-4)
        return
    before, now = ((result(dtype, yes) - want).norm() / want.norm() for yes in (False, True))
    print(f"{name} in {dtype}: off by {before:.2e} without kernels, {now:.2e} with them")
    assert now < 3 * before


TYPES = (torch.float32, *HALF)
CASES: dict[str, Callable[[str], None]] = {
    f"{name} {str(dtype).removeprefix('torch.')}": partial(_run, dtype=dtype)
    for dtype in TYPES
    for name, _run in {
        "deform 16 5x5": partial(deform, channels=16, k=5, height=7, width=21),
        "deform 32": partial(deform, channels=32, k=3, height=7, width=40, nchw=True),
        "deform 64": partial(deform, channels=64, k=3, height=5, width=14),
        "deform 128": partial(deform, channels=128, k=3, height=5, width=14),
        "deform 16 to 64": partial(deform, channels=16, k=3, height=7, width=7, out=64),
        "deform of one row": partial(deform, channels=32, k=3, height=1, width=9),
        "deform of one column": partial(deform, channels=16, k=5, height=9, width=1),
        "align 16 5x5": partial(align, channels=16, k=5),
        "align 64": partial(align, channels=64, k=3),
        "query 16": partial(query, channels=16, sizes=(6, 10, 24, 40), pictures=1),
        "query 32": partial(query, channels=32, sizes=(5, 7, 11, 13), pictures=2),
        "query 64": partial(query, channels=64, sizes=(6, 6, 12, 12), pictures=1),
        "query 128": partial(query, channels=128, sizes=(4, 3, 8, 6), pictures=2),
        "query of one pixel": partial(query, channels=128, sizes=(1, 1, 1, 1), pictures=1),
        "query, more events than pixels": partial(query, channels=16, sizes=(12, 9, 4, 5), pictures=2),
        "query of NaN": query_of_nan,
        "bicubic 32": partial(bicubic, channels=32, height=5, width=7),
        "bicubic 128": partial(bicubic, channels=128, height=6, width=4),
        "bicubic of one pixel": partial(bicubic, channels=64, height=1, width=1),
        "layer norm 16": partial(layer_norm, channels=16, rows=300),
        "layer norm 64": partial(layer_norm, channels=64, rows=77),
        "layer norm 256": partial(layer_norm, channels=256, rows=1),
        "finish 64": partial(finish, channels=64, slope=0.2, before=2, behind=2),
        "finish 16 without activation": partial(finish, channels=16, slope=1.0, before=4, behind=1),
        "finish 256 with ReLU": partial(finish, channels=256, slope=0.0, before=3, behind=0),
        "gem": partial(network, name="gem", side=32),
        "efnet": partial(network, name="efnet", side=16),
    }.items()
}
"""Name -> check on a device, "cpu" or "cuda"."""


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, case in CASES.items():
        if "bfloat16" not in name:
            case("cpu")
            print(name, "holds", flush=True)
