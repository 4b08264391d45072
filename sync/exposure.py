"""An exposure: when the shutter was open, how we know, and how sure we are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from capture.packets import Events, Frame
from sync.rig import Rig


class ExposureSource(StrEnum):
    """Where start and end of an exposure come from, in falling order of trust."""

    TRIGGER = "trigger"  # both edges of the exposure signal, stamped by the event camera
    CHUNK = "chunk"  # the camera's own start and end stamps, on the event clock or through a measured clock
    ESTIMATED = "estimated"  # the host clock model; its uncertainty is large and is stated
    UNKNOWN = "unknown"  # not known at all: start and end only say when the frame came


NO_EDGES_DOUBT = "no trigger edges: exposure estimated"
VAGUE_DOUBT = "exposure less sure than it is long"


@dataclass(frozen=True, slots=True)
class Exposure:
    """The interval in which the shutter was open, on the event camera's clock.

    Attributes:
        start_us, end_us: int64 microseconds, start < end.
        source: where they come from.
        uncertainty_us: half width of the interval in which each end lies with about 95 % confidence; infinite
            when the source is `UNKNOWN`.
    """

    start_us: int
    end_us: int
    source: ExposureSource
    uncertainty_us: float

    def __post_init__(self) -> None:
        if self.end_us <= self.start_us:
            raise ValueError(f"exposure from {self.start_us} to {self.end_us} µs has no length")

    @property
    def known(self) -> bool:
        """Start and end say when the shutter was open."""
        return self.source is not ExposureSource.UNKNOWN

    @property
    def duration_us(self) -> int:
        """Length in microseconds."""
        return self.end_us - self.start_us

    def time_at(self, latent: float) -> int:
        """The time (µs) at a latent time, a fraction 0…1 of the exposure."""
        return round(self.start_us + latent * self.duration_us)


def in_words(us: float) -> str:
    """Microseconds for a person: "850 µs", "20.5 ms"."""
    return f"{us:.0f} µs" if us < 1000 else f"{us / 1000:.1f} ms"


def doubtful(flags: Sequence[str]) -> bool:
    """One of a picture's flags says that its exposure is (`AlignedExposure.doubts`)."""
    return any(f.startswith((NO_EDGES_DOUBT, VAGUE_DOUBT)) for f in flags)


class Refusal(StrEnum):
    """Why an exposure is not restored. Each is a named state on screen and in reports."""

    NO_EXPOSURE = "no exposure: the frame carries no exposure time and no trigger edges match it"
    ACCUMULATOR = "accumulator frame: drawn from events, nothing was exposed"
    NO_EVENTS_YET = "events did not arrive in time"
    EVENT_GAP = "the event stream was interrupted during the exposure"
    NO_EVENT_STREAM = "no event stream"
    UNMATCHED_TRIGGER = "no trigger edges match the frame"
    ZERO_EXPOSURE = "the exposure has no length"
    OUTSIDE_STREAM = "the exposure lies outside the time span of the events"


@dataclass(frozen=True, slots=True, eq=False)
class AlignedExposure:
    """One blurry frame with everything that is needed to restore it.

    Attributes:
        frame: the blurry frame, as the camera gave it.
        exposure: when its shutter was open.
        events: all events with `window_start_us <= t < window_end_us`, on the event sensor's pixels. With a
            rolling shutter their times are told as if all rows were exposed together (`sync.rolling`).
        window_start_us, window_end_us: the window, at least the exposure, wider when margins were asked for.
        rig: geometry that maps event pixels to image pixels.
        ordinal: 0, 1, 2 … over all frames that reached the synchroniser in this epoch, refused ones included.
        complete: no event loss is known inside the window.
        ready_ns: `time.monotonic_ns` when the exposure left the synchroniser, 0 offline.
        alone: why the frame comes without its events, a few words; "" when nothing is amiss. Only for
            restorers that need no events.
        margins_only: what was lost lies in the margins; the exposure's own events are all there.
    """

    frame: Frame
    exposure: Exposure
    events: Events
    window_start_us: int
    window_end_us: int
    rig: Rig
    ordinal: int
    complete: bool = True
    ready_ns: int = 0
    alone: str = ""
    margins_only: bool = False

    @property
    def exposure_complete(self) -> bool:
        """No event loss is known inside the exposure itself."""
        return self.complete or self.margins_only

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes its exposure doubtful, for the flags of its picture; () when nothing does.

        The rig says that trigger edges tell it, and not one ever came; or each end may be wrong by more than
        the whole lasts.
        """
        x = self.exposure
        if not x.known:
            return ()
        sure = f"±{in_words(x.uncertainty_us)}"
        guessed = x.source is ExposureSource.ESTIMATED and self.rig.clock.relation == "trigger"
        found = [f"{NO_EDGES_DOUBT} {sure}"] if guessed else []
        if x.uncertainty_us > x.duration_us:
            found.append(f"{VAGUE_DOUBT}: {sure} of {in_words(x.duration_us)}")
        return tuple(found)

    def exposure_events(self) -> Events:
        """The events inside the exposure itself: `start_us <= t < end_us`."""
        return self.events.between(self.exposure.start_us, self.exposure.end_us)


@dataclass(frozen=True, slots=True, eq=False)
class RefusedExposure:
    """A frame that is shown but not restored, and why.

    Attributes:
        frame: the frame.
        reason: which kind of refusal.
        detail: one line with the figures of this case.
        ordinal: as in `AlignedExposure`.
        exposure: when known all the same.
        at_us: when the frame came, on the event clock: the end of its exposure when that is known, else its own
            stamp there, else how far the events had come. Where there are no events, on the frames' own clock.
    """

    frame: Frame
    reason: Refusal
    detail: str
    ordinal: int
    exposure: Exposure | None = None
    ready_ns: int = 0
    at_us: int = 0

    def frame_alone(self, rig: Rig) -> AlignedExposure | None:
        """The frame for a restorer that needs no events; None when there is no photograph to restore.

        The exposure is the known one, or of source `UNKNOWN`, a microsecond at the time when the frame came.
        """
        if self.reason is Refusal.ACCUMULATOR:
            return None
        x = self.exposure or Exposure(self.at_us, self.at_us + 1, ExposureSource.UNKNOWN, math.inf)
        nothing_amiss = not rig.has_events and x.known
        return AlignedExposure(
            self.frame, x, Events.empty(rig.events.width, rig.events.height), x.start_us, x.end_us, rig,
            self.ordinal, complete=nothing_amiss, ready_ns=self.ready_ns,
            alone="" if nothing_amiss else self.reason.value.partition(":")[0],
        )  # fmt: skip


@dataclass(slots=True)
class SyncCounters:
    """Every item accounted for: `frames_in = aligned + refused + superseded + waiting`."""

    frames_in: int = 0
    aligned: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    superseded: int = 0
    waiting: int = 0
    events_in: int = 0
    events_dropped_upstream: int = 0
    events_rejected: int = 0
    edges_in: int = 0
    edges_matched: int = 0
    edges_unmatched: int = 0
    frames_missing: int = 0  # jumps of the frame counter
    frames_lapped: int = 0  # the ring's reader was lapped; they show as a jump of the counter, too
    frames_matched: int = 0
    frames_unmatched: int = 0
