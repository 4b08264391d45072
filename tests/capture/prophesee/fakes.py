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


class FakeHalDevice:
    """What `metavision_hal.DeviceDiscovery.open` gives: facilities of a camera that runs."""

    def __init__(self, bus: FakeMetavision) -> None:
        self._bus = bus
        self._at, self._last = 0, -1
        self._due = time.monotonic()
        self._on_events: list[Any] = []
        self._on_edges: list[Any] = []
        self._buffers: list[tuple[Any, Any, int]] = []

    def get_i_ll_biases(self) -> FakeBiases:
        return self._bus.biases

    def get_i_erc_module(self) -> Any:
        bus = self._bus
        return types.SimpleNamespace(
            enable=lambda on: setattr(bus, "limited", on), is_enabled=lambda: bus.limited,
            set_cd_event_rate=lambda rate: setattr(bus, "rate", rate), get_cd_event_rate=lambda: bus.rate,
        )  # fmt: skip

    def get_i_roi(self) -> Any:
        return FakeRoi(self._bus)

    def get_i_trigger_in(self) -> Any:
        if not self._bus.has_trigger:
            return None
        return types.SimpleNamespace(enable=lambda channel: setattr(self._bus, "triggers", True))

    def get_i_geometry(self) -> Any:
        return types.SimpleNamespace(get_width=lambda: 1280, get_height=lambda: 720)

    def get_i_event_cd_decoder(self) -> Any:
        return types.SimpleNamespace(add_event_buffer_callback=self._on_events.append)

    def get_i_event_ext_trigger_decoder(self) -> Any:
        return types.SimpleNamespace(add_event_buffer_callback=self._on_edges.append)

    def get_i_events_stream(self) -> Any:
        return types.SimpleNamespace(
            start=lambda: None, stop=lambda: setattr(self._bus, "stopped", self._bus.stopped + 1),
            poll_buffer=self._poll, get_latest_raw_data=lambda: self._buffers.pop(),
        )  # fmt: skip

    def get_i_events_stream_decoder(self) -> Any:
        return types.SimpleNamespace(
            decode=self._decode, get_last_timestamp=lambda: self._last + self._bus.ahead_us
        )

    def _poll(self) -> int:
        if self._bus.ended:
            return -1
        if time.monotonic() < self._due:
            return 0
        self._due += STEP_US / 1e6
        e, edges = made(300, self._at)
        self._at += STEP_US
        # The SDK's structures have padding.
        rows = np.zeros(len(e), np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")], align=True))
        rows["t"], rows["x"], rows["y"], rows["p"] = e.t, e.x, e.y, e.p
        there = [(int(up), t, 0) for t, up in zip(edges.t, edges.rising, strict=True)]
        there.append((1, self._at - 1, 6))  # another channel
        found = np.array(there, np.dtype([("p", "<i2"), ("t", "<i8"), ("id", "<i2")], align=True))
        if self._bus.silent:
            rows, found = rows[:0], found[:0]
        self._buffers.append((rows, found, self._at))
        return 1

    def _decode(self, raw: tuple[Any, Any, int]) -> None:
        rows, edges, self._last = raw
        for callbacks, items in ((self._on_events, rows), (self._on_edges, edges)):
            for part in np.array_split(items, 7):  # in buffers of its own size
                if len(part):
                    lent = part.copy()
                    for call in callbacks:
                        call(lent)
                    lent[:] = 0  # its memory is the SDK's


class FakeRoi:
    Window = staticmethod(lambda *a: a)

    def __init__(self, bus: FakeMetavision) -> None:
        self._bus = bus

    def set_window(self, w: tuple[int, ...]) -> None:
        self._bus.window = w

    def enable(self, on: bool) -> None:
        assert on


class FakeMetavision:
    """The vendor's module, as far as it is called.

    Attributes:
        silent: nothing moves: the stream carries times alone.
        ended: it was unplugged.
        stopped: how often its stream was ended.
        ahead_us: of its events, the decoder's own time.
    """

    def __init__(self, *serials: str) -> None:
        self.serials = serials
        self.biases = FakeBiases({"bias_diff_on": 0, "bias_fo": 10})
        self.rate, self.limited, self.triggers, self.window = 0, False, False, ()
        self.ended = self.silent = False
        self.has_trigger = True
        self.stopped = self.ahead_us = 0
        self.DeviceDiscovery = types.SimpleNamespace(open=self._open)
        self.I_TriggerIn = types.SimpleNamespace(Channel=types.SimpleNamespace(MAIN=0))

    def _open(self, serial: str) -> FakeHalDevice | None:
        return FakeHalDevice(self) if serial in (*self.serials, "") and self.serials else None
