"""The event-based double integral with torch, on any device. See `double_integral`.

Events are sorted by pixel (stable, so each pixel's stay in order of time); sums within a pixel are differences
of one running count. Counts are integers, so they are exact on every device, and no floating-point
scatter-add is used, so the result is the same bit for bit on every run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast, check_interval


class DoubleIntegral:
    """Computes ratio maps with torch.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" …
        dtype: of the integral. float64 agrees with the numba implementation to float32's last digits;
            float32 (all that mps has) to about 1e-5.
    """

    def __init__(self, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> None:
        self.device = torch.device(device)
        self.dtype = dtype or (torch.float32 if self.device.type == "mps" else torch.float64)

    def ratios(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast
    ) -> NDArray[np.float32]:
        """Ratio maps: the same as `double_integral_numba.DoubleIntegral.ratios`."""
        return np.asarray(self.tensor(events, start_us, end_us, times_us, contrast).cpu().numpy())

    @torch.no_grad()
    def tensor(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast
    ) -> torch.Tensor:
        """As `ratios`, left on the device."""
        times = check_interval(start_us, end_us, times_us)
        w, h = events.width, events.height
        n = w * h
        inside = events.between(start_us, end_us)
        length = float(end_us - start_us)
        # Times relative to the start fit int32 for 35 minutes and halve what goes to the device.
        t = torch.from_numpy((inside.t - start_us).astype(np.int32))
        pixel = torch.from_numpy(inside.y.astype(np.int32) * w + inside.x.astype(np.int32))
        bad = (inside.x >= w) | (inside.y >= h)
        p = torch.from_numpy(np.array(inside.p))
        if bool(bad.any()):
            keep = torch.from_numpy(~bad)
            t, pixel, p = t[keep], pixel[keep], p[keep]
        upto = torch.searchsorted(t, torch.from_numpy((times - start_us).astype(np.int32)), right=True)
        t, pixel, p = t.to(self.device), pixel.to(self.device).long(), p.to(self.device)

        count = torch.bincount(pixel, minlength=n)
        pixel_sorted, order = torch.sort(pixel, stable=True)
        ts, ps = t[order].to(self.dtype), p[order].long()
        first = torch.cumsum(count, 0) - count  # index of each pixel's first event in the sorted order
        ons = torch.cumsum(ps, 0)
        begin = first[pixel_sorted]
        n_on = ons - (ons[begin] - ps[begin])
        n_all = torch.arange(1, len(ts) + 1, device=self.device) - begin
        gain = self._gain(n_on, n_all - n_on, contrast)
        # Each event's gain holds until the pixel's next event, its last one until the end.
        until = torch.full_like(ts, length)
        until[:-1] = torch.where(pixel_sorted[1:] == pixel_sorted[:-1], ts[1:], until[:-1])
        integral = torch.full((n,), length, dtype=self.dtype, device=self.device)
        hit = count > 0
        if len(ts):
            integral[hit] = ts[first[hit]] + _segment_sum(gain * (until - ts), count[hit])
        out = torch.empty((len(times), n), dtype=torch.float32, device=self.device)
        for k, m in enumerate(upto.tolist()):
            on = torch.bincount(pixel[:m][p[:m]], minlength=n)
            every = torch.bincount(pixel[:m], minlength=n)
            out[k] = (self._gain(on, every - on, contrast) * length / integral).float()
        return out.reshape(len(times), h, w)

    def _gain(self, n_on: torch.Tensor, n_off: torch.Tensor, contrast: Contrast) -> torch.Tensor:
        s = n_on.to(self.dtype) * contrast.on - n_off.to(self.dtype) * contrast.off
        return torch.exp(s.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT))


def _segment_sum(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Sum of consecutive runs of `values`, each run summed by itself in order."""
    return torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True)
