"""`torch.compile` for restorers, with CUDA graphs when asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def compiled(net: nn.Module, mode: Any) -> Callable[..., Any]:
    """The network, ready to call.

    Args:
        net: on its device.
        mode: False: as it is; True: compiled for each input shape; "graphs": with CUDA graphs as well.
    """
    if not mode:
        return net
    if mode != "graphs":
        return torch.compile(net, dynamic=False)
    graphed = torch.compile(net, dynamic=False, mode="reduce-overhead")

    def call(*inputs: Any) -> Any:
        # A graph writes every result into the same memory: whoever keeps one needs a copy.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return _copied(graphed(*inputs))

    return call


def _copied(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.clone()
    if isinstance(result, list | tuple):
        return type(result)(_copied(r) for r in result)
    return result
