"""A board that is moved by hand: rebuilt from events, its corners to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.geometry import moved
from calibration.geometry.collect import TimedFrame
from calibration.geometry.moved import moved_views, rebuilt_picture
from calibration.geometry.targets import Board
from calibration.geometry.views import Source
from calibration.simulated import board_shots, random_poses
from calibration.simulated_truth import random_truth
from capture.packets import Events

BOARD = Board()


def test_rebuilding_is_exact_for_a_step() -> None:
    # One pixel steps up by three thresholds at 0.2 s: before it lies below its mean, after it above.
    t = np.full(3, 200_000)
    zero = np.zeros(3, np.uint16)
    events = Events(t, zero, zero, np.ones(3, np.bool_), 2, 1)
    after = rebuilt_picture(events, 300_000, 100_000.0)
    before = rebuilt_picture(events, 100_000, 100_000.0)
    expected = 3 * 0.5 * np.exp(-1.0)
    assert after[0, 0] == np.float32(expected)
    assert before[0, 0] == np.float32(-expected)
    assert after[0, 1] == 0


def test_a_swung_board_gives_views() -> None:
    truth = random_truth(5)
    pose = random_poses(truth, BOARD, 3, 3)[2]
    (shot,) = board_shots(truth, "moved", 1, 3, poses=[pose])
    views, missed = moved_views([TimedFrame(*f) for f in shot.frames], shot.events, BOARD)
    assert len(views) >= 2, missed
    for v in views:
        assert v.source is Source.RECONSTRUCTED
        assert not v.trouble()
        off = truth.pixel_map.to_event(v.image_points) - v.event_points
        assert np.sqrt(np.mean(off**2)) < 0.3
    # Without events there is no view, and the reason is told.
    none, why = moved_views([TimedFrame(*shot.frames[0])], Events.empty(288, 192), BOARD)
    assert not none
    assert "does not move" in why[0].why


def test_nothing_is_rebuilt_where_the_frame_shows_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = random_truth(5)
    (shot,) = board_shots(truth, "moved", 1, 3)
    monkeypatch.setattr(moved, "rebuilt_picture", lambda *a: pytest.fail("a second and a gigabyte for nothing"))
    blank = [TimedFrame(a, b, np.full_like(p, 90)) for a, b, p in shot.frames]
    views, missed = moved_views(blank, shot.events, BOARD)
    assert views == []
    assert [m.camera for m in missed] == ["image"] * len(blank)
