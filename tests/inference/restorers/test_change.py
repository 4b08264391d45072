"""A change on the event grid brought back: as the tensors do it, clipped, unchanged where nothing is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.restorers.apply_ratio import apply_ratio
from inference.restorers.change import add_change
from inference.restorers.placement import sample
from sync.geometry import event_from_image
from sync.rig import Rig
from tests.inference.moving_scene import rig_for
from tests.inference.restorers.rigs import on_the_border, picture, splitter

TURNED = splitter((24, 18), 3, turn_deg=4.0)
PART = rig_for((20, 18), (61, 50), image_from_event=np.diag([2.1, 2.2, 1.0]))  # sees a part of the image


@pytest.mark.parametrize("rig", [splitter(), TURNED, PART])
@pytest.mark.parametrize("gray", [False, True])
def test_it_is_what_tensors_give(rig: Rig, gray: bool) -> None:
    image = picture(rig.image.width, rig.image.height, gray=gray)
    shape = (rig.events.height, rig.events.width) + (() if gray else (3,))
    change = np.random.default_rng(0).normal(0, 60, shape).astype(np.float32)
    out = add_change(image, change, event_from_image(rig))
    planes = torch.from_numpy(change[None] if gray else np.moveaxis(change, 2, 0))
    moved = sample(planes, rig).numpy()
    moved = moved[0] if gray else np.moveaxis(moved, 0, 2)
    expected = np.clip(image + moved, 0, 255)
    assert out.dtype == np.uint8
    assert np.abs(out - expected).max() <= 0.51
    assert (out == 0).any()
    assert (out == 255).any()
    unseen = np.all(moved.reshape(*moved.shape[:2], -1) == 0, axis=2)
    np.testing.assert_array_equal(out[unseen], image[unseen])
    assert unseen.any() == (rig is PART or rig is TURNED)


@pytest.mark.parametrize("scale", [1.1, 2.7, 3.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_on_the_very_border_are_seen(scale: float, mirrored: bool) -> None:
    """As `sample` sees them, whatever rounding makes of them, and with ratios of light, too."""
    rig = on_the_border(20, 10, scale, mirrored=mirrored)
    size = rig.image.height, rig.image.width
    image, m = np.full(size, 100, np.uint8), event_from_image(rig)
    seen = sample(torch.ones((1, 10, 20)), rig)[0].numpy() > 0
    assert seen[[0, 0, -1, -1], [0, -1, 0, -1]].all()
    np.testing.assert_array_equal(add_change(image, np.full((10, 20), 9, np.float32), m) == 109, seen)
    np.testing.assert_array_equal(
        apply_ratio(image, np.full((10, 20), 0.5, np.float32), "linear", m) == 50, seen
    )
