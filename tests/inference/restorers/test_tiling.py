"""Tiles: they cover the picture, agree with the whole, and say what they cannot take."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from capture.errors import UsageError
from inference.networks import build
from inference.networks.cdvd_tsp import CDVDTSP
from inference.networks.efnet import EFNet
from inference.networks.s_sdm_ldn import LDN
from inference.restorers.efnet import EfnetRestorer
from inference.restorers.gem import GemRestorer
from inference.restorers.s_sdm import LdnRestorer
from inference.restorers.tiling import Tiles, run_tiled, starts, tile_option, tiles
from tests.inference.restorers.rigs import SMALL, noise_exposure, one_grid

GREY_LEVEL = 1 / 255


pytestmark = pytest.mark.usefixtures("one_thread")


@settings(deadline=None)  # cores are shared
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(2, 30), st.integers(0, 12), st.sampled_from([1, 4, 8])
)
def test_tiles_cover_the_picture_and_overlap_enough(
    h: int, w: int, side: int, overlap: int, multiple: int
) -> None:
    height, width, tile, overlap = h * multiple, w * multiple, side * multiple, overlap * multiple
    if tile < overlap + multiple:
        return
    seen = torch.zeros(height, width)
    for t in tiles(height, width, tile, overlap, multiple):
        assert t.top % multiple == 0
        assert t.left % multiple == 0
        assert (t.height, t.width) == (min(tile, height), min(tile, width))
        cut = t.cut(seen)
        assert cut.shape == (t.height, t.width)
        cut += 1
    assert seen.min() >= 1
    at = starts(width, min(tile, width), overlap, multiple)
    assert at[0] == 0
    assert at[-1] + min(tile, width) == width
    assert all(b - a <= tile - overlap for a, b in pairwise(at))


def test_what_looks_at_one_pixel_is_the_same_in_tiles() -> None:
    x = torch.rand(1, 3, 100, 140)
    calls: list[torch.Size] = []

    def network(part: Tensor, coarse: Tensor) -> Tensor:
        calls.append(part.shape)
        return part * 2 + coarse.repeat_interleave(4, -1).repeat_interleave(4, -2)

    coarse = torch.rand(1, 3, 25, 35)
    out = run_tiled(network, [x, coarse], tile=64, overlap=16, multiple=4, scales=[1, 4])
    assert len(calls) == 6
    assert set(calls) == {torch.Size((1, 3, 64, 64))}
    torch.testing.assert_close(out, network(x, coarse), rtol=0, atol=1e-6)


def _border(multiple: int) -> tuple[slice, slice]:
    return slice(multiple, -multiple), slice(multiple, -multiple)


def test_tiles_of_the_restoration_network_show_no_seams() -> None:
    torch.manual_seed(0)
    net = build("cdvd-tsp", n_feat=8, n_resblock=1)
    assert isinstance(net, CDVDTSP)
    x = torch.rand(1, 10, 192, 256)
    with torch.inference_mode():
        scale = 0.5 / net.recons_net(x).std()  # random weights give next to nothing; make it a picture

        def network(part: Tensor) -> Tensor:
            return net.recons_net(part) * scale

        whole = network(x)
        tiled = run_tiled(network, [x], tile=128, overlap=64, multiple=4)
        careless = run_tiled(network, [x], tile=128, overlap=0, multiple=4)
    rows, columns = _border(8)
    assert (tiled - whole)[..., rows, columns].abs().max() <= GREY_LEVEL
    assert (careless - whole)[..., rows, columns].abs().max() > GREY_LEVEL


class _Ones(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.new_ones(x.shape[0], x.shape[1], 1, 1)


@pytest.mark.parametrize("attention", [False, True], ids=["without attention", "with global attention"])
def test_tiles_of_ldn(attention: bool) -> None:
    """What its channel attention sees of the whole picture is what keeps LDN's tiles from agreeing with it."""
    torch.manual_seed(1)
    net = build("s-sdm-ldn")
    assert isinstance(net, LDN)
    if not attention:
        net.ca = _Ones()  # type: ignore[assignment]
    image = torch.rand(1, 3, 192, 192)
    image[..., 96:] *= 0.1  # tiles differ from each other
    spikes = (torch.rand(1, 21, 48, 48) < 0.3).float()
    with torch.inference_mode():
        net.pred.weight *= 20  # random weights give next to nothing; make it a picture
        for weights in net.ca.parameters():
            weights *= 10
        whole = net(image, spikes)
        tiled = run_tiled(net, [image, spikes], tile=96, overlap=64, multiple=4, scales=[1, 4])
    difference = (tiled - whole)[..., 8:-8, 8:-8].abs().max()
    assert whole.std() > 0.3
    assert (difference <= GREY_LEVEL) == (not attention), difference


class _Told(nn.Module):
    """In the place of EFNet's attention: each pixel is told what its own events are."""

    def forward(self, image: Tensor, event: Tensor, *_: nn.Module) -> Tensor:
        return event


@pytest.mark.parametrize("attention", [False, True], ids=["without attention", "with global attention"])
def test_tiles_of_efnet(attention: bool) -> None:
    torch.manual_seed(0)
    net = build("efnet", wf=16).eval()
    assert isinstance(net, EFNet)
    if not attention:
        for down in net.down_path_1:
            down.image_event_transformer.attn = _Told()
    image, event = torch.rand(1, 3, 64, 384), torch.rand(1, 6, 64, 384) * 2 - 1
    image[..., 192:] *= 0.1  # tiles differ from each other
    event[..., :192] *= 0.1
    mask = (torch.rand(1, 1, 64, 384) < 0.3).float()
    with torch.inference_mode():
        scale = 0.3 / (net(image, event, mask)[-1] - image).std()  # random weights change next to nothing

        def change(image: Tensor, event: Tensor, mask: Tensor) -> Tensor:
            return (net(image, event, mask)[-1] - image) * scale

        whole = change(image, event, mask)
        overlap = EfnetRestorer.overlap
        tiled = run_tiled(change, [image, event, mask], tile=2 * overlap, overlap=overlap, multiple=4)
    difference = (tiled - whole)[..., 8:-8, 8:-8].abs().max()
    assert (difference <= GREY_LEVEL) == (not attention), difference


