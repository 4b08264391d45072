"""Where the time between an exposure's end and the screen goes."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from app.figures import PARTS, Figures
from tests.app.viewer.fake_session import FakeSession


def test_the_parts_add_up_to_the_whole(fake: FakeSession) -> None:
    now = time.monotonic_ns()
    figures = Figures()
    ms = 1_000_000
    stamps = {
        "exposure_end_host_ns": now - 60 * ms,
        "aligned_host_ns": now - 48 * ms,
        "ready_host_ns": now - 9 * ms,
    }
    p = replace(fake.picture(0, (0.5,)), restore_s=0.030, **stamps)
    for _ in range(3):
        figures.shown(p)
    s = figures.status(())
    assert tuple(s.latency_parts_ms) == PARTS
    waiting, queue, restoring, screen = s.latency_parts_ms.values()
    assert (waiting, queue, restoring) == pytest.approx((12.0, 9.0, 30.0))
    assert screen >= 9.0
    assert waiting + queue + restoring + screen == pytest.approx(s.latency_p50_ms, abs=1.0)


def test_without_stamps_there_are_no_parts(fake: FakeSession) -> None:
    figures = Figures()
    figures.shown(replace(fake.picture(0, (0.5,)), aligned_host_ns=0))
    assert figures.status(()).latency_parts_ms == {}
