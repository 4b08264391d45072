"""What a person names as a source, turned into a rig and the workers that serve it.

`simulated:night`, a rig file, a recording: behind this module they are the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from capture.camera import Camera, CameraRole
from capture.errors import CameraError, UsageError
from capture.registry import CameraName, Driver, open_driver
from recordings.formats.own import OwnRecording
from recordings.open import open_with, recognise, require_frames
from recordings.recording import OpenOptions, Recording, RecordingError
from sync.rig import LARGEST_PX, NO_CAMERA, SMALLEST_PX, Clock, EventEntry, ImageEntry, Rig

EVENTS, FRAMES, REPLAY = CameraRole.EVENTS.value, CameraRole.FRAMES.value, "replay"


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera worker: its name, the camera it opens, and which streams it serves."""

    worker: str
    camera: str
    settings: Mapping[str, Any]
    roles: tuple[CameraRole, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A source that can be started.

    Attributes:
        title: for the window's title.
        rig: geometry, sizes and clock relation.
        cameras: the workers to start.
        live: paced by the world; False for recordings.
        recording: the file, when it is one.
        problems: what opening found wrong, one line each.
        no_events: why its events are left out, and what to do; "" where they are not, or there are none.
    """

    title: str
    rig: Rig
    cameras: tuple[CameraPlan, ...]
    live: bool
    recording: Path | None = None
    problems: tuple[str, ...] = ()
    no_events: str = ""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A source as it was named, checked as far as that costs nothing. `resolve` does the rest.

    Attributes:
        text: what the person wrote.
        path: a rig file or a recording, None for a camera's name.
    """

    text: str
    path: Path | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_recording(self) -> bool:
        """It is a recording rather than a rig."""
        return self.path is not None and self.path.suffix.lower() != ".toml"

    @classmethod
    def of(cls, source: str | Path, settings: Mapping[str, Any] | None = None) -> SourceRequest:
        """Check the name.

        Raises:
            UsageError: no such camera, preset, file, or the file is of no known format.
        """
        text = str(source)
        if isinstance(source, str) and text.startswith(f"{REPLAY}:"):
            source = Path(text.partition(":")[2])
        if isinstance(source, str) and _is_path(text) and not os.path.exists(text):
            source = Path(text)  # a recording that has gone is no camera with a strange name
        if isinstance(source, str) and not text.lower().endswith(".toml") and not os.path.exists(text):
            open_driver(text, settings)
            return cls(text, None, settings or {})
        path = Path(source)
        if path.suffix.lower() == ".toml":
            rig = Rig.load(path)
            for entry in (rig.events, rig.image):
                if entry.camera != NO_CAMERA:
                    open_driver(entry.camera, entry.settings)
        else:
            recognise(path)
        return cls(text, path, settings or {})


def _is_path(text: str) -> bool:
    """It can be no camera's name, which begins with its driver's: `aedat4-unix:/tmp/socket`."""
    return os.sep in text and ":" not in text.split(os.sep)[0]


def resolve(request: SourceRequest, *, speed: float = 1.0, loop: bool = False, placed: bool = True) -> Source:
    """The rig and its workers. Opens a recording to see what is in it (up to a few seconds).

    `speed` and `loop` are those of a recording; speed 0 means as fast as possible. Of a recording's settings,
    `exposure_us` states how long frames were exposed that it does not say it of, `geometry` the size of its
    event sensor, `rig` the rig file that tells how its cameras' pixels lie. `placed` False: where nothing tells
    that, its frames are taken alone.

    Raises:
        HalfmirrorError: the recording cannot be used, or nothing is known of the rig.
    """
    if request.is_recording:
        assert request.path is not None
        return _recording(request.path, {**request.settings, "speed": speed, "loop": loop}, placed)
    if request.path is not None:
        return _rig_file(request.path)
    return _camera(request.text, request.settings)


def _recording(path: Path, settings: Mapping[str, Any], placed: bool) -> Source:
    name = f"{REPLAY}:{path}"
    said = stated(settings)
    with open_with(path, said) as r:
        require_frames(r)
        left_out = ""
        rig, problems = rig_for(r, name, said.rig, placed=placed), r.info.problems
        if r.info.event_size is not None and not rig.has_events:
            left_out = "nothing tells how events lie on the pictures"
            problems = (*problems, f"events are left out, since {left_out} (--rig)")
            left_out += f"; open it with --rig RIG.toml ({_measure(path)})"
    settings = {k: v for k, v in settings.items() if k != "rig"}  # nothing that the camera has to know
    roles = (CameraRole.EVENTS, CameraRole.FRAMES) if rig.has_events else (CameraRole.FRAMES,)
    plan = CameraPlan(REPLAY, name, settings, roles)
    return Source(path.name, rig, (plan,), False, path, problems, left_out)


def _measure(path: Path) -> str:
    return f"measure one: halfmirror calibrate rig --from {path} -o rig.toml"


def stated(settings: Mapping[str, Any]) -> OpenOptions:
    """What a recording's settings state about it."""
    rig = settings.get("rig")
    return OpenOptions(
        exposure_us=settings.get("exposure_us"), geometry=settings.get("geometry"),
        rig=None if rig is None else Path(rig),
    )  # fmt: skip


def rig_of(recording: Recording, name: str) -> Rig | None:
    """The rig that a recording with frames was made with, None when two cameras' geometry is not known.

    Our own recordings bring their rig file. Without events it is the frame camera alone.
    """
    info = recording.info
    if info.event_size is None and info.image_size is not None:
        return Rig.frames_only(name, info.image_size)
    if isinstance(recording, OwnRecording):
        return recording.rig
    facts = recording.rig_facts()
    return None if facts is None else Rig.from_facts(name, facts)


def serials_of(recording: Recording) -> dict[str, str]:
    """Serial numbers of the cameras that recorded, by role, as far as the file tells."""
    if not isinstance(recording, OwnRecording):
        return {}
    about = recording.about
    return {k: v for k, v in ((EVENTS, about.events.serial), ("image", about.frames.serial)) if v}


def unplaced(name: str, events: tuple[int, int], image: tuple[int, int]) -> Rig:
    """Two cameras of which nothing tells how their pixels lie: for what uses both streams as they came."""
    return Rig(
        name=name, events=EventEntry(camera=name, width=events[0], height=events[1]),
        image=ImageEntry(camera=name, width=image[0], height=image[1]),
        note="how event pixels lie on the pictures is not known",
    )  # fmt: skip


def rig_for(recording: Recording, name: str, file: Path | None, *, placed: bool = True) -> Rig:
    """The rig that a recording with frames was made with: by itself, else by the rig file that was given.

    Our own recordings of two cameras bring the rig file as it was then; one that was calibrated later, perhaps
    from this very recording, takes its place, its clock too. Where another format does not tell the rig, both
    streams are on one clock already: everything of a rig file holds but a clock of other relations. `placed`
    False: where nothing tells it, it is the frame camera alone.

    Raises:
        UsageError: nothing tells it; or the rig file is wrong, not needed, or not of cameras of these sizes.
        RecordingError: its pictures or its events are smaller or larger than any rig's.
    """
    info = recording.info
    for what, size in (("events", info.event_size), ("pictures", info.image_size)):
        if size is not None and not SMALLEST_PX <= min(size) <= max(size) <= LARGEST_PX:
            raise RecordingError(
                f"{info.path} has {what} of {size[0]}×{size[1]} pixels; usable are sides of {SMALLEST_PX} to "
                f"{LARGEST_PX}"
            )
    told = rig_of(recording, name)
    if file is None:
        if told is None and not placed and info.image_size is not None:
            return Rig.frames_only(name, info.image_size)
        if told is None:
            raise UsageError(
                f"{info.path} does not tell how event pixels lie on its pictures; give --rig RIG.toml, or "
                f"{_measure(info.path)}"
            )
        return told
    rig = Rig.load(file)
    if info.event_size is None:
        raise UsageError(f"{info.path} has no events that --rig could place; leave --rig out")
    again = told is not None and isinstance(recording, OwnRecording) and told.clock.relation != "same"
    facts = None if isinstance(recording, OwnRecording) else recording.rig_facts()
    assumed = facts is not None and not facts.exact  # from equal sizes alone: the person knows better
    # Of one sensor a rig file may know more: thresholds, the tone, how late its pixels are.
    if told is not None and not again and not assumed and not (told.identity and rig.identity):
        raise UsageError(f"{info.path} tells itself how event pixels lie on its pictures; leave --rig out")
    if not rig.has_events:
        raise UsageError(f"{file} has no event camera; give a rig file that maps event pixels to the image")
    for what, entry, size in (
        ("events", rig.events, info.event_size),
        ("pictures", rig.image, info.image_size),
    ):
        if size is not None and (entry.width, entry.height) != size:
            raise UsageError(
                f"{file} is for {what} of {entry.width}×{entry.height}, {info.path} has {size[0]}×{size[1]}: "
                "give the rig file of its cameras"
            )
    if told is not None and again:
        return _calibrated_later(told, rig, file, serials_of(recording))
    here = {"camera": name, "serial": "", "settings": {}}
    return rig.model_copy(
        update={
            "events": rig.events.model_copy(update=here), "image": rig.image.model_copy(update=here),
            "clock": rig.clock if rig.clock.relation == "same" else Clock(),
        }
    )  # fmt: skip


def _calibrated_later(told: Rig, rig: Rig, file: Path, serials: Mapping[str, str]) -> Rig:
    """A rig file in place of the one that a recording of ours brought, whose cameras stay."""
    if rig.clock.relation == "same":
        raise UsageError(
            f"{file} is of frames on the event camera's clock, the recording's have a clock of their own: "
            "give its own rig file"
        )
    for word, entry, there in (
        ("event", rig.events, serials.get(EVENTS)),
        ("frame", rig.image, serials.get("image")),
    ):
        if entry.serial and there and entry.serial != there:
            raise UsageError(
                f"{file} is of the {word} camera {entry.serial}, the recording of {there}: give the rig file "
                "of its cameras"
            )
    return rig.model_copy(
        update={
            "name": told.name,
            "events": rig.events.model_copy(
                update={"camera": told.events.camera, "settings": told.events.settings}
            ),
            "image": rig.image.model_copy(
                update={"camera": told.image.camera, "settings": told.image.settings}
            ),
        }
    )


def _rig_file(path: Path) -> Source:
    rig = Rig.load(path)
    cameras = plans(rig.events.camera, rig.events.settings, rig.image.camera, rig.image.settings)
    return Source(rig.name, rig, cameras, True)


def _camera(text: str, settings: Mapping[str, Any]) -> Source:
    driver, config = open_driver(text, settings)
    facts = driver.rig_facts(config)
    if facts is None:
        return _alone(text, settings, driver, config)
    return Source(text, Rig.from_facts(text, facts), plans(text, settings, text, settings), True)


def _alone(text: str, settings: Mapping[str, Any], driver: Driver, config: BaseModel) -> Source:
    """One camera by its name: a rig of it alone. Opens it for a moment where it does not tell its size before.

    Raises:
        CameraError: it is not there.
    """
    try:
        camera: Camera[Any] = driver.frame_camera(config)
    except CameraError:
        camera = driver.event_camera(config)
    if not camera.info.width:
        try:
            camera.open()
        finally:
            camera.close()
    size = camera.info.width, camera.info.height
    if camera.info.role is CameraRole.FRAMES:
        rig = Rig.frames_only(text, size)
        return Source(text, rig, plans(NO_CAMERA, {}, text, settings), True)
    return Source(text, Rig.events_only(text, size), plans(text, settings, NO_CAMERA, {}), True)


def plans(
    events: str, event_settings: Mapping[str, Any], frames: str, frame_settings: Mapping[str, Any]
) -> tuple[CameraPlan, ...]:
    """One worker per camera, or one for both where the driver says that they must live together.

    One of the names may be `NO_CAMERA`. What lives together has the settings of both tables.

    Raises:
        UsageError: a name or a setting is wrong, or one camera is told two values of a setting.
    """
    if frames == NO_CAMERA:
        open_driver(events, event_settings)
        return (CameraPlan(EVENTS, events, event_settings, (CameraRole.EVENTS,)),)
    if events == NO_CAMERA:
        open_driver(frames, frame_settings)
        return (CameraPlan(FRAMES, frames, frame_settings, (CameraRole.FRAMES,)),)
    driver, config = open_driver(events, event_settings)
    open_driver(frames, frame_settings)  # a mistake in it costs no start-up
    if events == frames and driver.pair(config) is not None:
        twice = [k for k, v in frame_settings.items() if event_settings.get(k, v) != v]
        if twice:
            raise UsageError(
                f"{events} is both cameras, and {', '.join(twice)} differs between [events.settings] and "
                "[image.settings]; say it in one of them"
            )
        both = (CameraRole.EVENTS, CameraRole.FRAMES)
        settings = {**frame_settings, **event_settings}
        return (CameraPlan(CameraName.parse(events).driver, events, settings, both),)
    return (
        CameraPlan(EVENTS, events, event_settings, (CameraRole.EVENTS,)),
        CameraPlan(FRAMES, frames, frame_settings, (CameraRole.FRAMES,)),
    )
