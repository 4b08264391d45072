"""Is the wire right? Edges on the event camera's trigger input against the frames that should have made them.

Matching is the synchroniser's own, on streams without pixels: what it says here is what a live program gets.
The verdict in plain words comes from how many edges of each kind come for a frame, and from how long the pulses
are against the exposures that the frame camera states.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from capture.packets import EventPacket, Events, Frame, FrameClock, PixelLayout
from sync.acquisition import SCATTER
from sync.exposure import AlignedExposure, ExposureSource
from sync.rig import Clock, EventEntry, ImageEntry, Rig
from sync.synchroniser import Synchroniser

WINDOW_US, LONGEST_US = 3_000_000, 20_000_000
"""How far back is looked; the longer one for a frame camera that gives too few frames in the shorter one."""
ENOUGH_US = 1_500_000
"""Of both streams, before anything is said."""
ENOUGH_FRAMES = 5
SILENT_US = 1_500_000
"""Nothing from the event camera, not even an empty packet: it says nothing of the wire any more."""
REMEMBERED = 90
GOOD_SHARE = 0.95
LONGER_US = 500.0
"""Less is the camera's own rounding."""
MOST_EDGES = 200_000  # an open input gives a million a second
_SIDE = 8  # of the pictures that stand for the real ones


class Finding(StrEnum):
    """What is the matter with the wire."""

    WAITING = "waiting"
    ONE_CLOCK = "one clock"
    NO_FRAMES = "no frames"
    NO_EVENTS = "no events"
    NO_EDGES = "no edges"
    POLARITY = "polarity"
    BOTH_EDGES = "both edges"
    RATE = "rate"
    ONE_EDGE = "one edge"
    LONGER = "longer"
    UNMATCHED = "unmatched"
    OPEN = "open"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """How the wire stands, over the last `WINDOW_US` or so many frames as are needed.

    Attributes:
        rising_hz, falling_hz: edges a second.
        frames_hz: frames a second.
        matched: share 0…1 of recent frames that have found an edge; None while none was answered.
        finding: what is the matter.
        words: the same as a sentence, and what to do.
    """

    rising_hz: float
    falling_hz: float
    frames_hz: float
    matched: float | None
    finding: Finding
    words: str

    @property
    def good(self) -> bool:
        """Nothing needs doing."""
        return self.finding in (Finding.GOOD, Finding.ONE_CLOCK)


