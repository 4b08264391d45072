"""The guided calibration: what it shows of a command that it only watches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from app.viewer.calibration_desk import CalibrationDesk
from app.viewer.calibration_page import SKIPPED, CalibrationPage
from app.viewer.calibration_run import CalibrationWish, arguments
from app.viewer.recording_desk import Step
from app.viewer.target_window import TargetWindow
from app.viewer.window import ViewerWindow
from calibration.geometry.targets import BlinkingBoard, Board
from recordings.recording import OpenOptions
from tests.app.viewer.conftest import Clock, MakeWindow
from tests.app.viewer.fake_session import FakeSession

STORY = [
    {"step": "cameras", "what": "opening", "share": 0.0},
    {"step": "cameras", "what": "both", "share": 1.0,
     "cameras": ["events 288×192, simulated", "frames 1152×768"]},
    {"step": "geometry", "what": "3 views", "share": 0.5, "coverage": [[4, 0, 0], [9, 30, 1], [0, 0, 2]],
     "blur_px": 0.6, "views": 3},
    {"step": "time", "what": "reading", "share": 0.5},
    {"step": "check", "what": "comparing edges", "share": 0.5},
]  # fmt: skip
DONE = {
    "step": "report", "what": "done", "share": 1.0, "verdict": "pass", "report": "/x/rig.report.html",
    "rig": "/x/rig.toml", "summary": ["geometry: 0.03 px", "time: ±2 µs"], "problems": [],
}  # fmt: skip


def script(tmp_path: Path, lines: list[dict[str, object]], end: str = "") -> tuple[str, ...]:
    """A program that says this and ends."""
    path = tmp_path / "command.py"
    said = "\n".join(json.dumps(x) for x in lines)
    note = f"open({str(tmp_path / 'args')!r}, 'w').write(repr(sys.argv))"
    path.write_text(f"import sys, time\n{note}\nprint({said!r}, flush=True)\n{end}")
    return (sys.executable, str(path))


@pytest.fixture
def page(qtbot: QtBot) -> CalibrationPage:
    p = CalibrationPage()
    qtbot.addWidget(p)
    p.resize(1100, 700)
    p.show()
    return p


def test_steps_follow_what_is_told(page: CalibrationPage) -> None:
    page.begin()
    for m in STORY[:3]:
        page.tell(m)
    assert page.state("cameras") == "done"
    assert "288×192" in page.whats["cameras"].text()
    assert page.state("geometry") == "active"
    assert page.feedback.isVisible()
    assert page.coverage.counts[1][1] == 30
    assert page.blur.text == "blur 0.60 px · sharp"
    assert "blinking board" in page.advice.text()
    assert 200 < page.bar.value() < 400
    page.blur.set_blur(2.4)
    assert "too blurred" in page.blur.text
    for m in STORY[3:]:
        page.tell(m)
    states = [page.state(s) for s in ("geometry", "time", "check", "report")]
    assert states == ["done", "done", "active", "waiting"]


def test_a_result_offers_what_comes_next(page: CalibrationPage) -> None:
    page.begin()
    for m in [*STORY, DONE]:
        page.tell(m)
    page.finish(DONE, 0, "")
    assert page.state("check") == "done"
    assert "calibrated" in page.advice.text()
    assert "0.03 px" in page.result.text()
    assert page.report.isVisible()
    assert page.use.isVisible()
    assert page.start.text() == "Again"


def test_steps_that_were_left_out_are_not_done(page: CalibrationPage) -> None:
    page.begin()
    for m in (STORY[1], STORY[3], DONE):
        page.tell(m)
    for verdict in ("pass", "warn"):
        page.finish({**DONE, "verdict": verdict}, 0, "")
        for step in ("geometry", "check"):
            assert page.state(step) == "skipped"
            assert page.whats[step].text() == SKIPPED
        assert page.state("time") != "skipped"


def test_a_failure_offers_the_report_and_no_rig(page: CalibrationPage) -> None:
    page.begin()
    failed = {**DONE, "verdict": "fail", "rig": "", "problems": ["too few views: upper left is missing"]}
    page.tell(failed)
    page.finish(failed, 1, "not calibrated")
    assert page.state("report") == "failed"
    assert "upper left" in page.result.text()
    assert page.report.isVisible()
    assert not page.use.isVisible()


@pytest.mark.parametrize(("verdict", "steps", "states"), [
    ("pass", {}, ["done", "done", "done", "done", "done"]),
    ("warn", {"check": "warn"}, ["done", "done", "done", "warned", "warned"]),
    ("fail", {"geometry": "fail", "time": "warn"}, ["done", "failed", "warned", "done", "failed"]),
])  # fmt: skip
def test_each_step_is_marked_by_what_was_found_in_it(
    page: CalibrationPage, verdict: str, steps: dict[str, str], states: list[str]
) -> None:
    page.begin()
    ended = {**DONE, "verdict": verdict, "steps": steps, "problems": ["too few views"] if steps else []}
    for m in [*STORY, ended]:
        page.tell(m)
    page.finish(ended, int(verdict == "fail"), "")
    assert [page.state(s) for s in ("cameras", "geometry", "time", "check", "report")] == states


def test_an_early_end_says_why(page: CalibrationPage) -> None:
    page.begin()
    page.tell(STORY[2])
    page.finish(STORY[2], 1, "The event camera is unplugged.")
    assert page.state("geometry") == "failed"
    assert "unplugged" in page.result.text()
    assert not page.report.isVisible()


def test_key_g_opens_it_and_the_command_is_watched(window: ViewerWindow, qtbot: QtBot, tmp_path: Path) -> None:
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml")
    desk.run.program = script(tmp_path, [*STORY, DONE])
    qtbot.keyClick(window, Qt.Key.Key_G)
    assert desk.open
    assert window.player is not None, "nothing is taken away before the start"
    desk.page.start.click()
    assert window.player is None, "the cameras belong to the command"
    assert desk.page.stop.text() == "Stop"
    qtbot.waitUntil(lambda: desk.page.report.isVisible(), timeout=20_000)
    assert desk.page.use.isVisible()
    said = (tmp_path / "args").read_text()
    assert "'rig', 'simulated'" in said
    assert str(tmp_path / "rig.toml") in said
    qtbot.keyClick(window, Qt.Key.Key_G)
    assert not desk.open
    assert window.player is not None, "the source comes back"


def test_stopping_ends_the_command(window: ViewerWindow, qtbot: QtBot, tmp_path: Path) -> None:
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml")
    desk.run.program = script(tmp_path, STORY[:3], "time.sleep(60)")
    desk.show()
    desk.begin()
    qtbot.waitUntil(lambda: desk.page.state("geometry") == "active", timeout=20_000)
    desk.page.stop.click()
    assert desk.page.advice.text() == "Stopping…"
    assert not desk.page.stop.isVisible()
    qtbot.waitUntil(lambda: not desk.run.running, timeout=20_000)
    assert desk.open
    assert desk.page.state("geometry") == "waiting"
    assert window.notice.text() == "The calibration was stopped; no rig file was written."
    desk.page.stop.click()
    assert not desk.open


def test_a_command_that_fails_gives_its_own_line(window: ViewerWindow, qtbot: QtBot, tmp_path: Path) -> None:
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml")
    end = "print('halfmirror: the wire is off', file=sys.stderr)\nsys.exit(1)"
    desk.run.program = script(tmp_path, STORY[:1], end)
    desk.show()
    desk.begin()
    qtbot.waitUntil(lambda: desk.page.result.isVisible(), timeout=20_000)
    assert "wire is off" in desk.page.result.text()


def test_a_program_that_is_not_there(window: ViewerWindow, qtbot: QtBot, tmp_path: Path) -> None:
    desk = window.calibration
    desk.run.program = (str(tmp_path / "nothing"),)
    desk.show()
    desk.begin()
    qtbot.waitUntil(lambda: desk.page.result.isVisible(), timeout=20_000)
    assert "could not be started" in desk.page.result.text()


def test_a_recording_is_calibrated_from() -> None:
    assert arguments("x.aedat4", Path("r.toml"), True)[:4] == ["calibrate", "rig", "--from", "x.aedat4"]


def test_what_was_stated_of_a_recording_reaches_its_calibration(
    make_window: MakeWindow, tape: FakeSession, qtbot: QtBot, tmp_path: Path
) -> None:
    cups = tmp_path / "cups.aedat4"
    cups.touch()
    wish = CalibrationWish(tmp_path / "rig.toml", stated=OpenOptions(10.0, 8000, (640, 480)), stated_of=cups)
    assert wish.options_for("other.aedat4") == ()
    window = make_window(tape, source=str(cups))
    desk = window.calibration
    desk.wish = wish
    desk.run.program = script(tmp_path, [*STORY, DONE])
    desk.show()
    desk.begin()
    qtbot.waitUntil(lambda: desk.page.report.isVisible(), timeout=20_000)
    assert "'--exposure-us', '8000', '--geometry', '640x480'" in (tmp_path / "args").read_text()


def begun(window: ViewerWindow, qtbot: QtBot, tmp_path: Path, end: str) -> CalibrationDesk:
    """A calibration that measures for a minute; `end`: what its command does on SIGTERM."""
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml")
    desk.run.program = script(
        tmp_path, STORY[:3], end + 'print(\'{"step": "time"}\', flush=True)\ntime.sleep(60)'
    )
    desk.show()
    desk.begin()
    qtbot.waitUntil(lambda: desk.page.state("time") == "active", timeout=20_000)
    return desk


def test_stopping_does_not_hold_the_window_up(
    window: ViewerWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real command takes up to a second to end, and its cameras must not be opened before.
    end = "import signal\nsignal.signal(signal.SIGTERM, lambda *a: (time.sleep(0.7), sys.exit(143)))\n"
    desk = begun(window, qtbot, tmp_path, end)
    desk.stop()
    assert desk.run.running, "it has not been waited for"
    desk.stop()
    window.open_source("simulated:davis")
    assert window.player is None, "the cameras are not free yet"
    qtbot.waitUntil(lambda: not desk.run.running, timeout=20_000)
    assert "stopped" in window.notice.text()


def test_closing_leaves_the_command_time_to_tidy_up(window: ViewerWindow, qtbot: QtBot, tmp_path: Path) -> None:
    """A camera that does not close takes it two seconds, gigabytes that are deleted some more."""
    end = (
        "import signal\nfrom pathlib import Path\n"
        f"def tidy(*a):\n    time.sleep(2.5); Path({str(tmp_path / 'tidied')!r}).touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, tidy)\n"
    )
    begun(window, qtbot, tmp_path, end).shut()
    assert (tmp_path / "tidied").exists()


def test_a_stop_that_comes_too_late_does_not_deny_the_result(
    window: ViewerWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    done = json.dumps(DONE)
    end = (
        f"import signal\nsignal.signal(signal.SIGTERM, lambda *a: (print({done!r}, flush=True), sys.exit(0)))\n"
    )
    desk = begun(window, qtbot, tmp_path, end)
    desk.stop()
    qtbot.waitUntil(lambda: desk.page.use.isVisible(), timeout=20_000)
    assert "stopped" not in window.notice.text()


def test_what_is_being_recorded_is_not_ended_by_a_start(
    window: ViewerWindow, fake: FakeSession, tmp_path: Path, clock: Clock
) -> None:
    desk = window.calibration
    desk.show()
    window.recorder.desk.toggle(tmp_path, "cups", "edi")
    window.recorder.desk.step = Step.RUNNING
    desk.page.start.click()
    assert not desk.run.running
    assert window.player is not None
    assert "being recorded" in window.notice.text()
    window.recorder.desk.step = Step.IDLE


def test_a_place_that_cannot_be_written_is_told_before_the_cameras_are_given_away(
    window: ViewerWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "file" / "rig.toml")
    desk.show()
    assert str(tmp_path / "file" / "rig.toml") in desk.page.place.whole
    desk.page.start.click()
    assert not desk.run.running
    assert window.player is not None
    assert desk.page.result.text().endswith("choose another place (Rig file…).")
    monkeypatch.setattr("app.viewer.dialogs.rig_to_save", lambda parent, start: tmp_path / "mine.toml")
    assert desk.page.elsewhere.isVisible()
    desk.page.elsewhere.click()
    assert str(tmp_path / "mine.toml") in desk.page.place.whole
    assert desk.output == tmp_path / "mine.toml"


def test_a_rig_file_named_from_the_working_folder_is_named_whole(
    window: ViewerWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = window.calibration
    desk.wish = CalibrationWish(Path("rig.toml"))
    desk.run.program = script(tmp_path, [*STORY, DONE])
    desk.show()
    desk.begin()
    qtbot.waitUntil(lambda: desk.page.report.isVisible(), timeout=20_000)
    assert f"'-o', {str(tmp_path / 'rig.toml')!r}" in (tmp_path / "args").read_text()


def test_options_of_the_command_line_reach_the_command_and_the_target(
    window: ViewerWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml", ("--board", "9x6"), Board(9, 6, 20.0))
    desk.run.program = script(tmp_path, [*STORY, DONE])
    desk.show()
    desk.show_target()
    assert desk._target is not None
    assert desk._target.target.board == Board(9, 6, 20.0)
    desk.begin()
    qtbot.waitUntil(lambda: desk.page.report.isVisible(), timeout=20_000)
    assert "'--board', '9x6'" in (tmp_path / "args").read_text()


def test_a_recording_is_calibrated_once_more_and_opened_with_its_rig(
    make_window: MakeWindow, tape: FakeSession, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cups = tmp_path / "cups.aedat4"
    cups.touch()
    window = make_window(tape, source=str(cups))
    desk = window.calibration
    desk.wish = CalibrationWish(tmp_path / "rig.toml")
    rig = tmp_path / "rig.toml"
    desk.run.program = script(tmp_path, [*STORY, {**DONE, "opens": "recording", "rig": str(rig)}])
    desk.show()
    for _ in range(2):
        (tmp_path / "args").unlink(missing_ok=True)
        desk.page.start.click()
        qtbot.waitUntil(lambda: desk.page.use.isVisible(), timeout=20_000)
        assert f"'--from', {str(cups)!r}" in (tmp_path / "args").read_text()
    seen: dict[str, object] = {}

    def factory(source: object, network: str, *, rig: Path | None = None) -> FakeSession:
        seen.update(source=str(source), rig=rig)
        return tape

    window.factory = factory  # type: ignore[assignment]
    rig.touch()
    desk.page.use.click()
    assert seen == {"source": str(cups), "rig": rig}
    assert window.picture._banner == f"Opened with the rig file {rig}"
    window.open_source("simulated")
    assert seen["rig"] is None
    monkeypatch.chdir(tmp_path)
    window.open_source("cups.aedat4")
    assert seen == {"source": "cups.aedat4", "rig": rig}, "the same recording"
    rig.unlink()
    window.open_source("cups.aedat4")
    assert seen["rig"] is None


def test_nothing_is_offered_that_cannot_be_opened(page: CalibrationPage) -> None:
    page.begin()
    page.finish({**DONE, "opens": ""}, 0, "")
    assert page.report.isVisible()
    assert not page.use.isVisible()


def test_the_report_is_named_where_no_browser_shows_it(
    window: ViewerWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `openUrl` is content with having started a helper that finds none.
    monkeypatch.setattr("app.viewer.calibration_desk.QDesktopServices.openUrl", lambda url: True)
    window.calibration.show()
    window.calibration._last = DONE
    window.calibration.open_report()
    assert window.notice.text() == "The report is /x/rig.report.html"


def test_what_is_to_be_done_is_said_while_it_is_recorded_and_not_later(page: CalibrationPage) -> None:
    page.begin()
    page.tell({"step": "cameras", "what": "recording, 3 of 40 s", "share": 0.1, "do": "Show the board."})
    assert page.advice.text() == "Show the board."
    for m in STORY[2:]:
        page.tell(m)
        assert not page.advice.text().startswith(("Show", "Move", "Hold"))


def test_the_target_blinks(qtbot: QtBot) -> None:
    w = TargetWindow(BlinkingBoard(phase_ms=80.0))
    qtbot.addWidget(w)
    w.resize(800, 600)
    w.show()
    seen = set()

    def look() -> bool:
        image = w.grab().toImage()
        seen.add(image.pixelColor(2, 2).lightness() > 128)
        return len(seen) == 2

    qtbot.waitUntil(look, timeout=5_000)
    still = TargetWindow(BlinkingBoard(phase_ms=80.0), still=True)
    qtbot.addWidget(still)
    still.resize(800, 600)
    still.show()
    qtbot.wait(250)
    assert still.phase == 0
    qtbot.keyClick(still, Qt.Key.Key_Escape)
    assert not still.isVisible()


def test_the_target_leaves_the_steps_on_screen_where_there_are_two_screens(tmp_path: Path) -> None:
    screens = [
        {"name": f"screen {k}", "x": 1280 * k, "y": 0, "width": 1280, "height": 800, "logicalDpi": 96,
         "logicalBaseDpi": 96, "dpr": 1}
        for k in range(2)
    ]  # fmt: skip
    (tmp_path / "screens.json").write_text(json.dumps({"windowFrameMargins": False, "screens": screens}))
    code = """
