"""The camera worker's logic, in this process with a scripted link. As a process: tests/app."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.camera import CameraState, Capabilities
from capture.codec import StreamEnd, split
from capture.errors import CameraError, CameraLost, UsageError
from capture.messages import Command
from capture.packets import EventPacket, Frame, Rejected, TriggerEdges
from capture.ring import ItemTooLarge, RingLayout, RingMemory, RingReader, RingRef
from capture.worker import EPOCHS_A_LIFE, CameraWorkerSpec, run_camera_worker
from tests.capture import toy
from tests.capture.fake_link import FakeLink

FAST = {"period_s": 0.0}


class Rig:
    def __init__(self) -> None:
        self.rings: dict[str, RingMemory] = {}
        self.readers: dict[str, RingReader] = {}

    def ring(self, label: str, arena: int = 1 << 18, slots: int = 512, lossless: Any = ()) -> RingRef:
        m = self.rings[label] = RingMemory.create(RingLayout(label, arena, slots, ("r",), lossless))
        ref = RingRef(m.name, label)
        self.readers[label] = RingReader(ref, "r")
        return ref

    def packets(self, label: str) -> list[Any]:
        out = []
        while (item := self.readers[label].read()) is not None:
            out.append(item.packet())
        return out


@pytest.fixture
def rig() -> Iterator[Rig]:
    r = Rig()
    yield r
    for reader in r.readers.values():
        reader.close()
    for m in r.rings.values():
        m.close()


def run(link: FakeLink, **spec: Any) -> None:
    spec = {"camera": "toy", "drivers": toy.DRIVERS, "settings": FAST, "reopen_s": (0.01, 0.02), **spec}
    run_camera_worker(link, CameraWorkerSpec(**spec))  # type: ignore[arg-type]


def stop_after_end(link: FakeLink) -> None:
    link.stopping |= link.said[-1:] == [(CameraState.RUNNING, "end")]


def test_every_item_in_order_and_then_the_end(rig: Rig) -> None:
    link = FakeLink(stop_after_end)
    run(link, events=rig.ring("events"), settings={**FAST, "count": 30})
    got = rig.packets("events")
    assert [p.complete_until_us for p in got[:-1]] == [1000 * (n + 1) for n in range(30)]
    assert got[-1] == StreamEnd(0)
    assert not any(p.gap for p in got[:-1])
    assert [s for s, _ in link.said] == [CameraState.STARTING] * (len(link.said) - 2) + [
        CameraState.RUNNING
    ] * 2
    assert link.figures["items"] == 30
    assert link.figures["events"] == 120
    assert link.published[0][0] == "cameras"


def test_what_was_lost_in_the_camera_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that it dropped or that were refused, and frames missing in its numbers; not what a jump is."""
    packets, frames = toy.event_packet, toy.frame

    def some_lost(n: int, *more: Any) -> EventPacket:
        return replace(
            packets(n, *more), dropped=5 * (n == 3), rejected=Rejected(1, 2) if n == 7 else Rejected()
        )

    def some_missing(n: int, epoch: int = 0) -> Frame:
        return replace(frames(n, epoch), sequence=n + 4 * (n >= 2) + (n >= 6))

    monkeypatch.setattr(toy, "event_packet", some_lost)
    monkeypatch.setattr(toy, "frame", some_missing)
    for stream, lost in (("events", 8), ("frames", 5)):
        link = FakeLink(stop_after_end)
        run(link, settings={**FAST, "count": 12}, **{stream: rig.ring(stream)})
        assert (link.figures["items"], link.figures["dropped"]) == (12, lost)


