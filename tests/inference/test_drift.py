"""Has the rig moved? Told from ordinary scenes, without ever touching the calibration."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from capture.packets import EventPacket, Events, Frame
from capture.registry import RigFacts
from inference.alignment import edge_shift
from inference.drift import COST_SHARE, ENOUGH, AlignmentWatch
from inference.outcomes import Result
from inference.restore_stage import RestoreStage
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure
from sync.rig import Geometry, Rig
from sync.synchroniser import Synchroniser
from tests.calibration.time.rigs import arrived
from tests.inference.moving_scene import rig_for


def moved(rig: Rig, dx: float, dy: float) -> Rig:
    """The rig file of a rig whose event camera has been pushed by so many event pixels since."""
    m = rig.image_from_event @ np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]])
    rows = tuple(tuple(float(v) for v in r) for r in m / m[2, 2])
    geometry = rig.geometry.model_copy(update={"image_from_event": rows})
    return rig.model_copy(update={"geometry": geometry})


def exposures(rig: Rig, seconds: float = 2.4) -> list[AlignedExposure]:
    y = Synchroniser(rig)
    out = []
    for i in arrived(seconds, speed=260.0).items:
        y.push_events(i) if isinstance(i, EventPacket) else y.push_frame(i)
        out += y.take()
    return [o for o in [*out, *y.finish()] if isinstance(o, AlignedExposure)]


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (2.0, -1.0), (-3.0, 2.0)])
def test_the_shift_is_measured_and_told(dx: float, dy: float) -> None:
    rig = moved(arrived(2.4, speed=260.0).rig, dx, dy)
    w = AlignmentWatch(rig, every_s=0.0)
    for a in exposures(rig):
        w.measure(picture_of(a.frame), a.exposure_events())
    d = w.drift()
    assert d.samples >= ENOUGH
    assert (d.dx, d.dy) == pytest.approx((-dx, -dy), abs=0.5)
    assert bool(d.warning) == (abs(dx) > 0)
    if d.warning:
        assert "calibrate it again" in d.warning


def test_nothing_is_said_of_a_still_scene() -> None:
    a = arrived(1.0)
    rig = a.rig
    frame = next(i for i in a.items if isinstance(i, Frame))
    none = Events.empty(rig.events.width, rig.events.height)
    assert edge_shift(picture_of(frame), none, rig) is None
    w = AlignmentWatch(rig)
    w.measure(picture_of(frame), none)
    assert w.drift().samples == 0
    assert w.drift().warning == ""


def watched(monkeypatch: pytest.MonkeyPatch, rig: Rig, shifts: list[tuple[float, float]]) -> AlignmentWatch:
    """After measurements that found these shifts."""
    found = iter([SimpleNamespace(dx=dx, dy=dy) for dx, dy in shifts])
    monkeypatch.setattr("inference.drift.edge_shift", lambda *_: next(found))
    w = AlignmentWatch(rig, every_s=0.0)
    for _ in shifts:
        w.measure(np.zeros((8, 8), np.uint8), Events.empty(8, 8))
    return w


def with_residual(px: float | None) -> Rig:
    rig = rig_for((8, 8))
    return rig.model_copy(update={"geometry": rig.geometry.model_copy(update={"residual_px": px})})


def test_a_shift_that_scatters_has_to_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    n = ENOUGH + 1
    sure = watched(monkeypatch, with_residual(None), [(1.3, 0.0)] * n).drift()
    assert (sure.dx, sure.sigma_px, sure.samples) == (pytest.approx(1.3), pytest.approx(0.0), n)
    assert "1.3 event pixels apart (+1.3, +0.0)" in sure.warning
    scattered = [(1.3 + 2.0 * (k % 3 - 1), 0.0) for k in range(n)]
    vague = watched(monkeypatch, with_residual(None), scattered).drift()
    assert vague.dx == pytest.approx(1.3)
    # The median of the distances is 2; of a median of so many it is a normal scatter of 1.25 × 1.4826 × 2 / √n.
    assert vague.sigma_px == pytest.approx(1.25 * 1.4826 * 2.0 / np.sqrt(n))
    assert vague.warning == ""
    few = watched(monkeypatch, with_residual(None), [(9.0, 0.0)] * (ENOUGH - 1)).drift()
    assert (few.dx, few.warning) == (9.0, ""), "too few to conclude anything"


def test_a_rig_that_was_calibrated_roughly_may_be_off_by_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    for shift, told in ((2.9, False), (3.1, True)):
        w = watched(monkeypatch, with_residual(1.0), [(0.0, shift)] * ENOUGH)
        assert bool(w.drift().warning) is told


def test_one_that_nobody_calibrated_has_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = rig_for((8, 8))
    unknown = rig.model_copy(update={"geometry": Geometry.assumed((8, 8), (8, 8))})
    words = [watched(monkeypatch, r, [(4.0, 0.0)] * ENOUGH).drift().warning for r in (rig, unknown)]
    assert words[0].endswith("the rig has moved; calibrate it again")
    assert words[1].endswith("the rig is not calibrated: calibrate it")


def test_edges_that_scatter_are_told() -> None:
    rig = arrived(1.0).rig
    w = AlignmentWatch(rig)
    assert w.drift(20.0).warning == ""
    assert "trigger edges scatter by 80 µs" in w.drift(80.0).warning
    calm = rig.model_copy(update={"clock": rig.clock.model_copy(update={"residual_us": 30.0})})
    assert AlignmentWatch(calm).drift(80.0).warning == ""  # it scattered when it was calibrated, too


def test_it_rests_in_proportion_to_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = arrived(1.0).rig
    w = AlignmentWatch(rig, every_s=0.0)
    frame = next(i for i in arrived(1.0).items if isinstance(i, Frame))

    def slow(*_: object) -> None:
        end = time.thread_time() + 0.03
        while time.thread_time() < end:
            pass

    monkeypatch.setattr("inference.drift.edge_shift", slow)
    began = time.monotonic()
    w.measure(picture_of(frame), Events.empty(rig.events.width, rig.events.height))
    assert not w.due(began + 0.9 * 0.03 / COST_SHARE)
    assert w.due(time.monotonic() + 0.2 / COST_SHARE)


def test_the_stage_watches_beside_the_stream() -> None:
    a = arrived(2.4, speed=260.0)
    rig = moved(a.rig, 2.5, 0.0)
    results: list[Result] = []
    stage = RestoreStage(rig, "none", results.append, live=False)
    assert stage._alignment is not None
    stage._alignment._every_s = 0.0
    stage._alignment.due = lambda now: True  # type: ignore[method-assign]
    stage.start()
    try:
        for i in a.items:
            stage.feed_events(i) if isinstance(i, EventPacket) else stage.feed_frame(i)
            stage.tick(None)
            until = time.monotonic() + 5
            while not stage.drained() and time.monotonic() < until:
                time.sleep(0.001)
        until = time.monotonic() + 10
        while not stage.status()["drift"]["warning"] and time.monotonic() < until:
            time.sleep(0.02)
        drift = stage.status()["drift"]
        assert drift["dx"] == pytest.approx(-2.5, abs=0.6)
        assert "the rig has moved" in drift["warning"]
        assert stage.sync.rig == rig  # watched, never changed
    finally:
        stage.stop()


def test_one_camera_is_not_watched() -> None:
    stage = RestoreStage(Rig.frames_only("x", (16, 12)), "none", lambda r: None, live=False)
    assert stage.status()["drift"] is None


def test_two_cameras_of_one_size_that_nobody_calibrated_are_watched_and_one_sensor_is_not() -> None:
    rig = Rig.from_facts("x", RigFacts((16, 12), (16, 12), one_sensor=True))
    unknown = rig.model_copy(update={"geometry": Geometry.assumed((16, 12), (16, 12))})
    stages = [RestoreStage(r, "none", lambda r: None, live=False) for r in (rig, unknown)]
    assert [s._alignment is None for s in stages] == [True, False]
