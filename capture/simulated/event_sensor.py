"""The event sensor: exact threshold crossings of the log irradiance, with the flaws of a real pixel.

Between two instants at which the scene is drawn, the log irradiance of a pixel is taken as linear in time; the
instants lie close enough together that nothing moves more than about half a pixel. Within such a step every
crossing is solved exactly, so event times do not fall on a grid.

The model follows Lichtsteiner et al., "A 128×128 120 dB 15 µs latency asynchronous temporal contrast vision
sensor", JSSC 2008 (thresholds, refractory period with the pixel held in reset, leak); Hu et al., "v2e: From
video frames to realistic DVS events", CVPRW 2021 (threshold spread, bandwidth that grows with light, leak and
shot-noise rates); Graca & Delbruck, "Unraveling the paradox of intensity-dependent DVS pixel noise", IISW 2021
(noise in the dark).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capture.compiled import njit
from capture.validation import Strict

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

MID_GRAY = 0.18
"""Irradiance (1 = white paper) at which noise figures are stated."""

_LUT = 512
_ROOM = 2048  # more events than one pixel can give in one step
_LOG_LOW, _LOG_HIGH = math.log(1e-4), math.log(50.0)


class EventSensorConfig(Strict):
    """The event sensor's figures. Contrast thresholds are in natural log irradiance."""

    threshold_on: float = Field(default=0.18, ge=0.02, le=2.0, description="ON contrast threshold")
    threshold_off: float = Field(default=0.18, ge=0.02, le=2.0, description="OFF contrast threshold")
    threshold_sigma: float = Field(default=0.035, ge=0.0, le=0.3, description="relative spread over the pixels")
    refractory_us: float = Field(default=50.0, ge=0.0, le=10_000.0, description="dead time after an event")
    leak_rate_hz: float = Field(
        default=0.05, ge=0.0, le=50.0, description="ON events per pixel and second at rest"
    )
    shot_rate_hz: float = Field(
        default=0.15, ge=0.0, le=200.0, description="noise events of a pixel per s, mid gray"
    )
    dark_rate_hz: float = Field(
        default=6.0, ge=0.0, le=1000.0, description="the same without light or dark current"
    )
    reset_noise: float = Field(default=0.0, ge=0.0, le=0.2, description="log noise kept at a reset, mid gray")
    hot_share: float = Field(default=2e-4, ge=0.0, le=0.1, description="share of pixels that are hot")
    hot_rate_hz: float = Field(default=120.0, ge=0.0, le=5000.0, description="events per second of a hot pixel")
    cutoff_hz: float = Field(
        default=3000.0,
        ge=0.0,
        le=1e6,
        description="bandwidth of a pixel that sees white; falls in proportion to light",
    )
    cutoff_dark_hz: float = Field(default=150.0, gt=0.0, le=1e6, description="bandwidth in full darkness")
    dark_light: float = Field(
        default=0.004, gt=0.0, le=1.0, description="irradiance that dark current stands for"
    )
    read_rate_mev: float = Field(default=12.0, gt=0.0, le=10_000.0, description="read-out limit, events per µs")
    read_delay_us: float = Field(
        default=1000.0,
        ge=1.0,
        le=100_000.0,
        description="longest wait for the read-out; events beyond are dropped",
    )

    def ideal(self) -> EventSensorConfig:
        """The same sensor without a flaw: only its thresholds and its dark current are left."""
        return self.model_copy(
            update={
                "threshold_sigma": 0.0, "refractory_us": 0.0, "leak_rate_hz": 0.0, "shot_rate_hz": 0.0,
                "dark_rate_hz": 0.0, "reset_noise": 0.0, "hot_share": 0.0, "cutoff_hz": 0.0,
                "read_rate_mev": 10_000.0, "read_delay_us": 100_000.0,
            }
        )  # fmt: skip


@dataclass(slots=True)
class RawEvents:
    """Events of some steps: (N,) time in µs (int64), pixel index y·width + x (int32), polarity (bool)."""

    t: I64
    pixel: I32
    p: NDArray[np.bool_]


