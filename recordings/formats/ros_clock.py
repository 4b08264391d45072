"""The event camera's own clock, as EVT3 packets in a ROS bag have it, laid on the clock of their stamps.

Packets are stamped by the host when they come, which scatters by milliseconds; the sensor's times do not. One
line is laid through both, from what many stamps say at the bag's beginning and at its end: pictures of another
camera have the host's times, and two clocks run apart by milliseconds in a minute.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WRAP_US = 1 << 24
"""EVT3 counts so far and begins again."""
LONG_US = 20_000_000
"""Below that the scatter of the stamps would be taken for a drift."""
MAX_DRIFT = 5e-4
"""More between two quartz clocks is a mistake: a stamp that jumped."""

Pair = tuple[int, int]
"""The sensor's time of a packet's first event and the packet's stamp, µs."""


@dataclass(frozen=True, slots=True)
class SensorClock:
    """Host time = `host_us` + (sensor time - `sensor_us`) · (1 + `drift`).

    Attributes:
        sensor_us, host_us: the same instant on both clocks.
        drift: of the host's clock against the sensor's.
        scatter_us: between the earliest and the latest stamp of those at the beginning.
    """

    sensor_us: int
    host_us: int
    drift: float
    scatter_us: int

    @classmethod
    def of(cls, first: Sequence[Pair]) -> SensorClock:
        """Out of the first packets, without a drift; at least one."""
        offsets = [host - sensor for sensor, host in first]
        middle = first[len(first) // 2][0]
        return cls(middle, middle + round(statistics.median(offsets)), 0.0, max(offsets) - min(offsets))

    def followed(self, last: Sequence[Pair]) -> SensorClock:
        """With the drift that the last packets show, where they are far enough from the first ones."""
        if not last:
            return self
        lift = self.lift(last[0])
        middle = last[len(last) // 2][0] + lift
        offset = round(statistics.median(host - sensor - lift for sensor, host in last))
        length = middle - self.sensor_us
        if length < LONG_US:
            return self
        drift = (offset - (self.host_us - self.sensor_us)) / length
        if abs(drift) > MAX_DRIFT:
            return self
        return SensorClock(self.sensor_us, self.host_us, drift, self.scatter_us)

    def lift(self, pair: Pair) -> int:
        """What is added to a decoder's times, which begins anywhere within a turn of the counter."""
        sensor, host = pair
        return round((host - self.host_us + self.sensor_us - sensor) / WRAP_US) * WRAP_US

    def host(self, sensor_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sensor times, lifted already, on the host's clock."""
        since = sensor_us - self.sensor_us
        out = self.host_us + since
        if self.drift:
            out += np.rint(since * self.drift).astype(np.int64)
        return out

    def __str__(self) -> str:
        drift = f", and drifts by {1e6 * self.drift:.0f} ppm" if self.drift else ""
        return (
            "the event camera's own clock is laid on the messages' stamps, which scatter by "
            f"{self.scatter_us / 1000:.3g} ms{drift}"
        )
