"""What cameras hand on: events, frames, trigger edges, inertial samples.

Structures of numpy arrays: immutable (arrays are made read-only), validated where data enters the program,
cheap to slice by time (views, no copies).

Conventions
    * Time in names that end in `_us` is int64 microseconds on the **event camera's clock**.
    * A device's own raw stamp ends in `device_..._ns`; the host's arrival stamp is `host_ns`
      (`time.monotonic_ns`). They stand beside the time, never in its place.
    * Pixel `(x, y)`: x to the right, y down, origin at the centre of the top left pixel.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import InvalidPacket

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
Bool = NDArray[np.bool_]
U8 = NDArray[np.uint8]


def _frozen(a: NDArray[Any]) -> NDArray[Any]:
    """A read-only view; the caller's own array keeps its flag."""
    v = a.view()
    v.flags.writeable = False
    return v


def _sound(
    t: I64, x: NDArray[Any], y: NDArray[Any], width: int, height: int, not_before_us: int | None
) -> bool:
    """No event would be refused by `Events.sanitised`."""
    if not len(t):
        return True
    if not (len(x) == len(y) == len(t)) or (not_before_us is not None and t[0] < not_before_us):
        return False
    for a, size in ((x, width), (y, height)):
        if int(a.max()) >= size or (a.dtype.kind != "u" and int(a.min()) < 0):
            return False
    return bool((t[1:] >= t[:-1]).all())


