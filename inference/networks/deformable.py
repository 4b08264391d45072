"""Modulated deformable convolution in plain PyTorch: any device, differentiable, exact.

X. Zhu et al., Deformable ConvNets v2: More Deformable, Better Results, CVPR 2019, arXiv 1811.11168.
"""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.networks import kernels

# Samples (numbers) that one step on a CPU gathers: they stay in the second-level cache until they are used.
_CPU_STEP = 1 << 19


def modulated_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution whose taps are moved by `offset`, sampled bilinearly, and weighed by `mask`.

    Stride 1, dilation 1, padding k // 2, one group, one deformable group; pixels outside count as zero. Tap
    n = a·k + b of output pixel (i, j) is read at row `i − k//2 + a + offset[2n]` and column
    `j − k//2 + b + offset[2n+1]`.

    Args:
        x: (N, C, H, W).
        offset: (N, 2k², H, W), row and column alternating, in pixels.
        mask: (N, k², H, W).
        weight: (D, C, k, k).
        bias: (D,).

    Returns:
        (N, D, H, W), channels-last in memory.
    """
    if _in_one_pass(x, offset, mask, weight, bias):
        from inference.networks.kernels.deform import deform_conv

        return deform_conv(x, offset, mask, weight, bias)
    if _on_one_core(x, offset, mask, weight):
        return _with_numba(x, offset, mask, weight, bias)
    n, c, height, width = x.shape
    d, _, k, _ = weight.shape
    taps = k * k
    # One row of the table is one pixel; a border of zeros stands for everything outside.
    table = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).reshape(-1, c)
    offset = offset.permute(0, 2, 3, 1).reshape(n * height, width, 2 * taps)
    mask = mask.permute(0, 2, 3, 1).reshape(n * height, width, taps)
    matrix = weight.permute(2, 3, 1, 0).reshape(taps * c, d)

    tap = torch.arange(k, device=x.device, dtype=offset.dtype) + (1 - k // 2)
    tap_row, tap_column = tap.repeat_interleave(k), tap.repeat(k)
    row = torch.arange(height, device=x.device, dtype=offset.dtype).repeat(n)[:, None, None] + tap_row
    column = torch.arange(width, device=x.device, dtype=offset.dtype)[None, :, None] + tap_column
    start = torch.arange(n, device=x.device, dtype=torch.int32).repeat_interleave(height)[:, None, None]
    start = start * ((height + 2) * (width + 2))

    step = max(1, _CPU_STEP // (width * taps * c)) if x.device.type == "cpu" else n * height
    out = []
    for first in range(0, n * height, step):
        rows = slice(first, first + step)
        dy, dx = offset[rows, :, 0::2], offset[rows, :, 1::2]
        with torch.no_grad():
            # A NaN must not become an index; it stays in the shares, so what it touches is NaN in the end.
            dy0, dx0 = (o.floor().nan_to_num_(nan=0.0, posinf=inf, neginf=-inf) for o in (dy, dx))
            top, left = row[rows] + dy0, column + dx0
            # What lies further out than the border is as zero as the border itself.
            y0 = top.clamp(0, height + 1).to(torch.int32) * (width + 2) + start[rows]
            y1 = top.add_(1).clamp_(0, height + 1).to(torch.int32) * (width + 2) + start[rows]
            x0 = left.clamp(0, width + 1).to(torch.int32)
            x1 = left.add_(1).clamp_(0, width + 1).to(torch.int32)
            corners = torch.stack([y0 + x0, y0 + x1, y1 + x0, y1 + x1], dim=-1).view(-1, 4)
        fy, fx, m = dy - dy0, dx - dx0, mask[rows]
        lower = m * fy
        upper = m - lower
        upper_right, lower_right = upper * fx, lower * fx
        shares = torch.stack([upper - upper_right, upper_right, lower - lower_right, lower_right], dim=-1)
        # A bag is one tap: the weighted sum of its four pixels.
        samples = F.embedding_bag(corners, table, mode="sum", per_sample_weights=shares.view(-1, 4))
        out.append(torch.addmm(bias, samples.view(-1, taps * c), matrix))
    return torch.cat(out).view(n, height, width, d).permute(0, 3, 1, 2)


def _in_one_pass(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Float32 on a GPU for which there is a kernel."""
    given = (x, offset, mask, weight, bias)
    return (
        all(t.dtype == torch.float32 for t in given)
        and all(n in kernels.WIDTHS for n in weight.shape[:2])
        and kernels.fits(x)
        and kernels.serve(*given)
    )


def _on_one_core(*tensors: Tensor) -> bool:
    """Float32 on a CPU, where nothing is to be differentiated, traced or compiled."""
    return (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        and not torch.compiler.is_compiling()
    )


def _with_numba(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same, three times as fast: the samples are made one by one instead of table by table."""
    # Imported here: a GPU has no use for it.
    from inference.networks.deformable_numba import sample_taps

    n, c, height, width = x.shape
    d, _, k, _ = weight.shape
    taps = k * k
    table = F.pad(x.detach().permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous().numpy()
    offsets, masks = (t.detach().permute(0, 2, 3, 1).numpy() for t in (offset, mask))
    matrix = weight.detach().permute(2, 3, 1, 0).reshape(taps * c, d)
    step = max(1, _CPU_STEP // (width * taps * c))
    samples = torch.empty(min(step, height), width, taps, c)
    out = torch.empty(n, height, width, d)
    for sample in range(n):
        for first in range(0, height, step):
            rows = slice(first, min(first + step, height))
            used = samples[: rows.stop - first]
            sample_taps(table[sample], offsets[sample, rows], masks[sample, rows], first, k, used.numpy())
            flat = out[sample, rows].view(-1, d)
            torch.addmm(bias.detach(), used.view(-1, taps * c), matrix, out=flat)
    return out.permute(0, 3, 1, 2)
