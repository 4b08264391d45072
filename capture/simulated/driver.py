"""The simulated rig's cameras, and the driver that opens them by name: `simulated`, `simulated:davis`, …

Both cameras follow one time axis that begins at the epoch given to `start`; so in different processes they
keep step, and a camera that is started again goes on at the current time and says that there was a gap.
Opening prepares one loop of the stream (some seconds the first time, from the disk cache after that: see
`loops`, `cache`); playing it costs next to nothing, so the rig holds real time on two cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import BaseModel

from capture.camera import (
    CameraBase,
    CameraInfo,
    CameraRole,
    Capabilities,
    Control,
    EndOfStream,
    EventCamera,
    FrameCamera,
    Progress,
)
from capture.errors import CameraError, CameraLost
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from capture.simulated.faults import fault_from
from capture.simulated.loops import event_loop, frame_loop
from capture.simulated.presets import SimulatedConfig, configure, names
from capture.simulated.rig import facts_of
from capture.simulated.sources import EventSource, FrameSource

Item = TypeVar("Item", EventPacket, Frame)

LATE_START_S = 0.1
"""A camera started longer than this after the epoch begins at the current time instead of at the epoch."""

# Cameras that are unplugged, by (name of configuration, role): a new camera object in the same process finds
# the plug pulled as well.
_unplugged_until: dict[tuple[int, CameraRole], float] = {}


def _info(config: SimulatedConfig, role: CameraRole) -> CameraInfo:
    events = role is CameraRole.EVENTS
    return CameraInfo(
        role=role,
        name=f"simulated:{config.preset}",
        model=f"simulated {'event' if events else 'frame'} camera",
        serial=f"{config.preset}-{config.seed}",
        width=config.event_width if events else config.image_width,
        height=config.event_height if events else config.image_height,
        rate_hz=0.0 if events else 1e6 / config.period_us,
        pixel_bytes=config.frame_sensor.layout.pixel_bytes,
        capabilities=Capabilities(
            live=config.paced,
            triggers=events and config.triggers,
            exposure_stamps=not events,
            event_clock=config.one_sensor,
            faults=True,
            settings=("packet_us",) if events else ("readout_us",),
            controls=(
                _control("packet_us", config.packet_us)
                if events
                else _control("readout_us", config.readout_us),
            ),
        ),
    )


def _control(name: str, value: int) -> Control:
    """A setting as a control, within the bounds of the configuration."""
    bounds = {
        key: m for m in SimulatedConfig.model_fields[name].metadata for key in ("ge", "le") if hasattr(m, key)
    }
    return Control(name, value, bounds["ge"].ge, bounds["le"].le, 1, "µs")


class _SimulatedCamera(CameraBase[Item]):
    """What both cameras share: life, pacing, unplugging, requests."""

    def __init__(self, config: SimulatedConfig, role: CameraRole) -> None:
        self.config, self.role = config, role
        self.info = _info(config, role)
        self.superseded = 0
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._running = False
        self._epoch_ns = 0
        self._lost = False
        self._behind_us: int | None = None  # where a stream without pacing goes on after it was unplugged
        self._source: Any = None

    # -- what the two differ in ------------------------------------------------------------------------

    def _prepare(self, progress: Progress) -> Any:
        raise NotImplementedError

    def _take(self, host_ns: int) -> Item:
        raise NotImplementedError

    def _begin_at(self, t_us: int, gap: bool) -> None:
        raise NotImplementedError

    def _set(self, name: str, value: Any) -> None:
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        raise NotImplementedError

    # -- life ------------------------------------------------------------------------------------------

    @property
    def _plug(self) -> tuple[int, CameraRole]:
        return hash(self.config), self.role

    def open(self, progress: Progress | None = None) -> None:
        """Prepare the loop, from the cache when it is there.

        Raises:
            CameraError: unplugged on request and not back yet.
        """
        gone = _unplugged_until.get(self._plug, 0.0) - time.monotonic()
        if gone > 0:
            who = f"{self.info.name}: the {self.role.value} camera"
            raise CameraError(f"{who} is unplugged for {gone:.1f} s more")
        if self._source is None:
            self._source = self._prepare(progress or (lambda share: None))
        self._lost = False

    def start(self, epoch_ns: int = 0) -> None:
        """See `Camera.start`. Started late, it begins at the current time, its first item with `gap`."""
        with self._lock:
            if self._source is None:
                raise CameraError(f"{self.info.name}: open the camera before starting it")
            if self._running:
                return
            now = time.monotonic_ns()
            first = self._epoch_ns == 0
            self._epoch_ns = epoch_ns or (now if first else self._epoch_ns)
            late_us = (now - self._epoch_ns) // 1000
            if not self.config.paced:
                # Goes on where it was, or behind what was lost.
                if self._behind_us is not None:
                    self._begin_at(self._behind_us, True)
                    self._behind_us = None
            elif late_us > LATE_START_S * 1e6 or not first:
                self._begin_at(max(0, late_us), True)
            self._running = True

    def stop(self) -> None:
        """See `Camera.stop`; a read that waits returns None."""
        with self._changed:
            self._running = False
            self._changed.notify_all()

    def close(self) -> None:
        """See `Camera.close`."""
        self.stop()
        with self._lock:
            self._source = None

    # -- reading ---------------------------------------------------------------------------------------

    def _now_us(self) -> float:
        """The rig's time: of the wall clock, or of the last item when not paced."""
        if self.config.paced:
            return (time.monotonic_ns() - self._epoch_ns) / 1e3
        return float(self._position_us())

    def _position_us(self) -> int:
        raise NotImplementedError

    def _made_us(self) -> int:
        """As `_position_us`, of the next item that is made, though it may be lost."""
        return self._position_us()

    def read(self, timeout_s: float) -> Item | None:
        """See `Camera.read`. A reader that lags more than `buffer_s` behind loses the oldest, counted."""
        deadline = time.monotonic() + max(0.0, timeout_s)
        with self._changed:
            while True:
                if self._source is None:
                    raise CameraError(f"{self.info.name}: open the camera before reading from it")
                if self._lost:
                    raise CameraLost(f"{self.info.name}: the {self.role.value} camera is gone; open it again")
                if not self._running:
                    return None
                self._check_plug()
                end = self.config.duration_s
                due = self._source.due_us()
                if end is not None and due > end * 1e6 and self._ended(end * 1e6):
                    raise EndOfStream
                if not self.config.paced:
                    return self._take(time.monotonic_ns())
                now = self._now_us()
                if now - due > self.config.buffer_s * 1e6:
                    self._source.jump(int(now - self.config.buffer_s * 0.5e6))
                    continue
                if due <= now:
                    return self._take(self._epoch_ns + due * 1000)
                wait = min(deadline - time.monotonic(), (due - now) / 1e6, self._until_unplug())
                if wait <= 0:
                    return None
                self._changed.wait(wait)

    def _ended(self, end_us: float) -> bool:
        """Whether the stream is over at its end, not merely waiting for its last items."""
        return self._position_us() >= end_us

    def _until_unplug(self) -> float:
        now = self._now_us()
        later = [a - now for a, _ in self._source.book.unplugged if a > now]
        return min(later) / 1e6 if later else 3600.0

    def _check_plug(self) -> None:
        now = self._now_us() if self.config.paced else float(self._made_us())
        until = self._source.book.unplugged_until(now)
        if until is None:
            return
        seconds = (until - now) / 1e6
        _unplugged_until[self._plug] = time.monotonic() + seconds
        if not self.config.paced:
            self._behind_us = until
        # What was scheduled has happened; the stream itself knows the loss.
        self._running, self._lost = False, True
        raise CameraLost(f"{self.info.name}: the {self.role.value} camera was unplugged (for {seconds:.1f} s)")

    # -- requests --------------------------------------------------------------------------------------

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """`fault` (fields of `Fault`: kind, seconds, count, …), `set` (settings by name), `controls`.

        Returns:
            for `set`, all settings as they are now; for `controls`, these with their bounds.

        Raises:
            CameraError: unknown request, setting or fault, value out of range.
        """
        with self._changed:
            if self._source is None:
                raise CameraError(f"{self.info.name}: open the camera before asking {verb!r} of it")
            if verb == "fault":
                fault = fault_from(arguments, self.role, self.info.name)
                self._source.book.add(fault, int(self._now_us()))
                self._changed.notify_all()
                return {}
            if verb == "controls":
                return {name: asdict(_control(name, value)) for name, value in self._settings().items()}
            if verb == "set":
                for name, value in arguments.items():
                    if name not in self.info.capabilities.settings:
                        known = ", ".join(self.info.capabilities.settings)
                        raise CameraError(f"{self.info.name}: no setting {name!r}; known: {known}")
                    self._set(name, value)
                return self._settings()
        return super().command(verb, arguments)

    def _checked(self, name: str, value: Any) -> int:
        """A setting's value by the rules of the configuration."""
        try:
            checked = SimulatedConfig.model_validate({**self.config.model_dump(), name: value})
        except ValueError as e:
            raise CameraError(f"{self.info.name}: {name} = {value!r} is not possible ({_reason(e)})") from e
        return int(getattr(checked, name))


