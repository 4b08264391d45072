"""Recording beside live restoring for a long time: nothing lost, memory flat, counters add up.

    make soak-record                                   # 30 minutes
    HALFMIRROR_SOAK_SECONDS=300 make soak-record

The test run takes 10 s of the same, with small sensors.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.live import LiveSession, make_session
from app.recorder import RecordRequest
from app.session import SessionStatus
from recordings.checking.findings import Grade
from recordings.checking.verify import verify
from recordings.formats.own_about import HEALTH
from recordings.recorder.take import Limits
from tests.app.test_live import ONE_SENSOR

MINUTES_30 = 1800.0
FLAT_BYTES = 50e6
BUSY = 4.0
"""Load for each core above which losses are the machine's: every process waits its turn for seconds."""
BYTES_A_SECOND = 62e6  # of the davis preset, raw: 7 Mev/s of 8 bytes, and frames
RESERVE = 8e9
# Buffers grow to their size, kernels are compiled, the disk's queue has seen its first stall.
SETTLE_SHARE, SETTLE_MOST_S = 0.5, 60.0


class Memory:
    """What each process of the session has for itself, once a second."""

    def __init__(self) -> None:
        self.by_worker: dict[str, list[tuple[float, int]]] = {}

    def look(self, status: SessionStatus, at_s: float) -> None:
        pids = {w.name: w.pid for w in status.workers if w.pid} | {"viewer": os.getpid()}
        for name, pid in pids.items():
            try:
                uss = psutil.Process(pid).memory_full_info().uss
            except psutil.Error:
                continue
            self.by_worker.setdefault(name, []).append((at_s, uss))

    def growth(self, since_s: float) -> dict[str, float]:
        """Highest minus first of each, from a time on."""
        out = {}
        for name, seen in self.by_worker.items():
            late = [b for t, b in seen if t >= since_s]
            if late:
                out[name] = float(max(late) - late[0])
        return out


def adds_up(s: SessionStatus) -> bool:
    aside = ("ring event packets", "camera events", "rejected events")
    dropped = sum(n for place, n in s.losses.items() if place not in aside)
    return s.items_in == s.items_out + dropped + s.waiting


def record_beside_live(folder: Path, seconds: float, settings: dict[str, Any] | None = None) -> None:
    # The recording ends by the cameras' clock; what the disk is slow for is waited for at the end.
    request = RecordRequest(folder, limits=Limits(seconds=seconds), network="edi")
    session = make_session("simulated:davis", "edi", settings=settings, device="cpu", record=request)
    memory, pictures = Memory(), 0
    session.start()
    try:
        pictures = watched(session, memory, seconds)
        last = session.status()
    finally:
        session.stop()
    h = json.loads((folder / HEALTH).read_text())
    settled = min(SETTLE_MOST_S, SETTLE_SHARE * seconds)
    growth = {k: f"{v / 1e6:.1f} MB" for k, v in memory.growth(settled).items()}
    frames = h["frames"]
    print(
        f"{seconds:.0f} s: {frames} frames, {h['events'] / 1e6:.1f} M events, "
        f"{h['disk']['bytes'] / 1e6:.0f} MB, {pictures} pictures; "
        f"longest wait for the disk {h['disk']['longest_stall_s']:.2f} s; "
        f"lost: {({k: n for k, n in h['losses'].items() if n}) or 'nothing'}; growth of memory: {growth}; "
        f"live: {last.items_in} exposures in, {last.items_out} out, "
        f"losses {({k: n for k, n in last.losses.items() if n}) or 'none'}"
    )
    assert (h["state"], h["message"]) == ("finished", "")
    load = os.getloadavg()[0]
    if any(h["losses"].values()) and load > BUSY * (os.cpu_count() or 1):
        pytest.skip(f"the machine is too busy to hold anything to: load {load:.0f}; lost {h['losses']}")
    assert not any(h["losses"].values())
    assert (h["gap_count"], h["time_jump_count"]) == (0, 0)
    assert h["until_us"] - h["first_us"] >= seconds * 1e6
    assert adds_up(last)
    assert last.items_in >= frames > 20 * seconds
    assert all(v < FLAT_BYTES for v in memory.growth(settled).values()), growth
    # The file agrees with what the recorder counted, item by item.
    v = verify(folder, deadline_s=60.0)
    assert v.grade == Grade.NOTE, v.findings
    assert {k: v.counts[k] for k in ("frames", "events", "event_packets", "edges")} == {
        k: h[k] for k in ("frames", "events", "event_packets", "edges")
    }


def watched(session: LiveSession, memory: Memory, seconds: float) -> int:
    """Pictures that came until the recording was whole."""
    pictures, looked, limit = 0, 0.0, time.monotonic() + 3 * seconds + 180
    while not session.recording.done:
        assert time.monotonic() < limit, session.status()
        assert not session.recording.problem
        pictures += session.poll() is not None
        if time.monotonic() - looked > 1.0:
            looked = time.monotonic()
            status = session.status()
            elapsed = float(session.recording.figures.get("elapsed_s", 0.0))
            if elapsed:
                memory.look(status, elapsed)
        time.sleep(0.005)
    return pictures


@pytest.mark.timeout(300)
def test_ten_seconds_beside_live(tmp_path: Path) -> None:
    # A small sensor: on a machine that is busy with other tests, the full one already loses in the simulation.
    record_beside_live(tmp_path / "r", 10.0, ONE_SENSOR)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_half_an_hour_beside_live(tmp_path: Path) -> None:
    seconds = float(os.environ.get("HALFMIRROR_SOAK_SECONDS", MINUTES_30))
    free = shutil.disk_usage(tmp_path).free
    fits = (free - RESERVE) / BYTES_A_SECOND
    if fits < seconds:
        pytest.skip(
            f"{tmp_path} has {free / 1e9:.0f} GB free, enough for {max(0.0, fits):.0f} s of {seconds:.0f}: "
            "give a shorter HALFMIRROR_SOAK_SECONDS or another --basetemp"
        )
    try:
        record_beside_live(tmp_path / "r", seconds)
    finally:
        shutil.rmtree(tmp_path / "r", ignore_errors=True)  # pytest would keep three of them
