"""The contract of a camera that is unplugged, plugged in again, or whose SDK hangs; with its worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from capture.camera import Camera, CameraRole, CameraState
from capture.errors import CameraError, CameraLost
from capture.messages import Command
from capture.packets import EventPacket
from capture.ring import RingLayout, RingMemory, RingReader, RingRef
from capture.worker import CameraWorkerSpec, run_camera_worker
from tests.capture.contract.camera import HANG_S, assert_nothing_left, left_behind, read_items
from tests.capture.fake_link import FakeLink

Ask = Callable[[str, dict[str, Any]], Any]

NOTICED_S = 1.0
BACK_S = 5.0
STOP_S = 2.0


@dataclass(frozen=True)
class Plug:
    """A camera that a test can unplug.

    Attributes:
        make: a new, closed camera of the same kind every time.
        camera, settings, drivers: for `CameraWorkerSpec`: the same camera by its name.
        pull: take the plug out; its argument sends a request to the camera, for those that are asked to go.
        put_back: put it in again.
        role: which stream it gives.
        hang: from now on the SDK's calls hang (until `put_back`); None where there is no SDK that could.
        missed_s: how long the camera may be silent by itself (N frame periods), when that is over a second.
        gone_s: how long what is left of a lost camera may take to go (an SDK's own time limits).
    """

    make: Callable[[], Camera[Any]]
    camera: str
    pull: Callable[[Ask], None]
    put_back: Callable[[], None]
    role: CameraRole = CameraRole.FRAMES
    settings: Mapping[str, Any] = field(default_factory=dict)
    drivers: Mapping[str, str] = field(default_factory=dict)
    hang: Callable[[], None] | None = None
    missed_s: float = 0.0
    gone_s: float = 1.0

    @property
    def noticed_s(self) -> float:
        """Within which it must be noticed."""
        return max(NOTICED_S, self.missed_s)


class UnplugContract:
    """What happens when a camera goes away."""

    def test_it_is_noticed_within_a_second(self, plug: Plug) -> None:
        c = plug.make()
        c.open()
        c.start(time.monotonic_ns())
        assert len(read_items(c, 3)) == 3
        plug.pull(c.command)
        began = time.monotonic()
        with pytest.raises(CameraLost) as lost:
            while time.monotonic() - began < HANG_S:
                c.read(0.05)
        # What had arrived before is handed on first; the time runs from the plug.
        assert time.monotonic() - began < plug.noticed_s
        assert "\n" not in str(lost.value)
        with pytest.raises(CameraLost):
            c.read(0.01)
        began = time.monotonic()
        c.stop()
        c.close()
        assert time.monotonic() - began < STOP_S
        plug.put_back()

    def test_it_opens_again_when_it_is_back(self, plug: Plug) -> None:
        c = plug.make()
        c.open()
        c.start(time.monotonic_ns())
        read_items(c, 2)
        plug.pull(c.command)
        with pytest.raises(CameraLost):
            while True:
                c.read(0.05)
        c.close()
        plug.put_back()
        began = time.monotonic()
        while True:
            try:
                c.open()
                break
            except CameraError as e:
                why = str(e)
            assert "\n" not in why
            assert time.monotonic() - began < BACK_S, why
            time.sleep(0.1)
        c.start(time.monotonic_ns())
        assert read_items(c, 1)
        assert time.monotonic() - began < BACK_S
        c.close()

    def test_nothing_is_left_of_a_lost_camera(self, plug: Plug) -> None:
        c = plug.make()
        c.open()
        c.start(time.monotonic_ns())
        read_items(c, 1)
        c.close()
        before = left_behind()
        c.open()
        c.start(time.monotonic_ns())
        read_items(c, 1)
        plug.pull(c.command)
        with pytest.raises(CameraLost):
            while True:
                c.read(0.05)
        c.close()
        plug.put_back()
        assert_nothing_left(before, plug.gone_s)

    def test_a_hung_call_does_not_hold_up_stop(self, plug: Plug) -> None:
        if plug.hang is None:
            pytest.skip("no call of this driver can be made to hang")
        c = plug.make()
        c.open()
        c.start(time.monotonic_ns())
        read_items(c, 1)
        names = c.info.capabilities.settings
        plug.hang()

        raised: list[BaseException] = []

        def ask() -> None:
            try:
                c.command("set", {names[0]: 5000.0})
            except BaseException as e:
                raised.append(e)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.1)
        began = time.monotonic()
        c.stop()
        c.close()
        assert time.monotonic() - began < STOP_S
        plug.put_back()
        thread.join(HANG_S)
        assert not thread.is_alive()
        assert all(isinstance(e, CameraError) for e in raised), raised

    def test_the_worker_says_so_and_has_it_back(self, plug: Plug) -> None:
        """FAULTED with a text, RUNNING within 5 s of the plug; the stream's break is marked."""
        told = _run_worker(plug)
        assert told.faulted_at - told.pulled_at < plug.noticed_s + 0.5  # and a turn of the worker
        assert told.fault
        assert "\n" not in told.fault
        assert told.back_at - told.put_back_at < BACK_S
        gaps = [k for k, i in enumerate(told.items) if i.gap]
        assert len(gaps) == 1
        assert gaps[0] > 0
        until = [i.complete_until_us for i in told.items[gaps[0] :] if isinstance(i, EventPacket)]
        assert until == sorted(until)


@dataclass
class _Told:
    """When things happened in a worker (`time.monotonic`), and what it wrote."""

    pulled_at: float = 0.0
    faulted_at: float = 0.0
    put_back_at: float = 0.0
    back_at: float = 0.0
    fault: str = ""
    items: list[Any] = field(default_factory=list)


def _run_worker(plug: Plug) -> _Told:
    memory = RingMemory.create(RingLayout("items", 64 << 20, 512, ("test",)))
    ref = RingRef(memory.name, "items")
    reader = RingReader(ref, "test")
    told = _Told()
    before = 0

    def script(link: FakeLink) -> None:
        nonlocal before
        now, state = time.monotonic(), link.said[-1][0] if link.said else CameraState.STARTING
        while (item := reader.read()) is not None:
            told.items.append(item.packet())
        if not told.pulled_at and len(told.items) >= 5:
            plug.pull(
                lambda verb, arguments: link.commands.append(Command(number=1, verb=verb, arguments=arguments))
            )
            told.pulled_at = now
        elif told.pulled_at and not told.faulted_at and state is CameraState.FAULTED:
            told.faulted_at, told.fault = now, link.said[-1][1]
            plug.put_back()
            told.put_back_at, before = now, len(told.items)
        elif told.faulted_at and state is CameraState.RUNNING and len(told.items) > before + 2:
            told.back_at = now
            link.stopping = True
        link.stopping |= now - began > 2 * HANG_S

    spec = CameraWorkerSpec(
        plug.camera, plug.settings, drivers=plug.drivers,
        **{plug.role.value: ref},  # type: ignore[arg-type]
    )  # fmt: skip
    began = time.monotonic()
    link = FakeLink(script, polls=10**9)
    link.epoch_ns = time.monotonic_ns()
    try:
        run_camera_worker(link, spec)  # type: ignore[arg-type]
    finally:
        reader.close()
        memory.close()
    assert told.back_at, f"it did not come back; the last fault was {told.fault!r}"
    return told
