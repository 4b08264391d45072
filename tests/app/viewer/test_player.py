from __future__ import annotations

import pytest

from app.viewer.player import Player
from app.viewer.showing import SLOW_MOTION_LATENTS, Mode
from app.viewer.states import label
from tests.app.viewer.conftest import Clock
from tests.app.viewer.fake_session import FakeSession


@pytest.fixture
def player(tape: FakeSession, clock: Clock) -> Player:
    p = Player(tape, "edi", clock)
    go(p, clock, 10)
    return p


def go(p: Player, clock: Clock, ticks: int) -> None:
    for k in range(ticks):
        clock.now += 1 / 60
        p.advance()
        if k % 12 == 0:
            p.look_after(p.session.status())


def test_holding_a_frame_stops_a_recording_and_letting_go_plays_on(player: Player, tape: FakeSession) -> None:
    player.move_to(0.2)
    assert tape.paused
    player.let_go()
    assert not tape.paused
    player.play_or_pause()
    player.move_to(0.3)
    player.let_go()
    assert tape.paused  # it stood still before


def test_space_on_a_held_frame_plays(player: Player, tape: FakeSession) -> None:
    player.play_or_pause()
    player.move_to(0.3)
    player.play_or_pause()
    assert not tape.paused
    assert not player.showing.held


def test_steps_stop_time_and_show_the_neighbour(player: Player, tape: FakeSession, clock: Clock) -> None:
    player.play_or_pause()
    go(player, clock, 5)
    assert player.picture is not None
    k = player.picture.ordinal
    player.step(1)
    go(player, clock, 3)
    assert player.picture.ordinal == k + 1
    player.step(-1)
    go(player, clock, 3)
    assert player.picture.ordinal == k
    assert tape.paused


def test_a_dragged_seek_bar_asks_at_most_every_60_ms_and_ends_where_it_was_let_go(
    player: Player, tape: FakeSession, clock: Clock
) -> None:
    for k in range(60):
        player.seek(1_000_000 + k * 10_000)
        go(player, clock, 1)
    go(player, clock, 6)
    asked = [c[1]["time_us"] for c in tape.named("seek")]
    assert len(asked) <= 18
    assert asked[-1] == 1_000_000 + 59 * 10_000


def test_at_the_end_space_plays_from_the_start(player: Player, tape: FakeSession, clock: Clock) -> None:
    go(player, clock, 60 * 4)
    assert player.ended
    player.play_or_pause()
    go(player, clock, 4)
    assert tape.named("seek") == [("seek", {"time_us": 1_000_000})]
    assert player.picture is not None
    assert player.picture.ordinal < 5
    assert not player.ended


def test_a_live_picture_is_held_by_space(fake: FakeSession, clock: Clock) -> None:
    p = Player(fake, "edi", clock)
    go(p, clock, 5)
    p.play_or_pause()
    assert p.showing.held
    p.play_or_pause()
    assert not p.showing.held
    assert fake.named("pause") == []


def test_switching_keeps_the_old_picture_until_the_new_one_is_there(fake: FakeSession, clock: Clock) -> None:
    fake.answer_s = 0.2
    p = Player(fake, "edi", clock)
    go(p, clock, 10)
    p.select("none")
    go(p, clock, 5)
    assert (p.network, p.wanted) == ("edi", "none")
    go(p, clock, 60)
    assert (p.network, p.wanted) == ("none", "")
    assert p.picture is not None
    assert p.picture.network == "none"


def test_switching_restores_a_paused_recordings_frame_anew(
    player: Player, tape: FakeSession, clock: Clock
) -> None:
    player.play_or_pause()
    go(player, clock, 5)
    assert player.picture is not None
    k = player.picture.ordinal
    player.select("none")
    go(player, clock, 60)
    assert player.picture.network == "none"
    assert player.picture.ordinal == k


def test_a_network_that_does_not_get_ready_is_given_up_by_name(fake: FakeSession, clock: Clock) -> None:
    fake.answer_s = 1e6
    p = Player(fake, "edi", clock)
    go(p, clock, 3)
    p.select("none")
    clock.now += 31
    assert "none did not get ready" in p.look_after(p.session.status())
    assert p.wanted == ""


