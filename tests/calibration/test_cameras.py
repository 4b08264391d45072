"""Whose rig file it is: of the cameras that its geometry was measured with."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from calibration.geometry.collect import Missed
from calibration.run import Options, calibrate
from calibration.take import Take
from calibration.time.result import Verdict
from sync.rig import Rig
from tests.calibration.test_target_views import RIG, blinking

THERE = {"events": "new", "image": "same"}


@dataclass
class Measured:
    """A geometry, as far as `calibrate` looks at it."""

    image_from_event: object = True
    verdict: str = "pass"
    problems: list[str] = field(default_factory=list)

    def applied(self, rig: Rig, measured: str, report: str) -> Rig:
        return rig.model_copy(update={"note": measured})


def of(event_serial: str) -> Rig:
    geometry = RIG.geometry.model_copy(update={"residual_px": 0.1})
    events = RIG.events.model_copy(update={"serial": event_serial})
    return RIG.model_copy(update={"events": events, "geometry": geometry})


def serials(rig: Rig) -> tuple[str, str]:
    return rig.events.serial, rig.image.serial


def test_the_geometry_of_other_cameras_does_not_become_that_of_those_which_are_there() -> None:
    c = calibrate(of("old"), [Take("scene", blinking, THERE)])
    assert c.geometry is None
    assert serials(c.rig) == ("old", "")
    assert c.verdict is Verdict.FAIL
    assert [v for step, _, v in c.problems() if step == "geometry"] == [Verdict.FAIL]
    kept = calibrate(of("old"), [Take("scene", blinking, THERE)], Options(keep_geometry=True))
    assert serials(kept.rig) == ("old", "")
    assert kept.verdict is Verdict.WARN
    assert any("of the event camera old, but new is there" in text for _, text, _ in kept.problems())


def test_one_s_own_geometry_is_worth_something() -> None:
    c = calibrate(of("new"), [Take("scene", blinking, THERE)])
    assert serials(c.rig) == ("new", "same")
    assert [v for step, _, v in c.problems() if step == "geometry"] == [Verdict.WARN]


def test_a_geometry_that_was_measured_is_of_the_cameras_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    none: list[Missed] = []
    monkeypatch.setattr("calibration.run._geometry", lambda *a: (Measured(), "a board", none, None))
    c = calibrate(of("old"), [Take("scene", blinking, THERE)])
    assert serials(c.rig) == ("new", "same")
    assert c.rig.note.startswith("a board")
    assert c.verdict is Verdict.WARN  # nothing moves
    assert not any("is there" in text for _, text, _ in c.problems())
