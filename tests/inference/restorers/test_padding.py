from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.restorers.padding import crop, pad_index, pad_to, pad_to_multiple, round_up


@given(st.integers(1, 40), st.integers(0, 100), st.sampled_from(["reflect", "replicate"]))
@settings(max_examples=60, deadline=None)
def test_padding_repeats_the_picture_and_crop_takes_it_off(size: int, more: int, mode: str) -> None:
    index = pad_index(size, size + more, mode)  # type: ignore[arg-type]
    assert index.shape == (size + more,)
    assert (index[:size] == np.arange(size)).all()
    assert index.min() >= 0
    assert index.max() < size
    x = torch.arange(3.0 * size).view(1, 3, size)
    assert torch.equal(crop(pad_to(x, 3, size + more, mode), 3, size), x)  # type: ignore[arg-type]


def test_reflect_is_numpys_and_replicate_holds_the_edge() -> None:
    row = np.arange(7)
    for padded in (8, 13, 30):
        assert (row[pad_index(7, padded, "reflect")] == np.pad(row, (0, padded - 7), "reflect")).all()
        assert (row[pad_index(7, padded, "replicate")] == np.pad(row, (0, padded - 7), "edge")).all()


def test_nothing_is_added_where_the_size_fits() -> None:
    x = torch.rand(1, 3, 32, 48)
    assert pad_to_multiple(x, 16) is x
    assert pad_to_multiple(x, (32, 36)).shape == (1, 3, 32, 72)
    assert round_up(33, 16) == 48
