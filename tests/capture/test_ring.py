"""One ring in one process: order, laps, leases, losslessness, limits. Processes: test_ring_processes.py."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from capture.codec import StreamEnd
from capture.ring import (
    Item,
    ItemTooLarge,
    RingError,
    RingLayout,
    RingMemory,
    RingReader,
    RingRef,
    RingStalled,
    RingWriter,
    TornItem,
    require_room,
)
from tests.capture.shm import segments

Make = Callable[..., tuple[RingMemory, RingRef]]


@pytest.fixture
def make() -> Iterator[Make]:
    before, made = segments(), []

    def _make(arena: int = 1 << 16, slots: int = 16, readers: Any = ("a", "b"), lossless: Any = ()) -> Any:
        m = RingMemory.create(RingLayout("test", arena, slots, tuple(readers), tuple(lossless)))
        made.append(m)
        return m, RingRef(m.name, "test")

    yield _make
    for m in made:
        m.close()
    assert segments() <= before


def filled(n: int, length: int = 10) -> np.ndarray[Any, Any]:
    return np.full(length, n, np.int64)


def test_items_come_in_order_with_all_they_hold(make: Make) -> None:
    _, ref = make()
    w, r = RingWriter(ref), RingReader(ref, "a")
    for n in range(5):
        assert w.write("picture", {"n": n}, [filled(n), np.eye(3)]) == n
    for n in range(5):
        with r.next() as item:
            assert item is not None
            assert (item.sequence, item.kind, item.header) == (n, "picture", {"n": n})
            assert np.array_equal(item.arrays[0], filled(n))
            assert np.array_equal(item.arrays[1], np.eye(3))
            with pytest.raises(ValueError, match="read-only"):
                item.arrays[0][0] = 1
    with r.next(0.01) as item:
        assert item is None
    w.close(), r.close()


def test_a_reader_that_lags_loses_the_oldest_and_knows_how_many(make: Make) -> None:
    m, ref = make(slots=8)
    w, r = RingWriter(ref), RingReader(ref, "a")
    for n in range(20):
        w.write("x", {}, [filled(n)])
    got = []
    while (item := r.read()) is not None:
        got.append((item.sequence, int(item.arrays[0][0]), item.lost_before))
    assert got == [(12, 12, 12), *((n, n, 0) for n in range(13, 20))]
    s = m.stats()
    assert s.written == 20
    assert (s.reader("a").read, s.reader("a").lost, s.reader("a").waiting) == (8, 12, 0)
    # The other reader never attached: all is either waiting for it or lost to it once it comes.
    assert s.reader("b").waiting == 20
    w.close(), r.close()


def test_newest_passes_over_and_counts(make: Make) -> None:
    _, ref = make(slots=8)
    w, r = RingWriter(ref), RingReader(ref, "a")
    for n in range(20):
        w.write("x", {}, [filled(n)])
    item = r.read_newest()
    assert item is not None
    assert item.sequence == 19
    s = r.stats()
    assert (s.read, s.lost, s.superseded, s.waiting) == (1, 12, 7, 0)
    assert r.read_newest() is None
    w.close(), r.close()


def test_start_newest_counts_what_it_passes_over(make: Make) -> None:
    _, ref = make()
    w = RingWriter(ref)
    for n in range(5):
        w.write("x", {"n": n})
    r = RingReader(ref, "a", start="newest")
    assert r.read() is None
    w.write("x", {"n": 5})
    item = r.read()
    assert item is not None
    assert item.header == {"n": 5}
    assert (r.stats().superseded, r.stats().read) == (5, 1)
    w.close(), r.close()


def test_start_newest_tells_what_was_overwritten_from_what_it_passes_over(make: Make) -> None:
    _, ref = make(slots=8)
    w = RingWriter(ref)
    for n in range(20):
        w.write("x", {"n": n})
    r = RingReader(ref, "a", start="newest")
    s = r.stats()
    assert (s.read, s.lost, s.superseded, s.waiting) == (0, 12, 8, 0)
    w.write("x", {"n": 20})
    item = r.read()
    assert item is not None
    assert (item.header["n"], item.lost_before) == (20, 12)
    w.close(), r.close()


def killed_in_an_item(w: RingWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer makes room, begins an item, and is heard of no more."""
    with monkeypatch.context() as m:
        m.setattr("capture.codec.place", lambda *_: (_ for _ in ()).throw(ZeroDivisionError))
        with pytest.raises(ZeroDivisionError):
            w.write("x", {}, [filled(0)])
    w.close()


