"""The EDI stack with torch, on any device. See `edi_stack`.

Events are sorted by pixel (stable, so each pixel's stay in order of time). Counts are whole numbers and
segments are summed in order, without a floating-point scatter-add, so a device gives the same result on every
run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capture.packets import Events
from inference.representations.double_integral import Contrast
from inference.representations.edi_stack import (
    BINS,
    CHANNELS,
    LIMIT,
    MOST,
    MULTIPLES,
    OFFSETS,
    REACH,
    edges,
)
from inference.representations.scatter_torch import to_device

_RATIOS = len(MULTIPLES)


@torch.no_grad()
def stacks(
    events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast, power: float = 1.0,
    device: str | torch.device = "cpu",
) -> Tensor:  # fmt: skip
    """(L, `CHANNELS`, height, width) float32 on the device: as `edi_stack_numba.EdiStack.stacks`.

    Raises:
        ValueError: an instant outside the exposure, or an exposure without length.
    """
    where = torch.device(device)
    borders = torch.from_numpy(edges(start_us, end_us, times_us) - start_us)
    inside = events.between(start_us, end_us)
    w, h = events.width, events.height
    n, length = w * h, float(end_us - start_us)
    # Times relative to the start fit int32 for 35 minutes and halve what goes to the device.
    t = torch.from_numpy((inside.t - start_us).astype("int32"))
    x, y = torch.from_numpy(inside.x.astype("int32")), torch.from_numpy(inside.y.astype("int32"))
    on = torch.from_numpy(inside.p.astype("int8"))
    seen = (x < w) & (y < h)
    pixel = y * w + x
    if not bool(seen.all()):
        t, pixel, on = t[seen], pixel[seen], on[seen]
    upto = torch.searchsorted(t, borders.to(torch.int32), right=True)
    t, pixel, on = (to_device(x.numpy(), where) for x in (t, pixel, on))
    pixel, on = pixel.long(), on.long()

    kind = torch.float32 if where.type == "mps" else torch.float64
    logs = _logs(t, pixel, on, n, length, contrast, kind)
    c_on, c_off = torch.tensor([contrast.on, contrast.off], dtype=kind, device=where)
    # Events of each polarity until each border: whole numbers, so a scatter-add of them is exact.
    out = torch.empty((len(borders), CHANNELS, n), dtype=torch.float32, device=where)
    multiples = torch.tensor(MULTIPLES, dtype=kind, device=where)[:, None]
    count = torch.zeros((2, n), dtype=torch.int64, device=where)
    count[0].index_add_(0, pixel, 1 - on)
    count[1].index_add_(0, pixel, on)
    asinh = torch.asinh(count.clamp(max=MOST).sum(0).to(kind)).div_(2).float()
    for k, row in enumerate(upto.tolist()):
        at = torch.zeros((2, BINS + 1, n), dtype=torch.int64, device=where)
        for b in range(BINS + 1):
            at[0, b].index_add_(0, pixel[: row[b]], 1 - on[: row[b]])
            at[1, b].index_add_(0, pixel[: row[b]], on[: row[b]])
        at.clamp_(max=MOST)
        level = c_on * at[1] - c_off * at[0]
        now = multiples * level[OFFSETS.index(0.0)] - logs
        out[k, :_RATIOS] = (power * now).clamp_(-LIMIT, LIMIT).float()
        out[k, _RATIOS:-1] = (power * (level[1:] - level[:-1])).clamp_(-LIMIT, LIMIT).float()
        out[k, -1] = asinh
    return out.view(len(borders), CHANNELS, h, w)


def event_counts(stack: Tensor) -> Tensor:
    """(h, w) float32: the events of each pixel, whole numbers, out of a stack's last channel."""
    return torch.sinh(2 * stack[-1]).round()


def _logs(
    t: Tensor, pixel: Tensor, on: Tensor, n: int, length: float, contrast: Contrast, kind: torch.dtype
) -> Tensor:
    """(3, pixels): ln((1/T) ∫ exp(m·S) dt); 0 where a pixel has no events."""
    logs = torch.zeros((_RATIOS, n), dtype=kind, device=t.device)
    if not len(t):
        return logs
    count = torch.bincount(pixel, minlength=n)
    hit = count > 0
    sorted_, order = torch.sort(pixel, stable=True)
    first = torch.cumsum(count, 0) - count
    since, ups = t[order].to(kind), on[order]
    begin = first[sorted_]
    place = torch.arange(len(t), device=t.device) - begin + 1
    running = torch.cumsum(ups, 0)
    more = running - (running[begin] - ups[begin])
    less = place - more
    # Each event's value holds until the pixel's next event, its last one until the end.
    until = torch.full_like(since, length)
    until[:-1] = torch.where(sorted_[1:] == sorted_[:-1], since[1:], until[:-1])
    held = until - since
    for q, m in enumerate(MULTIPLES):
        rise = (m * contrast.on * more.clamp(max=MOST).to(kind)).clamp(max=REACH)
        fall = (m * contrast.off * less.clamp(max=MOST).to(kind)).clamp(max=REACH)
        pieces = torch.exp(rise - fall) * held
        whole = since[first[hit]] + torch.segment_reduce(pieces, "sum", lengths=count[hit], unsafe=True)
        logs[q, hit] = torch.log(whole / length)
    return logs
