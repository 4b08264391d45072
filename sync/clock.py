"""Clock relations: a device's clock on the event clock by matched pairs, host time by arrivals.

Two clocks differ by an offset and, slowly changing, by a rate (drift, parts per million). `ClockFit` measures
both from pairs that belong together. `HostClock` has no pairs, only arrivals, which are always late and never
early: it takes the lower envelope of the lateness (Moon, Skelly, Towsley, "Estimation and removal of clock skew
from network delay measurements", INFOCOM 1999: the supporting line of the lower convex hull).
"""

from __future__ import annotations

import itertools
import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

MAX_DRIFT_PPM = 300.0  # no working quartz pair is further apart
WANDER_PPM = 1.0  # how far the rate of a warming quartz may move away from the fit


class ClockFit:
    """Device nanoseconds → event microseconds: robust straight line through the recent pairs.

    Huber-weighted least squares on the difference of the clocks, with a weak prior on the drift
    (0 ± 100 ppm) so that the first few pairs cannot tilt it. Memory is bounded by `max_pairs` and `max_span_s`.

    Attributes:
        resets: how often it began anew, by the name of the cause.
    """

    def __init__(self, *, max_pairs: int = 256, max_span_s: float = 30.0) -> None:
        self._max_pairs, self._max_span_ns = max_pairs, int(max_span_s * 1e9)
        self.resets: dict[str, int] = {}
        self._pairs: deque[tuple[int, int]] = deque()
        self._outliers: list[tuple[int, int]] = []
        self._fresh = False
        self._ref_ns = self._ref_us = 0
        self._mean_x = self._mean_y = self._slope = 0.0
        self._sigma = self._sxx = 0.0

    def __len__(self) -> int:
        return len(self._pairs)

    def reset(self, cause: str) -> None:
        """Begin anew and remember why."""
        self.resets[cause] = self.resets.get(cause, 0) + 1
        self._pairs.clear()
        self._outliers.clear()
        self._fresh = False

    def add(self, device_ns: int, event_us: int) -> bool:
        """Take one pair; True when it is consistent with the fit.

        A single wild pair is put aside. Three of them in a row that agree with each other mean that the device
        clock jumped: the fit resets to them. A device time that runs back resets at once (wrap, restart).
        """
        if self._pairs and device_ns < self._pairs[-1][0]:
            self.reset("device clock ran back")
        if len(self._pairs) >= 3:
            error = abs(event_us - self.event_us(device_ns))
            if error > max(300.0, 8.0 * self.residual_us) + self.uncertainty_us(device_ns):
                self._outliers.append((device_ns, event_us))
                if len(self._outliers) < 3 or not self._agree(self._outliers):
                    self._outliers = self._outliers[-3:]
                    return False
                jumped = list(self._outliers)
                self.reset("device clock jumped")
                self._pairs.extend(jumped)
                return False
        self._outliers.clear()
        self._pairs.append((device_ns, event_us))
        while len(self._pairs) > self._max_pairs or device_ns - self._pairs[0][0] > self._max_span_ns:
            self._pairs.popleft()
        self._fresh = False
        return True

    @staticmethod
    def _agree(pairs: list[tuple[int, int]]) -> bool:
        offsets = [e - d // 1000 for d, e in pairs]
        return max(offsets) - min(offsets) < 300

    def _solve(self) -> None:
        if self._fresh:
            return
        if not self._pairs:
            raise ValueError("clock fit: no pairs yet")
        self._ref_ns, self._ref_us = self._pairs[-1]
        p = np.array(self._pairs, dtype=np.int64)
        x: F64 = (p[:, 0] - self._ref_ns) / 1e3
        y: F64 = (p[:, 1] - self._ref_us) - x  # difference of the clocks, µs: slope = drift
        n = len(x)
        w = np.ones(n)
        sigma = 10.0
        for _ in range(4):
            total = float(w.sum())
            mx, my = float(w @ x) / total, float(w @ y) / total
            dx = x - mx
            sxx = float(w @ (dx * dx))
            prior = (max(sigma, 1.0) / 100e-6) ** 2
            slope = float(w @ (dx * (y - my))) / (sxx + prior)
            r = np.abs(y - my - slope * dx)
            sigma = max(1.4826 * float(np.median(r)), 0.5)
            w = np.minimum(1.0, 2.0 * sigma / np.maximum(r, 1e-9))
        limit = MAX_DRIFT_PPM * 1e-6
        self._mean_x, self._mean_y = mx, my
        self._slope = min(max(slope, -limit), limit)
        self._sigma = sigma if n >= 6 else max(sigma, 5.0)
        self._sxx = sxx + prior
        self._fresh = True

    def event_us(self, device_ns: int) -> float:
        """Event time (µs) of a device time.

        Raises:
            ValueError: no pair was given yet.
        """
        self._solve()
        x = (device_ns - self._ref_ns) / 1e3
        return self._ref_us + x + self._mean_y + self._slope * (x - self._mean_x)

    def device_ns(self, event_us: float) -> int:
        """Device time (ns) of an event time; the inverse of `event_us`."""
        self._solve()
        z = event_us - self._ref_us
        x = (z - self._mean_y + self._slope * self._mean_x) / (1.0 + self._slope)
        return self._ref_ns + round(x * 1e3)

    @property
    def drift_ppm(self) -> float:
        """How much faster the event clock runs than the device's, parts per million."""
        self._solve()
        return self._slope * 1e6

    @property
    def residual_us(self) -> float:
        """Robust standard deviation of the pairs around the line, µs (at least 0.5)."""
        self._solve()
        return self._sigma

    @property
    def last_device_ns(self) -> int | None:
        """Device time of the newest pair, None before the first."""
        return self._pairs[-1][0] if self._pairs else None

    def uncertainty_us(self, device_ns: int) -> float:
        """Half width (µs, about 95 %) of the line itself at a device time; grows outside of the pairs."""
        self._solve()
        x = (device_ns - self._ref_ns) / 1e3
        var = self._sigma**2 * (1.0 / len(self._pairs) + (x - self._mean_x) ** 2 / self._sxx)
        beyond = max(0.0, x, (self._pairs[0][0] - device_ns) / 1e3)
        return 2.0 * math.sqrt(var) + WANDER_PPM * 1e-6 * beyond


class HostClock:
    """A source's time (µs) ↔ host time (ns, `time.monotonic_ns`) by the lower envelope of arrivals.

    What arrives at host time h was sent at or before h; the least late arrivals mark the relation, up to the
    least latency, which no arrival can show. Bounded memory: the least late arrival of each half second.

    Where arrivals come much earlier, or for a second all much later, than the envelope says, the source's time
    axis has moved against the host's (a jump, a pause in a replay): it begins anew.

    Attributes:
        arrivals: since the beginning or the last reset.
        resets: how often it began anew, by the name of the cause.
    """

    JUMP_NS = 100_000_000

    def __init__(self, *, bucket_us: int = 500_000, buckets: int = 120) -> None:
        self._bucket_us = bucket_us
        self._minima: deque[tuple[int, int, int]] = deque(maxlen=buckets)  # bucket, source µs, lateness ns
        self._recent: deque[tuple[int, int]] = deque(maxlen=64)  # source µs, lateness ns
        self._line: tuple[int, int, float] | None = None  # source µs, lateness ns there, slope (ns per µs)
        self._late: tuple[int, int, int] | None = (
            None  # arrivals too late in a row: since, how many, least late
        )
        self.resets: dict[str, int] = {}
        self.arrivals = 0

    def reset(self, cause: str) -> None:
        """Begin anew and remember why."""
        self.resets[cause] = self.resets.get(cause, 0) + 1
        self._minima.clear()
        self._recent.clear()
        self._line = self._late = None
        self.arrivals = 0

    @property
    def ready(self) -> bool:
        """At least one arrival is known."""
        return bool(self._minima)

    @property
    def steady(self) -> bool | None:
        """Host time and source time run at one rate (within 10 %); None while too little has come to tell."""
        if len(self._recent) < 8 or self._recent[-1][0] - self._recent[0][0] < 20_000:
            return None
        half = len(self._recent) // 2
        arrivals = list(self._recent)
        a = min(arrivals[:half], key=lambda p: p[1])
        b = min(arrivals[half:], key=lambda p: p[1])
        return abs(b[1] - a[1]) <= 0.1 * (arrivals[-1][0] - arrivals[0][0]) * 1e3 / 2 + 5_000_000

    def add(self, source_us: int, host_ns: int) -> None:
        """An item that was complete at `source_us` arrived at `host_ns`. Times of 0 (unknown) are ignored."""
        if host_ns <= 0:
            return
        lateness = host_ns - source_us * 1000
        bucket = source_us // self._bucket_us
        if self._minima and bucket < self._minima[-1][0]:
            self.reset("time ran back")
        elif self.ready:
            self._watch(source_us, lateness)
        if not self._minima or bucket > self._minima[-1][0]:
            self._minima.append((bucket, source_us, lateness))
            self._line = None
        elif lateness < self._minima[-1][2]:
            self._minima[-1] = (bucket, source_us, lateness)
            self._line = None
        self.arrivals += 1
        self._recent.append((source_us, lateness))

    def _watch(self, source_us: int, lateness: int) -> None:
        """Reset where the two time axes have moved against each other."""
        excess = lateness - self._envelope(source_us)
        if excess < -self.JUMP_NS and self.arrivals >= 8:
            self.reset("time jumped ahead")
        elif excess <= self.JUMP_NS:
            self._late = None
        else:
            since, n, least = self._late or (source_us, 0, lateness)
            self._late = since, n + 1, min(least, lateness)
            if n >= 8 and source_us - since > 1_000_000:
                self.reset("host time ran on")

    def _envelope(self, source_us: float) -> int:
        """Least lateness (ns) at a source time."""
        if self._line is None:
            self._line = self._fit()
        x0, y0, slope = self._line
        return round(y0 + slope * (source_us - x0))

    def _fit(self) -> tuple[int, int, float]:
        if not self._minima:
            raise ValueError("host clock: no arrivals yet")
        points = [(m[1], m[2]) for m in self._minima]
        lowest = min(points, key=lambda p: p[1])
        if points[-1][0] - points[0][0] < 5_000_000:
            return (*lowest, 0.0)  # too short to tell drift from jitter
        hull: list[tuple[int, int]] = []
        for q in points:
            while len(hull) >= 2 and (
                (hull[-1][0] - hull[-2][0]) * (q[1] - hull[-2][1])
                <= (hull[-1][1] - hull[-2][1]) * (q[0] - hull[-2][0])
            ):
                hull.pop()
            hull.append(q)
        # The supporting line with the least total distance is the hull's edge over the mean of the points.
        mean = sum(q[0] for q in points) / len(points)
        for a, b in itertools.pairwise(hull):
            if a[0] <= mean <= b[0]:
                slope = (b[1] - a[1]) / (b[0] - a[0])
                if abs(slope) <= MAX_DRIFT_PPM * 1e-3:
                    return a[0], a[1], slope
        return (*lowest, 0.0)

    def host_ns_of(self, source_us: float) -> int:
        """Host time (ns) of a source time, at least latency.

        Raises:
            ValueError: nothing has arrived yet.
        """
        return round(source_us * 1000) + self._envelope(source_us)

    def source_us_of(self, host_ns: int) -> int:
        """Source time (µs) of a host time; the inverse of `host_ns_of`.

        Raises:
            ValueError: nothing has arrived yet.
        """
        guess = (host_ns - self._envelope(self._minima[-1][1] if self._minima else 0)) / 1000
        return round((host_ns - self._envelope(guess)) / 1000)

    @property
    def uncertainty_us(self) -> float:
        """How late arrivals are above the envelope (95th percentile of the recent ones), µs."""
        if not self._recent:
            return math.inf
        late = [max(0, y - self._envelope(x)) for x, y in self._recent]
        return float(np.percentile(np.array(late), 95)) / 1e3
