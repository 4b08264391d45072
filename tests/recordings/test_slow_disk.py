"""The recorder's process on a disk that is slower than the cameras: what is kept, what is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from capture.messages import Command
from capture.packets import EventPacket, Frame
from capture.ring import RingLayout, RingMemory, RingRef, RingWriter
from recordings.formats.own_chunks import Draft
from recordings.open import open_recording
from recordings.recorder.incoming import READER
from recordings.recorder.stream_file import TOO_SLOW, StreamFile
from recordings.recorder.take import Limits
from recordings.recorder.worker import BEGIN, DONE, END, TOPIC, RecorderSpec, _Recorder
from tests.capture.fake_link import FakeLink
from tests.capture.simulated_small import small
from tests.recordings.own_sample import Item, about_of, items_of, rig_of_config

CONFIG = small(paced=False)
QUEUE = 200_000


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return items_of(CONFIG, 1.0)


@pytest.fixture
def rings(items: list[Item]) -> Iterator[tuple[RingRef, RingRef]]:
    """Both rings with all items in them."""
    memory = [RingMemory.create(RingLayout(n, 64 << 20, 4096, readers=(READER,))) for n in ("events", "frames")]
    refs = [RingRef(m.name, m.label) for m in memory]
    writers = [RingWriter(r) for r in refs]
    for i in items:
        writers[isinstance(i, Frame)].write_packet(i)
    yield refs[0], refs[1]
    for w in writers:
        w.close()
    for m in memory:
        m.close()


class Disk:
    """Takes nothing until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes = threading.Event()
        real = StreamFile._write

        def write(file: StreamFile, chunk: Draft) -> None:
            self.goes.wait(30)
            real(file, chunk)

        monkeypatch.setattr(StreamFile, "_write", write)
        monkeypatch.setitem(StreamFile.__init__.__kwdefaults__, "queue_bytes", QUEUE)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    d = Disk(monkeypatch)
    yield d
    d.goes.set()


def run(
    rings: tuple[RingRef, RingRef], each: Callable[[FakeLink], None], folders: tuple[Path, ...], **more: Any
) -> tuple[list[dict[str, Any]], FakeLink]:
    """The health reports that were published."""
    link = FakeLink(each, polls=1_000_000)
    spec = RecorderSpec(*rings, folders, about_of(rig_of_config(CONFIG)), **more)
    _Recorder(link, spec).run()  # type: ignore[arg-type]
    return [dict(b["health"]) for topic, b in link.published if topic == DONE], link


def counts(items: list[Item]) -> tuple[int, int]:
    frames = sum(isinstance(i, Frame) for i in items)
    return frames, len(items) - frames


def kept(folder: Path) -> tuple[int, int]:
    with open_recording(folder) as r:
        return counts([i for i in r.items() if isinstance(i, EventPacket | Frame)])


def stopping_when_full(disk: Disk, given_s: float | None) -> Callable[[FakeLink], None]:
    """Told to stop while most items wait in the rings; the disk works again a moment later."""
    turns = iter(range(1_000_000))

    def each(link: FakeLink) -> None:
        n = next(turns)
        if n == 5:
            link.stopping, link.stop_asked, link.stop_given_s = True, time.monotonic(), given_s
            if given_s is None:
                threading.Timer(0.1, disk.goes.set).start()

    return each


def test_stopped_while_the_disk_is_behind_it_records_all_that_waits(
    tmp_path: Path, disk: Disk, items: list[Item], rings: tuple[RingRef, RingRef]
) -> None:
    (health,), _ = run(rings, stopping_when_full(disk, None), (tmp_path / "r",))
    assert health["state"] == "finished"
    assert not any(health["losses"].values())
    assert kept(tmp_path / "r") == counts(items)


def test_stopped_after_a_pre_roll_it_records_all_that_waits(
    tmp_path: Path, disk: Disk, items: list[Item], rings: tuple[RingRef, RingRef]
) -> None:
    stop = stopping_when_full(disk, None)
    begin = Command(number=1, verb=BEGIN, arguments={"folders": [str(tmp_path / "r")]})

    def each(link: FakeLink) -> None:
        if not link.replies:
            if link.figures.get("backlog") == 0:  # all is kept
                link.commands.append(begin)
        else:
            stop(link)

    (health,), _ = run(rings, each, (), armed=True, preroll_s=60.0, start="resume")
    assert health["state"] == "finished"
    assert not any(health["losses"].values())
    assert kept(tmp_path / "r") == counts(items)


def test_what_is_given_up_at_the_end_is_counted_and_said(
    tmp_path: Path, disk: Disk, items: list[Item], rings: tuple[RingRef, RingRef]
) -> None:
    threading.Timer(0.5, disk.goes.set).start()  # the chunk in hand, long after the time is up
    (health,), _ = run(rings, stopping_when_full(disk, 0.2), (tmp_path / "r",))
    assert health["state"] == "stopped"
    assert TOO_SLOW in health["message"]
    frames, packets = kept(tmp_path / "r")
    assert frames + packets + health["losses"]["disk items"] == len(items)
    assert health["losses"]["disk items"] > 0.9 * len(items)


