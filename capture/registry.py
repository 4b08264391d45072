"""Cameras by name: `simulated:handheld`, `replay:FILE`, `davis346:SERIAL` → configuration → driver.

A driver is imported only when it is chosen. Third parties add one by an entry point in the group
`halfmirror.cameras`, whose name is the part before the colon and whose object is a `Driver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from capture.camera import CameraInfo, EventCamera, FrameCamera
from capture.errors import CameraError, HalfmirrorError, UsageError, first_line
from capture.validation import did_you_mean

GROUP = "halfmirror.cameras"

# Drivers of our own, so that a source tree that was never installed works too. Same form as an entry point.
BUILT_IN: dict[str, str] = {
    "simulated": "capture.simulated.driver:DRIVER",
    "replay": "recordings.replay:DRIVER",
    "genicam": "capture.genicam.driver:GENICAM",
    "flir": "capture.genicam.driver:FLIR",
    "flir-spinnaker": "capture.spinnaker:DRIVER",
    "webcam": "capture.webcam:DRIVER",
    "davis346": "capture.inivation.driver:DAVIS",
    "aedat4-tcp": "capture.inivation.driver:TCP",
    "aedat4-unix": "capture.inivation.driver:UNIX",
    "evk4": "capture.prophesee.driver:EVK4",
    "evk3": "capture.prophesee.driver:EVK3",
    "metavision": "capture.prophesee.driver:METAVISION",
}


@dataclass(frozen=True)
class RigFacts:
    """What a driver that serves both cameras knows of the rig they form, in plain values.

    Attributes:
        event_size, image_size: (width, height) in pixels.
        image_from_event: (3, 3) float64, event pixel → image pixel, pixel centres at integers, the mirror
            flip included.
        tone: "srgb" when the frames are sRGB-encoded, "linear" when proportional to light.
        one_sensor: both streams come from the same pixels and the same clock (DAVIS).
        exact: the values are known (simulation, one sensor), not assumed.
        threshold_on, threshold_off: log-intensity contrast thresholds when known, else None.
        host_latency_ms: from the end of an exposure to the frame's arrival, when known, else None.
        note: how the values came about.
        rolling_us: how much later the last row is exposed than the first, 0 with a global shutter.
    """

    event_size: tuple[int, int]
    image_size: tuple[int, int]
    image_from_event: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    tone: str = "linear"
    one_sensor: bool = False
    exact: bool = False
    threshold_on: float | None = None
    threshold_off: float | None = None
    note: str = ""
    host_latency_ms: float | None = None
    rolling_us: float = 0.0


class Driver(Protocol):
    """A family of cameras that open by a name."""

    name: str

    def configure(self, rest: str, settings: Mapping[str, Any]) -> BaseModel:
        """The validated configuration out of what follows the colon and of named settings.

        Raises:
            UsageError: unknown preset, unknown setting, value out of range, file not there. A ValueError,
                pydantic's among them, is told as one.
        """

    def discover(self) -> list[CameraInfo]:
        """What could be opened now. Never raises."""

    def event_camera(self, config: BaseModel) -> EventCamera:
        """The event camera; `CameraError` when there is none or an SDK is missing (says what to install)."""

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """The frame camera; `CameraError` when the driver has none."""

    def pair(self, config: BaseModel) -> tuple[EventCamera, FrameCamera] | None:
        """Both cameras when they must live in one process (replay); None when each may have its own."""

    def rig_facts(self, config: BaseModel) -> RigFacts | None:
        """What is known of the rig, or None (real cameras: a rig file tells)."""


class FramesOnlyDriver:
    """What drivers of a frame camera alone share. Theirs are `name`, `configure` and `frame_camera`."""

    name: str

    def discover(self) -> list[CameraInfo]:
        """See `Driver`; nothing is looked for."""
        return []

    def event_camera(self, config: BaseModel) -> EventCamera:
        """There is none."""
        raise CameraError(f"{self.name}: this is a frame camera; name an event camera for the events")

    def pair(self, config: BaseModel) -> tuple[EventCamera, FrameCamera] | None:
        """None: a frame camera alone."""
        return None

    def rig_facts(self, config: BaseModel) -> RigFacts | None:
        """None: a rig file tells."""
        return None


def names() -> list[str]:
    """Names of all drivers that could be chosen, sorted."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group=GROUP))})


@dataclass(frozen=True)
class ThirdParty:
    """A driver that another package brings.

    Attributes:
        name: before the colon.
        target: `module:object`.
        package: name and version of what brings it, "" where that is not known.
        hidden: a driver of ours, or of a package that is found earlier, has the same name: it is never loaded.
    """

    name: str
    target: str
    package: str
    hidden: bool


def third_parties() -> list[ThirdParty]:
    """Drivers of other packages, by name; none is imported."""
    taken, out = set(BUILT_IN), []
    for e in entry_points(group=GROUP):
        if BUILT_IN.get(e.name) == e.value:
            continue  # our own, where this program is installed
        dist = e.dist
        package = "" if dist is None else f"{dist.name} {dist.version}"
        out.append(ThirdParty(e.name, e.value, package, e.name in taken))
        taken.add(e.name)
    return sorted(out, key=lambda t: (t.name, t.hidden))


def driver(name: str) -> Driver:
    """The driver of this name, imported now.

    Raises:
        UsageError: no such name; the message lists the known ones.
        CameraError: the driver's module cannot be imported, whatever it fails over.
    """
    ours = BUILT_IN.get(name)
    target = EntryPoint(name, ours, GROUP) if ours is not None else None
    if target is None:
        target = next((e for e in entry_points(group=GROUP) if e.name == name), None)
    if target is None:
        raise UsageError(f"unknown camera {name!r}; {did_you_mean(name, names())}known: {', '.join(names())}")
    try:
        found: Driver = target.load()
    except HalfmirrorError:
        raise
    except Exception as e:  # a maker's library may raise anything
        kind = "" if isinstance(e, ImportError | AttributeError) else f"{type(e).__name__}: "
        where = f"camera {name!r}: its driver {target.value}"
        raise CameraError(f"{where} cannot be loaded ({kind}{first_line(e)})") from e
    return found


@dataclass(frozen=True)
class CameraName:
    """A camera's name taken apart: `driver:rest`."""

    driver: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> CameraName:
        """`simulated:handheld` → driver `simulated`, rest `handheld`; without a colon the rest is empty."""
        d, _, rest = text.partition(":")
        if not d:
            raise UsageError(f"camera name {text!r} is empty before the colon; known: {', '.join(names())}")
        return cls(d, rest)

    def __str__(self) -> str:
        return f"{self.driver}:{self.rest}" if self.rest else self.driver


def open_driver(text: str, settings: Mapping[str, Any] | None = None) -> tuple[Driver, BaseModel]:
    """Driver and validated configuration for a name such as `simulated:handheld`.

    Raises:
        UsageError: no such driver, or its configuration is refused.
        CameraError: see `driver`.
    """
    n = CameraName.parse(text)
    d = driver(n.driver)
    try:
        return d, d.configure(n.rest, settings or {})
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(k) for k in first["loc"])
        raise UsageError(f"camera {text!r}: {key or 'settings'}: {first['msg']}") from e
    except ValueError as e:  # int("") of a driver that leaves it at that
        raise UsageError(f"camera {text!r}: {first_line(e)}") from e
