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
from inference.representations.scatter_torch import to_device


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
        since, index = (inside.t - start_us).astype(np.int32), inside.y.astype(np.int32) * w + inside.x
        on_sensor = (inside.x < w) & (inside.y < h)
        p_host = inside.p
        if not on_sensor.all():
            since, index, p_host = since[on_sensor], index[on_sensor], p_host[on_sensor]
        upto = np.searchsorted(since, times - start_us, side="right")
        t, pixel = to_device(since, self.device), to_device(index, self.device).long()
        p = to_device(p_host, self.device).long()

        # Nothing below asks a value back from the device: it may run far behind the host.
        ones = torch.ones_like(pixel)
        count = torch.zeros(n, dtype=torch.int64, device=self.device).index_add_(0, pixel, ones)
        pixel_sorted, order = torch.sort(pixel, stable=True)
        ts, ps = t[order].to(self.dtype), p[order]
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
        if len(ts):
            whole = ts[first.clamp(max=len(ts) - 1)] + _segment_sum(gain * (until - ts), count)
            integral = torch.where(count > 0, whole, integral)
        out = torch.empty((len(times), n), dtype=torch.float32, device=self.device)
        on, every, done = torch.zeros_like(count), torch.zeros_like(count), 0
        for k in np.argsort(times, kind="stable").tolist():
            part = slice(done, done := int(upto[k]))
            on.index_add_(0, pixel[part], p[part])
            every.index_add_(0, pixel[part], ones[part])
            out[k] = (self._gain(on, every - on, contrast) * length / integral).float()
        return out.reshape(len(times), h, w)

    def _gain(self, n_on: torch.Tensor, n_off: torch.Tensor, contrast: Contrast) -> torch.Tensor:
        s = n_on.to(self.dtype) * contrast.on - n_off.to(self.dtype) * contrast.off
        return torch.exp(s.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT))


def _segment_sum(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Sum of consecutive runs of `values`, each run summed by itself in order."""
    return torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True)
