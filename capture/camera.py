"""What a camera is: protocols, capabilities, states, and the two read contracts.

Both contracts hold for every driver, the simulated ones and replay included:

* **next in order** (`read`): every item, once, oldest first. Nothing is skipped in silence; what the device
  lost is in the item's own counters.
* **latest** (`read_latest`): the newest item not older than a limit, for a reader that wants now. What it
  passes over is counted in `superseded`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from capture.errors import CameraError, StaleError
from capture.packets import EventPacket, Frame

Progress = Callable[[float], None]

DRAIN_S = 1.0
"""How long `read_latest` goes on draining a source that always has a next item."""

Item = TypeVar("Item", bound=EventPacket | Frame, covariant=True)


class CameraState(StrEnum):
    """Where a camera, or the worker that holds it, stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAULTED = "faulted"


class CameraRole(StrEnum):
    """Which of the rig's two cameras."""

    EVENTS = "events"
    FRAMES = "frames"


@dataclass(frozen=True, slots=True)
class Control:
    """A setting as a control for a person: what it is now and what it may be.

    Attributes:
        name: of the setting, as `command("set", …)` takes it.
        value: now; a number, one of `choices`, or True and False (a switch).
        minimum, maximum, step: of a number, None where the device does not say. They may depend on other
            settings: read them again after a change.
        unit: of a number, for a person.
        choices: of a choice.
    """

    name: str
    value: float | int | str | bool
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a camera can do; the viewer greys the rest.

    Attributes:
        live: paced by the world (False: a file that can be read at any speed).
        seekable: `seek_us` works.
        triggers: the event camera delivers trigger edges.
        exposure_stamps: frames carry both exposure stamps.
        event_clock: frames are stamped on the event camera's clock (one sensor gives both).
        faults: faults can be asked for (`command("fault", …)`).
        shutter: "global", "rolling" or "global reset" (rows open together and close one after another), as the
            frame camera says; "" when it does not.
        settings: names of settings that `command("set", …)` takes.
        controls: those of them that a person turns while the camera runs, as of opening; `command("controls",
            {})` reads them again.
    """

    live: bool = True
    seekable: bool = False
    triggers: bool = False
    exposure_stamps: bool = False
    event_clock: bool = False
    faults: bool = False
    shutter: str = ""
    settings: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """Who a camera is.

    Attributes:
        role: events or frames.
        name: the URI-like name that it was opened by.
        model, serial: as the device tells, "" when unknown.
        width, height: pixels of one item.
        rate_hz: frames per second when known (frame cameras), else 0.
        pixel_bytes: of a frame; 1 of gray and Bayer, 3 of colour, and where that is not known yet.
    """

    role: CameraRole
    name: str
    model: str
    serial: str
    width: int
    height: int
    rate_hz: float = 0.0
    capabilities: Capabilities = field(default_factory=Capabilities)
    pixel_bytes: int = 3


class EndOfStream(Exception):
    """A finite source has given its last item. Not an error."""


@runtime_checkable
class Camera(Protocol[Item]):
    """An event camera (`Camera[EventPacket]`) or a frame camera (`Camera[Frame]`).

    Life: `open` → `start` → `read`… → `stop` → `close`. Open and close are idempotent; close stops first.
    `stop` returns within 2 s whatever the device does.
    """

    info: CameraInfo
    superseded: int

    def open(self, progress: Progress | None = None) -> None:
        """Connect. Raises `CameraError` in one sentence when it cannot.

        `progress` is called now and then with a share 0…1 when opening takes longer than a second.
        """

    def start(self, epoch_ns: int = 0) -> None:
        """Begin to deliver items.

        `epoch_ns` (`time.monotonic_ns`) is when the common time axis of a simulated or replayed rig begins,
        so that cameras in different processes keep step, a restarted one too; 0 means now. Real cameras
        ignore it.
        """

    def read(self, timeout_s: float) -> Item | None:
        """The next item in order, or None when none came in time.

        Raises:
            EndOfStream: the source is finite and at its end.
            CameraLost: the device is gone.
        """

    def read_latest(self, max_age_s: float, timeout_s: float) -> Item:
        """The newest item, arrived at most `max_age_s` ago; waits up to `timeout_s` for one.

        Raises:
            StaleError: nothing new enough came in time.
        """

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A request by name (`set`, `fault`, `seek`, `speed`, `pause`, …); raises `CameraError` if unknown."""

    def counters(self) -> dict[str, int]:
        """What the driver counts since opening: items delivered, and lost by cause; {} if nothing.

        Of a frame camera that counts, `delivered` is what `read` gave and `missing` what is lacking between
        those, so that together they are as many as the sequence numbers say.
        """

    def waits_for(self) -> str:
        """What must happen before an item comes, for people, as pulses at a trigger; "" where nothing must.

        Asked from any thread, also while it reads.
        """

    def stop(self) -> None:
        """Deliver no more."""

    def close(self) -> None:
        """Release the device."""


