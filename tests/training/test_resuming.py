"""Runs of the tiny task that are stopped, crash or reach their end, and go on."""

from __future__ import annotations

import errno
import itertools
import json
import math
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from capture.errors import UsageError
from tests.training.runs import figures, learned, run, same
from tests.training.tiny_task import TinyTask, tiny
from training.errors import TrainingError
from training.files import load_tree
from training.run import RunFolder
from training.sizes import of_state

_SAVED = r"state\.pt|weights\.safetensors"


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


@pytest.mark.parametrize("step", [4, 10, 13])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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
    with pytest.raises(TrainingError, match=rf"cannot write .*({_SAVED}) \(.*\).*written before stays") as e:
        run(recipe, small_disk / "run")
    assert "\n" not in str(e.value)
    assert load_tree(small_disk / "run/state.pt")["global_step"] == 4
    assert not list((small_disk / "run").rglob("*.part"))
    filler.unlink()
    assert run(recipe, small_disk / "run", resume=True).step == 30


def test_weights_that_could_not_be_written_are_when_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, saved = RunFolder.write_weights, 0

    def full_at_last(*asked: Any) -> None:
        nonlocal saved
        saved += 1
        if saved == 30:
            raise TrainingError("disk full")
        write(*asked)

    recipe = tiny(run__save_minutes=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr("training.run.RunFolder.write_weights", full_at_last)
        with pytest.raises(TrainingError):
            run(recipe, tmp_path / "run")
    out = run(recipe, tmp_path / "run", resume=True)
    assert (out.step, out.complete) == (30, True)
    run(recipe, tmp_path / "whole")
    weights = [load_file(tmp_path / n / "weights.safetensors") for n in ("run", "whole")]
    assert same(*weights)


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


def test_a_large_state_is_read_once(tmp_path: Path, stop_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(4)
    run(tiny(), tmp_path / "run")
    load, whole = torch.load, []

    def counted(*args: Any, mmap: bool | None = None, **more: Any) -> Any:
        whole.append(not mmap)
        return load(*args, mmap=mmap, **more)

    monkeypatch.setattr("torch.load", counted)
    assert of_state(tmp_path / "run/state.pt")  # as asked for where a task knows its network's sizes
    assert run(tiny(), tmp_path / "run", resume=True).complete
    assert whole.count(True) == 1


def test_a_complete_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run(tiny(run__steps=5), tmp_path / "run")
    before = (tmp_path / "run/state.pt").read_bytes()
    out = run(tiny(run__steps=5), tmp_path / "run", resume=True)
    assert (out.step, out.complete) == (5, True)
    assert (tmp_path / "run/state.pt").read_bytes() == before


@pytest.mark.parametrize("older", [False, True])
def test_a_complete_run_without_its_last_weights_gets_them_from_its_state(older: bool, tmp_path: Path) -> None:
    run(tiny(run__steps=5), tmp_path / "run")
    weights = tmp_path / "run/weights.safetensors"
    before, step = load_file(weights), RunFolder(tmp_path / "run").weights_step()
    weights.unlink()
    if older:
        run(tiny(run__steps=4), tmp_path / "other")
        shutil.copy(tmp_path / "other/weights.safetensors", weights)
    assert run(tiny(run__steps=5), tmp_path / "run", resume=True).complete
    assert (step, RunFolder(tmp_path / "run").weights_step()) == (5, 5)
    assert same(load_file(weights), before)


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


def test_a_damaged_record_is_called_so(tmp_path: Path, stop_at: Any) -> None:
    stop_at(4)
    run(tiny(), tmp_path / "run")
    (tmp_path / "run/run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run/run\.json is damaged or gone"):
        run(tiny(), tmp_path / "run", resume=True)
    assert (tmp_path / "run/run.json").read_text() == "{"


@pytest.mark.parametrize("broken", ["data", "record"])
def test_what_is_wrong_is_told_also_where_the_data_lie_elsewhere(
    broken: str, tmp_path: Path, stop_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(4)
    run(tiny(data__photos="/old/photos"), tmp_path / "run")
    words = r"run/run\.json is damaged or gone"
    if broken == "record":
        (tmp_path / "run/run.json").write_text("{")
    else:
        monkeypatch.setattr("tests.training.tiny_task.Samples.fingerprint", lambda self: "other photos")
        words = r"other data \(fingerprint tiny 7, now other photos\)"
    with pytest.raises(UsageError, match=words):
        run(tiny(data__photos="/new/photos"), tmp_path / "run", resume=True)


def test_a_run_needs_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", none)
    recipe = tiny(run__steps=2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").touch()  # as a run leaves it that could not begin
    assert run(recipe, tmp_path / "run").complete
    assert run(recipe, tmp_path / "run", resume=True).complete


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
