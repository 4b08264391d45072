"""The command line: exit codes, interruption, several processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from app.cli.program import execute
from tests.training.tiny_task import RECIPE, TinyTask, write
from training.files import load_tree

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
ENVIRONMENT.pop("RANK", None)
PROGRAM = ["tests.training.program", "train"]


def here(*words: str | Path) -> int:
    """The command line in this process: PyTorch and Lightning are loaded already."""
    return execute(["train", *map(str, words)])


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def test_train_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cpu", "--set", "run.steps=6", "--set", "optimiser.lr=0.02", "--photos", "package:x"]
    assert here(write(tmp_path), "-o", tmp_path / "run", *options) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/run/weights.safetensors\n"
    assert "complete at step 6" in said.err
    assert "step 5  loss" in said.err
    kept = (tmp_path / "run/recipe.toml").read_text()
    assert "lr = 0.02" in kept
    assert 'photos = "package:x"' in kept
    assert here(tmp_path / "run", "--resume") == 0
    assert here(tmp_path / "run", "--resume", "--set", "run.steps=9") == 2
    assert "run.steps 6 → 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--set", "run.stepz=6"], "did you mean 'steps'"),
        (["--devices", "2"], "name it with -o"),
        (["--resume"], "--resume needs the folder of the run"),
        (["--photos", "a", "--data", "b"], "not both"),
        (["--max-minutes", "0"], "--max-minutes 0 is out of range"),
        (["--device", "tpu", "-o", "run"], "none of auto, cpu, cuda"),
    ],
)
def test_a_wrong_request_is_one_line(
    words: list[str], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert here(write(tmp_path), *words) == 2
    said = capsys.readouterr().err
    assert wanted in said
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.toml"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_leaves_a_run_that_goes_on(number: int, tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace("workers = 0", "workers = 1, options = { delay_s = 0.01 }"))
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", *PROGRAM, str(recipe), "-o", str(folder), "--set", "run.steps=100000", "--set",
         "run.log_every=1"],
        env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 200
    while not (folder / "metrics.jsonl").exists() or len(losses(folder)) < 3:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    if number == signal.SIGTERM:
        process.send_signal(number)  # as `timeout` does, before the group
    os.killpg(process.pid, number)  # as a terminal does: workers get it, too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith(f"go on with: halfmirror train {folder} --resume")
    state = load_tree(folder / "state.pt")
    step, elapsed_s = state["global_step"], state["callbacks"]["Conduct"]["elapsed_s"]
    assert losses(folder)[-1][0] == step
    assert here(folder, "--resume", "--max-minutes", str((elapsed_s + 1) / 60), "--device", "cpu") == 0
    assert load_tree(folder / "state.pt")["global_step"] > step


def test_a_terminal_that_is_closed_leaves_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss, calls = TinyTask.loss, itertools.count(1)

    def closed(*arguments: Any) -> Any:
        if next(calls) == 5:
            os.kill(os.getpid(), signal.SIGHUP)
        return loss(*arguments)

    monkeypatch.setattr(TinyTask, "loss", closed)
    folder = tmp_path / "run"
    options = ["--device", "cpu", "--set", "run.steps=1000", "--set", "run.log_every=1"]

    def unheard(number: int, _: object) -> None:
        raise AssertionError(f"nobody takes signal {number}")

    before = signal.signal(signal.SIGHUP, unheard)
    try:
        assert here(write(tmp_path), "-o", folder, *options) == 128 + signal.SIGHUP
        assert signal.getsignal(signal.SIGHUP) is unheard, "given back after the run"
    finally:
        signal.signal(signal.SIGHUP, before)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].endswith(f"go on with: halfmirror train {folder} --resume")
    assert load_tree(folder / "state.pt")["global_step"] == losses(folder)[-1][0] == 5


@pytest.mark.timeout(300)
def test_two_processes_give_the_curve_of_one_with_the_doubled_batch(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace("loss = { weights = { jitter = 0.5 } }", ""))
    options = ["--set", "run.log_every=1", "--set", "run.steps=20", "--device", "cpu"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *PROGRAM]
    done = subprocess.run(
        [sys.executable, *torchrun, str(recipe), "-o", str(tmp_path / "two"), *options],
        env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert here(recipe, "-o", tmp_path / "one", *options, "--set", "run.batch=8") == 0
    a, b = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [step for step, _ in a] == [step for step, _ in b] == list(range(1, 21))
    assert [x for _, x in b] == pytest.approx([x for _, x in a], rel=1e-4)
    assert a[-1][1] < 0.7 * a[0][1]
    averages = [load_file(tmp_path / n / "weights.safetensors") for n in ("one", "two")]
    assert all(torch.allclose(averages[0][n], averages[1][n], rtol=1e-3, atol=1e-5) for n in averages[0])
    texts = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("one", "two")]
    validated = [[json.loads(t)["val/psnr"] for t in text.splitlines() if "val/" in t] for text in texts]
    assert validated[1] == pytest.approx(validated[0], rel=1e-4)
    assert len(validated[0]) == 2


@pytest.mark.timeout(300)
def test_more_processes_than_validation_samples_wait_for_each_other(tmp_path: Path) -> None:
    options = ["--set", "run.steps=4", "--set", "run.validate_every=2", "--set", "data.validation=1"]
    command = [write(tmp_path), *options, "--set", "optimiser.lr=1e-12", "--device", "cpu"]
    subprocess.run(
        [sys.executable, "-m", *PROGRAM, *map(str, command), "-o", str(tmp_path / "two"), "--devices", "2"],
        env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert here(*command, "-o", tmp_path / "one") == 0
    texts = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("one", "two")]
    validated = [[json.loads(t)["val/psnr"] for t in text.splitlines() if "val/" in t] for text in texts]
    assert len(validated[0]) == 2
    assert validated[1] == pytest.approx(validated[0], rel=1e-6)


@pytest.mark.timeout(300)
def test_a_bad_loss_in_one_process_ends_all(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace("workers = 0", "workers = 0, options = { nan_at = 13 }"))
    done = subprocess.run(
        [sys.executable, "-m", *PROGRAM, str(recipe), "-o", str(tmp_path / "run"), "--devices", "2"],
        env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the loss of step 2 is not finite" in done.stderr
    assert load_tree(tmp_path / "run/bad-batch-000002.pt")["first_index"] == 12
