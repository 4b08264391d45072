"""Recipes that build on each other: a chain that is stopped, goes on, and leaves alone what was learnt from."""

from __future__ import annotations

import fcntl
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from app.cli.program import execute
from capture.errors import UsageError
from tests.training.made_sets import write_spikes
from tests.training.runs import learned, same
from tests.training.tiny_task import TinyTask, write
from training import chain
from training import recipe as recipes
from training.chain import ChainRequest, Stage
from training.engine import Outcome, Request, train


@pytest.fixture
def tiny_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    recipe = str(write(tmp_path))
    stages = (Stage("one", recipe), Stage("two", recipe, {"data.options.teacher": "one"}))
    monkeypatch.setitem(chain.CHAINS, "pair", stages)
    return tmp_path / "chain"


def do(folder: Path, name: str = "pair", **more: Any) -> tuple[Outcome, list[str]]:
    told: list[str] = []
    request = ChainRequest(name, folder, device="cpu", **more)
    return chain.run(request, lambda stage, _: told.append(stage)), told


def test_a_stopped_chain_goes_on_where_it_was(tiny_chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny_chain.with_name("whole")
    steps = {"run.steps": 6, "two.run.steps": 8, "data.options.teacher": ""}
    assert do(whole, overrides=steps)[1] == ["one", "two"]
    loss, count = TinyTask.loss, 0

    def counted(self: TinyTask, *args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 9:
            signal.raise_signal(signal.SIGINT)
        return loss(self, *args)

    monkeypatch.setattr(TinyTask, "loss", counted)
    out, told = do(tiny_chain, overrides=steps)
    assert (out.signal, out.step, told) == (signal.SIGINT, 3, ["one", "two"])
    # By the folder alone, as `halfmirror train FOLDER --resume` does.
    out, told = do(tiny_chain, str(tiny_chain), resume=True)
    assert (out.complete, out.step, count) == (True, 8, 14)
    assert same(learned(tiny_chain / "two"), learned(whole / "two"))
    assert f'teacher = "{tiny_chain}/one/weights.safetensors"' in (tiny_chain / "two/recipe.toml").read_text()
    out, told = do(tiny_chain, resume=True)
    assert (out.complete, count, told) == (True, 14, ["one", "two"])
    with pytest.raises(UsageError, match=r"run\.steps 8 → 9"):
        do(tiny_chain, resume=True, overrides={"two.run.steps": 9})


def test_a_chain_by_time_goes_on_by_its_folder_alone(tiny_chain: Path) -> None:
    do(tiny_chain, overrides={"run.steps": 2}, max_minutes=1e-4)
    out, told = do(tiny_chain, str(tiny_chain), resume=True)
    assert (out.complete, told) == (True, ["one", "two"])
    steps = out.step
    do(tiny_chain, resume=True, max_minutes=2e-4)  # longer, which the folder then has as well
    out, _ = do(tiny_chain, resume=True)
    assert out.complete
    assert out.step >= steps
    assert "max_minutes = 0.0002" in (tiny_chain / "two/recipe.toml").read_text()


def test_what_is_told_anew_stays(tiny_chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_chain.parent)
    do(tiny_chain, overrides={"run.steps": 1, "data.recordings": ["/old/spike"], "data.photos": "photos"})
    given = json.loads((tiny_chain / "chain.json").read_text())
    given["overrides"]["data.photos"] = "photos"  # as chains were written once
    (tiny_chain / "chain.json").write_text(json.dumps(given))
    do(tiny_chain, resume=True, overrides={"data.recordings": ["/new/spike"]})
    kept = (tiny_chain / "chain.json").read_bytes()
    with pytest.raises(UsageError, match="was begun with another recipe"):
        do(tiny_chain, resume=True, overrides={"data.recordings": ["/new/other"]})
    assert (tiny_chain / "chain.json").read_bytes() == kept
    monkeypatch.chdir("/")
    do(tiny_chain, resume=True)
    for stage in ("one", "two"):
        data = recipes.load(tiny_chain / stage).data
        assert (data.recordings, data.photos) == (("/new/spike",), f"{tiny_chain.parent}/photos")


def test_more_minutes_leave_what_was_learnt_from_alone(
    tiny_chain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(tiny_chain, overrides={"run.steps": 100}, max_minutes=1e-5)
    first = (tiny_chain / "one/weights.safetensors").read_bytes()
    steps = do(tiny_chain, resume=True)[0].step
    # As LDN, whose data are other data once its teacher changes.
    monkeypatch.setattr(
        "training.chain.train",
        lambda request: _unless_changed(request, tiny_chain / "one/weights.safetensors", first),
    )
    out, told = do(tiny_chain, resume=True, max_minutes=60)
    assert told == ["one", "two"]
    assert (tiny_chain / "one/weights.safetensors").read_bytes() == first
    assert (steps < 100, out.step) == (True, 100)


def _unless_changed(request: Request, file: Path, before: bytes) -> Outcome:
    assert request.folder.name != "two" or file.read_bytes() == before
    return train(request)


def test_a_stage_that_is_trained_elsewhere_is_not_discarded(tiny_chain: Path) -> None:
    do(tiny_chain, overrides={"run.steps": 1})
    (tiny_chain / "two/state.pt").unlink()
    with (tiny_chain / "two/.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match=r"chain/two is in use by another run"):
            do(tiny_chain, resume=True)
    assert (tiny_chain / "two/run.json").is_file()


def test_a_stage_that_was_killed_before_its_first_state_begins_anew(tiny_chain: Path) -> None:
    do(tiny_chain, overrides={"run.steps": 1})
    (tiny_chain / "two/state.pt").unlink()
    out, told = do(tiny_chain, resume=True)
    assert (out.complete, told) == (True, ["one", "two"])
    assert (tiny_chain / "two/state.pt").is_file()


def test_first_weights_are_the_last_stages(tiny_chain: Path) -> None:
    do(tiny_chain, overrides={"run.steps": 1})
    again = tiny_chain.with_name("again")
    do(again, overrides={"run.steps": 1}, init=tiny_chain / "two/weights.safetensors")
    facts = [json.loads((again / stage / "run.json").read_text())["init"] for stage in ("one", "two")]
    assert facts[0] is None
    assert facts[1]["file"].endswith("chain/two/weights.safetensors")


def test_a_chain_that_cannot_be_meant_is_one_line(tiny_chain: Path) -> None:
    with pytest.raises(UsageError, match="no chain to resume"):
        do(tiny_chain, resume=True)
    with pytest.raises(UsageError, match=r"run\.stepz"):
        do(tiny_chain, overrides={"two.run.stepz": 1})
    assert not tiny_chain.exists()
    do(tiny_chain, overrides={"run.steps": 1})
    with pytest.raises(UsageError, match=r"exists already and is not empty.*--resume"):
        do(tiny_chain)
    with pytest.raises(UsageError, match="holds a chain that was begun"):
        do(tiny_chain.with_name("other"), str(tiny_chain))
    with pytest.raises(UsageError, match="holds the chain 'pair'"):
        do(tiny_chain, "s-sdm", resume=True)
    with pytest.raises(UsageError, match="a resumed one has its own"):
        do(tiny_chain, resume=True, init=Path("x"))
    (tiny_chain / "chain.json").write_text("{")
    with pytest.raises(UsageError, match=r"chain\.json is damaged"):
        do(tiny_chain, resume=True)


def test_all_three_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_spikes(tmp_path / "set")
    words = ["train", "s-sdm", "--data", str(data), "-o", str(tmp_path / "chain"), "--device", "cpu"]
    assert execute([*words, "--devices", "2"]) == 2
    assert "several devices train one stage at a time" in capsys.readouterr().err
    for change in (
        "data.options.crop=32", "run.steps=1", "run.batch=1", "data.validation=1", "data.workers=0",
        "run.validate_every=1",
    ):  # fmt: skip
        words += ["--set", change]
    assert execute([*words, "--set", "ldn.loss.name=lpips"]) == 2
    assert not (tmp_path / "chain").exists()
    assert execute([*words, "--set", "ldn.loss.name=ssim-reblur"]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.err.splitlines() if "complete at step 1" in line] == [
        "bsn", "edsr", "ldn",
    ]  # fmt: skip
    assert said.out.splitlines()[-1] == f"{tmp_path}/chain/ldn/weights.safetensors"
    record = json.loads((tmp_path / "chain/ldn/run.json").read_text())
    assert record["data"]["teacher"].startswith("bsn:")
    assert execute(["train", str(tmp_path / "chain"), "--resume"]) == 0


def test_a_chain_without_data_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "s-sdm", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "chain")]
    assert execute([*words, "--set", "ldn.loss.name=ssim-reblur"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "chain").exists()
