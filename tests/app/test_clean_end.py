"""However the program ends, no process, no shared memory and no directory stays behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.capture.shm import segments

ROOT = Path(__file__).resolve().parents[2]
GUARD_S = 60.0


class Program:
    """The program of program.py in a process group of its own, as a shell would start it."""

    def __init__(self, how: str, tmp: Path) -> None:
        self.tmp = tmp
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.app.program", how], cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return
        raise AssertionError(self.process.communicate()[1])

    def group(self) -> list[int]:
        """All living processes of the group: workers, the resource tracker."""
        found = []
        for p in psutil.process_iter():
            try:
                if os.getpgid(p.pid) == self.process.pid and p.status() != psutil.STATUS_ZOMBIE:
                    found.append(p.pid)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def left(self) -> tuple[list[int], set[str], list[str]]:
        return self.group(), segments(self.process.pid), [d.name for d in self.tmp.glob("halfmirror-*")]

    def ends(self) -> tuple[int, str]:
        """Exit status and what was said on stderr, once the whole group has ended."""
        _, err = self.process.communicate(timeout=GUARD_S)
        deadline = time.monotonic() + GUARD_S
        while self.group() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.process.returncode, err


Start = Callable[[str], Program]


@pytest.fixture
def run() -> Iterator[Start]:
    made: list[Program] = []
    tmp = Path(tempfile.mkdtemp(prefix="hm", dir="/tmp"))  # short: a socket's path has at most 107 bytes

    def start(how: str) -> Program:
        made.append(Program(how, tmp))
        return made[-1]

    yield start
    for p in made:
        if p.group():
            os.killpg(p.process.pid, signal.SIGKILL)
        p.process.communicate()
        for name in segments(p.process.pid):  # only after a failure: the tracker was killed with the group
            Path("/dev/shm", name).unlink(missing_ok=True)
    shutil.rmtree(tmp)


NOTHING: tuple[list[int], set[str], list[str]] = ([], set(), [])


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("raise", 1)])
def test_the_end_of_the_program(run: Start, how: str, status: int) -> None:
    p = run(how)
    code, err = p.ends()
    assert code == status
    assert ("Traceback" in err) == (how == "raise")
    assert "leaked" not in err
    assert p.left() == NOTHING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_while_it_runs(run: Start, number: signal.Signals) -> None:
    p = run("wait")
    p.wait_for("running")
    # A terminal sends SIGINT and SIGHUP to the group; the others are sent to the program alone.
    if number is signal.SIGTERM:
        p.process.send_signal(number)
    else:
        os.killpg(p.process.pid, number)
    code, err = p.ends()
    assert code == 128 + number
    assert "Traceback" not in err
    assert "leaked" not in err
    assert p.left() == NOTHING


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.15, 0.3])
def test_ctrl_c_at_any_moment_of_the_start(run: Start, delay_s: float) -> None:
    p = run("wait")
    p.wait_for("begin")
    time.sleep(delay_s)
    os.killpg(p.process.pid, signal.SIGINT)
    code, err = p.ends()
    assert code == 130
    assert "Traceback" not in err
    assert p.left() == NOTHING


def test_ctrl_c_again_and_again(run: Start) -> None:
    p = run("wait")
    p.wait_for("running")
    while p.process.poll() is None:
        os.killpg(p.process.pid, signal.SIGINT)
        time.sleep(0.02)
    p.ends()
    assert p.left() == NOTHING


@pytest.mark.parametrize("how", ["kill", "segv"])
def test_a_killed_program_takes_its_workers_and_its_memory_along(run: Start, how: str) -> None:
    p = run("segv" if how == "segv" else "wait")
    p.wait_for("running")
    if how == "kill":
        p.process.kill()
    p.ends()
    deadline = time.monotonic() + GUARD_S
    while segments(p.process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    group, memory, directories = p.left()
    assert (group, memory) == ([], set())
    # Nobody was left to remove the directory; the next start does.
    assert len(directories) == 1
    q = run("return")
    assert q.ends()[0] == 0
    assert q.left() == NOTHING


@pytest.mark.parametrize(("module", "opens", "make"), [
    ("app.live", "LiveSession", "make_session('simulated:davis', 'edi')"),
    ("app.preview", "Preview", "Preview(None, None)"),
])  # fmt: skip
def test_the_tracker_outlives_the_terminal_where_the_supervisor_is_made_in_another_thread(
    module: str, opens: str, make: str
) -> None:
    """Else closing the terminal of a live session ends it first, and shared memory stays behind a kill."""
    script = (
        f"import {module} as m\n"
        "from multiprocessing import resource_tracker as r\n"
        f"m.{opens}._open = lambda *_: None\n"
        f"m.{make}.start()\n"
        "status = open(f'/proc/{r._resource_tracker._pid}/status').read()\n"
        "print(int(status.split('SigIgn:')[1].split()[0], 16) & 1)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("1\n", "")
