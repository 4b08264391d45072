from __future__ import annotations

from itertools import pairwise

import pytest

from app.viewer.showing import SLOW_MOTION_LATENTS, Mode, Showing, ping_pong
from tests.app.viewer.conftest import Clock
from tests.app.viewer.fake_session import FakeSession, Scene


@pytest.fixture
def showing(fake: FakeSession, clock: Clock) -> Showing:
    fake.start()
    s = Showing(fake, clock)
    go(s, clock, 3)
    assert s.picture is not None
    return s


def go(s: Showing, clock: Clock, ticks: int, step_s: float = 1 / 60) -> int:
    changes = 0
    for _ in range(ticks):
        clock.now += step_s
        changes += s.advance()
    return changes


def test_a_drag_holds_the_frame_on_screen_and_live_pictures_pass_it_by(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    assert showing.picture is not None
    ordinal = showing.picture.ordinal
    showing.move_to(0.2)
    assert fake.named("hold") == [("hold", ordinal)]
    go(showing, clock, 30)
    assert showing.picture.ordinal == ordinal
    assert showing.shown_latent == pytest.approx(0.2)
    assert showing.mode is Mode.HELD
    showing.let_go()
    assert fake.named("hold")[-1] == ("hold", None)
    assert showing.picture.ordinal > ordinal  # the newest live picture at once, not after the next one


def test_at_most_one_request_is_under_way_and_the_last_wish_wins(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    fake.answer_s = 0.1
    for i in range(50):
        showing.move_to(i / 50)
    assert fake.named("request_latents") == [("request_latents", (0.0,))]
    go(showing, clock, 60)
    assert fake.named("request_latents") == [("request_latents", (0.0,)), ("request_latents", (0.98,))]
    assert showing.shown_latent == pytest.approx(0.98)
    assert not showing.waiting


def test_new_exposures_are_restored_where_the_slider_came_to_rest(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    showing.move_to(0.3)
    go(showing, clock, 5)
    showing.move_to(0.8)
    go(showing, clock, 40)
    assert fake.named("set_latents") == [("set_latents", (0.8,))]


def test_slow_motion_asks_once_and_goes_to_and_fro(showing: Showing, fake: FakeSession, clock: Clock) -> None:
    assert showing.slow_motion(True)
    go(showing, clock, 3)
    (request,) = fake.named("request_latents")
    assert len(request[1]) == SLOW_MOTION_LATENTS
    assert (request[1][0], request[1][-1]) == (0.0, 1.0)
    seen = []
    for _ in range(125):
        go(showing, clock, 1)
        assert showing.shown_latent is not None
        seen.append(showing.shown_latent)
    assert max(seen) == 1.0
    assert min(seen[60:]) == 0.0
    assert max(abs(a - b) for a, b in pairwise(seen)) < 0.06
    assert len(fake.named("request_latents")) == 1


def test_stopping_slow_motion_stays_on_the_instant_shown_and_scrubbing_uses_it(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    showing.slow_motion(True)
    go(showing, clock, 30)
    at = showing.shown_latent
    showing.slow_motion(False)
    assert showing.mode is Mode.HELD
    assert showing.shown_latent == at == showing.latent
    fake.answer_s = 9.0
    showing.move_to(0.13)  # the nearest known instant is there before the exact one is restored
    assert showing.shown_latent == pytest.approx(0.125)


def test_an_answer_for_a_frame_that_was_let_go_is_not_shown(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    fake.answer_s = 0.2
    showing.move_to(0.9)
    go(showing, clock, 2)
    showing.let_go()
    fake.paused = True
    assert go(showing, clock, 30) == 0
    assert showing.picture is not None
    assert not showing.picture.held


def test_a_request_without_an_answer_is_asked_again(showing: Showing, fake: FakeSession, clock: Clock) -> None:
    fake.answer_s = 1e9
    showing.move_to(0.4)
    go(showing, clock, 10, 0.5)
    assert len(fake.named("request_latents")) == 2
    assert len(fake.named("hold")) == 2


def test_an_answer_that_takes_long_is_shown_when_it_comes(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    """The same wish asked for again must not make the answer to it an old one."""
    fake.answer_s = 6.0
    showing.move_to(0.4)
    go(showing, clock, 60 * 7)
    assert not showing.waiting
    assert showing.shown_latent == pytest.approx(0.4)
    assert fake.requests == 1
    fake.answer_s = 40.0
    showing.slow_motion(True)
    go(showing, clock, 60 * 41)
    assert not showing.waiting
    assert fake.requests == 2


def test_a_network_of_one_instant_holds_and_asks_nothing(showing: Showing, fake: FakeSession) -> None:
    showing.any_latent = False
    showing.move_to(0.9)
    assert not showing.slow_motion(True)
    assert fake.named("hold") == fake.named("request_latents") == []


def test_stale_begins_at_100_ms_and_never_by_the_users_wish(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    fake.silent = True
    age = showing.age_ms()
    assert age is not None
    clock.now += (99 - age) / 1000
    assert showing.stale() == 0.0
    clock.now += 0.1
    assert 0.2 < showing.stale() < 0.5
    clock.now += 1.0
    assert showing.stale() == 1.0
    showing.paused = True
    assert showing.stale() == 0.0
    showing.paused = False
    showing.hold()
    assert showing.stale() == 0.0


@pytest.mark.parametrize("fps", [1.5, 4.0])
def test_a_slow_source_is_not_stale_between_its_pictures(scene: Scene, clock: Clock, fps: float) -> None:
    fake = FakeSession(scene, fps=fps, clock=clock)
    showing = Showing(fake, clock)
    fake.start()
    go(showing, clock, round(60 * 5 / fps))
    for _ in range(round(60 * 3 / fps)):
        go(showing, clock, 1)
        assert showing.stale() == 0.0
    fake.silent = True
    go(showing, clock, round(60 * 5 / fps))
    assert showing.stale() > 0.3
    go(showing, clock, round(60 * 5 / fps))
    assert showing.stale() == 1.0


def test_ping_pong_meets_every_picture_and_both_ends_once() -> None:
    turn = [ping_pong(k / 8, 5) for k in range(8)]
    assert turn == [0, 1, 2, 3, 4, 3, 2, 1]
    assert ping_pong(3.7, 1) == 0


def test_an_answer_from_before_does_not_end_the_loop(showing: Showing, fake: FakeSession, clock: Clock) -> None:
    fake.answer_s = 0.1
    showing.move_to(0.3)
    showing.slow_motion(True)
    go(showing, clock, 30)
    assert showing.mode is Mode.SLOW_MOTION
    assert showing.picture is not None
    assert len(showing.picture.latents) == SLOW_MOTION_LATENTS


def test_while_residuals_are_wanted_only_pictures_with_theirs_are_shown(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    assert showing.residual is None
    showing.measure(True)
    showing.measure(True)
    assert fake.named("residual") == [("residual", {"on": True})]
    go(showing, clock, 20)
    assert showing.residual is not None
    assert showing.residual.rms == 2.4
    seen = set()
    for _ in range(120):
        go(showing, clock, 1)
        assert showing.residual is not None, "a map is shown over its own picture and no other"
        assert showing.picture is not None
        seen.add(showing.picture.ordinal)
    assert 8 <= len(seen) <= 12  # five a second, of twenty-five
    showing.measure(False)
    assert showing.residual is None
    before = showing.picture
    go(showing, clock, 5)
    assert showing.picture is not before


def test_a_picture_that_was_measured_is_not_stale_while_the_stream_runs(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    fake.residual_every_s = 1.5
    showing.measure(True)
    go(showing, clock, 300)
    for _ in range(100):
        go(showing, clock, 1)
        assert showing.stale() == 0.0
    assert showing.residual is not None
    age = showing.age_ms()
    assert age is not None
    fake.silent = True
    go(showing, clock, 60)
    assert showing.stale() == 1.0


def test_without_further_residuals_the_stream_is_shown_again(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    showing.measure(True)
    go(showing, clock, 60)
    assert showing.residual is not None
    fake.residual_every_s, fake._residual_due = 1e6, 1e9
    go(showing, clock, 180)
    assert showing.residual is None
    first = showing.picture
    go(showing, clock, 10)
    assert showing.picture is not first


def test_a_held_exposure_gets_its_residual_and_keeps_it_at_other_instants(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    showing.move_to(0.3)
    go(showing, clock, 10)
    showing.measure(True)
    go(showing, clock, 5)
    assert showing.residual is not None
    assert showing.picture is not None
    assert showing.picture.sharp is not None
    showing.move_to(0.9)
    go(showing, clock, 10)
    assert showing.shown_latent == pytest.approx(0.9)
    assert showing.residual is not None
    showing.slow_motion(True)
    go(showing, clock, 30)
    assert showing.mode is Mode.SLOW_MOTION
    assert showing.residual is not None
    showing.let_go()
    assert showing.residual is None


def test_networks_of_one_instant_are_shown_as_they_come(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    fake.network, showing.any_latent = "glint", False
    showing.measure(True)
    before = showing.picture
    go(showing, clock, 30)
    assert showing.residual is None
    assert showing.picture is not before


def test_a_new_network_is_seen_at_once_not_when_it_is_measured(
    showing: Showing, fake: FakeSession, clock: Clock
) -> None:
    fake.residual_every_s = 3.0
    showing.measure(True)
    go(showing, clock, 400)
    assert showing.residual is not None
    fake.network, fake._residual_due = "none", 1e9
    go(showing, clock, 4)
    assert showing.picture is not None
    assert showing.picture.network == "none"
