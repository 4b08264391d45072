"""Bands of rows: they cover the picture once, and what goes wrong in one is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch

from inference.bands import LEAST_ROWS, in_bands


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 7, LEAST_ROWS * 2 + 1, LEAST_ROWS * 3, 1000])
@pytest.mark.parametrize("step", [1, 2])
def test_bands_cover_the_rows_once_in_order(rows: int, step: int) -> None:
    bands = in_bands(rows, lambda a, b: (a, b), step)
    assert bands[0][0] == 0
    assert bands[-1][1] == rows
    assert all(x[1] == y[0] for x, y in pairwise(bands))
    assert all(a % step == 0 and b > a for a, b in bands)
    assert len(bands) == max(1, min(3, rows // LEAST_ROWS))


def test_as_many_threads_as_torch_has() -> None:
    meet = threading.Barrier(3, timeout=20)
    assert len(set(in_bands(300, lambda a, b: (meet.wait(), threading.get_ident())[1]))) == 3
    torch.set_num_threads(1)
    assert in_bands(300, lambda a, b: threading.get_ident()) == [threading.get_ident()]


@pytest.mark.parametrize("where", [0, 100, 200])
def test_an_error_in_any_band_is_raised_once_all_have_ended(where: int) -> None:
    ended = []

    def work(first: int, last: int) -> None:
        if first == where:
            raise ValueError(f"band {first}")
        ended.append(first)

    with pytest.raises(ValueError, match=f"band {where}"):
        in_bands(300, work)
    assert sorted(ended) == sorted({0, 100, 200} - {where})
