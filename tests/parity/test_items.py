"""Windows and items that the published data classes make, and what their loaders do to stored arrays."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.representations.coding import columns
from tests.parity.cases import Arrays, Case, cases, reads
from tests.parity.representation_files import arrays
from training.data.gem import Draw, FramePair, item_at, items_at_fraction, training_item, values
from training.data.windows import Ends, five_frame_windows

GEM = pytest.mark.parametrize("case", cases("gem"), ids=str)
VALUES = 1e-7  # for pictures; counts must be exact


@reads("cdvd-tsp", "operations*", "windows_*")
@pytest.mark.parametrize("case", cases("cdvd-tsp"), ids=str)
def test_windows_of_a_video(case: Case) -> None:
    ends = {"inner": Ends.NONE, "border": Ends.PUBLISHED}
    for a in case.arrays("operations*.npz"):
        for name in (n for n in a if n.startswith("windows_")):
            _, count, kind = name.split("_")
            np.testing.assert_array_equal(five_frame_windows(int(count), ends[kind]), a[name], err_msg=name)


def frame_pair(a: Arrays) -> FramePair:
    s1, e1, s2, e2 = (int(v) for v in a["sample_exposures"])
    scale = int(a["sample_scale"])
    _, height, width = a["sample_blur1"].shape
    grid = (width // scale, height // scale)
    events = columns(a["ev_t"], a["ev_x"], a["ev_y"], a["ev_p"], *grid, drop_outside=True)
    return FramePair(a["sample_blur1"], a["sample_blur2"], ((s1, e1), (s2, e2)), events, scale)


@reads("gem", "representation*", "train*", "sample_exposures", "sample_scale", "sample_blur?")
@GEM
def test_gems_training_items(case: Case) -> None:
    a = arrays(case)
    pair = frame_pair(a)
    names = [n.removesuffix("_draws") for n in a if re.fullmatch(r"train\d+_draws", n)]
    assert names
    for name in names:
        first, instant, top, left = (int(v) for v in a[f"{name}_draws"])
        want = {key: a[f"{name}_{key}"] for key in ("b2s", "lb2s", "lb2b", "blur", "large")}
        bins, rows, columns_ = len(want["b2s"]) // 6, *want["b2s"].shape[1:]
        item = training_item(pair, Draw(bool(first), instant, top, left), (rows, columns_), bins=bins)
        counts = (item.sharp_from_frame, item.sharp_from_large, item.frame_from_large)
        for got, key in zip(counts, ("b2s", "lb2s", "lb2b"), strict=True):
            np.testing.assert_array_equal(got, want[key], err_msg=f"{name}_{key}")
        np.testing.assert_allclose(item.frame, want["blur"], rtol=0, atol=VALUES)
        np.testing.assert_allclose(item.large, want["large"], rtol=0, atol=VALUES)


@reads("gem", "representation*", "test_*", "sample_*")
@GEM
def test_gems_test_items(case: Case) -> None:
    a = arrays(case)
    pair = frame_pair(a)
    for j, (counts, picture) in enumerate(items_at_fraction(pair, bins=len(a["test_mid_eger"][0]) // 6)):
        np.testing.assert_array_equal(counts, a["test_mid_eger"][j])
        np.testing.assert_allclose(picture, a["test_mid_blur"][j], rtol=0, atol=VALUES)
    for j, instant in enumerate(a["sample_timestamps"]):
        sums = a["test_gt_eger_sums"][j]
        counts, picture, second = item_at(pair, int(instant), bins=len(sums))
        assert second == a["test_gt_uses_second"][j]
        np.testing.assert_array_equal(counts.reshape(*sums.shape, -1).sum(-1), sums)
        np.testing.assert_array_equal(picture, values(pair.second if second else pair.first))
    sharp = a["sample_sharp"]
    error = np.abs(values(sharp).astype(np.float64) - sharp / 255.0).max()
    assert error == pytest.approx(a["test_gt_sharp_max_error"], abs=1e-12)


def as_loaded(frame: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """What the published loader makes of counts (2, h, w): axes are renamed, not moved, before and behind."""
    two, h, w = frame.shape
    turned = cv2.resize(frame.reshape(h, w, two), (height, width), interpolation=cv2.INTER_LINEAR)
    return np.asarray(turned, np.float32).reshape(two, height, width)


@reads("sc-net", "representation*", "*_as_loaded")
@pytest.mark.parametrize("case", cases("sc-net"), ids=str)
def test_what_sc_nets_loader_does_to_counts(case: Case) -> None:
    """Nobody should do it; it is the reason why the published data path is not offered."""
    a = arrays(case)
    for name in (n for n in a if n.endswith("_as_loaded")):
        frame, want = a[name.replace("_as_loaded", "_frame")], a[name]
        np.testing.assert_allclose(as_loaded(frame, *want.shape[1:]), want, rtol=0, atol=1e-5)
        assert not np.allclose(frame, want)
