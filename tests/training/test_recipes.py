"""The recipes with sharp pictures on small synthetic sets: whole runs in this process, at toy size."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from capture.errors import UsageError
from inference import networks, store
from inference.cards import Card
from inference.weights_limits import WeightsError
from tests.training.made_sets import write_set, write_spikes
from tests.training.runs import figures, learned, same
from training import module, tasks
from training import recipe as recipes
from training.data.sets import find, probing
from training.engine import Outcome, Request, train
from training.recipe import Recipe

SMALL: dict[str, dict[str, Any]] = {
    "efnet": {"network.options": {"wf": 8}, "data.options.crop": 16},
    "efnet-reblur": {"network.options": {"wf": 8}, "data.options.crop": 16},
    "efnet-highrev": {"network.options": {"wf": 8}, "data.options.crop": 16},
    # The flow network has one size only, the dear one.
    "cdvd-tsp": {
        "network.options": {"n_feat": 4, "n_resblock": 1},
        "data.options.crop": 16,
        "run.batch": 1,
        "data.validation": 1,
        "run.steps": 2,
    },
    "sc-net": {
        "network.options": {"base_channel": 8, "num_res": 1, "spiking": "window", "theta_s": 1.0},
        "data.options": {"crop": 16, "clip": 3, "steps": 4},
    },
    "stra": {
        "network.options": {"base_channel": 8, "num_res": 1, "theta_s": 1.0},
        "data.options": {"crop": 16, "clip": 3, "steps": 1},
    },
    "s-sdm-bsn": {"data.options.crop": 32},
    "s-sdm-edsr": {"data.options.crop": 32, "run.batch": 1},
    "s-sdm-ldn": {"data.options.crop": 32, "run.batch": 1, "loss.name": "ssim-reblur"},
}
FEEDS: dict[str, dict[str, Any]] = {
    "efnet": {"mask": True, "normalise": "maximum"}, "efnet-reblur": {"mask": True, "normalise": "maximum"},
    "sc-net": {"steps": 4, "window_ms": 40}, "stra": {"window_ms": 40},
}  # fmt: skip
FORMAT = {"efnet-highrev": "highrev", "cdvd-tsp": "frames"} | dict.fromkeys(
    ("s-sdm-bsn", "s-sdm-edsr", "s-sdm-ldn"), "spikes"
)
STEPS = 4


def small(name: str, data: Path, **more: Any) -> Recipe:
    changes = {
        "data.kind": "recorded", "data.recordings": [str(data)], "data.workers": 0, "data.validation": 2,
        "run.batch": 2, "run.steps": STEPS, "run.validate_every": 2, "run.log_every": 1, "run.previews": 1,
    }  # fmt: skip
    if name == "s-sdm-ldn":
        changes |= {f"data.options.{part}": str(data / f"{part}.pth") for part in ("bsn", "edsr")}
    return recipes.load(name, {**changes, **SMALL[name], **more})


def run(recipe: Recipe, folder: Path, **more: Any) -> Outcome:
    return train(Request(recipe, folder, device="cpu", **more))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    spikes = write_spikes(root / "spikes")
    for part in ("bsn", "edsr"):
        torch.save(networks.build(f"s-sdm-{part}").state_dict(), spikes / f"{part}.pth")
    return {"spikes": spikes} | {f: write_set(root / f, f) for f in ("efnet-h5", "highrev", "frames")}


@pytest.fixture(autouse=True)
def _looked_at_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound files need no process of their own to be looked at; every run would start one (see test_sets)."""
    monkeypatch.setattr(find, "probe_apart", lambda files: [probing.probe("hdf5", f) for f in files])


class Uncounted(contextlib.nullcontext[Any]):
    """In place of the counter of operations."""

    def __init__(self, display: bool) -> None:
        super().__init__(self)

    def get_total_flops(self) -> int:
        return 0


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the time of a run of few steps is the counting of the first one's operations."""
    monkeypatch.setattr(module, "FlopCounterMode", Uncounted)


@pytest.fixture
def data(request: pytest.FixtureRequest, sets: dict[str, Path]) -> Path:
    return sets[FORMAT.get(request.getfixturevalue("name"), "efnet-h5")]


