"""Whole runs of the tiny task, in this process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from capture.errors import UsageError
from inference import cards, networks, store
from inference.weights_limits import WeightsError
from tests.training.runs import figures, learned, run, same
from tests.training.tiny_task import TinyTask, tiny
from training import engine
from training import recipe as recipes
from training.errors import NotFinite, TrainingError
from training.files import load_tree
from training.module import hold_still
from training.recipe import NetworkEntry
from training.run import RunFolder
from training.weights import initialise


def test_a_run_leaves_everything_in_its_folder(tmp_path: Path) -> None:
    out = run(tiny(), tmp_path / "run")
    assert (out.step, out.complete, out.signal) == (30, True, 0)
    lines = figures(tmp_path / "run")
    steps = [(line["step"], "val/psnr" in line) for line in lines]
    assert steps == [
        (5, False), (10, False), (10, True), (15, False), (20, False), (20, True), (25, False), (30, False),
        (30, True),
    ]  # fmt: skip
    psnr = [line["val/psnr"] for line in lines if "val/psnr" in line]
    assert psnr[-1] > psnr[0] + 0.5
    assert lines[-2]["lr"] < 0.01 * 0.01 < lines[0]["lr"]
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["seed"] == 7
    assert record["data_fingerprint"] == "tiny 7"
    assert record["git"]["commit"]
    assert [s["ended_as"] for s in record["sessions"]] == ["complete"]
    assert sorted(p.name for p in (tmp_path / "run/previews").iterdir()) == [
        f"step-{s:06d}-{n}.png" for s in (10, 20, 30) for n in (0, 1)
    ]
    assert list((tmp_path / "run/tensorboard").glob("events*"))
    assert not list((tmp_path / "run").rglob("*.part"))


def test_weights_are_the_average_and_differ_from_the_newest(tmp_path: Path) -> None:
    run(tiny(), tmp_path / "run")
    state = load_tree(tmp_path / "run/state.pt")
    average = load_file(tmp_path / "run/weights.safetensors")
    assert same({f"network.{k}": v for k, v in average.items()}, state["state_dict"])
    assert not same(state["state_dict"], state["current_model_state"])
    run(tiny(run__ema=0.0), tmp_path / "bare")
    bare = load_tree(tmp_path / "bare/state.pt")
    assert same(bare["state_dict"], bare["current_model_state"])
    assert same(bare["current_model_state"], state["current_model_state"])


def test_workers_change_nothing(tmp_path: Path) -> None:
    run(tiny(run__steps=6), tmp_path / "none")
    run(tiny(run__steps=6, data__workers=2), tmp_path / "two")
    assert same(learned(tmp_path / "none"), learned(tmp_path / "two"))


def test_a_loss_that_is_not_finite_stops_with_its_batch(tmp_path: Path) -> None:
    with pytest.raises(
        NotFinite, match=r"loss of step 3 is not finite; its batch is in .*bad-batch-000003\.pt"
    ):
        run(tiny(data__options={"nan_at": 9}, run__save_minutes=1e-9), tmp_path / "run")
    saved = load_tree(tmp_path / "run/bad-batch-000003.pt")
    assert saved["batch"]["noisy"].isnan().flatten(1).all(1).tolist() == [False, True, False, False]
    assert saved["first_index"] == 8
    assert torch.isfinite(
        torch.cat([v.flatten() for v in load_tree(tmp_path / "run/state.pt")["state_dict"].values()])
    ).all()
    assert load_tree(tmp_path / "run/state.pt")["global_step"] == 2


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_a_network_that_does_not_run_with_its_options_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tiny does not run with network\.options \{'width': 0\}: ") as e:
        run(tiny(network__options={"width": 0}), tmp_path / "run")
    assert "\n" not in str(e.value)
    assert not (tmp_path / "run").exists()


def test_a_sample_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^sample 9 cannot be made: no photo is left$"):
        run(tiny(data__options={"fails_at": 9}), tmp_path / "run")


def test_first_weights_from_another_run(tmp_path: Path) -> None:
    run(tiny(run__steps=20), tmp_path / "a")
    weights = tmp_path / "a/weights.safetensors"
    out = run(tiny(seed=1, run__steps=1, optimiser__lr=1e-12), tmp_path / "b", init=weights)
    assert out.complete
    a, b = load_file(weights), load_file(tmp_path / "b/weights.safetensors")
    assert all(torch.allclose(a[n], b[n], atol=1e-8) for n in a)
    record = json.loads((tmp_path / "b/run.json").read_text())
    assert record["init"]["file"] == str(weights)
    assert len(record["init"]["sha256"]) == 64


def test_unfit_first_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    run(tiny(run__steps=1), tmp_path / "a")
    weights = load_file(tmp_path / "a/weights.safetensors")
    cases: list[tuple[dict[str, Any], dict[str, str], str]] = [
        (weights, {"halfmirror.weights": "2"}, r"version '2'; this program reads version 1"),
        (weights, {"halfmirror.network": "gem"}, r"weights of 'gem', and 'tiny' is to be trained"),
        (
            weights,
            {"halfmirror.options": '{"width": 9}'},
            r"network options \{\"width\": 9\}, and the recipe has \{\}",
        ),
        (
            {k: v for k, v in weights.items() if k != "first.bias"},
            {},
            r"of its entries are 1 missing \(such as first\.bias\)",
        ),
        ({**weights, "x": torch.zeros(1)}, {}, r"1 unknown \(such as x\)"),
        ({**weights, "first.bias": torch.zeros(5)}, {}, r"1 of another shape \(such as first\.bias\)"),
        ({**weights, "first.bias": torch.full((4,), torch.nan)}, {}, r"NaN"),
    ]
    for entries, metadata, wanted in cases:
        save_file(entries, tmp_path / "w.safetensors", metadata)
        with pytest.raises(WeightsError, match=rf"w\.safetensors is refused: .*{wanted}"):
            run(tiny(), tmp_path / "b", init=tmp_path / "w.safetensors")
        assert not (tmp_path / "b").exists()


def test_options_that_are_left_out_have_their_usual_value(tmp_path: Path) -> None:
    network, file = networks.build("stra", num_res=1, base_channel=8), tmp_path / "w.safetensors"
    small = {"num_res": 1, "base_channel": 8}

    def begin(options: dict[str, Any], card: dict[str, Any]) -> None:
        about = cards.card("stra").model_copy(update={"options": card})
        store.write(file, network.state_dict(), about)
        initialise(network, file, NetworkEntry(name="stra", options=small | options))

    begin({"theta_s": 0.001}, {})
    begin({}, {"theta_s": 0.001, "temporal_attention": True})
    with pytest.raises(WeightsError, match=r"\{\}, and .* those: --set network\.options\.theta_s=0\.001$"):
        begin({"theta_s": 1.0}, {})
    with pytest.raises(WeightsError, match=r"temporal_attention=false$"):
        begin({}, {"temporal_attention": False})


def test_what_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    for recipe, wanted in (
        (tiny(network__name="huge"), "no task is called 'huge'"),
        (
            tiny(optimiser__groups=[{"prefix": "third.", "lr": 1e-4}]),
            r"no parameter's name begins with 'third\.'",
        ),
        (
            tiny(optimiser__groups=[{"prefix": "", "lr": 0}]),
            r"optimiser\.groups: all parameters have the rate 0, so nothing would be learnt",
        ),
    ):
        with pytest.raises(UsageError, match=wanted):
            run(recipe, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_groups_have_rates_of_their_own(tmp_path: Path) -> None:
    recipe = tiny(optimiser__groups=[{"prefix": "second.", "lr": 0.0}], run__steps=5)
    torch.manual_seed(7)
    first = TinyTask(recipe).build_network({}).state_dict()
    run(recipe, tmp_path / "run")
    last = load_file(tmp_path / "run/weights.safetensors")
    assert torch.equal(first["second.weight"], last["second.weight"])
    assert not torch.equal(first["first.weight"], last["first.weight"])


def test_a_rate_of_zero_costs_no_gradient() -> None:
    recipe = tiny(optimiser__groups=[{"prefix": "second.w", "lr": 0.0}, {"prefix": "second.", "lr": 1e-3}])
    network = TinyTask(recipe).build_network({})
    hold_still(recipe.optimiser, network)
    still = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert still == {"second.weight"}
    assert len(list(network.parameters())) > 1


def intervals(folder: Path) -> list[tuple[float, float]]:
    """Seconds waited and seconds in all of each logging interval."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["idle"] * 20 / line["samples_per_s"], 20 / line["samples_per_s"]) for line in lines]


