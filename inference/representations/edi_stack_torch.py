"""The EDI stack with torch, on any device. See `edi_stack`.

Events are sorted by pixel (stable, so each pixel's stay in order of time). Sums are whole numbers and segments
are summed in order, without a floating-point scatter-add, so a device gives the same result on every run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capture.packets import Events
from inference.representations.edi_stack import ASINH_TOP, BINS, CHANNELS, CONTRASTS, LIMIT, STEPS, edges


@torch.no_grad()
def stacks(
    events: Events, start_us: int, end_us: int, times_us: Sequence[int], device: str | torch.device = "cpu"
) -> Tensor:
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
    sign = torch.from_numpy(inside.p.astype("int8")) * 2 - 1
    seen = (x < w) & (y < h)
    pixel = y * w + x
    if not bool(seen.all()):
        t, pixel, sign = t[seen], pixel[seen], sign[seen]
    upto = torch.searchsorted(t, borders.to(torch.int32), right=True)
    t, pixel, sign = t.to(where), pixel.to(where).long(), sign.to(where).long()

    count = torch.bincount(pixel, minlength=n)
    sorted_, order = torch.sort(pixel, stable=True)
    first = torch.cumsum(count, 0) - count
    ts, signs = t[order], sign[order]
    running = torch.cumsum(signs, 0)
    begin = first[sorted_]
    sums = running - (running[begin] - signs[begin]) if len(ts) else running
    logs = _logs(ts, sorted_, sums, count, first, length)

    # S of all pixels at each border: whole numbers, so a scatter-add of them is exact.
    out = torch.empty((len(borders), CHANNELS, n), dtype=torch.float32, device=where)
    asinh = torch.asinh(torch.arange(ASINH_TOP + 1, dtype=torch.float64, device=where)).div_(2).float()
    contrasts = torch.tensor(CONTRASTS, dtype=torch.float32, device=where)[:, None]
    for k, row in enumerate(upto.tolist()):
        at = torch.zeros((BINS + 1, n), dtype=torch.int64, device=where)
        for b in range(BINS + 1):
            at[b].index_add_(0, pixel[: row[b]], sign[: row[b]])
        now = at[BINS // 2].clamp(-STEPS, STEPS).float()
        out[k, : len(CONTRASTS)] = (contrasts * now - logs).clamp_(-LIMIT, LIMIT)
        change = at[1:] - at[:-1]
        out[k, len(CONTRASTS) : -1] = asinh[change.abs().clamp(max=ASINH_TOP)] * change.sign()
        out[k, -1] = asinh[count.clamp(max=ASINH_TOP)]
    return out.view(len(borders), CHANNELS, h, w)


def _logs(t: Tensor, pixel: Tensor, sums: Tensor, count: Tensor, first: Tensor, length: float) -> Tensor:
    """(4, pixels): ln((1/T) ∫ exp(c·S) dt); 0 where a pixel has no events."""
    kind = torch.float32 if t.device.type == "mps" else torch.float64
    logs = torch.zeros((len(CONTRASTS), len(count)), dtype=torch.float32, device=t.device)
    if not len(t):
        return logs
    hit = count > 0
    since = t.to(kind)
    # Each event's value holds until the pixel's next event, its last one until the end.
    until = torch.full_like(since, length)
    until[:-1] = torch.where(pixel[1:] == pixel[:-1], since[1:], until[:-1])
    held = until - since
    clamped = sums.clamp(-STEPS, STEPS).to(kind)
    for q, c in enumerate(CONTRASTS):
        pieces = torch.exp(c * clamped) * held
        whole = since[first[hit]] + torch.segment_reduce(pieces, "sum", lengths=count[hit], unsafe=True)
        logs[q, hit] = torch.log(whole / length).float()
    return logs
