from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QGuiApplication
from pytestqt.qtbot import QtBot

from app.session import SessionStatus, WorkerStatus
from app.viewer import theme
from app.viewer.status_strip import StatusStrip, contrast_text, losses_text, losses_tip, short_place
from app.viewer.worker_dots import WorkerDots, colour_of, describe
from capture.camera import CameraState
from tests.app.viewer.fake_session import FakeSession

DETAIL = "camera lost: Blackfly S 20123456 does not answer\nPlug it in again."
WORKERS = (
    WorkerStatus("events", CameraState.RUNNING, fps=25.0, pid=7),
    WorkerStatus("frames", CameraState.FAULTED, DETAIL, restarts=5),
    WorkerStatus("restore", CameraState.STARTING, "compiling"),
)


def status(n: int = 812, **changes: object) -> SessionStatus:
    base = SessionStatus(
        fps=24.9, stage_fps={"frames": 25.0, "restore": 24.9}, latency_p50_ms=31.2, latency_p95_ms=44.4,
        items_in=n, items_out=n, waiting=0, losses={"ring events": 0, "superseded (viewer)": 0},
        exposure_source="trigger", uncertainty_us=5.0, workers=WORKERS,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def strip(qtbot: QtBot) -> StatusStrip:
    s = StatusStrip()
    qtbot.addWidget(s)
    s.resize(1280, 30)
    s.show()
    return s


def test_losses_are_grey_while_zero_and_amber_after(strip: StatusStrip) -> None:
    strip.set_status(status())
    assert strip.losses.whole == "in 812 = out 812 + dropped 0"
    assert theme.QUIET.name() in strip.losses.styleSheet()
    lost = status(813, items_out=810, waiting=1, losses={"ring events": 0, "superseded (viewer)": 2})
    strip.set_status(lost)
    assert strip.losses.whole == "in 812 = out 810 + dropped 2 (viewer)"
    assert theme.ACCENT.name() in strip.losses.styleSheet()
    assert "813 exposures came in, 1 of them under way" in strip.losses.toolTip()


def test_every_place_is_named() -> None:
    losses = {"camera frames": 3, "superseded (viewer)": 4, "refused: no trigger edge": 1, "refused: late": 1}
    text, lost = losses_text(status(20, items_out=11, losses=losses))
    assert text == "in 20 = out 11 + dropped 9 (camera frames 3, viewer 4, refused 2)"
    assert lost
    # Events lost in a ring are no exposures, but they are a loss.
    assert losses_text(status(losses={"ring events": 9})) == (
        "in 812 = out 812 + dropped 0 (ring events 9)",
        True,
    )
    assert short_place("camera frames") == "camera frames"
    cameras = {"events": {"limited_tenths_of_s": 13, "overflows": 0}, "frames": {"delivered": 812}}
    s = status(losses={"ring events": 9}, cameras=cameras)
    assert losses_text(s) == ("in 812 = out 812 + dropped 0 (ring events 9, limited 1.3 s)", True)
    assert losses_text(status(cameras=cameras))[1], "what the camera's limiter threw away is a loss"
    assert "camera of events, limited tenths of s: 13\ncamera of frames, delivered: 812" in losses_tip(s)


def test_age_is_amber_when_stale_and_held_is_no_age(strip: StatusStrip) -> None:
    strip.set_age(99.0, still="")
    assert (strip.age.text(), strip.age.colour) == ("age 99 ms", theme.QUIET)
    strip.set_age(1234.0, still="")
    assert (strip.age.text(), strip.age.colour) == ("age 1.2 s", theme.ACCENT)
    strip.set_age(1234.0, still="held")
    assert (strip.age.text(), strip.age.colour) == ("held", theme.QUIET)


def test_percentiles_and_stages_are_in_the_tooltips(strip: StatusStrip) -> None:
    strip.set_status(status(), paint_hz=59.9)
    assert strip.speed.text() == "24.9 fps"
    assert "restore: 24.9 a second" in strip.speed.toolTip()
    assert "painted: 59.9 a second" in strip.speed.toolTip()
    strip.set_status(status(fps=1 / 3))
    assert strip.speed.text() == "0.33 fps"
    assert strip.latency.text() == "31 ms"
    assert "95 % within 44.4 ms" in strip.latency.toolTip()
    strip.set_status(status(latency_parts_ms={"waiting for data": 12.34, "restoring": 15.0}))
    assert strip.latency.toolTip().endswith("44.4 ms\nwaiting for data: 12.3 ms\nrestoring: 15.0 ms")


def test_exposure_source_residual_and_contrast(strip: StatusStrip, fake: FakeSession) -> None:
    p = fake.picture(0, (0.5,))
    strip.set_picture(p)
    assert strip.exposure.text() == "exposure: trigger ±5 µs"
    assert strip.reblur.text() == "re-blur 1.3"
    assert strip.contrast.text() == "c 0.21"
    fake.refusal = "no trigger edge"
    strip.set_picture(fake.picture(1, (0.5,)))
    assert (strip.exposure.text(), strip.exposure.colour) == ("exposure: unknown", theme.ACCENT)
    assert strip.exposure.toolTip() == "no trigger edge"
    assert contrast_text({"contrast_on": 0.2, "contrast_off": 0.3}) == "c 0.20 / 0.30"
    assert contrast_text({}) == ""


def test_a_guess_in_the_place_of_trigger_edges_is_amber(strip: StatusStrip, fake: FakeSession) -> None:
    p = replace(fake.picture(0, (0.5,)), source="estimated", uncertainty_us=20_500.0)
    strip.set_picture(p)
    assert (strip.exposure.text(), strip.exposure.colour) == ("exposure: estimated ±20.5 ms", theme.QUIET)
    strip.set_picture(replace(p, flags=("no trigger edges: exposure estimated ±20.5 ms",)))
    assert strip.exposure.colour == theme.ACCENT
    strip.set_status(status(unmatched=1200, unmatched_why="no edges yet"))
    assert strip.exposure.toolTip().endswith("\n1\u202f200 frames without their trigger edges: no edges yet")
    strip.set_picture(p)
    assert "no edges yet" in strip.exposure.toolTip()
    strip.set_status(status())
    assert "edges yet" not in strip.exposure.toolTip()


def test_a_measured_residual_comes_before_one_of_a_few_instants(strip: StatusStrip, fake: FakeSession) -> None:
    strip.set_residual(4.56)
    strip.set_picture(fake.picture(0, (0.5,)))
    assert strip.reblur.text() == "re-blur 4.6"
    strip.set_residual(None, "efnet restores one instant only")
    strip.set_picture(replace(fake.picture(0, (0.5,)), figures={}))
    assert strip.reblur.text() == "re-blur –"
    assert "efnet restores one instant only" in strip.reblur.toolTip()


def test_moving_figures_do_not_move_their_neighbours(
    strip: StatusStrip, fake: FakeSession, qtbot: QtBot
) -> None:
    strip.set_status(status())
    strip.set_picture(fake.picture(0, (0.5,)))
    qtbot.wait(10)
    labels = (strip.speed, strip.latency, strip.age, strip.losses, strip.exposure, strip.workers)
    before = [w.geometry() for w in labels]
    for fps, ms, n in ((7.1, 8.0, 9), (111.1, 111.0, 111_111), (88.8, 999.0, 8)):
        strip.set_status(status(n, fps=fps, latency_p50_ms=ms))
        strip.set_age(ms, still="")
        qtbot.wait(5)
        assert [w.geometry() for w in labels] == before


def test_a_narrow_strip_keeps_faults_and_the_sum(strip: StatusStrip, fake: FakeSession, qtbot: QtBot) -> None:
    strip.set_picture(fake.picture(0, (0.5,)))
    strip.set_status(status(items_out=810, losses={"superseded (viewer)": 2}))
    strip.resize(900, 30)
    qtbot.wait(10)
    assert strip.losses.text() == strip.losses.whole
    assert not strip.reblur.isVisible()
    strip.resize(740, 30)
    qtbot.wait(10)
    assert strip.losses.text() == "dropped 2"
    strip.resize(900, 30)
    qtbot.wait(10)
    assert "re-blur 1.3" in strip.exposure.toolTip()
    assert strip.workers.geometry().right() < 900
    assert strip.workers._named(WORKERS[1])
    assert not strip.workers._named(WORKERS[0])


def test_dots_have_the_colour_of_their_state() -> None:
    assert [colour_of(w) for w in WORKERS] == [theme.GOOD, theme.FAULT, theme.ACCENT]
    lagging = replace(WORKERS[0], backlog=9)
    assert colour_of(lagging) == theme.ACCENT
    assert "lagging, 9 waiting" in describe(lagging)
    silent = replace(WORKERS[0], silent_s=2)
    assert colour_of(silent) == theme.ACCENT, "a stopped process is not at work"
    assert describe(silent) == "events: no sign of life for 2 s · process 7"
    assert colour_of(replace(WORKERS[0], state=CameraState.STOPPED)) == theme.FAINT


@pytest.fixture
def dots(qtbot: QtBot) -> WorkerDots:
    d = WorkerDots()
    qtbot.addWidget(d)
    d.set_workers(WORKERS)
    d.resize(d.sizeHint())
    d.show()
    return d


def click(dots: WorkerDots, k: int, qtbot: QtBot) -> None:
    x, width = dots.places()[k]
    qtbot.mouseClick(dots, Qt.MouseButton.LeftButton, pos=QPoint(x + width // 2, dots.height() // 2))


def test_dots_are_painted(dots: WorkerDots) -> None:
    image = dots.grab().toImage()
    middle = [QColor(image.pixel(x + 4, dots.height() // 2)).name() for x, _ in dots.places()]
    assert middle[:2] == [theme.GOOD.name(), theme.FAULT.name()]
    assert middle[2] not in (theme.GOOD.name(), theme.ACCENT.name()), "a ring, for eyes that see no amber"
    edge = dots.places()[2][0] + 1
    assert QColor(image.pixel(edge, dots.height() // 2)).name() == theme.ACCENT.name()


def test_a_click_on_a_faulted_dot_shows_its_text_which_can_be_copied(dots: WorkerDots, qtbot: QtBot) -> None:
    click(dots, 1, qtbot)
    assert dots.popup is not None
    assert dots.popup.isVisible()
    assert dots.popup.text.text() == DETAIL
    qtbot.mouseClick(dots.popup.copy_button, Qt.MouseButton.LeftButton)
    assert DETAIL in QGuiApplication.clipboard().text()


def test_the_popup_restarts_the_worker(dots: WorkerDots, qtbot: QtBot) -> None:
    click(dots, 1, qtbot)
    assert dots.popup is not None
    with qtbot.waitSignal(dots.restart) as got:
        qtbot.mouseClick(dots.popup.restart_button, Qt.MouseButton.LeftButton)
    assert got.args == ["frames"]
    assert not dots.popup.isVisible()


def test_error_text_is_shown_as_text_never_as_markup(dots: WorkerDots, qtbot: QtBot) -> None:
    dots.set_workers((WorkerStatus("frames", CameraState.FAULTED, "<b>bold</b> <img src=x>"),))
    click(dots, 0, qtbot)
    assert dots.popup is not None
    assert dots.popup.text.textFormat() is Qt.TextFormat.PlainText
