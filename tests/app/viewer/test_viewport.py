from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.viewer.viewport import MAX_SCALE, Pane, Viewport

sizes = st.tuples(st.integers(8, 1500), st.integers(8, 1200))
panes = st.builds(Pane, st.integers(0, 50), st.integers(0, 50), st.integers(60, 1600), st.integers(60, 1000))
fractions = st.floats(0.05, 0.95)


@given(panes, sizes, fractions, fractions, st.floats(0.5, 6))
def test_the_point_under_the_pointer_stays_there_while_zooming_in(
    pane: Pane, size: tuple[int, int], fx: float, fy: float, steps: float
) -> None:
    v = Viewport()
    seen = v.visible(pane, size)
    x, y = seen.x + fx * seen.width, seen.y + fy * seen.height
    before = v.to_image(pane, size, x, y)
    v.zoom_at(pane, size, x, y, steps)
    after = v.to_image(pane, size, x, y)
    s = v.scale(pane, size)
    # A side that still fits is centred, so only a side longer than the pane can keep its point.
    for k, length in ((0, pane.width), (1, pane.height)):
        if size[k] * s > length + 1:
            fit = (
                v.to_image(pane, size, pane.x, pane.y)[k],
                v.to_image(pane, size, pane.x + pane.width, pane.y + pane.height)[k],
            )
            at_edge = fit[0] <= 1e-6 or fit[1] >= size[k] - 1e-6
            if not at_edge:
                assert after[k] == pytest.approx(before[k], abs=1e-6 * max(size))


@given(panes, sizes, st.floats(-200, 400), st.floats(-200, 400), st.floats(0, 8))
def test_widget_and_image_points_are_inverse(
    pane: Pane, size: tuple[int, int], x: float, y: float, steps: float
) -> None:
    v = Viewport()
    v.zoom_at(pane, size, pane.x + pane.width * 0.3, pane.y + pane.height * 0.6, steps)
    back = v.to_widget(pane, size, *v.to_image(pane, size, x, y))
    assert back == pytest.approx((x, y), abs=1e-6)


@given(panes, sizes, st.floats(0, 12), st.floats(-900, 900), st.floats(-900, 900))
def test_the_crop_covers_what_is_seen_and_stays_in_the_image(
    pane: Pane, size: tuple[int, int], steps: float, dx: float, dy: float
) -> None:
    v = Viewport()
    v.zoom_at(pane, size, pane.x + pane.width / 2, pane.y + pane.height / 2, steps)
    v.pan(pane, size, dx, dy)
    seen, place = v.visible(pane, size), v.place(pane, size)
    x0, y0, x1, y1 = place.crop
    assert 0 <= x0 < x1 <= size[0]
    assert 0 <= y0 < y1 <= size[1]
    tx, ty, tw, th = place.target
    assert tx <= seen.x + 1
    assert ty <= seen.y + 1
    assert tx + tw >= seen.x + seen.width - 1
    assert ty + th >= seen.y + seen.height - 1
    assert v.scale(pane, size) <= max(MAX_SCALE, min(pane.width / size[0], pane.height / size[1])) + 1e-9


def test_panning_stops_at_the_edge_and_comes_back_at_once() -> None:
    v, pane, size = Viewport(), Pane(0, 0, 100, 100), (100, 100)
    v.zoom_at(pane, size, 50, 50, 4)
    v.pan(pane, size, 1e5, 0)
    assert v.to_image(pane, size, 0, 50)[0] == pytest.approx(0)
    v.pan(pane, size, -10, 0)
    assert v.to_image(pane, size, 0, 50)[0] > 0


def test_zooming_out_ends_at_the_whole_picture() -> None:
    v, pane, size = Viewport(), Pane(0, 0, 300, 100), (100, 100)
    v.zoom_at(pane, size, 150, 20, 3)
    assert not v.fitted
    v.zoom_at(pane, size, 120, 20, -9)
    assert v.fitted
    assert v.visible(pane, size) == Pane(100, 0, 100, 100)
