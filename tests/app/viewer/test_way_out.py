"""Frames that are refused can be seen as they are."""

from __future__ import annotations

from dataclasses import replace

from app.viewer.window import ViewerWindow
from tests.app.viewer.conftest import Clock, MakeWindow, run
from tests.app.viewer.fake_session import FakeSession

REFUSAL = "no exposure: the frame carries no exposure time and no trigger edges match it"


def test_what_is_refused_for_a_while_can_be_shown_as_it_is(
    window: ViewerWindow, fake: FakeSession, clock: Clock
) -> None:
    run(window, clock, 30)
    assert not window.way_out.isVisible()
    fake.refusal = REFUSAL
    run(window, clock, 60)  # one second
    assert not window.way_out.isVisible()
    run(window, clock, 100)
    assert window.way_out.isVisible()
    assert window.way_out.text() == "Show without restoring"
    assert window.picture.rect().contains(window.way_out.geometry())
    window.resize(760, 500)
    run(window, clock, 13)
    assert window.picture.rect().contains(window.way_out.geometry())
    window.way_out.click()
    assert window.player is not None
    assert window.player.wanted == "none"
    fake.refusal = ""
    run(window, clock, 60)
    assert not window.way_out.isVisible()
    assert window.player.network == "none"


def test_it_goes_when_frames_are_restored_again(window: ViewerWindow, fake: FakeSession, clock: Clock) -> None:
    fake.refusal = REFUSAL
    run(window, clock, 160)
    assert window.way_out.isVisible()
    fake.refusal = ""
    run(window, clock, 30)
    assert not window.way_out.isVisible()


def test_there_is_none_where_nothing_would_be_won(
    make_window: MakeWindow, fake: FakeSession, clock: Clock
) -> None:
    fake.refusal = REFUSAL
    fake.choices = [replace(c, usable=c.name != "none") for c in fake.choices]
    window = make_window(fake, ticks=200)
    assert not window.way_out.isVisible()
    fake.choices = [replace(c, usable=True) for c in fake.choices]
    fake.network = "none"
    run(window, clock, 200)
    assert not window.way_out.isVisible(), "it would be refused as well"