EventCamera = Camera[EventPacket]
FrameCamera = Camera[Frame]


class Breaks:
    """Marks the first frame after a camera was started again, for drivers of frame cameras."""

    def __init__(self) -> None:
        self._started = self._due = False

    def begin(self, again: bool = False) -> None:
        """The camera starts to deliver; `again`: it has before, in another life."""
        self._due, self._started = self._started or again, True

    def mark(self, frame: Frame) -> Frame:
        """The frame, with `gap` when it is the first one since."""
        due, self._due = self._due, False
        return replace(frame, gap=True) if due else frame


LIMITED = "limited_tenths_of_s"
"""Of `Camera.counters`: tenths of a second in which an event camera's rate limiter was at work. It throws away
in silence: this is the one loss that no item tells of."""


def limited_s(cameras: Mapping[str, Mapping[str, int]]) -> float:
    """Seconds for which event rates were limited, out of counters by role."""
    return sum(counts.get(LIMITED, 0) for counts in cameras.values()) / 10


class CameraBase(Generic[Item]):
    """What drivers share: the latest contract on top of `read`, context management, an empty `command`."""

    info: CameraInfo
    superseded: int = 0

    def read(self, timeout_s: float) -> Item | None:
        """See `Camera.read`."""
        raise CameraError(f"{type(self).__name__} does not say how to read")

    def read_latest(self, max_age_s: float, timeout_s: float) -> Item:
        """See `Camera.read_latest`. Drains what waits, keeps the newest, counts the rest as superseded."""
        deadline = time.monotonic() + timeout_s
        newest: Item | None = None
        while True:
            # Once something was found, only what already waits is drained: no more waiting.
            wait = 0.0 if newest is not None else max(0.0, deadline - time.monotonic())
            try:
                item = self.read(wait)
            except EndOfStream:
                if newest is None:
                    raise
                item = None  # the last item of a finite source is its newest; the next call says the end
            if item is not None:
                if newest is not None:
                    self.superseded += 1
                newest = item
                # A source that is read as fast as one likes never runs dry.
                if time.monotonic() < deadline + DRAIN_S:
                    continue
            if newest is not None and time.monotonic_ns() - newest.host_ns <= max_age_s * 1e9:
                return newest
            if newest is not None:
                self.superseded += 1
                newest = None
            if time.monotonic() >= deadline:
                raise StaleError(
                    f"{self.info.name}: nothing newer than {max_age_s * 1e3:.0f} ms arrived within "
                    f"{timeout_s * 1e3:.0f} ms; is the camera running?"
                )

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See `Camera.command`."""
        raise CameraError(f"{self.info.name}: does not know the request {verb!r}")

    def counters(self) -> dict[str, int]:
        """See `Camera.counters`."""
        return {}

    def waits_for(self) -> str:
        """See `Camera.waits_for`."""
        return ""

    def open(self, progress: Progress | None = None) -> None:
        """See `Camera.open`."""

    def start(self, epoch_ns: int = 0) -> None:
        """See `Camera.start`."""

    def stop(self) -> None:
        """See `Camera.stop`."""

    def close(self) -> None:
        """See `Camera.close`."""

    def __enter__(self) -> CameraBase[Item]:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
