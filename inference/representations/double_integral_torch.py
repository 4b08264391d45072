"""The event-based double integral with torch, on any device. See `double_integral`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from capture.packets import Events
from inference.representations.double_integral import EXPONENT_LIMIT, Contrast, check_interval
from inference.representations.pixel_runs_torch import Placed, counts_until, on_sensor, pixel_runs, place
from inference.representations.scatter_torch import to_device, to_host


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
        return to_host(self.tensor(events, start_us, end_us, times_us, contrast))

    @torch.no_grad()
    def tensor(
        self, events: Events, start_us: int, end_us: int, times_us: Sequence[int], contrast: Contrast
    ) -> torch.Tensor:
        """As `ratios`, left on the device."""
        inside = on_sensor(events.between(start_us, end_us))
        there = place(inside, self.device)
        out = self.of_placed(there, inside.t, start_us, end_us, times_us, contrast)
        return out.view(-1, events.height, events.width)

    @torch.no_grad()
    def of_placed(
        self, events: Placed, t: NDArray[np.int64], start_us: int, end_us: int, times_us: Sequence[int],
        contrast: Contrast,
    ) -> torch.Tensor:  # fmt: skip
        """As `tensor`, (L, pixels), of events within the exposure that are on the device already.

        Args:
            events: of the exposure.
            t: (N,) their times, on the host.
            start_us, end_us, times_us, contrast: as at `tensor`.
        """
        times, length = check_interval(start_us, end_us, times_us), float(end_us - start_us)
        integral = torch.full((), length, dtype=self.dtype, device=self.device)
        if len(events):
            runs = pixel_runs(events, t - start_us, length, self.dtype)
            integral = runs.integral(self._gain(runs.more, runs.less, contrast), length)
        order = np.argsort(times, kind="stable")
        out = torch.empty((len(times), events.pixels), dtype=torch.float32, device=self.device)
        done = 0
        for counts in counts_until(events, np.searchsorted(t, times[order], side="right")):
            part = out[done : (done := done + len(counts))]
            part[...] = self._gain(counts[:, 1], counts[:, 0], contrast) * length / integral
        return out if (order[1:] > order[:-1]).all() else out[to_device(np.argsort(order), self.device)]

    def _gain(self, n_on: torch.Tensor, n_off: torch.Tensor, contrast: Contrast) -> torch.Tensor:
        s = n_on.to(self.dtype) * contrast.on - n_off.to(self.dtype) * contrast.off
        return torch.exp(s.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT))
