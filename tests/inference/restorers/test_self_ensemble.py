"""The mean over turned and mirrored copies: every copy comes back to its place, and no direction is special."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from capture.errors import UsageError
from inference.restorers.glint import GlintRestorer
from inference.restorers.self_ensemble import COUNTS, self_ensemble
from sync.rig import Rig
from tests.inference.restorers.rigs import noise_exposure, one_grid, splitter


def knight(x: Tensor, more: Tensor) -> Tensor:
    """A network for which neither turns nor mirrors are alike."""
    return x.roll((1, 2), (2, 3)) + 2 * more


@pytest.mark.parametrize("count", COUNTS)
def test_every_copy_comes_back_to_its_place(count: int) -> None:
    a, b = torch.rand(2, 3, 8, 16), torch.rand(2, 10, 8, 16)
    seen: list[Tensor] = []

    def first(x: Tensor, y: Tensor) -> Tensor:
        assert x.shape[2:] == y.shape[2:]
        seen.append(x)
        return x

    torch.testing.assert_close(self_ensemble(first, [a, b], count), a)
    assert len(seen) == count
    alike = [x.shape == y.shape and torch.equal(x, y) for k, x in enumerate(seen) for y in seen[:k]]
    assert not any(alike)


@pytest.mark.parametrize(("count", "turns"), [(2, (2,)), (4, (1, 2, 3)), (8, (1, 2, 3))])
def test_no_direction_is_special(count: int, turns: tuple[int, ...]) -> None:
    a, b = torch.rand(1, 2, 8, 16), torch.rand(1, 2, 8, 16)
    plain = self_ensemble(knight, [a, b], count)
    for n in turns:
        turned = self_ensemble(knight, [torch.rot90(x, n, (2, 3)) for x in (a, b)], count)
        torch.testing.assert_close(turned, torch.rot90(plain, n, (2, 3)))
    mirrored = self_ensemble(knight, [x.flip(3) for x in (a, b)], count)
    assert torch.allclose(mirrored, plain.flip(3)) == (count == 8)


@pytest.mark.parametrize("rig", [one_grid(36, 28), splitter((17, 13))], ids=["one grid", "splitter"])
@pytest.mark.parametrize("count", [2, 4, 8])
def test_glint_is_asked_so_many_times(rig: Rig, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = GlintRestorer(rig, {"self_ensemble": count}, "cpu")
    asked: list[tuple[int, ...]] = []
    net = one.net

    def watched(*maps: Tensor) -> Tensor:
        asked.append(tuple(maps[0].shape[2:]))
        out: Tensor = net(*maps)
        return out

    monkeypatch.setattr(one, "_run", watched)
    a = noise_exposure(rig, n=3000)
    images = one.restore([a], [0.3]).images
    assert len(asked) == count
    assert len({*asked}) == (1 if count == 2 else 2)  # lying and standing
    alone = GlintRestorer(rig, {}, "cpu").restore([a], [0.3]).images
    off = np.abs(images.astype(int) - alone)
    assert 0 < off.mean() < 12  # another answer to the same question


def test_other_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="self_ensemble 3: give one of 1, 2, 4, 8"):
        GlintRestorer(one_grid(32, 24), {"self_ensemble": 3}, "cpu")