def test_an_item_that_a_killed_writer_left_open_is_counted(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    m, ref = make()
    w = RingWriter(ref)
    w.write("x", {"n": 0})
    killed_in_an_item(w, monkeypatch)
    assert (m.stats().written, m.stats().aborted) == (1, 0), "until the next writer comes"
    w, r = RingWriter(ref), RingReader(ref, "a")
    assert w.write("x", {"n": 2}) == 2
    got = [r.read(), r.read()]
    assert [(i.header["n"], i.lost_before) for i in got if i] == [(0, 0), (2, 1)]
    s = m.stats()
    assert (s.written, s.aborted) == (3, 1)
    assert (s.reader("a").read, s.reader("a").aborted, s.reader("a").lost) == (2, 1, 0)
    w.close(), r.close()


def test_what_was_lost_before_a_torn_last_item_is_told_with_the_next_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two were overwritten, the third is torn by a writer that dies in its next item, and no item is left."""
    _, ref = make(slots=1)
    w, r = RingWriter(ref, lease_wait_s=0.0), RingReader(ref, "a")
    for n in range(3):
        w.write("x", {"n": n})
    copied = Item.copied
    writers: list[RingWriter] = []

    def torn_meanwhile(item: Item) -> Item:
        if not writers:
            killed_in_an_item(w, monkeypatch)
            writers.append(RingWriter(ref))
        return copied(item)

    monkeypatch.setattr(Item, "copied", torn_meanwhile)
    assert r.read() is None
    (w,) = writers
    w.write("x", {"n": 4})
    item = r.read()
    assert item is not None
    assert (item.header["n"], item.lost_before) == (4, 4)
    s = r.stats()
    assert (s.read, s.lost, s.aborted, s.torn) == (1, 3, 1, 1)
    w.close(), r.close()


def test_a_leased_item_is_torn_when_the_writer_comes_round_and_it_is_said(make: Make) -> None:
    _, ref = make(slots=4)
    w, r = RingWriter(ref, lease_wait_s=0.001), RingReader(ref, "a")
    w.write("x", {}, [filled(0)])
    lease = r.next()
    assert lease.intact
    for n in range(1, 6):
        w.write("x", {}, [filled(n)])
    assert not lease.intact
    with pytest.raises(TornItem, match="item 0"), lease:
        pass
    s = r.stats()
    assert (s.torn, s.lost, s.expired, s.read) == (1, 1, 1, 0)
    # The copying read passes over torn and lost ones and says how many went.
    item = r.read()
    assert item is not None
    assert (item.sequence, item.lost_before) == (2, 2)
    w.close(), r.close()


def test_an_error_inside_a_torn_lease_is_the_cause_of_the_torn_item(make: Make) -> None:
    _, ref = make(slots=2)
    w, r = RingWriter(ref, lease_wait_s=0.0), RingReader(ref, "a")
    w.write("x", {})
    lease = r.next()
    for _ in range(3):
        w.write("x", {})
    with pytest.raises(TornItem) as caught, lease:
        raise ZeroDivisionError
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    w.close(), r.close()


def test_a_failed_consumer_does_not_get_the_same_item_again(make: Make) -> None:
    _, ref = make()
    w, r = RingWriter(ref), RingReader(ref, "a")
    w.write("x", {"n": 0}), w.write("x", {"n": 1})
    with pytest.raises(ZeroDivisionError), r.next():
        raise ZeroDivisionError
    item = r.read()
    assert item is not None
    assert item.header == {"n": 1}
    w.close(), r.close()


def test_one_lease_at_a_time(make: Make) -> None:
    _, ref = make()
    w, r = RingWriter(ref), RingReader(ref, "a")
    w.write("x", {}), w.write("x", {})
    with r.next(), pytest.raises(RingError, match="give it back first"):
        r.next()
    w.close(), r.close()


def test_an_item_larger_than_the_arena_is_refused_by_name_and_harms_nothing(make: Make) -> None:
    m, ref = make(arena=4096)
    w, r = RingWriter(ref), RingReader(ref, "a")
    w.write("x", {"n": 0})
    with pytest.raises(ItemTooLarge, match=r"'test'.*larger arena"):
        w.write("x", {}, [np.zeros(4096, np.uint8)])
    w.write("x", {"n": 1}, [np.zeros(4096 - 64, np.uint8)])  # the whole arena
    assert m.stats().refused == 1
    item = r.read()
    assert item is not None
    assert (item.header["n"], item.lost_before) == (1, 1)
    w.close(), r.close()


def test_the_writer_waits_for_a_lossless_reader_and_says_why_it_cannot_go_on(make: Make) -> None:
    m, ref = make(slots=4, lossless=["a"])
    w = RingWriter(ref)
    for n in range(4):
        w.write("x", {"n": n})
    with pytest.raises(RingStalled, match=r"'a'.*not attached") as e:
        w.write("x", {"n": 4})
    assert (e.value.reader, e.value.dead) == ("a", False)
    r = RingReader(ref, "a")
    with pytest.raises(RingStalled, match="slow"):
        w.write("x", {"n": 4}, timeout_s=0.005)
    got = [r.read()]
    w.write("x", {"n": 4})
    while (item := r.read()) is not None:
        got.append(item)
    assert [i.header["n"] for i in got if i] == [0, 1, 2, 3, 4]
    m.set_lossless("a", False)
    for n in range(20):
        w.write("x", {"n": n})
    assert r.stats().lost == 0  # counted when the reader looks
    assert r.read() is not None
    assert r.stats().lost == 16
    w.close(), r.close()


def test_a_lease_of_a_lossless_reader_is_never_overwritten(make: Make) -> None:
    _, ref = make(slots=2, lossless=["a"])
    w, r = RingWriter(ref, lease_wait_s=0.0), RingReader(ref, "a")
    w.write("x", {}, [filled(0)])
    with r.next() as item:
        assert item is not None
        w.write("x", {})
        with pytest.raises(RingStalled):
            w.write("x", {})
        assert np.array_equal(item.arrays[0], filled(0))
    w.write("x", {})
    w.close(), r.close()


def test_one_writer_and_one_reader_of_a_name(make: Make) -> None:
    _, ref = make()
    w, r = RingWriter(ref), RingReader(ref, "a")
    with pytest.raises(RingError, match="has a writer already"):
        RingWriter(ref)
    with pytest.raises(RingError, match="read already"):
        RingReader(ref, "a")
    with pytest.raises(RingError, match=r"no reader 'z'; it has a, b"):
        RingReader(ref, "z")
    w.write("x", {"n": 0}), w.write("x", {"n": 1})
    assert r.read() is not None
    w.close(), r.close()
    w, r = RingWriter(ref), RingReader(ref, "a")  # both go on where they stopped
    assert w.write("x", {"n": 2}) == 2
    item = r.read()
    assert item is not None
    assert item.header == {"n": 1}
    w.close(), r.close(), w.close(), r.close()


def test_layouts_that_cannot_be_are_refused(make: Make) -> None:
    for bad in (
        {"readers": ("a", "a")}, {"readers": ("a",), "lossless": ("b",)}, {"arena": 0}, {"slots": 0},
        {"readers": ("",)}, {"readers": ("ä" * 65,)},
    ):  # fmt: skip
        with pytest.raises(RingError, match="ring"):
            make(**bad)


def test_more_shared_memory_than_there_is_is_refused_before_it_can_kill(make: Make) -> None:
    with pytest.raises(RingError, match="shared memory are not to be had"):
        make(arena=1 << 44)


def test_what_all_rings_need_together_is_said_before_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.statvfs_result((4096, 4096, 1 << 18, 1 << 18, 1 << 18, 0, 0, 0, 0, 255))  # 1 GiB, empty
    monkeypatch.setattr("os.statvfs", lambda _: free)
    layouts = [RingLayout("events", 600 << 20), RingLayout("frames", 900 << 20)]
    with pytest.raises(RingError) as raised:
        require_room(layouts)
    assert str(raised.value) == (
        "this needs 1500 MiB of shared memory; 1024 MiB are free in /dev/shm: enlarge it "
        "(Docker: --shm-size=2g; else: mount -o remount,size=2g /dev/shm)"
    )
    require_room(layouts[:1])
    limitless = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr("os.statvfs", lambda _: limitless)
    require_room(layouts)


def test_a_ring_that_was_taken_away_is_not_blamed_on_its_owner(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd removes a user's shared memory at the last logout, by default."""
    m, ref = make()
    m.close()
    monkeypatch.setattr("multiprocessing.parent_process", multiprocessing.current_process)
    with pytest.raises(RingError, match=r"its owner runs, but .* enable-linger"):
        RingWriter(ref)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EMFILE, "Too many open files")])