def test_tiles_of_gem_show_no_seams() -> None:
    torch.manual_seed(0)
    net = build("gem").eval()
    image, counts = torch.rand(1, 3, 64, 448), torch.poisson(torch.full((1, 96, 16, 112), 0.3))

    def latent(image: Tensor, counts: Tensor) -> Tensor:
        out: Tensor = net(counts, image)[0]
        return out

    with torch.inference_mode():
        whole = latent(image, counts)
        off = []
        for overlap in (GemRestorer.overlap, 0):
            out = run_tiled(latent, [image, counts], tile=384, overlap=overlap, multiple=64, scales=[1, 4])
            off.append((out - whole)[..., 16:-16, 16:-16].abs().max())
    assert off[0] <= GREY_LEVEL < off[1]


def test_where_memory_is_short_tiles_get_smaller_until_they_fit() -> None:
    calls: list[int] = []

    def network(part: Tensor) -> Tensor:
        calls.append(part.shape[-1])
        if part.shape[-1] > 300:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return part * 2

    cut = Tiles("net", "auto", 8, 32)
    x = torch.rand(1, 3, 200, 1200)
    torch.testing.assert_close(cut.run(network, [x]), x * 2)
    assert calls[:3] == [1200, 1024, 512]
    assert set(calls[3:]) == {256}
    assert cut.side == 256
    calls.clear()
    cut.run(network, [x])  # not tried whole again
    assert set(calls) == {256}


@pytest.mark.parametrize("option", [None, 512, "auto"])
def test_what_does_not_fit_even_so_fails(option: Any) -> None:
    def network(_part: Tensor) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 GB")

    with pytest.raises(RuntimeError, match="can't allocate"):
        Tiles("net", option, 8, 32).run(network, [torch.zeros(1, 1, 800, 800)])


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    calls = []

    def network(_part: Tensor) -> Tensor:
        calls.append(1)
        raise RuntimeError("expected scalar type Float")

    with pytest.raises(RuntimeError, match="scalar type"):
        Tiles("net", "auto", 8, 32).run(network, [torch.zeros(1, 1, 800, 800)])
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("kind", "tiles_of"), [(EfnetRestorer, 3), (GemRestorer, 3), (LdnRestorer, 3)], ids=lambda v: str(v)
)
def test_restorers_cut_their_pictures_when_asked(kind: Any, tiles_of: int) -> None:
    small = type("Small", (kind,), {"overlap": 16})
    rig = one_grid(96 + 32, 40)
    made = small(rig, SMALL, "cpu")
    a = noise_exposure(rig)
    whole = made.restore([a], [0.5])
    assert not any("tiles" in f for f in whole.flags)
    seen: list[int] = []
    made._net.register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape[-1]))
    made.set({"tile": 64})
    r = made.restore([a], [0.5])
    assert len(seen) == tiles_of
    assert "restored in tiles of 64 pixels" in r.flags
    assert np.abs(r.images.astype(int) - whole.images).mean() < 3
    made.set({"tile": None})
    assert (made.restore([a], [0.5]).images == whole.images).all()
    for wrong in (16, "big", True):
        with pytest.raises(UsageError, match=r"tile .*: give a side of at least 64 pixels, or None"):
            made.set({"tile": wrong})


def test_a_restorer_without_memory_for_the_whole_says_that_it_cuts() -> None:
    rig = one_grid(128, 40)
    made = type("Small", (LdnRestorer,), {"overlap": 16})(rig, SMALL, "cpu")
    made.prepare(128, 40)

    def short(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if args[0].shape[-1] > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")

    made._net.register_forward_pre_hook(short)
    r = made.restore([noise_exposure(rig)], [0.5])
    assert "memory short: restored in tiles of 64 pixels" in r.flags


def test_a_tile_that_covers_the_picture_is_the_whole() -> None:
    x = torch.rand(1, 1, 30, 50)  # any size: nothing is cut
    assert run_tiled(lambda part: part, [x], tile=64, overlap=16, multiple=8) is x
    assert run_tiled(lambda part: part, [x], tile=None, overlap=16, multiple=8) is x


@pytest.mark.parametrize("value", [0, 63, True, 100.0, "64", -128])
def test_tile_option_refuses(value: Any) -> None:
    with pytest.raises(UsageError, match=r"net: tile .* at least 64 pixels, or None"):
        tile_option(value, "net", 8, 32)


def test_tile_option() -> None:
    assert tile_option(None, "net", 8, 32) is None
    assert tile_option(100, "net", 8, 32) == 104
    with pytest.raises(UsageError, match="at least 256 pixels"):
        tile_option(200, "net", 64, 128)


def test_sides_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="130×128 in tiles of 64 pixels: all must be multiples of 4"):
        run_tiled(lambda x: x, [torch.zeros(1, 1, 128, 130)], tile=64, overlap=8, multiple=4)
    with pytest.raises(ValueError, match="is not 128×128 divided by 4"):
        run_tiled(
            lambda x, _: x,
            [torch.zeros(1, 1, 128, 128), torch.zeros(1, 1, 31, 32)],
            tile=64, overlap=8, multiple=4, scales=[1, 4],
        )  # fmt: skip
