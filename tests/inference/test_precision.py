"""What is switched while a network runs, and that nothing else is: cuDNN above all stays on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch

from inference.device import no_new_trials, trying_kernels, without_tf32
from inference.restorers.precision import narrowed

cudnn = torch.backends.cudnn
SWITCHES = ("enabled", "benchmark", "deterministic", "allow_tf32")


@pytest.fixture(params=[True, False])
def tuned(request: pytest.FixtureRequest) -> Iterator[bool]:
    """cuDNN as it comes, and as a benchmark sets it."""
    before = cudnn.benchmark
    cudnn.benchmark = request.param
    yield request.param
    cudnn.benchmark = before


@pytest.mark.parametrize(
    "inside",
    [without_tf32, lambda: narrowed(torch.device("cuda"), torch.float32)],
    ids=["without_tf32", "narrowed"],
)
def test_only_tf32_is_switched_off(inside: Callable[[], AbstractContextManager[None]], tuned: bool) -> None:
    before = {name: getattr(cudnn, name) for name in SWITCHES}
    assert before["enabled"]
    with inside():
        assert {name: getattr(cudnn, name) for name in SWITCHES} == before | {"allow_tf32": False}
        assert cudnn.benchmark is tuned
    assert {name: getattr(cudnn, name) for name in SWITCHES} == before


NEWER = pytest.mark.skipif(not hasattr(cudnn, "conv"), reason="before PyTorch 2.9")


@pytest.fixture
def precisions() -> Iterator[Callable[[], tuple[str, ...]]]:
    """How PyTorch's newer settings stand; they are put back at the end."""
    owners = torch.backends, cudnn, cudnn.conv, cudnn.rnn
    before = [o.fp32_precision for o in owners]
    yield lambda: tuple(o.fp32_precision for o in owners)
    cudnn.allow_tf32 = True
    for owner, value in zip(owners, before, strict=True):
        owner.fp32_precision = value


@NEWER
@pytest.mark.parametrize("kept", ["ieee", "none"])
def test_a_program_that_set_the_newer_switches_keeps_them(
    precisions: Callable[[], tuple[str, ...]], kept: str
) -> None:
    """`allow_tf32` cannot even be read where convolutions and recurrent networks differ."""
    cudnn.conv.fp32_precision = kept
    before = precisions()
    with without_tf32():
        assert precisions()[2:] == ("ieee", "ieee")
        assert cudnn.allow_tf32 is False
    assert precisions() == before
    cudnn.conv.fp32_precision = "tf32"
    assert cudnn.allow_tf32


@NEWER
@pytest.mark.parametrize("owner", [torch.backends, cudnn], ids=["all", "cudnn"])
def test_tf32_is_off_where_a_program_asks_for_it_everywhere(
    precisions: Callable[[], tuple[str, ...]], owner: Any
) -> None:
    owner.fp32_precision = "tf32"
    before = precisions()
    with without_tf32():
        assert precisions()[2:] == ("ieee", "ieee")
    assert precisions() == before


def test_tf32_comes_back_after_an_error() -> None:
    before = cudnn.allow_tf32
    with pytest.raises(ValueError, match="in the middle"), without_tf32():
        raise ValueError("in the middle")
    assert cudnn.allow_tf32 is before


def test_another_thread_that_leaves_first_takes_nothing_away() -> None:
    """A network is made ready in one thread while another one runs."""
    before = cudnn.allow_tf32
    one, other = without_tf32(), without_tf32()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert cudnn.allow_tf32 is False
    other.__exit__(None, None, None)
    assert cudnn.allow_tf32 is before


def test_kernels_are_not_tried_all_of_a_sudden(tuned: bool) -> None:
    with trying_kernels():
        assert cudnn.benchmark
        with no_new_trials():
            assert cudnn.benchmark
    with no_new_trials():
        assert cudnn.benchmark is tuned
        with trying_kernels():  # another thread
            assert cudnn.benchmark is tuned
    assert cudnn.benchmark is tuned


def test_a_network_that_wants_it_is_tuned() -> None:
    before = cudnn.benchmark
    with narrowed(torch.device("cuda"), torch.float32, True):
        assert cudnn.benchmark
    with narrowed(torch.device("cuda"), torch.float32, False):
        assert cudnn.benchmark is before
    with narrowed(torch.device("cpu"), torch.float32, True):
        assert cudnn.benchmark is before


@pytest.mark.gpu
def test_convolutions_of_a_restorer_are_cudnn_s() -> None:
    x = torch.rand(1, 64, 64, 64, device="cuda").contiguous(memory_format=torch.channels_last)
    net = torch.nn.Conv2d(64, 64, 3, padding=1).cuda().to(memory_format=torch.channels_last)
    with (
        torch.inference_mode(),
        narrowed(torch.device("cuda"), torch.float16),
        torch.profiler.profile() as seen,
    ):
        net(x)
    assert any("cudnn_convolution" in e.key for e in seen.key_averages())