def test_a_disk_that_is_behind_is_no_silent_camera(
    tmp_path: Path,
    disk: Disk,
    items: list[Item],
    rings: tuple[RingRef, RingRef],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recordings.recorder.take._STALLED_S", 0.1)
    threading.Timer(0.7, disk.goes.set).start()  # after the seconds asked for, and more
    (health,), _ = run(rings, lambda link: None, (tmp_path / "r",), limits=Limits(seconds=0.4, reserve=0))
    assert health["state"] == "finished"
    assert health["until_us"] - health["first_us"] >= 400_000


def test_signs_of_life_go_on_while_what_waits_is_written(
    tmp_path: Path, items: list[Item], rings: tuple[RingRef, RingRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StreamFile._write

    def slow(file: StreamFile, chunk: Draft) -> None:
        time.sleep(0.01)
        real(file, chunk)

    monkeypatch.setattr(StreamFile, "_write", slow)
    monkeypatch.setattr("recordings.recorder.worker._REPORT_S", 0.05)
    (health,), link = run(rings, lambda link: None, (tmp_path / "r",), limits=Limits(frames=6, reserve=0))
    assert health["state"] == "finished"
    waiting = [b["queued"] for topic, b in link.published if topic == TOPIC]
    assert len(set(waiting[-4:])) == 4  # it is told how much is left
    assert any(detail.startswith("writing what waits") for _, detail in link.said)


def test_a_disk_that_stands_still_gives_no_sign_of_life(
    tmp_path: Path, disk: Disk, rings: tuple[RingRef, RingRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recordings.recorder.worker._REPORT_S", 0.0)
    monkeypatch.setitem(StreamFile.__init__.__kwdefaults__, "queue_bytes", 1 << 30)
    at: list[float] = []
    link = FakeLink(lambda link: None, polls=1_000_000)
    status = link.status
    link.status = lambda *a, **k: (at.append(time.monotonic()), status(*a, **k))  # type: ignore[assignment,func-returns-value]
    spec = RecorderSpec(*rings, (tmp_path / "r",), about_of(rig_of_config(CONFIG)), Limits(frames=3, reserve=0))
    threading.Timer(0.5, disk.goes.set).start()
    _Recorder(link, spec).run()  # type: ignore[arg-type]
    assert time.monotonic() - at[-1] > 0.25 or max(b - a for a, b in pairwise(at)) > 0.25


def test_what_waits_of_all_sequences_together_is_bounded(
    tmp_path: Path, disk: Disk, rings: tuple[RingRef, RingRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recordings.recorder.worker._REPORT_S", 0.0)
    most = 0

    def each(link: FakeLink) -> None:
        if link.left < 1_000_000 - 60:
            disk.goes.set()

    link = FakeLink(each, polls=1_000_000)
    folders = tuple(tmp_path / f"{n:03d}" for n in range(5))
    spec = RecorderSpec(*rings, folders, about_of(rig_of_config(CONFIG)), Limits(frames=1, reserve=0))
    real = _Recorder._report

    def report(self: _Recorder) -> None:
        nonlocal most
        mine = 0 if self._take is None else self._take.file.queued
        most = max(most, mine + self._closings.queued)
        real(self)

    monkeypatch.setattr(_Recorder, "_report", report)
    _Recorder(link, spec).run()  # type: ignore[arg-type]
    done = [b["health"]["state"] for t, b in link.published if t == DONE]
    assert done == ["finished"] * 5
    largest = 1 << 17
    assert QUEUE < most < QUEUE + largest


def test_what_came_after_the_end_does_not_belong_to_it_when_the_program_ends_too(
    disk: Disk, items: list[Item], tmp_path: Path
) -> None:
    memory = [RingMemory.create(RingLayout(n, 64 << 20, 4096, readers=(READER,))) for n in ("events", "frames")]
    refs = [RingRef(m.name, m.label) for m in memory]
    writers = [RingWriter(r) for r in refs]
    half, polls = len(items) // 2, iter(range(10_000))

    def put(some: list[Item]) -> None:
        for i in some:
            writers[isinstance(i, Frame)].write_packet(i)

    def each(link: FakeLink) -> None:
        now = next(polls)
        if now == 1:
            link.commands.append(
                Command(number=1, verb=BEGIN, arguments={"folders": [str(tmp_path / "r")], "reserve": 0})
            )
        elif now == 3:
            put(items[:half])
        elif now == 20:
            link.commands.append(Command(number=2, verb=END, arguments={}))
        elif now == 40:
            put(items[half:])
        elif now == 60:
            link.stopping, link.stop_asked = True, time.monotonic()
            threading.Timer(0.2, disk.goes.set).start()

    try:
        link = FakeLink(each, polls=10_000)
        _Recorder(link, RecorderSpec(*refs, (), about_of(rig_of_config(CONFIG)), armed=True)).run()
        with open_recording(tmp_path / "r") as r:
            got = [i for i in r.items() if isinstance(i, (EventPacket, Frame))]
        assert len(got) == half
    finally:
        for w in writers:
            w.close()
        for m in memory:
            m.close()
