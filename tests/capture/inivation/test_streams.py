"""The DAVIS code path over sockets: dv-processing's own servers, and servers that misbehave."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture import registry
from capture.camera import Camera, CameraRole
from capture.errors import CameraError, CameraLost, UsageError
from capture.packets import EventPacket, Events, Frame, FrameKind
from capture.simulated import aedat4_wire as wire
from capture.simulated import stream_server
from tests.capture.contract import read_items
from tests.capture.inivation import dv_writer
from tests.capture.inivation.player import Player
from tests.capture.inivation.server import ROOT, Naughty, free_ports


def opened(name: str, role: CameraRole = CameraRole.EVENTS, **settings: Any) -> Camera[Any]:
    d, config = registry.open_driver(name, settings)
    return d.event_camera(config) if role is CameraRole.EVENTS else d.frame_camera(config)


@pytest.fixture
def naughty() -> Iterator[Any]:
    made: list[Naughty] = []

    def make(*args: Any, **kw: Any) -> str:
        made.append(Naughty(*args, **kw))
        return f"aedat4-tcp:127.0.0.1:{made[-1].port}"

    yield make
    for n in made:
        n.end()


def test_everything_that_dv_processing_sends_arrives_exactly() -> None:
    """Events, frames with exposures, edges and inertial samples of dv-processing's own servers, compressed."""
    ports = free_ports(4)
    p = subprocess.Popen(
        [sys.executable, "-m", "tests.capture.inivation.dv_writer", *map(str, ports)], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        name = f"aedat4-tcp:127.0.0.1:{ports[0]}"
        settings = {
            "frames": ports[1],
            "triggers": ports[2],
            "imu": ports[3],
            "silent_s": 0,
            "edge_wait_ms": 200,
        }
        d, config = registry.open_driver(name, settings)
        both = d.pair(config)
        assert both is not None
        deadline = time.monotonic() + 20
        while True:
            try:
                both[0].open()
                break
            except CameraError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        both[1].open()
        both[0].start()
        both[1].start()
        packets: list[EventPacket] = []
        frames: list[Frame] = []
        while time.monotonic() < deadline and (len(frames) < 40 or sum(len(q.events) for q in packets) < 2000):
            if (q := both[0].read(0.01)) is not None:
                packets.append(q)
            if (f := both[1].read(0.0)) is not None:
                frames.append(f)
        imu = both[0].command("imu", {})
        state = both[0].command("state", {})
        for c in both:
            c.close()
    finally:
        p.kill()
        p.wait()
    expected = [e for step in range(40) for e in dv_writer.events_of(step)]
    ev = Events.concatenate([q.events for q in packets])
    assert [
        tuple(r) for r in zip(ev.t.tolist(), ev.x.tolist(), ev.y.tolist(), ev.p.tolist(), strict=True)
    ] == expected
    edges = [
        (t, up)
        for q in packets
        for t, up in zip(q.triggers.t.tolist(), q.triggers.rising.tolist(), strict=True)
    ]
    starts = [dv_writer.BEGIN_US + k * dv_writer.STEP_US for k in range(40)]
    assert edges == list(itertools.chain.from_iterable(((t + 10, True), (t + 20, False)) for t in starts))
    assert [f.device_start_ns for f in frames] == [1000 * t for t in starts]
    assert all(f.exposure_ns == 4_000_000 and f.kind is FrameKind.SENSOR for f in frames)
    assert [int(f.image[0, 0]) for f in frames] == list(range(40))
    assert imu["samples"] == 40
    assert imu["newest"][-1]["acceleration_g"] == pytest.approx([0.1, 0.2, 0.9])
    assert state["marks"] == 40
    assert state["serial"] == "DV1"


@pytest.mark.parametrize(
    ("data", "close", "text"),
    [
        (b"", False, "sent no stream header"),
        (os.urandom(65536), False, "no AEDAT4 stream"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50, False, "no AEDAT4 stream"),
        (b"\xff\x00\x00\x00" + bytes(300), False, "no AEDAT4 stream"),
        (b"", True, "closed the connection"),
        (wire.head("TRIG", "X_1"), False, "sends triggers, not events"),
        (wire.head("EVTS", "X_1", (0, 0)), False, "header is damaged"),
        (wire.head("EVTS", "X_1", (346, 260))[:200], False, "sent no stream header"),
    ],
    ids=["silent", "garbage", "http", "zeros", "closing", "other-stream", "no-size", "half-a-header"],
)
def test_a_server_that_is_none_is_told_in_one_line(naughty: Any, data: bytes, close: bool, text: str) -> None:
    c = opened(naughty(data, close=close))
    began = time.monotonic()
    with pytest.raises(CameraError, match=text) as e:
        c.open()
    assert "\n" not in str(e.value)
    assert time.monotonic() - began < 4.0
    c.close()


def test_nobody_listens() -> None:
    with pytest.raises(CameraError, match="connection refused"):
        opened(f"aedat4-tcp:127.0.0.1:{free_ports(1)[0]}").open()
    with pytest.raises(CameraError, match="cannot be reached"):
        opened("aedat4-unix:/nowhere/at.all").open()


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("aedat4-tcp:127.0.0.1", {}, "HOST:PORT"),
        ("aedat4-tcp:127.0.0.1:99999", {}, "HOST:PORT"),
        ("aedat4-tcp:127.0.0.1:7777", {"frames": 7777}, "same address"),
        ("aedat4-tcp:127.0.0.1:7777", {"edge_wait_ms": -1}, "edge_wait_ms"),
        ("aedat4-tcp:127.0.0.1:7777?frame=7778", {}, "did you mean 'frames'"),
        ("davis346:not a serial", {}, "serial"),
        ("davis346", {"exposure_us": 0}, "exposure_us"),
    ],
)
def test_wrong_names_and_settings(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        registry.open_driver(name, settings)


@pytest.fixture
def player() -> Iterator[Player]:
    p = Player()
    yield p
    p.end()


def connected(player: Player, **settings: Any) -> Camera[Any]:
    """The camera, once both its streams are followed."""
    c = opened(player.name, **player.settings, **settings)
    c.open()
    c.start()
    deadline = time.monotonic() + 5
    while 0 in player.clients() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    return c


def read_events(camera: Camera[Any], count: int) -> list[EventPacket]:
    """Packets until so many events have come."""
    got: list[EventPacket] = []
    while sum(len(p.events) for p in got) < count:
        items = read_items(camera, 1)
        assert items, "no more came"
        got += [p for p in items if isinstance(p, EventPacket)]
    return got


def test_a_clock_that_is_reset_goes_on_and_is_marked(player: Player) -> None:
    c = connected(player, edge_wait_ms=500)
    player.send(5_000_000)
    player.send(5_001_000)
    before = read_items(c, 2)
    time.sleep(0.05)
    player.edge(100)
    player.send(0)
    player.send(1_000)
    after = read_events(c, 20)
    c_state = c.command("state", {})
    c.close()
    t = np.concatenate([p.events.t for p in (*before, *after)])
    assert len(t) == 40
    assert bool((np.diff(t) >= 0).all())
    assert not any(p.gap for p in before)
    assert sum(p.gap for p in after) == 1
    assert c_state["clock_resets"] == 1
    edge = next(p.triggers.t[0] for p in after if len(p.triggers))
    new = np.concatenate([p.events.t for p in after])
    assert int(edge - new[0]) == 100  # edges and events moved alike
    assert 30_000 < new[0] - t[19] < 2_000_000  # by the host time that has passed


def test_a_reset_inside_a_packet(player: Player) -> None:
    c = connected(player)
    player.put([7_000_000, 7_000_100, 50, 150])
    first, second = read_items(c, 2)
    c.close()
    assert len(first.events) == len(second.events) == 2
    assert second.gap
    assert second.events.t[0] > first.events.t[-1]


def test_disorder_and_pixels_outside_are_refused_and_counted(player: Player) -> None:
    c = connected(player)
    player.put([1000, 1100, 1050, 1200], [1, 64, 2, 65535])
    (p,) = read_items(c, 1)
    c.close()
    assert p.events.t.tolist() == [1000, 1050]
    assert p.rejected.outside == 2


def test_an_edge_that_comes_late_waits_or_is_counted(player: Player) -> None:
    c = connected(player, edge_wait_ms=500)
    player.send(1_000_000)
    time.sleep(0.02)
    player.edge(1_000_050)  # earlier than what was sent before it, within the wait
    got = read_events(c, 10)
    assert [t for p in got for t in p.triggers.t.tolist()] == [1_000_050]
    c.command("set", {"edge_wait_ms": 0})
    player.send(2_000_000)
    assert len(read_items(c, 1)) == 1
    player.edge(1_999_000)  # too late
    late = read_items(c, 1)
    c.close()
    assert len(late[0].triggers) == 0
    assert late[0].rejected.decreasing == 1


def test_a_server_that_falls_silent_is_lost(player: Player) -> None:
    c = connected(player, silent_s=0.4)
    player.send(1000)
    read_items(c, 1)
    began = time.monotonic()
    with pytest.raises(CameraLost, match=r"nothing for 0\.4 s"):
        while time.monotonic() - began < 5:
            c.read(0.05)
    c.close()


def test_every_packet_before_the_end_and_then_the_loss(player: Player) -> None:
    """dv-processing throws away what nobody has read when a connection ends, so it is read all the time."""
    c = connected(player, edge_wait_ms=0)
    for k in range(50):
        player.send(1000 * (k + 1))
    items = read_items(c, 50)
    player.close_streams()
    with pytest.raises(CameraLost, match="closed the stream"):
        while True:
            c.read(0.05)
    c.close()
    assert sum(len(p.events) for p in items) == 500


def test_settings_are_read_back(player: Player) -> None:
    c = connected(player)
    assert c.command("set", {"edge_wait_ms": 7})["edge_wait_ms"] == 7
    for bad in (-1, 1001, "many", True):
        with pytest.raises(CameraError, match="edge_wait_ms"):
            c.command("set", {"edge_wait_ms": bad})
    assert c.command("state", {})["settings"] == {"edge_wait_ms": 7}
    c.close()


def test_a_camera_without_frames_says_so(player: Player) -> None:
    with pytest.raises(CameraError, match="no frames"):
        opened(player.name, CameraRole.FRAMES, **player.settings)


def test_a_slow_client_is_disconnected_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_server, "LONGEST_QUEUE", 1 << 20)
    server = stream_server.StreamServer(("127.0.0.1", 0), b"head")
    s = socket.create_connection(server.address)  # type: ignore[arg-type]
    deadline = time.monotonic() + 10
    while not server.clients_lost and time.monotonic() < deadline:
        server.send(bytes(1 << 18))
        time.sleep(0.001)
    s.close()
    server.close()
    assert server.clients_lost == 1


def test_a_socket_that_was_left_is_replaced_one_in_use_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    server = stream_server.StreamServer(path, b"head")
    with pytest.raises(CameraError, match="cannot listen"):
        stream_server.StreamServer(path, b"head")
    server.close()
    assert not Path(path).exists()


@pytest.mark.parametrize("host", ["a..b", f"{64 * 'x'}.local"])
def test_a_host_that_cannot_be_one_is_one_line(host: str) -> None:
    with pytest.raises(CameraError, match="cannot be reached"):
        opened(f"aedat4-tcp:{host}:7777").open()
