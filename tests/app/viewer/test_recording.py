"""The red button: name, disk, countdown, figures, the report, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QAbstractButton, QLabel
from pytestqt.qtbot import QtBot

from app.recorder import RecordingState, RecordRequest
from app.viewer import dialogs, theme
from app.viewer.elided import Elided
from app.viewer.modes import View
from app.viewer.recording_desk import Step
from app.viewer.recording_words import Pace, hours, name_problem, next_name, report, running
from app.viewer.remembered import Remembered
from app.viewer.window import ViewerWindow
from recordings.recorder.disk import DiskError
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession, Scene

K = Qt.Key
FIGURES = {
    "armed": False, "frames": 720, "events": 9_000_000, "bytes": 84_000_000, "queued": 0, "elapsed_s": 12.0,
    "losses": {"ring frames": 0}, "stopped": "", "stalls": 0, "preroll_s": 0.0, "room": 42_000_000_000,
    "frames_with_trigger": 719, "frames_without_trigger": 1, "exposure_source": "trigger",
}  # fmt: skip
HEALTH: dict[str, Any] = {
    "state": "finished", "message": "", "elapsed_s": 12.1, "frames": 725, "events": 9_100_000, "edges": 1450,
    "first_us": 1_000_000, "until_us": 13_200_000, "losses": {"ring frames": 0}, "time_jump_count": 0,
    "event_rate_peak_hz": 2_100_000, "disk": {"bytes": 85_000_000, "stalls": 0}, "preroll_s": 0.0,
    "clock": {
        "exposure_source": "trigger", "exposure_uncertainty_us": 5.0, "residual_us": 3.2, "why_not": "",
        "frames_with_trigger": 724, "frames_without_trigger": 1, "triggers_without_frame": 0,
    },
}  # fmt: skip


@pytest.fixture
def films(remembered: Remembered, tmp_path: Path) -> Path:
    remembered.recordings = tmp_path / "films"
    (tmp_path / "films").mkdir()
    return tmp_path / "films"


@pytest.fixture
def window(films: Path, make_window: MakeWindow, fake: FakeSession) -> ViewerWindow:
    return make_window(fake)


@pytest.fixture
def ready(window: ViewerWindow, clock: Clock, qtbot: QtBot) -> Callable[[], None]:
    """The disk has been tried."""

    def wait() -> None:
        def done() -> bool:
            run(window, clock, 1)
            trial = window.recorder.desk._trial
            return trial is not None and trial.done

        qtbot.waitUntil(done)
        run(window, clock, 13)

    return wait


def tell(fake: FakeSession, **figures: Any) -> None:
    """The recorder says that it records."""
    fake.recording.state = RecordingState.RECORDING
    fake.recording.figures = {**FIGURES, **figures}


def end(fake: FakeSession, made: Path, **health: Any) -> None:
    made.mkdir()
    fake.recording.health[str(made)] = {**HEALTH, **health}
    fake.recording.state = RecordingState.OFF


def test_from_the_key_to_the_report(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot, films: Path, ready: Callable[[], None]
) -> None:
    bar, desk = window.record_bar, window.recorder.desk
    assert not bar.isVisible()
    assert (window.top.record.text(), window.top.record.isEnabled()) == ("REC", True)
    qtbot.keyClick(window, K.Key_R)
    assert bar.isVisible()
    assert bar.name.text() == "take-001"
    assert bar.name.hasFocus()
    qtbot.keyClicks(bar.name, "R2 cups")  # letters go into the name, not to the window
    assert (bar.name.text(), desk.step, window.picture.view) == ("R2 cups", Step.ASKING, View.WIPE)
    ready()
    assert fake.named("trial") == [("trial", films)]
    qtbot.keyClick(bar.name, K.Key_Return)
    run(window, clock, 2)
    request = fake.named("begin")[0][1]
    assert isinstance(request, RecordRequest)
    assert (request.folder, request.network) == (films / "R2 cups", "edi")
    assert "starting" in bar.figures.text()
    assert not window.picture._recording  # not before the recorder says so
    tell(fake, bytes=80_000_000, elapsed_s=11.0)
    run(window, clock, 13)
    tell(fake)
    run(window, clock, 13)
    assert window.picture._recording
    assert bar.figures.text().split("  ·  ") == [
        "00:12.0", "4.0 MB/s", "disk full in 2:55", "719 of 720 frames with trigger",
    ]  # fmt: skip
    assert bar.lost.text() == "·  nothing lost"
    assert window.top.record.text() == "Stop"
    tell(fake, losses={"ring frames": 3, "camera events": 0})
    run(window, clock, 13)
    assert bar.lost.text() == "·  lost: 3 ring frames"
    assert theme.ACCENT.name() in bar.lost.styleSheet()
    qtbot.keyClick(window, K.Key_R)
    assert fake.calls[-1] == ("finish",)
    run(window, clock, 13)
    assert bar.figures.text() == "writing what waits…"
    end(fake, films / "R2 cups")
    run(window, clock, 13)
    assert not window.picture._recording
    assert [line.text() for line in bar.lines] == [
        "R2 cups: 12.2 s · 725 frames · 9.10 M events · 85 MB",
        "nothing lost · event rate up to 2.1 M/s",
        "exposure: trigger ±5 µs · 724 of 725 frames with trigger · clocks agree within 3 µs",
    ]
    assert bar.replay.isEnabled()
    qtbot.keyClick(window, K.Key_Escape)
    assert not bar.isVisible()
    qtbot.keyClick(window, K.Key_R)
    assert bar.name.text() == "R2 cups-002"


def test_the_countdown_is_over_the_picture_and_can_be_taken_back(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot, ready: Callable[[], None]
) -> None:
    window.top.record.click()
    ready()
    window.record_bar.countdown.setValue(3)
    assert window.remembered.countdown_s == 3
    window.record_bar.start.click()
    run(window, clock, 2)
    assert window.picture._countdown == "3"
    run(window, clock, 63)
    assert window.picture._countdown == "2"
    assert fake.calls[-1] != ("begin",)
    window.top.record.click()
    run(window, clock, 200)
    assert (window.picture._countdown, window.recorder.desk.step) == ("", Step.IDLE)
    assert fake.named("begin") == []
    window.top.record.click()
    window.record_bar.start.click()
    run(window, clock, 175)
    assert fake.named("begin") == []
    run(window, clock, 10)
    assert len(fake.named("begin")) == 1


def test_a_disk_too_slow_is_said_before_and_takes_a_second_wish(
    window: ViewerWindow, fake: FakeSession, clock: Clock, qtbot: QtBot, ready: Callable[[], None]
) -> None:
    fake.slow_disk = "the disk of /films takes 40 MB/s, the rig gives up to 239 MB/s"
    window.top.record.click()
    ready()
    window.record_bar.start.click()
    run(window, clock, 13)
    assert fake.named("begin") == []
    assert "takes 40 MB/s" in window.record_bar.note.toolTip()
    assert window.record_bar.start.text() == "Record all the same"
    window.record_bar.start.click()
    assert len(fake.named("begin")) == 1


def test_a_place_that_cannot_be_written_to_is_said(
    window: ViewerWindow, fake: FakeSession, clock: Clock, ready: Callable[[], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fake.slow_disk = DiskError("the disk cannot be written to (Read-only file system); choose another place")
    window.top.record.click()
    ready()
    window.record_bar.start.click()
    run(window, clock, 1)
    assert "Read-only" in window.record_bar.note.toolTip()
    assert fake.named("begin") == []
    monkeypatch.setattr(dialogs, "folder", lambda *_: tmp_path / "elsewhere")
    fake.slow_disk = ""
    window.record_bar.place.click()
    assert window.remembered.recordings == tmp_path / "elsewhere"
    ready()
    window.record_bar.start.click()
    assert fake.named("begin")[0][1].folder.parent == tmp_path / "elsewhere"


def test_a_name_that_is_taken_cannot_be_recorded_over(
    window: ViewerWindow, fake: FakeSession, films: Path, clock: Clock, qtbot: QtBot
) -> None:
    (films / "cups").mkdir()
    window.top.record.click()
    window.record_bar.name.clear()
    qtbot.keyClicks(window.record_bar.name, "cups")
    assert window.record_bar.note.toolTip() == "cups is there already"
    assert not window.record_bar.start.isEnabled()
    qtbot.keyClick(window.record_bar.name, K.Key_Return)
    assert fake.named("begin") == []
    for name, why in (("a/b", "slash"), (".x", "dot"), ("  ", "give it a name")):
        assert why in name_problem(films, name)
    assert name_problem(films, "Tassen 3") == ""


def test_seconds_from_before_are_kept_from_the_start_of_a_session_on(
    films: Path, make_window: MakeWindow, fake: FakeSession, remembered: Remembered, clock: Clock
) -> None:
    remembered.preroll_s = 2.0
    window = make_window(fake, ticks=14)
    assert ("arm", 2.0, False) in fake.calls
    assert "2.0 of 2 s before the start are kept" in window.top.record.toolTip()
    window.top.record.click()
    window.record_bar.before.setValue(5)
    assert fake.named("arm")[-1] == ("arm", 5.0, True)
    assert remembered.preroll_s == 5
    window.recorder.cancel()
    assert fake.named("arm")[-1] == ("arm", 5.0, False)


def test_a_recorder_that_fails_is_reported(
    window: ViewerWindow, fake: FakeSession, clock: Clock, films: Path, ready: Callable[[], None]
) -> None:
    window.top.record.click()
    ready()
    window.record_bar.start.click()
    tell(fake)
    run(window, clock, 13)
    fake.recording.failed("killed by SIGKILL")
    run(window, clock, 13)
    lines = [line.text() for line in window.record_bar.lines]
    assert lines[:2] == ["take-001: the recorder failed", "killed by SIGKILL."]
    assert not window.record_bar.replay.isEnabled()
    assert not window.picture._recording


def test_a_full_disk_ends_it_and_stands_in_the_report(
    window: ViewerWindow, fake: FakeSession, clock: Clock, films: Path, ready: Callable[[], None]
) -> None:
    window.top.record.click()
    ready()
    window.record_bar.start.click()
    tell(fake)
    run(window, clock, 13)
    end(fake, films / "take-001", state="stopped", message="disk full (512 MB stay free there)")
    run(window, clock, 13)
    assert window.record_bar.lines[1].text().startswith("disk full (512 MB")
    assert theme.ACCENT.name() in window.record_bar.lines[1].styleSheet()


def test_replay_now_opens_what_was_recorded(
    window: ViewerWindow, fake: FakeSession, clock: Clock, films: Path, ready: Callable[[], None]
) -> None:
    window.top.record.click()
    ready()
    window.record_bar.start.click()
    window.open_source("simulated:night")  # nothing is thrown away that is being made
    assert window.source == "simulated"
    end(fake, films / "take-001")
    run(window, clock, 13)
    window.record_bar.replay.click()
    assert window.source == str(films / "take-001")
    assert not window.record_bar.isVisible()


def test_the_folder_is_named_where_no_program_shows_it(
    window: ViewerWindow, fake: FakeSession, clock: Clock, films: Path, ready: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # `openUrl` is content with having started a helper that finds none.
    monkeypatch.setattr("app.viewer.record_presenter.QDesktopServices.openUrl", lambda url: True)
    window.top.record.click()
    ready()
    window.record_bar.start.click()
    end(fake, films / "take-001")
    run(window, clock, 13)
    window.record_bar.open.click()
    assert window.picture._banner == f"The recording is {films / 'take-001'}"


def test_closing_the_window_ends_the_recording_first(
    window: ViewerWindow, fake: FakeSession, clock: Clock, films: Path, ready: Callable[[], None]
) -> None:
    window.top.record.click()
    ready()
    window.record_bar.start.click()
    tell(fake)
    run(window, clock, 13)
    status = fake.status

    def ends() -> Any:
        if fake.recording.state is RecordingState.FINISHING:
            end(fake, films / "take-001")
        return status()

    fake.status = ends  # type: ignore[method-assign]
    window.close()
    assert [c[0] for c in fake.calls if c[0] in ("finish", "stop")] == ["finish", "stop"]
    assert (films / "take-001").is_dir()


def test_a_recording_cannot_be_recorded(
    scene: Scene, clock: Clock, make_window: MakeWindow, qtbot: QtBot
) -> None:
    window = make_window(FakeSession(scene, title="cups", recording=True, clock=clock), ticks=13)
    assert not window.top.record.isEnabled()
    assert "cannot be recorded" in window.top.record.toolTip()
    qtbot.keyClick(window, K.Key_R)
    assert not window.record_bar.isVisible()


def test_published_pictures_are_neither_recorded_nor_calibrated(
    scene: Scene, clock: Clock, make_window: MakeWindow, qtbot: QtBot
) -> None:
    fake = FakeSession(scene, title="tcp://lab:5556", clock=clock)
    fake.elsewhere = True
    window = make_window(fake, source="tcp://lab:5556", ticks=13)
    assert not window.top.record.isEnabled()
    assert "record where the cameras are" in window.top.record.toolTip()
    qtbot.keyClick(window, K.Key_R)
    assert not window.record_bar.isVisible()
    qtbot.keyClick(window, K.Key_G)
    assert not window.calibration.open
    assert "calibrate where they are" in window.picture._banner
    assert window.remembered.network == ""  # what restores there need not be here


def test_the_red_frame_lies_around_the_picture(window: ViewerWindow, qtbot: QtBot) -> None:
    """Two pixels, outside of the picture, on all four sides."""
    view = window.picture

    def red() -> set[tuple[int, int]]:
        image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
        pixels = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width())
        return {(int(x), int(y)) for y, x in np.argwhere(pixels == theme.FAULT.rgb())}

    assert red() == set()
    view.set_recording(True)
    seen = view.viewport_.visible(view.panes()[0], (96, 64))
    left, top = round(seen.x), round(seen.y)
    right, bottom = round(seen.x + seen.width), round(seen.y + seen.height)
    frame = {
        (x, y)
        for x in range(left - 2, right + 2)
        for y in range(top - 2, bottom + 2)
        if not (left <= x < right and top <= y < bottom)
    }
    assert red() == frame


def test_the_figures_in_words() -> None:
    p = Pace()
    assert p.hz is None
    for k in range(40):
        p.add(k * 0.2, k * 1_000_000)
    assert p.hz == pytest.approx(5e6)
    p.add(1.0, 0)  # late news
    assert p.hz == pytest.approx(5e6)
    assert [hours(s) for s in (59, 60, 3 * 3600 + 61, 1e9)] == ["0:00", "0:01", "3:01", "more than 99 h"]
    none = {"frames_with_trigger": 0, "frames_without_trigger": 0, "exposure_source": "chunk"}
    unwired = {**FIGURES, **none, "room": None, "queued": 9e6, "preroll_s": 2.0}
    assert running(unwired, None) == ["00:14.0", "– MB/s", "720 frames", "9 MB wait for the disk"]
    loose = {**FIGURES, "exposure_source": "estimated", "frames_with_trigger": 0, "frames_without_trigger": 720}
    assert "0 of 720 frames with trigger" in running(loose, None)


def test_the_report_says_what_was_wrong() -> None:
    clock = {**HEALTH["clock"], "frames_without_trigger": 40, "triggers_without_frame": 7}
    h = {**HEALTH, "losses": {"camera frames": 12}, "time_jump_count": 2, "preroll_s": 1.5, "clock": clock}
    lines, wrong = report("/x/cups", h)
    assert wrong
    assert "1.5 s of it from before" in lines[0]
    assert lines[1].startswith("lost: 12 camera frames · 2 jumps of time")
    assert "724 of 764 frames with trigger · 7 triggers without frame" in lines[2]
    limited = {"events": {"delivered": 9, "limited_tenths_of_s": 25}}
    lines, wrong = report("/x/cups", {**HEALTH, "cameras": limited})
    assert wrong
    assert lines[1].startswith("event rate limited in the camera for 2.5 s")
    lines, wrong = report("/x/cups", {**HEALTH, "gap_count": 1})
    assert wrong
    assert lines[1].startswith("events interrupted 1 time ·")
    lines, wrong = report("/x/cups", {**HEALTH, "clock": {"problem": "sizes differ"}})
    assert wrong
    assert "sizes differ" in lines[2]
    loose = {
        **HEALTH["clock"], "exposure_source": "estimated", "exposure_uncertainty_us": 20_500.0,
        "residual_us": 0.0, "why_not": "no edges yet", "frames_with_trigger": 0, "frames_without_trigger": 725,
    }  # fmt: skip
    lines, wrong = report("/x/cups", {**HEALTH, "clock": loose})
    assert wrong
    assert lines[2] == "exposure: estimated ±20.5 ms · 0 of 725 frames with trigger · no edges yet"
    lines, wrong = report("/x/cups", {**HEALTH, "clock": {"exposure_source": "", "why_not": "no wire"}})
    assert (lines[2], wrong) == ("no exposure is known yet: no wire", True)
    lines, wrong = report("/x/cups", {**HEALTH, "clock": {"exposure_source": "", "alone": "events"}})
    assert (lines[2], wrong) == ("events alone: nothing to match", False)


def test_the_next_name_is_free(tmp_path: Path) -> None:
    assert next_name(tmp_path, "") == "take-001"
    assert next_name(tmp_path, "cups") == "cups"
    for name in ("cups", "cups-002", "cups-003"):
        (tmp_path / name).mkdir()
    assert next_name(tmp_path, "cups") == "cups-004"
    assert next_name(tmp_path, "cups-002") == "cups-004"


@pytest.mark.parametrize("width", [720, 900, 1500])
def test_nothing_of_the_form_is_cut_off(window: ViewerWindow, qtbot: QtBot, width: int) -> None:
    window.resize(width, 480)
    qtbot.keyClick(window, K.Key_R)
    window.resize(1600, 480)
    window.resize(width, 480)
    qtbot.wait(50)
    bar = window.record_bar
    words = [w for w in bar.currentWidget().findChildren(QLabel) if not isinstance(w, Elided)]
    words += bar.currentWidget().findChildren(QAbstractButton)
    assert len(words) >= 6
    assert [w.text() for w in words if w.width() < w.sizeHint().width()] == []
    assert bar.note.width() >= 100
    lines = {w.mapTo(bar, w.rect().center()).y() for w in words}
    assert (max(lines) - min(lines) > 15) == (width < 1500), "one line where there is room for it"


def test_lines_of_the_report_end_where_the_buttons_begin(window: ViewerWindow, qtbot: QtBot) -> None:
    window.resize(720, 480)
    long = "exposure: trigger ±3 µs · 75 of 75 frames with trigger · clocks agree within 1 µs, and so on and on"
    window.record_bar.conclude(["take-001", "nothing lost", long], troubled=False, there=True)
    qtbot.wait(50)
    last = window.record_bar.lines[2]
    assert last.text().endswith("…")
    assert last.toolTip() == long
    assert last.geometry().right() < window.record_bar.open.geometry().left()
