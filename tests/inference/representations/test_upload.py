"""Arrays on their way to a device: equal there, whatever their layout, and not disturbed by what runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inference.representations.scatter_torch import to_device, to_host

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64, np.bool_])
def test_any_layout_arrives_whole_and_is_a_copy(kind: Any, device: str) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 2, (6, 8, 3)).astype(kind)
    read_only = whole.copy()
    read_only.flags.writeable = False
    for a in (whole, whole[::2, ::-1], whole.transpose(2, 0, 1), read_only, whole[:0]):
        there = to_device(a, torch.device(device))
        assert there.shape == a.shape
        assert (there.cpu().numpy() == a).all()
    there = to_device(whole, torch.device(device))
    kept = whole.copy()
    whole[...] = ~whole if kind is np.bool_ else whole + 1
    assert (there.cpu().numpy() == kept).all()


@pytest.mark.parametrize("device", DEVICES)
def test_what_comes_back_is_whole_and_stays_as_it_was(device: str) -> None:
    values = torch.arange(6 * 8 * 3, dtype=torch.uint8).view(6, 8, 3)
    there = values.to(device)
    for part in (there, there.flip(0), there.permute(2, 0, 1), there[:, ::2], there[:0]):
        here = to_host(part)
        assert here.dtype == np.uint8
        assert (here == part.cpu().numpy()).all()
    if device == "cuda":
        kept = [to_host(there + k) for k in range(20)]
        assert all((here == ((values + k).numpy())).all() for k, here in enumerate(kept))


@pytest.mark.gpu
def test_uploads_beside_running_kernels_are_not_mixed_up() -> None:
    """Memory is freed and given out again at once, while the device is far behind the host."""
    device = torch.device("cuda")
    heavy = torch.rand(4096, 4096, device=device)
    sums, want = [], []
    for n in range(200):
        if n % 10 == 0:
            heavy = heavy @ heavy
            heavy /= heavy.amax()
        a = np.full(1 << 20, n, np.int32)
        sums.append(to_device(a, device).sum())
        want.append(n << 20)
    assert [int(s) for s in sums] == want
