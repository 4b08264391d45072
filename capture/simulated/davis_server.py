"""The simulated rig's event camera on the wire: events, edges, frames and inertial samples as AEDAT4 streams.

What `aedat4-tcp` and `aedat4-unix` connect to, in step with the simulated rig's other streams wherever they
are played, as long as all are told the same epoch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from capture.camera import CameraRole, Progress
from capture.errors import CameraError
from capture.packets import EventPacket, Frame
from capture.simulated import aedat4_wire as wire
from capture.simulated.loops import event_loop, frame_loop
from capture.simulated.presets import SimulatedConfig
from capture.simulated.sources import EventSource, FrameSource
from capture.simulated.stream_server import StreamServer

IMU_PERIOD_US = 1250
_REST = (25.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Lying still: temperature, acceleration in g, turn, field."""

Address = tuple[str, int] | str


class DavisServer:
    """Plays a simulated rig until it is closed.

    Args:
        config: of the rig; its packets are `packet_us` long.
        addresses: where each stream is served, by kind: EVTS (needed), TRIG, FRME (only where one sensor gives
            both), IMUS.
        epoch_ns: `time.monotonic_ns` at which the rig's time axis begins; 0: now.
        serial: as the streams tell it.

    Attributes:
        addresses: where they listen, with the ports that were chosen.
        events, items: sent so far.

    Raises:
        CameraError: an address cannot be had, or the rig has no such stream.
    """

    def __init__(
        self, config: SimulatedConfig, addresses: Mapping[str, Address], *, epoch_ns: int = 0,
        serial: str = "SIM00001", progress: Progress | None = None,
    ) -> None:  # fmt: skip
        if "FRME" in addresses and not config.one_sensor:
            raise CameraError(
                f"simulated:{config.preset} has two cameras; the frames are those of simulate genicam"
            )
        self.config = config
        self.events = self.items = 0
        progress = progress or (lambda share: None)
        self._events = EventSource(config, event_loop(config, progress))
        self._frames = FrameSource(config, frame_loop(config, progress)) if "FRME" in addresses else None
        self._servers: dict[str, StreamServer] = {}
        size = (config.event_width, config.event_height)
        sizes = {"EVTS": size, "FRME": (config.image_width, config.image_height)}
        try:
            for kind, address in addresses.items():
                head = wire.head(kind, f"DAVIS346_{serial}", sizes.get(kind))
                self._servers[kind] = StreamServer(address, head)
        except BaseException:
            self.close()
            raise
        self.addresses = {k: s.address for k, s in self._servers.items()}
        now = time.monotonic_ns()
        self.epoch_ns = epoch_ns or now
        # Stamps as dv-processing gives them: µs since 1970 when the camera was opened.
        self._shift_us = (time.time_ns() - (now - self.epoch_ns)) // 1000
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, name="davis server", daemon=True)

    def start(self) -> None:
        """Begin to play; a server that begins late begins at the current time."""
        late_us = (time.monotonic_ns() - self.epoch_ns) // 1000
        self._events.begin_at(max(0, late_us), False)
        if self._frames is not None:
            self._frames.begin_at(max(0, late_us))
        self._imu_us = max(0, late_us)
        self._thread.start()

    def expose(self, exposure_us: int, first: int) -> None:
        """The rig's frame camera exposes so long from frame `first` on."""
        self._events.expose(exposure_us, first)

    def _play(self) -> None:
        while not self._stop.is_set():
            due = self._events.due_us()
            if self._frames is not None:
                due = min(due, self._frames.due_us())
            wait = (self.epoch_ns + 1000 * due - time.monotonic_ns()) / 1e9
            if wait > 0 and self._stop.wait(wait):
                return
            if self._frames is not None and self._frames.due_us() <= due:
                self._put(self._frames.take())
            else:
                self._put(self._events.take())

    def _put(self, item: EventPacket | Frame) -> None:
        self.items += 1
        if isinstance(item, Frame):
            assert item.device_start_ns is not None
            assert item.exposure_ns is not None
            start = item.device_start_ns // 1000 + self._shift_us
            self._send("FRME", wire.frame(item.image, start, item.exposure_ns // 1000))
            return
        if "TRIG" in self._servers:
            self._send("TRIG", wire.triggers(item.triggers, self._shift_us, item.complete_until_us))
        self.events += len(item.events)
        self._send("EVTS", wire.events(item.events, self._shift_us))  # an empty one is a sign of life
        if "IMUS" in self._servers:
            times = range(self._imu_us, item.complete_until_us, IMU_PERIOD_US)
            if times:
                self._send("IMUS", wire.imu([(t + self._shift_us, _REST) for t in times]))
                self._imu_us = times[-1] + IMU_PERIOD_US

    def _send(self, kind: str, data: bytes) -> None:
        server = self._servers.get(kind)
        if server is not None:
            server.send(data)

    def clients(self) -> dict[str, int]:
        """How many are connected, by stream."""
        return {k: s.clients for k, s in self._servers.items()}

    @property
    def waiting(self) -> int:
        """Bytes that wait for the slowest client."""
        return max(s.waiting for s in self._servers.values())

    def close(self) -> None:
        """Stop and close every connection. Idempotent."""
        stop = getattr(self, "_stop", None)
        if stop is not None:
            stop.set()
            if self._thread.is_alive():
                self._thread.join(5.0)
        for s in self._servers.values():
            s.close()


def example(addresses: Mapping[str, Address]) -> dict[str, Any]:
    """Name and settings that open what is served at these addresses."""
    names = {"TRIG": "triggers", "FRME": "frames", "IMUS": "imu"}

    def text(a: Address) -> str:
        return a if isinstance(a, str) else f"{a[0]}:{a[1]}"

    scheme = "aedat4-unix" if isinstance(addresses["EVTS"], str) else "aedat4-tcp"
    return {
        "camera": f"{scheme}:{text(addresses['EVTS'])}",
        "settings": {names[k]: text(a) for k, a in addresses.items() if k in names},
        "role": CameraRole.EVENTS.value,
    }