@dataclass(frozen=True, slots=True)
class Rejected:
    """How many events were refused at the boundary, by cause."""

    decreasing: int = 0
    outside: int = 0

    @property
    def total(self) -> int:
        """All refused events."""
        return self.decreasing + self.outside

    def __add__(self, other: Rejected) -> Rejected:
        return Rejected(self.decreasing + other.decreasing, self.outside + other.outside)


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events of one sensor: structure of arrays, all of length N, sorted by time.

    Attributes:
        t: (N,) int64, microseconds on the event camera's clock, non-decreasing.
        x: (N,) uint16, column, 0 … width - 1.
        y: (N,) uint16, row, 0 … height - 1.
        p: (N,) bool, True = brighter (ON), False = darker (OFF).
        width, height: the sensor's size in pixels.

    The constructor checks types and shapes only (O(1)). Data from outside goes through `checked` or
    `sanitised`, which also look at order and range (O(N)).
    """

    t: I64
    x: U16
    y: U16
    p: Bool
    width: int
    height: int

    def __post_init__(self) -> None:
        for name, dtype in (("t", np.int64), ("x", np.uint16), ("y", np.uint16), ("p", np.bool_)):
            a = getattr(self, name)
            if not isinstance(a, np.ndarray) or a.dtype != dtype or a.ndim != 1:
                raise InvalidPacket(
                    f"events.{name}: expected a 1-D {np.dtype(dtype).name} array, got "
                    f"{getattr(a, 'dtype', type(a).__name__)} with shape {getattr(a, 'shape', '?')}"
                )
            object.__setattr__(self, name, _frozen(a))
        if not (len(self.t) == len(self.x) == len(self.y) == len(self.p)):
            raise InvalidPacket(
                f"events: arrays of different lengths t {len(self.t)}, x {len(self.x)}, "
                f"y {len(self.y)}, p {len(self.p)}"
            )
        if self.width < 1 or self.height < 1:
            raise InvalidPacket(f"events: sensor size {self.width}×{self.height} is not a size")

    def __len__(self) -> int:
        return len(self.t)

    @classmethod
    def empty(cls, width: int, height: int) -> Events:
        """No events of a sensor of this size."""
        return cls(
            np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.uint16), np.empty(0, np.bool_),
            width, height,
        )  # fmt: skip

    @classmethod
    def sanitised(
        cls, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], width: int, height: int,
        *, not_before_us: int | None = None,
    ) -> tuple[Events, Rejected]:  # fmt: skip
        """Events from outside, the bad ones removed and counted.

        An event is refused when its time lies before the newest time already accepted (`decreasing`; with
        `not_before_us` also before that, the last time of the previous packet) or when its coordinates lie
        outside the sensor (`outside`). Integer arrays of any width and sign are accepted; negative
        coordinates count as outside. Arrays of the right types may be kept as they are: do not write to them
        afterwards.
        """
        t64 = np.asarray(t).astype(np.int64, copy=False)
        if _sound(t64, np.asarray(x), np.asarray(y), width, height, not_before_us):
            # Nearly always; five times faster than looking at each event.
            xu, yu = (np.asarray(a).astype(np.uint16, copy=False) for a in (x, y))
            return cls(t64, xu, yu, np.asarray(p).astype(np.bool_, copy=False), width, height), Rejected()
        xi, yi = np.asarray(x).astype(np.int64, copy=False), np.asarray(y).astype(np.int64, copy=False)
        inside = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < height)
        n_outside = int(len(t64) - np.count_nonzero(inside))
        # Only accepted events move the "newest time" on; one wild future stamp outside the sensor must not.
        candidate = t64[inside] if n_outside else t64
        floor = np.int64(np.iinfo(np.int64).min if not_before_us is None else not_before_us)
        newest = np.maximum(np.maximum.accumulate(candidate), floor) if len(candidate) else candidate
        in_order = candidate >= newest
        n_decreasing = int(len(candidate) - np.count_nonzero(in_order))
        keep = inside
        if n_decreasing:
            keep = np.zeros(len(t64), np.bool_)
            keep[np.flatnonzero(inside)[in_order]] = True
        whole = n_outside == 0 and n_decreasing == 0
        pb = np.asarray(p).astype(np.bool_, copy=False)
        sel: Any = slice(None) if whole else keep
        ev = cls(t64[sel], xi[sel].astype(np.uint16), yi[sel].astype(np.uint16), pb[sel], width, height)
        return ev, Rejected(decreasing=n_decreasing, outside=n_outside)

    @classmethod
    def checked(
        cls, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], width: int, height: int
    ) -> Events:
        """Events that must be sound as they are.

        Raises:
            InvalidPacket: with the counts, when any event runs back in time or lies outside the sensor.
        """
        ev, bad = cls.sanitised(t, x, y, p, width, height)
        if bad.total:
            raise InvalidPacket(
                f"events: {bad.decreasing} with decreasing time and {bad.outside} outside the "
                f"{width}×{height} sensor, of {len(t)}"
            )
        return ev

    @classmethod
    def concatenate(cls, parts: Iterable[Events]) -> Events:
        """One packet out of several of the same sensor, given in order of time."""
        ps = list(parts)
        if not ps:
            raise InvalidPacket("events: nothing to concatenate")
        if len(ps) == 1:
            return ps[0]
        first = ps[0]
        if any((q.width, q.height) != (first.width, first.height) for q in ps):
            raise InvalidPacket("events: packets of different sensors cannot be joined")
        full = [q for q in ps if len(q)]
        if any(b.t[0] < a.t[-1] for a, b in itertools.pairwise(full)):
            raise InvalidPacket("events: packets joined out of order of time")
        return cls(
            np.concatenate([q.t for q in ps]), np.concatenate([q.x for q in ps]),
            np.concatenate([q.y for q in ps]), np.concatenate([q.p for q in ps]),
            first.width, first.height,
        )  # fmt: skip

    def between(self, start_us: int, end_us: int) -> Events:
        """Events with `start_us <= t < end_us`, as views."""
        a, b = np.searchsorted(self.t, [start_us, end_us], side="left")
        return self[int(a) : int(max(a, b))]

    def __getitem__(self, s: slice) -> Events:
        return Events(self.t[s], self.x[s], self.y[s], self.p[s], self.width, self.height)

    @property
    def nbytes(self) -> int:
        """Bytes that the four arrays take."""
        return self.t.nbytes + self.x.nbytes + self.y.nbytes + self.p.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class TriggerEdges:
    """Edges on the event camera's trigger input: the RGB camera's exposure signal.

    Attributes:
        t: (N,) int64 µs on the event camera's clock, non-decreasing.
        rising: (N,) bool, True = the signal went high = an exposure began.
    """

    t: I64
    rising: Bool

    def __post_init__(self) -> None:
        if self.t.dtype != np.int64 or self.rising.dtype != np.bool_ or self.t.shape != self.rising.shape:
            raise InvalidPacket("trigger edges: expected t int64 and rising bool of one length")
        if len(self.t) > 1 and bool(np.any(np.diff(self.t) < 0)):
            raise InvalidPacket("trigger edges: decreasing time")
        object.__setattr__(self, "t", _frozen(self.t))
        object.__setattr__(self, "rising", _frozen(self.rising))

    def __len__(self) -> int:
        return len(self.t)

    @classmethod
    def empty(cls) -> TriggerEdges:
        """No edges."""
        return cls(np.empty(0, np.int64), np.empty(0, np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Inertial:
    """Samples of the event camera's inertial sensor, on its own axes as the camera gives them.

    Attributes:
        t: (N,) int64 µs on the event camera's clock.
        acceleration_g: (N, 3) float32, in g (9.80665 m/s²).
        turn_deg_s: (N, 3) float32, rate of turn in degrees per second.
        temperature_c: (N,) float32, of the sensor, °C.
    """

    t: I64
    acceleration_g: NDArray[np.float32]
    turn_deg_s: NDArray[np.float32]
    temperature_c: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.t)
        wanted = (("t", np.int64, (n,)), ("acceleration_g", np.float32, (n, 3)),
                  ("turn_deg_s", np.float32, (n, 3)), ("temperature_c", np.float32, (n,)))  # fmt: skip
        for name, dtype, shape in wanted:
            a = getattr(self, name)
            if a.dtype != dtype or a.shape != shape:
                raise InvalidPacket(
                    f"inertial samples: {name} must be {np.dtype(dtype).name} {shape}, got {a.dtype} {a.shape}"
                )
            object.__setattr__(self, name, _frozen(a))

    def __len__(self) -> int:
        return len(self.t)

    @property
    def values(self) -> NDArray[np.float32]:
        """(N, 7): acceleration, turn, temperature."""
        return np.column_stack([self.acceleration_g, self.turn_deg_s, self.temperature_c])

    @classmethod
    def of(cls, t: I64, values: NDArray[np.float32]) -> Inertial:
        """Out of times and `values`."""
        if values.ndim != 2 or values.shape[1] != 7:
            raise InvalidPacket(f"inertial samples: values must be (N, 7), got {values.shape}")
        return cls(t, values[:, 0:3], values[:, 3:6], values[:, 6])

    def shifted(self, by_us: int) -> Inertial:
        """The same at other times."""
        return Inertial(self.t + by_us, self.acceleration_g, self.turn_deg_s, self.temperature_c)


class PixelLayout(StrEnum):
    """What the values of a frame's image mean."""

    RGB = "rgb"
    GRAY = "gray"
    BAYER_RGGB = "bayer_rggb"
    BAYER_GRBG = "bayer_grbg"
    BAYER_GBRG = "bayer_gbrg"
    BAYER_BGGR = "bayer_bggr"

    @property
    def pixel_bytes(self) -> int:
        """Of the image."""
        return 3 if self is PixelLayout.RGB else 1


