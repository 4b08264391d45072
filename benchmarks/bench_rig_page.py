"""What the rig page costs the GUI thread: CPU time of ticks and paints, on the preview of simulated rigs.

    python -m benchmarks.bench_rig_page [--rig simulated:handheld] [--seconds 6] [--size 1920x1080]

CPU time of the GUI thread alone, so that other load on the machine does not count. Goal: no tick over 10 ms.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import cv2
import numpy as np
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from rich.console import Console
from rich.table import Table

from app.cli.device_survey import Survey
from app.live import make_session
from app.viewer import theme
from app.viewer.live_pane import LivePane
from app.viewer.remembered import Remembered
from app.viewer.rig_meters import FocusBar, HistogramView, RateBar
from app.viewer.window import ViewerWindow

START_S = 120.0


def watched(owner: Any, name: str, times: list[float]) -> Callable[[], None]:
    """Count a method's CPU time; what is returned ends it."""
    plain = getattr(owner, name)

    def method(*arguments: Any) -> Any:
        began = time.thread_time()
        try:
            return plain(*arguments)
        finally:
            times.append(1e3 * (time.thread_time() - began))

    setattr(owner, name, method)
    return lambda: setattr(owner, name, plain)


def measure(rig: str, size: tuple[int, int], seconds: float, overlap: bool) -> dict[str, Any]:
    """One window on one rig."""
    ticks: list[float] = []
    paints: list[float] = []
    restore = [watched(kind, "paintEvent", paints) for kind in (LivePane, HistogramView, RateBar, FocusBar)]
    restore.append(watched(ViewerWindow, "tick", ticks))
    window = ViewerWindow(lambda source, network: make_session(source, network), Remembered.nowhere())
    window.rig.choices.discovery._survey = Survey
    window.resize(*size)
    window.show()
    window.rig.show(Path(rig) if rig.endswith(".toml") else rig)
    try:
        deadline = time.monotonic() + START_S
        while window.rig.views < 5 or (overlap and window.rig.setup.matrix() is None):
            if time.monotonic() > deadline:
                raise SystemExit(f"{rig}: nothing is seen ({window.rig.page.frames.problem})")
            QTest.qWait(50)
        window.rig.set_overlap(overlap)
        QTest.qWait(500)
        ticks.clear()
        paints.clear()
        views, began = window.rig.views, time.monotonic()
        QTest.qWait(round(1000 * seconds))
        span = time.monotonic() - began
        return {
            "views_hz": (window.rig.views - views) / span, "ticks": np.array(ticks), "paints": np.array(paints),
            "core": (sum(ticks) + sum(paints)) / span / 1e3,
        }  # fmt: skip
    finally:
        window.close()
        for undo in restore:
            undo()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rig", action="append")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--size", default="1920x1080")
    args = parser.parse_args()
    width, height = (int(v) for v in args.size.split("x"))
    cv2.setNumThreads(1)
    app = QApplication.instance() or QApplication(["halfmirror"])
    assert isinstance(app, QApplication)
    theme.apply(app)
    table = Table(title=f"The rig page at {args.size}: CPU time of the GUI thread, ms")
    heads = "rig,shown,views/s,tick p50,tick p99,tick max,paint p50,paint max,of a core"
    for head in heads.split(","):
        table.add_column(head)
    for rig in args.rig or ["simulated:handheld", "simulated:davis"]:
        for overlap in (False, True):
            r = measure(rig, (width, height), args.seconds, overlap)
            t, p = r["ticks"], r["paints"]
            figures = (*np.percentile(t, (50, 99)), t.max(), np.percentile(p, 50), p.max())
            shown = "overlap" if overlap else "side by side"
            table.add_row(
                rig, shown, f"{r['views_hz']:.1f}", *(f"{v:.2f}" for v in figures), f"{r['core']:.1%}"
            )  # fmt: skip
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
