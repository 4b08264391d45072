"""What both cameras see, with its figures; what they lack; one over the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.session import WorkerStatus
from app.viewer import theme
from app.viewer.live_pane import blended
from app.viewer.rig_desk import RigDesk
from app.viewer.window import ViewerWindow
from capture.camera import CameraState
from sync.rig import Rig
from tests.app.viewer.fake_preview import EVENTS, FRAMES, FakePreview, view
from tests.app.viewer.rig_page.conftest import Ticks, rig_file

# -- what is seen


def test_both_are_seen_with_their_figures(desk: RigDesk, running: FakePreview) -> None:
    p = desk.page
    assert p.events.shown is not None
    assert p.frames.shown is not None
    assert p.events.words == "4.2 Mev/s"
    assert p.frames.words == "24.9 fps · 8.00 ms"
    assert p.histogram.words.startswith("3.0% white")
    assert "shorten" in p.histogram.words
    assert p.histogram.white
    assert p.rate.hz == 4.2e6
    assert p.events_focus.text == "focus 12.0 · 80% of the best"
    assert p.trigger.text() == "25.0 rising, 25.0 falling edges/s\n24.9 frames/s · 99% matched"
    assert p.verdict.text().startswith("Good")
    assert theme.GOOD.name() in p.verdict.styleSheet()
    assert "flir:9: 22 MB/s" in p.link.text(), "measured now"
    p.grab()


def test_wrong_polarity_can_be_taken_over(
    desk: RigDesk, running: FakePreview, ticks: Ticks, tmp_path: Path
) -> None:
    assert not desk.page.polarity.isVisible()
    running.views.append(view(finding="polarity", words="Wrong polarity."))
    ticks()
    assert desk.page.polarity.isVisible()
    assert theme.ACCENT.name() in desk.page.verdict.styleSheet()
    desk.page.polarity.click()
    assert running.asked[-1][0] == "clock"
    assert running.asked[-1][1].active_high is False
    desk.save(tmp_path / "turned.toml")
    assert Rig.load(tmp_path / "turned.toml").clock.active_high is False


def test_one_camera_alone(desk: RigDesk, ticks: Ticks) -> None:
    desk.show()
    desk.choose(EVENTS, "evk4:1")
    desk.choose(FRAMES, "")
    desk.start()
    preview = FakePreview.made[-1]
    preview.come_up()
    preview.views[-1] = type(preview.views[-1])(
        None, preview.views[-1].events, None, np.empty((0, 256), np.int64), preview.views[-1].figures
    )
    ticks()
    assert desk.page.frames.problem == "No image camera is chosen."
    assert desk.page.events.problem == ""
    assert "Both cameras are needed" in desk.page.verdict.text()
    assert not desk.page.use.isEnabled()
    assert "image camera" in desk.page.use.toolTip()
    desk.set_overlap(True)
    ticks()
    assert "Both cameras are needed" in desk.page.overlap.problem
    desk.page.grab()
    desk.choose(EVENTS, "")
    desk.choose(FRAMES, "flir:9")
    desk.start()
    FakePreview.made[-1].come_up()
    ticks()
    assert desk.page.events.problem == "No event camera is chosen."
    assert desk.page.use.isEnabled(), "frames alone are a rig"


def test_a_camera_that_goes_says_so_and_comes_back_with_its_settings(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    desk.controls.wish(FRAMES, "gain_db", 6.0)
    ticks()
    running.fault(FRAMES, "flir:9: the camera does not answer any more; is it plugged in?")
    ticks()
    assert "is it plugged in" in desk.page.frames.problem
    assert desk.page.events.problem == ""
    desk.page.grab()
    running.asked.clear()
    running.values[FRAMES]["gain_db"] = 0
    running.come_up()
    ticks()
    assert desk.page.frames.problem == ""
    assert ("set", (FRAMES, "gain_db", 6)) in running.asked


@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_a_view_that_is_not_renewed_does_not_look_alive(
    how: str, desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    p = desk.page
    running.blind = True
    if how == "dies":
        running.looks = WorkerStatus("preview", CameraState.FAULTED, "killed by SIGKILL")
    ticks(6)  # 1.2 s
    told = "The preview stopped: killed by SIGKILL." if how == "dies" else "Nothing new has been seen for 1 s."
    assert (p.events.problem, p.frames.problem, p.overlap.problem) == (told, told, told)
    assert (p.events.words, p.frames.words, p.rate.hz) == ("", "", 0.0)
    assert (p.events_focus.text, p.frames_focus.text) == ("focus –", "focus –")
    assert len(p.histogram.counts) == 0
    assert p.verdict.text() == "–"
    running.looks = WorkerStatus("preview", CameraState.RUNNING, pid=4001)
    running.blind = False
    ticks()
    assert (p.events.problem, p.events.words) == ("", "4.2 Mev/s")


def test_a_preview_that_was_started_again_is_told_what_was_asked(
    desk: RigDesk, running: FakePreview, ticks: Ticks
) -> None:
    desk.set_overlap(True)
    running.asked.clear()
    ticks()
    assert running.asked == []
    running.looks = WorkerStatus("preview", CameraState.RUNNING, pid=4001)
    ticks()
    assert [what for what, _ in running.asked] == ["clock", "overlay"]


def test_cameras_that_cannot_be_opened(desk: RigDesk, ticks: Ticks, tmp_path: Path) -> None:
    desk.show(rig_file(tmp_path))
    FakePreview.made[-1].problem = "evk4: needs neuromorphic-drivers"
    ticks()
    assert "needs neuromorphic-drivers" in desk.page.events.problem
    assert desk.page.start.text() == "Stop"


def test_nothing_is_cut_off_at_the_smallest_window(
    desk: RigDesk, running: FakePreview, window: ViewerWindow
) -> None:
    window.resize(1280, 800)
    page = desk.page
    page.grab()
    for panel in (page.events_panel, page.frames_panel):
        area = panel.parentWidget()
        assert panel.width() <= area.width()
        for c in panel.cells.values():
            assert c.geometry().right() <= panel.width()
    for w in (page.use, page.close_button, page.verdict, page.link):
        bottom = w.mapTo(page, w.rect().bottomLeft()).y()
        assert bottom < page.height(), w


# -- overlap


def test_overlap_follows_map_and_mirror(desk: RigDesk, running: FakePreview, ticks: Ticks) -> None:
    desk.page.overlap_word.click()
    assert desk.page.overlapping
    verb, matrix = running.asked[-1]
    assert verb == "overlay"
    assert matrix == pytest.approx(desk.setup.matrix())
    assert desk.page.map.whole == "map of the rig, ±0.12 px"
    assert not desk.page.mirror.isEnabled(), "a measured map keeps its mirror"
    v = view()
    running.views.append(type(v)(v.image, v.events, np.full((48, 64), 200, np.uint8), v.counts, v.figures))
    ticks()
    assert desk.page.overlap.over is not None
    ends = []
    for at in (0, 50, 100):
        desk.page.blend.setValue(at)
        ends.append(desk.page.overlap.grab().toImage().pixelColor(300, 200).getRgb()[:3])
    assert len(set(ends)) == 3
    desk.page.beside_word.click()
    assert running.asked[-1] == ("overlay", None)


def test_the_mirror_can_be_turned_where_nothing_was_measured(desk: RigDesk, ticks: Ticks) -> None:
    desk.show()
    desk.choose(EVENTS, "evk4:1")
    desk.choose(FRAMES, "flir:9")
    desk.start()
    preview = FakePreview.made[-1]
    preview.come_up()
    ticks()
    desk.set_overlap(True)
    assert desk.page.map.whole == "assumed, not calibrated"
    assert desk.page.mirror.isEnabled()
    assert desk.page.mirror.isChecked()
    mirrored = preview.asked[-1][1]
    desk.page.mirror.click()
    plain = preview.asked[-1][1]
    assert np.linalg.det(mirrored[:2, :2]) < 0 < np.linalg.det(plain[:2, :2])


def test_a_blend_goes_from_the_image_to_the_events() -> None:
    image = np.full((4, 4), 100, np.uint8)
    events = np.full((4, 4), 128, np.uint8)
    events[0, 0], events[0, 1] = 255, 0
    assert (blended(image, events, 0.0) == 100).all()
    alone = blended(image, events, 1.0)
    assert tuple(alone[0, 0]) == theme.EVENT_ON.getRgb()[:3]
    assert np.abs(alone[0, 1].astype(int) - theme.EVENT_OFF.getRgb()[:3]).max() <= 2
    assert (alone[1:] == 0).all()
    half = blended(np.repeat(image[:, :, None], 3, 2), events, 0.5)
    assert (half[1:] == 50).all()
    assert half[0, 0, 0] == 255, "events stay bright over a fading image"