class TriggerMonitor:
    """Takes both streams in order of arrival and reports when asked. For one thread.

    Args:
        clock: the rig's; `active_high`, `delay_us` and `longer_us` are used as they are.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        c = clock or Clock()
        self._clock = c.model_copy(update={"relation": "trigger"})
        rig = Rig(
            events=EventEntry(camera="events", width=_SIDE, height=_SIDE),
            image=ImageEntry(camera="frames", width=_SIDE, height=_SIDE), clock=self._clock,
        )  # fmt: skip
        self._sync = Synchroniser(rig)
        self._edges: deque[tuple[int, bool]] = deque(maxlen=MOST_EDGES)
        self._frames: deque[tuple[int, int | None]] = deque()  # host time (µs), exposure (µs)
        self._answers: deque[bool] = deque(maxlen=REMEMBERED)
        self._first_us: int | None = None
        self._until_us = self._heard_us = self._packet_us = 0
        self._one_clock = self._lost = False
        self._epoch = 0

    def add_packet(self, packet: EventPacket, now_ns: int = 0) -> None:
        """The event camera's next packet, read at `now_ns` (0: as it arrived); its events are not looked at."""
        self._packet_us = (now_ns or packet.host_ns) // 1000
        if self._first_us is None or packet.epoch != self._epoch:
            self._edges.clear()
            self._first_us, self._epoch = packet.complete_until_us, packet.epoch
        self._until_us = packet.complete_until_us
        tr = packet.triggers
        self._edges.extend(zip(tr.t.tolist(), tr.rising.tolist(), strict=True))
        while self._edges and self._edges[0][0] < self._until_us - self._window_us:
            self._edges.popleft()
        self._sync.push_events(replace(packet, events=Events.empty(_SIDE, _SIDE)))
        self._take(packet.host_ns)

    def add_frame(self, frame: Frame, now_ns: int = 0) -> None:
        """The frame camera's next frame, read at `now_ns` (0: as it arrived); its pixels are not looked at."""
        self._heard_us = (now_ns or frame.host_ns) // 1000
        self._one_clock = frame.clock is FrameClock.EVENT
        exposure = frame.exposure_ns
        self._frames.append((frame.host_ns // 1000, None if exposure is None else exposure // 1000))
        newest = self._frames[-1][0]
        while newest - self._frames[0][0] > (WINDOW_US if len(self._frames) > ENOUGH_FRAMES else LONGEST_US):
            self._frames.popleft()
        blank = np.zeros((_SIDE, _SIDE), np.uint8)
        self._sync.push_frame(replace(frame, image=blank, layout=PixelLayout.GRAY))
        self._take(frame.host_ns)

    @property
    def _window_us(self) -> int:
        if len(self._frames) < 2:
            return WINDOW_US
        span = self._frames[-1][0] - self._frames[0][0]
        # And the time to the next frame, before which the last one is not old.
        return max(WINDOW_US, span + span // (len(self._frames) - 1))

    def lost(self) -> None:
        """Packets were lost on the way here: edges lack, which is no fault of the wire."""
        self._sync.events_lost(1)
        self._edges.clear()
        self._answers.clear()
        if self._first_us is not None:  # else nothing has come yet that could be lacking
            self._first_us = self._until_us
        self._lost = True

    def _take(self, host_ns: int) -> None:
        for o in self._sync.take(host_ns or None):
            wired = o.exposure is not None and o.exposure.source in (
                ExposureSource.TRIGGER, ExposureSource.CHUNK,
            )  # fmt: skip
            if isinstance(o, AlignedExposure) or o.exposure is not None or "trigger" in o.reason.value:
                if wired and not any(self._answers):
                    self._answers.clear()  # a slow camera's first frames are given up before edges are matched
                self._answers.append(wired)

    # -- what it says ----------------------------------------------------------------------------------------

    def report(self, now_ns: int) -> TriggerReport:
        """How the wire stands at `time.monotonic_ns`."""
        span_us = 0 if self._first_us is None else min(WINDOW_US, self._until_us - self._first_us)
        now_us = now_ns // 1000
        rising_hz, falling_hz = (
            _per_second([t for t, up in self._edges if up is kind], self._until_us) for kind in (True, False)
        )
        # However late they come here: only what comes no more has ended.
        newest_us = self._frames[-1][0] + now_us - self._heard_us if self._frames else 0
        frames_hz = _per_second([t for t, _ in self._frames if t >= newest_us - self._window_us], newest_us)
        matched = sum(self._answers) / len(self._answers) if self._answers else None
        if self._packet_us and now_us - self._packet_us > SILENT_US and not self._one_clock:
            words = "Nothing comes from the event camera, so nothing is known of the wire."
            return TriggerReport(0.0, 0.0, frames_hz, None, Finding.NO_EVENTS, words)
        finding, words = self._finding(rising_hz, falling_hz, frames_hz, matched, span_us)
        return TriggerReport(rising_hz, falling_hz, frames_hz, matched, finding, words)

    def _finding(
        self, rising_hz: float, falling_hz: float, frames_hz: float, matched: float | None, span_us: int
    ) -> tuple[Finding, str]:
        if self._one_clock and frames_hz:
            return Finding.ONE_CLOCK, "One sensor: frames and events share one clock, no wire is needed."
        edges_hz = rising_hz + falling_hz
        if span_us < ENOUGH_US and self._lost:
            return Finding.WAITING, "This machine is too busy to look at every edge; looking again."
        if span_us < ENOUGH_US:
            return Finding.WAITING, "Waiting for both cameras."
        if not frames_hz:
            what = f"{edges_hz:.0f} edges a second" if edges_hz else "no edges either"
            return Finding.NO_FRAMES, f"No frames come, and {what}."
        if len(self._frames) < ENOUGH_FRAMES:
            return Finding.WAITING, "Waiting for both cameras."
        if not edges_hz:
            return Finding.NO_EDGES, (
                "No edges: the wire is missing, or the frame camera's strobe line is off. Connect it to the "
                "event camera's trigger input and choose the strobe line."
            )
        return self._wired(rising_hz, falling_hz, frames_hz, matched)

    def _wired(
        self, rising_hz: float, falling_hz: float, frames_hz: float, matched: float | None
    ) -> tuple[Finding, str]:
        """Frames and edges both come."""
        most, least = max(rising_hz, falling_hz), min(rising_hz, falling_hz)
        a_frame = most / frames_hz
        if least < 0.05 * most and self._alternating():
            kind = "rising" if rising_hz > falling_hz else "falling"
            return Finding.BOTH_EDGES, (
                f"Both ends of an exposure come as {kind} edges ({a_frame:.1f} a frame): set the input to tell "
                "rising and falling apart, or to give one kind only."
            )
        if not 0.9 <= a_frame <= 1.1:
            if abs(a_frame - 2.0) < 0.2:
                why = "another signal is on the wire, or edges bounce"
            elif a_frame > 1.1:
                why = "frames are lost, or another signal is on the wire"
            else:
                why = "the contact is loose, or the wire is another camera's"
            return Finding.RATE, f"{most:.1f} pulses a second for {frames_hz:.1f} frames: {why}."
        if self._inverted():
            level, value = ("low", "false") if self._clock.active_high else ("high", "true")
            return Finding.POLARITY, (
                f"Wrong polarity: the signal is {level} while the shutter is open. Invert the line, or set "
                f"active_high = {value} in the rig file."
            )
        if least < 0.05 * most and (matched or 0.0) < GOOD_SHARE:
            kind, other = ("rising", "falling") if rising_hz > falling_hz else ("falling", "rising")
            return Finding.ONE_EDGE, (
                f"Only {kind} edges come, one a frame; matching needs both ends of an exposure: have the event "
                f"camera's input tell {other} edges too."
            )
        if matched is None or len(self._answers) < ENOUGH_FRAMES:
            return Finding.WAITING, "Edges and frames come; matching them."
        stated, longer = self._clock.longer_us, self._longer_us()
        if matched < GOOD_SHARE and longer is not None and abs(longer - stated) > LONGER_US:
            if longer > LONGER_US:
                return Finding.LONGER, (
                    f"The signal lasts {longer / 1e3:.1f} ms longer than an exposure, as of a rolling shutter "
                    f"until its last row is closed. Calibrate the rig, or set longer_us = {longer:.0f} under "
                    "[clock] in its file."
                )
            if stated:
                return Finding.LONGER, (
                    f"The signal lasts as long as an exposure, and the rig file says {stated / 1e3:.1f} ms "
                    "longer. Calibrate the rig, or set longer_us = 0 under [clock] in its file."
                )
        if matched < GOOD_SHARE:
            why = self._sync.status.why
            if why and self._fits() and not why.startswith(SCATTER):
                return Finding.OPEN, f"The wire is right; which edges are whose is open: {why}."
            return Finding.UNMATCHED, (
                f"Edges come at the frames' rate, but {1 - matched:.0%} of the frames find none"
                + (f": {why}." if why else ".")
            )
        return Finding.GOOD, "Good: every frame has its edges."

    def _exposure_us(self) -> float | None:
        """How long the signal should last."""
        known = [e for _, e in self._frames if e is not None]
        return float(np.median(known)) + self._clock.longer_us if known else None

    def _lengths(self) -> dict[bool, list[int]]:
        """Of pulses (True) and pauses (False), µs; {} while there are too few."""
        lengths: dict[bool, list[int]] = {True: [], False: []}
        for (t, rising), (until, next_rising) in itertools.pairwise(self._edges):
            if rising != next_rising:
                lengths[rising].append(until - t)
        return {} if min(len(v) for v in lengths.values()) < ENOUGH_FRAMES else lengths

    def _longer_us(self) -> float | None:
        """By how much all pulses alike are longer than exposures; None where they differ, or while unknown."""
        signal, pulses = self._exposure_us(), self._lengths().get(self._clock.active_high)
        if signal is None or not pulses:
            return None
        middle = float(np.median(pulses))
        alike = float(np.median(np.abs(np.array(pulses) - middle))) < LONGER_US / 2
        return middle - (signal - self._clock.longer_us) if alike else None

    def _apart(self) -> dict[bool, float]:
        """How far pulses (True) and pauses (False) are from exposures, in tolerances; {} while unknown."""
        exposure, lengths = self._exposure_us(), self._lengths()
        if exposure is None or not lengths:
            return {}
        tolerance = max(200.0, 0.03 * exposure)
        return {
            level: float(np.median(np.abs(np.array(v) - exposure))) / tolerance for level, v in lengths.items()
        }

    def _fits(self) -> bool:
        """Pulses are as long as exposures."""
        return self._apart().get(self._clock.active_high, np.inf) < 1

    def _inverted(self) -> bool:
        """Pauses between pulses are as long as exposures, pulses are not."""
        apart = self._apart()
        right = self._clock.active_high
        return bool(apart) and apart[not right] < 1 and apart[right] > 3

    def _alternating(self) -> bool:
        """Edges of one kind, of which every second interval is an exposure."""
        exposure = self._exposure_us()
        steps = np.diff([t for t, _ in self._edges])
        if exposure is None or len(steps) < 2 * ENOUGH_FRAMES:
            return False
        near = np.abs(steps - exposure) < max(200.0, 0.03 * exposure)
        return bool(max(near[::2].mean(), near[1::2].mean()) > 0.8 and near.mean() < 0.8)


def _per_second(times_us: list[int], now_us: int) -> float:
    """How often something happens, by the time from its first to its last."""
    n = len(times_us)
    if n < 2:
        return 0.0
    # What has ended must not seem to go on.
    span = max(times_us[-1] - times_us[0], (now_us - times_us[0]) * (n - 1) / (n + 1))
    return (n - 1) / max(span / 1e6, 1e-6)