@pytest.mark.usefixtures("uncounted")
# CDVD-TSP's takes minutes: its flow network of 9 million values has one size only.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.soak) if n == "cdvd-tsp" else n for n in SMALL]
)
def test_a_stopped_run_goes_on_bit_identically(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(name, data)
    run(recipe, tmp_path / "whole")
    kind = type(tasks.create(recipe))
    loss, count = kind.loss, 0

    def counted(self: Any, *args: Any) -> Any:
        nonlocal count
        count += 1
        if count == recipe.run.steps // 2:
            signal.raise_signal(signal.SIGINT)
        return loss(self, *args)

    monkeypatch.setattr(kind, "loss", counted)
    out = run(recipe, tmp_path / "run")
    assert (out.step, out.signal) == (count, signal.SIGINT)
    out = run(recipe, tmp_path / "run", resume=True)
    assert (out.step, out.complete) == (recipe.run.steps, True)
    assert same(learned(tmp_path / "run"), learned(tmp_path / "whole"))
    assert figures(tmp_path / "run")[-1] == figures(tmp_path / "whole")[-1]


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("name", SMALL)
def test_what_was_trained_is_taken_by_the_live_program(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(name, data, **{"run.steps": 1, "run.previews": 0})
    run(recipe, tmp_path / "run")
    monkeypatch.setenv("HALFMIRROR_MODELS", str(tmp_path / "store"))
    network = recipe.network.name
    store.add(network, tmp_path / "run/weights.safetensors")
    card = store.installed(network)
    assert card is not None
    assert "recorded" in card.trained_on
    assert set(store.card(network).cautions) <= set(card.cautions)
    order, representation = (
        ("rgb", "voxel") if name == "efnet-highrev" else (card.channel_order, card.representation)
    )
    assert card.feed.stated == FEEDS.get(name, {})
    entries, _ = store.load(network, representation=representation, channel_order=order)
    networks.build(network, **card.options).load_state_dict(entries, strict=True)
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["data"]["validation_sequences"]
    assert not set(record["data"]["sequences"]) & set(record["data"]["validation_sequences"])


@pytest.mark.parametrize(
    ("options", "feed"),
    [
        ({"mask": False, "normalise": "percentile"}, {"mask": False, "normalise": "percentile"}),
        ({"mode": "corrected"}, {"mask": True, "normalise": "maximum", "mode": "corrected"}),
        ({"mode": "published"}, {"mask": True, "normalise": "maximum"}),
        ({"representation": "voxel", "mask": False}, {}),
    ],
)
def test_the_card_says_what_efnet_was_fed_with(
    options: dict[str, Any], feed: dict[str, Any], tmp_path: Path
) -> None:
    task = tasks.create(small("efnet", tmp_path, **{"data.options": {"crop": 16, **options}}))
    fields = task.card_fields()  # type: ignore[attr-defined]
    assert fields["feed"] == feed
    Card.model_validate(store.card("efnet").model_dump() | fields)


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("name", ["efnet"])
def test_weights_of_the_first_release_are_trained_on(name: str, data: Path, tmp_path: Path) -> None:
    recipe = small(name, data, **{"network.options": {"wf": 8, "ev_chn": 7}, "run.steps": 1})
    assert run(recipe, tmp_path / "run").complete
    for more in ({"ev_chn": 5}, {"ev_chn": 7, "wf": 8}):
        voxel = {"data.options.representation": "voxel"} if more["ev_chn"] == 7 else {}
        with pytest.raises(UsageError, match=r"event channels|channels of events"):
            tasks.create(small(name, data, **{"network.options": more}, **voxel))


@pytest.mark.parametrize("name", ["efnet"])
def test_a_published_checkpoint_begins_a_fine_tuning(name: str, data: Path, tmp_path: Path) -> None:
    net = networks.build("efnet", wf=8)
    published = tmp_path / "EFNet-GoPro.pth"
    torch.save({"params": net.state_dict()}, published)
    tuning = small("efnet-reblur", data, **{"run.steps": 1, "optimiser.lr": 1e-12})
    run(tuning, tmp_path / "run", init=published)
    found = torch.load(tmp_path / "run/state.pt", weights_only=True)["state_dict"]
    for entry, value in net.state_dict().items():
        torch.testing.assert_close(found[f"network.{entry}"], value, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["efnet"])
def test_weights_of_another_network_are_refused(name: str, data: Path, tmp_path: Path) -> None:
    other = networks.build("stra", base_channel=8, num_res=1)
    file = tmp_path / "other.safetensors"
    save_file({k: v.contiguous() for k, v in other.state_dict().items()}, file, {"halfmirror.network": "stra"})
    with pytest.raises(WeightsError, match="weights of 'stra'"):
        run(small(name, data), tmp_path / "run", init=file)
    save_file({k: v.contiguous() for k, v in other.state_dict().items()}, file)
    with pytest.raises(WeightsError, match="missing"):
        run(small(name, data), tmp_path / "run", init=file)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["cdvd-tsp"])
def test_the_flow_begins_with_its_own_weights(name: str, data: Path, tmp_path: Path) -> None:
    prefix = "flow_net.moduleNetwork."
    whole = networks.build("cdvd-tsp", n_feat=4, n_resblock=1).state_dict()
    flow = {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}
    file = tmp_path / "network-default.pytorch"
    torch.save(flow, file)
    recipe = small(name, data, **{"data.options.flow_weights": str(file)})
    built = tasks.create(recipe).build_network(recipe.network.options).state_dict()
    assert all(torch.equal(built[prefix + k], v) for k, v in flow.items())
    torch.save({k: v for k, v in flow.items() if not k.startswith("moduleRefiner")}, file)
    with pytest.raises(WeightsError, match="missing"):
        tasks.create(recipe).build_network(recipe.network.options)


@pytest.mark.parametrize("name", ["cdvd-tsp"])
def test_a_run_goes_on_without_the_flows_first_weights(name: str, data: Path, tmp_path: Path) -> None:
    prefix = "flow_net.moduleNetwork."
    whole = networks.build("cdvd-tsp", n_feat=4, n_resblock=1).state_dict()
    file = tmp_path / "network-default.pytorch"
    torch.save({k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}, file)
    recipe = small(name, data, **{"data.options.flow_weights": str(file)})
    run(recipe, tmp_path / "run")
    file.unlink()
    assert run(recipe, tmp_path / "run", resume=True).complete
    run(small(name, data), tmp_path / "none")
    with pytest.raises(UsageError, match=r"data\.options\.flow_weights .* → '/x'"):
        run(small(name, data, **{"data.options.flow_weights": "/x"}), tmp_path / "none", resume=True)


@pytest.mark.parametrize("name", ["efnet"])
def test_a_resumed_run_with_another_recipe_is_refused(name: str, data: Path, tmp_path: Path) -> None:
    run(small(name, data), tmp_path / "run")
    with pytest.raises(UsageError, match=r"data\.options\.mask"):
        run(small(name, data, **{"data.options.mask": False}), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data.options.crop": 64}, "a crop of 64 does not fit"),
        ({"data.options.window": 3}, "unknown key 'data.options.window'; known here: "),
        ({"data.options.croop": 32}, "unknown key 'data.options.croop'; did you mean 'crop'"),
        ({"network.options": {"wff": 8}}, "has no option wff; did you mean 'wf'"),
        ({"data.kind": "synthetic", "data.recordings": []}, "halfmirror synthesise --format"),
        ({"loss.name": "l1"}, "trained with psnr"),
        ({"network.options": {"wf": 8, "ev_chn": 12}}, "network.options.ev_chn 12: "),
        ({"network.options": {"wf": 8, "depth": 2, "num_heads": [1, 2]}}, "network.options.depth 2: "),
        ({"data.recordings": ["/nowhere/at/all"]}, "does not exist"),
    ],
)
@pytest.mark.parametrize("name", ["efnet"])
def test_what_cannot_be_meant_is_one_line(
    name: str, data: Path, changes: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        run(small(name, data, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_published_spiking_stage_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mixes eight frames"):
        tasks.create(small("sc-net", tmp_path, **{"network.options": {"spiking": "clip"}}))
    with pytest.raises(UsageError, match="parts of time"):
        tasks.create(small("stra", tmp_path, **{"data.options.steps": 4}))