def test_waiting_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tiny(run__steps=10, data__options={"delay_s": 0.05}, data__validation=0), tmp_path / "slow data")
    slow_data = intervals(tmp_path / "slow data")
    assert len(slow_data) == 2
    assert all(waited >= 20 * 0.05 for waited, _ in slow_data)
    loss = TinyTask.loss
    monkeypatch.setattr(TinyTask, "loss", lambda *args: time.sleep(0.2) or loss(*args))
    run(tiny(run__steps=10, data__validation=0), tmp_path / "slow step")
    slow_steps = intervals(tmp_path / "slow step")
    assert len(slow_steps) == 2
    assert all(waited <= whole - 5 * 0.2 for waited, whole in slow_steps)


def test_the_rate_of_multiply_adds_is_that_of_the_network(tmp_path: Path) -> None:
    run(tiny(run__steps=5, data__validation=0), tmp_path / "run")
    (line,) = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    forward = 4 * 12 * 12 * (9 * 1 * 4 + 9 * 4 * 1)  # samples, places, the two convolutions
    assert line["gmacs_per_s"] * 1e9 / line["steps_per_s"] == pytest.approx(3 * forward)


def test_a_dead_worker_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a process that makes samples died"):
        run(tiny(data__options={"dies_at": 9}, data__workers=1), tmp_path / "run")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 GiB"),
        RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"
        ),
        MemoryError("Unable to allocate 9 GiB for an array with shape (3, 3)"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"width": 4}])
