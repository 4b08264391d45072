from __future__ import annotations

from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession


def test_first_picture_is_shown_and_closing_stops_the_session(
    make_window: MakeWindow, fake: FakeSession, clock: Clock
) -> None:
    window = make_window(fake)
    run(window, clock, 5)
    assert window.pages.currentWidget() is window.picture
    assert window.picture.image_size == (96, 64)
    assert window.windowTitle() == "Halfmirror – simulated:handheld"
    window.close()
    assert fake.calls[-1] == ("stop",)
    assert not fake.running
