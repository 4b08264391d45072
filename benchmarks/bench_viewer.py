"""Paint rate of the viewer's window, offscreen, on a session that only hands pictures out.

    python -m benchmarks.bench_viewer [--size 1152x768] [--fps 60] [--seconds 5]

The pictures are made before they are measured; the pipeline is not part of it. On a shared machine the
figures vary; the share of one core says more than the rate.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import cv2
from PySide6.QtGui import QPaintEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from rich.console import Console
from rich.table import Table

from app.session import Picture
from app.viewer import theme
from app.viewer.modes import EventsMode, View
from app.viewer.picture_view import PictureView
from app.viewer.remembered import Remembered
from app.viewer.window import ViewerWindow
from inference.memory import keep_freed_memory
from tests.app.viewer.fake_session import FakeSession, Scene

# View, events, map of the re-blur residual.
CASES = [
    *((v, EventsMode.OFF, False) for v in View),
    (View.WIPE, EventsMode.INSET, False), (View.WIPE, EventsMode.OVERLAY, False),
    (View.WIPE, EventsMode.OFF, True), (View.SHARP, EventsMode.OFF, True),
]  # fmt: skip


class Ready(FakeSession):
    """Pictures out of a store: handing one out costs nothing."""

    def picture(self, k: int, latents: tuple[float, ...], *, held: bool = False) -> Picture:
        store = self.__dict__.setdefault("store", {})
        key = k % self.scene.frames
        p: Picture = store.get(key) or super().picture(key, latents, held=held)
        store[key] = p
        fields = {n: getattr(p, n) for n in Picture.__slots__}
        now = int(self.clock() * 1e9)
        return Picture(**{**fields, "ordinal": k, "exposure_end_host_ns": now, "ready_host_ns": now})


class Stopwatch:
    """CPU time that the GUI thread spends in one paint of the picture: other load does not count."""

    def __init__(self, view: PictureView) -> None:
        self.seconds: list[float] = []
        real = view.paintEvent

        def timed(event: QPaintEvent) -> None:
            start = time.thread_time()
            real(event)
            self.seconds.append(time.thread_time() - start)

        view.paintEvent = timed  # type: ignore[method-assign]


def cpu() -> float:
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--size", default="1152x768")
    arguments.add_argument("--window", default="1280x900")
    arguments.add_argument("--fps", type=float, default=60.0)
    arguments.add_argument("--events", type=int, default=100_000)
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--repeats", type=int, default=3)
    a = arguments.parse_args()
    width, height = (int(v) for v in a.size.split("x"))
    scene = Scene(width, height, scale=4 if width >= 1000 else 1, frames=8, events_per_frame=a.events)
    cv2.setNumThreads(1)  # as run_viewer does, and this:
    keep_freed_memory()
    app = QApplication.instance() or QApplication(["bench"])
    assert isinstance(app, QApplication)
    theme.apply(app)

    def factory(_source: str | Path, network: str) -> FakeSession:
        return Ready(scene, fps=a.fps, network=network)

    window = ViewerWindow(factory, Remembered.nowhere())
    window.resize(*(int(v) for v in a.window.split("x")))
    window.show()
    window.open_source("bench", "edi")
    watch = Stopwatch(window.picture)
    QTest.qWait(500)
    table = Table(
        title=f"viewer: {a.size} at {a.fps:g} fps, {a.events} events a frame, picture area "
        f"{window.picture.width()}×{window.picture.height()}, median of {a.repeats}",
        caption=f"python -m benchmarks.bench_viewer --size {a.size} --fps {a.fps:g} --seconds {a.seconds:g}",
    )
    for heading in ("view", "paints/s", "ticks/s", "CPU ms a paint", "95 %", "CPU, % of a core"):
        table.add_column(heading, justify="left" if heading == "view" else "right")
    for view, events, residual in CASES:
        window.set_view(view)
        window.set_events_mode(events)
        window.set_residual(residual)
        QTest.qWait(300)
        rows = []
        for _ in range(a.repeats):
            watch.seconds.clear()
            painted, ticked = window.picture.paints, window.presenter.ticks
            used, began = cpu(), time.perf_counter()
            QTest.qWait(round(a.seconds * 1000 / a.repeats))
            span = time.perf_counter() - began
            ms = sorted(1e3 * s for s in watch.seconds) or [0.0]
            rows.append(
                (
                    (window.picture.paints - painted) / span,
                    (window.presenter.ticks - ticked) / span,
                    statistics.median(ms),
                    ms[int(0.95 * (len(ms) - 1))],
                    100 * (cpu() - used) / span,
                )
            )
        middle = [statistics.median(c) for c in zip(*rows, strict=True)]
        name = view.value if events is EventsMode.OFF else f"{view.value} + {events.value}"
        name += " + residual" if residual else ""
        table.add_row(name, *(f"{v:.{d}f}" for v, d in zip(middle, (1, 1, 2, 2, 0), strict=True)))
    window.close()
    Console(width=112).print(table)


if __name__ == "__main__":
    main()
