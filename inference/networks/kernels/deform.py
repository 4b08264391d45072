"""Modulated deformable convolution: samples are made in registers and multiplied at once, never stored."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from inference.networks.kernels import on, rows_of_channels


@triton.jit  # type: ignore[untyped-decorator]
def _share(inside: tl.tensor, x: tl.tensor, at: tl.tensor, share: tl.tensor) -> tl.tensor:
    """A corner's pixels (BLOCK, CHUNK), weighed; zero outside, but NaN where the share is."""
    return tl.load(x + at, mask=inside[:, None], other=0.0).to(tl.float32) * share[:, None]


@triton.jit  # type: ignore[untyped-decorator]
def _deform(
    x: tl.tensor,  # (N, H·W, C)
    moved: tl.tensor,  # offsets: row and column of tap t at channels 2t and 2t + 1
    masked: tl.tensor,  # masks, tap t at channel t
    weight: tl.tensor,  # (K²·C, D), of the type that products are taken in
    bias: tl.tensor,  # (D,) float32
    added: tl.tensor,  # (3K²,) float32, read where RAW
    out: tl.tensor,  # (N, H·W, D)
    height: tl.tensor,
    width: tl.tensor,
    moved_sample: tl.tensor,  # strides, in numbers
    moved_channel: tl.tensor,
    moved_pixel: tl.tensor,
    masked_sample: tl.tensor,
    masked_channel: tl.tensor,
    masked_pixel: tl.tensor,
    K: tl.constexpr,
    C: tl.constexpr,
    D: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
    RAW: tl.constexpr,  # offsets and masks still want `added`, masks a sigmoid after it
) -> None:
    pixels = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = pixel < pixels
    sample = tl.program_id(1).to(tl.int64)
    x += sample * (pixels * C)
    out += sample * (pixels * D)
    moved += sample * moved_sample
    masked += sample * masked_sample
    row = pixel // width
    column = pixel - row * width
    channel = tl.arange(0, CHUNK)
    output = tl.arange(0, D)

    total = tl.zeros((BLOCK, D), dtype=tl.float32)
    for tap in range(K * K):
        at = moved + 2 * tap * moved_channel + pixel * moved_pixel
        dy = tl.load(at, mask=exists, other=0.0).to(tl.float32)
        dx = tl.load(at + moved_channel, mask=exists, other=0.0).to(tl.float32)
        m = tl.load(masked + tap * masked_channel + pixel * masked_pixel, mask=exists, other=0.0).to(tl.float32)
        if RAW:
            dy += tl.load(added + 2 * tap)
            dx += tl.load(added + 2 * tap + 1)
            m = tl.sigmoid(m + tl.load(added + 2 * K * K + tap))
        # A NaN must not become a position; it stays in the shares, as does what infinity leaves: NaN.
        dy0 = tl.floor(tl.where(dy == dy, dy, 0.0))
        dx0 = tl.floor(tl.where(dx == dx, dx, 0.0))
        top = (row + (tap // K - K // 2)).to(tl.float32) + dy0
        left = (column + (tap % K - K // 2)).to(tl.float32) + dx0
        # What lies further out than one pixel is as zero as the pixel just outside.
        y0 = tl.minimum(tl.maximum(top, -1.0), 1.0 * height).to(tl.int32)
        y1 = tl.minimum(tl.maximum(top + 1.0, -1.0), 1.0 * height).to(tl.int32)
        x0 = tl.minimum(tl.maximum(left, -1.0), 1.0 * width).to(tl.int32)
        x1 = tl.minimum(tl.maximum(left + 1.0, -1.0), 1.0 * width).to(tl.int32)
        fy = dy - dy0
        fx = dx - dx0
        lower = m * fy
        upper = m - lower
        upper_right = upper * fx
        lower_right = lower * fx
        upper_left = upper - upper_right
        lower_left = lower - lower_right
        above = exists & (y0 >= 0) & (y0 < height)
        below = exists & (y1 >= 0) & (y1 < height)
        before = (x0 >= 0) & (x0 < width)
        behind = (x1 >= 0) & (x1 < width)
        for first in tl.static_range(0, C, CHUNK):
            c = first + channel[None, :]
            read = _share(above & before, x, ((y0 * width + x0) * C)[:, None] + c, upper_left)
            read += _share(above & behind, x, ((y0 * width + x1) * C)[:, None] + c, upper_right)
            read += _share(below & before, x, ((y1 * width + x0) * C)[:, None] + c, lower_left)
            read += _share(below & behind, x, ((y1 * width + x1) * C)[:, None] + c, lower_right)
            matrix = tl.load(weight + ((tap * C + first + channel) * D)[:, None] + output[None, :])
            total = tl.dot(read.to(weight.dtype.element_ty), matrix, total, input_precision="ieee")
    total += tl.load(bias + output)[None, :]
    target = out + (pixel * D)[:, None] + output[None, :]
    tl.store(target, total.to(out.dtype.element_ty), mask=exists[:, None])


def tiles(channels: int, exact: bool) -> tuple[int, int, int]:
    """Pixels of a block, channels taken at once, warps.

    Args:
        channels: of the map that is read.
        exact: products in float32, which no tensor core takes.
    """
    if exact:
        return 32, 16, 4
    return (128, channels, 4) if channels <= 32 else (64, min(channels, 64), 4)


def deform_conv(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, added: Tensor | None = None
) -> Tensor:
    """See `inference.networks.deformable.modulated_deform_conv`, whose result it gives.

    Positions, shares and sums are float32. What a tap reads, weighed and summed, is rounded to x's type before
    it is multiplied by the weights, which are rounded to it too. In float32 nothing is rounded.

    Args:
        x: (N, C, H, W) float32, float16 or bfloat16; C one of `WIDTHS`.
        offset, mask: (N, 2k², H, W) and (N, k², H, W), each of any of these types.
        weight, bias: (D, C, k, k), D one of `WIDTHS`, and (D,).
        added: None, or (3k²,) float32: offsets and masks are what a convolution without bias gives. This, its
            bias, is added to them first, and masks are the sigmoid of the sum.

    Returns:
        (N, D, H, W) of x's type, channels-last in memory.
    """
    n, c, height, width = x.shape
    d, _, k, _ = weight.shape
    rows = rows_of_channels(x)
    out = torch.empty(n, height, width, d, dtype=x.dtype, device=x.device)
    matrix = weight.permute(2, 3, 1, 0).reshape(k * k * c, d).to(x.dtype).contiguous()
    offset, mask = (_one_step(t) for t in (offset, mask))
    block, chunk, warps = tiles(c, x.dtype == torch.float32)
    with on(x.device):
        _deform[(triton.cdiv(height * width, block), n)](
            rows, offset, mask, matrix, bias, bias if added is None else added, out, height, width,
            *(t.stride(axis) for t in (offset, mask) for axis in (0, 1, 3)),
            K=k, C=c, D=d, CHUNK=chunk, BLOCK=block, RAW=added is not None, num_warps=warps, num_stages=1,
        )  # fmt: skip
    return out.permute(0, 3, 1, 2)


def _one_step(x: Tensor) -> Tensor:
    """(N, C, H, W) in which every pixel is one step from the one before; a copy where it is not so."""
    return x if x.stride(2) == x.shape[3] * x.stride(3) else x.contiguous()
