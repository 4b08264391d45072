"""`halfmirror record`: a folder that opens, Ctrl+C, and what it refuses in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.cli import main, record
from app.cli.program import execute
from app.recording import RecordResult
from recordings.open import open_recording

ROOT = Path(__file__).resolve().parents[3]
# A small DAVIS that is prepared in a moment.
SIZES = "image_width=64&image_height=48&event_width=64&event_height=48"
RIG = f"simulated:davis?{SIZES}&fine=2&loop_s=0.6&cache=false"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from app.cli.main import main; sys.exit(main())", "record", RIG,
         *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_so_many_frames_and_ctrl_c(tmp_path: Path) -> None:
    out = tmp_path / "eight"
    program = start("-o", str(out), "--frames", "8")
    said, errors = program.communicate(timeout=200)
    assert program.returncode == 0, errors
    health = json.loads((out / "health.json").read_text())
    with open_recording(out) as recording:
        assert recording.info.frames == 8
        assert recording.info.event_size == (64, 48)
    assert str(out) in said + errors
    assert health

    endless = tmp_path / "endless"
    program = start("-o", str(endless))
    until = time.monotonic() + 120
    while not (endless / "health.json").exists():
        assert time.monotonic() < until
        assert program.poll() is None, program.communicate()[1]
        time.sleep(0.1)
    time.sleep(1.0)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130, errors
    assert "Traceback" not in errors
    with open_recording(endless) as recording:
        assert recording.info.frames is None or recording.info.frames > 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--frames", "5", "--seconds", "2"], "not both"),
        (["--frames", "0"], "--frames 0"),
        (["--seconds", "-1"], "seconds"),
        (["--sequences", "0"], "--sequences 0"),
        (["--split", "validation"], "train nor test"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(
    arguments: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["record", RIG, "-o", str(tmp_path / "r"), *arguments]) == 2
    said = capsys.readouterr().err
    assert what in said
    assert len([line for line in said.splitlines() if line.startswith("halfmirror:")]) == 1
    assert not (tmp_path / "r").exists()


def test_an_existing_target_and_an_unknown_rig_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("not a recording")
    assert main.run(["record", RIG, "-o", str(tmp_path), "--frames", "3"]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert main.run(["record", "simulated:moon", "-o", str(tmp_path / "r")]) == 2
    assert "moon" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_with_a_pre_roll_enter_begins_and_the_seconds_before_are_there(tmp_path: Path) -> None:
    out = tmp_path / "two"
    program = start("-o", str(out), "--pre-roll", "1", "--seconds", "2", "--sequences", "2")
    assert program.stdin is not None
    assert program.stderr is not None
    for _ in range(2):
        while "armed; press Enter for the start of sequence" not in (line := program.stderr.readline()):
            assert line, "it ended"
        time.sleep(2.0)
        program.stdin.write("\n")
        program.stdin.flush()
    _, errors = program.communicate(timeout=100)
    assert program.returncode == 0, errors
    for name in ("001", "002"):
        health = json.loads((out / name / "health.json").read_text())
        assert health["state"] == "finished"
        assert 0.8 < health["preroll_s"] <= 1.0
        assert health["elapsed_s"] < 1.8  # of two seconds
        assert 1.9e6 < health["until_us"] - health["first_us"] < 2.3e6
        with open_recording(out / name) as recording:
            assert recording.info.frames == health["frames"] > 30


def test_a_pre_roll_without_a_keyboard_or_as_long_as_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = ["record", RIG, "-o", str(tmp_path / "r"), "--pre-roll", "3", "--seconds", "2"]
    assert main.run(longer) == 2
    assert "the pre-roll is part of it" in capsys.readouterr().err
    program = start("-o", str(tmp_path / "r"), "--pre-roll", "1")
    _, errors = program.communicate(timeout=100)  # closes its input
    assert program.returncode == 2, errors
    assert "nothing comes on standard input" in errors
    assert not (tmp_path / "r").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.timeout(400)
def test_files_written_meanwhile_are_those_exported_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, report included; of every sequence; and only what the recording itself has."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "takes"
    arguments = ("--frames", "8", "--sequences", "2", "--split", "test", "--also-msrbd")
    program = start("-o", str(out), *arguments)
    said, errors = program.communicate(timeout=200)
    assert program.returncode == 0, errors
    assert said.count("read back and equal: checksum") == 2
    for name in ("001", "002"):
        later = tmp_path / f"later-{name}"
        command = ["export", str(out / name), "--to", "msrbd", "-o", str(later), "--split", "test"]
        assert execute(command) == 0
        live = contents(out / f"{name}-msrbd")
        assert sum(k.startswith("test/") for k in live) == 7
        assert live == contents(later)
    (tmp_path / "x-msrbd").mkdir()
    program = start("-o", str(tmp_path / "x"), "--frames", "8", "--also-msrbd")
    _, errors = program.communicate(timeout=200)
    assert program.returncode == 2
    assert "x-msrbd exists already" in errors


CLOCK = {
    "exposure_source": "trigger", "exposure_uncertainty_us": 5.0, "residual_us": 3.2, "why_not": "",
    "frames_with_trigger": 8, "frames_without_trigger": 0, "triggers_without_frame": 0,
}  # fmt: skip
HEALTH: dict[str, Any] = {
    "state": "finished", "frames": 8, "events": 5000, "disk": {"bytes": 40_000, "stalls": 0}, "elapsed_s": 1.0,
    "message": "", "clock": CLOCK, "losses": {"ring frames": 0}, "gap_count": 0, "frame_gap_count": 0,
    "first_us": None, "until_us": None, "time_jump_count": 0, "event_rate_peak_hz": 9000,
}  # fmt: skip


def test_a_sound_recording_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    record._print(RecordResult({"cups": HEALTH}))
    assert capsys.readouterr().out.splitlines() == [
        "cups: all well",
        "  cups: 1.0 s · 8 frames · 0.01 M events · 0 MB",
        "  nothing lost · event rate up to 0.0 M/s",
        "  exposure: trigger ±5 µs · 8 of 8 frames with trigger · clocks agree within 3 µs",
    ]


@pytest.mark.parametrize(("gaps", "says"), [(0, "nothing lost"), (2, "events interrupted 2 times")])
def test_a_camera_that_was_away_is_told_at_the_end(
    gaps: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can count what it did not send, so no loss is counted; "nothing lost" would be wrong."""
    record._print(RecordResult({"cups": {**HEALTH, "gap_count": gaps}}))
    said = capsys.readouterr().out
    assert says in said
    assert ("nothing lost" in said) == (not gaps)
    assert ("NOT all well" in said) == bool(gaps)


