"""The whole live pipeline on this machine: rate, latency, losses, processor time; and the window's paint rate.

    python -m benchmarks.bench_live [--seconds 20] [--write]

Each row is a session as `halfmirror live` starts it, with its worker processes, paced by the wall clock. The
latency runs from the end of the exposure (by the lower envelope of the events' arrival) to the finished sharp
picture, and to when the viewer's loop took it. `window` rows run the real window offscreen on top and force a
paint at every tick of its 60 Hz loop.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from rich.console import Console
from rich.table import Table

from app.live import LiveSession, make_session
from app.measure import cpu_seconds
from app.session import Picture, SessionStatus
from capture.cores import usable_cores

RESULTS = Path(__file__).parent / "results" / "live.md"
WARM_UP_S = 3.0


@dataclass
class Run:
    name: str
    seconds: float
    ready_ms: list[float]
    seen_ms: list[float]
    status: SessionStatus
    before: SessionStatus
    cores: float
    paints_hz: float | None = None
    ticks_hz: float | None = None

    def row(self) -> list[str]:
        restored = self.status.items_out - self.before.items_out
        came = self.status.items_in - self.before.items_in - (self.status.waiting - self.before.waiting)
        lost = {
            k: n - self.before.losses.get(k, 0)
            for k, n in self.status.losses.items()
            if n > self.before.losses.get(k, 0)
        }
        p = np.percentile(self.ready_ms or [np.nan], [50, 95])
        q = np.percentile(self.seen_ms or [np.nan], [50, 95])
        return [
            self.name,
            f"{restored / self.seconds:.1f}",
            f"{restored} of {came}",
            f"{p[0]:.0f} / {p[1]:.0f}",
            f"{q[0]:.0f} / {q[1]:.0f}",
            f"{self.cores:.2f}",
            "–" if self.paints_hz is None else f"{self.paints_hz:.0f} ({self.ticks_hz:.0f})",
            ", ".join(f"{k} {n}" for k, n in lost.items()) or "none",
        ]


class Meter:
    """Notes each picture's latency; CPU time of this process and its workers."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.ready: list[float] = []
        self.seen: list[float] = []
        self._poll = session.poll
        session.poll = self.poll  # type: ignore[method-assign]

    def poll(self) -> Picture | None:
        p = self._poll()
        if p is not None and not p.held and p.sharp is not None and p.exposure_end_host_ns:
            self.ready.append((p.ready_host_ns - p.exposure_end_host_ns) / 1e6)
            self.seen.append((time.monotonic_ns() - p.exposure_end_host_ns) / 1e6)
        return p

    def clear(self) -> None:
        self.ready.clear()
        self.seen.clear()


def started(source: str, seconds: float, poll: bool = True) -> tuple[LiveSession, Meter]:
    session = make_session(source, "edi")
    meter = Meter(session)
    session.start()
    if poll:
        wait(meter, 120.0, until_first=True)
        wait(meter, WARM_UP_S)
    return session, meter


def wait(meter: Meter, seconds: float, *, until_first: bool = False) -> None:
    end = time.monotonic() + seconds
    status_at = 0.0
    while time.monotonic() < end:
        if meter.session.poll() is None:
            time.sleep(0.004)
        if time.monotonic() - status_at > 0.1:
            status_at = time.monotonic()
            meter.session.status()
        if until_first and meter.ready:
            return


def headless(source: str, seconds: float) -> Run:
    session, meter = started(source, seconds)
    try:
        meter.clear()
        before, cpu, began = session.status(), cpu_seconds(), time.monotonic()
        wait(meter, seconds)
        took = time.monotonic() - began
        used = cpu_seconds() - cpu
        return Run(source, took, meter.ready, meter.seen, session.status(), before, used / took)
    finally:
        session.stop()


def windowed(source: str, seconds: float) -> Run:
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    from app.viewer import theme
    from app.viewer.remembered import Remembered
    from app.viewer.window import ViewerWindow

    app = QApplication.instance() or QApplication(["bench"])
    theme.apply(app)
    session = make_session(source, "edi")
    meter = Meter(session)
    window = ViewerWindow(lambda s, n: session, Remembered.nowhere())
    window.resize(1280, 900)
    window.show()
    window.open_source(source, "edi")
    try:
        while not meter.ready:
            QTest.qWait(50)
        QTest.qWait(int(1e3 * WARM_UP_S))
        real = window.tick_rate.tick

        def tick() -> None:
            real()
            window.picture.update()

        window.tick_rate.tick = tick  # type: ignore[method-assign]
        meter.clear()
        before, cpu, began = session.status(), cpu_seconds(), time.monotonic()
        painted, rates = window.picture.paints, []
        for _ in range(int(seconds)):
            QTest.qWait(1000)
            rates.append(window.tick_rate.hz())
        took = time.monotonic() - began
        used = cpu_seconds() - cpu
        run = Run(f"{source}, window", took, meter.ready, meter.seen, session.status(), before, used / took)
        run.paints_hz = (window.picture.paints - painted) / took
        run.ticks_hz = float(np.median(rates))
        return run
    finally:
        window.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--source", action="append", help="only this one (may be given several times)")
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS}")
    a = parser.parse_args()
    sources = a.source or ["simulated:davis", "simulated:handheld", "simulated:traffic", "simulated:night"]
    columns = [
        "source", "sharp/s", "restored", "end → ready ms p50/p95", "end → seen ms p50/p95", "cores",
        "paints/s (ticks/s)", "lost in that time",
    ]  # fmt: skip
    runs = [headless(s, a.seconds) for s in sources]
    runs += [windowed(s, a.seconds) for s in sources[:2]]
    load = os.getloadavg()[0]
    command = f"python -m benchmarks.bench_live --seconds {a.seconds:g}"
    table = Table(*columns, title=f"{command}, EDI, {usable_cores()} cores, load {load:.1f} at the end")
    for r in runs:
        table.add_row(*r.row())
    Console(width=200).print(table)
    if a.write:
        lines = [
            "# The live pipeline",
            "",
            f"`{command}`, EDI, {usable_cores()} cores, load {load:.1f} at the end",
            "",
        ]
        lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        lines += ["| " + " | ".join(r.row()) + " |" for r in runs]
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
