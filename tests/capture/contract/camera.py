"""The contract of one camera: life, both ways to read, capabilities, settings, what is left behind."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from capture.camera import Camera, CameraRole, EndOfStream
from capture.errors import CameraError, StaleError
from capture.packets import EventPacket, Frame, FrameClock

HANG_S = 20.0
"""A guard against hanging, not a figure of merit."""


@dataclass(frozen=True)
class CameraCase:
    """One camera to hold to the contract.

    Attributes:
        make: a new, closed camera of the same kind every time.
        items: how many items to read; a finite source has at least as many.
        values: for every listed setting a value that it takes.
        counts: the driver counts what it delivers and what is missing.
    """

    make: Callable[[], Camera[Any]]
    items: int = 12
    values: dict[str, Any] = field(default_factory=dict)
    counts: bool = False


def read_items(camera: Camera[Any], count: int) -> list[EventPacket | Frame]:
    """The next items in order, fewer at the end of a finite source."""
    got: list[EventPacket | Frame] = []
    deadline = time.monotonic() + HANG_S
    while len(got) < count and time.monotonic() < deadline:
        try:
            item = camera.read(0.5)
        except EndOfStream:
            break
        if item is not None:
            got.append(item)
    return got


def left_behind() -> dict[str, set[Any]]:
    """Threads, child processes, sockets and shared memory of this process now.

    Of /dev/shm only what carries this process's id: other processes (other tests) make segments meanwhile.
    """
    shm, fds = Path("/dev/shm"), Path("/proc/self/fd")
    names = os.listdir(shm) if shm.is_dir() else []
    sockets: set[str] = set()
    for fd in os.listdir(fds) if fds.is_dir() else []:
        with contextlib.suppress(OSError):  # listed, and closed since
            target = os.readlink(fds / fd)
            sockets |= {target} if target.startswith("socket:") else set()
    return {
        "threads": {t.ident for t in threading.enumerate()},
        "native threads": {t.id for t in psutil.Process().threads()},
        "processes": {p.pid for p in psutil.Process().children(recursive=True)},
        "sockets": sockets,
        "shared memory": {n for n in names if n.startswith(f"hm{os.getpid()}_")},
    }


def assert_nothing_left(before: dict[str, set[Any]], within_s: float = 1.0) -> None:
    """No more than there was before, soon. Counted: a test's own device may have begun anew meanwhile."""
    deadline = time.monotonic() + within_s
    while True:
        found = left_behind().items()
        more = {kind: now - before[kind] for kind, now in found if len(now) > len(before[kind])}
        if not more:
            return
        assert time.monotonic() < deadline, f"left behind: {more}"
        time.sleep(0.02)


