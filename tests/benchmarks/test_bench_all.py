"""The benchmark of all networks: how they are trained, side by side, and what the table says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_all, bench_all_train
from benchmarks.bench_all_entries import ENTRIES, How
from benchmarks.bench_all_train import Wanted, done_file, draw, how_of, train


def wanted(out: Path, **more: Any) -> Wanted:
    return Wanted(**{
        "out": out, "photos": "photos", "videos": (3, 1), "size": 96, "minutes": 4.5, "device": "cpu",
        "together": True, **more,
    })  # fmt: skip


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """In place of the program: what it was called with is kept; gem fails."""
    seen: list[list[str]] = []

    def start(store: Path, arguments: Any, log: Path, threads: int = 0) -> subprocess.Popen[bytes]:
        seen.append([str(a) for a in arguments])
        code = (
            "print('at work'); print('halfmirror: no room'); raise SystemExit(1)" if "gem" in seen[-1] else ""
        )
        with log.open("ab") as out:
            return subprocess.Popen([sys.executable, "-c", code], stdout=out)

    monkeypatch.setattr(bench_all_train, "start", start)
    monkeypatch.setattr(bench_all_train, "device_name", lambda device: "a test")
    return seen


@pytest.mark.parametrize("together", [True, False])
def test_one_that_fails_does_not_stop_the_others(
    together: bool, tmp_path: Path, commands: list[list[str]]
) -> None:
    failed = train(wanted(tmp_path, together=together), ["edi", "gem", "efnet", "stra"])
    assert list(failed) == ["gem"]
    assert "halfmirror: no room" in failed["gem"]
    assert not done_file(tmp_path, "gem").exists()
    assert [c[1] for c in commands] == ["gem", "efnet", "stra"]
    found = how_of(tmp_path, "efnet")
    assert found == How("a test", 4.5, 3 if together else 1, ENTRIES["efnet"].set_on("cpu"))
    assert ("shared by 3" in found.words()) == together
    assert "4.5 min on a test" in found.words()
    train(wanted(tmp_path), ["efnet", "stra"])
    assert len(commands) == 3  # what is done is not done again


def test_a_failing_training_is_told_of_at_the_end(
    tmp_path: Path, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["-o", str(tmp_path), "--device", "cpu", "--only", "gem,stra", "--side-by-side", "--stage", "train"]
    assert bench_all.main(given) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"gem: exit code 1: halfmirror: no room ({tmp_path / 'gem.log'})"
    ]
    assert bench_all.main([*given[:4], "--only", "stra", *given[6:]]) == 0


def test_what_a_gpu_does_otherwise_wins() -> None:
    for name, entry in ENTRIES.items():
        for device in ("cpu", "cuda"):
            keys = [s.partition("=")[0] for s in entry.set_on(device)]
            assert len(keys) == len(set(keys)), name
    values = dict(s.split("=", 1) for s in ENTRIES["efnet"].set_on("cuda"))
    assert values["run.batch"] == "16"
    assert values["network.options"] == "{wf=32}"
    assert values["data.options.crop"] == "64"


def test_the_recipes_take_the_settings(tmp_path: Path) -> None:
    """They are checked when a run begins, which on a lent machine is late."""
    from benchmarks.bench_all_entries import settings_with_time
    from training import chain, tasks
    from training import recipe as recipes

    for entry in ENTRIES.values():
        for device in ("cpu", "cuda"):
            settings, _ = settings_with_time(entry, device, 4.5)
            given = dict(recipes.override(s) for s in settings)
            if entry.recipe == "s-sdm":
                for stage in chain.CHAINS["s-sdm"]:
                    tasks.create(chain._recipe(stage, chain.CHAINS["s-sdm"], tmp_path, given))
            elif entry.recipe:
                made = recipes.load(entry.recipe, given)
                tasks.create(made).build_network(made.network.options)


def test_only_what_is_needed_is_drawn(tmp_path: Path, commands: list[list[str]]) -> None:
    draw(wanted(tmp_path), ["stra"], measured=True)
    draw(wanted(tmp_path), ["s-sdm-ldn"], measured=False)
    assert [Path(c[2]).name for c in commands] == ["videos", "spikes"]


def test_a_run_from_elsewhere_is_measured_and_an_old_one_has_no_note(tmp_path: Path) -> None:
    done_file(tmp_path, "gem").touch()
    assert how_of(tmp_path, "gem") is None
    assert how_of(tmp_path, "efnet") is None
    assert How("", 20).words() == "20 min"


def test_trainings_end_with_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(store: Path, arguments: Any, log: Path, threads: int = 0) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return started[-1]

    def stopped(process: subprocess.Popen[bytes], log: Path) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(bench_all_train, "start", start)
    monkeypatch.setattr(bench_all_train, "finish", stopped)
    with pytest.raises(SystemExit):
        train(wanted(tmp_path), ["gem", "stra"])
    assert len(started) == 2
    assert all(p.returncode is not None for p in started)
