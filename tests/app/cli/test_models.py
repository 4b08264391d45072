"""`halfmirror models`: what it prints, its exit codes, one line for each error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from app.cli import main
from inference import networks, store
from inference.cards import NAMES, Card, card
from inference.weights import content_digest, read_weights
from tests.inference import checkpoints as made

LDN = "s-sdm-ldn"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "models"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mine.ckpt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in made.entries().items()}, "epoch": 3}, path)
    return path


def one_line(captured: Captured) -> str:
    lines = captured.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("halfmirror: ")
    return lines[0]


@pytest.mark.parametrize("verb", ["", "list", "info", "add", "verify", "convert"])
def test_every_help_has_an_example(verb: str, capsys: Captured) -> None:
    assert main.run(["models", *verb.split(), "--help"]) == 0
    assert "halfmirror models" in capsys.readouterr().out.split("Example:")[1]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from app.cli.main import run; run(['models', 'add', '--help'])\n"
        "print([m for m in ('torch', 'numpy', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_list_add_list_info_verify(checkpoint: Path, capsys: Captured) -> None:
    assert main.run(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert all(f"halfmirror models add {name} FILE" in out for name in NAMES)

    assert main.run(["models", "add", LDN, str(checkpoint), "--trained-on", "my [rig]"]) == 0
    said = capsys.readouterr()
    assert "trained on: my [rig]" in said.out
    assert "not a file that the authors publish" in said.out
    assert "note: prefix 'module.' taken off" in said.err

    assert main.run(["models", "list", "--json"]) == 0
    listed = {m["name"]: m for m in json.loads(capsys.readouterr().out)["models"]}
    assert [n for n, m in listed.items() if m["installed"]] == [LDN]
    assert listed[LDN]["trained_on"] == "my [rig]"

    assert main.run(["models", "info", LDN]) == 0
    out = capsys.readouterr().out
    for words in ("spikes", "BGR", "my [rig]", "https://github.com/chenkang455/S-SDM", "mine.ckpt", "licence"):
        assert words in out

    assert main.run(["models", "verify"]) == 0
    assert f"{LDN}" in capsys.readouterr().out


def test_what_is_shipped_is_listed(monkeypatch: pytest.MonkeyPatch, models: Path, capsys: Captured) -> None:
    monkeypatch.undo()
    monkeypatch.setenv(store.VARIABLE, str(models))
    assert main.run(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert main.run(["models", "verify"]) == 0
    verified = capsys.readouterr().out
    for name in ("glint", "glint-large"):
        assert any(line.split()[:2] == [name, "shipped"] for line in listed.splitlines())
        assert any(line.split()[0] == name and "whole and fits" in line for line in verified.splitlines())
    assert main.run(["models", "info", "glint-large"]) == 0
    shown = capsys.readouterr().out
    for words in ("shipped", "40,000 other synthetic exposures", "slower on a CPU than glint"):
        assert words in shown


def test_what_weights_were_trained_with_is_shown(tmp_path: Path, capsys: Captured) -> None:
    about = card("efnet").model_dump() | {
        "options": {"wf": 8}, "feed": {"mask": False, "normalise": "percentile"},
        "cautions": [*card("efnet").cautions, "Trained on kittens."],
    }  # fmt: skip
    entries = {k: v.contiguous() for k, v in networks.build("efnet", wf=8).state_dict().items()}
    store.write(tmp_path / "mine.safetensors", entries, Card.model_validate(about))
    for words in (["add", "efnet", str(tmp_path / "mine.safetensors")], ["info", "efnet"]):
        assert main.run(["models", *words]) == 0
        out = capsys.readouterr().out
        assert "mask=false, normalise=percentile" in out
        assert out.count("Trained on kittens.") == 1
        assert ("GoPro and REBlur weights take BGR" in out) == (words[0] == "info")


def test_info_of_weights_that_are_not_here(capsys: Captured) -> None:
    assert main.run(["models", "info", "efnet"]) == 0
    out = capsys.readouterr().out
    for words in (
        "EFNet-GoPro.pth",
        "35.46 dB",
        "38.12 dB",
        "Apache-2.0",
        "scer",
        "halfmirror models add efnet FILE",
    ):
        assert words in out
    assert main.run(["models", "info", "efnet", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["installed"] is None
    assert said["card"]["channel_order"] == "bgr"


def test_verify_names_what_is_damaged(checkpoint: Path, capsys: Captured) -> None:
    assert main.run(["models", "verify"]) == 0
    assert "no weights are installed" in capsys.readouterr().err
    assert main.run(["models", "verify", LDN]) == 2
    assert "halfmirror models add" in one_line(capsys)
    main.run(["models", "add", LDN, str(checkpoint)])
    capsys.readouterr()
    path = store.path_of(LDN)
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    assert main.run(["models", "verify"]) == 1
    assert "has changed since it was added" in one_line(capsys)


def test_errors_are_one_line_with_a_code(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    mark = tmp_path / "ran"
    hostile = tmp_path / "hostile.pth"
    made.HOSTILE["os.system"][0](hostile, mark)
    for arguments, code, words in (
        (["add", LDN, str(hostile)], 1, "nothing was run"),
        (["add", "efnet", str(checkpoint)], 1, f"looks like {LDN}"),
        (["add", "squint", str(checkpoint)], 2, "known: glint, glint-large, efnet, gem"),
        (["add", LDN, str(tmp_path / "no.pth")], 2, "does not exist"),
        (["add", LDN, str(tmp_path)], 2, "is a folder"),
        (["add", LDN, str(checkpoint), "--channel-order", "rbg"], 2, "rbg"),
        (["info", "squint"], 2, "squint"),
        (["info", "edi"], 2, "edi works without weights; those with weights: glint"),
        (["verify", "squint"], 2, "squint"),
        (["convert", str(hostile)], 1, "nothing was run"),
        (["convert", str(checkpoint), "--to", "onnx"], 2, "safetensors"),
        (["convert", str(checkpoint), "-o", str(tmp_path)], 2, "is a folder"),
        (["convert", str(checkpoint), "-o", str(tmp_path / "x.pth")], 2, "ends in .safetensors"),
        (["convert", ""], 2, "an argument is empty"),
        (["nonsense"], 2, "nonsense"),
    ):
        assert main.run(["models", *arguments]) == code
        assert words in one_line(capsys)
    assert not mark.exists()
    assert not store.folder().exists()


def test_convert(checkpoint: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main.run(["models", "convert", str(checkpoint), "--to", "safetensors"]) == 0
    said = capsys.readouterr()
    assert f"25 entries; they fit {LDN}" in said.out
    target = checkpoint.with_suffix(".safetensors")
    assert content_digest(read_weights(target).entries) == content_digest(made.entries())
    assert main.run(["models", "convert", str(checkpoint)]) == 2
    assert "exists already" in one_line(capsys)
    assert main.run(["models", "convert", str(checkpoint), "--overwrite"]) == 0
    capsys.readouterr()
    assert main.run(["models", "convert", str(target), "--overwrite"]) == 2
    assert "is the file itself" in one_line(capsys)
    assert main.run(["models", "add", LDN, str(target)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.ckpt", "mine.safetensors", "models"]
