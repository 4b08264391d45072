from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from capture.errors import UsageError
from capture.packets import EventPacket, Events, Frame, FrameClock, FrameKind, PixelLayout, TriggerEdges
from inference import models
from inference.models import ModelChoice
from inference.restore_stage import QUEUE_LIMIT, RestoreStage, Result
from inference.restorers.base import Needs, Restored
from inference.restorers.passthrough import PassThrough
from sync.exposure import AlignedExposure, RefusedExposure
from sync.rig import Clock, EventEntry, ImageEntry, Rig

W, H = 24, 16
PERIOD_US, EXPOSURE_US = 40_000, 30_000


@pytest.fixture
def rig() -> Rig:
    return Rig(
        events=EventEntry(camera="toy", width=W, height=H),
        image=ImageEntry(camera="toy", width=W, height=H),
        clock=Clock(relation="same"),
    )


def frame(k: int, *, kind: FrameKind = FrameKind.SENSOR, epoch: int = 0) -> Frame:
    start = (100_000 + k * PERIOD_US) * 1000
    image = np.full((H, W), 10 + k % 200, np.uint8)
    return Frame(
        image, PixelLayout.GRAY, k, start, start + EXPOSURE_US * 1000, FrameClock.EVENT, 0, kind, epoch
    )


def packet(k: int, *, epoch: int = 0) -> EventPacket:
    """Events of the period that ends with frame k's exposure."""
    end = 100_000 + k * PERIOD_US + EXPOSURE_US
    t = np.arange(end - PERIOD_US, end, 500, dtype=np.int64)
    x, y = (t // 500 % W).astype(np.uint16), (t // 700 % H).astype(np.uint16)
    return EventPacket(
        Events(t, x, y, (t // 500 % 2).astype(bool), W, H), TriggerEdges.empty(), end, epoch=epoch
    )


class Slow(PassThrough):
    """Waits for `gate` before each picture, and fails when told to."""

    name = "slow"
    gate = threading.Event()
    failures = 0
    calls: list[int] = []  # noqa: RUF012

    def restore(self, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        type(self).calls.append(window[0].ordinal)
        assert self.gate.wait(20)
        if type(self).failures > 0:
            type(self).failures -= 1
            raise RuntimeError("out of memory\nand a stack trace")
        r = super().restore(window, latents)
        return Restored(r.ordinal, r.latents, r.times_us, r.images, self.name)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> type[Slow]:
    Slow.gate, Slow.failures, Slow.calls = threading.Event(), 0, []
    monkeypatch.setitem(
        models._MODELS, "slow", (ModelChoice("slow", "toy", "none"), lambda rig, o, d: Slow(rig, o, d))
    )
    return Slow


@pytest.fixture
def results() -> list[Result]:
    return []


Make = Callable[..., RestoreStage]


@pytest.fixture
def make(rig: Rig, results: list[Result]) -> Iterator[Make]:
    stages: list[RestoreStage] = []

    def build(network: str, **options: Any) -> RestoreStage:
        stage = RestoreStage(rig, network, results.append, live=False, **options)
        stage.start()
        stages.append(stage)
        return stage

    yield build
    Slow.gate.set()
    for s in stages:
        s.stop()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.002)


def feed(stage: RestoreStage, ks: Sequence[int]) -> None:
    for k in ks:
        stage.feed_events(packet(k))
        stage.feed_frame(frame(k))
        stage.tick(None)


def adds_up(stage: RestoreStage) -> bool:
    c = stage.status()["stage"]
    return bool(
        c["exposures_in"] == c["restored"] + c["refused"] + c["failed"] + c["superseded"] + c["waiting"]
    )


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


def test_a_newer_request_replaces_one_that_waits(make: Make, slow: type[Slow], results: list[Result]) -> None:
    slow.gate.set()
    stage = make("slow", every_item=True)
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture to hold")
    assert stage.hold(0)
    slow.gate.clear()
    feed(stage, [1])
    until(lambda: slow.calls[-1] == 1, "busy")
    for n in range(1, 6):
        stage.request(n, (n / 10,))
    slow.gate.set()
    until(lambda: any(r.held for r in results), "the answer")
    time.sleep(0.05)
    assert [r.request for r in results if r.held] == [5]


@pytest.mark.parametrize("bad", [(), (1.5,), (float("nan"),)])
def test_instants_outside_the_exposure_are_refused(make: Make, bad: tuple[float, ...]) -> None:
    stage = make("none")
    with pytest.raises(ValueError, match="latent time"):
        stage.set_latents(bad)
    with pytest.raises(ValueError, match="latent time"):
        stage.request(1, bad)


def test_a_failing_network_gives_way_to_pass_through_and_says_so(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    slow.gate.set()
    slow.failures = 3
    stage = make("slow", every_item=True)
    for k in range(5):
        feed(stage, [k])
        until(lambda n=k: len(results) == n + 1, "an outcome")  # type: ignore[misc]
    assert [r.failure for r in results[:3]] == ["slow failed: RuntimeError: out of memory"] * 3
    assert [r.restored.network for r in results[3:] if r.restored] == ["none", "none"]
    assert "frames pass through" in stage.status()["message"]
    assert stage.status()["stage"]["failed"] == 3
    assert adds_up(stage)


def test_one_failure_is_not_the_end_of_a_network(make: Make, slow: type[Slow], results: list[Result]) -> None:
    slow.gate.set()
    slow.failures = 1
    stage = make("slow", every_item=True)
    for k in range(3):
        feed(stage, [k])
    until(lambda: len(results) == 3, "three outcomes")
    assert stage.network == "slow"
    assert results[2].restored is not None


def test_switching_keeps_the_old_network_until_the_new_one_is_ready(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Event()
    slow.gate.set()

    def prepare(self: Slow, width: int, height: int) -> None:
        assert ready.wait(20)

    stage = make("none", every_item=True)
    monkeypatch.setattr(Slow, "prepare", prepare)
    stage.select("slow")
    feed(stage, [0])
    until(lambda: len(results) == 1, "the old one goes on")
    assert results[0].restored is not None
    assert results[0].restored.network == "none"
    assert stage.status()["loading"] == "slow"
    ready.set()
    until(lambda: stage.network == "slow", "the switch")
    feed(stage, [1])
    until(lambda: len(results) == 2, "the new one")
    assert results[1].restored is not None
    assert results[1].restored.network == "slow"


def test_the_network_chosen_last_wins_however_long_each_takes(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, done = threading.Event(), threading.Event()

    def prepare(self: Slow, width: int, height: int) -> None:
        assert ready.wait(20)
        done.set()

    stage = make("edi", every_item=True)
    monkeypatch.setattr(Slow, "prepare", prepare)
    stage.select("slow")
    stage.select("none")
    until(lambda: stage.network == "none", "the quicker one, chosen last")
    ready.set()
    assert done.wait(20)
    feed(stage, [0, 1])
    until(lambda: len(results) == 2, "two pictures")
    assert stage.network == "none"
    assert stage.status()["loading"] == ""


def test_a_network_that_cannot_be_loaded_leaves_the_old_one(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make("none", every_item=True)
    with pytest.raises(UsageError, match=r"unknown network 'magic'; known: .*edi"):
        stage.select("magic")

    def broken(self: Slow, width: int, height: int) -> None:
        raise MemoryError("3 GB wanted")

    monkeypatch.setattr(Slow, "prepare", broken)
    stage.select("slow")
    until(lambda: bool(stage.status()["message"]), "the reason")
    assert stage.status()["message"] == (
        "network slow could not be loaded: MemoryError: 3 GB wanted; none goes on"
    )
    feed(stage, [0])
    until(lambda: len(results) == 1, "the old one goes on")


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
    original = Slow.__init__

    def lagging(self: Slow, *a: Any) -> None:
        original(self, *a)
        self.needs = Needs(frames_after=1)

    def restore(self: Slow, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        return PassThrough.restore(self, window[:1], latents)

    monkeypatch.setattr(Slow, "__init__", lagging)
    monkeypatch.setattr(Slow, "restore", restore)
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
    stage = make("none", every_item=True)
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
    original = Slow.__init__

    def wide(self: Slow, *a: Any) -> None:
        original(self, *a)
        self.needs = Needs(margin_before_us=5_000)

    stage = make("none", every_item=True)
    monkeypatch.setattr(Slow, "__init__", wide)
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