def _reason(e: ValueError) -> str:
    errors = getattr(e, "errors", None)
    return str(errors()[0]["msg"]) if errors else str(e)


class SimulatedEventCamera(_SimulatedCamera[EventPacket]):
    """The event camera: packets of `packet_us`, with the trigger edges of the frame camera's exposures."""

    _source: EventSource | None

    def __init__(self, config: SimulatedConfig) -> None:
        super().__init__(config, CameraRole.EVENTS)

    def _prepare(self, progress: Progress) -> EventSource:
        return EventSource(self.config, event_loop(self.config, progress))

    def _open_source(self) -> EventSource:
        assert self._source is not None
        return self._source

    def _take(self, host_ns: int) -> EventPacket:
        p = self._open_source().take()
        return EventPacket(p.events, p.triggers, p.complete_until_us, host_ns, p.dropped, p.gap)

    def _begin_at(self, t_us: int, gap: bool) -> None:
        self._open_source().begin_at(t_us, gap)

    def _position_us(self) -> int:
        return self._open_source().position_us

    def _set(self, name: str, value: Any) -> None:
        self._open_source().packet_us = self._checked(name, value)

    def _settings(self) -> dict[str, Any]:
        return {"packet_us": self._open_source().packet_us}


class SimulatedFrameCamera(_SimulatedCamera[Frame]):
    """The frame camera: a frame when its exposure has ended, both exposure stamps on its own clock."""

    _source: FrameSource | None

    def __init__(self, config: SimulatedConfig) -> None:
        super().__init__(config, CameraRole.FRAMES)
        self._gap = False

    def _prepare(self, progress: Progress) -> FrameSource:
        return FrameSource(self.config, frame_loop(self.config, progress))

    def _open_source(self) -> FrameSource:
        assert self._source is not None
        return self._source

    def _take(self, host_ns: int) -> Frame:
        f = self._open_source().take()
        gap, self._gap = self._gap, False
        return Frame(
            f.image, f.layout, f.sequence, f.device_start_ns, f.device_end_ns, f.clock, host_ns, f.kind,
            f.epoch, gap,
        )  # fmt: skip

    def _begin_at(self, t_us: int, gap: bool) -> None:
        self._open_source().begin_at(t_us)
        self._gap = gap

    def _position_us(self) -> int:
        return self._open_source().end_us()

    def _made_us(self) -> int:
        return self._open_source().position_us()

    def _set(self, name: str, value: Any) -> None:
        self._open_source().readout_us = self._checked(name, value)

    def _settings(self) -> dict[str, Any]:
        return {"readout_us": self._open_source().readout_us}


class SimulatedDriver:
    """Opens the simulated rig's cameras. See `capture.registry.Driver`."""

    name = "simulated"

    def configure(self, rest: str, settings: Mapping[str, Any]) -> SimulatedConfig:
        """See `presets.configure`."""
        return configure(rest, settings)

    def discover(self) -> list[CameraInfo]:
        """Both cameras of every preset."""
        return [_info(configure(n), role) for n in names() for role in (CameraRole.EVENTS, CameraRole.FRAMES)]

    def event_camera(self, config: BaseModel) -> EventCamera:
        """The event camera of a configuration."""
        return SimulatedEventCamera(_mine(config))

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """The frame camera of a configuration."""
        return SimulatedFrameCamera(_mine(config))

    def pair(self, config: BaseModel) -> tuple[EventCamera, FrameCamera] | None:
        """None: each camera may live in its own process."""
        return None

    def rig_facts(self, config: BaseModel) -> RigFacts:
        """Everything about the rig, exactly."""
        return facts_of(_mine(config))


def _mine(config: BaseModel) -> SimulatedConfig:
    if not isinstance(config, SimulatedConfig):
        raise CameraError(f"simulated: expected its own configuration, got {type(config).__name__}")
    return config


DRIVER = SimulatedDriver()
