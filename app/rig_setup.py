"""A rig while it is put together: cameras, what was set on them, map and clock; at last a rig file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.preview import Pick
from app.recorder import other_than
from calibration.nominal import nominal
from capture.camera import CameraRole
from capture.errors import CameraError, UsageError
from capture.registry import CameraName, RigFacts, open_driver
from sync.homography import Row
from sync.rig import NO_CAMERA, Clock, EventEntry, Geometry, ImageEntry, Rig

NEEDS_IMAGE = "a rig needs an image camera: choose one"
NOT_SEEN = "start the cameras first: their sizes are not known yet"


class RigSetup:
    """What the rig page works on.

    Attributes:
        rig: the rig file, or what a driver of both cameras knows; None for cameras that were only chosen.
        path: the rig file that `rig` was read from or written to; None when it was not.
        events, frames: the cameras, with the settings of the rig file.
        changed: settings that were changed since, by role and by the camera's names for them.
        values: all settings as the cameras said them last, by role.
        infos: what the cameras told of themselves (`CameraInfo`), by role.
        mirrored: where no map was measured: the mirror flips the event camera's view.
    """

    def __init__(self) -> None:
        self.rig: Rig | None = None
        self.path: Path | None = None
        self.name = ""
        self.events, self.frames = Pick(), Pick()
        self.changed: dict[CameraRole, dict[str, Any]] = {r: {} for r in CameraRole}
        self.values: dict[CameraRole, dict[str, Any]] = {r: {} for r in CameraRole}
        self.infos: dict[str, dict[str, Any]] = {}
        self.mirrored = True
        self._active_high: bool | None = None
        self._touched = False

    # -- what is chosen --------------------------------------------------------------------------------------

    @classmethod
    def of(cls, source: str | Path) -> RigSetup:
        """A rig file, or a camera's name that serves both.

        Raises:
            UsageError: not there, unreadable, of another version, a recording, a misspelt name.
        """
        setup = cls()
        if str(source).lower().endswith(".toml"):
            setup.load(Path(source))
        else:
            if Path(source).exists() or CameraName.parse(str(source)).driver == "replay":
                raise UsageError(f"{source} is a recording; the rig page is for cameras")
            config = open_driver(str(source))[1]
            name = str(source)
            if name == "simulated":
                name = f"simulated:{getattr(config, 'preset', '')}"  # one name for one rig
            setup.name = name
            setup.events = setup.frames = Pick(name)
        return setup

    def load(self, path: Path) -> None:
        """A rig file in the place of all this.

        Raises:
            UsageError: one line that names file and fault; nothing has changed then.
        """
        rig = Rig.load(path)
        for entry in (rig.events, rig.image):
            if entry.camera != NO_CAMERA:
                open_driver(entry.camera, entry.settings)
        self._forget()
        self.rig, self.path, self.name = rig, path, rig.name
        self.events = Pick(rig.events.camera, dict(rig.events.settings))
        self.frames = Pick(rig.image.camera, dict(rig.image.settings))
        self.mirrored = rig.geometry.mirrored
        self._touched = False

    def _forget(self) -> None:
        self.changed = {r: {} for r in CameraRole}
        self.values = {r: {} for r in CameraRole}
        self.infos = {}
        self._active_high = None

    def pick(self, role: CameraRole, camera: str) -> bool:
        """Another camera, "" for none; True when it is another."""
        before = self.pick_of(role)
        pick = Pick(camera or NO_CAMERA)
        if pick.camera == before.camera:
            return False
        if self.rig is not None and pick.camera != NO_CAMERA:
            entry = self.rig.events if role is CameraRole.EVENTS else self.rig.image
            if entry.camera == pick.camera:
                pick = Pick(entry.camera, dict(entry.settings))
        if role is CameraRole.EVENTS:
            self.events = pick
        else:
            self.frames = pick
        self._forget()
        self._touched = True
        return True

    def note(self, role: CameraRole, name: str, values: Mapping[str, Any]) -> None:
        """A setting was changed; these are all settings as they are now."""
        self.values[role] = dict(values)
        if name in values:
            self.changed[role][name] = values[name]
            self._touched = True

    def pick_of(self, role: CameraRole) -> Pick:
        """The camera in this place, with the settings of the rig file."""
        return self.events if role is CameraRole.EVENTS else self.frames

    def picks(self) -> tuple[Pick, Pick]:
        """Both cameras with what was changed about them, as they are to be opened."""
        events = Pick(self.events.camera, self._settings(CameraRole.EVENTS))
        frames = Pick(self.frames.camera, self._settings(CameraRole.FRAMES))
        return events, frames

    @property
    def one_camera(self) -> bool:
        """One camera stands in both places."""
        return self.events.there and self.events.camera == self.frames.camera

    def _settings(self, role: CameraRole) -> dict[str, Any]:
        pick = self.pick_of(role)
        if not pick.there:
            return {}
        # One camera in both places is opened with one configuration.
        roles = tuple(CameraRole) if self.one_camera else (role,)
        changed = {k: v for r in roles for k, v in self.changed[r].items()}
        values = {k: v for r in roles for k, v in self.values[r].items()}
        made = as_settings(pick.camera, changed, values)
        if "biases" in made:
            made["biases"] = {**pick.settings.get("biases", {}), **made["biases"]}
        return {k: v for k, v in {**pick.settings, **made}.items() if v is not None}

    # -- what is made of it ----------------------------------------------------------------------------------

    @property
    def base(self) -> Rig | None:
        """The rig whose map holds for the cameras that are chosen now."""
        r = self.rig
        if r is None or (r.events.camera, r.image.camera) != (self.events.camera, self.frames.camera):
            return None
        return r

    def learn_facts(self, facts: RigFacts | None) -> None:
        """What a driver of both cameras knows of their rig."""
        if facts is not None and self.base is None and self.one_camera:
            self.rig, self.path = Rig.from_facts(self.events.camera, facts), None
            self.mirrored = self.rig.geometry.mirrored

    @property
    def measured(self) -> bool:
        """The map is known, not assumed."""
        return self.base is not None and not self.base.assumed

    def clock(self) -> Clock:
        """The clock relation, as far as it is known."""
        base = self.base
        clock = Clock() if base is None else base.clock
        return (
            clock if self._active_high is None else clock.model_copy(update={"active_high": self._active_high})
        )

    def turn_polarity(self) -> None:
        """The exposure signal has the other level while the shutter is open."""
        self._active_high = not self.clock().active_high
        self._touched = True

    def build(self) -> Rig:
        """The rig as it stands.

        Raises:
            CameraError: no image camera, or sizes are not known yet.
            UsageError: a setting that was changed cannot be written into a rig file.
        """
        if not self.frames.there:
            raise CameraError(NEEDS_IMAGE)
        image_size = self._size(CameraRole.FRAMES)
        events_size = self._size(CameraRole.EVENTS) if self.events.there else image_size
        if image_size is None or events_size is None:
            raise CameraError(NOT_SEEN)
        base = self.base
        if base is None:
            base = self._fresh(events_size, image_size)
        events = base.events.model_copy(
            update={
                "settings": self._settings(CameraRole.EVENTS), "width": events_size[0],
                "height": events_size[1], "serial": base.events.serial or self._serial(CameraRole.EVENTS),
            }
        )  # fmt: skip
        image = base.image.model_copy(
            update={
                "settings": self._settings(CameraRole.FRAMES), "width": image_size[0], "height": image_size[1],
                "serial": base.image.serial or self._serial(CameraRole.FRAMES),
            }
        )  # fmt: skip
        for entry in (events, image):
            if entry.camera != NO_CAMERA:
                open_driver(entry.camera, entry.settings)
        clock = base.clock.model_copy(update={"active_high": self.clock().active_high})
        made = base.model_copy(update={"events": events, "image": image, "clock": clock})
        made = moved_with_region(made, base)
        known = (
            base.geometry.mirrored,
            (base.events.width, base.events.height),
            (base.image.width, base.image.height),
        )
        if made.assumed and (self.mirrored, events_size, image_size) != known:
            geometry = Geometry.assumed(events_size, image_size, mirrored=self.mirrored)
            made = made.model_copy(update={"geometry": geometry})
        return Rig.model_validate(made.model_dump())

    def _fresh(self, events_size: tuple[int, int], image_size: tuple[int, int]) -> Rig:
        if not self.events.there:
            return Rig.frames_only(self.frames.camera, image_size)
        return nominal(
            Rig(
                name=f"{self.events.camera} with {self.frames.camera}",
                events=EventEntry(camera=self.events.camera, width=events_size[0], height=events_size[1]),
                image=ImageEntry(camera=self.frames.camera, width=image_size[0], height=image_size[1]),
            )
        )

    def _size(self, role: CameraRole) -> tuple[int, int] | None:
        info = self.infos.get(role.value, {})
        width, height = int(info.get("width") or 0), int(info.get("height") or 0)
        if width and height:
            return width, height
        base = self.base
        if base is None:
            return None
        entry = base.events if role is CameraRole.EVENTS else base.image
        return entry.width, entry.height

    def _serial(self, role: CameraRole) -> str:
        return str(self.infos.get(role.value, {}).get("serial", ""))

    def matrix(self) -> NDArray[np.float64] | None:
        """Event pixel → image pixel as it stands; None where it cannot be said."""
        try:
            rig = self.build()
        except (CameraError, UsageError):
            return None
        return rig.image_from_event if rig.has_events else None

    def warnings(self) -> list[str]:
        """What does not fit: cameras other than those of the rig file."""
        base = self.base
        if base is None:
            return []
        return other_than(base, self.infos)

    def save(self, path: Path) -> Rig:
        """Write the rig file, whole or not at all; it is the one that is worked on from then on.

        Raises:
            CameraError, UsageError: see `build`; it cannot be written.
        """
        rig = self.build()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UsageError(f"rig file {path} cannot be written ({e.strerror or e})") from e
        rig.save(path)
        self.rig, self.path, self.name = rig, path, rig.name
        self.events, self.frames = (
            Pick(e.camera, dict(e.settings)) for e in (rig.events, rig.image)
        )  # fmt: skip
        self.changed = {r: {} for r in CameraRole}
        self._touched = False
        return rig

    def source(self) -> str | Path | None:
        """What opens just this rig without a new file; None when it must be written first."""
        base = self.base
        if base is None:
            return None
        if self.path is not None:
            turned = base.assumed and self.mirrored != base.geometry.mirrored
            return None if self._touched or turned else self.path
        plain = self.one_camera and not any(p.settings for p in self.picks())
        return self.events.camera if plain else None


def as_settings(camera: str, changed: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a running camera as a rig file has them.

    Args:
        camera: its name.
        changed: those that were changed, by the camera's names.
        values: all of them as they are now; biases of a DAVIS come in pairs.

    Returns:
        settings by name; None for one that is to be left out.
    """
    driver = CameraName.parse(camera).driver
    out: dict[str, Any] = {}
    biases: dict[str, Any] = {}
    for name, value in changed.items():
        if name.startswith("bias_") and driver == "davis346":
            short = name.removeprefix("bias_").rpartition("_")[0]
            pair = [{**changed, **values}.get(f"bias_{short}_{part}") for part in ("coarse", "fine")]
            pair[name.endswith("fine")] = value
            biases[short] = pair
        elif name.startswith("bias_"):
            biases[name.removeprefix("bias_")] = int(value)
        elif name == "events_per_s":
            out[name] = int(value) or None
        else:
            out[name] = value
    if biases:
        out["biases"] = biases
    return out