class FrameClock(StrEnum):
    """Whose clock a frame's device stamps are on."""

    EVENT = "event"  # the event camera's own clock (DAVIS APS): stamps are exact exposure times
    DEVICE = "device"  # the frame camera's own clock: offset and drift are unknown until measured


class FrameKind(StrEnum):
    """Whether light was exposed for a frame."""

    SENSOR = "sensor"
    ACCUMULATOR = "accumulator"  # drawn from events; nothing was exposed, so nothing can be deblurred


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the frame camera.

    Attributes:
        image: uint8, (H, W, 3) RGB or (H, W) gray or Bayer, C-contiguous.
        layout: which of them.
        sequence: the camera's own frame counter; a jump means frames were lost on the way.
        device_start_ns: start of exposure on `clock`, nanoseconds; None when the camera does not say.
        device_end_ns: end of exposure on `clock`, nanoseconds; None when the camera does not say.
        clock: whose clock the device stamps are on.
        host_ns: `time.monotonic_ns` at arrival, 0 when unknown (recordings).
        kind: sensor or accumulator.
        epoch: counts jumps of the source's time axis (seek, loop, clock reset); items of different epochs
            never belong together.
        gap: the stream was interrupted before this frame (reconnect, restart). Single frames that were lost are
            told by `sequence`.
        recorded_ns: in a replay, the `host_ns` that it had when it was recorded; else 0.
    """

    image: U8
    layout: PixelLayout
    sequence: int
    device_start_ns: int | None
    device_end_ns: int | None
    clock: FrameClock
    host_ns: int = 0
    kind: FrameKind = FrameKind.SENSOR
    epoch: int = 0
    gap: bool = False
    recorded_ns: int = 0

    def __post_init__(self) -> None:
        im = self.image
        want = 3 if self.layout is PixelLayout.RGB else 2
        if im.dtype != np.uint8 or im.ndim != want or (want == 3 and im.shape[2] != 3) or im.size == 0:
            raise InvalidPacket(
                f"frame {self.sequence}: a {self.layout.value} image must be uint8 with {want} axes, "
                f"got {im.dtype} {im.shape}"
            )
        s, e = self.device_start_ns, self.device_end_ns
        if s is not None and e is not None and e < s:
            raise InvalidPacket(f"frame {self.sequence}: exposure ends {s - e} ns before it starts")
        object.__setattr__(self, "image", _frozen(im))

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.image.shape[0])

    @property
    def arrival_ns(self) -> int:
        """When it came from the camera: what relates two cameras' clocks, at whatever pace it is replayed."""
        return self.recorded_ns or self.host_ns

    @property
    def exposure_ns(self) -> int | None:
        """Length of the exposure by the camera's own clock, None when it does not say."""
        if self.device_start_ns is None or self.device_end_ns is None:
            return None
        return self.device_end_ns - self.device_start_ns


@dataclass(frozen=True, slots=True, eq=False)
class EventPacket:
    """One read of an event camera: what came, and up to when nothing more will come.

    Attributes:
        events: the events, possibly none.
        triggers: edges on the trigger input, possibly none.
        complete_until_us: every event and edge with `t <` this has been delivered, with this packet at the
            latest. It lets the reader tell "no events" from "not yet".
        host_ns: `time.monotonic_ns` at arrival, 0 when unknown.
        dropped: events lost before this packet in the camera or its driver, as far as it tells.
        gap: True when the stream was interrupted before this packet (reconnect, stall, read-out loss).
        rejected: events refused at the boundary while this packet was made.
        epoch: as `Frame.epoch`.
        imu: samples of the camera's inertial sensor that came with it, None without any.
        recorded_ns: as `Frame.recorded_ns`.
    """

    events: Events
    triggers: TriggerEdges
    complete_until_us: int
    host_ns: int = 0
    dropped: int = 0
    gap: bool = False
    rejected: Rejected = field(default_factory=Rejected)
    epoch: int = 0
    imu: Inertial | None = None
    recorded_ns: int = 0

    @property
    def arrival_ns(self) -> int:
        """As `Frame.arrival_ns`."""
        return self.recorded_ns or self.host_ns
