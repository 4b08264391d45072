"""The event-based double integral with torch, on any device. See `double_integral`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast, check_interval
from inference.representations.halfway_torch import set_back
from inference.representations.pixel_runs_torch import (
    Number,
    Placed,
    Thresholds,
    bounds_of,
    counts_until,
    pixel_runs,
    place,
    since_start,
)
from inference.representations.scatter_torch import some, to_device, to_host


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
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast,
        halfway: bool = False,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Ratio maps: the same as `double_integral_numba.DoubleIntegral.ratios`."""
        return to_host(self.tensor(events, start_us, end_us, times_us, contrast, halfway))

    @torch.no_grad()
    def tensor(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast,
        halfway: bool = False,
    ) -> torch.Tensor:  # fmt: skip
        """As `ratios`, left on the device."""
        times = check_interval(start_us, end_us, times_us)
        inside = some(events.between(start_us, end_us))
        order = np.argsort(times, kind="stable")
        e, since = place(inside, self.device), to_device(since_start(inside.t, start_us), self.device)
        bounds = to_device(bounds_of(inside.t, start_us, end_us, times[order]), self.device)
        if halfway:
            instants = to_device(since_start(times[order], start_us), self.device)
            e, since, bounds = set_back(e, since, bounds, instants)
        out = self.of_placed(e, since, bounds, float(end_us - start_us), contrast)
        out = out.view(-1, events.height, events.width)
        return out if (order[1:] > order[:-1]).all() else out[to_device(np.argsort(order), self.device)]

    @torch.no_grad()
    def of_placed(
        self, events: Placed, since: torch.Tensor, bounds: torch.Tensor, length: Number, contrast: Thresholds
    ) -> torch.Tensor:
        """As `tensor`, (L, pixels), of events that are on the device already.

        Args:
            events: at least one; which are the exposure's is told by `bounds`.
            since: (N,) int32 µs since the exposure's start, on the device.
            bounds: (L + 2,) int64, see `bounds_of`, on the device.
            length: of the exposure in µs.
            contrast: of the event sensor.
        """
        runs = pixel_runs(events, since, bounds[0], bounds[-1], length, self.dtype)
        integral = runs.integral(self._gain(runs.more, runs.less, contrast), length)
        out = torch.empty((len(bounds) - 2, events.pixels), dtype=torch.float32, device=self.device)
        done = 0
        for counts in counts_until(events, bounds[:-1]):
            part = out[done : (done := done + len(counts))]
            part[...] = self._gain(counts[:, 1], counts[:, 0], contrast) * length / integral
        return out

    def _gain(self, n_on: torch.Tensor, n_off: torch.Tensor, contrast: Thresholds) -> torch.Tensor:
        s = n_on.to(self.dtype) * contrast.on - n_off.to(self.dtype) * contrast.off
        return torch.exp(s.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT))
