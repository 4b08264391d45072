"""Which cameras are offered: found, simulated, typed; looking never raises and never waits."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from app.cli.device_survey import Survey
from app.rig_discovery import Choice, Found, RigDiscovery, from_survey, inspected, simulated
from capture.errors import CameraError, UsageError


def device(name: str, role: str, serial: str = "", **more: Any) -> dict[str, Any]:
    return {
        "name": name, "role": role, "serial": serial, "model": "a camera", "width": 346, "height": 260,
        "usb_speed": "USB 3, 5 Gbit/s", "access": True, **more,
    }  # fmt: skip


def test_one_camera_with_both_streams_is_one_choice() -> None:
    found = from_survey(Survey([device("davis346:7", "events", "7"), device("davis346:7", "frames", "7")]))
    (c,) = found.choices
    assert (c.name, c.events, c.frames) == ("davis346:7", True, True)
    assert "346×260" in c.facts
    assert found.line == "1 camera found."


def test_two_of_the_same_kind_are_two_choices() -> None:
    found = from_survey(Survey([device("evk4:1", "events", "1"), device("evk4:2", "events", "2")]))
    assert [c.name for c in found.choices] == ["evk4:1", "evk4:2"]
    assert not any(c.frames for c in found.choices)
    assert found.line == "2 cameras found."


def test_what_nothing_serves_is_shown_and_what_is_missing_told_in_one_line() -> None:
    found = from_survey(
        Survey(
            [device("", "", "9", access=False)],
            missing=[
                {"what": "no udev rules for FLIR: only root", "do": ["a rule"]},
                {"what": "more", "do": []},
            ],
        )
    )
    (c,) = found.choices
    assert c.name == ""
    assert "nothing here can open it" in c.facts
    assert "udev rule is missing" in c.facts
    assert found.line == "1 camera found."
    assert found.missing == "Missing (+1): no udev rules for FLIR"
    assert found.remedies == "no udev rules for FLIR: only root\na rule\nmore"
    assert from_survey(Survey()).missing == ""
    assert from_survey(Survey()).line == "No camera is connected."


def test_simulated_rigs_are_always_there() -> None:
    names = {c.name: c for c in simulated()}
    davis = names["simulated:davis"]
    assert davis.events
    assert davis.frames
    assert davis.size == (346, 260)
    assert "25 fps" in davis.facts


@pytest.mark.parametrize(
    ("text", "events", "frames"),
    [
        ("genicam:10.0.0.2", False, True),
        (" webcam:0 ", False, True),
        ("evk4:1", True, False),
        ("aedat4-tcp:127.0.0.1:7777", True, False),
        ("aedat4-tcp:127.0.0.1:7777?frames=7778", True, True),
        ("simulated:davis", True, True),
        ("davis346", True, True),
        ("flir-spinnaker", False, True),
    ],
)
def test_what_was_typed(text: str, events: bool, frames: bool) -> None:
    c = inspected(text)
    assert (c.name, c.events, c.frames) == (text.strip(), events, frames)


@pytest.mark.parametrize(
    "text", ["", "   ", "nonsense", "genicam:300.1.1.1", "aedat4-tcp:here", "replay:x", "nobody:1", "webcam:x"]
)
def test_what_cannot_be_typed_is_told_in_one_line(text: str) -> None:
    with pytest.raises((UsageError, CameraError)) as e:
        inspected(text)
    assert str(e.value)
    assert "\n" not in str(e.value)


def wait_for(d: RigDiscovery) -> Found:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (found := d.take()) is not None:
            return found
        time.sleep(0.005)
    raise AssertionError("no answer")


def test_looking_does_not_wait_and_happens_once_at_a_time() -> None:
    gate, calls = threading.Event(), []

    def slow() -> Survey:
        calls.append(1)
        gate.wait(10)
        return Survey([device("evk4:1", "events")])

    d = RigDiscovery(slow)
    began = time.monotonic()
    d.look()
    d.look()
    assert time.monotonic() - began < 5, "it would be 10 s"
    assert d.looking
    assert d.take() is None
    gate.set()
    assert [c.name for c in wait_for(d).choices] == ["evk4:1"]
    assert len(calls) == 1
    assert not d.looking


def test_a_look_that_fails_is_a_line() -> None:
    def broken() -> Survey:
        raise RuntimeError("the bus\nis on fire")

    d = RigDiscovery(broken)
    d.look()
    found = wait_for(d)
    assert found.choices == ()
    assert found.line == "Cameras cannot be looked for (RuntimeError: the bus is on fire)."
    d.look()
    wait_for(d)


def test_typed_names_are_looked_into_beside() -> None:
    d = RigDiscovery(Survey)
    d.inspect("genicam:10.0.0.2")
    d.inspect("nonsense")
    deadline, answers = time.monotonic() + 10, {}
    while len(answers) < 2 and time.monotonic() < deadline:
        answers.update(d.take_typed())
        time.sleep(0.005)
    assert isinstance(answers["genicam:10.0.0.2"], Choice)
    assert "is no camera" in str(answers["nonsense"])
