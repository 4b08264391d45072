"""Recording beside live restoring for a long time: nothing lost, memory flat, counters add up.

    make soak-record                                   # 30 minutes
    HALFMIRROR_SOAK_SECONDS=300 make soak-record
    HALFMIRROR_SOAK_SEQUENCES=1 make soak-record       # all in one recording: 105 GB

The time is divided into recordings that follow one another in one run of the program; each is verified and
removed while the next one is made, so half an hour fits into some 30 GB. The test run takes 10 s of the same,
with small sensors, in two recordings.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.live import LiveSession, make_session
from app.recorder import RecordRequest
from app.session import SessionStatus
from recordings.checking.findings import Grade
from recordings.checking.verify import verify
from recordings.recorder.stream_file import QUEUE_BYTES
from recordings.recorder.take import Limits
from tests.app.live_watch import ONE_SENSOR

MINUTES_30 = 1800.0
FLAT_BYTES = 50e6
BUSY = 4.0
"""Load for each core above which losses are the machine's: every process waits its turn for seconds."""
BYTES_A_SECOND = 34e6  # of the davis preset: 7 Mev/s of 4 bytes, and frames
RESERVE = 8e9
SEQUENCE_S = 150.0
"""One recording of a long run: 5 GB."""
# Buffers grow to their size, kernels are compiled, the disk's queue has seen its first stall.
SETTLE_SHARE, SETTLE_MOST_S = 0.5, 60.0
LEVEL_S = 10.0


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
        """Of each the highest level minus the first, from a time on.

        A level is the lowest of `LEVEL_S`: what waits while the disk stalls for a second (as much as
        `recordings.recorder.stream_file` says at most) comes and goes, a leak stays.
        """
        out = {}
        for name, seen in self.by_worker.items():
            levels: dict[int, int] = {}
            for t, b in seen:
                if t >= since_s:
                    n = int((t - since_s) // LEVEL_S)
                    levels[n] = min(b, levels.get(n, b))
            if levels:
                out[name] = float(max(levels.values()) - levels[min(levels)])
        return out

    def peak(self, since_s: float) -> dict[str, float]:
        """Of each the highest moment minus the lowest, from a time on."""
        late = {n: [b for t, b in seen if t >= since_s] for n, seen in self.by_worker.items()}
        return {n: float(max(b) - min(b)) for n, b in late.items() if b}


def adds_up(s: SessionStatus) -> bool:
    aside = ("ring event packets", "camera events", "rejected events")
    dropped = sum(n for place, n in s.losses.items() if place not in aside)
    return s.items_in == s.items_out + dropped + s.waiting


COUNTED = ("frames", "events", "event_packets", "edges")


@dataclass(frozen=True)
class Verified:
    """What a recording held; `sound`: but for remarks."""

    sound: bool
    findings: str
    counts: dict[str, int]


def verified(folder: Path) -> Verified:
    """Verify a recording and remove it, in a process apart."""
    v = verify(folder, deadline_s=60.0)
    shutil.rmtree(folder)
    return Verified(v.grade == Grade.NOTE, str(v.findings), {k: v.counts[k] for k in COUNTED})


class Verifying:
    """Verifies each recording as it ends, with what the others leave of the machine."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.nice, (10,))
        self._by_folder: dict[str, Future[Verified]] = {}

    def look(self, health: dict[str, dict[str, Any]]) -> None:
        for folder in health.keys() - self._by_folder.keys():
            self._by_folder[folder] = self._pool.submit(verified, Path(folder))
        for done in [f for f in self._by_folder.values() if f.done()]:
            done.result()  # what fails ends the run now

    def found(self) -> dict[str, Verified]:
        """Waits for the last one."""
        return {folder: f.result(600.0) for folder, f in self._by_folder.items()}

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def record_beside_live(
    folder: Path, seconds: float, settings: dict[str, Any] | None = None, sequences: int = 1
) -> None:
    # A recording ends by the cameras' clock; what the disk is slow for is waited for at the end.
    request = RecordRequest(folder, sequences, Limits(seconds=seconds / sequences), network="edi")
    session = make_session("simulated:davis", "edi", settings=settings, device="cpu", record=request)
    memory = Memory()
    with closing(Verifying()) as verifying:
        session.start()
        try:
            pictures = watched(session, memory, verifying, seconds, sequences)
            last = session.status()
        finally:
            session.stop()
        found = verifying.found()
    healths = {f: session.recording.health[f] for f in sorted(session.recording.health)}
    settled = min(SETTLE_MOST_S, SETTLE_SHARE * seconds)
    growth, peak = (
        {k: f"{v / 1e6:.1f} MB" for k, v in figures(settled).items()}
        for figures in (memory.growth, memory.peak)
    )
    frames, losses = 0, Counter[str]()
    for h in healths.values():
        frames += h["frames"]
        losses.update({k: n for k, n in h["losses"].items() if n})
    print(
        f"{seconds:.0f} s in {len(healths)} recordings: {frames} frames, "
        f"{sum(h['events'] for h in healths.values()) / 1e6:.1f} M events, "
        f"{sum(h['disk']['bytes'] for h in healths.values()) / 1e6:.0f} MB, {pictures} pictures; "
        f"longest wait for the disk {max(h['disk']['longest_stall_s'] for h in healths.values()):.2f} s; "
        f"lost: {dict(losses) or 'nothing'}; growth of memory: {growth}, "
        f"its highest moment above its lowest: {peak}; "
        f"live: {last.items_in} exposures in, {last.items_out} out, "
        f"losses {({k: n for k, n in last.losses.items() if n}) or 'none'}"
    )
    # The files agree with what the recorder counted, item by item, whatever was lost.
    assert {f: v.counts for f, v in found.items()} == {
        f: {k: h[k] for k in COUNTED} for f, h in healths.items()
    }
    assert not any(Path(f).exists() for f in healths)
    assert all((h["state"], h["message"]) == ("finished", "") for h in healths.values())
    load = os.getloadavg()[0]
    if losses and load > BUSY * (os.cpu_count() or 1):
        pytest.skip(f"the machine is too busy to hold anything to: load {load:.0f}; lost {dict(losses)}")
    assert not losses
    assert all(v.sound for v in found.values()), found
    for h in healths.values():
        assert (h["gap_count"], h["time_jump_count"]) == (0, 0)
        assert h["until_us"] - h["first_us"] >= seconds / sequences * 1e6
    assert adds_up(last)
    assert last.items_in >= frames > 20 * seconds
    assert all(v < FLAT_BYTES for v in memory.growth(settled).values()), growth
    bounds = {"recorder": FLAT_BYTES + QUEUE_BYTES}
    assert all(v < bounds.get(k, 2 * FLAT_BYTES) for k, v in memory.peak(settled).items()), peak


def watched(session: LiveSession, memory: Memory, verifying: Verifying, seconds: float, sequences: int) -> int:
    """Pictures that came until every recording was whole."""
    pictures, looked, limit = 0, 0.0, time.monotonic() + 3 * seconds + 180
    while len(session.recording.health) < sequences:
        assert time.monotonic() < limit, session.status()
        assert not session.recording.problem
        pictures += session.poll() is not None
        if time.monotonic() - looked > 1.0:
            looked = time.monotonic()
            status = session.status()
            verifying.look(session.recording.health)
            figures = session.recording.figures
            if figures.get("elapsed_s"):
                before = (figures["sequence"] - 1) * seconds / sequences
                memory.look(status, before + float(figures["elapsed_s"]))
        time.sleep(0.005)
    verifying.look(session.recording.health)
    return pictures


@pytest.mark.timeout(300)
def test_ten_seconds_beside_live(tmp_path: Path) -> None:
    # A small sensor: on a machine that is busy with other tests, the full one already loses in the simulation.
    record_beside_live(tmp_path / "r", 10.0, ONE_SENSOR, sequences=2)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_half_an_hour_beside_live(tmp_path: Path) -> None:
    seconds = float(os.environ.get("HALFMIRROR_SOAK_SECONDS", MINUTES_30))
    sequences = int(os.environ.get("HALFMIRROR_SOAK_SEQUENCES", max(1, round(seconds / SEQUENCE_S))))
    # One is made, one is verified.
    needed = BYTES_A_SECOND * seconds / sequences * min(2, sequences)
    free = shutil.disk_usage(tmp_path).free
    if free - RESERVE < needed:
        pytest.skip(
            f"{tmp_path} has {free / 1e9:.0f} GB free and {(needed + RESERVE) / 1e9:.0f} GB are needed: "
            "give more HALFMIRROR_SOAK_SEQUENCES, a shorter HALFMIRROR_SOAK_SECONDS or another --basetemp"
        )
    try:
        record_beside_live(tmp_path / "r", seconds, sequences=sequences)
    finally:
        shutil.rmtree(tmp_path / "r", ignore_errors=True)  # pytest would keep three of them