def test_too_little_memory_is_one_line(
    options: dict[str, int], error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(TinyTask, "loss", full)
    with pytest.raises(TrainingError, match=r"set run\.batch lower than 4"):
        run(tiny(network__options=options), tmp_path / "run")


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "unable to write to file </torch_1>",
    ],
)
def test_what_the_device_fails_in_is_not_blamed_on_the_options(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError(text)

    monkeypatch.setattr(TinyTask, "loss", fails)
    with pytest.raises(RuntimeError, match=text[:10]):
        run(tiny(network__options={"width": 4}), tmp_path / "run")
    assert (tmp_path / "run/run.json").is_file()


def test_a_name_that_no_recipe_can_hold_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds UTF-8 only, not what begins with"):
        run(tiny(name="caf\udce9"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_weights_carry_their_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "store"))
    recipe = tiny(network={"name": "stra", "options": {"num_res": 1, "base_channel": 8}}, name="small")
    entries = networks.build("stra", **recipe.network.options).state_dict()
    folder = RunFolder(tmp_path)
    folder.write_weights(entries, recipe, 12, "f", {"channel_order": "bgr"})
    card, _ = store.add("stra", folder.weights)
    assert card.options == recipe.network.options
    assert card.channel_order == "bgr"
    assert card.trained_on == "synthetic (data of the task), recipe small, 12 steps"
    assert same(store.load("stra", representation=card.representation, channel_order="bgr")[0], dict(entries))


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_mixed_precision_runs(precision: str, tmp_path: Path) -> None:
    if precision == "16" and not torch.cuda.is_available():
        pytest.skip("16-bit mixed precision needs a CUDA device")
    out = run(tiny(run__precision=precision, run__clip_norm=0.1), tmp_path / "run")
    assert out.figures["val/psnr"] > 20


@pytest.mark.parametrize(("has", "chosen"), [(True, "bf16"), (False, "32")])
def test_the_number_type_is_settled_once(
    has: bool, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(run__precision="auto", run__steps=4)
    monkeypatch.setattr(engine, "multiplies_bfloat16", lambda: has)
    run(recipe, tmp_path / "run")
    assert recipes.load(tmp_path / "run").run.precision == chosen
    # Gone on with elsewhere it stays what it was, and the recipe counts as the same.
    monkeypatch.setattr(engine, "multiplies_bfloat16", lambda: not has)
    assert run(recipe, tmp_path / "run", resume=True).complete
    assert recipes.load(tmp_path / "run").run.precision == chosen
    other = tiny(run__precision="32" if has else "bf16", run__steps=4)
    with pytest.raises(UsageError, match=f"precision.*{chosen}"):
        run(other, tmp_path / "run", resume=True)
