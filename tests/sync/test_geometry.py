"""Coordinates and maps between the two grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.packets import Events
from sync import geometry
from sync.rig import EventEntry, Geometry, ImageEntry, Rig


def rig_of(m: NDArray[np.float64], events: tuple[int, int], image: tuple[int, int]) -> Rig:
    r = [[float(v) for v in row] for row in m]
    return Rig(
        events=EventEntry(camera="e", width=events[0], height=events[1]),
        image=ImageEntry(camera="i", width=image[0], height=image[1]),
        geometry=Geometry(
            image_from_event=((*r[0],), (*r[1],), (*r[2],)),  # type: ignore[arg-type]
            mirrored=bool(np.linalg.det(m[:2, :2]) < 0),
        ),
    )


SCALED = rig_of(geometry.scaled_homography(4), (36, 24), (144, 96))
MIRRORED = rig_of(geometry.scaled_homography(4, mirrored=True, event_width=36), (36, 24), (144, 96))
DAVIS = rig_of(np.eye(3), (36, 24), (36, 24))


@st.composite
def homographies(draw: st.DrawFn) -> NDArray[np.float64]:
    f = lambda a, b: draw(st.floats(a, b))  # noqa: E731
    scale, angle, flip = f(0.5, 6), f(-0.3, 0.3), draw(st.booleans())
    c, s = np.cos(angle), np.sin(angle)
    m = np.array([[c, -s, f(-30, 30)], [s, c, f(-30, 30)], [0, 0, 1]]) @ np.diag([scale, scale, 1.0])
    m[2, :2] = f(-1e-4, 1e-4), f(-1e-4, 1e-4)
    return m @ np.array([[-1, 0, 345], [0, 1, 0], [0, 0, 1.0]]) if flip else m


@settings(max_examples=60, deadline=None)
@given(m=homographies(), seed=st.integers(0, 2**31))
def test_round_trip(m: NDArray[np.float64], seed: int) -> None:
    rig = rig_of(m, (346, 260), (1152, 768))
    p = np.random.default_rng(seed).uniform([0, 0], [345, 259], (50, 2))
    back = geometry.to_event(geometry.to_image(p, rig), rig)
    assert back.dtype == np.float32
    assert np.abs(back - p).max() < 2e-3


def test_direction_and_pixel_centres() -> None:
    # The event pixel (0, 0) covers image pixels 0…3: its centre lies between 1 and 2.
    assert geometry.to_image(np.array([[0, 0], [35, 23]]), SCALED).tolist() == [[1.5, 1.5], [141.5, 93.5]]
    assert geometry.to_image(np.array([[0, 0], [35, 23]]), MIRRORED).tolist() == [[141.5, 1.5], [1.5, 93.5]]
    assert geometry.to_event(np.array([[1.5, 1.5]]), SCALED).tolist() == [[0.0, 0.0]]
    assert SCALED.scale == pytest.approx(4)
    assert MIRRORED.scale == pytest.approx(4)


def test_identity_is_exact() -> None:
    p = np.array([[3, 5], [35, 0]], np.uint16)
    assert geometry.to_image(p, DAVIS).tolist() == p.tolist() == geometry.to_event(p, DAVIS).tolist()
    a = np.random.default_rng(0).random((24, 36)).astype(np.float32)
    out = geometry.warp_event_map_to_image(a, DAVIS)
    assert np.array_equal(out, a)
    assert out is not a
    assert np.array_equal(geometry.image_to_event_grid(a, DAVIS), a)


@pytest.mark.parametrize("rig", [SCALED, MIRRORED], ids=["scaled", "mirrored"])
def test_events_on_image_equals_projection(rig: Rig) -> None:
    rng = np.random.default_rng(1)
    n = 200
    ev = Events(
        np.arange(n), rng.integers(0, 36, n).astype(np.uint16), rng.integers(0, 24, n).astype(np.uint16),
        np.zeros(n, np.bool_), 36, 24,
    )  # fmt: skip
    want = geometry.to_image(np.stack([ev.x, ev.y], 1), rig)
    assert np.array_equal(geometry.events_on_image(ev, rig), want)


@pytest.mark.parametrize("rig", [SCALED, MIRRORED], ids=["scaled", "mirrored"])
def test_map_of_coordinates_lands_on_its_coordinates(rig: Rig) -> None:
    y, x = np.mgrid[0:24, 0:36].astype(np.float32)
    g = geometry.event_grid(rig)
    wx = geometry.warp_event_map_to_image(x, rig)
    wy = geometry.warp_event_map_to_image(y, rig)
    # Between the outermost centres the interpolation is exact; beyond them the border's value holds.
    assert np.abs(wx - np.clip(g[..., 0], 0, 35)).max() < 1e-4
    assert np.abs(wy - np.clip(g[..., 1], 0, 23)).max() < 1e-4


@pytest.mark.parametrize("rig", [SCALED, MIRRORED], ids=["scaled", "mirrored"])
def test_image_to_event_grid_is_the_block_mean(rig: Rig) -> None:
    image = np.random.default_rng(0).random((96, 144, 3)).astype(np.float32)
    want = image.reshape(24, 4, 36, 4, 3).mean((1, 3))
    want = want[:, ::-1] if rig is MIRRORED else want
    assert np.abs(geometry.image_to_event_grid(image, rig) - want).max() < 1e-5


@settings(max_examples=15, deadline=None)
@given(m=homographies())
def test_smooth_map_survives_there_and_back(m: NDArray[np.float64]) -> None:
    rig = rig_of(m, (346, 260), (346, 260))
    y, x = np.mgrid[0:260, 0:346].astype(np.float32)
    smooth = 10 + np.sin(x / 40) + np.cos(y / 30)
    image = geometry.warp_event_map_to_image(smooth, rig, outside=np.nan)
    back = geometry.image_to_event_grid(image, rig, outside=np.nan)
    seen = np.isfinite(back)
    assert np.abs(back - smooth)[seen].max(initial=0) < 0.05


def test_outside_of_the_view_is_marked() -> None:
    m = geometry.scaled_homography(4)
    m[0, 2] += 20  # the event sensor sees from image column 20 on
    rig = rig_of(m, (36, 24), (200, 120))
    inside = geometry.inside_events(rig)
    assert inside.sum() == 144 * 96
    assert inside[0, 20]
    assert not inside[0, 19]
    out = geometry.warp_event_map_to_image(np.ones((24, 36), np.float32), rig, outside=-7.0)
    assert np.array_equal(out == 1.0, inside)
    assert (out[~inside] == -7.0).all()
    cropped = rig_of(geometry.scaled_homography(4), (36, 24), (72, 96))  # the image shows the left half only
    small = geometry.image_to_event_grid(np.full((96, 72), 9, np.uint8), cropped, outside=3)
    assert (small[:, :18] == 9).all()
    assert (small[:, 18:] == 3).all()
    assert np.array_equal(geometry.inside_image(cropped), small == 9)


def test_channels_and_dtypes_are_kept() -> None:
    for shape, dtype in (
        ((24, 36), np.uint8),
        ((24, 36, 3), np.float32),
        ((24, 36, 7), np.float32),
        ((24, 36, 1), np.float64),
    ):
        a = np.ones(shape, dtype)
        out = geometry.warp_event_map_to_image(a, SCALED)
        assert out.shape == (96, 144, *shape[2:])
        assert out.dtype == dtype
        back = geometry.image_to_event_grid(out, SCALED)
        assert back.shape == shape
        assert back.dtype == dtype


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="event grid 36×24"):
        geometry.warp_event_map_to_image(np.zeros((96, 144), np.float32), SCALED)
    with pytest.raises(ValueError, match="image grid 144×96"):
        geometry.image_to_event_grid(np.zeros((24, 36), np.float32), SCALED)
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        geometry.to_image(np.zeros((3, 4)), SCALED)
    with pytest.raises(ValueError, match="width"):
        geometry.scaled_homography(2, mirrored=True)
    assert geometry.to_image(np.zeros((0, 2)), SCALED).shape == (0, 2)
