"""Which cameras could be chosen for a rig: what is connected, the simulated ones, an address that was typed.

Looking takes seconds and may meet libraries that crash, so it happens beside: `RigDiscovery`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from capture import registry
from capture.camera import CameraRole
from capture.errors import CameraError, HalfmirrorError, UsageError
from capture.link import one_line
from capture.registry import CameraName, open_driver

if TYPE_CHECKING:
    from app.cli.device_survey import Survey

EXAMPLES = "genicam:192.168.1.20, aedat4-tcp:HOST:PORT or webcam:0"


@dataclass(frozen=True, slots=True)
class Choice:
    """A camera that may be chosen.

    Attributes:
        name: what opens it; "" where nothing does.
        facts: one line about it.
        events, frames: what it gives.
        usb_speed: as the system tells it.
        size: (width, height) of its frames, or of its events if it has no frames; (0, 0) unknown.
        rate_hz: frames a second, 0 unknown.
    """

    name: str
    facts: str
    events: bool
    frames: bool
    usb_speed: str = ""
    size: tuple[int, int] = (0, 0)
    rate_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """One look.

    Attributes:
        choices: what is connected.
        line: one line for a person.
        missing: one line of what is lacking for other cameras, "" for nothing.
        remedies: the same with all that is to be done, in lines.
    """

    choices: tuple[Choice, ...]
    line: str
    missing: str = ""
    remedies: str = ""


def simulated() -> tuple[Choice, ...]:
    """The simulated rigs."""
    from capture.simulated.driver import DRIVER

    found: dict[str, Choice] = {}
    for info in DRIVER.discover():
        size, events = (info.width, info.height), info.role is CameraRole.EVENTS
        if events:
            found[info.name] = Choice(info.name, f"{size[0]}×{size[1]} events", True, True)
        else:
            c = found[info.name]
            facts = f"{c.facts} · {size[0]}×{size[1]} at {info.rate_hz:.3g} fps"
            found[info.name] = replace(c, facts=facts, size=size, rate_hz=info.rate_hz)
    return tuple(found.values())


def from_survey(s: Survey) -> Found:
    """What `halfmirror devices` finds, as choices: a camera that gives both streams is one."""
    found: dict[tuple[str, str, str], Choice] = {}
    for d in s.devices:
        key = (str(d["name"]), str(d.get("serial", "")), str(d.get("model", "")))
        events, frames = d.get("role") == CameraRole.EVENTS.value, d.get("role") == CameraRole.FRAMES.value
        before = found.get(key)
        if before is not None:
            found[key] = replace(before, events=before.events or events, frames=before.frames or frames)
            continue
        size = int(d.get("width") or 0), int(d.get("height") or 0)
        facts = (
            str(d.get("model", "")), str(d.get("serial", "")) if str(d.get("serial", "")) not in key[0] else "",
            f"{size[0]}×{size[1]}" if all(size) else "", str(d.get("usb_speed", "")),
            "" if d.get("access", True) else "no permission: its udev rule is missing",
            "" if key[0] else "nothing here can open it",
        )  # fmt: skip
        line = " · ".join(f for f in facts if f)
        found[key] = Choice(key[0], line, events, frames, str(d.get("usb_speed", "")), size)
    n = len(found)
    line = "No camera is connected." if not n else f"{n} camera{'s' if n > 1 else ''} found."
    lacks = "\n".join(x for m in s.missing for x in (str(m["what"]), *(str(y) for y in m.get("do", ()))))
    missing = ""
    if s.missing:
        more = f" (+{len(s.missing) - 1})" if len(s.missing) > 1 else ""
        missing = f"Missing{more}: {s.missing[0]['what'].split(':')[0]}"
    return Found(tuple(found.values()), line, missing, lacks)


def inspected(text: str) -> Choice:
    """A camera by the name that was typed: which streams it gives, without opening it.

    Raises:
        UsageError: no such camera, a misspelt name, a recording.
        CameraError: what serves it is missing.
    """
    name = text.strip()
    # A driver that opens nothing by its bare name says so itself.
    if ":" not in name and name not in registry.names():
        raise UsageError(f"{name or 'nothing'} is no camera; give for example {EXAMPLES}")
    if CameraName.parse(name).driver == "replay":
        raise UsageError(f"{name} is a recording, not a camera; open it by the menu Source")
    driver, config = open_driver(name)
    gives, why = [False, False], ""
    for i, make in enumerate((driver.event_camera, driver.frame_camera)):
        try:
            make(config)
            gives[i] = True
        except CameraError as e:
            why = one_line(e)
    if not any(gives):
        raise CameraError(why)
    return Choice(name, "typed", gives[0], gives[1])


def _survey() -> Survey:
    from app.cli.device_survey import survey

    return survey()


class RigDiscovery:
    """Looks for cameras in a thread of its own; the newest answer is taken when it is there.

    Args:
        survey: what looks; whatever it raises becomes a line.

    Attributes:
        looking: a look is under way.
        standing: what is always there; () until the first look has begun.
    """

    def __init__(self, survey: Callable[[], Survey] = _survey) -> None:
        self._survey = survey
        self._guard = threading.Lock()
        self._found: Found | None = None
        self._typed: list[tuple[str, Choice | str]] = []
        self._threads: list[threading.Thread] = []
        self.looking = False
        self.standing: tuple[Choice, ...] = ()

    def look(self) -> None:
        """Look now; while a look is under way that one will do."""
        with self._guard:
            if self.looking:
                return
            self.looking = True
        self._run(self._look)

    def inspect(self, text: str) -> None:
        """Find out what a typed name opens."""
        self._run(lambda: self._inspect(text))

    def take(self) -> Found | None:
        """The newest look since the last call."""
        with self._guard:
            found, self._found = self._found, None
            return found

    def take_typed(self) -> list[tuple[str, Choice | str]]:
        """(typed, choice or why not) since the last call."""
        with self._guard:
            typed, self._typed = self._typed, []
            return typed

    def stop(self) -> None:
        """What is under way is not waited for: it ends by itself."""
        with self._guard:
            self._threads.clear()

    def _run(self, work: Callable[[], Any]) -> None:
        thread = threading.Thread(target=work, name="looking for cameras", daemon=True)
        with self._guard:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _look(self) -> None:
        try:
            if not self.standing:
                self.standing = simulated()  # its import takes a while, too
            found = from_survey(self._survey())
        except Exception as e:  # whatever it is: the page goes on with what can be typed
            found = Found((), f"Cameras cannot be looked for ({one_line(e)}).")
        with self._guard:
            self._found, self.looking = found, False

    def _inspect(self, text: str) -> None:
        answer: Choice | str
        try:
            answer = inspected(text)
        except HalfmirrorError as e:
            answer = one_line(e)
        except Exception as e:  # a driver of somebody else may raise anything
            answer = f"{text}: {one_line(e)}"
        with self._guard, contextlib.suppress(RuntimeError):
            self._typed.append((text, answer))
