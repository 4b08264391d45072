"""A recorder killed at any moment leaves a recording that opens after `repair`, at most a second short."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from capture.packets import EventPacket, Frame
from recordings.checking.findings import Grade
from recordings.checking.repair_own import repair_own
from recordings.checking.verify import verify
from recordings.formats.own_about import HEALTH
from recordings.open import open_recording
from tests.recordings.own_sample import Item, items_of, same
from tests.recordings.recorder_child import CONFIG, given

KILLS = 6
SOAK_KILLS = 100
A_SECOND_NS = 1_000_000_000


def killed_after(folder: Path, seconds: float) -> list[tuple[str, int]]:
    """(kind of the item handed over, when) as the child told before it was killed, so long after its first."""
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
    return [(kind, int(t)) for kind, t in whole]


def check(folder: Path, seconds: float, items: list[Item]) -> None:
    told = killed_after(folder / "killed", seconds)
    (folder / "out").mkdir()
    report = repair_own(folder / "killed", folder / "out")
    with open_recording(folder / "out") as r:
        got = list(r.items())
        assert r.report.problems == list(r.info.problems)
    # Exactly what was recorded, in order, from the first item on.
    assert all(same(a, given(n, items)) for n, a in enumerate(got))  # type: ignore[arg-type]
    kept = [sum(isinstance(i, kind) for i in got) for kind in (EventPacket, Frame)]
    assert [report.packets, report.frames] == kept
    assert report.events == sum(len(i.events) for i in got if isinstance(i, EventPacket))
    # At most a second is lost.
    died_ns = told[-1][1]
    before = sum(t < died_ns - A_SECOND_NS for _, t in told)
    assert len(got) >= max(1, before)
    # What the report calls lost was recorded and is not there; one item may have been handed over and not told.
    assert report.verdict == "lossy"
    assert "when it was killed" in report.unfinished
    lost = report.losses
    handed = [sum(k == kind for k, _ in told) for kind in ("events", "frame")]
    assert lost.unknown == 0
    for n, (is_kept, is_lost) in enumerate(zip(kept, (lost.packets, lost.frames), strict=True)):
        assert is_kept + is_lost <= handed[n] + 1
    health = json.loads((folder / "out" / HEALTH).read_text())
    assert health["state"] == "repaired with losses"
    assert health["repair"]["lost"]["frames"] == lost.frames
    v = verify(folder / "out")
    assert v.grade == Grade.LOSS
    assert {f.where for f in v.findings if f.grade == Grade.LOSS} == {"recorder"}


@pytest.mark.timeout(600)
def test_a_killed_recorder_loses_at_most_a_second(tmp_path: Path) -> None:
    moments, items = random.Random(7), items_of(CONFIG, 0.4)
    for n in range(KILLS):
        (tmp_path / f"{n}").mkdir()
        check(tmp_path / f"{n}", moments.uniform(0.05, 1.8), items)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path: Path) -> None:
    moments, items = random.Random(8), items_of(CONFIG, 0.4)
    for n in range(SOAK_KILLS):
        (tmp_path / f"{n}").mkdir()
        check(tmp_path / f"{n}", moments.uniform(0.0, 3.0), items)
