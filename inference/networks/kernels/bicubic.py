"""Twice the size by bicubic interpolation, channels-last."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from inference.networks.kernels import on, rows_of_channels

_PIXELS, _CHANNELS = 32, 32  # of one block


@triton.jit  # type: ignore[untyped-decorator]
def _weight(t: tl.tensor, tap: tl.constexpr) -> tl.tensor:
    """Weight of tap 0…3 where the position is `t` behind tap 1: the cubic kernel with a = −0.75."""
    if tap == 0:
        d = 1 + t
    elif tap == 1:
        d = t
    elif tap == 2:
        d = 1 - t
    else:
        d = 2 - t
    near = (1.25 * d - 2.25) * d * d + 1
    far = ((-0.75 * d + 3.75) * d - 6) * d + 3
    return near if tap == 1 or tap == 2 else far


@triton.jit  # type: ignore[untyped-decorator]
def _twice(
    x: tl.tensor,  # (N, H·W, C)
    out: tl.tensor,  # (N, 4·H·W, C)
    height: tl.tensor,  # H
    width: tl.tensor,  # W
    C: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    pixels = height * width
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    exists = pixel < 4 * pixels
    sample = tl.program_id(1).to(tl.int64)
    x += sample * (pixels * C)
    out += sample * (4 * pixels * C)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    row = pixel // (2 * width)
    column = pixel - row * (2 * width)
    # Result 2i lies a quarter before pixel i, result 2i + 1 a quarter behind it.
    ty = tl.where(row % 2 == 0, 0.75, 0.25)
    tx = tl.where(column % 2 == 0, 0.75, 0.25)
    first_row = row // 2 + row % 2 - 2
    first_column = column // 2 + column % 2 - 2
    total = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
    for a in tl.static_range(4):
        y = tl.minimum(tl.maximum(first_row + a, 0), height - 1)
        line = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
        for b in tl.static_range(4):
            at = tl.minimum(tl.maximum(first_column + b, 0), width - 1) + y * width
            read = tl.load(x + (at * C)[:, None] + channel[None, :], mask=exists[:, None], other=0.0)
            line += read.to(tl.float32) * _weight(tx, b)[:, None]
        total += line * _weight(ty, a)[:, None]
    target = out + (pixel * C)[:, None] + channel[None, :]
    tl.store(target, total.to(out.dtype.element_ty), mask=exists[:, None])


def twice(x: Tensor) -> Tensor:
    """`F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)`, summed in float32.

    Args:
        x: (N, C, H, W) float32, float16 or bfloat16; C a multiple of 32.

    Returns:
        (N, C, 2H, 2W) of the same type, channels-last in memory.
    """
    n, c, height, width = x.shape
    out = torch.empty(n, 2 * height, 2 * width, c, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(4 * height * width, _PIXELS), n, c // _CHANNELS)
    with on(x.device):
        _twice[grid](
            rows_of_channels(x), out, height, width,
            C=c, PIXELS=_PIXELS, CHANNELS=_CHANNELS, num_warps=4, num_stages=1,
        )  # fmt: skip
    return out.permute(0, 3, 1, 2)