class CameraContract:
    """The contract of `capture.camera.Camera`."""

    @pytest.fixture
    def camera(self, case: CameraCase) -> Iterator[Camera[Any]]:
        """The camera, open and started."""
        c = case.make()
        c.open()
        c.start(time.monotonic_ns())
        yield c
        c.close()

    def test_open_and_close_can_be_repeated(self, case: CameraCase) -> None:
        c = case.make()
        c.close()
        c.open()
        c.open()
        c.start(time.monotonic_ns())
        assert read_items(c, 1)
        c.stop()
        c.stop()
        c.close()
        c.close()

    def test_it_opens_again_after_close(self, case: CameraCase) -> None:
        c = case.make()
        for _ in range(2):
            c.open()
            c.start(time.monotonic_ns())
            assert len(read_items(c, 2)) == 2
            c.close()

    def test_a_closed_camera_says_so(self, case: CameraCase) -> None:
        with pytest.raises(CameraError):
            case.make().start(time.monotonic_ns())

    def test_progress_is_a_share(self, case: CameraCase) -> None:
        shares: list[float] = []
        c = case.make()
        c.open(shares.append)
        c.close()
        assert all(0.0 <= s <= 1.0 for s in shares)

    def test_info_is_the_truth_about_items(self, case: CameraCase, camera: Camera[Any]) -> None:
        info, cap = camera.info, camera.info.capabilities
        edges = 0
        for item in read_items(camera, case.items):
            if isinstance(item, EventPacket):
                assert info.role is CameraRole.EVENTS
                assert (item.events.width, item.events.height) == (info.width, info.height)
                edges += len(item.triggers)
            else:
                assert info.role is CameraRole.FRAMES
                assert (item.width, item.height) == (info.width, info.height)
                assert (item.clock is FrameClock.EVENT) == cap.event_clock
                if cap.exposure_stamps:
                    assert item.exposure_ns is not None
                    assert item.exposure_ns > 0
        assert cap.triggers or edges == 0

    def test_time_never_runs_back(self, case: CameraCase, camera: Camera[Any]) -> None:
        """Events, edges, stamps and arrival; and `complete_until_us` is kept by all that follows."""
        items = read_items(camera, case.items)
        assert len(items) == case.items
        until, event, edge, host, sequence, stamp = (-(2**62),) * 6
        for item in items:
            assert item.host_ns >= host
            assert item.host_ns <= time.monotonic_ns()
            host = item.host_ns
            if isinstance(item, EventPacket):
                if len(item.events):
                    assert item.events.t[0] >= max(event, until)
                    event = int(item.events.t[-1])
                if len(item.triggers):
                    assert item.triggers.t[0] >= max(edge, until)
                    edge = int(item.triggers.t[-1])
                assert item.complete_until_us >= until
                until = item.complete_until_us
            else:
                assert item.sequence > sequence
                sequence = item.sequence
                if item.device_end_ns is not None and item.device_start_ns is not None:
                    assert item.device_start_ns >= stamp
                    stamp = item.device_end_ns

    def test_nothing_is_lost_in_silence(self, case: CameraCase, camera: Camera[Any]) -> None:
        """A reader that keeps up gets every frame and hears of no loss."""
        items = read_items(camera, case.items)
        assert len(items) == case.items
        frames = [i.sequence for i in items if isinstance(i, Frame)]
        assert frames == [frames[0] + n for n in range(len(frames))]
        assert not any(i.gap for i in items[1:])
        packets = [i for i in items if isinstance(i, EventPacket)]
        assert [p.dropped for p in packets] == [0] * len(packets)
        assert camera.superseded == 0

    def test_counters_add_up(self, case: CameraCase, camera: Camera[Any]) -> None:
        """What the driver counts agrees with what was read, between any two moments."""
        first = read_items(camera, 3)
        before = camera.counters()
        assert bool(before) is case.counts, "a driver that counts says so in its case"
        if not before:
            pytest.skip("this driver counts nothing")
        second = read_items(camera, 3)
        after = camera.counters()
        assert after["delivered"] - before["delivered"] == len(second)
        if isinstance(first[-1], Frame) and isinstance(second[-1], Frame):
            missing = after["missing"] - before["missing"]
            assert second[-1].sequence - first[-1].sequence == len(second) + missing
        assert all(n >= 0 for n in after.values())

    def test_controls_are_settings_with_sound_bounds(self, case: CameraCase, camera: Camera[Any]) -> None:
        """What a viewer makes sliders and lists of."""
        cap = camera.info.capabilities
        names = [c.name for c in cap.controls]
        assert len(set(names)) == len(names)
        assert set(names) <= set(cap.settings)
        for c in cap.controls:
            if c.choices:
                assert c.value in c.choices
            elif not isinstance(c.value, bool):
                assert isinstance(c.value, int | float)
                low, high = c.minimum, c.maximum
                assert low is None or c.value >= low
                assert high is None or c.value <= high
        if names:
            now = camera.command("controls", {})
            assert {n: now[n]["name"] for n in now} == {n: n for n in names}

    def test_a_value_beyond_its_bounds_is_refused_with_the_bounds(
        self, case: CameraCase, camera: Camera[Any]
    ) -> None:
        for c in camera.info.capabilities.controls:
            if c.maximum is None or isinstance(c.value, bool | str):
                continue
            beyond = type(c.value)(2 * abs(c.maximum) + 1)
            with pytest.raises(CameraError, match=c.name):
                camera.command("set", {c.name: beyond})
            assert camera.command("controls", {})[c.name]["value"] == c.value
        assert read_items(camera, 1)

    def test_latest_is_the_newest_and_counts_what_it_passes_over(
        self, case: CameraCase, camera: Camera[Any]
    ) -> None:
        first = camera.read_latest(10.0, HANG_S)
        if not camera.info.capabilities.live:
            pytest.skip("it gives as fast as it is read: nothing is passed over")
        time.sleep(0.25)
        before = camera.superseded
        newest = camera.read_latest(10.0, HANG_S)
        passed = camera.superseded - before
        assert passed >= 1
        if isinstance(first, Frame) and isinstance(newest, Frame):
            assert newest.sequence - first.sequence == passed + 1

    def test_latest_says_when_nothing_is_new_enough(self, case: CameraCase, camera: Camera[Any]) -> None:
        read_items(camera, 1)
        camera.stop()
        with pytest.raises((StaleError, EndOfStream)):
            camera.read_latest(0.0, 0.02)

    def test_unknown_requests_are_refused(self, camera: Camera[Any]) -> None:
        with pytest.raises(CameraError):
            camera.command("no such request", {})

    def test_settings_are_what_is_listed(self, case: CameraCase, camera: Camera[Any]) -> None:
        names = camera.info.capabilities.settings
        assert set(case.values) == set(names), "the case must give a value for every listed setting"
        for name, value in case.values.items():
            answer = camera.command("set", {name: value})
            assert answer.get(name, value) == value, name
        if names:
            with pytest.raises(CameraError, match="nonsense"):
                camera.command("set", {"nonsense": 1})
        assert read_items(camera, 1)

    def test_faults_only_where_it_offers_them(self, camera: Camera[Any]) -> None:
        wanted = "nonsense" if camera.info.capabilities.faults else "stall"
        with pytest.raises(CameraError):
            camera.command("fault", {"kind": wanted})

    def test_stop_ends_a_read_that_waits(self, camera: Camera[Any]) -> None:
        raised: list[BaseException] = []

        def reader() -> None:
            try:
                while camera.read(HANG_S) is not None:
                    pass
            except EndOfStream:
                pass
            except BaseException as e:
                raised.append(e)

        thread = threading.Thread(target=reader)
        thread.start()
        time.sleep(0.05)
        camera.stop()
        thread.join(2.0)  # the contract's own limit
        assert not thread.is_alive()
        assert not raised

    def test_a_stopped_camera_gives_nothing_and_goes_on_when_started(
        self, case: CameraCase, camera: Camera[Any]
    ) -> None:
        def at(item: EventPacket | Frame) -> int:
            return item.complete_until_us if isinstance(item, EventPacket) else item.sequence

        before = read_items(camera, 2)
        time.sleep(0.05)  # a camera that reads ahead holds something by now
        camera.stop()
        assert camera.read(0.01) is None
        camera.start()
        after = read_items(camera, 2)
        assert at(after[0]) > at(before[-1])
        # What a live camera would have seen meanwhile is missing; a recording waits.
        assert [i.gap for i in after] == [camera.info.capabilities.live, False]

    def test_nothing_is_left_behind(self, case: CameraCase) -> None:
        def once() -> None:
            c = case.make()
            c.open()
            c.start(time.monotonic_ns())
            read_items(c, 2)
            c.close()

        once()  # what a library makes once for good (thread pools) is not ours
        before = left_behind()
        once()
        assert_nothing_left(before)
