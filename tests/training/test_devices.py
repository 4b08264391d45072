"""Every task's loss runs where its batch and network lie, shown without a GPU.

The device `meta` knows shapes and no values. Its kernels let some mixtures with the CPU pass that a GPU
refuses, so each operation is looked at here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inference import networks
from tests.training.made_sets import SIZE, write_set, write_spikes
from training import recipe as recipes
from training import tasks
from training.callbacks.averaging import MovingAverage
from training.data.loader import collate
from training.data.sets import find, probing
from training.recipe import Recipe

OPTIONS: dict[str, dict[str, Any]] = {
    "efnet": {"network.options": {"wf": 8}, "data.options.crop": 16},
    "gem": {"data.options.crop": 16},
    "gem-stage2": {"data.options.crop": 16},
    "cdvd-tsp": {"network.options": {"n_feat": 4, "n_resblock": 1}, "data.options.crop": 16},
    "sc-net": {
        "network.options": {"base_channel": 8, "num_res": 1, "spiking": "window", "theta_s": 1.0},
        "data.options": {"crop": 16, "clip": 3, "steps": 4},
    },
    "stra": {
        "network.options": {"base_channel": 8, "num_res": 1},
        "data.options": {"crop": 16, "clip": 3, "steps": 1},
    },
    "s-sdm-bsn": {"data.options.crop": SIZE},
    "s-sdm-edsr": {"data.options.crop": SIZE},
    "s-sdm-ldn": {"data.options.crop": SIZE, "loss.name": "ssim-reblur"},
}
FORMAT = {
    "efnet": "efnet-h5", "gem": "msrbd", "gem-stage2": "msrbd", "cdvd-tsp": "efnet-h5", "sc-net": "efnet-h5",
    "stra": "efnet-h5", "s-sdm-bsn": "spikes", "s-sdm-edsr": "spikes", "s-sdm-ldn": "spikes",
}  # fmt: skip
META = torch.device("meta")
# Between devices on purpose.
_MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, as a GPU does; a single number may come from the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = [t for t in tree_leaves((args, kwargs or {})) if isinstance(t, Tensor) and t.ndim]
        where = {t.device.type for t in found}
        assert len(where) < 2 or func in _MOVES, f"{func} on {' and '.join(sorted(where))}"
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    spikes = write_spikes(root / "spikes", train=1)
    for part in ("bsn", "edsr"):
        torch.save(networks.build(f"s-sdm-{part}").state_dict(), spikes / f"{part}.pth")
    return {"spikes": spikes} | {f: write_set(root / f, f, train=1) for f in ("efnet-h5", "msrbd")}


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `meta` has not: autocast, a generator. Sound files are looked at in this process."""
    autocast = torch.autocast

    def cast(device: str, *args: Any, **kwargs: Any) -> Any:
        return contextlib.nullcontext() if device == "meta" else autocast(device, *args, **kwargs)

    class Made(torch.Generator):
        def __new__(cls, device: Any = "cpu") -> Any:
            return super().__new__(cls, "cpu" if torch.device(device) == META else device)

    monkeypatch.setattr(torch, "autocast", cast)
    monkeypatch.setattr(torch, "Generator", Made)
    monkeypatch.setattr(find, "probe_apart", lambda files: [probing.probe("hdf5", f) for f in files])


def small(name: str, data: Path) -> Recipe:
    changes: dict[str, Any] = {"data.recordings": [str(data)], "data.validation": 1, **OPTIONS[name]}
    if name == "s-sdm-ldn":
        changes |= {f"data.options.{part}": str(data / f"{part}.pth") for part in ("bsn", "edsr")}
    return recipes.load(name, changes)


def on_meta(batch: dict[str, Any], stays: tuple[str, ...] = ()) -> dict[str, Any]:
    """The batch there; `stays`: numbers that steer the program, which `meta` could not tell."""
    return {k: v.to(META) if isinstance(v, Tensor) and k not in stays else v for k, v in batch.items()}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_loss_stays_on_the_device_of_its_batch(name: str, sets: dict[str, Path], tmp_path: Path) -> None:
    recipe = small(name, sets[FORMAT[name]])
    task: Any = tasks.create(recipe)
    network = task.build_network(recipe.network.options)
    data, _ = task.datasets(recipe)
    batch = on_meta(collate([data[0], data[1]]), stays=("turn",))
    if begin := getattr(task, "begin", None):
        begin(network, tmp_path, begun=True, resumed=False, writes=False)
    network.to(META)
    with OneDevice():
        parts: dict[str, Tensor] = task.loss(network, batch)
        parts["loss"].backward()
    for value in parts.values():
        assert value.device == META
        assert value.ndim == 0
    trained = [p for p in network.parameters() if p.grad is not None]
    assert trained
    assert all(p.grad is not None and p.grad.device == META for p in trained)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.zeros(3), lambda x: torch.zeros(3)[x.long()],
        lambda x: torch.nn.functional.linear(x, torch.zeros(2, 3)),
    ],
    ids=["sum", "index", "product"],
)  # fmt: skip
def test_a_mixture_of_devices_is_seen(mix: Callable[[Tensor], Tensor]) -> None:
    with OneDevice(), pytest.raises(Exception, match=r"on cpu and meta|on device cpu"):
        mix(torch.zeros(3, device=META))


def test_the_averaged_weights_lie_where_the_network_goes() -> None:
    """At the time of the hook the network is on the CPU still."""
    module: Any = LightningModule()
    module.network = torch.nn.Linear(2, 2)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=META))
    average = MovingAverage(0.9)
    average.setup(trainer, module, "fit")
    assert {t.device for t in average.entries().values()} == {META}
