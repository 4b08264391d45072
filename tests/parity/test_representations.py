"""EFNet's representations: SCER, event mask, voxel grid and normalisations, number for number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.representations import mask_numba, mask_torch, scer_numba, scer_torch, voxel_numba, voxel_torch
from inference.representations.coding import Columns, Mode, columns, published_polarity
from inference.representations.normalise import (
    by_deviation,
    by_maximum,
    by_percentile,
    by_percentile_shifted,
)
from inference.representations.scer import exposure_window, midpoint_windows, published_bounds
from inference.representations.voxel import from_stored
from inference.restorers.pictures import ColourOrder, to_network
from tests.parity.cases import Arrays, Case, cases, reads
from tests.parity.representation_files import arrays

EFNET = pytest.mark.parametrize("case", cases("efnet"), ids=str)
BACKENDS = ("numba", "torch")
TOLERANCE = 1e-5  # the manifest's, for what it does not ask to be exact


def event_list(a: Arrays, name: str, height: int, width: int) -> Columns:
    return columns(a[f"{name}_t"], a[f"{name}_x"], a[f"{name}_y"], a[f"{name}_p"], width, height)


def scer(e: Columns, backend: str, **options: bool) -> NDArray[np.float32]:
    at = published_bounds(e.t)
    if backend == "numba":
        return scer_numba.from_bounds(e, at, **options)
    return np.asarray(scer_torch.from_bounds(e, at, **options).numpy())


def mask(grid: NDArray[np.float32], backend: str) -> NDArray[np.uint8]:
    if backend == "numba":
        return mask_numba.event_mask(grid)
    return np.asarray(mask_torch.event_mask(torch.from_numpy(grid)).numpy())


def network_input(pictures: NDArray[np.uint8], order: ColourOrder) -> NDArray[np.float32]:
    """(N, 3, H, W) as a restorer hands pictures (N, H, W, 3) to its network."""
    return np.asarray(to_network(list(pictures), torch.device("cpu"), order, "srgb").numpy())


def check(case_name: str, grid: NDArray[np.float32], a: Arrays, backend: str, item: int | None = None) -> None:
    pick = (lambda v: v) if item is None else (lambda v: v[item])
    np.testing.assert_array_equal(grid, pick(a[f"{case_name}_scer6"]))
    if f"{case_name}_mask" in a:
        np.testing.assert_array_equal(mask(grid, backend), pick(a[f"{case_name}_mask"]))


@reads(
    "efnet", "representation*", "*_[xytp]", "*_scer[67]", "*_mask", "!gopro_*", "!reblur_*", "!h5_*", "!loss_*"
)
@pytest.mark.parametrize("backend", BACKENDS)
@EFNET
def test_scer_and_mask_are_exact(case: Case, backend: str) -> None:
    a = arrays(case)
    names = [n.removesuffix("_scer6") for n in a if n.endswith("_scer6") and a[n].ndim == 3]
    assert len(names) > 1
    for name in names:
        _, height, width = a[f"{name}_scer6"].shape
        if f"{name}_x" not in a:  # the empty window
            e = columns(*(np.empty(0) for _ in range(4)), width, height)
        else:
            e = event_list(a, name, height, width)
        check(name, scer(e, backend), a, backend)
        if f"{name}_scer7" in a:
            seven = scer(e, backend, zero_middle=True)
            np.testing.assert_array_equal(seven, a[f"{name}_scer7"])


@EFNET
def test_the_first_time_may_be_subtracted_where_float32_held_it(case: Case) -> None:
    a = arrays(case)
    _, height, width = a["random_scer6"].shape
    e = event_list(a, "random", height, width)
    relative = scer_numba.from_bounds(e, published_bounds(e.t, relative=True))
    np.testing.assert_array_equal(relative, a["random_scer6"])


@reads("efnet", "representation*", "gopro_*", "reblur_*")
@pytest.mark.parametrize("backend", BACKENDS)
@EFNET
def test_windows_of_frames_are_exact(case: Case, backend: str) -> None:
    a = arrays(case)
    _, _, height, width = a["gopro_scer6"].shape
    e = event_list(a, "gopro", height, width)
    windows = midpoint_windows(e.t, a["gopro_frame_t"])
    np.testing.assert_array_equal(windows, a["gopro_window"])
    np.testing.assert_array_equal(np.arange(len(windows)) + 1, a["gopro_item_frame_index"])
    np.testing.assert_array_equal(a["gopro_frame_t"][1:-1], a["gopro_item_frame_t"])
    for j, (lo, hi) in enumerate(windows):
        inside = e[int(lo) : int(hi)]
        check("gopro", scer(inside, backend), a, backend, j)
        np.testing.assert_array_equal(scer(inside, backend, zero_middle=True), a["gopro_scer7"][j])
    for j, (start, end) in enumerate(a["reblur_exposure"]):
        lo, hi = exposure_window(e.t, start, end)
        np.testing.assert_array_equal((lo, hi), a["reblur_window"][j])
        check("reblur", scer(e[lo:hi], backend), a, backend, j)


@reads("efnet", "representation*", "h5_*")
@EFNET
def test_what_the_reader_returns(case: Case) -> None:
    a = arrays(case)
    stored = a["h5_image_u8"].transpose(0, 2, 3, 1)  # BGR, and handed over as it is
    np.testing.assert_array_equal(network_input(stored, "rgb"), a["h5_frame"])
    for j, grid in enumerate(a["gopro_scer6"]):
        np.testing.assert_array_equal(by_maximum(grid), a["h5_voxel"][j])
        np.testing.assert_array_equal(by_maximum(torch.from_numpy(grid)).numpy(), a["h5_voxel"][j])
        np.testing.assert_array_equal(mask_numba.event_mask(grid) / 255.0, a["h5_mask"][j])


@reads("efnet", "representation*", "polarity_*")
@EFNET
def test_stored_polarities(case: Case) -> None:
    a = arrays(case)
    np.testing.assert_array_equal(published_polarity(a["polarity_stored"]), a["polarity_decoded"])


def voxel(e: Columns, bins: int, backend: str) -> NDArray[np.float32]:
    if backend == "numba":
        return voxel_numba.published(e, bins=bins)
    return np.asarray(voxel_torch.published(e, bins=bins).numpy())


def deviation(grid: NDArray[np.float32], backend: str) -> NDArray[np.float32]:
    if backend == "numba":
        return by_deviation(grid)
    return np.asarray(by_deviation(torch.from_numpy(grid)).numpy())


@reads("efnet", "representation*", "hr_*")
@pytest.mark.parametrize("backend", BACKENDS)
@EFNET
def test_voxel_grid_matches(case: Case, backend: str) -> None:
    a = arrays(case)
    names = [n.removesuffix("_txyp") for n in a if n.startswith("hr_") and n.endswith("_txyp")]
    assert names
    for name in names:
        bins, height, width = a[f"{name}_voxel"].shape
        t, x, y, p = a[f"{name}_txyp"].T
        e = columns(t, x, y, p, width, height)
        grid = voxel(e, bins, backend)
        np.testing.assert_allclose(grid, a[f"{name}_voxel"], rtol=0, atol=TOLERANCE, err_msg=name)
        want = a[f"{name}_voxel_norm"]
        if np.isfinite(want).all():
            np.testing.assert_allclose(deviation(grid, backend), want, rtol=0, atol=TOLERANCE, err_msg=name)


def event_files(a: Arrays, frame: int) -> list[NDArray[np.int64]]:
    """All event files of a frame; the last one lies after the exposure."""
    count = sum(name.startswith(f"hrfile_{frame}_") for name in a)
    return [a[f"hrfile_{frame}_{part}"] for part in range(count)]


@reads("efnet", "representation*", "hrfile_*", "hrds_*")
@pytest.mark.parametrize("backend", BACKENDS)
@EFNET
def test_highrev_files_match(case: Case, backend: str) -> None:
    a = arrays(case)
    pictures = a["hrds_png_bgr"]
    np.testing.assert_array_equal(network_input(pictures[..., ::-1], "rgb"), a["hrds_frame"])
    # Items are known by the pictures' names, in their order.
    assert len(pictures) == len(set(a["hrds_names"]))
    assert sorted(a["hrds_names"]) == list(a["hrds_names"])
    for frame in range(len(a["hrds_voxel"])):
        bins, height, width = a["hrds_voxel"][frame].shape
        *inside, behind = event_files(a, frame)
        row, column, t, p = np.concatenate(inside).T  # x and y are exchanged on disk
        assert t.max() <= behind[:, 2].min()
        e = columns(t, column, row, p, width, height)
        grid = voxel(e, bins, backend)
        np.testing.assert_allclose(grid, a["hrds_voxel_raw"][frame], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(deviation(grid, backend), a["hrds_voxel"][frame], rtol=0, atol=TOLERANCE)
        stored = from_stored(np.moveaxis(a["hrds_voxel_raw"][frame], 0, 2))
        np.testing.assert_allclose(deviation(stored, backend), a["hrds_voxel"][frame], rtol=0, atol=TOLERANCE)


@reads("efnet", "representation*", "robust_*")
@pytest.mark.parametrize("backend", BACKENDS)
@EFNET
def test_percentile_normalisations_match(case: Case, backend: str) -> None:
    a = arrays(case)
    grid = a["robust_in"] if backend == "numba" else torch.from_numpy(a["robust_in"])
    found = 0
    for name in a:
        if not name.startswith("robust_") or name == "robust_in":
            continue
        want = a[name]
        _, kind, low, high = name.split("_")
        if kind == "davis":
            mine = by_percentile(grid, float(low), float(high), mode=Mode.PUBLISHED)
        else:
            mine = by_percentile_shifted(grid, float(low), float(high))
        np.testing.assert_allclose(np.asarray(mine), want, rtol=0, atol=TOLERANCE, err_msg=name)
        found += 1
    assert found
