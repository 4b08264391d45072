"""A board that does not blink, swung before both cameras, is found in a take."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from calibration import moved_take
from calibration.geometry.blinking import find_swaps, still_stretches
from calibration.geometry.collect import Missed, TimedFrame
from calibration.geometry.moved import moved_views
from calibration.geometry.targets import Board
from calibration.geometry.views import Source, View
from calibration.nominal import nominal
from calibration.simulated import BoardShot, board_shots, random_poses
from calibration.simulated_truth import SimulatedTruth, random_truth
from calibration.take import Take
from calibration.target_views import views_of
from capture.packets import EventPacket, Events, TriggerEdges
from sync.rig import Rig
from tests.calibration.small import streamed

BOARD = Board()


@cache
def swung() -> tuple[SimulatedTruth, BoardShot]:
    truth = random_truth(5)
    pose = random_poses(truth, BOARD, 3, 3)[2]
    (shot,) = board_shots(truth, "moved", 1, 3, poses=[pose])
    return truth, shot


def stamped(truth: SimulatedTruth, unsure_us: float | None) -> Rig:
    rig = nominal(truth.rig())
    clock = rig.clock.model_copy(update={"relation": "same", "delay_uncertainty_us": unsure_us})
    return rig.model_copy(update={"clock": clock})


@pytest.mark.parametrize("unsure_us", [300.0, 5_000.0, None])
def test_a_board_that_is_swung_gives_views_where_frames_are_placed_well(unsure_us: float | None) -> None:
    truth, shot = swung()
    items = streamed(shot)
    views, missed = views_of(Take("swung", lambda: items), stamped(truth, unsure_us), BOARD)
    if unsure_us != 300.0:
        assert views == []  # some milliseconds later it is elsewhere
        assert len(missed) == 1
        return
    assert len(views) >= 2, missed
    assert {v.source for v in views} == {Source.RECONSTRUCTED}
    assert [v.name for v in views] == [f"view {n + 1}" for n in range(len(views))]
    for v in views:
        off = truth.pixel_map.to_event(v.image_points) - v.event_points
        assert np.sqrt(np.mean(off**2)) < 0.3


def flash(start_us: int, width: int, height: int) -> EventPacket:
    """A light that makes every other pixel fire four times, in 5 ms."""
    ys, xs = (a.ravel() for a in np.mgrid[0:height, 0:width:2])
    t = np.linspace(start_us, start_us + 4_000, 4 * len(xs)).astype(np.int64)
    x, y = np.tile(xs, 4).astype(np.uint16), np.tile(ys, 4).astype(np.uint16)
    events = Events(t, x, y, np.ones(len(t), np.bool_), width, height)
    return EventPacket(events, TriggerEdges.empty(), start_us + 5_000)


def test_a_single_burst_does_not_make_it_a_board_that_blinks() -> None:
    truth, shot = swung()
    late = flash(shot.end_us + 50_000, *truth.event_size)
    assert [
        len(s.swaps) for s in still_stretches(find_swaps(Events.concatenate([shot.events, late.events])))
    ] == [1]
    items = [*streamed(shot), late]
    views, missed = views_of(Take("swung", lambda: items), stamped(truth, 300.0), BOARD)
    assert len(views) >= 2, missed


def test_a_swung_take_holds_so_many_events_and_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, shot = swung()
    monkeypatch.setattr(moved_take, "MOST_EVENTS", len(shot.events) // 4)
    given: list[int] = []

    def noted(frames: list[TimedFrame], events: Events, board: Board) -> tuple[list[View], list[Missed]]:
        given.append(len(events))
        return moved_views(frames, events, board)

    monkeypatch.setattr(moved_take, "moved_views", noted)
    items, shares = streamed(shot), list[float]()
    views_of(Take("swung", lambda: items), stamped(truth, 300.0), BOARD, lambda _, share: shares.append(share))
    assert 0 < max(given) <= len(shot.events) // 4
    assert len(shares) == len(given) > 2
    assert shares == sorted(shares)
    assert shares[-1] == 1
