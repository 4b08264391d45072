"""The figures of a session out of reports made by hand: each place, each rate, each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app import figures as module
from app.figures import Figures
from app.picture_reader import VIEWER, PictureReader
from app.session import Picture
from capture.ring import ReaderStats, RingLayout, RingMemory, RingRef
from tests.inference.restorers.rigs import one_grid

FRAMES = ReaderStats(
    "restore", 1, read=20, lost=2, superseded=3, aborted=1, waiting=4, torn=0, expired=0, lossless=False
)
FIRST: dict[str, Any] = {
    "incarnation": 0,
    "lost_frames": 5,
    "lost_event_packets": 7,
    "frame_ends": 1,
    "stage": {"superseded": 2, "failed": 1, "refused_by": {"no_events": 3}},
    "sync": {"frames_missing": 9, "superseded": 1, "events_dropped_upstream": 11, "events_rejected": 13},
}


@pytest.fixture
def reader() -> Iterator[PictureReader]:
    """The viewer's end of a ring of pictures; tests set its counters."""
    memory = RingMemory.create(RingLayout("pictures", 1 << 12, 4, (VIEWER,)))
    r = PictureReader(RingRef(memory.name, "pictures"), one_grid(16, 12))
    r.shown, r.refused_shown, r.superseded = 10, 3, 1
    r.restored_by = Counter({0: 8})
    yield r
    r.close()
    memory.close()


class Clock:
    """What `app.figures` takes for the time."""

    def __init__(self) -> None:
        self.ns = 5_000_000_000

    def monotonic(self) -> float:
        return self.ns / 1e9

    def monotonic_ns(self) -> int:
        return self.ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    c = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=c.monotonic, monotonic_ns=c.monotonic_ns))
    return c


def picture(exposure_end_host_ns: int, *, sharp: bool = True) -> Picture:
    blurred = np.zeros((2, 2), np.uint8)
    return Picture(
        0, blurred, blurred[None] if sharp else None, (0.5,), 0, 1000, "trigger", 7.5, "", "edi", None,
        np.eye(3), exposure_end_host_ns, 0,
    )  # fmt: skip


def losses(f: Figures) -> dict[str, int]:
    """Of exposures, those that are not 0."""
    return {place: n for place, n in f.exposure_losses().items() if n}


def test_every_place_has_its_count_and_what_is_left_waits(reader: PictureReader) -> None:
    f = Figures()
    f.take_report(FIRST)
    f.take_rings(reader, FRAMES)
    assert losses(f) == {
        "camera frames": 4,  # of nine that are missing the ring lost five, which it counts itself
        "superseded (seek)": 1,
        "superseded (restore)": 2,
        "superseded (viewer)": 1,
        "ring frames": 6,  # lost, superseded and aborted
        "failed": 1,
        "refused: no_events": 3,
    }
    assert f.event_losses() == {"ring event packets": 7, "camera events": 11, "rejected events": 13}
    s = f.status(())
    # 30 were written, one of them marks an end; four more never came out of the camera.
    assert (s.items_in, s.items_out, s.waiting) == (33, 7, 8)
    assert s.losses == {**f.exposure_losses(), **f.event_losses()}


def test_what_a_worker_took_along_is_the_loss_restart(reader: PictureReader) -> None:
    f = Figures()
    f.take_report(FIRST)
    # It had read 20 frames and a mark of an end; 8 restored, 7 superseded, failed or refused: 5 were under way.
    second = {
        "incarnation": 1, "frames_read_before": 21, "frame_ends": 2, "lost_event_packets": 1,
        "stage": {"refused_by": {"no_events": 1, "dark": 2}}, "sync": {"frames_missing": 1},
    }  # fmt: skip
    f.take_report(second)
    f.take_report(second)  # the same life again: nothing of it is dead
    reader.restored_by = Counter({0: 8, 1: 4})
    f.take_rings(reader, replace(FRAMES, read=40))
    assert losses(f) == {
        "camera frames": 5,
        "superseded (seek)": 1,
        "superseded (restore)": 2,
        "superseded (viewer)": 1,
        "ring frames": 6,
        "restart": 5,
        "failed": 1,
        "refused: no_events": 4,
        "refused: dark": 2,
    }
    assert f.event_losses() == {"ring event packets": 8, "camera events": 11, "rejected events": 13}
    s = f.status(())
    assert (s.items_in, s.items_out, s.waiting) == (50 - 3 + 5, 7, 52 - 7 - 27)


