"""Restorers run as on a GPU, all the way from events and frame to 8 bits on the host, without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inference import models
from inference.restorers import edi, neural
from inference.restorers.base import Restored
from sync.rig import Rig
from tests.inference.restorers.rigs import noise_exposure, one_grid
from tests.inference.restorers.test_torch_path import NETWORKS, RIGS
from tests.pretended_gpu import PretendedGpu, There, pretended_gpu

ALL = [
    *NETWORKS,
    ("edi", {"contrast": 0.25, "dtype": "float64"}),
    ("edi", {"contrast": 0.25, "dtype": "float32"}),
    ("glint", {"contrast": 0.25, "self_ensemble": 8}),
    ("glint", {"contrast": 0.25, "grid": "event"}),
    ("efnet", {"grid": "event"}),
]


def restored(network: str, options: dict[str, Any], rig: Rig, gray: bool, device: str) -> list[Restored]:
    """Two exposures one after the other: what is carried on is part of it."""
    given = options if network == "edi" else {**options, "random_weights": True}
    made = models.create(network, rig, given, device)
    needs, a = made.needs, noise_exposure(rig, gray=gray, n=4000)
    window = [a] * (needs.frames_before + 1 + needs.frames_after)
    return [made.restore(window, needs.fixed_latents or (0.5, 0.2)) for _ in range(2)]


def compare(
    network: str, options: dict[str, Any], rig: Rig, gray: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (edi, neural):
        monkeypatch.setattr(module, "choose_device", lambda _name="auto": pretended_gpu())
    with PretendedGpu():
        there = restored(network, options, rig, gray, "auto")
    monkeypatch.undo()
    here = restored(network, {k: v for k, v in options.items() if k != "dtype"}, rig, gray, "cpu")
    for a, b in zip(there, here, strict=True):
        assert a.flags == b.flags
        off = np.abs(a.images.astype(int) - b.images)
        assert off.mean() < 0.5
        assert np.percentile(off, 99) <= 2


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS)
@pytest.mark.parametrize(("network", "options"), ALL)
def test_the_whole_way_stays_on_the_device(
    network: str, options: dict[str, Any], rig: Rig, gray: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(network, options, rig, gray, monkeypatch)


@pytest.mark.parametrize("gray", [False, True])
def test_one_that_takes_no_events_stays_there_too(gray: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """How events lie on its pictures is nothing to it: one rig will do."""
    compare("cdvd-tsp", {}, RIGS["turned"], gray, monkeypatch)


def test_tiles_stay_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    compare("s-sdm-ldn", {"tile": 256, "contrast": 0.25}, one_grid(320, 240), False, monkeypatch)


def test_two_devices_are_refused() -> None:
    here = torch.ones(3)
    with PretendedGpu():
        there = here.to(pretended_gpu())
        assert isinstance(there, There)
        assert there.device == pretended_gpu()
        assert torch.tensor([1.0, 2.0], device=pretended_gpu()).device == pretended_gpu()
        for mixed in (lambda: there + here, lambda: here[there.long()], lambda: torch.cat([there, here])):
            with pytest.raises(AssertionError, match="CPU"):
                mixed()
        with pytest.raises((TypeError, RuntimeError)):
            there.numpy()
        assert (there + 1).cpu().tolist() == [2, 2, 2]
        assert there[here.long()].device == there.device
        there.add_(1)
    assert here.tolist() == [1, 1, 1]
