"""Lenses in every map between both grids."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sync import geometry
from sync.lens import PixelMap
from sync.rig import Lens, Rig
from sync.rig_map import NOWHERE, RigMap, lattice, straight_table
from tests.inference.moving_scene import rig_for

EVENTS, IMAGE = (96, 72), (388, 300)
BARREL = Lens(focal=(80.0, 80.0), centre=(44.0, 38.0), coefficients=(-0.06, 0.01))
PINCUSHION = Lens(focal=(320.0, 322.0), centre=(190.0, 155.0), coefficients=(0.03, 0.0, 1e-3, -1e-3))


def bent_rig(event: Lens | None = BARREL, image: Lens | None = PINCUSHION) -> Rig:
    exact = geometry.scaled_homography(4, mirrored=True, event_width=EVENTS[0])
    exact[0, 2] += 3.0
    near = PixelMap(exact, event, image).nearest_homography(EVENTS, IMAGE)
    plain = rig_for(EVENTS, IMAGE, image_from_event=near)
    rows = tuple(tuple(float(v) for v in row) for row in exact)
    return plain.model_copy(
        update={
            "events": plain.events.model_copy(update={"lens": event}),
            "image": plain.image.model_copy(update={"lens": image}),
            "geometry": plain.geometry.model_copy(update={"undistorted_image_from_event": rows}),
        }
    )


def test_points_go_there_and_back_as_the_exact_map_says() -> None:
    rig = bent_rig()
    points = lattice(*EVENTS)
    exact = PixelMap.of(rig).to_image(points)
    there = geometry.to_image(points, rig)
    np.testing.assert_allclose(there, exact, atol=1e-3)
    np.testing.assert_allclose(geometry.to_event(there, rig), points, atol=1e-3)
    flat = geometry.project(points, rig.image_from_event)
    assert np.abs(there - flat).max() > 4  # the lens matters here


def test_a_rig_without_lenses_or_without_the_exact_map_is_its_homography() -> None:
    rig = bent_rig()
    without = rig.model_copy(
        update={"geometry": rig.geometry.model_copy(update={"undistorted_image_from_event": None})}
    )
    assert not without.bent
    assert not bent_rig(None, None).bent
    assert straight_table(without) is None
    assert RigMap.of(without).exact is None


def test_one_grid_with_a_lens_is_not_one_grid() -> None:
    rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    rig = rig_for(EVENTS, EVENTS)
    assert rig.identity
    bent = rig.model_copy(
        update={
            "events": rig.events.model_copy(update={"lens": BARREL}),
            "geometry": rig.geometry.model_copy(update={"undistorted_image_from_event": rows}),
        }
    )
    assert not bent.identity


@pytest.mark.parametrize("finer", [1, 2])
def test_on_a_straightened_map_the_homography_is_exact(finer: int) -> None:
    rig = bent_rig()
    y, x = np.mgrid[0 : EVENTS[1], 0 : EVENTS[0]].astype(np.float32)
    values = 2 * x + 3 * y + 0.02 * x * y
    expected = geometry.warp_event_map_to_image(values, rig, outside=np.nan)
    table = straight_table(rig, finer)
    assert table is not None
    assert table.shape == (EVENTS[1] * finer, EVENTS[0] * finer, 2)
    straight = cv2.remap(values, table, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    m = rig.image_from_event @ np.linalg.inv(geometry.scaled_homography(finer))
    got = cv2.warpPerspective(straight, m, IMAGE, flags=cv2.INTER_LINEAR)
    # Not at the very border, where the bent grid ends within the straight one.
    inner = geometry.inside_events(rig).astype(np.uint8)
    inner = cv2.erode(inner, np.ones((41, 41), np.uint8), borderValue=0).astype(bool)
    assert inner.mean() > 0.4
    # OpenCV places samples to 1/32 pixel: three samplings of a slope of up to 8 a pixel.
    assert np.abs(got - expected)[inner].max() < 0.4
    flat = cv2.warpPerspective(values, rig.image_from_event, IMAGE, flags=cv2.INTER_LINEAR)
    assert np.abs(flat - expected)[inner].max() > 1.0


def test_pictures_go_onto_the_event_grid_through_the_lenses() -> None:
    rig = bent_rig()
    y, x = np.mgrid[0 : IMAGE[1], 0 : IMAGE[0]].astype(np.float32)
    at = PixelMap.of(rig).to_image(lattice(*EVENTS)).reshape(EVENTS[1], EVENTS[0], 2)
    seen = geometry.inside_image(rig)
    inner = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(bool)
    assert np.abs(geometry.image_to_event_grid(x, rig) - at[..., 0])[inner].max() < 0.2
    assert np.abs(geometry.image_to_event_grid(y, rig) - at[..., 1])[inner].max() < 0.2
    many = geometry.image_to_event_grid(np.stack([x, y] * 3, axis=2), rig)
    assert np.array_equal(many[..., 4], geometry.image_to_event_grid(x, rig))


def test_where_no_ray_falls_nothing_is_seen() -> None:
    folded = Lens(focal=(40.0, 40.0), centre=(48.0, 36.0), coefficients=(-0.3,))
    rig = bent_rig(folded, None)
    grid = geometry.image_grid(rig)
    assert (grid == NOWHERE).any()
    assert np.isfinite(grid).all()
    assert not geometry.inside_image(rig)[grid[..., 0] == NOWHERE].any()
