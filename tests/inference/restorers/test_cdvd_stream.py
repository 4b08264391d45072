"""CDVD-TSP over a stream: the same bits as the whole network, for half the work."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import pytest
import torch
from torch import Tensor

from inference.networks import build
from inference.networks.cdvd_tsp import CDVDTSP
from inference.restorers.cdvd_stream import CdvdStream

FRAMES = {k: torch.rand(1, 3, 36, 52, generator=torch.Generator().manual_seed(k)) for k in range(9)}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def net() -> CDVDTSP:
    torch.manual_seed(0)
    made = build("cdvd-tsp", n_feat=8, n_resblock=1)
    assert isinstance(made, CDVDTSP)
    return made.eval()


def whole(net: CDVDTSP, window: list[int]) -> Tensor:
    out: Tensor = net(torch.stack([FRAMES[k] for k in window], 1))[3]
    return out


class Source:
    def __init__(self) -> None:
        self.asked: list[Hashable] = []

    def __call__(self, key: Hashable) -> Tensor:
        self.asked.append(key)
        return FRAMES[key]  # type: ignore[index]


def test_a_stream_gives_the_bits_of_the_whole_network_for_half_the_work(net: CDVDTSP) -> None:
    stream, source = CdvdStream(net), Source()
    work = []
    for n in range(5):
        window = list(range(n, n + 5))
        before = stream.restored
        assert torch.equal(stream.run(window, source), whole(net, window))
        work.append(stream.restored - before)
    assert work == [4, 2, 2, 2, 2]
    assert source.asked == list(range(9))  # each frame was asked for once


@pytest.mark.parametrize("window", [[0, 0, 0, 1, 2], [0, 0, 1, 2, 2], [3, 3, 3, 3, 3]])
def test_repeated_frames_are_what_the_whole_network_makes_of_them(net: CDVDTSP, window: list[int]) -> None:
    stream = CdvdStream(net)
    assert torch.equal(stream.run(window, Source()), whole(net, window))
    assert stream.restored == len({tuple(window[k : k + 3]) for k in range(3)}) + 1


def test_a_window_aside_uses_what_is_known_and_changes_nothing(net: CDVDTSP) -> None:
    stream, source = CdvdStream(net), Source()
    stream.run([0, 1, 2, 3, 4], source)
    stream.run([1, 2, 3, 4, 5], source)
    assert torch.equal(stream.run([0, 1, 2, 3, 4], source, keep=False), whole(net, [0, 1, 2, 3, 4]))
    before = stream.restored
    assert torch.equal(stream.run([2, 3, 4, 5, 6], source), whole(net, [2, 3, 4, 5, 6]))
    assert stream.restored - before == 2  # as if nobody had looked aside


def test_reset_forgets(net: CDVDTSP) -> None:
    stream, source = CdvdStream(net), Source()
    stream.run([0, 1, 2, 3, 4], source)
    stream.reset()
    before = stream.restored
    stream.run([1, 2, 3, 4, 5], source)
    assert stream.restored - before == 4
    assert source.asked == [0, 1, 2, 3, 4, 1, 2, 3, 4, 5]


def test_only_the_newest_window_is_kept(net: CDVDTSP) -> None:
    stream, source = CdvdStream(net), Source()
    for n in range(4):
        stream.run(list(range(n, n + 5)), source)
    assert len(stream._frames) == 5
    assert len(stream._first) == 3


def test_a_frame_that_fails_leaves_what_was_known(net: CDVDTSP) -> None:
    stream = CdvdStream(net)
    stream.run([0, 1, 2, 3, 4], Source())

    def broken(key: Hashable) -> Tensor:
        raise RuntimeError("no such frame")

    with pytest.raises(RuntimeError, match="no such frame"):
        stream.run([1, 2, 3, 4, 5], broken)
    before = stream.restored
    assert torch.equal(stream.run([1, 2, 3, 4, 5], Source()), whole(net, [1, 2, 3, 4, 5]))
    assert stream.restored - before == 2


def test_tiles_stream_alike(net: CDVDTSP) -> None:
    big = {k: torch.rand(1, 3, 64, 320, generator=torch.Generator().manual_seed(k)) for k in range(6)}
    stream, fresh = CdvdStream(net, tile=256), CdvdStream(net, tile=256)
    stream.run([0, 1, 2, 3, 4], big.__getitem__)
    before = stream.restored
    streamed = stream.run([1, 2, 3, 4, 5], big.__getitem__)
    assert stream.restored - before == 2
    assert torch.equal(streamed, fresh.run([1, 2, 3, 4, 5], big.__getitem__))
    untiled = CdvdStream(net).run([1, 2, 3, 4, 5], big.__getitem__)
    assert (streamed - untiled).abs().max() < 0.05 * untiled.std()


def test_other_lengths_are_refused(net: CDVDTSP) -> None:
    with pytest.raises(ValueError, match="takes 5 frames, got 3"):
        CdvdStream(net).run([0, 1, 2], Source())
