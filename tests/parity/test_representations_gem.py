"""GEM's representation, number for number: EGER of every span, and the items that its data class makes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.representations import eger_numba, eger_torch
from inference.representations.coding import Columns, Mode, columns
from inference.representations.eger import Region, Spans, whole_times
from tests.parity.cases import Arrays, Case, cases, reads
from tests.parity.representation_files import arrays

GEM = pytest.mark.parametrize("case", cases("gem"), ids=str)
BACKEND = pytest.mark.parametrize("backend", ["numba", "torch"])


def event_list(a: Arrays, kind: int) -> Columns:
    """The lists that `cNN_params` numbers, on a grid that holds all their events."""
    name, polarity = {0: ("ev", "p"), 1: ("ev", "p01"), 2: ("fl", "p"), 3: ("ev", "p")}[kind]
    t = whole_times(a[f"{name}_t"]) + (1_600_000_000_000_000 if kind == 3 else 0)
    x, y, p = a[f"{name}_x"], a[f"{name}_y"], a[f"{name}_{polarity}"]
    order = np.argsort(t, kind="stable")
    size = (int(np.max(x)) + 1, int(np.max(y)) + 1)
    return columns(t[order], x[order], y[order], p[order], *size, drop_outside=True)


def eger(e: Columns, spans: Spans, region: Region, backend: str) -> NDArray[np.float32]:
    if backend == "numba":
        return eger_numba.eger(e, spans, region)
    return np.asarray(eger_torch.eger(e, spans, region).numpy())


@reads("gem", "representation*", "ev_*", "fl_*", "c??_*")
@BACKEND
@GEM
def test_eger_is_exact(case: Case, backend: str) -> None:
    a = arrays(case)
    names = [n.removesuffix("_params") for n in a if n.endswith("_params")]
    assert names
    whole = 0
    for name in names:
        kind, bins, t0, t1, b0, b1, top, left, height, width = a[f"{name}_params"]
        region = Region(int(top), int(left), int(height), int(width))
        e = event_list(a, int(kind))
        spans = Spans((b0, b1), (t0, t1), int(bins), Mode.PUBLISHED)
        note = f"{name}: {a[f'{name}_note']}"
        np.testing.assert_array_equal(eger(e, spans, region, backend), a[f"{name}_eger"], err_msg=note)
        if t0 <= t1 and b0 == int(b0) and b1 == int(b1):
            corrected = Spans((b0, b1), (t0, t1), int(bins))
            np.testing.assert_array_equal(eger(e, corrected, region, backend), a[f"{name}_eger"], err_msg=note)
            whole += 1
    assert whole


@reads("gem", "representation*", "sample_timestamps", "test_*_eger*", "test_gt_uses_second")
@BACKEND
@GEM
def test_items_of_the_data_class_are_exact(case: Case, backend: str) -> None:
    a = arrays(case)
    s1, e1, s2, e2 = (int(v) for v in a["sample_exposures"])
    scale = int(a["sample_scale"])
    height, width = (n // scale for n in a["sample_blur1"].shape[1:])
    e, full = event_list(a, 0), Region(0, 0, height, width)
    for j, (start, end) in enumerate(((s1, e1), (s2, e2))):
        instant = start + 0.5 * (end - start)  # not rounded there
        spans = Spans((start, end), (instant, instant), mode=Mode.PUBLISHED)
        np.testing.assert_array_equal(eger(e, spans, full, backend), a["test_mid_eger"][j])
    for j, instant in enumerate(a["sample_timestamps"]):
        second = bool(instant > e1)
        assert second == a["test_gt_uses_second"][j]
        blur = (s2, e2) if second else (s1, e1)
        made = eger(e, Spans(blur, (int(instant), int(instant))), full, backend)
        bins = a["test_gt_eger_sums"].shape[1]
        sums = made.reshape(bins, 3, 2, -1).sum(-1)
        np.testing.assert_array_equal(sums, a["test_gt_eger_sums"][j])


@reads("gem", "representation*", "train*_draws", "train*b")
@BACKEND
@GEM
def test_training_items_are_exact(case: Case, backend: str) -> None:
    a = arrays(case)
    s1, e1, s2, e2 = (int(v) for v in a["sample_exposures"])
    e = event_list(a, 0)
    names = [n.removesuffix("_draws") for n in a if n.endswith("_draws")]
    assert names
    for name in names:
        first, instant, top, left = (int(v) for v in a[f"{name}_draws"])
        own, joint, at = ((s1, e1) if first else (s2, e2)), (s1, e2), (instant, instant)
        for key, blur, target in (("b2s", own, at), ("lb2s", joint, at), ("lb2b", joint, own)):
            want = a[f"{name}_{key}"]
            region = Region(top, left, *want.shape[1:])
            np.testing.assert_array_equal(eger(e, Spans(blur, target), region, backend), want, err_msg=key)
