"""`torch.compile` and CUDA graphs for restorers, when asked.

The graphs are captured here and not by `torch.compile(mode="reduce-overhead")`: that one binds them to the
thread which captured them, and a network is made ready in another thread than it runs in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inference.device import no_new_trials

KEPT_GRAPHS = 4
"""Kinds of input whose graphs are kept; each holds the memory of one run."""
WARM_RUNS = 3

Run = Callable[[], Any]
# Runs it a few times and records it; gives its result's memory and what runs it again.
Capture = Callable[[Run], tuple[Any, Callable[[], None]]]


def compiled(net: nn.Module, mode: Any) -> Callable[..., Any]:
    """The network, ready to call.

    Args:
        net: on its device.
        mode: False: as it is; True: compiled for each input shape; "graphs": as CUDA graphs, one for each kind
            of input; "both": compiled, then as graphs.
    """
    call = torch.compile(net, dynamic=False) if mode in (True, "both") else net
    return Graphed(call, on_cuda) if mode in ("graphs", "both") else call


class Graphed:
    """A function of tensors that is recorded once for each kind of input and then only replayed.

    A kind is shapes, number types, memory layouts, what is no tensor, and the autocast in force. Results are
    copies: the next replay writes into the same memory. The function must not wait for the device.

    Args:
        function: takes tensors and other hashable values, gives tensors, alone or in tuples and lists.
        capture: records a run, see `on_cuda`.
    """

    def __init__(self, function: Callable[..., Any], capture: Capture) -> None:
        self._function, self._capture = function, capture
        self._known: OrderedDict[Any, tuple[list[Any], Any, Callable[[], None]]] = OrderedDict()

    def __call__(self, *inputs: Any) -> Any:
        """The function's result."""
        cast = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        kind = tuple(_kind(x) for x in inputs), cast
        if kind not in self._known:
            own = [x.clone() if isinstance(x, Tensor) else x for x in inputs]
            self._known[kind] = (own, *self._capture(lambda: self._function(*own)))
            if len(self._known) > KEPT_GRAPHS:
                self._known.popitem(last=False)
        self._known.move_to_end(kind)
        own, result, replay = self._known[kind]
        for mine, given in zip(own, inputs, strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given)
        replay()
        return _copied(result)


def on_cuda(run: Run, pool: Any = None) -> tuple[Any, Callable[[], None]]:
    """Record a run on the current CUDA device. Other threads may go on using the device meanwhile.

    Args:
        run: gives tensors.
        pool: of memory, as `torch.cuda.graph_pool_handle` gives it; recordings that share one must be replayed
            one after the other, each one's result being taken before the next.
    """
    with no_new_trials():
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # what a first run allocates and chooses must not be recorded
            for _ in range(WARM_RUNS):
                run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = run()
    return result, graph.replay


def _kind(x: Any) -> Any:
    return (x.shape, x.stride(), x.dtype, x.device) if isinstance(x, Tensor) else x


def _copied(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.clone()
    if isinstance(result, list | tuple):
        return type(result)(_copied(r) for r in result)
    return result
