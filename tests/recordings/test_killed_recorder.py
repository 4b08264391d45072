"""A recorder killed at any moment leaves a readable recording, at most a second short."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from capture.packets import EventPacket
from recordings.open import open_recording

KILLS = 10
SOAK_KILLS = 100


def killed_after(folder: Path, seconds: float) -> list[tuple[int, int]]:
    """(items handed over, when) as the child told before it was killed, so long after its first item."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.recordings.recorder_child", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        first = child.stdout.readline()
        assert first, "the child recorded nothing"
        time.sleep(seconds)
    finally:
        child.kill()
    lines = [first, *child.stdout.read().splitlines()]
    child.wait()
    whole = [line.split() for line in lines if len(line.split()) == 2]
    return [(int(n), int(t)) for n, t in whole]


def check(folder: Path, seconds: float) -> None:
    told = killed_after(folder, seconds)
    with open_recording(folder) as r:
        got = [i for i in r.items() if isinstance(i, EventPacket)]
        assert any("did not come to an end" in p for p in r.info.problems)
        # A torn last chunk may be there; damage in the middle may not.
        assert not any("are damaged" in p for p in r.info.problems)
        assert r.report.problems == list(r.info.problems)
    died_ns = told[-1][1]
    a_second_before = max((n for n, t in told if t < died_ns - 1_000_000_000), default=0)
    assert len(got) >= max(1, a_second_before)
    marks = [p.complete_until_us for p in got]
    assert marks == sorted(marks)


@pytest.mark.timeout(600)
def test_a_killed_recorder_loses_at_most_a_second(tmp_path: Path) -> None:
    moments = random.Random(7)
    for n in range(KILLS):
        check(tmp_path / f"{n}", moments.uniform(0.05, 2.0))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path: Path) -> None:
    moments = random.Random(8)
    for n in range(SOAK_KILLS):
        check(tmp_path / f"{n}", moments.uniform(0.0, 3.0))
