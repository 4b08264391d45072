"""The rectified grid: its size, and that both cameras land on the same cells."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.geometry.crop import rectified
from calibration.simulated_truth import SimulatedTruth, random_truth
from capture.errors import UsageError
from capture.packets import Events
from capture.simulated.presets import configure
from sync.lens import PixelMap
from sync.rig import Rig


def test_the_default_rig_fills_the_grid_of_msrbd() -> None:
    r = rectified(SimulatedTruth(configure("handheld")).rig())
    assert (r.width, r.height, r.scale) == (1152, 768, 4)
    assert (r.shared.columns, r.shared.rows) == (288, 192)
    assert 0.95 < r.zoom < 1.0


@pytest.mark.parametrize("seed", [1, 5, 9])
def test_events_and_picture_land_on_the_same_cells(seed: int) -> None:
    truth = random_truth(seed)
    r = rectified(truth.rig())
    assert r.width % (16 * r.scale) == 0
    assert r.height % (16 * r.scale) == 0
    # Picture pixels in the middle of cells, seen by the event camera where the rig's map says.
    rng = np.random.default_rng(0)
    cells = np.stack(
        [rng.integers(0, r.width // r.scale, 200), rng.integers(0, r.height // r.scale, 200)], axis=1
    )
    picture = cells * r.scale + (r.scale - 1) / 2
    raw = picture * r.zoom + (r.left, r.top)
    e = truth.pixel_map.to_event(raw)
    size = np.array(truth.event_size)
    assert ((e > -0.6) & (e < size - 0.4)).all()
    assert ((raw > -0.6) & (raw < np.array(truth.image_size) - 0.4)).all()
    pixel = np.clip(np.rint(e), 0, size - 1).astype(np.uint16)
    n = len(pixel)
    out = r.events(Events(np.arange(n), pixel[:, 0], pixel[:, 1], np.ones(n, np.bool_), *truth.event_size))
    assert len(out) > 0.97 * n
    index = out.t.astype(int)
    off = np.abs(np.stack([out.x, out.y], axis=1).astype(int) - cells[index])
    assert off.max() <= 1


def test_the_picture_is_the_frame_resampled() -> None:
    truth = random_truth(5, lenses=False)
    r = rectified(truth.rig())
    _, x = np.mgrid[0:768, 0:1152]
    image = ((x // 8) % 256).astype(np.uint8)
    got = r.picture(image)
    assert got.shape == (r.height, r.width)
    at = np.array([500, 300])
    raw = at * r.zoom + (r.left, r.top)
    assert abs(int(got[300, 500]) - raw[0] / 8) < 1.5


def test_nothing_larger_fits() -> None:
    rig = random_truth(3, lenses=False).rig()
    r = rectified(rig)
    m = PixelMap.of(rig)
    grown = 1.01
    corners = np.array(
        [[-0.5, -0.5], [r.width - 0.5, -0.5], [-0.5, r.height - 0.5], [r.width - 0.5, r.height - 0.5]]
    )
    middle = np.array([(r.width - 1) / 2, (r.height - 1) / 2])
    raw = ((corners - middle) * grown + middle) * r.zoom + (r.left, r.top)
    e = m.to_event(raw)
    outside = (
        (e < -0.5) | (e > np.array([287.5, 191.5])) | (raw < -0.5) | (raw > np.array([1151.5, 767.5]))
    )  # fmt: skip
    assert outside.any()


def test_cameras_apart_are_refused() -> None:
    rig = SimulatedTruth(configure("handheld")).rig()
    with pytest.raises(UsageError, match="scale of 0"):
        rectified(rig, 0)
    far = ((4.0, 0.0, 900.0), (0.0, 4.0, 0.0), (0.0, 0.0, 1.0))
    g = rig.geometry.model_copy(update={"image_from_event": far, "mirrored": False})
    with pytest.raises(UsageError, match=r"share .* of the field"):
        rectified(Rig.model_validate({**rig.model_dump(), "geometry": g.model_dump()}))
