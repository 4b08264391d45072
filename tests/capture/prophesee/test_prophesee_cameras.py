"""EVK4, EVK3 and Metavision cameras: the contract on stand-ins fed with EVT3; real errors."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import neuromorphic_drivers as nd
import numpy as np
import pytest

from capture import registry
from capture.camera import CameraRole
from capture.errors import CameraError, CameraLost, UsageError
from capture.packets import EventPacket, Events, TriggerEdges
from capture.prophesee import evk, metavision
from capture.prophesee.config import configure
from capture.prophesee.stream import Evt3Stream
from recordings.export.evt3 import WRAP_US, Evt3Encoder
from tests.capture.contract import (
    Ask,
    CameraCase,
    CameraContract,
    DriverCase,
    DriverContract,
    Plug,
    UnplugContract,
    read_items,
)
from tests.capture.prophesee.fakes import FakeMetavision, FakeNd, decoded, made

BIASES = {f"bias_{n}": 20 for n in ("pr", "fo", "hpf", "diff_on", "diff_off", "refr")}


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNd]:
    b = FakeNd("00050123")
    monkeypatch.setattr(evk, "library", lambda name: b)
    yield b
    b.plug = "in"


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> FakeMetavision:
    v = FakeMetavision("00042")
    monkeypatch.setattr(metavision, "library", lambda name: v)
    return v


def opened(name: str = "evk4", **settings: Any) -> Any:
    d, config = registry.open_driver(name, settings)
    return d.event_camera(config)


class TestEvk4(CameraContract):
    @pytest.fixture
    def case(self, bus: FakeNd) -> CameraCase:
        return CameraCase(opened, values=BIASES, counts=True)


class TestMetavision(CameraContract):
    @pytest.fixture
    def case(self, vendor: FakeMetavision) -> CameraCase:
        values = {"events_per_s": 1_000_000, "bias_fo": 5, "bias_diff_on": 9}
        return CameraCase(lambda: opened("metavision"), values=values, counts=True)


class TestEvk4Plug(UnplugContract):
    @pytest.fixture
    def plug(self, bus: FakeNd) -> Plug:
        def pull(ask: Ask) -> None:
            bus.plug = "out"

        return Plug(
            opened, "evk4", pull, lambda: setattr(bus, "plug", "in"), CameraRole.EVENTS,
            hang=lambda: setattr(bus, "plug", "hung"),
        )  # fmt: skip


class TestEvkDriver(DriverContract):
    @pytest.fixture(params=["evk4", "evk3"])
    def subject(self, request: pytest.FixtureRequest) -> DriverCase:
        def hide(monkeypatch: pytest.MonkeyPatch) -> None:
            monkeypatch.setitem(sys.modules, "neuromorphic_drivers", None)

        return DriverCase(registry.driver(request.param), "", {}, "not a serial", hide)


class TestMetavisionDriver(DriverContract):
    @pytest.fixture
    def subject(self) -> DriverCase:
        def hide(monkeypatch: pytest.MonkeyPatch) -> None:
            monkeypatch.setitem(sys.modules, "metavision_hal", None)

        return DriverCase(registry.driver("metavision"), "", {}, "not a serial", hide)


def test_for_real_there_is_none_here() -> None:
    """The real package's error where there is no USB, or no camera on it."""
    for name, model in (("evk4", "EVK4"), ("evk3", "EVK3 HD")):
        with pytest.raises(
            CameraError, match=rf"{name}: (USB cannot be searched|no {model} is connected)"
        ) as e:
            opened(name).open()
        assert "\n" not in str(e.value)
        assert "Other error" not in str(e.value)
        assert registry.driver(name).discover() == []


def test_the_vendors_sdk_is_asked_for_with_no_pip_command() -> None:
    if "metavision_hal" in sys.modules:
        pytest.skip("the vendor's SDK is installed here")
    with pytest.raises(CameraError, match="vendor's installer") as e:
        opened("metavision:123").open()
    assert "pip" not in str(e.value)


def test_two_of_the_same_a_wrong_serial_and_none(bus: FakeNd) -> None:
    with pytest.raises(CameraError, match="no EVK4 of this serial number is connected; there is 00050123"):
        opened("evk4:7").open()
    bus.serials.append("00050999")
    with pytest.raises(
        CameraError, match=r"2 EVK4 are connected \(00050123, 00050999\); name one: evk4:00050123"
    ):
        opened().open()
    c = opened("evk4:00050999")
    c.open()
    assert c.info.serial == "00050999"
    c.close()
    assert bus.opened[-1].closed
    bus.serials.clear()
    with pytest.raises(CameraError, match="no EVK4 is connected"):
        opened().open()
    with pytest.raises(CameraError, match="no EVK3 HD is connected"):
        opened("evk3").open()


