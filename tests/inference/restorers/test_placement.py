"""Where events land on the image, through mirrored and turned rigs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from capture.packets import Events
from inference.restorers.placement import (
    coverage,
    event_grid_rig,
    event_view,
    events_on_cells,
    represent,
    sample,
)
from sync.geometry import image_to_event_grid, project
from sync.rig import Rig
from tests.inference.moving_scene import rig_for
from tests.inference.restorers.rigs import END, START, noise_events, one_grid, splitter


def dot(x: int, y: int, rig: Rig, n: int = 5) -> Events:
    w, h = rig.events.width, rig.events.height
    t = np.linspace(START, END - 1, n).astype(np.int64)
    return Events(t, np.full(n, x, np.uint16), np.full(n, y, np.uint16), np.ones(n, np.bool_), w, h)


def count(events: Events) -> torch.Tensor:
    out = np.zeros((1, events.height, events.width), np.float32)
    np.add.at(out[0], (events.y, events.x), 1)
    return torch.from_numpy(out)


@pytest.mark.parametrize("turn", [0.0, 3.0])
@pytest.mark.parametrize("at", [(3, 5), (28, 20), (16, 2)])
def test_a_dot_lands_where_the_rig_says(turn: float, at: tuple[int, int]) -> None:
    rig = splitter(turn_deg=turn)
    where = project(np.array([at]), rig.image_from_event)[0]
    moved = events_on_cells(dot(*at, rig), rig, 4)
    assert (moved.width, moved.height) == (32, 24)
    assert (moved.x == np.floor((where[0] + 0.5) / 4)).all()
    assert (moved.y == np.floor((where[1] + 0.5) / 4)).all()

    # On the image's own grid the dot is a patch as large as an event pixel, around the same point.
    fine = represent(dot(*at, rig), rig, 1, count)[0].numpy()
    assert fine.shape == (96, 128)
    y, x = np.mgrid[0:96, 0:128]
    centre = np.array([(x * fine).sum(), (y * fine).sum()]) / fine.sum()
    assert np.abs(centre - where).max() < 0.05
    assert fine.max() == pytest.approx(5, abs=1.3)
    assert fine.sum() == pytest.approx(5 * 16, rel=0.02)


def test_a_dot_that_moves_right_on_a_mirrored_sensor_moves_left_on_the_image() -> None:
    rig = splitter()
    xs = [int(events_on_cells(dot(x, 10, rig), rig, 4).x[0]) for x in range(4, 9)]
    assert xs == [27, 26, 25, 24, 23]


def test_no_event_is_lost_on_cells_that_fit() -> None:
    for rig in (splitter(), splitter(turn_deg=1.0)):
        events = noise_events(32, 24, 3000)
        moved = events_on_cells(events, rig, 4)
        grid = project(np.stack([events.x, events.y], axis=1), rig.image_from_event)
        inside = ((grid > -0.5) & (grid < np.array([127.5, 95.5]))).all(axis=1)
        assert len(moved) == inside.sum()
        assert (moved.t == events.t[inside]).all()
        assert (moved.p == events.p[inside]).all()


def test_on_one_grid_nothing_moves() -> None:
    rig = one_grid(20, 16)
    events = noise_events(20, 16)
    assert events_on_cells(events, rig, 1) is events
    assert torch.equal(represent(events, rig, 1, count), count(events))
    # Cells of two pixels hold the sum of four.
    assert represent(events, rig, 2, count).sum() == len(events)


def test_a_scale_between_whole_numbers_is_sampled_without_holes() -> None:
    m = np.array([[3.4, 0, 1.2], [0, 3.4, 1.2], [0, 0, 1]])
    rig = rig_for((32, 24), (108, 81), image_from_event=m)
    w, h = 32, 24
    y, x = (v.ravel().astype(np.uint16) for v in np.mgrid[0:h, 0:w])
    even = Events(np.full(w * h, START, np.int64), x, y, np.ones(w * h, np.bool_), w, h)
    on_cells = represent(even, rig, 3, count)
    assert on_cells.shape == (1, 27, 36)
    assert on_cells.min() == pytest.approx(1)
    assert on_cells.max() == pytest.approx(1)


def test_where_no_event_pixel_looks_there_is_nothing() -> None:
    m = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    rig = rig_for((20, 16), (40, 16), image_from_event=m)
    covered = coverage(rig, 1, torch.device("cpu"))
    assert covered is not None
    seen = covered[0]
    assert seen.any(dim=0).nonzero().ravel().tolist() == list(range(10, 30))
    out = sample(torch.ones(2, 16, 20), rig)
    assert torch.equal(out, seen.expand(2, -1, -1))


def test_where_event_pixels_look_everywhere_it_is_said() -> None:
    rig = rig_for((20, 16), (40, 32), image_from_event=np.array([[2.0, 0, 0.5], [0, 2, 0.5], [0, 0, 1]]))
    assert coverage(rig, 1, torch.device("cpu")) is None
    assert torch.allclose(sample(torch.ones(2, 16, 20), rig), torch.ones(2, 32, 40))


def test_the_event_grid_is_its_own_image() -> None:
    rig = event_grid_rig(splitter())
    assert rig.identity
    assert (rig.image.width, rig.image.height) == (32, 24)


@pytest.mark.parametrize(
    "rig",
    [one_grid(32, 24), splitter(), splitter(turn_deg=2.0), splitter(scale=1, turn_deg=1.0),
     rig_for((20, 18), (61, 50), image_from_event=np.diag([3.1, 2.8, 1.0])),
     rig_for((20, 18), (61, 50), image_from_event=np.array([[3.0, 0, 9], [0, 3.0, -8], [0, 0, 1]]))],
)  # fmt: skip
def test_the_event_sensors_view_is_the_same_with_torch(rig: Rig) -> None:
    y, x = np.mgrid[0 : rig.image.height, 0 : rig.image.width]
    image = (0.5 + 0.4 * np.sin(x / 5) * np.cos(y / 4)).astype(np.float32)
    want = image_to_event_grid(image, rig)
    got = event_view(torch.from_numpy(image), rig).numpy()
    assert got.shape == want.shape
    assert ((got == 0) == (want == 0)).all()
    assert np.abs(got - want).max() < 0.01  # OpenCV places samples to 1/32 of a pixel