def moved_with_region(rig: Rig, before: Rig) -> Rig:
    """Another region of the frame camera's sensor: the map and the lens move with its corner, and a rolling
    shutter takes as long for each row as before.

    Args:
        rig: with the image camera's new settings.
        before: whose geometry holds for its own settings.
    """
    if rig.image.height != before.image.height and rig.image.rolling_us:
        rows = (rig.image.height - 1) / (before.image.height - 1)
        image = rig.image.model_copy(update={"rolling_us": rig.image.rolling_us * rows})
        clock = rig.clock.model_copy(update={"longer_us": rig.clock.longer_us * rows})
        rig = rig.model_copy(update={"image": image, "clock": clock})
    old, new = before.image.settings, rig.image.settings
    dx, dy = (float(new.get(k) or 0) - float(old.get(k) or 0) for k in ("offset_x", "offset_y"))
    if not dx and not dy:
        return rig
    shift = np.array([[1.0, 0.0, -dx], [0.0, 1.0, -dy], [0.0, 0.0, 1.0]])
    g = _geometry(rig.geometry, shift @ rig.image_from_event)
    if g.undistorted_image_from_event is not None:
        exact = shift @ np.array(g.undistorted_image_from_event)
        g = g.model_copy(update={"undistorted_image_from_event": _rows(exact)})
    image = rig.image
    if image.lens is not None:
        centre = image.lens.centre[0] - dx, image.lens.centre[1] - dy
        image = image.model_copy(update={"lens": image.lens.model_copy(update={"centre": centre})})
    return rig.model_copy(update={"geometry": g, "image": image})


def _rows(m: NDArray[np.float64]) -> tuple[Row, Row, Row]:
    a, b, c = ((float(r[0]), float(r[1]), float(r[2])) for r in m)
    return a, b, c


def _geometry(g: Geometry, m: NDArray[np.float64]) -> Geometry:
    return g.model_copy(
        update={"image_from_event": _rows(m), "mirrored": bool(np.linalg.det(m[:2, :2]) < 0)}
    )  # fmt: skip
