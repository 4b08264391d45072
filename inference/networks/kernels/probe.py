"""The smallest kernel, to see whether Triton works on a machine at all."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inference.networks.kernels import on

_NUMBERS = 16


@triton.jit  # type: ignore[untyped-decorator]
def _doubled(x: tl.tensor, out: tl.tensor, NUMBERS: tl.constexpr) -> None:
    at = tl.arange(0, NUMBERS)
    tl.store(out + at, tl.load(x + at) * 2)


def works(device: torch.device) -> bool:
    """Builds a kernel, runs it and looks at its result. Waits for the device."""
    x = torch.arange(_NUMBERS, dtype=torch.float32, device=device)
    out = torch.empty_like(x)
    with on(device):
        _doubled[(1,)](x, out, NUMBERS=_NUMBERS)
    return torch.equal(out, x * 2)
