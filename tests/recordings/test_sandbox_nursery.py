"""Where the sandbox's children come from: one process forks them all, and nothing of it is left behind."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import subprocess
import sys
import threading
from importlib import import_module
from typing import Any

import psutil
import pytest

from recordings import sandbox_process
from recordings.formats.dataset_server import ALSO
from recordings.recording import RecordingError
from recordings.sandbox import Sandbox
from tests.recordings.test_sandbox import ROOT, SERVER, gone


def served(sandbox: Sandbox) -> int:
    return len(list(sandbox.request("echo", n=3, size=5)))


def nursery_pid() -> int:
    sandbox_process.prepare()
    (pid,) = (p.pid for p in psutil.Process().children() if "sandbox_nursery" in str(p.cmdline()))
    return pid


def test_children_have_one_parent_and_a_session_each() -> None:
    made = [Sandbox(SERVER, {}, what="x") for _ in range(3)]
    assert [served(s) for s in made] == [3] * 3
    assert {psutil.Process(s.pid).ppid() for s in made} == {nursery_pid()}
    assert {os.getsid(s.pid) for s in made} == {s.pid for s in made}
    for s in made:
        s.close()
        assert gone(s.pid)


def test_a_child_holds_nothing_of_the_others() -> None:
    """Else one that hangs would keep files and pipes of all before it open."""
    first = Sandbox(SERVER, {}, what="x")
    served(first)
    alone = psutil.Process(first.pid).num_fds()
    more = [Sandbox(SERVER, {}, what="x") for _ in range(4)]
    assert [served(s) for s in more] == [3] * 4
    assert psutil.Process(more[-1].pid).num_fds() == alone
    for s in (first, *more):
        s.close()


def test_nothing_piles_up_in_this_process_or_in_the_nursery() -> None:
    nursery = psutil.Process(nursery_pid())
    counts = []
    for _ in range(9):
        s = Sandbox(SERVER, {}, what="x")
        assert served(s) == 3
        s.close()
        counts.append((nursery.num_fds(), psutil.Process().num_fds()))
    # The nursery lets go of a child a moment later; what is left of each would be eight by the end.
    assert all(last - first < 4 for first, last in zip(counts[0], counts[-1], strict=True)), counts
    assert not nursery.children()
    assert nursery.num_threads() == 1


def test_a_killed_nursery_costs_its_children_nothing_and_the_next_child_a_new_one() -> None:
    old, pid = Sandbox(SERVER, {}, what="x"), nursery_pid()
    assert served(old) == 3
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert served(old) == 3
    new = Sandbox(SERVER, {}, what="x")
    assert served(new) == 3
    assert nursery_pid() != pid
    for s in (old, new):
        s.close()
        assert gone(s.pid)


def test_a_stopped_nursery_does_not_make_closing_wait() -> None:
    s = Sandbox(SERVER, {}, what="x")
    assert served(s) == 3
    pid = nursery_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        closed = threading.Event()
        threading.Thread(target=lambda: (s.close(), closed.set())).start()
        assert closed.wait(5.0)
        assert gone(s.pid)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_it_is_gone_with_the_process_it_serves() -> None:
    code = (
        "from tests.recordings.test_sandbox_nursery import nursery_pid\n"
        "print(nursery_pid(), flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    assert gone(pid)


def test_a_fork_of_this_process_starts_its_own() -> None:
    mine = nursery_pid()
    there, q = mp.Pipe(duplex=False)
    p = mp.get_context("fork").Process(target=_fork, args=(q,))
    p.start()
    assert there.poll(60)
    served_there, its = there.recv()
    p.join()
    assert served_there == 3
    assert its != mine
    s = Sandbox(SERVER, {}, what="x")
    assert served(s) == 3
    s.close()


def _fork(q: Any) -> None:
    s = Sandbox(SERVER, {}, what="x")
    q.send((served(s), psutil.Process(s.pid).ppid()))
    s.close()


def test_a_reader_that_cannot_be_imported_is_one_line() -> None:
    s = Sandbox("tests.recordings.no_such_module:Server", {}, what="file.x")
    with pytest.raises(RecordingError, match=r"^file\.x: No module named 'tests\.recordings\.no_such_module'$"):
        s.call("describe")
    s.close()


def test_what_is_imported_ahead_is_there() -> None:
    """The nursery passes over what it cannot import, which a misspelt name would be as well."""
    assert [import_module(name).__name__ for name in ALSO] == list(ALSO)
