"""SCER, voxel grid, EGER, counts: definitions by hand, both implementations, packets, and awkward events."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.packets import Events
from inference.representations import (
    counts_numba,
    counts_torch,
    eger_numba,
    eger_torch,
    scer_numba,
    scer_torch,
    voxel_numba,
    voxel_torch,
)
from inference.representations.coding import Mode
from inference.representations.eger import Region, Spans
from inference.representations.scatter_torch import upload
from tests.inference.representations.scenes import START, packets, random_events, sign

Grid = NDArray[Any]
Make = Callable[[Events, int, int], Grid]


def latent(start: int, end: int) -> Spans:
    return Spans((start, end), (start + (end - start) // 3, start + (end - start) // 2), bins=5)


NUMBA: dict[str, Make] = {
    "scer": lambda e, a, b: scer_numba.scer(e, a, b),
    "scer relative": lambda e, a, b: scer_numba.scer(e, a, b, mode=Mode.RELATIVE),
    "scer published": lambda e, a, b: scer_numba.scer(e, a, b, mode=Mode.PUBLISHED),
    "voxel": lambda e, a, b: voxel_numba.voxel_grid(e, a, b),
    "voxel relative": lambda e, a, b: voxel_numba.voxel_grid(e, a, b, mode=Mode.RELATIVE),
    "eger": lambda e, a, b: eger_numba.eger(e, latent(a, b)),
    "counts": lambda e, a, b: counts_numba.event_counts(e, a, b),
    "counts in steps": lambda e, a, b: counts_numba.event_counts(e, a, b, steps=4),
}
TORCH: dict[str, Make] = {
    "scer": lambda e, a, b: scer_torch.scer(e, a, b).numpy(),
    "scer relative": lambda e, a, b: scer_torch.scer(e, a, b, mode=Mode.RELATIVE).numpy(),
    "scer published": lambda e, a, b: scer_torch.scer(e, a, b, mode=Mode.PUBLISHED).numpy(),
    "voxel": lambda e, a, b: voxel_torch.voxel_grid(e, a, b).numpy(),
    "voxel relative": lambda e, a, b: voxel_torch.voxel_grid(e, a, b, mode=Mode.RELATIVE).numpy(),
    "eger": lambda e, a, b: eger_torch.eger(e, latent(a, b)).numpy(),
    "counts": lambda e, a, b: counts_torch.event_counts(e, a, b).numpy(),
    "counts in steps": lambda e, a, b: counts_torch.event_counts(e, a, b, steps=4).numpy(),
}
EACH = pytest.mark.parametrize("name", NUMBA)
LISTS = given(
    n=st.integers(0, 300), seed=st.integers(0, 2**31), length=st.integers(1, 20_000),
    early=st.integers(0, 3000), late=st.integers(0, 3000),
)  # fmt: skip


def by_hand(name: str, e: Events, a: int, b: int) -> Grid:
    """The definitions, event by event, in exact fractions."""
    if name == "scer":
        out = np.zeros((6, e.height, e.width))
        for t, x, y, s in zip(e.t.tolist(), e.x, e.y, sign(e), strict=True):
            if a <= t < b:
                part = (t - a) * 6 // (b - a)
                for k in range(6):
                    if k < 3 and k <= part < 3:
                        out[k, y, x] -= s
                    elif k >= 3 and 3 <= part <= k:
                        out[k, y, x] += s
        return out
    if name == "voxel":
        exact = np.full((6, e.height, e.width), Fraction(0), dtype=object)
        for t, x, y, s in zip(e.t.tolist(), e.x, e.y, sign(e).tolist(), strict=True):
            if a <= t < b:
                at = Fraction(5 * (t - a), b - a)
                k = int(at)
                exact[k, y, x] += s * (1 - (at - k))
                exact[k + 1, y, x] += s * (at - k)
        return exact.astype(np.float64).astype(np.float32)
    if name == "eger":
        spans = latent(a, b)
        out = np.zeros((30, e.height, e.width))
        for t, x, y, on in zip(e.t.tolist(), e.x, e.y, e.p, strict=True):
            if a <= t < b:
                group = 0 if t < spans.target[0] else 1 if t < spans.target[1] else 2
                out[6 * ((t - a) * 5 // (b - a)) + 2 * group + int(on), y, x] += 1
        return out
    steps = 1 if name == "counts" else 4
    out = np.zeros((steps, 2, e.height, e.width))
    for t, x, y, on in zip(e.t.tolist(), e.x, e.y, e.p, strict=True):
        if a <= t <= b:
            out[min(steps - 1, (t - a) * steps // (b - a)), int(on), y, x] += 1
    return out[0] if steps == 1 else out


@pytest.mark.parametrize("name", ["scer", "voxel", "eger", "counts", "counts in steps"])
@LISTS
@settings(max_examples=15, deadline=None)
def test_both_are_the_definition(name: str, n: int, seed: int, length: int, early: int, late: int) -> None:
    e = random_events(seed, n, (START - early, START + length + late))
    want = by_hand(name, e, START, START + length)
    np.testing.assert_array_equal(NUMBA[name](e, START, START + length), want)
    np.testing.assert_array_equal(TORCH[name](e, START, START + length), want)


@pytest.mark.parametrize("name", ["scer relative", "scer published", "voxel relative"])
@LISTS
@settings(max_examples=15, deadline=None)
def test_published_rules_agree(name: str, n: int, seed: int, length: int, early: int, late: int) -> None:
    e = random_events(seed, n, (START - early, START + length + late))
    a, b = NUMBA[name](e, START, START + length), TORCH[name](e, START, START + length)
    assert a.dtype == b.dtype == np.float32
    # The voxel grid's float32 sums are of at most 300 terms up to 1; the orders of addition may differ.
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-4 if "voxel" in name else 0)


def grown(name: str, e: Events, a: int, b: int, parts: list[Events]) -> Grid:
    if name == "scer":
        s = scer_numba.Scer(e.width, e.height, a, b)
        for p in parts:
            s.push(p)
            s.result()  # asking in between changes nothing
        return s.result()
    if name == "voxel":
        v = voxel_numba.VoxelGrid(e.width, e.height, a, b)
        for p in parts:
            v.push(p)
            v.result()
        return v.result()
    if name == "eger":
        g = eger_numba.Eger(e.width, e.height, (a, b), bins=5)
        for p in parts:
            g.push(p)
        return g.result(latent(a, b).target)
    c = counts_numba.Counts(e.width, e.height, a, b, steps=1 if name == "counts" else 4)
    for p in parts:
        c.push(p)
        c.result()
    return c.result()


@pytest.mark.parametrize("name", ["scer", "voxel", "eger", "counts", "counts in steps"])
@LISTS
@settings(max_examples=15, deadline=None)
def test_packet_by_packet_is_the_whole(
    name: str, n: int, seed: int, length: int, early: int, late: int
) -> None:
    e = random_events(seed, n, (START - early, START + length + late))
    parts = packets(e, seed, 7)
    if name != "eger":  # the order of packets does not matter
        parts = parts[::-1]
    made = grown(name, e, START, START + length, parts)
    np.testing.assert_array_equal(made, NUMBA[name](e, START, START + length))


def test_a_window_begun_again_remembers_nothing() -> None:
    e = random_events(3, 500, (0, 8000))
    s, v = scer_numba.Scer(17, 9, 0, 1000), voxel_numba.VoxelGrid(17, 9, 0, 1000)
    g = eger_numba.Eger(17, 9, (0, 1000), bins=5)
    for window in (s, v, g):
        window.push(e)
    s.restart(1000, 5000)
    v.restart(1000, 5000)
    g.restart((1000, 5000))
    for window in (s, v, g):
        window.push(e)
    np.testing.assert_array_equal(s.result(), scer_numba.scer(e, 1000, 5000))
    np.testing.assert_array_equal(v.result(), voxel_numba.voxel_grid(e, 1000, 5000))
    np.testing.assert_array_equal(g.result(latent(1000, 5000).target), NUMBA["eger"](e, 1000, 5000))


def test_one_count_serves_every_latent() -> None:
    e = random_events(5, 800, (0, 8000))
    targets = [(0, 0), (1234, 1234), (4000, 4000), (7999.5, 7999.5), (8000, 8000), (-5, 9000), (1000, 7000)]
    g = eger_numba.Eger(17, 9, (0, 8000))
    for p in packets(e, 1, 5):
        g.push(p)
    many, once = g.results(targets), upload(e)
    spans = [Spans((0, 8000), t) for t in targets]
    on_device = eger_torch.egers(once, spans).numpy()
    for k, one in enumerate(spans):
        want = eger_numba.eger(e, one)
        np.testing.assert_array_equal(many[k], want)
        np.testing.assert_array_equal(on_device[k], want)
    out = np.full_like(many[0], 7)
    assert eger_numba.eger(e, spans[1], out=out) is out
    np.testing.assert_array_equal(out, many[1])


# --- awkward input ---


@EACH
@pytest.mark.parametrize("backend", [NUMBA, TORCH], ids=["numba", "torch"])
def test_an_empty_window_and_no_events_give_zeros(name: str, backend: dict[str, Make]) -> None:
    far = random_events(1, 50, (START + 20_000, START + 30_000))
    for e in (Events.empty(17, 9), far):
        made = backend[name](e, START, START + 10_000)
        assert made.shape[-2:] == (9, 17)
        assert not made.any()


@EACH
@pytest.mark.parametrize("backend", [NUMBA, TORCH], ids=["numba", "torch"])
def test_events_outside_the_window_change_nothing(name: str, backend: dict[str, Make]) -> None:
    e = random_events(2, 400, (START - 5000, START + 15_000))
    inside = e.between(START, START + 10_000)
    assert 0 < len(inside) < len(e)
    make = backend[name]
    np.testing.assert_array_equal(make(e, START, START + 10_000), make(inside, START, START + 10_000))


@EACH
@pytest.mark.parametrize("backend", [NUMBA, TORCH], ids=["numba", "torch"])
@pytest.mark.parametrize("n", [1, 40])
@pytest.mark.parametrize("when", [0, 4321, 9999])
def test_one_event_and_events_at_one_instant(name: str, backend: dict[str, Make], n: int, when: int) -> None:
    e = random_events(4, n, (0, 1), at=START + when)
    made = backend[name](e, START, START + 10_000)
    assert np.isfinite(made).all()
    if name.startswith("scer "):
        assert not made.any()  # published: limits from the events themselves leave no room
    elif name.startswith("voxel"):
        np.testing.assert_allclose(made.sum(), sign(e).sum(), atol=1e-4)
    elif name == "scer":
        np.testing.assert_array_equal(
            made[0] if when < 5000 else made[5],
            by_hand(name, e, START, START + 10_000)[0 if when < 5000 else 5],
        )
        assert made.any() or not sign(e).sum()
    else:
        assert made.sum() == n


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_pixel_that_the_sensor_does_not_have_is_left_out(backend: str) -> None:
    # The packet's constructor does not look at ranges; a wild pixel must never write elsewhere.
    e = Events(
        np.array([1, 2, 3], np.int64), np.array([2, 17, 65_535], np.uint16),
        np.array([1, 0, 65_535], np.uint16), np.array([True, True, True]), 17, 9,
    )  # fmt: skip
    for name, make in (NUMBA if backend == "numba" else TORCH).items():
        if "published" not in name and "relative" not in name:
            made = make(e, 0, 10)
            assert np.count_nonzero(made.reshape(-1, 9, 17).any(0)) == 1, name


@EACH
def test_polarity_bytes_other_than_one_are_on(name: str) -> None:
    e = random_events(8, 60, (0, 1000))
    odd = Events(e.t, e.x, e.y, (e.p.view(np.uint8) * np.uint8(200)).view(np.bool_), 17, 9)
    want = NUMBA[name](e, 0, 1000)
    np.testing.assert_array_equal(NUMBA[name](odd, 0, 1000), want)
    np.testing.assert_array_equal(TORCH[name](odd, 0, 1000), TORCH[name](e, 0, 1000))


@pytest.mark.parametrize("backend", [NUMBA, TORCH], ids=["numba", "torch"])
@pytest.mark.parametrize("name", ["scer", "voxel", "eger"])
def test_a_window_without_length_is_refused(name: str, backend: dict[str, Make]) -> None:
    e = random_events(1, 5, (0, 10))
    for end in (5, 4):
        with pytest.raises(UsageError, match="no length"):
            backend[name](e, 5, end)


def test_what_makes_no_sense_is_refused_in_words() -> None:
    e = random_events(1, 5, (0, 10))
    with pytest.raises(UsageError, match="even"):
        scer_numba.scer(e, 0, 10, bins=5)
    with pytest.raises(UsageError, match="at least 2"):
        voxel_numba.voxel_grid(e, 0, 10, bins=1)
    with pytest.raises(UsageError, match="too long"):
        voxel_torch.voxel_grid(e, 0, 1 << 32)
    with pytest.raises(UsageError, match="backwards"):
        Spans((0, 10), (6, 5))
    with pytest.raises(UsageError, match="whole µs"):
        Spans((0.5, 10), (5, 5))
    with pytest.raises(UsageError, match="relative"):
        Spans((0, 10), (5, 5), mode=Mode.RELATIVE)
    with pytest.raises(UsageError, match="finite"):
        Spans((0, 10), (float("nan"), 5))
    with pytest.raises(UsageError, match="size"):
        Region(0, 0, 0, 5)
    with pytest.raises(UsageError, match="out must be"):
        eger_numba.eger(e, Spans((0, 10), (5, 5)), out=np.zeros((96, 9, 18), np.float32))
    with pytest.raises(UsageError, match="backwards"):
        counts_numba.event_counts(e, 10, 9)
    with pytest.raises(UsageError, match="step"):
        counts_torch.event_counts(e, 0, 9, steps=0)
    other = random_events(1, 5, (0, 10), width=18)
    for window in (
        scer_numba.Scer(17, 9, 0, 10), voxel_numba.VoxelGrid(17, 9, 0, 10), eger_numba.Eger(17, 9, (0, 10)),
        counts_numba.Counts(17, 9, 0, 10),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="packet of a 18×9 sensor"):
            window.push(other)


@given(
    seed=st.integers(0, 2**31), b0=st.floats(0, 500), length=st.floats(40, 900), t0=st.floats(-100, 1600),
    t1=st.floats(-100, 1600), bins=st.integers(1, 16), whole=st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_published_eger_of_any_span(
    seed: int, b0: float, length: float, t0: float, t1: float, bins: int, whole: bool
) -> None:
    if whole:
        b0, length, t0, t1 = (float(round(v)) for v in (b0, length, t0, t1))
    b1 = b0 + length
    e = random_events(seed, 250, (0, 1500))
    want = np.zeros((6 * bins, 9, 17), np.float32)
    for t, x, y, on in zip(e.t.tolist(), e.x, e.y, e.p, strict=True):
        if b0 <= t < b1:
            k = min(int(np.floor((t - int(b0)) / ((b1 - b0) / bins))), bins - 1)
            # A reversed target makes an event before and after at once.
            for group, inside in enumerate((t < t0, t0 <= t < t1, t >= t1)):
                want[6 * k + 2 * group + int(on), y, x] += inside
    spans = Spans((b0, b1), (t0, t1), bins, Mode.PUBLISHED)
    np.testing.assert_array_equal(eger_numba.eger(e, spans), want)
    np.testing.assert_array_equal(eger_torch.eger(e, spans).numpy(), want)


def test_scer_fills_memory_that_is_given() -> None:
    e = random_events(6, 300, (0, 3000))
    window = scer_numba.Scer(17, 9, 0, 3000)
    window.push(e)
    seven = np.full((7, 9, 17), 5, np.float32)
    assert window.result(seven, zero_middle=True) is seven
    np.testing.assert_array_equal(seven, scer_numba.scer(e, 0, 3000, zero_middle=True))
    assert not seven[3].any()
    np.testing.assert_array_equal(np.delete(seven, 3, 0), window.result())
    with pytest.raises(UsageError, match="out must be"):
        window.result(seven)


def test_windows_of_sc_net_are_stacked_in_its_order() -> None:
    maps = [
        np.full((2, 3, 4), k, np.float32) + np.arange(2, dtype=np.float32)[:, None, None] / 2 for k in range(3)
    ]
    flat = counts_numba.stack(maps)
    np.testing.assert_array_equal(flat[:, 0, 0], [0, 0.5, 1, 1.5, 2, 2.5])
    np.testing.assert_array_equal(counts_torch.stack([torch.from_numpy(m) for m in maps]).numpy(), flat)
    e = random_events(6, 300, (0, 3000))
    steps = [counts_numba.event_counts(e, 1000 * k, 1000 * k + 999, steps=4) for k in range(3)]
    made = counts_numba.stack(steps)
    assert made.shape == (6, 9, 17, 4)
    np.testing.assert_array_equal(made[3, ..., 2], steps[1][2, 1])
    np.testing.assert_array_equal(counts_torch.stack([torch.from_numpy(s) for s in steps]).numpy(), made)
    with pytest.raises(UsageError, match="three windows"):
        counts_numba.stack(maps[:2])


@pytest.mark.gpu
@EACH
def test_a_gpu_gives_the_same(name: str) -> None:
    e = random_events(9, 20_000, (START, START + 10_000), 346, 260)
    once = upload(e, "cuda")
    a, b = START, START + 10_000
    made = {
        "scer": lambda: scer_torch.scer(once, a, b),
        "scer relative": lambda: scer_torch.scer(once, a, b, mode=Mode.RELATIVE),
        "scer published": lambda: scer_torch.scer(once, a, b, mode=Mode.PUBLISHED),
        "voxel": lambda: voxel_torch.voxel_grid(once, a, b),
        "voxel relative": lambda: voxel_torch.voxel_grid(once, a, b, mode=Mode.RELATIVE),
        "eger": lambda: eger_torch.eger(once, latent(a, b)),
        "counts": lambda: counts_torch.event_counts(once, a, b),
        "counts in steps": lambda: counts_torch.event_counts(once, a, b, steps=4),
    }[name]()
    assert made.device.type == "cuda"
    tolerance = 1e-5 if name == "voxel relative" else 0
    np.testing.assert_allclose(made.cpu().numpy(), NUMBA[name](e, a, b), rtol=0, atol=tolerance)