from PySide6.QtWidgets import QApplication, QWidget
from app.viewer.target_window import TargetWindow
from calibration.geometry.targets import BlinkingBoard
app = QApplication([])
window = QWidget()
for x in (10, 1290):
    window.setGeometry(x, 10, 800, 600)
    window.show()
    app.processEvents()
    target = TargetWindow(BlinkingBoard())
    target.show_beside(window)
    app.processEvents()
    print(window.screen().name(), target.screen().name(), target.geometry().x(), target.width())
"""
    environment = {**os.environ, "QT_QPA_PLATFORM": f"offscreen:configfile={tmp_path / 'screens.json'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["screen 0 screen 1 1280 1280", "screen 1 screen 0 0 1280"], done.stderr


def test_no_word_of_a_button_is_cut_in_the_smallest_window(window: ViewerWindow, qtbot: QtBot) -> None:
    window.resize(window.minimumSize())
    window.calibration.show()
    page = window.calibration.page
    page.begin()
    long = f"looking for the target in /{'long folder/' * 12}rig.toml"
    page.tell({**STORY[2], "what": long})
    assert page.whats["geometry"].toolTip() == long
    for finished in (DONE, {**DONE, "opens": ""}, {}):
        page.finish(
            {**finished, "summary": ["a figure " * 12] * 5} if finished else {}, int(not finished), "why"
        )
        qtbot.wait(10)
        assert window.size() == window.minimumSize()
        for b in page.findChildren(QPushButton):
            if b.isVisible():
                words = b.fontMetrics().horizontalAdvance(b.text())
                assert b.width() >= words + 10, b.text()
                assert page.rect().contains(b.geometry()), b.text()
