"""The event mask and the normalisations: by hand, in both implementations, and grids that could divide by 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from capture.errors import UsageError
from inference.representations import mask_numba, mask_torch, normalise
from inference.representations.coding import Mode


def random_grid(seed: int, height: int, width: int, density: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, (6, height, width)) * (rng.random((6, height, width)) < density)
    return values.astype(np.float32)


def closed_by_hand(grid: NDArray[np.float32]) -> NDArray[np.uint8]:
    support = (grid != 0).any(0)
    height, width = support.shape

    def around(a: NDArray[np.bool_], y: int, x: int) -> NDArray[np.bool_]:
        return a[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]

    cells = [(y, x) for y in range(height) for x in range(width)]
    wide = np.array([around(support, y, x).any() for y, x in cells]).reshape(support.shape)
    closed = np.array([around(wide, y, x).all() for y, x in cells]).reshape(support.shape)
    return np.uint8(255) * closed[None].astype(np.uint8)


@given(
    seed=st.integers(0, 2**31), height=st.integers(1, 12), width=st.integers(1, 12), density=st.floats(0, 0.15)
)
@settings(max_examples=40, deadline=None)
def test_the_mask_is_its_definition(seed: int, height: int, width: int, density: float) -> None:
    grid = random_grid(seed, height, width, density)
    want = closed_by_hand(grid)
    made = mask_numba.event_mask(grid)
    np.testing.assert_array_equal(made, want)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(mask_torch.event_mask(torch.from_numpy(grid)).numpy(), want)
    batch = torch.from_numpy(np.stack([grid, -2 * grid]))
    np.testing.assert_array_equal(mask_torch.event_mask(batch).numpy(), np.stack([want, want]))
    bare = (grid != 0).any(0, keepdims=True) * np.uint8(255)
    np.testing.assert_array_equal(mask_numba.event_mask(grid, closed=False), bare)
    np.testing.assert_array_equal(mask_torch.event_mask(torch.from_numpy(grid), closed=False).numpy(), bare)


ALL = {
    "maximum": normalise.by_maximum,
    "percentile": normalise.by_percentile,
    "percentile, published": lambda g: normalise.by_percentile(g, 35, 65, mode=Mode.PUBLISHED),
    "shifted": lambda g: normalise.by_percentile_shifted(g, 5, 95),
    "deviation": normalise.by_deviation,
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["random", "zero", "equal", "one cell", "one sign", "huge"])
def test_both_agree_and_stay_finite(name: str, kind: str) -> None:
    grid = random_grid(1, 9, 11, 0.4)
    if kind == "zero":
        grid[:] = 0
    elif kind == "equal":
        grid = 3 * (grid != 0).astype(np.float32)
    elif kind == "one cell":
        grid[:] = 0
        grid[2, 3, 4] = -5
    elif kind == "one sign":
        grid = np.abs(grid)
    elif kind == "huge":
        grid[0, 0, 0] = 1e7
    before = grid.copy()
    a = ALL[name](grid)
    b = ALL[name](torch.from_numpy(grid)).numpy()
    np.testing.assert_array_equal(grid, before)  # the input is left alone
    assert a.dtype == b.dtype == np.float32
    assert np.isfinite(a).all()
    # One rounding to float32 on each side.
    np.testing.assert_allclose(a, b, rtol=3e-7, atol=1e-7)
    if name == "maximum" and kind != "zero":
        assert np.abs(a).max() == 1
    if name == "percentile":
        assert np.abs(a).max() <= 1
    if name == "deviation":
        np.testing.assert_array_equal(a == 0, grid == 0)
        if kind in ("zero", "equal", "one cell"):
            np.testing.assert_array_equal(a, grid)
        else:
            cells = a[grid != 0].astype(np.float64)
            np.testing.assert_allclose([cells.mean(), cells.std()], [0, 1], atol=1e-5)


def test_percentiles_that_are_both_zero() -> None:
    grid = random_grid(2, 9, 11, 0.1)
    np.testing.assert_array_equal(normalise.by_percentile(grid, 35, 65, mode=Mode.PUBLISHED), grid)
    np.testing.assert_array_equal(normalise.by_percentile(grid, 35, 65), normalise.by_maximum(grid))


def test_percentiles_out_of_range_are_refused() -> None:
    for low, high in ((-1, 50), (60, 40), (0, 101)):
        with pytest.raises(UsageError, match="percentiles"):
            normalise.by_percentile(random_grid(0, 3, 3, 1), low, high)
