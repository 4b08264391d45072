"""Devices that are none: neuromorphic-drivers' and the vendor SDK's objects, fed from EVT3."""

from __future__ import annotations

import dataclasses
import time
import types
from typing import Any

import neuromorphic_drivers as nd
import numpy as np

from capture.packets import Events, TriggerEdges
from recordings.export.evt3 import Evt3Encoder

STEP_US = 5_000


def made(
    n: int, first_us: int, width: int = 1280, height: int = 720, seed: int = 0
) -> tuple[Events, TriggerEdges]:
    """`n` events and two edges within 5 ms."""
    rng = np.random.default_rng([seed, first_us])
    t = np.sort(rng.integers(first_us, first_us + STEP_US, n))
    e = Events(
        t, rng.integers(0, width, n).astype(np.uint16), rng.integers(0, height, n).astype(np.uint16),
        rng.random(n) < 0.5, width, height,
    )  # fmt: skip
    return e, TriggerEdges(np.array([first_us + 100, first_us + 2100]), np.array([True, False]))


class FakeDevice:
    """What `neuromorphic_drivers.open(raw=True, iterator_timeout=…)` gives: EVT3 of a camera that runs.

    Attributes:
        plug: "in", "out", "hung".
        overflow: the next packet comes behind an overflow.
    """

    def __init__(self, bus: FakeNd, configuration: Any, serial: str, timeout: float) -> None:
        self._bus, self.configuration, self._serial, self._timeout = bus, configuration, serial, timeout
        self._encoder = Evt3Encoder(1280, 720)
        self._at = 0
        self._due = time.monotonic()
        self._dropped = 0
        self.closed = False
        self.sent: list[tuple[Events, TriggerEdges]] = []

    def serial(self) -> str:
        return self._serial

    def properties(self) -> Any:
        return nd.prophesee_evk4.Properties()

    def biases_bounds(self) -> Any:
        b = nd.prophesee_evk4.Bounds(-100, 140)
        return nd.prophesee_evk4.BiasesBounds(pr=b, fo=b, hpf=b, diff_on=b, diff_off=b, refr=b)

    def connection(self) -> Any:
        return nd.Connection.USB_SUPER

    def update_configuration(self, configuration: Any) -> None:
        while self._bus.plug == "hung":
            time.sleep(0.05)
        self._gone()
        configuration.serialize()  # as the real one does: wrong types fail here
        self.configuration = configuration

    def _gone(self) -> None:
        if self._bus.plug == "out":
            raise RuntimeError('control transfer: NoDevice ("ID unplugged")')

    def __next__(self) -> tuple[Any, Any]:
        while self._bus.plug == "hung":
            time.sleep(0.05)
        self._gone()
        wait = self._due - time.monotonic()
        ring = types.SimpleNamespace(overflow_indices=None, dropped_packets=self._dropped)
        if wait > 0:
            time.sleep(min(wait, self._timeout))
            if wait > self._timeout:
                return types.SimpleNamespace(ring=None), None
        self._due += STEP_US / 1e6
        item = made(200, self._at)
        self._at += STEP_US
        self.sent.append(item)
        if self._bus.overflow:
            self._bus.overflow -= 1
            self._dropped += 1
            ring = types.SimpleNamespace(overflow_indices=[0], dropped_packets=self._dropped)
        return types.SimpleNamespace(ring=ring), self._encoder.encode(*item)

    def close(self) -> None:
        self.closed = True


class FakeNd:
    """Stands in for the package, whose own configuration classes it uses."""

    Name, Connection, RowColumnMask = nd.Name, nd.Connection, nd.RowColumnMask
    prophesee_evk4, prophesee_evk3_hd = nd.prophesee_evk4, nd.prophesee_evk3_hd

    def __init__(self, *serials: str, name: Any = nd.Name.PROPHESEE_EVK4) -> None:
        self.serials, self._name = list(serials), name
        self.plug, self.overflow, self.refuse = "in", 0, ""
        self.opened: list[FakeDevice] = []

    def list_devices(self) -> list[Any]:
        if self.plug == "out":
            return []
        return [
            nd.ListedDevice(self._name, nd.Connection.USB_SUPER, "", s, None) for s in self.serials
        ]  # fmt: skip

    def open(self, *, configuration: Any, iterator_timeout: float, raw: bool, serial: str | None) -> FakeDevice:
        assert raw
        if self.refuse:
            raise RuntimeError(self.refuse)
        configuration.serialize()
        self.opened.append(FakeDevice(self, configuration, serial or self.serials[0], iterator_timeout))
        return self.opened[-1]


