"""A second signal does not take away what the first one kept: the whole program, its workers, a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.headless import SHEET, SUMMARY, VIDEO
from tests.app.cli.test_record import RIG, ROOT

KEPT = {VIDEO, SHEET, SUMMARY}
PROGRAM = "import sys; from app.cli.main import main; sys.exit(main())"
SEEN = (
    "import app.headless as h\n"
    "take = h._Watch._take\n"
    "def told(self, picture):\n"
    "    take(self, picture)\n"
    "    if self.run.pictures <= 3: print('picture', flush=True)\n"
    "h._Watch._take = told\n"
)


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def headless(out: Path) -> list[str]:
    words = ["live", RIG, "-n", "edi", "--headless", "-o", str(out)]
    return [sys.executable, "-c", SEEN + PROGRAM, *words]


def send(process: subprocess.Popen[str], signals: Sequence[tuple[float, int]]) -> None:
    for after_s, number in signals:
        time.sleep(after_s)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "signals",
    [
        [(0.0, signal.SIGHUP), (0.02, signal.SIGHUP)],
        [(0.0, signal.SIGTERM), (0.02, signal.SIGTERM), (0.3, signal.SIGHUP)],
        [(0.0, signal.SIGINT), (0.3, signal.SIGINT), (0.3, signal.SIGTERM)],
    ],
    ids=["hangup", "terminate", "impatience"],
)
def test_what_a_headless_run_gave_stays(tmp_path: Path, signals: list[tuple[float, int]]) -> None:
    process = subprocess.Popen(
        headless(tmp_path / "run"), cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "picture\n"
    send(process, signals)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signals[0][1], errors
    assert "Traceback" not in errors
    assert {p.name for p in (tmp_path / "run").iterdir()} == KEPT
    assert json.loads((tmp_path / "run" / SUMMARY).read_text())["interrupted"] is True


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_at_the_end_of_the_seconds_takes_nothing_away(tmp_path: Path, number: int) -> None:
    """It comes before the summary is written."""
    at_the_end = (
        "import os, app.headless as h\n"
        "def report(*a, told=h.residual_report):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    return told(*a)\n"
        "h.residual_report = report\n"
    )
    words = ["live", RIG, "-n", "edi", "--headless", "--seconds", "0.2", "-o", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", at_the_end + PROGRAM, *words], cwd=ROOT, env=environment(tmp_path),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 128 + number, done.stderr
    assert "Traceback" not in done.stderr
    assert {p.name for p in (tmp_path / "run").iterdir()} == KEPT
    assert json.loads((tmp_path / "run" / SUMMARY).read_text())["interrupted"] is False


@pytest.mark.timeout(300)
def test_what_a_headless_run_gave_stays_when_its_terminal_is_closed(tmp_path: Path) -> None:
    """Nothing can be written there any more either."""
    master, slave = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        headless(tmp_path / "run"), cwd=ROOT, env=environment(tmp_path), stdin=slave, stdout=slave,
        stderr=slave, text=True, preexec_fn=own_terminal,
    )  # fmt: skip
    os.close(slave)
    said = b""
    while said.count(b"picture") < 3:
        said += os.read(master, 4096)
    os.close(master)  # which sends the first hangup
    send(process, [(0.02, signal.SIGHUP)])
    assert process.wait(timeout=120) == 128 + signal.SIGHUP, said
    assert {p.name for p in (tmp_path / "run").iterdir()} == KEPT