@njit(nogil=True)
def _step(
    t0: float, t1: float, log0: F32, log1: F32, y: F32, d: F32, on: F32, off: F32, leak: F32,
    ready: F64, noise_at: F64, noise_max: F32, extra: F32, decay: F32, lag: F32, cap: F32, reset: F32,
    refractory: float,
    seed: Any, first: int, out_t: F64, out_i: I32, out_p: Any,
) -> tuple[int, int]:  # fmt: skip
    """Move pixels `first`… from t0 to t1. Returns (pixels done, events written); stops early when out is full.

    State of each pixel: y, its filtered log light; d, y minus the memorised level (in the dead time the noise
    of the reset alone); ready, when its dead time ends; noise_at, when its next noise event may come (a
    Poisson process of the highest rate, thinned).
    """
    n = len(log1)
    size = len(out_t)
    written = 0
    dt = t1 - t0
    filtered = len(decay) > 0
    to_bin = (_LUT - 1) / (_LOG_HIGH - _LOG_LOW)
    for i in range(first, n):
        x1 = log1[i]
        b = int((x1 - _LOG_LOW) * to_bin)
        b = min(max(b, 0), _LUT - 1)
        y0 = y[i]
        if filtered:
            # First-order low-pass of a ramp, solved exactly.
            x0 = log0[i]
            e, k = decay[b], lag[b]
            behind = (x1 - x0) * k
            y1 = x1 - behind + (y0 - x0 + behind) * e
        else:
            y1 = x1
        y[i] = y1
        rise = y1 - y0 + leak[i] * dt
        quiet = ready[i] <= t0 and noise_at[i] > t1
        dn = d[i] + rise
        if quiet and -off[i] < dn < on[i]:
            d[i] = dn
            continue
        if size - written < _ROOM:
            # Not this pixel yet: put it back, the caller empties the buffer and goes on here.
            y[i] = y0
            return i, written
        slope = rise / dt
        t, v = t0, float(d[i])
        while True:
            if ready[i] > t:
                # Held in reset the memorised level follows the light, but for its noise, which v holds.
                if ready[i] >= t1:
                    break
                t = ready[i]
            end, noisy = t1, False
            if noise_at[i] < t1:
                end, noisy = max(t, noise_at[i]), True
            ve = v + slope * (end - t)
            polarity, hit = False, False
            if ve >= on[i]:
                # Rounding may leave a pixel on its threshold; then it fires at once.
                t, polarity, hit = t + ((on[i] - v) / slope if v < on[i] else 0.0), True, True
            elif ve <= -off[i]:
                t, polarity, hit = t + ((-off[i] - v) / slope if v > -off[i] else 0.0), False, True
            if not hit:
                if not noisy:
                    v = ve
                    break
                t, v = end, ve
                # xorshift64*: per-sensor stream, the same on every machine.
                s = seed[0]
                s ^= s >> np.uint64(12)
                s ^= s << np.uint64(25)
                s ^= s >> np.uint64(27)
                seed[0] = s
                r = s * np.uint64(2685821657736338717)
                u1 = (float(r >> np.uint64(40)) + 0.5) / 16777216.0
                u2 = float((r >> np.uint64(16)) & np.uint64(0xFFFFFF)) / 16777216.0
                noise_at[i] = t - math.log(u1) / noise_max[i]
                if u2 * noise_max[i] >= cap[b] + extra[i]:
                    continue
                polarity, hit = (r & np.uint64(1)) == np.uint64(1), True
            if written < size:
                out_t[written], out_i[written], out_p[written] = t, i, polarity
                written += 1
            # The level memorised at a reset carries the noise of that instant. It is drawn without noise too,
            # so that all other noise is the same with it and without.
            v = 0.0
            s = seed[0]
            s ^= s >> np.uint64(12)
            s ^= s << np.uint64(25)
            s ^= s >> np.uint64(27)
            seed[0] = s
            if reset[b] > 0.0:
                r = s * np.uint64(2685821657736338717)
                g = 0.0
                for j in range(4):
                    g += float((r >> np.uint64(16 * j)) & np.uint64(0xFFFF)) / 65535.0 - 0.5
                v = reset[b] * g * 1.7320508
                # Below the thresholds, so that a reset alone never fires the pixel again.
                v = min(max(v, -0.9 * off[i]), 0.9 * on[i])
            if refractory > 0.0:
                ready[i] = t + refractory
                # Beyond the step's end the loop's first test keeps the pixel in reset.
        d[i] = v
    return n, written


@njit(nogil=True)
def _read_out(t: I64, busy_until: float, each_us: float, longest_us: float, keep: Any) -> float:
    """Serve events one after another; rewrites `t` to when each is read, clears `keep` of those dropped."""
    for k in range(len(t)):
        start = max(busy_until, float(t[k]))
        if start - t[k] > longest_us:
            keep[k] = False
            continue
        busy_until = start + each_us
        t[k] = int(start)
    return busy_until


def read_out(
    raw: RawEvents, config: EventSensorConfig, busy_until: float = -1e300
) -> tuple[RawEvents, I64, float]:
    """The read-out's rate limit: events queue, are stamped when read, and drop when the queue is too long.

    Returns:
        the events that came through, in order of time; the times of those dropped, (M,) µs; until when
        the read-out is busy.
    """
    t, keep = raw.t.copy(), np.ones(len(raw.t), np.bool_)
    call: Any = _read_out
    busy = float(call(t, busy_until, 1.0 / config.read_rate_mev, config.read_delay_us, keep))
    return RawEvents(t[keep], raw.pixel[keep], raw.p[keep]), raw.t[~keep], busy