def decoded(e: Events, edges: TriggerEdges, **overflows: Any) -> Any:
    """A packet as the library decodes it itself (`Evt3Packet`)."""
    rows = np.zeros(len(e), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    rows["t"], rows["x"], rows["y"], rows["on"] = e.t, e.x, e.y, e.p
    triggers = np.zeros(len(edges), [("t", "<u8"), ("id", "<u1"), ("rising", "?")])
    triggers["t"], triggers["rising"] = edges.t, edges.rising
    packet = nd.packet.Evt3Packet()
    packet.polarity_events, packet.trigger_events = rows, triggers
    packet.polarity_events_overflow_indices = overflows.get("events")
    packet.trigger_events_overflow_indices = overflows.get("triggers")
    return packet


@dataclasses.dataclass
class FakeBiases:
    values: dict[str, int]

    def get_all_biases(self) -> dict[str, int]:
        return dict(self.values)

    def set(self, name: str, value: int) -> bool:
        if not -100 <= value <= 140:
            raise RuntimeError("bias out of range")
        self.values[name] = value
        return True


class FakeMetavision:
    """The vendor's modules, as far as they are called: a device and its iterator."""

    def __init__(self, *serials: str) -> None:
        self.serials = serials
        self.biases = FakeBiases({"bias_diff_on": 0, "bias_fo": 10})
        self.rate, self.limited, self.triggers, self.window = 0, False, False, ()
        self.ended = False
        bus = self

        class Iterator:
            reader = types.SimpleNamespace()

            def __init__(self) -> None:
                self._at, self._edges = 0, []

            def get_size(self) -> tuple[int, int]:
                return 720, 1280

            def __iter__(self) -> Any:
                while not bus.ended:
                    e, edges = made(300, self._at)
                    self._at += STEP_US
                    rows = np.zeros(len(e), [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
                    rows["t"], rows["x"], rows["y"], rows["p"] = e.t, e.x, e.y, e.p
                    self._edges += [(int(up), t, 0) for t, up in zip(edges.t, edges.rising, strict=True)]
                    self._edges.append((1, self._at - 1, 6))  # another channel
                    yield rows

            def get_ext_trigger_events(self) -> Any:
                return np.array(self._edges, [("p", "<i2"), ("t", "<i8"), ("id", "<i2")])

        class Roi:
            Window = staticmethod(lambda *a: a)

            def set_window(self, w: tuple[int, ...]) -> None:
                bus.window = w

            def enable(self, on: bool) -> None:
                assert on

        class Limiter:
            def enable(self, on: bool) -> None:
                bus.limited = on

            def is_enabled(self) -> bool:
                return bus.limited

            def set_cd_event_rate(self, rate: int) -> None:
                bus.rate = rate

            def get_cd_event_rate(self) -> int:
                return bus.rate

        class Device:
            def get_i_ll_biases(self) -> FakeBiases:
                return bus.biases

            def get_i_erc_module(self) -> Limiter:
                return Limiter()

            def get_i_roi(self) -> Roi:
                return Roi()

            def get_i_trigger_in(self) -> Any:
                return types.SimpleNamespace(enable=lambda channel: setattr(bus, "triggers", True))

        def opened(serial: str) -> Any:
            return Device() if serial in (*bus.serials, "") and bus.serials else None

        def initiate(path: str, use_external_triggers: Any) -> Any:
            if not bus.serials:
                raise OSError("Camera not found. Check that a camera is plugged into your system and retry.")
            bus.triggers = True
            return Device()

        self.hal = types.SimpleNamespace(
            DeviceDiscovery=types.SimpleNamespace(open=opened),
            I_TriggerIn=types.SimpleNamespace(Channel=types.SimpleNamespace(MAIN=0)),
        )
        self.event_io = types.SimpleNamespace(
            EventsIterator=types.SimpleNamespace(from_device=lambda device, delta_t: Iterator())
        )
        self.raw_reader = types.SimpleNamespace(initiate_device=initiate)