def test_a_lost_camera_is_opened_again_and_the_gap_is_marked(rig: Rig) -> None:
    step = iter(range(10**6))

    def script(link: FakeLink) -> None:
        n = next(step)
        if n == 20:
            link.commands.append(Command(number=1, verb="fault", arguments={"kind": "lose"}))
        again = [s for s, _ in link.said].count(CameraState.RUNNING) == 2
        link.stopping |= again and link.figures["items"] >= 30

    link = FakeLink(script)
    run(link, events=rig.ring("events"))
    got = rig.packets("events")
    gaps = [i for i, p in enumerate(got) if p.gap]
    assert len(gaps) == 1
    assert 0 < gaps[0] < len(got) - 1
    assert (CameraState.FAULTED, "toy: unplugged; plug it in again") in link.said
    assert (CameraState.STARTING, "toy: opening") in link.said
    assert (CameraState.STARTING, "toy: unplugged; plug it in again") in link.said  # while it is tried again
    assert link.said[-1] == (CameraState.RUNNING, "")
    assert link.replies == [(1, {}, "")]


def test_a_camera_that_is_not_there_yet_is_waited_for(rig: Rig, tmp_path: Path) -> None:
    plug = tmp_path / "plugged in"

    def script(link: FakeLink) -> None:
        if link.said[-1][0] is CameraState.FAULTED:
            if not link.replies:
                link.commands.append(Command(number=7, verb="echo"))
            else:
                plug.touch()
        link.stopping |= link.said[-1][0] is CameraState.RUNNING

    link = FakeLink(script)
    run(link, events=rig.ring("events"), settings={**FAST, "missing": str(plug)})
    assert (CameraState.FAULTED, "toy: no such camera; plug it in") in link.said
    assert link.said[-1][0] is CameraState.RUNNING
    assert link.replies[0] == (7, {}, "toy: no such camera; plug it in")


def test_a_restarted_worker_marks_the_gap(rig: Rig) -> None:
    link = FakeLink(stop_after_end, incarnation=1)
    run(link, events=rig.ring("events"), settings={**FAST, "count": 3})
    assert [p.gap for p in rig.packets("events")[:-1]] == [True, False, False]


def test_what_cannot_be_mended_by_trying_again_is_raised(rig: Rig) -> None:
    link = FakeLink(lambda _: None)
    with pytest.raises(UsageError, match=r"known: .*toy"):
        run(link, events=rig.ring("events"), camera="tyo")
    with pytest.raises(UsageError, match="toy: perido_s"):
        run(link, frames=rig.ring("frames"), settings={"perido_s": 1})
    with pytest.raises(UsageError, match="no ring"):
        run(link)


def test_a_frame_that_does_not_fit_is_refused_by_name(rig: Rig) -> None:
    link = FakeLink(lambda _: None)
    # One page holds the toy's frames of 192 bytes; its event packets are cut instead.
    big = rig.ring("frames", arena=1)

    class Big(toy.ToyCamera):
        def read(self, timeout_s: float) -> Any:
            f = super().read(timeout_s)
            return Frame(np.zeros((99, 99), np.uint8), f.layout, f.sequence, None, None, f.clock)

    class BigDriver(toy.ToyDriver):
        def frame_camera(self, config: Any) -> Any:
            return Big(toy.CameraRole.FRAMES, config)

    toy.BIG = BigDriver()  # type: ignore[attr-defined]
    with pytest.raises(ItemTooLarge, match="'frames'"):
        run(link, frames=big, drivers={"toy": "tests.capture.toy:BIG"})


def test_a_burst_that_would_fill_the_ring_comes_in_parts_that_say_the_same(rig: Rig) -> None:
    link = FakeLink(stop_after_end)
    run(link, events=rig.ring("events", arena=1 << 14), settings={**FAST, "count": 1, "events": 900})
    got = rig.packets("events")[:-1]
    assert len(got) == 3
    assert np.array_equal(np.concatenate([p.events.t for p in got]), toy.event_packet(0, 900).events.t)


