"""What a restorer does on a GPU, done on a CPU: representations by torch are those by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.models import create
from inference.restorers.neural import NeuralRestorer
from sync.rig import Rig
from tests.inference.representations.test_pixel_runs import watched
from tests.inference.restorers.rigs import noise_exposure, one_grid, splitter

NETWORKS = [
    ("efnet", {"grid": "image"}),
    ("efnet", {"grid": "image", "representation": "voxel", "channel_order": "rgb"}),
    ("gem", {}),
    ("s-sdm-ldn", {"contrast": 0.25}),
    ("glint", {"contrast": 0.25}),
    ("glint", {"contrast": 0.25, "tone": "coded"}),
    ("glint-large", {"contrast": 0.25}),
    ("sc-net", {}),
    ("stra", {}),
]
FED = [n for n in NETWORKS if n[0] not in ("sc-net", "stra")]
"""Those whose single exposures can be fed without the ones before."""
RIGS = {"one grid": one_grid(48, 36), "splitter": splitter((32, 24)), "turned": splitter((32, 24), turn_deg=3)}
AT = (0.5,)


def restorer(network: str, options: dict[str, Any], rig: Rig) -> NeuralRestorer:
    made = create(network, rig, {**options, "random_weights": True}, "cpu")
    assert isinstance(made, NeuralRestorer)
    return made


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS)
@pytest.mark.parametrize(("network", "options"), FED)
def test_a_network_is_fed_alike_by_torch_and_by_numba(
    network: str, options: dict[str, Any], rig: Rig, gray: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = noise_exposure(rig, gray=gray, n=4000)
    by_numba = restorer(network, options, rig).fed([a], 0.5)
    monkeypatch.setattr(NeuralRestorer, "uses_numba", False)
    by_torch = restorer(network, options, rig).fed([a], 0.5)
    for one, other in zip(by_torch.inputs, by_numba.inputs, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        off = (one.float() - other.float()).abs()
        # A code of 255 here and there (EDI's picture), else rounding.
        assert float(off.mean()) < 1e-3 * max(1.0, float(other.float().abs().mean()))
        assert float(off.max()) < 0.02 * max(1.0, float(other.float().abs().max()))


@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS)
@pytest.mark.parametrize(("network", "options"), NETWORKS)
def test_the_whole_way_by_torch_gives_the_same_picture(
    network: str, options: dict[str, Any], rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = noise_exposure(rig, n=4000)
    by_numba = restorer(network, options, rig).restore([a], AT)
    monkeypatch.setattr(NeuralRestorer, "uses_numba", False)
    by_torch = restorer(network, options, rig).restore([a], AT)
    assert by_torch.flags == by_numba.flags
    off = np.abs(by_torch.images.astype(int) - by_numba.images)
    assert off.mean() < 0.5
    assert np.percentile(off, 99) <= 2


@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS)
@pytest.mark.parametrize(("network", "options"), FED)
def test_a_gpu_is_asked_for_little_until_the_network_and_nothing_waits(
    network: str, options: dict[str, Any], rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NeuralRestorer, "uses_numba", False)
    one, a = restorer(network, options, rig), noise_exposure(rig, n=4000)
    seen = watched(lambda: one.fed([a], 0.5))
    assert not +seen.waits
    # Of glint's, 25 set its events back half-way.
    assert 20 < seen.asked < (205 if network.startswith("glint") else 180)
