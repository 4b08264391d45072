"""A ring between real processes: killed writers, killed readers, laps under way, losslessness."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from capture import notices
from capture.notices import RuntimeDirectory
from capture.ring import RingError, RingLayout, RingMemory, RingReader, RingRef, RingStalled, RingWriter
from tests.capture import ring_children as children

Spawn = Callable[..., Any]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    started = []

    def _spawn(target: Any, *args: Any) -> Any:
        p = multiprocessing.get_context("spawn").Process(target=target, args=args)
        p.start()
        started.append(p)
        return p

    yield _spawn
    for p in started:
        p.kill()
        p.join()


@pytest.fixture
def ring() -> Iterator[Callable[..., RingRef]]:
    made: list[RingMemory] = []
    runtime = RuntimeDirectory()

    def make(slots: int = 64, arena: int = 1 << 19, lossless: tuple[str, ...] = ()) -> RingRef:
        made.append(RingMemory.create(RingLayout("test", arena, slots, ("a", "b"), lossless)))
        return RingRef(made[-1].name, "test", runtime.address(f"{len(made)}.ring"))

    yield make
    for m in made:
        m.close()
    runtime.remove()
    assert not runtime.path.exists()


def answer(c: Connection) -> Any:
    assert c.poll(60), "the child says nothing"
    return c.recv()


def test_a_writer_killed_in_the_middle_leaves_an_item_that_readers_skip_and_count(
    ring: Callable[..., RingRef], spawn: Spawn
) -> None:
    ref = ring()
    for whole in (3, 7):  # the second one goes on after the first
        p = spawn(children.write_then_die_in_an_item, ref, whole)
        p.join(60)
        assert p.exitcode == -signal.SIGKILL
    r = RingReader(ref, "a")
    w = RingWriter(ref)
    assert w.write("x", {"n": 99}) == 12
    got = []
    while (item := r.read()) is not None:
        got.append((item.sequence, item.header["n"], item.lost_before))
    assert got == [
        (0, 0, 0), (1, 1, 0), (2, 2, 0), (4, 0, 1), (5, 1, 0), (6, 2, 0), (7, 3, 0), (8, 4, 0), (9, 5, 0),
        (10, 6, 0), (12, 99, 1),
    ]  # fmt: skip
    s = r.stats()
    assert (s.read, s.aborted, s.lost, s.waiting) == (11, 2, 0, 0)
    w.close(), r.close()


def test_a_reader_killed_under_its_lease_stops_nobody(ring: Callable[..., RingRef], spawn: Spawn) -> None:
    ref = ring(slots=4)
    here, there = multiprocessing.Pipe()
    w, other = RingWriter(ref), RingReader(ref, "b")
    w.write("x", {}, [children.content(0)])
    p = spawn(children.lease_then_hang, ref, "a", there)
    assert answer(here) == 0
    with pytest.raises(RingError, match=f"process {p.pid}"):
        RingReader(ref, "a")
    p.kill()
    p.join()
    for n in range(1, 10):
        w.write("x", {}, [children.content(n)])
    r = RingReader(ref, "a")  # in its place, with its counters
    item = r.read()
    assert item is not None
    assert (item.sequence, item.lost_before) == (6, 6)
    s = r.stats()
    assert (s.read, s.lost, s.expired, s.waiting) == (1, 6, 1, 3)
    w.close(), r.close(), other.close()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_stopped_reader_holds_up_a_lossless_writer_a_dead_one_is_named(
    ring: Callable[..., RingRef], spawn: Spawn, stopped: bool
) -> None:
    ref = ring(slots=2, lossless=("a",))
    here, there = multiprocessing.Pipe()
    w = RingWriter(ref)
    w.write("x", {})
    p = spawn(children.lease_then_hang, ref, "a", there)
    answer(here)
    os.kill(p.pid, signal.SIGSTOP if stopped else signal.SIGKILL)
    w.write("x", {})
    if not stopped:
        p.join()
    with pytest.raises(RingStalled, match="it is slow" if stopped else f"its process {p.pid} is gone") as e:
        w.write("x", {}, timeout_s=0.01)
    assert e.value.dead is not stopped
    w.close()


@pytest.mark.parametrize("lossless", [False, True])
def test_items_under_way_are_whole_and_the_books_balance(
    ring: Callable[..., RingRef], spawn: Spawn, lossless: bool
) -> None:
    count = 1500
    # A slow and a skipping reader, lapped all the time (or waited for).
    ref = ring(slots=16, arena=1 << 17, lossless=("a", "b") if lossless else ())
    pipes = []
    for name, how in (("a", "plain" if lossless else "slow"), ("b", "newest")):
        here, there = multiprocessing.Pipe()
        spawn(children.read_all, ref, name, count, how, there)
        pipes.append(here)
    for c in pipes:
        assert answer(c) == "attached"
    spawn(children.write_many, ref, count, 0.0, lossless)
    for c in pipes:
        r = answer(c)
        s = r["stats"]
        assert r["wrong"] == 0
        assert s.read + s.lost + s.superseded == count
        assert (s.read, s.torn, s.waiting, s.aborted) == (r["handed"], r["torn"], 0, 0)
        assert r["told"] <= s.lost
        if lossless:
            assert s.lost == 0


def test_a_writer_that_takes_over_still_wakes_the_readers(ring: Callable[..., RingRef], spawn: Spawn) -> None:
    ref = ring()
    r = RingReader(ref, "a")
    for _ in range(2):
        spawn(children.write_many, ref, 3, 0.0, False)
        got = []
        while len(got) < 3:
            item = r.read(60)
            assert item is not None
            got.append(item.header["n"])
        assert got == [0, 1, 2]
    r.close()


def test_directories_of_dead_processes_are_swept_and_those_of_the_living_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("capture.notices._LONGEST_PATH", 500)
    alive = RuntimeDirectory()
    assert alive.path.stat().st_mode & 0o777 == 0o700
    dead = tmp_path / "halfmirror-999999999-1-x"
    reused = tmp_path / f"halfmirror-{os.getpid()}-1-x"  # this id, but an earlier process
    other = tmp_path / "halfmirror-viewer-cache"
    for d in (dead, reused, other):
        d.mkdir()
    held = Path(f"/dev/shm/hm{os.getpid()}_of_this_process")
    lost = [Path(f"/dev/shm/hm999999999_{k}") for k in range(2)]  # its resource tracker was killed with it
    for segment in (held, *lost):
        segment.write_bytes(b"0")
    RuntimeDirectory().remove()
    assert held.exists()  # the id is in use again: these may be a living process's
    held.unlink()
    assert not any(segment.exists() for segment in lost)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([alive.path.name, other.name])
    alive.remove()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the directories of a test lie, and no others."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("capture.notices._LONGEST_PATH", 500)
    return tmp_path


def test_a_directory_is_kept_while_its_owner_lives_elsewhere(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers of one user that share /tmp and /dev/shm: neither sees a process of the other."""
    other = RuntimeDirectory()
    ring = RingMemory.create(RingLayout("frames", 1 << 16, readers=("r",)))
    monkeypatch.setattr(notices, "process_token", lambda pid: 0)
    mine = RuntimeDirectory()
    assert other.path.exists()
    RingMemory.attach(ring.name).close()
    mine.remove()
    # A dead one whose id is that of one who lives elsewhere: its directory goes, nobody's rings do.
    dead = place / f"halfmirror-{os.getpid()}-7-dead"
    dead.mkdir()
    (dead / "lock").touch()
    RuntimeDirectory().remove()
    assert (dead.exists(), other.path.exists()) == (False, True)
    RingMemory.attach(ring.name).close()
    other.remove()
    assert not other.path.exists()
    ring.close()


def test_where_there_are_no_locks_process_ids_decide(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", none)
    a = RuntimeDirectory()
    assert list(a.path.iterdir()) == []
    b = RuntimeDirectory()
    assert a.path.exists()
    gone = place / "halfmirror-1-1-gone"
    gone.mkdir()
    RuntimeDirectory().remove()
    assert not gone.exists()
    a.remove(), b.remove()
