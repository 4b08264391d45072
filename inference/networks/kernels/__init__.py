"""Kernels of our own for CUDA devices, in Triton: for what PyTorch's own ones do in many passes over memory.

Each does what PyTorch code beside its call does, which stays the reference and serves every other device, and
training. Triton comes with PyTorch on Linux. It is imported where there is a GPU to use it, and builds a kernel
the first time that it is called with a kind of input; that needs a C compiler. Where it fails, the reason is
logged and PyTorch's code runs.

The environment variable `HALFMIRROR_TRITON=0` switches the kernels off.
"""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

VARIABLE = "HALFMIRROR_TRITON"
WIDTHS = (16, 32, 64, 128)
"""Channels that the kernels take: their products want powers of two, and no fewer than 16."""
HALF = (torch.float16, torch.bfloat16)
TYPES = (torch.float32, *HALF)
"""Number types that the kernels take."""
# Below Ampere there is no bfloat16, and less shared memory than the kernels are cut for (99 KiB a block).
_LEAST = (8, 0)

log = logging.getLogger(__name__)


def serve(*tensors: Tensor) -> bool:
    """Whether the kernels can do work on these: on one CUDA device, nothing to be differentiated or compiled.

    Args:
        tensors: what the work reads, parameters too.
    """
    device = tensors[0].device
    return (
        device.type == "cuda"
        and not torch.compiler.is_compiling()
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        and usable(device)
    )


def serve_maps(module: nn.Module, *maps: Tensor) -> bool:
    """Whether the kernels can do the work of this module on these maps (N, C, …)."""
    return (
        all(x.dtype in TYPES and x.shape[1] in WIDTHS and fits(x) for x in maps)
        and serve(*maps, *module.parameters())
    )  # fmt: skip


def autocast_type(x: Tensor) -> torch.dtype | None:
    """Autocast's half-precision type where it is on for the device of `x`, else None."""
    kind = x.device.type
    found = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return found if found in HALF else None


@cache
def usable(device: torch.device) -> bool:
    """Whether Triton can build and run kernels for this device; found out once, the reason logged if not."""
    why = hindrance(device)
    if why:
        log.info("no Triton kernels on %s: %s", device, why)
    return not why


def hindrance(device: torch.device) -> str:
    """Why there can be none of these kernels on this device; empty where they run. Builds and runs one."""
    if os.environ.get(VARIABLE) == "0":
        return f"{VARIABLE} is 0"
    if device.type != "cuda":
        return "it is no CUDA device"
    if torch.version.hip is not None:
        return "its PyTorch is for ROCm"
    try:
        capability = torch.cuda.get_device_capability(device)
        if capability < _LEAST:
            return f"its compute capability is {capability[0]}.{capability[1]}, below {_LEAST[0]}.{_LEAST[1]}"
        from inference.networks.kernels.probe import works

        return "" if works(device) else "a first kernel computed something else"
    except Exception as error:  # no Triton, no compiler, no folder to write to: a new one with each version
        return f"{type(error).__name__}: {error}"


def on(device: torch.device) -> AbstractContextManager[Any]:
    """Kernels launched inside run on this device; the interpreter, on a CPU, needs nothing."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def rows_of_channels(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H, W, C), contiguous; copied where it is not channels-last."""
    return x.permute(0, 2, 3, 1).contiguous()


def rows_fit(channels: int) -> bool:
    """Whether rows of so many channels can be worked on whole: a power of two from 16 to 1024."""
    return channels & (channels - 1) == 0 and 16 <= channels <= 1024


def fits(x: Tensor) -> bool:
    """Whether positions in one sample, and in one of eight times as many numbers, have 32 bits."""
    return x[0].numel() < 1 << 28
