"""Deformable convolution: the way for one core gives what the one for every device gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.networks import deformable
from inference.networks.deformable import modulated_deform_conv

pytestmark = pytest.mark.usefixtures("one_thread")


def _given(k: int, channels: int, reach: float) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(k)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    offset = (reach * normal(2, 2 * k * k, 13, 17)).contiguous(memory_format=torch.channels_last)
    return (
        normal(2, channels, 13, 17), offset, normal(2, k * k, 13, 17).sigmoid(),
        normal(5, channels, k, k), normal(5),
    )  # fmt: skip


@pytest.mark.parametrize("reach", [0.0, 2.0, 30.0])
@pytest.mark.parametrize(("k", "channels"), [(3, 16), (5, 3), (1, 8)])
def test_both_ways_agree(k: int, channels: int, reach: float, monkeypatch: pytest.MonkeyPatch) -> None:
    given = _given(k, channels, reach)
    used: list[int] = []
    inner = deformable._with_numba
    monkeypatch.setattr(deformable, "_with_numba", lambda *a: (used.append(1), inner(*a))[1])
    fast = modulated_deform_conv(*given)
    assert used == [1]
    monkeypatch.setattr(deformable, "_on_one_core", lambda *_: False)
    torch.testing.assert_close(fast, modulated_deform_conv(*given), rtol=1e-5, atol=1e-5)


def test_steps_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    given = _given(3, 16, 2.0)
    whole = modulated_deform_conv(*given)
    monkeypatch.setattr(deformable, "_CPU_STEP", 3 * 17 * 9 * 16)  # three rows a step, and one left over
    torch.testing.assert_close(modulated_deform_conv(*given), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_offsets_that_lead_nowhere(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list(_given(3, 16, 1.0))
    offset = given[1].clone()
    offset[0, 4, 6, 7] = bad
    given[1] = offset
    fast = modulated_deform_conv(*given)
    monkeypatch.setattr(deformable, "_on_one_core", lambda *_: False)
    slow = modulated_deform_conv(*given)
    assert (fast.isnan() == slow.isnan()).all()
    assert fast.isnan().any() == (not np.isfinite(bad))
    torch.testing.assert_close(fast.nan_to_num(), slow.nan_to_num(), rtol=1e-5, atol=1e-5)


def test_what_is_to_be_differentiated_goes_the_other_way() -> None:
    given: list[Any] = list(_given(3, 4, 1.0))
    given[3].requires_grad_()
    out = modulated_deform_conv(*given)
    out.sum().backward()
    assert given[3].grad is not None
    with torch.no_grad():
        torch.testing.assert_close(modulated_deform_conv(*given), out.detach(), rtol=1e-5, atol=1e-5)