def test_taken_by_another_program(bus: FakeNd) -> None:
    bus.refuse = "the device is already used by another program"
    with pytest.raises(CameraError, match="already used by another program: close the other program"):
        opened().open()


def test_it_is_opened_as_configured(bus: FakeNd) -> None:
    c = opened(
        biases={"diff_on": 30}, events_per_s=10_000_000, limiter_period_us=100, clock="slave",
        roi={"x": 64, "y": 100, "width": 128, "height": 50},
    )  # fmt: skip
    c.open()
    made_ = bus.opened[0].configuration
    c.close()
    assert made_.biases.diff_on == 30
    assert made_.rate_limiter.maximum_events_per_period == 1000
    assert made_.clock is nd.prophesee_evk4.Clock.EXTERNAL
    # A set bit masks a column: 64 … 191 are open, words of 64 columns.
    assert made_.x_mask[:4] == (2**64 - 1, 0, 0, 2**64 - 1)
    rows = [made_.y_mask[r // 64] >> (r % 64) & 1 for r in range(720)]
    assert [r for r in range(720) if not rows[r]] == list(range(100, 150)) or [
        719 - r for r in range(720) if not rows[r]
    ][::-1] == list(range(100, 150))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"biases": {"nonsense": 1}}, "no bias 'nonsense'"),
        ({"biases": {"diff_on": 500}}, "bias_diff_on 500 is out of range; it goes from -100 to 140"),
        ({"roi": {"x": 1200, "y": 0, "width": 200, "height": 10}}, "leaves the sensor"),
    ],
)
def test_settings_that_the_camera_cannot_take(bus: FakeNd, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(CameraError, match=text):
        opened(**settings).open()


def test_a_setting_out_of_range_changes_nothing(bus: FakeNd) -> None:
    c = opened()
    c.open()
    for name, value in (("bias_diff_on", 141), ("bias_fo", 0.5), ("bias_fo", "x")):
        with pytest.raises(CameraError, match=name):
            c.command("set", {"bias_hpf": 3, name: value})
    assert c.command("state", {})["settings"]["bias_hpf"] == 0
    assert c.command("controls", {})["bias_fo"]["maximum"] == 140
    c.close()


def test_the_limit_is_not_said_to_be_set_while_it_runs(bus: FakeNd) -> None:
    """neuromorphic-drivers accepts it then and writes no register."""
    c = opened(events_per_s=10_000_000)
    c.open()
    assert "events_per_s" not in c.info.capabilities.settings
    with pytest.raises(CameraError, match="events_per_s is taken only when the camera is opened; set it in"):
        c.command("set", {"events_per_s": 1_000_000})
    assert c.command("set", {"bias_fo": 7})["events_per_s"] == 10_000_000
    assert bus.opened[0].configuration.rate_limiter.maximum_events_per_period == 2000
    c.close()


def test_a_wrong_setting_before_opening() -> None:
    with pytest.raises(UsageError, match="limiter_period_us"):
        configure("evk4", "", {"limiter_period_us": 1024})  # ten bits of a register
    assert configure("evk4", "", {"limiter_period_us": 1023}).limiter_period_us == 1023
    with pytest.raises(UsageError, match="did you mean 'events_per_s'"):
        configure("evk4", "", {"event_per_s": 1})
    with pytest.raises(CameraError, match="clock = 'slave' is not possible"):
        evk.EvkSdk(configure("evk3", "", {"clock": "slave"}))._configured(nd)


def test_every_event_and_edge_arrives_exactly(bus: FakeNd) -> None:
    c = opened()
    c.open()
    c.start()
    got = read_items(c, 20)
    shift = c._sdk.stream.maker.axis.shift_us
    c.close()
    sent = bus.opened[0].sent
    n = sum(len(p.events) for p in got)
    e = Events.concatenate([s[0] for s in sent])[:n]
    for k in "xyp":
        assert np.array_equal(np.concatenate([getattr(p.events, k) for p in got]), getattr(e, k)), k
    assert np.array_equal(np.concatenate([p.events.t for p in got]) - shift, e.t)
    edges = np.concatenate([p.triggers.t for p in got]) - shift
    assert np.array_equal(edges, np.concatenate([s[1].t for s in sent])[: len(edges)])
    assert abs(got[0].events.t[0] * 1000 - got[0].host_ns) < 1e9  # times go on from the host's clock


def test_an_overflow_is_a_loss_and_a_gap(bus: FakeNd) -> None:
    c = opened()
    c.open()
    c.start()
    read_items(c, 3)
    bus.overflow = 2
    after = read_items(c, 10)
    counters = c.command("state", {})["counters"]
    assert c.counters() == {"delivered": c.delivered, **counters}  # these go round by themselves
    c.close()
    assert sum(p.gap for p in after) == 2
    assert sum(p.dropped for p in after) == 2
    assert counters["overflows"] == 2
    assert all(v == 0 for k, v in counters.items() if k != "overflows")


def sdk(**settings: Any) -> evk.EvkSdk:
    return evk.EvkSdk(configure("evk4", "", settings))


NO_RING = types.SimpleNamespace(ring=types.SimpleNamespace(overflow_indices=None, dropped_packets=0))


def test_packets_that_the_library_decoded_itself() -> None:
    """neuromorphic-drivers' own packets, out of decoded EVT3, give what our decoder gives."""
    a, b = sdk(), sdk()
    encoder = Evt3Encoder(1280, 720)
    for k in range(5):
        e, edges = made(500, 5000 * k)
        (p,) = a.take(NO_RING, encoder.encode(e, edges), 10**12 + k)
        (q,) = b.take(NO_RING, decoded(e, edges), 10**12 + k)
        assert np.array_equal(p.events.x, q.events.x)
        assert np.array_equal(np.diff(p.events.t), np.diff(q.events.t))
        assert p.triggers.rising.tolist() == q.triggers.rising.tolist() == [True, False]
        assert q.complete_until_us == int(q.events.t[-1])
    (q,) = b.take(NO_RING, decoded(*made(5, 40_000), events=np.array([0, 3]), triggers=np.array([1])), 10**12)
    assert q.gap
    assert q.dropped == 2
    assert b.counters()["overflows"] == 2


def test_edges_of_another_channel_are_passed_over() -> None:
    e, edges = made(10, 0)
    (p,) = sdk(trigger_channel=3).take(NO_RING, Evt3Encoder(1280, 720, channel=1).encode(e, edges), 1)
    assert len(p.triggers) == 0
    (p,) = sdk(trigger_channel=1).take(NO_RING, Evt3Encoder(1280, 720, channel=1).encode(e, edges), 1)
    assert len(p.triggers) == 2


@pytest.mark.parametrize("raw", [True, False])
def test_edges_that_are_not_wanted_are_left_out(raw: bool) -> None:
    """The EVK3 sends them in any case."""
    e, edges = made(10, 0)
    packet = Evt3Encoder(1280, 720).encode(e, edges) if raw else decoded(e, edges)
    (p,) = evk.EvkSdk(configure("evk3", "", {"triggers": False})).take(NO_RING, packet, 1)
    assert len(p.triggers) == 0
    assert len(p.events) == 10


def test_bytes_may_be_cut_anywhere_and_time_wraps() -> None:
    """Vectors, triggers and the 24-bit wrap, in pieces of odd sizes."""
    encoder = Evt3Encoder(64, 48)
    t = np.arange(0, 2 * WRAP_US + 100_000, 3000, dtype=np.int64)
    t = np.repeat(t, 14)
    n = len(t)
    x = np.tile(np.arange(14, dtype=np.uint16) * 2, n // 14)
    e = Events(t, x, np.full(n, 7, np.uint16), np.ones(n, np.bool_), 64, 48)
    edges = TriggerEdges(np.array([5, WRAP_US + 7, 2 * WRAP_US + 9]), np.array([True, False, True]))
    data = encoder.encode(e, edges)
    stream = Evt3Stream("cut", 64, 48)
    rng = np.random.default_rng(3)
    packets: list[EventPacket] = []
    at = 0
    while at < len(data):
        step = int(rng.integers(1, 4001))
        packets += stream.feed(data[at : at + step], 10**12)
        at += step
    got = Events.concatenate([p.events for p in packets])
    assert len(got) == n
    assert np.array_equal(got.t - got.t[0], t)
    assert np.array_equal(got.x, x)
    found = np.concatenate([p.triggers.t for p in packets]) - got.t[0]
    assert found.tolist() == [5, WRAP_US + 7, 2 * WRAP_US + 9]
    assert set(stream.faults().values()) == {0}


def test_garbage_is_counted_and_never_leaves_the_sensor() -> None:
    stream = Evt3Stream("garbage", 640, 480)
    rng = np.random.default_rng(0)
    encoder = Evt3Encoder(640, 480)
    rejected = 0
    for k in range(20):
        stream.feed(encoder.encode(*made(100, 5000 * k, 640, 480)), 10**12)
        for p in stream.feed(rng.bytes(4096), 10**12):
            rejected += p.rejected.total
            if len(p.events):
                assert p.events.x.max() < 640
                assert p.events.y.max() < 480
    assert rejected > 0
    assert stream.faults()["unknown_words"] > 0


def test_a_clock_that_begins_anew_in_mid_stream() -> None:
    stream = Evt3Stream("reset", 64, 48)
    a = [
        stream.feed(Evt3Encoder(64, 48).encode(*made(50, 5_000_000 + 5000 * k, 64, 48)), 10**12)
        for k in range(3)
    ]
    again = Evt3Encoder(64, 48)
    b = [stream.feed(again.encode(*made(50, 5000 * k, 64, 48)), 10**12 + 10**7) for k in range(4)]
    packets = [p for ps in (*a, *b) for p in ps]
    t = np.concatenate([p.events.t for p in packets])
    assert bool((np.diff(t) >= 0).all())
    assert sum(p.gap for p in packets) == 1
    assert len(t) >= 6 * 50  # what lies before the new clock is believed may be lost, and is counted
    assert stream.maker.axis is not None
    assert stream.maker.axis.resets == 1


def high_word(k: int) -> bytes:
    """EVT3's word for the upper part of the time: `k` steps of 4.096 ms since the last wrap."""
    return np.array([0x8 << 12 | k & 0xFFF], "<u2").tobytes()


@pytest.mark.parametrize("from_the_start", [False, True])
def test_a_scene_without_events_is_told_from_a_camera_that_is_silent(from_the_start: bool) -> None:
    """The camera tells its time all the while, round the wrap after 16.8 s too."""
    stream, host_ns, steps = Evt3Stream("quiet", 64, 48), 10**12, 5000
    stream_of = Evt3Encoder(64, 48)
    if not from_the_start:
        assert len(stream.feed(stream_of.encode(*made(50, 0, 64, 48)), host_ns)) == 1
    packets = [
        p for k in range(2, steps + 1) for p in stream.feed(high_word(k), host_ns + k * 4_096_000)
    ]  # fmt: skip
    assert not any(len(p.events) or len(p.triggers) or p.gap or p.dropped or p.rejected.total for p in packets)
    until = np.array([p.complete_until_us for p in packets])
    assert np.diff(until).min() >= 20_000
    assert np.diff(until).max() < 20_000 + 4_096
    assert until[-1] - until[0] == pytest.approx(steps * 4_096, abs=2 * 24_096)
    behind = np.array([p.host_ns // 1000 - p.complete_until_us for p in packets])
    assert np.ptp(behind) == 0, "one axis all the while"
    assert stream.maker.axis is not None
    assert stream.maker.axis.resets == 0
    # What comes next is whole, on the same axis.
    e, edges = made(50, steps * 4_096 + 100 - WRAP_US, 64, 48)
    (p,) = stream.feed(Evt3Encoder(64, 48).encode(e, edges), host_ns + steps * 4_096_000)
    assert np.array_equal(p.events.t, e.t + WRAP_US + stream.maker.axis.shift_us)
    assert p.rejected.total == 0


def test_a_damaged_time_word_in_silence_moves_no_times() -> None:
    """What leaps is told of once the next word bears it out."""

    def told(damaged: bool) -> tuple[list[int], int]:
        stream, host_ns, out = Evt3Stream(f"leaps {damaged}", 64, 48), 10**12, []
        high = 100
        for k in range(40):
            high, host_ns = high + 3, host_ns + 3 * 4096 * 1000
            words = [0x8000 | high - 1, 0x8000 | (high ^ (1 << 8) if damaged and k == 20 else high)]
            if k in (0, 25, 35):
                words += [0x6009, 0x0005, 0x2007]
            out += stream.feed(np.array(words, "<u2").tobytes(), host_ns)
        assert stream.maker.axis is not None
        return [int(p.events.t[0] - out[0].events.t[0]) for p in out if len(p.events)], stream.maker.axis.resets

    sound = told(damaged=False)
    assert sound[1] == 0
    assert told(damaged=True) == sound


def test_a_rate_above_the_limiter_is_said() -> None:
    """The camera throws away in silence; that its limit was reached is counted."""
    busy, calm = sdk(events_per_s=100_000), sdk(events_per_s=10_000_000)
    for s in (busy, calm):
        encoder = Evt3Encoder(1280, 720)
        for k in range(100):
            s.take(NO_RING, encoder.encode(*made(500, 5000 * k)), 10**12 + 5_000_000 * k)
    assert busy.counters()["limited_tenths_of_s"] >= 4
    assert calm.counters()["limited_tenths_of_s"] == 0


def test_the_vendors_camera(vendor: FakeMetavision) -> None:
    c = opened(
        "metavision", biases={"diff_on": 12}, events_per_s=5_000_000,
        roi={"x": 1, "y": 2, "width": 30, "height": 40},
    )  # fmt: skip
    c.open()
    assert (c.info.width, c.info.height) == (1280, 720)
    assert vendor.triggers
    assert vendor.window == (1, 2, 30, 40)
    assert vendor.biases.values["bias_diff_on"] == 12
    assert vendor.rate == 5_000_000
    c.start()
    items = read_items(c, 4)
    # Two for each 300 events, however many of these have come by the time they are read.
    assert 150 * sum(len(p.triggers) for p in items) == sum(len(p.events) for p in items) > 0
    for name, value in (("bias_fo", 999), ("bias_fo", "x"), ("events_per_s", -1)):
        with pytest.raises(CameraError, match=name):
            c.command("set", {name: value})
    assert c.command("set", {"events_per_s": 0})["events_per_s"] == 0
    vendor.ended = True
    began = time.monotonic()
    with pytest.raises(CameraLost, match="unplugged"):
        while time.monotonic() - began < 5:
            c.read(0.1)
    c.close()


def test_the_vendors_limiter_at_work_is_counted(vendor: FakeMetavision) -> None:
    c = opened("metavision", events_per_s=1000)
    c.open()
    c.start()
    until = time.monotonic() + 20
    while not c.counters()["limited_tenths_of_s"]:
        assert time.monotonic() < until
        c.read(0.1)
    assert c.command("set", {"events_per_s": 0})["events_per_s"] == 0
    counted = c.counters()["limited_tenths_of_s"]
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        c.read(0.1)
    assert c.counters()["limited_tenths_of_s"] <= counted + 1  # one period may have been over by then
    c.close()


def test_the_vendors_camera_that_is_not_there(vendor: FakeMetavision) -> None:
    with pytest.raises(CameraError, match="no camera answers"):
        opened("metavision:999").open()
    vendor.serials = ()
    with pytest.raises(CameraError, match="no camera answers"):
        opened("metavision").open()


def test_the_vendors_camera_without_a_trigger_input(vendor: FakeMetavision) -> None:
    vendor.has_trigger = False
    with pytest.raises(CameraError, match="has no trigger input; set triggers = false"):
        opened("metavision").open()
    c = opened("metavision", triggers=False)
    c.open()
    assert not vendor.triggers
    c.close()
    assert vendor.stopped == 1


def test_the_vendors_camera_tells_the_time_while_nothing_moves(vendor: FakeMetavision) -> None:
    c = opened("metavision")
    c.open()
    c.start()
    before = read_items(c, 3)[-1]
    vendor.silent = True
    began = time.monotonic()
    quiet = [p for p in read_items(c, 30) if not len(p.events)]
    c.close()
    assert len(quiet) >= 20
    ends = [p.complete_until_us for p in quiet]
    assert ends[0] > before.complete_until_us
    assert ends == sorted(set(ends))
    took_us = (time.monotonic() - began) * 1e6
    assert abs((ends[-1] - before.complete_until_us) - took_us) < 0.3e6


def test_the_vendors_time_is_not_taken_where_it_is_not_that_of_the_events(vendor: FakeMetavision) -> None:
    vendor.ahead_us = 60_000_000
    c = opened("metavision")
    c.open()
    c.start()
    read_items(c, 3)
    vendor.silent = True
    until = time.monotonic() + 0.5
    found = []
    while time.monotonic() < until:
        found.append(c.read(0.05))
    assert all(p is None or len(p.events) for p in found)
    vendor.silent = False
    assert sum(p.rejected.total for p in read_items(c, 3)) == 0
    c.close()


def test_the_vendors_edges_cost_no_events(vendor: FakeMetavision) -> None:
    """Edges and events of one buffer are decoded together, whichever comes first."""
    c = opened("metavision", batch_us=100)
    c.open()
    c.start()
    items = read_items(c, 10)
    c.close()
    assert sum(p.rejected.total for p in items) == 0
    assert all(len(p.events) % 300 == 0 for p in items)
    assert all(np.all(p.triggers.t <= p.complete_until_us) for p in items)


@pytest.fixture(autouse=True)
def _no_earlier_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.axis._left", {})
