"""GEM's implicit function: four predictions for each pixel, in one pass over memory."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from inference.networks.kernels import on


@triton.jit  # type: ignore[untyped-decorator]
def _relu(x: tl.tensor) -> tl.tensor:
    """As PyTorch's: NaN stays NaN."""
    return tl.where(x < 0, 0.0, x)


@triton.jit  # type: ignore[untyped-decorator]
def _layer(
    x: tl.tensor, weights: tl.tensor, vectors: tl.tensor, index: tl.constexpr, C: tl.constexpr
) -> tl.tensor:
    """(BLOCK, C) through layer `index` of those behind the first."""
    channel = tl.arange(0, C)
    matrix = tl.load(weights + index * C * C + (channel * C)[:, None] + channel[None, :])
    bias = tl.load(vectors + (3 + index) * C + channel)
    return tl.dot(x, matrix, input_precision="ieee") + bias[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def _query(
    said: tl.tensor,  # (N, h·w, C) first layer, of the events
    own: tl.tensor,  # (N or 1, H·W, C) first layer, of the picture
    out: tl.tensor,  # (N, H·W, C)
    row_at: tl.tensor,  # (4, H) int32: event row for either shift, then image row for either
    row_by: tl.tensor,  # (2, H) float32: relative position for either shift
    column_at: tl.tensor,  # the same for columns, (4, W) and (2, W)
    column_by: tl.tensor,
    vectors: tl.tensor,  # (6, C) float32: weights of the relative row and column, four biases
    weights: tl.tensor,  # (3, C, C), inputs × outputs, of the type that products are taken in
    events: tl.tensor,  # h·w
    events_width: tl.tensor,  # w
    height: tl.tensor,
    width: tl.tensor,
    own_sample: tl.tensor,  # numbers between two samples of `own`
    C: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    pixels = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = pixel < pixels
    sample = tl.program_id(1).to(tl.int64)
    said += sample * (events * C)
    own += sample * own_sample
    out += sample * (pixels * C)
    # What lies behind the last pixel reads the last one and is not stored.
    pixel = tl.minimum(pixel, pixels - 1)
    row = pixel // width
    column = pixel - row * width
    channel = tl.arange(0, C)
    of_row = tl.load(vectors + channel)[None, :]
    of_column = tl.load(vectors + C + channel)[None, :]
    first_bias = tl.load(vectors + 2 * C + channel)[None, :]

    up = tl.load(row_by + row)
    down = tl.load(row_by + height + row)
    back = tl.load(column_by + column)
    on = tl.load(column_by + width + column)
    area = tl.abs(up * back) + 1e-9
    total = area + (tl.abs(up * on) + 1e-9) + (tl.abs(down * back) + 1e-9) + (tl.abs(down * on) + 1e-9)

    mixed = tl.zeros((BLOCK, C), dtype=tl.float32)
    # A loop at run time, and layers read where they are used: unrolled, it needs more registers than there are.
    for shift in range(4):
        r = shift // 2
        s = shift % 2
        event_row = tl.load(row_at + r * height + row)
        event_column = tl.load(column_at + s * width + column)
        image_row = tl.load(row_at + (2 + r) * height + row)
        image_column = tl.load(column_at + (2 + s) * width + column)
        by_row = tl.load(row_by + r * height + row)
        by_column = tl.load(column_by + s * width + column)
        at_event = (event_row * events_width + event_column) * C
        at_image = (image_row * width + image_column) * C
        hidden = tl.load(said + at_event[:, None] + channel[None, :]).to(tl.float32)
        hidden += tl.load(own + at_image[:, None] + channel[None, :]).to(tl.float32)
        hidden += by_row[:, None] * of_row + by_column[:, None] * of_column + first_bias
        hidden = _relu(hidden).to(weights.dtype.element_ty)
        hidden = _relu(_layer(hidden, weights, vectors, 0, C)).to(weights.dtype.element_ty)
        hidden = _relu(_layer(hidden, weights, vectors, 1, C))
        # The area opposite: that of the other row and the other column.
        other_row = tl.load(row_by + (1 - r) * height + row)
        other_column = tl.load(column_by + (1 - s) * width + column)
        share = (tl.abs(other_row * other_column) + 1e-9) / total
        mixed += hidden * share[:, None]
    told = _layer(mixed.to(weights.dtype.element_ty), weights, vectors, 2, C)
    target = out + (pixel * C)[:, None] + channel[None, :]
    tl.store(target, told.to(out.dtype.element_ty), mask=exists[:, None])


def tiles(channels: int, exact: bool) -> tuple[int, int]:
    """Pixels of a block, and warps.

    Args:
        channels: of the layers.
        exact: products in float32, which no tensor core takes.
    """
    if exact:
        return (64, 4) if channels == 16 else (32, 4) if channels == 32 else (16, 4)
    return (128, 4) if channels <= 32 else (64, 4) if channels == 64 else (32, 8)


def query(
    said: Tensor,
    own: Tensor,
    sizes: tuple[int, int, int, int],
    tables: tuple[Tensor, Tensor, Tensor, Tensor],
    vectors: Tensor,
    weights: Tensor,
) -> Tensor:
    """What `inference.networks.gem_fusion._Query` does behind its first layer.

    Features are read as they come; everything is float32 but for the factors of the three products, which are
    rounded to the type of `weights`.

    Args:
        said: (N, h·w, C) first layer's share of the events, contiguous; C one of `WIDTHS`.
        own: (N or 1, H·W, C) its share of the picture, contiguous.
        sizes: h, w, H, W.
        tables: for rows, then for columns: (4, H) int32 event row at the shifts − and +, image row at
            the same; and (2, H) float32 relative positions at them.
        vectors: (6, C) float32: first layer's weights of the relative row and column, the four layers' biases.
        weights: (3, C, C) of the other layers, inputs × outputs; float32, float16 or bfloat16.

    Returns:
        (N, C, H, W) of the type of `said`, channels-last in memory.
    """
    h, w, height, width = sizes
    n, _, c = said.shape
    out = torch.empty(n, height, width, c, dtype=said.dtype, device=said.device)
    block, warps = tiles(c, weights.dtype == torch.float32)
    with on(said.device):
        _query[(triton.cdiv(height * width, block), n)](
            said, own, out, *tables, vectors, weights, h * w, w, height, width,
            own.stride(0) if len(own) > 1 else 0,
            C=c, BLOCK=block, num_warps=warps, num_stages=1,
        )  # fmt: skip
    return out.permute(0, 3, 1, 2)