class EventSensor:
    """One event sensor with its pixels' own thresholds and their state.

    Args:
        config: its figures.
        width, height: pixels.
        seed: of thresholds, hot pixels and noise; the same seed gives the same events.
    """

    def __init__(self, config: EventSensorConfig, width: int, height: int, seed: int) -> None:
        self.config, self.width, self.height = config, width, height
        n = width * height
        rng = np.random.default_rng([seed, 11])
        spread = config.threshold_sigma
        # Thresholds of one pixel vary together (comparator) and apart (its two branches).
        common, own = rng.standard_normal(n), rng.standard_normal((2, n))
        factor = np.clip(1.0 + spread * (0.8 * common + 0.6 * own), 0.3, 3.0).astype(np.float32)
        self._on = np.ascontiguousarray(config.threshold_on * factor[0], np.float32)
        self._off = np.ascontiguousarray(config.threshold_off * factor[1], np.float32)
        unevenness = np.exp(0.3 * rng.standard_normal(n))
        self._leak = (config.leak_rate_hz * 1e-6 * config.threshold_on * unevenness).astype(np.float32)
        rate = max(config.shot_rate_hz, config.dark_rate_hz) * 1e-6
        self._noise_max = np.full(n, rate, np.float32)
        hot = rng.random(n) < config.hot_share
        self._noise_max[hot] += np.float32(config.hot_rate_hz * 1e-6) * rng.uniform(0.3, 1.7, int(hot.sum()))
        self._extra = self._noise_max - np.float32(rate)
        with np.errstate(divide="ignore"):
            self._noise_at = rng.exponential(1.0, n) / self._noise_max.astype(np.float64)
        self._ready = np.full(n, -1.0)
        self._seed = rng.integers(1, 2**63, 1, dtype=np.uint64)
        self._y = np.zeros(n, np.float32)
        self._d = np.zeros(n, np.float32)
        self._log = np.zeros(n, np.float32)
        self._time = 0.0
        self._started = False
        light = np.exp(np.linspace(_LOG_LOW, _LOG_HIGH, _LUT))
        # Rates and noise as functions of light, one entry per bin of its logarithm.
        dark = MID_GRAY / (MID_GRAY + 8.0 * light)
        at_gray = MID_GRAY / (MID_GRAY + 8.0 * MID_GRAY)
        share = np.clip((dark - at_gray) / (1.0 - at_gray), 0.0, 1.0)
        rates = config.shot_rate_hz + (config.dark_rate_hz - config.shot_rate_hz) * share
        self._cap = (rates * 1e-6).astype(np.float32)
        noise = config.reset_noise * np.sqrt(MID_GRAY / light)
        self._reset = np.minimum(noise, 0.4 * config.threshold_on).astype(np.float32)
        self._tau_us = 1e6 / (2 * math.pi * np.maximum(config.cutoff_hz * light, config.cutoff_dark_hz))
        self._none = np.empty(0, np.float32)
        n_out = 1 << 18
        self._out = (np.empty(n_out, np.float64), np.empty(n_out, np.int32), np.empty(n_out, np.bool_))

    def log_light(self, light: F32) -> F32:
        """(N,) natural log of irradiance plus dark current."""
        flat = light.reshape(-1) + np.float32(self.config.dark_light)
        return np.asarray(cv2.log(flat), np.float32).reshape(-1)

    def begin(self, t_us: float, light: F32) -> None:
        """Settle on a picture at a time; no events come of it."""
        self._log = self.log_light(light)
        self._y[:] = self._log
        self._d[:] = 0.0
        self._ready[:] = t_us - 1.0
        self._noise_at += t_us - self._time
        self._time = t_us
        self._started = True

    def step(self, t_us: float, light: F32) -> RawEvents:
        """The events between the last instant and this one, in order of time.

        Args:
            t_us: this instant, later than the last.
            light: (H, W) float32 irradiance at it, 1 = white paper, >= 0.
        """
        if not self._started:
            raise RuntimeError("EventSensor.step before begin")
        dt = t_us - self._time
        if dt <= 0:
            raise ValueError(f"event sensor: time runs back from {self._time} to {t_us} µs")
        log1 = self.log_light(light)
        decay = lag = self._none
        if self.config.cutoff_hz > 0:
            decay = np.exp(-dt / self._tau_us).astype(np.float32)
            lag = (self._tau_us / dt).astype(np.float32)
        parts: list[tuple[F64, I32, NDArray[np.bool_]]] = []
        done = 0
        run: Any = _step
        out_t, out_i, out_p = self._out
        while done < len(log1):
            done, written = run(
                self._time, t_us, self._log, log1, self._y, self._d, self._on, self._off, self._leak,
                self._ready, self._noise_at, self._noise_max, self._extra, decay, lag, self._cap,
                self._reset, self.config.refractory_us, self._seed, done, out_t, out_i, out_p,
            )  # fmt: skip
            parts.append((out_t[:written].copy(), out_i[:written].copy(), out_p[:written].copy()))
        before = math.floor(self._time)
        self._log, self._time = log1, t_us
        t = np.concatenate([q[0] for q in parts]) if len(parts) > 1 else parts[0][0]
        pixel = np.concatenate([q[1] for q in parts]) if len(parts) > 1 else parts[0][1]
        p = np.concatenate([q[2] for q in parts]) if len(parts) > 1 else parts[0][2]
        # By whole microseconds, ties in order of pixels: 16-bit keys sort several times faster than floats.
        since = np.floor(t).astype(np.int64) - before
        order = np.argsort(since.astype(np.uint16) if dt < 65_000 else since, kind="stable")
        return RawEvents(since[order] + before, pixel[order], p[order])
