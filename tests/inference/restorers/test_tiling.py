"""Tiles: they cover the picture, agree with the whole, and say what they cannot take."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from capture.errors import UsageError
from inference.networks import build
from inference.networks.cdvd_tsp import CDVDTSP
from inference.networks.s_sdm_ldn import LDN
from inference.restorers.tiling import run_tiled, starts, tile_option, tiles

GREY_LEVEL = 1 / 255


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