def test_a_network_that_is_still_being_made_ready_is_waited_for(fake: FakeSession, clock: Clock) -> None:
    p = Player(fake, "edi", clock)
    go(p, clock, 3)
    p.select("none")
    fake.wanted_network, fake._switch = "none", (clock.now + 50, "none")
    clock.now += 31
    assert p.look_after(p.session.status()).startswith("none takes longer than 30 s to get ready; edi goes on")
    assert p.wanted == "none"
    assert p.look_after(p.session.status()) == ""  # said once
    clock.now += 20
    go(p, clock, 60)
    assert (p.wanted, p.network) == ("", "none")


def test_switching_to_one_instant_lets_the_slider_rest(fake: FakeSession, clock: Clock) -> None:
    p = Player(fake, "edi", clock)
    go(p, clock, 5)
    p.select("glint")
    go(p, clock, 40)
    assert p.network == "glint"
    assert not p.showing.any_latent
    p.move_to(0.9)
    assert not p.showing.held


def test_slow_motion_goes_on_with_another_network(fake: FakeSession, clock: Clock) -> None:
    p = Player(fake, "edi", clock)
    go(p, clock, 5)
    p.slow_motion(True)
    go(p, clock, 20)
    p.select("none")
    go(p, clock, 60)
    assert p.showing.mode is Mode.SLOW_MOTION
    assert p.picture is not None
    assert p.picture.network == "none"
    assert len(p.picture.latents) == SLOW_MOTION_LATENTS
    assert label(p).startswith("unchanged  ")
    p.select("glint")
    go(p, clock, 60)
    assert p.network == "glint"
    assert not p.showing.any_latent
    assert p.showing.mode is not Mode.SLOW_MOTION


def test_switching_at_the_end_of_a_recording_restores_its_last_frame_anew(
    player: Player, tape: FakeSession, clock: Clock
) -> None:
    go(player, clock, 150)
    assert player.ended
    player.select("none")
    go(player, clock, 60)
    assert player.picture is not None
    assert (player.picture.network, player.wanted) == ("none", "")
    player.let_go()
    go(player, clock, 30)
    assert player.ended, "nobody has asked to play it again"
    player.slow_motion(True)
    go(player, clock, 30)
    player.let_go()
    go(player, clock, 30)
    assert player.ended
    assert tape.named("play") == tape.named("pause") == []


@pytest.mark.parametrize("first", ["edi", "glint"])  # glint gives one instant only
def test_a_step_between_choice_and_change_does_not_leave_the_old_networks_picture(
    tape: FakeSession, clock: Clock, first: str
) -> None:
    tape.answer_s, tape.network = 0.3, first
    p = Player(tape, first, clock)
    go(p, clock, 10)
    p.play_or_pause()
    p.select("none")
    go(p, clock, 3)
    p.step(1)
    go(p, clock, 240)
    assert p.picture is not None
    assert (p.picture.network, p.network, p.wanted) == ("none", "none", "")
    assert p.picture.ordinal == tape.held
    p.let_go()
    assert p.picture.network == "none", "not what another one made of it before"


def test_choosing_quickly_ends_with_the_last_choice_and_blames_nobody(
    player: Player, tape: FakeSession, clock: Clock
) -> None:
    player.play_or_pause()
    go(player, clock, 5)
    lines, seen = [], []
    tape.answer_s = 0.2
    player.select("none")
    player.select("edi")  # which still runs: what was chosen before comes and goes
    tape.wanted_network = "edi"
    for network in ("none", "edi"):
        tape._switch = (clock.now, network)
        for _ in range(120):
            clock.now += 1 / 60
            player.advance()
            lines.append(player.look_after(tape.status()))
        seen.append(player.picture and player.picture.network)
    assert player.picture is not None
    assert (player.picture.network, player.network, player.wanted) == ("edi", "edi", "")
    assert set(lines) == {""}
    assert seen == ["none", "edi"]


def test_a_network_that_cannot_be_loaded_is_no_longer_waited_for(fake: FakeSession, clock: Clock) -> None:
    fake.answer_s = 1e6
    p = Player(fake, "edi", clock)
    go(p, clock, 5)
    p.slow_motion(True)
    fake.wanted_network = "edi"
    p.select("glint")
    fake.wanted_network = "glint"
    go(p, clock, 30)
    assert p.wanted == "glint"
    fake.wanted_network = "edi"  # as the worker tells once loading has failed
    fake.calls.clear()
    fake.answer_s = 0.01
    fake._switch = None
    go(p, clock, 240)
    assert p.wanted == ""
    assert len(fake.named("request_latents")) <= 2, "the same instants again and again"
    p.select("glint")  # and one that is refused at once
    fake._switch = None
    go(p, clock, 240)
    assert p.wanted == ""
