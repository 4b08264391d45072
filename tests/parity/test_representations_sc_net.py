"""SC-Net's event-count maps, number for number, and where the corrected ones differ."""

from __future__ import annotations

import numpy as np
import pytest

from inference.representations import counts, counts_numba, counts_torch
from inference.representations.coding import columns
from tests.parity.cases import Case, cases, reads
from tests.parity.representation_files import arrays

SC_NET = pytest.mark.parametrize("case", cases("sc-net"), ids=str)
BACKEND = pytest.mark.parametrize("backend", ["numba", "torch"])


@reads("sc-net", "representation*", "*_[xytp]", "*_start", "*_frame")
@BACKEND
@SC_NET
def test_published_counts_are_exact(case: Case, backend: str) -> None:
    a = arrays(case)
    names = [n.removesuffix("_frame") for n in a if n.endswith("_frame")]
    assert names
    for name in names:
        want = a[f"{name}_frame"]
        _, height, width = want.shape
        t, x, y, p, start = (a[f"{name}_{k}"] for k in ("t", "x", "y", "p", "start"))
        e = counts.published(t, x, y, p, start[()], width, height)
        made = counts_numba.count_all(e) if backend == "numba" else counts_torch.count_all(e).numpy()
        np.testing.assert_array_equal(made, want, err_msg=name)


@BACKEND
@SC_NET
def test_ordinary_windows_are_the_same_corrected(case: Case, backend: str) -> None:
    a = arrays(case)
    name = "int_signed"
    want = a[f"{name}_frame"]
    _, height, width = want.shape
    t, x, y, p, start = (a[f"{name}_{k}"] for k in ("t", "x", "y", "p", "start"))
    order = np.argsort(t, kind="stable")
    e = columns(t[order], x[order] - 1, y[order] - 1, p[order], width, height)
    args = (e, int(start), int(t[-1]))
    made = counts_numba.event_counts(*args) if backend == "numba" else counts_torch.event_counts(*args).numpy()
    np.testing.assert_array_equal(made, want)
