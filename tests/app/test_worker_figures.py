"""What the restore and the preview worker say of themselves, run in this process with a scripted link."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app import preview_worker
from app.preview_worker import NOTHING, VIEW, PreviewSpec, run_preview_worker
from capture.messages import Command
from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout, TriggerEdges
from capture.ring import Item, RingLayout, RingMemory, RingReader, RingRef, RingWriter
from inference.restore_stage import RestoreStage
from inference.worker import RestoreWorkerSpec, run_restore_worker
from tests.capture.fake_link import FakeLink
from tests.inference.restorers.rigs import one_grid

RIG = one_grid(16, 12)


class Rings:
    """Rings by name, each with a writer or a reader of its own."""

    def __init__(self) -> None:
        self.memories: list[RingMemory] = []
        self.ends: list[Any] = []

    def ring(self, name: str, reader: str, slots: int = 64) -> RingRef:
        self.memories.append(RingMemory.create(RingLayout(name, 1 << 20, slots, (reader,))))
        return RingRef(self.memories[-1].name, name)

    def writer(self, ref: RingRef) -> RingWriter:
        self.ends.append(RingWriter(ref, lease_wait_s=0.0))
        return self.ends[-1]

    def reader(self, ref: RingRef, name: str) -> RingReader:
        self.ends.append(RingReader(ref, name))
        return self.ends[-1]


@pytest.fixture
def rings() -> Iterator[Rings]:
    made = Rings()
    yield made
    for end in made.ends:
        end.close()
    for m in made.memories:
        m.close()


def packet(until_us: int, x: int = 0, y: int = 0) -> EventPacket:
    at = np.array([until_us - 1], np.int64)
    events = Events(at, np.array([x], np.uint16), np.array([y], np.uint16), np.ones(1, np.bool_), 16, 12)
    return EventPacket(events, TriggerEdges.empty(), until_us)


def frame(n: int, width: int = 16, height: int = 12) -> Frame:
    stamps = 20_000_000 * n, 20_000_000 * n + 5_000_000
    return Frame(np.full((height, width), 9, np.uint8), PixelLayout.GRAY, n, *stamps, FrameClock.EVENT, 1)


def polls(n: int) -> FakeLink:
    def script(link: FakeLink) -> None:
        link.stopping |= link.left <= 5000 - n

    return FakeLink(script)


def test_the_restore_worker_tells_what_it_passed_over(rings: Rings, monkeypatch: pytest.MonkeyPatch) -> None:
    events, frames, pictures = (
        rings.ring("events", "restore"), rings.ring("frames", "restore", 4), rings.ring("pictures", "viewer"),
    )  # fmt: skip
    e, f = rings.writer(events), rings.writer(frames)
    for n in range(9):  # of which the ring holds four
        f.write_packet(frame(n))
        e.write_packet(packet(20_000 * (n + 1)))
    told = RestoreStage.status

    def status(stage: RestoreStage) -> dict[str, Any]:
        s = told(stage)
        return {**s, "stage": {**s["stage"], "superseded": 7, "waiting": 3, "restored": 11}}

    monkeypatch.setattr(RestoreStage, "status", status)
    link = polls(20)
    run_restore_worker(link, RestoreWorkerSpec(RIG, "none", events, frames, pictures, every_item=True))  # type: ignore[arg-type]
    assert {k: link.figures[k] for k in ("items", "events", "dropped", "backlog")} == {
        "items": 11, "events": 9, "dropped": 7, "backlog": 3,
    }  # fmt: skip
    report = [body for topic, body in link.published if topic == "restore"][-1]
    assert (report["incarnation"], report["frames_read_before"], report["lost_event_packets"]) == (0, 0, 0)


def previewed(rings: Rings, items: list[Any], **arguments: Any) -> tuple[Item, FakeLink]:
    """The last view of a preview worker that was given these."""
    events, frames, views = (
        rings.ring("events", "preview", 4), rings.ring("frames", "preview", 4), rings.ring(VIEW, "window"),
    )  # fmt: skip
    e, f = rings.writer(events), rings.writer(frames)
    for i in items:
        (e if isinstance(i, EventPacket) else f).write_packet(i)
    link = polls(12)
    if arguments:
        link.commands.append(Command(number=1, verb="overlay", arguments=arguments))
    run_preview_worker(link, PreviewSpec(events, frames, views))  # type: ignore[arg-type]
    last = rings.reader(views, "window").read_newest()
    assert last is not None
    return last, link


@pytest.fixture
def _every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views as often as anybody looks."""
    monkeypatch.setattr(preview_worker, "VIEWS_HZ", 1e9)
    monkeypatch.setattr(preview_worker, "QUIET_HZ", 1e9)


@pytest.mark.usefixtures("_every_turn")
def test_the_preview_counts_what_its_rings_lost(rings: Rings) -> None:
    items = [*(packet(1000 * (n + 1)) for n in range(7)), *(frame(n) for n in range(9))]
    view, _ = previewed(rings, items)
    assert view.header["lost"] == (7 - 4) + (9 - 4)


@pytest.mark.usefixtures("_every_turn")
@pytest.mark.parametrize("halved", [0, 1, 2])
def test_events_lie_on_a_smaller_view_where_they_lie_on_the_image(
    rings: Rings, monkeypatch: pytest.MonkeyPatch, halved: int
) -> None:
    """A view pixel shows the event pixel in which its middle lies."""
    monkeypatch.setattr(preview_worker, "WIDEST_LAID", 128 >> halved)
    m = np.array([[8.0, 0, 4.3], [0, 8.0, 4.3], [0, 0, 1]])  # pixel centres at integers
    view, link = previewed(rings, [packet(5000, 5, 7), frame(0, 128, 96)], matrix=m.ravel().tolist())
    assert link.replies == [(1, {}, "")]
    _, _, overlay, _ = view.arrays
    assert overlay.shape == (96 >> halved, 128 >> halved)
    middles = (np.arange(128 >> halved) + 0.5) * 2**halved - 0.5  # on the image
    seen = [np.flatnonzero((overlay != NOTHING).any(axis=axis)) for axis in (0, 1)]
    for place, event in zip(seen, (5, 7), strict=True):
        assert place.tolist() == np.flatnonzero(np.rint((middles - 4.3) / 8) == event).tolist()
