"""A board that does not blink, swung before both cameras, is found in a take."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.geometry.targets import Board
from calibration.geometry.views import Source
from calibration.nominal import nominal
from calibration.simulated import board_shots, random_poses
from calibration.simulated_truth import random_truth
from calibration.take import Take
from calibration.target_views import views_of
from capture.packets import EventPacket, Frame, FrameClock, PixelLayout, TriggerEdges

BOARD = Board()


@pytest.mark.parametrize("sure", [True, False], ids=["stamps that were measured", "stamps as they are"])
def test_a_board_that_is_swung_gives_views_where_frames_are_placed_well(sure: bool) -> None:
    truth = random_truth(5)
    pose = random_poses(truth, BOARD, 3, 3)[2]
    (shot,) = board_shots(truth, "moved", 1, 3, poses=[pose])
    items: list[EventPacket | Frame] = []
    waiting = list(shot.frames)
    for k, until in enumerate(range(shot.start_us + 5_000, shot.end_us + 5_000, 5_000)):
        part = shot.events.between(until - 5_000, until)
        items.append(EventPacket(part, TriggerEdges.empty(), until, host_ns=10**12 + 1_000 * until))
        while waiting and waiting[0][1] <= until:
            a, b, picture = waiting.pop(0)
            layout = PixelLayout.GRAY if picture.ndim == 2 else PixelLayout.RGB
            items.append(
                Frame(picture, layout, k, 1_000 * a, 1_000 * b, FrameClock.EVENT, 10**12 + 1_000 * until)
            )
    rig = nominal(truth.rig())
    clock = rig.clock.model_copy(update={"relation": "same", "delay_uncertainty_us": 300.0 if sure else None})
    views, missed = views_of(
        Take("swung", lambda: items), rig.model_copy(update={"clock": clock}), BOARD
    )  # fmt: skip
    if not sure:
        assert views == []  # some milliseconds later it is elsewhere
        assert len(missed) == 1
        return
    assert len(views) >= 2, missed
    assert {v.source for v in views} == {Source.RECONSTRUCTED}
    assert [v.name for v in views] == [f"view {n + 1}" for n in range(len(views))]
    for v in views:
        off = truth.pixel_map.to_event(v.image_points) - v.event_points
        assert np.sqrt(np.mean(off**2)) < 0.3
