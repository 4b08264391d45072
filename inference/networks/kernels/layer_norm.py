"""Layer normalisation of many short rows, in the number type that they come in."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from inference.networks.kernels import on

_NUMBERS = 4096  # of one block


@triton.jit  # type: ignore[untyped-decorator]
def _normalised(
    x: tl.tensor,  # (rows, C)
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    rows: tl.tensor,
    epsilon: tl.tensor,
    C: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = (row < rows)[:, None]
    channel = tl.arange(0, C)
    at = row.to(tl.int64)[:, None] * C + channel[None, :]
    read = tl.load(x + at, mask=exists, other=0.0).to(tl.float32)
    centred = read - (tl.sum(read, axis=1) / C)[:, None]
    variance = tl.sum(centred * centred, axis=1) / C
    scaled = centred * tl.rsqrt(variance + epsilon)[:, None]
    scaled = scaled * tl.load(weight + channel)[None, :] + tl.load(bias + channel)[None, :]
    tl.store(out + at, scaled.to(out.dtype.element_ty), mask=exists)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """`F.layer_norm` over the last axis; mean, variance and scaling are float32.

    Args:
        x: (..., C) of `kernels.TYPES`, C as `kernels.rows_fit` has it.
        weight, bias: (C,) float32.
        epsilon: added to the variance.

    Returns:
        (..., C) of x's type, contiguous.
    """
    x = x.contiguous()
    c = x.shape[-1]
    rows, block = x.numel() // c, _NUMBERS // c
    out = torch.empty_like(x)
    with on(x.device):
        _normalised[(triton.cdiv(rows, block),)](
            x, weight, bias, out, rows, epsilon, C=c, BLOCK=block, num_warps=4, num_stages=1
        )
    return out
