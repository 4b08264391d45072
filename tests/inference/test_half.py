"""Half precision: what stays in float32 does, nothing leaves float16's range, results stay close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inference.half import WideSums
from inference.networks import build
from inference.networks.blocks import channels_last
from inference.networks.cdvd_tsp import CDVDTSP
from inference.networks.efnet import _ChannelAttention
from inference.networks.gem_fusion import Fusion
from inference.restorers.precision import narrowed

CPU = torch.device("cpu")
HALF = (torch.float16, torch.bfloat16)
GREY_LEVEL = 1 / 255
SIDE = 32


pytestmark = pytest.mark.usefixtures("one_thread")


# -- the sums


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_products_on_a_cpu_are_summed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(16, 8, 3), nn.Linear(64, 8)
    picture, rows = torch.rand(1, 16, 6, 6), torch.randn(5, 64)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        native = conv(picture), linear(rows), rows @ rows.T
    with torch.inference_mode(), narrowed(CPU, dtype):
        wide = conv(picture), linear(rows), rows @ rows.T
    for a, b in zip(native, wide, strict=True):
        assert a.dtype == b.dtype == dtype
        # Sums in another order: where they round, one unit in the last place.
        torch.testing.assert_close(a.float(), b.float(), rtol=torch.finfo(dtype).eps, atol=1e-3)
    # 4096 + 1 + … + 1: a sum kept in half precision never gets past its first term.
    ones = torch.ones(1, 2049, dtype=dtype)
    ones[0, 0] = 4096
    with WideSums():
        assert float(ones @ torch.ones(2049, 1, dtype=dtype)) == 6144


# -- every module of every network


def _made(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = {"spiking": "window"} if name == "sc-net" else {}
    return channels_last(build(name, **options).eval().requires_grad_(False))


def _inputs(name: str, extreme: bool) -> tuple[Any, ...]:
    """Noise, or what saturates: black and white pixels side by side, hot pixels of thousands of events."""
    g = torch.Generator().manual_seed(1)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g)

    def counts(*shape: int, mean: float) -> Tensor:
        n = torch.poisson(torch.full(shape, mean), generator=g)
        if extreme:
            n[:, :, ::2] *= 20
            n[:, :, 3, 3] = 5000
        return n

    frames = [uniform(1, 3, SIDE, SIDE) for _ in range(3)]
    if extreme:
        frames = [(f > 0.5).float() for f in frames]
    if name == "cdvd-tsp":
        return tuple(frames)
    image = frames[0]
    if name == "efnet":
        event = uniform(1, 6, SIDE, SIDE) * 2 - 1
        # A voxel grid divided by its deviation may hold a hot pixel of several hundred.
        event = event.sign() * 300 if extreme else event
        return image, event, (uniform(1, 1, SIDE, SIDE) < 0.3).float()
    if name == "gem":
        return counts(1, 96, SIDE // 2, SIDE // 2, mean=0.3), image
    if name == "s-sdm-ldn":
        return image, (uniform(1, 21, SIDE // 4, SIDE // 4) < 0.3).float()
    if name == "stra":
        return (torch.cat([image, counts(1, 6, SIDE, SIDE, mean=0.3)], dim=1),)
    return image, None, counts(1, 6, SIDE, SIDE, 16, mean=0.1)


def _run(net: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    """The picture, float32. Of CDVD-TSP one stage: both have the same weights."""
    if isinstance(net, CDVDTSP):
        return net.restore(*(net.know(f) for f in inputs))
    out: Any = net(*inputs)
    picture: Tensor = out if isinstance(out, Tensor) else out[-1] if isinstance(out, list) else out[0]
    return picture.float()


NAMES = ("efnet", "gem", "cdvd-tsp", "s-sdm-ldn", "stra", "sc-net")
# Random weights let the picture through nearly unchanged, all but CDVD-TSP's, which give one of their own.
BOUNDS = {torch.float16: 0.05, torch.bfloat16: 0.35}


@pytest.mark.parametrize("extreme", [False, True], ids=["noise", "extreme"])
@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_module_gives_finite_numbers(name: str, dtype: torch.dtype, extreme: bool) -> None:
    net, inputs = _made(name), _inputs(name, extreme)
    with torch.inference_mode():
        want = _run(net, inputs)
    types: dict[str, torch.dtype] = {}
    broken: list[str] = []

    def watch(path: str) -> Callable[..., None]:
        def look(_module: nn.Module, _in: Any, out: Any) -> None:
            for x in out if isinstance(out, list | tuple) else [out]:
                if isinstance(x, Tensor):
                    types[path] = x.dtype
                    if not bool(torch.isfinite(x).all()):
                        broken.append(path)

        return look

    for path, module in net.named_modules():
        module.register_forward_hook(watch(path))
    with torch.inference_mode(), narrowed(CPU, dtype):
        got = _run(net, inputs)
    assert broken == []
    assert bool(torch.isfinite(got).all())
    assert dtype in types.values()
    wide = [path for path in types if path.startswith(("flow_net", "msff", "snn"))]
    assert all(types[path] == torch.float32 for path in wide)
    assert bool(wide) == (name in ("gem", "cdvd-tsp", "sc-net"))
    rms = float((got - want).square().mean().sqrt())
    # Counts of thousands come with an error to match; a hot pixel is no picture.
    if not (extreme and name == "gem"):
        assert rms < BOUNDS[dtype] * GREY_LEVEL


# -- what each network must not do in half precision


def _cosines(scale: float, dtype: torch.dtype, rows: int, width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    attention = _ChannelAttention(16, 2).eval().requires_grad_(False)
    attention.q.weight *= scale
    attention.k.weight *= scale
    image, event = torch.randn(2, 1, rows, width, 16)
    event = event + 0.5 * image
    with torch.inference_mode():
        want = attention._cosines([image], [event])
        with narrowed(CPU, dtype):
            got = attention._cosines([image], [event])
    return got, want


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0, 3000.0])
def test_the_attention_of_efnet_stays_in_range(scale: float, dtype: torch.dtype) -> None:
    """Products over a row of 1024 pixels reach 1e10 at the largest scale; float16 ends at 65504."""
    got, want = _cosines(scale, dtype, 8, 1024)
    assert got.dtype == torch.float32
    assert want.abs().max() > 0.2
    assert (got - want).abs().max() < (0.01 if dtype == torch.bfloat16 else 0.002)


def test_channels_without_a_signal_attend_to_nothing() -> None:
    torch.manual_seed(0)
    attention = _ChannelAttention(8, 2).eval().requires_grad_(False)
    zero = torch.zeros(1, 4, 8, 8)
    for dtype in (torch.float32, *HALF):
        with torch.inference_mode(), narrowed(CPU, dtype):
            assert torch.equal(attention._cosines([zero], [zero]), torch.zeros(1, 2, 4, 4))


def test_shrinking_changes_no_bit_in_float32() -> None:
    torch.manual_seed(0)
    attention = _ChannelAttention(8, 2).eval().requires_grad_(False)
    image, event = torch.randn(2, 1, 1, 500, 8) * 100
    with torch.inference_mode():
        got = attention._cosines([image], [event])
        q, k = (
            (x[0, 0] @ p.weight.view(8, 8).T).view(500, 2, 4).transpose(0, 1)
            for x, p in ((image, attention.q), (event, attention.k))
        )
        lengths = (torch.linalg.vector_norm(x, dim=1, keepdim=True).square().sqrt() for x in (q, k))
        a, b = lengths
        assert torch.equal(got[0], q.transpose(1, 2) @ k / a.transpose(1, 2) / b)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_the_flow_and_the_warp_of_cdvd_are_those_of_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = build("cdvd-tsp", n_feat=8, n_resblock=1).eval().requires_grad_(False)
    assert isinstance(net, CDVDTSP)
    seen: list[Tensor] = []
    net.recons_net.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    frames = torch.rand(3, 1, 3, 64, 576)  # wide: float16 knows the far end to half a pixel
    with torch.inference_mode():
        plain = net.restore(*(net.know(f) for f in frames))
        with narrowed(CPU, dtype):
            narrow = net.restore(*(net.know(f) for f in frames))
    assert torch.equal(seen[0], seen[1])
    assert narrow.dtype == torch.float32
    assert not torch.equal(plain, narrow)


def test_the_fusion_of_gem_stays_in_float32() -> None:
    torch.manual_seed(0)
    fusion = Fusion(16, 3).eval()
    event, image = torch.rand(1, 16, 8, 8), torch.rand(1, 16, 32, 32)
    with torch.inference_mode():
        want = fusion(event, image)
        with narrowed(CPU, torch.bfloat16):
            got = fusion(event.bfloat16(), image.bfloat16())
        # Nothing but the inputs is rounded.
        assert torch.equal(got, fusion(event.bfloat16().float(), image.bfloat16().float()))
    assert got.dtype == torch.float32
    assert 0 < (got - want).abs().max() < 0.02
    # Equal grids make the smallest areas: in half precision they would be 0/0.
    with torch.inference_mode(), narrowed(CPU, torch.float16):
        assert bool(torch.isfinite(fusion(event, torch.rand(1, 16, 8, 8))).all())
