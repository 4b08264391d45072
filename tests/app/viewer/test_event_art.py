from __future__ import annotations

import time

import numpy as np

from app.viewer import theme
from app.viewer.event_art import Commission, EventArtist, draw_events
from capture.packets import Events


def events(*rows: tuple[int, int, int, bool], width: int = 6, height: int = 4) -> Events:
    t, x, y, p = zip(*rows, strict=True)
    return Events.checked(np.array(t), np.array(x), np.array(y), np.array(p), width, height)


def bgr(colour: object) -> list[int]:
    return [colour.blue(), colour.green(), colour.red()]  # type: ignore[attr-defined]


def test_on_is_amber_off_is_blue_and_nothing_is_transparent() -> None:
    art = draw_events(events((100, 1, 2, True), (100, 3, 0, False)), 100, 50.0, np.eye(3), (6, 4))
    assert art[2, 1].tolist() == [*bgr(theme.EVENT_ON), 255]
    assert art[0, 3].tolist() == [*bgr(theme.EVENT_OFF), 255]
    assert art[1, 1].tolist() == [0, 0, 0, 0]


def test_an_event_fades_to_1_over_e_in_one_decay_time() -> None:
    art = draw_events(events((0, 0, 0, True), (100, 1, 0, True)), 100, 100.0, np.eye(3), (6, 4))
    assert art[0, 1, 3] == 255
    assert abs(int(art[0, 0, 3]) - 255 / np.e) <= 2
    assert np.all(art[..., :3] <= art[..., 3:])  # premultiplied


def test_the_newest_event_of_a_pixel_is_shown_and_later_ones_are_left_out() -> None:
    ev = events((0, 2, 2, True), (50, 2, 2, False), (90, 2, 2, True))
    art = draw_events(ev, 50, 1e6, np.eye(3), (6, 4))
    assert art[2, 2, :3].tolist() == bgr(theme.EVENT_OFF)


def test_events_lie_where_the_rig_says() -> None:
    # Mirrored and four times as large, pixel centres at integers: x → 23 - 1.5 - 4x, y → 4y + 1.5.
    m = np.array([[-4, 0, 21.5], [0, 4, 1.5], [0, 0, 1]])
    art = draw_events(events((9, 1, 2, True)), 9, 10.0, m, (24, 16))
    seen = np.argwhere(art[..., 3] > 0)
    assert seen[:, 0].min() == 8
    assert seen[:, 0].max() == 11
    assert seen[:, 1].min() == 16
    assert seen[:, 1].max() == 19


def test_no_events_draw_nothing() -> None:
    assert not draw_events(Events.empty(6, 4), 0, 10.0, np.eye(3), (6, 4)).any()


def take(artist: EventArtist) -> tuple[object, np.ndarray]:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if (done := artist.take()) is not None:
            return done
        time.sleep(0.002)
    raise AssertionError("nothing was drawn")


def test_the_artist_draws_the_newest_wish_and_outlives_a_bad_one() -> None:
    artist = EventArtist()
    bad = np.full((2, 2), np.nan)
    artist.ask(Commission("bad", events((1, 0, 0, True)), 1, 1.0, bad, (9, 9)))
    deadline = time.monotonic() + 10
    while not artist.fault and time.monotonic() < deadline:
        time.sleep(0.002)
    assert "events cannot be drawn" in artist.fault
    for k in range(50):
        artist.ask(Commission(k, events((1, 0, 0, True)), 1, 1.0, np.eye(3), (6, 4)))
    while take(artist)[0] != 49:
        pass
    artist.fault = "of what was drawn before"
    artist.forget()
    assert artist.fault == ""
    artist.stop()
    assert artist._thread is not None
    assert not artist._thread.is_alive()
