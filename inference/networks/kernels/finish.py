"""What follows a convolution: sums, biases and the activation, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from inference.networks.kernels import on

_NUMBERS = 4096  # of one block
_MOST = 4, 2  # maps before the activation, and behind it


@triton.jit  # type: ignore[untyped-decorator]
def _finished(
    a: tl.tensor,  # (rows, C), as all the maps; the result replaces it
    b: tl.tensor,
    c: tl.tensor,
    d: tl.tensor,
    e: tl.tensor,
    f: tl.tensor,
    bias: tl.tensor,  # (C,) float32
    behind_bias: tl.tensor,
    rows: tl.tensor,
    BEFORE: tl.constexpr,  # how many of a, b, c, d are read
    BEHIND: tl.constexpr,  # how many of e, f
    BIASED: tl.constexpr,  # whether `behind_bias` is
    SLOPE: tl.constexpr,
    C: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = (row < rows)[:, None]
    channel = tl.arange(0, C)
    at = row.to(tl.int64)[:, None] * C + channel[None, :]
    x = tl.load(a + at, mask=exists, other=0.0).to(tl.float32)
    if BEFORE > 1:
        x += tl.load(b + at, mask=exists, other=0.0).to(tl.float32)
    if BEFORE > 2:
        x += tl.load(c + at, mask=exists, other=0.0).to(tl.float32)
    if BEFORE > 3:
        x += tl.load(d + at, mask=exists, other=0.0).to(tl.float32)
    x += tl.load(bias + channel)[None, :]
    if SLOPE == 0:
        x = tl.where(x < 0, 0.0, x)  # minus infinity too; NaN stays
    elif SLOPE != 1:
        x = tl.where(x < 0, x * SLOPE, x)
    if BEHIND > 0:
        x += tl.load(e + at, mask=exists, other=0.0).to(tl.float32)
    if BEHIND > 1:
        x += tl.load(f + at, mask=exists, other=0.0).to(tl.float32)
    if BIASED:
        x += tl.load(behind_bias + channel)[None, :]
    tl.store(a + at, x.to(a.dtype.element_ty), mask=exists)


def finished(
    before: Sequence[Tensor],
    bias: Tensor,
    slope: float = 1.0,
    behind: Sequence[Tensor] = (),
    behind_bias: Tensor | None = None,
) -> Tensor:
    """`leaky_relu(sum(before) + bias, slope) + sum(behind) + behind_bias`, summed in float32 and rounded once.

    Args:
        before: 1 to 4 maps (N, C, H, W), each float32, float16 or bfloat16; C a power of two from 16 to 1024.
            The first is overwritten where it is channels-last.
        bias: (C,) float32.
        slope: 1: no activation; 0: ReLU.
        behind: up to 2 maps of the same shape.
        behind_bias: (C,) float32 or None.

    Returns:
        (N, C, H, W) of the type of the first, channels-last in memory.
    """
    assert 1 <= len(before) <= _MOST[0]
    assert len(behind) <= _MOST[1]
    maps, more = (
        [x.contiguous(memory_format=torch.channels_last) for x in given] for given in (before, behind)
    )
    a = maps[0]
    channels = a.shape[1]
    rows, block = a.numel() // channels, _NUMBERS // channels
    b, c, d = (maps + [a] * 3)[1:4]
    e, f = (more + [a] * 2)[:2]
    with on(a.device):
        _finished[(triton.cdiv(rows, block),)](
            a, b, c, d, e, f, bias, bias if behind_bias is None else behind_bias, rows,
            BEFORE=len(maps), BEHIND=len(more), BIASED=behind_bias is not None, SLOPE=slope,
            C=channels, BLOCK=block, num_warps=4, num_stages=1,
        )  # fmt: skip
    return a
