"""The rig: both cameras' geometry, the mirror, the clock relation, how each was measured. TOML on disk."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from capture.documents import read_toml
from capture.errors import UsageError
from capture.parts import own_part
from capture.registry import RigFacts
from capture.shutter import LONGEST_ROLLING_US
from capture.validation import Strict, first_error
from sync.homography import Row, centred, check_homography

VERSION = 2
"""Of the file. 1: before lenses, validity and the report's id; read and taken over (`Rig`)."""
MAX_SCALE = 64
"""Most image pixels along an event pixel, and most event pixels along an image pixel."""
MOST_LATENCY_MS = 2_000.0
"""Of a frame's arrival: later ones are not told from the frames that follow."""
NO_CAMERA = "none"
"""As a camera's name: the rig has the other one only; the missing sensor's size then has no meaning."""

ASSUMED = "assumed: not calibrated"
"""As `Geometry.measured`: nobody has measured this map."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
IDENTITY: tuple[Row, Row, Row] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class Lens(Strict):
    """A pinhole with distortion: where a ray falls on this camera's raw pixels.

    With x = X/Z, y = Y/Z, r² = x² + y² and the coefficients c:

    * `brown` (k1, k2, p1, p2, k3): x' = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²), y' alike
      (Brown, "Close-range camera calibration", 1971); trailing coefficients may be left out;
    * `fisheye` (k1 … k4): the angle θ = atan r becomes θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸)
      (Kannala & Brandt, 2006).

    Raw pixel = `focal` · (x', y') + `centre`; **undistorted** pixel = `focal` · (x, y) + `centre`. Pixel
    centres at integers. A lens found from pairs of points alone has a nominal focal length and carries the
    difference between both cameras' lenses (`relative`); it maps pixels as well as a true one but tells no
    angles.
    """

    model: Literal["brown", "fisheye"] = "brown"
    focal: tuple[Length, Length]
    centre: tuple[Finite, Finite]
    coefficients: Annotated[tuple[Finite, ...], Field(max_length=5)] = ()
    relative: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Lens:
        if self.model == "fisheye" and len(self.coefficients) > 4:
            raise ValueError(f"a fisheye lens has 4 coefficients at most, not {len(self.coefficients)}")
        return self


SMALLEST_PX, LARGEST_PX = 8, 16384
"""Sides of a sensor, in pixels."""


class CameraEntry(Strict):
    """One camera of the rig."""

    camera: str = Field(description="name that opens it, e.g. davis346:00000123; none for no camera")
    serial: str = ""
    width: Annotated[int, Field(ge=SMALLEST_PX, le=LARGEST_PX)]
    height: Annotated[int, Field(ge=SMALLEST_PX, le=LARGEST_PX)]
    lens: Lens | None = Field(default=None, description="distortion; none: a pinhole, as far as is known")
    settings: dict[str, Any] = Field(default_factory=dict)


class EventEntry(CameraEntry):
    """The event camera, with contrast thresholds (natural log intensity) when they are known."""

    threshold_on: Annotated[float, Field(gt=0, lt=5)] | None = None
    threshold_off: Annotated[float, Field(gt=0, lt=5)] | None = None


class ImageEntry(CameraEntry):
    """The frame camera.

    `tone`: how pixel values relate to light: `linear` (proportional) or `srgb` (IEC 61966-2-1 curve).

    `rolling_us`: a rolling shutter exposes the last row so much later than the first one; 0: global shutter,
    all rows together; negative: the last row comes first. Start and end of an exposure are those of the row
    that is exposed first.
    """

    tone: Literal["linear", "srgb"] = "linear"
    rolling_us: Annotated[float, Field(ge=-LONGEST_ROLLING_US, le=LONGEST_ROLLING_US, allow_inf_nan=False)] = (
        0.0
    )


class Validity(Strict):
    """Where a homography holds: at the plane that it was measured on, or anywhere if both cameras share one
    eye.

    Two eyes `baseline_mm` apart see a thing at the distance Z displaced by
    `focal · baseline · |1/Z - 1/plane|` event pixels; `parallax_px` is that bound for Z from half the plane's
    distance to infinity.
    """

    plane_mm: Annotated[float, Field(gt=0)] | None = None
    baseline_mm: Annotated[float, Field(ge=0)] | None = None
    parallax_px: Annotated[float, Field(ge=0)] | None = None
    note: str = ""


class Geometry(Strict):
    """Event pixel → image pixel.

    `image_from_event` is a 3×3 homography acting on column vectors (x, y, 1) of **event** pixels and giving
    **image** pixels; pixel centres lie at integers, x to the right, y down. The mirror flip is part of it:
    its upper 2×2 determinant is negative if and only if `mirrored`. It acts on raw pixels: where lenses bend
    lines it is the one homography that comes nearest over the field that both cameras share.

    `undistorted_image_from_event` is the same between **undistorted** pixels (`Lens`) and exact there
    (`sync.rig_map`, which all that restores goes through); only where a camera has a lens.

    `residual_px` (RMS) and `residual_p95_px`: error of the map, its lenses included, in event pixels, on views
    that it was not made from.
    """

    image_from_event: tuple[Row, Row, Row] = IDENTITY
    mirrored: bool = False
    undistorted_image_from_event: tuple[Row, Row, Row] | None = None
    residual_px: Annotated[float, Field(ge=0)] | None = None
    residual_p95_px: Annotated[float, Field(ge=0)] | None = None
    validity: Validity = Field(default_factory=Validity)
    measured: str = Field(default="", description="how and when, in words")

    @classmethod
    def assumed(cls, events: tuple[int, int], image: tuple[int, int], *, mirrored: bool = False) -> Geometry:
        """Of sensors of these (width, height) of which nothing else is known: both middles on each other."""
        rows = centred(events, image, mirrored=mirrored)
        return cls(image_from_event=rows, mirrored=mirrored, measured=ASSUMED)

    @model_validator(mode="after")
    def _sound(self) -> Geometry:
        check_homography("image_from_event", self.image_from_event, self.mirrored)
        if self.undistorted_image_from_event is not None:
            check_homography("undistorted_image_from_event", self.undistorted_image_from_event, self.mirrored)
        return self


class Clock(Strict):
    """Frame camera's clock → event clock.

    relation `same`: frames are stamped on the event clock (one sensor, or streams that somebody else put on one
    clock). `trigger`: exposure edges on the event camera's trigger input. `host`: no wire; arrival times only.
    `delay_us` is added to every edge (strobe delay), with `same` to both stamps of every frame. `active_high`
    says which level of the signal means that the shutter is open, `longer_us` by how much it lasts longer than
    the exposure time that the camera tells (of a rolling shutter some last until the last row is closed).

    `host_latency_ms` ± `host_latency_spread_ms` is the least time from the end of an exposure to the frame's
    arrival in the host. It places exposures where no wire does, and tells which edge belongs to which frame
    where rate and exposure are constant: only if the spread is well below the frame period. Measure it.

    What a calibration measured, for people and for checks; nothing is computed from it: `residual_us` of single
    edges, `drift_ppm` (how much faster the event clock runs), `uncertainty_us` of the start of an exposure,
    `delay_measured_us` ± `delay_uncertainty_us` (what `delay_us` should be by the pictures; it is taken over
    only when it is known well).
    """

    relation: Literal["same", "trigger", "host"] = "trigger"
    delay_us: Annotated[float, Field(ge=-10_000_000, le=10_000_000)] = 0.0
    active_high: bool = True
    longer_us: Annotated[float, Field(ge=0, le=LONGEST_ROLLING_US, allow_inf_nan=False)] = 0.0
    residual_us: Annotated[float, Field(ge=0)] | None = None
    drift_ppm: float | None = None
    uncertainty_us: Annotated[float, Field(ge=0)] | None = None
    delay_measured_us: float | None = None
    delay_uncertainty_us: Annotated[float, Field(ge=0)] | None = None
    measured: str = ""
    host_latency_ms: Annotated[float, Field(ge=0, le=MOST_LATENCY_MS)] = 20.0
    host_latency_spread_ms: Annotated[float, Field(ge=0, le=MOST_LATENCY_MS)] = 20.0

    @property
    def stamp_delay_us(self) -> float:
        """What is added to stamps on the event clock: with other relations `delay_us` is of edges."""
        return self.delay_us if self.relation == "same" else 0.0


class Rig(Strict):
    """A whole rig. Read with `Rig.load`, written with `save`."""

    version: int = VERSION
    name: str = "unnamed rig"
    events: EventEntry
    image: ImageEntry
    geometry: Geometry = Field(default_factory=Geometry)
    clock: Clock = Field(default_factory=Clock)
    note: str = ""
    report: str = Field(default="", description="id of the calibration report that these values come from")

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, values: Any) -> Any:
        """Taken over from an older one, also where a rig stands in another file.

        Before all else: of a file with keys of a newer version no key is misspelt.
        """
        if not isinstance(values, Mapping):
            return values
        version = values.get("version", VERSION)
        if type(version) is not int or not 1 <= version <= VERSION:
            raise ValueError(
                f"version {version!r} is none of 1 to {VERSION}: update the program, or correct the file"
            )
        # Version 2 added keys with defaults. What version 1 has keeps its meaning.
        return {**values, "version": VERSION}

    @model_validator(mode="after")
    def _sound(self) -> Rig:
        with np.errstate(all="ignore"):
            scale = self.scale
        # Beyond it no pair of cameras lies, and grids of one camera's view on the other's pixels fit no memory.
        if self.has_events and self.has_frames and not 1 / MAX_SCALE <= scale <= MAX_SCALE:
            raise ValueError(
                f"by geometry.image_from_event an event pixel is {scale:.3g} image pixels wide; "
                f"a rig has 1/{MAX_SCALE} to {MAX_SCALE}: calibrate it"
            )
        return self

    @property
    def has_events(self) -> bool:
        """There is an event camera."""
        return self.events.camera != NO_CAMERA

    @property
    def has_frames(self) -> bool:
        """There is a frame camera."""
        return self.image.camera != NO_CAMERA

    def other_cameras(self, serials: Mapping[str, str]) -> list[str]:
        """One line for each camera that is there and is not the one that this rig file is of.

        Args:
            serials: of the cameras that are there, "events" and "image", as far as they are known.
        """
        out = []
        for role, word, entry in (("events", "event", self.events), ("image", "frame", self.image)):
            there = serials.get(role, "")
            if entry.serial and there and entry.serial != there:
                out.append(
                    f"the rig file is of the {word} camera {entry.serial}, but {there} is there: calibrate "
                    "this one, or use its own rig file"
                )
        return out

    def other_shutter(self, shutter: str) -> list[str]:
        """One line where the frame camera's shutter is not the one that this rig file tells of.

        Args:
            shutter: as the camera says, see `capture.camera.Capabilities`; "" where it does not.
        """
        if not (self.has_events and self.has_frames):
            return []
        if shutter == "rolling" and not self.image.rolling_us:
            return [
                "the frame camera has a rolling shutter, and the rig file tells of a global one: calibrate the "
                "rig, or set image.rolling_us to the time from the first row's exposure to the last one's"
            ]
        if shutter == "global reset":
            return [
                "the frame camera exposes each row longer than the one above (global reset), which nothing "
                "here restores: set its SensorShutterMode to Global or Rolling"
            ]
        if shutter == "global" and self.image.rolling_us:
            return [
                "the frame camera has a global shutter, and the rig file tells of a rolling one: set "
                "image.rolling_us = 0"
            ]
        return []

    @property
    def image_from_event(self) -> NDArray[np.float64]:
        """(3, 3) float64; see `Geometry`."""
        return np.array(self.geometry.image_from_event, dtype=np.float64)

    @property
    def scale(self) -> float:
        """Image pixels per event pixel at the middle of the event sensor (square root of the area ratio)."""
        m = self.image_from_event
        v = np.array([(self.events.width - 1) / 2, (self.events.height - 1) / 2, 1.0])
        q = m @ v
        # Jacobian of the projective map at v.
        j = (m[:2, :2] - np.outer(q[:2] / q[2], m[2, :2])) / q[2]
        return float(np.sqrt(abs(np.linalg.det(j))))

    @property
    def bent(self) -> bool:
        """A lens is known, so that the homography is not the whole map (`sync.rig_map`)."""
        exact = self.geometry.undistorted_image_from_event
        return exact is not None and (self.events.lens is not None or self.image.lens is not None)

    @property
    def assumed(self) -> bool:
        """Nobody has measured how the event camera's pixels lie on the picture."""
        return self.has_events and self.has_frames and self.geometry.measured.startswith("assumed")

    @property
    def identity(self) -> bool:
        """Events and image are known to share one pixel grid."""
        return (
            not self.bent
            and not self.assumed
            and (self.events.width, self.events.height) == (self.image.width, self.image.height)
            and bool(np.allclose(self.image_from_event, np.eye(3), atol=1e-9))
        )

    @classmethod
    def from_facts(cls, name: str, facts: RigFacts) -> Rig:
        """The rig that a driver of both cameras (simulated, replay) describes."""
        m = np.asarray(facts.image_from_event, dtype=np.float64)
        rows = tuple((float(r[0]), float(r[1]), float(r[2])) for r in m)
        # A simulated rig's frames arrive when their exposures end, or at a set time after that.
        known = facts.exact or facts.host_latency_ms is not None
        latency, spread = (facts.host_latency_ms or 0.0, 3.0) if known else (20.0, 20.0)
        return cls(
            name=name,
            events=EventEntry(
                camera=name, width=facts.event_size[0], height=facts.event_size[1],
                threshold_on=facts.threshold_on, threshold_off=facts.threshold_off,
            ),
            image=ImageEntry(
                camera=name, width=facts.image_size[0], height=facts.image_size[1],
                tone="srgb" if facts.tone == "srgb" else "linear", rolling_us=facts.rolling_us,
            ),
            geometry=Geometry(
                image_from_event=(rows[0], rows[1], rows[2]),
                mirrored=bool(np.linalg.det(m[:2, :2]) < 0), measured=facts.note,
            ),
            clock=Clock(
                relation="same" if facts.one_sensor else "trigger",
                host_latency_ms=latency, host_latency_spread_ms=spread,
            ),
        )  # fmt: skip

    @classmethod
    def frames_only(cls, name: str, size: tuple[int, int], tone: Literal["linear", "srgb"] = "linear") -> Rig:
        """The rig of a source that has frames of this (width, height) and no events."""
        width, height = size
        return cls(
            name=name,
            events=EventEntry(camera=NO_CAMERA, width=width, height=height),
            image=ImageEntry(camera=name, width=width, height=height, tone=tone),
            clock=Clock(relation="host"),
            note="frames only",
        )

    @classmethod
    def events_only(cls, name: str, size: tuple[int, int]) -> Rig:
        """The rig of an event camera of this (width, height) alone: to be recorded, nothing can be restored."""
        width, height = size
        return cls(
            name=name,
            events=EventEntry(camera=name, width=width, height=height),
            image=ImageEntry(camera=NO_CAMERA, width=width, height=height),
            note="events only",
        )

    @classmethod
    def load(cls, path: Path) -> Rig:
        """Read and validate a rig file; one of an older version is taken over, and `save` writes the newest.

        One of two cameras that has no map, which `save` never writes, gets the one of `Geometry.assumed`;
        `mirrored` under its `[geometry]` flips that.

        Raises:
            UsageError: not there, not TOML, a key that is misspelt or missing, a value out of range, a newer
                version. The message names file, key and what to do.
        """
        try:
            if path.is_dir():
                raise UsageError(f"rig file {path} is a folder; give the path of a file")
            if path.exists() and not path.is_file():  # a pipe would keep one waiting
                raise UsageError(f"rig file {path} is not a regular file; give the path of one")
            data = read_toml(path)
        except FileNotFoundError as e:
            raise UsageError(f"rig file {path} does not exist; give a path or `simulated`") from e
        except OSError as e:
            raise UsageError(f"rig file {path} cannot be read ({e})") from e
        except tomllib.TOMLDecodeError as e:
            raise UsageError(f"rig file {path} is not valid TOML: {e}") from e
        try:
            return cls.model_validate(cls._placed(data))
        except ValidationError as e:
            raise UsageError(f"rig file {path}: {first_error(e, cls)}") from e

    @classmethod
    def _placed(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A file's values, with an assumed map where two cameras need one and it has none."""
        said = data.get("geometry", {})
        if not isinstance(said, Mapping) or {"image_from_event", "undistorted_image_from_event"} & said.keys():
            return data
        rig = cls.model_validate({**data, "geometry": {k: v for k, v in said.items() if k != "mirrored"}})
        sizes = (rig.events.width, rig.events.height), (rig.image.width, rig.image.height)
        one_sensor = rig.clock.relation == "same" or rig.events.camera == rig.image.camera
        if not (rig.has_events and rig.has_frames) or (one_sensor and sizes[0] == sizes[1]):
            return data
        rows = centred(*sizes, mirrored=said.get("mirrored") is True)
        return {**data, "geometry": {**said, "image_from_event": rows, "measured": ASSUMED}}

    def save(self, path: Path) -> None:
        """Write as TOML, whole or not at all.

        Raises:
            UsageError: the place cannot be written, or `load` would refuse what stands there then.
        """
        # A link to a file stays one; one that leads nowhere is replaced, as by `app.output`.
        path = path.resolve() if path.is_symlink() and os.path.exists(path) else path
        tmp = own_part(path)
        values = self.model_dump(mode="json", exclude_none=True)
        try:
            # Rigs are made by copying with other values, which pydantic takes unseen.
            type(self).model_validate(values)
            tmp.write_text(tomli_w.dumps(values), encoding="utf-8")
            tmp.replace(path)
        except ValidationError as e:
            raise UsageError(f"rig file {path} is not written: {first_error(e, type(self))}") from e
        except UnicodeEncodeError as e:
            raise UsageError(f"rig file {path} is not written: a name in it is no valid text; change it") from e
        except OSError as e:
            raise UsageError(f"rig file {path} cannot be written ({e.strerror or e})") from e
        finally:
            tmp.unlink(missing_ok=True)
