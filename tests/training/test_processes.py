"""Worker processes end with their parent, whatever ends it, and at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from training.processes import processes

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 300.0


def _gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_an_interrupt_does_not_wait_for_the_work_at_hand() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), processes(2) as pool:
        pids = [p.result() for p in [pool.submit(_pid), pool.submit(_pid)]]
        for _ in range(4):
            pool.submit(time.sleep, LONG_S)
        raise KeyboardInterrupt
    assert time.monotonic() - began < LONG_S / 3
    assert _gone(pids)


def test_a_killed_parent_takes_them_along() -> None:
    """They would wait for work forever, each with its libraries in memory."""
    script = (
        "import os, time\n"
        "from training.processes import processes\n"
        "if __name__ == '__main__':\n"
        "    with processes(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        time.sleep(300)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    gone = _gone([child])
    if not gone:
        os.kill(child, signal.SIGKILL)
    assert gone


def _pid() -> int:
    return os.getpid()