def test_a_camera_that_was_gone_at_the_end_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    record._print(RecordResult({"cups": {**HEALTH, "ended_early": {"frames": 3599.96}}}))
    said = capsys.readouterr().out
    assert said.startswith("cups: NOT all well\n")
    assert "  frames stopped 3600.0 s before the end · " in said
    assert "nothing lost" not in said


def test_what_was_lost_is_called_so_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A count beside a place ("7000 camera events") could as well be what was recorded."""
    lost = {**HEALTH, "losses": {"camera events": 7000, "ring frames": 2}, "gap_count": 3}
    record._print(RecordResult({"cups": lost}))
    said = capsys.readouterr().out
    assert said.startswith("cups: NOT all well\n")
    assert "  lost: 7000 camera events, 2 ring frames · events interrupted 3 times · " in said


@pytest.mark.parametrize(
    ("clock", "says"),
    [
        ({**CLOCK, "exposure_source": "", "why_not": "2 ways to match"}, "no exposure is known yet: 2 ways"),
        ({"problem": "frames are 64×48"}, "frames and events were not matched: frames are 64×48"),
        (
            {**CLOCK, "exposure_source": "estimated", "exposure_uncertainty_us": 20_500.0, "residual_us": 0.0,
             "why_not": "no edges yet", "frames_with_trigger": 0, "frames_without_trigger": 8},
            "exposure: estimated ±20.5 ms · 0 of 8 frames with trigger · no edges yet",
        ),
    ],
)  # fmt: skip
def test_a_wire_that_does_not_work_is_said_at_the_end(
    clock: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record._print(RecordResult({"cups": {**HEALTH, "clock": clock}}))
    said = capsys.readouterr().out
    assert says in said
    assert said.startswith("cups: NOT all well\n")


def test_the_live_line_says_how_many_frames_have_their_trigger() -> None:
    figures = {
        "elapsed_s": 2.0, "frames": 60, "events": 0, "bytes": 0, "queued": 0, "losses": {}, "sequences": 1,
        "sequence": 1, "frames_with_trigger": 0, "frames_without_trigger": 58,
    }  # fmt: skip
    assert "60 frames · 0 of 58 with trigger · " in record.Line(None, None).text(figures, "")
    assert "trigger" not in record.Line(None, None).text({**figures, "frames_without_trigger": 0}, "")
