"""A stream that turns into garbage while it runs: the capture process may die of it, the program does not."""

from __future__ import annotations

import os
import time

from app.supervisor import Supervisor, WorkerPlan
from capture.camera import CameraState
from capture.packets import EventPacket
from capture.ring import RingLayout, RingReader
from capture.worker import CameraWorkerSpec, run_camera_worker
from tests.capture.inivation.player import Player


def test_garbage_in_mid_stream_ends_at_most_the_worker_and_stop_is_quick() -> None:
    player = Player()
    try:
        with Supervisor() as s:
            ring = s.create_ring(RingLayout("events", 16 << 20, 512, readers=("test",)))
            spec = CameraWorkerSpec(player.name, player.settings, events=ring)
            s.add(WorkerPlan("events", run_camera_worker, spec))
            s.start()
            reader = RingReader(ring, "test")
            got: list[EventPacket] = []

            def until(count: int, first_us: int) -> bool:
                """Events are sent until `count` packets more have come through."""
                want, deadline, t = len(got) + count, time.monotonic() + 80, first_us
                while len(got) < want and time.monotonic() < deadline:
                    player.send(t)
                    t += 2000
                    time.sleep(0.05)
                    s.poll()
                    while (item := reader.read()) is not None:
                        packet = item.packet()
                        if isinstance(packet, EventPacket) and len(packet.events):
                            got.append(packet)
                return len(got) >= want

            assert until(5, 1_000_000)
            # A packet's head that announces more than there is, then noise: whatever dv-processing makes of it.
            player.garbage(b"\x00\x00\x00\x00\xff\xff\x00\x00" + os.urandom(100_000))
            assert until(5, 200_000_000), s.statuses()
            assert any(p.gap for p in got[5:])
            (status,) = s.statuses()
            assert status.state is CameraState.RUNNING
            reader.close()
            began = time.monotonic()
        assert time.monotonic() - began < 2.5  # the contract's 2 s, and the thread that saw to it
    finally:
        player.end()