def test_parts_of_a_packet_promise_only_what_has_come() -> None:
    p = toy.event_packet(0, 100)
    p = EventPacket(
        p.events, TriggerEdges(np.array([3, 50]), np.array([True, False])), 150, 9, 5, True, Rejected(1, 2), 4
    )
    parts = split(p, 13 * 30)
    assert [len(q.events) for q in parts] == [30, 30, 30, 10]
    for q, after in itertools.pairwise(parts):
        later = [after.events.t[0], *(e for part in parts[parts.index(after) :] for e in part.triggers.t)]
        assert q.complete_until_us <= min(later)
    assert [q.complete_until_us for q in parts][-1] == 150
    assert [q.dropped for q in parts] == [5, 0, 0, 0]
    assert [q.gap for q in parts] == [True, False, False, False]
    assert sum((q.rejected for q in parts), Rejected()) == Rejected(1, 2)
    assert {(q.epoch, q.host_ns) for q in parts} == {(4, 9)}
    assert split(p, 1 << 20) == [p]


def end_of(p: Any) -> int:
    return int(p.complete_until_us if isinstance(p, EventPacket) else p.device_end_ns // 1000)


def test_a_pair_writes_a_frame_behind_the_events_of_its_exposure(rig: Rig) -> None:
    order: list[tuple[str, int]] = []
    refs = {k: rig.ring(k) for k in ("events", "frames")}

    def script(link: FakeLink) -> None:
        for label in refs:
            order.extend((label, end_of(p)) for p in rig.packets(label) if not isinstance(p, StreamEnd))
        stop_after_end(link)

    link = FakeLink(script)
    run(link, **refs, settings={**FAST, "count": 20})
    assert sorted(t for k, t in order if k == "frames") == [1000 * (n + 1) for n in range(20)]
    until = 0
    for label, t in order:
        if label == "events":
            until = t
        else:
            assert t <= until


def test_a_frame_held_back_is_not_kept_when_the_events_pause(rig: Rig) -> None:
    refs = {k: rig.ring(k) for k in ("events", "frames")}

    def script(link: FakeLink) -> None:
        link.stopping |= rig.readers["frames"].waiting >= 3

    link = FakeLink(script)
    toy.LATE = _late_events()  # type: ignore[attr-defined]
    run(link, **refs, drivers={"toy": "tests.capture.toy:LATE"})
    assert len(rig.packets("frames")) >= 3


def _late_events() -> Any:
    class Late(toy.ToyCamera):
        def read(self, timeout_s: float) -> Any:
            return super().read(timeout_s) if self.n == 0 else None

    class Driver(toy.ToyDriver):
        def event_camera(self, config: Any) -> Any:
            return Late(toy.CameraRole.EVENTS, config)

    return Driver()


def test_a_silent_camera_says_what_it_waits_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pulsed(toy.ToyCamera):
        def waits_for(self) -> str:
            return "it waits for pulses at Line0"

        def read(self, timeout_s: float) -> Any:
            if self.kind != "pulse":
                time.sleep(timeout_s)
                return None
            self.kind = ""
            return super().read(timeout_s)

    class Driver(toy.ToyDriver):
        def frame_camera(self, config: Any) -> Any:
            return Pulsed(toy.CameraRole.FRAMES, config)

    def script(link: FakeLink) -> None:
        said = [text for state, text in link.said if state is CameraState.RUNNING and text]
        if said and not link.replies:
            link.commands.append(Command(number=1, verb="fault", arguments={"kind": "pulse"}))
        link.stopping |= bool(said) and link.said[-1] == (CameraState.RUNNING, "")

    monkeypatch.setattr("capture.worker.SILENT_S", 0.2)
    toy.PULSED = Driver()  # type: ignore[attr-defined]
    link = FakeLink(script)
    run(link, frames=rig.ring("frames"), drivers={"toy": "tests.capture.toy:PULSED"})
    said = " ".join(text for state, text in link.said if state is CameraState.RUNNING)
    assert re.search(r"no frame for \d s: it waits for pulses at Line0", said)


def test_a_command_at_the_end_sets_the_stream_going_again(rig: Rig) -> None:
    def script(link: FakeLink) -> None:
        at_end = link.said[-1:] == [(CameraState.RUNNING, "end")]
        if at_end and not link.replies:
            link.commands.append(Command(number=1, verb="rewind"))
        link.stopping |= at_end and link.figures["items"] == 6

    link = FakeLink(script)
    run(link, events=rig.ring("events"), settings={**FAST, "count": 3})
    got = rig.packets("events")
    assert [p.epoch for p in got] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [i for i, p in enumerate(got) if isinstance(p, StreamEnd)] == [3, 7]


def test_commands_are_answered_with_the_result_or_the_error(rig: Rig) -> None:
    script = iter(
        [
            Command(number=1, verb="echo", arguments={"a": [1, 2]}),
            Command(number=2, verb="nonsense"),
            Command(number=3, verb="echo", target="frames"),
            Command(number=4, verb="fault"),  # the toy's own KeyError
        ]
    )

    def each(link: FakeLink) -> None:
        if link.said[-1][0] is CameraState.RUNNING:
            c = next(script, None)
            link.commands += [c] if c else []
            link.stopping |= c is None

    link = FakeLink(each)
    run(link, events=rig.ring("events"))
    assert link.replies[0] == (1, {"a": [1, 2], "epoch_ns": 1}, "")
    assert "does not know the request 'nonsense'" in link.replies[1][2]
    assert "no camera 'frames'" in link.replies[2][2]
    assert link.replies[3][2] == "KeyError: 'kind'"


def test_the_worker_waits_for_a_slow_lossless_reader_and_can_still_be_stopped(rig: Rig) -> None:
    def script(link: FakeLink) -> None:
        if link.said[-1] == (CameraState.RUNNING, "waiting for 'r'"):
            if len(got) < 40:
                got.extend(rig.packets("events"))
            else:
                link.stopping = True

    got: list[Any] = []
    link = FakeLink(script)
    run(link, events=rig.ring("events", slots=8, lossless=("r",)), lossless_wait_s=0.001)
    got += rig.packets("events")
    assert [p.complete_until_us for p in got] == [1000 * (n + 1) for n in range(len(got))]
    assert rig.rings["events"].stats().reader("r").lost == 0


@pytest.mark.parametrize("lost", [True, False])
def test_a_damaged_recording_stays_open_a_damaged_camera_does_not(rig: Rig, lost: bool) -> None:
    class Damaged(toy.ToyCamera):
        opened = 0

        def open(self, progress: Any = None) -> None:
            Damaged.opened += 1
            self.info = replace(self.info, capabilities=Capabilities(live=False))

        def read(self, timeout_s: float) -> Any:
            if self.n == 2:
                raise CameraLost("gone") if lost else CameraError("bytes 10 to 20 are damaged")
            return super().read(timeout_s)

    class Driver(toy.ToyDriver):
        def event_camera(self, config: Any) -> Any:
            return Damaged(toy.CameraRole.EVENTS, config)

    def script(link: FakeLink) -> None:
        if (CameraState.FAULTED, "bytes 10 to 20 are damaged") in link.said and not link.replies:
            link.commands.append(Command(number=1, verb="rewind"))
        link.stopping |= link.figures.get("items") == 4

    toy.DAMAGED = Driver()  # type: ignore[attr-defined]
    run(FakeLink(script), events=rig.ring("events"), drivers={"toy": "tests.capture.toy:DAMAGED"})
    assert Damaged.opened == (2 if lost else 1)
    assert [type(p) for p in rig.packets("events")].count(StreamEnd) == (
        0 if lost else 2
    )  # it meets the damage again


def test_a_restarted_pair_gives_epochs_that_were_not_there_before(rig: Rig) -> None:
    """A replay that is started again counts from 0; taken for old, all of it would be thrown away."""
    ends = iter(range(10**6))
    link = FakeLink(lambda link: setattr(link, "stopping", next(ends) > 200), incarnation=2)
    run(link, events=rig.ring("events"), frames=rig.ring("frames"), settings={**FAST, "count": 3})
    got = [p for name in ("events", "frames") for p in rig.packets(name)]
    assert len(got) == 8
    assert {p.epoch for p in got} == {2 * EPOCHS_A_LIFE}