def test_a_ring_that_is_not_finished_leaves_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Ctrl+C while its memory is taken, which takes a moment; a limit of the process."""

    def fails(*_: object) -> None:
        raise error

    before = segments()
    monkeypatch.setattr("os.posix_fallocate", fails)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else RingError) as raised:
        make()
    assert segments() == before
    assert "enlarge" not in str(raised.value)  # there is room enough


def test_a_ring_that_is_gone_or_foreign_is_refused(make: Make) -> None:
    m, ref = make()
    m.close()
    with pytest.raises(RingError, match="is gone"):
        RingWriter(ref)
    with pytest.raises(RingError, match="only the process that made it"):
        RingReader(RingRef("hm1_abcdef", "other"), "a")


def test_arrays_may_outlive_the_ring(make: Make) -> None:
    m, ref = make()
    w, r = RingWriter(ref), RingReader(ref, "a")
    w.write("x", {}, [filled(7)])
    lease = r.next()
    assert lease.item is not None
    kept = lease.item.arrays[0]
    r.close(), w.close(), m.close()
    assert np.array_equal(kept, filled(7))
    assert lease.release()


def test_the_counters_outlive_the_ring(make: Make) -> None:
    m, ref = make()
    w, r = RingWriter(ref), RingReader(ref, "a")
    w.write("x", {}), w.write("x", {})
    assert r.read() is not None
    r.close(), w.close(), m.close()
    for s in (m.stats().reader("a"), r.stats(), w.stats().reader("a")):
        assert (s.read, s.waiting) == (1, 1)
    assert r.waiting == 0
    m.set_lossless("a", True)


def test_the_end_of_a_stream_is_an_item(make: Make) -> None:
    _, ref = make()
    w, r = RingWriter(ref), RingReader(ref, "a")
    w.write_packet(StreamEnd(3))
    item = r.read()
    assert item is not None
    assert item.packet() == StreamEnd(3)
    w.close(), r.close()


class RingMachine(RuleBasedStateMachine):
    """Any mixture of steps: contents right, order right, and the books balance after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = RingMemory.create(RingLayout("machine", 8192, 6, ("a", "b")))
        self.ref = RingRef(self.memory.name, "machine")
        self.writer = RingWriter(self.ref, lease_wait_s=0.0)
        self.readers = {n: RingReader(self.ref, n) for n in "ab"}
        self.leases: dict[str, Any] = {}
        self.last = dict.fromkeys("ab", -1)
        self.told = dict.fromkeys("ab", 0)
        self.written = 0

    @rule(size=st.integers(0, 7000))
    def write(self, size: int) -> None:
        n = self.writer.write("x", {"n": self.written}, [np.full(size, self.written % 251, np.uint8)])
        assert n == self.written
        self.written += 1

    def check(self, name: str, item: Any) -> None:
        assert item.header == {"n": item.sequence}
        assert (item.arrays[0] == item.sequence % 251).all()
        assert item.sequence > self.last[name]
        self.last[name] = item.sequence
        self.told[name] += item.lost_before

    @precondition(lambda self: len(self.leases) < 2)
    @rule(name=st.sampled_from("ab"), newest=st.booleans())
    def read(self, name: str, newest: bool) -> None:
        if name not in self.leases:
            r = self.readers[name]
            item = r.read_newest() if newest else r.read()
            if item is not None:
                self.check(name, item)

    @rule(name=st.sampled_from("ab"))
    def lease(self, name: str) -> None:
        if name not in self.leases:
            lease = self.readers[name].next()
            if lease.item is not None:
                self.check(name, lease.item)
                self.leases[name] = lease

    @rule(name=st.sampled_from("ab"))
    def give_back(self, name: str) -> None:
        lease = self.leases.pop(name, None)
        if lease is not None:
            content = lease.item.arrays[0].copy()
            sequence = lease.item.sequence
            if lease.release():  # said to be whole: then it must be
                assert (content == sequence % 251).all()

    @rule(name=st.sampled_from("ab"))
    def reattach(self, name: str) -> None:
        if name not in self.leases:
            s = self.readers[name].stats()
            self.readers[name].close()
            self.readers[name] = RingReader(self.ref, name)
            self.told[name] = s.lost + s.aborted

    @invariant()
    def books_balance(self) -> None:
        s = self.memory.stats()
        assert s.written == self.written
        for r in s.readers:
            assert r.read + r.lost + r.superseded + r.aborted + r.waiting == s.written
            assert min(r.read, r.lost, r.superseded, r.waiting) >= 0
            assert self.told[r.name] <= r.lost + r.aborted

    def teardown(self) -> None:
        for lease in self.leases.values():
            lease.release()
        for r in self.readers.values():
            r.close()
        self.writer.close()
        self.memory.close()


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
