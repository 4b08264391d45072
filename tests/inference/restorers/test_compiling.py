"""Compiled networks and CUDA graphs: results stay, kinds of input are told apart, warm-up is at full size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from capture.errors import UsageError
from inference.restorers.compiling import KEPT_GRAPHS, Graphed, compiled
from inference.restorers.efnet import EfnetRestorer
from inference.restorers.gem import GemRestorer
from inference.restorers.rehearsal import SIDE
from inference.restorers.s_sdm import LdnRestorer
from inference.restorers.work import Work
from tests.inference.restorers.rigs import SMALL, Stub, noise_exposure, one_grid


class Recorder:
    """Stands for CUDA's: a replay runs the function anew into the memory of the recorded result."""

    recorded = replayed = 0

    def __call__(self, run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        self.recorded += 1
        memory = run()

        def replay() -> None:
            self.replayed += 1
            for mine, new in zip(memory, run(), strict=True):
                mine.copy_(new)

        return memory, replay


def double(x: Tensor, factor: float | None = None) -> list[Tensor]:
    return [x * 2 if factor is None else x * factor, x.sum()]


def test_a_recorded_network_gives_results_that_stay() -> None:
    recorder = Recorder()
    call = Graphed(double, recorder)
    first, second = call(torch.ones(2)), call(torch.full((2,), 2.0))
    assert first[0].tolist() == [2, 2]
    assert second[0].tolist() == [4, 4]
    assert second[1].item() == 4
    assert (recorder.recorded, recorder.replayed) == (1, 2)


def test_each_kind_of_input_is_recorded_by_itself() -> None:
    recorder = Recorder()
    call = Graphed(double, recorder)
    x = torch.rand(1, 3, 4, 4)
    for given in ((x,), (x.contiguous(memory_format=torch.channels_last),), (x.double(),), (x, 3.0), (x, None)):
        want = double(*given)
        got = call(*given)
        assert torch.equal(got[0], want[0])
        assert got[0].dtype == want[0].dtype
    assert recorder.recorded == 5
    call(x, 3.0)
    assert recorder.recorded == 5
    for n in range(KEPT_GRAPHS):
        call(torch.rand(n + 1))
    call(x, 3.0)  # the oldest ones have been dropped
    assert recorder.recorded == 5 + KEPT_GRAPHS + 1
    assert len(call._known) == KEPT_GRAPHS


def test_compiling_is_for_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    net = torch.nn.Identity()
    monkeypatch.setattr(torch, "compile", lambda it, **options: (asked.append(options), it)[1])
    assert compiled(net, False) is net
    assert asked == []
    assert compiled(net, True) is net
    assert isinstance(compiled(net, "graphs"), Graphed)
    assert isinstance(compiled(net, "both"), Graphed)
    assert asked == [{"dynamic": False}] * 2


class Sized(Stub):
    """Keeps the sizes that it restored."""

    sizes: list[tuple[int, ...]]

    def _infer(self, work: Work) -> Tensor:
        self.sizes.append(work.pictures[work.index].shape)
        return super()._infer(work)


@pytest.mark.parametrize("compile_", [False, True])
def test_what_is_compiled_is_warmed_up_at_the_size_of_the_frames(compile_: bool) -> None:
    rig = one_grid(2 * SIDE, 3 * SIDE)
    made = Sized(rig, {**SMALL, "compile": compile_}, "cpu")
    made.sizes = []
    made.prepare(2 * SIDE, 3 * SIDE)
    size = (3 * SIDE, 2 * SIDE) if compile_ else (SIDE, SIDE)
    assert [s[:2] for s in made.sizes] == [size, size]  # in colour and in gray


def test_graphs_need_a_gpu() -> None:
    for mode in ("graphs", "both"):
        with pytest.raises(UsageError, match=f"stub: compile {mode}: only a CUDA device has graphs"):
            Stub(one_grid(24, 24), {**SMALL, "compile": mode}, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["graphs", "both"])
@pytest.mark.parametrize("kind", [EfnetRestorer, GemRestorer, LdnRestorer])
def test_graphs_give_what_the_network_gives(kind: Any, mode: str) -> None:
    """Another exposure after the recorded one, from another thread than the one that recorded."""
    import threading

    rig = one_grid(96, 64)
    plain, graphed = (kind(rig, {**SMALL, "dtype": "float32", "compile": m}, "cuda") for m in (False, mode))
    graphed.prepare(96, 64)
    exposures = [noise_exposure(rig, n=n) for n in (400, 900)]
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.extend(graphed.restore([a], [0.5]).images for a in exposures))
    thread.start()
    thread.join()
    for a, images in zip(exposures, got, strict=True):
        assert np.abs(plain.restore([a], [0.5]).images.astype(int) - images).max() <= 1


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [EfnetRestorer, GemRestorer, LdnRestorer])
def test_half_precision_on_a_gpu_is_what_the_cpu_says(kind: Any) -> None:
    rig = one_grid(96, 64)
    a = noise_exposure(rig)
    for dtype in kind.autocast:
        there, here = (kind(rig, {**SMALL, "dtype": dtype}, device) for device in ("cuda", "cpu"))
        off = np.abs(there.restore([a], [0.5]).images.astype(int) - here.restore([a], [0.5]).images)
        assert off.max() <= 2
        assert off.mean() < 0.1
