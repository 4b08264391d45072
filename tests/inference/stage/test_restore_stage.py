"""The stage between synchroniser and viewer: order, counts, holding, the end of a stream."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from capture.errors import UsageError
from capture.packets import Frame, FrameKind
from inference.outcomes import Result
from inference.restore_stage import QUEUE_LIMIT, RestoreStage
from inference.restorers.base import Needs
from inference.worker import picture_parts
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import Rig
from tests.inference.stage.toys import Make, Slow, adds_up, feed, frame, packet, until, with_needs


def test_live_the_newest_replaces_the_waiting_one_and_is_counted(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    stage = make("slow")
    feed(stage, [0])
    until(lambda: bool(slow.calls), "the first exposure is in work")
    feed(stage, range(1, 8))
    slow.gate.set()
    until(lambda: len(results) == 2, "two pictures")
    until(stage.drained, "drained")
    assert [r.exposure.ordinal for r in results] == [0, 7]
    assert stage.status()["stage"]["superseded"] == 6
    assert adds_up(stage)


def test_every_item_keeps_all_and_says_when_it_is_full(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    stage = make("slow", every_item=True)
    fed = 0
    while not stage.full:
        feed(stage, [fed])
        fed += 1
        assert fed < 50
    assert fed >= QUEUE_LIMIT
    slow.gate.set()
    until(lambda: len(results) == fed, "all pictures")
    assert [r.exposure.ordinal for r in results] == list(range(fed))
    assert not stage.full
    assert adds_up(stage)


def test_refused_exposures_come_out_by_name(make: Make, results: list[Result]) -> None:
    stage = make("none", every_item=True)
    stage.feed_events(packet(0))
    stage.feed_frame(frame(0, kind=FrameKind.ACCUMULATOR))
    stage.tick(None)
    until(lambda: len(results) == 1, "an outcome")
    assert isinstance(results[0].exposure, RefusedExposure)
    assert results[0].restored is None
    assert stage.status()["stage"]["refused_by"] == {"accumulator": 1}
    assert adds_up(stage)


def test_a_held_exposure_is_restored_at_other_instants_while_the_stream_goes_on(
    make: Make, results: list[Result]
) -> None:
    stage = make("none", every_item=True)
    feed(stage, [0, 1, 2])
    until(lambda: len(results) == 3, "three pictures")
    assert stage.hold(1)
    stage.request(7, (0.0, 0.25, 1.0))
    until(lambda: any(r.held for r in results), "the answer")
    answer = next(r for r in results if r.held)
    assert answer.request == 7
    assert answer.exposure.ordinal == 1
    assert answer.restored is not None
    assert answer.restored.latents == (0.0, 0.25, 1.0)
    feed(stage, [3])
    until(lambda: results[-1].exposure.ordinal == 3, "the stream goes on")
    assert not stage.hold(99), "an exposure that has gone cannot be held"


def holding_first(make: Make, slow: type[Slow], results: list[Result]) -> RestoreStage:
    """One that has shown its first exposure, and holds it."""
    slow.gate.set()
    stage = make("slow", every_item=True)
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture to hold")
    assert stage.hold(0)
    return stage


def test_a_newer_request_replaces_one_that_waits(make: Make, slow: type[Slow], results: list[Result]) -> None:
    stage = holding_first(make, slow, results)
    slow.gate.clear()
    feed(stage, [1])
    until(lambda: slow.calls[-1] == 1, "busy")
    for n in range(1, 6):
        stage.request(n, (n / 10,))
    slow.gate.set()
    until(lambda: any(r.held for r in results), "the answer")
    time.sleep(0.05)
    assert [r.request for r in results if r.held] == [5]


def test_a_request_that_is_in_work_is_not_begun_anew(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    """Who waits asks again under the same number; another number is another wish."""
    stage = holding_first(make, slow, results)
    slow.gate.clear()
    n = len(slow.calls)
    stage.request(1, (0.2,))
    until(lambda: len(slow.calls) == n + 1, "in work")
    for _ in range(3):
        stage.request(1, (0.2,))
    slow.gate.set()
    until(lambda: len(results) == 2, "the answer")
    until(lambda: stage._in_work is None, "it is done with that")
    stage.request(1, (0.2,))  # the answer was lost on the way
    until(lambda: len(results) == 3, "the same answer once more")
    assert [r.request for r in results if r.held] == [1, 1]
    assert len(slow.calls) == n + 2


def test_who_asks_again_for_what_is_held_keeps_it_however_far_the_stream_has_gone(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    stage = holding_first(make, slow, results)
    feed(stage, list(range(1, 20)))
    until(lambda: len(results) == 20, "the stream goes on")
    assert stage.hold(0)
    stage.request(1, (0.2,))
    until(lambda: [r.request for r in results if r.held] == [1], "the answer")
    assert stage.hold(None)
    assert not stage.hold(0), "once let go it has gone"


@pytest.mark.parametrize("bad", [(), (1.5,), (float("nan"),)])
def test_instants_outside_the_exposure_are_refused(make: Make, bad: tuple[float, ...]) -> None:
    stage = make("none")
    with pytest.raises(ValueError, match="latent time"):
        stage.set_latents(bad)
    with pytest.raises(ValueError, match="latent time"):
        stage.request(1, bad)


def test_pictures_that_cannot_be_handed_on_end_the_stage_with_the_reason(rig: Rig) -> None:
    def publish(_: Result) -> None:
        raise OSError("the ring is gone")

    stage = RestoreStage(rig, "none", publish, every_item=True, live=False)
    stage.start()
    feed(stage, [0])

    def ended() -> bool:
        try:
            stage.tick(None)
        except OSError as e:
            return str(e) == "the ring is gone"
        return False

    until(ended, "the reason on the caller's thread")
    stage.stop()


def test_a_seek_forgets_what_was_kept(make: Make, results: list[Result]) -> None:
    stage = make("none", every_item=True)
    feed(stage, [0, 1])
    until(lambda: len(results) == 2, "two pictures")
    stage.feed_events(packet(5, epoch=1))
    stage.feed_frame(frame(5, epoch=1))
    stage.tick(None)
    until(lambda: len(results) == 3, "the first picture after the seek")
    assert not stage.hold(1), "ordinals of another epoch name other exposures"
    assert results[-1].exposure.ordinal == 0
    assert results[-1].exposure.frame.epoch == 1


def test_a_network_that_lags_owes_its_pictures_at_a_seek_a_switch_and_the_end(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    with_needs(monkeypatch, Needs(frames_after=1))
    stage = make("slow", every_item=True)
    feed(stage, [0, 1])
    until(lambda: len(results) == 1, "the first picture, one frame late")
    for k in (5, 6):
        stage.feed_events(packet(k, epoch=1))
        stage.feed_frame(frame(k, epoch=1))
        stage.tick(None)
    until(lambda: len(results) == 3, "what was owed before the seek, and the first after it")
    stage.select("none")
    until(lambda: stage.network == "none", "the switch")
    assert [(r.exposure.frame.epoch, r.exposure.ordinal) for r in results] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_the_end_settles_what_still_waits(make: Make, results: list[Result]) -> None:
    stage = make("edi", every_item=True)
    stage.feed_events(packet(0))
    stage.feed_frame(frame(1))  # its events never come
    stage.tick(None)
    assert not results
    stage.end()
    until(lambda: len(results) == 1, "an outcome")
    assert isinstance(results[0].exposure, RefusedExposure)


def test_replay_equals_live_bit_for_bit(rig: Rig) -> None:
    """The same items in the same order give the same pictures, however they are paced."""

    def run(pause: float, every: int) -> list[np.ndarray]:
        got: list[Result] = []
        stage = RestoreStage(rig, "edi", got.append, every_item=True, live=False, options={"contrast": 0.2})
        stage.start()
        for k in range(8):
            stage.feed_events(packet(k))
            stage.feed_frame(frame(k))
            if k % every == 0:
                stage.tick(None)
            time.sleep(pause)
        stage.end()
        until(lambda: len(got) == 8, "all pictures")
        stage.stop()
        return [r.restored.images for r in got if r.restored is not None]

    one, other = run(0.0, 3), run(0.01, 1)
    assert len(one) == len(other) == 8
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert any(np.any(im != im.flat[0]) for im in one), "the events left their mark, or this compares nothing"


def test_needs_of_the_network_reach_the_synchroniser(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    with_needs(monkeypatch, Needs(margin_before_us=5_000))
    stage = make("none", every_item=True)
    stage.select("slow")
    until(lambda: stage.network == "slow", "the switch")
    stage.tick(None)
    feed(stage, [1, 2])
    until(lambda: len(results) == 2, "pictures")
    o = results[-1].exposure
    assert isinstance(o, AlignedExposure)
    assert o.exposure.start_us - o.window_start_us == 5_000


def test_an_option_that_asks_for_more_events_gets_them(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    stage = make("slow", every_item=True)

    def widen(self: Slow, options: dict[str, Any]) -> None:
        self.needs = Needs(margin_before_us=int(options["window_us"]))

    monkeypatch.setattr(Slow, "set", widen)
    stage.set_options({"window_us": 4_000})
    stage.tick(None)
    feed(stage, [1])
    until(lambda: len(results) == 1, "a picture")
    o = results[0].exposure
    assert isinstance(o, AlignedExposure)
    assert o.exposure.start_us - o.window_start_us == 4_000


def unexposed(k: int) -> Frame:
    """A frame whose exposure is not known."""
    return replace(frame(k), device_end_ns=None)


@pytest.mark.parametrize(("network", "restored"), [("none", 3), ("edi", 2)])
def test_a_frame_without_exposure_reaches_networks_that_need_no_events(
    make: Make, results: list[Result], network: str, restored: int
) -> None:
    stage = make(network, every_item=True)
    for k in range(3):
        stage.feed_events(packet(k))
        stage.feed_frame(unexposed(k) if k == 1 else frame(k))
        stage.tick(None)
    until(lambda: len(results) == 3, "three outcomes")
    assert [r.exposure.ordinal for r in results] == [0, 1, 2]
    c = stage.status()["stage"]
    assert c["restored"] == restored
    assert adds_up(stage)
    odd = results[1]
    assert isinstance(odd.exposure, RefusedExposure)
    if network == "edi":
        assert odd.restored is None
        assert c["refused_by"] == {"no_exposure": 1}
        return
    assert odd.restored is not None
    assert odd.restored.flags == ("frame alone: no exposure",)
    assert np.array_equal(odd.restored.images[0], frame(1).image)
    assert results[2].restored is not None
    assert results[2].restored.flags == ()
    header, _, sharp, _ = picture_parts(odd)
    assert (header["start_us"], header["source"], header["refusal"]) == (None, "", "")
    assert header["at_us"] > 0
    assert len(sharp) == 1


def test_a_held_frame_without_exposure_is_refused_by_name_to_networks_that_need_events(
    make: Make, results: list[Result]
) -> None:
    stage = make("none", every_item=True)
    stage.feed_events(packet(0))
    stage.feed_frame(unexposed(0))
    stage.tick(None)
    until(lambda: len(results) == 1, "a picture")
    assert stage.hold(0)
    stage.request(1, (0.5,))
    until(lambda: len(results) == 2, "the answer")
    assert results[1].restored is not None
    stage.select("edi")
    until(lambda: stage.network == "edi", "the switch")
    stage.request(2, (0.5,))
    until(lambda: len(results) == 3, "the refusal")
    header, *_ = picture_parts(results[2])
    assert header["refusal"].startswith("no exposure: ")
    assert header["held"]
    assert results[2].restored is None


def test_neighbours_of_a_held_exposure_are_of_its_own_stretch(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    with_needs(monkeypatch, Needs(frames_before=1))
    stage = make("slow", every_item=True)
    feed(stage, [0, 1])
    until(lambda: len(results) == 2, "two pictures")
    assert stage.hold(1)
    for k in (5, 6):
        stage.feed_events(packet(k, epoch=1))
        stage.feed_frame(frame(k, epoch=1))
        stage.tick(None)
    until(lambda: len(results) == 4, "two more after a seek")
    stage.request(1, (0.5,))
    until(lambda: len(results) == 5, "the answer")
    assert "neighbours of the held exposure, which have gone" in results[4].failure


def test_a_source_of_frames_only(rig: Rig, results: list[Result]) -> None:
    bare = Rig.frames_only("tape", (rig.image.width, rig.image.height))
    with pytest.raises(
        UsageError, match="'edi' needs events and the source has frames only; use none or cdvd-tsp"
    ):
        RestoreStage(bare, "edi", results.append)
    stage = RestoreStage(bare, "none", results.append, every_item=True, live=False)
    stage.start()
    for k in range(3):
        stage.feed_frame(frame(k))
        stage.tick(None)
    stage.end()
    until(lambda: len(results) == 3, "three pictures")
    assert [r.restored.flags for r in results if r.restored] == [()] * 3
    with pytest.raises(UsageError, match="needs events"):
        stage.select("edi")
    assert adds_up(stage)
    stage.stop()
