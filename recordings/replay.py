"""Replay: a recording in place of the two cameras, `replay:PATH`. Everything behind it is the live code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from capture.camera import (
    CameraBase,
    CameraInfo,
    CameraRole,
    Capabilities,
    EventCamera,
    FrameCamera,
    Progress,
)
from capture.errors import CameraError, UsageError
from capture.packets import EventPacket, Frame
from capture.registry import RigFacts
from capture.validation import Strict
from recordings.open import open_with, recognise
from recordings.recording import MAX_EXPOSURE_US, MAX_SENSOR_SIDE, OpenOptions, Recording
from recordings.replay_clock import checked_speed
from recordings.replay_job import Times
from recordings.replay_reader import ReplayReader

Side = Annotated[int, Field(ge=1, le=MAX_SENSOR_SIDE)]
_BOTH = frozenset({CameraRole.EVENTS, CameraRole.FRAMES})
Item = TypeVar("Item", bound=EventPacket | Frame, covariant=True)


class ReplayConfig(Strict):
    """What to replay and how.

    Attributes:
        path: the recording.
        speed: 0.1 … 8 times real time; 0 = as fast as possible.
        loop: begin again at the end.
        deadline_s: longest time without progress while the file is read.
        exposure_us: length of exposures that the file does not give; None: such frames are not restored.
        geometry: (width, height) of the event sensor where the file does not give it.
    """

    path: Path
    speed: float = 1.0
    loop: bool = False
    deadline_s: float = Field(default=10.0, gt=0, le=3600)
    exposure_us: int | None = Field(default=None, ge=1, le=MAX_EXPOSURE_US)
    geometry: tuple[Side, Side] | None = None

    @property
    def name(self) -> str:
        """The camera's name."""
        return f"replay:{self.path}"

    @property
    def options(self) -> OpenOptions:
        """What is stated about the recording."""
        return OpenOptions(self.deadline_s, self.exposure_us, self.geometry)


