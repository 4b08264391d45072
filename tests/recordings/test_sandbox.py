"""The sandbox: what misbehaves in the child costs one line in the parent, never its life or its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest

from recordings.recording import ReadCancelled, RecordingError
from recordings.sandbox import ReaderBroken, Sandbox, waits_for_disk

SERVER = "tests.recordings.servers:Naughty"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sandbox() -> Iterator[Any]:
    made: list[Sandbox] = []

    def make(deadline_s: float = 10.0, **arguments: Any) -> Sandbox:
        made.append(Sandbox(SERVER, arguments, what="file.x", deadline_s=deadline_s))
        return made[-1]

    yield make
    for s in made:
        s.close()


def gone(pid: int, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_arrays_come_over_exactly(sandbox: Any) -> None:
    replies = list(sandbox().request("echo", n=100, size=1000))
    assert [r.header["k"] for r in replies] == list(range(100))
    for k, r in enumerate(replies):
        assert np.array_equal(r.arrays["t"], np.arange(k, k + 1000))
        assert np.array_equal(r.arrays["p"], r.arrays["t"] % 2 == 0)
        assert r.arrays["empty"].shape == (0,)


def test_an_item_may_span_several_slots(sandbox: Any) -> None:
    (r,) = sandbox().request("big_item")
    assert np.array_equal(r.arrays["a"], np.resize(np.arange(251, dtype=np.uint8), 20 << 20))
    assert np.array_equal(r.arrays["t"], np.arange(9))


def stopped_for(s: Sandbox, seconds: float) -> threading.Timer:
    """The child stands still as it does while its disk gives nothing."""
    os.kill(s.pid, signal.SIGSTOP)
    timer = threading.Timer(seconds, lambda: s.closed or os.kill(s.pid, signal.SIGCONT))
    timer.start()
    return timer


def test_a_disk_that_sleeps_is_no_hang(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recordings.sandbox.waits_for_disk", lambda _pid: True)
    s = sandbox(deadline_s=0.3)
    list(s.request("echo", n=1, size=1))
    timer = stopped_for(s, 1.5)
    assert len(list(s.request("echo", n=20, size=10))) == 20
    timer.join()


def test_a_disk_that_gives_nothing_for_long_is_said_and_not_the_file(
    sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recordings.sandbox.waits_for_disk", lambda _pid: True)
    monkeypatch.setattr("recordings.sandbox.DISK_S", 0.6)
    s = sandbox(deadline_s=0.3)
    list(s.request("echo", n=1, size=1))
    timer = stopped_for(s, 4.0)
    with pytest.raises(RecordingError, match=r"^file\.x: its disk has given nothing for 0\.6 s") as e:
        list(s.request("echo", n=20, size=10))
    timer.cancel()
    assert not isinstance(e.value, ReaderBroken)
    assert s.closed


def test_who_waits_for_a_disk_is_told_by_the_system() -> None:
    assert not waits_for_disk(os.getpid())
    assert not waits_for_disk(1 << 30)


def test_every_request_may_read_the_file_anew(sandbox: Any) -> None:
    s = sandbox(deadline_s=0.6)
    for _ in range(3):
        assert len(list(s.request("scan", size=30 << 20, seconds=1.5))) == 1


def test_a_hang_ends_at_the_deadline_even_when_it_holds_the_lock(sandbox: Any) -> None:
    s = sandbox(deadline_s=0.7)
    list(s.request("echo", n=1, size=1))  # the child is up
    replies = s.request("hang", after=3)
    got = []
    with pytest.raises(ReaderBroken, match=r"^file\.x: reading made no progress for 0\.7 s") as e:
        got.extend(replies)
    assert len(got) == 3
    assert (e.value.how, e.value.stage) == ("hung", 7)
    assert s.closed
    assert gone(s.pid)
    with pytest.raises(RecordingError, match="is closed; open it again"):
        s.request("echo", n=1, size=1)


def test_slow_with_progress_is_no_hang(sandbox: Any) -> None:
    s = sandbox(deadline_s=1.6)
    assert [r.header["k"] for r in s.request("slow", n=8, pause_s=0.25)] == [8]


def test_a_slow_reader_does_not_run_into_the_deadline(sandbox: Any) -> None:
    s = sandbox(deadline_s=0.5)
    list(s.request("echo", n=1, size=1))
    replies = s.request("echo", n=40, size=200_000)
    next(replies)
    time.sleep(1.0)
    assert len(list(replies)) == 39


@pytest.mark.parametrize(
    ("verb", "arguments", "says"),
    [
        ("abort", {"after": 2}, r"crashed \(SIGABRT\): terminate called after throwing .*std::bad_thing"),
        ("exit", {}, r"ended early \(exit status 3\)"),
        ("refuse", {}, r"file\.x: holds nothing of use"),
        ("raise", {}, r"file\.x: the message$"),
        ("greedy", {}, r"asks for more memory than is allowed"),
        ("huge_item", {}, r"one item takes 33 MiB, more than this program handles"),
        ("odd_type", {}, r"sent nonsense \(type <c16\)"),
        ("unheard_of", {}, r"no attribute 'do_unheard_of'"),
    ],
)
def test_every_failure_is_one_line(sandbox: Any, verb: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(RecordingError, match=says) as e:
        list(sandbox().request(verb, **arguments))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("parts", "size"), [(1, 1), (3, 1000), (5, 60_000), (2, 300_000)])
def test_records_arrive_as_columns(sandbox: Any, parts: int, size: int) -> None:
    """In one slot of the arena and across two or three."""
    # All of them, as what arrives must not change when its slot is used again.
    replies = list(sandbox().request("records", parts=parts, size=size))
    assert len(replies) == 10
    for n, found in enumerate(replies):
        assert found.arrays["a"].tolist() == [n, n + 1, n + 2]
        assert found.arrays["b"].tolist() == [0, 1, 2, 3, 4]
        t, x = found.arrays["t"], found.arrays["x"]
        assert np.array_equal(t, np.arange(parts * size) + n)
        assert np.array_equal(x, np.concatenate([np.arange(size) % 1000 + k for k in range(parts)]))
        assert (t.dtype, x.dtype) == (np.int64, np.uint16)
        assert t.flags.c_contiguous
        assert x.flags.c_contiguous


@pytest.mark.parametrize(
    "row",
    [
        ["t", "<i8", [4], 8, 16],  # ends behind the message
        ["t", "<i8", [4], -8, 16],
        ["t", "<i8", [-4], 0, 16],
        ["t", "<i8", [2, 2], 0, 16],
        ["t", "<i8", [1 << 62], 0, 16],
        ["t", "<i8", [2], 0, -16],
        ["t", "<i8", [9], 0, 0],
        ["t", "<i8", [2], 0],
        ["t", "|O", [2], 0, 16],
    ],
)
def test_a_column_that_is_none_is_nonsense(sandbox: Any, row: list[Any]) -> None:
    s = sandbox()
    with pytest.raises((ValueError, TypeError, KeyError)):
        s._copy([row], 56, [3])
    assert len(s._copy([["t", "<i8", [4], 0, 16]], 56, [3])["t"]) == 4


def test_after_a_refusal_it_serves_on(sandbox: Any) -> None:
    s = sandbox()
    with pytest.raises(RecordingError):
        list(s.request("refuse"))
    assert len(list(s.request("echo", n=3, size=1))) == 3


def test_a_killed_child_is_noticed(sandbox: Any, tmp_path: Path) -> None:
    s = sandbox(path=str(tmp_path / "n"))
    replies = s.request("count", size=1000)
    next(replies)
    os.kill(s.pid, signal.SIGKILL)
    with pytest.raises(ReaderBroken, match=r"crashed \(SIGKILL\)"):
        list(replies)


def test_the_child_waits_for_credit(sandbox: Any, tmp_path: Path) -> None:
    s = sandbox(path=str(tmp_path / "n"))
    replies = s.request("count", size=4 << 20)
    next(replies)
    time.sleep(0.5)
    made = int((tmp_path / "n").read_text())
    assert made <= 11  # one taken, eight slots, one being made, one credit on its way
    next(replies)
    next(replies)
    time.sleep(0.2)
    assert int((tmp_path / "n").read_text()) == made + 2


def test_a_new_request_ends_the_one_before(sandbox: Any, tmp_path: Path) -> None:
    s = sandbox(path=str(tmp_path / "n"))
    old = s.request("count", size=4 << 20)
    next(old)
    for _ in range(20):
        assert len(list(s.request("echo", n=5, size=1000))) == 5
    with pytest.raises(RecordingError, match="another read of it has begun"):
        next(old)


def test_close_is_quick_and_final(sandbox: Any) -> None:
    s = sandbox()
    replies = s.request("hang", after=0)
    ended = threading.Event()

    def close() -> None:
        s.close()
        s.close()
        ended.set()

    threading.Thread(target=close).start()
    assert ended.wait(5.0)
    assert gone(s.pid)
    with pytest.raises(RecordingError, match="is closed"):
        next(replies)


def test_cancel_ends_a_read_that_waits(sandbox: Any) -> None:
    s = sandbox(deadline_s=60)
    threading.Timer(0.2, s.cancel).start()
    with pytest.raises(ReadCancelled):
        next(s.request("slow", n=1000, pause_s=0.05))
    s.resume()
    assert len(list(s.request("echo", n=2, size=1))) == 2


def test_a_chatty_child_is_not_blocked_by_its_own_noise(sandbox: Any) -> None:
    assert [r.header["k"] for r in sandbox().request("chatter")] == [1]


def test_a_forgotten_sandbox_ends_its_child() -> None:
    s = Sandbox(SERVER, {}, what="file.x")
    pid = s.pid
    del s
    assert gone(pid)


@pytest.mark.parametrize("verb", ["echo", "hang"])
def test_the_child_dies_with_its_parent(verb: str) -> None:
    """Killed outright, even while the child hangs in native code that holds the interpreter's lock."""
    arguments = {"echo": {"n": 1 << 30, "size": 1_000_000}, "hang": {"after": 1}}[verb]
    code = (
        "import sys, time\n"
        "from recordings.sandbox import Sandbox\n"
        f"s = Sandbox({SERVER!r}, {{}}, what='x', deadline_s=600)\n"
        f"next(s.request({verb!r}, **{arguments!r}))\n"
        "print(s.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    assert gone(child)


def test_it_works_inside_a_daemonic_process() -> None:
    """`multiprocessing` forbids its daemons children of its own kind; camera workers may be daemons."""
    code = (
        "import multiprocessing as mp\n"
        "from tests.recordings.test_sandbox import _echo_three\n"
        "if __name__ == '__main__':\n"
        "    q = mp.get_context('spawn').Queue()\n"
        "    p = mp.get_context('spawn').Process(target=_echo_three, args=(q,), daemon=True)\n"
        "    p.start(); print(q.get(timeout=60)); p.join()\n"
    )
    script = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert script.stdout.strip() == "3", script.stderr


def _echo_three(q: Any) -> None:
    s = Sandbox(SERVER, {}, what="x")
    q.put(len(list(s.request("echo", n=3, size=5))))
    s.close()


@pytest.mark.parametrize(
    ("rows", "size", "slots"),
    [
        ([["a", "|u1", [4], 0]], 4, [10**6]),  # no such place in the arena
        ([["a", "|u1", [1 << 80], 0]], 4, [0]),  # no number of 64 bits
        ([["a", "|u1", [8], 0]], 4, [0]),
        ([["a", "|u1", [4]]], 4, [0]),
        ([["a", "|u1", [4], 0]], 4, [0, 0]),
        ([["a", "|u1", [4], 0]], -4, [0]),
    ],
)
def test_a_message_that_cannot_be_is_one_line(
    sandbox: Any, monkeypatch: pytest.MonkeyPatch, rows: list[Any], size: int, slots: list[int]
) -> None:
    s = sandbox()
    message = msgpack.packb([1, "item", {}, rows, size, slots], default=str)
    monkeypatch.setattr(s, "_wait", lambda: None)
    monkeypatch.setattr(s, "_connection", SimpleNamespace(recv_bytes=lambda: message, close=lambda: None))
    with pytest.raises(RecordingError, match="sent nonsense") as e:
        s._receive(1)
    assert "\n" not in str(e.value)