def test_reports_that_lag_behind_the_rings_make_no_negative_rest(reader: PictureReader) -> None:
    f = Figures()
    f.take_report({**FIRST, "lost_frames": 0})
    f.take_rings(reader, replace(FRAMES, read=0, waiting=0))
    s = f.status(())
    dropped = sum(f.exposure_losses().values())
    assert (s.items_in, s.waiting) == (7 + dropped, 0)
    f.take_report({"incarnation": 0, "lost_frames": 3, "sync": {"frames_missing": 1}})
    assert f.exposure_losses()["camera frames"] == 0, "the ring knows of a loss before its jump is seen"


def test_latency_runs_from_the_end_of_the_exposure_in_milliseconds(clock: Clock) -> None:
    f = Figures()
    s = f.status(())
    assert (s.latency_p50_ms, s.latency_p95_ms) == (0.0, 0.0)
    for ms in range(101):
        f.shown(picture(clock.ns - ms * 1_000_000))
    f.shown(picture(clock.ns - 10**9, sharp=False))  # a refused one has no latency
    f.shown(picture(0))  # nor has one whose end on the host is not known
    s = f.status(())
    assert s.latency_p50_ms == pytest.approx(50.0)
    assert s.latency_p95_ms == pytest.approx(95.0)
    assert (s.exposure_source, s.uncertainty_us) == ("trigger", 7.5)


def test_the_rate_is_of_the_last_seconds(clock: Clock) -> None:
    f = Figures()
    f.shown(picture(0))
    assert f.status(()).fps == 0.0, "one picture has no rate"
    for _ in range(20):
        clock.ns += 50_000_000
        f.shown(picture(0))
        f.shown(picture(0, sharp=False))
    s = f.status(())
    assert s.fps == pytest.approx(20.0)
    assert s.stage_fps == {"shown": s.fps}
    for _ in range(50):  # slower now, and for longer than the window
        clock.ns += 100_000_000
        f.shown(picture(0))
    assert f.status(()).fps == pytest.approx(10.0)
    clock.ns += 4_000_000_000
    assert f.status(()).fps == 0.0, "nothing comes any more"


def test_a_picture_every_three_seconds_is_no_rate_of_0(clock: Clock) -> None:
    f = Figures()
    for _ in range(3):
        f.shown(picture(0))
        clock.ns += 3_100_000_000
    assert f.status(()).fps == pytest.approx(1 / 3.1)


def test_what_the_worker_says_of_itself_is_handed_on() -> None:
    f = Figures()
    drift = {"dx": 1.0, "dy": 2.0, "sigma_px": None, "samples": 3, "residual_us": 4.0, "warning": "moved"}
    f.take_report({"wanted": "edi", "runs_on": "CPU", "event_rate_hz": 2e6, "drift": drift})
    f.stage_fps = {"restore": 3.0}
    for line in ("b", "a", "b"):
        f.caution(line)
    s = f.status((), message="m", ended=True)
    assert (s.network, s.runs_on, s.event_rate_hz, s.message, s.ended) == ("edi", "CPU", 2e6, "m", True)
    assert s.stage_fps == {"restore": 3.0, "shown": 0.0}
    assert s.cautions == ("b", "a")
    assert s.drift is not None
    assert (s.drift.dx, s.drift.residual_us, s.drift.warning) == (1.0, 4.0, "moved")