class ReplayCamera(CameraBase[Item], Generic[Item]):
    """One of the two cameras of a replayed rig.

    At the end `read` raises `EndOfStream`; the camera stays open, and a seek gives items again. Requests
    (`command`): see `ReplayReader.command`; they act on both cameras of a pair.
    """

    def __init__(self, config: ReplayConfig, role: CameraRole, reader: ReplayReader) -> None:
        self._config, self._role, self._reader = config, role, reader
        self.superseded = 0
        # Sizes stand in the file: they are 0 until it is open.
        self.info = CameraInfo(role, config.name, "", "", 0, 0, capabilities=_capabilities(None, []))

    def open(self, progress: Progress | None = None) -> None:
        """See `Camera.open`. Fills `info`; in small files reads through the frames once."""
        recording = self._reader.open(self._role, progress)
        i, times = recording.info, self._reader.times()
        size = (i.event_size if self._role is CameraRole.EVENTS else i.image_size) or (0, 0)
        model, _, serial = i.camera.rpartition("_")
        self.info = CameraInfo(
            self._role, self._config.name, model or i.camera, serial if model else "", *size,
            rate_hz=_rate(times) if self._role is CameraRole.FRAMES else 0.0,
            capabilities=_capabilities(recording, times),
        )  # fmt: skip

    def start(self, epoch_ns: int = 0) -> None:
        """See `Camera.start`. After a stop it goes on where it stopped."""
        self._reader.start(self._role, epoch_ns)

    def read(self, timeout_s: float) -> Item | None:
        """See `Camera.read`. While paused it gives None.

        Raises:
            EndOfStream: at the end, when not looping.
            CameraError: the file cannot be read further; the message says why. A seek may lead past it.
        """
        item: Any = self._reader.take(self._role, timeout_s)
        return item  # type: ignore[no-any-return]  # the reader's queue of this role holds only this kind

    def command(self, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """See `ReplayReader.command`."""
        return self._reader.command(verb, arguments)

    def stop(self) -> None:
        """See `Camera.stop`."""
        self._reader.stop(self._role)

    def close(self) -> None:
        """See `Camera.close`."""
        self._reader.close(self._role)


class ReplayDriver:
    """The registry's driver `replay`."""

    name = "replay"

    def configure(self, rest: str, settings: Mapping[str, Any]) -> ReplayConfig:
        """`rest` is the path; settings: speed, loop, deadline_s, exposure_us, geometry.

        Raises:
            UsageError: no path, no such file, of no known format (`NotARecording`), a wrong setting.
            RecordingError: the file may not be read.
        """
        if not rest:
            raise UsageError("replay: which recording? give its path, as in replay:FILE.aedat4")
        path = Path(os.path.expanduser(rest))  # unlike pathlib's it leaves `~name` of nobody as it is
        recognise(path)
        known = set(ReplayConfig.model_fields) - {"path"}
        unknown = set(settings) - known
        if unknown:
            raise UsageError(
                f"replay: unknown setting {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
            )
        if "speed" in settings:
            settings = {**settings, "speed": checked_speed(settings["speed"])}
        try:
            return ReplayConfig.model_validate({"path": path, **settings})
        except ValidationError as e:
            first = e.errors()[0]
            raise UsageError(f"replay: {'.'.join(map(str, first['loc']))}: {first['msg']}") from e

    def discover(self) -> list[CameraInfo]:
        """Nothing: recordings are named by their path."""
        return []

    def event_camera(self, config: BaseModel) -> EventCamera:
        """The event camera alone; frames are left out."""
        c = _own(config)
        return ReplayCamera[EventPacket](c, CameraRole.EVENTS, _reader(c, frozenset({CameraRole.EVENTS})))

    def frame_camera(self, config: BaseModel) -> FrameCamera:
        """The frame camera alone; events are left out."""
        c = _own(config)
        return ReplayCamera[Frame](c, CameraRole.FRAMES, _reader(c, frozenset({CameraRole.FRAMES})))

    def pair(self, config: BaseModel) -> tuple[EventCamera, FrameCamera]:
        """Both cameras over one reader and one clock; to be used in one process, both to be read."""
        c = _own(config)
        reader = _reader(c, _BOTH)
        return (
            ReplayCamera[EventPacket](c, CameraRole.EVENTS, reader),
            ReplayCamera[Frame](c, CameraRole.FRAMES, reader),
        )

    def rig_facts(self, config: BaseModel) -> RigFacts | None:
        """What the recording tells of its rig; None when it does not (see `Recording.rig_facts`).

        Raises:
            RecordingError: it cannot be read.
        """
        c = _own(config)
        with open_with(c.path, c.options) as r:
            return r.rig_facts()


def _own(config: BaseModel) -> ReplayConfig:
    if not isinstance(config, ReplayConfig):
        raise CameraError(f"replay: got the configuration of another driver ({type(config).__name__})")
    return config


def _reader(c: ReplayConfig, roles: frozenset[CameraRole]) -> ReplayReader:
    return ReplayReader(c.path, roles, speed=c.speed, loop=c.loop, options=c.options)


def _capabilities(recording: Recording | None, times: Times) -> Capabilities:
    facts = None if recording is None else recording.rig_facts()
    return Capabilities(
        live=False,
        seekable=True,
        triggers=recording is not None and recording.info.has_triggers,
        exposure_stamps=bool(times) and all(end is not None for _, end in times),
        event_clock=facts is None or facts.one_sensor,
        settings=("loop", "speed"),
    )


def _rate(times: Times) -> float:
    """Frames per second by the median distance of their starts; 0 for fewer than two frames."""
    starts = np.array([t[0] for t in times], np.int64)
    if len(starts) < 2:
        return 0.0
    period = float(np.median(np.diff(starts)))
    return 1e6 / period if period > 0 else 0.0


DRIVER = ReplayDriver()
