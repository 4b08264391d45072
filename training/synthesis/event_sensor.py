"""The event sensor with torch: exact threshold crossings of the log light, for whole batches of pixels.

The same pixel as `capture.simulated.event_sensor` (see there for the sources): thresholds with spread and
asymmetry, refractory time with the pixel held in reset, leak, noise that grows in the dark, hot pixels,
bandwidth that falls with light. Between two drawn instants the filtered log light is taken as linear in time;
within such a step the crossings of a pixel form an arithmetic series

    t_k = t_a + (θ − v)/|s| + k · (θ/|s| + ρ),

with t_a the end of its dead time, v its level there, s its slope and ρ the refractory time, so all are had at
once, exactly, without a loop over events. Noise events come at random times of their own; they reset a pixel's
level at the end of the step in which they fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.synthesis import event_step

_F32 = NDArray[np.float32]
MID_GRAY = 0.18


@dataclass(frozen=True, slots=True)
class SensorDraw:
    """One sensor's figures; times in µs, thresholds in natural log light. See `SynthesisConfig`."""

    on: float
    off: float
    sigma: float
    refractory_us: float
    leak_hz: float
    shot_hz: float
    dark_hz: float
    hot_share: float
    hot_hz: float
    cutoff_hz: float
    cutoff_dark_hz: float
    dark_light: float
    mid_stream: bool


@dataclass(frozen=True, slots=True)
class RawEvents:
    """Events sorted by time: (N,) t µs from the exposure's start (int64), pixel index y·width + x, polarity."""

    t: Tensor
    pixel: Tensor
    p: Tensor


