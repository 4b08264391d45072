"""Whole runs of the tiny task, in this process."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from capture.errors import UsageError
from inference import networks, store
from inference.weights_limits import WeightsError
from tests.training.tiny_task import TinyTask, tiny
from training.engine import Outcome, Request, train
from training.errors import NotFinite, TrainingError
from training.files import load_tree
from training.module import hold_still
from training.recipe import Recipe
from training.run import RunFolder

TIMES = {"elapsed_s", "samples_per_s", "steps_per_s", "gmacs_per_s", "idle", "val/seconds"}


def run(recipe: Recipe, folder: Path, **more: Any) -> Outcome:
    return train(Request(recipe, folder, device="cpu", **more))


def figures(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def learned(folder: Path) -> dict[str, Any]:
    """All of a state that decides how a run goes on, but for the clock."""
    state = load_tree(folder / "state.pt")
    return {k: state[k] for k in ("state_dict", "current_model_state", "optimizer_states", "next_index")}


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has a signal come in the middle of a step."""

    def arrange(step: int, number: int = signal.SIGINT) -> None:
        loss, count = TinyTask.loss, 0

        def counted(self: TinyTask, *args: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                signal.raise_signal(number)
            return loss(self, *args)

        monkeypatch.setattr(TinyTask, "loss", counted)

    return arrange


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


@pytest.mark.parametrize("step", [4, 10, 13])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_bit_identically(step: int, number: int, tmp_path: Path, stop_at: Any) -> None:
    run(tiny(), tmp_path / "whole")
    stop_at(step, number)
    before = signal.getsignal(number)
    out = run(tiny(), tmp_path / "run")
    assert (out.step, out.complete, out.signal) == (step, False, number)
    assert signal.getsignal(number) == before
    out = run(tiny(), tmp_path / "run", resume=True)
    assert (out.step, out.complete, out.signal) == (30, True, 0)
    assert same(learned(tmp_path / "run"), learned(tmp_path / "whole"))
    # The means of an interval that was cut in two are of its parts.
    whole, parts = figures(tmp_path / "whole"), figures(tmp_path / "run")
    cut = {step, (step // 5 + 1) * 5}
    assert [f for f in parts if f["step"] not in cut] == [f for f in whole if f["step"] not in cut]
    assert [s["step"] for s in json.loads((tmp_path / "run/run.json").read_text())["sessions"]] == [step, 30]


def test_a_crashed_run_goes_on_from_its_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1000.0, 1.0)
    monkeypatch.setattr("training.callbacks.conduct.monotonic", lambda: next(clock))
    recipe = tiny(run__save_minutes=10 / 60)  # every tenth step
    run(recipe, tmp_path / "whole")
    loss, count = TinyTask.loss, 0

    def crashes(self: TinyTask, *args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 17:
            raise ZeroDivisionError
        return loss(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(TinyTask, "loss", crashes)
        with pytest.raises(ZeroDivisionError):
            run(recipe, tmp_path / "run")
    assert load_tree(tmp_path / "run/state.pt")["global_step"] == 10
    assert figures(tmp_path / "run")[-1]["step"] == 15
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 16, "lo')  # as a crash may leave it
    run(recipe, tmp_path / "run", resume=True)
    assert same(learned(tmp_path / "run"), learned(tmp_path / "whole"))
    # The validation of step 10 came after its state was saved, and is kept.
    assert figures(tmp_path / "run") == figures(tmp_path / "whole")


def test_gradients_accumulate_to_the_larger_batch(tmp_path: Path, stop_at: Any) -> None:
    recipe = tiny(loss__weights={}, run__steps=8)
    run(recipe, tmp_path / "large")
    halves = tiny(loss__weights={}, run__steps=8, run__batch=2, run__accumulate=2)
    run(halves, tmp_path / "halves")
    a, b = (load_file(tmp_path / n / "weights.safetensors") for n in ("large", "halves"))
    assert all(torch.allclose(a[n], b[n], rtol=1e-4, atol=1e-6) for n in a)
    stop_at(7)  # in the first half of the fourth step
    assert run(halves, tmp_path / "cut").step == 4
    run(halves, tmp_path / "cut", resume=True)
    assert same(learned(tmp_path / "cut"), learned(tmp_path / "halves"))


def test_workers_change_nothing(tmp_path: Path) -> None:
    run(tiny(run__steps=6), tmp_path / "none")
    run(tiny(run__steps=6, data__workers=2), tmp_path / "two")
    assert same(learned(tmp_path / "none"), learned(tmp_path / "two"))


def test_resume_is_refused_with_the_difference(tmp_path: Path, stop_at: Any) -> None:
    stop_at(4)
    run(tiny(), tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    for recipe, wanted in (
        (tiny(optimiser__lr=0.02), r"another recipe: optimiser\.lr 0\.01 → 0\.02;"),
        (tiny(run__steps=40), r"run\.steps 30 → 40"),
        (tiny(data__options={"salt": "x"}), r"another recipe: data\.options\.salt \(unset\) → 'x'"),
    ):
        with pytest.raises(UsageError, match=wanted):
            run(recipe, tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="--init gives a new run"):
        run(tiny(), tmp_path / "run", resume=True, init=tmp_path / "x")
    with pytest.raises(UsageError, match=r"not empty.*halfmirror train .*run --resume"):
        run(tiny(), tmp_path / "run")
    with pytest.raises(UsageError, match="holds no run to resume"):
        run(tiny(), tmp_path / "other", resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_resume_is_refused_on_other_data(tmp_path: Path, stop_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(4)
    run(tiny(), tmp_path / "run")
    monkeypatch.setattr("tests.training.tiny_task.Samples.fingerprint", lambda self: "other photos")
    with pytest.raises(UsageError, match=r"other data \(fingerprint tiny 7, now other photos\)"):
        run(tiny(), tmp_path / "run", resume=True)


def test_a_complete_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run(tiny(run__steps=5), tmp_path / "run")
    before = (tmp_path / "run/state.pt").read_bytes()
    out = run(tiny(run__steps=5), tmp_path / "run", resume=True)
    assert (out.step, out.complete) == (5, True)
    assert (tmp_path / "run/state.pt").read_bytes() == before


def test_minutes_complete_the_schedule_over_sessions(
    tmp_path: Path, stop_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(1000.0, 0.125)  # asked once at the start and once a step
    monkeypatch.setattr("training.callbacks.conduct.monotonic", lambda: next(clock))
    recipe = tiny(run__log_every=1, run__steps=100_000, schedule__warmup_steps=0)
    stop_at(20)
    first = run(recipe, tmp_path / "run", max_minutes=0.1)
    assert (first.step, first.complete, first.elapsed_s) == (20, False, 2.5)
    last = run(recipe, tmp_path / "run", max_minutes=0.1, resume=True)
    assert (last.step, last.complete, last.elapsed_s) == (48, True, 6.0)
    rates = [f["lr"] for f in figures(tmp_path / "run") if "lr" in f]
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * k / 48)) / 2 for k in range(48)])
    # Longer is a wish that may come later, said in so many words.
    more = run(recipe, tmp_path / "run", max_minutes=0.2, resume=True)
    assert (more.step, more.complete) == (96, True)
    assert run(recipe, tmp_path / "run", max_minutes=0.2, resume=True).step == 96


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


def test_a_sample_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^sample 9 cannot be made: no photo is left$"):
        run(tiny(data__options={"fails_at": 9}), tmp_path / "run")


def test_a_full_disk_keeps_the_last_good_state(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(
        run__save_minutes=1e-9, run__log_every=1000, run__validate_every=1000, network__options={"width": 64}
    )
    loss, count, filler = TinyTask.loss, 0, small_disk / "filler"

    def fills(self: TinyTask, *args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 5:
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match=r"space|large"):
                while True:
                    file.write(bytes(100))
        return loss(self, *args)

    monkeypatch.setattr(TinyTask, "loss", fills)
    with pytest.raises(TrainingError, match=r"cannot write .*state\.pt \(.*\).*written before stays") as e:
        run(recipe, small_disk / "run")
    assert "\n" not in str(e.value)
    assert load_tree(small_disk / "run/state.pt")["global_step"] == 4
    assert not list((small_disk / "run").rglob("*.part"))
    filler.unlink()
    assert run(recipe, small_disk / "run", resume=True).step == 30


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


def test_what_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    for recipe, wanted in (
        (tiny(network__name="huge"), "no task is called 'huge'"),
        (
            tiny(optimiser__groups=[{"prefix": "third.", "lr": 1e-4}]),
            r"no parameter's name begins with 'third\.'",
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
    assert all(waited >= 20 * 0.05 for waited, _ in intervals(tmp_path / "slow data"))
    loss = TinyTask.loss
    monkeypatch.setattr(TinyTask, "loss", lambda *args: time.sleep(0.2) or loss(*args))
    run(tiny(run__steps=10, data__validation=0), tmp_path / "slow step")
    assert all(waited <= whole - 5 * 0.2 for waited, whole in intervals(tmp_path / "slow step"))


def test_the_rate_of_multiply_adds_is_that_of_the_network(tmp_path: Path) -> None:
    run(tiny(run__steps=5, data__validation=0), tmp_path / "run")
    (line,) = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    forward = 4 * 12 * 12 * (9 * 1 * 4 + 9 * 4 * 1)  # samples, places, the two convolutions
    assert line["gmacs_per_s"] * 1e9 / line["steps_per_s"] == pytest.approx(3 * forward)


def test_a_signal_breaks_a_validation_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate, seen = TinyTask.validate, 0

    def interrupted(self: TinyTask, *args: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 1:
            signal.raise_signal(signal.SIGINT)
        return validate(self, *args)

    monkeypatch.setattr(TinyTask, "validate", interrupted)
    recipe = tiny(data__validation=400)
    out = run(recipe, tmp_path / "run")
    assert (out.step, out.signal) == (11, signal.SIGINT)
    assert seen < 5
    assert not [f for f in figures(tmp_path / "run") if "val/psnr" in f]
    assert run(recipe, tmp_path / "run", resume=True).complete
    run(recipe, tmp_path / "whole")
    assert same(learned(tmp_path / "run"), learned(tmp_path / "whole"))


def test_a_dead_worker_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a process that makes samples died"):
        run(tiny(data__options={"dies_at": 9}, data__workers=1), tmp_path / "run")


def test_too_little_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 GiB")

    monkeypatch.setattr(TinyTask, "loss", full)
    with pytest.raises(TrainingError, match=r"set run\.batch lower than 4"):
        run(tiny(), tmp_path / "run")


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


def test_two_trainers_do_not_share_a_folder(tmp_path: Path, stop_at: Any) -> None:
    stop_at(4)
    run(tiny(), tmp_path / "run")
    holder = (
        subprocess.Popen(["flock", str(tmp_path / "run/.lock"), "sleep", "60"])
        if shutil.which("flock")
        else None
    )
    if holder is None:
        pytest.skip("no flock program")
    try:
        for _ in range(200):
            try:
                run(tiny(), tmp_path / "run", resume=True)
            except UsageError as error:
                assert "in use by another run" in str(error)  # noqa: PT017
                break
        else:
            pytest.fail("the lock was never seen")
    finally:
        holder.kill()
        holder.wait()
