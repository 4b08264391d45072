"""Re-blur residuals beside the stream: of the held exposure, or of a recent one now and then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from inference import watching
from inference.kept import KEPT_EXPOSURES
from inference.outcomes import Result
from inference.residual import INSTANTS, measure
from inference.restorers.base import LatentTimes, Needs, Restored
from inference.restorers.edi import EdiRestorer
from inference.worker import picture_parts
from sync.exposure import AlignedExposure
from sync.rig import Rig
from tests.inference.stage.toys import Make, Slow, adds_up, feed, until

CONTRAST = {"contrast": 0.2}


def measured(results: list[Result]) -> list[Result]:
    return [r for r in results if r.residual is not None]


def stream(results: list[Result]) -> list[Result]:
    return [r for r in results if r.residual is None and not r.held]


def test_nothing_is_measured_unasked(make: Make, results: list[Result]) -> None:
    stage = make("edi", every_item=True, options=CONTRAST)
    feed(stage, range(3))
    until(lambda: len(results) == 3, "three pictures")
    time.sleep(0.1)
    assert not measured(results)


def test_a_recent_exposure_with_its_pictures(make: Make, results: list[Result], rig: Rig) -> None:
    stage = make("edi", every_item=True, options=CONTRAST)
    feed(stage, range(3))
    until(lambda: len(results) == 3, "three pictures")
    stage.watch_residual(True)
    until(lambda: bool(measured(results)), "a residual")
    (m,) = measured(results)
    assert m.exposure.ordinal == 2
    assert isinstance(m.exposure, AlignedExposure)
    want = measure(EdiRestorer(rig, CONTRAST, "cpu"), [m.exposure])
    assert want is not None
    assert m.residual is not None
    assert m.residual.rms == want.rms
    assert m.restored is not None
    assert m.restored is stream(results)[2].restored
    assert not m.held
    time.sleep(0.3)
    assert len(measured(results)) == 1, "the same exposure is not measured twice"
    assert stage.status()["stage"]["restored"] == 3, "it counts for no exposure"
    assert adds_up(stage)
    header, _, sharp, (residual, *_) = picture_parts(m)
    assert header["residual"] == want.rms
    np.testing.assert_array_equal(residual, want.coded())
    assert len(sharp) == 1
    stage.watch_residual(False)
    feed(stage, [3])
    until(lambda: len(stream(results)) == 4, "another picture")
    time.sleep(0.1)
    assert len(measured(results)) == 1


def test_the_held_exposure_once_for_each_network_and_option(make: Make, results: list[Result]) -> None:
    stage = make("edi", every_item=True, options=CONTRAST)
    feed(stage, range(3))
    until(lambda: len(results) == 3, "three pictures")
    stage.hold(1)
    stage.watch_residual(True)
    until(lambda: len(measured(results)) == 1, "of the held one")
    (m,) = measured(results)
    assert (m.exposure.ordinal, m.held, m.restored) == (1, True, None)
    time.sleep(0.1)
    assert len(measured(results)) == 1
    stage.set_options({"contrast": 0.6})
    until(lambda: len(measured(results)) == 2, "with other options")
    stage.select("none")
    until(lambda: len(measured(results)) == 3, "by another network")
    last = measured(results)[-1]
    assert last.residual is not None
    assert last.residual.rms == 0
    assert last.exposure.ordinal == 1
    stage.hold(2)
    until(lambda: measured(results)[-1].exposure.ordinal == 2, "another held one")


def test_the_exposure_that_was_measured_last_can_be_held_however_old_it_is(
    make: Make, results: list[Result]
) -> None:
    stage = make("edi", every_item=True, options=CONTRAST)
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    stage.watch_residual(True)
    until(lambda: bool(measured(results)), "its residual")
    stage.watch_residual(False)
    feed(stage, range(1, KEPT_EXPOSURES + 3))
    until(lambda: len(stream(results)) == KEPT_EXPOSURES + 3, "many more")
    assert not stage.hold(1)
    assert stage.hold(0)
    stage.request(1, (0.25,))
    until(lambda: any(r.held for r in results), "the answer")
    answer = next(r for r in results if r.held)
    assert answer.restored is not None
    assert answer.exposure.ordinal == 0


def test_networks_of_fixed_instants_are_left_alone(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.gate.set()
    original = Slow.__init__

    def fixed(self: Slow, *a: Any) -> None:
        original(self, *a)
        self.needs = Needs(latent=LatentTimes.FIXED, fixed_latents=(0.5,))

    monkeypatch.setattr(Slow, "__init__", fixed)
    stage = make("slow", every_item=True)
    stage.watch_residual(True)
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    time.sleep(0.1)
    assert not measured(results)
    assert len(slow.calls) == 1


def test_the_stream_goes_first(make: Make, slow: type[Slow], results: list[Result]) -> None:
    slow.gate.set()
    stage = make("slow", every_item=True)
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    stage.watch_residual(True)
    until(lambda: bool(measured(results)), "its residual")
    slow.gate.clear()
    slow.calls.clear()
    feed(stage, range(1, 9))
    until(lambda: bool(slow.calls), "busy")
    slow.gate.set()
    until(lambda: len(measured(results)) == 2, "the next residual")
    assert slow.calls[:8] == list(range(1, 9)), "no step while pictures of the stream waited"
    assert slow.calls[8:] == [8] * INSTANTS
    assert adds_up(stage)


def test_a_stream_that_never_rests_gives_up_a_turn_now_and_then(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "STARVED_S", 0.0)
    slow.gate.set()
    stage = make("slow", every_item=True)
    stage.watch_residual(True)
    slow.gate.clear()
    feed(stage, range(8))
    until(lambda: bool(slow.calls), "busy")
    slow.gate.set()
    until(lambda: len(stream(results)) == 8, "all pictures")
    until(lambda: bool(measured(results)), "a residual")
    steps = [k for k in range(1, len(slow.calls)) if slow.calls[k] <= slow.calls[k - 1]]
    assert steps[0] < slow.calls.index(7), "it did not wait for the end of the stream"


def test_measuring_takes_a_quarter_of_the_time_at_most(
    make: Make, slow: type[Slow], results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[float] = []
    original = Slow.restore

    def restore(self: Slow, window: Sequence[AlignedExposure], latents: Sequence[float]) -> Restored:
        time.sleep(0.01)
        spent.append(time.monotonic())
        return original(self, window, latents)

    slow.gate.set()
    monkeypatch.setattr(Slow, "restore", restore)
    monkeypatch.setattr(watching, "EVERY_S", 0.0)
    stage = make("slow", every_item=True)
    stage.watch_residual(True)
    feed(stage, [0])
    until(lambda: len(measured(results)) == 1, "the first")
    first = spent[-1]
    feed(stage, [1])
    until(lambda: len(measured(results)) == 2, "the second")
    began = spent[-INSTANTS]
    cost = INSTANTS * 0.01
    assert began - first > 0.9 * watching.REST * cost


def test_a_failing_measurement_leaves_the_network_and_says_so(
    make: Make, slow: type[Slow], results: list[Result]
) -> None:
    slow.gate.set()
    stage = make("slow", every_item=True)
    feed(stage, [0])
    until(lambda: len(results) == 1, "a picture")
    slow.failures = 1
    stage.watch_residual(True)
    until(lambda: bool(stage.status()["message"]), "the reason")
    assert stage.status()["message"] == "no re-blur residual: slow failed: RuntimeError: no kernel image"
    assert stage.network == "slow"
    feed(stage, [1])
    until(lambda: len(stream(results)) == 2, "the stream goes on")
    assert not measured(results)
    stage.watch_residual(True)
    until(lambda: bool(measured(results)), "asked for again it is tried again")
    assert stage.status()["message"] == ""


def test_it_may_be_switched_while_a_step_is_under_way(
    make: Make, results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the caller's thread, under a lock that the restoring thread does not hold all that time."""
    stage = make("edi", every_item=True, options=CONTRAST)
    feed(stage, range(3))
    until(lambda: len(results) == 3, "three pictures")
    watch, real = stage._watch, watching.ResidualWatch._current
    looks = 0

    def looked(self: watching.ResidualWatch, engine: Any) -> Any:
        nonlocal looks
        found = real(self, engine)
        looks += found is not None
        if looks == 2 and found is not None:  # the first one is the question when a step is due
            self.forget()
        return found

    monkeypatch.setattr(watching.ResidualWatch, "_current", looked)
    stage.watch_residual(True)
    until(lambda: looks >= 2, "it was forgotten in the middle of it")
    stage.watch_residual(True)
    feed(stage, [3])
    until(lambda: len(stream(results)) == 4, "the stream goes on")
    until(lambda: bool(measured(results)), "and so does measuring")
    stage.tick(None)  # raises what has ended the restoring thread
    assert watch.fault == ""