class EventSensor:
    """A sensor of h×w pixels. Steps through drawn instants; `events` gives all so far.

    Args:
        draw: its figures.
        shape: (h, w).
        generator: of torch, on the device; all noise comes from it.
        device: where.
    """

    def __init__(
        self, draw: SensorDraw, shape: tuple[int, int], generator: torch.Generator, device: torch.device
    ) -> None:
        self.draw, self._generator, self._device = draw, generator, device
        n = shape[0] * shape[1]
        self._n = n

        def spread() -> Tensor:
            noise = torch.randn(n, generator=generator, device=device)
            return (1 + draw.sigma * noise).clamp(0.4, 2.0)

        self._on, self._off = draw.on * spread(), draw.off * spread()
        hot = torch.rand(n, generator=generator, device=device) < draw.hot_share
        self._hot = hot.float() * draw.hot_hz
        self._ready = torch.full((n,), -math.inf, device=device)
        self._level = torch.zeros(n, device=device)
        if draw.mid_stream:
            where = torch.rand(n, generator=generator, device=device)
            self._level = -self._off + where * (self._on + self._off)
            self._level *= 0.95
        self._filtered: Tensor | None = None
        # On a CPU one compiled pass over the pixels does a step.
        self._at_once = event_step.empty_steps(n) if device.type == "cpu" else None
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def _log(self, light: Tensor) -> Tensor:
        return torch.log(light.reshape(-1).clamp(min=0.0) + self.draw.dark_light)

    def begin(self, light: Tensor) -> None:
        """The light (h, w) at the first instant."""
        self._filtered = self._log(light)

    def step(self, t0: float, t1: float, light: Tensor) -> None:
        """On from t0 to t1 (µs), where the light is `light` (h, w)."""
        assert self._filtered is not None
        if self._at_once is not None:
            self._step_at_once(t0, t1, light, *self._at_once)
            return
        d, dt = self.draw, t1 - t0
        flat = light.reshape(-1).clamp(min=0.0)
        target = self._log(light)
        # The bandwidth grows with photocurrent; a photoreceptor in the dark is slow.
        rate = (2 * math.pi * 1e-6 * dt) * (d.cutoff_hz * flat + d.cutoff_dark_hz)
        filtered = self._filtered + (target - self._filtered) * -torch.expm1(-rate.clamp(max=30.0))
        slope = (filtered - self._filtered) / dt + self._on * (d.leak_hz * 1e-6)
        self._filtered = filtered

        begin = self._ready.clamp(min=t0)
        held = begin >= t1
        # Through the dead time the memorised level follows the light.
        level = torch.where(self._ready > t0, torch.zeros_like(self._level), self._level)
        up = slope > 0
        threshold = torch.where(up, self._on, self._off)
        distance = threshold - torch.where(up, level, -level)
        speed = slope.abs().clamp(min=1e-12)
        first = begin + distance.clamp(min=0.0) / speed
        period = threshold / speed + d.refractory_us
        fires = (first < t1) & ~held
        count = torch.where(fires, ((t1 - first) / period).floor() + 1, torch.zeros_like(first))
        last = first + (count - 1) * period
        ready = torch.where(fires, last + d.refractory_us, self._ready)
        free = (t1 - torch.where(fires, ready, begin)).clamp(min=0.0)
        moved = slope * free
        level = torch.where(fires, moved, level + moved)
        level = torch.where(held, torch.zeros_like(level), level)

        self._emit(fires, count, first, period, up)
        self._noise(t0, dt, flat, level)
        self._ready, self._level = ready, level

    def _step_at_once(
        self, t0: float, t1: float, light: Tensor, first: _F32, period: _F32, count: NDArray[np.int32]
    ) -> None:
        assert self._filtered is not None
        d, seen, level = self.draw, light.reshape(-1).numpy(), self._level.numpy()
        hz = 2 * math.pi * 1e-6
        total = event_step.cross(
            t0, t1, seen, d.dark_light, hz * d.cutoff_hz, hz * d.cutoff_dark_hz, d.leak_hz * 1e-6,
            d.refractory_us, self._on.numpy(), self._off.numpy(), self._filtered.numpy(), self._ready.numpy(),
            level, first, period, count,
        )  # fmt: skip
        if total:
            t, p = np.empty(total, np.float32), np.empty(total, np.bool_)
            pixel = np.empty(total, np.int64)
            event_step.emit(first, period, count, t, pixel, p)
            self._parts.append((torch.from_numpy(t), torch.from_numpy(pixel), torch.from_numpy(p)))
        if d.shot_hz <= 0 and d.dark_hz <= 0 and d.hot_share <= 0:
            return
        drawn, pixel = torch.rand(self._n, generator=self._generator).numpy(), np.empty(self._n, np.int64)
        m = event_step.noisy(
            (t1 - t0) * 1e-6, seen, d.dark_light, MID_GRAY, d.shot_hz, d.dark_hz, self._hot.numpy(), drawn,
            level, pixel,
        )  # fmt: skip
        self._add_noise(t0, t1 - t0, torch.from_numpy(pixel[:m]))

    def _emit(self, fires: Tensor, count: Tensor, first: Tensor, period: Tensor, up: Tensor) -> None:
        pixel = fires.nonzero().squeeze(1)
        if not len(pixel):
            return
        n = count[pixel].long().clamp(max=4096)
        ends = n.cumsum(0)
        total = int(ends[-1])
        each = torch.repeat_interleave(torch.arange(len(pixel), device=self._device), n, output_size=total)
        k = torch.arange(total, device=self._device) - (ends - n)[each]
        of = pixel[each]
        self._parts.append((first[of] + k * period[of], of, up[of]))

    def _noise(self, t0: float, dt: float, light: Tensor, level: Tensor) -> None:
        """Add noise events of this step; `level` is reset where one fell."""
        d = self.draw
        if d.shot_hz <= 0 and d.dark_hz <= 0 and d.hot_share <= 0:
            return
        # From the dark rate down to the mid-gray rate and on with the square root of light.
        dark = d.dark_light / (light + d.dark_light)
        rate = d.shot_hz * torch.sqrt(MID_GRAY / (light + MID_GRAY)) + d.dark_hz * dark + self._hot
        probability = -torch.expm1(-rate * (dt * 1e-6))
        hit = torch.rand(self._n, generator=self._generator, device=self._device) < probability
        pixel = hit.nonzero().squeeze(1)
        self._add_noise(t0, dt, pixel)
        level[pixel] = 0.0

    def _add_noise(self, t0: float, dt: float, pixel: Tensor) -> None:
        m = len(pixel)
        if not m:
            return
        t = t0 + dt * torch.rand(m, generator=self._generator, device=self._device)
        p = torch.rand(m, generator=self._generator, device=self._device) < 0.5
        self._parts.append((t, pixel, p))

    def events(self) -> RawEvents:
        """All events so far, whole µs, sorted by time (stable)."""
        if not self._parts:
            none = torch.zeros(0, dtype=torch.int64, device=self._device)
            return RawEvents(none, none, none.bool())
        t = torch.cat([q[0] for q in self._parts]).floor().long()
        pixel = torch.cat([q[1] for q in self._parts])
        p = torch.cat([q[2] for q in self._parts])
        if self._device.type == "cpu":
            # numpy's stable sort of small integers is a radix sort, several times faster than torch's.
            order = torch.from_numpy(_order(t.numpy()))
        else:
            order = torch.sort(t, stable=True).indices
        return RawEvents(t[order], pixel[order], p[order])


def _order(t: np.ndarray) -> np.ndarray:
    """Stable order of times: by the low 16 bits, then by the high ones; each pass is a radix sort."""
    low = (t & 0xFFFF).astype(np.uint16)
    order = np.argsort(low, kind="stable")
    high = ((t >> 16) + 32768).astype(np.uint16)
    if int(high.min()) != int(high.max()):
        order = order[np.argsort(high[order], kind="stable")]
    return order


def lose(raw: RawEvents, rng: np.random.Generator) -> RawEvents:
    """What a read-out under too high a load loses: all events of a few short spells."""
    if not len(raw.t):
        return raw
    t = raw.t.cpu().numpy()
    keep = np.ones(len(t), np.bool_)
    length = int(t[-1] - t[0]) + 1
    for _ in range(int(rng.integers(1, 5))):
        start = int(t[0] + rng.random() * length)
        keep &= ~((t >= start) & (t < start + length * rng.uniform(0.005, 0.05)))
    chosen = torch.from_numpy(keep).to(raw.t.device)
    return RawEvents(raw.t[chosen], raw.pixel[chosen], raw.p[chosen])
