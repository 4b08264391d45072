"""The number type in which a restorer runs its network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from capture.errors import UsageError
from inference.device import multiplies_bfloat16, trying_kernels, without_tf32
from inference.half import WideSums


def choose_autocast(name: str, dtype: str, allowed: Sequence[str], device: torch.device) -> torch.dtype:
    """The number type for this network on this device; float32 means no autocast.

    Args:
        name: for the message.
        dtype: the option.
        allowed: what the network bears. "auto" takes the first on a GPU, bfloat16 on a CPU that multiplies it
            (`multiplies_bfloat16`), float32 where it is not among them and everywhere else.
        device: where it runs.

    Raises:
        UsageError: one that the network does not bear, or on a device that is neither CPU nor CUDA.
    """
    if dtype == "auto":
        dtype = "float32"
        if device.type == "cuda" and allowed:
            dtype = allowed[0]
        elif device.type == "cpu" and "bfloat16" in allowed and multiplies_bfloat16():
            dtype = "bfloat16"
    if dtype != "float32" and device.type not in ("cuda", "cpu"):
        raise UsageError(f"{name}: dtype {dtype}: only CUDA devices and CPUs run it; use float32")
    if dtype not in ("float32", *allowed):
        bears = ", ".join(dict.fromkeys(("float32", *allowed)))
        raise UsageError(f"{name}: dtype {dtype} costs this network its accuracy; it bears {bears}")
    found: torch.dtype = getattr(torch, dtype)
    return found


@contextmanager
def narrowed(device: torch.device, dtype: torch.dtype, tuned: bool = False) -> Iterator[None]:
    """Inside, networks run in this type on this device: autocast, and on a CPU that does not multiply it
    `inference.half`'s sums.

    float32 is float32 on a GPU too, here and in the parts that keep it under autocast: its convolutions would
    otherwise round to the ten bits of TF32. `tuned`: cuDNN tries its kernels there (`trying_kernels`).
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(without_tf32())
            if tuned:
                stack.enter_context(trying_kernels())
        if dtype != torch.float32:
            stack.enter_context(torch.autocast(device.type, dtype))
            if device.type == "cpu" and not (dtype == torch.bfloat16 and multiplies_bfloat16()):
                stack.enter_context(WideSums())
        yield
