"""Files that hide our packages are named in a sentence, before anything fails over them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app import hindrance
from app.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_what_hides_a_package(tmp_path: Path) -> None:
    (tmp_path / "capture.py").touch()
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "__init__.py").touch()
    (tmp_path / "recordings").mkdir()  # a folder of data
    found = dict(hindrance.namesakes(folders=[str(tmp_path)]))
    assert found == {"capture": str(tmp_path / "capture.py"), "inference": str(tmp_path / "inference")}
    assert not list(hindrance.namesakes(folders=[str(ROOT)]))
    assert hindrance.hindrance() is None
    assert all((ROOT / name / "__init__.py").exists() for name in hindrance.PACKAGES)


def test_programs_and_commands_are_told(tmp_path: Path) -> None:
    """A program called app.py; then the command line, where another package is called inference."""
    program, others = tmp_path / "app.py", tmp_path / "site-packages" / "inference"
    others.mkdir(parents=True)
    (others / "__init__.py").write_text("raise SystemExit('imported')")
    program.write_text(
        f"""
import sys
try:
    import halfmirror
except ImportError as e:
    print(e)
del sys.path[0]
from app.cli import main
sys.path.insert(0, {str(others.parent)!r})
print(main.run(["--help"]))
"""
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout == f"{program} hides Halfmirror's package 'app': rename it\n1\n"
    own = "give Halfmirror a virtual environment of its own"
    assert done.stderr == f"halfmirror: {others} hides Halfmirror's package 'inference': {own}\n"


def test_the_command_line_leaves_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "hindrance", lambda: "something is in the way")
    assert main.run(["doctor"]) == 1
    assert capsys.readouterr().err == "halfmirror: something is in the way\n"
