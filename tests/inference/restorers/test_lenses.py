"""Restoring through a rig whose lenses bend."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from capture.packets import Events
from inference.restorers import placement
from inference.restorers.edi import EdiRestorer
from inference.restorers.refine import refine
from inference.restorers.results import changed_pictures
from sync import geometry
from sync.rig import Rig
from tests.inference.moving_scene import exposure_of
from tests.inference.restorers.rigs import noise_events
from tests.sync.test_rig_map import EVENTS, IMAGE, bent_rig

START, END = 1_000_000, 1_040_000


def inner(rig: Rig, by: int = 41) -> np.ndarray:
    seen = geometry.inside_events(rig).astype(np.uint8)
    return cv2.erode(seen, np.ones((by, by), np.uint8), borderValue=0).astype(bool)


def ramp() -> np.ndarray:
    y, x = np.mgrid[0 : EVENTS[1], 0 : EVENTS[0]].astype(np.float32)
    return x + 0.5 * y


class _Known:
    """In place of the integral: the light grew evenly from left to right of the event sensor."""

    def ratios(self, events: Events, start: int, end: int, times: Any, *about: Any) -> np.ndarray:
        return np.repeat(np.exp(0.01 * (ramp() - 60))[None], len(times), axis=0).astype(np.float32)


def test_edi_follows_the_lens() -> None:
    rig = bent_rig()
    edi = EdiRestorer(rig, {"contrast": 0.2, "denoise": False}, "cpu")
    edi._integral = _Known()
    picture = np.full((IMAGE[1], IMAGE[0]), 100, np.uint8)
    events = noise_events(*EVENTS)
    got = edi.restore([exposure_of(picture, events, rig, START, END)], [0.5]).images[0]
    exact = geometry.warp_event_map_to_image(ramp(), rig)
    expected = 100 * np.exp(0.01 * (exact - 60))
    assert np.abs(got - expected)[inner(rig)].max() < 0.8  # rounding, and the rest of an interpolation
    flat = rig.model_copy(
        update={"geometry": rig.geometry.model_copy(update={"undistorted_image_from_event": None})}
    )
    edi = EdiRestorer(flat, {"contrast": 0.2, "denoise": False}, "cpu")
    edi._integral = _Known()
    other = edi.restore([exposure_of(picture, events, flat, START, END)], [0.5]).images[0]
    assert np.abs(other - expected)[inner(rig)].max() > 1.5


def test_maps_on_the_events_pixels_are_straightened_while_they_are_refined() -> None:
    rig = bent_rig()
    finer = refine(np.stack([ramp(), 2 * ramp()]), rig)
    assert finer.shape == (2, 2 * EVENTS[1], 2 * EVENTS[0])
    m = rig.image_from_event @ np.linalg.inv(geometry.scaled_homography(2))
    got = cv2.warpPerspective(finer[1], m, IMAGE, flags=cv2.INTER_LINEAR)
    # OpenCV places samples to 1/32 pixel: three samplings of a slope of 3 a pixel.
    assert np.abs(got - 2 * geometry.warp_event_map_to_image(ramp(), rig))[inner(rig)].max() < 0.15


def test_tensors_are_sampled_through_the_lens() -> None:
    rig = bent_rig()
    got = placement.sample(torch.from_numpy(ramp())[None], rig)[0].numpy()
    assert np.abs(got - geometry.warp_event_map_to_image(ramp(), rig))[inner(rig, 3)].max() < 0.02
    y, x = np.mgrid[0 : IMAGE[1], 0 : IMAGE[0]].astype(np.float32)
    seen = placement.event_view(torch.from_numpy(x + 2 * y), rig).numpy()
    np.testing.assert_allclose(seen, geometry.image_to_event_grid(x + 2 * y, rig), atol=0.15)


def test_events_move_whole_to_the_cell_under_them() -> None:
    rig = bent_rig()
    events = noise_events(*EVENTS)
    moved = placement.events_on_cells(events, rig, 4)
    at = np.floor(geometry.events_on_image(events, rig) + 0.5)
    keep = ((at >= 0) & (at < np.array(IMAGE))).all(axis=1)
    assert np.array_equal(moved.x, at[keep, 0] // 4)
    assert np.array_equal(moved.y, at[keep, 1] // 4)


def test_a_change_made_on_the_event_grid_comes_back_through_the_lens() -> None:
    rig = bent_rig()
    picture = np.full((IMAGE[1], IMAGE[0], 3), 100, np.uint8)
    coarse = np.full((EVENTS[1], EVENTS[0], 3), 100, np.uint8)
    change = ramp() - 60
    values = torch.from_numpy((100 + change) / 255).expand(1, 3, -1, -1)
    got, bad = changed_pictures(values, coarse, picture, rig, "rgb", "srgb")
    assert not bad
    expected = 100 + geometry.warp_event_map_to_image(change, rig)
    assert np.abs(got[0, ..., 1] - expected)[inner(rig)].max() < 0.7
    assert placement.event_grid_rig(rig).identity
